//! Anchor objects: the heads log's new entries and its checkpoint, as they are locked away.
//!
//! ```text
//! anchor = "tallyroot/v1/anchor" ‖ 0x00 ‖ election id (32) ‖ n u64 ‖ old size u64 ‖ new size u64 ‖ (length u16 ‖ entry)* ‖ length u32 ‖ note
//! ```

use crate::ids::ElectionId;
use crate::wire::WireError;

/// What the object starts with, before `0x00`.
pub const ANCHOR_LABEL: &str = "tallyroot/v1/anchor";

/// Most bytes of an anchor object.
pub const ANCHOR_LEN_MAX: usize = 16 << 20;

/// One anchor object, its entries and note borrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorObject<'a> {
    /// The election.
    pub election: ElectionId,
    /// The object's number, from 0.
    pub n: u64,
    /// Object n - 1's new size; 0 for n = 0.
    pub old_size: u64,
    /// The heads log's size in the note.
    pub new_size: u64,
    /// The heads log's entries from `old_size` on.
    pub entries: Vec<&'a [u8]>,
    /// The byte-exact `checkpoints/<new size>` of the heads log. Not verified.
    pub note: &'a [u8],
}

/// Why bytes are not an anchor object of this election.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// Too many bytes.
    #[error("an anchor object of {len} bytes: at most 16 MiB are allowed")]
    TooLong {
        /// Bytes given.
        len: usize,
    },
    /// The fields do not have their layout.
    #[error("anchor object: {0}")]
    Wire(#[from] WireError),
    /// It does not start as an anchor object of this election does.
    #[error("not an anchor object of this election: it starts with another label or election id")]
    Label,
    /// Its numbers contradict each other or its entries.
    #[error("anchor object: {0}")]
    Sizes(&'static str),
}

impl<'a> AnchorObject<'a> {
    /// The object's bytes.
    ///
    /// # Errors
    /// What [`AnchorObject::decode`] would refuse.
    pub fn encode(&self) -> Result<Vec<u8>, AnchorError> {
        unimplemented!()
    }

    /// Reads what [`AnchorObject::encode`] writes for this election, and nothing else.
    ///
    /// # Errors
    /// Bytes that are not the one encoding of an anchor object of this election.
    pub fn decode(bytes: &'a [u8], election: &ElectionId) -> Result<Self, AnchorError> {
        let _ = (bytes, election);
        unimplemented!()
    }
}
