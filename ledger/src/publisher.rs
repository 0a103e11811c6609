//! Where files are published: an object store, or a directory.
//!
//! Paths are those of specs/protocol.md, section 15, below the election's folder (`cells/0/batches/7`); see [`path`].

pub mod directory;
pub mod path;
pub mod s3;

use async_trait::async_trait;
use bytes::Bytes;
use protocol::checkpoint::Checkpoint;
use protocol::note::{NOTE_BYTES_MAX, SignedNote};

/// The most bytes of a `checkpoint`.
pub const CHECKPOINT_BYTES_MAX: usize = NOTE_BYTES_MAX;

/// The size that a checkpoint names; nothing else about it is checked, its signature least of all.
#[must_use]
pub fn checkpoint_size(bytes: &[u8]) -> Option<u64> {
    let note = SignedNote::parse(bytes).ok()?;
    Checkpoint::parse_body(note.text())
        .ok()
        .map(|checkpoint| checkpoint.size())
}

/// Reads what is published, like any outsider: nothing that comes from it may be trusted before it was checked.
#[async_trait]
pub trait Reader: Send + Sync + 'static {
    /// The bytes of the file at `path`, or `None` where there is none.
    ///
    /// # Errors
    ///
    /// When it could not be found out now, the file has more than `len_max` bytes, or the path is not one of the tree's.
    async fn read(&self, path: &str, len_max: usize) -> Result<Option<Bytes>, ReadError>;
}

/// Publishes files. Implementations bound the time of every call. Every method may be cancelled or fail without saying what became of it; repeating it then is always safe, and tells.
///
/// What has returned `Ok` is durable and every later read, by anybody, sees it.
#[async_trait]
pub trait Publisher: Reader {
    /// Creates a file, never replacing one. On doubt (a time-out, a conflict), implementations read back and compare.
    ///
    /// # Errors
    ///
    /// When it is not known whether the file exists now, or it certainly does not.
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Creation, PublishError>;

    /// Moves a `checkpoint` from exactly the bytes `expected` (`None`: there is none yet) to `new`: one atomic compare-and-set.
    /// Never backwards: implementations refuse a `new` whose size is below that of what stands there.
    ///
    /// # Errors
    ///
    /// When it is not known whether it moved, or it certainly did not.
    async fn move_checkpoint(
        &self,
        path: &str,
        expected: Option<Bytes>,
        new: Bytes,
    ) -> Result<Move, PublishError>;

    /// Proves, at start, that this place honours create-never-replace and compare-and-set. Leaves nothing in the published tree.
    ///
    /// # Errors
    ///
    /// When it does not: a log must not be published there.
    async fn probe(&self) -> Result<(), PublishError>;
}

/// What became of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// The file is new.
    Created,
    /// It stood there already, with exactly these bytes.
    AlreadyEqual,
    /// It stood there already, with other bytes, and still does.
    Different,
}

/// What became of moving a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// It is at the new bytes now (or was already).
    Moved,
    /// It was not as expected, or the new one would be a step backwards; this is what stands there.
    Conflict(Option<Bytes>),
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Trying again may help.
    #[error("{path} could not be read now ({reason}): whether it exists is unknown; try again")]
    Unavailable {
        /// The path.
        path: String,
        /// What went wrong.
        reason: String,
    },
    /// It is longer than anything that may stand there.
    #[error(
        "{path} is longer than {len_max} bytes: it is not what should stand there, and was not read"
    )]
    TooLong {
        /// The path.
        path: String,
        /// The most bytes that were asked for.
        len_max: usize,
    },
    /// The published tree has no such path.
    #[error("{0:?} is not a path of the published tree (specs/protocol.md, section 15)")]
    Path(String),
}

/// Why a file was not, or may not have been, published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The outcome is unknown; repeating it is safe and tells.
    #[error("{path}: whether it was published is unknown ({reason}); repeat it")]
    Unknown {
        /// The path.
        path: String,
        /// What went wrong.
        reason: String,
    },
    /// The published tree has no such path.
    #[error("{0:?} is not a path of the published tree (specs/protocol.md, section 15)")]
    Path(String),
    /// The place does not keep what logs need.
    #[error("this place cannot hold a log: {0}")]
    Unfit(String),
}
