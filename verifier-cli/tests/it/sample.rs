//! `sample`: random batches, each recounted alone.

use std::path::Path;

use protocol::batch::BatchFile;
use protocol::entry::{Close, Entry, Tally, Vote};
use protocol::ids::LogId;
use protocol::merkle::leaf_hash;
use verifier_cli::progress::Progress;
use verifier_cli::sample::{self, SampleVerdict};
use verifier_cli::verdict::Outcome;
use verifier_cli::{reconcile, result};

use crate::common::world::{Event, World};
use crate::common::write;
use crate::receipts::{PLAN, early};
use crate::web::{Answer, serve};

fn draw(world: &World, root: &Path, draws: u64, seed: u8) -> SampleVerdict {
    sample::run(
        root.to_str().unwrap(),
        &world.keys.election.id(),
        draws,
        Some([seed; 32]),
        &Progress::hidden(),
    )
}

/// Whether it says that the same is to be drawn again.
fn asks_again(verdict: &SampleVerdict) -> bool {
    let says = |what: &String| what.contains("--seed");
    verdict.not_covered.iter().any(says)
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

    assert_eq!(verdict.entries, 2 + 60 + 6 + 2);

    let few = |seed| draw(&world, folder.path(), 2, seed);
    let (one, again) = (few(1), few(1));
    assert_eq!(one.checked_votes, again.checked_votes);
    assert!(one.checked_batches <= 2);
    // An average batch, 1 %, and 5 % of the entries, rounded up to whole entries; two draws.
    let wrong = one.confidence.iter().map(|sure| sure.entries);
    assert_eq!(wrong.collect::<Vec<_>>(), [12, 1, 4]);
    for sure in &one.confidence {
        let share = f64::from(u32::try_from(sure.entries).unwrap()) / 70.0;
        assert!((sure.share - share).abs() < 1e-9);
        assert!((sure.missed - (1.0 - share).powi(2)).abs() < 1e-9);
    }
    let says = |what: &String| what.contains("voted in two stretches");
    assert!(one.not_covered.iter().any(says));
    assert!(!asks_again(&one), "{one:#?}");
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
    // Nothing was drawn that could be drawn again.
    assert!(!asks_again(&verdict), "{verdict:#?}");
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

/// Between cell 0's second and last batch of votes stands one leaf more, which no batch file holds: a tally that gives all votes to another option, and counts so many more.
fn with_a_lie_between_batches(more: u64) -> World {
    let mut world = World::new("receipts", PLAN);
    let election = world.keys.election.clone();
    let tally_of = |entries: &[Vec<u8>]| match Entry::decode(entries.last().unwrap(), &election) {
        Ok(Entry::Tally(tally)) => tally,
        _ => panic!("a batch of votes ends in a tally"),
    };
    let before = tally_of(world.batch_of_votes(0, 1));
    let shift = |tally: &mut Tally| {
        let (moved, totals) = (before.totals.contests[0].counts[0], &mut tally.totals);
        totals.votes += more;
        totals.contests[0].counts[0] -= moved;
        totals.contests[0].counts[1] += moved + more;
        for others in &mut totals.contests[1..] {
            others.blanks += more;
        }
    };
    let mut lie = before.clone();
    shift(&mut lie);
    // What follows is added rightly to the lie.
    let batch = world.batch_of_votes(0, 2);
    let mut last = tally_of(batch);
    shift(&mut last);
    *batch.last_mut().unwrap() = last.encode();
    let lie = vec![lie.encode()];
    let is_of_cell = |event: &Event| matches!(event, Event::Batch(LogId::Cell(0), _));
    // Behind the genesis and two batches of votes.
    let place = (0..world.events.len()).filter(|n| is_of_cell(&world.events[*n]));
    let place = place.collect::<Vec<_>>()[3];
    world
        .events
        .insert(place, Event::Batch(LogId::Cell(0), lie));
    for event in &mut world.events {
        let Event::Batch(LogId::Cell(0), entries) = event else {
            continue;
        };
        if let Ok(Entry::Close(close)) = Entry::decode(&entries[0], &election) {
            let count = close.count + more;
            entries[0] = Close { count, ..close }.encode();
        }
    }
    world
}

/// The files are numbered as if the lie were none.
fn hide_the_lie(world: &World, root: &Path) {
    for from in [4u64, 5] {
        let bytes = std::fs::read(root.join(format!("cells/0/batches/{from}"))).unwrap();
        let mut batch = BatchFile::decode(&bytes, &world.keys.election).unwrap();
        batch.n = from - 1;
        let path = format!("cells/0/batches/{}", batch.n);
        write(root, &path, &batch.encode());
    }
    std::fs::remove_file(root.join("cells/0/batches/5")).unwrap();
}

#[test]
fn an_entry_between_two_batches_is_drawn_too() {
    let world = with_a_lie_between_batches(1);
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    hide_the_lie(&world, folder.path());
    // So many draws leave no entry out.
    let verdict = draw(&world, folder.path(), 2_000, 1);
    assert_eq!(verdict.verdict, Outcome::Findings, "{verdict:#?}");
    assert!(verdict.findings_by_code.contains_key("batch-chain"));

    // One draw sees it only if it falls there, and does not claim otherwise.
    let missed = (0..10).map(|seed| draw(&world, folder.path(), 1, seed));
    let missed = missed.filter(|verdict| verdict.verdict == Outcome::Verified);
    assert!(missed.count() > 5);
}

#[test]
fn an_entry_more_than_votes_and_batches_is_found_without_being_drawn() {
    let world = with_a_lie_between_batches(0);
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    hide_the_lie(&world, folder.path());
    let given = folder.path().to_str().unwrap();
    let id = world.keys.election.id();
    let drawn = draw(&world, folder.path(), 1, 1);
    let books = reconcile::run(given, &id, &Progress::hidden());
    let shown = result::run(given, &id, &Progress::hidden());
    for (verdict, codes) in [
        (drawn.verdict, &drawn.findings_by_code),
        (books.verdict, &books.findings_by_code),
        (shown.verdict, &shown.findings_by_code),
    ] {
        assert_eq!(verdict, Outcome::Findings, "{codes:?}");
        assert!(codes.contains_key("tally-wrong"), "{codes:?}");
    }
}

#[test]
fn a_cell_that_is_withheld() {
    let world = World::new("receipts", PLAN);
    finds(&world, "missing-file", |root| {
        std::fs::remove_dir_all(root.join("cells/1")).unwrap();
    });
}

#[test]
fn what_is_refused_is_asked_for_again_with_the_same_seed() {
    let world = World::new("receipts", PLAN);
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let site = serve(folder.path(), |path, _| {
        let is_refused = path.ends_with("cells/0/batches/2");
        is_refused.then_some(Answer::Status(403, ""))
    });
    let id = world.keys.election.id();
    let verdict = sample::run(&site, &id, ALL, Some([1; 32]), &Progress::hidden());
    assert_eq!(verdict.verdict, Outcome::Unchecked, "{verdict:#?}");
    // No figure, since it could not hold, and what to do.
    assert!(verdict.confidence.is_empty());
    let again = format!("--seed {}", verdict.seed);
    assert!(verdict.not_covered.iter().any(|what| what.contains(&again)));
}

#[test]
fn closes_that_name_other_numbers() {
    let mut world = World::new("receipts", PLAN);
    let election = world.keys.election.clone();
    for event in &mut world.events {
        let Event::Batch(_, entries) = event else {
            continue;
        };
        if let Ok(Entry::Close(close)) = Entry::decode(&entries[0], &election) {
            let count = close.count + 500;
            entries[0] = Close { count, ..close }.encode();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let given = folder.path().to_str().unwrap();
    let drawn = draw(&world, folder.path(), 1, 1);
    let books = reconcile::run(given, &election.id(), &Progress::hidden());
    let shown = result::run(given, &election.id(), &Progress::hidden());
    // Two cells; and the two registrars' three logs.
    assert_eq!(drawn.findings_by_code.get("close-wrong"), Some(&2));
    assert_eq!(shown.findings_by_code.get("close-wrong"), Some(&2));
    assert_eq!(books.findings_by_code.get("close-wrong"), Some(&5));
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
    finds(&world, "tile-mismatch", |root| {
        let folder = root.join("cells/0/tile/0/000.p");
        for tile in std::fs::read_dir(folder).unwrap() {
            let path = tile.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[5] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }
    });
    // One note of another history, as long as the one that the heads name.
    let mut other_vote = World::new("receipts", PLAN);
    other_vote.change_votes(0, 0, |votes| votes[0] = votes[1].clone());
    other_vote.publish(other.path());
    finds(&world, "head-root", swap("cells/0/checkpoint"));
}

#[test]
fn a_batch_file_is_the_stretch_that_the_tree_holds() {
    let world = World::new("receipts", PLAN);
    let election = &world.keys.election;
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let read = |n: u64| std::fs::read(folder.path().join(format!("cells/0/batches/{n}"))).unwrap();
    let (first, second) = (read(1), read(2));
    let batch = |bytes| BatchFile::decode(bytes, election).unwrap();
    // Roots that nobody signed, around the right entries.
    let mut wrong_root = batch(&first);
    wrong_root.old_root = leaf_hash(b"another");
    // Two batches as one, which ends elsewhere.
    let (mut both, two) = (batch(&first), batch(&second));
    (both.new_size, both.new_root) = (two.new_size, two.new_root);
    both.entries.extend(two.entries);
    // One vote is another's, in as many entries.
    let mut forged = World::new("receipts", PLAN);
    forged.change_votes(0, 0, |votes| votes[0] = votes[1].clone());
    let mut steps = forged.steps().into_iter();
    let other = steps.find(|(path, _)| path == "cells/0/batches/1").unwrap();
    for bytes in [wrong_root.encode(), both.encode(), other.1] {
        write(folder.path(), "cells/0/batches/1", &bytes);
        let verdict = draw(&world, folder.path(), ALL, 1);
        let codes: Vec<_> = verdict.findings_by_code.keys().collect();
        assert_eq!(codes, [&"batch-chain"], "{verdict:#?}");
    }
}
