//! What published tiles prove about a log, under one of its checkpoints.

use protocol::checkpoint::Checkpoint;
use protocol::ids::LogId;
use protocol::merkle::tile::{
    BUNDLE_BYTES_MAX, BundleError, BundleId, FULL_WIDTH, TILE_BYTES_MAX, TileError, TileId, Tiles,
    bundles, consistency_tiles, decode_bundle, inclusion_tiles,
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

/// The most entries that are read of a log only to look something up in it. It is of no honest log: a head every second makes half as many in a year.
pub(crate) const ENTRIES_READ_MAX: u64 = 1 << 26;

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
    context.progress.expect(checkpoint.size());
    let mut tree = CompactRange::new();
    for id in bundles(checkpoint.size()) {
        let bundle = Bundle::read(context, log, id)?;
        let entries = match bundle.entries() {
            Ok(entries) => entries,
            Err(error) => {
                mismatch(&bundle.path, &error.to_string());
                return None;
            }
        };
        for entry in entries {
            take(tree.size(), entry);
            tree.push(leaf_hash(entry));
        }
        context.progress.done(u64::from(id.width()));
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
    let tiles = tiles(context, log, tree, inclusion_tiles(index, tree.size()))?;
    let width = u64::from(FULL_WIDTH);
    let first = index - index % width;
    let here = u16::try_from((tree.size() - first).min(width)).ok()?;
    let id = BundleId::new(index / width, here).ok()?;
    let bundle = Bundle::read(context, log, id)?;
    let entries = bundle.entries().unwrap_or_default();
    let wrong = (first..first + u64::from(here))
        .zip(entries.iter().map(Some).chain(std::iter::repeat(None)))
        .find(|(index, entry)| entry.map(|entry| leaf_hash(entry)) != tiles.leaf(*index).ok());
    if let Some((index, _)) = wrong {
        context.add(
            Code::BundleMismatch,
            Place::at(bundle.path.as_str(), index),
            Votes::AtMost(0),
            "it does not hold the entry that the signed tree has at this index",
        );
        return None;
    }
    Some((first, entries.into_iter().map(<[u8]>::to_vec).collect()))
}

/// An entry bundle as the source has it: nothing is proven yet.
pub(crate) struct Bundle {
    /// Where it was found: "where the full one exists, the partial one need not."
    pub(crate) path: String,
    id: BundleId,
    bytes: Vec<u8>,
}

impl Bundle {
    /// Reads it, or where it is partial and not there, the full one. What is missing is a finding.
    pub(crate) fn read(context: &Context<'_>, log: LogId, id: BundleId) -> Option<Self> {
        let path = format!("{log}/{}", id.path());
        match context.read(&path, BUNDLE_BYTES_MAX) {
            Read::File(bytes) => Some(Self { path, id, bytes }),
            Read::Missing if !id.is_full() => {
                let path = format!("{log}/{}", id.full().path());
                let why = "nor the partial bundle that the newest checkpoint needs";
                let bytes =
                    context.read_required(&path, BUNDLE_BYTES_MAX, Votes::AtMost(0), why)?;
                Some(Self { path, id, bytes })
            }
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

    /// As many entries as were asked for: of a full bundle, the first ones.
    pub(crate) fn entries(&self) -> Result<Vec<&[u8]>, BundleError> {
        let width = self.id.width();
        let mut entries = decode_bundle(&self.bytes, width)
            .or_else(|_| decode_bundle(&self.bytes, self.id.full().width()))?;
        entries.truncate(usize::from(width));
        Ok(entries)
    }
}
