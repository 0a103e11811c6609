//! Heads: every log's size and root at one moment.

use crate::ids::LogId;
use crate::manifest::Election;
use crate::merkle::Hash;
use crate::wire::{Reader, WireError};

use super::EntryError;

/// A head, or the final head: which of the two, the entry's type says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// When it was made, in ms since 1970; exact.
    pub time: u64,
    /// In the order of [`Election::logs`].
    pub logs: Vec<HeadLog>,
}

/// What a head says of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLog {
    /// Whether the size is news, and whether it is the last.
    pub state: LogState,
    /// The log's size: entries.
    pub size: u64,
    /// The root at that size.
    pub root: Hash,
}

/// A log's state in a head. The byte is the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LogState {
    /// Read, and not closed.
    Open = 0,
    /// Could not be read, or was inconsistent: size and root repeat the last head's, or are those of genesis.
    Stale = 1,
    /// The entry at `size - 1` is its close.
    Closed = 2,
}

impl LogState {
    /// The encoding.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self as u8
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Open),
            1 => Some(Self::Stale),
            2 => Some(Self::Closed),
            _ => None,
        }
    }
}

impl Head {
    /// What the head says of this log; `None` for the heads log itself.
    #[must_use]
    pub fn log(&self, election: &Election, log: LogId) -> Option<&HeadLog> {
        self.logs.get(election.head_position(log)?)
    }

    /// `type ‖ time ‖ for each log: state ‖ size ‖ root`.
    pub(super) fn encode(&self, type_byte: u8) -> Vec<u8> {
        let mut out = vec![type_byte];
        out.extend_from_slice(&self.time.to_be_bytes());
        for log in &self.logs {
            out.push(log.state.to_byte());
            out.extend_from_slice(&log.size.to_be_bytes());
            out.extend_from_slice(log.root.as_bytes());
        }
        out
    }

    pub(super) fn decode_fields(fields: &[u8], election: &Election) -> Result<Self, EntryError> {
        let wire = EntryError::wire("head");
        let mut reader = Reader::new(fields);
        let time = reader.time().map_err(&wire)?;
        let mut logs = Vec::with_capacity(election.logs().len());
        for _ in election.logs() {
            let mut read = || -> Result<_, WireError> {
                Ok((reader.u8()?, reader.u64()?, Hash(reader.array()?)))
            };
            let (state, size, root) = read().map_err(&wire)?;
            let state = LogState::from_byte(state).ok_or(EntryError::Range {
                entry: "head",
                field: "a log's state",
            })?;
            logs.push(HeadLog { state, size, root });
        }
        reader.finish().map_err(&wire)?;
        Ok(Self { time, logs })
    }
}
