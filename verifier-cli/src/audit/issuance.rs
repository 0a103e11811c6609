//! What an issuance log holds: which voters got a credential, and how many requests were refused. Never a credential.

use std::collections::HashMap;

use protocol::entry::{Close, Count, Entry, Issuance};
use protocol::grammar::IssuanceLog;
use protocol::ids::LogId;
use protocol::manifest::Election;

use super::judge::{Judge, Opinion};
use super::walk::{Applied, Content};
use crate::finding::{Code, Votes};
use crate::work::Pool;

/// One shard's issuances so far.
pub(super) struct Shard<'a> {
    election: &'a Election,
    registrar: u16,
    shard: u32,
    grammar: Option<IssuanceLog>,
    issued: u64,
    /// The roll indices that got a credential.
    seen: Bits,
    time: u64,
    last_count: Option<Count>,
    closed: bool,
}

/// A set of numbers that mostly lie close together: a bit each, in blocks of 256. Numbers far apart cost a block each, so that nobody fills the
/// memory by naming a few large ones.
#[derive(Default)]
struct Bits(HashMap<u64, [u64; 4]>);

impl Bits {
    /// Whether the number was not in the set before.
    fn insert(&mut self, number: u64) -> bool {
        let block = self.0.entry(number / 256).or_default();
        let [a, b, c, d] = block;
        let word = match number / 64 % 4 {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        };
        let bit = 1 << (number % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

impl<'a> Shard<'a> {
    pub(super) fn new(election: &'a Election, registrar: u16, shard: u32) -> Self {
        Self {
            election,
            registrar,
            shard,
            grammar: Some(IssuanceLog::new(election, registrar, shard)),
            issued: 0,
            seen: Bits::default(),
            time: 0,
            last_count: None,
            closed: false,
        }
    }

    /// Requests refused so far, as the log counts them.
    pub(super) fn refused(&self) -> [u64; 4] {
        self.last_count
            .map_or([0; 4], |count| count.refused.to_array())
    }

    fn take_issuance(&mut self, index: u64, issuance: Issuance, judge: &Judge<'_, 'a>) {
        self.issued += 1;
        let roll_index = issuance.roll_index;
        // "roll index below `roll.size`, in this shard, at most once"
        match self.election.shard_of(self.registrar, roll_index) {
            Some(shard) if shard == self.shard => {}
            Some(shard) => {
                judge.add(
                    Code::IssuanceOutOfRoll,
                    index,
                    Votes::AtMost(1),
                    format!(
                        "roll index {roll_index} belongs to shard {shard}, and this is shard {}",
                        self.shard
                    ),
                );
                return;
            }
            None => {
                judge.add(
                    Code::IssuanceOutOfRoll,
                    index,
                    Votes::AtMost(1),
                    format!(
                        "roll index {roll_index} does not exist: the roll has {} voters",
                        self.election.manifest().roll.size
                    ),
                );
                return;
            }
        }
        if !self.seen.insert(roll_index) {
            judge.add(
                Code::IssuanceDuplicate,
                index,
                Votes::AtMost(1),
                format!("a credential was issued for roll index {roll_index} before"),
            );
        }
    }

    /// "Counts never fall", and `issued` is the number of issuances before the entry.
    fn take_count(&mut self, index: u64, count: Count, judge: &Judge<'_, 'a>) {
        judge.time(index, &mut self.time, count.time);
        let mut faults = Vec::new();
        if count.issued != self.issued {
            faults.push(format!(
                "it says {} issued; the log holds {}",
                count.issued, self.issued
            ));
        }
        let before = self.refused();
        let fell = before
            .iter()
            .zip(count.refused.to_array())
            .any(|(before, now)| now < *before);
        if fell {
            faults.push(format!(
                "the refusals fall from {before:?} to {:?}",
                count.refused.to_array()
            ));
        }
        if !faults.is_empty() {
            judge.add(
                Code::CountWrong,
                index,
                Votes::AtMost(count.issued.abs_diff(self.issued)),
                faults.join("; "),
            );
        }
        self.last_count = Some(count);
    }

    fn take_close(&mut self, index: u64, close: Close, judge: &Judge<'_, 'a>) {
        judge.time(index, &mut self.time, close.time);
        if close.count != self.issued {
            judge.add(
                Code::CloseWrong,
                index,
                Votes::AtMost(close.count.abs_diff(self.issued)),
                format!(
                    "it says {} issuances; the log holds {}",
                    close.count, self.issued
                ),
            );
        }
        self.closed = true;
    }
}

impl<'a> Content<'a> for Shard<'a> {
    fn apply(&mut self, judge: &Judge<'_, 'a>, _: &Pool<'a>) -> Applied {
        let log = LogId::Issuance {
            registrar: self.registrar,
            shard: self.shard,
        };
        let mut opinion = Opinion::ask(&mut self.grammar, judge.batch, IssuanceLog::batch);
        let alone = judge.batch.entries.len() == 1;
        let entries = judge.entries(&mut opinion);
        let ends_log = matches!(entries.last(), Some((_, Entry::Close(_))));
        for (index, entry) in entries {
            // "issuance = genesis (issuance | count)* close?"; genesis is alone in batch 0, close in its own.
            let fits = !self.closed
                && match &entry {
                    Entry::Genesis(_) => index == 0 && alone,
                    Entry::Issuance(_) | Entry::Count(_) => judge.batch.n > 0,
                    Entry::Close(_) => judge.batch.n > 0 && alone,
                    _ => false,
                };
            if !fits {
                let place = if self.closed {
                    "after the log's close"
                } else {
                    "here"
                };
                judge.add(
                    Code::GrammarBroken,
                    index,
                    Votes::AtMost(1),
                    format!("an entry of type {} may not stand {place}", entry.name()),
                );
            }
            match entry {
                Entry::Genesis(genesis) => judge.genesis(index, genesis.log, log),
                Entry::Issuance(issuance) => self.take_issuance(index, issuance, judge),
                Entry::Count(count) => self.take_count(index, count, judge),
                Entry::Close(close) => self.take_close(index, close, judge),
                _ => {}
            }
        }
        judge.second(&opinion);
        Applied {
            total: self.issued,
            closed: ends_log,
            tally: None,
        }
    }
}
