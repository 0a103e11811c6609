//! A cell's log: `genesis (vote+ tally)* close?`.

use std::collections::HashMap;

use crate::entry::{Close, Tally, TallyTotals, Vote};
use crate::manifest::Election;

use super::{BatchSummary, GrammarError};

/// The state of a cell's log at a batch end.
#[derive(Debug, Clone)]
pub struct CellLog {
    election: Election,
    cell: u32,
    size: u64,
    next_batch: u64,
    totals: TallyTotals,
    last_time: u64,
    close: Option<Close>,
    /// Every credential that has voted, with the index of its vote. `None`: the caller keeps them.
    credentials: Option<HashMap<[u8; 32], u64>>,
}

impl CellLog {
    /// The log before its first batch.
    #[must_use]
    pub fn new(election: &Election, cell: u32) -> Self {
        Self {
            election: election.clone(),
            cell,
            size: 0,
            next_batch: 0,
            totals: TallyTotals::zero(election.contests()),
            last_time: 0,
            close: None,
            credentials: Some(HashMap::new()),
        }
    }

    /// As [`CellLog::new`], without the set of credentials: uniqueness is then the caller's to check.
    #[must_use]
    pub fn without_credentials(election: &Election, cell: u32) -> Self {
        Self {
            credentials: None,
            ..Self::new(election, cell)
        }
    }

    /// The log as it stands after this tally, the entry at `size - 1`: for recounting a stretch. Duplicates are found within the stretch only.
    #[must_use]
    pub fn after_tally(election: &Election, cell: u32, size: u64, tally: &Tally) -> Self {
        Self {
            size,
            next_batch: tally.batch.saturating_add(1),
            totals: tally.totals.clone(),
            last_time: tally.time,
            ..Self::new(election, cell)
        }
    }

    /// Takes the next batch: all of it, or nothing.
    ///
    /// # Errors
    /// The first rule that is broken, and where. The state is then as before.
    pub fn batch(&mut self, n: u64, entries: &[&[u8]]) -> Result<BatchSummary, GrammarError> {
        let _ = (n, entries, self.cell, &self.election);
        unimplemented!()
    }

    /// The tally that ends the next batch if it holds these votes. `now` is rounded up to the grain, and never falls below earlier times.
    #[must_use]
    pub fn next_tally<'v>(&self, votes: impl IntoIterator<Item = &'v Vote>, now: u64) -> Tally {
        let _ = (votes.into_iter().count(), now);
        unimplemented!()
    }

    /// The close that ends the log here.
    #[must_use]
    pub fn next_close(&self, now: u64) -> Close {
        let _ = now;
        unimplemented!()
    }

    /// Entries so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The number that the next batch must have.
    #[must_use]
    pub fn next_batch(&self) -> u64 {
        self.next_batch
    }

    /// The totals over all votes so far.
    #[must_use]
    pub fn tally(&self) -> &TallyTotals {
        &self.totals
    }

    /// Votes so far.
    #[must_use]
    pub fn votes(&self) -> u64 {
        self.totals.votes
    }

    /// The log's last entry, if that is a close.
    #[must_use]
    pub fn closed(&self) -> Option<&Close> {
        self.close.as_ref()
    }

    /// The newest time in the log; 0 if there is none.
    #[must_use]
    pub fn last_time(&self) -> u64 {
        self.last_time
    }

    /// The index of this credential's vote; `None` if it has not voted (or the set is not kept here).
    #[must_use]
    pub fn index_of(&self, credential: &[u8; 32]) -> Option<u64> {
        self.credentials.as_ref()?.get(credential).copied()
    }
}
