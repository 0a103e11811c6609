//! Anchor objects: the heads log's new entries and its checkpoint, as they are locked away.
//!
//! ```text
//! anchor = "tallyroot/v1/anchor" ‖ 0x00 ‖ election id (32) ‖ n u64 ‖ old size u64 ‖ new size u64 ‖ (length u16 ‖ entry)* ‖ length u32 ‖ note
//! ```

use crate::ids::ElectionId;
use crate::note::NOTE_BYTES_MAX;
use crate::wire::{Reader, WireError, check_entry_lens, write_entries};

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
        self.check()?;
        let mut out = Vec::new();
        out.extend_from_slice(ANCHOR_LABEL.as_bytes());
        out.push(0);
        out.extend_from_slice(self.election.as_bytes());
        out.extend_from_slice(&self.n.to_be_bytes());
        out.extend_from_slice(&self.old_size.to_be_bytes());
        out.extend_from_slice(&self.new_size.to_be_bytes());
        write_entries(&mut out, &self.entries);
        let note_len = u32::try_from(self.note.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&note_len.to_be_bytes());
        out.extend_from_slice(self.note);
        if out.len() > ANCHOR_LEN_MAX {
            return Err(AnchorError::TooLong { len: out.len() });
        }
        Ok(out)
    }

    /// Reads what [`AnchorObject::encode`] writes for this election, and nothing else.
    ///
    /// # Errors
    /// Bytes that are not the one encoding of an anchor object of this election.
    pub fn decode(bytes: &'a [u8], election: &ElectionId) -> Result<Self, AnchorError> {
        if bytes.len() > ANCHOR_LEN_MAX {
            return Err(AnchorError::TooLong { len: bytes.len() });
        }
        let mut reader = Reader::new(bytes);
        if !reader.starts_with(ANCHOR_LABEL, election)? {
            return Err(AnchorError::Label);
        }
        let n = reader.u64()?;
        let old_size = reader.u64()?;
        let new_size = reader.u64()?;
        let entries = reader.entries(entry_count(old_size, new_size)?)?;
        let note_len = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        let note = reader.bytes(note_len)?;
        reader.finish()?;
        let object = Self {
            election: *election,
            n,
            old_size,
            new_size,
            entries,
            note,
        };
        object.check()?;
        Ok(object)
    }

    fn check(&self) -> Result<(), AnchorError> {
        if entry_count(self.old_size, self.new_size)? != self.entries.len() {
            return Err(AnchorError::Sizes(
                "it must hold `new size - old size` entries",
            ));
        }
        check_entry_lens(&self.entries).map_err(AnchorError::Sizes)?;
        if self.note.is_empty() || self.note.len() > NOTE_BYTES_MAX {
            return Err(AnchorError::Sizes("its note must have 1 to 65,536 bytes"));
        }
        match self.n {
            // "Old size is object n - 1's new size (0 for n = 0)"
            0 if self.old_size != 0 => {
                Err(AnchorError::Sizes("object 0 must start at the log's start"))
            }
            // Every object before this one holds at least one entry.
            n if self.old_size < n => Err(AnchorError::Sizes(
                "its old size is smaller than the number of objects before it",
            )),
            _ => Ok(()),
        }
    }
}

/// "the entries are the heads log's from old size to new size - 1, at least one". An object that claims more than it holds ends too early.
fn entry_count(old_size: u64, new_size: u64) -> Result<usize, AnchorError> {
    new_size
        .checked_sub(old_size)
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| *count > 0)
        .ok_or(AnchorError::Sizes(
            "its new size must be above its old size",
        ))
}
