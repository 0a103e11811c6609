//! Receipts: proofs under the newest checkpoint.
//!
//! The right edge is in memory; full tiles and bundles never change, so they are read once and kept, a bounded number of them. Everything is authenticated
//! against the checkpoint's root, as by any outsider: a damaged file gives an error, never a wrong receipt.

use std::collections::HashMap;
use std::hash::Hash as Key;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use protocol::merkle::leaf_hash;
use protocol::merkle::tile::{FULL_WIDTH, TileId, Tiles, decode_bundle, inclusion_tiles};
use protocol::tlog_proof::TlogProof;

use super::Published;
use super::finish::Frontier;
use crate::log::LogName;
use crate::publisher::Publisher;
use crate::read::{LogError, position, read_bundle, read_tiles};

/// Full tiles that are kept: 8 KiB each.
const TILES_MAX: usize = 2_048;

/// Bundles that are kept: 256 entries each.
const BUNDLES_MAX: usize = 256;

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
}

/// Makes receipts.
pub(super) struct Receipts {
    log: LogName,
    publisher: Arc<dyn Publisher>,
    edge: RwLock<Option<Arc<Edge>>>,
    tiles: Cache<TileId, Vec<u8>>,
    bundles: Cache<u64, Bytes>,
    /// By tree size and bundle: the authenticated tiles of the proofs for a whole bundle's entries.
    proven: Cache<(u64, u64), Tiles>,
}

impl Receipts {
    pub(super) fn new(log: LogName, publisher: Arc<dyn Publisher>) -> Self {
        Self {
            log,
            publisher,
            edge: RwLock::default(),
            tiles: Cache::new(TILES_MAX),
            bundles: Cache::new(BUNDLES_MAX),
            proven: Cache::new(BUNDLES_MAX),
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
        let Some(edge) = edge.filter(|edge| index < edge.published.end.size) else {
            return Err(ReceiptError::NotPublished(index));
        };
        let tiles = self.proven(&edge, index).await?;
        let damaged = |error: &dyn ToString| ReceiptError::Damaged(error.to_string());
        let entry = self.entry(&edge, &tiles, index).await?;
        let leaf = tiles.leaf(index).map_err(|error| damaged(&error))?;
        if leaf_hash(&entry) != leaf {
            return Err(ReceiptError::Damaged(format!(
                "entry {index} is not the one that the tree holds"
            )));
        }
        let proof = tiles
            .inclusion_proof(index)
            .map_err(|error| damaged(&error))?;
        let receipt = TlogProof::new(
            Some(entry.to_vec()),
            index,
            proof,
            edge.published.checkpoint.to_vec(),
        );
        receipt
            .map(|receipt| receipt.encode())
            .map_err(|error| damaged(&error))
    }

    /// The tiles that prove the entry and its neighbours.
    async fn proven(&self, edge: &Edge, index: u64) -> Result<Arc<Tiles>, ReceiptError> {
        let end = edge.published.end;
        let key = (end.size, index / u64::from(FULL_WIDTH));
        if let Some(tiles) = self.proven.get(&key) {
            return Ok(tiles);
        }
        let mut tiles = Vec::new();
        let mut missing = Vec::new();
        for id in inclusion_tiles(index, end.size) {
            match edge
                .tiles
                .get(&id)
                .cloned()
                .or_else(|| self.tiles.get(&id).map(|tile| tile.to_vec()))
            {
                Some(bytes) => tiles.push((id, bytes)),
                None => missing.push(id),
            }
        }
        let read = read_tiles(self.publisher.as_ref(), &self.log, missing).await?;
        tiles.extend(read.iter().cloned());
        let proven = Tiles::authenticate(end.size, &end.root, tiles)
            .map_err(|error| ReceiptError::Damaged(error.to_string()))?;
        // Only what is proven is kept.
        for (id, bytes) in read.into_iter().filter(|(id, _)| id.is_full()) {
            self.tiles.put(id, Arc::new(bytes));
        }
        let proven = Arc::new(proven);
        self.proven.put(key, Arc::clone(&proven));
        Ok(proven)
    }

    /// The entry's bytes; the caller compares them with the tree.
    async fn entry(&self, edge: &Edge, tiles: &Tiles, index: u64) -> Result<Bytes, ReceiptError> {
        let number = index / u64::from(FULL_WIDTH);
        if number == edge.published.end.size / u64::from(FULL_WIDTH) {
            let entry = edge.tail.get(position(index)).cloned();
            return entry.ok_or(ReceiptError::NotPublished(index));
        }
        let bundle = match self.bundles.get(&number) {
            Some(bundle) => bundle,
            None => {
                // Left of the edge, so it is full.
                let (id, bytes) = read_bundle(
                    self.publisher.as_ref(),
                    &self.log,
                    index,
                    edge.published.end.size,
                )
                .await?;
                let damaged = |error: &dyn ToString| ReceiptError::Damaged(error.to_string());
                let entries = decode_bundle(&bytes, FULL_WIDTH).map_err(|error| damaged(&error))?;
                let leaves = tiles.hashes(id.tile()).map_err(|error| damaged(&error))?;
                // Only what is proven is kept.
                if !entries
                    .iter()
                    .map(|entry| leaf_hash(entry))
                    .eq(leaves.iter().copied())
                {
                    return Err(ReceiptError::Damaged(format!(
                        "{} does not hold the entries of its tile",
                        id.path()
                    )));
                }
                let bundle = Arc::new(bytes);
                self.bundles.put(number, Arc::clone(&bundle));
                bundle
            }
        };
        let entries = decode_bundle(&bundle, FULL_WIDTH)
            .map_err(|error| ReceiptError::Damaged(error.to_string()))?;
        let entry = entries
            .get(position(index))
            .ok_or(ReceiptError::NotPublished(index))?;
        Ok(bundle.slice_ref(entry))
    }
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

/// A bounded cache in two generations: what was used since the last turn survives the next.
struct Cache<K, V> {
    generation_max: usize,
    generations: Mutex<Generations<K, V>>,
}

struct Generations<K, V> {
    young: HashMap<K, Arc<V>>,
    old: HashMap<K, Arc<V>>,
}

impl<K: Key + Eq + Clone, V> Cache<K, V> {
    fn new(count_max: usize) -> Self {
        let generations = Generations {
            young: HashMap::new(),
            old: HashMap::new(),
        };
        Self {
            generation_max: (count_max / 2).max(1),
            generations: Mutex::new(generations),
        }
    }

    fn get(&self, key: &K) -> Option<Arc<V>> {
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = generations.young.get(key) {
            return Some(Arc::clone(value));
        }
        let (key, value) = generations.old.remove_entry(key)?;
        self.insert(&mut generations, key, Arc::clone(&value));
        Some(value)
    }

    fn put(&self, key: K, value: Arc<V>) {
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.insert(&mut generations, key, value);
    }

    fn insert(&self, generations: &mut Generations<K, V>, key: K, value: Arc<V>) {
        if generations.young.len() >= self.generation_max {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_keeps_what_is_used_and_stays_bounded() {
        let cache = Cache::new(8);
        for key in 0..1_000_u32 {
            cache.put(key, Arc::new(key));
            assert_eq!(cache.get(&0).as_deref(), Some(&0), "{key}");
            let generations = cache.generations.lock().unwrap();
            assert!(generations.young.len() + generations.old.len() <= 8);
        }
        assert_eq!(cache.get(&1), None);
    }
}
