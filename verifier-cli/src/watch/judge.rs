//! What no single source shows: what all of them lack, and what the watcher's own clock says.

use std::collections::{BTreeMap, BTreeSet};

use protocol::entry::Head;
use protocol::ids::LogId;
use protocol::manifest::Election;
use serde::{Deserialize, Serialize};

use super::alarm::{Alarms, HEAD_AHEAD, LATE_HEAD, UNCOVERED};
use super::memory::Memory;
use crate::audit::context::Unread;
use crate::finding::{Code, Findings, Place, Severity, Votes};

/// A head may be so many intervals old,
const LATE_INTERVALS: u64 = 3;
/// but is not late before this (ms).
const LATE_AT_LEAST: u64 = 30_000;
/// How far the watcher's clock and an honest head's may be apart (ms); the same as between heads and witnesses.
const AHEAD_MAX: u64 = 300_000;
/// Heads that are made behind the moment in which a log was seen: the first may have been under way.
const HEADS_BEHIND: u64 = 2;

/// The newest head that a source shows.
pub(super) struct HeadSeen {
    /// The size of the heads log.
    pub(super) size: u64,
    pub(super) head: Head,
}

/// What all sources together showed in a round.
#[derive(Default)]
pub(super) struct Shown {
    /// Per log: which sources showed it, and the largest size.
    pub(super) logs: BTreeMap<LogId, (BTreeSet<usize>, u64)>,
    /// The one with the latest time.
    pub(super) head_time: Option<u64>,
    /// The one of the largest heads log.
    pub(super) newest: Option<HeadSeen>,
    /// Somebody's heads log was followed to its end.
    pub(super) heads_read: bool,
    /// Somebody certainly publishes none.
    pub(super) heads_missing: bool,
    pub(super) is_final: bool,
    pub(super) cancelled: bool,
    /// Looks that were cut off.
    pub(super) cut: u64,
}

/// A log that was published up to here when the heads were there.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Uncovered {
    size: u64,
    /// By the watcher's clock (ms).
    since: u64,
    /// The size of the heads log then, and its newest head's time.
    heads: u64,
    head_time: u64,
}

/// How old the newest head may be, and how long a cosigned one may stay unseen (ms).
pub(crate) fn allowed_age(election: &Election) -> u64 {
    election
        .manifest()
        .head_interval_ms
        .saturating_mul(LATE_INTERVALS)
        .max(LATE_AT_LEAST)
}

/// Where every source answers and all are below what was once seen, the log was rolled back, whatever the sources are called today.
pub(super) fn judge_all(
    alarms: &mut Alarms,
    memory: &Memory,
    election: &Election,
    sources: usize,
    shown: &Shown,
) {
    let findings = Findings::new(election.manifest().roll.size);
    for (log, (answered, size)) in &shown.logs {
        let kept = memory
            .lock()
            .keep
            .newest(*log)
            .map(|kept| kept.checkpoint.size());
        let Some(before) = kept.filter(|before| answered.len() == sources && size < before) else {
            continue;
        };
        let place = format!("{log}/checkpoint");
        if alarms.is_raised(Code::CheckpointRollback, &place) {
            continue;
        }
        findings.add(
            Code::CheckpointRollback,
            Place::file(place),
            Votes::in_missing(*log, before - size),
            format!(
                "every source shows at most size {size}, and its key signed size {before}, which is kept: the log was cut, or all sources are older copies"
            ),
        );
    }
    alarms.take("all sources", &findings, &Unread::default());
}

/// Heads must go on until the final one.
pub(super) fn judge_lateness(
    alarms: &mut Alarms,
    election: &Election,
    now: u64,
    shown: &Shown,
    folders: bool,
) {
    if shown.is_final || !(shown.heads_read || shown.heads_missing) {
        return;
    }
    let allowed = allowed_age(election);
    // Before the first head, nothing is due until the election opens.
    let since = shown.head_time.unwrap_or(election.manifest().times.opening);
    let age = now.saturating_sub(since);
    if age <= allowed {
        return;
    }
    let (age, allowed) = (age / 1_000, allowed / 1_000);
    let evidence = if shown.head_time.is_some() {
        format!(
            "the newest head is {age} s old by this machine's clock, and at most {allowed} s are allowed: what is published since is covered by nothing that anchors or witnesses keep"
        )
    } else {
        format!(
            "the election opened {age} s ago by this machine's clock, and there is no head: what is published is covered by nothing that anchors or witnesses keep"
        )
    };
    let evidence = if folders {
        format!(
            "{evidence}. All sources are folders on this machine: where nobody brings them up to date, it is they that are late, and not the election"
        )
    } else {
        evidence
    };
    alarms.clock(LATE_HEAD, Severity::Major, "heads/checkpoint", 0, evidence);
}

/// Whoever sets the heads' times forward can end the voting early, and have witnesses cosign when the true time has caught up: only who looks meanwhile sees it.
pub(super) fn judge_ahead(alarms: &mut Alarms, election: &Election, now: u64, shown: &Shown) {
    let Some(ahead) = shown.head_time.and_then(|time| time.checked_sub(now)) else {
        return;
    };
    if ahead > AHEAD_MAX {
        let roll = election.manifest().roll.size;
        alarms.clock(HEAD_AHEAD, Severity::Critical, "heads/checkpoint", roll, format!(
            "the newest head claims a time {} s ahead of this machine's clock, and at most {} s are allowed: openings and closings go by the heads' times",
            ahead / 1_000,
            AHEAD_MAX / 1_000
        ));
    }
}

/// Heads that go on and leave out what a log published: a log that they call stale for long is covered by nothing either.
///
/// Time must have passed by the watcher's clock and by the heads' own, so that neither a pause of the heads nor a source that is an older copy is taken for it.
pub(super) fn judge_uncovered(
    alarms: &mut Alarms,
    uncovered: &mut BTreeMap<String, Uncovered>,
    election: &Election,
    now: u64,
    shown: &Shown,
) {
    if shown.is_final || shown.cancelled {
        // What is published now counts no more.
        uncovered.clear();
        return;
    }
    let Some(HeadSeen { size: heads, head }) = &shown.newest else {
        return;
    };
    let allowed = allowed_age(election);
    for log in election.logs() {
        let Some(covered) = head.log(election, *log).map(|said| said.size) else {
            continue;
        };
        let name = log.prefix();
        let waiting = uncovered
            .get(&name)
            .filter(|waiting| waiting.size > covered);
        let Some(waiting) = waiting else {
            match shown.logs.get(log) {
                Some((_, size)) if *size > covered => {
                    let first_seen = Uncovered {
                        size: *size,
                        since: now,
                        heads: *heads,
                        head_time: head.time,
                    };
                    uncovered.insert(name, first_seen);
                }
                _ => {
                    uncovered.remove(&name);
                }
            }
            continue;
        };
        if now.saturating_sub(waiting.since) > allowed
            && head.time.saturating_sub(waiting.head_time) > allowed
            && *heads >= waiting.heads.saturating_add(HEADS_BEHIND)
        {
            alarms.clock(UNCOVERED, Severity::Major, &format!("{log}/checkpoint"), waiting.size - covered, format!(
                "it was published up to size {} {} s ago by this machine's clock, and the newest head still names {covered}: what is behind is covered by nothing that anchors or witnesses keep",
                waiting.size,
                now.saturating_sub(waiting.since) / 1_000
            ));
        }
    }
}
