//! `result`: what results.json shows, without a recount.

use std::path::Path;

use protocol::entry::Entry;
use protocol::ids::LogId;
use protocol::results::Results;
use verifier_cli::progress::Progress;
use verifier_cli::result::{self, ResultVerdict};
use verifier_cli::verdict::{Outcome, State};

use crate::common::world::{Event, World, Writer};
use crate::receipts::{PLAN, early};

fn check(world: &World, root: &Path) -> ResultVerdict {
    let id = world.keys.election.id();
    result::run(root.to_str().unwrap(), &id, &Progress::hidden())
}

fn codes(verdict: &ResultVerdict) -> Vec<&'static str> {
    let findings = verdict.findings.iter();
    let mut codes: Vec<_> = findings.map(|finding| finding.code.name()).collect();
    codes.dedup();
    codes
}

/// Publishes, changes files, and checks.
fn changed(world: &World, change: impl FnOnce(&Path)) -> ResultVerdict {
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    change(folder.path());
    check(world, folder.path())
}

#[test]
fn right_results_verify_at_every_stage() {
    let world = World::new("receipts", PLAN);
    let mut seen = Vec::new();
    for (n, event) in world.events.iter().enumerate() {
        if !matches!(event, Event::Results) {
            continue;
        }
        let then = early(&world, n + 1);
        let verdict = changed(&then, |_| ());
        assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
        assert_eq!(verdict.cells.len(), 2);
        assert_eq!(
            verdict.cells.iter().map(|cell| cell.votes).sum::<u64>(),
            verdict.votes.unwrap()
        );
        seen.push((verdict.votes.unwrap(), verdict.state));
    }
    assert_eq!(seen.first(), Some(&(0, Some(State::Open))));
    assert_eq!(seen.last(), Some(&(60, Some(State::Final))));
}

#[test]
fn every_false_number_is_found() {
    let world = World::new("receipts", PLAN);
    let election = &world.keys.election;
    let lies: [fn(&mut Results); 8] = [
        |results| {
            results.contests[0].counts[0] -= 1;
            results.contests[0].counts[1] += 1;
        },
        |results| {
            results.contests[1].counts[0] -= 1;
        },
        |results| {
            results.contests[2].counts[0] -= 1;
            results.contests[2].blanks += 1;
        },
        |results| results.abstentions -= 1,
        |results| results.contests[0].winner = Some(2),
        |results| {
            let first = &mut results.contests[2].rounds.as_mut().unwrap()[0];
            first.counts[0] = Some(59);
        },
        |results| results.cells[0].size -= 1,
        |results| results.cells[1].proof = None,
    ];
    for (n, lie) in lies.iter().enumerate() {
        let verdict = changed(&world, |root| {
            let path = root.join("results.json");
            let mut results = Results::parse(&std::fs::read(&path).unwrap(), election).unwrap();
            lie(&mut results);
            std::fs::write(&path, results.to_bytes().unwrap()).unwrap();
        });
        assert_eq!(codes(&verdict), ["results-wrong"], "lie {n}: {verdict:#?}");
        assert!(verdict.results.is_none());
    }
}

#[test]
fn an_older_tally_does_not_pass_for_the_newest() {
    let world = World::new("receipts", PLAN);
    let election = &world.keys.election;
    let mut writer = Writer::new(&world);
    writer.run();
    let tree = &writer.trees[&LogId::Cell(0)];
    let is_tally = |bytes: &Vec<u8>| matches!(Entry::decode(bytes, election), Ok(Entry::Tally(_)));
    let first = tree.entries.iter().position(is_tally).unwrap();
    let proof = tree.proof(first as u64);
    let verdict = changed(&world, |root| {
        let path = root.join("results.json");
        let mut results = Results::parse(&std::fs::read(&path).unwrap(), election).unwrap();
        results.cells[0].proof = Some(proof);
        std::fs::write(&path, results.to_bytes().unwrap()).unwrap();
    });
    assert_eq!(codes(&verdict), ["results-wrong"], "{verdict:#?}");
    let evidence = &verdict.findings[0].evidence;
    assert!(evidence.contains("is not the newest"), "{evidence}");
}

#[test]
fn it_says_what_it_did_not_check() {
    // The tally entry is false, and results.json follows it: without the votes nobody sees that.
    let mut world = World::new("receipts", PLAN);
    let election = world.keys.election.clone();
    let last = world.batch_of_votes(0, 2).last_mut().unwrap();
    let Entry::Tally(mut tally) = Entry::decode(last, &election).unwrap() else {
        panic!("a batch ends in a tally");
    };
    tally.totals.contests[1].counts[1] += 1;
    *last = tally.encode();
    let verdict = changed(&world, |_| ());
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    for said in ["the votes themselves", "run-offs"] {
        let says = |what: &String| what.contains(said);
        assert!(verdict.not_covered.iter().any(says), "{said}");
    }
}

#[test]
fn results_of_another_history_or_an_old_log() {
    let honest = World::new("receipts", PLAN);
    let mut forged = World::new("receipts", PLAN);
    forged.change_votes(0, 0, |votes| {
        votes.remove(0);
    });
    let other = tempfile::tempdir().unwrap();
    forged.publish(other.path());
    let verdict = changed(&honest, |root| {
        std::fs::copy(other.path().join("results.json"), root.join("results.json")).unwrap();
    });
    assert_eq!(verdict.verdict, Outcome::Findings, "{verdict:#?}");
    assert!(
        codes(&verdict)
            .iter()
            .any(|code| matches!(*code, "equivocation" | "results-wrong")),
        "{:?}",
        codes(&verdict)
    );

    // Results and heads stay, and the cell is rolled back.
    let verdict = changed(&honest, |root| {
        let mut sizes: Vec<u64> = std::fs::read_dir(root.join("cells/0/checkpoints"))
            .unwrap()
            .map(|entry| {
                entry
                    .unwrap()
                    .file_name()
                    .to_str()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect();
        sizes.sort_unstable();
        let old = root.join(format!("cells/0/checkpoints/{}", sizes[1]));
        std::fs::copy(old, root.join("cells/0/checkpoint")).unwrap();
    });
    assert!(
        codes(&verdict).contains(&"checkpoint-rollback"),
        "{:?}",
        codes(&verdict)
    );
}

#[test]
fn what_cannot_be_read_is_no_verdict() {
    let world = World::new("receipts", PLAN);
    let verdict = check(&world, Path::new("/nowhere/at/all"));
    assert_eq!(verdict.verdict, Outcome::Unchecked);
    let verdict = changed(&world, |root| {
        std::fs::remove_file(root.join("results.json")).unwrap();
    });
    assert_eq!(codes(&verdict), ["missing-file"]);
    let verdict = changed(&world, |root| {
        std::fs::remove_file(root.join("cells/1/checkpoint")).unwrap();
    });
    assert_eq!(verdict.verdict, Outcome::Findings, "{verdict:#?}");
    assert!(verdict.results.is_none());
}
