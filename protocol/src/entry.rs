//! The entries of all logs: one fixed binary layout for each type, and one encoding for each meaning.
//!
//! ```text
//! 0x01 genesis     election id (32) ‖ log id (9)
//! 0x02 vote        credential key (32) ‖ registrar signature * registrars ‖ ballot ‖ ballot signature (64)
//! 0x03 tally       batch number u64 ‖ time u64 ‖ votes u64 ‖ abstentions u64 ‖ for each contest: blanks u64 ‖ count u64 * options
//! 0x04 close       time u64 ‖ count u64
//! 0x05 issuance    roll index u64 ‖ SHA-256(blinded message) (32)
//! 0x06 count       time u64 ‖ issued u64 ‖ refused u64 * 4
//! 0x07 head        time u64 ‖ for each log: state u8 ‖ size u64 ‖ root (32)
//! 0x08 notice      key u8 ‖ signature (64) ‖ notice body
//! 0x09 final head  as head
//! ```
//!
//! The first byte is the type; numbers are big-endian. Decoding checks the layout alone. What may follow what, and whether totals
//! are right, is the [`grammar`](crate::grammar)'s; signatures are checked by [`Vote::verify`] and [`Notice::verify`].

mod head;
mod issuance;
mod notice;
mod tally;
mod vote;

pub use head::{Head, HeadLog, LogState};
pub use issuance::{Count, Issuance, Refused};
pub use notice::{
    AuthorityKey, NOTICE_LABEL, Notice, NoticeAction, NoticeBody, NoticeError, NoticeKind,
};
pub use tally::{Close, ContestTotals, Tally, TallyTotals};
pub use vote::{Vote, VoteError};

use crate::ballot::BallotError;
use crate::ids::{ElectionId, LogId};
use crate::manifest::Election;
use crate::wire::{Reader, WireError};

/// Most bytes of an entry (tlog-tiles: "uint16 length-prefixed").
pub const ENTRY_LEN_MAX: usize = 65_535;

/// One leaf of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Leaf 0 of every log.
    Genesis(Genesis),
    /// A vote (cells).
    Vote(Vote),
    /// The totals after a batch of votes (cells).
    Tally(Tally),
    /// The end of a cell or an issuance log.
    Close(Close),
    /// One credential issued (issuance logs).
    Issuance(Issuance),
    /// Credentials issued and refused so far (issuance logs).
    Count(Count),
    /// Every log's size and root (heads log).
    Head(Head),
    /// An act of the authority (heads log).
    Notice(Notice),
    /// The head that says what counts; the end of the heads log.
    FinalHead(Head),
}

/// Leaf 0: which log of which election this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Genesis {
    /// The election.
    pub election: ElectionId,
    /// The log.
    pub log: LogId,
}

/// Why bytes are not an entry of this election.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// More bytes than a log's entry may have.
    #[error("an entry of {len} bytes: at most 65,535 are allowed")]
    TooLong {
        /// Bytes given.
        len: usize,
    },
    /// No bytes, or a first byte that names no type.
    #[error("no entry type has this first byte: {found:?}")]
    Type {
        /// The first byte, if there is one.
        found: Option<u8>,
    },
    /// The fields do not have their layout.
    #[error("{entry} entry: {error}")]
    Wire {
        /// The entry's type.
        entry: &'static str,
        /// What is wrong.
        error: WireError,
    },
    /// A field holds a value that is not allowed.
    #[error("{entry} entry: {field} is out of range")]
    Range {
        /// The entry's type.
        entry: &'static str,
        /// The field.
        field: &'static str,
    },
    /// The ballot is not one of this election.
    #[error("vote entry: {0}")]
    Ballot(#[from] BallotError),
}

impl EntryError {
    pub(crate) fn wire(entry: &'static str) -> impl Fn(WireError) -> Self {
        move |error| Self::Wire { entry, error }
    }
}

/// The type bytes.
pub(crate) mod type_byte {
    pub(crate) const GENESIS: u8 = 0x01;
    pub(crate) const VOTE: u8 = 0x02;
    pub(crate) const TALLY: u8 = 0x03;
    pub(crate) const CLOSE: u8 = 0x04;
    pub(crate) const ISSUANCE: u8 = 0x05;
    pub(crate) const COUNT: u8 = 0x06;
    pub(crate) const HEAD: u8 = 0x07;
    pub(crate) const NOTICE: u8 = 0x08;
    pub(crate) const FINAL_HEAD: u8 = 0x09;
}

impl Entry {
    /// The entry's bytes. Decoding them gives the entry back.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Genesis(entry) => entry.encode(),
            Self::Vote(entry) => entry.encode(),
            Self::Tally(entry) => entry.encode(),
            Self::Close(entry) => entry.encode(),
            Self::Issuance(entry) => entry.encode(),
            Self::Count(entry) => entry.encode(),
            Self::Head(entry) => entry.encode(type_byte::HEAD),
            Self::Notice(entry) => entry.encode(),
            Self::FinalHead(entry) => entry.encode(type_byte::FINAL_HEAD),
        }
    }

    /// Reads what [`Entry::encode`] writes for this election, and nothing else.
    ///
    /// # Errors
    /// An unknown type, a wrong length, or a value that this election does not allow.
    pub fn decode(bytes: &[u8], election: &Election) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_LEN_MAX {
            return Err(EntryError::TooLong { len: bytes.len() });
        }
        let Some((&first, fields)) = bytes.split_first() else {
            return Err(EntryError::Type { found: None });
        };
        Ok(match first {
            type_byte::GENESIS => Self::Genesis(Genesis::decode_fields(fields, election)?),
            type_byte::VOTE => Self::Vote(Vote::decode_fields(fields, election)?),
            type_byte::TALLY => Self::Tally(Tally::decode_fields(fields, election)?),
            type_byte::CLOSE => Self::Close(Close::decode_fields(fields)?),
            type_byte::ISSUANCE => Self::Issuance(Issuance::decode_fields(fields)?),
            type_byte::COUNT => Self::Count(Count::decode_fields(fields)?),
            type_byte::HEAD => Self::Head(Head::decode_fields(fields, election)?),
            type_byte::NOTICE => Self::Notice(Notice::decode_fields(fields, election)?),
            type_byte::FINAL_HEAD => Self::FinalHead(Head::decode_fields(fields, election)?),
            other => return Err(EntryError::Type { found: Some(other) }),
        })
    }

    /// The type's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Genesis(_) => "genesis",
            Self::Vote(_) => "vote",
            Self::Tally(_) => "tally",
            Self::Close(_) => "close",
            Self::Issuance(_) => "issuance",
            Self::Count(_) => "count",
            Self::Head(_) => "head",
            Self::Notice(_) => "notice",
            Self::FinalHead(_) => "final head",
        }
    }
}

impl Genesis {
    /// The genesis of one of the election's logs.
    #[must_use]
    pub fn of(election: &Election, log: LogId) -> Self {
        Self {
            election: election.id(),
            log,
        }
    }

    /// `0x01 ‖ election id ‖ log id`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [
            &[type_byte::GENESIS],
            self.election.as_bytes().as_slice(),
            &self.log.encode(),
        ]
        .concat()
    }

    fn decode_fields(fields: &[u8], election: &Election) -> Result<Self, EntryError> {
        const NAME: &str = "genesis";
        let mut reader = Reader::new(fields);
        let read = (|| {
            let genesis = Self {
                election: ElectionId(reader.array()?),
                log: reader.log_id()?,
            };
            reader.finish()?;
            Ok(genesis)
        })()
        .map_err(EntryError::wire(NAME))?;
        if read.election != election.id() {
            return Err(EntryError::Range {
                entry: NAME,
                field: "the election id",
            });
        }
        if !election.contains(read.log) {
            return Err(EntryError::Range {
                entry: NAME,
                field: "the log id",
            });
        }
        Ok(read)
    }
}
