//! The heads log: `genesis (head | notice)* final-head?`.

use crate::entry::Head;
use crate::ids::LogId;
use crate::manifest::Election;

use super::{BatchSummary, GrammarError, Schedule};

/// The state of the heads log at a batch end.
#[derive(Debug, Clone)]
pub struct HeadsLog {
    election: Election,
    size: u64,
    next_batch: u64,
    next_sequence: u32,
    schedule: Schedule,
    last_head: Option<(u64, Head)>,
    is_final: bool,
    windows: Vec<Window>,
}

/// Sizes of a log at the ends of its voting period, by the heads' times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// In the last head before opening: votes below it are `early`. 1 (the genesis) if there is no such head.
    pub before_opening: u64,
    /// In the last head whose time is at most the log's closing plus grace: votes at or above it are `late`. 1 if there is no such head.
    pub in_time: u64,
}

impl HeadsLog {
    /// The log before its first batch.
    #[must_use]
    pub fn new(election: &Election) -> Self {
        Self {
            election: election.clone(),
            size: 0,
            next_batch: 0,
            next_sequence: 0,
            schedule: Schedule::new(election),
            last_head: None,
            is_final: false,
            windows: vec![
                Window {
                    before_opening: 1,
                    in_time: 1
                };
                election.logs().len()
            ],
        }
    }

    /// Takes the next batch: all of it, or nothing.
    ///
    /// # Errors
    /// The first rule that is broken, and where. The state is then as before.
    pub fn batch(&mut self, n: u64, entries: &[&[u8]]) -> Result<BatchSummary, GrammarError> {
        let _ = (n, entries);
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

    /// The number that the next notice must have.
    #[must_use]
    pub fn next_sequence(&self) -> u32 {
        self.next_sequence
    }

    /// What is in force.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The newest head and its index in the log.
    #[must_use]
    pub fn last_head(&self) -> Option<(u64, &Head)> {
        self.last_head.as_ref().map(|(index, head)| (*index, head))
    }

    /// The final head and its index in the log, once there is one.
    #[must_use]
    pub fn final_head(&self) -> Option<(u64, &Head)> {
        self.last_head().filter(|_| self.is_final)
    }

    /// The log's sizes at the ends of its voting period; `None` for the heads log itself.
    #[must_use]
    pub fn window(&self, log: LogId) -> Option<Window> {
        self.windows.get(self.election.head_position(log)?).copied()
    }
}
