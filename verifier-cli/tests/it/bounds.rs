//! What a finding says besides its code: how many votes it can affect, and where. A bound that is too small hides, one that is too large accuses.

use std::fs;
use std::path::Path;

use protocol::entry::{Count, Entry, Issuance, Refused};
use protocol::ids::LogId;
use verifier_cli::finding::Finding;
use verifier_cli::progress::Progress;
use verifier_cli::reconcile::{self, ReconcileVerdict};
use verifier_cli::result;
use verifier_cli::verdict::Outcome;

use crate::common::keys::{Keys, OPENING};
use crate::common::world::{Event, Plan, World};
use crate::common::{audit, audit_with};
use crate::receipts::{PLAN, early};

/// The bounds of all findings of a code.
fn bounds(findings: &[Finding], code: &str) -> Vec<u64> {
    let findings = findings.iter();
    findings
        .filter(|finding| finding.code.name() == code)
        .map(|finding| finding.votes_at_most)
        .collect()
}

/// The sizes of a log's checkpoints, ascending.
fn sizes(root: &Path, log: &str) -> Vec<u64> {
    let files = fs::read_dir(root.join(log).join("checkpoints")).unwrap();
    let mut sizes: Vec<u64> = files
        .map(|file| file.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    sizes.sort_unstable();
    sizes
}

/// From now on the newest checkpoint is an earlier one; returns how many entries are missing.
fn cut(root: &Path, log: &str, to: usize) -> u64 {
    let sizes = sizes(root, log);
    let old = root.join(log).join(format!("checkpoints/{}", sizes[to]));
    fs::copy(old, root.join(log).join("checkpoint")).unwrap();
    sizes.last().unwrap() - sizes[to]
}

#[test]
fn a_log_that_shrank_lacks_the_entries_in_between() {
    let world = World::new("receipts", PLAN);
    let id = world.keys.election.id();
    // Against results.json, which counts more than the newest head covers.
    let folder = tempfile::tempdir().unwrap();
    early(&world, world.nth_head(4)).publish(folder.path());
    let to = sizes(folder.path(), "cells/0").len() - 2;
    let missing = cut(folder.path(), "cells/0", to);
    let given = folder.path().to_str().unwrap();
    let shown = result::run(given, &id, &Progress::hidden());
    assert_eq!(bounds(&shown.findings, "checkpoint-rollback"), [missing]);
    // Against a checkpoint that somebody kept.
    let later = tempfile::tempdir().unwrap();
    world.publish(later.path());
    let kept = later.path().join("cells/0/checkpoint");
    let folder = tempfile::tempdir().unwrap();
    early(&world, world.nth_head(3) + 1).publish(folder.path());
    let last = |root: &Path| *sizes(root, "cells/0").last().unwrap();
    let missing = last(later.path()) - last(folder.path());
    let verdict = audit_with(folder.path(), &id, &[&kept]);
    assert_eq!(bounds(&verdict.findings, "checkpoint-rollback"), [missing]);
}

/// Every voter of the roll is issued a credential, and two of them another one.
#[test]
fn issuances_beyond_the_roll() {
    let plan = Plan {
        issued: 100,
        votes: 10,
        batch: 10,
        finished: true,
    };
    let mut world = World::with(Keys::with_roll("bounds", 100), plan);
    let log = LogId::Issuance {
        registrar: 0,
        shard: 0,
    };
    let twice = (0..2u64).map(|roll_index| {
        let blinded_digest = [7; 32];
        let issuance = Issuance {
            roll_index,
            blinded_digest,
        };
        issuance.encode()
    });
    let batch = world.events.iter_mut().find_map(|event| match event {
        Event::Batch(of, entries) if *of == log && entries.len() > 1 => Some(entries),
        _ => None,
    });
    batch.unwrap().extend(twice);
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let verdict = audit(folder.path(), &world.keys.election.id());
    // By the heads, and by all that is published.
    assert_eq!(bounds(&verdict.findings, "issued-exceeds-roll"), [2, 2]);
}

/// The books of an election with a roll of 100, where registrar 0 issued so many credentials behind its last count, which ends an entry bundle.
fn behind_the_count(issued: u64) -> ReconcileVerdict {
    let plan = Plan {
        issued: 0,
        votes: 0,
        batch: 1,
        finished: false,
    };
    let mut world = World::with(Keys::with_roll("bounds", 100), plan);
    let log = LogId::Issuance {
        registrar: 0,
        shard: 0,
    };
    let count = Count {
        time: OPENING,
        issued: 0,
        refused: Refused::default(),
    };
    // Behind the genesis and a count.
    world.batch(log, vec![count.encode(); 254]);
    let issuances = (0..issued).map(|voter| Issuance {
        roll_index: voter % 100,
        blinded_digest: [7; 32],
    });
    world.batch(log, issuances.map(|issuance| issuance.encode()).collect());
    world.head(OPENING + 2_000);
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let id = world.keys.election.id();
    reconcile::run(folder.path().to_str().unwrap(), &id, &Progress::hidden())
}

#[test]
fn more_issuances_in_a_row_than_voters_are_not_read_on() {
    let verdict = behind_the_count(100);
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    assert_eq!(verdict.registrars[0].issued, 100);

    let verdict = behind_the_count(134);
    let findings = &verdict.findings;
    assert_eq!(
        bounds(findings, "issued-exceeds-roll"),
        [34],
        "{verdict:#?}"
    );
    assert_eq!(findings[0].place.index, Some(256));
}

#[test]
fn an_issuance_log_that_does_not_begin_with_its_genesis_has_no_books() {
    let mut world = World::new("receipts", PLAN);
    let log = LogId::Issuance {
        registrar: 0,
        shard: 0,
    };
    let election = world.keys.election.clone();
    for event in &mut world.events {
        let Event::Batch(of, entries) = event else {
            continue;
        };
        if *of != log {
            continue;
        }
        // No count: it is read to its beginning.
        entries.retain(|bytes| !matches!(Entry::decode(bytes, &election), Ok(Entry::Count(_))));
        for bytes in entries {
            if let Ok(Entry::Genesis(_)) = Entry::decode(bytes, &election) {
                let issuance = Issuance {
                    roll_index: 999,
                    blinded_digest: [7; 32],
                };
                *bytes = issuance.encode();
            }
        }
    }
    world.events.retain(|event| match event {
        Event::Batch(_, entries) => !entries.is_empty(),
        _ => true,
    });
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let given = folder.path().to_str().unwrap();
    let verdict = reconcile::run(given, &election.id(), &Progress::hidden());
    assert_ne!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    assert_eq!(
        verdict.findings_by_code.get("grammar-broken"),
        Some(&1),
        "{verdict:#?}"
    );
}
