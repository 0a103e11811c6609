//! What published tiles prove about a log, under one of its checkpoints.

use protocol::checkpoint::Checkpoint;
use protocol::ids::LogId;
use protocol::merkle::tile::{
    TILE_BYTES_MAX, TileError, TileId, Tiles, consistency_tiles, inclusion_tiles,
};
use protocol::merkle::{Hash, leaf_hash};
use protocol::tlog_proof::TlogProof;

use crate::audit::context::{Context, Read};
use crate::finding::{Code, Place, Votes};

/// The tiles of this checkpoint's tree that prove what is asked; what is wrong with them is a finding.
pub(crate) fn tiles(
    context: &Context<'_>,
    log: LogId,
    newest: &Checkpoint,
    ids: Vec<TileId>,
) -> Option<Tiles> {
    let mut given = Vec::new();
    for id in ids {
        let path = format!("{log}/{}", id.path());
        let bytes = match context.read(&path, TILE_BYTES_MAX) {
            Read::File(bytes) => bytes,
            // "Partial tiles are optional once the full tile exists".
            Read::Missing if !id.is_full() => {
                let full = context.read_required(
                    &format!("{log}/{}", id.full().path()),
                    TILE_BYTES_MAX,
                    Votes::AtMost(0),
                    "nor the partial tile that the newest checkpoint needs",
                )?;
                id.truncate(&full)?.to_vec()
            }
            Read::Missing => {
                context.add(
                    Code::MissingFile,
                    Place::file(path),
                    Votes::AtMost(0),
                    "there is no such file, and the newest checkpoint needs it",
                );
                return None;
            }
            Read::Unusable | Read::Unknown => return None,
        };
        given.push((id, bytes));
    }
    match Tiles::authenticate(newest.size(), &newest.root(), given) {
        Ok(tiles) => Some(tiles),
        Err(error) => {
            let place = match &error {
                TileError::Forged { tile }
                | TileError::Length { tile, .. }
                | TileError::Missing { tile } => {
                    format!("{log}/{}", tile.path())
                }
                _ => format!("{log}/tile"),
            };
            context.add(
                Code::TileMismatch,
                Place::file(place),
                Votes::AtMost(0),
                format!("{error}; so this source proves nothing about that tree"),
            );
            None
        }
    }
}

/// What the tree of `newer` holds at a smaller size: its root there, and the consistency proof from there.
///
/// `None`: the source's tiles do not make the tree of `newer`, or could not be read; which of these was written down.
pub(crate) fn prefix(
    context: &Context<'_>,
    log: LogId,
    newer: &Checkpoint,
    size: u64,
) -> Option<(Hash, Vec<Hash>)> {
    if size == newer.size() {
        return Some((newer.root(), Vec::new()));
    }
    let tiles = tiles(context, log, newer, consistency_tiles(size, newer.size()))?;
    match (tiles.root_at(size), tiles.consistency_proof(size)) {
        (Ok(root), Ok(proof)) => Some((root, proof)),
        (Err(error), _) | (_, Err(error)) => {
            context.unread.note(format!("{log}: {error}"));
            None
        }
    }
}

/// Whether the vote stands at its index today.
pub(crate) fn holds_vote(
    context: &Context<'_>,
    cell: LogId,
    newest: &Checkpoint,
    proof: &TlogProof,
    file: &str,
) -> bool {
    let (index, Some(entry)) = (proof.index(), proof.extra()) else {
        return false;
    };
    if index >= newest.size() {
        // The rollback was named.
        return false;
    }
    let Some(tiles) = tiles(context, cell, newest, inclusion_tiles(index, newest.size())) else {
        return false;
    };
    match tiles.leaf(index) {
        Ok(leaf) if leaf == leaf_hash(entry) => true,
        Ok(leaf) => {
            context.add(
                Code::Fork,
                Place::at(file, index),
                Votes::AtMost(1),
                format!(
                    "at index {index} of {cell} the published log holds leaf {leaf}, and the receipt proves {}",
                    leaf_hash(entry)
                ),
            );
            false
        }
        Err(error) => {
            context.unread.note(format!("{cell}: {error}"));
            false
        }
    }
}
