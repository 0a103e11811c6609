//! Any stretch between two tally entries can be recounted alone: one batch of a cell, proven by tiles to stand in a signed tree, and judged by the cell's grammar.
//!
//! Where a stretch begins and ends, the tree says, not the batch file: so every entry of a log is in one stretch, and a log whose stretches are all right is right.
//! What it cannot see is a credential that voted in another stretch too.

use protocol::batch::{BATCH_ENTRIES_MAX, BATCH_LEN_MAX, BatchError, BatchFile};
use protocol::checkpoint::Checkpoint;
use protocol::entry::{Entry, Tally, TallyTotals, Vote};
use protocol::grammar::{BatchSummary, CellLog, GrammarError};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::leaf_hash;
use protocol::merkle::tile::{FULL_WIDTH, TileId, Tiles, consistency_tiles, inclusion_tiles};

use crate::audit::context::Context;
use crate::audit::judge::{code_of, code_of_vote};
use crate::counted::CellEnd;
use crate::finding::{Code, Place, Votes};
use crate::prove;

/// A stretch of a cell's log: all that ends with one tally, or is the genesis or the close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The number that its batch must have.
    pub(crate) n: u64,
    /// The index of its last entry.
    pub(crate) last: u64,
}

/// The stretch in which the entry at this index stands, by the tree itself: it ends with the first tally at or behind it. What is wrong is a finding.
///
/// No batch file is believed here: one that names another stretch leaves entries out.
pub(crate) fn around(
    context: &Context<'_>,
    log: LogId,
    tree: &Checkpoint,
    end: &CellEnd,
    index: u64,
) -> Option<Stretch> {
    if index == 0 {
        return Some(Stretch { n: 0, last: 0 });
    }
    if end.closed && index + 1 == tree.size() {
        let n = end.batches().saturating_add(1);
        return Some(Stretch { n, last: index });
    }
    let mut next = index;
    while next < tree.size() && next - index < BATCH_ENTRIES_MAX as u64 {
        let (first, entries) = prove::entries_around(context, log, tree, next)?;
        let behind = (first..).zip(&entries).filter(|(at, _)| *at >= index);
        for (at, bytes) in behind {
            if let Ok(Entry::Tally(tally)) = Entry::decode(bytes, context.election) {
                let n = tally.batch;
                return Some(Stretch { n, last: at });
            }
        }
        next = first + entries.len() as u64;
    }
    context.add(
        Code::GrammarBroken,
        Place::at(format!("{log}/checkpoint"), index),
        Votes::WholeRoll,
        "this entry belongs to no batch: no tally ends it",
    );
    None
}

/// A stretch that was recounted.
#[derive(Debug)]
pub(crate) struct Recounted {
    /// The votes in it.
    pub(crate) votes: Vec<(u64, Vote)>,
}

/// Recounts a stretch: its batch holds just these entries, proven against the tree, and is judged by the tally entries at both ends. What is wrong is a finding.
///
/// `None`: it is not what the tree holds, breaks a rule, or could not be read.
pub(crate) fn recount(
    context: &Context<'_>,
    cell: u32,
    tree: &Checkpoint,
    stretch: Stretch,
    drawn: u64,
) -> Option<Recounted> {
    let log = LogId::Cell(cell);
    let path = format!("{log}/batches/{}", stretch.n);
    let bytes = context.read_required(
        &path,
        BATCH_LEN_MAX,
        Votes::WholeRoll,
        "the log's checkpoint covers it",
    )?;
    let broken = |code, evidence: String| {
        context.add(code, Place::file(&path), Votes::WholeRoll, evidence);
    };
    let batch = decode(context.election, &bytes, log, stretch.n)
        .map_err(|(code, evidence)| broken(code, evidence))
        .ok()?;
    if !(batch.old_size..batch.new_size).contains(&drawn) || batch.new_size != stretch.last + 1 {
        broken(
            Code::BatchChain,
            format!(
                "it holds the entries from {} up to {}; by the tally at {}, it is the batch that ends there and holds entry {drawn}",
                batch.old_size,
                batch.new_size.saturating_sub(1),
                stretch.last
            ),
        );
        return None;
    }
    let tiles = prove::tiles(context, log, tree, tiles_of(&batch, tree.size()))?;
    if let Some(evidence) = contradiction(&batch, &tiles) {
        broken(Code::BatchChain, evidence);
        return None;
    }
    let before = match batch.old_size {
        0 | 1 => None,
        size => {
            let bytes = prove::entry(context, log, tree, size - 1)?;
            match Entry::decode(&bytes, context.election) {
                Ok(Entry::Tally(tally)) => Some(tally),
                _ => {
                    broken(
                        Code::GrammarBroken,
                        format!("the entry before it, at index {}, is no tally", size - 1),
                    );
                    return None;
                }
            }
        }
    };
    let judged = judge(
        context.election,
        cell,
        batch.old_size,
        before.as_ref(),
        stretch.n,
        &batch.entries,
    );
    match judged {
        Ok(summary) => Some(Recounted {
            votes: (summary.first_index..)
                .zip(summary.entries)
                .filter_map(|(index, entry)| match entry {
                    Entry::Vote(vote) => Some((index, vote)),
                    _ => None,
                })
                .collect(),
        }),
        Err(error) => {
            add_broken_rule(context, &path, &error);
            None
        }
    }
}

/// Decodes a file that must be this batch of this log.
///
/// # Errors
/// What it is instead.
pub(crate) fn decode<'b>(
    election: &Election,
    bytes: &'b [u8],
    log: LogId,
    n: u64,
) -> Result<BatchFile<'b>, (Code, String)> {
    match BatchFile::decode(bytes, election) {
        Ok(batch) if batch.log == log && batch.n == n => Ok(batch),
        Ok(batch) => Err((
            Code::BatchForeign,
            format!("it is batch {} of {}", batch.n, batch.log),
        )),
        Err(error) => {
            let code = match error {
                BatchError::Label | BatchError::Log => Code::BatchForeign,
                _ => Code::BatchMalformed,
            };
            Err((code, error.to_string()))
        }
    }
}

/// A broken rule of the cell's grammar, as a finding.
pub(crate) fn add_broken_rule(context: &Context<'_>, path: &str, error: &GrammarError) {
    context.add(
        code_of(error.code),
        Place::at(path, error.index),
        Votes::WholeRoll,
        error.to_string(),
    );
}

/// Judges one batch by the cell's grammar, from the tally entry before it (none before the first batch of votes).
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn judge(
    election: &Election,
    cell: u32,
    size: u64,
    before: Option<&Tally>,
    n: u64,
    entries: &[&[u8]],
) -> Result<BatchSummary, GrammarError> {
    let mut log = match (size, before) {
        (0, _) => CellLog::new(election, cell),
        (_, Some(tally)) => CellLog::after_tally(election, cell, size, tally),
        (_, None) => {
            let none = Tally {
                batch: 0,
                time: 0,
                totals: TallyTotals::zero(election.contests()),
            };
            CellLog::after_tally(election, cell, size, &none)
        }
    };
    log.batch(n, entries)
}

/// Verifies a vote's signatures; what is wrong is a finding. Returns whether all are right.
pub(crate) fn verify_vote(context: &Context<'_>, path: &str, index: u64, vote: &Vote) -> bool {
    let Err(error) = vote.verify(context.election) else {
        return true;
    };
    let code = code_of_vote(&error);
    context.add(
        code,
        Place::at(path, index),
        Votes::AtMost(1),
        format!("{error} (credential {})", hex::encode(vote.credential)),
    );
    false
}

/// The tiles that show the leaves of a batch and the roots at both its ends. At most 32,768 entries: 129 tiles of leaves, and those above them.
fn tiles_of(batch: &BatchFile<'_>, size: u64) -> Vec<TileId> {
    let mut ids = consistency_tiles(batch.old_size, size);
    ids.extend(consistency_tiles(batch.new_size, size));
    let width = u64::from(FULL_WIDTH);
    for tile in batch.old_size / width..=(batch.new_size - 1) / width {
        let index = (tile * width).max(batch.old_size);
        ids.extend(inclusion_tiles(index, size));
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// In which way a batch is not the stretch of the tree that it says it is.
fn contradiction(batch: &BatchFile<'_>, tiles: &Tiles) -> Option<String> {
    for (size, named) in [
        (batch.old_size, batch.old_root),
        (batch.new_size, batch.new_root),
    ] {
        match tiles.root_at(size) {
            Ok(root) if root == named => {}
            Ok(root) => {
                return Some(format!(
                    "at size {size} it names root {named}, and the signed tree has {root}"
                ));
            }
            Err(error) => return Some(error.to_string()),
        }
    }
    (batch.old_size..)
        .zip(&batch.entries)
        .find(|(index, entry)| tiles.leaf(*index).ok() != Some(leaf_hash(entry)))
        .map(|(index, _)| {
            format!("its entry {index} is not the one that stands at this index of the signed tree")
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use protocol::ids::ElectionId;
    use protocol::merkle::Hash;

    use super::*;

    #[test]
    fn the_tiles_of_a_batch_show_each_of_its_leaves_and_both_its_ends() {
        for (old_size, new_size, size) in [
            (1, 5, 5),
            (250, 256, 300),
            (256, 512, 5_000),
            (300, 1_100, 70_000),
            (255, 1_025, 1_025),
        ] {
            let batch = BatchFile {
                election: ElectionId([1; 32]),
                log: LogId::Cell(0),
                n: 1,
                old_size,
                old_root: Hash([0; 32]),
                new_size,
                new_root: Hash([0; 32]),
                entries: Vec::new(),
            };
            let expected: BTreeSet<TileId> = (old_size..new_size)
                .flat_map(|index| inclusion_tiles(index, size))
                .chain(consistency_tiles(old_size, size))
                .chain(consistency_tiles(new_size, size))
                .collect();
            let tiles = tiles_of(&batch, size);
            assert_eq!(tiles, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
