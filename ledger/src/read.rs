//! Reading a log as an outsider: nothing is trusted before it was checked.

use std::sync::Arc;

use bytes::Bytes;
use protocol::checkpoint::Checkpoint;
use protocol::merkle::tile::{
    BUNDLE_BYTES_MAX, BundleId, FULL_WIDTH, TILE_BYTES_MAX, TileId, Tiles, consistency_tiles,
    decode_bundle, inclusion_tiles,
};
use protocol::merkle::{CompactRange, Hash, leaf_hash, verify_consistency};

use crate::batch::{Batch, FILE_BYTES_MAX};
use crate::log::{Keys, LogName};
use crate::publisher::{CHECKPOINT_BYTES_MAX, ReadError, Reader};

/// Reads one log through a [`Reader`]. Cheap to clone.
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
    pub entry: Bytes,
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
    pub async fn newest(&self) -> Result<Option<(Checkpoint, Bytes)>, LogError> {
        self.checkpoint("checkpoint").await
    }

    /// `checkpoints/<size>`, verified, with its bytes; `None` where there is none.
    ///
    /// # Errors
    ///
    /// As [`LogClient::newest`]; and when it is of another size.
    pub async fn at(&self, size: u64) -> Result<Option<(Checkpoint, Bytes)>, LogError> {
        let file = format!("checkpoints/{size}");
        let found = self.checkpoint(&file).await?;
        match &found {
            Some((checkpoint, _)) if checkpoint.size() != size => {
                Err(self.invalid(&file, format!("it is of size {}", checkpoint.size())))
            }
            _ => Ok(found),
        }
    }

    async fn checkpoint(&self, file: &str) -> Result<Option<(Checkpoint, Bytes)>, LogError> {
        let Some(bytes) = self
            .reader
            .read(&self.log.path(file), CHECKPOINT_BYTES_MAX)
            .await?
        else {
            return Ok(None);
        };
        let checkpoint = self
            .keys
            .verify(&self.log, &bytes)
            .map_err(|error| self.invalid(file, error.to_string()))?;
        Ok(Some((checkpoint, bytes)))
    }

    /// Batch `n`, checked to follow `range` (the batches before it, from [`CompactRange::new`] on), which moves to its end; `None` where it is not published yet.
    /// That it belongs to the log is shown only by a checkpoint that ends there with the same root: compare.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or does not follow.
    pub async fn batch(&self, n: u64, range: &mut CompactRange) -> Result<Option<Batch>, LogError> {
        let file = format!("batches/{n}");
        let Some(bytes) = self
            .reader
            .read(&self.log.path(&file), FILE_BYTES_MAX)
            .await?
        else {
            return Ok(None);
        };
        let batch = Batch::from_file(&self.log, n, range, &bytes);
        batch
            .map(Some)
            .map_err(|error| self.invalid(&file, error.to_string()))
    }

    /// The entry at `index` and its inclusion proof in the tree of `checkpoint`, from authenticated tiles.
    ///
    /// # Errors
    ///
    /// When the files cannot be read, or do not prove it.
    pub async fn inclusion(&self, index: u64, checkpoint: &Checkpoint) -> Result<Proven, LogError> {
        let size = checkpoint.size();
        if index >= size {
            return Err(LogError::NoSuchEntry(index));
        }
        let tiles = self.tiles(inclusion_tiles(index, size), checkpoint).await?;
        let damaged = |error: &dyn ToString| self.invalid("tile", error.to_string());
        let proof = tiles
            .inclusion_proof(index)
            .map_err(|error| damaged(&error))?;
        let leaf = tiles.leaf(index).map_err(|error| damaged(&error))?;
        let entry = self.entry(index, size).await?;
        if leaf_hash(&entry) != leaf {
            return Err(self.invalid(
                "tile/entries",
                format!("entry {index} is not the one that the tree holds"),
            ));
        }
        Ok(Proven { entry, proof })
    }

    /// The proof that the tree of `new` starts with the one of `old`, from authenticated tiles, checked.
    ///
    /// # Errors
    ///
    /// When the files cannot be read, or the trees are not consistent: [`LogError::Inconsistent`] names both, and is evidence against the log.
    pub async fn consistency(
        &self,
        old: &Checkpoint,
        new: &Checkpoint,
    ) -> Result<Vec<Hash>, LogError> {
        let inconsistent = |reason: String| LogError::Inconsistent {
            old: old.body(),
            new: new.body(),
            reason,
        };
        if old.size() > new.size() {
            return Err(inconsistent("the log shrank".to_owned()));
        }
        let proof = if old.size() == new.size() || old.size() == 0 {
            Vec::new()
        } else {
            let tiles = self
                .tiles(consistency_tiles(old.size(), new.size()), new)
                .await?;
            tiles
                .consistency_proof(old.size())
                .map_err(|error| self.invalid("tile", error.to_string()))?
        };
        verify_consistency(old.size(), &old.root(), new.size(), &new.root(), &proof)
            .map_err(|error| inconsistent(error.to_string()))?;
        Ok(proof)
    }

    /// These tiles of the checkpoint's tree, authenticated.
    async fn tiles(&self, ids: Vec<TileId>, checkpoint: &Checkpoint) -> Result<Tiles, LogError> {
        let tiles = read_tiles(self.reader.as_ref(), &self.log, ids).await?;
        Tiles::authenticate(checkpoint.size(), &checkpoint.root(), tiles)
            .map_err(|error| self.invalid("tile", error.to_string()))
    }

    /// The entry at `index`, from its bundle; not authenticated.
    async fn entry(&self, index: u64, size: u64) -> Result<Bytes, LogError> {
        let (id, bytes) = read_bundle(self.reader.as_ref(), &self.log, index, size).await?;
        let damaged = |reason: String| self.invalid(&id.path(), reason);
        let entries =
            decode_bundle(&bytes, id.width()).map_err(|error| damaged(error.to_string()))?;
        let entry = entries
            .get(position(index))
            .ok_or_else(|| damaged(format!("entry {index} is not in it")))?;
        Ok(bytes.slice_ref(entry))
    }

    fn invalid(&self, file: &str, reason: String) -> LogError {
        LogError::Invalid {
            path: self.log.path(file),
            reason,
        }
    }
}

/// The position of entry `index` in its bundle, and of its hash in its tile.
pub(crate) fn position(index: u64) -> usize {
    usize::try_from(index % u64::from(FULL_WIDTH)).unwrap_or(0)
}

/// Reads these tiles, full ones in the place of partial ones that are gone. Not authenticated.
pub(crate) async fn read_tiles(
    reader: &dyn Reader,
    log: &LogName,
    ids: Vec<TileId>,
) -> Result<Vec<(TileId, Vec<u8>)>, LogError> {
    let read = |id: TileId| async move {
        let path = log.path(&id.path());
        if let Some(bytes) = reader.read(&path, TILE_BYTES_MAX).await? {
            return Ok((id, bytes.to_vec()));
        }
        // SPEC: "Superseded partial tiles may exist": where one does not, the full tile holds it.
        let full = reader
            .read(&log.path(&id.full().path()), TILE_BYTES_MAX)
            .await?;
        match full.as_deref().and_then(|full| id.truncate(full)) {
            Some(bytes) => Ok((id, bytes.to_vec())),
            None => Err(LogError::Missing(path)),
        }
    };
    futures::future::try_join_all(ids.into_iter().map(read)).await
}

/// Reads the bundle that holds entry `index` in a tree of `size` leaves, or the full one that came after it. Not authenticated.
pub(crate) async fn read_bundle(
    reader: &dyn Reader,
    log: &LogName,
    index: u64,
    size: u64,
) -> Result<(BundleId, Bytes), LogError> {
    let full = u64::from(FULL_WIDTH);
    let number = index / full;
    let width = u16::try_from(size.saturating_sub(number * full).min(full)).unwrap_or(FULL_WIDTH);
    let id = BundleId::new(number, width).map_err(|_| LogError::NoSuchEntry(index))?;
    let path = log.path(&id.path());
    if let Some(bytes) = reader.read(&path, BUNDLE_BYTES_MAX).await? {
        return Ok((id, bytes));
    }
    match reader
        .read(&log.path(&id.full().path()), BUNDLE_BYTES_MAX)
        .await?
    {
        Some(bytes) => Ok((id.full(), bytes)),
        None => Err(LogError::Missing(path)),
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
    /// Two signed checkpoints do not belong to one log.
    #[error("the log forked: {reason}; it signed both {old:?} and {new:?}")]
    Inconsistent {
        /// The older checkpoint's text.
        old: String,
        /// The newer checkpoint's text.
        new: String,
        /// What does not hold.
        reason: String,
    },
}
