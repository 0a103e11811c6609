//! A batch of entries, the unit in which a log grows: one row of the store, one file `batches/<n>`, and one step of the tree.

use bytes::Bytes;
pub use protocol::batch::{BATCH_ENTRIES_MAX as ENTRIES_MAX, BATCH_LEN_MAX as FILE_BYTES_MAX};
use protocol::batch::{BATCH_HEADER_LEN, BatchFile};
pub use protocol::merkle::tile::ENTRY_BYTES_MAX;
use protocol::merkle::{CompactRange, Hash, empty_root, leaf_hash};

use crate::log::LogName;

/// Where a log ends: after some batch, or before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// The number of entries.
    pub size: u64,
    /// The RFC 6962 root over them.
    pub root: Hash,
}

impl End {
    /// The end of the empty log. SPEC: "for n = 0: 0 and `H("")`".
    #[must_use]
    pub fn empty() -> Self {
        Self {
            size: 0,
            root: empty_root(),
        }
    }
}

impl From<&CompactRange> for End {
    fn from(range: &CompactRange) -> Self {
        Self {
            size: range.size(),
            root: range.root(),
        }
    }
}

/// A batch whose end has been computed from its entries, so it cannot claim another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    n: u64,
    old: End,
    new: End,
    leaves: Vec<Hash>,
    /// `(length u16 ‖ entry)*`
    body: Bytes,
}

impl Batch {
    /// Batch `n` with these entries, behind `range`, which moves to its end.
    ///
    /// # Errors
    ///
    /// When there are no entries, too many, one is empty or too long, or all together are too long; `range` is unchanged then.
    pub fn build<E: AsRef<[u8]>>(
        n: u64,
        range: &mut CompactRange,
        entries: &[E],
    ) -> Result<Self, BatchError> {
        let count = entries.len();
        if count == 0 || count > ENTRIES_MAX {
            return Err(BatchError::Count(count));
        }
        let bytes: usize = entries.iter().map(|entry| 2 + entry.as_ref().len()).sum();
        if BATCH_HEADER_LEN + bytes > FILE_BYTES_MAX {
            return Err(BatchError::FileTooLong(BATCH_HEADER_LEN + bytes));
        }
        let mut body = Vec::with_capacity(bytes);
        for entry in entries.iter().map(AsRef::as_ref) {
            let len = u16::try_from(entry.len()).ok().filter(|len| *len > 0);
            let len = len.ok_or(BatchError::EntryLength(entry.len()))?;
            body.extend_from_slice(&len.to_be_bytes());
            body.extend_from_slice(entry);
        }
        let old = End::from(&*range);
        let leaves: Vec<Hash> = entries
            .iter()
            .map(|entry| leaf_hash(entry.as_ref()))
            .collect();
        for leaf in &leaves {
            range.push(*leaf);
        }
        Ok(Self {
            n,
            old,
            new: End::from(&*range),
            leaves,
            body: body.into(),
        })
    }

    /// Reads a batch's entries, which must stand behind `range` and lead to `claimed`; `range` moves there.
    ///
    /// # Errors
    ///
    /// When the body is not a list of entries, or they lead to another end; `range` is unchanged then.
    pub fn from_body(
        n: u64,
        range: &mut CompactRange,
        body: Bytes,
        claimed: End,
    ) -> Result<Self, BatchError> {
        let entries = split(&body)?;
        let mut ahead = range.clone();
        let batch = Self::build(n, &mut ahead, &entries)?;
        if batch.new != claimed {
            return Err(BatchError::OtherEnd {
                claimed,
                computed: batch.new,
            });
        }
        *range = ahead;
        Ok(Self { body, ..batch })
    }

    /// The batch number, from 0.
    #[must_use]
    pub const fn n(&self) -> u64 {
        self.n
    }

    /// The log's end before the batch.
    #[must_use]
    pub const fn old(&self) -> End {
        self.old
    }

    /// The log's end after the batch.
    #[must_use]
    pub const fn new_end(&self) -> End {
        self.new
    }

    /// The leaf hashes of the entries.
    #[must_use]
    pub fn leaves(&self) -> &[Hash] {
        &self.leaves
    }

    /// `(length u16 ‖ entry)*`: what the store keeps.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The entries, in order, sharing the body's memory.
    #[must_use]
    pub fn entries(&self) -> Vec<Bytes> {
        // The body was read or written by this type, so it splits.
        split(&self.body)
            .unwrap_or_default()
            .into_iter()
            .map(|entry| self.body.slice_ref(entry))
            .collect()
    }

    /// The bytes of `batches/<n>` (specs/protocol.md, section 9).
    #[must_use]
    pub fn file(&self, log: &LogName) -> Bytes {
        let file = BatchFile {
            election: *log.election(),
            log: log.id(),
            n: self.n,
            old_size: self.old.size,
            old_root: self.old.root,
            new_size: self.new.size,
            new_root: self.new.root,
            // The body was read or written by this type, so it splits.
            entries: split(&self.body).unwrap_or_default(),
        };
        file.encode().into()
    }

    /// Reads `batches/<n>`, which must be of this log, have this number, stand behind `range` and lead where it says; `range` moves there.
    ///
    /// # Errors
    ///
    /// When any of that does not hold; `range` is unchanged then.
    pub fn from_file(
        log: &LogName,
        n: u64,
        range: &mut CompactRange,
        file: &Bytes,
    ) -> Result<Self, BatchError> {
        let decoded = BatchFile::decode_of(file, log.election(), log.id())?;
        if decoded.n != n {
            return Err(BatchError::OtherNumber(decoded.n));
        }
        // SPEC: "Old size and root are those of batch n - 1".
        let old = End {
            size: decoded.old_size,
            root: decoded.old_root,
        };
        if old != End::from(&*range) {
            return Err(BatchError::DoesNotChain {
                old,
                range: End::from(&*range),
            });
        }
        let claimed = End {
            size: decoded.new_size,
            root: decoded.new_root,
        };
        // The entries end the file, and are of at least one byte each with their lengths.
        let body = file.slice(BATCH_HEADER_LEN.min(file.len())..);
        Self::from_body(n, range, body, claimed)
    }
}

/// Splits `(length u16 ‖ entry)*`.
fn split(body: &[u8]) -> Result<Vec<&[u8]>, BatchError> {
    let mut entries = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (len, after) = rest.split_first_chunk().ok_or(BatchError::Short)?;
        let (entry, after) = after
            .split_at_checked(usize::from(u16::from_be_bytes(*len)))
            .ok_or(BatchError::Short)?;
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}

/// Why bytes are not the batch they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Too few or too many entries.
    #[error("a batch holds 1 to 32,768 entries, not {0}")]
    Count(usize),
    /// An entry is empty or too long.
    #[error("an entry has {0} bytes; it must have 1 to 65,535")]
    EntryLength(usize),
    /// The file is too long.
    #[error("a batch file of {0} bytes is longer than 16 MiB")]
    FileTooLong(usize),
    /// The file ends early.
    #[error("the batch ends within an entry: it was cut off")]
    Short,
    /// The file is not one of this log's batches.
    #[error(transparent)]
    File(#[from] protocol::batch::BatchError),
    /// The file is another batch.
    #[error("the file holds batch {0}: it stands at the wrong place")]
    OtherNumber(u64),
    /// The file does not follow the batch before it.
    #[error("the batch begins at {old:?}, but the one before it ended at {range:?}")]
    DoesNotChain {
        /// Where the batch begins.
        old: End,
        /// Where the batch before it ended.
        range: End,
    },
    /// The entries lead elsewhere than the batch says.
    #[error(
        "the entries lead to {computed:?}, but the batch says {claimed:?}: it is damaged or forged"
    )]
    OtherEnd {
        /// The end that the batch claims.
        claimed: End,
        /// The end that its entries lead to.
        computed: End,
    },
}

#[cfg(test)]
mod tests {
    use protocol::ids::{ElectionId, LogId};

    use super::*;

    fn log() -> LogName {
        LogName::new("votes.example", ElectionId([3; 32]), LogId::Heads)
    }

    /// The genesis, and a batch behind it.
    fn two() -> (CompactRange, Batch) {
        let mut range = CompactRange::new();
        Batch::build(0, &mut range, &["genesis"]).unwrap();
        let batch = Batch::build(1, &mut range.clone(), &["a", "bb", "ccc"]).unwrap();
        (range, batch)
    }

    #[test]
    fn a_batch_is_read_as_it_was_written() {
        let (before, batch) = two();
        let entries: Vec<&[u8]> = vec![b"a", b"bb", b"ccc"];
        assert_eq!(batch.entries(), entries);
        assert_eq!(batch.body().as_ref(), b"\x00\x01a\x00\x02bb\x00\x03ccc");
        assert_eq!((batch.old().size, batch.new_end().size), (1, 4));
        let file = batch.file(&log());
        let (mut one, mut two) = (before.clone(), before);
        assert_eq!(Batch::from_file(&log(), 1, &mut one, &file).unwrap(), batch);
        let body = batch.body().clone();
        assert_eq!(
            Batch::from_body(1, &mut two, body, batch.new_end()).unwrap(),
            batch
        );
        assert!(one == two && End::from(&one) == batch.new_end());
    }

    #[test]
    fn what_cannot_be_a_batch_leaves_the_tree_as_it_was() {
        let (before, batch) = two();
        let mut range = before.clone();
        let file = batch.file(&log());
        let other = LogName::new("votes.example", ElectionId([3; 32]), LogId::Cell(0));
        assert!(Batch::from_file(&log(), 2, &mut range, &file).is_err());
        assert!(Batch::from_file(&other, 1, &mut range, &file).is_err());
        assert!(Batch::from_file(&log(), 1, &mut CompactRange::new(), &file).is_err());
        for len in 0..file.len() {
            assert!(
                Batch::from_file(&log(), 1, &mut range, &file.slice(..len)).is_err(),
                "{len}"
            );
        }
        for at in 0..file.len() {
            let mut bad = file.to_vec();
            bad[at] ^= 1;
            assert!(
                Batch::from_file(&log(), 1, &mut range, &bad.into()).is_err(),
                "{at}"
            );
        }
        let empty: [&[u8]; 0] = [];
        assert!(matches!(
            Batch::build(1, &mut range, &empty),
            Err(BatchError::Count(0))
        ));
        let many = vec![b"x"; ENTRIES_MAX + 1];
        assert!(matches!(
            Batch::build(1, &mut range, &many),
            Err(BatchError::Count(_))
        ));
        for wrong in [ENTRY_BYTES_MAX + 1, 0] {
            let entries = [vec![7; 5], vec![0; wrong]];
            assert_eq!(
                Batch::build(1, &mut range, &entries),
                Err(BatchError::EntryLength(wrong))
            );
        }
        let large = vec![vec![0; ENTRY_BYTES_MAX]; 256];
        assert!(matches!(
            Batch::build(1, &mut range, &large),
            Err(BatchError::FileTooLong(_))
        ));
        assert_eq!(range, before);
        Batch::build(1, &mut range, &vec![b"x"; ENTRIES_MAX]).unwrap();
    }
}
