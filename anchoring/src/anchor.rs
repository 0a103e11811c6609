//! Anchors: places that keep what they were given and cannot be made to forget or replace it.

use async_trait::async_trait;

/// Most bytes of an anchor object ("At most 16 MiB", specs/protocol.md section 10).
pub const OBJECT_LEN_MAX: usize = 16 << 20;

/// One anchor of the manifest: objects 0, 1, 2, … created once and never replaced.
///
/// Implementations hold no state of their own between calls: what stands in the anchor is the only truth.
#[async_trait]
pub trait Anchor: Send + Sync {
    /// The anchor's name in the manifest.
    fn name(&self) -> &str;

    /// Creates object `n`, durably, unless it exists; then reads it back and compares, so that what is reported is what stands there.
    ///
    /// # Errors
    /// The outcome is unknown: the same call can be made again.
    async fn create(&self, n: u64, bytes: &[u8]) -> Result<Created, AnchorError>;

    /// Object `n`, or `None` where it was never created.
    ///
    /// # Errors
    /// The anchor cannot be read, or the object is longer than [`OBJECT_LEN_MAX`].
    async fn read(&self, n: u64) -> Result<Option<Vec<u8>>, AnchorError>;
}

/// What stands at the object's place after [`Anchor::create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// These bytes, put there by this call.
    Created,
    /// These bytes; they had been there.
    AlreadyEqual,
    /// Other bytes. Since anchors are never replaced, two histories exist: evidence of a fork.
    Different,
}

/// An anchor could not be asked. Says nothing about what it holds.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// It cannot be reached, or refuses.
    #[error("anchor {anchor} failed at object {n}: {source}; it is asked again until it answers")]
    Unavailable {
        /// The anchor's name.
        anchor: String,
        /// The object.
        n: u64,
        /// What the system said.
        source: std::io::Error,
    },
    /// An object is longer than the protocol allows.
    #[error(
        "object {n} of anchor {anchor} has {len} bytes; at most {OBJECT_LEN_MAX} are allowed, so it is none of ours"
    )]
    TooLarge {
        /// The anchor's name.
        anchor: String,
        /// The object.
        n: u64,
        /// Its length in bytes.
        len: u64,
    },
}
