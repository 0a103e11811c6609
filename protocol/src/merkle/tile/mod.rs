//! Trees as static files: C2SP tlog-tiles.
//!
//! A tile holds up to 256 consecutive hashes of one level; level 0 holds leaf hashes, and each hash of level `l + 1` is the root of a *full* tile of level `l`:
//!
//! ```text
//! tile (l, n), hash i  =  MTH(D[(n * 256 + i) * 256^l : (n * 256 + i + 1) * 256^l])
//! ```
//!
//! A tree of `s` leaves has `floor(s / 256^l)` hashes at level `l`; those that do not fill a tile make the *partial* tile at its right edge. The entries themselves stand in *bundles* beside level 0.
//!
//! The right-edge partial tiles of all levels together hold exactly the hashes below the nodes of the tree's [`CompactRange`](super::CompactRange). They hence determine the root,
//! and a root authenticates them; a full tile is authenticated by its hash in the tile above. [`Tiles`] trusts no hash that is not proven in this way.

mod bundle;
mod edge;
mod id;
mod plan;
mod proven;

pub use bundle::{BUNDLE_BYTES_MAX, BundleError, ENTRY_BYTES_MAX, decode_bundle, encode_bundle};
pub use edge::Edge;
pub use id::{BundleId, IdError, TileId};
pub use plan::{
    bundles, consistency_tiles, edge_tiles, inclusion_tiles, new_bundles, new_tiles, tiles,
};
pub use proven::{TileError, Tiles};

use super::Hash;

/// The number of hashes of a full tile, and of entries of a full bundle.
pub const FULL_WIDTH: u16 = 256;

/// The number of bytes of a full tile.
pub const TILE_BYTES_MAX: usize = FULL_WIDTH as usize * Hash::LEN;

/// The number of levels of the largest tree: 256^8 = 2^64.
const LEVELS: u8 = 8;

/// `floor(size / 256^level)`: the number of hashes that a tree of `size` leaves has at `level` (below [`LEVELS`]).
const fn hashes_at(size: u64, level: u8) -> u64 {
    size >> (8 * level as u32)
}

/// The hashes of a tile, end to end.
fn to_bytes(hashes: &[Hash]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(hashes.len() * Hash::LEN);
    hashes
        .iter()
        .for_each(|hash| bytes.extend_from_slice(&hash.0));
    bytes
}

/// The position of hash `index` in its tile.
#[allow(clippy::cast_possible_truncation, reason = "at most 255")]
const fn position(index: u64) -> usize {
    (index % FULL_WIDTH as u64) as usize
}
