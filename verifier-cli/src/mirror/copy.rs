//! The copy's files: created once, never replaced; only `checkpoint`, `heads/cosigned/…` (which gain lines) and results.json move, by rename.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use protocol::ids::ElectionId;

use crate::folder::{Folder, HoldError, Staged};

/// Files in `conflicts`: a few convict as well as many.
const CONFLICTS_MAX: usize = 1_000;

/// Why the copy cannot be written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{path}: {problem}")]
pub(super) struct CopyError {
    path: String,
    problem: String,
}

impl CopyError {
    fn new(path: &Path, error: &io::Error) -> Self {
        Self {
            path: path.display().to_string(),
            problem: format!(
                "{error}; make room, or name a folder that you can write to, and run this again: it goes on where it stopped"
            ),
        }
    }
}

/// What creating a file came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Created {
    New,
    /// The same bytes were there.
    Same,
    /// Other bytes were there, and stay.
    Differs,
}

/// What says, beside the tree that is served, that nothing in it is to be used yet.
const INCOMPLETE: &str = "incomplete";

/// What an unfinished copy says of itself.
fn incomplete(id: &str) -> String {
    format!(
        "tallyroot-verify mirror: the copy of election {id} is not complete. Run the same command again: it goes on.\n"
    )
}

/// Whether this folder of an election's is one that an unfinished first run of `mirror` left, by that run's own word. Only a folder on this machine can say so: nothing that is served or packed holds the file.
pub(crate) fn is_incomplete(served: &Path) -> bool {
    let Ok(served) = served.canonicalize() else {
        return false;
    };
    let mut above = served.ancestors();
    let (Some(own), Some(elections), Some(public), Some(root)) =
        (above.next(), above.next(), above.next(), above.next())
    else {
        return false;
    };
    let name = |path: &Path| {
        path.file_name()
            .and_then(|name| name.to_str().map(str::to_owned))
    };
    if name(elections).as_deref() != Some("elections") || name(public).as_deref() != Some("public")
    {
        return false;
    }
    let said = fs::read(root.join(INCOMPLETE));
    name(own).is_some_and(|id| said.is_ok_and(|said| said == incomplete(&id).into_bytes()))
}

/// The folder: `public/elections/<id>` is served, `conflicts` is not.
pub(super) struct Copy {
    folder: Folder,
    served: PathBuf,
    written: u64,
}

/// A file of the copy that is not served yet.
pub(super) struct Later {
    path: String,
    staged: Staged,
}

impl Copy {
    pub(super) fn open(root: &Path, id: &ElectionId) -> Result<Self, CopyError> {
        let folder = Folder::hold(root).map_err(|error| match error {
            HoldError::Io(error) => CopyError::new(root, &error),
            HoldError::Held => CopyError {
                path: root.display().to_string(),
                problem: "another run copies into this folder: let it end, or name another folder"
                    .to_owned(),
            },
        })?;
        let served = root.join("public").join("elections").join(id.to_string());
        fs::create_dir_all(&served).map_err(|error| CopyError::new(&served, &error))?;
        let mut copy = Self {
            folder,
            served,
            written: 0,
        };
        if !copy.served.join("manifest.json").exists() {
            copy.write_beside(INCOMPLETE, incomplete(&id.to_string()).as_bytes())?;
        }
        Ok(copy)
    }

    /// All of it is there now.
    pub(super) fn is_complete(&self) -> Result<(), CopyError> {
        let said = self.folder.root().join(INCOMPLETE);
        match fs::remove_file(&said) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(CopyError::new(&said, &error)),
            _ => Ok(()),
        }
    }

    /// A file of the copy's own, beside the tree that is served.
    pub(super) fn read_beside(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.folder.root().join(name)).ok()
    }

    pub(super) fn write_beside(&mut self, name: &str, bytes: &[u8]) -> Result<(), CopyError> {
        let full = self.folder.root().join(name);
        let written = self.folder.write(&full, bytes);
        written.map_err(|error| CopyError::new(&full, &error))
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

    /// Whether a file is there.
    pub(super) fn has(&self, path: &str) -> Result<bool, CopyError> {
        let full = self.served.join(path);
        full.try_exists()
            .map_err(|error| CopyError::new(&full, &error))
    }

    /// Creates a file that never changes.
    pub(super) fn create(&mut self, path: &str, bytes: &[u8]) -> Result<Created, CopyError> {
        match self.read(path)? {
            Some(there) if there == bytes => return Ok(Created::Same),
            Some(_) => return Ok(Created::Differs),
            None => {}
        }
        self.write(path, bytes)?;
        Ok(Created::New)
    }

    /// Moves a file that changes.
    pub(super) fn replace(&mut self, path: &str, bytes: &[u8]) -> Result<(), CopyError> {
        if self.read(path)?.as_deref() == Some(bytes) {
            return Ok(());
        }
        self.write(path, bytes)
    }

    /// Writes a file that is to be served only once what it speaks of is.
    pub(super) fn prepare(&mut self, path: &str, bytes: &[u8]) -> Result<Later, CopyError> {
        let staged = self.folder.stage(bytes);
        Ok(Later {
            path: path.to_owned(),
            staged: staged.map_err(|error| CopyError::new(&self.served.join(path), &error))?,
        })
    }

    /// Serves it.
    pub(super) fn publish(&mut self, later: &Later) -> Result<(), CopyError> {
        let full = self.served.join(&later.path);
        let published = later.staged.publish(&full);
        published.map_err(|error| CopyError::new(&full, &error))?;
        self.written += 1;
        Ok(())
    }

    /// Keeps what contradicts the copy, outside the tree that is served.
    pub(super) fn put_aside(&mut self, path: &str, bytes: &[u8]) -> Result<PathBuf, CopyError> {
        let digest = blake3::hash(bytes).to_hex();
        let name = format!("{path}.{}", digest.get(..16).unwrap_or_default());
        let conflicts = self.folder.root().join("conflicts");
        let full = conflicts.join(name);
        if !full.exists() && count(&conflicts) < CONFLICTS_MAX {
            let written = self.folder.write(&full, bytes);
            written.map_err(|error| CopyError::new(&full, &error))?;
        }
        Ok(full)
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), CopyError> {
        let full = self.served.join(path);
        let written = self.folder.write(&full, bytes);
        written.map_err(|error| CopyError::new(&full, &error))?;
        self.written += 1;
        Ok(())
    }
}

/// Files below a folder.
fn count(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => count(&entry.path()),
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_much_that_contradicts_the_copy_is_put_aside() {
        let root = tempfile::tempdir().unwrap();
        let mut copy = Copy::open(root.path(), &ElectionId([7; 32])).unwrap();
        let conflicts = root.path().join("conflicts");
        fs::create_dir_all(&conflicts).unwrap();
        for n in 1..CONFLICTS_MAX {
            fs::write(conflicts.join(n.to_string()), b"").unwrap();
        }
        let last = copy.put_aside("heads/checkpoint", b"one").unwrap();
        assert_eq!(fs::read(&last).unwrap(), b"one");
        let beyond = copy.put_aside("heads/checkpoint", b"two").unwrap();
        assert!(!beyond.exists());
        // What is there stays as it is.
        fs::write(&last, b"looked at").unwrap();
        fs::remove_file(conflicts.join("1")).unwrap();
        assert_eq!(copy.put_aside("heads/checkpoint", b"one").unwrap(), last);
        assert_eq!(fs::read(&last).unwrap(), b"looked at");
    }

    #[test]
    fn every_file_that_is_written_is_counted() {
        let root = tempfile::tempdir().unwrap();
        let mut copy = Copy::open(root.path(), &ElectionId([7; 32])).unwrap();
        for n in 0..3 {
            assert_eq!(copy.written(), n);
            copy.write(&format!("cells/{n}"), b"").unwrap();
        }
    }

    #[test]
    fn what_contradicts_the_copy_is_counted_in_all_folders() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(count(&folder.path().join("none")), 0);
        for path in ["a", "b/c", "b/d/e", "b/d/f"] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
        assert_eq!(count(folder.path()), 4);
    }
}
