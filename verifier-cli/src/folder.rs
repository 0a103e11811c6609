//! Folders that one process at a time writes, and files that are there with all of their bytes or not at all, whenever the machine stops.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A folder of ours, held as long as this lives; a killed process lets go of it.
pub(crate) struct Folder {
    root: PathBuf,
    _lock: File,
    /// Names of unfinished files so far.
    begun: u64,
}

/// Why a folder cannot be held.
pub(crate) enum HoldError {
    /// Another process holds it.
    Held,
    Io(io::Error),
}

impl From<io::Error> for HoldError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Folder {
    /// Holds the folder, made if it is not there. What a killed process left unfinished is removed.
    pub(crate) fn hold(root: &Path) -> Result<Self, HoldError> {
        fs::create_dir_all(root)?;
        let foreign = |what: &str| {
            io::Error::other(format!(
                "{what} in it is none of ours, and was left as it is: name another folder"
            ))
        };
        // Whatever else has these names, is not emptied and not removed.
        let mut open = OpenOptions::new();
        let lock = open
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join("lock"))?;
        if lock.metadata()?.len() > 0 {
            return Err(foreign("the file `lock`").into());
        }
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => HoldError::Held,
            TryLockError::Error(error) => HoldError::Io(error),
        })?;
        let unfinished = root.join("unfinished");
        fs::create_dir_all(&unfinished)?;
        let left: Vec<PathBuf> = fs::read_dir(&unfinished)?
            .map(|entry| {
                let entry = entry?;
                let name = entry.file_name();
                let is_number = name
                    .to_str()
                    .is_some_and(|name| name.parse::<u64>().is_ok_and(|n| n.to_string() == name));
                match is_number && entry.file_type()?.is_file() {
                    true => Ok(entry.path()),
                    false => Err(foreign("the folder `unfinished`")),
                }
            })
            .collect::<Result<_, _>>()?;
        for file in left {
            fs::remove_file(file)?;
        }
        Ok(Self {
            root: root.to_owned(),
            _lock: lock,
            begun: 0,
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file that has no name yet.
    pub(crate) fn stage(&mut self, bytes: &[u8]) -> io::Result<Staged> {
        let at = self.root.join("unfinished").join(self.begun.to_string());
        self.begun += 1;
        let mut file = OpenOptions::new().write(true).create_new(true).open(&at)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(Staged { at })
    }

    /// Writes a file under its name; one of that name is replaced.
    pub(crate) fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.stage(bytes)?.publish(path)
    }
}

/// A file that is whole and has no name yet.
pub(crate) struct Staged {
    at: PathBuf,
}

impl Staged {
    /// Gives it its name.
    pub(crate) fn publish(&self, path: &Path) -> io::Result<()> {
        let Some(folder) = path.parent() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        fs::create_dir_all(folder)?;
        fs::rename(&self.at, path)?;
        sync(folder)
    }
}

/// Makes sure that the names in a folder are on the disk.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    // "file.tar" has the empty path as its folder.
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    File::open(folder)?.sync_all()
}
