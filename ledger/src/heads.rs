//! Following the heads log, which everybody does: it says which notices are in force, and where every log stands.

use std::sync::Arc;

use bytes::Bytes;
use protocol::checkpoint::{Checkpoint, CheckpointError};
use protocol::grammar::{GrammarError, HeadsLog, Schedule};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::CompactRange;
use protocol::note::NOTE_BYTES_MAX;

use crate::batch::End;
use crate::log::{Keys, LogName};
use crate::publisher::{ReadError, Reader};
use crate::read::{LogClient, LogError};

/// A log's name in its election; the election need not have the log.
#[must_use]
pub fn name_of(election: &Election, log: LogId) -> LogName {
    LogName::new(&election.manifest().base, election.id(), log)
}

/// The keys that may sign the log's checkpoints, as the notices so far have it. `None` if the election has no such log.
#[must_use]
pub fn keys_of(election: &Election, schedule: &Schedule, log: LogId) -> Option<Keys> {
    let keys = election.log_keys(log)?;
    let main = Keys::main(*keys.main.as_bytes());
    Some(match schedule.switch(log) {
        Some(switch) => main.switched(*keys.spare.as_bytes(), switch.size),
        None => main,
    })
}

/// Reads the heads log batch by batch, checking every one: roots, grammar, the authority's signatures, and the key of each checkpoint that it stops at.
///
/// What it says of other logs is the anchoring service's claim; a reader that cares compares it with those logs.
pub struct HeadsFollower {
    reader: Arc<dyn Reader>,
    election: Election,
    /// Under `checkpoint`.
    taken: Taken,
    checkpoint: Option<(Checkpoint, Bytes)>,
    /// Read and chained, but not yet under a checkpoint: where an interrupted catch-up goes on.
    ahead: Option<Taken>,
}

#[derive(Clone)]
struct Taken {
    log: HeadsLog,
    range: CompactRange,
}

impl HeadsFollower {
    /// Starts before the first batch; nothing is read yet.
    #[must_use]
    pub fn new(reader: Arc<dyn Reader>, election: &Election) -> Self {
        Self {
            reader,
            election: election.clone(),
            taken: Taken {
                log: HeadsLog::new(election),
                range: CompactRange::new(),
            },
            checkpoint: None,
            ahead: None,
        }
    }

    /// The log as far as it was taken.
    #[must_use]
    pub const fn log(&self) -> &HeadsLog {
        &self.taken.log
    }

    /// The newest checkpoint that was taken, with its bytes; `None` before the first.
    #[must_use]
    pub const fn checkpoint(&self) -> Option<&(Checkpoint, Bytes)> {
        self.checkpoint.as_ref()
    }

    /// Where the log ends, as far as it was taken.
    #[must_use]
    pub fn end(&self) -> End {
        End::from(&self.taken.range)
    }

    /// The log with the batches that are published beyond the checkpoint: what a writer that was stopped there left, or is about to sign. They chain and pass every check, but nobody has
    /// signed for them. Returns where they end.
    ///
    /// # Errors
    ///
    /// As [`HeadsFollower::advance`].
    pub async fn beyond(&self) -> Result<(HeadsLog, End), FollowError> {
        let name = name_of(&self.election, LogId::Heads);
        let (mut beyond, Some(keys)) = (self.taken.clone(), self.election.log_keys(LogId::Heads))
        else {
            return Ok((self.taken.log.clone(), self.end()));
        };
        let main = Keys::main(*keys.main.as_bytes());
        let client = LogClient::new(Arc::clone(&self.reader), name, main);
        loop {
            match take_batch(&self.election, &client, &mut beyond).await {
                Ok(()) => {}
                Err(FollowError::Missing(_)) => {
                    let end = End::from(&beyond.range);
                    return Ok((beyond.log, end));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads up to the newest published checkpoint. `true`: there was something new.
    ///
    /// # Errors
    ///
    /// See [`FollowError`]; what was taken before stays, and calling again goes on.
    pub async fn advance(&mut self) -> Result<bool, FollowError> {
        let name = name_of(&self.election, LogId::Heads);
        let Some(keys) = self.election.log_keys(LogId::Heads) else {
            return Ok(false);
        };
        let Some(bytes) = self
            .reader
            .read(&name.path("checkpoint"), NOTE_BYTES_MAX)
            .await?
        else {
            return if self.checkpoint.is_none() {
                Ok(false)
            } else {
                Err(FollowError::WentBack)
            };
        };
        // Which of the two keys must have signed is known only once the notices below this size are.
        let either = [*keys.main.as_bytes(), *keys.spare.as_bytes()];
        let (newest, key) = Checkpoint::verify(&bytes, name.origin(), &either)?;
        let end = self.end();
        if newest.size() < end.size {
            return Err(FollowError::WentBack);
        }
        if newest.size() == end.size {
            return if newest.root() == end.root {
                Ok(false)
            } else {
                Err(FollowError::Forked(newest.size()))
            };
        }
        // Progress stands in `self`, so that a caller's time-out does not make a long catch-up start over.
        let mut ahead = self.ahead.take().unwrap_or_else(|| self.taken.clone());
        if ahead.range.size() > newest.size() {
            // Batches that no checkpoint covers yet; they are read again when one does.
            ahead = self.taken.clone();
        }
        let ahead = self.ahead.insert(ahead);
        let client = LogClient::new(Arc::clone(&self.reader), name, Keys::main(either[0]));
        while ahead.range.size() < newest.size() {
            if let Err(error) = take_batch(&self.election, &client, ahead).await {
                // A batch is taken whole or not at all, so what came before it may stand.
                if !error.is_passing() {
                    self.ahead = None;
                }
                return Err(error);
            }
        }
        let Some(ahead) = self.ahead.take() else {
            return Ok(false);
        };
        if ahead.range.size() != newest.size() || ahead.range.root() != newest.root() {
            return Err(FollowError::Forked(newest.size()));
        }
        let signer = ahead
            .log
            .schedule()
            .checkpoint_key(LogId::Heads, newest.size());
        if signer.as_ref().map(|key| key.as_bytes()) != either.get(key) {
            return Err(FollowError::WrongKey(newest.size()));
        }
        self.taken = ahead;
        self.checkpoint = Some((newest, bytes));
        Ok(true)
    }
}

/// Takes the next batch: all of it, or nothing.
async fn take_batch(
    election: &Election,
    client: &LogClient,
    ahead: &mut Taken,
) -> Result<(), FollowError> {
    let n = ahead.log.next_batch();
    let mut range = ahead.range.clone();
    let Some(batch) = client.batch(n, &mut range).await? else {
        return Err(FollowError::Missing(n));
    };
    let entries = batch.entries();
    let entries: Vec<&[u8]> = entries.iter().map(AsRef::as_ref).collect();
    let mut log = ahead.log.clone();
    let summary = log.batch(n, &entries)?;
    for (index, notice) in summary.notices() {
        // SPEC: "Notices carry valid signatures of the authority."
        notice
            .verify(election)
            .map_err(|_| FollowError::Notice(index))?;
    }
    *ahead = Taken { log, range };
    Ok(())
}

/// Why the heads log could not be followed to its newest checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// A file cannot be read, or a batch is not what it must be.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A batch below the newest checkpoint is not there.
    #[error(
        "heads/batches/{0} is missing below the newest checkpoint; try again, and if it stays away the log is damaged"
    )]
    Missing(u64),
    /// The checkpoint is not the heads log's.
    #[error("heads/checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint is signed with the key that is not in force at its size.
    #[error(
        "heads/checkpoint of size {0} is signed with the other key than the notices put in force"
    )]
    WrongKey(u64),
    /// A batch breaks the grammar.
    #[error("the heads log breaks its grammar: {0}")]
    Grammar(#[from] GrammarError),
    /// A notice that the authority did not sign.
    #[error("the notice at index {0} of the heads log is not signed by the authority")]
    Notice(u64),
    /// The newest checkpoint is older than one seen before.
    #[error(
        "the heads log went back behind a checkpoint that it had published: keep both, they are evidence"
    )]
    WentBack,
    /// The checkpoint's tree is not that of the batches.
    #[error(
        "the heads log's checkpoint of size {0} is not over its published batches: the log forked, or its checkpoint is off a batch end"
    )]
    Forked(u64),
}

impl From<ReadError> for FollowError {
    fn from(error: ReadError) -> Self {
        Self::Log(error.into())
    }
}

impl FollowError {
    /// Whether trying again may help: nothing that was read speaks against the log.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Missing(_) | Self::Log(LogError::Read(_) | LogError::Missing(_))
        )
    }
}
