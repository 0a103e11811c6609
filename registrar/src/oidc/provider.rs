//! What the identity provider publishes: its configuration (OpenID Connect Discovery 1.0) and its keys (a JSON Web Key Set, RFC 7517).
//!
//! Read with time-outs and bounded sizes, kept for a while, and asked for again at most so often, whatever strangers send: a flood of
//! tokens with unknown key ids is no flood of requests to the provider.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use ledger::Clock;
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use super::{OidcSettings, OidcSettingsError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const CONFIGURATION_BYTES_MAX: usize = 64 << 10;
const KEYS_BYTES_MAX: usize = 256 << 10;
const KEYS_MAX: usize = 100;
/// Between two questions to the provider, at least.
const ASK_AGAIN_MS: u64 = 30_000;
/// From then on the keys are asked for again: one that the provider has withdrawn is not used for long.
const KEYS_FRESH_MS: u64 = 10 * 60_000;
/// Where the provider does not answer, its keys are used for this long.
const KEYS_USED_MS: u64 = 60 * 60_000;

/// Why there is no key for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("its key is none of the provider's")]
    Unknown,
    #[error("its key is not one for signatures with its algorithm")]
    Unfit,
    /// Nobody can tell now.
    #[error("the provider's keys cannot be read now")]
    Unavailable,
}

/// Why the provider's files cannot be used. It names the provider, and nobody else.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// No answer.
    #[error("{0} cannot be read: {1}")]
    Http(String, reqwest::Error),
    /// Another answer than 200.
    #[error("{0} answered with status {1}")]
    Status(String, u16),
    /// More than is read.
    #[error("{0} is larger than {1} bytes")]
    TooLarge(String, usize),
    /// No JSON, or not of this kind.
    #[error("{0} is not what the standard says: {1}")]
    Json(String, serde_json::Error),
    /// It is somebody else.
    #[error("it calls itself {0}, which is not the configured issuer, letter by letter")]
    OtherIssuer(String),
    /// Keys from where they could be exchanged on the way.
    #[error("its jwks_uri {0} is neither https nor, where that is allowed, http on loopback")]
    Place(String),
    /// Too many keys.
    #[error("it publishes more than {KEYS_MAX} keys")]
    TooMany,
}

#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

struct Key {
    kid: Option<String>,
    /// With which algorithms it may verify; none where it is not for signatures.
    fit: Option<(DecodingKey, Vec<Algorithm>)>,
}

struct Known {
    read_ms: u64,
    /// Which reading this was.
    number: u64,
    keys: Vec<Key>,
}

impl Known {
    fn key(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, KeyError> {
        // OIDC Core, section 10.1: "If there are multiple keys in the referenced JWK Set document, a kid value MUST be provided in the JOSE Header."
        let mut found = match kid {
            Some(kid) => self
                .keys
                .iter()
                .filter(|key| key.kid.as_deref() == Some(kid))
                .collect(),
            None if self.keys.len() == 1 => self.keys.iter().collect(),
            None => Vec::new(),
        };
        if found.is_empty() {
            return Err(KeyError::Unknown);
        }
        found.retain(|key| {
            let fit = key.fit.as_ref();
            fit.is_some_and(|(_, algorithms)| algorithms.contains(&algorithm))
        });
        match found.as_slice() {
            [
                Key {
                    fit: Some((key, _)),
                    ..
                },
            ] => Ok(key.clone()),
            _ => Err(KeyError::Unfit),
        }
    }
}

/// The provider, as far as it was read.
pub(super) struct Provider {
    http: reqwest::Client,
    issuer: String,
    allow_http_loopback: bool,
    algorithms: Vec<Algorithm>,
    clock: Arc<dyn Clock>,
    known: RwLock<Option<Arc<Known>>>,
    /// When it was asked last; held while it is asked.
    asked_ms: Mutex<Option<u64>>,
}

enum Asked {
    Answered,
    /// It was asked not long ago, or it does not answer.
    Not,
}

impl Provider {
    pub(super) fn new(
        settings: &OidcSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OidcSettingsError> {
        let issuer = place(&settings.issuer, settings.allow_http_loopback)
            .ok_or(OidcSettingsError::Issuer)?;
        // Discovery, section 3: "issuer: URL using the https scheme with no query or fragment components"
        if issuer.query().is_some() || issuer.fragment().is_some() {
            return Err(OidcSettingsError::Issuer);
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("tallyroot");
        let http = if is_loopback(&issuer) {
            http.no_proxy()
        } else {
            http
        };
        Ok(Self {
            http: http.build().map_err(OidcSettingsError::Client)?,
            issuer: settings.issuer.clone(),
            allow_http_loopback: settings.allow_http_loopback,
            algorithms: settings.algorithms.clone(),
            clock,
            known: RwLock::default(),
            asked_ms: Mutex::default(),
        })
    }

    /// The key that a token's header names.
    pub(super) async fn key(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, KeyError> {
        let known = self.known();
        let age = known.as_ref().map(|known| self.age(known.read_ms));
        let found = known.as_ref().map(|known| known.key(kid, algorithm));
        let (answered, wait) = match (found, age) {
            (Some(Ok(key)), Some(age)) if age < KEYS_FRESH_MS => return Ok(key),
            (Some(Err(KeyError::Unfit)), Some(age)) if age < KEYS_FRESH_MS => {
                return Err(KeyError::Unfit);
            }
            // It will do: nobody waits for somebody else's question.
            (Some(Ok(_)), Some(age)) if age < KEYS_USED_MS => (None, false),
            _ => (known.map(|known| known.number), true),
        };
        let asked = self.ask(answered, wait).await;
        let known = self
            .known()
            .filter(|known| self.age(known.read_ms) < KEYS_USED_MS);
        match (known.map(|known| known.key(kid, algorithm)), asked) {
            (Some(Ok(key)), _) => Ok(key),
            (Some(Err(error)), Asked::Answered) => Err(error),
            (Some(Err(KeyError::Unfit)), Asked::Not) => Err(KeyError::Unfit),
            _ => Err(KeyError::Unavailable),
        }
    }

    /// How many of its keys are for signatures.
    pub(super) async fn reach(&self) -> Result<usize, ProviderError> {
        let keys = self.fetch().await?;
        Ok(keys.iter().filter(|key| key.fit.is_some()).count())
    }

    fn known(&self) -> Option<Arc<Known>> {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A clock that went back makes nothing young.
    fn age(&self, since_ms: u64) -> u64 {
        self.clock
            .now_ms()
            .checked_sub(since_ms)
            .unwrap_or(u64::MAX)
    }

    /// Asks the provider, unless that was done a moment ago or since reading number `seen`.
    async fn ask(&self, seen: Option<u64>, wait: bool) -> Asked {
        let mut asked_ms = if wait {
            self.asked_ms.lock().await
        } else {
            match self.asked_ms.try_lock() {
                Ok(asked_ms) => asked_ms,
                Err(_) => return Asked::Not,
            }
        };
        let number = self.known().map(|known| known.number);
        if wait && number > seen {
            return Asked::Answered;
        }
        if asked_ms.is_some_and(|asked_ms| self.age(asked_ms) < ASK_AGAIN_MS) {
            return Asked::Not;
        }
        *asked_ms = Some(self.clock.now_ms());
        match self.fetch().await {
            Ok(keys) => {
                let known = Known {
                    read_ms: self.clock.now_ms(),
                    number: number.map_or(0, |number| number + 1),
                    keys,
                };
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(known));
                Asked::Answered
            }
            Err(error) => {
                tracing::warn!("the identity provider {}: {error}", self.issuer);
                Asked::Not
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<Key>, ProviderError> {
        // Discovery, section 4.1: "If the Issuer value contains a path component, any terminating / MUST be removed before appending /.well-known/openid-configuration."
        let url = format!(
            "{}/.well-known/openid-configuration",
            self.issuer.trim_end_matches('/')
        );
        let configuration: Configuration = self.read(&url, CONFIGURATION_BYTES_MAX).await?;
        // Discovery, section 4.3: "The issuer value returned MUST be identical to the Issuer URL that was used as the prefix to /.well-known/openid-configuration to retrieve the configuration information."
        if configuration.issuer != self.issuer {
            return Err(ProviderError::OtherIssuer(configuration.issuer));
        }
        let keys = place(&configuration.jwks_uri, self.allow_http_loopback)
            .ok_or(ProviderError::Place(configuration.jwks_uri))?;
        let KeySet { keys } = self.read(keys.as_str(), KEYS_BYTES_MAX).await?;
        if keys.len() > KEYS_MAX {
            return Err(ProviderError::TooMany);
        }
        Ok(keys
            .into_iter()
            .map(|value| key_of(value, &self.algorithms))
            .collect())
    }

    async fn read<T: DeserializeOwned>(&self, url: &str, max: usize) -> Result<T, ProviderError> {
        let failed =
            |error: reqwest::Error| ProviderError::Http(url.to_owned(), error.without_url());
        let mut answer = self.http.get(url).send().await.map_err(failed)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(ProviderError::Status(
                url.to_owned(),
                answer.status().as_u16(),
            ));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > max {
                return Err(ProviderError::TooLarge(url.to_owned(), max));
            }
            bytes.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&bytes).map_err(|error| ProviderError::Json(url.to_owned(), error))
    }
}

/// An address that may be read: https, or http on loopback where that is allowed.
fn place(url: &str, allow_http_loopback: bool) -> Option<Url> {
    let url = Url::parse(url).ok()?;
    let is_allowed = match url.scheme() {
        "https" => true,
        "http" => allow_http_loopback && is_loopback(&url),
        _ => false,
    };
    (is_allowed && url.username().is_empty() && url.password().is_none()).then_some(url)
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || address
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    })
}

/// A key of a kind that is not known here is one that is not fit, and no fault: providers publish keys for others too.
fn key_of(value: serde_json::Value, allowed: &[Algorithm]) -> Key {
    let kid = value.get("kid").and_then(|kid| kid.as_str());
    let kid = kid.map(str::to_owned);
    let fit = serde_json::from_value::<Jwk>(value)
        .ok()
        .and_then(|jwk| fit(&jwk, allowed));
    Key { kid, fit }
}

fn fit(jwk: &Jwk, allowed: &[Algorithm]) -> Option<(DecodingKey, Vec<Algorithm>)> {
    // RFC 7517, section 4.2: "The "use" parameter is employed to indicate whether a public key is used for encrypting data or verifying the signature on data."
    let common = &jwk.common;
    if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let verifies = |operations: &Vec<KeyOperations>| operations.contains(&KeyOperations::Verify);
    if !common.key_operations.as_ref().is_none_or(verifies) {
        return None;
    }
    let of_kind: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(key) => match key.curve {
            EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
            _ => &[],
        },
        // A secret that is published is none.
        _ => &[],
    };
    let named = |algorithm: &Algorithm| match common.key_algorithm {
        None => true,
        Some(named) => is_named(named, *algorithm),
    };
    let algorithms: Vec<Algorithm> = of_kind
        .iter()
        .copied()
        .filter(|algorithm| allowed.contains(algorithm) && named(algorithm))
        .collect();
    if algorithms.is_empty() {
        return None;
    }
    Some((DecodingKey::from_jwk(jwk).ok()?, algorithms))
}

fn is_named(named: KeyAlgorithm, algorithm: Algorithm) -> bool {
    matches!(
        (named, algorithm),
        (KeyAlgorithm::RS256, Algorithm::RS256)
            | (KeyAlgorithm::RS384, Algorithm::RS384)
            | (KeyAlgorithm::RS512, Algorithm::RS512)
            | (KeyAlgorithm::PS256, Algorithm::PS256)
            | (KeyAlgorithm::PS384, Algorithm::PS384)
            | (KeyAlgorithm::PS512, Algorithm::PS512)
            | (KeyAlgorithm::ES256, Algorithm::ES256)
            | (KeyAlgorithm::ES384, Algorithm::ES384)
            | (KeyAlgorithm::EdDSA, Algorithm::EdDSA)
    )
}
