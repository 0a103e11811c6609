//! What the anchors hold, for people.

use std::fmt::Write as _;

use super::{Style, clean, count, list_findings, number};
use crate::anchors::AnchorsVerdict;
use crate::verdict::Outcome;

/// Writing to a string cannot fail.
pub(crate) fn anchors(verdict: &AnchorsVerdict, colour: bool) -> String {
    let style = Style(colour);
    let headline = match verdict.verdict {
        Outcome::Verified => {
            "VERIFIED: every anchor holds the published heads log, locked as the manifest says."
        }
        Outcome::Findings => "FINDINGS: something is wrong; see below.",
        Outcome::Unchecked => "NOT CHECKED: see below.",
    };
    let mut out = format!("{}\n\n", style.outcome(verdict.verdict, headline));
    let _ = writeln!(out, "Election  {}", verdict.election);
    let _ = writeln!(out, "Source    {}", clean(&verdict.source));
    let _ = writeln!(
        out,
        "Heads     {}{}",
        count(verdict.heads_size, "entry"),
        if verdict.is_final {
            ", final"
        } else {
            ", open"
        }
    );
    for anchor in &verdict.anchors {
        let _ = writeln!(
            out,
            "Anchor    {} in {}: {} in {}, {}; holds the heads log up to size {}",
            clean(&anchor.name),
            clean(&anchor.bucket),
            count(anchor.objects, "object"),
            count(anchor.versions, "version"),
            count(anchor.delete_markers, "delete marker"),
            number(anchor.size),
        );
        if let Some(until) = anchor.locked_until
            && let Ok(until) = jiff::Timestamp::from_second(until)
        {
            let _ = writeln!(
                out,
                "          none can be deleted by anybody before {until}"
            );
        }
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
