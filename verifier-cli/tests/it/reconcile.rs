//! `reconcile`: the books, and what must hold of them.

use std::process::Command;

use protocol::entry::{Count, Entry};
use verifier_cli::progress::Progress;
use verifier_cli::reconcile::{self, Moment, ReconcileVerdict};
use verifier_cli::sample;
use verifier_cli::verdict::Outcome;

use crate::common::world::{Event, Plan, World};
use crate::common::{audit, write};
use crate::receipts::{PLAN, early};

fn books(world: &World, change: impl FnOnce(&std::path::Path)) -> ReconcileVerdict {
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    change(folder.path());
    let id = world.keys.election.id();
    reconcile::run(folder.path().to_str().unwrap(), &id, &Progress::hidden())
}

#[test]
fn the_books_are_those_of_the_audit() {
    let world = World::new("reconcile", Plan::SMALL);
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let audited = audit(folder.path(), &world.keys.election.id());
    let verdict = books(&world, |_| ());
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    assert_eq!(verdict.at, Some(Moment::FinalHead));
    assert_eq!(
        (verdict.votes, verdict.abstentions),
        (audited.votes, audited.abstentions)
    );
    assert_eq!(
        verdict.unused_credentials,
        audited.bounds.unused_credentials
    );
    assert_eq!(
        verdict.voters_without_vote,
        Some(audited.bounds.voters_without_vote)
    );
    for (ours, theirs) in verdict.registrars.iter().zip(&audited.issued) {
        assert_eq!(ours.issued, theirs.issued);
        let refused = ours.refused;
        assert_eq!(
            [
                refused.unknown_code,
                refused.other_message,
                refused.outside_period,
                refused.malformed
            ],
            theirs.refused
        );
        assert_eq!(ours.issued + ours.not_issued, verdict.roll);
        assert_eq!(
            ours.shards.iter().map(|shard| shard.roll).sum::<u64>(),
            verdict.roll
        );
        assert!(ours.shards.iter().all(|shard| shard.closed));
    }
    for (ours, theirs) in verdict.cells.iter().zip(&audited.covered.cells) {
        assert_eq!((ours.size, ours.votes), (theirs.size, theirs.votes));
    }
    // Batches that reach over several tiles are stretches as well.
    let given = folder.path().to_str().unwrap();
    let id = world.keys.election.id();
    let drawn = sample::run(given, &id, 100, Some([1; 32]), &Progress::hidden());
    assert_eq!(drawn.verdict, Outcome::Verified, "{drawn:#?}");
    assert_eq!(drawn.checked_batches, 12);
    assert!(verdict.identities.len() >= 9);
    assert!(verdict.identities.iter().all(|identity| identity.holds));
}

#[test]
fn the_room_that_is_left_is_no_bound_on_what_was_invented() {
    let world = World::new("receipts", PLAN);
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let output = Command::new(env!("CARGO_BIN_EXE_tallyroot-verify"))
        .args(["reconcile", folder.path().to_str().unwrap(), "--election"])
        .arg(world.keys.election.id().to_string())
        .output()
        .unwrap();
    assert!(output.status.success());
    let words = String::from_utf8(output.stdout).unwrap();
    assert!(words.contains("further votes"), "{words}");
    assert!(words.contains("no comfort"), "{words}");
}

#[test]
fn of_an_open_election_and_of_one_that_just_began() {
    let world = World::new("receipts", PLAN);
    for heads in 0..4 {
        let verdict = books(&early(&world, world.nth_head(heads) + 1), |_| ());
        assert_eq!(verdict.verdict, Outcome::Verified, "{heads}: {verdict:#?}");
        assert_eq!(verdict.at, Some(Moment::NewestCheckpoints));
    }
}

#[test]
fn more_votes_than_credentials() {
    let world = World::new("receipts", Plan { issued: 40, ..PLAN });
    let verdict = books(&world, |_| ());
    assert_eq!(verdict.verdict, Outcome::Findings);
    assert_eq!(
        verdict.findings_by_code.get("votes-exceed-issued"),
        Some(&2),
        "{verdict:#?}"
    );
    assert_eq!(verdict.findings[0].votes_at_most, 20);
    assert!(verdict.identities.iter().any(|identity| !identity.holds));
}

/// Files of different moments, such as a folder that was copied while votes were cast, show more votes than credentials too, and nobody is to blame.
#[test]
fn newest_checkpoints_of_different_moments_blame_nobody() {
    let world = World::new("receipts", Plan { issued: 40, ..PLAN });
    let verdict = books(&early(&world, world.nth_head(4) + 1), |_| ());
    assert_eq!(verdict.at, Some(Moment::NewestCheckpoints));
    assert!(verdict.identities.iter().any(|identity| !identity.holds));
    assert_eq!(verdict.verdict, Outcome::Unchecked, "{verdict:#?}");
    assert!(
        verdict.not_covered[0].contains("does not hold between"),
        "{verdict:#?}"
    );
}

#[test]
fn counts_beyond_what_the_log_holds() {
    let mut world = World::new("receipts", Plan { issued: 40, ..PLAN });
    let election = world.keys.election.clone();
    for event in &mut world.events {
        let Event::Batch(_, entries) = event else {
            continue;
        };
        for bytes in entries {
            if let Ok(Entry::Count(count)) = Entry::decode(bytes, &election) {
                let issued = count.issued + 100;
                *bytes = Count { issued, ..count }.encode();
            }
        }
    }
    let verdict = books(&world, |_| ());
    assert_eq!(verdict.verdict, Outcome::Findings, "{verdict:#?}");
    // One of each shard's log.
    let shards = verdict.registrars.iter().map(|books| books.shards.len());
    let found = verdict.findings_by_code.get("count-wrong");
    assert_eq!(found, Some(&(shards.sum::<usize>() as u64)), "{verdict:#?}");
    let wrong = verdict.findings.iter();
    let mut wrong = wrong.filter(|finding| finding.code.name() == "count-wrong");
    assert!(wrong.all(|finding| finding.votes_at_most == 100));
}

#[test]
fn an_open_election_is_held_against_its_newest_head() {
    let world = World::new("receipts", PLAN);
    let world = early(&world, world.nth_head(4) + 1);
    let mut missing = 0;
    let verdict = books(&world, |root| {
        let mut sizes: Vec<u64> = std::fs::read_dir(root.join("cells/0/checkpoints"))
            .unwrap()
            .map(|file| file.unwrap().file_name().to_str().unwrap().parse().unwrap())
            .collect();
        sizes.sort_unstable();
        let old = root.join(format!("cells/0/checkpoints/{}", sizes[1]));
        std::fs::copy(old, root.join("cells/0/checkpoint")).unwrap();
        missing = sizes.last().unwrap() - sizes[1];
    });
    let findings = verdict.findings.iter();
    let mut findings = findings.filter(|finding| finding.code.name() == "checkpoint-rollback");
    let bound = findings.next().map(|finding| finding.votes_at_most);
    assert_eq!(bound, Some(missing), "{verdict:#?}");
}

#[test]
fn what_is_not_signed_is_not_booked() {
    let world = World::new("receipts", PLAN);
    let verdict = books(&world, |root| {
        let path = "registrars/1/0/tile/entries/000";
        let partial = std::fs::read_dir(root.join(format!("{path}.p"))).unwrap();
        for file in partial {
            let name = file.unwrap().file_name();
            let path = format!("{path}.p/{}", name.to_str().unwrap());
            let mut bytes = std::fs::read(root.join(&path)).unwrap();
            bytes[20] ^= 1;
            write(root, &path, &bytes);
        }
    });
    assert_eq!(verdict.verdict, Outcome::Findings);
    assert!(
        verdict.findings_by_code.contains_key("bundle-mismatch"),
        "{verdict:#?}"
    );
    let verdict = books(&world, |root| {
        std::fs::remove_file(root.join("cells/0/checkpoint")).unwrap();
    });
    assert!(
        verdict.findings_by_code.contains_key("missing-file"),
        "{verdict:#?}"
    );
}
