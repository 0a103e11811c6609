//! What earlier runs left in the copy.

use protocol::batch::BatchFile;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::tile::{BundleId, Edge, FULL_WIDTH, TileId, decode_bundle};
use protocol::merkle::{Hash, leaf_hash};

use super::copy::{Copy, CopyError};
use crate::audit::context::Context;

/// The entries of the partial bundle at the edge, from the copy. `None`: they are not those of the tree.
pub(super) fn open_bundle(
    copy: &Copy,
    log: LogId,
    edge: &Edge,
) -> Result<Option<Vec<Vec<u8>>>, CopyError> {
    let full = u64::from(FULL_WIDTH);
    let (index, width) = (edge.size() / full, edge.size() % full);
    let Ok(width) = u16::try_from(width) else {
        return Ok(None);
    };
    if width == 0 {
        return Ok(Some(Vec::new()));
    }
    let (Ok(tile), Ok(bundle)) = (TileId::new(0, index, width), BundleId::new(index, width)) else {
        return Ok(None);
    };
    let Some(bytes) = copy.read(&format!("{log}/{}", bundle.path()))? else {
        return Ok(None);
    };
    let entries = decode_bundle(&bytes, width).unwrap_or_default();
    let leaves: Vec<u8> = entries
        .iter()
        .flat_map(|entry| leaf_hash(entry).0)
        .collect();
    Ok((edge.tile(&tile) == Some(leaves))
        .then(|| entries.into_iter().map(<[u8]>::to_vec).collect()))
}

/// The number of the copy's batch that ends at this size, and the root there; `copied` is the size of the log in the copy.
pub(super) fn ends_at(
    copy: &Copy,
    election: &Election,
    log: LogId,
    size: u64,
    copied: u64,
) -> Result<Option<(u64, Hash)>, CopyError> {
    // Each batch holds an entry at least.
    let (mut low, mut high) = (0, copied);
    while low < high {
        let middle = low + (high - low) / 2;
        let bytes = copy.read(&format!("{log}/batches/{middle}"))?;
        let batch = bytes
            .as_deref()
            .and_then(|bytes| BatchFile::decode(bytes, election).ok());
        match batch {
            Some(batch) if batch.new_size == size => return Ok(Some((middle, batch.new_root))),
            Some(batch) if batch.new_size < size => low = middle + 1,
            // Beyond the newest, or damaged: then it is not found.
            _ => high = middle,
        }
    }
    Ok(None)
}

/// Something of the copy's own is not what it was: that is nobody's fault whom we know.
pub(super) fn own_damage(context: &Context<'_>, path: &str, evidence: &str) {
    context.unread.note(format!(
        "{path}: the copy's own file is not what it must be ({evidence}): it was damaged, or written for another history. Remove it and run this again, or copy into another folder"
    ));
}
