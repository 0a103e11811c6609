//! What the grammars of all logs have in common.

use crate::entry::{Entry, Genesis};
use crate::ids::LogId;
use crate::manifest::{Election, INTEGER_END};
use crate::merkle::leaf_hash;

use super::{BatchSummary, GrammarCode, GrammarError};

/// Where a log stands at a batch end.
#[derive(Debug, Clone)]
pub(super) struct Position {
    pub(super) election: Election,
    pub(super) log: LogId,
    pub(super) size: u64,
    pub(super) next_batch: u64,
    /// The newest time in the log; 0 if there is none.
    pub(super) last_time: u64,
}

impl Position {
    pub(super) fn start(election: &Election, log: LogId) -> Self {
        Self {
            election: election.clone(),
            log,
            size: 0,
            next_batch: 0,
            last_time: 0,
        }
    }

    /// Decodes the next batch, and checks what holds for every log. `ended`: its last entry closed the log.
    pub(super) fn decode(
        &self,
        n: u64,
        entries: &[&[u8]],
        ended: bool,
    ) -> Result<BatchSummary, GrammarError> {
        if n != self.next_batch {
            return self.fail(
                GrammarCode::BatchNumber,
                format!("batch {n} stands where batch {} must", self.next_batch),
            );
        }
        // "Close and final head end their log"
        if ended {
            return self.fail(GrammarCode::AfterEnd, "the log has ended, and goes on");
        }
        if entries.is_empty() {
            return self.fail(GrammarCode::Order, "a batch holds at least one entry");
        }
        let end = self.size.saturating_add(entries.len() as u64);
        if end >= INTEGER_END {
            return self.fail(GrammarCode::Malformed, "no log has 2^53 entries");
        }
        let mut decoded = Vec::with_capacity(entries.len());
        for (index, bytes) in (self.size..).zip(entries) {
            let entry = Entry::decode(bytes, &self.election).map_err(|error| GrammarError {
                code: GrammarCode::Malformed,
                index,
                message: error.to_string(),
            })?;
            decoded.push(entry);
        }
        // "entry 0 is the genesis of this election and log, alone in batch 0"
        let genesis = Entry::Genesis(Genesis::of(&self.election, self.log));
        if n == 0 && decoded != [genesis] {
            return self.fail(
                GrammarCode::Genesis,
                format!("batch 0 must hold the genesis of {} alone", self.log),
            );
        }
        Ok(BatchSummary {
            n,
            first_index: self.size,
            leaf_hashes: entries.iter().map(|bytes| leaf_hash(bytes)).collect(),
            entries: decoded,
            remarks: Vec::new(),
        })
    }

    /// "Times never fall", and services round them "up to a multiple of `batch_wait_ms`".
    pub(super) fn check_time(
        &self,
        last_time: u64,
        time: u64,
        index: u64,
    ) -> Result<(), GrammarError> {
        let grain = self.election.manifest().batch_wait_ms;
        if !time.is_multiple_of(grain) {
            return Err(GrammarError {
                code: GrammarCode::TimeGrain,
                index,
                message: format!("the time {time} is not a multiple of {grain} ms"),
            });
        }
        check_not_before(last_time, time, index)
    }

    /// The time that an entry made `now` bears.
    pub(super) fn next_time(&self, now: u64) -> u64 {
        let grain = self.election.manifest().batch_wait_ms;
        now.checked_next_multiple_of(grain)
            .unwrap_or(now)
            .max(self.last_time)
    }

    /// Moves past a checked batch.
    pub(super) fn advance(&mut self, summary: &BatchSummary, last_time: u64) {
        self.size = summary.new_size();
        self.next_batch = self.next_batch.saturating_add(1);
        self.last_time = last_time;
    }

    /// A broken rule at the start of the batch.
    fn fail<T>(&self, code: GrammarCode, message: impl Into<String>) -> Result<T, GrammarError> {
        Err(GrammarError {
            code,
            index: self.size,
            message: message.into(),
        })
    }
}

/// "Times never fall."
pub(super) fn check_not_before(last_time: u64, time: u64, index: u64) -> Result<(), GrammarError> {
    if time < last_time {
        return Err(GrammarError {
            code: GrammarCode::TimeFalls,
            index,
            message: format!("the time {time} is before the earlier entry's {last_time}"),
        });
    }
    Ok(())
}

/// An entry of a type that may not stand here.
pub(super) fn out_of_order<T>(index: u64, entry: &Entry, rule: &str) -> Result<T, GrammarError> {
    Err(GrammarError {
        code: GrammarCode::Order,
        index,
        message: format!("a {} entry may not stand here: {rule}", entry.name()),
    })
}
