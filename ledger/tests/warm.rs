//! A standby that has read what is published takes over as one that has not, only sooner; and where it is wrong about the log, it is as if it had read nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking, and Clippy knows only functions marked as tests"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use common::{Frozen, Models, Votes, config, index, keys, log, vote};
use futures::future::join_all;
use ledger::faulty::Faults;
use ledger::sequencer::WarmError;
use ledger::{
    Config, Content, Creation, End, Handle, Move, PublishError, Publisher, ReadError, Reader,
    Sequencer, State, Warm,
};
use protocol::merkle::Hash;

/// Counts the batches that are read.
struct Counting<P>(P, Arc<AtomicU64>);

#[async_trait]
impl<P: Publisher> Reader for Counting<P> {
    async fn read(&self, path: &str, len_max: usize) -> Result<Option<Bytes>, ReadError> {
        self.1
            .fetch_add(u64::from(path.contains("/batches/")), Ordering::Relaxed);
        self.0.read(path, len_max).await
    }
}

#[async_trait]
impl<P: Publisher> Publisher for Counting<P> {
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Creation, PublishError> {
        self.0.create(path, bytes).await
    }
    async fn move_checkpoint(
        &self,
        path: &str,
        expected: Option<Bytes>,
        new: Bytes,
    ) -> Result<Move, PublishError> {
        self.0.move_checkpoint(path, expected, new).await
    }
    async fn probe(&self) -> Result<(), PublishError> {
        self.0.probe().await
    }
}

fn content() -> Box<dyn Content> {
    Box::new(Votes::default())
}

async fn follow(warm: &Warm, files: &BTreeMap<String, Bytes>) -> Result<u64, WarmError> {
    warm.follow(&log(), &keys(), &content, &Frozen(files.clone()))
        .await
}

async fn cast(handle: &Handle, keys: std::ops::Range<u64>) -> Vec<u64> {
    let outcomes = join_all(keys.map(|key| handle.submit(vote(key, 0, 0)))).await;
    outcomes.iter().map(index).collect()
}

fn small() -> Config {
    let mut config = config();
    config.batch.count_max = 5;
    config
}

fn with(warm: &Warm) -> Config {
    Config {
        warm: Some(warm.clone()),
        ..small()
    }
}

/// A log of 100 votes, and one more batch that the standby has not seen.
async fn place() -> (Models, Warm, Vec<u64>) {
    let models = Models::new();
    let warm = Warm::new();
    assert_eq!(follow(&warm, &models.publisher.files()).await, Ok(0));
    let sequencer = models.running(small()).await;
    let mut told = cast(&sequencer.handle(), 0..50).await;
    let half = follow(&warm, &models.publisher.files()).await.unwrap();
    told.extend(cast(&sequencer.handle(), 50..100).await);
    let all = follow(&warm, &models.publisher.files()).await.unwrap();
    assert!(half > 50 && all > half && warm.size().await == all);
    assert_eq!(all, sequencer.handle().published().end.size);
    told.extend(cast(&sequencer.handle(), 100..103).await);
    drop(sequencer);
    (models, warm, told)
}

/// The size of the published checkpoint.
fn newest(models: &Models) -> u64 {
    let files = models.publisher.files();
    ledger::publisher::checkpoint_size(&files["cells/0/checkpoint"]).unwrap()
}

/// Takes over, and gives the number of batches that it read.
async fn take_over(models: &Models, config: Config) -> (Sequencer, u64) {
    let read = Arc::new(AtomicU64::new(0));
    let mut parts = models.parts(&Faults::none());
    let publisher = models.publisher.with_faults(Faults::none());
    parts.publisher = Arc::new(Counting(publisher, Arc::clone(&read)));
    let sequencer = Sequencer::spawn(config, parts);
    let _ = sequencer.handle().ready().await;
    (sequencer, read.load(Ordering::Relaxed))
}

/// The log is whole, and knows who has voted.
async fn goes_on(models: &Models, sequencer: Sequencer, told: &[u64]) {
    let handle = sequencer.handle();
    assert_eq!(cast(&handle, 0..103).await, told);
    let other = index(&handle.submit(vote(7, 1, 0)).await);
    assert_eq!(other, told[7]);
    cast(&handle, 103..110).await;
    drop(sequencer);
    let checked = models.check().await;
    assert_eq!(checked.votes.len(), 110);
}

#[tokio::test(start_paused = true)]
async fn a_standby_reads_only_what_is_new() {
    let (models, warm, told) = place().await;
    let (cold, all) = take_over(&models, small()).await;
    drop(cold);
    let (sequencer, read) = take_over(&models, with(&warm)).await;
    // The last one that it knew, the new one, the end, and a look behind each.
    assert!(all > 20 && read < 6, "{read} of {all}");
    goes_on(&models, sequencer, &told).await;
    // It is used once; afterwards everything is read.
    let (_, read) = take_over(&models, with(&warm)).await;
    assert!(read > all);
}

#[tokio::test(start_paused = true)]
async fn in_any_doubt_everything_is_read() {
    // The database lost what the standby has read.
    let (models, warm, told) = place().await;
    models.store.lose_tail(3, 0);
    let (sequencer, read) = take_over(&models, with(&warm)).await;
    assert!(read > 20);
    goes_on(&models, sequencer, &told).await;

    // The files did.
    let (models, warm, told) = place().await;
    let files = models.publisher.changes();
    models.publisher.lose_tail(files / 2);
    let (sequencer, read) = take_over(&models, with(&warm)).await;
    assert!(read > 20);
    goes_on(&models, sequencer, &told).await;

    // Only the move of the checkpoint to what the standby knows was lost; or only its last batch.
    let (models, warm, told) = place().await;
    let known = warm.size().await;
    while newest(&models) >= known {
        models.publisher.lose_tail(models.publisher.changes() - 1);
    }
    let (sequencer, read) = take_over(&models, with(&warm)).await;
    assert!(read > 20);
    goes_on(&models, sequencer, &told).await;

    let (models, warm, told) = place().await;
    let head = models.store.head();
    models
        .publisher
        .tamper(&format!("cells/0/batches/{}", head.batches - 2), None);
    let (sequencer, read) = take_over(&models, with(&warm)).await;
    assert!(read > 20);
    goes_on(&models, sequencer, &told).await;

    // What somebody outside holds a signature over is not among the ends: as without a standby, the log halts.
    let (models, warm, _) = place().await;
    let floor = End {
        size: 31,
        root: Hash([9; 32]),
    };
    let config = Config {
        floor: Some(floor),
        ..with(&warm)
    };
    let (sequencer, _) = take_over(&models, config).await;
    assert!(matches!(sequencer.handle().state(), State::Halted(_)));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_covered_by_a_checkpoint_is_not_used() {
    let (models, _, told) = place().await;
    let sound = models.publisher.files();
    // A batch is missing: not yet readable, or lost.
    let warm = Warm::new();
    let mut files = sound.clone();
    let batch = files.remove("cells/0/batches/9").unwrap();
    assert!(matches!(
        follow(&warm, &files).await,
        Err(WarmError::Unsound(_))
    ));
    assert_eq!(warm.size().await, 0);
    // A batch that does not follow; a checkpoint of another key; batches that lead elsewhere than the checkpoint.
    let mut damaged = batch.to_vec();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    files.insert("cells/0/batches/9".to_owned(), damaged.into());
    assert!(matches!(
        follow(&warm, &files).await,
        Err(WarmError::Unsound(_))
    ));
    let mut files = sound.clone();
    files.insert(
        "cells/0/checkpoint".to_owned(),
        Bytes::from_static(b"no note"),
    );
    assert!(matches!(
        follow(&warm, &files).await,
        Err(WarmError::Unsound(_))
    ));
    let key = protocol::ed25519::SigningKey::from_seed(&common::SEED);
    let end = models.store.head().end;
    let checkpoint =
        protocol::checkpoint::Checkpoint::new(log().origin(), end.size, Hash([3; 32])).unwrap();
    let signature = key.sign(checkpoint.body().as_bytes());
    let forked = checkpoint.signed(&key.public(), &signature);
    files.insert("cells/0/checkpoint".to_owned(), forked.into());
    assert!(matches!(
        follow(&warm, &files).await,
        Err(WarmError::Unsound(_))
    ));
    assert_eq!(warm.size().await, 0);
    let (sequencer, read) = take_over(&models, with(&warm)).await;
    assert!(read > 20);
    goes_on(&models, sequencer, &told).await;
}
