//! What a standby knows before its turn comes.
//!
//! A takeover reads the whole log: at ten million votes that is minutes without service. A standby process reads the published files while it waits, and then has only what is new left to read.
//! "A standby warms its set from published files only and compares the prefix root at takeover": nothing is used that a checkpoint of the log's key does not cover, and nothing unless
//! the database holds a batch that ends exactly there. In any doubt the takeover reads everything, as without it.

use std::fmt;
use std::sync::Arc;

use protocol::merkle::CompactRange;
use tokio::sync::Mutex;

use super::finish::Frontier;
use super::replay::Replay;
use crate::batch::{Batch, End, FILE_BYTES_MAX};
use crate::content::Content;
use crate::log::{Keys, LogName};
use crate::publisher::{CHECKPOINT_BYTES_MAX, ReadError, Reader};

/// A log's published prefix, checked and taken in; see [`Warm::follow`]. Cheap to clone: all clones are one. Give it to the sequencer in its [`Config`](super::Config).
#[derive(Clone, Default)]
pub struct Warm(Arc<Mutex<Option<Prefix>>>);

/// The state after the batches of a prefix.
pub(super) struct Prefix {
    pub(super) replay: Replay,
    pub(super) frontier: Frontier,
    pub(super) batches: u64,
    /// Where each batch ended: what somebody outside holds a signature over must be among them.
    pub(super) ends: Vec<End>,
    /// The end that a checkpoint covers. Further batches may have been taken in, but are not shown to be the log's yet.
    covered: End,
}

impl Prefix {
    pub(super) fn end(&self) -> End {
        self.frontier.end()
    }

    pub(super) fn range(&self) -> CompactRange {
        self.frontier.range()
    }
}

impl Warm {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what was published since the last call, up to the newest checkpoint, and returns the size of what is known then. `content` makes the content of the empty log.
    /// Call it again and again while waiting, and once more when the turn has come.
    ///
    /// It may be cancelled; the next call goes on.
    ///
    /// # Errors
    ///
    /// When the files cannot be read now. When they are not what a sound log publishes, what was known is dropped too: the takeover will read everything, and halt where it must.
    pub async fn follow(
        &self,
        log: &LogName,
        keys: &Keys,
        content: &(dyn Fn() -> Box<dyn Content> + Send + Sync),
        files: &dyn Reader,
    ) -> Result<u64, WarmError> {
        let mut slot = self.0.lock().await;
        let Some(bytes) = files
            .read(&log.path("checkpoint"), CHECKPOINT_BYTES_MAX)
            .await?
        else {
            return Ok(0);
        };
        let target = match keys.verify(log, &bytes) {
            Ok(checkpoint) => End {
                size: checkpoint.size(),
                root: checkpoint.root(),
            },
            Err(error) => {
                *slot = None;
                return Err(WarmError::Unsound(format!("its checkpoint: {error}")));
            }
        };
        let prefix = slot.get_or_insert_with(|| Prefix::new(content()));
        match prefix.advance(target, log, files).await {
            Ok(()) => Ok(target.size),
            Err(error) => {
                if matches!(error, WarmError::Unsound(_)) {
                    *slot = None;
                }
                Err(error)
            }
        }
    }

    /// How many entries are known, and covered by a checkpoint.
    pub async fn size(&self) -> u64 {
        let slot = self.0.lock().await;
        slot.as_ref().map_or(0, |prefix| prefix.covered.size)
    }

    /// Whether all that was taken in is covered by a checkpoint, now that nobody is following.
    #[must_use]
    pub fn is_covered(&self) -> bool {
        let Ok(slot) = self.0.try_lock() else {
            return false;
        };
        slot.as_ref().is_some_and(Prefix::is_covered)
    }

    /// What is known, if it ends where a checkpoint covers it. It can be taken once.
    pub(super) async fn take(&self) -> Option<Prefix> {
        let mut slot = self.0.lock().await;
        slot.take().filter(Prefix::is_covered)
    }
}

impl fmt::Debug for Warm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Warm")
    }
}

impl Prefix {
    fn new(content: Box<dyn Content>) -> Self {
        Self {
            replay: Replay::new(content),
            frontier: Frontier::new(),
            batches: 0,
            ends: Vec::new(),
            covered: End::empty(),
        }
    }

    fn is_covered(&self) -> bool {
        self.batches > 0 && self.end() == self.covered
    }

    /// Takes in batches until `target`, which a checkpoint covers. Between two batches it may be cancelled.
    async fn advance(
        &mut self,
        target: End,
        log: &LogName,
        files: &dyn Reader,
    ) -> Result<(), WarmError> {
        while self.end().size < target.size {
            let path = log.path(&format!("batches/{}", self.batches));
            let file = files.read(&path, FILE_BYTES_MAX).await?;
            let file = file.ok_or_else(|| WarmError::Unsound(format!("{path} is missing")))?;
            let batch = Batch::from_file(log, self.batches, &mut self.range(), &file)
                .map_err(|error| WarmError::Unsound(format!("{path}: {error}")))?;
            self.replay.take(&batch).map_err(WarmError::Unsound)?;
            self.frontier.skip(&batch);
            self.ends.push(batch.new_end());
            self.batches += 1;
        }
        // Only now is it known that these were the log's batches.
        if self.end() != target {
            return Err(WarmError::Unsound(format!(
                "its checkpoint is at {target:?}, its batches lead to {:?}",
                self.end()
            )));
        }
        self.covered = target;
        Ok(())
    }
}

/// Why a standby knows nothing new.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WarmError {
    /// Trying again may help.
    #[error(transparent)]
    Files(#[from] ReadError),
    /// The published log is not sound: whoever takes it over will say so, or set it right.
    #[error("what is published cannot be followed: {0}")]
    Unsound(String),
}
