//! Where a registrar's RSA key is. KMS does not make blind signatures, so the key is needed in memory; what is kept may be wrapped by a key in KMS.

use std::fmt;
use std::path::{Path, PathBuf};

use aws::Aws;
use openssl::rsa::Rsa;
use protocol::ids::ElectionId;
use signer::KeyRef;
use signer::kms::WrappingKey;
use zeroize::Zeroizing;

use super::{BlindSigner, BlindSignerError};
use crate::secret_file;

/// A file with the key, or one with what KMS wrapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RsaKeySource {
    /// PEM, which its owner alone can read.
    File(PathBuf),
    /// Wrapped for one registrar of one election: whoever has the file has nothing without the right to unwrap it.
    Wrapped {
        /// How KMS is reached.
        aws: Aws,
        /// The symmetric key in KMS.
        key: KeyRef,
        /// What it wrapped.
        file: PathBuf,
    },
}

impl fmt::Display for RsaKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Wrapped { key, file, .. } => write!(f, "{}, wrapped by {key}", file.display()),
        }
    }
}

impl BlindSigner {
    /// Takes a registrar's key into use.
    ///
    /// # Errors
    /// As [`BlindSigner::from_file`]; and what KMS refuses or fails at.
    pub async fn open(
        source: &RsaKeySource,
        election: &ElectionId,
        registrar: u16,
    ) -> Result<Self, BlindSignerError> {
        let (aws, key, file) = match source {
            RsaKeySource::File(path) => return Self::from_file(path),
            RsaKeySource::Wrapped { aws, key, file } => (aws, key, file),
        };
        let wrapped = secret_file::read(file)?;
        let wrapping = WrappingKey::new(aws, key).await?;
        let der = wrapping
            .unwrap(&wrapped, &context(election, registrar))
            .await?;
        Self::new(Rsa::private_key_from_der(&der)?)
    }

    /// Writes the key, wrapped for this registrar, to a new file that only its owner may read.
    ///
    /// # Errors
    /// What KMS refuses or fails at; OpenSSL's; or the file exists or cannot be written.
    pub async fn create_wrapped(
        &self,
        path: &Path,
        wrapping: &WrappingKey,
        election: &ElectionId,
        registrar: u16,
    ) -> Result<(), BlindSignerError> {
        // 1,190 bytes for a key of 2048 bits, 2,350 for one of 4096: KMS wraps up to 4,096 itself.
        let der = Zeroizing::new(self.private.private_key_to_der()?);
        let wrapped = wrapping.wrap(&der, &context(election, registrar)).await?;
        Ok(secret_file::create(path, &wrapped)?)
    }
}

/// KMS unwraps only for the very same; its audit log shows it.
fn context(election: &ElectionId, registrar: u16) -> [(&'static str, String); 2] {
    [
        ("tallyroot-election", election.to_string()),
        ("tallyroot-registrar", registrar.to_string()),
    ]
}
