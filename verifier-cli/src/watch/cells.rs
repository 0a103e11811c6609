//! Recounting the cells' batches as they appear: chain, grammar, sums, and the signatures of some votes of each.
//!
//! Each batch is judged from the tally entry before it, so the state is small. Credentials are not kept: that none voted twice, an audit finds.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::batch::{BATCH_LEN_MAX, BatchError, BatchFile};
use protocol::checkpoint::Checkpoint;
use protocol::entry::{Entry, Tally};
use protocol::grammar::GrammarError;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::{CompactRange, Hash};
use serde::{Deserialize, Serialize};

use crate::audit::context::Context;
use crate::draw::Draw;
use crate::finding::{Code, Place, Votes};
use crate::{prove, stretch};

/// Bytes of batches that are recounted in one round, over all cells: a watcher that comes late catches up without standing still.
const ROUND_LEN_MAX: usize = 256 << 20;
/// Votes of each batch whose signatures are verified,
const SIGNATURES_OF_BATCH: u64 = 16;
/// and of each round.
const SIGNATURES_OF_ROUND: u64 = 2_000;

/// How far each cell was recounted.
#[derive(Default)]
pub(super) struct Cells {
    cells: BTreeMap<u32, Cell>,
    changed: bool,
}

#[derive(Clone, Default)]
struct Cell {
    tree: CompactRange,
    /// The next batch.
    next: u64,
    tally: Option<Tally>,
}

/// What one round may still spend.
pub(super) struct Budget {
    bytes: usize,
    signatures: u64,
    draw: Draw,
}

impl Budget {
    pub(super) fn of_round() -> Self {
        Self {
            bytes: ROUND_LEN_MAX,
            signatures: SIGNATURES_OF_ROUND,
            draw: Draw::new(Draw::fresh_seed()),
        }
    }
}

/// `state.json`.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    cells: Vec<CellState>,
}

#[derive(Serialize, Deserialize)]
struct CellState {
    cell: u32,
    size: u64,
    nodes: Vec<String>,
    next: u64,
    tally: Option<String>,
}

/// What was wrong with batches, said only once they are known to be those of the signed tree.
#[derive(Default)]
struct Faults {
    rules: Vec<(String, GrammarError)>,
    votes: Vec<(String, u64, protocol::entry::Vote)>,
}

impl Cells {
    /// Recounts a cell up to this tree, or as far as the budget goes.
    pub(super) fn advance(
        &mut self,
        context: &Context<'_>,
        cell: u32,
        tree: &Checkpoint,
        budget: &mut Budget,
    ) {
        let mut at = self.cells.get(&cell).cloned().unwrap_or_default();
        let from = at.tree.size();
        let mut faults = Faults::default();
        while at.tree.size() < tree.size() && budget.bytes > 0 {
            if at.take(context, cell, budget, &mut faults).is_none() {
                // Of what was read before it, nothing is proven: it is read again.
                return;
            }
        }
        if at.tree.size() == from {
            return;
        }
        let log = LogId::Cell(cell);
        let place = Place::file(format!("{log}/batches/{}", at.next.saturating_sub(1)));
        if at.tree.size() > tree.size() {
            context.add(
                Code::CheckpointPlace,
                Place::file(format!("{log}/checkpoint")),
                Votes::WholeRoll,
                format!(
                    "it is of size {}, and no batch of the log ends there",
                    tree.size()
                ),
            );
            return;
        }
        let Some((root, _)) = prove::prefix(context, log, tree, at.tree.size()) else {
            return;
        };
        if root != at.tree.root() {
            context.add(
                Code::BatchChain,
                place,
                Votes::WholeRoll,
                format!(
                    "up to here the batches make root {} at size {}, and the signed tree has {root}",
                    at.tree.root(),
                    at.tree.size()
                ),
            );
            return;
        }
        for (path, error) in &faults.rules {
            stretch::add_broken_rule(context, path, error);
        }
        for (path, index, vote) in &faults.votes {
            stretch::verify_vote(context, path, *index, vote);
        }
        self.cells.insert(cell, at);
        self.changed = true;
    }

    /// Takes up what was saved. What cannot be read is recounted from the first batch.
    pub(super) fn load(&mut self, bytes: &[u8], election: &Election) {
        let Ok(state) = serde_json::from_slice::<State>(bytes) else {
            return;
        };
        for saved in state.cells {
            if let Some(cell) = saved.restore(election) {
                self.cells.insert(saved.cell, cell);
            }
        }
    }

    /// What is to be saved, if there is anything new.
    pub(super) fn changed(&self) -> Option<State> {
        self.changed.then(|| State {
            cells: self
                .cells
                .iter()
                .map(|(cell, at)| CellState {
                    cell: *cell,
                    size: at.tree.size(),
                    nodes: at.tree.nodes().iter().map(Hash::to_base64).collect(),
                    next: at.next,
                    tally: at
                        .tally
                        .as_ref()
                        .map(|tally| STANDARD.encode(tally.encode())),
                })
                .collect(),
        })
    }
}

impl CellState {
    fn restore(&self, election: &Election) -> Option<Cell> {
        let nodes = self
            .nodes
            .iter()
            .map(|node| Hash::from_base64(node))
            .collect::<Option<Vec<_>>>()?;
        let tally = match &self.tally {
            None => None,
            Some(text) => match Entry::decode(&STANDARD.decode(text).ok()?, election).ok()? {
                Entry::Tally(tally) => Some(tally),
                _ => return None,
            },
        };
        Some(Cell {
            tree: CompactRange::from_nodes(self.size, nodes).ok()?,
            next: self.next,
            tally,
        })
    }
}

impl Cell {
    /// Takes in the next batch. `None`: the source does not have it, or it does not continue the one before; which, was written down.
    fn take(
        &mut self,
        context: &Context<'_>,
        cell: u32,
        budget: &mut Budget,
        faults: &mut Faults,
    ) -> Option<()> {
        let log = LogId::Cell(cell);
        let path = format!("{log}/batches/{}", self.next);
        let bytes = context.read_required(
            &path,
            BATCH_LEN_MAX,
            Votes::WholeRoll,
            "the log's checkpoint covers it",
        )?;
        budget.bytes = budget.bytes.saturating_sub(bytes.len());
        let broken = |code, evidence: String| {
            context.add(code, Place::file(&path), Votes::WholeRoll, evidence);
        };
        let batch = match BatchFile::decode(&bytes, context.election) {
            Ok(batch) if batch.log == log && batch.n == self.next => batch,
            Ok(batch) => {
                broken(
                    Code::BatchForeign,
                    format!("it is batch {} of {}", batch.n, batch.log),
                );
                return None;
            }
            Err(error) => {
                let code = match error {
                    BatchError::Label | BatchError::Log => Code::BatchForeign,
                    _ => Code::BatchMalformed,
                };
                broken(code, error.to_string());
                return None;
            }
        };
        let size = self.tree.size();
        if let Err(error) = batch.apply(&mut self.tree) {
            broken(Code::BatchChain, error.to_string());
            return None;
        }
        let judged = stretch::judge(
            context.election,
            cell,
            size,
            self.tally.as_ref(),
            self.next,
            &batch.entries,
        );
        match judged {
            Ok(summary) => {
                let votes: Vec<_> = summary.votes().collect();
                let count = votes.len() as u64;
                for _ in 0..SIGNATURES_OF_BATCH.min(budget.signatures).min(count) {
                    budget.signatures -= 1;
                    let drawn = usize::try_from(budget.draw.below(count)).ok();
                    if let Some((index, vote)) = drawn.and_then(|drawn| votes.get(drawn)) {
                        faults.votes.push((path.clone(), *index, (*vote).clone()));
                    }
                }
            }
            Err(error) => faults.rules.push((path, error)),
        }
        // Whatever it says, what follows is judged from there.
        let last = batch.entries.last();
        if let Some(Ok(Entry::Tally(tally))) =
            last.map(|bytes| Entry::decode(bytes, context.election))
        {
            self.tally = Some(tally);
        }
        self.next += 1;
        Some(())
    }
}
