//! The heads log: `genesis (head | notice)* final-head?`.

mod notices;

use crate::entry::{Entry, Genesis, Head, HeadLog, LogState};
use crate::ids::LogId;
use crate::manifest::Election;
use crate::merkle::{CompactRange, Hash, leaf_hash};

use super::shared::{Position, check_not_before, out_of_order};
use super::{BatchSummary, GrammarCode, GrammarError, Schedule};

/// The state of the heads log at a batch end.
#[derive(Debug, Clone)]
pub struct HeadsLog {
    at: Position,
    tree: CompactRange,
    next_sequence: u32,
    schedule: Schedule,
    last_head: Option<(u64, Head)>,
    is_final: bool,
    /// What the last head says of each log; before the first head, the genesis alone.
    known: Vec<HeadLog>,
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
        let window = Window {
            before_opening: 1,
            in_time: 1,
        };
        Self {
            at: Position::start(election, LogId::Heads),
            tree: CompactRange::new(),
            next_sequence: 0,
            schedule: Schedule::new(election),
            last_head: None,
            is_final: false,
            known: election
                .logs()
                .iter()
                .map(|log| HeadLog {
                    state: LogState::Open,
                    size: 1,
                    root: genesis_root(election, *log),
                })
                .collect(),
            windows: vec![window; election.logs().len()],
        }
    }

    /// Takes the next batch: all of it, or nothing.
    ///
    /// # Errors
    /// The first rule that is broken, and where. The state is then as before.
    pub fn batch(&mut self, n: u64, entries: &[&[u8]]) -> Result<BatchSummary, GrammarError> {
        let mut summary = self.at.decode(n, entries, self.is_final)?;
        // Each entry is judged by those before it in the same batch too, so a copy goes ahead.
        let mut next = self.clone();
        let mut remarks = Vec::new();
        for ((index, entry), leaf) in summary.indexed().zip(&summary.leaf_hashes) {
            // "Close and final head end their log"
            if next.is_final {
                return Err(GrammarError {
                    code: GrammarCode::AfterEnd,
                    index,
                    message: "an entry follows the final head".to_owned(),
                });
            }
            match entry {
                Entry::Genesis(_) if n == 0 => {}
                Entry::Head(head) => next.take_head(head, index, &mut remarks)?,
                Entry::FinalHead(head) => {
                    next.take_head(head, index, &mut remarks)?;
                    next.check_final(head, index, &mut remarks)?;
                    next.is_final = true;
                }
                Entry::Notice(notice) => next.take_notice(&notice.body, index)?,
                other => {
                    return out_of_order(index, other, "the heads log holds heads and notices");
                }
            }
            next.tree.push(*leaf);
        }
        next.at.advance(&summary, next.at.last_time);
        *self = next;
        summary.remarks = remarks;
        Ok(summary)
    }

    fn take_head(
        &mut self,
        head: &Head,
        index: u64,
        remarks: &mut Vec<GrammarError>,
    ) -> Result<(), GrammarError> {
        // "head times never fall"
        check_not_before(self.at.last_time, head.time, index)?;
        for ((log, before), after) in self.logs().zip(&self.known).zip(&head.logs) {
            check_log(log, before, after)
                .and_then(|()| self.check_switch_root(log, after))
                .map_err(|(code, problem)| GrammarError {
                    code,
                    index,
                    message: format!("{log}: {problem}"),
                })?;
        }
        remarks.extend(self.issuance_open(head, index));
        remarks.extend(self.closed_early(head, index));
        self.schedule.settle_freezes(head.time);
        let opening = self.schedule.opening();
        let grace = self.at.election.manifest().times.grace;
        let logs = self.at.election.logs();
        for ((log, window), said) in logs.iter().zip(&mut self.windows).zip(&head.logs) {
            if head.time < opening {
                window.before_opening = said.size;
            }
            if head.time <= self.schedule.closing_of(*log).saturating_add(grace) {
                window.in_time = said.size;
            }
        }
        self.at.last_time = head.time;
        self.known.clone_from(&head.logs);
        self.last_head = Some((index, head.clone()));
        Ok(())
    }

    /// The root that a switch notice named must be the root of that size.
    fn check_switch_root(&self, log: LogId, said: &HeadLog) -> Result<(), (GrammarCode, String)> {
        match self.schedule.switch(log) {
            Some(switch) if switch.size == said.size && switch.root != said.root => Err((
                GrammarCode::Fork,
                format!("at size {} the switch notice named another root", said.size),
            )),
            _ => Ok(()),
        }
    }

    /// "In a head in which a cell is closed, every issuance log is closed or stale". It says so at the head that first shows the cell closed.
    fn issuance_open(&self, head: &Head, index: u64) -> Option<GrammarError> {
        let is_open = |log: &LogId, said: &HeadLog| {
            matches!(log, LogId::Issuance { .. }) && said.state == LogState::Open
        };
        let (open, _) = self
            .logs()
            .zip(&head.logs)
            .find(|(log, said)| is_open(log, said))?;
        let (closed, _) =
            self.logs()
                .zip(self.known.iter().zip(&head.logs))
                .find(|(log, (before, after))| {
                    matches!(log, LogId::Cell(_))
                    && before.state != LogState::Closed
                    && after.state == LogState::Closed
                    // A frozen cell closes when it must.
                    && self.schedule.freeze(*log).is_none()
                })?;
        Some(GrammarError {
            code: GrammarCode::IssuanceOpen,
            index,
            message: format!("{closed} is closed while {open} is open"),
        })
    }

    /// "A log that a head shows closed for the first time is finding `closed-early` if that head's time is not above the closing time in
    /// force, unless the log was frozen or the election cancelled before that head." By the heads' times: a log's own say nothing against
    /// whoever holds its key.
    fn closed_early(&self, head: &Head, index: u64) -> Vec<GrammarError> {
        let closing = self.schedule.closing();
        if head.time > closing || self.schedule.cancelled().is_some() {
            return Vec::new();
        }
        self.logs()
            .zip(self.known.iter().zip(&head.logs))
            .filter(|(log, (before, after))| {
                before.state != LogState::Closed
                    && after.state == LogState::Closed
                    && self.schedule.freeze(*log).is_none()
            })
            .map(|(log, _)| GrammarError {
                code: GrammarCode::ClosedEarly,
                index,
                message: format!(
                    "{log} is closed in a head of time {}, and voting lasts until {closing}",
                    head.time
                ),
            })
            .collect()
    }

    /// "It is made once all logs are closed, or after closing plus grace." "A log that it lists with state other than 2 is finding `unclosed`."
    fn check_final(
        &self,
        head: &Head,
        index: u64,
        remarks: &mut Vec<GrammarError>,
    ) -> Result<(), GrammarError> {
        let unclosed: Vec<LogId> = self
            .logs()
            .zip(&head.logs)
            .filter(|(_, said)| said.state != LogState::Closed)
            .map(|(log, _)| log)
            .collect();
        let deadline = self.schedule.deadline();
        if let (Some(log), true) = (unclosed.first(), head.time <= deadline) {
            return Err(GrammarError {
                code: GrammarCode::EarlyFinal,
                index,
                message: format!(
                    "the final head of time {} lists {log} as not closed, before closing plus grace ({deadline}) is over",
                    head.time
                ),
            });
        }
        remarks.extend(unclosed.into_iter().map(|log| GrammarError {
            code: GrammarCode::Unclosed,
            index,
            message: format!("the final head lists {log} as not closed"),
        }));
        Ok(())
    }

    fn logs(&self) -> impl Iterator<Item = LogId> + '_ {
        self.at.election.logs().iter().copied()
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

    /// The number that the next notice must have.
    #[must_use]
    pub fn next_sequence(&self) -> u32 {
        self.next_sequence
    }

    /// The root over the entries so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.tree.root()
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
        self.windows
            .get(self.at.election.head_position(log)?)
            .copied()
    }
}

/// The root of a log that holds its genesis only.
fn genesis_root(election: &Election, log: LogId) -> Hash {
    leaf_hash(&Genesis::of(election, log).encode())
}

/// What a head may say of a log after what the head before it said.
fn check_log(log: LogId, before: &HeadLog, after: &HeadLog) -> Result<(), (GrammarCode, String)> {
    let same = after.size == before.size && after.root == before.root;
    // "Once a log is closed in a head, every later head repeats its state, size and root."
    if before.state == LogState::Closed && !(same && after.state == LogState::Closed) {
        return Err((
            GrammarCode::Reopened,
            format!("closed at size {}, and changes", before.size),
        ));
    }
    // "size and root repeat the last head's, or are those of genesis"
    if after.state == LogState::Stale && !same {
        return Err((
            GrammarCode::Stale,
            format!("stale, but does not repeat size {}", before.size),
        ));
    }
    // "sizes never fall"; there is a genesis in every log, so none is below 1.
    if after.size < before.size {
        return Err((
            GrammarCode::SizeFalls,
            format!("the size falls from {} to {}", before.size, after.size),
        ));
    }
    if after.size == before.size && after.root != before.root {
        return Err((
            GrammarCode::Fork,
            format!("at size {} another root was named before", after.size),
        ));
    }
    // "closed (the entry at `size - 1` is close)": the genesis is not.
    if after.state == LogState::Closed && after.size < 2 {
        return Err((
            GrammarCode::Order,
            format!("{log} cannot be closed at size {}", after.size),
        ));
    }
    Ok(())
}
