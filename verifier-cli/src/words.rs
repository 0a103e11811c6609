//! Verdicts in plain words. Nothing here decides anything.

mod anchors;
mod copies;
mod disputes;
mod issued;
mod receipt;
mod reconcile;
mod result;
mod sample;
mod verdicts;
mod watch;

use std::fmt::Write as _;

use protocol::results::ContestResult;
use protocol::text::is_forbidden;

use crate::finding::{Code, Finding, ROLL_MAX, Severity};
use crate::verdict::{AuditVerdict, Outcome, State};

pub(crate) use anchors::anchors;
pub(crate) use copies::{bundle, mirror};
pub(crate) use disputes::{consistency, dispute};
pub(crate) use issued::issued;
pub(crate) use receipt::receipt;
pub(crate) use reconcile::reconcile;
pub(crate) use result::result;
pub(crate) use sample::sample;
pub(crate) use verdicts::of_verdict;
pub(crate) use watch::{by_clock, seen, watch};

/// Text that goes to a terminal. A manifest's labels hold no character that shows nothing or moves others; names of files and what servers say may, and nothing else
/// keeps a stranger's escape sequences and directional overrides off the terminal.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if is_forbidden(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Bold or coloured headings, where wanted.
#[derive(Clone, Copy)]
struct Style(bool);

impl Style {
    fn outcome(self, outcome: Outcome, text: &str) -> String {
        let colour = match outcome {
            Outcome::Verified => "1;32",
            Outcome::Findings => "1;31",
            Outcome::Unchecked => "1;33",
        };
        self.paint(colour, text)
    }

    fn severity(self, severity: Severity) -> String {
        let colour = match severity {
            Severity::Critical => "31",
            Severity::Major => "33",
            Severity::Minor => "36",
        };
        self.paint(colour, &severity.to_string())
    }

    fn heading(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, colour: &str, text: &str) -> String {
        if self.0 {
            format!("\u{1b}[{colour}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// What a verdict does not rest on.
fn not_covered(out: &mut String, heading: &str, what: &[String], style: Style) {
    if what.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", style.heading(heading));
    for what in what {
        let _ = writeln!(out, "  - {}", clean(what));
    }
}

/// A number with its thousands apart.
fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time (ms since 1970) as a date of the clock that is the same everywhere.
pub(crate) fn utc(ms: u64) -> String {
    let (seconds, days) = (ms / 1_000 % 86_400, ms / 86_400_000);
    // Years that begin in March have their odd day at the end (H. Hinnant, "chrono-compatible low-level date algorithms").
    let since = days + 719_468;
    let (era, day) = (since / 146_097, since % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (
        day - (153 * month + 2) / 5 + 1,
        if month < 10 { month + 3 } else { month - 9 },
    );
    let year = year + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// `1 vote`, `2 votes`, `3 entries`.
fn count(n: u64, of: &str) -> String {
    let (stem, ending) = match (n, of.strip_suffix('y')) {
        (1, _) => (of, ""),
        (_, Some(stem)) => (stem, "ies"),
        (_, None) if of.ends_with("ch") || of.ends_with('s') => (of, "es"),
        (_, None) => (of, "s"),
    };
    format!("{} {stem}{ending}", number(n))
}

/// The verdict of an audit. Writing to a string cannot fail.
pub(crate) fn audit(verdict: &AuditVerdict, colour: bool) -> String {
    let style = Style(colour);
    let mut out = String::new();
    let headline = match verdict.verdict {
        Outcome::Verified => "VERIFIED: everything that was checked is right.",
        Outcome::Findings => "FINDINGS: something is wrong; see below.",
        Outcome::Unchecked if verdict.covered.evidence.unusable > 0 && verdict.complete => {
            "NOT CHECKED AS A WHOLE: not all of the evidence could be used; see Not covered."
        }
        Outcome::Unchecked if verdict.complete => {
            "NOT CHECKED AS A WHOLE: what was checked is right, and not all that was asked for could be; see Not covered."
        }
        Outcome::Unchecked => "NOT CHECKED: the election could not be checked as a whole.",
    };
    let _ = writeln!(out, "{}\n", style.outcome(verdict.verdict, headline));
    let _ = writeln!(out, "Election  {}", verdict.election);
    if let Some(title) = &verdict.title {
        let _ = writeln!(out, "Title     {}", clean(title));
    }
    if verdict.demo == Some(true) {
        let _ = writeln!(out, "Demo      the manifest says that this is a rehearsal");
    }
    let _ = writeln!(out, "Source    {}", clean(&verdict.source));
    if let Some(state) = verdict.state {
        let _ = writeln!(out, "State     {}", state_words(state));
    } else if verdict.title.is_some() {
        let _ = writeln!(
            out,
            "State     unknown: the heads log could not be followed to its end"
        );
    }
    if verdict.title.is_some() && verdict.complete {
        coverage(&mut out, verdict, style);
        results(&mut out, verdict, style);
        bounds(&mut out, verdict, style);
        findings(&mut out, verdict, style);
        not_covered(&mut out, "Not covered", &verdict.not_covered, style);
    } else {
        // What is wrong comes before numbers that could be taken for a result.
        findings(&mut out, verdict, style);
        not_covered(&mut out, "Not covered", &verdict.not_covered, style);
        if verdict.title.is_some() {
            stopped_early(&mut out, verdict, style);
        }
    }
    let _ = writeln!(out, "\nTook {:.1} s.", verdict.seconds);
    out
}

const fn state_words(state: State) -> &'static str {
    match state {
        State::Open => {
            "open (no final head yet: more votes may come, and this verdict holds for what was published when the audit began)"
        }
        State::Final => "final (the final head says which votes count)",
        State::Cancelled => "cancelled by the authority: nothing is counted",
    }
}

/// How far an audit came that did not come to the end: nothing that can be taken for a result.
fn stopped_early(out: &mut String, verdict: &AuditVerdict, style: Style) {
    let _ = writeln!(
        out,
        "\n{}: not every log could be followed to its end. How many votes there are, who won, and how many credentials were not used cannot be said from this copy.",
        style.paint("1;31", "NO RESULT")
    );
    let _ = writeln!(
        out,
        "\n{}",
        style.heading("Counted until there, and no further")
    );
    let covered = &verdict.covered;
    for cell in &covered.cells {
        let _ = writeln!(
            out,
            "  cells/{}: {}, {} of them votes",
            cell.cell,
            count(cell.size, "entry"),
            number(cell.votes)
        );
    }
    for log in &covered.issuance {
        let _ = writeln!(
            out,
            "  registrars/{}/{}: {}, {} of them credentials issued",
            log.registrar,
            log.shard,
            count(log.size, "entry"),
            number(log.issued)
        );
    }
    let _ = writeln!(
        out,
        "  heads: {}, {} of them heads",
        count(covered.heads.size, "entry"),
        number(covered.heads.heads)
    );
}

fn coverage(out: &mut String, verdict: &AuditVerdict, style: Style) {
    let covered = &verdict.covered;
    let _ = writeln!(
        out,
        "\n{}",
        style.heading("Recounted from the published batches")
    );
    let entries: u64 = covered.cells.iter().map(|cell| cell.size).sum();
    let votes: u64 = covered.cells.iter().map(|cell| cell.votes).sum();
    let closed = covered.cells.iter().filter(|cell| cell.closed).count();
    let _ = writeln!(
        out,
        "  {} in {} ({closed} closed), {}: every signature, cell, duplicate and sum checked",
        count(votes, "vote"),
        count(covered.cells.len() as u64, "cell"),
        count(entries, "entry"),
    );
    for issued in &verdict.issued {
        let refused: u64 = issued.refused.iter().sum();
        let _ = writeln!(
            out,
            "  {} issued by registrar {} ({}), {} refused",
            count(issued.issued, "credential"),
            issued.registrar,
            clean(&issued.name),
            count(refused, "request"),
        );
    }
    let _ = writeln!(out, "  {} on the roll", count(verdict.roll, "voter"));
    let _ = writeln!(
        out,
        "  {} in the heads log, whose size is {}; {}",
        count(covered.heads.heads, "head"),
        covered.heads.size,
        covered
            .anchors
            .iter()
            .map(|anchor| format!("anchor {} holds it up to size {}", anchor.name, anchor.size))
            .collect::<Vec<_>>()
            .join(", "),
    );
    if let Some(cosigned) = covered.heads.cosigned
        && cosigned.checkpoints == 0
    {
        let _ = writeln!(
            out,
            "  no checkpoint of it was seen with a quorum of witnesses ({} of {})",
            cosigned.quorum,
            count(cosigned.witnesses, "witness"),
        );
    } else if let Some(cosigned) = covered.heads.cosigned {
        let _ = writeln!(
            out,
            "  {} of it cosigned by a quorum ({} of {}), the newest of size {}",
            count(cosigned.checkpoints, "checkpoint"),
            cosigned.quorum,
            count(cosigned.witnesses, "witness"),
            cosigned.size,
        );
    }
    let _ = writeln!(
        out,
        "  every published tile, entry bundle and checkpoint compared with what the batches make"
    );
    if covered.checked_before > 0 {
        let _ = writeln!(
            out,
            "  of {} the signatures had been checked before, by the audit that this one resumes",
            count(covered.checked_before, "batch"),
        );
    }
    for witness in &covered.witnesses {
        let _ = writeln!(
            out,
            "  witness {} holds it up to size {}",
            clean(&witness.name),
            number(witness.size)
        );
    }
    let evidence = covered.evidence;
    if evidence.files > 0 {
        let _ = writeln!(
            out,
            "  {} in {} that were kept from before, compared with the logs",
            count(evidence.checkpoints, "signed checkpoint"),
            count(evidence.files, "file"),
        );
    }
    let small = &verdict.small_batches;
    if small.count > 0 {
        let _ = writeln!(
            out,
            "  For information: {} {} fewer than {} votes (the smallest {}, together {}); small batches hide less who voted when",
            count(small.count, "batch"),
            if small.count == 1 { "holds" } else { "hold" },
            small.batch_min,
            small.smallest.unwrap_or(0),
            small.votes,
        );
    }
}

fn results(out: &mut String, verdict: &AuditVerdict, style: Style) {
    let Some(contests) = &verdict.results else {
        return;
    };
    let what = match verdict.state {
        Some(State::Final) => "Result",
        _ => "Running count",
    };
    let _ = writeln!(
        out,
        "\n{}: {}, {} of them blank in every contest",
        style.heading(what),
        count(verdict.votes, "vote"),
        number(verdict.abstentions)
    );
    for contest in contests {
        one_contest(out, contest, verdict.state == Some(State::Final));
    }
}

fn one_contest(out: &mut String, contest: &ContestResult, is_final: bool) {
    let label = |option: u16| {
        contest
            .options
            .get(usize::from(option))
            .map_or_else(|| option.to_string(), |label| clean(label))
    };
    let _ = writeln!(out, "\n  {}", clean(&contest.name));
    let width = contest
        .options
        .iter()
        .map(|option| option.chars().count())
        .max()
        .unwrap_or(0)
        .clamp(6, 40);
    for (option, votes) in contest.options.iter().zip(&contest.counts) {
        let _ = writeln!(out, "    {:<width$}  {:>12}", clean(option), number(*votes));
    }
    let _ = writeln!(
        out,
        "    {:<width$}  {:>12}",
        "(blank)",
        number(contest.blanks)
    );
    for (round, n) in contest.rounds.iter().flatten().zip(1..) {
        let _ = write!(out, "    round {n}: ");
        let counts: Vec<String> = (0u16..)
            .zip(&round.counts)
            .filter_map(|(option, count)| Some(format!("{} {}", label(option), number((*count)?))))
            .collect();
        let _ = write!(out, "{}", counts.join(", "));
        if let Some(eliminated) = round.eliminated {
            let tie = if round.tie_broken {
                " (tie broken by the rule)"
            } else {
                ""
            };
            let _ = write!(out, "; out: {}{tie}", label(eliminated));
        }
        let _ = writeln!(out, "; exhausted: {}", number(round.exhausted));
    }
    if is_final {
        let tie = if contest.tie_broken == Some(true) {
            " (a tie was broken by the manifest's rule)"
        } else {
            ""
        };
        let _ = match contest.winner {
            Some(winner) => writeln!(out, "    winner: {}{tie}", label(winner)),
            None => writeln!(out, "    winner: none, since nobody voted"),
        };
    }
}

fn bounds(out: &mut String, verdict: &AuditVerdict, style: Style) {
    let bounds = &verdict.bounds;
    let _ = writeln!(
        out,
        "\n{}",
        style.heading("What no audit of the files can exclude")
    );
    if let Some(unused) = bounds.unused_credentials {
        let _ = writeln!(
            out,
            "  {} issued and not used: up to so many further votes could have been cast (the smallest of issued minus votes over the registrars)",
            count(unused, "credential")
        );
    }
    let _ = writeln!(
        out,
        "  {} without a vote: a credential issued in such a voter's name is noticed only if she looks at the issuance log",
        count(bounds.voters_without_vote, "voter")
    );
    let _ = writeln!(
        out,
        "  Late votes: {}; early votes: {} (judged by {})",
        number(bounds.late),
        number(bounds.early),
        bounds.judged_by
    );
}

fn findings(out: &mut String, verdict: &AuditVerdict, style: Style) {
    if verdict.findings.is_empty() {
        return;
    }
    let total: u64 = verdict.findings_by_code.values().sum();
    let _ = writeln!(
        out,
        "\n{}",
        style.heading(&format!("Findings: {}", number(total)))
    );
    list_findings(out, &verdict.findings, style);
    let listed = verdict.findings.len() as u64;
    if total > listed {
        let _ = writeln!(
            out,
            "  … and {} more, not listed. By code: {}",
            number(total - listed),
            verdict
                .findings_by_code
                .iter()
                .map(|(code, count)| format!("{code} {count}"))
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    let _ = writeln!(
        out,
        "  `tallyroot-verify explain <code>` says what a code means and what to do."
    );
}

/// Evidence may quote a note, which has lines.
fn lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n      ")
}

fn list_findings(out: &mut String, findings: &[Finding], style: Style) {
    for finding in findings {
        let _ = writeln!(
            out,
            "  [{}] {} in {}\n      {}\n      affects {}",
            style.severity(finding.severity),
            finding.code.name(),
            clean(&finding.place.to_string()),
            lines(&finding.evidence),
            if finding.votes_at_most == ROLL_MAX {
                "any number of votes: without the manifest, nothing bounds it".to_owned()
            } else {
                format!("at most {}", count(finding.votes_at_most, "vote"))
            },
        );
    }
}

/// All codes with their meanings.
pub(crate) fn all_codes() -> String {
    let mut out = String::from(
        "Every code that a finding can have. `tallyroot-verify explain <code>` says what to do.\n\n",
    );
    for code in Code::ALL {
        let _ = writeln!(
            out,
            "{} ({})\n    {}",
            code.name(),
            code.severity(),
            code.meaning()
        );
    }
    verdicts::all(&mut out);
    out
}

/// One code: what it means, what to do.
pub(crate) fn code(code: Code) -> String {
    format!(
        "{} ({})\n\nWhat it means: {}\nWhat to do:    {}\n",
        code.name(),
        code.severity(),
        code.meaning(),
        code.advice()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_thousands_apart() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_000), "1,000");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(count(1, "vote"), "1 vote");
        assert_eq!(count(2_000, "vote"), "2,000 votes");
        assert_eq!(count(3, "entry"), "3 entries");
        assert_eq!(count(0, "batch"), "0 batches");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (ms, date) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399_999, "2000-02-28 23:59:59 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00 UTC"),
            (951_868_800_000, "2000-03-01 00:00:00 UTC"),
            (1_735_689_599_000, "2024-12-31 23:59:59 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(ms), date);
        }
    }

    #[test]
    fn nothing_from_outside_moves_the_cursor() {
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(
            clean("x\u{202e}gpj.\u{200b}exe"),
            "x\u{fffd}gpj.\u{fffd}exe"
        );
    }
}
