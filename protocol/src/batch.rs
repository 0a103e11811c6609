//! Batch files: the entries that one commit appended, with the tree before and after.
//!
//! ```text
//! batch file = "tallyroot/v1/batch" ‖ 0x00 ‖ election id (32) ‖ log id (9) ‖ n u64
//!              ‖ old size u64 ‖ old root (32) ‖ new size u64 ‖ new root (32) ‖ (length u16 ‖ entry)*
//! ```

use crate::ids::LogId;
use crate::manifest::Election;
use crate::merkle::{CompactRange, Hash};
use crate::wire::WireError;

/// What the file starts with, before `0x00`.
pub const BATCH_LABEL: &str = "tallyroot/v1/batch";

/// Most bytes of a batch file.
pub const BATCH_LEN_MAX: usize = 16 << 20;

/// Most entries of a batch.
pub const BATCH_ENTRIES_MAX: usize = 32_768;

/// Bytes of a batch file before its entries; each entry then takes 2 bytes more than its own.
pub const BATCH_HEADER_LEN: usize = BATCH_LABEL.len() + 1 + 32 + LogId::LEN + 8 + 2 * (8 + 32);

/// A batch, its entries borrowed from wherever they lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchFile<'a> {
    /// The election.
    pub election: crate::ids::ElectionId,
    /// The log.
    pub log: LogId,
    /// The batch's number, from 0.
    pub n: u64,
    /// Batch n - 1's new size; 0 for n = 0.
    pub old_size: u64,
    /// Batch n - 1's new root; the empty tree's for n = 0.
    pub old_root: Hash,
    /// The log's size with these entries.
    pub new_size: u64,
    /// Its root.
    pub new_root: Hash,
    /// The entries, in order.
    pub entries: Vec<&'a [u8]>,
}

/// Why bytes are not a batch file of this election, or a batch does not fit its log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Too many bytes.
    #[error("a batch file of {len} bytes: at most 16 MiB are allowed")]
    TooLong {
        /// Bytes given.
        len: usize,
    },
    /// The fields do not have their layout.
    #[error("batch file: {0}")]
    Wire(#[from] WireError),
    /// It does not start as a batch file of this election does.
    #[error("not a batch file of this election: it starts with another label or election id")]
    Label,
    /// The election has no such log.
    #[error("the batch file is of a log that the election does not have")]
    Log,
    /// Its numbers contradict each other or its entries.
    #[error("batch file: {0}")]
    Sizes(&'static str),
    /// It does not follow on the tree at hand.
    #[error(
        "batch {n} starts at size {old_size}, and the tree at hand has another size or root: batches must chain"
    )]
    DoesNotChain {
        /// The batch's number.
        n: u64,
        /// Its old size.
        old_size: u64,
    },
    /// Its entries lead to another root than it says.
    #[error("batch {n}: its entries lead to another root than it names")]
    Root {
        /// The batch's number.
        n: u64,
    },
}

impl<'a> BatchFile<'a> {
    /// The batch that appends these entries to the tree at hand; the tree moves on.
    ///
    /// # Errors
    /// No entry, too many, or too long: the tree is then as before.
    pub fn build(
        election: &Election,
        log: LogId,
        n: u64,
        tree: &mut CompactRange,
        entries: Vec<&'a [u8]>,
    ) -> Result<Self, BatchError> {
        let _ = (election, log, n, tree, entries);
        unimplemented!()
    }

    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        unimplemented!()
    }

    /// Reads what [`BatchFile::encode`] writes for this election, and nothing else. Whether it follows on the batch before, and whether the
    /// new root is right, [`BatchFile::apply`] says.
    ///
    /// # Errors
    /// Bytes that are not the one encoding of a batch of a log of this election.
    pub fn decode(bytes: &'a [u8], election: &Election) -> Result<Self, BatchError> {
        let _ = (bytes, election);
        unimplemented!()
    }

    /// Appends the entries to the tree before the batch, and compares the roots before and after.
    ///
    /// # Errors
    /// `DoesNotChain` or `Root`; the tree is then as before.
    pub fn apply(&self, tree: &mut CompactRange) -> Result<(), BatchError> {
        let _ = tree;
        unimplemented!()
    }
}
