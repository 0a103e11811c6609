//! Random stretches of the ledger, each recounted alone: much confidence for little work.
//!
//! Entries are drawn, each as likely as any other, and the stretch in which a drawn entry stands is recounted. Every entry of a log stands in one stretch, and a log whose
//! stretches are all right is right. So if a share *f* of all entries stood in wrong stretches, a sample of *N* would have missed that with probability (1 - *f*)^*N*.
//! It bounds how much of the ledger is false, not what that does: tallies are running sums, so one wrong stretch can move every vote.

use std::collections::{BTreeMap, BTreeSet};

use protocol::checkpoint::Checkpoint;
use protocol::ids::{ElectionId, LogId};
use schemars::JsonSchema;
use serde::Serialize;

use crate::audit::heads_reader;
use crate::counted::{self, CellEnd, Patience};
use crate::draw::Draw;
use crate::finding::Finding;
use crate::opened::{Ended, Opened};
use crate::progress::Progress;
use crate::stretch;
use crate::verdict::Outcome;

/// What a sample came to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SampleVerdict {
    /// Verified: every entry that was drawn stands in a batch that is right. Findings: something is wrong. Unchecked: something could not be read, or there are no votes yet.
    pub verdict: Outcome,
    /// The election id.
    pub election: String,
    /// Where the files came from.
    pub source: String,
    /// What fixed the choice: the same seed on the same sizes draws the same entries.
    pub seed: String,
    /// Entries of the cells' logs; each is as likely to be drawn as any other.
    pub entries: u64,
    /// Batches of votes among them.
    pub batches: u64,
    /// Votes in these.
    pub votes: u64,
    /// The sizes that were sampled.
    pub cells: Vec<SampledCell>,
    /// Draws; an entry may be drawn twice.
    pub drawn: u64,
    /// Distinct batches of votes that were recounted and are right.
    pub checked_batches: u64,
    /// Votes in them, every signature verified.
    pub checked_votes: u64,
    /// What the sample would have missed, and how likely: one batch of average size, 1 % and 5 % of the entries. Empty unless verified.
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
    /// The size of its newest checkpoint, or in the final head.
    pub size: u64,
    /// Batches of votes below it.
    pub batches: u64,
    /// Votes below it.
    pub votes: u64,
}

/// How sure the sample makes.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Confidence {
    /// If so many entries stood in wrong batches,
    pub entries: u64,
    /// which is this share of all,
    pub share: f64,
    /// every draw would have missed them with this probability.
    pub missed: f64,
}

/// A cell's log as it is sampled.
struct Sampled {
    cell: u32,
    tree: Checkpoint,
    end: CellEnd,
}

/// Draws `draws` entries of the election at `given`, a URL or a directory, and recounts the stretch of each.
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
        entries: 0,
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
    let sampled = sampled(&opened);
    for of_cell in &sampled {
        verdict.cells.push(SampledCell {
            cell: of_cell.cell,
            size: of_cell.tree.size(),
            batches: of_cell.end.batches(),
            votes: of_cell.end.totals(&opened.election).votes,
        });
    }
    let sum = |of: fn(&SampledCell) -> u64| {
        let counts = verdict.cells.iter().map(of);
        counts.fold(0u64, u64::saturating_add)
    };
    let entries = sum(|cell| cell.size);
    let (batches, votes) = (sum(|cell| cell.batches), sum(|cell| cell.votes));
    (verdict.entries, verdict.batches, verdict.votes) = (entries, batches, votes);
    if batches == 0 {
        opened
            .unread
            .note("there is no batch of votes to draw (yet)".to_owned());
    } else {
        verdict.drawn = draws;
        let drawn = draw(&sampled, entries, draws, seed);
        recount(&opened, &sampled, &drawn, &mut verdict);
    }
    verdict.end(opened.end());
    if verdict.verdict == Outcome::Verified {
        verdict.confidence = [
            entries.div_ceil(batches),
            entries.div_ceil(100),
            entries.div_ceil(20),
        ]
        .map(|wrong| confidence(wrong, entries, draws))
        .to_vec();
    }
    verdict
}

/// Every cell's tree and where it ends. The heads log is read first: it says which keys sign, and which cells must be there.
fn sampled(opened: &Opened) -> Vec<Sampled> {
    let context = opened.context();
    opened.progress.stage("heads and checkpoints");
    let Some(heads) = heads_reader::read(&context) else {
        return Vec::new();
    };
    let patience = Patience::new();
    (0..opened.election.cells())
        .filter_map(|cell| {
            let log = LogId::Cell(cell);
            let tree = counted::tree(&context, &heads, log, patience)??;
            let end = counted::cell_end(&context, log, &tree)?;
            Some(Sampled { cell, tree, end })
        })
        .collect()
}

/// Position of the cell, and index, of each entry that is drawn, each once and in order.
fn draw(sampled: &[Sampled], entries: u64, draws: u64, seed: [u8; 32]) -> BTreeSet<(usize, u64)> {
    let mut draw = Draw::new(seed);
    (0..draws)
        .filter_map(|_| {
            let mut number = draw.below(entries);
            for (position, of_cell) in sampled.iter().enumerate() {
                if number < of_cell.tree.size() {
                    return Some((position, number));
                }
                number -= of_cell.tree.size();
            }
            None
        })
        .collect()
}

fn recount(
    opened: &Opened,
    sampled: &[Sampled],
    drawn: &BTreeSet<(usize, u64)>,
    verdict: &mut SampleVerdict,
) {
    let context = opened.context();
    opened.progress.stage("batches");
    opened.progress.expect(drawn.len() as u64);
    // Up to where the newest stretch goes; the next draw may fall into it, too.
    let mut done: Option<(usize, u64)> = None;
    for (position, index) in drawn {
        opened.progress.done(1);
        let Some(Sampled { cell, tree, end }) = sampled.get(*position) else {
            continue;
        };
        if done.is_some_and(|(of, last)| of == *position && *index <= last) {
            continue;
        }
        let log = LogId::Cell(*cell);
        let Some(stretch) = stretch::around(&context, log, tree, end, *index) else {
            continue;
        };
        done = Some((*position, stretch.last));
        let Some(recounted) = stretch::recount(&context, *cell, tree, stretch, *index) else {
            continue;
        };
        let path = format!("{log}/batches/{}", stretch.n);
        let right = recounted
            .votes
            .iter()
            .filter(|(index, vote)| stretch::verify_vote(&context, &path, *index, vote))
            .count();
        if right == recounted.votes.len() && right > 0 {
            verdict.checked_batches += 1;
            verdict.checked_votes += right as u64;
        }
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "shares, printed to a few digits"
)]
fn confidence(wrong: u64, entries: u64, draws: u64) -> Confidence {
    let share = wrong as f64 / entries as f64;
    Confidence {
        entries: wrong,
        share,
        missed: (1.0 - share).powf(draws as f64),
    }
}

impl SampleVerdict {
    fn end(&mut self, ended: Ended) {
        self.verdict = ended.verdict;
        self.findings = ended.findings;
        self.findings_by_code = ended.findings_by_code;
        self.not_covered = ended.unread;
        if self.verdict == Outcome::Unchecked && self.drawn > 0 {
            // Whoever serves the files sees what was drawn, and could refuse just that, until a draw falls elsewhere.
            self.not_covered.push(format!(
                "how sure this makes: run it again with --seed {}, until all that it draws can be read. With another seed, or once the ledger has grown, other entries are drawn, and what is false could have been refused until no draw met it",
                self.seed
            ));
        }
        self.not_covered.extend(
            [
                "all batches that were not drawn; a single false one can change the whole result",
                "a credential that voted in two stretches; whether each credential was issued; anchors, and heads but for the newest",
                "what is not published, and whether others are shown another ledger: compare checkpoints (`watch`, `consistency`)",
            ]
            .map(str::to_owned),
        );
    }
}
