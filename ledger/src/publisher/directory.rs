//! A directory: for demonstrations.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use protocol::ids::ElectionId;

use super::{Creation, Move, PublishError, Publisher, ReadError, Reader};

/// Publishes in `<root>/elections/<election id>/`, with temporary files in `<root>/tmp/`.
#[derive(Clone, Debug)]
pub struct Directory {
    files: DirectoryReader,
}

/// Reads what is published in `<root>/elections/<election id>/`.
#[derive(Clone, Debug)]
pub struct DirectoryReader {
    _folder: PathBuf,
}

impl DirectoryReader {
    /// Reads the election's folder below `root`. It need not exist yet.
    #[must_use]
    pub fn new(root: &Path, election: &ElectionId) -> Self {
        Self {
            _folder: root.join("elections").join(election.to_string()),
        }
    }
}

impl Directory {
    /// Opens the election's folder below `root`, makes it if it is not there, and removes the temporary files that an earlier process of this `owner` left.
    /// The owner names who publishes, such as `cells-0`, in `[a-z0-9-]`.
    ///
    /// # Errors
    ///
    /// When the folders cannot be made.
    pub fn open(root: &Path, election: &ElectionId, _owner: &str) -> Result<Self, PublishError> {
        Ok(Self {
            files: DirectoryReader::new(root, election),
        })
    }

    /// Writes a file that changes, such as `results.json`, in one step. Not for a log's files.
    ///
    /// # Errors
    ///
    /// When it is not known whether it was written.
    pub async fn replace(&self, path: &str, _bytes: Bytes) -> Result<(), PublishError> {
        Err(PublishError::Path(path.to_owned()))
    }
}

#[async_trait]
impl Reader for DirectoryReader {
    async fn read(&self, _path: &str, _len_max: usize) -> Result<Option<Bytes>, ReadError> {
        Ok(None)
    }
}

#[async_trait]
impl Reader for Directory {
    async fn read(&self, path: &str, len_max: usize) -> Result<Option<Bytes>, ReadError> {
        self.files.read(path, len_max).await
    }
}

#[async_trait]
impl Publisher for Directory {
    async fn create(&self, path: &str, _bytes: Bytes) -> Result<Creation, PublishError> {
        Err(PublishError::Path(path.to_owned()))
    }

    async fn move_checkpoint(
        &self,
        path: &str,
        _expected: Option<Bytes>,
        _new: Bytes,
    ) -> Result<Move, PublishError> {
        Err(PublishError::Path(path.to_owned()))
    }

    async fn probe(&self) -> Result<(), PublishError> {
        Ok(())
    }
}
