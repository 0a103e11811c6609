//! Any stretch between two tally entries can be recounted alone: one batch of a cell, proven by tiles to stand in a signed tree, and judged by the cell's grammar.
//!
//! What it cannot see is a credential that voted in another stretch too.

use protocol::batch::{BATCH_LEN_MAX, BatchError, BatchFile};
use protocol::checkpoint::Checkpoint;
use protocol::entry::{Entry, Tally, TallyTotals, Vote, VoteError};
use protocol::grammar::{BatchSummary, CellLog, GrammarError};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::leaf_hash;
use protocol::merkle::tile::{
    BUNDLE_BYTES_MAX, BundleId, FULL_WIDTH, TileId, Tiles, consistency_tiles, decode_bundle,
    inclusion_tiles,
};

use crate::audit::checkpoint::{Signed, read_newest};
use crate::audit::context::{Context, Read};
use crate::audit::heads_reader::HeadsToday;
use crate::audit::judge::code_of;
use crate::finding::{Code, Place, Votes};
use crate::prove;

/// A log's newest checkpoint, by the key that the notices make the right one. `None`: the log has published none, or it is wrong, which was written down.
pub(crate) fn newest(
    context: &Context<'_>,
    heads: Option<&HeadsToday>,
    log: LogId,
) -> Option<Signed> {
    let signed = read_newest(context, log)?;
    match heads.and_then(|heads| heads.switches.judge(log, &signed)) {
        None => Some(signed),
        Some((code, evidence)) => {
            let place = Place::file(format!("{log}/checkpoint"));
            context.add(code, place, Votes::WholeRoll, evidence);
            None
        }
    }
}

/// The entry at this index of a log, proven to stand in the checkpoint's tree.
pub(crate) fn entry(
    context: &Context<'_>,
    log: LogId,
    tree: &Checkpoint,
    index: u64,
) -> Option<Vec<u8>> {
    let (first, mut entries) = entries_around(context, log, tree, index)?;
    let position = usize::try_from(index - first).ok()?;
    (position < entries.len()).then(|| entries.swap_remove(position))
}

/// The entries of the bundle in which this index falls, and the first one's index. All are proven to stand in the checkpoint's tree.
pub(crate) fn entries_around(
    context: &Context<'_>,
    log: LogId,
    tree: &Checkpoint,
    index: u64,
) -> Option<(u64, Vec<Vec<u8>>)> {
    if index >= tree.size() {
        return None;
    }
    let tiles = prove::tiles(context, log, tree, inclusion_tiles(index, tree.size()))?;
    let width = u64::from(FULL_WIDTH);
    let first = index - index % width;
    let here = u16::try_from((tree.size() - first).min(width)).ok()?;
    let id = BundleId::new(index / width, here).ok()?;
    let (path, bytes) = bundle(context, log, id)?;
    let decoded = decode_bundle(&bytes, here).or_else(|_| decode_bundle(&bytes, FULL_WIDTH));
    let mut entries = decoded.unwrap_or_default();
    entries.truncate(usize::from(here));
    let wrong = (first..first + u64::from(here))
        .zip(entries.iter().map(Some).chain(std::iter::repeat(None)))
        .find(|(index, entry)| entry.map(|entry| leaf_hash(entry)) != tiles.leaf(*index).ok());
    if let Some((index, _)) = wrong {
        context.add(
            Code::BundleMismatch,
            Place::at(path, index),
            Votes::AtMost(0),
            "it does not hold the entry that the signed tree has at this index",
        );
        return None;
    }
    Some((first, entries.into_iter().map(<[u8]>::to_vec).collect()))
}

fn bundle(context: &Context<'_>, log: LogId, id: BundleId) -> Option<(String, Vec<u8>)> {
    let path = format!("{log}/{}", id.path());
    match context.read(&path, BUNDLE_BYTES_MAX) {
        Read::File(bytes) => Some((path, bytes)),
        // "Where the full one exists, the partial one need not."
        Read::Missing => {
            let full = format!("{log}/{}", id.full().path());
            let why = "every entry bundle of the newest checkpoint must exist";
            context
                .read_required(&full, BUNDLE_BYTES_MAX, Votes::AtMost(0), why)
                .map(|bytes| (full, bytes))
        }
        Read::Unusable | Read::Unknown => None,
    }
}

/// Where a cell's log ends in a signed tree.
#[derive(Debug, Clone)]
pub(crate) struct CellEnd {
    /// The newest tally entry; `None` where there is none yet.
    pub(crate) tally: Option<Tally>,
}

impl CellEnd {
    /// Batches of votes; they are numbered from 1.
    pub(crate) fn batches(&self) -> u64 {
        self.tally.as_ref().map_or(0, |tally| tally.batch)
    }

    pub(crate) fn totals(&self, election: &Election) -> TallyTotals {
        self.tally.as_ref().map_or_else(
            || TallyTotals::zero(election.contests()),
            |tally| tally.totals.clone(),
        )
    }
}

/// Reads the end of a cell's log: its tally, or its close and the tally before that. `None`: it could not be shown; why, was written down.
pub(crate) fn cell_end(context: &Context<'_>, cell: LogId, tree: &Checkpoint) -> Option<CellEnd> {
    let mut closed = false;
    for index in (0..tree.size()).rev().take(2) {
        let bytes = entry(context, cell, tree, index)?;
        match Entry::decode(&bytes, context.election) {
            Ok(Entry::Tally(tally)) => {
                return Some(CellEnd { tally: Some(tally) });
            }
            Ok(Entry::Close(_)) if !closed => closed = true,
            Ok(Entry::Genesis(_)) if index == 0 => {
                return Some(CellEnd { tally: None });
            }
            _ => {
                context.add(
                    Code::GrammarBroken,
                    Place::at(format!("{cell}/checkpoint"), index),
                    Votes::WholeRoll,
                    "a cell's log ends in a tally entry, or in a close behind one; this is neither",
                );
                return None;
            }
        }
    }
    None
}

/// A batch that stands in a signed tree, recounted.
#[derive(Debug)]
pub(crate) struct Recounted {
    /// The votes in it.
    pub(crate) votes: Vec<(u64, Vote)>,
}

/// Recounts batch `n` of a cell: proves it against the tree, and judges it by the tally entries at both ends. What is wrong is a finding.
///
/// `None`: it is not what the tree holds, breaks a rule, or could not be read.
pub(crate) fn recount(
    context: &Context<'_>,
    cell: u32,
    tree: &Checkpoint,
    n: u64,
) -> Option<Recounted> {
    let log = LogId::Cell(cell);
    let path = format!("{log}/batches/{n}");
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
        Ok(batch) if batch.log == log && batch.n == n => batch,
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
    if batch.new_size > tree.size() {
        broken(
            Code::BatchChain,
            format!(
                "it ends at size {}, and the log's newest tally, at size {}, is of a later batch",
                batch.new_size,
                tree.size()
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
            let bytes = entry(context, log, tree, size - 1)?;
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
    match judge(
        context.election,
        cell,
        batch.old_size,
        before.as_ref(),
        n,
        &batch.entries,
    ) {
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
    let code = match error {
        VoteError::BadKey(_) => Code::VoteBadKey,
        VoteError::BadRegistrarSignature { .. } | VoteError::SignatureCount => {
            Code::VoteRegistrarSignature
        }
        VoteError::BadBallotSignature(_) => Code::VoteBallotSignature,
        VoteError::WrongCell { .. } => Code::VoteWrongCell,
    };
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
