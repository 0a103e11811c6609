//! Random stretches of the ledger, each recounted alone: much confidence for little work.
//!
//! It says how much: if a share *f* of all batches were wrong, a sample of *N* would have missed that with probability (1 - *f*)^*N*.

use std::collections::{BTreeMap, BTreeSet};

use protocol::checkpoint::Checkpoint;
use protocol::ids::{ElectionId, LogId};
use schemars::JsonSchema;
use serde::Serialize;

use crate::audit::heads_reader;
use crate::draw::Draw;
use crate::finding::Finding;
use crate::opened::{Ended, Opened};
use crate::progress::Progress;
use crate::stretch::{self, CellEnd};
use crate::verdict::Outcome;

/// What a sample came to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SampleVerdict {
    /// Verified: every batch that was drawn is right. Findings: something is wrong. Unchecked: something could not be read, or there is nothing to draw.
    pub verdict: Outcome,
    /// The election id.
    pub election: String,
    /// Where the files came from.
    pub source: String,
    /// What fixed the choice: the same seed on the same ledger draws the same batches.
    pub seed: String,
    /// Batches of votes that are published, over all cells.
    pub batches: u64,
    /// Votes in them.
    pub votes: u64,
    /// The sizes that were sampled.
    pub cells: Vec<SampledCell>,
    /// Draws; a batch may be drawn twice.
    pub drawn: u64,
    /// Distinct batches that were recounted and are right.
    pub checked_batches: u64,
    /// Votes in them, every signature verified.
    pub checked_votes: u64,
    /// What the sample would have missed, and how likely.
    pub confidence: Vec<Confidence>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How many findings there were of each code.
    pub findings_by_code: BTreeMap<&'static str, u64>,
    /// What could not be checked, and what a sample cannot see.
    pub not_covered: Vec<String>,
}

/// A cell as it was sampled.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SampledCell {
    /// Its index.
    pub cell: u32,
    /// The size of its newest checkpoint.
    pub size: u64,
    /// Batches of votes below it.
    pub batches: u64,
    /// Votes below it.
    pub votes: u64,
}

/// How sure the sample makes.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Confidence {
    /// If so many percent of all batches were wrong,
    pub percent_wrong: u64,
    /// which is so many batches
    pub batches: u64,
    /// with so many votes, if they are as large as others,
    pub votes: u64,
    /// they would all have been missed with this probability.
    pub missed: f64,
}

/// Draws `draws` batches of the election at `given`, a URL or a directory, and recounts each.
#[must_use]
pub fn run(
    given: &str,
    id: &ElectionId,
    draws: u64,
    seed: Option<[u8; 32]>,
    progress: &Progress,
) -> SampleVerdict {
    let seed = seed.unwrap_or_else(Draw::fresh_seed);
    let mut verdict = SampleVerdict {
        verdict: Outcome::Unchecked,
        election: id.to_string(),
        source: given.to_owned(),
        seed: hex::encode(seed),
        batches: 0,
        votes: 0,
        cells: Vec::new(),
        drawn: 0,
        checked_batches: 0,
        checked_votes: 0,
        confidence: Vec::new(),
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
    let ends = ends(&opened);
    for (cell, tree, end) in &ends {
        verdict.cells.push(SampledCell {
            cell: *cell,
            size: tree.size(),
            batches: end.batches(),
            votes: end.totals(&opened.election).votes,
        });
    }
    let sum = |of: fn(&SampledCell) -> u64| {
        let counts = verdict.cells.iter().map(of);
        counts.fold(0u64, u64::saturating_add)
    };
    let (batches, votes) = (sum(|cell| cell.batches), sum(|cell| cell.votes));
    (verdict.batches, verdict.votes) = (batches, votes);
    if batches == 0 {
        opened
            .unread
            .note("there is no batch of votes to draw (yet)".to_owned());
    } else {
        verdict.drawn = draws;
        let drawn = draw(&ends, batches, draws, seed);
        recount(&opened, &ends, &drawn, &mut verdict);
        verdict.confidence = confidence(batches, votes, draws);
    }
    verdict.end(opened.end());
    verdict
}

/// Every cell's newest tree and where it ends. The heads log is read first: it says which keys sign.
fn ends(opened: &Opened) -> Vec<(u32, Checkpoint, CellEnd)> {
    let context = opened.context();
    opened.progress.stage("heads and checkpoints");
    let heads = heads_reader::read(&context);
    (0..opened.election.cells())
        .filter_map(|cell| {
            let log = LogId::Cell(cell);
            let newest = stretch::newest(&context, heads.as_ref(), log)?;
            let end = stretch::cell_end(&context, log, &newest.checkpoint)?;
            Some((cell, newest.checkpoint, end))
        })
        .collect()
}

/// Cell and number of each batch that is drawn, each once.
fn draw(
    ends: &[(u32, Checkpoint, CellEnd)],
    batches: u64,
    draws: u64,
    seed: [u8; 32],
) -> BTreeSet<(usize, u64)> {
    let mut draw = Draw::new(seed);
    (0..draws)
        .filter_map(|_| {
            let mut number = draw.below(batches);
            for (position, (_, _, end)) in ends.iter().enumerate() {
                if number < end.batches() {
                    // Batch 0 is the genesis.
                    return Some((position, number + 1));
                }
                number -= end.batches();
            }
            None
        })
        .collect()
}

fn recount(
    opened: &Opened,
    ends: &[(u32, Checkpoint, CellEnd)],
    drawn: &BTreeSet<(usize, u64)>,
    verdict: &mut SampleVerdict,
) {
    let context = opened.context();
    opened.progress.stage("batches");
    opened.progress.expect(drawn.len() as u64);
    for (position, n) in drawn {
        let Some((cell, tree, _)) = ends.get(*position) else {
            continue;
        };
        if let Some(recounted) = stretch::recount(&context, *cell, tree, *n) {
            let path = format!("{}/batches/{n}", LogId::Cell(*cell));
            let right = recounted
                .votes
                .iter()
                .filter(|(index, vote)| stretch::verify_vote(&context, &path, *index, vote))
                .count();
            if right == recounted.votes.len() {
                verdict.checked_batches += 1;
                verdict.checked_votes += recounted.votes.len() as u64;
            }
        }
        opened.progress.done(1);
    }
}

fn confidence(batches: u64, votes: u64, draws: u64) -> Vec<Confidence> {
    [1u64, 5]
        .into_iter()
        .map(|percent| {
            let wrong = batches.saturating_mul(percent).div_ceil(100);
            // With few batches, one is more than that share.
            #[allow(
                clippy::cast_precision_loss,
                reason = "a share, printed to a few digits"
            )]
            let share = wrong as f64 / batches as f64;
            let exponent = i32::try_from(draws).unwrap_or(i32::MAX);
            Confidence {
                percent_wrong: percent,
                batches: wrong,
                votes: votes.saturating_mul(percent).div_ceil(100),
                missed: (1.0 - share).powi(exponent),
            }
        })
        .collect()
}

impl SampleVerdict {
    fn end(&mut self, ended: Ended) {
        self.verdict = ended.verdict;
        self.findings = ended.findings;
        self.findings_by_code = ended.findings_by_code;
        self.not_covered = ended
            .unread
            .into_iter()
            .chain(
                [
                    "all batches that were not drawn",
                    "a credential that voted in two stretches; whether each credential was issued; heads and anchors",
                    "what is not published, and whether others are shown another ledger: compare checkpoints (`watch`, `consistency`)",
                ]
                .map(str::to_owned),
            )
            .collect();
    }
}
