//! The books, for people.

use std::fmt::Write as _;

use super::{Style, clean, list_findings, not_covered, number};
use crate::reconcile::{Moment, ReconcileVerdict, Refusals};
use crate::verdict::Outcome;

/// Writing to a string cannot fail.
pub(crate) fn reconcile(verdict: &ReconcileVerdict, colour: bool) -> String {
    let style = Style(colour);
    let headline = match verdict.verdict {
        Outcome::Verified => "RECONCILED: the numbers agree.",
        Outcome::Findings => {
            "FINDINGS: the numbers do not agree, or are not what was signed; see below."
        }
        Outcome::Unchecked => "NOT CHECKED: see below.",
    };
    let mut out = format!("{}\n\n", style.outcome(verdict.verdict, headline));
    let _ = writeln!(out, "Election  {}", verdict.election);
    let _ = writeln!(out, "Source    {}", clean(&verdict.source));
    if let Some(at) = verdict.at {
        let words = match at {
            Moment::FinalHead => "the final head",
            Moment::NewestCheckpoints => "each log's newest checkpoint: the election is open",
        };
        let _ = writeln!(out, "As of     {words}");
    }
    tables(&mut out, verdict, style);
    if !verdict.findings.is_empty() {
        let total = verdict.findings_by_code.values().sum();
        let heading = format!("Findings: {}", number(total));
        let _ = writeln!(out, "\n{}", style.heading(&heading));
        list_findings(&mut out, &verdict.findings, style);
    }
    not_covered(&mut out, "Not checked", &verdict.not_covered, style);
    out
}

fn tables(out: &mut String, verdict: &ReconcileVerdict, style: Style) {
    let mut row = |name: &str, columns: &[&str]| {
        let mut line = format!("  {name:<34}");
        for column in columns {
            let _ = write!(line, " {column:>15}");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    };
    let refused = |refused: &Refusals| {
        [
            number(refused.unknown_code),
            number(refused.other_message),
            number(refused.outside_period),
            number(refused.malformed),
        ]
    };
    row("", &[]);
    row(&style.heading("Issuance"), &[]);
    row(
        "",
        &[
            "roll",
            "issued",
            "unknown code",
            "other message",
            "outside period",
            "malformed",
        ],
    );
    for books in &verdict.registrars {
        let [a, b, c, d] = refused(&books.refused);
        row(
            &format!("registrar {} ({})", books.registrar, clean(&books.name)),
            &[&number(verdict.roll), &number(books.issued), &a, &b, &c, &d],
        );
        for shard in books.shards.iter().filter(|_| books.shards.len() > 1) {
            let [a, b, c, d] = refused(&shard.refused);
            let closed = if shard.closed { "closed" } else { "open" };
            row(
                &format!("  shard {} ({closed})", shard.shard),
                &[&number(shard.roll), &number(shard.issued), &a, &b, &c, &d],
            );
        }
    }
    row("", &[]);
    row(&style.heading("Votes"), &[]);
    row("", &["entries", "batches", "votes", "abstentions"]);
    for cell in &verdict.cells {
        row(
            &format!("cell {}", cell.cell),
            &[
                &number(cell.size),
                &number(cell.batches),
                &number(cell.votes),
                &number(cell.abstentions),
            ],
        );
    }
    row(
        "all cells",
        &["", "", &number(verdict.votes), &number(verdict.abstentions)],
    );
    if !verdict.identities.is_empty() {
        let _ = writeln!(out, "\n{}", style.heading("What must hold"));
        for identity in &verdict.identities {
            let _ = writeln!(
                out,
                "  {} {} {} {}  {}",
                if identity.holds { "yes" } else { "NO " },
                number(identity.left),
                identity.relation,
                number(identity.right),
                clean(&identity.what)
            );
        }
    }
    if let (Some(unused), Some(without)) = (verdict.unused_credentials, verdict.voters_without_vote)
    {
        let _ = writeln!(out, "\n{}", style.heading("What lies between"));
        let _ = writeln!(
            out,
            "  {} credentials issued by every registrar and not used (the smallest of issued minus votes): so many further votes could be cast with all keys",
            number(unused)
        );
        let _ = writeln!(
            out,
            "  {} voters on the roll without a vote: a credential in such a voter's name is noticed only if she looks",
            number(without)
        );
        let _ = writeln!(
            out,
            "  Small numbers are no comfort: each vote that was invented made them smaller. How many were, only people can tell who look up their own place (`issued`)"
        );
    }
}
