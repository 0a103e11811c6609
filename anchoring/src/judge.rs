//! From what was seen of each log to what the next head may say: the rules of section 8 that span logs.
//!
//! A head is a signed statement that everybody builds on, so it never says what the rules forbid. Whatever stands in the way is left at its
//! last good size and marked stale, with an alarm, and everything else goes on:
//!
//! - a log that could not be read, or contradicts what was seen before;
//! - a shard that shows more issuances than its part of the roll has voters;
//! - a cell that is closed while issuance may still go on; and, once half of the grace has passed, an issuance log that is still open then;
//! - cells whose new votes no issuance explains. Which votes are the invented ones nobody can tell, so cells are taken in order for as long as
//!   `votes <= issued` holds, and the *final* head waits: neither counting such votes nor leaving them out is this service's to decide.

use ledger::batch::End;
use protocol::entry::{Head, HeadLog, LogState};
use protocol::grammar::Schedule;
use protocol::ids::LogId;
use protocol::manifest::Election;

use crate::observe::Known;

/// What was seen of one log: its new state, or why it is stale.
pub(crate) type Look = Result<Known, String>;

/// The next head, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) head: Head,
    /// For each log its last good state, which this head states.
    pub(crate) known: Vec<Known>,
    /// For each log why it is stale.
    pub(crate) stale: Vec<Option<String>>,
    /// Whether this head may be the final one.
    pub(crate) is_final: bool,
    /// Whether cells were held because of votes that no issuance explains.
    pub(crate) unexplained: bool,
}

/// Judges the looks at all logs, in the order of [`Election::logs`], against the states before them.
pub(crate) fn judge(
    election: &Election,
    schedule: &Schedule,
    now_ms: u64,
    last_head_ms: u64,
    before: &[Known],
    looks: Vec<Look>,
) -> Judged {
    let mut table = Table {
        rows: election
            .logs()
            .iter()
            .zip(before)
            .zip(looks)
            .map(|((log, before), look)| Row::new(*log, *before, look))
            .collect(),
        registrars: election.manifest().registrars.len(),
    };
    table.bound_shards(election);
    // SPEC: "Heads hold a never-falling time."
    let time = now_ms.max(last_head_ms);
    let half_grace = schedule
        .closing()
        .saturating_add(election.manifest().times.grace / 2);
    table.order_closes(schedule, time >= half_grace);
    let unexplained = table.bound_votes();
    let all_closed = table.rows.iter().all(|row| row.after.closed);
    // SPEC: "It is made once all logs are closed, or after closing plus grace."
    // What is merely out of reach at that moment gets another grace: nothing can be added to what the final head leaves out.
    let anybody_missing = table.rows.iter().any(|row| row.stale.is_some());
    let patience = if anybody_missing {
        election.manifest().times.grace
    } else {
        0
    };
    let over = time > schedule.deadline().saturating_add(patience);
    let is_final = (all_closed || over) && !unexplained;
    let logs = table.rows.iter().map(Row::head_log).collect();
    Judged {
        head: Head { time, logs },
        known: table.rows.iter().map(|row| row.after).collect(),
        stale: table.rows.into_iter().map(|row| row.stale).collect(),
        is_final,
        unexplained,
    }
}

struct Table {
    rows: Vec<Row>,
    registrars: usize,
}

struct Row {
    log: LogId,
    before: Known,
    after: Known,
    stale: Option<String>,
}

impl Row {
    fn new(log: LogId, before: Known, look: Look) -> Self {
        let (after, stale) = match look {
            Ok(after) => (after, None),
            Err(reason) => (before, Some(reason)),
        };
        Self {
            log,
            before,
            after,
            stale,
        }
    }

    /// Back to the last good state.
    fn hold(&mut self, reason: String) {
        self.after = self.before;
        self.stale = Some(reason);
    }

    fn head_log(&self) -> HeadLog {
        let state = match (self.after.closed, &self.stale) {
            // What is closed stays so, whether or not it could be read again.
            (true, _) => LogState::Closed,
            (false, Some(_)) => LogState::Stale,
            (false, None) => LogState::Open,
        };
        let End { size, root } = self.after.end;
        HeadLog { state, size, root }
    }

    /// Read, or closed for good: its count is the last word.
    const fn is_fresh(&self) -> bool {
        self.stale.is_none() || self.after.closed
    }

    const fn is_cell(&self) -> bool {
        matches!(self.log, LogId::Cell(_))
    }
}

impl Table {
    /// SPEC: "issued by each registrar <= `roll.size`": with one issuance a voter, a shard holds no more than it has roll indices.
    fn bound_shards(&mut self, election: &Election) {
        for row in &mut self.rows {
            let LogId::Issuance { registrar, .. } = row.log else {
                continue;
            };
            let voters = shard_voters(election, registrar, row.log);
            if row.stale.is_none() && row.after.count.is_some_and(|count| count > voters) {
                row.hold(format!(
                    "it shows {} issuances, and the roll has {voters} voters in this shard",
                    row.after.count.unwrap_or(0)
                ));
            }
        }
    }

    /// SPEC: "In the head that first shows a cell closed, unless it is frozen, every issuance log is closed or stale".
    fn order_closes(&mut self, schedule: &Schedule, half_grace_passed: bool) {
        let closes = |row: &Row| {
            row.is_cell()
                && row.after.closed
                && !row.before.closed
                && schedule.freeze(row.log).is_none()
        };
        let open = |row: &Row| !row.is_cell() && row.is_fresh() && !row.after.closed;
        let Some(cell) = self.rows.iter().find(|row| closes(row)).map(|row| row.log) else {
            return;
        };
        let Some(issuance) = self.rows.iter().find(|row| open(row)).map(|row| row.log) else {
            return;
        };
        if half_grace_passed {
            for row in self.rows.iter_mut().filter(|row| open(row)) {
                row.hold(format!("it is open although {cell} has closed after half of the grace: issuance ends no later than casting"));
            }
        } else {
            for row in self.rows.iter_mut().filter(|row| closes(row)) {
                row.hold(format!("it is closed while {issuance} is open: its end is taken once issuance has ended"));
            }
        }
    }

    /// SPEC: "in each head in which no issuance log is stale: total votes <= issued by each registrar". `true`: some votes had to wait.
    fn bound_votes(&mut self) -> bool {
        let shards = || self.rows.iter().filter(|row| !row.is_cell());
        if !shards().all(|row| row.is_fresh() && row.after.count.is_some()) {
            return false;
        }
        let issued_by = |r: usize| {
            shards()
                .filter(|row| matches!(row.log, LogId::Issuance { registrar, .. } if usize::from(registrar) == r))
                .filter_map(|row| row.after.count)
                .fold(0u64, u64::saturating_add)
        };
        let Some(issued) = (0..self.registrars).map(issued_by).min() else {
            return false;
        };
        // A stale cell of unknown count (after a restart) is counted as empty: the rule is then judged again once it can be read.
        let count = |known: &Known| known.count.unwrap_or(0);
        let mut votes = self
            .rows
            .iter()
            .filter(|row| row.is_cell())
            .map(|row| count(&row.before))
            .fold(0u64, u64::saturating_add);
        let mut unexplained = false;
        for row in self.rows.iter_mut().filter(|row| row.is_cell()) {
            let with_row =
                votes.saturating_add(count(&row.after).saturating_sub(count(&row.before)));
            if row.stale.is_none() && row.after.end != row.before.end && with_row > issued {
                row.hold(format!(
                    "its {} votes make more votes in all than the {issued} credentials that a registrar has issued",
                    count(&row.after)
                ));
                unexplained = true;
            } else {
                votes = with_row;
            }
        }
        unexplained
    }
}

/// The number of roll indices that belong to the shard.
fn shard_voters(election: &Election, registrar: u16, log: LogId) -> u64 {
    match log {
        LogId::Issuance { shard, .. } => election.voters_of_shard(registrar, shard),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
