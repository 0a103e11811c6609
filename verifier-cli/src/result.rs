//! What results.json shows, verified in seconds: every number in it is the sum of tally entries that stand in signed trees, at sizes that the heads log allows.
//!
//! Nothing is recounted: that each tally is the sum of the votes before it, `audit` says, and `sample` makes likely.

mod parts;

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::ids::{ElectionId, LogId};
use protocol::note::NOTE_BYTES_MAX;
use protocol::results::{ContestResult, RESULTS_LEN_MAX, Results, Status};
use schemars::JsonSchema;
use serde::Serialize;

use crate::audit::checkpoint::Signed;
use crate::audit::context::{Context, Read};
use crate::audit::heads_reader::{self, HeadsToday};
use crate::finding::{Code, Finding, Place, Votes};
use crate::opened::{Ended, Opened};
use crate::progress::Progress;
use crate::verdict::{Outcome, State};
use crate::{prove, stretch};

pub(crate) use parts::{check, is_due};

/// How long results that lag behind the heads log are waited for.
const SETTLE: Duration = Duration::from_secs(10);
/// The file that is verified.
pub(crate) const FILE: &str = "results.json";
const POLL: Duration = Duration::from_millis(500);

/// What results.json is worth.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ResultVerdict {
    /// Verified: it shows what the signed trees hold. Findings: it does not. Unchecked: something could not be read.
    pub verdict: Outcome,
    /// The election id.
    pub election: String,
    /// The election's title; null without a manifest.
    pub title: Option<String>,
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
        source: given.to_owned(),
        state: None,
        head_time: None,
        votes: None,
        abstentions: None,
        cells: Vec::new(),
        results: None,
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
    let context = opened.context();
    let results = examine(&opened, &mut verdict);
    if results.is_none() && opened.findings.is_empty() {
        context
            .unread
            .note("the results were not verified".to_owned());
    }
    verdict.end(opened.end());
    if let Some(results) = results.filter(|_| verdict.verdict == Outcome::Verified) {
        verdict.results = Some(results.contests);
    }
    verdict
}

/// Reads results.json, then what it speaks of: the heads log, then the cells.
fn examine(opened: &Opened, verdict: &mut ResultVerdict) -> Option<Results> {
    let context = opened.context();
    opened.progress.stage("results");
    let mut results = read(&context)?;
    opened.progress.stage("heads");
    let heads = heads_reader::read(&context)?;
    let deadline = std::time::Instant::now() + SETTLE;
    while !is_due(&results, &heads) && std::time::Instant::now() < deadline {
        // Whoever publishes the results may be about to.
        std::thread::sleep(POLL);
        results = read(&context)?;
    }
    verdict.state = Some(state(&heads));
    verdict.head_time = heads.head.as_ref().map(|head| head.time);
    verdict.votes = Some(results.votes);
    verdict.abstentions = Some(results.abstentions);
    opened.progress.stage("cells");
    let newest: Vec<Option<Signed>> = (0..opened.election.cells())
        .map(|cell| stretch::newest(&context, Some(&heads), LogId::Cell(cell)))
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
    let Some(head) = &heads.head else { return };
    for (cell, newest) in (0u32..).zip(newest) {
        let log = LogId::Cell(cell);
        let Some(said) = head.log(context.election, log) else {
            continue;
        };
        let place = || Place::file(format!("{log}/checkpoint"));
        let Some(newest) = newest else {
            // A log that has published nothing is listed with its genesis.
            let is_missing = || {
                matches!(
                    context.read(&format!("{log}/checkpoint"), NOTE_BYTES_MAX),
                    Read::Missing
                )
            };
            if said.size > 1 && is_missing() {
                context.add(
                    Code::MissingFile,
                    place(),
                    Votes::WholeRoll,
                    format!(
                        "there is no such file, and the newest head names size {}",
                        said.size
                    ),
                );
            }
            continue;
        };
        if said.size > newest.size() {
            context.add(
                Code::CheckpointRollback,
                place(),
                Votes::AtMost(said.size - newest.size()),
                format!(
                    "it is of size {}, and the newest head names {}",
                    newest.size(),
                    said.size
                ),
            );
        } else if let Some((root, _)) = prove::prefix(context, log, &newest.checkpoint, said.size)
            && root != said.root
        {
            context.add(
                Code::HeadRoot,
                Place::file("heads/checkpoint"),
                Votes::WholeRoll,
                format!(
                    "the newest head names root {} of {log} at size {}; the published log has {root}",
                    said.root, said.size
                ),
            );
        }
    }
}

impl ResultVerdict {
    fn end(&mut self, ended: Ended) {
        self.verdict = ended.verdict;
        self.findings = ended.findings;
        self.findings_by_code = ended.findings_by_code;
        self.not_covered = ended.unread;
        let mut not_covered = vec![
            "the votes themselves: that each tally entry is the sum of valid votes, `audit` recounts and `sample` makes likely",
            "whether others are shown another ledger: compare checkpoints (`watch`, `consistency`)",
            "anchors, cosignatures and issuance",
        ];
        if self.state == Some(State::Final) {
            not_covered.push(
                "the rounds of run-offs behind the first: they follow from all ballots, which `audit` reads",
            );
        }
        if self.state == Some(State::Open) {
            not_covered.push("what comes: the election is open, and these are running totals");
        }
        self.not_covered
            .extend(not_covered.into_iter().map(str::to_owned));
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
