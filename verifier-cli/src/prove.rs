//! What published tiles prove about a log, under one of its checkpoints.

use protocol::checkpoint::Checkpoint;
use protocol::ids::LogId;
use protocol::merkle::tile::{
    BUNDLE_BYTES_MAX, BundleId, TILE_BYTES_MAX, TileError, TileId, Tiles, bundles,
    consistency_tiles, decode_bundle, inclusion_tiles,
};
use protocol::merkle::{CompactRange, Hash, leaf_hash};
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

/// Reads every entry of a log up to this checkpoint, from the entry bundles, and hands it out with its index.
///
/// What is handed out must not be believed before this returns: `Some` says that all of it together makes the checkpoint's root. `None`: it does not, or something
/// could not be read; which of these was written down.
pub(crate) fn entries(
    context: &Context<'_>,
    log: LogId,
    checkpoint: &Checkpoint,
    mut take: impl FnMut(u64, &[u8]),
) -> Option<()> {
    let mismatch = |path: &str, evidence: &str| {
        context.add(
            Code::BundleMismatch,
            Place::file(path),
            Votes::AtMost(0),
            format!("{evidence}; so this source does not show what the log holds"),
        );
    };
    let mut tree = CompactRange::new();
    for id in bundles(checkpoint.size()) {
        let path = format!("{log}/{}", id.path());
        let bytes = read_bundle(context, log, id)?;
        let entries = decode_bundle(&bytes, id.width()).or_else(|_| {
            // A full bundle where the partial one is gone: its first entries are the partial one's.
            decode_bundle(&bytes, id.full().width()).map(|mut entries| {
                entries.truncate(usize::from(id.width()));
                entries
            })
        });
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                mismatch(&path, &error.to_string());
                return None;
            }
        };
        for entry in entries {
            take(tree.size(), entry);
            tree.push(leaf_hash(entry));
        }
    }
    if tree.root() != checkpoint.root() {
        mismatch(
            &format!("{log}/tile/entries"),
            "the entries do not make the root of the log's checkpoint",
        );
        return None;
    }
    Some(())
}

fn read_bundle(context: &Context<'_>, log: LogId, id: BundleId) -> Option<Vec<u8>> {
    let path = format!("{log}/{}", id.path());
    match context.read(&path, BUNDLE_BYTES_MAX) {
        Read::File(bytes) => Some(bytes),
        Read::Missing if !id.is_full() => context.read_required(
            &format!("{log}/{}", id.full().path()),
            BUNDLE_BYTES_MAX,
            Votes::AtMost(0),
            "nor the partial bundle that the newest checkpoint needs",
        ),
        Read::Missing => {
            context.add(
                Code::MissingFile,
                Place::file(path),
                Votes::AtMost(0),
                "there is no such file, and the newest checkpoint needs it",
            );
            None
        }
        Read::Unusable | Read::Unknown => None,
    }
}
