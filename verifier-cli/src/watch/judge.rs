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

#[cfg(test)]
mod tests {
    use protocol::entry::{HeadLog, LogState};
    use protocol::ids::ElectionId;
    use protocol::merkle::Hash;

    use super::super::alarm::Event;
    use super::*;

    const CELL: LogId = LogId::Cell(0);
    /// When it was first looked at, and the newest head's time then.
    const NOW: u64 = 10_000_000;
    const HEAD: u64 = 9_000_000;

    /// The first of the vectors; its heads are due every second, so a head may be 30 seconds old.
    fn election() -> Election {
        let vectors = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../specs/vectors/manifest.json"
        );
        let vectors = std::fs::read(vectors).unwrap();
        let vectors: serde_json::Value = serde_json::from_slice(&vectors).unwrap();
        let first = &vectors["cases"][0];
        let id: ElectionId = first["election"].as_str().unwrap().parse().unwrap();
        let bytes = first["manifest"].as_str().unwrap().as_bytes();
        Election::check_id(bytes, &id).unwrap()
    }

    /// The cell is published up to `size`; the head behind `heads` entries names `covered`.
    fn shown(election: &Election, size: u64, (heads, time, covered): (u64, u64, u64)) -> Shown {
        let said = HeadLog {
            state: LogState::Open,
            size: 1,
            root: Hash::from([7; 32]),
        };
        let mut logs = vec![said; election.logs().len()];
        logs[election.head_position(CELL).unwrap()].size = covered;
        let head = Head { time, logs };
        Shown {
            logs: BTreeMap::from([(CELL, (BTreeSet::from([0]), size))]),
            head_time: Some(time),
            newest: Some(HeadSeen { size: heads, head }),
            heads_read: true,
            ..Shown::default()
        }
    }

    fn said(alarms: &mut Alarms) -> Vec<(&'static str, u64, String)> {
        let events = alarms.take_events().into_iter();
        let finding = |event| match event {
            Event::Finding {
                code,
                votes_at_most,
                evidence,
                ..
            } => (code, votes_at_most, evidence),
            other => panic!("{other:?}"),
        };
        events.map(finding).collect()
    }

    #[test]
    fn what_no_head_covers_is_said_when_all_its_time_has_passed_and_not_before() {
        let election = election();
        for (later, head_later, more_heads, covered, raised) in [
            (30_001, 30_001, 2, 2, Some(3)),
            (30_000, 30_001, 2, 2, None),
            (30_001, 30_000, 2, 2, None),
            (30_001, 30_001, 1, 2, None),
            (90_000, 90_000, 9, 4, Some(1)),
            (90_000, 90_000, 9, 5, None),
        ] {
            let (mut alarms, mut uncovered) = (Alarms::default(), BTreeMap::new());
            let mut look = |now, size, head| {
                let shown = shown(&election, size, head);
                judge_uncovered(&mut alarms, &mut uncovered, &election, now, &shown);
                said(&mut alarms)
            };
            assert_eq!(look(NOW, 5, (10, HEAD, 2)), []);
            // What comes behind does not begin it anew.
            assert_eq!(look(NOW + 1, 7, (11, HEAD + 1, 2)), []);
            let head = (10 + more_heads, HEAD + head_later, covered);
            let found = look(NOW + later, 7, head);
            let case = (later, head_later, more_heads, covered);
            let votes = found.first().map(|(code, votes, _)| (*code, *votes));
            assert_eq!(votes, raised.map(|votes| (UNCOVERED, votes)), "{case:?}");
        }
    }

    #[test]
    fn a_log_that_the_head_covers_is_not_waited_for() {
        let election = election();
        let (mut alarms, mut uncovered) = (Alarms::default(), BTreeMap::new());
        let shown = shown(&election, 5, (10, HEAD, 5));
        judge_uncovered(&mut alarms, &mut uncovered, &election, NOW, &shown);
        assert!(uncovered.is_empty());
    }

    #[test]
    fn how_late_a_head_is_stands_there_in_seconds() {
        let election = election();
        let mut alarms = Alarms::default();
        let shown = shown(&election, 5, (10, HEAD, 5));
        judge_lateness(&mut alarms, &election, HEAD + 30_000, &shown, false);
        assert_eq!(said(&mut alarms), []);
        judge_lateness(&mut alarms, &election, HEAD + 31_999, &shown, false);
        let found = said(&mut alarms);
        let [(LATE_HEAD, 0, evidence)] = &found[..] else {
            panic!("{found:?}");
        };
        assert!(
            evidence.contains("is 31 s old") && evidence.contains("at most 30 s"),
            "{evidence}"
        );
    }
}
