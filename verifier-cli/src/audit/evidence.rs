//! What somebody kept from before, held against the published logs.
//!
//! Re-signed from end to end, a forged ledger is as well formed as an honest one. What it cannot have is the checkpoints that others hold: a receipt, an anchor that
//! was copied, yesterday's results. Each binds the operator to one root at one size.

use std::path::PathBuf;

use protocol::evidence::HeldCheckpoint;
use protocol::ids::LogId;
use protocol::merkle::Hash;
use protocol::tlog_proof::TlogProof;

use super::checkpoint::Signed;
use super::context::Context;
use super::walk::Walk;
use crate::finding::{Code, Place, Votes};
use crate::kept::{self, Kept};
use crate::prove;
use crate::verdict::EvidenceCovered;

/// The published logs, as far as they were followed.
pub(super) struct Ledger<'w> {
    /// In head order.
    pub(super) logs: Vec<&'w Walk>,
    pub(super) heads: &'w Walk,
    /// The cells' newest checkpoints, where there is a right one.
    pub(super) cells: Vec<Option<&'w Signed>>,
    /// In head order, where there is a final head.
    pub(super) final_sizes: Option<&'w [u64]>,
}

/// Files of one path that cannot be used are named one by one up to so many; further ones are only counted.
const UNUSABLE_LISTED_MAX: usize = 5;

/// What came of the kept files.
#[derive(Default)]
pub(super) struct Judged {
    pub(super) covered: EvidenceCovered,
    /// Which files could not be used: no findings, since anybody can make such a file; but no verdict that passes over them either.
    pub(super) unusable: Vec<String>,
    /// What was left out on purpose.
    pub(super) open: Vec<String>,
}

/// Judges everything below these paths.
pub(super) fn judge(context: &Context<'_>, paths: &[PathBuf], ledger: &Ledger<'_>) -> Judged {
    let mut judged = Judged::default();
    for path in paths {
        let mut unusable = Vec::new();
        let covered = &mut judged.covered;
        let found = kept::files(path).unwrap_or_else(|error| {
            unusable.push(error.to_string());
            kept::Found::default()
        });
        judged.open.extend(found.copies.iter().map(|copy| {
            format!(
                "{} is a copy of an election: its checkpoints, anchors and results were taken as evidence; whether its votes are right, only an audit of the copy itself tells",
                copy.display()
            )
        }));
        for file in found.files {
            match kept::read(&file, context.election) {
                Ok(kept) => {
                    covered.files += 1;
                    covered.checkpoints += kept.checkpoints.len() as u64;
                    if let Err(problem) = judge_file(context, &kept, ledger) {
                        unusable.push(problem);
                    }
                }
                Err(error) => unusable.push(error.to_string()),
            }
        }
        covered.unusable += unusable.len() as u64;
        if let Some(more) = unusable.len().checked_sub(UNUSABLE_LISTED_MAX + 1) {
            unusable.truncate(UNUSABLE_LISTED_MAX);
            unusable.push(format!(
                "and {} more of {}: give the files that hold checkpoints (receipts, checkpoints, anchors, results.json), or a folder of nothing else",
                more + 1,
                path.display()
            ));
        }
        judged.unusable.extend(unusable);
    }
    judged
}

/// `Err`: it is a receipt that proves nothing. (The checkpoints in it were signed, and are compared all the same.)
fn judge_file(context: &Context<'_>, kept: &Kept, ledger: &Ledger<'_>) -> Result<(), String> {
    for held in &kept.checkpoints {
        if let Some(walk) = ledger.walk(held.log) {
            judge_checkpoint(context, &kept.file, held, walk);
        }
    }
    let Some(receipt) = &kept.receipt else {
        return Ok(());
    };
    let proven = receipt
        .verify(&context.election.id())
        .map_err(|error| format!("{}: {error}", kept.file))?;
    let cell = LogId::Cell(proven.cell);
    let newest = ledger.cells.get(proven.cell as usize).copied().flatten();
    if let (Some(newest), Ok(proof)) = (newest, TlogProof::parse(receipt.vote.as_bytes())) {
        prove::holds_vote(context, cell, &newest.checkpoint, &proof, &kept.file);
    }
    let counted = context
        .election
        .head_position(cell)
        .and_then(|position| ledger.final_sizes?.get(position).copied());
    // "A valid receipt with an index at or above it is `dropped`."
    if let Some(size) = counted
        && proven.index >= size
    {
        context.add(
            Code::Dropped,
            Place::at(&kept.file, proven.index),
            Votes::AtMost(1),
            format!(
                "the receipt proves a vote at index {} of {cell}, and the final head counts {size} entries",
                proven.index
            ),
        );
    }
    Ok(())
}

/// The published log must have passed through every checkpoint that its keys ever signed.
pub(super) fn judge_checkpoint(
    context: &Context<'_>,
    file: &str,
    held: &HeldCheckpoint,
    walk: &Walk,
) {
    let (size, root) = (held.checkpoint.size(), held.checkpoint.root());
    let note = String::from_utf8_lossy(&held.note);
    if size == 0 {
        return;
    }
    if size > walk.size() {
        // Where the log could not be followed, that is a finding of its own, and says no more.
        if !walk.stopped() {
            context.add(
                Code::CheckpointRollback,
                Place::file(file),
                Votes::in_missing(held.log, size - walk.size()),
                format!(
                    "{} is published up to size {}, and its key signed size {size}: the log was cut, or this source is an older copy, or of files of different moments. The note:\n{note}",
                    held.log,
                    walk.size()
                ),
            );
        }
        return;
    }
    let Some(published) = root_at(context, walk, size) else {
        context.unread.note(format!(
            "{file}: what {} holds at size {size} could not be proven here, so this file was compared with nothing",
            held.log
        ));
        return;
    };
    if published != root {
        context.add(
            Code::Equivocation,
            Place::file(file),
            Votes::WholeRoll,
            format!(
                "at size {size} of {} its key signed root {root}, and the published log has root {published}: it signed two histories. The note:\n{note}",
                held.log
            ),
        );
    } else if walk.end_at(size).is_none() && matches!(held.log, LogId::Cell(_)) {
        // The tally that ends a batch names its number, so nobody but the cell cuts them.
        context.add(
            Code::CheckpointPlace,
            Place::file(file),
            Votes::AtMost(0),
            format!("no batch of {} ends at {size}, and checkpoints fall on batch ends only. The note:\n{note}", held.log),
        );
    }
}

/// The root that the published log has at a size within it.
///
/// Where batches of other logs than cells end, is signed at the sizes that heads name and nowhere else: whoever serves the files may join two. So a size where none ends here can be
/// one that the log's key signed all the same, and only its root tells. `None`: the tiles do not prove one.
pub(super) fn root_at(context: &Context<'_>, walk: &Walk, size: u64) -> Option<Hash> {
    if let Some(end) = walk.end_at(size) {
        return Some(end.root);
    }
    let newest = walk.newest()?;
    let is_followed = walk
        .end_at(newest.size())
        .is_some_and(|end| end.root == newest.root());
    if !is_followed || newest.size() < size {
        return None;
    }
    prove::prefix(context, walk.log(), newest, size).map(|(root, _)| root)
}

impl<'w> Ledger<'w> {
    fn walk(&self, log: LogId) -> Option<&'w Walk> {
        std::iter::once(self.heads)
            .chain(self.logs.iter().copied())
            .find(|walk| walk.log() == log)
    }
}
