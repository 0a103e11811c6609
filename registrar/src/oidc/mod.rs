//! Sign-in by OpenID Connect: an ID token of one configured provider, in place of a code.
//!
//! The voter's device runs the authorization-code flow with PKCE (RFC 7636) as a public client; the registrar redirects nobody and holds no secret of a client. It fixes the
//! token's [`nonce`], checks the [`token`] under the [`provider`]'s keys, and takes from it one thing: who stands on the roll. See specs/decisions/0016-sign-in-by-openid-connect.md.

pub(crate) mod nonce;
mod provider;
mod token;

use std::sync::Arc;

pub use jsonwebtoken::Algorithm;
use ledger::Clock;
use listener::Workers;
use zeroize::Zeroizing;

pub(crate) use nonce::Purpose;
pub use nonce::nonce_of;
pub use provider::ProviderError;
pub(crate) use token::TokenError;

/// Bytes of an ID token, at most.
pub(crate) const TOKEN_LEN_MAX: usize = 16 << 10;

/// Which provider, and what of its tokens is taken.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// The provider's issuer identifier, as its tokens have it.
    pub issuer: String,
    /// The client that the voters' devices are at the provider: a public one.
    pub client_id: String,
    /// What `aud` must be; the client id, mostly.
    pub audience: String,
    /// Which scopes the devices ask for; `openid` is one.
    pub scope: String,
    /// Which algorithms tokens may be signed with.
    pub algorithms: Vec<Algorithm>,
    /// Which claim is the identity on the roll: `sub` (as `<issuer>#<sub>`) or another one's value.
    pub claim: String,
    /// How far the provider's clock may be off.
    pub clock_leeway_s: u64,
    /// How old a token may be.
    pub max_age_s: u64,
    /// Whether the provider may be at `http://` on loopback: for tests.
    pub allow_http_loopback: bool,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum OidcSettingsError {
    /// The issuer.
    #[error(
        "the issuer is no https address without query and fragment: give it letter by letter as the provider's configuration has it"
    )]
    Issuer,
    /// The algorithms.
    #[error(
        "no algorithm is named, or one that is not asymmetric: give some of {}",
        OidcSettings::ALGORITHMS.join(", ")
    )]
    Algorithms,
    /// The scopes.
    #[error("the scopes do not hold `openid`, without which there is no ID token: add it")]
    Scope,
    /// The claim.
    #[error(
        "`{0}` says something about the token and not who a voter is: give `sub`, `email`, or another claim that is one person's and does not change"
    )]
    Claim(String),
    /// A number.
    #[error("the leeway is at most 300 s, and the maximal age 1 to 86400 s")]
    Times,
    /// No HTTP client.
    #[error("cannot set up the HTTP client: {0}")]
    Client(reqwest::Error),
}

impl OidcSettings {
    /// The algorithms that may be allowed: asymmetric ones, since whoever can check a shared secret can sign with it.
    pub const ALGORITHMS: [&'static str; 9] = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
    ];

    /// One of [`OidcSettings::ALGORITHMS`].
    #[must_use]
    pub fn algorithm(name: &str) -> Option<Algorithm> {
        Self::ALGORITHMS
            .contains(&name)
            .then(|| name.parse().ok())
            .flatten()
    }

    /// With the defaults of everything that need not be said.
    #[must_use]
    pub fn new(issuer: &str, client_id: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            client_id: client_id.to_owned(),
            audience: client_id.to_owned(),
            scope: "openid".to_owned(),
            algorithms: vec![
                Algorithm::RS256,
                Algorithm::PS256,
                Algorithm::ES256,
                Algorithm::EdDSA,
            ],
            claim: "sub".to_owned(),
            clock_leeway_s: 60,
            max_age_s: 600,
            allow_http_loopback: false,
        }
    }

    fn check(&self) -> Result<(), OidcSettingsError> {
        let is_shared = |algorithm: &Algorithm| {
            matches!(
                algorithm,
                Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512
            )
        };
        if self.algorithms.is_empty() || self.algorithms.iter().any(is_shared) {
            return Err(OidcSettingsError::Algorithms);
        }
        if !self.scope.split(' ').any(|scope| scope == "openid") {
            return Err(OidcSettingsError::Scope);
        }
        let about_the_token = [
            "iss",
            "aud",
            "exp",
            "iat",
            "nbf",
            "nonce",
            "azp",
            "acr",
            "amr",
            "auth_time",
            "at_hash",
            "c_hash",
            "jti",
            "sid",
            "email_verified",
        ];
        if self.claim.is_empty() || about_the_token.contains(&self.claim.as_str()) {
            return Err(OidcSettingsError::Claim(self.claim.clone()));
        }
        if self.clock_leeway_s > 300 || !(1..=86_400).contains(&self.max_age_s) {
            return Err(OidcSettingsError::Times);
        }
        Ok(())
    }
}

/// The identity on the roll of a provider's subject: `<issuer>#<sub>`. An issuer has no `#`, so two pairs never give one identity.
#[must_use]
pub fn subject_on_roll(issuer: &str, subject: &str) -> String {
    format!("{issuer}#{subject}")
}

/// Recognizes voters by their ID tokens.
#[derive(Clone)]
pub struct Oidc {
    settings: Arc<OidcSettings>,
    provider: Arc<provider::Provider>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Oidc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Oidc").field(&self.settings).finish()
    }
}

impl Oidc {
    /// Asks nobody yet: a provider that is down stops no registrar from starting, since codes work without it.
    ///
    /// # Errors
    /// Settings that cannot be used.
    pub fn new(settings: OidcSettings, clock: Arc<dyn Clock>) -> Result<Self, OidcSettingsError> {
        settings.check()?;
        Ok(Self {
            provider: Arc::new(provider::Provider::new(&settings, Arc::clone(&clock))?),
            settings: Arc::new(settings),
            clock,
        })
    }

    /// What was configured.
    #[must_use]
    pub fn settings(&self) -> &OidcSettings {
        &self.settings
    }

    /// Asks the provider for its keys, and says how many are for signatures; keeps nothing.
    ///
    /// # Errors
    /// It does not answer, or not as a provider does.
    pub async fn reach(&self) -> Result<usize, ProviderError> {
        self.provider.reach().await
    }

    pub(crate) fn ticket(&self, purpose: &Purpose) -> String {
        purpose.ticket(self.now_s())
    }

    /// The identity on the roll that the token names, after every check.
    pub(crate) async fn identity(
        &self,
        token: Zeroizing<String>,
        ticket: String,
        purpose: Purpose,
        workers: &Workers,
    ) -> Result<Result<String, TokenError>, listener::ApiError> {
        let header = match token::header(&token, &self.settings) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        let key = self
            .provider
            .key(header.kid.as_deref(), header.algorithm)
            .await;
        let key = match key {
            Ok(key) => key,
            Err(error) => return Ok(Err(error.into())),
        };
        let (settings, now_s) = (Arc::clone(&self.settings), self.now_s());
        workers
            .run(move || {
                let of = token::For {
                    ticket: &ticket,
                    purpose: &purpose,
                };
                token::identity(&token, header.algorithm, &key, &settings, &of, now_s)
            })
            .await
    }

    fn now_s(&self) -> u64 {
        self.clock.now_ms() / 1_000
    }
}

impl TokenError {
    /// Whether nobody can tell now whether the token is good.
    pub(crate) fn is_unavailable(self) -> bool {
        self == Self::Key(provider::KeyError::Unavailable)
    }
}
