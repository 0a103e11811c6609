//! A batch of entries, the unit in which a log grows: one row of the store, one file `batches/<n>`, and one step of the tree.

use bytes::Bytes;
use protocol::merkle::{CompactRange, Hash, empty_root, leaf_hash};

use crate::log::LogName;

/// SPEC: "It holds `new size - old size` entries, at least one, at most 32,768".
pub const ENTRIES_MAX: usize = 32_768;

/// SPEC: "a file is at most 16 MiB".
pub const FILE_BYTES_MAX: usize = 16 << 20;

/// SPEC: "An entry is at most 65,535 bytes."
pub const ENTRY_BYTES_MAX: usize = 65_535;

const LABEL: &[u8] = b"tallyroot/v1/batch\0";

/// The bytes of a batch file before its entries: label, election id, log id, n, old end, new end.
pub const HEADER_BYTES: usize = LABEL.len() + 32 + 9 + 8 + 40 + 40;

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
    /// When there are no entries, too many, one is too long or all together are; `range` is unchanged then.
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
        if HEADER_BYTES + bytes > FILE_BYTES_MAX {
            return Err(BatchError::FileTooLong(HEADER_BYTES + bytes));
        }
        let mut body = Vec::with_capacity(bytes);
        for entry in entries.iter().map(AsRef::as_ref) {
            let len =
                u16::try_from(entry.len()).map_err(|_| BatchError::EntryTooLong(entry.len()))?;
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
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.body.len());
        bytes.extend_from_slice(LABEL);
        bytes.extend_from_slice(log.election().as_bytes());
        bytes.extend_from_slice(log.id());
        bytes.extend_from_slice(&self.n.to_be_bytes());
        for end in [self.old, self.new] {
            bytes.extend_from_slice(&end.size.to_be_bytes());
            bytes.extend_from_slice(end.root.as_bytes());
        }
        bytes.extend_from_slice(&self.body);
        bytes.into()
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
        if file.len() > FILE_BYTES_MAX {
            return Err(BatchError::FileTooLong(file.len()));
        }
        let mut rest: &[u8] = file;
        let mut expect = |want: &[u8], what: &'static str| match rest.strip_prefix(want) {
            Some(after) => {
                rest = after;
                Ok(())
            }
            None => Err(BatchError::Header(what)),
        };
        expect(LABEL, "label")?;
        expect(log.election().as_bytes(), "election id")?;
        expect(log.id(), "log id")?;
        expect(&n.to_be_bytes(), "batch number")?;
        expect(&range.size().to_be_bytes(), "old size")?;
        expect(range.root().as_bytes(), "old root")?;
        let (size, rest) = rest
            .split_first_chunk()
            .ok_or(BatchError::Header("new size"))?;
        let (root, rest) = rest
            .split_first_chunk()
            .ok_or(BatchError::Header("new root"))?;
        let claimed = End {
            size: u64::from_be_bytes(*size),
            root: Hash(*root),
        };
        Self::from_body(n, range, file.slice_ref(rest), claimed)
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
    /// An entry is too long.
    #[error("an entry has {0} bytes; at most 65,535 fit")]
    EntryTooLong(usize),
    /// The file is too long.
    #[error("a batch file of {0} bytes is longer than 16 MiB")]
    FileTooLong(usize),
    /// The file ends early.
    #[error("the batch ends within an entry: it was cut off")]
    Short,
    /// The file is another log's, out of order, or does not follow the batch before it.
    #[error(
        "the batch file has another {0} than it must: it is of another log, out of order, or does not follow the batch before it"
    )]
    Header(&'static str),
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
