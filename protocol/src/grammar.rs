//! What may follow what in each log, and whether its sums, times and counts are right (section 8).
//!
//! One state machine for each kind of log. Feed it the log's batches in order: it decodes and checks them, and tells what they hold.
//! A batch is taken whole or not at all. Auditors and services at takeover run the same code.
//!
//! Not checked here, since it needs other things than the log's entries: signatures (check [`BatchSummary::votes`] in parallel with
//! [`Vote::verify`], and notices with [`Notice::verify`]), roots (see [`BatchFile::apply`](crate::batch::BatchFile::apply)), and what one log says of
//! another ("every (size, root) is a batch end of its log", "total votes <= issued").

mod cell;
mod error;
mod heads;
mod issuance;
mod roll_set;
mod schedule;
mod shared;

pub use cell::CellLog;
pub use error::{GrammarCode, GrammarError};
pub use heads::{HeadsLog, Window};
pub use issuance::IssuanceLog;
pub use schedule::{Freeze, Schedule, Switch};

use crate::entry::{Close, Entry, Head, Notice, Tally, Vote};
use crate::merkle::Hash;

/// What a batch holds, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSummary {
    /// The batch's number.
    pub n: u64,
    /// The index in the log of its first entry.
    pub first_index: u64,
    /// Its entries, decoded.
    pub entries: Vec<Entry>,
    /// Their leaf hashes, which were needed anyway.
    pub leaf_hashes: Vec<Hash>,
    /// Rules broken by others than the log's own service, which the log truthfully reports: findings, but the log goes on.
    pub remarks: Vec<GrammarError>,
}

impl BatchSummary {
    /// The log's size after this batch.
    #[must_use]
    pub fn new_size(&self) -> u64 {
        (self.first_index..)
            .zip(&self.entries)
            .last()
            .map_or(self.first_index, |(index, _)| index + 1)
    }

    /// Each entry with its index in the log.
    pub fn indexed(&self) -> impl Iterator<Item = (u64, &Entry)> {
        (self.first_index..).zip(&self.entries)
    }

    /// The votes, each with its index in the log. Their signatures are still to be checked.
    pub fn votes(&self) -> impl Iterator<Item = (u64, &Vote)> {
        self.indexed().filter_map(|(index, entry)| match entry {
            Entry::Vote(vote) => Some((index, vote)),
            _ => None,
        })
    }

    /// The heads, final one included, each with its index in the log.
    pub fn heads(&self) -> impl Iterator<Item = (u64, &Head)> {
        self.indexed().filter_map(|(index, entry)| match entry {
            Entry::Head(head) | Entry::FinalHead(head) => Some((index, head)),
            _ => None,
        })
    }

    /// The notices, each with its index in the log. Their signatures are still to be checked.
    pub fn notices(&self) -> impl Iterator<Item = (u64, &Notice)> {
        self.indexed().filter_map(|(index, entry)| match entry {
            Entry::Notice(notice) => Some((index, notice)),
            _ => None,
        })
    }

    /// The tally that ends the batch, in a batch of votes.
    #[must_use]
    pub fn tally(&self) -> Option<&Tally> {
        match self.entries.last() {
            Some(Entry::Tally(tally)) => Some(tally),
            _ => None,
        }
    }

    /// The close, in the last batch of a cell or an issuance log.
    #[must_use]
    pub fn close(&self) -> Option<&Close> {
        match self.entries.last() {
            Some(Entry::Close(close)) => Some(close),
            _ => None,
        }
    }
}
