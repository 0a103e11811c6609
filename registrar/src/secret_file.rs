//! Files that hold a secret: created once, readable by their owner only, and refused when others can read them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// No secret here is longer: a PEM of a 4096-bit key has about 3,300 bytes.
const SECRET_LEN_MAX: u64 = 16 * 1024;

/// Why a secret cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The operating system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A secret is never replaced: what depends on the old one would be lost.
    #[error(
        "{0} exists already and is never replaced: what was made with it would be lost; choose another folder, or move it away yourself"
    )]
    Exists(PathBuf),
    /// Group or others may read it.
    #[error(
        "{path} may be read by others (mode {mode:o}): treat its secret as known, or, where you know better, run chmod 600 on it"
    )]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// More bytes than any secret has.
    #[error("{0} is too long for a secret; is it the right file?")]
    TooLong(PathBuf),
}

/// Creates `path` with mode 0600 and the given content; on return the content and the folder's entry are on disk.
///
/// # Errors
/// `Exists` when there is a file of this name, `Io` otherwise.
pub fn create(path: &Path, content: &[u8]) -> Result<(), SecretFileError> {
    let io = |source: io::Error| SecretFileError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => SecretFileError::Exists(path.to_owned()),
            _ => io(error),
        })?;
    file.write_all(content).map_err(io)?;
    file.sync_all().map_err(io)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => {
            File::open(folder).and_then(|f| f.sync_all()).map_err(io)
        }
        _ => File::open(".").and_then(|f| f.sync_all()).map_err(io),
    }
}

/// Reads a secret that only its owner may read. The memory is wiped on drop.
///
/// # Errors
/// `Readable` when the permissions let others in; `TooLong`; `Io`.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let io = |source: io::Error| SecretFileError::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Readable {
            path: path.to_owned(),
            mode,
        });
    }
    if meta.len() > SECRET_LEN_MAX {
        return Err(SecretFileError::TooLong(path.to_owned()));
    }
    let mut content = Zeroizing::new(Vec::with_capacity(
        usize::try_from(meta.len()).unwrap_or_default(),
    ));
    file.take(SECRET_LEN_MAX)
        .read_to_end(&mut content)
        .map_err(io)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_private_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create(&path, b"first").unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        assert!(matches!(
            create(&path, b"second"),
            Err(SecretFileError::Exists(_))
        ));
        assert_eq!(*read(&path).unwrap(), b"first");

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            read(&path),
            Err(SecretFileError::Readable { mode: 0o640, .. })
        ));
        assert!(matches!(
            read(&folder.path().join("absent")),
            Err(SecretFileError::Io { .. })
        ));
    }
}
