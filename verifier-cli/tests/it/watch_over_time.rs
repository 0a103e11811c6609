//! `watch` against sources that lie now and then, answer late or not at all, and against caches that only look like it.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use protocol::entry::{Entry, Head, Vote};
use protocol::ids::LogId;
use protocol::results::{Results, Status};
use verifier_cli::verdict::Outcome;
use verifier_cli::watch::{Event as Said, LATE_HEAD, Limits, UNCOVERED, Watcher};

use crate::common::keys::OPENING;
use crate::common::world::{World, Writer};
use crate::receipts::early;
use crate::watch::{Scene, codes, command, raises, round};

/// The time of the n-th head that follows a batch of votes.
const fn head_after_batch(n: u64) -> u64 {
    OPENING + 65_000 + 10_000 * n
}

fn at(watcher: &mut Watcher, clock: u64) -> Vec<&'static str> {
    codes(&watcher.round(Some(clock)).unwrap())
}

/// What stands at the site says other numbers.
fn reverse_results(scene: &Scene, status: Status) {
    let path = scene.path("site/results.json");
    let election = &scene.world.keys.election;
    let mut results = Results::parse(&fs::read(&path).unwrap(), election).unwrap();
    results.status = status;
    results.contests[0].counts.reverse();
    fs::write(&path, results.to_bytes().unwrap()).unwrap();
}

#[test]
fn a_ledger_without_heads_is_never_verified() {
    let scene = Scene::new();
    fs::remove_dir_all(scene.path("site/heads")).unwrap();
    reverse_results(&scene, Status::Open);
    let mut watcher = scene.watcher(&["site"]);
    let events = round(&mut watcher);
    assert!(matches!(&events[..], [Said::Unread { .. }]), "{events:#?}");
    assert_eq!(watcher.outcome(), Outcome::Unchecked);
    // Before the election opens, none is due.
    assert_eq!(at(&mut watcher, OPENING + 30_000), [""; 0]);
    assert_eq!(at(&mut watcher, OPENING + 30_001), [LATE_HEAD]);
}

/// The newest head again, as if no log had grown since.
fn repeat_head(world: &mut World, time: u64) {
    let election = world.keys.election.clone();
    let mut writer = Writer::new(world);
    writer.run();
    let last = writer.trees[&LogId::Heads].entries.last().unwrap();
    let Ok(Entry::Head(head)) = Entry::decode(last, &election) else {
        panic!("the heads log ends in a head");
    };
    let head = Head { time, ..head };
    world.batch(LogId::Heads, vec![Entry::Head(head).encode()]);
}

#[test]
fn heads_that_leave_out_what_was_published() {
    let scene = Scene::new();
    // The second batches stand, and no head covers them.
    let mut world = early(&scene.world, scene.world.nth_head(3));
    scene.show("site", &world);
    let begin = head_after_batch(0) + 11_000;
    assert_eq!(at(&mut scene.watcher(&["site"]), begin), [""; 0]);
    // After a pause: the head that was under way may have been made before.
    repeat_head(&mut world, begin + 31_000);
    scene.show("site", &world);
    assert_eq!(at(&mut scene.watcher(&["site"]), begin + 31_000), [""; 0]);
    let mut honest = early(&world, world.events.len());
    // The next one need not be.
    repeat_head(&mut world, begin + 32_000);
    scene.show("site", &world);
    let mut watcher = scene.watcher(&["site"]);
    let cells = scene.world.keys.election.cells() as usize;
    assert_eq!(at(&mut watcher, begin + 32_000), vec![UNCOVERED; cells]);
    drop(watcher);

    // Where it covers them, nothing is to be said.
    fs::remove_dir_all(scene.path("state")).unwrap();
    scene.show("site", &early(&scene.world, scene.world.nth_head(3)));
    let mut watcher = scene.watcher(&["site"]);
    assert_eq!(at(&mut watcher, begin), [""; 0]);
    honest.head(begin + 32_000);
    scene.show("site", &honest);
    assert_eq!(at(&mut watcher, begin + 32_000), [""; 0]);
}

#[test]
fn a_source_that_does_not_answer_holds_up_no_other() {
    let scene = Scene::new();
    reverse_results(&scene, Status::Open);
    // It takes every connection, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}/", listener.local_addr().unwrap());
    let sources = [silent.clone(), scene.given("site")];
    let limits = Limits {
        look: Duration::from_secs(2),
        ..Limits::default()
    };
    let mut watcher = Watcher::open(&scene.id, &sources, &[], &scene.path("state"))
        .unwrap()
        .with_limits(limits);
    let mut events = Vec::new();
    while !codes(&events).contains(&"results-wrong") {
        events.extend(round(&mut watcher));
    }
    let is_silent =
        |event: &Said| matches!(event, Said::Unread { source, .. } if *source == silent);
    assert!(events.iter().any(is_silent), "{events:#?}");
    let page = watcher.metrics().page();
    assert!(!page.contains("tallyroot_watch_looks_cut 0\n"), "{page}");
    let written = fs::read_to_string(scene.path("state/events.jsonl")).unwrap();
    assert!(written.contains("results-wrong"), "{written}");
}

#[test]
fn a_long_heads_log_is_followed_over_several_rounds() {
    let scene = Scene::new();
    let mut world = scene.then(3);
    world.anchored = false;
    // More than an entry bundle holds.
    for n in 1..=260 {
        world.head(head_after_batch(1) + 100 * n);
    }
    scene.show("site", &world);
    reverse_results(&scene, Status::Open);
    let limits = Limits {
        heads: 1,
        ..Limits::default()
    };
    let mut watcher = scene.watcher(&["site"]).with_limits(limits);
    assert_eq!(codes(&round(&mut watcher)), [""; 0]);
    assert_eq!(watcher.outcome(), Outcome::Unchecked);
    assert_eq!(codes(&round(&mut watcher)), ["results-wrong"]);
}

#[test]
fn no_batch_goes_by_without_its_signatures() {
    let mut scene = Scene::new();
    let election = scene.world.keys.election.clone();
    // In the last batch of the last cell.
    let last = scene.world.keys.election.cells() - 1;
    scene.world.change_votes(last, 2, |votes| {
        for vote in votes {
            let mut forged = Vote::decode(vote, &election).unwrap();
            forged.signature[40] ^= 1;
            *vote = forged.encode();
        }
    });
    scene.show("site", &scene.world);
    let limits = Limits {
        batches: 1,
        ..Limits::default()
    };
    let mut watcher = scene.watcher(&["site"]).with_limits(limits);
    let events = round(&mut watcher);
    let is_behind =
        |event: &Said| matches!(event, Said::Unread { source, .. } if source == "the recount");
    assert!(events.iter().any(is_behind), "{events:#?}");
    assert_eq!(watcher.outcome(), Outcome::Unchecked);
    let page = watcher.metrics().page();
    assert!(
        !page.contains("tallyroot_watch_entries_behind 0\n"),
        "{page}"
    );
    // A genesis, three batches of votes and a close of each cell, one a round.
    let rounds = 5 * election.cells();
    let raised: Vec<_> = (1..rounds)
        .flat_map(|_| codes(&round(&mut watcher)))
        .collect();
    assert_eq!(raised, ["vote-ballot-signature"]);
    let page = watcher.metrics().page();
    assert!(
        page.contains("tallyroot_watch_entries_behind 0\n"),
        "{page}"
    );
}

#[test]
fn what_was_raised_is_not_forgotten() {
    let mut scene = Scene::new();
    let election = scene.world.keys.election.clone();
    let last = scene.world.batch_of_votes(0, 1).last_mut().unwrap();
    let Ok(Entry::Tally(mut tally)) = Entry::decode(last, &election) else {
        panic!("a batch ends in a tally");
    };
    tally.totals.contests[0].counts.reverse();
    *last = tally.encode();
    scene.show("site", &scene.world);
    raises(&mut scene.watcher(&["site"]), "tally-wrong");
    // The batch is recounted no more; what it showed stands.
    let mut watcher = scene.watcher(&["site"]);
    round(&mut watcher);
    assert_eq!(watcher.outcome(), Outcome::Findings);
    let Said::End { raised_by_code, .. } = watcher.end() else {
        panic!("the last event is the end");
    };
    assert!(raised_by_code.contains_key("tally-wrong"));
    let page = watcher.metrics().page();
    assert!(!page.contains("tallyroot_watch_findings 0\n"), "{page}");
}

#[test]
fn false_numbers_under_a_status_that_is_not_due() {
    let scene = Scene::new();
    let mut watcher = scene.watcher(&["site"]);
    let right = fs::read(scene.path("site/results.json")).unwrap();
    // Rightly added up, it may be ahead of the heads log for a moment.
    let mut early = Results::parse(&right, &scene.world.keys.election).unwrap();
    early.status = Status::Cancelled;
    fs::write(scene.path("site/results.json"), early.to_bytes().unwrap()).unwrap();
    assert_eq!(codes(&round(&mut watcher)), [""; 0]);
    fs::write(scene.path("site/results.json"), &right).unwrap();
    assert_eq!(codes(&round(&mut watcher)), [""; 0]);
    // Every other time, and false.
    reverse_results(&scene, Status::Cancelled);
    assert_eq!(codes(&round(&mut watcher)), ["results-wrong"]);
}

#[test]
fn a_stale_answer_is_no_rollback() {
    let scene = Scene::new();
    let mut watcher = scene.watcher(&["site"]);
    for n in [4, 3, 4, 3, 4] {
        scene.show("site", &scene.then(n));
        assert_eq!(codes(&round(&mut watcher)), [""; 0]);
        let is_stale = n == 3;
        assert_eq!(watcher.outcome() == Outcome::Unchecked, is_stale, "{n}");
    }
    drop(watcher);
    // By the clock it may last for half a minute, restarts or not.
    scene.show("site", &scene.then(3));
    let newest = head_after_batch(2);
    for after in [1_000, 11_000, 14_000] {
        let found = at(&mut scene.watcher(&["site"]), newest + after);
        assert_eq!(found, [""; 0], "{after}");
    }
    let found = at(&mut scene.watcher(&["site"]), newest + 31_000);
    assert!(found.contains(&"checkpoint-rollback"), "{found:?}");
}

#[test]
fn a_rollback_after_a_restart_beside_a_source_that_is_gone() {
    let scene = Scene::new();
    scene.show("site", &scene.world);
    scene.show("mirror", &scene.world);
    assert_eq!(
        codes(&round(&mut scene.watcher(&["site", "mirror"]))),
        [""; 0]
    );
    scene.show("site", &scene.then(3));
    fs::remove_dir_all(scene.path("mirror")).unwrap();
    raises(
        &mut scene.watcher(&["site", "mirror"]),
        "checkpoint-rollback",
    );
}

#[test]
fn results_are_as_long_as_the_election_calls_for() {
    let scene = Scene::new();
    fs::write(scene.path("site/results.json"), vec![b' '; 2 << 20]).unwrap();
    raises(&mut scene.watcher(&["site"]), "file-too-large");
}

#[test]
fn the_end_is_said_also_where_the_memory_cannot_be_used() {
    let scene = Scene::new();
    // Whose memory it is cannot be told, and is not overwritten.
    fs::create_dir_all(scene.path("state/election")).unwrap();
    let output = command(&scene, &["--json", "--once"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let end: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&end["event"], &end["verdict"]),
        (&"end".into(), &"unchecked".into())
    );
}
