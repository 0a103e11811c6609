//! Which tiles and bundles: of a tree, of its growth, and for a proof.

use super::{BundleId, FULL_WIDTH, LEVELS, TileId, hashes_at};

const FULL: u64 = FULL_WIDTH as u64;

/// Every hash tile that a tree of `size` leaves has, level by level, each from left to right: the full ones, and the partial one at the right edge.
pub fn tiles(size: u64) -> impl Iterator<Item = TileId> {
    (0..LEVELS).flat_map(move |level| level_tiles(level, 0, hashes_at(size, level)))
}

/// Every entry bundle that a tree of `size` leaves has, from left to right.
pub fn bundles(size: u64) -> impl Iterator<Item = BundleId> {
    level_tiles(0, 0, size).map(as_bundle)
}

/// The tiles that publishing the growth from `old_size` to `new_size` leaves must create: every tile of the new tree that the old one lacks, in the order of [`tiles`].
///
/// The partial tiles of sizes in between are not among them; a log owes those only for sizes that it signed. There is none when the tree did not grow.
/// The list is as long as the growth asks (about one in 256 leaves), so this is for the writer's own sizes, not for sizes a stranger claims.
#[must_use]
pub fn new_tiles(old_size: u64, new_size: u64) -> Vec<TileId> {
    (0..LEVELS)
        .flat_map(|level| {
            level_tiles(
                level,
                hashes_at(old_size, level),
                hashes_at(new_size, level),
            )
        })
        .collect()
}

/// The entry bundles that publishing the growth from `old_size` to `new_size` leaves must create; see [`new_tiles`].
#[must_use]
pub fn new_bundles(old_size: u64, new_size: u64) -> Vec<BundleId> {
    level_tiles(0, old_size, new_size).map(as_bundle).collect()
}

/// The partial tiles at the right edge, from the lowest level to the highest; together they determine the root, see [`Edge::from_tiles`](super::Edge::from_tiles). At most eight; none for the empty tree.
#[must_use]
pub fn edge_tiles(size: u64) -> Vec<TileId> {
    (0..LEVELS)
        .filter_map(|level| edge_tile(size, level))
        .collect()
}

/// The tiles from which [`Tiles`](super::Tiles) proves that leaf `index` is in the tree of `size` leaves: at most 15, each once. None when there is no such leaf.
#[must_use]
pub fn inclusion_tiles(index: u64, size: u64) -> Vec<TileId> {
    path_tiles(index, 0, size)
}

/// The tiles from which [`Tiles`](super::Tiles) proves that the tree of `new_size` leaves starts with that of `old_size` leaves: at most 15, each once. None when the tree shrank.
#[must_use]
pub fn consistency_tiles(old_size: u64, new_size: u64) -> Vec<TileId> {
    match old_size.checked_sub(1) {
        // The proof needs no node below the old tree's last maximal perfect subtree; see `super::super::proof`.
        #[allow(clippy::cast_possible_truncation, reason = "at most 7")]
        Some(last) => path_tiles(last, (old_size.trailing_zeros() / 8) as u8, new_size),
        // Every tree starts with the empty one; only the root is to be authenticated.
        None => edge_tiles(new_size),
    }
}

/// The tiles of one level that hold any of the hashes `[old_count, new_count)`, as wide as `new_count` makes them.
fn level_tiles(level: u8, old_count: u64, new_count: u64) -> impl Iterator<Item = TileId> {
    let end = if old_count < new_count {
        new_count.div_ceil(FULL)
    } else {
        0
    };
    (old_count / FULL..end)
        .map(move |index| TileId::derived(level, index, width(new_count - index * FULL)))
}

/// The width of a tile with `hashes` hashes from its start to the right edge.
#[allow(clippy::cast_possible_truncation, reason = "at most 256")]
const fn width(hashes: u64) -> u16 {
    if hashes < FULL {
        hashes as u16
    } else {
        FULL_WIDTH
    }
}

/// "The partial tile at level *l* for a tree of size *s* has `floor(s / 256**l) mod 256` entries. Empty tiles MUST NOT be served."
pub(super) const fn edge_tile(size: u64, level: u8) -> Option<TileId> {
    let count = hashes_at(size, level);
    match count % FULL {
        0 => None,
        hashes => Some(TileId::derived(level, count / FULL, width(hashes))),
    }
}

/// The right edge, and the full tiles of `from_level` and above on the way of leaf `index` up to it.
fn path_tiles(index: u64, from_level: u8, size: u64) -> Vec<TileId> {
    if index >= size {
        return Vec::new();
    }
    let mut plan = edge_tiles(size);
    for level in from_level..LEVELS {
        let tile = hashes_at(index, level) / FULL;
        // From here on the way runs in the right edge. (Where the tree ends with a full tile, that one's hash above is at the edge in turn.)
        if tile == hashes_at(size, level) / FULL {
            break;
        }
        plan.push(TileId::derived(level, tile, FULL_WIDTH));
    }
    plan.sort_unstable();
    plan
}

const fn as_bundle(tile: TileId) -> BundleId {
    BundleId::derived(tile.index(), tile.width())
}
