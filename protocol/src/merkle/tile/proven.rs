//! The reader's side: tiles that are proven to belong to a tree, and proofs made from them.

use std::collections::BTreeMap;

use super::edge::{edge_root, subtree_root};
use super::plan::{edge_tile, edge_tiles};
use super::{FULL_WIDTH, LEVELS, TileId, hashes_at, position};
use crate::merkle::{Hash, empty_root, node_hash, split};

/// Tiles of one tree, each hash of which is proven to belong to the tree of this size and root.
#[derive(Clone, Debug)]
pub struct Tiles {
    size: u64,
    /// By level and index.
    proven: BTreeMap<(u8, u64), Vec<Hash>>,
}

impl Tiles {
    /// Takes tiles of the tree of `size` leaves with this `root`, and proves every hash of every one of them: the right-edge partial tiles make the root, and each full tile makes its hash in the tile above.
    ///
    /// So the tiles must include the whole right edge ([`edge_tiles`]) and, for each full tile, the one above it. [`inclusion_tiles`](super::inclusion_tiles) and
    /// [`consistency_tiles`](super::consistency_tiles) name complete sets, and so does the union of several sets for the same tree.
    /// Where a partial tile is gone, fetch [`TileId::full`] and cut it with [`TileId::truncate`].
    ///
    /// # Errors
    ///
    /// When a tile is missing, given twice, of the wrong length or not of a tree of this size, or its hashes are not those of the tree with this root.
    /// The right edge is proven as a whole: when it does not make the root, no single tile can be named.
    pub fn authenticate(
        size: u64,
        root: &Hash,
        tiles: impl IntoIterator<Item = (TileId, Vec<u8>)>,
    ) -> Result<Self, TileError> {
        let mut given = BTreeMap::new();
        for (id, bytes) in tiles {
            if !is_of_tree(id, size) {
                return Err(TileError::NotOfThisTree { tile: id, size });
            }
            let hashes = parse_tile(id, &bytes)?;
            // The tree's size fixes the width, so level and index say it all.
            if given.insert((id.level(), id.index()), hashes).is_some() {
                return Err(TileError::Twice { tile: id });
            }
        }

        let mut proven = BTreeMap::new();
        let mut edge: [Vec<Hash>; LEVELS as usize] = Default::default();
        for id in edge_tiles(size) {
            let hashes = given
                .remove(&(id.level(), id.index()))
                .ok_or(TileError::Missing { tile: id })?;
            if let Some(slot) = edge.get_mut(usize::from(id.level())) {
                slot.clone_from(&hashes);
            }
            proven.insert((id.level(), id.index()), hashes);
        }
        // The size fixes which subtree each hash of the edge stands for, so only the tree's own hashes make its root.
        if edge_root(&edge) != *root {
            return Err(TileError::Root { size });
        }

        // What is left are full tiles. Highest level first: the tile above is proven before what it proves.
        for ((level, index), hashes) in given.into_iter().rev() {
            let tile = TileId::derived(level, index, FULL_WIDTH);
            let parent = (level + 1, index / u64::from(FULL_WIDTH));
            let above = proven.get(&parent).ok_or(TileError::Missing {
                tile: tile_of_tree(parent.0, parent.1, size),
            })?;
            if subtree_root(&hashes).as_ref() != above.get(position(index)) {
                return Err(TileError::Forged { tile });
            }
            proven.insert((level, index), hashes);
        }
        Ok(Self { size, proven })
    }

    /// The tree's size.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hash of leaf `index`.
    ///
    /// # Errors
    ///
    /// When the tree has no such leaf, or the tile that holds it was not given.
    pub fn leaf(&self, index: u64) -> Result<Hash, TileError> {
        if index >= self.size {
            return Err(TileError::NoSuchLeaf {
                index,
                size: self.size,
            });
        }
        self.perfect(0, index)
    }

    /// The hashes of a tile that was given.
    ///
    /// # Errors
    ///
    /// When it was not given, or is narrower than asked for.
    pub fn hashes(&self, tile: TileId) -> Result<&[Hash], TileError> {
        let hashes = self
            .proven
            .get(&(tile.level(), tile.index()))
            .and_then(|hashes| hashes.get(..usize::from(tile.width())));
        hashes.ok_or(TileError::Missing { tile })
    }

    /// The root of the tree as it was at `old_size` leaves.
    ///
    /// # Errors
    ///
    /// When the tree is smaller, or a tile of [`consistency_tiles`](super::consistency_tiles) was not given.
    pub fn root_at(&self, old_size: u64) -> Result<Hash, TileError> {
        self.check_not_larger(old_size)?;
        if old_size == 0 {
            Ok(empty_root())
        } else {
            self.range_root(0, old_size)
        }
    }

    /// The proof that leaf `index` is in the tree: `PATH(index, D[size])` of RFC 6962, section 2.1.1, from the leaf's sibling up to the root's child.
    ///
    /// # Errors
    ///
    /// When the tree has no such leaf, or a tile of [`inclusion_tiles`](super::inclusion_tiles) was not given.
    pub fn inclusion_proof(&self, index: u64) -> Result<Vec<Hash>, TileError> {
        if index >= self.size {
            return Err(TileError::NoSuchLeaf {
                index,
                size: self.size,
            });
        }
        let mut proof = Vec::new();
        let (mut start, mut end) = (0, self.size);
        while end - start > 1 {
            let middle = start + split(end - start);
            if index < middle {
                proof.push(self.range_root(middle, end)?);
                end = middle;
            } else {
                proof.push(self.range_root(start, middle)?);
                start = middle;
            }
        }
        // The way down met the root's child first.
        proof.reverse();
        Ok(proof)
    }

    /// The proof that the tree starts with that of `old_size` leaves: `PROOF(old_size, D[size])` of RFC 6962, section 2.1.2. Empty for the empty tree and for the tree itself.
    ///
    /// # Errors
    ///
    /// When the tree is smaller, or a tile of [`consistency_tiles`](super::consistency_tiles) was not given.
    pub fn consistency_proof(&self, old_size: u64) -> Result<Vec<Hash>, TileError> {
        self.check_not_larger(old_size)?;
        if old_size == 0 {
            return Ok(Vec::new());
        }
        let mut proof = Vec::new();
        let (mut start, mut end) = (0, self.size);
        while old_size != end {
            let middle = start + split(end - start);
            if old_size <= middle {
                proof.push(self.range_root(middle, end)?);
                end = middle;
            } else {
                proof.push(self.range_root(start, middle)?);
                start = middle;
            }
        }
        // RFC 6962's `b`: what is left is the whole old tree, whose root the verifier has, or else its last subtree.
        if start > 0 {
            proof.push(self.range_root(start, end)?);
        }
        proof.reverse();
        Ok(proof)
    }

    /// `MTH(D[start:end])`, for a range that occurs in the recursion of RFC 6962, section 2.1: `start` is a multiple of the smallest power of two not below its length.
    fn range_root(&self, start: u64, end: u64) -> Result<Hash, TileError> {
        let len = end - start;
        if len.is_power_of_two() {
            return self.perfect(len.trailing_zeros(), start >> len.trailing_zeros());
        }
        // Each call halves the length at least: at most 64 deep, and the left part is perfect.
        let middle = start + split(len);
        Ok(node_hash(
            &self.range_root(start, middle)?,
            &self.range_root(middle, end)?,
        ))
    }

    /// The root of the perfect subtree of `2^height` leaves with this index among its like, from the one tile that spans it.
    fn perfect(&self, height: u32, index: u64) -> Result<Hash, TileError> {
        #[allow(clippy::cast_possible_truncation, reason = "heights are below 64")]
        let level = (height / 8) as u8;
        let within = height % 8;
        let first = index << within;
        let tile = (level, first / u64::from(FULL_WIDTH));
        let missing = || TileError::Missing {
            tile: tile_of_tree(tile.0, tile.1, self.size),
        };
        let hashes = self.proven.get(&tile).ok_or_else(missing)?;
        let span = hashes
            .get(position(first)..)
            .and_then(|rest| rest.get(..1 << within))
            .ok_or_else(missing)?;
        subtree_root(span).ok_or_else(missing)
    }

    const fn check_not_larger(&self, old_size: u64) -> Result<(), TileError> {
        if old_size > self.size {
            Err(TileError::Shrunk {
                old_size,
                size: self.size,
            })
        } else {
            Ok(())
        }
    }
}

/// Whether a tree of `size` leaves has this tile at this very width.
fn is_of_tree(id: TileId, size: u64) -> bool {
    if id.is_full() {
        id.index() < hashes_at(size, id.level()) / u64::from(FULL_WIDTH)
    } else {
        edge_tile(size, id.level()) == Some(id)
    }
}

/// The tile at this place as wide as a tree of `size` leaves has it.
fn tile_of_tree(level: u8, index: u64, size: u64) -> TileId {
    edge_tile(size, level)
        .filter(|edge| edge.index() == index)
        .unwrap_or_else(|| TileId::derived(level, index, FULL_WIDTH))
}

/// Splits the bytes of a tile into its hashes.
pub(super) fn parse_tile(tile: TileId, bytes: &[u8]) -> Result<Vec<Hash>, TileError> {
    if bytes.len() != tile.byte_len() {
        return Err(TileError::Length {
            tile,
            got: bytes.len(),
        });
    }
    let (hashes, _) = bytes.as_chunks();
    Ok(hashes.iter().copied().map(Hash).collect())
}

/// Why tiles are not what they are said to be, or do not prove what is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// A tile has another length than its width asks for.
    #[error("{tile} should have {} bytes and has {got}: it was cut off, or is another tile", tile.byte_len())]
    Length {
        /// The tile.
        tile: TileId,
        /// Its number of bytes.
        got: usize,
    },
    /// No tree of this size has this tile at this width.
    #[error(
        "a tree of {size} leaves has no {tile}: only the tiles of this very size can be proven"
    )]
    NotOfThisTree {
        /// The tile.
        tile: TileId,
        /// The tree's size.
        size: u64,
    },
    /// A tile was given twice.
    #[error("{tile} was given twice")]
    Twice {
        /// The tile.
        tile: TileId,
    },
    /// A tile is needed and was not given.
    #[error("{tile} is needed and was not given: fetch it, or the full tile at its place")]
    Missing {
        /// The tile.
        tile: TileId,
    },
    /// The hashes of a full tile are not those of the tree.
    #[error(
        "{tile} is not the tree's: its hashes do not make its hash in the tile above, so it is damaged or forged"
    )]
    Forged {
        /// The tile.
        tile: TileId,
    },
    /// The right edge does not make the root.
    #[error(
        "the right-edge tiles of {size} leaves do not make the root: at least one of them is damaged or forged, or they are of another tree"
    )]
    Root {
        /// The tree's size.
        size: u64,
    },
    /// The tree is beyond any log.
    #[error("a tree of {size} leaves is beyond any log (sizes lie below 2^63)")]
    Size {
        /// The size.
        size: u64,
    },
    /// The leaf lies outside the tree.
    #[error("there is no leaf {index} in a tree of {size} leaves")]
    NoSuchLeaf {
        /// The leaf's index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The newer tree is the smaller one.
    #[error("a tree of {size} leaves cannot start with one of {old_size}: a log only grows")]
    Shrunk {
        /// The older tree's size.
        old_size: u64,
        /// The newer tree's size.
        size: u64,
    },
}
