//! Receipts: valid ones, forged ones, and those that the published ledger contradicts.

use std::path::Path;

use protocol::entry::Vote;
use protocol::ids::{ElectionId, LogId};
use protocol::receipt::{RECEIPT_FORMAT, Receipt, Seal};
use verifier_cli::receipt::{self, Counted, ReceiptVerdict};
use verifier_cli::verdict::Outcome;

use crate::common::keys::{CLOSING, GRACE};
use crate::common::world::{Event, Plan, World, Writer, cosigned_at_once};

pub const PLAN: Plan = Plan {
    votes: 60,
    issued: 60,
    batch: 20,
    finished: true,
};

/// A receipt for the vote at `index` of cell 0, as of the state of the writer.
pub fn receipt(world: &World, writer: &Writer<'_>, index: u64, sealed: bool) -> Receipt {
    let vote = writer.trees[&LogId::Cell(0)].proof(index);
    let heads = &writer.trees[&LogId::Heads];
    Receipt {
        cell: 0,
        election: world.keys.election.id(),
        sealed: sealed.then(|| Seal {
            head: heads.proof(heads.size() - 1),
            vote: vote.clone(),
        }),
        format: RECEIPT_FORMAT.to_owned(),
        manifest: String::from_utf8(world.keys.election.manifest_bytes().to_vec()).unwrap(),
        switches: Vec::new(),
        vote,
    }
}

/// The world as it stood after so many events.
pub fn early(world: &World, events: usize) -> World {
    World {
        keys: crate::common::keys::Keys::new("receipts"),
        events: world.events[..events].to_vec(),
        anchored: true,
        tweak_results: None,
        cosign: cosigned_at_once,
    }
}

fn check(
    receipt: &Receipt,
    id: &ElectionId,
    source: Option<&Path>,
    credential: Option<&[u8; 32]>,
) -> ReceiptVerdict {
    check_bytes(&receipt.encode().unwrap(), id, source, credential)
}

fn check_bytes(
    bytes: &[u8],
    id: &ElectionId,
    source: Option<&Path>,
    credential: Option<&[u8; 32]>,
) -> ReceiptVerdict {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("receipt.json");
    std::fs::write(&file, bytes).unwrap();
    receipt::run(
        &file,
        id,
        source.map(|path| path.to_str().unwrap()),
        credential,
    )
}

fn codes(verdict: &ReceiptVerdict) -> Vec<&'static str> {
    verdict
        .findings
        .iter()
        .map(|finding| finding.code.name())
        .collect()
}

#[test]
fn valid_receipts_verify_offline_and_in_the_ledger() {
    let world = World::new("receipts", PLAN);
    let id = world.keys.election.id();
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let mut writer = Writer::new(&world);
    writer.run();
    let before = early(&world, world.nth_head(2));
    let mut provisional = Writer::new(&before);
    provisional.run();

    for (receipt, sealed) in [
        (receipt(&world, &provisional, 1, false), false),
        (receipt(&world, &writer, 1, true), true),
    ] {
        let offline = check(&receipt, &id, None, None);
        assert_eq!(offline.verdict, Outcome::Verified, "{offline:#?}");
        let vote = offline.vote.unwrap();
        assert_eq!(
            (vote.cell, vote.index, vote.sealed.is_some()),
            (0, 1, sealed)
        );
        assert_eq!(vote.choices.len(), 3);
        assert!(offline.ledger.is_none());
        assert!(
            offline
                .not_covered
                .iter()
                .any(|what| what.contains("--source"))
        );

        let online = check(&receipt, &id, Some(folder.path()), None);
        assert_eq!(online.verdict, Outcome::Verified, "{online:#?}");
        let ledger = online.ledger.unwrap();
        assert!(ledger.in_ledger);
        assert_eq!(ledger.counted, Counted::Final);

        // The voter's own key, and somebody else's.
        let entry = protocol::tlog_proof::TlogProof::parse(receipt.vote.as_bytes()).unwrap();
        let vote = Vote::decode(entry.extra().unwrap(), &world.keys.election).unwrap();
        assert_eq!(
            check(&receipt, &id, None, Some(&vote.credential)).verdict,
            Outcome::Verified
        );
        assert_eq!(
            codes(&check(&receipt, &id, None, Some(&[7; 32]))),
            ["receipt-other-key"]
        );
    }

    // While the election was open, with and without a head over the vote.
    for (events, counted) in [
        (world.nth_head(2), Counted::NotYet),
        (world.nth_head(2) + 1, Counted::Covered),
    ] {
        let then = early(&world, events);
        let folder = tempfile::tempdir().unwrap();
        then.publish(folder.path());
        let verdict = check(
            &receipt(&world, &provisional, 1, false),
            &id,
            Some(folder.path()),
            None,
        );
        assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
        assert_eq!(verdict.ledger.unwrap().counted, counted);
    }
}

#[test]
fn forged_receipts_are_refused() {
    let world = World::new("receipts", PLAN);
    let id = world.keys.election.id();
    let mut writer = Writer::new(&world);
    writer.run();
    let right = receipt(&world, &writer, 1, true);
    let mut wrong = right.clone();
    wrong.vote = writer.trees[&LogId::Cell(0)].proof(2);
    assert_eq!(codes(&check(&wrong, &id, None, None)), ["receipt-invalid"]);
    let mut wrong = right.clone();
    wrong.cell = 1;
    assert_eq!(codes(&check(&wrong, &id, None, None)), ["receipt-invalid"]);
    assert_eq!(
        codes(&check(&right, &ElectionId([1; 32]), None, None)),
        ["receipt-foreign"]
    );
    let bytes = right.encode().unwrap();
    assert_eq!(
        codes(&check_bytes(&bytes[1..], &id, None, None)),
        ["receipt-malformed"]
    );
    // Another file, or another id, is a mistake, and no verdict on anybody.
    for (bytes, id) in [
        (&b"holiday photograph"[..], &id),
        (&b"{\"about\":1}"[..], &id),
        (&bytes[..], &ElectionId([1; 32])),
    ] {
        let verdict = check_bytes(bytes, id, None, None);
        assert_eq!(
            (verdict.verdict, verdict.findings.len()),
            (Outcome::Unchecked, 1)
        );
        assert!(verdict.not_covered[0].contains("no receipt of the election"));
    }
    for at in (0..bytes.len()).step_by(bytes.len() / 60) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        let verdict = check_bytes(&flipped, &id, None, None);
        assert_eq!(verdict.verdict, Outcome::Findings, "byte {at}");
        assert!(verdict.vote.is_none());
    }
}

#[test]
fn a_vote_that_the_final_head_leaves_out() {
    // Cell 0 never closes and goes on after the final head.
    let mut world = World::new(
        "receipts",
        Plan {
            finished: false,
            ..PLAN
        },
    );
    world.events.push(Event::Head {
        time: CLOSING + GRACE + 1,
        is_final: true,
        tweak: None,
    });
    let late: Vec<Vote> = (60..80)
        .map(|voter| world.vote(voter))
        .filter(|vote| world.keys.election.cell_of(&vote.credential) == 0)
        .collect();
    world.votes(0, &late, CLOSING);
    let mut writer = Writer::new(&world);
    writer.run();
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let size = writer.trees[&LogId::Cell(0)].size();
    let receipt = receipt(&world, &writer, size - 2, false);
    let verdict = check(
        &receipt,
        &world.keys.election.id(),
        Some(folder.path()),
        None,
    );
    assert_eq!(codes(&verdict), ["dropped"]);
    assert_eq!(verdict.ledger.unwrap().counted, Counted::Dropped);
}

#[test]
fn a_ledger_that_is_not_the_receipts() {
    let world = World::new("receipts", PLAN);
    let id = world.keys.election.id();
    let mut forked = World::new("receipts", PLAN);
    // The published ledger leaves out a vote that a receipt was given for.
    forked.change_votes(0, 0, |votes| {
        votes.remove(0);
    });
    let folder = tempfile::tempdir().unwrap();
    forked.publish(folder.path());
    let before = early(&world, world.nth_head(3));
    let mut writer = Writer::new(&before);
    writer.run();
    let verdict = check(
        &receipt(&world, &writer, 1, false),
        &id,
        Some(folder.path()),
        None,
    );
    let codes_found = codes(&verdict);
    assert!(
        codes_found.contains(&"equivocation") && codes_found.contains(&"fork"),
        "{verdict:#?}"
    );
    assert!(!verdict.ledger.as_ref().unwrap().in_ledger, "{verdict:#?}");
    let equivocation = verdict
        .findings
        .iter()
        .find(|finding| finding.code.name() == "equivocation")
        .unwrap();
    // Both notes, ready to be shown to others.
    assert_eq!(
        equivocation
            .evidence
            .matches("\u{2014} votes.example")
            .count(),
        2,
        "{}",
        equivocation.evidence
    );

    // The published ledger ends below the receipt.
    let rolled_back = early(&world, world.nth_head(2));
    let folder = tempfile::tempdir().unwrap();
    rolled_back.publish(folder.path());
    let size = writer.trees[&LogId::Cell(0)].size();
    let verdict = check(
        &receipt(&world, &writer, size - 2, false),
        &id,
        Some(folder.path()),
        None,
    );
    assert_eq!(codes(&verdict), ["checkpoint-rollback"], "{verdict:#?}");
}

#[test]
fn a_head_of_another_history_counts_no_vote() {
    let mut world = World::new(
        "receipts",
        Plan {
            finished: false,
            ..PLAN
        },
    );
    world.events.push(Event::Head {
        time: CLOSING - 1_000,
        is_final: false,
        tweak: Some(|head| head.logs[0].root.0[0] ^= 1),
    });
    let mut writer = Writer::new(&world);
    writer.run();
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let verdict = check(
        &receipt(&world, &writer, 1, false),
        &world.keys.election.id(),
        Some(folder.path()),
        None,
    );
    assert_eq!(codes(&verdict), ["head-root"], "{verdict:#?}");
    let ledger = verdict.ledger.unwrap();
    assert!(ledger.in_ledger);
    assert_eq!(ledger.counted, Counted::Unknown);
}

#[test]
fn a_source_that_cannot_be_read_is_no_verdict() {
    let world = World::new("receipts", PLAN);
    let mut writer = Writer::new(&world);
    writer.run();
    let receipt = receipt(&world, &writer, 1, true);
    let verdict = check(
        &receipt,
        &world.keys.election.id(),
        Some(Path::new("/nowhere/at/all")),
        None,
    );
    assert_eq!(verdict.verdict, Outcome::Unchecked);
    assert!(verdict.vote.is_some());
}
