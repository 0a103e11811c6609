//! Running totals, and the entry that closes a log.

use crate::ballot::Ballot;
use crate::manifest::{Contest, Election, Method};
use crate::wire::{Reader, WireError};

use super::{EntryError, type_byte};

/// The totals over all votes of a cell up to this entry. It ends every batch of votes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// The batch that it ends.
    pub batch: u64,
    /// When, in ms since 1970, rounded up to a multiple of the manifest's `batch_wait_ms`.
    pub time: u64,
    /// The totals.
    pub totals: TallyTotals,
}

/// Sums over ballots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TallyTotals {
    /// Votes, abstentions included.
    pub votes: u64,
    /// Votes that are blank in every contest.
    pub abstentions: u64,
    /// For each contest, in the manifest's order.
    pub contests: Vec<ContestTotals>,
}

/// Sums over the ballots of one contest. `blanks` and first preferences add up to the votes, except where several options may be approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContestTotals {
    /// Ballots without an option here.
    pub blanks: u64,
    /// For each option, the ballots that choose it (plurality, approval) or rank it first (ranked).
    pub counts: Vec<u64>,
}

/// The end of a cell or an issuance log: nothing follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// When, rounded up as in a tally.
    pub time: u64,
    /// Votes (cell) or issuances (issuance log) in the log.
    pub count: u64,
}

impl TallyTotals {
    /// All zero.
    #[must_use]
    pub fn zero(contests: &[Contest]) -> Self {
        let contests = contests
            .iter()
            .map(|contest| ContestTotals {
                blanks: 0,
                counts: vec![0; contest.options.len()],
            })
            .collect();
        Self {
            votes: 0,
            abstentions: 0,
            contests,
        }
    }

    /// Adds one ballot of an election whose contests these totals are for.
    pub fn add(&mut self, ballot: &Ballot, contests: &[Contest]) {
        self.votes = self.votes.saturating_add(1);
        if ballot.is_abstention() {
            self.abstentions = self.abstentions.saturating_add(1);
        }
        for ((totals, contest), chosen) in
            self.contests.iter_mut().zip(contests).zip(ballot.choices())
        {
            let counted = match contest.method {
                Method::Plurality | Method::Approval => chosen,
                // "the number of ballots that … rank it first"
                Method::Ranked => chosen.get(..1).unwrap_or_default(),
            };
            if chosen.is_empty() {
                totals.blanks = totals.blanks.saturating_add(1);
            }
            for option in counted {
                if let Some(count) = totals.counts.get_mut(usize::from(*option)) {
                    *count = count.saturating_add(1);
                }
            }
        }
    }

    /// Where these totals differ from what was counted, in words; `None` if they are equal.
    pub(crate) fn difference(&self, counted: &Self) -> Option<String> {
        let numbers = |totals: &Self| {
            let mut numbers = vec![totals.votes, totals.abstentions];
            for contest in &totals.contests {
                numbers.push(contest.blanks);
                numbers.extend(&contest.counts);
            }
            numbers
        };
        if self == counted {
            return None;
        }
        let (said, right) = (numbers(self), numbers(counted));
        let first = said
            .iter()
            .zip(&right)
            .enumerate()
            .find(|(_, (a, b))| a != b);
        Some(match first {
            Some((position, (said, right))) => format!(
                "number {position} (from 0: votes, abstentions, then each contest's blanks and counts) is {said}, counted were {right}"
            ),
            None => "it is of other contests".to_owned(),
        })
    }

    /// Adds another cell's totals. `None` if the contests differ, or a sum does not fit 64 bits; `self` is then of no use.
    pub fn merge(&mut self, other: &Self) -> Option<()> {
        fn add(sum: &mut u64, more: u64) -> Option<()> {
            *sum = sum.checked_add(more)?;
            Some(())
        }
        add(&mut self.votes, other.votes)?;
        add(&mut self.abstentions, other.abstentions)?;
        if self.contests.len() != other.contests.len() {
            return None;
        }
        for (mine, theirs) in self.contests.iter_mut().zip(&other.contests) {
            add(&mut mine.blanks, theirs.blanks)?;
            if mine.counts.len() != theirs.counts.len() {
                return None;
            }
            for (sum, more) in mine.counts.iter_mut().zip(&theirs.counts) {
                add(sum, *more)?;
            }
        }
        Some(())
    }
}

impl Tally {
    /// `0x03 ‖ batch number ‖ time ‖ votes ‖ abstentions ‖ for each contest: blanks ‖ counts`, each a `u64`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let totals = &self.totals;
        let mut out = vec![type_byte::TALLY];
        for number in [self.batch, self.time, totals.votes, totals.abstentions] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for contest in &totals.contests {
            out.extend_from_slice(&contest.blanks.to_be_bytes());
            for count in &contest.counts {
                out.extend_from_slice(&count.to_be_bytes());
            }
        }
        out
    }

    pub(super) fn decode_fields(fields: &[u8], election: &Election) -> Result<Self, EntryError> {
        let mut reader = Reader::new(fields);
        let mut read = || -> Result<Self, WireError> {
            let batch = reader.u64()?;
            let time = reader.time()?;
            let votes = reader.u64()?;
            let abstentions = reader.u64()?;
            let mut contests = Vec::with_capacity(election.contests().len());
            for contest in election.contests() {
                contests.push(ContestTotals {
                    blanks: reader.u64()?,
                    counts: contest
                        .options
                        .iter()
                        .map(|_| reader.u64())
                        .collect::<Result<_, _>>()?,
                });
            }
            Ok(Self {
                batch,
                time,
                totals: TallyTotals {
                    votes,
                    abstentions,
                    contests,
                },
            })
        };
        let tally = read().map_err(EntryError::wire("tally"))?;
        reader.finish().map_err(EntryError::wire("tally"))?;
        Ok(tally)
    }
}

impl Close {
    /// `0x04 ‖ time ‖ count`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [
            &[type_byte::CLOSE],
            self.time.to_be_bytes().as_slice(),
            &self.count.to_be_bytes(),
        ]
        .concat()
    }

    pub(super) fn decode_fields(fields: &[u8]) -> Result<Self, EntryError> {
        let mut reader = Reader::new(fields);
        (|| {
            let close = Self {
                time: reader.time()?,
                count: reader.u64()?,
            };
            reader.finish()?;
            Ok(close)
        })()
        .map_err(EntryError::wire("close"))
    }
}
