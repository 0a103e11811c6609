//! A site as a voter's device sees it: the published tree, the registrars and the cells, over HTTP, with bounds on everything.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use protocol::ids::ElectionId;
use protocol::manifest::{Election, MANIFEST_LEN_MAX};
use rand::RngExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The largest published file that a client reads: a batch or an anchor (protocol, sections 9 and 10) with its base64.
const FILE_BYTES_MAX: usize = 17 << 20;
/// The largest answer to a cast or an issue.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// A cell answers within its longest batch wait (30 s) and what publishing takes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One election on one site.
///
/// Sign-in, casting and reading go over connections of their own, and none is kept for a second request: whoever ends the
/// connections must not be able to join who signed in with what was cast, or with which leaf was looked at.
#[derive(Clone, Debug)]
pub struct Site {
    http: reqwest::Client,
    /// `…/elections/<id>`, without a slash at the end.
    base: String,
}

/// What came back from a request that changes something.
#[derive(Debug)]
pub enum Answer<T> {
    /// 200.
    Done(T),
    /// The service understood and refuses: doing the same again will not help.
    Refused(Refusal),
    /// Nobody knows whether it was done. Doing the same again is always safe.
    Unknown(String),
}

/// A refusal as the protocol's section 14 words it.
#[derive(Debug, Deserialize)]
pub struct Refusal {
    /// Code and words.
    pub error: RefusalError,
    /// `other-ballot`: the index of the first vote.
    #[serde(default)]
    pub index: Option<u64>,
    /// `other-ballot`: the first vote's proof.
    #[serde(default)]
    pub proof: Option<String>,
    /// `wrong-cell`: the right one.
    #[serde(default)]
    pub cell: Option<u32>,
}

/// Code and words of a refusal.
#[derive(Debug, Deserialize)]
pub struct RefusalError {
    /// Stable code.
    pub code: String,
    /// What happened, and what to do.
    pub message: String,
}

/// How a voter shows a registrar who she is.
#[derive(Clone, Copy)]
pub enum Shown<'a> {
    /// A one-time code.
    Code(&'a str),
    /// An ID token of the registrar's OpenID provider.
    IdToken {
        /// The token.
        token: &'a str,
        /// What its nonce was made of.
        ticket: &'a str,
    },
}

/// Where to sign in for a registrar, and with which ticket.
#[derive(Debug, Deserialize)]
pub struct SignIn {
    /// The public client.
    pub client_id: String,
    /// Seconds until the nonce expires.
    pub expires_in: u64,
    /// The provider.
    pub issuer: String,
    /// What the nonce is made of.
    pub ticket: String,
    /// What to ask for.
    pub scope: String,
}

/// A registrar's answer.
#[derive(Debug, Deserialize)]
pub struct Issued {
    /// Base64.
    pub blind_signature: String,
    /// Where the issuance stands.
    pub issuance: IssuedAt,
    /// The voter's place on the roll.
    pub roll: RollPlace,
}

/// Where an issuance stands in the registrar's log.
#[derive(Debug, Deserialize)]
pub struct IssuedAt {
    /// Index in the issuance log.
    pub index: u64,
    /// `.tlog-proof` with the issuance entry as `extra`.
    pub proof: String,
    /// The shard.
    pub shard: u32,
}

/// A voter's place on the roll, which she can check against the manifest's root.
#[derive(Debug, Deserialize)]
pub struct RollPlace {
    /// The identity that the registrar issued in the name of.
    pub identity: String,
    /// The roll index.
    pub index: u64,
    /// Base64 hashes, leaf to root.
    pub proof: Vec<String>,
    /// Hex.
    pub salt: String,
}

/// A cell's answer.
#[derive(Debug, Deserialize)]
pub struct Recorded {
    /// The leaf's index.
    pub index: u64,
    /// `.tlog-proof` with the stored entry as `extra`.
    pub proof: String,
}

/// The anchoring service's answer to a notice.
#[derive(Debug, Deserialize)]
pub struct Taken {
    /// Where it stands in the heads log.
    pub index: u64,
}

/// Where a site's own address leads, if it leads anywhere.
///
/// # Errors
/// It cannot be reached.
pub(crate) async fn leads_to(site: &str) -> Result<Option<String>> {
    let http = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .context("cannot set up the HTTP client")?;
    let response = http
        .get(site)
        .send()
        .await
        .with_context(|| format!("cannot reach {site}"))?;
    let location = response.headers().get(reqwest::header::LOCATION);
    Ok(location.and_then(|to| to.to_str().ok()).map(str::to_owned))
}

impl Site {
    /// One voter's client for `site` (the part before `/elections/`).
    ///
    /// # Errors
    /// An address that is not one.
    pub fn new(site: &str, election: &ElectionId) -> Result<Self> {
        Self::with_connections_kept(site, election, 0)
    }

    /// A client that plays many voters, or only reads: with so many at once, a connection that is used again joins nobody.
    ///
    /// # Errors
    /// An address that is not one.
    pub fn for_many(site: &str, election: &ElectionId) -> Result<Self> {
        Self::with_connections_kept(site, election, usize::MAX)
    }

    fn with_connections_kept(site: &str, election: &ElectionId, idle_max: usize) -> Result<Self> {
        let url = reqwest::Url::parse(site).with_context(|| {
            format!("`{site}` is not the address of a site, such as https://vote.example.org")
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            bail!("`{site}` is not an http or https address");
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(idle_max)
            .build()
            .context("cannot set up the HTTP client")?;
        // What people copy is the election's own page.
        let page = format!("/elections/{election}");
        let site = site.trim_end_matches('/');
        let site = site.strip_suffix(&page).unwrap_or(site);
        Ok(Self {
            http,
            base: format!("{site}{page}"),
        })
    }

    /// The election behind `id`: the manifest's hash is checked before a byte of it is read.
    ///
    /// # Errors
    /// Not reachable, or not the election with this id.
    pub async fn election(&self, id: &ElectionId) -> Result<Election> {
        let bytes = self
            .read("manifest.json", MANIFEST_LEN_MAX)
            .await?
            .ok_or_else(|| {
                anyhow!("the site has no election {id}: check the id and the address")
            })?;
        Election::check_id(&bytes, id).context("the site's manifest.json is not this election's")
    }

    /// A published file, or `None` where there is none.
    ///
    /// # Errors
    /// Not reachable, or the file is larger than `max` bytes.
    pub async fn read(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>> {
        let mut pause = Backoff::new();
        loop {
            let error = match self.read_once(path, max).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !pause.wait().await {
                return Err(error);
            }
        }
    }

    /// The same, with one try.
    pub(crate) async fn read_once(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>> {
        let url = format!("{}/{path}", self.base);
        let max = max.min(FILE_BYTES_MAX);
        let response = self
            .http
            .get(&url)
            .send()
            .await
            .with_context(|| format!("cannot reach {url}"))?;
        match response.status().as_u16() {
            200 => bounded(response, max)
                .await
                .map(Some)
                .with_context(|| format!("while reading {url}")),
            404 => Ok(None),
            status => bail!("{url} answered with status {status}"),
        }
    }

    /// Asks registrar `registrar` for a blind signature.
    pub async fn issue(
        &self,
        registrar: usize,
        shown: Shown<'_>,
        blinded: &[u8],
    ) -> Answer<Issued> {
        let blinded = BASE64.encode(blinded);
        let body = match shown {
            Shown::Code(code) => serde_json::json!({ "blinded": blinded, "code": code }),
            Shown::IdToken { token, ticket } => {
                serde_json::json!({ "blinded": blinded, "id_token": token, "ticket": ticket })
            }
        };
        self.post(&format!("registrars/{registrar}/credentials"), &body)
            .await
    }

    /// Asks registrar `registrar` where to sign in for the blinded message of this digest; refused with `not-found` where it takes codes alone.
    pub async fn sign_in(&self, registrar: usize, digest: &[u8; 32]) -> Answer<SignIn> {
        let body = serde_json::json!({ "digest": BASE64.encode(digest) });
        self.post(&format!("registrars/{registrar}/sign-in"), &body)
            .await
    }

    /// Casts a vote entry in cell `cell`.
    pub async fn cast(&self, cell: u32, vote_entry: &[u8]) -> Answer<Recorded> {
        let body = serde_json::json!({ "vote": BASE64.encode(vote_entry) });
        self.post(&format!("cells/{cell}/ballots"), &body).await
    }

    /// Submits a notice of the authority, to whoever writes the heads log.
    pub async fn notice(&self, entry: &[u8]) -> Answer<Taken> {
        let body = serde_json::json!({ "notice": BASE64.encode(entry) });
        self.post("notices", &body).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> Answer<T> {
        let url = format!("{}/{path}", self.base);
        let response = match self.http.post(&url).json(body).send().await {
            Ok(response) => response,
            Err(error) => {
                return Answer::Unknown(format!("no answer from {url}: {}", error.without_url()));
            }
        };
        let status = response.status().as_u16();
        let bytes = match bounded(response, ANSWER_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(error) => {
                return Answer::Unknown(format!("the answer from {url} broke off: {error:#}"));
            }
        };
        match status {
            200 => match serde_json::from_slice(&bytes) {
                Ok(answer) => Answer::Done(answer),
                Err(error) => Answer::Unknown(format!(
                    "the answer from {url} is not what the protocol says: {error}"
                )),
            },
            400..=499 if status != 408 && status != 429 => match serde_json::from_slice(&bytes) {
                Ok(refusal) => Answer::Refused(refusal),
                Err(_) => {
                    Answer::Unknown(format!("{url} answered with status {status} and no reason"))
                }
            },
            _ => {
                let words = serde_json::from_slice::<Refusal>(&bytes).map_or_else(
                    |_| format!("status {status}"),
                    |refusal| refusal.error.message,
                );
                Answer::Unknown(format!("{url}: {words}"))
            }
        }
    }
}

pub(super) async fn bounded(mut response: reqwest::Response, max: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(reqwest::Error::without_url)?
    {
        if bytes.len() + chunk.len() > max {
            bail!("it is larger than {max} bytes");
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Growing pauses with jitter between tries, and an end to them.
#[derive(Debug)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    const TRIES_MAX: u32 = 12;
    const PAUSE_MS_MAX: u64 = 10_000;

    /// For one thing that is tried again and again.
    #[must_use]
    pub const fn new() -> Self {
        Self { tries: 0 }
    }

    /// Waits before the next try; false when there should be none.
    pub async fn wait(&mut self) -> bool {
        self.tries += 1;
        if self.tries >= Self::TRIES_MAX {
            return false;
        }
        let longest = (50u64 << self.tries).min(Self::PAUSE_MS_MAX);
        let pause = rand::rng().random_range(longest / 2..=longest);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        true
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}
