//! How far a log is on its way to its end, and what it waits for: for people who wonder why it takes nothing, or is not closed yet.
//!
//! This says what the services do (specs/protocol.md, section 8); it decides nothing.

use ledger::heads::HeadsFollower;
use ledger::schedule;
use protocol::entry::LogState;
use protocol::grammar;
use protocol::ids::LogId;
use protocol::manifest::Election;
use serde_json::{Value, json};

use crate::election::notices::time;

/// What the end of a log goes by: as a service, or anybody else who has read the heads log, knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course<'a> {
    election: &'a Election,
    in_force: &'a grammar::Schedule,
    /// The newest head's time; 0 before the first.
    head_time: u64,
    issuance_closed: bool,
    has_final_head: bool,
}

impl<'a> Course<'a> {
    /// As a service knows it.
    pub(crate) fn of_schedule(election: &'a Election, schedule: &'a schedule::Schedule) -> Self {
        Self {
            election,
            in_force: schedule.in_force(),
            head_time: schedule.head_time(),
            issuance_closed: schedule.issuance_closed(),
            has_final_head: schedule.has_final_head(),
        }
    }

    /// As the heads log has it.
    pub(crate) fn of_heads(election: &'a Election, heads: &'a HeadsFollower) -> Self {
        let last = heads.log().last_head().map(|(_, head)| head);
        let issuance_closed = last.is_some_and(|head| {
            let mut logs = election.logs().iter();
            logs.all(|log| {
                !matches!(log, LogId::Issuance { .. })
                    || head
                        .log(election, *log)
                        .is_some_and(|said| said.state == LogState::Closed)
            })
        });
        Self {
            election,
            in_force: heads.log().schedule(),
            head_time: last.map_or(0, |head| head.time),
            issuance_closed,
            has_final_head: heads.log().final_head().is_some(),
        }
    }
}

/// See [`Ending::words`]; of what a service has answered, too.
pub(crate) fn words(state: &str, waits_for: Option<&str>) -> String {
    match (state, waits_for) {
        (state, Some(what)) => format!("; {state}: waits for {what}"),
        ("ended", None) => "; the final head is made, so what enters now does not count".to_owned(),
        (_, None) => String::new(),
    }
}

/// Where a log is on its way to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// `open`, `frozen` (a notice stopped it), `closing` (its time is over), `ended` (the final head counts what it counts) or `closed`.
    pub(crate) state: &'static str,
    /// What its close waits for, in words; `None` where it waits for nothing but its closing time, or for nothing at all.
    pub(crate) waits_for: Option<String>,
}

impl Ending {
    /// Of this log, which is closed or not, at this time in ms.
    pub(crate) fn of(course: &Course<'_>, log: LogId, closed: bool, now: u64) -> Self {
        let state = |state, waits_for| Self { state, waits_for };
        if closed {
            return state("closed", None);
        }
        if course.has_final_head {
            return state("ended", None);
        }
        let stopped =
            course.in_force.freeze(log).is_some() || course.in_force.cancelled().is_some();
        let closing = course.in_force.closing_of(log);
        let name = match (stopped, now >= closing) {
            (true, _) => "frozen",
            (false, true) => "closing",
            (false, false) => return state("open", None),
        };
        let grace = course.election.manifest().times.grace;
        state(
            name,
            match log {
                LogId::Cell(_) if course.issuance_closed => {
                    Some("its last votes to be final; it closes next".to_owned())
                }
                LogId::Cell(_) => Some(format!(
                    "every issuance log to show closed in a head, or for {} (closing and half of the grace)",
                    time(course.in_force.closing().saturating_add(grace / 2))
                )),
                LogId::Issuance { .. } if stopped || course.head_time > closing => {
                    Some("its last issuances to be final; it closes next".to_owned())
                }
                LogId::Issuance { .. } => Some(format!(
                    "a head later than its closing time, or for {} (closing and a quarter of the grace)",
                    time(closing.saturating_add(grace / 4))
                )),
                LogId::Heads => Some(format!(
                    "every log to be closed, or for {} (closing and the grace)",
                    time(course.in_force.deadline())
                )),
            },
        )
    }

    /// `; frozen: waits for …`; empty for a log that is open or closed.
    pub(crate) fn words(&self) -> String {
        words(self.state, self.waits_for.as_deref())
    }

    /// For `--json` and `/status`.
    pub(crate) fn to_json(&self) -> Value {
        json!({ "state": self.state, "waits_for": self.waits_for })
    }
}
