//! Verdicts on disputes and on pairs of checkpoints, for people.

use std::fmt::Write as _;

use protocol::dispute::Ruling;

use super::{Style, clean, list_findings, not_covered, number};
use crate::consistency::ConsistencyVerdict;
use crate::dispute::DisputeVerdict;
use crate::verdict::Outcome;

const fn ruling(ruling: Ruling) -> &'static str {
    match ruling {
        Ruling::InvalidReceipt => "INVALID RECEIPT: it proves no vote.",
        Ruling::NotShown => {
            "NOT SHOWN: the receipt is valid, and nothing that was shown speaks for or against it."
        }
        Ruling::RolledBack => {
            "ROLLED BACK: the published log is shorter than what its key signed. Make sure that this is not an old copy; if it stays so, the log was cut."
        }
        Ruling::Held => {
            "HELD: the published log holds the vote as the receipt says; no head covers it yet."
        }
        Ruling::Covered => "COVERED: a head covers the vote as the receipt says; more heads come.",
        Ruling::Counted => "COUNTED: the final head counts the vote as the receipt says.",
        Ruling::Dropped => "DROPPED: the vote was recorded, and the final head does not count it.",
        Ruling::SplitView => "SPLIT VIEW: the keys of the ledger signed two histories.",
    }
}

/// The verdict on a dispute. Writing to a string cannot fail.
pub(crate) fn dispute(verdict: &DisputeVerdict, colour: bool) -> String {
    let style = Style(colour);
    let headline = verdict.ruling.map_or(
        "NOT CHECKED: the file could not be judged; see below.",
        ruling,
    );
    let mut out = format!("{}\n\n", style.outcome(verdict.verdict, headline));
    let _ = writeln!(out, "Election    {}", verdict.election);
    if let Some(vote) = &verdict.vote {
        let _ = writeln!(out, "Place       cell {}, index {}", vote.cell, vote.index);
        let _ = writeln!(out, "Credential  {}", vote.credential);
    }
    if let Some(why) = &verdict.why {
        let _ = writeln!(out, "Because     {}", clean(why));
    }
    not_covered(&mut out, "Not checked", &verdict.not_covered, style);
    out
}

/// The verdict on two checkpoints. Writing to a string cannot fail.
pub(crate) fn consistency(verdict: &ConsistencyVerdict, colour: bool) -> String {
    let style = Style(colour);
    let headline = match verdict.verdict {
        Outcome::Verified => "CONSISTENT: one log can have both.",
        Outcome::Findings => "SPLIT VIEW: the log's keys signed two histories.",
        Outcome::Unchecked => "NOT CHECKED: nobody showed enough; see below.",
    };
    let mut out = format!("{}\n\n", style.outcome(verdict.verdict, headline));
    let _ = writeln!(out, "Election  {}", verdict.election);
    for shown in &verdict.checkpoints {
        let _ = writeln!(
            out,
            "  {:<16} size {:>12}, root {}, from {}",
            shown.log,
            number(shown.size),
            shown.root,
            clean(&shown.from)
        );
    }
    if !verdict.findings.is_empty() {
        let _ = writeln!(out, "\n{}", style.heading("Findings"));
        list_findings(&mut out, &verdict.findings, style);
    }
    not_covered(&mut out, "Not checked", &verdict.not_covered, style);
    out
}
