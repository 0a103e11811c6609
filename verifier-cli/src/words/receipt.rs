//! The verdict on a receipt, for the voter.

use std::fmt::Write as _;

use super::{Style, clean, list_findings, number};
use crate::receipt::{Counted, ReceiptVerdict};
use crate::verdict::Outcome;

/// The verdict on a receipt. Writing to a string cannot fail.
pub(crate) fn receipt(verdict: &ReceiptVerdict, colour: bool) -> String {
    let style = Style(colour);
    let mut out = String::new();
    let headline = match (verdict.verdict, &verdict.vote) {
        (Outcome::Verified, Some(vote)) if vote.sealed.is_some() => {
            "VERIFIED: the vote is sealed. The log's key signed a tree that holds it, and a published head covers that tree."
        }
        (Outcome::Verified, _) => {
            "VERIFIED: the vote is recorded. The log's key signed a tree that holds it. (Provisional: no head in the receipt covers it yet.)"
        }
        (Outcome::Findings, _) => "FINDINGS: something is wrong; see below.",
        (Outcome::Unchecked, None) if !verdict.findings.is_empty() => {
            "NOT CHECKED: this is no receipt of the election that you named; see below."
        }
        (Outcome::Unchecked, _) => "NOT CHECKED: see below.",
    };
    let _ = writeln!(out, "{}\n", style.outcome(verdict.verdict, headline));
    let _ = writeln!(out, "Election    {}", verdict.election);
    if let Some(vote) = &verdict.vote {
        let _ = writeln!(out, "Title       {}", clean(&vote.title));
        let _ = writeln!(out, "Place       cell {}, index {}", vote.cell, vote.index);
        let _ = writeln!(out, "Credential  {}", vote.credential);
        let _ = writeln!(
            out,
            "\n{} (anybody who sees this knows the vote)",
            style.heading("The vote")
        );
        for choice in &vote.choices {
            let options: Vec<String> = choice.options.iter().map(|option| clean(option)).collect();
            let chosen = if options.is_empty() {
                "(blank)".to_owned()
            } else {
                options.join(", ")
            };
            let _ = writeln!(out, "  {}: {chosen}", clean(&choice.contest));
        }
    }
    if let Some(ledger) = &verdict.ledger {
        let _ = writeln!(
            out,
            "\n{} ({})",
            style.heading("In the published ledger"),
            clean(&ledger.source)
        );
        if let Some(size) = ledger.cell_size {
            let _ = writeln!(
                out,
                "  the cell's log has {} entries now; {}",
                number(size),
                if ledger.in_ledger {
                    "the vote is among them, and it is the same log as the receipt's"
                } else {
                    "see the findings"
                }
            );
        }
        let _ = writeln!(
            out,
            "  {}",
            match ledger.counted {
                Counted::NotYet => "no head covers the vote yet: look again later",
                Counted::Covered => "the newest head covers the vote; there is no final head yet",
                Counted::Final => "the final head counts the vote",
                Counted::Dropped => "the final head does NOT count the vote",
                Counted::Cancelled => "the election was cancelled: nothing is counted",
                Counted::Unknown => "whether a head covers the vote could not be found out",
            }
        );
    }
    if !verdict.findings.is_empty() {
        let _ = writeln!(out, "\n{}", style.heading("Findings"));
        list_findings(&mut out, &verdict.findings, style);
    }
    if !verdict.not_covered.is_empty() {
        let _ = writeln!(out, "\n{}", style.heading("Not checked"));
        for what in &verdict.not_covered {
            let _ = writeln!(out, "  - {}", clean(what));
        }
    }
    out
}
