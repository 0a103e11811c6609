//! `result`: what results.json shows, without a recount.

use std::path::Path;
use std::process::Command;

use protocol::entry::Entry;
use protocol::ids::LogId;
use protocol::results::{CellPart, ContestResult, Results};
use protocol::tlog_proof::TlogProof;
use verifier_cli::progress::Progress;
use verifier_cli::result::{self, ResultVerdict};
use verifier_cli::verdict::{Outcome, State};

use crate::common::world::{Event, Plan, World, Writer};
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
        let says = |what: &String| what.contains("the election is open");
        assert_eq!(
            verdict.not_covered.iter().any(says),
            verdict.state == Some(State::Open),
            "{verdict:#?}"
        );
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
fn what_follows_from_the_rounds_of_a_run_off_is_checked() {
    let world = World::new("receipts", PLAN);
    let election = &world.keys.election;
    let lies: [fn(&mut ContestResult); 8] = [
        |contest| {
            let counts = (0u16..).zip(&contest.counts);
            contest.winner = counts.min_by_key(|(_, count)| **count).map(|(n, _)| n);
        },
        |contest| contest.winner = None,
        |contest| contest.tie_broken = contest.tie_broken.map(|broken| !broken),
        // A ballot comes from nowhere.
        |contest| *last_count(contest) += 1,
        |contest| contest.rounds.as_mut().unwrap()[1].exhausted += 1,
        |contest| {
            let first = &mut contest.rounds.as_mut().unwrap()[0];
            let out = first.eliminated.unwrap();
            first.eliminated = Some(if out == 0 { 1 } else { 0 });
        },
        // Nobody has won yet.
        |contest| {
            let rounds = contest.rounds.as_mut().unwrap();
            rounds.truncate(1);
            rounds[0].eliminated = None;
        },
        // It had been won before.
        |contest| {
            let rounds = contest.rounds.as_mut().unwrap();
            let last = rounds.last().unwrap().clone();
            rounds.push(last);
        },
    ];
    for (n, lie) in lies.iter().enumerate() {
        let verdict = changed(&world, |root| {
            let path = root.join("results.json");
            let mut results = Results::parse(&std::fs::read(&path).unwrap(), election).unwrap();
            let contest = results.contests.last_mut().unwrap();
            assert!(contest.rounds.as_ref().unwrap().len() > 1);
            lie(contest);
            std::fs::write(&path, results.to_bytes().unwrap()).unwrap();
        });
        assert_eq!(codes(&verdict), ["results-wrong"], "lie {n}: {verdict:#?}");
    }
}

#[test]
fn a_first_round_that_is_won_needs_no_ballots() {
    let plan = Plan {
        votes: 1,
        issued: 1,
        batch: 1,
        finished: true,
    };
    let world = World::new("receipts", plan);
    let verdict = changed(&world, |_| ());
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    let rounds = verdict.results.as_ref().unwrap()[2].rounds.as_ref();
    assert_eq!(rounds.unwrap().len(), 1);
    assert!(verdict.unverified_winners.is_empty());
}

#[test]
fn a_winner_that_was_not_verified_is_marked() {
    let world = World::new("receipts", PLAN);
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    // Of plurality, approval and ranked, in this order.
    let verdict = check(&world, folder.path());
    assert_eq!(verdict.unverified_winners, [2]);
    let said = verdict
        .not_covered
        .iter()
        .find(|what| what.contains("who won"));
    let names: Vec<&str> = verdict
        .results
        .iter()
        .flatten()
        .map(|contest| contest.name.as_str())
        .collect();
    let is_named = |name: &&str| said.unwrap().contains(name);
    assert_eq!(
        names.iter().map(is_named).collect::<Vec<_>>(),
        [false, false, true],
        "{said:?}"
    );
    let output = Command::new(env!("CARGO_BIN_EXE_tallyroot-verify"))
        .args(["result", folder.path().to_str().unwrap(), "--election"])
        .arg(world.keys.election.id().to_string())
        .output()
        .unwrap();
    assert!(output.status.success());
    let words = String::from_utf8(output.stdout).unwrap();
    let mut lines = words.lines();
    let winners = lines.by_ref().filter(|line| line.contains("winner: "));
    assert_eq!(winners.take(3).count(), 3, "{words}");
    assert!(
        lines.next().unwrap().contains("not verified here"),
        "{words}"
    );
    assert_eq!(words.matches("not verified here").count(), 1, "{words}");
}

fn last_count(contest: &mut ContestResult) -> &mut u64 {
    let last = contest.rounds.as_mut().unwrap().last_mut().unwrap();
    last.counts.iter_mut().flatten().next().unwrap()
}

#[test]
fn running_totals_without_a_cell_say_so() {
    let world = World::new("receipts", PLAN);
    let world = early(&world, world.nth_head(4) + 1);
    let election = &world.keys.election;
    let verdict = changed(&world, |root| {
        let path = root.join("results.json");
        let results = Results::parse(&std::fs::read(&path).unwrap(), election).unwrap();
        let proof = results.cells[0].proof.clone().unwrap();
        let entry = TlogProof::parse(proof.as_bytes()).unwrap();
        let Ok(Entry::Tally(tally)) = Entry::decode(entry.extra().unwrap(), election) else {
            panic!("it proves a tally");
        };
        let parts = [
            CellPart {
                size: results.cells[0].size,
                tally: Some((tally.totals, proof)),
            },
            CellPart {
                size: 0,
                tally: None,
            },
        ];
        let fewer = Results::open(election, &parts).unwrap();
        std::fs::write(&path, fewer.to_bytes().unwrap()).unwrap();
    });
    // The protocol allows it while the election is open.
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    let says = |what: &String| what.contains("cells/1");
    assert!(verdict.not_covered.iter().any(says), "{verdict:#?}");
}

#[test]
fn a_size_at_which_no_batch_ends() {
    let world = World::new("receipts", PLAN);
    let world = early(&world, world.nth_head(4) + 1);
    let election = &world.keys.election;
    for (size, is_right) in [(1, true), (2, false)] {
        let verdict = changed(&world, |root| {
            let part = CellPart { size, tally: None };
            let none = Results::open(election, &[part.clone(), part]).unwrap();
            std::fs::write(root.join("results.json"), none.to_bytes().unwrap()).unwrap();
        });
        let right = verdict.verdict == Outcome::Verified;
        assert_eq!(right, is_right, "{size}: {verdict:#?}");
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
