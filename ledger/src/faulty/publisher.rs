//! A publisher in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;

use super::faults::{Faults, perform};
use super::store::lock;
use crate::publisher::path::Kind;
use crate::publisher::{
    Creation, Move, PublishError, Publisher, ReadError, Reader, checkpoint_size,
};

/// A publisher in memory. Clones share the files.
#[derive(Clone, Debug)]
pub struct MemoryPublisher {
    tree: Arc<Mutex<Tree>>,
    faults: Faults,
}

#[derive(Debug, Default)]
struct Tree {
    files: BTreeMap<String, Bytes>,
    /// Every change, newest last, with what stood there before.
    journal: Vec<(String, Option<Bytes>)>,
}

impl MemoryPublisher {
    /// An empty tree.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self {
            tree: Arc::default(),
            faults,
        }
    }

    /// The same files, failing by another plan.
    #[must_use]
    pub fn with_faults(&self, faults: Faults) -> Self {
        Self {
            tree: Arc::clone(&self.tree),
            faults,
        }
    }

    /// Every file.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Bytes> {
        lock(&self.tree).files.clone()
    }

    /// Writes, or with `None` removes, a file as nobody should be able to.
    pub fn tamper(&self, path: &str, bytes: Option<Bytes>) {
        let mut tree = lock(&self.tree);
        match bytes {
            Some(bytes) => tree.files.insert(path.to_owned(), bytes),
            None => tree.files.remove(path),
        };
    }

    /// The number of changes so far.
    #[must_use]
    pub fn changes(&self) -> usize {
        lock(&self.tree).journal.len()
    }

    /// Loses all but the first `changes` changes.
    pub fn lose_tail(&self, changes: usize) {
        let mut tree = lock(&self.tree);
        while tree.journal.len() > changes {
            match tree.journal.pop() {
                Some((path, Some(before))) => tree.files.insert(path, before),
                Some((path, None)) => tree.files.remove(&path),
                None => None,
            };
        }
    }

    async fn change<T: Send + 'static>(
        &self,
        what: &str,
        path: &str,
        change: impl FnOnce(&mut Tree) -> T + Send + 'static,
    ) -> Result<T, PublishError> {
        let tree = Arc::clone(&self.tree);
        let step = self.faults.next(|| format!("publisher: {what} {path}"));
        let done = perform(step, move || change(&mut lock(&tree))).await;
        done.ok_or_else(|| PublishError::Unknown {
            path: path.to_owned(),
            reason: "timed out".to_owned(),
        })
    }
}

impl Tree {
    fn put(&mut self, path: String, bytes: Bytes) {
        let before = self.files.insert(path.clone(), bytes);
        self.journal.push((path, before));
    }
}

#[async_trait]
impl Reader for MemoryPublisher {
    async fn read(&self, path: &str, len_max: usize) -> Result<Option<Bytes>, ReadError> {
        if Kind::of(path).is_none() {
            return Err(ReadError::Path(path.to_owned()));
        }
        let tree = Arc::clone(&self.tree);
        let owned = path.to_owned();
        let step = self.faults.next(|| format!("publisher: read {path}"));
        let found = perform(step, move || lock(&tree).files.get(&owned).cloned())
            .await
            .ok_or_else(|| ReadError::Unavailable {
                path: path.to_owned(),
                reason: "timed out".to_owned(),
            })?;
        match found {
            Some(bytes) if bytes.len() > len_max => Err(ReadError::TooLong {
                path: path.to_owned(),
                len_max,
            }),
            found => Ok(found),
        }
    }
}

#[async_trait]
impl Publisher for MemoryPublisher {
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Creation, PublishError> {
        if !Kind::of(path).is_some_and(Kind::is_immutable) {
            return Err(PublishError::Path(path.to_owned()));
        }
        let owned = path.to_owned();
        self.change("create", path, move |tree| match tree.files.get(&owned) {
            None => {
                tree.put(owned, bytes);
                Creation::Created
            }
            Some(found) if *found == bytes => Creation::AlreadyEqual,
            Some(_) => Creation::Different,
        })
        .await
    }

    async fn move_checkpoint(
        &self,
        path: &str,
        expected: Option<Bytes>,
        new: Bytes,
    ) -> Result<Move, PublishError> {
        if Kind::of(path) != Some(Kind::Checkpoint) {
            return Err(PublishError::Path(path.to_owned()));
        }
        let Some(size) = checkpoint_size(&new) else {
            return Err(PublishError::Unfit(format!(
                "what should stand at {path} is no checkpoint"
            )));
        };
        let owned = path.to_owned();
        self.change("move", path, move |tree| {
            let current = tree.files.get(&owned).cloned();
            if current.as_ref() == Some(&new) {
                return Move::Moved;
            }
            let backwards = current.as_deref().and_then(checkpoint_size) > Some(size);
            if current != expected || backwards {
                return Move::Conflict(current);
            }
            tree.put(owned, new);
            Move::Moved
        })
        .await
    }

    async fn probe(&self) -> Result<(), PublishError> {
        Ok(())
    }
}
