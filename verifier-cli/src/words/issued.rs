//! Whether a credential was issued for a place on the roll, for the voter.

use std::fmt::Write as _;

use super::{Style, clean, list_findings, not_covered, number, utc};
use crate::issued::IssuedVerdict;
use crate::verdict::Outcome;

/// The answer. Writing to a string cannot fail.
pub(crate) fn issued(verdict: &IssuedVerdict, colour: bool) -> String {
    let style = Style(colour);
    let count = verdict
        .registrars
        .iter()
        .filter(|shown| shown.issued_at.is_some())
        .count();
    let headline = match (verdict.verdict, count) {
        (Outcome::Verified, 0) => {
            "NOT ISSUED: no registrar has issued a credential for this place on the roll."
        }
        (Outcome::Verified, n) if n == verdict.registrars.len() => {
            "ISSUED: every registrar has issued a credential for this place on the roll."
        }
        (Outcome::Verified, _) => {
            "PARTLY ISSUED: some registrars have issued a credential for this place on the roll, which is not enough to vote."
        }
        (Outcome::Findings, _) => "FINDINGS: something is wrong with the logs; see below.",
        (Outcome::Unchecked, _) => "NOT CHECKED: see below.",
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
    match (verdict.head_time, verdict.is_final) {
        (Some(time), true) => {
            let _ = writeln!(
                out,
                "As of     the final head, of {}: nothing is issued behind it",
                utc(time)
            );
        }
        (Some(time), false) => {
            let _ = writeln!(
                out,
                "As of     the newest head, of {}: later ones may be issued still, so look again",
                utc(time)
            );
        }
        (None, _) => {
            let _ = writeln!(
                out,
                "As of     an unknown time: no head could be read. Look again"
            );
        }
    }
    let _ = writeln!(out, "Place     {} on the roll", number(verdict.roll_index));
    for shown in &verdict.registrars {
        let said = match (shown.size, shown.issued_at) {
            (None, _) => "its log could not be read as a whole".to_owned(),
            (Some(size), None) => {
                format!("none among the {} entries of {}", number(size), shown.log)
            }
            (Some(_), Some(index)) => {
                format!("issued, at index {} of {}", number(index), shown.log)
            }
        };
        let _ = writeln!(
            out,
            "  registrar {} ({}): {said}",
            shown.registrar,
            clean(&shown.name)
        );
    }
    if !verdict.findings.is_empty() {
        let _ = writeln!(out, "\n{}", style.heading("Findings"));
        list_findings(&mut out, &verdict.findings, style);
    }
    if count > 0 {
        let _ = writeln!(
            out,
            "\n{}\n  If you asked for a credential (signed in to vote): nothing, this is yours.\n  If you did not: somebody may vote in your name. Tell the election's authority and a party or observer, say the place and the index\n  above, and keep a copy of the log (`mirror`) and this command's output with --json. The log's key signed the entry: it cannot be denied.",
            style.heading("What to do")
        );
    }
    not_covered(&mut out, "Not checked", &verdict.not_covered, style);
    out
}
