//! The decision: whether to cosign a checkpoint.
//!
//! What the answer must be in each case is C2SP tlog-witness's, in its order of checks. What must hold whatever happens, at any crash: of two
//! checkpoints of one log that were ever cosigned, the larger continues the smaller. So check and record are one step under the log's lock, and the record is
//! durable before the cosignature leaves.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use protocol::ed25519;
use protocol::merkle::{empty_root, verify_consistency};
use protocol::note::{ED25519, NoteSignature, SignedNote, key_id};

use super::files::Step;
use super::key::CosigningKey;
use super::logs::Logs;
use super::metrics::Metrics;
use super::request::{AddCheckpoint, Malformed};
use super::state::{Contradiction, Cosigned, Kept, LogFolder, StateFolder, origin_hash};

/// A cosignature on the very same checkpoint is given again for this long, in seconds. Whoever repeats a request then costs no write to disk.
const REPEAT_S: u64 = 30;
/// A clock that stands this far before the last cosignature's time, in seconds, was turned back, and nothing is signed until somebody looks.
const CLOCK_BACK_S: u64 = 300;

/// The time in seconds since the Epoch.
pub type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// A witness: its key, its logs, and what it remembers of each.
pub struct Witness {
    key: CosigningKey,
    clock: Clock,
    logs: BTreeMap<String, Log>,
    /// Origins by their hashes.
    origins: BTreeMap<String, String>,
    metrics: Metrics,
    /// Holds the lock.
    _state: StateFolder,
}

struct Log {
    keys: Vec<[u8; 32]>,
    folder: LogFolder,
    /// Held for as long as a request is decided, over its writes to disk.
    newest: Mutex<Option<Arc<Cosigned>>>,
    /// The same once it is durable, for those who only look: held for a moment.
    shown: Mutex<Option<Arc<Cosigned>>>,
}

impl Log {
    fn new(keys: &[[u8; 32]], folder: LogFolder, newest: Option<Cosigned>) -> Self {
        let newest = newest.map(Arc::new);
        Self {
            keys: keys.to_vec(),
            folder,
            shown: Mutex::new(newest.clone()),
            newest: Mutex::new(newest),
        }
    }

    /// What is behind the lock is replaced as a whole, so what a panic left is whole.
    fn newest(&self) -> MutexGuard<'_, Option<Arc<Cosigned>>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self) -> Option<Arc<Cosigned>> {
        self.shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn show(&self, cosigned: Arc<Cosigned>) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(cosigned);
    }
}

/// The answer to `add-checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 200: the cosignature's line.
    Cosigned(String),
    /// 409: the old size is not that of the newest cosigned checkpoint, which is this.
    OtherSize(u64),
    /// It is not cosigned.
    Refused(Refusal),
}

/// Why a checkpoint is not cosigned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400.
    #[error("{0}: send a request as C2SP tlog-witness has it")]
    Malformed(#[from] Malformed),
    /// 400: "The old size MUST be equal to or lower than the checkpoint size."
    #[error("the old size is above the checkpoint's: a log only grows")]
    Shrinks,
    /// 404.
    #[error("this witness does not know the log: ask its operator to add it")]
    UnknownLog,
    /// 403.
    #[error("no signature is by a key that this witness knows for the log")]
    UnknownKey,
    /// 403.
    #[error("a signature that names a known key of the log does not verify")]
    BadSignature,
    /// 422.
    #[error("the proof does not show that this tree continues the one that was cosigned last")]
    NotConsistent,
    /// 422: two roots of one size.
    #[error(
        "another root was cosigned for this size: the log forked, and both are kept as evidence"
    )]
    SameSize,
    /// 503: nothing was signed, and the same can be sent again.
    #[error("nothing can be cosigned now ({0}): send the same again later")]
    Unavailable(&'static str),
}

impl Witness {
    /// Opens what it remembers of each log.
    ///
    /// # Errors
    /// The state of a log cannot be read, or is not this key's.
    pub fn open(key: CosigningKey, state: StateFolder, logs: &Logs, clock: Clock) -> Result<Self> {
        let mut opened = BTreeMap::new();
        for (origin, keys) in logs.iter() {
            let (folder, newest) = state.log(origin, &key)?;
            opened.insert(origin.to_owned(), Log::new(keys, folder, newest));
        }
        let origins = opened
            .keys()
            .map(|origin| (origin_hash(origin), origin.clone()));
        Ok(Self {
            key,
            clock,
            origins: origins.collect(),
            logs: opened,
            metrics: Metrics::default(),
            _state: state,
        })
    }

    /// Its public key and name.
    #[must_use]
    pub const fn key(&self) -> &CosigningKey {
        &self.key
    }

    /// Answers `add-checkpoint`. Blocks while it writes to disk.
    #[must_use]
    pub fn add_checkpoint(&self, body: &[u8]) -> Answer {
        let answer = self.decide(body, |_| Ok(()));
        self.metrics.count(&answer);
        answer
    }

    /// As [`Witness::add_checkpoint`]; `between` stands between the steps of writing to disk.
    fn decide(&self, body: &[u8], between: impl Fn(Step) -> io::Result<()>) -> Answer {
        self.check(body, between).unwrap_or_else(Answer::Refused)
    }

    fn check(
        &self,
        body: &[u8],
        between: impl Fn(Step) -> io::Result<()>,
    ) -> Result<Answer, Refusal> {
        let request = AddCheckpoint::parse(body)?;
        let submitted = &request.checkpoint;
        let log = self
            .logs
            .get(&submitted.origin)
            .ok_or(Refusal::UnknownLog)?;
        let signed = signatures(&submitted.note, &submitted.origin, &log.keys)?;
        if request.old_size > submitted.size {
            return Err(Refusal::Shrinks);
        }

        // From here to the end nobody else decides about this log.
        let mut newest = log.newest();
        let now_s = self.now_s(newest.as_deref())?;
        if let Some(ours) = newest.as_ref()
            && ours.size == submitted.size
            && ours.root != submitted.root
        {
            // Whatever the old size: two signed roots of one size are the proof of a fork.
            self.keep(log, Contradiction::SameSize, ours, &request, &signed, now_s);
            if request.old_size == ours.size {
                return Err(Refusal::SameSize);
            }
        }
        let old_size = newest.as_ref().map_or(0, |ours| ours.size);
        if request.old_size != old_size {
            return Ok(Answer::OtherSize(old_size));
        }
        let old_root = newest.as_ref().map_or_else(empty_root, |ours| ours.root);
        // "A checkpoint of size zero MUST have the root hash of the empty tree": it then has the old one's, which is that.
        let proven = verify_consistency(
            old_size,
            &old_root,
            submitted.size,
            &submitted.root,
            &request.proof,
        );
        if proven.is_err() {
            if let Some(ours) = newest.as_ref() {
                self.keep(
                    log,
                    Contradiction::NotConsistent,
                    ours,
                    &request,
                    &signed,
                    now_s,
                );
            }
            return Err(Refusal::NotConsistent);
        }
        if let Some(ours) = newest.as_ref()
            && ours.size == submitted.size
            && now_s.saturating_sub(ours.time_s) < REPEAT_S
            && SignedNote::parse(&ours.note).is_ok_and(|note| note.text() == submitted.note.text())
        {
            return Ok(Answer::Cosigned(ours.line.encode()));
        }

        let line = self
            .key
            .cosign(now_s, submitted.note.text())
            .map_err(|_| Refusal::Unavailable("this machine's clock is not set"))?;
        let lines = signed.into_iter().chain([line.clone()]).collect();
        let note = SignedNote::new(submitted.note.text(), lines).map_err(Malformed::Note)?;
        let cosigned = Cosigned {
            size: submitted.size,
            root: submitted.root,
            time_s: now_s,
            line,
            note: note.encode(),
        };
        // "The witness MUST persist the new checkpoint before responding."
        if let Err(error) = log.folder.save(&cosigned, between) {
            tracing::error!(%error, "the newest checkpoint cannot be written down: nothing is cosigned until it can");
            return Err(Refusal::Unavailable("its disk cannot be written"));
        }
        let cosigned = Arc::new(cosigned);
        log.show(Arc::clone(&cosigned));
        *newest = Some(Arc::clone(&cosigned));
        if let Err(error) = log.folder.settle(&cosigned) {
            tracing::warn!(%error, "what was kept as evidence against the log, and is none any more, could not be removed");
        }
        Ok(Answer::Cosigned(cosigned.line.encode()))
    }

    /// The time of the next cosignature: "as of the specified time, the consistent tree head with the largest size", so it never falls.
    fn now_s(&self, newest: Option<&Cosigned>) -> Result<u64, Refusal> {
        let (now_s, last_s) = ((self.clock)(), newest.map_or(0, |ours| ours.time_s));
        if now_s.saturating_add(CLOCK_BACK_S) < last_s {
            tracing::error!(
                now_s,
                last_s,
                "this machine's clock stands far before the last cosignature's time: set it (NTP); nothing is cosigned before"
            );
            return Err(Refusal::Unavailable("its clock was turned back"));
        }
        Ok(now_s.max(last_s))
    }

    fn keep(
        &self,
        log: &Log,
        contradiction: Contradiction,
        ours: &Cosigned,
        request: &AddCheckpoint,
        signed: &[NoteSignature],
        now_s: u64,
    ) {
        let (origin, size) = (&request.checkpoint.origin, request.checkpoint.size);
        match log.folder.keep(contradiction, ours, request, signed, now_s) {
            Ok(Kept::Now) => {
                tracing::error!(%origin, size, kind = contradiction.name(), "a checkpoint that the log signed contradicts the one that was cosigned; it is kept as evidence");
            }
            Ok(Kept::Before) => {}
            Err(error) => {
                self.metrics.evidence_lost();
                tracing::error!(%origin, size, %error, "a checkpoint that contradicts the cosigned one could not be kept");
            }
        }
        self.metrics.contradiction(contradiction);
    }

    /// The newest cosigned checkpoint of the log with this origin hash, for monitors.
    #[must_use]
    pub fn checkpoint(&self, hash: &str) -> Option<Vec<u8>> {
        let log = self.logs.get(self.origins.get(hash)?)?;
        log.shown().map(|ours| ours.note.clone())
    }

    /// Figures in Prometheus's text form.
    #[must_use]
    pub fn metrics(&self) -> String {
        let logs = self.logs.iter().map(|(origin, log)| {
            let (size, time_s) = log.shown().map_or((0, 0), |ours| (ours.size, ours.time_s));
            (origin.as_str(), size, time_s)
        });
        self.metrics.text(logs)
    }
}

/// The signature lines that are by a key of the log.
///
/// "403 Forbidden … if either no signature from a trusted key for the origin is present, or a signature line's key name and ID match a trusted key but the
/// signature itself fails to verify"
fn signatures(
    note: &SignedNote,
    origin: &str,
    keys: &[[u8; 32]],
) -> Result<Vec<NoteSignature>, Refusal> {
    let mut signed: Vec<NoteSignature> = Vec::new();
    for line in note
        .signatures()
        .iter()
        .filter(|line| line.name() == origin)
    {
        let mut claimed = keys
            .iter()
            .filter(|key| key_id(origin, ED25519, *key) == line.key_id())
            .peekable();
        if claimed.peek().is_none() {
            continue;
        }
        let bytes: &[u8; 64] = line
            .signature()
            .try_into()
            .map_err(|_| Refusal::BadSignature)?;
        // Two keys may share an ID.
        if !claimed.any(|key| ed25519::verify(key, note.text().as_bytes(), bytes).is_ok()) {
            return Err(Refusal::BadSignature);
        }
        if !signed.contains(line) {
            signed.push(line.clone());
        }
    }
    if signed.is_empty() {
        return Err(Refusal::UnknownKey);
    }
    Ok(signed)
}

#[cfg(test)]
mod tests;
