//! Steps 6: from `batches/<n>` to a checkpoint that everybody can see.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use protocol::checkpoint::Checkpoint;
use protocol::merkle::CompactRange;
use protocol::merkle::tile::{BundleId, Edge, FULL_WIDTH, TileId, encode_bundle};
use signer::{Checked, SignError, Signer as _};

use super::retry::{Backoff, Persistent, Stop};
use super::{Config, Published};
use crate::batch::{Batch, End};
use crate::publisher::{CHECKPOINT_BYTES_MAX, Creation, Move};

/// The most files on their way to the publisher at once.
const UPLOADS_MAX: usize = 16;

/// The published tree's right edge, and what stands there: all that publishing more depends on.
#[derive(Clone)]
pub(super) struct Frontier {
    edge: Edge,
    /// The entries of the bundle that is not full yet.
    tail: Vec<Bytes>,
}

impl Frontier {
    pub(super) fn new() -> Self {
        Self {
            edge: Edge::new(),
            tail: Vec::new(),
        }
    }

    pub(super) fn end(&self) -> End {
        End::from(self.edge.range())
    }

    /// The tree at the edge.
    pub(super) fn range(&self) -> CompactRange {
        self.edge.range().clone()
    }

    /// Moves past a batch whose tiles and bundles are published already.
    pub(super) fn skip(&mut self, batch: &Batch) {
        // What it returns is what there is to publish.
        let _ = self.push(batch);
        let _ = self.edge.take_new();
    }

    /// Adds a batch, and returns the bundles that it completes.
    fn push(&mut self, batch: &Batch) -> Vec<(String, Bytes)> {
        let mut full = Vec::new();
        let mut index = self.edge.size();
        for (entry, leaf) in batch.entries().into_iter().zip(batch.leaves()) {
            self.edge.push(*leaf);
            self.tail.push(entry);
            index += 1;
            if self.tail.len() == usize::from(FULL_WIDTH) {
                full.extend(bundle(index, &self.tail));
                self.tail.clear();
            }
        }
        // The tail outlives the batch: it must not keep the whole of it in memory.
        for entry in &mut self.tail {
            *entry = Bytes::copy_from_slice(entry);
        }
        full
    }

    /// The files at the right edge that a proof under this very end needs.
    pub(super) fn edge_files(&self) -> HashMap<TileId, Vec<u8>> {
        let ids = protocol::merkle::tile::edge_tiles(self.edge.size());
        ids.into_iter()
            .filter_map(|id| Some((id, self.edge.tile(&id)?)))
            .collect()
    }

    /// The entries of the bundle that is not full yet.
    pub(super) fn tail(&self) -> &[Bytes] {
        &self.tail
    }
}

/// The bundle of these entries, the last of which is the one before `end_index`.
fn bundle(end_index: u64, entries: &[Bytes]) -> Option<(String, Bytes)> {
    let width = u16::try_from(entries.len()).ok()?;
    let index = end_index.checked_sub(1)? / u64::from(FULL_WIDTH);
    let id = BundleId::new(index, width).ok()?;
    let bytes = encode_bundle(entries.iter().map(AsRef::as_ref)).ok()?;
    Some((id.path(), bytes.into()))
}

/// Publishes checkpoints.
pub(super) struct Finisher<'a> {
    config: &'a Config,
    files: Persistent<'a>,
    signer: &'a Checked,
    pub(super) frontier: Frontier,
    pub(super) published: Published,
}

impl<'a> Finisher<'a> {
    pub(super) const fn new(
        config: &'a Config,
        files: Persistent<'a>,
        signer: &'a Checked,
        frontier: Frontier,
        published: Published,
    ) -> Self {
        Self {
            config,
            files,
            signer,
            frontier,
            published,
        }
    }

    /// Makes batches final, all of which stand in the store and in `batches/<n>`, with one checkpoint.
    ///
    /// 1. The checkpoint is signed, and our own signature verified like anybody's. Beside it, tiles and bundles are created.
    ///    *Different* tiles: what stands there is not this log's. Halt.
    /// 2. `checkpoints/<size>` is created. *Different*: if it is a valid checkpoint of the same root (the key was switched since), it stays, and is ours. Else halt: the log has forked.
    /// 3. `checkpoint` moves to it from the one before. Not as expected: see [`Finisher::move_checkpoint`].
    ///
    /// A crash in between leaves files that the next takeover finds equal: each depends on the batches alone.
    pub(super) async fn finish(&mut self, batches: &[&Batch], closed: bool) -> Result<(), Stop> {
        let Some(last) = batches.last() else {
            return Ok(());
        };
        let mut files = Vec::new();
        for batch in batches {
            files.extend(self.frontier.push(batch));
        }
        let end = self.frontier.end();
        if end != last.new_end() {
            // Cannot be: both were computed from the same leaves.
            return Err(Stop::Halt(format!(
                "batch {} ends at {:?}, but its tree at {end:?}",
                last.n(),
                last.new_end()
            )));
        }
        files.extend(bundle(end.size, &self.frontier.tail));
        for (tile, bytes) in self.frontier.edge.take_new() {
            files.push((tile.path(), bytes.into()));
        }
        let (note, ()) = futures::try_join!(self.sign(end), self.create_files(files))?;
        let note = self.create_checkpoint(end, note).await?;
        let mut known: Vec<End> = batches.iter().map(|batch| batch.new_end()).collect();
        known.push(self.published.end);
        self.move_checkpoint(end, note.clone(), &known).await?;
        self.published = Published {
            end,
            batches: last.n() + 1,
            closed,
            checkpoint: note,
        };
        Ok(())
    }

    async fn sign(&self, end: End) -> Result<Bytes, Stop> {
        let log = &self.config.log;
        let key = self.config.keys.at(end.size);
        if self.signer.public_key() != key {
            return Err(Stop::Halt(format!(
                "the signer's key is not the one for size {}: configure the key that the manifest and its notices name",
                end.size
            )));
        }
        let checkpoint = Checkpoint::new(log.origin(), end.size, end.root)
            .map_err(|error| Stop::Halt(error.to_string()))?;
        let mut backoff = Backoff::new(self.config.retry);
        loop {
            match self.signer.sign(checkpoint.body().as_bytes()).await {
                Ok(signature) => {
                    let note = Bytes::from(checkpoint.signed(&key, &signature));
                    return match self.config.keys.verify(log, &note) {
                        Ok(verified) if verified == checkpoint => Ok(note),
                        _ => Err(Stop::Halt("our own checkpoint does not verify".to_owned())),
                    };
                }
                // No other try can go better.
                Err(error @ SignError::TooLong { .. }) => {
                    return Err(Stop::Halt(error.to_string()));
                }
                // Nothing is lost: the batches stand in both copies, and whoever waits goes on waiting.
                Err(error) => backoff.wait("signing", &error).await,
            }
        }
    }

    async fn create_files(&self, files: Vec<(String, Bytes)>) -> Result<(), Stop> {
        let create = |(file, bytes): (String, Bytes)| async move {
            let path = self.config.log.path(&file);
            match self.files.create(&path, bytes).await? {
                Creation::Created | Creation::AlreadyEqual => Ok(()),
                Creation::Different => Err(Stop::Halt(format!(
                    "{path} is already published with other bytes than this log's"
                ))),
            }
        };
        stream::iter(files.into_iter().map(create))
            .buffer_unordered(UPLOADS_MAX)
            .try_collect()
            .await
    }

    /// Returns the bytes that stand at `checkpoints/<size>` now.
    async fn create_checkpoint(&self, end: End, note: Bytes) -> Result<Bytes, Stop> {
        let path = self.config.log.path(&format!("checkpoints/{}", end.size));
        match self.files.create(&path, note.clone()).await? {
            Creation::Created | Creation::AlreadyEqual => return Ok(note),
            Creation::Different => {}
        }
        let found = self.files.read(&path, CHECKPOINT_BYTES_MAX).await?;
        let Some(found) = found else {
            return Err(Stop::Again(format!(
                "{path} was there, and is not any more"
            )));
        };
        match self.config.keys.verify(&self.config.log, &found) {
            Ok(checkpoint) if checkpoint.size() == end.size && checkpoint.root() == end.root => {
                Ok(found)
            }
            Ok(checkpoint) => Err(Stop::Halt(format!(
                "{path} was signed with the root {}, but the log has {}: it has forked",
                checkpoint.root(),
                end.root
            ))),
            Err(error) => Err(Stop::Halt(format!(
                "{path} is not a checkpoint of this log: {error}"
            ))),
        }
    }

    /// Moves `checkpoint`. Where something else than expected stands there, another writer is or was at work, or the publisher lost something:
    ///
    /// - a checkpoint of a larger size: somebody has gone on from here. Step down.
    /// - one of a batch end that we know: a writer before us moved it late, and what it says is true. Go on from it.
    /// - nothing, or another end: a takeover compares it with the whole log, and halts if it is a fork.
    /// - anything that the log's keys did not sign: halt.
    async fn move_checkpoint(&self, end: End, note: Bytes, known: &[End]) -> Result<(), Stop> {
        let path = self.config.log.path("checkpoint");
        let mut expected =
            Some(self.published.checkpoint.clone()).filter(|bytes| !bytes.is_empty());
        loop {
            let current = match self
                .files
                .move_checkpoint(&path, expected, note.clone())
                .await?
            {
                Move::Moved => return Ok(()),
                Move::Conflict(current) => current,
            };
            let Some(current) = current else {
                return Err(Stop::Again(format!("{path} is gone")));
            };
            let checkpoint = self
                .config
                .keys
                .verify(&self.config.log, &current)
                .map_err(|error| {
                    Stop::Halt(format!("{path} is not a checkpoint of this log: {error}"))
                })?;
            let found = End {
                size: checkpoint.size(),
                root: checkpoint.root(),
            };
            if found.size > end.size {
                return Err(Stop::StepDown(format!(
                    "{path} is at {} already, beyond our {}",
                    found.size, end.size
                )));
            }
            if !known.contains(&found) {
                return Err(Stop::Again(format!(
                    "{path} is at {found:?}, which this term of office did not see"
                )));
            }
            expected = Some(current);
        }
    }
}
