//! What a demo says at its end: in plain words, or as one line of JSON.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use protocol::manifest::Election;
use protocol::results::{ContestResult, RESULTS_LEN_MAX, Results, Status};
use serde_json::{Map, Value, json};
use verifier_cli::verdict::{AuditVerdict, Outcome};

use crate::client::site::Site;
use crate::folder::Folder;

/// The end of a demo.
#[derive(Debug)]
pub struct Report {
    election: Election,
    results: Results,
    issued: u64,
    audit: AuditVerdict,
    data: String,
    url: String,
    seconds: f64,
}

impl Report {
    /// Reads the published results.
    ///
    /// # Errors
    /// They are missing or not those of this election.
    pub async fn new(
        election: &Election,
        site: &Site,
        folder: &Folder,
        url: &str,
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
            url: url.to_owned(),
            seconds: took.as_secs_f64(),
        })
    }

    /// Whether the audit found nothing.
    #[must_use]
    pub fn verified(&self) -> bool {
        self.audit.verdict == Outcome::Verified
    }

    /// One line on standard output.
    ///
    /// # Errors
    /// Standard output is gone.
    pub fn print_json(&self) -> Result<()> {
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
    pub fn print_words(&self, closed: bool, guests: &[Vec<String>]) -> Result<()> {
        let mut out = std::io::stdout().lock();
        self.words(&mut out, closed, guests)
            .context("cannot write to standard output")
    }

    fn words(
        &self,
        out: &mut impl std::io::Write,
        closed: bool,
        guests: &[Vec<String>],
    ) -> std::io::Result<()> {
        let manifest = self.election.manifest();
        let id = self.election.id();
        let registrars = manifest.registrars.len();
        writeln!(out, "\nWhat happened")?;
        writeln!(
            out,
            "  {} people on the roll signed in at {} and got blind-signed credentials: {} in all.",
            manifest.roll.size,
            if registrars == 1 {
                "one registrar".to_owned()
            } else {
                format!("each of {registrars} registrars")
            },
            self.issued
        )?;
        writeln!(
            out,
            "  They cast {} votes over HTTP, in another order than they had signed in, into {}; {} left everything blank.",
            self.results.votes,
            if manifest.cells.len() == 1 {
                "one cell".to_owned()
            } else {
                format!("{} cells", manifest.cells.len())
            },
            self.results.abstentions
        )?;
        writeln!(
            out,
            "  Each voter's device checked the inclusion proof that it got as a receipt."
        )?;
        if closed {
            writeln!(
                out,
                "  All logs were closed and anchored, and every acknowledged vote was found under the final head."
            )?;
        } else {
            writeln!(out, "  The election is still open.")?;
        }

        for contest in &self.results.contests {
            self.contest(out, contest)?;
        }

        writeln!(out, "\nWhat was verified")?;
        writeln!(
            out,
            "  An audit, knowing only the election id, recomputed everything from the published files: {}.",
            if self.verified() {
                "no findings"
            } else {
                "FINDINGS, see below"
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
        writeln!(
            out,
            "  What no audit can exclude: that some of the {} credentials were issued in the names of people who never look. \
             {} of the people on the roll have not voted, so at most so many more votes could still appear.",
            self.issued, self.audit.bounds.voters_without_vote
        )?;

        writeln!(out, "\nWhere it is")?;
        writeln!(out, "  Election id      {id}")?;
        if !closed {
            writeln!(out, "  Live results     {}/elections/{id}/", self.url)?;
        }
        writeln!(
            out,
            "  Published files  {}/public/elections/{id}/",
            self.data
        )?;
        writeln!(out, "  Some receipts    {}/receipts/", self.data)?;

        writeln!(out, "\nWhat to try next")?;
        writeln!(
            out,
            "  Audit it yourself:\n    tallyroot-verify audit {}/public --election {id}",
            self.data
        )?;
        writeln!(
            out,
            "  Check a receipt:\n    tallyroot-verify receipt {}/receipts/voter-0.json --election {id}",
            self.data
        )?;
        writeln!(
            out,
            "  Change any byte below {}/public and audit again.",
            self.data
        )?;
        if let (false, Some(codes), Some(contest)) =
            (closed, guests.first(), manifest.contests.first())
        {
            let codes: String = codes.iter().map(|code| format!(" --code {code}")).collect();
            writeln!(
                out,
                "  Vote yourself, and watch the live results:\n    tallyroot vote {} --election {id}{codes} \\\n      --choose '{}={}'",
                self.url,
                contest.name,
                contest.options.first().map_or("", String::as_str)
            )?;
        }
        writeln!(out, "\n{:.1} s", self.seconds)
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
                writeln!(out, "  instant run-off, {} rounds", rounds.len())?;
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
