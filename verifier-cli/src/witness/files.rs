//! Files that are there whole, or not at all, whatever happens in between.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// The steps of putting a file in another's place. A crash between any two of them leaves the old file or the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The new bytes stand under another name.
    Written,
    /// They survive a power failure.
    Synced,
    /// They have the name.
    Renamed,
}

/// Puts `bytes` at `path`, durably once this returns `Ok`. `unfinished` is another name in the same folder, which nobody reads.
///
/// `between` is asked after each step; tests stop there, as a crash would.
pub(super) fn replace(
    path: &Path,
    unfinished: &Path,
    bytes: &[u8],
    between: impl Fn(Step) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = File::create(unfinished)?;
    file.write_all(bytes)?;
    between(Step::Written)?;
    file.sync_all()?;
    between(Step::Synced)?;
    fs::rename(unfinished, path)?;
    between(Step::Renamed)?;
    sync_folder_of(path)
}

/// Makes what was done to names in the file's folder durable.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// The file's bytes, at most `max`; `None` where there is none.
pub(super) fn read(path: &Path, max: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it has more than {max} bytes"),
        ));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_lies_in_the_folder_that_one_is_in() {
        // Tests run in the crate's own.
        assert!(Path::new("Cargo.toml").exists());
        sync_folder_of(Path::new("Cargo.toml")).unwrap();
        sync_folder_of(Path::new("no such folder/file")).unwrap_err();
    }

    #[test]
    fn a_file_is_read_up_to_its_bound_and_only_its_absence_is_none() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        assert_eq!(read(&path, 4)?, None);
        fs::write(&path, b"four")?;
        for max in [4, 5] {
            assert_eq!(read(&path, max)?.as_deref(), Some(b"four".as_slice()));
        }
        for max in [0, 2, 3] {
            assert_eq!(
                read(&path, max).unwrap_err().kind(),
                io::ErrorKind::InvalidData
            );
        }
        // A state that cannot be looked at is not an empty one.
        assert!(read(&path.join("below a file"), 4).is_err());
        Ok(())
    }
}
