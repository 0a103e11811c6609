//! A directory as an anchor, for demos: `<folder>/<n>`, created once.
//!
//! It shows the whole course of anchoring on one machine. It cannot bind its owner, who may delete files: that takes S3 Object Lock or the like.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use crate::anchor::{Anchor, AnchorError, Created, OBJECT_LEN_MAX};

/// See the [module](self).
#[derive(Debug, Clone)]
pub struct DirectoryAnchor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    folder: PathBuf,
    /// Unfinished objects stand here, on the same file system but outside of what is published.
    unfinished: PathBuf,
    serial: AtomicU64,
}

impl DirectoryAnchor {
    /// The anchor `name` with its objects in `folder`, which is created. `unfinished` is a folder on the same file system for files that
    /// are being written; nothing in it is ever read.
    ///
    /// # Errors
    /// A folder cannot be created.
    pub fn open(name: &str, folder: &Path, unfinished: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        fs::create_dir_all(unfinished)?;
        sync_folder(folder)?;
        if let Some(parent) = folder.parent() {
            sync_folder(parent)?;
        }
        Ok(Self(Arc::new(Inner {
            name: name.to_owned(),
            folder: folder.to_owned(),
            unfinished: unfinished.to_owned(),
            serial: AtomicU64::new(0),
        })))
    }

    async fn run<T: Send + 'static>(
        &self,
        n: u64,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> Result<T, AnchorError> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|source| AnchorError::Unavailable {
                anchor: self.0.name.clone(),
                n,
                source,
            })
    }
}

#[async_trait]
impl Anchor for DirectoryAnchor {
    fn name(&self) -> &str {
        &self.0.name
    }

    async fn create(&self, n: u64, bytes: &[u8]) -> Result<Created, AnchorError> {
        let bytes = bytes.to_vec();
        self.run(n, move |inner| inner.create(n, &bytes)).await
    }

    async fn read(&self, n: u64) -> Result<Option<Vec<u8>>, AnchorError> {
        let (bytes, len) = self.run(n, move |inner| inner.read(n)).await?;
        if len > OBJECT_LEN_MAX as u64 {
            return Err(AnchorError::TooLarge {
                anchor: self.0.name.clone(),
                n,
                len,
            });
        }
        Ok(bytes)
    }
}

impl Inner {
    /// Temporary file, fsync, `hard_link` (which fails where the name is taken), fsync of the folder; then read back.
    fn create(&self, n: u64, bytes: &[u8]) -> io::Result<Created> {
        let place = self.folder.join(n.to_string());
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let new =
            self.unfinished
                .join(format!("{}-{n}-{}-{serial}", self.name, std::process::id()));
        let linked = write_synced(&new, bytes).and_then(|()| fs::hard_link(&new, &place));
        // The name in `unfinished` has served, however it went.
        let _ = fs::remove_file(&new);
        let created = match linked {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        // Also where the object was there before: whoever made it may have died before this.
        sync_folder(&self.folder)?;
        let (standing, _) = self.read(n)?;
        Ok(match (standing.as_deref() == Some(bytes), created) {
            (true, true) => Created::Created,
            (true, false) => Created::AlreadyEqual,
            (false, _) => Created::Different,
        })
    }

    /// The object's bytes (no more than one beyond the bound) and its length.
    fn read(&self, n: u64) -> io::Result<(Option<Vec<u8>>, u64)> {
        let file = match File::open(self.folder.join(n.to_string())) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((None, 0)),
            Err(error) => return Err(error),
        };
        let len = file.metadata()?.len();
        let mut bytes = Vec::new();
        file.take(OBJECT_LEN_MAX as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok((Some(bytes), len))
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A leftover of a process with our id that died: nobody else writes under this name.
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor(root: &Path) -> DirectoryAnchor {
        DirectoryAnchor::open("one", &root.join("anchors/one"), &root.join("tmp")).unwrap()
    }

    #[tokio::test]
    async fn an_object_is_created_once_and_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        let one = anchor(root.path());
        assert_eq!(one.read(0).await.unwrap(), None);
        assert_eq!(one.create(0, b"first").await.unwrap(), Created::Created);
        assert_eq!(
            one.create(0, b"first").await.unwrap(),
            Created::AlreadyEqual
        );
        assert_eq!(one.create(0, b"other").await.unwrap(), Created::Different);
        // A second process sees the same.
        let again = anchor(root.path());
        assert_eq!(again.create(0, b"other").await.unwrap(), Created::Different);
        assert_eq!(again.read(0).await.unwrap().as_deref(), Some(&b"first"[..]));
        assert_eq!(fs::read_dir(root.path().join("tmp")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn of_many_at_once_exactly_one_wins() {
        let root = tempfile::tempdir().unwrap();
        let one = anchor(root.path());
        let mut tasks = tokio::task::JoinSet::new();
        for byte in 0..16u8 {
            let one = one.clone();
            tasks.spawn(async move { one.create(7, &[byte; 100]).await.unwrap() });
        }
        let outcomes = tasks.join_all().await;
        let created = outcomes.iter().filter(|o| **o == Created::Created);
        assert_eq!(created.count(), 1);
        assert!(!outcomes.contains(&Created::AlreadyEqual));
    }

    #[tokio::test]
    async fn what_cannot_be_ours_is_not_read_whole() {
        let root = tempfile::tempdir().unwrap();
        let one = anchor(root.path());
        let huge = File::create(root.path().join("anchors/one/3")).unwrap();
        huge.set_len(OBJECT_LEN_MAX as u64 + 1).unwrap();
        assert!(matches!(
            one.read(3).await,
            Err(AnchorError::TooLarge { n: 3, .. })
        ));
    }
}
