//! A witness over HTTP, as C2SP tlog-witness has it.
//!
//! Nothing that it answers is believed before it is checked: a cosignature by the witness's key in the manifest, and what it says of our log by our log's own key.

use std::time::Duration;

use ledger::heads::name_of;
use ledger::log::LogName;
use protocol::checkpoint::Checkpoint;
use protocol::cosignature::{self, WitnessKey};
use protocol::ed25519;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::Hash;
use protocol::note::{ED25519, NOTE_BYTES_MAX, NoteSignature, SignedNote, key_id};
use reqwest::{StatusCode, Url, header};
use sha2::{Digest as _, Sha256};

/// For one whole request: a witness writes to disk before it answers, and does nothing else.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What is said of an answer that is none, at most.
const REASON_CHARS_MAX: usize = 200;
/// "The response MUST have a `Content-Type` of `text/x.tlog.size`."
const TLOG_SIZE: &str = "text/x.tlog.size";

/// One witness of the manifest, and where it is reached.
#[derive(Debug, Clone)]
pub struct Witness {
    key: WitnessKey,
    submission: Url,
    monitoring: Url,
    http: reqwest::Client,
}

/// What a witness answers to a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Its cosignature, verified, and the time in it, in seconds since the Epoch.
    Cosigned(NoteSignature, u64),
    /// It has cosigned another size last.
    OtherSize(u64),
    /// It does not see that our checkpoint continues the one that it cosigned.
    NotConsistent(String),
}

/// A witness did not give an answer that can be used. Says nothing about our log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// The configuration's address.
    #[error(
        "{0:?} is no http or https address of a witness, such as https://witness.example/prefix"
    )]
    Address(String),
    /// The HTTP client could not be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
    /// No answer.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// An answer of another form or meaning than the specification's.
    #[error("its answer cannot be used: {0}")]
    Answer(String),
}

impl Witness {
    /// The witness with this key at this address: its submission prefix, and its monitoring prefix where that is another.
    ///
    /// # Errors
    /// An address is none.
    pub fn new(
        key: WitnessKey,
        submission: &str,
        monitoring: Option<&str>,
    ) -> Result<Self, WitnessError> {
        let submission = prefix(submission)?;
        let monitoring = match monitoring {
            Some(address) => prefix(address)?,
            None => submission.clone(),
        };
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(1)
            .build()
            .map_err(|error| WitnessError::Client(error.to_string()))?;
        Ok(Self {
            key,
            submission,
            monitoring,
            http,
        })
    }

    /// Its name and key.
    #[must_use]
    pub const fn key(&self) -> &WitnessKey {
        &self.key
    }

    /// The size of the election's heads log that it has cosigned last, as it shows it.
    ///
    /// # Errors
    /// It cannot be reached, or what it shows is not of this heads log.
    pub async fn reach(&self, election: &Election) -> Result<Option<u64>, WitnessError> {
        let binding = Binding::new(election, None);
        let name = name_of(election, LogId::Heads);
        let newest = self.newest(&name, &binding).await?;
        Ok(newest.map(|checkpoint| checkpoint.size()))
    }

    /// Asks it to cosign `note`, a checkpoint with this text, that continues the tree of `old_size` by `proof`.
    pub(crate) async fn add_checkpoint(
        &self,
        old_size: u64,
        proof: &[Hash],
        note: &[u8],
        text: &str,
    ) -> Result<Answer, WitnessError> {
        let mut body = format!("old {old_size}\n").into_bytes();
        for hash in proof {
            body.extend_from_slice(hash.to_base64().as_bytes());
            body.push(b'\n');
        }
        body.push(b'\n');
        body.extend_from_slice(note);
        let url = below(&self.submission, "add-checkpoint")?;
        let response = self
            .http
            .post(url)
            .body(body)
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        let kind = response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let body = bounded(response).await?;
        match status {
            StatusCode::OK => self.cosignature(&body, text),
            // The type tells the size from other conflicts.
            StatusCode::CONFLICT if kind == TLOG_SIZE => size(&body)
                .map(Answer::OtherSize)
                .ok_or_else(|| WitnessError::Answer("409 without a size".to_owned())),
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT => {
                Ok(Answer::NotConsistent(shown(&body)))
            }
            _ => Err(WitnessError::Answer(format!("{status}: {}", shown(&body)))),
        }
    }

    /// "The client MUST ignore any cosignatures from unknown keys."
    fn cosignature(&self, body: &str, text: &str) -> Result<Answer, WitnessError> {
        let line = body
            .split_inclusive('\n')
            .filter_map(|line| NoteSignature::parse(line).ok())
            .find(|line| self.key.claims(line))
            .ok_or_else(|| {
                WitnessError::Answer(
                    "it has no line by the key that the manifest names: is this another witness?"
                        .to_owned(),
                )
            })?;
        let time_s = cosignature::verify(&self.key, &line, text)
            .map_err(|error| WitnessError::Answer(error.to_string()))?;
        Ok(Answer::Cosigned(line, time_s))
    }

    /// The newest checkpoint of the log that it has cosigned, as its monitoring interface shows it, if one of the log's own keys signed it: that is what no witness can make up.
    pub(crate) async fn newest(
        &self,
        log: &LogName,
        binding: &Binding,
    ) -> Result<Option<Checkpoint>, WitnessError> {
        let hash = Sha256::digest(log.origin())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        let url = below(&self.monitoring, &format!("{hash}/checkpoint"))?;
        let response = self.http.get(url).send().await.map_err(unreachable)?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let body = bounded(response).await?;
        if status != StatusCode::OK {
            return Err(WitnessError::Answer(format!("{status}: {}", shown(&body))));
        }
        let wrong =
            |reason: String| WitnessError::Answer(format!("its checkpoint of our log: {reason}"));
        let note = SignedNote::parse(body.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        let checkpoint =
            Checkpoint::parse_body(note.text()).map_err(|error| wrong(error.to_string()))?;
        if checkpoint.origin() != log.origin() {
            return Err(wrong("it is of another log".to_owned()));
        }
        if signed_by(&note, log.origin(), binding.at(checkpoint.size())) {
            Ok(Some(checkpoint))
        } else {
            Err(wrong("no key of our log has signed it".to_owned()))
        }
    }
}

/// Whose signature binds our log, by size. Above a switch that the log itself holds, the main key's is void: it may be a thief's.
/// Without one both keys bind: an unknown checkpoint under either means that we may not be where the log is.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    main_and_spare: [[u8; 32]; 2],
    /// The size up to which the main key binds.
    switched: Option<u64>,
}

impl Binding {
    /// `switched`: the size in the notice that switched the heads log, where that is published.
    pub(crate) fn new(election: &Election, switched: Option<u64>) -> Self {
        let keys = election.log_keys(LogId::Heads).map(|keys| keys.to_bytes());
        Self {
            main_and_spare: keys.unwrap_or_default(),
            switched,
        }
    }

    fn at(&self, size: u64) -> &[[u8; 32]] {
        let [_, spare] = &self.main_and_spare;
        match self.switched {
            Some(above) if size > above => std::slice::from_ref(spare),
            _ => &self.main_and_spare,
        }
    }
}

fn signed_by(note: &SignedNote, origin: &str, keys: &[[u8; 32]]) -> bool {
    note.signatures()
        .iter()
        .filter(|line| line.name() == origin)
        .any(|line| {
            let Ok(signature) = <&[u8; 64]>::try_from(line.signature()) else {
                return false;
            };
            keys.iter().any(|key| {
                key_id(origin, ED25519, key) == line.key_id()
                    && ed25519::verify(key, note.text().as_bytes(), signature).is_ok()
            })
        })
}

/// An address whose path ends with `/`.
fn prefix(text: &str) -> Result<Url, WitnessError> {
    let wrong = || WitnessError::Address(text.to_owned());
    let mut url = Url::parse(text).map_err(|_| wrong())?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.query().is_none()
        && url.fragment().is_none();
    if !plain {
        return Err(wrong());
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn below(prefix: &Url, path: &str) -> Result<Url, WitnessError> {
    prefix
        .join(path)
        .map_err(|_| WitnessError::Address(prefix.to_string()))
}

/// The body, at most as long as a note may be.
async fn bounded(mut response: reqwest::Response) -> Result<String, WitnessError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if bytes.len().saturating_add(chunk.len()) > NOTE_BYTES_MAX {
            return Err(WitnessError::Answer(format!(
                "it is longer than {NOTE_BYTES_MAX} bytes"
            )));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| WitnessError::Answer("it is not UTF-8 text".to_owned()))
}

/// "the tree size of the latest cosigned checkpoint in decimal, followed by a newline"
fn size(body: &str) -> Option<u64> {
    let text = body.strip_suffix('\n')?;
    let size: u64 = text.parse().ok()?;
    (size.to_string() == text).then_some(size)
}

fn unreachable(error: reqwest::Error) -> WitnessError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    WitnessError::Unreachable(text)
}

/// A stranger's text, made fit for a log: short, and nothing in it but visible ASCII.
fn shown(text: &str) -> String {
    text.chars()
        .take(REASON_CHARS_MAX)
        .flat_map(char::escape_default)
        .collect()
}
