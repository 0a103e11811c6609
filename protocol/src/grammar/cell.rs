//! A cell's log: `genesis (vote+ tally)* close?`.

use std::collections::HashMap;

use crate::entry::{Close, Entry, Tally, TallyTotals, Vote};
use crate::ids::LogId;
use crate::manifest::Election;
use crate::merkle::Hash;

use super::shared::{Position, out_of_order};
use super::{BatchSummary, GrammarCode, GrammarError};

/// The state of a cell's log at a batch end.
#[derive(Debug, Clone)]
pub struct CellLog {
    at: Position,
    cell: u32,
    totals: TallyTotals,
    close: Option<Close>,
    /// Every credential that has voted, with the index of its vote. `None`: the caller keeps them.
    credentials: Option<HashMap<[u8; 32], u64>>,
}

impl CellLog {
    /// The log before its first batch.
    #[must_use]
    pub fn new(election: &Election, cell: u32) -> Self {
        Self {
            at: Position::start(election, LogId::Cell(cell)),
            cell,
            totals: TallyTotals::zero(election.contests()),
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
        let mut log = Self::new(election, cell);
        log.at.size = size;
        log.at.next_batch = tally.batch.saturating_add(1);
        log.at.last_time = tally.time;
        log.totals = tally.totals.clone();
        log
    }

    /// Takes the next batch: all of it, or nothing.
    ///
    /// # Errors
    /// The first rule that is broken, and where. The state is then as before.
    pub fn batch(&mut self, n: u64, entries: &[&[u8]]) -> Result<BatchSummary, GrammarError> {
        let summary = self.at.decode(n, entries, self.close.is_some())?;
        if n == 0 {
            self.at.advance(&summary, self.at.last_time);
            return Ok(summary);
        }
        match summary.entries.as_slice() {
            // "close is alone in its batch"
            [Entry::Close(close)] => self.take_close(&summary, *close)?,
            // "a batch n >= 1 is one or more votes …, then one tally"
            [_, .., Entry::Tally(tally)] => self.take_votes(&summary, tally)?,
            _ => return misplaced(&summary),
        }
        Ok(summary)
    }

    fn take_close(&mut self, summary: &BatchSummary, close: Close) -> Result<(), GrammarError> {
        let index = summary.first_index;
        self.at.check_time(self.at.last_time, close.time, index)?;
        // "count is the number of votes (cell)"
        if close.count != self.totals.votes {
            return Err(GrammarError {
                code: GrammarCode::WrongCount,
                index,
                message: format!(
                    "the close says {} votes; the log holds {}",
                    close.count, self.totals.votes
                ),
            });
        }
        self.at.advance(summary, close.time);
        self.close = Some(close);
        Ok(())
    }

    fn take_votes(&mut self, summary: &BatchSummary, tally: &Tally) -> Result<(), GrammarError> {
        // The last entry is the tally, so as many entries as there are votes come before it.
        let votes: Vec<(u64, &Vote)> = summary.votes().collect();
        let tally_index = summary.new_size().saturating_sub(1);
        if votes.len() + 1 != summary.entries.len() {
            return misplaced(summary);
        }
        check_sorted(&votes, &summary.leaf_hashes)?;
        self.check_cells(&votes)?;
        let totals = self.totals_with(votes.iter().map(|(_, vote)| *vote));
        self.check_tally(tally, &totals, tally_index)?;
        self.add_credentials(&votes)?;
        self.at.advance(summary, tally.time);
        self.totals = totals;
        Ok(())
    }

    /// "Every vote belongs to this cell"
    fn check_cells(&self, votes: &[(u64, &Vote)]) -> Result<(), GrammarError> {
        for (index, vote) in votes {
            let right = self.at.election.cell_of(&vote.credential);
            if right != self.cell {
                return Err(GrammarError {
                    code: GrammarCode::WrongCell,
                    index: *index,
                    message: format!("the vote belongs to cell {right}"),
                });
            }
        }
        Ok(())
    }

    /// "then one tally with batch number n"; "Times never fall. Each tally is the exact sum."
    fn check_tally(
        &self,
        tally: &Tally,
        totals: &TallyTotals,
        index: u64,
    ) -> Result<(), GrammarError> {
        if tally.batch != self.at.next_batch {
            return Err(GrammarError {
                code: GrammarCode::TallyBatch,
                index,
                message: format!(
                    "the tally of batch {} says {}",
                    self.at.next_batch, tally.batch
                ),
            });
        }
        self.at.check_time(self.at.last_time, tally.time, index)?;
        if let Some(difference) = tally.totals.difference(totals) {
            return Err(GrammarError {
                code: GrammarCode::TallySum,
                index,
                message: format!("the tally is not the sum of the votes: {difference}"),
            });
        }
        Ok(())
    }

    /// "no credential key occurs twice in the log". The last check: what it adds is final, unless it fails itself.
    fn add_credentials(&mut self, votes: &[(u64, &Vote)]) -> Result<(), GrammarError> {
        let Some(credentials) = &mut self.credentials else {
            return Ok(());
        };
        for (done, (index, vote)) in votes.iter().enumerate() {
            if let Some(&first) = credentials.get(&vote.credential) {
                for (_, added) in votes.iter().take(done) {
                    credentials.remove(&added.credential);
                }
                return Err(GrammarError {
                    code: GrammarCode::DuplicateVote,
                    index: *index,
                    message: format!("the credential voted before, at index {first}"),
                });
            }
            credentials.insert(vote.credential, *index);
        }
        Ok(())
    }

    fn totals_with<'v>(&self, votes: impl IntoIterator<Item = &'v Vote>) -> TallyTotals {
        let mut totals = self.totals.clone();
        for vote in votes {
            totals.add(&vote.ballot, self.at.election.contests());
        }
        totals
    }

    /// The tally that ends the next batch if it holds these votes. `now` is rounded up to the grain, and never falls below earlier times.
    #[must_use]
    pub fn next_tally<'v>(&self, votes: impl IntoIterator<Item = &'v Vote>, now: u64) -> Tally {
        Tally {
            batch: self.at.next_batch,
            time: self.at.next_time(now),
            totals: self.totals_with(votes),
        }
    }

    /// The close that ends the log here.
    #[must_use]
    pub fn next_close(&self, now: u64) -> Close {
        Close {
            time: self.at.next_time(now),
            count: self.totals.votes,
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
        self.at.last_time
    }

    /// The index of this credential's vote; `None` if it has not voted (or the set is not kept here).
    #[must_use]
    pub fn index_of(&self, credential: &[u8; 32]) -> Option<u64> {
        self.credentials.as_ref()?.get(credential).copied()
    }
}

/// "strictly ascending by leaf hash (RFC 6962, compared as bytes)"
fn check_sorted(votes: &[(u64, &Vote)], hashes: &[Hash]) -> Result<(), GrammarError> {
    let pairs = hashes.iter().zip(hashes.iter().skip(1));
    // Stops before the tally: the pairs that end in a vote are as many as there are votes after the first.
    for ((index, _), (before, after)) in votes.iter().skip(1).zip(pairs) {
        if before >= after {
            return Err(GrammarError {
                code: GrammarCode::Unsorted,
                index: *index,
                message: "votes must ascend by leaf hash within their batch".to_owned(),
            });
        }
    }
    Ok(())
}

/// Which entry breaks the shape of a batch.
fn misplaced<T>(summary: &BatchSummary) -> Result<T, GrammarError> {
    const RULE: &str = "a cell's batch is one or more votes and then one tally, or a close alone";
    let last = summary.new_size().saturating_sub(1);
    for (index, entry) in summary.indexed() {
        let fits = match entry {
            Entry::Vote(_) => index != last,
            Entry::Tally(_) => index == last && index != summary.first_index,
            _ => false,
        };
        if !fits {
            return out_of_order(index, entry, RULE);
        }
    }
    // Every entry fits, so the batch does: callers come here only when it does not.
    Err(GrammarError {
        code: GrammarCode::Order,
        index: summary.first_index,
        message: RULE.to_owned(),
    })
}
