//! What `result`, `sample` and `reconcile` take for the counted tree of a log, and what they refuse.

use std::fs;
use std::path::Path;

use protocol::entry::{Close, Entry, Genesis, Issuance};
use protocol::ids::{ElectionId, LogId};
use verifier_cli::progress::Progress;
use verifier_cli::reconcile::ReconcileVerdict;
use verifier_cli::verdict::Outcome;
use verifier_cli::{reconcile, result, sample};

use crate::common::keys::{CLOSING, GRACE};
use crate::common::world::{Event, Plan, World};
use crate::common::{audit, found, write};
use crate::receipts::{PLAN, early};
use crate::trees;

/// What the three find.
fn codes(root: &Path, id: &ElectionId) -> [Vec<&'static str>; 3] {
    let (given, progress) = (root.to_str().unwrap(), Progress::hidden());
    let shown = result::run(given, id, &progress);
    let drawn = sample::run(given, id, 100, Some([1; 32]), &progress);
    let books = reconcile::run(given, id, &progress);
    [
        shown.findings_by_code,
        drawn.findings_by_code,
        books.findings_by_code,
    ]
    .map(|codes| codes.into_keys().collect())
}

fn books(world: &World) -> ReconcileVerdict {
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let id = world.keys.election.id();
    reconcile::run(folder.path().to_str().unwrap(), &id, &Progress::hidden())
}

#[test]
fn a_cell_that_has_published_nothing_yet_is_no_finding() {
    let trees = trees::read();
    let (n, case) = trees.case("a cell that has not published yet");
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in trees.files(n) {
        write(folder.path(), &name, &bytes);
    }
    let id = case.election.parse().unwrap();
    assert_eq!(codes(folder.path(), &id), [[""; 0]; 3]);
}

#[test]
fn a_checkpoint_that_is_there_and_wrong_is_not_called_missing() {
    let world = World::new("receipts", PLAN);
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    fs::write(folder.path().join("cells/0/checkpoint"), "no note").unwrap();
    let id = world.keys.election.id();
    for codes in codes(folder.path(), &id) {
        assert_eq!(codes, ["checkpoint-malformed"]);
    }
}

#[test]
fn what_stands_above_the_final_head_does_not_count() {
    let plan = Plan {
        finished: false,
        ..PLAN
    };
    let mut world = World::new("receipts", plan);
    world.events.push(Event::Head {
        time: CLOSING + GRACE + 1,
        is_final: true,
        tweak: None,
    });
    let more: Vec<_> = (60..70).map(|voter| world.vote(voter)).collect();
    let is_of_cell_0 =
        |vote: &&protocol::entry::Vote| world.keys.election.cell_of(&vote.credential) == 0;
    let more: Vec<_> = more.iter().filter(is_of_cell_0).cloned().collect();
    assert!(!more.is_empty());
    world.votes(0, &more, CLOSING);
    let verdict = books(&world);
    assert_eq!(verdict.votes, 60, "{verdict:#?}");

    // While it is open, all that is published counts, also what no head covers yet.
    let world = World::new("receipts", PLAN);
    let verdict = books(&early(&world, world.nth_head(4)));
    assert_eq!(verdict.votes, 60, "{verdict:#?}");
}

/// A batch right behind the cell's close.
fn behind_the_close(entries: impl Fn(&World) -> Vec<Vec<u8>>) -> World {
    let mut world = World::new("receipts", PLAN);
    let election = world.keys.election.clone();
    let is_close = |event: &Event| matches!(event, Event::Batch(LogId::Cell(0), entries) if matches!(Entry::decode(&entries[0], &election), Ok(Entry::Close(_))));
    let at = world.events.iter().position(is_close).unwrap();
    let entries = entries(&world);
    world
        .events
        .insert(at + 1, Event::Batch(LogId::Cell(0), entries));
    world
}

#[test]
fn a_cell_ends_once() {
    let close = |_: &World| {
        let (time, count) = (CLOSING + 3_000, 30);
        vec![Close { time, count }.encode()]
    };
    let genesis = |world: &World| vec![Genesis::of(&world.keys.election, LogId::Cell(0)).encode()];
    for world in [behind_the_close(close), behind_the_close(genesis)] {
        let verdict = books(&world);
        let codes: Vec<_> = verdict.findings_by_code.keys().collect();
        assert_eq!(codes, [&"grammar-broken"], "{verdict:#?}");
    }
}

#[test]
fn an_issuance_log_ends_once_and_begins_once() {
    let log = LogId::Issuance {
        registrar: 0,
        shard: 0,
    };
    let genesis = |world: &World| Genesis::of(&world.keys.election, log).encode();
    let close = |_: &World| {
        let (time, count) = (CLOSING, 60);
        Close { time, count }.encode()
    };
    for inner in [&genesis as &dyn Fn(&World) -> Vec<u8>, &close] {
        let mut world = World::new("receipts", PLAN);
        let issuance = Issuance {
            roll_index: 999,
            blinded_digest: [7; 32],
        };
        let entries = vec![inner(&world), issuance.encode()];
        let at = world.nth_head(2);
        world.events.insert(at, Event::Batch(log, entries));
        let verdict = books(&early(&world, world.nth_head(2) + 1));
        assert_eq!(verdict.verdict, Outcome::Findings, "{verdict:#?}");
        let codes: Vec<_> = verdict.findings_by_code.keys().collect();
        assert_eq!(codes, [&"grammar-broken"], "{verdict:#?}");
    }
}

/// A log that grows between two checkpoints: the newest one's partial tiles are gone already where the full ones stand.
#[test]
fn a_full_tile_stands_in_for_the_partial_one() {
    let plan = Plan {
        issued: 640,
        votes: 0,
        batch: 1,
        finished: false,
    };
    let world = World::new("receipts", plan);
    let log = LogId::Issuance {
        registrar: 0,
        shard: 0,
    };
    let is_issuances = |event: &Event| matches!(event, Event::Batch(of, entries) if *of == log && entries.len() > 1);
    let first = world.events.iter().position(is_issuances).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    early(&world, first + 1).publish(root);
    let prefix = "registrars/0/0";
    for (path, bytes) in world.steps() {
        let is_ahead = path.starts_with(&format!("{prefix}/tile/"))
            || path.starts_with(&format!("{prefix}/batches/"));
        if is_ahead && !root.join(&path).exists() {
            write(root, &path, &bytes);
        }
    }
    for kind in ["0", "entries"] {
        assert!(root.join(format!("{prefix}/tile/{kind}/001")).exists());
        fs::remove_file(root.join(format!("{prefix}/tile/{kind}/001.p/45"))).unwrap();
    }
    let id = world.keys.election.id();
    assert_eq!(found(&audit(root, &id)), []);
    let books = reconcile::run(root.to_str().unwrap(), &id, &Progress::hidden());
    assert_eq!(books.verdict, Outcome::Verified, "{books:#?}");
    assert_eq!(books.registrars[0].issued, 300);

    // Without the full ones they are missing.
    for kind in ["0", "entries"] {
        fs::remove_file(root.join(format!("{prefix}/tile/{kind}/001"))).unwrap();
    }
    let missing = |kind| ("missing-file", format!("{prefix}/tile/{kind}/001.p/45"));
    let found = found(&audit(root, &id));
    for kind in ["0", "entries"] {
        assert!(found.contains(&missing(kind)), "{found:?}");
    }
    let books = reconcile::run(root.to_str().unwrap(), &id, &Progress::hidden());
    assert!(
        books.findings_by_code.contains_key("missing-file"),
        "{books:#?}"
    );
}
