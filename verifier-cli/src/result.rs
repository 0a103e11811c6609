//! What results.json shows, verified in seconds: every number in it is the sum of tally entries that stand in signed trees, at sizes that the heads log allows.
//!
//! Nothing is recounted: that each tally is the sum of the votes before it, `audit` says, and `sample` makes likely.

mod parts;
mod rounds;

use std::collections::BTreeMap;

use protocol::ids::{ElectionId, LogId};
use protocol::results::{ContestResult, RESULTS_LEN_MAX, Results, Status};
use schemars::JsonSchema;
use serde::Serialize;

use crate::audit::checkpoint::Signed;
use crate::audit::context::{Context, Read};
use crate::audit::heads_reader::{self, HeadsToday};
use crate::counted::{self, Patience};
use crate::finding::{Code, Finding, Place, Votes};
use crate::opened::{Ended, Opened};
use crate::progress::Progress;
use crate::verdict::{Outcome, State};

pub(crate) use parts::{check, is_due};

/// The file that is verified.
pub(crate) const FILE: &str = "results.json";

/// What results.json is worth.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ResultVerdict {
    /// Verified: it shows what the signed trees hold. Findings: it does not. Unchecked: something could not be read.
    pub verdict: Outcome,
    /// The election id.
    pub election: String,
    /// The election's title; null without a manifest.
    pub title: Option<String>,
    /// The manifest says that this is a rehearsal; null without a manifest.
    pub demo: Option<bool>,
    /// Entries of the heads log, which was read as a whole; null where it could not be.
    pub heads_size: Option<u64>,
    /// Where the files came from.
    pub source: String,
    /// How far the election is, by the heads log; null where that could not be read.
    pub state: Option<State>,
    /// The newest head's time (ms since 1970).
    pub head_time: Option<u64>,
    /// Votes that it shows, abstentions included; null without results.
    pub votes: Option<u64>,
    /// Votes that are blank in every contest.
    pub abstentions: Option<u64>,
    /// What was added up.
    pub cells: Vec<CellShown>,
    /// What it shows; null unless verified.
    pub results: Option<Vec<ContestResult>>,
    /// The contests, by index, whose winner and last rounds are shown and not verified: they follow from all ballots.
    pub unverified_winners: Vec<u16>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How many findings there were of each code.
    pub findings_by_code: BTreeMap<&'static str, u64>,
    /// What was not checked.
    pub not_covered: Vec<String>,
}

/// A cell's part of the sum.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CellShown {
    /// Its index.
    pub cell: u32,
    /// The size that is counted.
    pub size: u64,
    /// The size in the newest head; null without one.
    pub head_size: Option<u64>,
    /// Votes below the size.
    pub votes: u64,
}

/// Verifies the results of the election at `given`, a URL or a directory.
#[must_use]
pub fn run(given: &str, id: &ElectionId, progress: &Progress) -> ResultVerdict {
    let mut verdict = ResultVerdict {
        verdict: Outcome::Unchecked,
        election: id.to_string(),
        title: None,
        demo: None,
        heads_size: None,
        source: given.to_owned(),
        state: None,
        head_time: None,
        votes: None,
        abstentions: None,
        cells: Vec::new(),
        results: None,
        unverified_winners: Vec::new(),
        findings: Vec::new(),
        findings_by_code: BTreeMap::new(),
        not_covered: Vec::new(),
    };
    let opened = match Opened::at(given, id, progress) {
        Ok(opened) => opened,
        Err(ended) => {
            verdict.end(ended);
            return verdict;
        }
    };
    verdict.source.clone_from(&opened.located.place);
    verdict.title = Some(opened.election.manifest().title.clone());
    verdict.demo = Some(opened.election.manifest().demo);
    let context = opened.context();
    let results = examine(&opened, &mut verdict);
    if results.is_none() && opened.findings.is_empty() {
        context
            .unread
            .note("the results were not verified".to_owned());
    }
    let ended = opened.end();
    if let Some(results) = results.filter(|_| ended.verdict == Outcome::Verified) {
        verdict.unverified_winners = (0..)
            .zip(&results.contests)
            .filter(|(_, contest)| contest.rounds.as_ref().is_some_and(|all| all.len() > 1))
            .map(|(contest, _)| contest)
            .collect();
        verdict.results = Some(results.contests);
    }
    verdict.end(ended);
    verdict
}

/// The heads log as results that lag (or claim to be final too early) speak of it: whatever they call themselves, their numbers are sums of signed tallies at any time.
pub(crate) fn as_they_say(heads: &HeadsToday, results: &Results) -> HeadsToday {
    HeadsToday {
        newest: heads.newest.clone(),
        head: None,
        head_entry: None,
        is_final: results.status == Status::Final,
        cancelled: results.status == Status::Cancelled,
        switches: heads.switches.clone(),
    }
}

/// Reads results.json, then what it speaks of: the heads log, then the cells.
fn examine(opened: &Opened, verdict: &mut ResultVerdict) -> Option<Results> {
    let context = opened.context();
    opened.progress.stage("results");
    let mut results = read(&context)?;
    opened.progress.stage("heads");
    let heads = heads_reader::read(&context)?;
    let patience = Patience::new();
    // Whoever publishes the results may be about to.
    while !is_due(&results, &heads) && patience.waits() {
        results = read(&context)?;
    }
    verdict.state = Some(state(&heads));
    verdict.heads_size = Some(heads.newest.size());
    verdict.head_time = heads.head.as_ref().map(|head| head.time);
    verdict.votes = Some(results.votes);
    verdict.abstentions = Some(results.abstentions);
    opened.progress.stage("cells");
    let newest: Vec<Option<Signed>> = (0..opened.election.cells())
        .map(|cell| counted::newest(&context, Some(&heads), LogId::Cell(cell), patience))
        .collect();
    let totals = check(&context, &heads, &newest, &results)?;
    for (cell, totals) in results.cells.iter().zip(&totals) {
        let named = heads
            .head
            .as_ref()
            .and_then(|head| head.log(&opened.election, LogId::Cell(cell.cell)));
        verdict.cells.push(CellShown {
            cell: cell.cell,
            size: cell.size,
            head_size: named.map(|log| log.size),
            votes: totals.votes,
        });
    }
    judge_head(&context, &heads, &newest);
    Some(results)
}

/// Reads results.json. What is wrong with it is a finding.
pub(crate) fn read(context: &Context<'_>) -> Option<Results> {
    parse(context, context.read(FILE, RESULTS_LEN_MAX))
}

/// Parses what was read of results.json.
pub(crate) fn parse(context: &Context<'_>, read: Read) -> Option<Results> {
    let place = || Place::file(FILE);
    match read {
        Read::File(bytes) => Results::parse(&bytes, context.election)
            .map_err(|error| {
                context.add(
                    Code::ResultsWrong,
                    place(),
                    Votes::WholeRoll,
                    error.to_string(),
                );
            })
            .ok(),
        Read::Missing => {
            context.add(
                Code::MissingFile,
                place(),
                Votes::AtMost(0),
                "there is no such file, and the results must be published at all times",
            );
            None
        }
        Read::Unusable | Read::Unknown => None,
    }
}

const fn state(heads: &HeadsToday) -> State {
    if heads.cancelled {
        State::Cancelled
    } else if heads.is_final {
        State::Final
    } else {
        State::Open
    }
}

/// The cells that the newest head names must be those that are published.
pub(crate) fn judge_head(context: &Context<'_>, heads: &HeadsToday, newest: &[Option<Signed>]) {
    for (cell, newest) in (0u32..).zip(newest) {
        counted::fits_head(context, heads, LogId::Cell(cell), newest.as_ref());
    }
}

impl ResultVerdict {
    fn end(&mut self, ended: Ended) {
        self.verdict = ended.verdict;
        self.findings = ended.findings;
        self.findings_by_code = ended.findings_by_code;
        self.not_covered = ended.unread;
        let mut not_covered = vec![
            "the votes themselves: that each tally entry is the sum of valid votes, `audit` recounts and `sample` makes likely".to_owned(),
            "whether others are shown another ledger: compare checkpoints (`watch`, `consistency`)".to_owned(),
            "anchors, cosignatures and issuance".to_owned(),
        ];
        let contests = self.results.iter().flatten().enumerate();
        let unverified: Vec<&str> = contests
            .filter(|(n, _)| {
                self.unverified_winners
                    .iter()
                    .any(|of| usize::from(*of) == *n)
            })
            .map(|(_, contest)| contest.name.as_str())
            .collect();
        if !unverified.is_empty() {
            not_covered.push(format!(
                "who won {}: the rounds of run-offs behind the first follow from all ballots, which `audit` reads. Here they only fit each other",
                unverified.join("; ")
            ));
        }
        if self.state == Some(State::Open) {
            not_covered
                .push("what comes: the election is open, and these are running totals".to_owned());
            let behind: Vec<String> = self
                .cells
                .iter()
                .filter(|cell| cell.is_behind())
                .map(|cell| LogId::Cell(cell.cell).to_string())
                .collect();
            if !behind.is_empty() {
                not_covered.push(format!(
                    "votes that the newest head covers and these totals leave out, as they may until the final head: of {}",
                    behind.join(", ")
                ));
            }
        }
        self.not_covered.extend(not_covered);
    }
}

impl CellShown {
    /// The newest head covers more of it. A log that has published nothing is listed with its genesis.
    pub(crate) fn is_behind(&self) -> bool {
        self.head_size
            .is_some_and(|head| head > 1 && self.size < head)
    }
}

/// What the heads log calls for.
pub(crate) const fn status_due(heads: &HeadsToday) -> Status {
    if heads.cancelled {
        Status::Cancelled
    } else if heads.is_final {
        Status::Final
    } else {
        Status::Open
    }
}
