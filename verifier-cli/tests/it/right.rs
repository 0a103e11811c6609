//! Elections in which nothing is wrong.

use protocol::entry::NoticeAction;
use protocol::ids::LogId;
use verifier_cli::verdict::{AuditVerdict, Outcome, State};

use crate::common::keys::{CLOSING, OPENING};
use crate::common::world::{Event, Plan, World, Writer};
use crate::common::{audit, found};

fn verify(world: &World) -> AuditVerdict {
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let verdict = audit(folder.path(), &world.keys.election.id());
    assert_eq!(found(&verdict), [], "{:#?}", verdict.findings);
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    verdict
}

#[test]
fn a_finished_election_verifies() {
    let verdict = verify(&World::new("right", Plan::SMALL));
    assert_eq!(verdict.state, Some(State::Final));
    assert_eq!((verdict.votes, verdict.abstentions), (600, 30));
    assert_eq!(verdict.roll, 1_000);
    assert_eq!(verdict.demo, Some(true));
    let issued: Vec<(u64, u64)> = verdict
        .issued
        .iter()
        .map(|issued| (issued.issued, issued.refused.iter().sum()))
        .collect();
    assert_eq!(issued, [(640, 3), (640, 6)]);
    assert_eq!(verdict.bounds.unused_credentials, Some(40));
    assert_eq!(verdict.bounds.voters_without_vote, 400);
    assert_eq!((verdict.bounds.late, verdict.bounds.early), (0, 0));
    assert_eq!(verdict.covered.cells.len(), 2);
    assert!(
        verdict
            .covered
            .cells
            .iter()
            .all(|cell| cell.closed && cell.size > 256)
    );
    let votes: u64 = verdict.covered.cells.iter().map(|cell| cell.votes).sum();
    assert_eq!(votes, 600);
    assert!(verdict.covered.issuance.iter().any(|log| log.size > 256));
    for anchor in &verdict.covered.anchors {
        assert_eq!(anchor.size, verdict.covered.heads.size);
    }
    assert_eq!(verdict.small_batches.count, 0);

    // The choices follow a rule (see `World::vote`), so they can be counted by hand.
    let results = verdict.results.unwrap();
    let cast: Vec<usize> = (0..600).filter(|v| v % 20 != 19).collect();
    let mayor: Vec<u64> = (0..3)
        .map(|option| cast.iter().filter(|v| *v % 7 % 3 == option).count() as u64)
        .collect();
    assert_eq!(results[0].counts, mayor);
    assert_eq!(results[0].winner, Some(0));
    let parks: Vec<u64> = (0..4)
        .map(|option| cast.iter().filter(|v| **v >> option & 1 == 1).count() as u64)
        .collect();
    assert_eq!(results[1].counts, parks);
    let first = [0, 1, 2, 3].map(|option| {
        let firsts = [Some(0), Some(1), Some(2), Some(3), Some(2), None];
        cast.iter()
            .filter(|v| firsts[*v % 6] == Some(option))
            .count() as u64
    });
    assert_eq!(results[2].counts, first);
    assert_eq!(
        results[2].rounds.as_ref().unwrap()[0].counts,
        first.map(Some)
    );
    assert!(results[2].winner.is_some());
}

#[test]
fn an_open_election_verifies() {
    let verdict = verify(&World::new(
        "open",
        Plan {
            finished: false,
            votes: 90,
            issued: 90,
            batch: 30,
        },
    ));
    assert_eq!(verdict.state, Some(State::Open));
    assert_eq!(verdict.votes, 90);
    let results = verdict.results.unwrap();
    assert!(
        results
            .iter()
            .all(|contest| contest.winner.is_none() && contest.rounds.is_none())
    );
}

#[test]
fn an_election_without_votes_verifies() {
    let verdict = verify(&World::new(
        "nobody",
        Plan {
            votes: 0,
            issued: 0,
            batch: 1,
            finished: true,
        },
    ));
    assert_eq!(verdict.votes, 0);
    assert!(
        verdict
            .results
            .unwrap()
            .iter()
            .all(|contest| contest.winner.is_none())
    );
}

#[test]
fn small_batches_are_told_and_are_no_finding() {
    let verdict = verify(&World::new(
        "small",
        Plan {
            votes: 10,
            issued: 10,
            batch: 2,
            finished: true,
        },
    ));
    let small = &verdict.small_batches;
    assert!(small.count >= 5, "{small:?}");
    assert_eq!((small.votes, small.smallest), (10, Some(1)));
}

#[test]
fn notices_take_effect() {
    let mut world = World::new(
        "notices",
        Plan {
            votes: 40,
            issued: 60,
            batch: 20,
            finished: false,
        },
    );
    let election = world.keys.election.clone();
    // Cell 1 is switched to its spare key where it stands; the heads log with the notice itself; closing moves.
    let mut writer = Writer::new(&world);
    writer.run();
    let cell = &writer.trees[&LogId::Cell(1)];
    let heads = &writer.trees[&LogId::Heads];
    let switch = |log, size, root| NoticeAction::Switch { log, size, root };
    let notices = vec![
        world.notice(
            0,
            switch(LogId::Cell(1), cell.size(), cell.root_at(cell.size())),
        ),
        world.notice(
            1,
            NoticeAction::Extend {
                closing: CLOSING + 100_000,
            },
        ),
    ];
    let of_heads = switch(LogId::Heads, heads.size() + 2, heads.root_with(&notices));
    let notices = [notices, vec![world.notice(2, of_heads)]].concat();
    world.batch(LogId::Heads, notices);
    let more: Vec<_> = (40..60).map(|voter| world.vote(voter)).collect();
    for k in 0..2 {
        let votes: Vec<_> = more
            .iter()
            .filter(|vote| election.cell_of(&vote.credential) == k)
            .cloned()
            .collect();
        world.votes(k, &votes, CLOSING + 50_000);
    }
    world.head(CLOSING + 60_000);
    // All that follows is later than the first closing time.
    world.finish();
    for event in &mut world.events {
        if let Event::Head { time, .. } = event
            && *time >= CLOSING
            && *time < CLOSING + 10_000
        {
            *time += 100_000;
        }
    }
    let mut late = World { ..world };
    for event in &mut late.events {
        if let Event::Batch(log, entries) = event
            && *log != LogId::Heads
            && let [entry] = entries.as_mut_slice()
            && let Ok(protocol::entry::Entry::Close(close)) =
                protocol::entry::Entry::decode(entry, &election)
        {
            *entry = protocol::entry::Close {
                time: close.time + 100_000,
                ..close
            }
            .encode();
        }
    }
    let verdict = verify(&late);
    assert_eq!(verdict.votes, 60);
    assert_eq!(verdict.bounds.late, 0);
}

#[test]
fn a_cancelled_election_counts_nothing() {
    let mut world = World::new(
        "cancelled",
        Plan {
            votes: 20,
            issued: 20,
            batch: 20,
            finished: false,
        },
    );
    let notice = world.notice(0, NoticeAction::Cancel);
    world.batch(LogId::Heads, vec![notice]);
    world.events.push(Event::Results);
    let verdict = verify(&world);
    assert_eq!(verdict.state, Some(State::Cancelled));
    assert!(verdict.results.is_none());
}

#[test]
fn a_frozen_cell_closes_alone() {
    let mut world = World::new(
        "frozen",
        Plan {
            votes: 40,
            issued: 40,
            batch: 20,
            finished: false,
        },
    );
    let freeze = NoticeAction::Freeze {
        log: LogId::Cell(0),
    };
    let notice = world.notice(0, freeze);
    world.batch(LogId::Heads, vec![notice]);
    world.head(OPENING + 600_000);
    world.close(LogId::Cell(0), OPENING + 601_000);
    world.head(OPENING + 602_000);
    for log in world.keys.election.logs().to_vec() {
        if matches!(log, LogId::Issuance { .. }) {
            world.close(log, CLOSING);
        }
    }
    world.head(CLOSING + 1_000);
    world.close(LogId::Cell(1), CLOSING + 2_000);
    world.events.push(Event::Head {
        time: CLOSING + 5_000,
        is_final: true,
        tweak: None,
    });
    world.events.push(Event::Results);
    verify(&world);
}

/// Not a test of its own: `LARGE=<folder> cargo test … -- --ignored a_large_election` writes one to measure audits with.
#[test]
#[ignore = "writes 80,000 votes to the folder that LARGE names"]
fn a_large_election() {
    let folder = std::env::var("LARGE").unwrap();
    let world = World::new(
        "large",
        Plan {
            votes: 80_000,
            issued: 90_000,
            batch: 4_000,
            finished: true,
        },
    );
    world.publish(std::path::Path::new(&folder));
    println!("{}", world.keys.election.id());
}
