//! RFC 8785 (skeleton).

use serde::{Serialize, de::DeserializeOwned};

/// Why bytes are not the canonical form of a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// More bytes than the kind of document may have.
    #[error("the document has {len} bytes; at most {max} are allowed")]
    TooLarge {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
}

/// Serialises to the canonical form.
///
/// # Errors
/// The type cannot be written as integer-only JSON.
pub fn to_canonical<T: Serialize>(_value: &T) -> Result<Vec<u8>, CanonicalError> {
    Err(CanonicalError::TooLarge { len: 0, max: 0 })
}

/// Parses bytes that are the canonical form of their own content, and nothing else.
///
/// # Errors
/// What is wrong, and where.
pub fn from_canonical<T: DeserializeOwned + Serialize>(
    _bytes: &[u8],
    _max_len: usize,
) -> Result<T, CanonicalError> {
    Err(CanonicalError::TooLarge { len: 0, max: 0 })
}
