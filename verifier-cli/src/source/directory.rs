//! A folder on this machine.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Fetched, Listed, ListedKind, Source, SourceError};

/// An election's folder. Symbolic links below it are not followed: they could show other files tomorrow, or to somebody else.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The election's own folder (the one that holds `manifest.json`).
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Walks down part by part. `None`: not there. `Some(false)`: a link, or anything else that is not to be opened, is on the way or at its end.
    fn look(&self, path: &str) -> Result<Option<(PathBuf, fs::FileType)>, SourceError> {
        let mut full = self.root.clone();
        let mut kind = None;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if kind.is_some_and(|kind: fs::FileType| !kind.is_dir()) {
                // A link on the way: report it as what is found at the end, so that its content is not looked at.
                break;
            }
            full.push(part);
            match fs::symlink_metadata(&full) {
                Ok(found) => kind = Some(found.file_type()),
                Err(e) if is_absent(e.kind()) => return Ok(None),
                Err(e) => return Err(SourceError::new(path, e)),
            }
        }
        match kind {
            Some(kind) => Ok(Some((full, kind))),
            None => fs::metadata(&full)
                .map(|found| Some((full, found.file_type())))
                .map_err(|e| SourceError::new(path, e)),
        }
    }
}

impl Source for Directory {
    fn read(&self, path: &str, max_len: usize) -> Result<Fetched, SourceError> {
        let Some((full, kind)) = self.look(path)? else {
            return Ok(Fetched::Missing);
        };
        if !kind.is_file() {
            return Ok(Fetched::NotAFile);
        }
        let file = match open_file(&full) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(Fetched::NotAFile),
            Err(e) if is_absent(e.kind()) => return Ok(Fetched::Missing),
            Err(e) => return Err(SourceError::new(path, e)),
        };
        read_bounded(file, max_len).map_err(|e| SourceError::new(path, e))
    }

    fn list(&self, folder: &str) -> Result<Option<Vec<Listed>>, SourceError> {
        let Some((full, kind)) = self.look(folder)? else {
            return Ok(Some(Vec::new()));
        };
        if !kind.is_dir() {
            return Ok(Some(Vec::new()));
        }
        let entries = match fs::read_dir(&full) {
            Ok(entries) => entries,
            Err(e) if is_absent(e.kind()) => return Ok(Some(Vec::new())),
            Err(e) => return Err(SourceError::new(folder, e)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| SourceError::new(folder, e))?;
            let kind = match entry.file_type() {
                Ok(kind) if kind.is_file() => ListedKind::File,
                Ok(kind) if kind.is_dir() => ListedKind::Folder,
                Ok(_) => ListedKind::Other,
                Err(e) if is_absent(e.kind()) => continue,
                Err(e) => return Err(SourceError::new(folder, e)),
            };
            names.push(Listed {
                name: entry.file_name().to_string_lossy().into_owned(),
                kind,
            });
        }
        names.sort();
        Ok(Some(names))
    }

    fn parallel_reads(&self) -> usize {
        2
    }
}

/// Opens an ordinary file, and nothing that took its place since it was looked at: neither is a link followed, nor a FIFO's writer waited for.
fn open_file(full: &Path) -> std::io::Result<Option<File>> {
    let how = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(full, how, Mode::empty()) {
        Ok(file) => File::from(file),
        // A link; a socket.
        Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(file.metadata()?.is_file().then_some(file))
}

/// Also where a part of the path is a file: there is nothing below it.
fn is_absent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Reads at most `max_len` bytes; one more tells that there are too many.
pub(super) fn read_bounded(reader: impl Read, max_len: usize) -> std::io::Result<Fetched> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(max_len).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > max_len {
        return Ok(Fetched::TooLarge);
    }
    Ok(Fetched::File(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    #[test]
    fn only_files_are_opened() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), b"bytes")?;
        symlink(path("file"), path("link"))?;
        // Opening it as a file would wait for somebody who writes.
        let made = Command::new("mkfifo").arg(path("fifo")).status()?;
        assert!(made.success());
        for (name, is_opened) in [
            ("file", true),
            ("link", false),
            ("fifo", false),
            (".", false),
        ] {
            assert_eq!(open_file(&path(name))?.is_some(), is_opened, "{name}");
        }
        Ok(())
    }
}
