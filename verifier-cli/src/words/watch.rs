//! What a watcher says, for people.

use super::{Style, clean, count, number, utc};
use crate::verdict::Outcome;
use crate::watch::{Event, HEAD_AHEAD, LATE_HEAD, Seen, UNCOVERED};

/// One event, as a line or two.
pub(crate) fn watch(event: &Event, colour: bool) -> String {
    let style = Style(colour);
    match event {
        Event::Finding {
            round,
            source,
            code,
            severity,
            place,
            evidence,
            votes_at_most,
            ..
        } => format!(
            "round {}: {} {code} at {}, {}\n    {}\n    votes affected at most: {}\n",
            number(*round),
            style.severity(*severity),
            clean(source),
            clean(&place.to_string()),
            clean(evidence),
            number(*votes_at_most)
        ),
        Event::Unread {
            round,
            source,
            problem,
            ..
        } => format!(
            "round {}: {} could not be read: {}\n",
            number(*round),
            clean(source),
            clean(problem)
        ),
        Event::End {
            verdict,
            rounds,
            raised,
            raised_before,
            checkpoints,
            ..
        } => {
            let headline = match verdict {
                Outcome::Verified => "NOTHING RAISED: whatever was seen is one growing history.",
                Outcome::Findings if raised == raised_before => {
                    "FINDINGS were raised by an earlier run with this folder, and none by this one: events.jsonl in it says which. To begin anew, name another folder."
                }
                Outcome::Findings if *raised_before > 0 => {
                    "FINDINGS were raised; see above. Those of earlier runs are in events.jsonl in the state folder."
                }
                Outcome::Findings => "FINDINGS were raised; see above.",
                Outcome::Unchecked => "NOT CHECKED: not everything could be read.",
            };
            format!(
                "{}\n{}, {} raised, {} kept.\n",
                style.outcome(*verdict, headline),
                count(*rounds, "round"),
                count(*raised, "finding"),
                count(*checkpoints, "checkpoint"),
            )
        }
    }
}

/// What a round saw, in a line.
pub(crate) fn seen(seen: &Seen, now: Option<u64>) -> String {
    let (read, given) = seen.sources;
    format!(
        "{}: {read} of {} read{}; heads log at size {}{}, {} in the cells; {}",
        now.map_or_else(|| "an unknown time".to_owned(), utc),
        count(given as u64, "source"),
        match seen.witnesses {
            (_, 0) => String::new(),
            (heard, asked) => format!(", {heard} of {} heard", count(asked as u64, "witness")),
        },
        number(seen.heads),
        if seen.is_final { " (final)" } else { "" },
        count(seen.cells, "entry"),
        match seen.standing {
            0 if read == 0 => "nothing could be read".to_owned(),
            0 if read < given => "nothing is wrong in what could be read".to_owned(),
            0 => "nothing is wrong".to_owned(),
            1 => "1 finding still stands".to_owned(),
            standing => format!("{} still stand", count(standing as u64, "finding")),
        }
    )
}

/// What `explain` says of the alarms that are no findings of an audit: those by the watcher's own clock.
pub(crate) fn by_clock(code: &str) -> Option<String> {
    let (severity, meaning, advice) = match code {
        LATE_HEAD => (
            "major",
            "The newest head is older than three intervals, and at least 30 seconds, by the watcher's own clock, and there is no final head; or the election has opened, and no head is published.",
            "compare your clock. Ask the operator why: votes that no head covers are kept by no anchor and no witness, and could still be taken back.",
        ),
        HEAD_AHEAD => (
            "critical",
            "The newest head claims a time more than five minutes ahead of the watcher's own clock. Openings and closings go by the heads' times, so voting could end early.",
            "compare your clock. If it is right, say at once what you saw, and ask the election's witnesses for their own copies (`audit --witness`): once the time has come, the files alone no longer show it.",
        ),
        UNCOVERED => (
            "major",
            "A log published something longer ago, by the watcher's own clock, than heads may be late, and newer heads still do not cover it: they repeat an older size of that log.",
            "ask the operator why (a log that cannot be read is called stale, and repeated). Votes that no head covers are kept by no anchor and no witness, could still be taken back, and count only if a later head covers them.",
        ),
        _ => return None,
    };
    Some(format!(
        "{code} ({severity}, of `watch` alone)\n\n{meaning}\n\nWhat to do: {advice}\n"
    ))
}
