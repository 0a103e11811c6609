//! Elections whose manifest names witnesses: what the audit makes of their cosignatures.

use protocol::ids::LogId;
use verifier_cli::verdict::{AuditVerdict, Outcome};

use crate::common::keys::{CLOSING, GRACE};
use crate::common::world::{Event, Plan, World};
use crate::common::{audit, found};

const PLAN: Plan = Plan {
    votes: 60,
    issued: 80,
    batch: 20,
    finished: true,
};
/// What is borne between clocks (ms).
const APART: u64 = 300_000;

fn judge(world: &World) -> AuditVerdict {
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    audit(folder.path(), &world.keys.election.id())
}

fn codes(verdict: &AuditVerdict) -> Vec<&'static str> {
    verdict.findings_by_code.keys().copied().collect()
}

#[test]
fn a_witnessed_election_verifies() {
    let verdict = judge(&World::witnessed("witnessed", PLAN));
    assert_eq!(found(&verdict), []);
    assert_eq!(verdict.verdict, Outcome::Verified);
    assert!(
        verdict.bounds.judged_by.contains("witnesses")
            && verdict.bounds.judged_by.contains("size 8"),
        "{}",
        verdict.bounds.judged_by
    );
    // While it is open nobody asks for a quorum.
    let mut open = World::witnessed(
        "open",
        Plan {
            finished: false,
            ..PLAN
        },
    );
    open.cosign = |size, time| {
        if size < 3 {
            vec![(0, time / 1_000)]
        } else {
            Vec::new()
        }
    };
    assert_eq!(found(&judge(&open)), []);
    // Witnesses who said nothing vouch for nothing.
    open.cosign = |_, _| Vec::new();
    let verdict = judge(&open);
    assert_eq!(found(&verdict), []);
    assert!(
        verdict.bounds.judged_by.contains("no quorum"),
        "{}",
        verdict.bounds.judged_by
    );
}

#[test]
fn the_final_head_needs_its_quorum() {
    let mut world = World::witnessed("quorum", PLAN);
    let last = 1 + heads_of(&world);
    assert_eq!(last, 8, "the sizes below are those of this election");
    for (cosign, right) in [
        (
            (|_, time| vec![(0, time / 1_000), (2, time / 1_000)]) as fn(u64, u64) -> _,
            true,
        ),
        (|_, time| vec![(1, time / 1_000)], false),
        (
            |size, time| {
                if size < 8 {
                    vec![(0, time / 1_000), (1, time / 1_000)]
                } else {
                    Vec::new()
                }
            },
            false,
        ),
    ] {
        world.cosign = cosign;
        let verdict = judge(&world);
        let expected: &[&str] = if right { &[] } else { &["quorum"] };
        assert_eq!(codes(&verdict), expected, "{:#?}", verdict.findings);
    }
}

fn heads_of(world: &World) -> u64 {
    let heads = world
        .events
        .iter()
        .filter(|event| matches!(event, Event::Head { .. }));
    heads.count() as u64
}

#[test]
fn times_that_witnesses_contradict() {
    let mut world = World::witnessed("clock", PLAN);
    // Everybody is shut out an hour early, and the heads say that it is closing time already: who saw them knows better.
    world.cosign = |_, time| {
        let seen = if time > CLOSING {
            time.saturating_sub(APART) - 1_000
        } else {
            time
        };
        (0..3).map(|n| (n, seen / 1_000)).collect()
    };
    let verdict = judge(&world);
    assert_eq!(codes(&verdict), ["clock"]);
    assert_eq!(verdict.findings.len(), 2);
    // As far apart as clocks may be; and the one witness of three who is wrong moves nothing: the quorum is complete with its second.
    world.cosign = |_, time| {
        vec![
            (0, 1),
            (1, (time.saturating_sub(APART)).div_ceil(1_000)),
            (2, time.div_ceil(1_000)),
        ]
    };
    assert_eq!(codes(&judge(&world)), [""; 0]);
}

/// The votes of the last batch, and the close, come long after the end; the heads over them bear times of closing and grace.
fn backdated(cosign: fn(u64, u64) -> Vec<(usize, u64)>) -> World {
    let mut world = World::witnessed(
        "backdated",
        Plan {
            finished: false,
            ..PLAN
        },
    );
    for log in world.keys.election.logs().to_vec().split_off(2) {
        world.close(log, CLOSING);
    }
    let votes: Vec<_> = (60..70).map(|voter| world.vote(voter)).collect();
    for cell in 0..2 {
        let of_cell: Vec<_> = votes
            .iter()
            .filter(|vote| world.keys.election.cell_of(&vote.credential) == cell)
            .cloned()
            .collect();
        assert!(!of_cell.is_empty());
        world.votes(cell, &of_cell, CLOSING + 1_000);
        world.close(LogId::Cell(cell), CLOSING + 2_000);
    }
    world.events.push(Event::Head {
        time: CLOSING + GRACE,
        is_final: true,
        tweak: None,
    });
    world.events.push(Event::Results);
    world.cosign = cosign;
    world
}

#[test]
fn votes_are_late_when_witnesses_saw_them_late() {
    fn seen(after: u64) -> impl Fn(u64) -> Vec<(usize, u64)> {
        move |time| {
            let late = if time == CLOSING + GRACE { after } else { 0 };
            (0..3).map(|n| (n, (time + late) / 1_000)).collect()
        }
    }
    assert_eq!(
        codes(&judge(&backdated(|_, time| seen(APART)(time)))),
        [""; 0]
    );
    let verdict = judge(&backdated(|_, time| seen(APART + 1_000)(time)));
    assert_eq!(codes(&verdict), ["late"]);
    assert_eq!(verdict.bounds.late, 10);
    // A quorum that was there in time vouches for them, whoever came later.
    let verdict = judge(&backdated(|_, time| {
        vec![
            (0, time / 1_000),
            (1, time / 1_000),
            (2, time / 1_000 + 9_999),
        ]
    }));
    assert_eq!(codes(&verdict), [""; 0]);
}

#[test]
fn cosignatures_that_are_wrong() {
    let world = World::witnessed("wrong", PLAN);
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let id = world.keys.election.id();
    let file = |size: u64| folder.path().join(format!("heads/cosigned/{size}"));
    let (three, four) = (
        std::fs::read(file(3)).unwrap(),
        std::fs::read(file(4)).unwrap(),
    );
    let mut flipped = three.clone();
    let end = flipped.len() - 4;
    flipped[end] = if flipped[end] == b'A' { b'B' } else { b'A' };
    let own = std::fs::read(folder.path().join("heads/checkpoints/3")).unwrap();
    for wrong in [&flipped, &four, &own, &b"x".to_vec()] {
        std::fs::write(file(3), wrong).unwrap();
        let verdict = audit(folder.path(), &id);
        assert_eq!(
            found(&verdict),
            [("cosignature-wrong", "heads/cosigned/3".to_owned())]
        );
    }
    std::fs::write(file(3), &three).unwrap();
    assert_eq!(found(&audit(folder.path(), &id)), []);
    // Where the manifest names nobody, the folder belongs to nothing.
    let plain = World::new("plain", PLAN);
    let folder = tempfile::tempdir().unwrap();
    plain.publish(folder.path());
    std::fs::create_dir(folder.path().join("heads/cosigned")).unwrap();
    assert_eq!(found(&audit(folder.path(), &plain.keys.election.id())), []);
    std::fs::write(folder.path().join("heads/cosigned/3"), &three).unwrap();
    let verdict = audit(folder.path(), &plain.keys.election.id());
    assert_eq!(codes(&verdict), ["foreign-file"]);
}
