//! A stretch of a log's entries, each proven to be in the tree of a checkpoint.

use bytes::Bytes;
use ledger::log::LogName;
use ledger::publisher::Reader;
use protocol::checkpoint::Checkpoint;
use protocol::merkle::leaf_hash;
use protocol::merkle::tile::{
    BUNDLE_BYTES_MAX, BundleId, FULL_WIDTH, TILE_BYTES_MAX, TileId, Tiles, decode_bundle,
    inclusion_tiles,
};

use crate::observe::ObserveError;

const FULL: u64 = FULL_WIDTH as u64;

/// The entries of the bundle that holds entry `index`: their first index, and those from there to the end of the bundle or of the tree.
/// Proven by the tiles on the way up to the checkpoint's root.
pub(crate) async fn bundle(
    reader: &dyn Reader,
    log: &LogName,
    checkpoint: &Checkpoint,
    index: u64,
) -> Result<(u64, Vec<Bytes>), ObserveError> {
    let size = checkpoint.size();
    if index >= size {
        return Err(ObserveError::damaged(format!(
            "{} has no entry {index}",
            log.origin()
        )));
    }
    let first = index / FULL * FULL;
    let width = u16::try_from((size - first).min(FULL)).unwrap_or(FULL_WIDTH);
    let mut tiles = Vec::new();
    for id in inclusion_tiles(index, size) {
        tiles.push((id, tile(reader, log, id).await?));
    }
    let tiles =
        Tiles::authenticate(size, &checkpoint.root(), tiles).map_err(ObserveError::damaged)?;
    let id = BundleId::new(first / FULL, width).map_err(ObserveError::damaged)?;
    let (id, bytes) = match reader.read(&log.path(&id.path()), BUNDLE_BYTES_MAX).await? {
        Some(bytes) => (id, bytes),
        // A superseded partial bundle may be gone.
        None => match reader
            .read(&log.path(&id.full().path()), BUNDLE_BYTES_MAX)
            .await?
        {
            Some(bytes) => (id.full(), bytes),
            None => return Err(ObserveError::Missing(log.path(&id.path()))),
        },
    };
    let entries = decode_bundle(&bytes, id.width()).map_err(ObserveError::damaged)?;
    let mut proven = Vec::with_capacity(usize::from(width));
    for (index, entry) in (first..size).zip(entries) {
        if tiles.leaf(index).map_err(ObserveError::damaged)? != leaf_hash(entry) {
            return Err(ObserveError::damaged(format!(
                "{}: entry {index} is not the one that the tree holds",
                log.path(&id.path())
            )));
        }
        proven.push(bytes.slice_ref(entry));
    }
    Ok((first, proven))
}

/// The entries from `start` on, up to the checkpoint's end or as many as fit `budget` bytes with their length prefixes.
pub(crate) async fn within(
    reader: &dyn Reader,
    log: &LogName,
    checkpoint: &Checkpoint,
    start: u64,
    budget: usize,
) -> Result<Vec<Bytes>, ObserveError> {
    let mut entries = Vec::new();
    let mut bytes = 0usize;
    let mut next = start;
    while next < checkpoint.size() {
        let (first, found) = bundle(reader, log, checkpoint, next).await?;
        let skip = usize::try_from(next.saturating_sub(first)).unwrap_or(usize::MAX);
        for entry in found.into_iter().skip(skip) {
            bytes = bytes.saturating_add(entry.len()).saturating_add(2);
            if bytes > budget {
                return Ok(entries);
            }
            entries.push(entry);
        }
        // Bundles start at multiples of 256, so this moves on.
        next = first.saturating_add(FULL);
    }
    Ok(entries)
}

async fn tile(reader: &dyn Reader, log: &LogName, id: TileId) -> Result<Vec<u8>, ObserveError> {
    let path = log.path(&id.path());
    if let Some(bytes) = reader.read(&path, TILE_BYTES_MAX).await? {
        return Ok(bytes.to_vec());
    }
    // A superseded partial tile may be gone; the full one holds it.
    let full = reader
        .read(&log.path(&id.full().path()), TILE_BYTES_MAX)
        .await?;
    full.as_deref()
        .and_then(|full| id.truncate(full))
        .map(<[u8]>::to_vec)
        .ok_or(ObserveError::Missing(path))
}
