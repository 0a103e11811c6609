//! The writer's side: the tiles that are still being filled.

use std::collections::BTreeMap;

use super::plan::{edge_tile, edge_tiles, new_tiles};
use super::proven::{TileError, parse_tile};
use super::{FULL_WIDTH, LEVELS, TileId, to_bytes};
use crate::merkle::{CompactRange, Hash, empty_root, range::fold_right};

/// A growing tree as its writer holds it: the hashes of the right-edge partial tile of each level (at most 8 × 255), and the tiles completed since they were last taken.
///
/// To publish: [`Edge::push`] a batch's leaf hashes, create the tiles that [`Edge::take_new`] returns, sign [`Edge::root`].
/// After a restart, [`Edge::from_tiles`] restores it from the published right-edge tiles, or [`Edge::from_leaves`] from all leaf hashes.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    range: CompactRange,
    /// For each level, the hashes of the tile that is being filled; fewer than 256.
    filling: [Vec<Hash>; LEVELS as usize],
    /// Full tiles, completed since the last take, by level and index.
    completed: BTreeMap<(u8, u64), Vec<Hash>>,
    /// The size at the last take.
    taken_at: u64,
}

impl Edge {
    /// The empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Restores the edge of a tree of `size` leaves from the tiles that [`edge_tiles`] names, authenticated against its `root`. They count as taken.
    ///
    /// # Errors
    ///
    /// When a tile is missing, superfluous, given twice or of the wrong length, or the tiles do not make this root.
    pub fn from_tiles(
        size: u64,
        root: &Hash,
        tiles: impl IntoIterator<Item = (TileId, Vec<u8>)>,
    ) -> Result<Self, TileError> {
        let mut filling: [Vec<Hash>; LEVELS as usize] = Default::default();
        for (id, bytes) in tiles {
            let slot = match filling.get_mut(usize::from(id.level())) {
                Some(slot) if edge_tile(size, id.level()) == Some(id) => slot,
                _ => return Err(TileError::NotOfThisTree { tile: id, size }),
            };
            if !slot.is_empty() {
                return Err(TileError::Twice { tile: id });
            }
            *slot = parse_tile(id, &bytes)?;
        }
        if let Some(tile) = edge_tiles(size).into_iter().find(|id| {
            filling
                .get(usize::from(id.level()))
                .is_none_or(Vec::is_empty)
        }) {
            return Err(TileError::Missing { tile });
        }
        // A log of 2^63 leaves or more is nobody's; see `CompactRange::from_nodes`.
        let range = CompactRange::from_nodes(size, edge_nodes(&filling))
            .map_err(|_| TileError::Size { size })?;
        if range.root() != *root {
            return Err(TileError::Root { size });
        }
        Ok(Self {
            range,
            filling,
            completed: BTreeMap::new(),
            taken_at: size,
        })
    }

    /// Rebuilds the edge from the hashes of all leaves, in order. All tiles count as taken.
    pub fn from_leaves(leaves: impl IntoIterator<Item = Hash>) -> Self {
        let mut edge = Self::new();
        for leaf in leaves {
            edge.push(leaf);
            // Tiles of the past are published already; holding them all would take as much memory as the tree.
            edge.completed.clear();
        }
        edge.taken_at = edge.size();
        edge
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.range.size()
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.range.root()
    }

    /// The right edge as a compact range.
    #[must_use]
    pub const fn range(&self) -> &CompactRange {
        &self.range
    }

    /// Appends the leaf with this hash.
    pub fn push(&mut self, leaf: Hash) {
        let index = self.range.size();
        let Self {
            range,
            filling,
            completed,
            ..
        } = self;
        range.push_visiting(leaf, |height, node| {
            // The subtrees of 256^l leaves are the hashes of level l.
            if height % 8 != 0 {
                return;
            }
            // Heights stay below 64, so there is such a level.
            let Ok(level) = u8::try_from(height / 8) else {
                return;
            };
            let Some(hashes) = filling.get_mut(usize::from(level)) else {
                return;
            };
            hashes.push(node);
            if hashes.len() == usize::from(FULL_WIDTH) {
                completed.insert(
                    (level, index >> (height + 8).min(63)),
                    std::mem::take(hashes),
                );
            }
        });
    }

    /// The bytes of a tile on the edge, or of one completed since the last take; also of a narrower tile at the same place. `None` for every other tile.
    #[must_use]
    pub fn tile(&self, id: &TileId) -> Option<Vec<u8>> {
        let hashes = match self.completed.get(&(id.level(), id.index())) {
            Some(hashes) => hashes,
            None if edge_tile(self.size(), id.level())?.index() == id.index() => {
                self.filling.get(usize::from(id.level()))?
            }
            None => return None,
        };
        hashes.get(..usize::from(id.width())).map(to_bytes)
    }

    /// Takes the full tiles completed since the last take, in the order of [`tiles`](super::tiles), and forgets them.
    ///
    /// This is for writers that ask for tiles by name with [`Edge::tile`]. It counts as a take for [`Edge::take_new`], which then leaves out partial tiles of this size.
    pub fn take_completed(&mut self) -> Vec<(TileId, Vec<u8>)> {
        self.taken_at = self.size();
        let completed = std::mem::take(&mut self.completed);
        completed
            .into_iter()
            .map(|((level, index), hashes)| {
                (TileId::derived(level, index, FULL_WIDTH), to_bytes(&hashes))
            })
            .collect()
    }

    /// Takes every tile that publishing the growth since the last take must create: those of [`new_tiles`], partial ones included, with their bytes.
    pub fn take_new(&mut self) -> Vec<(TileId, Vec<u8>)> {
        let new = new_tiles(self.taken_at, self.size());
        let tiles = new
            .into_iter()
            .filter_map(|id| self.tile(&id).map(|bytes| (id, bytes)))
            .collect();
        self.completed.clear();
        self.taken_at = self.size();
        tiles
    }
}

/// The root that the right-edge partial tiles, by level, make.
pub(super) fn edge_root(filling: &[Vec<Hash>; LEVELS as usize]) -> Hash {
    fold_right(&edge_nodes(filling)).unwrap_or_else(empty_root)
}

/// The nodes of the compact range whose right-edge partial tiles, by level, these are: a partial tile of width `w` holds one maximal perfect subtree for each 1 bit of `w`.
fn edge_nodes(filling: &[Vec<Hash>; LEVELS as usize]) -> Vec<Hash> {
    filling
        .iter()
        .rev()
        .flat_map(|hashes| {
            let mut range = CompactRange::new();
            hashes.iter().for_each(|hash| range.push(*hash));
            range.nodes().to_vec()
        })
        .collect()
}

/// The root of the perfect subtree over these hashes (a power of two of them), or of the tile they fill. `None` for no hashes.
pub(super) fn subtree_root(hashes: &[Hash]) -> Option<Hash> {
    if hashes.is_empty() {
        return None;
    }
    let mut range = CompactRange::new();
    hashes.iter().for_each(|hash| range.push(*hash));
    Some(range.root())
}
