//! The verdict on results.json, for people.

use std::fmt::Write as _;

use super::{Style, clean, count, list_findings, not_covered, number, one_contest, utc};
use crate::result::{CellShown, ResultVerdict};
use crate::verdict::{Outcome, State};

/// Writing to a string cannot fail.
pub(crate) fn result(verdict: &ResultVerdict, colour: bool) -> String {
    let style = Style(colour);
    let headline = match verdict.verdict {
        Outcome::Verified => "VERIFIED: the results are the sums of signed tally entries.",
        Outcome::Findings => "FINDINGS: something is wrong; see below.",
        Outcome::Unchecked => "NOT CHECKED: see below.",
    };
    let mut out = format!("{}\n\n", style.outcome(verdict.verdict, headline));
    let _ = writeln!(out, "Election  {}", verdict.election);
    if let Some(title) = &verdict.title {
        let _ = writeln!(out, "Title     {}", clean(title));
    }
    if verdict.demo == Some(true) {
        let _ = writeln!(out, "Demo      the manifest says that this is a rehearsal");
    }
    let _ = writeln!(out, "Source    {}", clean(&verdict.source));
    if let Some(state) = verdict.state {
        let words = match state {
            State::Open => "open (running totals)",
            State::Final => "final",
            State::Cancelled => "cancelled by the authority: nothing is counted",
        };
        let _ = writeln!(out, "State     {words}");
    }
    if let Some(size) = verdict.heads_size {
        let as_of = verdict.head_time.map_or_else(String::new, |time| {
            format!("; its newest head is of {}", utc(time))
        });
        let _ = writeln!(
            out,
            "Heads     {} read, which is all of the heads log{as_of}",
            count(size, "entry")
        );
    }
    if !verdict.cells.is_empty() {
        let ahead = |cell: &&CellShown| cell.head_size.is_none_or(|head| cell.size > head);
        let _ = writeln!(
            out,
            "Counted   {}, {} of them newer than the newest head, {} older",
            count(verdict.cells.len() as u64, "cell"),
            number(verdict.cells.iter().filter(ahead).count() as u64),
            number(verdict.cells.iter().filter(|cell| cell.is_behind()).count() as u64),
        );
    }
    if let (Some(contests), Some(votes), Some(blank)) =
        (&verdict.results, verdict.votes, verdict.abstentions)
    {
        let _ = writeln!(
            out,
            "\n{}: {}, {} of them blank in every contest",
            style.heading("Result"),
            count(votes, "vote"),
            number(blank)
        );
        for (n, contest) in (0u16..).zip(contests) {
            one_contest(&mut out, contest, verdict.state == Some(State::Final));
            if verdict.unverified_winners.contains(&n) {
                let _ = writeln!(
                    out,
                    "      not verified here: it and the rounds behind the first follow from all ballots, which `audit` reads",
                );
            }
        }
    }
    if !verdict.findings.is_empty() {
        let total = verdict.findings_by_code.values().sum();
        let heading = format!("Findings: {}", number(total));
        let _ = writeln!(out, "\n{}", style.heading(&heading));
        list_findings(&mut out, &verdict.findings, style);
    }
    not_covered(&mut out, "Not checked", &verdict.not_covered, style);
    out
}
