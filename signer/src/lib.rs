//! Ed25519 signatures over checkpoints, by keys in AWS KMS or in files.
//!
//! A log's key signs nothing but checkpoints, a few a second at most, so a signature may cross a network. Two rules keep a wrong key or a faulty device from
//! ever reaching a voter, whatever stands behind the trait:
//!
//! - at start, the key must be the one that the manifest fixes;
//! - every signature is verified before it leaves.
//!
//! [`Checked`] enforces both, and is the only form in which the sequencer takes a signer.

mod checked;
mod key_file;
pub mod kms;
mod source;

use async_trait::async_trait;

pub use checked::{Checked, checked, describe_metrics};
pub use key_file::{KeyFile, KeyFileError};
pub use kms::{KeyRef, Kms, KmsError};
pub use source::{KeySource, OpenError};

/// Something that holds an Ed25519 key and signs with it (RFC 8032, pure Ed25519).
///
/// Implementations must not show the key in `Debug` or in errors.
#[async_trait]
pub trait Signer: Send + Sync {
    /// The 32 bytes of the public key.
    fn public_key(&self) -> [u8; 32];

    /// Signs `message`. Cancelling the future is harmless; so is signing the same message twice.
    ///
    /// # Errors
    ///
    /// When no signature could be had now, or it does not verify. Trying again is always safe.
    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError>;
}

/// Why there is no signature, or no signer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The key could not be reached.
    #[error("the signing key could not be used now ({0}): nothing was signed; try again")]
    Unavailable(String),
    /// Whoever holds the key will not sign with it until somebody changes something: it is disabled, or this process may not use it.
    #[error("the signing key is refused ({0}): nothing was signed")]
    Refused(String),
    /// No key of this kind signs such a message.
    #[error("a message of {len} bytes is longer than this key signs ({max}): nothing was signed")]
    TooLong {
        /// The message's length.
        len: usize,
        /// The longest that can be signed.
        max: usize,
    },
    /// What came back is not a signature of the message.
    #[error(
        "the signer returned a signature that does not verify: it was discarded; the device or its memory is faulty, replace it if this recurs"
    )]
    Invalid,
    /// The key is not the one that the manifest fixes.
    #[error(
        "the signer holds the key {got}, but the manifest fixes {expected}: configure the key of this very log"
    )]
    WrongKey {
        /// The manifest's key, in hex.
        expected: String,
        /// The signer's key, in hex.
        got: String,
    },
}

impl SignError {
    /// A stable name, for logs and counters.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Refused(_) => "refused",
            Self::TooLong { .. } => "too-long",
            Self::Invalid => "invalid",
            Self::WrongKey { .. } => "wrong-key",
        }
    }
}
