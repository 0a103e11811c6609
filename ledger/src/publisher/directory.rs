//! A directory: for demonstrations.
//!
//! ```text
//! <root>/elections/<election id>/…    what is published, and nothing else
//! <root>/tmp/<election id>/<owner>/   files on their way there
//! <root>/locks/<election id>/         one lock for each checkpoint that moves
//! ```
//!
//! All three must be on one file system that has hard links and locks; [`Publisher::probe`] tries both.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use protocol::ids::ElectionId;

use super::path::Kind;
use super::{Creation, Move, PublishError, Publisher, ReadError, Reader, checkpoint_size};

/// Reads what is published in `<root>/elections/<election id>/`.
#[derive(Clone, Debug)]
pub struct DirectoryReader {
    folder: PathBuf,
}

impl DirectoryReader {
    /// Reads the election's folder below `root`. It need not exist yet.
    #[must_use]
    pub fn new(root: &Path, election: &ElectionId) -> Self {
        Self {
            folder: root.join("elections").join(election.to_string()),
        }
    }
}

#[async_trait]
impl Reader for DirectoryReader {
    async fn read(&self, path: &str, len_max: usize) -> Result<Option<Bytes>, ReadError> {
        if Kind::of(path).is_none() {
            return Err(ReadError::Path(path.to_owned()));
        }
        let file = self.folder.join(path);
        let unavailable = |reason: String| ReadError::Unavailable {
            path: path.to_owned(),
            reason,
        };
        let content = tokio::task::spawn_blocking(move || read_file(&file, len_max))
            .await
            .map_err(|error| unavailable(error.to_string()))?
            .map_err(|error| unavailable(error.to_string()))?;
        match content {
            Some(bytes) if bytes.len() > len_max => Err(ReadError::TooLong {
                path: path.to_owned(),
                len_max,
            }),
            content => Ok(content.map(Bytes::from)),
        }
    }
}

/// Publishes in a directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Directory {
    reader: DirectoryReader,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    published: PathBuf,
    tmp: PathBuf,
    locks: PathBuf,
    /// Tells temporary files apart.
    next: AtomicU64,
    /// Folders whose own names this process has made durable.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Directory {
    /// Opens the election's folder below `root`, makes it if it is not there, and removes the temporary files that an earlier process of this `owner` left.
    /// The owner names who publishes, such as `cells-0`, in `[a-z0-9-]`.
    ///
    /// # Errors
    ///
    /// When the folders cannot be made.
    pub fn open(root: &Path, election: &ElectionId, owner: &str) -> Result<Self, PublishError> {
        let unfit = |what: &Path, error: &io::Error| {
            PublishError::Unfit(format!("{}: {error}", what.display()))
        };
        if owner.is_empty()
            || !owner
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        {
            return Err(PublishError::Unfit(format!(
                "{owner:?} is not the name of an owner"
            )));
        }
        let id = election.to_string();
        let inner = Inner {
            published: root.join("elections").join(&id),
            tmp: root.join("tmp").join(&id).join(owner),
            locks: root.join("locks").join(&id),
            next: AtomicU64::new(0),
            durable: Mutex::default(),
        };
        for folder in [&inner.published, &inner.tmp, &inner.locks] {
            inner
                .make_folder(folder)
                .map_err(|error| unfit(folder, &error))?;
        }
        // What a crash left half written. Another process of the same owner that is still running then fails with an unknown outcome, and tries again.
        for left in fs::read_dir(&inner.tmp).map_err(|error| unfit(&inner.tmp, &error))? {
            let left = left.map_err(|error| unfit(&inner.tmp, &error))?.path();
            fs::remove_file(&left).map_err(|error| unfit(&left, &error))?;
        }
        Ok(Self {
            reader: DirectoryReader::new(root, election),
            inner: Arc::new(inner),
        })
    }

    /// Removes this owner's folder for temporary files, for one that only looked. What is published stays.
    pub fn forget(self) {
        // Best effort: an empty folder that stays harms nobody.
        let _ = fs::remove_dir_all(&self.inner.tmp);
    }

    /// Writes a file that changes, `results.json`, in one step. Not for a log's files.
    ///
    /// # Errors
    ///
    /// When it is not known whether it was written.
    pub async fn replace(&self, path: &str, bytes: Bytes) -> Result<(), PublishError> {
        if Kind::of(path) != Some(Kind::Results) {
            return Err(PublishError::Path(path.to_owned()));
        }
        self.blocking(path, move |inner, path| inner.replace(path, &bytes))
            .await
    }

    /// Runs file operations where they may block. They go on to their end even when the future is dropped.
    async fn blocking<T: Send + 'static>(
        &self,
        path: &str,
        work: impl FnOnce(&Inner, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T, PublishError> {
        let inner = Arc::clone(&self.inner);
        let owned = path.to_owned();
        let unknown = |reason: String| PublishError::Unknown {
            path: path.to_owned(),
            reason,
        };
        tokio::task::spawn_blocking(move || work(&inner, &owned))
            .await
            .map_err(|error| unknown(error.to_string()))?
            .map_err(|error| unknown(error.to_string()))
    }
}

#[async_trait]
impl Reader for Directory {
    async fn read(&self, path: &str, len_max: usize) -> Result<Option<Bytes>, ReadError> {
        self.reader.read(path, len_max).await
    }
}

#[async_trait]
impl Publisher for Directory {
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Creation, PublishError> {
        if !Kind::of(path).is_some_and(Kind::is_immutable) {
            return Err(PublishError::Path(path.to_owned()));
        }
        self.blocking(path, move |inner, path| inner.create(path, &bytes))
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
        if checkpoint_size(&new).is_none() {
            return Err(PublishError::Unfit(format!(
                "what should stand at {path} is no checkpoint"
            )));
        }
        self.blocking(path, move |inner, path| {
            inner.move_checkpoint(path, expected, &new)
        })
        .await
    }

    async fn probe(&self) -> Result<(), PublishError> {
        match self.blocking("probe", |inner, _| inner.probe()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(lacking)) => Err(PublishError::Unfit(lacking.to_owned())),
            Err(error) => Err(PublishError::Unfit(error.to_string())),
        }
    }
}

impl Inner {
    /// Creates a file, never replacing one.
    ///
    /// 1. The whole content goes to a temporary file, and to the disk (fsync).
    /// 2. `hard_link` gives it its name, and fails if the name is taken: the one atomic step, so nobody ever sees a part of a file.
    /// 3. The folder goes to the disk (fsync): the name survives a power failure.
    /// 4. The temporary name is removed; failing that, the next start does.
    ///
    /// A crash before 2 leaves nothing; after it, repeating finds equal bytes and does step 3 again.
    fn create(&self, path: &str, bytes: &[u8]) -> io::Result<Creation> {
        let target = self.published.join(path);
        if let Some(creation) = compare(&target, bytes)? {
            return Ok(creation);
        }
        let folder = self.folder_of(&target)?;
        let temporary = self.write_temporary(bytes)?;
        let linked = fs::hard_link(&temporary, &target);
        let _ = fs::remove_file(&temporary);
        match linked {
            Ok(()) => {
                sync_folder(folder)?;
                Ok(Creation::Created)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                compare(&target, bytes)?.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Moves a checkpoint under a lock that all processes of this directory share; see [`Publisher::move_checkpoint`].
    fn move_checkpoint(&self, path: &str, expected: Option<Bytes>, new: &[u8]) -> io::Result<Move> {
        let lock = self.locks.join(path.replace('/', "-"));
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(lock)?;
        // Released when the file is closed, by a crash too.
        lock.lock()?;
        let target = self.published.join(path);
        let folder = self.folder_of(&target)?;
        let current = read_file(&target, super::CHECKPOINT_BYTES_MAX)?.map(Bytes::from);
        if current.as_deref() == Some(new) {
            // Perhaps by an attempt that crashed before the folder was on the disk.
            sync_folder(folder)?;
            return Ok(Move::Moved);
        }
        let size = |bytes: &Bytes| checkpoint_size(bytes);
        let backwards = current.as_ref().and_then(size) > checkpoint_size(new);
        if current != expected || backwards {
            return Ok(Move::Conflict(current));
        }
        let temporary = self.write_temporary(new)?;
        fs::rename(&temporary, &target)?;
        sync_folder(folder)?;
        Ok(Move::Moved)
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let target = self.published.join(path);
        let folder = self.folder_of(&target)?;
        let temporary = self.write_temporary(bytes)?;
        fs::rename(temporary, &target)?;
        sync_folder(folder)
    }

    /// Tries, with temporary files, what the log relies on. The inner error says what is lacking.
    fn probe(&self) -> io::Result<Result<(), &'static str>> {
        let (one, two) = (self.write_temporary(b"one")?, self.write_temporary(b"two")?);
        let target = self.tmp.join("probe");
        let _ = fs::remove_file(&target);
        fs::hard_link(&one, &target)?;
        let again = fs::hard_link(&two, &target);
        let kept = fs::read(&target)?;
        for file in [&one, &two, &target] {
            fs::remove_file(file)?;
        }
        if again.is_ok() || kept != b"one" {
            return Ok(Err("it replaces a file that should only be created"));
        }
        let path = self.locks.join("probe");
        let open = || {
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
        };
        let (first, second) = (open()?, open()?);
        // Another process may be probing: whoever holds it, a second lock must not be had.
        let locked = first.try_lock().is_ok();
        if locked && second.try_lock().is_ok() {
            return Ok(Err("its locks do not exclude each other"));
        }
        Ok(Ok(()))
    }

    /// A new file outside of the published tree, on the disk with all of its content.
    fn write_temporary(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.tmp.join(format!("{}-{number}", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(path)
    }

    /// The folder of a published file, made durably if it is not there.
    fn folder_of<'a>(&self, target: &'a Path) -> io::Result<&'a Path> {
        let folder = target.parent().ok_or(ErrorKind::InvalidInput)?;
        self.make_folder(folder)?;
        Ok(folder)
    }

    /// Makes a folder and those above it, each one's name on the disk before anything stands in it.
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        let durable = || self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable().contains(folder) {
            return Ok(());
        }
        if let Some(above) = folder
            .parent()
            .filter(|above| !above.as_os_str().is_empty())
        {
            match fs::create_dir(folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.make_folder(above)?;
                    fs::create_dir(folder).or_else(exists)?;
                }
                made => made.or_else(exists)?,
            }
            // Also where it stood there already: whoever made it may have crashed before this.
            sync_folder(above)?;
        }
        durable().insert(folder.to_owned());
        Ok(())
    }
}

fn exists(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::AlreadyExists {
        Ok(())
    } else {
        Err(error)
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Compares what stands at `target` with `bytes`, and makes sure that it is on the disk if it is equal. `None`: nothing stands there.
fn compare(target: &Path, bytes: &[u8]) -> io::Result<Option<Creation>> {
    match read_file(target, bytes.len())? {
        None => Ok(None),
        Some(found) if found == bytes => {
            File::open(target)?.sync_all()?;
            if let Some(folder) = target.parent() {
                sync_folder(folder)?;
            }
            Ok(Some(Creation::AlreadyEqual))
        }
        Some(_) => Ok(Some(Creation::Different)),
    }
}

/// Reads at most one byte more than `len_max`. `None` where there is no such file.
fn read_file(path: &Path, len_max: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(u64::try_from(len_max).unwrap_or(u64::MAX).saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
