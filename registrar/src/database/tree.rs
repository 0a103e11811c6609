//! Places on the roll. The roll never changes, so what was read of its tree and proven is kept, a bounded number of stretches of it: reading and proving the same tiles for each voter anew was
//! a third of what an issuance cost.

use std::sync::Arc;

use ledger::cache::Cache;
use protocol::merkle::tile::{FULL_WIDTH, TileId, Tiles, inclusion_tiles};
use protocol::merkle::{Hash, node_hash, verify_inclusion};

use super::DatabaseError;

/// Leaves of a full tile.
const FULL: u64 = FULL_WIDTH as u64;
/// Stretches that are kept, of 256 voters and 16 KiB each.
const STRETCHES_MAX: usize = 2_048;
/// Tiles above the lowest that are kept, of 8 KiB each: those over 65,536 voters and more.
const UPPER_MAX: usize = 1_024;

/// The roll's tree, under the manifest's root.
pub(super) struct Tree {
    size: u64,
    root: Hash,
    stretches: Cache<u64, Stretch>,
    upper: Cache<TileId, Vec<u8>>,
}

/// The voters of one tile, proven.
enum Stretch {
    /// A full tile.
    Full {
        /// The 256 leaf hashes, then the 128 nodes above them, and so on up to the 2 below the tile's root.
        levels: Vec<Vec<Hash>>,
        /// From the tile's root up to the tree's: the same for all.
        above: Vec<Hash>,
    },
    /// The last one, where the tree is not even.
    Last(Tiles),
}

impl Tree {
    pub(super) fn new(size: u64, root: Hash) -> Self {
        Self {
            size,
            root,
            stretches: Cache::new(STRETCHES_MAX),
            upper: Cache::new(UPPER_MAX),
        }
    }

    /// The way from a voter's leaf up to the root. `read` reads a tile by its path.
    pub(super) async fn proof<R: Future<Output = Result<Vec<u8>, DatabaseError>>>(
        &self,
        index: u64,
        read: impl Fn(String) -> R,
    ) -> Result<Vec<Hash>, DatabaseError> {
        let stretch = match self.stretches.get(&(index / FULL)) {
            Some(stretch) => stretch,
            None => {
                let stretch = Arc::new(self.stretch(index, read).await?);
                self.stretches.put(index / FULL, Arc::clone(&stretch));
                stretch
            }
        };
        let (leaf, proof) = stretch.proof(index)?;
        // In pairs: whatever was kept and put together, no proof leaves that its holder cannot verify.
        verify_inclusion(&leaf, index, self.size, &proof, &self.root)
            .map_err(|_| DatabaseError::Row)?;
        Ok(proof)
    }

    async fn stretch<R: Future<Output = Result<Vec<u8>, DatabaseError>>>(
        &self,
        index: u64,
        read: impl Fn(String) -> R,
    ) -> Result<Stretch, DatabaseError> {
        let mut tiles = Vec::new();
        let mut fresh = Vec::new();
        for id in inclusion_tiles(index, self.size) {
            let bytes = match self.upper.get(&id) {
                Some(kept) => kept.to_vec(),
                None => {
                    let bytes = read(id.path()).await?;
                    if id.level() > 0 {
                        fresh.push((id, bytes.clone()));
                    }
                    bytes
                }
            };
            tiles.push((id, bytes));
        }
        let tiles = Tiles::authenticate(self.size, &self.root, tiles)?;
        // Only what is proven is kept.
        for (id, bytes) in fresh {
            self.upper.put(id, Arc::new(bytes));
        }
        let full = TileId::new(0, index / FULL, FULL_WIDTH).map_err(|_| DatabaseError::Row)?;
        if (index / FULL + 1) * FULL > self.size {
            return Ok(Stretch::Last(tiles));
        }
        let mut levels = vec![tiles.hashes(full)?.to_vec()];
        while let Some(below) = levels.last().filter(|below| below.len() > 2) {
            let (pairs, _) = below.as_chunks();
            let nodes = pairs.iter().map(|[left, right]| node_hash(left, right));
            levels.push(nodes.collect());
        }
        let proof = tiles.inclusion_proof(index)?;
        let above = proof.get(levels.len()..).unwrap_or_default().to_vec();
        Ok(Stretch::Full { levels, above })
    }
}

impl Stretch {
    /// A voter's leaf, and the way from there up to the tree's root.
    fn proof(&self, index: u64) -> Result<(Hash, Vec<Hash>), DatabaseError> {
        match self {
            Self::Last(tiles) => Ok((tiles.leaf(index)?, tiles.inclusion_proof(index)?)),
            Self::Full { levels, above } => {
                let position = usize::try_from(index % FULL).map_err(|_| DatabaseError::Row)?;
                let leaf = levels.first().and_then(|leaves| leaves.get(position));
                let siblings = levels
                    .iter()
                    .enumerate()
                    .filter_map(|(height, nodes)| nodes.get((position >> height) ^ 1).copied());
                let proof = siblings.chain(above.iter().copied()).collect();
                Ok((*leaf.ok_or(DatabaseError::Row)?, proof))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use protocol::merkle::leaf_hash;
    use protocol::merkle::tile::Edge;

    use super::*;

    #[tokio::test]
    async fn every_voters_proof_verifies_and_tiles_are_read_once() {
        for size in [1, 2, 255, 256, 257, 512, 700, 66_000] {
            let leaves: Vec<Hash> = (0..size)
                .map(|n: u64| leaf_hash(&n.to_be_bytes()))
                .collect();
            let edge = Edge::from_leaves(leaves.iter().copied());
            let tiles: std::collections::HashMap<String, Vec<u8>> = {
                let mut all = Edge::new();
                for leaf in &leaves {
                    all.push(*leaf);
                }
                let new = all.take_new();
                new.into_iter()
                    .map(|(id, bytes)| (id.path(), bytes))
                    .collect()
            };
            let tree = Tree::new(size, edge.root());
            let reads = Cell::new(0);
            let read = |path: String| {
                reads.set(reads.get() + 1);
                std::future::ready(Ok(tiles[&path].clone()))
            };
            for round in 0..2 {
                let before = reads.get();
                for index in (0..size).step_by(if size > 1_000 { 97 } else { 1 }) {
                    let proof = tree.proof(index, read).await.unwrap();
                    let leaf = &leaves[usize::try_from(index).unwrap()];
                    verify_inclusion(leaf, index, size, &proof, &edge.root()).unwrap();
                }
                assert!(round == 0 || reads.get() == before, "{size}");
            }
            // Those at the right edge prove more than their own stretch.
            assert!(reads.get() <= 2 * tiles.len(), "{size}: {}", reads.get());
        }
    }

    #[tokio::test]
    async fn what_is_not_the_rolls_is_neither_used_nor_kept() {
        let leaves = (0..600u64).map(|n| leaf_hash(&n.to_be_bytes()));
        let mut edge = Edge::from_leaves(leaves);
        let tree = Tree::new(600, edge.root());
        let tiles: std::collections::HashMap<String, Vec<u8>> = edge
            .take_new()
            .into_iter()
            .map(|(id, bytes)| (id.path(), bytes))
            .collect();
        for harmed in tiles.keys() {
            let whole = |path: String| std::future::ready(Ok(tiles[&path].clone()));
            let read = |path: String| {
                let mut bytes = tiles[&path].clone();
                bytes[40] ^= u8::from(path == *harmed);
                std::future::ready(Ok(bytes))
            };
            // Behind whichever tile is harmed there is a voter who notices.
            let mut noticed = false;
            for index in [0, 256, 599] {
                let fresh = Tree::new(600, tree.root);
                noticed |= fresh.proof(index, read).await.is_err();
                assert!(fresh.proof(index, whole).await.is_ok());
            }
            assert!(noticed, "{harmed}");
        }
    }
}
