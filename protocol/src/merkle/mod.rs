//! Merkle trees as of RFC 6962, section 2.1, over SHA-256.
//!
//! A log is a list of entries `D[n] = {d(0), …, d(n-1)}`. Its *root* (the Merkle Tree Hash, MTH) commits to every entry, their order and, given the size, nothing else:
//!
//! ```text
//! MTH({})     = SHA-256()
//! MTH({d(0)}) = SHA-256(0x00 || d(0))
//! MTH(D[n])   = SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n]))     k: the largest power of two below n
//! ```
//!
//! Indices count leaves from 0; a size is a number of leaves; both are 64 bits wide, and no function here overflows, loops long or panics at any value of them.
//!
//! - [`CompactRange`] is all the state that appending and taking roots needs.
//! - [`verify_inclusion`] and [`verify_consistency`] check proofs.
//! - [`tile`] publishes trees as static files, and builds proofs from those files.

mod proof;
mod range;
pub mod tile;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

pub use proof::{ProofError, verify_consistency, verify_inclusion};
pub use range::{CompactRange, RangeError};

/// A SHA-256 hash: a leaf hash, an interior node or a root.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The number of bytes of a hash.
    pub const LEN: usize = 32;

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads exactly 64 lowercase hexadecimal digits; anything else is `None`.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        let hash = Self(bytes);
        // `hex` also takes capital letters; one hash has one spelling.
        (hash.to_string() == text).then_some(hash)
    }

    /// The 44 characters of standard base64 (RFC 4648, section 4), as checkpoints and proofs spell hashes.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads exactly what [`Hash::to_base64`] writes; anything else, other encodings of the same bytes included, is `None`.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        // 44 characters hold at most 33 bytes, so nothing unbounded is decoded.
        if text.len() != 44 {
            return None;
        }
        let bytes = STANDARD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The hash of a leaf, `SHA-256(0x00 || entry)` (RFC 6962, section 2.1).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    // The leading byte keeps leaves and interior nodes apart: an interior node can never pass for an entry.
    Hash(
        Sha256::new()
            .chain_update([0])
            .chain_update(entry)
            .finalize()
            .into(),
    )
}

/// The hash of an interior node, `SHA-256(0x01 || left || right)` (RFC 6962, section 2.1).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(
        Sha256::new()
            .chain_update([1])
            .chain_update(left.0)
            .chain_update(right.0)
            .finalize()
            .into(),
    )
}

/// The root of the tree without leaves, `SHA-256()` (RFC 6962, section 2.1).
#[must_use]
pub fn empty_root() -> Hash {
    Hash(Sha256::digest([]).into())
}

/// RFC 6962's `k`: the largest power of two smaller than `n`, for `n > 1` (and 1 for `n <= 1`, which no recursion asks).
const fn split(n: u64) -> u64 {
    match n.saturating_sub(1).checked_ilog2() {
        Some(log) => 1 << log,
        None => 1,
    }
}
