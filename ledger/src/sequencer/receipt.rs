//! Receipts: proofs under the newest checkpoint.
//!
//! The right edge is in memory; full tiles and bundles never change, so they are read once and kept, a bounded number of them. Everything is authenticated
//! against the checkpoint's root, as by any outsider: a damaged file gives an error, never a wrong receipt.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use protocol::merkle::tile::{FULL_WIDTH, TileId, Tiles, decode_bundle, inclusion_tiles};
use protocol::merkle::{Hash, leaf_hash, node_hash, verify_inclusion};
use protocol::tlog_proof::TlogProof;

use super::Published;
use super::finish::Frontier;
use crate::batch::End;
use crate::cache::Cache;
use crate::log::LogName;
use crate::publisher::Publisher;
use crate::read::{LogError, position, read_bundle, read_tiles};

/// The entries of a full bundle, and the hashes of a full tile.
const FULL: u64 = FULL_WIDTH as u64;

/// Full tiles that are kept: 8 KiB each.
const TILES_MAX: usize = 2_048;

/// Bundles that are kept: 256 entries each, with 16 KiB of hashes.
const BLOCKS_MAX: usize = 256;

/// Why there is no receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The published log has no such entry.
    #[error("the published log has no entry {0}")]
    NotPublished(u64),
    /// The files could not be read now.
    #[error("the files for this receipt could not be read now ({0}); try again")]
    Unavailable(String),
    /// The published files do not prove it.
    #[error("the published files do not prove this entry: {0}")]
    Damaged(String),
}

/// The newest checkpoint, with what is not in full tiles and bundles.
pub(super) struct Edge {
    published: Published,
    tiles: HashMap<TileId, Vec<u8>>,
    tail: Vec<Bytes>,
}

impl Edge {
    pub(super) fn new(published: &Published, frontier: &Frontier) -> Self {
        Self {
            published: published.clone(),
            tiles: frontier.edge_files(),
            tail: frontier.tail().to_vec(),
        }
    }

    const fn end(&self) -> End {
        self.published.end
    }
}

/// A full bundle with the tree over it: all of a receipt that never changes.
struct Block {
    bundle: Bytes,
    /// Where each entry stands in the bundle.
    entries: Vec<Range<usize>>,
    /// The 256 leaf hashes, then the 128 nodes above them, and so on up to the 2 below the tile's root.
    levels: Vec<Vec<Hash>>,
}

impl Block {
    /// Only what is proven is kept: the entries must be those of the authenticated tile.
    fn new(bundle: Bytes, leaves: &[Hash]) -> Result<Self, String> {
        let slices = decode_bundle(&bundle, FULL_WIDTH).map_err(|error| error.to_string())?;
        if !slices
            .iter()
            .map(|entry| leaf_hash(entry))
            .eq(leaves.iter().copied())
        {
            return Err("a bundle does not hold the entries of its tile".to_owned());
        }
        let mut at = 0;
        let entries = slices
            .iter()
            .map(|entry| {
                let start = at + 2;
                at = start + entry.len();
                start..at
            })
            .collect();
        let mut levels = vec![leaves.to_vec()];
        while let Some(below) = levels.last().filter(|below| below.len() > 2) {
            let (pairs, _) = below.as_chunks();
            levels.push(
                pairs
                    .iter()
                    .map(|[left, right]| node_hash(left, right))
                    .collect(),
            );
        }
        Ok(Self {
            bundle,
            entries,
            levels,
        })
    }

    fn entry(&self, position: usize) -> Option<&[u8]> {
        self.bundle.get(self.entries.get(position)?.clone())
    }

    /// The siblings on the way from a leaf up to the tile's root.
    fn siblings(&self, position: usize) -> impl Iterator<Item = Hash> {
        let levels = self.levels.iter().enumerate();
        levels.filter_map(move |(height, nodes)| nodes.get((position >> height) ^ 1).copied())
    }
}

/// Makes receipts.
pub(super) struct Receipts {
    log: LogName,
    publisher: Arc<dyn Publisher>,
    edge: RwLock<Option<Arc<Edge>>>,
    /// Full tiles.
    tiles: Cache<TileId, Vec<u8>>,
    /// By number: full bundles.
    blocks: Cache<u64, Block>,
    /// By tree size and bundle number: the rest of the proof, from a full tile's root up to the tree's.
    above: Cache<(u64, u64), Vec<Hash>>,
}

impl Receipts {
    pub(super) fn new(log: LogName, publisher: Arc<dyn Publisher>) -> Self {
        Self {
            log,
            publisher,
            edge: RwLock::default(),
            tiles: Cache::new(TILES_MAX),
            blocks: Cache::new(BLOCKS_MAX),
            above: Cache::new(TILES_MAX),
        }
    }

    /// From now on, receipts are under this checkpoint.
    pub(super) fn show(&self, edge: Edge) {
        *self.edge.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(edge));
    }

    pub(super) async fn receipt(&self, index: u64) -> Result<Vec<u8>, ReceiptError> {
        let edge = self
            .edge
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(edge) = edge.filter(|edge| index < edge.end().size) else {
            return Err(ReceiptError::NotPublished(index));
        };
        let (entry, proof) = if index / FULL < edge.end().size / FULL {
            self.in_full_tile(&edge, index).await?
        } else {
            self.at_the_edge(&edge, index).await?
        };
        // In pairs: whatever was kept and put together above, no receipt leaves that its holder cannot verify.
        let end = edge.end();
        verify_inclusion(&leaf_hash(&entry), index, end.size, &proof, &end.root)
            .map_err(|error| damaged(&error))?;
        let checkpoint = edge.published.checkpoint.to_vec();
        let receipt = TlogProof::new(Some(entry), index, proof, checkpoint);
        receipt
            .map(|receipt| receipt.encode())
            .map_err(|error| damaged(&error))
    }

    /// An entry of a full bundle, and its proof. Everybody in a bundle shares the way from its tile's root upwards.
    async fn in_full_tile(
        &self,
        edge: &Edge,
        index: u64,
    ) -> Result<(Vec<u8>, Vec<Hash>), ReceiptError> {
        let number = index / FULL;
        let key = (edge.end().size, number);
        let (block, above) = match (self.blocks.get(&number), self.above.get(&key)) {
            (Some(block), Some(above)) => (block, above),
            (block, _) => {
                let tiles = self.tiles(edge, index).await?;
                let block = match block {
                    Some(block) => block,
                    None => self.block(edge, index, &tiles).await?,
                };
                let proof = tiles
                    .inclusion_proof(index)
                    .map_err(|error| damaged(&error))?;
                let above = Arc::new(proof.get(block.levels.len()..).unwrap_or_default().to_vec());
                self.above.put(key, Arc::clone(&above));
                (block, above)
            }
        };
        let position = position(index);
        let entry = block
            .entry(position)
            .ok_or(ReceiptError::NotPublished(index))?;
        let proof = block
            .siblings(position)
            .chain(above.iter().copied())
            .collect();
        Ok((entry.to_vec(), proof))
    }

    /// Reads a full bundle.
    async fn block(
        &self,
        edge: &Edge,
        index: u64,
        tiles: &Tiles,
    ) -> Result<Arc<Block>, ReceiptError> {
        let reader = self.publisher.as_ref();
        let (id, bytes) = read_bundle(reader, &self.log, index, edge.end().size).await?;
        let leaves = tiles.hashes(id.tile()).map_err(|error| damaged(&error))?;
        let block = Arc::new(Block::new(bytes, leaves).map_err(ReceiptError::Damaged)?);
        self.blocks.put(index / FULL, Arc::clone(&block));
        Ok(block)
    }

    /// An entry of the bundle that is not full yet, and its proof.
    async fn at_the_edge(
        &self,
        edge: &Edge,
        index: u64,
    ) -> Result<(Vec<u8>, Vec<Hash>), ReceiptError> {
        let tiles = self.tiles(edge, index).await?;
        let proof = tiles
            .inclusion_proof(index)
            .map_err(|error| damaged(&error))?;
        let entry = edge
            .tail
            .get(position(index))
            .ok_or(ReceiptError::NotPublished(index))?;
        Ok((entry.to_vec(), proof))
    }

    /// The tiles that prove the entry and its neighbours, authenticated.
    async fn tiles(&self, edge: &Edge, index: u64) -> Result<Tiles, ReceiptError> {
        let end = edge.end();
        let mut tiles = Vec::new();
        let mut missing = Vec::new();
        for id in inclusion_tiles(index, end.size) {
            let kept = || self.tiles.get(&id).map(|tile| tile.to_vec());
            match edge.tiles.get(&id).cloned().or_else(kept) {
                Some(bytes) => tiles.push((id, bytes)),
                None => missing.push(id),
            }
        }
        let read = read_tiles(self.publisher.as_ref(), &self.log, missing).await?;
        tiles.extend(read.iter().cloned());
        let proven =
            Tiles::authenticate(end.size, &end.root, tiles).map_err(|error| damaged(&error))?;
        // Only what is proven is kept.
        for (id, bytes) in read.into_iter().filter(|(id, _)| id.is_full()) {
            self.tiles.put(id, Arc::new(bytes));
        }
        Ok(proven)
    }
}

fn damaged(error: &dyn ToString) -> ReceiptError {
    ReceiptError::Damaged(error.to_string())
}

impl From<LogError> for ReceiptError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Read(error) => Self::Unavailable(error.to_string()),
            LogError::NoSuchEntry(index) => Self::NotPublished(index),
            error => Self::Damaged(error.to_string()),
        }
    }
}
