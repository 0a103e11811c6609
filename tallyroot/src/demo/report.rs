//! What a demo says at its end: in plain words, or as one line of JSON.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use protocol::manifest::{Contest, Election};
use protocol::results::{ContestResult, RESULTS_LEN_MAX, Results, Status};
use serde_json::{Map, Value, json};
use verifier_cli::verdict::{AuditVerdict, Outcome};

use super::services::Services;
use crate::client::site::Site;
use crate::folder::Folder;

/// The end of a demo.
#[derive(Debug)]
pub(super) struct Report {
    election: Election,
    results: Results,
    issued: u64,
    audit: AuditVerdict,
    data: String,
    url: String,
    witnesses: Vec<String>,
    seconds: f64,
}

impl Report {
    /// Reads the published results.
    ///
    /// # Errors
    /// They are missing or not those of this election.
    pub(super) async fn new(
        election: &Election,
        site: &Site,
        folder: &Folder,
        services: &Services,
        audit: AuditVerdict,
        took: Duration,
    ) -> Result<Self> {
        let bytes = site
            .read("results.json", RESULTS_LEN_MAX)
            .await?
            .context("results.json is missing")?;
        Ok(Self {
            election: election.clone(),
            results: Results::parse(&bytes, election)
                .context("results.json is not what it must be")?,
            issued: audit.issued.iter().map(|by| by.issued).min().unwrap_or(0),
            audit,
            data: folder.root().display().to_string(),
            url: services.url().to_owned(),
            witnesses: services.witnesses(),
            seconds: took.as_secs_f64(),
        })
    }

    /// Whether the audit found nothing.
    #[must_use]
    pub(super) fn verified(&self) -> bool {
        self.audit.verdict == Outcome::Verified
    }

    /// One line on standard output.
    ///
    /// # Errors
    /// Standard output is gone.
    pub(super) fn print_json(&self) -> Result<()> {
        let manifest = self.election.manifest();
        let by_contest = |value: &dyn Fn(&ContestResult) -> Value| -> Value {
            self.results
                .contests
                .iter()
                .map(|contest| (contest.name.clone(), value(contest)))
                .collect::<Map<_, _>>()
                .into()
        };
        let line = json!({
            "election_id": self.election.id().to_string(),
            "cells": manifest.cells.len(),
            "registrars": manifest.registrars.len(),
            "roll": manifest.roll.size,
            "issued": self.issued,
            "votes": self.results.votes,
            "abstentions": self.results.abstentions,
            "results": by_contest(&|contest| labelled(contest, contest.counts.iter().map(|count| json!(count)))),
            "rounds": by_contest(&rounds),
            "winner": by_contest(&|contest| json!(label(contest, contest.winner))),
            "audit": {
                "verified": self.verified(),
                "findings": self.audit.findings,
            },
            "data": self.data,
            "url": self.url,
            "seconds": (self.seconds * 1_000.0).round() / 1_000.0,
        });
        writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
    }

    /// For a person.
    ///
    /// # Errors
    /// Standard output is gone.
    pub(super) fn print_words(
        &self,
        closed: bool,
        played: bool,
        guests: &[Vec<String>],
    ) -> Result<()> {
        let mut out = std::io::stdout().lock();
        self.words(&mut out, closed, played, guests)
            .context("cannot write to standard output")
    }

    fn words(
        &self,
        out: &mut impl std::io::Write,
        closed: bool,
        played: bool,
        guests: &[Vec<String>],
    ) -> std::io::Result<()> {
        self.what_happened(out, closed, played)?;
        for contest in &self.results.contests {
            self.contest(out, contest)?;
        }
        self.what_was_verified(out)?;
        self.where_it_is(out, closed, played)?;
        self.what_to_try(out, closed, played, guests)?;
        writeln!(out, "\n{:.1} s", self.seconds)
    }

    fn what_happened(
        &self,
        out: &mut impl std::io::Write,
        closed: bool,
        played: bool,
    ) -> std::io::Result<()> {
        let manifest = self.election.manifest();
        let registrars = match manifest.registrars.len() {
            1 => "one registrar".to_owned(),
            count => format!("each of {count} registrars"),
        };
        let cells = match manifest.cells.len() {
            1 => "one cell".to_owned(),
            count => format!("{count} cells"),
        };
        writeln!(out, "\nWhat happened")?;
        writeln!(
            out,
            "  Of {} people on the roll, {} signed in at {registrars} and got a blind-signed credential.",
            manifest.roll.size, self.issued
        )?;
        writeln!(
            out,
            "  {} cast over HTTP into {cells}; {} of them left everything blank.",
            match self.results.votes {
                1 => "1 vote was".to_owned(),
                votes => format!("{votes} votes were"),
            },
            self.results.abstentions
        )?;
        if played {
            writeln!(
                out,
                "  Voters cast in another order than they had signed in, and each device checked the proof that it got as a receipt."
            )?;
        }
        match (closed, played) {
            (true, true) => writeln!(
                out,
                "  All logs were closed and anchored, and every acknowledged vote was found under the final head."
            ),
            (true, false) => writeln!(out, "  All logs were closed and anchored."),
            (false, _) => writeln!(out, "  {}", self.stage()),
        }
    }

    /// How far the election is, by this machine's clock where no head has decided it.
    fn stage(&self) -> &'static str {
        use ledger::clock::Clock as _;
        let now = ledger::clock::SystemClock.now_ms();
        let times = &self.election.manifest().times;
        match self.results.status {
            Status::Final => "The election has ended, and the result is final.",
            Status::Cancelled => "The election was cancelled.",
            Status::Open if now < times.opening => "Voting has not begun yet.",
            Status::Open if now >= times.closing => {
                "Voting has ended; the final head is still to come."
            }
            Status::Open => "The election is still open.",
        }
    }

    fn what_was_verified(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        writeln!(out, "\nWhat was verified")?;
        writeln!(
            out,
            "  An audit, knowing only the election id, recomputed everything from the published files: {}.",
            if self.verified() {
                "no findings"
            } else {
                "IT DID NOT VERIFY"
            }
        )?;
        for finding in &self.audit.findings {
            writeln!(
                out,
                "  - {} ({}): {}",
                finding.code.name(),
                finding.place,
                finding.evidence
            )?;
        }
        for gap in &self.audit.not_covered {
            writeln!(out, "  Not covered: {gap}")?;
        }
        writeln!(
            out,
            "  What no audit can exclude: credentials issued in the names of people who never look. {} of the people on \
             the roll have no vote, which bounds what could still be added.",
            self.audit.bounds.voters_without_vote
        )
    }

    fn where_it_is(
        &self,
        out: &mut impl std::io::Write,
        closed: bool,
        played: bool,
    ) -> std::io::Result<()> {
        let id = self.election.id();
        writeln!(out, "\nWhere it is")?;
        writeln!(out, "  Election id      {id}")?;
        if !closed {
            writeln!(out, "  Live results     {}/elections/{id}/", self.url)?;
            writeln!(
                out,
                "  Vote there       {}/elections/{id}/vote#id={id}",
                self.url
            )?;
            for witness in &self.witnesses {
                writeln!(out, "  Witness          {witness}")?;
            }
        }
        writeln!(
            out,
            "  Published files  {}/public/elections/{id}/",
            self.data
        )?;
        if played {
            writeln!(out, "  Some receipts    {}/receipts/", self.data)?;
        }
        Ok(())
    }

    fn what_to_try(
        &self,
        out: &mut impl std::io::Write,
        closed: bool,
        played: bool,
        guests: &[Vec<String>],
    ) -> std::io::Result<()> {
        let id = self.election.id();
        let program = beside_us("tallyroot-verify");
        writeln!(out, "\nWhat to try next")?;
        writeln!(
            out,
            "  Audit it yourself:\n    {program} audit {}/public --election {id}{}",
            self.data,
            if closed {
                String::new()
            } else {
                let asked = self.witnesses.iter();
                asked.map(|named| format!(" --witness {named}")).collect()
            }
        )?;
        writeln!(
            out,
            "  Copy {}/public once this has stopped, change any byte of the copy, and audit the copy.",
            self.data
        )?;
        if played {
            writeln!(
                out,
                "  Check a receipt:\n    {program} receipt {}/receipts/voter-0.json --election {id}",
                self.data
            )?;
        }
        let open = self.results.status == Status::Open && !closed;
        let contest = self.election.contests().first().filter(|_| open);
        if let (Some(contest), false) = (contest, played) {
            let registrars = self.election.manifest().registrars.len();
            writeln!(
                out,
                "  Vote, with a code of each sheet {}/registrars/*/codes.csv:\n{}",
                self.data,
                self.vote_line(1, &vec!["CODE".to_owned(); registrars], contest)
            )?;
        }
        for (n, codes) in (1usize..).zip(guests) {
            let Some(contest) = contest else { break };
            if n == 1 {
                writeln!(
                    out,
                    "  Vote yourself, on the voting page or by a command, and watch the live results. These are the codes of {} (`~guest` in registrars/*/codes.csv); each has files of her own for the secret and the receipt:",
                    crate::counted(guests.len() as u64, "guest")
                )?;
            }
            writeln!(out, "{}", self.vote_line(n, codes, contest))?;
        }
        Ok(())
    }

    /// A command that can be copied: files of its own, so that nobody overwrites another voter's secret or receipt.
    fn vote_line(&self, n: usize, codes: &[String], contest: &Contest) -> String {
        let codes: String = codes.iter().map(|code| format!(" --code {code}")).collect();
        format!(
            "    {} vote {} --election {}{codes} \\\n      --secret guest-{n}-secret.json --receipt guest-{n}-receipt.json --choose '{}={}'",
            beside_us("tallyroot"),
            self.url,
            self.election.id(),
            contest.name,
            contest.options.first().map_or("", String::as_str)
        )
    }

    fn contest(
        &self,
        out: &mut impl std::io::Write,
        contest: &ContestResult,
    ) -> std::io::Result<()> {
        writeln!(out, "\n{}", contest.name)?;
        let mut options: Vec<(&String, &u64)> =
            contest.options.iter().zip(&contest.counts).collect();
        options.sort_by(|a, b| b.1.cmp(a.1));
        for (option, count) in options.iter().take(10) {
            writeln!(out, "  {count:>9}  {option}")?;
        }
        if options.len() > 10 {
            writeln!(out, "             and {} more", options.len() - 10)?;
        }
        if contest.blanks > 0 {
            writeln!(out, "  {:>9}  (blank)", contest.blanks)?;
        }
        if self.results.status == Status::Final {
            if let Some(rounds) = &contest.rounds {
                writeln!(out, "  instant run-off, rounds: {}", rounds.len())?;
            }
            match label(contest, contest.winner) {
                Some(winner) => writeln!(
                    out,
                    "  winner: {winner}{}",
                    if contest.tie_broken == Some(true) {
                        " (after a tie, by the manifest's rule)"
                    } else {
                        ""
                    }
                )?,
                None => writeln!(out, "  no winner")?,
            }
        }
        Ok(())
    }
}

fn label(contest: &ContestResult, option: Option<u16>) -> Option<String> {
    option.and_then(|option| contest.options.get(usize::from(option)).cloned())
}

fn labelled(contest: &ContestResult, values: impl Iterator<Item = Value>) -> Value {
    contest
        .options
        .iter()
        .cloned()
        .zip(values)
        .collect::<Map<_, _>>()
        .into()
}

/// Each round: the counts of the options still in it, who goes, how many ballots are exhausted. Null without a run-off.
fn rounds(contest: &ContestResult) -> Value {
    let Some(rounds) = &contest.rounds else {
        return Value::Null;
    };
    rounds
        .iter()
        .map(|round| {
            let counts: Map<String, Value> = contest
                .options
                .iter()
                .zip(&round.counts)
                .filter_map(|(option, count)| count.map(|count| (option.clone(), json!(count))))
                .collect();
            json!({
                "counts": counts,
                "eliminated": label(contest, round.eliminated),
                "exhausted": round.exhausted,
                "tie_broken": round.tie_broken,
            })
        })
        .collect::<Vec<_>>()
        .into()
}

/// How the user can call one of our programs: as it was called, if it was called by a path.
fn beside_us(program: &str) -> String {
    std::env::args_os()
        .next()
        .map(std::path::PathBuf::from)
        .and_then(|called| called.parent().map(|folder| folder.join(program)))
        .filter(|path| {
            path.parent()
                .is_some_and(|folder| !folder.as_os_str().is_empty())
        })
        .map_or_else(|| program.to_owned(), |path| path.display().to_string())
}
