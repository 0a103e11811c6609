//! Where a key is.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use aws::Aws;

use crate::{KeyFile, KeyFileError, KeyRef, Kms, KmsError, Signer};

/// A key file, or a key in KMS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file that its owner alone can read.
    File(PathBuf),
    /// A key that never leaves KMS.
    Kms {
        /// How KMS is reached.
        aws: Aws,
        /// Its name there.
        key: KeyRef,
    },
}

impl KeySource {
    /// Takes the key into use; whether it is the expected one, [`checked`](crate::checked) says.
    ///
    /// # Errors
    /// It cannot be read, or KMS refuses it or cannot be reached.
    pub async fn open(&self) -> Result<Arc<dyn Signer>, OpenError> {
        Ok(match self {
            Self::File(path) => Arc::new(KeyFile::load(path)?),
            Self::Kms { aws, key } => Arc::new(Kms::open(aws, key).await?),
        })
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Kms { key, .. } => write!(f, "{key}"),
        }
    }
}

/// Why a key cannot be taken into use.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// KMS.
    #[error(transparent)]
    Kms(#[from] KmsError),
}

impl OpenError {
    /// Whether the same may succeed later, without anybody changing anything.
    #[must_use]
    pub const fn passes(&self) -> bool {
        match self {
            Self::File(_) => false,
            Self::Kms(error) => error.passes(),
        }
    }
}
