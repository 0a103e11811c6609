//! Keys in files: for demonstrations, rehearsals and tests.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use protocol::ed25519::SigningKey;
use rand::TryRng as _;
use zeroize::Zeroizing;

use crate::{SignError, Signer};

/// The file: 64 lowercase hexadecimal digits of the 32-byte Ed25519 seed, and a line feed.
const FILE_LEN: usize = 65;

/// A key read from a file that only its owner can read. The seed is wiped from memory; `Debug` shows the public key only.
pub struct KeyFile {
    key: SigningKey,
}

impl KeyFile {
    /// Makes a new random key, and writes it to a new file of mode 0600.
    ///
    /// # Errors
    ///
    /// When there is anything at `path` already (a key is never overwritten), or it cannot be written durably.
    pub fn generate(path: &Path) -> Result<Self, KeyFileError> {
        let mut seed = Zeroizing::new([0; 32]);
        rand::rngs::SysRng
            .try_fill_bytes(seed.as_mut_slice())
            .map_err(|error| KeyFileError::Random(error.to_string()))?;
        Self::write(path, &seed)
    }

    /// Writes the key with this seed to a new file of mode 0600.
    ///
    /// # Errors
    ///
    /// As [`KeyFile::generate`].
    pub fn write(path: &Path, seed: &[u8; 32]) -> Result<Self, KeyFileError> {
        let fault = |error| KeyFileError::Io {
            path: path.to_owned(),
            error,
        };
        let mut text = Zeroizing::new([0; FILE_LEN]);
        let (digits, end) = text.split_at_mut(FILE_LEN - 1);
        hex::encode_to_slice(seed, digits).map_err(|_| KeyFileError::Content {
            path: path.to_owned(),
        })?;
        end.fill(b'\n');
        // O_EXCL: of two processes that make the same key at once, one fails; and no link that somebody left there is followed.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(fault)?;
        file.write_all(text.as_slice()).map_err(fault)?;
        file.sync_all().map_err(fault)?;
        // The file's name must survive a power failure too: a manifest that fixes a lost key is worthless.
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(fault)?;
        Ok(Self {
            key: SigningKey::from_seed(seed),
        })
    }

    /// Reads a key.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, others than its owner may read or write it, or it holds anything but one seed.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let fault = |error| KeyFileError::Io {
            path: path.to_owned(),
            error,
        };
        let file = File::open(path).map_err(fault)?;
        // The open file is asked, not the path: nothing can be put in its place in between.
        let metadata = file.metadata().map_err(fault)?;
        if !metadata.is_file() {
            return Err(KeyFileError::Content {
                path: path.to_owned(),
            });
        }
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let mut text = Zeroizing::new(Vec::with_capacity(FILE_LEN + 1));
        file.take(FILE_LEN as u64 + 1)
            .read_to_end(&mut text)
            .map_err(fault)?;
        let content = || KeyFileError::Content {
            path: path.to_owned(),
        };
        let digits = text.strip_suffix(b"\n").unwrap_or(&text);
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits, seed.as_mut_slice()).map_err(|_| content())?;
        Ok(Self {
            key: SigningKey::from_seed(&seed),
        })
    }
}

#[async_trait]
impl Signer for KeyFile {
    fn public_key(&self) -> [u8; 32] {
        self.key.public()
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        Ok(self.key.sign(message))
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFile(public {})", hex::encode(self.key.public()))
    }
}

/// Why a key file cannot be used. Never holds any of its content.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The operating system refused.
    #[error("key file {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// Others could have read the key.
    #[error(
        "key file {} has mode {mode:o}: others than its owner may use it; if nobody did, run chmod 600, else make a new key",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not a key.
    #[error("{} is not a key file: expected a regular file of 64 hexadecimal digits", path.display())]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes for a new key: {0}")]
    Random(String),
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use protocol::ed25519;

    use super::*;

    #[tokio::test]
    async fn a_generated_key_is_read_back_and_signs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cell-0.key");
        let made = KeyFile::generate(&path).unwrap();
        let read = KeyFile::load(&path).unwrap();
        assert_eq!(made.public_key(), read.public_key());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let signature = read.sign(b"message").await.unwrap();
        ed25519::verify(&made.public_key(), b"message", &signature).unwrap();
    }

    #[test]
    fn two_generated_keys_differ_and_none_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        let first = KeyFile::generate(&path).unwrap().public_key();
        assert!(
            matches!(KeyFile::generate(&path), Err(KeyFileError::Io { error, .. }) if error.kind() == io::ErrorKind::AlreadyExists)
        );
        assert_eq!(KeyFile::load(&path).unwrap().public_key(), first);
        assert_ne!(
            KeyFile::generate(&folder.path().join("b.key"))
                .unwrap()
                .public_key(),
            first
        );
    }

    #[test]
    fn a_key_that_others_can_reach_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        KeyFile::generate(&path).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o620, 0o602, 0o610] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(
                matches!(KeyFile::load(&path), Err(KeyFileError::Exposed { mode: told, .. }) if told == mode),
                "{mode:o}"
            );
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        KeyFile::load(&path).unwrap();
    }

    #[test]
    fn anything_but_one_seed_is_refused_without_being_shown() {
        let folder = tempfile::tempdir().unwrap();
        let digits = "5e".repeat(32);
        for (place, content) in [
            "",
            &digits[1..],
            &format!("{digits}5"),
            &format!("{digits}\n\n"),
            &format!(" {digits}"),
            &format!("g{}", &digits[1..]),
        ]
        .into_iter()
        .enumerate()
        {
            let path = folder.path().join(place.to_string());
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let refusal = KeyFile::load(&path).unwrap_err();
            assert!(
                matches!(refusal, KeyFileError::Content { .. }),
                "{content:?}"
            );
            assert!(!format!("{refusal:?} {refusal}").contains("5e5e"));
        }
        assert!(matches!(
            KeyFile::load(folder.path()),
            Err(KeyFileError::Exposed { .. } | KeyFileError::Content { .. })
        ));
    }

    #[test]
    fn debug_does_not_show_the_seed() {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyFile::write(&folder.path().join("a.key"), &[0x5e; 32]).unwrap();
        assert!(!format!("{key:?}").contains("5e5e"));
    }
}
