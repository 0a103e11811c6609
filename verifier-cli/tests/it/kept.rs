//! What people kept from before, against an operator who signed everything anew: with nothing kept, such a ledger verifies; with any one checkpoint of the first, it does not.

use std::path::{Path, PathBuf};

use protocol::dispute::{Dispute, Ruling};
use protocol::evidence::SplitView;
use protocol::ids::{ElectionId, LogId};
use verifier_cli::audit::{self, Options};
use verifier_cli::finding::Code;
use verifier_cli::progress::Progress;
use verifier_cli::verdict::{AuditVerdict, Outcome};
use verifier_cli::{consistency, dispute};

use crate::common::keys::{CLOSING, GRACE};
use crate::common::world::{Event, Plan, World, Writer};
use crate::common::{found, options};
use crate::receipts::{PLAN, early, receipt};

/// An honest election, and another history of it that the same keys signed: one vote of cell 0 is gone.
struct Fork {
    folder: tempfile::TempDir,
    id: ElectionId,
    honest: World,
}

impl Fork {
    fn new() -> Self {
        let honest = World::new("receipts", PLAN);
        let mut forged = World::new("receipts", PLAN);
        forged.change_votes(0, 0, |votes| {
            votes.remove(0);
        });
        let folder = tempfile::tempdir().unwrap();
        honest.publish(&folder.path().join("honest"));
        forged.publish(&folder.path().join("forged"));
        Self {
            folder,
            id: honest.keys.election.id(),
            honest,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn keep(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A receipt that was given before anything was forged.
    fn receipt(&self) -> PathBuf {
        self.receipt_before_head(3)
    }

    fn receipt_before_head(&self, n: usize) -> PathBuf {
        let before = early(&self.honest, self.honest.nth_head(n));
        let mut writer = Writer::new(&before);
        writer.run();
        let receipt = receipt(&self.honest, &writer, 1, false);
        self.keep("receipt.json", &receipt.encode().unwrap())
    }
}

fn audited(source: &Path, id: &ElectionId, evidence: &[&Path]) -> AuditVerdict {
    let options = Options {
        evidence: evidence.iter().map(|path| (*path).to_owned()).collect(),
        ..options()
    };
    audit::run(source.to_str().unwrap(), id, &options, &Progress::hidden())
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn any_one_kept_file_convicts_a_ledger_that_was_signed_anew() {
    let fork = Fork::new();
    let forged = fork.path("forged");
    // The limit, said plainly: nothing in the files shows it.
    let alone = audited(&forged, &fork.id, &[]);
    assert_eq!(alone.verdict, Outcome::Verified, "{alone:#?}");

    let honest = fork.path("honest");
    let anchor = std::fs::read_dir(honest.join("anchors"))
        .unwrap()
        .next()
        .unwrap();
    let anchors = anchor.unwrap().path();
    let last = std::fs::read_dir(&anchors).unwrap().count() - 1;
    let kept = [
        fork.receipt(),
        honest.join("cells/0/checkpoint"),
        honest.join("heads/checkpoint"),
        honest.join("results.json"),
        anchors.join(last.to_string()),
    ];
    for file in &kept {
        let verdict = audited(&forged, &fork.id, &[file]);
        assert_eq!(verdict.verdict, Outcome::Findings, "{}", file.display());
        let own = text(file);
        assert!(
            found(&verdict).iter().any(|(code, place)| *place == own
                && matches!(*code, "equivocation" | "checkpoint-rollback")),
            "{}: {:?}",
            file.display(),
            found(&verdict)
        );
        assert_eq!(verdict.covered.evidence.files, 1);
        // The same file raises nothing against the ledger that it is from.
        let right = audited(&honest, &fork.id, &[file]);
        assert_eq!(right.verdict, Outcome::Verified, "{right:#?}");
    }

    // A receipt names the vote that was changed under it, too.
    let verdict = audited(&forged, &fork.id, &[&kept[0]]);
    assert!(
        found(&verdict).contains(&("fork", text(&kept[0]))),
        "{:?}",
        found(&verdict)
    );

    // A whole folder of them.
    let verdict = audited(&forged, &fork.id, &[&anchors]);
    assert_eq!(verdict.covered.evidence.files, last as u64 + 1);
    assert_eq!(verdict.verdict, Outcome::Findings);
}

#[test]
fn a_file_that_is_no_evidence_is_not_passed_over() {
    let fork = Fork::new();
    let honest = fork.path("honest");
    let mut note = std::fs::read(honest.join("cells/0/checkpoint")).unwrap();
    let last = note.len() - 10;
    note[last] ^= 1;
    let files = [
        fork.keep("forged.checkpoint", &note),
        fork.keep("picture", b"\x89PNG"),
        fork.keep("other.json", br#"{"format":"else"}"#),
        fork.path("nowhere"),
    ];
    for file in files {
        let verdict = audited(&honest, &fork.id, &[&file]);
        assert_eq!(verdict.verdict, Outcome::Unchecked, "{}", file.display());
        assert_eq!(verdict.covered.evidence.files, 0);
        assert!(
            verdict
                .not_covered
                .iter()
                .any(|what| what.contains(&text(&file))),
            "{:?}",
            verdict.not_covered
        );
    }
}

#[test]
fn evidence_that_holds_nothing_is_no_evidence() {
    let fork = Fork::new();
    let honest = fork.path("honest");
    let empty = fork.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let verdict = audited(&honest, &fork.id, &[&empty]);
    assert_eq!(verdict.verdict, Outcome::Unchecked);
    let said = verdict.not_covered.join("\n");
    assert!(said.contains("no file in it holds anything"), "{said}");
    // And none at all is said.
    let alone = "nothing that was kept from before was compared";
    let verdict = audited(&honest, &fork.id, &[]);
    assert_eq!(verdict.verdict, Outcome::Verified);
    assert!(verdict.not_covered.join("\n").contains(alone));
    let verdict = audited(&honest, &fork.id, &[&honest.join("heads/checkpoint")]);
    assert!(!verdict.not_covered.join("\n").contains(alone));
}

#[test]
fn a_log_that_ends_below_much_that_was_kept_is_said_once() {
    let fork = Fork::new();
    let older = early(&fork.honest, fork.honest.nth_head(2) + 1);
    let copy = fork.path("copy");
    older.publish(&copy);
    let honest = fork.path("honest");
    let verdict = audited(&copy, &fork.id, &[&honest]);
    let mut logs: Vec<String> = Vec::new();
    for finding in &verdict.findings {
        assert_eq!(finding.code, Code::CheckpointRollback, "{finding:#?}");
        logs.push(finding.evidence.split(' ').next().unwrap().to_owned());
    }
    let all = logs.len();
    logs.dedup();
    assert!(
        logs.len() == all && logs.contains(&"heads".to_owned()),
        "{logs:?}"
    );
    let heads = verdict
        .findings
        .iter()
        .find(|finding| finding.evidence.starts_with("heads "))
        .unwrap();
    assert!(
        heads
            .evidence
            .contains("more of what was kept are beyond it"),
        "{}",
        heads.evidence
    );
    // The largest is the one that is shown.
    let newest = std::fs::read_to_string(honest.join("heads/checkpoint")).unwrap();
    assert!(heads.evidence.contains(newest.lines().nth(2).unwrap()));
}

#[test]
fn whole_copies_are_compared_log_by_log() {
    let fork = Fork::new();
    let (honest, forged) = (fork.path("honest"), fork.path("forged"));
    let older = fork.path("older");
    early(&fork.honest, fork.honest.nth_head(2) + 1).publish(&older);
    let compare = |a: &Path, b: &Path| consistency::run(a, b, &fork.id, &[text(&honest)]);
    let same = compare(&older, &honest);
    assert_eq!(same.verdict, Outcome::Verified, "{same:#?}");
    let logs = fork.honest.keys.election.logs().len() + 1;
    assert_eq!(same.logs.len(), logs, "{same:#?}");
    let split = compare(&forged, &honest);
    assert_eq!(split.verdict, Outcome::Findings, "{split:#?}");
    assert!(split.split.is_some());
    let empty = fork.path("nothing");
    std::fs::create_dir(&empty).unwrap();
    assert_eq!(compare(&empty, &honest).verdict, Outcome::Unchecked);
}

#[test]
fn nobody_convicts_an_honest_election_by_a_receipt_that_he_made() {
    let fork = Fork::new();
    let honest = fork.path("honest");
    // Rightly signed checkpoints, and a path that leads nowhere.
    let text = std::fs::read_to_string(fork.receipt()).unwrap();
    let forged = text.replacen("\\nindex 1\\n", "\\nindex 2\\n", 1);
    assert_ne!(forged, text);
    let made = fork.keep("made.json", forged.as_bytes());
    let verdict = audited(&honest, &fork.id, &[&made]);
    assert!(found(&verdict).is_empty(), "{:?}", found(&verdict));
    assert_eq!(verdict.verdict, Outcome::Unchecked);
    // However many he makes, they do not keep others from being looked at.
    let forged = fork.path("forged");
    let many: Vec<PathBuf> = (0..20)
        .map(|n| fork.keep(&format!("made-{n}.json"), b"nothing"))
        .collect();
    let receipt = fork.receipt();
    let mut evidence: Vec<&Path> = many.iter().map(PathBuf::as_path).collect();
    evidence.push(&receipt);
    let verdict = audited(&forged, &fork.id, &evidence);
    assert!(
        found(&verdict).iter().any(|(code, _)| *code == "fork"),
        "{:?}",
        found(&verdict)
    );
}

#[test]
fn every_log_that_two_files_speak_of_is_compared() {
    let honest = World::new("receipts", PLAN);
    let mut forged = World::new("receipts", PLAN);
    // Cell 0 is the same; the fork is in cell 1.
    forged.change_votes(1, 0, |votes| {
        votes.remove(0);
    });
    let folder = tempfile::tempdir().unwrap();
    for (world, name) in [(&honest, "honest"), (&forged, "forged")] {
        world.publish(&folder.path().join(name));
    }
    let (id, results) = (honest.keys.election.id(), "results.json");
    let (one, two) = (
        folder.path().join("honest").join(results),
        folder.path().join("forged").join(results),
    );
    let sources = [
        text(&folder.path().join("honest")),
        text(&folder.path().join("forged")),
    ];
    let verdict = consistency::run(&one, &two, &id, &sources);
    assert_eq!(verdict.verdict, Outcome::Findings, "{verdict:#?}");
    assert_eq!(verdict.logs, ["cells/0", "cells/1"]);
    let verdict = consistency::run(&one, &one, &id, &sources);
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
}

/// Two batches of an issuance log, with no head between them, become one: where they are cut, nobody signed but in a checkpoint that is not published any more.
fn joined(mut world: World) -> (World, LogId, u64) {
    let is_next = |pair: &[Event]| match pair {
        [Event::Batch(one, _), Event::Batch(other, entries)] => {
            one == other && matches!(one, LogId::Issuance { .. }) && entries.len() == 1
        }
        _ => false,
    };
    let at = world.events.windows(2).position(is_next).unwrap();
    let Event::Batch(log, second) = world.events.remove(at + 1) else {
        unreachable!()
    };
    let before: usize = world.events[..=at]
        .iter()
        .filter_map(|event| match event {
            Event::Batch(of, entries) if *of == log => Some(entries.len()),
            _ => None,
        })
        .sum();
    let Event::Batch(_, first) = &mut world.events[at] else {
        unreachable!()
    };
    first.extend(second);
    (world, log, before as u64)
}

#[test]
fn a_copy_whose_batches_are_cut_elsewhere_convicts_nobody() {
    let honest = World::new("receipts", PLAN);
    let id = honest.keys.election.id();
    let folder = tempfile::tempdir().unwrap();
    honest.publish(&folder.path().join("honest"));
    let (copy, log, size) = joined(World::new("receipts", PLAN));
    copy.publish(&folder.path().join("copy"));
    let note = folder
        .path()
        .join(format!("honest/{log}/checkpoints/{size}"));
    assert!(note.is_file(), "{}", note.display());
    assert!(
        !folder
            .path()
            .join(format!("copy/{log}/checkpoints/{size}"))
            .exists()
    );
    let verdict = audited(&folder.path().join("copy"), &id, &[&note]);
    assert_eq!(found(&verdict), [], "{verdict:#?}");
    assert_eq!(verdict.verdict, Outcome::Verified);

    // The same with another issuance in it is another history.
    let (mut forged, ..) = joined(World::new("receipts", PLAN));
    let first = forged.events.iter_mut().find_map(|event| match event {
        Event::Batch(of, entries) if *of == log && entries.len() > 1 => Some(entries),
        _ => None,
    });
    *first.unwrap()[0].last_mut().unwrap() ^= 1;
    forged.publish(&folder.path().join("forged"));
    let verdict = audited(&folder.path().join("forged"), &id, &[&note]);
    assert_eq!(found(&verdict), [("equivocation", text(&note))]);

    // A copy that cannot prove what stands there says so, and convicts nobody either.
    for tile in crate::common::files(&folder.path().join("copy").join(log.prefix())) {
        if tile.starts_with("tile/0/") {
            std::fs::remove_file(folder.path().join("copy").join(log.prefix()).join(&tile))
                .unwrap();
        }
    }
    let verdict = audited(&folder.path().join("copy"), &id, &[&note]);
    assert!(
        found(&verdict)
            .iter()
            .all(|(code, _)| *code == "missing-file"),
        "{:?}",
        found(&verdict)
    );
}

#[test]
fn a_kept_receipt_that_the_final_head_leaves_out() {
    let (world, receipt) = dropped();
    let folder = tempfile::tempdir().unwrap();
    world.publish(&folder.path().join("ledger"));
    let file = folder.path().join("receipt.json");
    std::fs::write(&file, receipt).unwrap();
    let verdict = audited(
        &folder.path().join("ledger"),
        &world.keys.election.id(),
        &[&file],
    );
    assert!(
        found(&verdict).contains(&("dropped", text(&file))),
        "{:?}",
        found(&verdict)
    );
}

/// Cell 0 never closes and goes on after the final head; and a receipt for a vote from there.
fn dropped() -> (World, Vec<u8>) {
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
    let late: Vec<_> = (60..80)
        .map(|voter| world.vote(voter))
        .filter(|vote| world.keys.election.cell_of(&vote.credential) == 0)
        .collect();
    world.votes(0, &late, CLOSING);
    let mut writer = Writer::new(&world);
    writer.run();
    let size = writer.trees[&LogId::Cell(0)].size();
    let receipt = receipt(&world, &writer, size - 2, false).encode().unwrap();
    (world, receipt)
}

#[test]
fn two_checkpoints_that_one_log_cannot_have() {
    let fork = Fork::new();
    let (honest, forged) = (fork.path("honest"), fork.path("forged"));
    let old = fork.receipt();
    let sources = [text(&forged)];
    for (a, b, sources) in [
        // One size, two roots: needs nobody's tiles, only the manifest that a receipt carries, or a source.
        (
            honest.join("heads/checkpoint"),
            forged.join("heads/checkpoint"),
            &sources[..],
        ),
        // Two sizes: the tiles of the newer tree; the order of the files does not matter.
        (old.clone(), forged.join("cells/0/checkpoint"), &sources[..]),
        (forged.join("cells/0/checkpoint"), old.clone(), &sources[..]),
        // The newer tree is shown by nobody, and what is published contradicts it.
        (old.clone(), honest.join("cells/0/checkpoint"), &sources[..]),
    ] {
        let verdict = consistency::run(&a, &b, &fork.id, sources);
        assert_eq!(verdict.verdict, Outcome::Findings, "{verdict:#?}");
        assert_eq!(verdict.findings[0].code.name(), "equivocation");
        let split = verdict.split.unwrap();
        let proof = fork.path("proof");
        std::fs::write(&proof, &split).unwrap();
        let checked = consistency::check(&proof, &fork.id);
        assert_eq!(checked.verdict, Outcome::Findings, "{checked:#?}");
        // The proof is evidence for an audit too, whichever history it sees.
        for ledger in [&honest, &forged] {
            let verdict = audited(ledger, &fork.id, &[&proof]);
            assert_eq!(verdict.verdict, Outcome::Findings);
        }
        // It convicts nobody else, and not by other words.
        assert_eq!(
            consistency::check(&proof, &ElectionId([1; 32])).verdict,
            Outcome::Unchecked
        );
        for at in (0..split.len()).step_by(split.len() / 50) {
            let mut flipped = split.clone();
            flipped[at] ^= 1;
            std::fs::write(&proof, &flipped).unwrap();
            assert_eq!(
                consistency::check(&proof, &fork.id).verdict,
                Outcome::Unchecked,
                "byte {at}"
            );
        }
    }
}

#[test]
fn no_evidence_can_be_made_of_an_honest_log() {
    let fork = Fork::new();
    let honest = fork.path("honest");
    let (old, new) = (fork.receipt(), honest.join("cells/0/checkpoint"));
    let verdict = consistency::run(&old, &new, &fork.id, &[text(&honest)]);
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    assert_eq!(
        verdict
            .checkpoints
            .iter()
            .map(|shown| shown.from.as_str())
            .collect::<Vec<_>>(),
        [text(&old), text(&new)]
    );
    // Nobody shows the tiles.
    let verdict = consistency::run(&old, &new, &fork.id, &[]);
    assert_eq!(verdict.verdict, Outcome::Unchecked, "{verdict:#?}");
    assert!(verdict.split.is_none());

    // A false accuser who writes the file by hand.
    let election = &fork.honest.keys.election;
    let held = |path: &Path| {
        protocol::evidence::HeldCheckpoint::read(&std::fs::read(path).unwrap(), election).unwrap()
    };
    let (cell, heads) = (held(&new), held(&honest.join("heads/checkpoint")));
    let root = cell.checkpoint.root();
    for (older, newer) in [(&cell, &cell), (&heads, &cell), (&cell, &heads)] {
        let split = SplitView::new(election, older, newer, &root, &[]);
        assert!(split.verify(&fork.id).is_err());
        let split = SplitView::new(
            election,
            older,
            newer,
            &protocol::merkle::Hash([1; 32]),
            &[],
        );
        assert!(split.verify(&fork.id).is_err());
    }
}

fn ruling(receipt: &Path, source: &Path, id: &ElectionId) -> Option<Ruling> {
    let made = dispute::make(receipt, source.to_str().unwrap(), id);
    // Whoever gets the file comes to the same ruling, offline.
    let file = receipt.with_extension("dispute");
    std::fs::write(&file, made.file.as_ref().unwrap()).unwrap();
    let judged = dispute::judge(&file, id);
    assert_eq!(judged.ruling, made.ruling, "{judged:#?}");
    if made.ruling == Some(Ruling::RolledBack) {
        // Whoever made the file may have chosen an old copy: it proves nothing.
        assert_eq!(
            (made.verdict, judged.verdict),
            (Outcome::Findings, Outcome::Unchecked)
        );
    } else {
        assert_eq!(judged.verdict, made.verdict);
    }
    // What is the ruling itself is not said again.
    let says = |what: &String| what.contains("an old copy, or a log that was cut");
    let is_said = made.not_covered.iter().any(says);
    assert!(!is_said || made.ruling != Some(Ruling::RolledBack));
    let bytes = made.file.unwrap();
    for at in (0..bytes.len()).step_by(bytes.len() / 80) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        std::fs::write(&file, &flipped).unwrap();
        // A damaged file proves nothing, or only that the receipt in it is none. (A changed title in the manifest, say.)
        let judged = dispute::judge(&file, id).ruling;
        assert!(
            matches!(judged, None | Some(Ruling::InvalidReceipt)),
            "byte {at}: {judged:?}"
        );
    }
    made.ruling
}

#[test]
fn disputes_are_ruled_by_what_was_signed() {
    let fork = Fork::new();
    let (honest, forged) = (fork.path("honest"), fork.path("forged"));
    let receipt = fork.receipt();
    assert_eq!(ruling(&receipt, &honest, &fork.id), Some(Ruling::Counted));
    assert_eq!(ruling(&receipt, &forged, &fork.id), Some(Ruling::SplitView));

    for (given, events, expected) in [
        (3, fork.honest.nth_head(2), Ruling::RolledBack),
        (2, fork.honest.nth_head(2), Ruling::Held),
        (2, fork.honest.nth_head(2) + 1, Ruling::Covered),
    ] {
        let receipt = fork.receipt_before_head(given);
        let then = tempfile::tempdir().unwrap();
        early(&fork.honest, events).publish(then.path());
        assert_eq!(
            ruling(&receipt, then.path(), &fork.id),
            Some(expected),
            "{events}"
        );
    }

    let (world, bytes) = dropped();
    let folder = tempfile::tempdir().unwrap();
    world.publish(&folder.path().join("ledger"));
    let late = folder.path().join("receipt.json");
    std::fs::write(&late, bytes).unwrap();
    let id = world.keys.election.id();
    assert_eq!(
        ruling(&late, &folder.path().join("ledger"), &id),
        Some(Ruling::Dropped)
    );
    // So it is where the operator cut off what the final head does not count.
    let cut = early(&world, world.events.len() - 1);
    cut.publish(&folder.path().join("cut"));
    assert_eq!(
        ruling(&late, &folder.path().join("cut"), &id),
        Some(Ruling::Dropped)
    );
}

#[test]
fn a_dispute_without_a_receipt_or_a_ledger() {
    let fork = Fork::new();
    let receipt = fork.receipt();
    let nowhere = dispute::make(&receipt, "/nowhere/at/all", &fork.id);
    assert_eq!(nowhere.ruling, Some(Ruling::NotShown), "{nowhere:#?}");
    assert_eq!(nowhere.verdict, Outcome::Unchecked);

    let mut bytes = std::fs::read(&receipt).unwrap();
    let at = bytes.len() - 100;
    bytes[at] ^= 1;
    let bad = fork.keep("bad.json", &bytes);
    let made = dispute::make(&bad, &text(&fork.path("honest")), &fork.id);
    assert_eq!(made.ruling, Some(Ruling::InvalidReceipt), "{made:#?}");
    assert!(made.vote.is_none());

    // A dispute's file that is none.
    assert_eq!(dispute::judge(&receipt, &fork.id).ruling, None);
    // Exhibits of somebody else's are refused with the whole file.
    let made = dispute::make(&receipt, &text(&fork.path("honest")), &fork.id);
    let mut swapped = Dispute::parse(&made.file.unwrap()).unwrap();
    let ledger = swapped.ledger.as_mut().unwrap();
    ledger.checkpoint = std::fs::read_to_string(fork.path("honest/heads/checkpoint")).unwrap();
    assert!(swapped.judge(&fork.id).is_err());
}

#[test]
fn a_ledger_that_hides_its_heads_holds_nothing() {
    let fork = Fork::new();
    let honest = fork.path("honest");
    let receipt = fork.receipt();
    let shown = dispute::make(&receipt, honest.to_str().unwrap(), &fork.id);
    assert_eq!(shown.verdict, Outcome::Verified, "{shown:#?}");
    std::fs::remove_dir_all(honest.join("heads")).unwrap();
    let hidden = dispute::make(&receipt, honest.to_str().unwrap(), &fork.id);
    assert_eq!(hidden.ruling, Some(Ruling::Held), "{hidden:#?}");
    assert_eq!(hidden.verdict, Outcome::Unchecked);
    let said = hidden.not_covered.join("\n");
    assert!(said.contains("no head is shown"), "{said}");
}

/// Missing heads can cover any number of votes; missing entries of a cell are so many votes at most.
#[test]
fn what_is_missing_of_the_heads_log_has_no_smaller_bound_than_the_roll() {
    let fork = Fork::new();
    let cut = early(&fork.honest, fork.honest.nth_head(2) + 1);
    let cut_at = fork.path("cut");
    cut.publish(&cut_at);
    let honest = fork.path("honest");
    let roll = fork.honest.keys.election.manifest().roll.size;
    let bound = |kept: &str| {
        let verdict = audited(&cut_at, &fork.id, &[&honest.join(kept)]);
        let rollback = verdict.findings.iter();
        let mut rollback = rollback.filter(|found| found.code == Code::CheckpointRollback);
        rollback.next().unwrap().votes_at_most
    };
    assert_eq!(bound("heads/checkpoint"), roll);
    assert!(bound("cells/0/checkpoint") < roll);
}
