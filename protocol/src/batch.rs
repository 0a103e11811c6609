//! Batch files: the entries that one commit appended, with the tree before and after.
//!
//! ```text
//! batch file = "tallyroot/v1/batch" ‖ 0x00 ‖ election id (32) ‖ log id (9) ‖ n u64
//!              ‖ old size u64 ‖ old root (32) ‖ new size u64 ‖ new root (32) ‖ (length u16 ‖ entry)*
//! ```

use crate::ids::{ElectionId, LogId};
use crate::manifest::Election;
use crate::merkle::{CompactRange, Hash, empty_root, leaf_hash};
use crate::wire::{Reader, WireError, check_entry_lens, write_entries};

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
    pub election: ElectionId,
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
    /// The election has no such log, or it is not the one that was asked for.
    #[error("the batch file is of another log, or of one that the election does not have")]
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
        let mut after = tree.clone();
        for entry in &entries {
            after.push(leaf_hash(entry));
        }
        let batch = Self {
            election: election.id(),
            log,
            n,
            old_size: tree.size(),
            old_root: tree.root(),
            new_size: after.size(),
            new_root: after.root(),
            entries,
        };
        batch.check(election)?;
        let len = batch.encoded_len();
        if len > BATCH_LEN_MAX {
            return Err(BatchError::TooLong { len });
        }
        *tree = after;
        Ok(batch)
    }

    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        out.extend_from_slice(BATCH_LABEL.as_bytes());
        out.push(0);
        out.extend_from_slice(self.election.as_bytes());
        out.extend_from_slice(&self.log.encode());
        out.extend_from_slice(&self.n.to_be_bytes());
        out.extend_from_slice(&self.old_size.to_be_bytes());
        out.extend_from_slice(self.old_root.as_bytes());
        out.extend_from_slice(&self.new_size.to_be_bytes());
        out.extend_from_slice(self.new_root.as_bytes());
        write_entries(&mut out, &self.entries);
        out
    }

    /// Reads what [`BatchFile::encode`] writes for this election, and nothing else. Whether it follows on the batch before, and whether the
    /// new root is right, [`BatchFile::apply`] says.
    ///
    /// # Errors
    /// Bytes that are not the one encoding of a batch of a log of this election.
    pub fn decode(bytes: &'a [u8], election: &Election) -> Result<Self, BatchError> {
        let batch = Self::decode_any(bytes, &election.id())?;
        batch.check(election)?;
        Ok(batch)
    }

    /// As [`BatchFile::decode`], for whoever knows the one log that the batch must be of, and not the manifest.
    ///
    /// # Errors
    /// As [`BatchFile::decode`]; a batch of another log is [`BatchError::Log`].
    pub fn decode_of(
        bytes: &'a [u8],
        election: &ElectionId,
        log: LogId,
    ) -> Result<Self, BatchError> {
        let batch = Self::decode_any(bytes, election)?;
        if batch.log != log {
            return Err(BatchError::Log);
        }
        batch.check_numbers()?;
        Ok(batch)
    }

    /// Reads the fields; what they say is not checked yet.
    fn decode_any(bytes: &'a [u8], election: &ElectionId) -> Result<Self, BatchError> {
        if bytes.len() > BATCH_LEN_MAX {
            return Err(BatchError::TooLong { len: bytes.len() });
        }
        let mut reader = Reader::new(bytes);
        if !reader.starts_with(BATCH_LABEL, election)? {
            return Err(BatchError::Label);
        }
        let log = reader.log_id()?;
        let n = reader.u64()?;
        let old_size = reader.u64()?;
        let old_root = Hash(reader.array()?);
        let new_size = reader.u64()?;
        let new_root = Hash(reader.array()?);
        let count = entry_count(old_size, new_size)?;
        let entries = reader.entries(count)?;
        reader.finish()?;
        Ok(Self {
            election: *election,
            log,
            n,
            old_size,
            old_root,
            new_size,
            new_root,
            entries,
        })
    }

    /// Appends the entries to the tree before the batch, and compares the roots before and after.
    ///
    /// # Errors
    /// `DoesNotChain` or `Root`; the tree is then as before.
    pub fn apply(&self, tree: &mut CompactRange) -> Result<(), BatchError> {
        // "Old size and root are those of batch n - 1"
        if tree.size() != self.old_size || tree.root() != self.old_root {
            return Err(BatchError::DoesNotChain {
                n: self.n,
                old_size: self.old_size,
            });
        }
        let mut after = tree.clone();
        for entry in &self.entries {
            after.push(leaf_hash(entry));
        }
        if after.size() != self.new_size || after.root() != self.new_root {
            return Err(BatchError::Root { n: self.n });
        }
        *tree = after;
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        let entries: usize = self.entries.iter().map(|entry| 2 + entry.len()).sum();
        BATCH_HEADER_LEN + entries
    }

    fn check(&self, election: &Election) -> Result<(), BatchError> {
        if !election.contains(self.log) {
            return Err(BatchError::Log);
        }
        self.check_numbers()
    }

    /// The rules that concern the numbers alone.
    fn check_numbers(&self) -> Result<(), BatchError> {
        if entry_count(self.old_size, self.new_size)? != self.entries.len() {
            return Err(BatchError::Sizes(
                "it must hold `new size - old size` entries",
            ));
        }
        check_entry_lens(&self.entries).map_err(BatchError::Sizes)?;
        match self.n {
            // "for n = 0: 0 and `H("")`"; and "entry 0 is the genesis …, alone in batch 0"
            0 if self.old_size != 0 || self.old_root != empty_root() => {
                Err(BatchError::Sizes("batch 0 must start from the empty tree"))
            }
            0 if self.new_size != 1 => Err(BatchError::Sizes(
                "batch 0 must hold the genesis entry alone",
            )),
            // Every batch before this one holds at least one entry.
            n if self.old_size < n => Err(BatchError::Sizes(
                "its old size is smaller than the number of batches before it",
            )),
            _ => Ok(()),
        }
    }
}

/// "It holds `new size - old size` entries, at least one, at most 32,768".
fn entry_count(old_size: u64, new_size: u64) -> Result<usize, BatchError> {
    new_size
        .checked_sub(old_size)
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| (1..=BATCH_ENTRIES_MAX).contains(count))
        .ok_or(BatchError::Sizes(
            "its sizes must differ by 1 to 32,768 entries",
        ))
}
