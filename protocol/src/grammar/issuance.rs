//! An issuance log: `genesis (issuance | count)* close?`.

use std::collections::HashSet;

use crate::entry::{Close, Count, Entry, Issuance, Refused};
use crate::ids::LogId;
use crate::manifest::Election;

use super::roll_set::RollSet;
use super::shared::{Position, out_of_order};
use super::{BatchSummary, GrammarCode, GrammarError};

/// The state of a shard of a registrar's issuance log at a batch end.
#[derive(Debug, Clone)]
pub struct IssuanceLog {
    at: Position,
    registrar: u16,
    shard: u32,
    /// Who has a credential.
    issued_to: RollSet,
    totals: Totals,
    close: Option<Close>,
}

/// The running numbers of a log.
#[derive(Debug, Clone, Copy)]
struct Totals {
    issued: u64,
    refused: Refused,
    time: u64,
}

impl IssuanceLog {
    /// The log before its first batch.
    #[must_use]
    pub fn new(election: &Election, registrar: u16, shard: u32) -> Self {
        Self {
            at: Position::start(election, LogId::Issuance { registrar, shard }),
            registrar,
            shard,
            issued_to: RollSet::default(),
            totals: Totals {
                issued: 0,
                refused: Refused::default(),
                time: 0,
            },
            close: None,
        }
    }

    /// Takes the next batch: all of it, or nothing.
    ///
    /// # Errors
    /// The first rule that is broken, and where. The state is then as before.
    pub fn batch(&mut self, n: u64, entries: &[&[u8]]) -> Result<BatchSummary, GrammarError> {
        let summary = self.at.decode(n, entries, self.close.is_some())?;
        let mut totals = self.totals;
        let mut close = None;
        let mut fresh = HashSet::new();
        for (index, entry) in summary.indexed() {
            match entry {
                Entry::Genesis(_) if n == 0 => {}
                Entry::Issuance(issuance) => {
                    self.check_issuance(issuance, &mut fresh, index)?;
                    totals.issued += 1;
                }
                Entry::Count(count) => totals = self.check_count(count, totals, index)?,
                // "close is alone in its batch"
                Entry::Close(last) if summary.entries.len() == 1 => {
                    self.at.check_time(totals.time, last.time, index)?;
                    check_number(last.count, totals.issued, "close", index)?;
                    totals.time = last.time;
                    close = Some(*last);
                }
                other => {
                    return out_of_order(
                        index,
                        other,
                        "an issuance log's batch holds issuances and counts, or a close alone",
                    );
                }
            }
        }
        self.issued_to.extend(fresh);
        self.at.advance(&summary, totals.time);
        self.totals = totals;
        self.close = close;
        Ok(summary)
    }

    /// "roll index below `roll.size`, in this shard, at most once"
    fn check_issuance(
        &self,
        issuance: &Issuance,
        fresh: &mut HashSet<u64>,
        index: u64,
    ) -> Result<(), GrammarError> {
        let roll_index = issuance.roll_index;
        let fail = |code, message| {
            Err(GrammarError {
                code,
                index,
                message,
            })
        };
        match self.at.election.shard_of(self.registrar, roll_index) {
            None => fail(
                GrammarCode::OffRoll,
                format!("the roll has no index {roll_index}"),
            ),
            Some(right) if right != self.shard => fail(
                GrammarCode::WrongShard,
                format!("roll index {roll_index} belongs to shard {right}"),
            ),
            Some(_) if self.issued_to.contains(roll_index) || !fresh.insert(roll_index) => fail(
                GrammarCode::DuplicateIssuance,
                format!("roll index {roll_index} was issued a credential before"),
            ),
            Some(_) => Ok(()),
        }
    }

    /// "`issued` is the number of issuance entries before it"; "Counts never fall."
    fn check_count(
        &self,
        count: &Count,
        before: Totals,
        index: u64,
    ) -> Result<Totals, GrammarError> {
        self.at.check_time(before.time, count.time, index)?;
        check_number(count.issued, before.issued, "count", index)?;
        let falls = before
            .refused
            .to_array()
            .iter()
            .zip(count.refused.to_array())
            .any(|(old, new)| new < *old);
        if falls {
            return Err(GrammarError {
                code: GrammarCode::CountFalls,
                index,
                message: "a number of refused requests falls".to_owned(),
            });
        }
        Ok(Totals {
            issued: before.issued,
            refused: count.refused,
            time: count.time,
        })
    }

    /// The count entry that fits after `more` further issuance entries. `now` is rounded up to the grain, and never falls below earlier times.
    #[must_use]
    pub fn next_count(&self, more: u64, refused: Refused, now: u64) -> Count {
        Count {
            time: self.at.next_time(now),
            issued: self.totals.issued.saturating_add(more),
            refused,
        }
    }

    /// The close that ends the log here.
    #[must_use]
    pub fn next_close(&self, now: u64) -> Close {
        Close {
            time: self.at.next_time(now),
            count: self.totals.issued,
        }
    }

    /// Entries so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.at.size
    }

    /// The number that the next batch must have.
    #[must_use]
    pub fn next_batch(&self) -> u64 {
        self.at.next_batch
    }

    /// Issuance entries so far.
    #[must_use]
    pub fn issued(&self) -> u64 {
        self.totals.issued
    }

    /// The refusals in the newest count entry.
    #[must_use]
    pub fn refused(&self) -> Refused {
        self.totals.refused
    }

    /// Whether this voter has an issuance entry.
    #[must_use]
    pub fn is_issued(&self, roll_index: u64) -> bool {
        self.issued_to.contains(roll_index)
    }

    /// The log's last entry, if that is a close.
    #[must_use]
    pub fn closed(&self) -> Option<&Close> {
        self.close.as_ref()
    }

    /// The newest time in the log; 0 if there is none.
    #[must_use]
    pub fn last_time(&self) -> u64 {
        self.at.last_time
    }
}

fn check_number(said: u64, is: u64, entry: &str, index: u64) -> Result<(), GrammarError> {
    if said != is {
        return Err(GrammarError {
            code: GrammarCode::WrongCount,
            index,
            message: format!("the {entry} says {said} issuances; the log holds {is}"),
        });
    }
    Ok(())
}
