//! The verdict on a sample, for people.

use std::fmt::Write as _;

use super::{Style, clean, count, list_findings, number};
use crate::sample::SampleVerdict;
use crate::verdict::Outcome;

/// Writing to a string cannot fail.
pub(crate) fn sample(verdict: &SampleVerdict, colour: bool) -> String {
    let style = Style(colour);
    let headline = match verdict.verdict {
        Outcome::Verified => {
            "VERIFIED: every entry that was drawn stands in a batch that is right."
        }
        Outcome::Findings => "FINDINGS: something is wrong; see below.",
        Outcome::Unchecked => "NOT CHECKED: see below.",
    };
    let mut out = format!("{}\n\n", style.outcome(verdict.verdict, headline));
    let _ = writeln!(out, "Election  {}", verdict.election);
    let _ = writeln!(out, "Source    {}", clean(&verdict.source));
    let _ = writeln!(
        out,
        "Seed      {} (--seed draws the same again)",
        verdict.seed
    );
    let _ = writeln!(
        out,
        "Ledger    {}: {} in {} of {}",
        count(verdict.entries, "entry"),
        count(verdict.votes, "vote"),
        count(verdict.batches, "batch"),
        count(verdict.cells.len() as u64, "cell"),
    );
    let _ = writeln!(
        out,
        "Sample    {}: {} proven against the signed trees, {} recounted, every signature verified",
        count(verdict.drawn, "draw"),
        count(verdict.checked_batches, "batch"),
        count(verdict.checked_votes, "vote"),
    );
    if verdict.verdict == Outcome::Verified {
        let _ = writeln!(out, "\n{}", style.heading("How sure that makes"));
        for (sure, what) in
            verdict
                .confidence
                .iter()
                .zip([", as many as a batch has on average,", "", ""])
        {
            let _ = writeln!(
                out,
                "  If {}{what} of the {} ({}) stood in wrong batches, this sample would have missed that with a chance of {}",
                number(sure.entries),
                number(verdict.entries),
                percent(sure.share),
                percent(sure.missed),
            );
        }
        let _ = writeln!(
            out,
            "  It bounds how much of the ledger is false, not what that does: one false batch can change the whole result. `audit` recounts all"
        );
    }
    if !verdict.findings.is_empty() {
        let total = verdict.findings_by_code.values().sum();
        let heading = format!("Findings: {}", number(total));
        let _ = writeln!(out, "\n{}", style.heading(&heading));
        list_findings(&mut out, &verdict.findings, style);
    }
    super::not_covered(&mut out, "Not checked", &verdict.not_covered, style);
    out
}

fn percent(share: f64) -> String {
    if share >= 0.001 {
        format!("{:.1} %", share * 100.0)
    } else {
        format!("{share:.1e}")
    }
}
