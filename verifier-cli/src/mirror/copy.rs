//! The copy's files: created once, never replaced; only `checkpoint` and results.json move, by rename.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use protocol::ids::ElectionId;

/// Why the copy cannot be written.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "{path}: {problem}; make room, or name a folder that you can write to, and run this again: it goes on where it stopped"
)]
pub(super) struct CopyError {
    path: String,
    problem: String,
}

impl CopyError {
    fn new(path: &Path, error: &std::io::Error) -> Self {
        Self {
            path: path.display().to_string(),
            problem: error.to_string(),
        }
    }
}

/// What creating a file came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Created {
    New,
    /// The same bytes were there.
    Same,
    /// Other bytes were there; they stay, and these were put aside.
    Differs,
}

/// The folder: `public/elections/<id>` is served, `conflicts` is not.
pub(super) struct Copy {
    root: PathBuf,
    served: PathBuf,
    written: u64,
}

impl Copy {
    pub(super) fn open(root: &Path, id: &ElectionId) -> Result<Self, CopyError> {
        let served = root.join("public").join("elections").join(id.to_string());
        for folder in [&served, &root.join("unfinished")] {
            fs::create_dir_all(folder).map_err(|error| CopyError::new(folder, &error))?;
        }
        Ok(Self {
            root: root.to_owned(),
            served,
            written: 0,
        })
    }

    /// The election's own folder.
    pub(super) fn served(&self) -> &Path {
        &self.served
    }

    /// Files written so far.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// The bytes of a file, if it is there.
    pub(super) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, CopyError> {
        let full = self.served.join(path);
        match fs::read(&full) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CopyError::new(&full, &error)),
        }
    }

    /// Creates a file that never changes.
    pub(super) fn create(&mut self, path: &str, bytes: &[u8]) -> Result<Created, CopyError> {
        match self.read(path)? {
            Some(there) if there == bytes => return Ok(Created::Same),
            Some(_) => {
                self.put_aside(path, bytes)?;
                return Ok(Created::Differs);
            }
            None => {}
        }
        self.write(&self.served.join(path), bytes)?;
        self.written += 1;
        Ok(Created::New)
    }

    /// Moves `checkpoint` or results.json.
    pub(super) fn replace(&mut self, path: &str, bytes: &[u8]) -> Result<(), CopyError> {
        if self.read(path)?.as_deref() == Some(bytes) {
            return Ok(());
        }
        self.write(&self.served.join(path), bytes)?;
        self.written += 1;
        Ok(())
    }

    /// Keeps what contradicts the copy, outside the tree that is served.
    pub(super) fn put_aside(&self, path: &str, bytes: &[u8]) -> Result<PathBuf, CopyError> {
        let digest = blake3::hash(bytes).to_hex();
        let name = format!("{path}.{}", digest.get(..16).unwrap_or_default());
        let full = self.root.join("conflicts").join(name);
        if !full.exists() {
            self.write(&full, bytes)?;
        }
        Ok(full)
    }

    /// A file is there with all of its bytes, or not at all.
    fn write(&self, full: &Path, bytes: &[u8]) -> Result<(), CopyError> {
        let unfinished = self.root.join("unfinished").join("file");
        let write = || -> std::io::Result<()> {
            if let Some(folder) = full.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut file = File::create(&unfinished)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&unfinished, full)
        };
        write().map_err(|error| CopyError::new(full, &error))
    }
}
