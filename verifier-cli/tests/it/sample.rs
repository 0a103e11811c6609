//! `sample`: random batches, each recounted alone.

use std::path::Path;

use protocol::entry::{Entry, Vote};
use verifier_cli::progress::Progress;
use verifier_cli::sample::{self, SampleVerdict};
use verifier_cli::verdict::Outcome;

use crate::common::world::World;
use crate::common::write;
use crate::receipts::{PLAN, early};

fn draw(world: &World, root: &Path, draws: u64, seed: u8) -> SampleVerdict {
    sample::run(
        root.to_str().unwrap(),
        &world.keys.election.id(),
        draws,
        Some([seed; 32]),
        &Progress::hidden(),
    )
}

/// Enough draws to meet every one of the six batches.
const ALL: u64 = 100;

fn finds(world: &World, code: &str, change: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    change(folder.path());
    let verdict = draw(world, folder.path(), ALL, 1);
    assert_eq!(verdict.verdict, Outcome::Findings, "{code}: {verdict:#?}");
    assert!(
        verdict.findings_by_code.contains_key(code),
        "{code}: {:#?}",
        verdict.findings
    );
}

#[test]
fn a_right_election_and_how_sure_that_makes() {
    let world = World::new("receipts", PLAN);
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let verdict = draw(&world, folder.path(), ALL, 1);
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    assert_eq!((verdict.batches, verdict.votes), (6, 60));
    assert_eq!((verdict.checked_batches, verdict.checked_votes), (6, 60));

    let few = |seed| draw(&world, folder.path(), 2, seed);
    let (one, again) = (few(1), few(1));
    assert_eq!(one.checked_votes, again.checked_votes);
    assert!((1..=2).contains(&one.checked_batches));
    // One of six batches wrong, two draws: (5/6)^2.
    let sure = &one.confidence[0];
    assert_eq!((sure.percent_wrong, sure.batches), (1, 1));
    assert!((sure.missed - 25.0 / 36.0).abs() < 1e-9);
    let says = |what: &String| what.contains("voted in two stretches");
    assert!(one.not_covered.iter().any(says));
    assert!((2..20).any(|seed| few(seed).checked_votes != one.checked_votes));
}

#[test]
fn an_open_election_and_one_without_votes() {
    let world = World::new("receipts", PLAN);
    let folder = tempfile::tempdir().unwrap();
    early(&world, world.nth_head(3)).publish(folder.path());
    let verdict = draw(&world, folder.path(), ALL, 1);
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    assert!(verdict.votes < 60 && verdict.votes > 0);

    let folder = tempfile::tempdir().unwrap();
    early(&world, world.nth_head(1)).publish(folder.path());
    let verdict = draw(&world, folder.path(), ALL, 1);
    assert_eq!(verdict.verdict, Outcome::Unchecked, "{verdict:#?}");
}

#[test]
fn signed_lies_within_a_batch() {
    let mut world = World::new("receipts", PLAN);
    let election = world.keys.election.clone();
    let last = world.batch_of_votes(0, 1).last_mut().unwrap();
    let Entry::Tally(mut tally) = Entry::decode(last, &election).unwrap() else {
        panic!("a batch ends in a tally");
    };
    tally.totals.contests[0].counts[1] += 1;
    tally.totals.contests[0].counts[0] -= 1;
    *last = tally.encode();
    finds(&world, "tally-wrong", |_| ());

    let mut world = World::new("receipts", PLAN);
    world.batch_of_votes(1, 0).swap(0, 1);
    finds(&world, "batch-order", |_| ());

    let mut world = World::new("receipts", PLAN);
    world.change_votes(0, 0, |votes| {
        let mut vote = Vote::decode(&votes[0], &election).unwrap();
        vote.signature[40] ^= 1;
        votes[0] = vote.encode();
    });
    finds(&world, "vote-ballot-signature", |_| ());

    let mut world = World::new("receipts", PLAN);
    world.change_votes(0, 0, |votes| {
        let mut vote = Vote::decode(&votes[0], &election).unwrap();
        vote.signatures[1][40] ^= 1;
        votes[0] = vote.encode();
    });
    finds(&world, "vote-registrar-signature", |_| ());
}

#[test]
fn files_that_are_not_what_was_signed() {
    let world = World::new("receipts", PLAN);
    let mut forged = World::new("receipts", PLAN);
    forged.change_votes(0, 0, |votes| {
        votes.remove(0);
    });
    let other = tempfile::tempdir().unwrap();
    forged.publish(other.path());
    let swap = |file: &'static str| {
        let bytes = std::fs::read(other.path().join(file)).unwrap();
        move |root: &Path| write(root, file, &bytes)
    };
    finds(&world, "batch-chain", swap("cells/0/batches/1"));
    finds(&world, "batch-foreign", |root| {
        let bytes = std::fs::read(root.join("cells/0/batches/2")).unwrap();
        write(root, "cells/0/batches/1", &bytes);
    });
    finds(&world, "batch-malformed", |root| {
        write(root, "cells/0/batches/1", b"no batch");
    });
    finds(&world, "missing-file", |root| {
        std::fs::remove_file(root.join("cells/1/batches/3")).unwrap();
    });
    // One note of the other history: its tiles are not there.
    finds(&world, "tile-mismatch", swap("cells/0/checkpoint"));
}
