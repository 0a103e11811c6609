//! What a watcher says, for people.

use super::{Style, clean, count, number};
use crate::verdict::Outcome;
use crate::watch::{Event, LATE_HEAD};

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
            checkpoints,
            ..
        } => {
            let headline = match verdict {
                Outcome::Verified => "NOTHING RAISED: whatever was seen is one growing history.",
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

/// What `explain` says of the one alarm that is no finding of an audit.
pub(crate) fn late_head() -> String {
    format!(
        "{LATE_HEAD} (major, of `watch` alone)\n\nThe newest head is older than three intervals, and at least 30 seconds, by the watcher's own clock, and there is no final head.\n\nWhat to do: compare your clock. Ask the operator why: votes that no head covers are kept by no anchor and no witness, and could still be taken back.\n"
    )
}
