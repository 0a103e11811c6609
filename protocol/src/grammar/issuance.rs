//! An issuance log: `genesis (issuance | count)* close?`.

use crate::entry::{Close, Count, Refused};
use crate::manifest::Election;

use super::{BatchSummary, GrammarError};

/// The state of a shard of a registrar's issuance log at a batch end.
#[derive(Debug, Clone)]
pub struct IssuanceLog {
    election: Election,
    registrar: u16,
    shard: u32,
    size: u64,
    next_batch: u64,
    issued: u64,
    refused: Refused,
    last_time: u64,
    close: Option<Close>,
}

impl IssuanceLog {
    /// The log before its first batch.
    #[must_use]
    pub fn new(election: &Election, registrar: u16, shard: u32) -> Self {
        Self {
            election: election.clone(),
            registrar,
            shard,
            size: 0,
            next_batch: 0,
            issued: 0,
            refused: Refused::default(),
            last_time: 0,
            close: None,
        }
    }

    /// Takes the next batch: all of it, or nothing.
    ///
    /// # Errors
    /// The first rule that is broken, and where. The state is then as before.
    pub fn batch(&mut self, n: u64, entries: &[&[u8]]) -> Result<BatchSummary, GrammarError> {
        let _ = (n, entries, self.registrar, self.shard, &self.election);
        unimplemented!()
    }

    /// The count entry that fits after `more` further issuance entries. `now` is rounded up to the grain, and never falls below earlier times.
    #[must_use]
    pub fn next_count(&self, more: u64, refused: Refused, now: u64) -> Count {
        let _ = (more, refused, now);
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

    /// Issuance entries so far.
    #[must_use]
    pub fn issued(&self) -> u64 {
        self.issued
    }

    /// The refusals in the newest count entry.
    #[must_use]
    pub fn refused(&self) -> Refused {
        self.refused
    }

    /// Whether this voter has an issuance entry.
    #[must_use]
    pub fn is_issued(&self, roll_index: u64) -> bool {
        let _ = roll_index;
        unimplemented!()
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
}
