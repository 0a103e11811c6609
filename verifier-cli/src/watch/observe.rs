//! Every checkpoint is held against what was seen before, and kept.

use std::collections::BTreeMap;

use protocol::evidence::HeldCheckpoint;
use protocol::ids::LogId;
use protocol::results::Results;
use protocol::tlog_proof::TlogProof;

use super::keep::{KeepError, Standing};
use super::memory::Memory;
use super::timed::Until;
use crate::audit::checkpoint::Signed;
use crate::audit::context::Context;
use crate::consistency::{Comparison, Relation};
use crate::finding::{Code, Place, Votes};

/// What whoever showed a checkpoint shows besides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows {
    /// The tree: a source, which must have it.
    Tree,
    /// Nothing: a witness.
    Checkpoint,
}

/// Holds what one source shows against the memory.
pub(super) struct Observer<'a> {
    pub(super) memory: &'a Memory,
    pub(super) context: &'a Context<'a>,
    /// The source, as the user wrote it.
    pub(super) given: &'a str,
    pub(super) until: &'a Until,
    pub(super) shows: Shows,
}

impl Observer<'_> {
    pub(super) fn observe(&self, signed: &Signed) -> Result<(), KeepError> {
        match HeldCheckpoint::read(&signed.bytes, self.context.election) {
            Ok(held) => self.observe_held(&held),
            // It was verified when it was read.
            Err(_) => Ok(()),
        }
    }

    /// The checkpoints that results carry bind the operator as any other.
    pub(super) fn observe_results(&self, results: Option<&Results>) -> Result<(), KeepError> {
        let proofs = results.into_iter().flat_map(|results| &results.cells);
        for proof in proofs.filter_map(|cell| cell.proof.as_ref()) {
            let held = TlogProof::parse(proof.as_bytes()).ok().and_then(|proof| {
                HeldCheckpoint::read(proof.checkpoint(), self.context.election).ok()
            });
            if let Some(held) = held {
                self.observe_held(&held)?;
            }
        }
        Ok(())
    }

    pub(super) fn observe_held(&self, held: &HeldCheckpoint) -> Result<(), KeepError> {
        if held.checkpoint.size() == 0 {
            return Ok(());
        }
        loop {
            let kept = {
                let mut inner = self.memory.lock();
                if inner.keep.knows(held) {
                    return Ok(());
                }
                match inner.keep.newest(held.log).cloned() {
                    None => return inner.keep.keep(held, Standing::Consistent),
                    Some(kept) => kept,
                }
            };
            let (older, newer) = if kept.checkpoint.size() <= held.checkpoint.size() {
                (&kept, held)
            } else {
                (held, &kept)
            };
            match self.relation(older, newer, held) {
                Relation::Consistent => {
                    let mut inner = self.memory.lock();
                    // Another look may have kept a newer one meanwhile, which this one was not compared with.
                    if inner.keep.newest(held.log) == Some(&kept) {
                        return inner.keep.keep(held, Standing::Consistent);
                    }
                }
                Relation::Split(split) => {
                    let mut inner = self.memory.lock();
                    inner.keep.keep(held, Standing::Conflicting)?;
                    // Only what convinces others is said.
                    let (Ok(proven), Ok(bytes)) =
                        (split.verify(&self.context.election.id()), split.encode())
                    else {
                        return Ok(());
                    };
                    let proof = match inner.keep.keep_split(held.log, &bytes)? {
                        Some(path) => format!("the proof for everybody is {}", path.display()),
                        None => "split-views holds as many proofs as it may, so this one was not written".to_owned(),
                    };
                    self.context.add(
                        Code::Equivocation,
                        Place::file(format!("{}/checkpoint", held.log)),
                        Votes::WholeRoll,
                        format!(
                            "the log's key signed size {} with root {}, and size {} of a tree whose root at size {} is {}; {proof}",
                            proven.older.size(),
                            proven.older.root(),
                            proven.newer.size(),
                            proven.older.size(),
                            proven.root,
                        ),
                    );
                    return Ok(());
                }
                Relation::Unknown(why) => {
                    self.memory.lock().keep.keep(held, Standing::Unproven)?;
                    // The tree that this source signed must be the one that it shows.
                    let shows_it = newer == held && self.shows == Shows::Tree;
                    let what = format!(
                        "that size {} starts with size {} is not shown: {}",
                        newer.checkpoint.size(),
                        older.checkpoint.size(),
                        why.join("; ")
                    );
                    if shows_it && self.context.unread.is_empty() && !self.until.was_cut() {
                        self.context.add(
                            Code::TileMismatch,
                            Place::file(format!("{}/checkpoint", held.log)),
                            Votes::AtMost(0),
                            what,
                        );
                    } else {
                        self.context.unread.note(format!("{}: {what}", held.log));
                    }
                    return Ok(());
                }
            }
        }
    }

    fn relation(
        &self,
        older: &HeldCheckpoint,
        newer: &HeldCheckpoint,
        held: &HeldCheckpoint,
    ) -> Relation {
        // The source itself first: any copy will do, since tiles are proven.
        let sources = self.memory.helpers(self.given, self.until);
        let comparison = Comparison {
            election: self.context.election,
            sources: &sources,
        };
        let relation = comparison.relation(older, newer);
        if older == held && matches!(relation, Relation::Unknown(_)) {
            let size = held.checkpoint.size();
            let below = self.memory.lock().keep.at_most(held.log, size).cloned();
            if let Some(below) = below
                && let split @ Relation::Split(_) = comparison.relation(&below, held)
            {
                // Nobody shows the newest tree, and an older one contradicts it already.
                return split;
            }
        }
        relation
    }

    /// Those of the newest checkpoints of cells that continue what was seen before.
    pub(super) fn known_cells(&self, newest: &BTreeMap<LogId, Signed>) -> Vec<(u32, Signed)> {
        let inner = self.memory.lock();
        newest
            .iter()
            .filter_map(|(log, signed)| {
                let LogId::Cell(cell) = log else { return None };
                let held = HeldCheckpoint::read(&signed.bytes, self.context.election).ok()?;
                inner.keep.knows(&held).then(|| (*cell, signed.clone()))
            })
            .collect()
    }
}
