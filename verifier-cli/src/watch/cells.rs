//! Recounting the cells' batches as they appear: chain, grammar, sums, and the signatures of some votes of each.
//!
//! Each batch is judged from the tally entry before it, so the state is small. Credentials are not kept: that none voted twice, an audit finds.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::batch::{BATCH_LEN_MAX, BatchError, BatchFile};
use protocol::entry::{Entry, Tally, Vote};
use protocol::grammar::GrammarError;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::{CompactRange, Hash};
use serde::{Deserialize, Serialize};

use super::observe::Observer;
use super::timed::Limits;
use crate::audit::checkpoint::Signed;
use crate::audit::context::Context;
use crate::draw::Draw;
use crate::finding::{Code, Place, Votes};
use crate::{prove, stretch};

/// Votes of each batch whose signatures are verified. A batch of which they cannot be is left for the next round.
const SIGNATURES_OF_BATCH: u64 = 16;

/// How far each cell was recounted.
#[derive(Default)]
pub(super) struct Cells(BTreeMap<u32, Cell>);

#[derive(Clone, Default)]
struct Cell {
    tree: CompactRange,
    /// The next batch.
    next: u64,
    tally: Option<Tally>,
}

/// A cell in `state.json`.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct CellState {
    cell: u32,
    size: u64,
    nodes: Vec<String>,
    next: u64,
    tally: Option<String>,
}

impl Cells {
    /// How many entries of a cell were recounted.
    pub(super) fn size(&self, cell: u32) -> u64 {
        self.0.get(&cell).map_or(0, |at| at.tree.size())
    }

    /// Takes up what was saved. What cannot be read is recounted from the first batch.
    pub(super) fn load(&mut self, saved: &[CellState], election: &Election) {
        for saved in saved {
            if let Some(cell) = saved.restore(election) {
                self.0.insert(saved.cell, cell);
            }
        }
    }

    /// What is to be saved.
    pub(super) fn state(&self) -> Vec<CellState> {
        self.0
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
            .collect()
    }
}

/// What may still be spent.
#[derive(Clone, Copy)]
struct Budget {
    len: usize,
    batches: u64,
}

impl Budget {
    const fn is_spent(self) -> bool {
        self.len == 0 || self.batches == 0
    }
}

/// What was wrong with batches, said only once they are known to be those of the signed tree.
#[derive(Default)]
struct Faults {
    rules: Vec<(String, GrammarError)>,
    votes: Vec<(String, u64, Vote)>,
}

/// The recount of what is new, in one look.
pub(super) struct Recount<'a> {
    observer: &'a Observer<'a>,
    left: Budget,
    draw: Draw,
}

impl<'a> Recount<'a> {
    pub(super) fn new(observer: &'a Observer<'a>, limits: &Limits) -> Self {
        Self {
            observer,
            left: Budget {
                len: limits.batches_len,
                batches: limits.batches,
            },
            draw: Draw::new(Draw::fresh_seed()),
        }
    }

    /// Recounts these cells as far as the budget goes: each has its share of it, and nobody knows which one begins.
    pub(super) fn run(mut self, mut cells: Vec<(u32, Signed)>) {
        let first = usize::try_from(self.draw.below(cells.len() as u64)).unwrap_or(0);
        cells.rotate_left(first);
        while !cells.is_empty() {
            let count = cells.len();
            let share = Budget {
                len: self.left.len.div_ceil(count),
                batches: self.left.batches.div_ceil(count as u64),
            };
            cells.retain(|(cell, signed)| {
                !self.left.is_spent()
                    && self.observer.until.may_catch_up()
                    && self.advance(*cell, signed, share)
            });
        }
    }

    /// Goes on with a cell; `false` where there is nothing more to be had of it now.
    fn advance(&mut self, cell: u32, signed: &Signed, mut share: Budget) -> bool {
        let Observer {
            memory,
            context,
            until,
            ..
        } = self.observer;
        let tree = &signed.checkpoint;
        // Another look may have gone on with it meanwhile.
        let mut at = memory
            .lock()
            .cells
            .0
            .get(&cell)
            .cloned()
            .unwrap_or_default();
        if at.tree.size() >= tree.size() {
            return false;
        }
        let from = at.tree.size();
        let mut faults = Faults::default();
        let mut read_on = true;
        while at.tree.size() < tree.size()
            && !share.is_spent()
            && !self.left.is_spent()
            && until.may_catch_up()
            && read_on
        {
            let mut next = at.clone();
            match next.take(context, cell, &mut self.draw, &mut faults) {
                Some(len) => {
                    at = next;
                    for budget in [&mut share, &mut self.left] {
                        budget.len = budget.len.saturating_sub(len);
                        budget.batches = budget.batches.saturating_sub(1);
                    }
                }
                // What was read before it counts all the same, if it is what was signed.
                None => read_on = false,
            }
        }
        at.tree.size() > from && self.confirm(cell, signed, at, &faults) && read_on
    }

    /// Only batches of the signed tree are taken up, and their faults said.
    fn confirm(&self, cell: u32, signed: &Signed, at: Cell, faults: &Faults) -> bool {
        let Observer {
            memory, context, ..
        } = self.observer;
        let (log, tree) = (LogId::Cell(cell), &signed.checkpoint);
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
            return false;
        }
        let Some((root, _)) = prove::prefix(context, log, tree, at.tree.size()) else {
            return false;
        };
        if root != at.tree.root() {
            context.add(
                Code::BatchChain,
                Place::file(format!("{log}/batches/{}", at.next.saturating_sub(1))),
                Votes::WholeRoll,
                format!(
                    "up to here the batches make root {} at size {}, and the signed tree has {root}",
                    at.tree.root(),
                    at.tree.size()
                ),
            );
            return false;
        }
        for (path, error) in &faults.rules {
            stretch::add_broken_rule(context, path, error);
        }
        for (path, index, vote) in &faults.votes {
            stretch::verify_vote(context, path, *index, vote);
        }
        let mut inner = memory.lock();
        if inner.cells.size(cell) < at.tree.size() {
            inner.cells.0.insert(cell, at);
        }
        true
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
    /// Takes in the next batch, and says how long it is. `None`: the source does not have it, or it does not continue the one before; which, was written down.
    fn take(
        &mut self,
        context: &Context<'_>,
        cell: u32,
        draw: &mut Draw,
        faults: &mut Faults,
    ) -> Option<usize> {
        let log = LogId::Cell(cell);
        let path = format!("{log}/batches/{}", self.next);
        let bytes = context.read_required(
            &path,
            BATCH_LEN_MAX,
            Votes::WholeRoll,
            "the log's checkpoint covers it",
        )?;
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
                // Each at most once.
                let mut left: Vec<_> = votes.iter().collect();
                for _ in 0..SIGNATURES_OF_BATCH {
                    let drawn = match left.len() as u64 {
                        0 => break,
                        count => usize::try_from(draw.below(count)).unwrap_or(0),
                    };
                    let (index, vote) = left.swap_remove(drawn);
                    faults.votes.push((path.clone(), *index, (*vote).clone()));
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
        Some(bytes.len())
    }
}
