//! Outsiders read a log, and find out when it lies.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking, and Clippy knows only functions marked as tests"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use common::{Frozen, Models, config, keys, log, vote};
use ledger::read::LogError;
use ledger::{Keys, LogClient, LogName};
use protocol::checkpoint::Checkpoint;
use protocol::ed25519::SigningKey;
use protocol::ids::{ElectionId, LogId};
use protocol::merkle::{CompactRange, Hash, leaf_hash, verify_consistency, verify_inclusion};

/// A log of a few hundred votes in many batches, from this key on.
async fn published(first_key: u64) -> BTreeMap<String, Bytes> {
    let models = Models::new();
    let mut config = config();
    config.batch.count_max = 40;
    let sequencer = models.running(config).await;
    let handle = sequencer.handle();
    let votes = (0..700).map(|key| vote(first_key + key, 0, 0));
    let outcomes = futures::future::join_all(votes.map(|vote| handle.submit(vote))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    models.publisher.files()
}

fn client(files: BTreeMap<String, Bytes>) -> LogClient {
    LogClient::new(Arc::new(Frozen(files)), log(), keys())
}

fn sign(size: u64, root: Hash, seed: u8) -> Bytes {
    let key = SigningKey::from_seed(&[seed; 32]);
    let checkpoint = Checkpoint::new(log().origin(), size, root).unwrap();
    checkpoint
        .signed(&key.public(), &key.sign(checkpoint.body().as_bytes()))
        .into()
}

#[tokio::test(start_paused = true)]
async fn every_entry_is_proven_under_every_checkpoint_and_all_checkpoints_are_consistent() {
    let files = published(0).await;
    let client = client(files.clone());
    let (newest, _) = client.newest().await.unwrap().unwrap();
    let mut range = CompactRange::new();
    let mut checkpoints = Vec::new();
    let mut entries = Vec::new();
    for n in 0.. {
        let Some(batch) = client.batch(n, &mut range).await.unwrap() else {
            break;
        };
        entries.extend(batch.entries());
        checkpoints.extend(
            client
                .at(batch.new_end().size)
                .await
                .unwrap()
                .map(|(checkpoint, _)| checkpoint),
        );
    }
    assert!(checkpoints.len() > 5 && checkpoints.last() == Some(&newest));
    assert_eq!(entries.len() as u64, newest.size());
    for checkpoint in &checkpoints {
        let proof = client.consistency(checkpoint, &newest).await.unwrap();
        verify_consistency(
            checkpoint.size(),
            &checkpoint.root(),
            newest.size(),
            &newest.root(),
            &proof,
        )
        .unwrap();
        for index in (0..checkpoint.size()).step_by(13) {
            let proven = client.inclusion(index, checkpoint).await.unwrap();
            assert_eq!(proven.entry, entries[usize::try_from(index).unwrap()]);
            verify_inclusion(
                &leaf_hash(&proven.entry),
                index,
                checkpoint.size(),
                &proven.proof,
                &checkpoint.root(),
            )
            .unwrap();
        }
        let beyond = client.inclusion(checkpoint.size(), checkpoint).await;
        assert_eq!(beyond, Err(LogError::NoSuchEntry(checkpoint.size())));
    }
}

#[tokio::test(start_paused = true)]
async fn superseded_partial_tiles_are_not_needed() {
    let mut files = published(0).await;
    let (newest, _) = client(files.clone()).newest().await.unwrap().unwrap();
    let early = client(files.clone());
    let mut range = CompactRange::new();
    early.batch(0, &mut range).await.unwrap();
    early.batch(1, &mut range).await.unwrap();
    let (old, _) = early.at(range.size()).await.unwrap().unwrap();
    // Whatever is partial and has its full tile beside it.
    let full: Vec<String> = files.keys().cloned().collect();
    files.retain(|path, _| {
        !path
            .split_once(".p/")
            .is_some_and(|(place, _)| full.iter().any(|path| path == place))
    });
    assert!(files.len() < full.len());
    let client = client(files);
    client.inclusion(3, &old).await.unwrap();
    client.inclusion(3, &newest).await.unwrap();
    client.consistency(&old, &newest).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_fork_is_evidence_and_not_merely_an_error() {
    let (one, two) = (published(0).await, published(10_000).await);
    let (ours, theirs) = (client(one.clone()), client(two));
    let (first, _) = ours.newest().await.unwrap().unwrap();
    let (second, _) = theirs.newest().await.unwrap().unwrap();
    // Two checkpoints of one size, an old one of the other log, and one that shrank.
    let mut range = CompactRange::new();
    theirs.batch(0, &mut range).await.unwrap();
    theirs.batch(1, &mut range).await.unwrap();
    let (early, _) = theirs.at(range.size()).await.unwrap().unwrap();
    for (old, new) in [(&second, &first), (&early, &first), (&first, &early)] {
        match ours.consistency(old, new).await {
            Err(LogError::Inconsistent {
                old: told_old,
                new: told_new,
                ..
            }) => {
                assert_eq!((told_old, told_new), (old.body(), new.body()));
            }
            other => panic!("{other:?}"),
        }
    }
    ours.consistency(&first, &first).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn files_that_were_changed_are_noticed() {
    let files = published(0).await;
    let path = |file: &str| log().path(file);
    let (newest, _) = client(files.clone()).newest().await.unwrap().unwrap();
    for file in ["tile/0/000", "tile/0/001", "tile/entries/000"] {
        let mut bad = files.clone();
        let mut bytes = bad[&path(file)].to_vec();
        bytes[100] ^= 1;
        bad.insert(path(file), bytes.into());
        let read = client(bad.clone())
            .inclusion(if file.ends_with('1') { 256 } else { 2 }, &newest)
            .await;
        assert!(
            matches!(read, Err(LogError::Invalid { .. })),
            "{file}: {read:?}"
        );
        bad.remove(&path(file));
        let read = client(bad)
            .inclusion(if file.ends_with('1') { 256 } else { 2 }, &newest)
            .await;
        assert!(
            matches!(read, Err(LogError::Missing(_))),
            "{file}: {read:?}"
        );
    }
    let mut bad = files.clone();
    bad.insert(path("batches/1"), files[&path("batches/2")].clone());
    let mut range = CompactRange::new();
    let reader = client(bad);
    reader.batch(0, &mut range).await.unwrap();
    let before = range.clone();
    assert!(matches!(
        reader.batch(1, &mut range).await,
        Err(LogError::Invalid { .. })
    ));
    assert_eq!(range, before);
}

#[tokio::test(start_paused = true)]
async fn only_the_logs_own_checkpoints_count() {
    let files = published(0).await;
    let (newest, bytes) = client(files.clone()).newest().await.unwrap().unwrap();
    let checkpoint = log().path("checkpoint");
    let with = |bytes: Bytes| {
        let mut files = files.clone();
        files.insert(checkpoint.clone(), bytes);
        client(files)
    };
    for wrong in [
        sign(newest.size(), newest.root(), 8),
        Bytes::from(
            [
                bytes.as_ref(),
                sign(newest.size(), newest.root(), 8)
                    .rsplit(|byte| *byte == b'\n')
                    .nth(1)
                    .unwrap(),
                b"\n",
            ]
            .concat(),
        ),
        Bytes::from("x"),
        Bytes::new(),
    ] {
        assert!(matches!(
            with(wrong).newest().await,
            Err(LogError::Invalid { .. })
        ));
    }
    // Another log's, with the same key.
    let other = LogName::new("votes.example", ElectionId([1; 32]), LogId::Cell(0));
    let stranger = LogClient::new(Arc::new(Frozen(files.clone())), other, keys());
    assert!(matches!(
        stranger.newest().await,
        Err(LogError::Invalid { .. })
    ));
    // At the wrong place.
    let mut moved = files.clone();
    moved.insert(log().path("checkpoints/1"), bytes);
    assert!(matches!(
        client(moved).at(1).await,
        Err(LogError::Invalid { .. })
    ));
    assert_eq!(client(files).at(2).await, Ok(None));
    assert_eq!(client(BTreeMap::new()).newest().await, Ok(None));
}

#[test]
fn each_key_signs_at_its_sizes_only() {
    let (main, spare) = (
        SigningKey::from_seed(&[7; 32]).public(),
        SigningKey::from_seed(&[8; 32]).public(),
    );
    let switched = Keys::main(main).switched(spare, 10);
    let root = leaf_hash(b"x");
    for (size, seed, main_only, after_switch) in [
        (9, 7, true, true),
        (10, 7, true, true),
        (11, 7, true, false),
        (9, 8, false, false),
        (10, 8, false, false),
        (11, 8, false, true),
    ] {
        let note = sign(size, root, seed);
        assert_eq!(
            Keys::main(main).verify(&log(), &note).is_ok(),
            main_only,
            "{size} by {seed}"
        );
        assert_eq!(
            switched.verify(&log(), &note).is_ok(),
            after_switch,
            "{size} by {seed}"
        );
    }
}
