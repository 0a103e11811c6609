//! Verdicts on copies, for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Style, clean, count, list_findings, not_covered, number};
use crate::bundle::BundleVerdict;
use crate::finding::Finding;
use crate::mirror::MirrorVerdict;
use crate::verdict::Outcome;

/// Writing to a string cannot fail.
pub(crate) fn mirror(verdict: &MirrorVerdict, colour: bool) -> String {
    let style = Style(colour);
    let headline = match (verdict.verdict, verdict.complete) {
        (Outcome::Verified, _) => "COPIED: the copy is complete, and what was checked is right.",
        (Outcome::Findings, true) => {
            "FINDINGS: the copy is complete, and what was copied is not right; see below."
        }
        (Outcome::Findings, false) if !verdict.usable => {
            "FINDINGS: there is no usable copy; see below."
        }
        (Outcome::Findings, false) => "FINDINGS: the copy stays as it was; see below.",
        (Outcome::Unchecked, true) => {
            "NOT VERIFIED: the copy is complete, and not all of it was checked; see below."
        }
        (Outcome::Unchecked, false) if !verdict.usable => {
            "NOT COMPLETE: there is no usable copy yet; see below, and run it again: it goes on."
        }
        (Outcome::Unchecked, false) => "NOT COMPLETE: see below; run it again, it goes on.",
    };
    let mut out = format!("{}\n\n", style.outcome(verdict.verdict, headline));
    let _ = writeln!(out, "Election  {}", verdict.election);
    let _ = writeln!(out, "Source    {}", clean(&verdict.source));
    let _ = writeln!(
        out,
        "Copy      {} ({} written; {})",
        clean(&verdict.copy),
        count(verdict.written, "file"),
        if verdict.usable {
            "serve its folder `public`"
        } else {
            "nothing there is to be served or audited yet"
        }
    );
    if verdict.complete {
        sizes(&mut out, &verdict.logs);
    }
    findings(
        &mut out,
        &verdict.findings,
        &verdict.findings_by_code,
        style,
    );
    not_covered(&mut out, "Not checked", &verdict.not_covered, style);
    match &verdict.audit {
        Some(audit) => {
            let _ = writeln!(out, "\n{}\n", style.heading("Audit of the copy"));
            out.push_str(&super::audit(audit, colour));
        }
        None if !verdict.usable => {
            let _ = writeln!(
                out,
                "\nWhat to do: run the same command again; what is there already is not read twice. If it stays so, name another source (a mirror), or ask whoever runs this one."
            );
        }
        None if !verdict.complete => {
            let _ = writeln!(
                out,
                "\nThe copy of before is whole and can be served; it was not audited now: `tallyroot-verify audit` does that."
            );
        }
        None => {
            let _ = writeln!(
                out,
                "\nThe copy was not audited: `tallyroot-verify audit` does that."
            );
        }
    }
    out
}

/// Writing to a string cannot fail.
pub(crate) fn bundle(verdict: &BundleVerdict, colour: bool) -> String {
    let style = Style(colour);
    let headline = match verdict.verdict {
        Outcome::Verified => "BUNDLED: the package is complete. Now audit it.",
        Outcome::Findings => "FINDINGS: there is no package; see below.",
        Outcome::Unchecked => "NOT BUNDLED: see below.",
    };
    let mut out = format!("{}\n\n", style.outcome(verdict.verdict, headline));
    let _ = writeln!(out, "Election  {}", verdict.election);
    let _ = writeln!(out, "Source    {}", clean(&verdict.source));
    if let Some(digest) = &verdict.blake3 {
        let _ = writeln!(
            out,
            "Package   {} ({}, {})",
            clean(&verdict.file),
            count(verdict.files, "file"),
            count(verdict.len, "byte"),
        );
        let _ = writeln!(out, "BLAKE3    {digest}");
    }
    sizes(&mut out, &verdict.logs);
    findings(
        &mut out,
        &verdict.findings,
        &verdict.findings_by_code,
        style,
    );
    not_covered(&mut out, "Not checked", &verdict.not_covered, style);
    out
}

fn sizes(out: &mut String, logs: &BTreeMap<String, u64>) {
    let entries: u64 = logs.values().sum();
    let _ = writeln!(
        out,
        "Holds     {} of {}",
        count(entries, "entry"),
        count(logs.len() as u64, "log")
    );
}

fn findings(
    out: &mut String,
    findings: &[Finding],
    by_code: &BTreeMap<&'static str, u64>,
    style: Style,
) {
    if findings.is_empty() {
        return;
    }
    let heading = format!("Findings: {}", number(by_code.values().sum()));
    let _ = writeln!(out, "\n{}", style.heading(&heading));
    list_findings(out, findings, style);
}
