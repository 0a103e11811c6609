//! Elections that are written while they are audited: every read may find more than the one before.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use protocol::ids::ElectionId;
use verifier_cli::audit::{self, Options};
use verifier_cli::finding::Code;
use verifier_cli::progress::Progress;
use verifier_cli::source::{Directory, Fetched, Listed, Source, SourceError};
use verifier_cli::verdict::{AuditVerdict, Outcome};

use crate::common::tree::Step;
use crate::common::world::{Plan, World};
use crate::common::{found, write};

/// Writes the next files before each read, as a live election would.
struct Growing {
    directory: Directory,
    root: PathBuf,
    to_come: Mutex<VecDeque<Step>>,
    files_a_read: usize,
    lists: bool,
}

impl Growing {
    fn grow(&self) {
        let mut to_come = self.to_come.lock().unwrap();
        for _ in 0..self.files_a_read {
            let Some((path, bytes)) = to_come.pop_front() else {
                return;
            };
            write(&self.root, &path, &bytes);
        }
    }
}

impl Source for Growing {
    fn read(&self, path: &str, max_len: usize) -> Result<Fetched, SourceError> {
        self.grow();
        self.directory.read(path, max_len)
    }

    fn list(&self, folder: &str) -> Result<Option<Vec<Listed>>, SourceError> {
        self.grow();
        if self.lists {
            self.directory.list(folder)
        } else {
            Ok(None)
        }
    }

    fn parallel_reads(&self) -> usize {
        2
    }
}

/// Audits while the files from `start` on are written, so many before each read.
fn audit_while_growing(
    world: &World,
    start: usize,
    files_a_read: usize,
    lists: bool,
) -> (AuditVerdict, usize) {
    audit_with_evidence(
        world.steps(),
        &world.keys.election.id(),
        start,
        (files_a_read, lists),
        Vec::new(),
    )
}

fn audit_with_evidence(
    steps: Vec<Step>,
    id: &ElectionId,
    start: usize,
    (files_a_read, lists): (usize, bool),
    evidence: Vec<PathBuf>,
) -> (AuditVerdict, usize) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("election");
    let mut steps: VecDeque<Step> = steps.into();
    for (path, bytes) in steps.drain(..start) {
        write(&root, &path, &bytes);
    }
    let source = Growing {
        directory: Directory::new(&root),
        root,
        to_come: Mutex::new(steps),
        files_a_read,
        lists,
    };
    let options = Options {
        threads: NonZeroUsize::new(2).unwrap(),
        settle: Duration::from_secs(20),
        evidence,
        witnesses: Vec::new(),
        state: None,
    };
    let verdict = audit::audit(&source, "growing", id, &options, &Progress::hidden());
    let left = source.to_come.lock().unwrap().len();
    (verdict, left)
}

#[test]
fn growth_gives_no_false_alarm() {
    let world = World::new(
        "growing",
        Plan {
            votes: 300,
            issued: 400,
            batch: 40,
            finished: true,
        },
    );
    let all = world.steps().len();
    let mut grew = 0;
    for (i, start) in (1..all).step_by(all / 24).enumerate() {
        for lists in [true, false] {
            let files_a_read = [2, 5, 17][i % 3];
            let (verdict, left) = audit_while_growing(&world, start, files_a_read, lists);
            assert_eq!(
                verdict.verdict,
                Outcome::Verified,
                "from file {start} of {all}, {files_a_read} a read, lists {lists}: {:#?} {:?}",
                verdict.findings,
                found(&verdict)
            );
            grew += usize::from(left < all - start);
        }
    }
    assert!(grew > 40, "{grew}");
}

#[test]
fn growth_that_is_not_the_same_log_is_found() {
    let plan = Plan {
        votes: 120,
        issued: 200,
        batch: 40,
        finished: true,
    };
    let mut world = World::new("forking", plan);
    let honest = world.steps();
    // From somewhere on, the files are of another history of cell 0, signed with the same keys.
    world.change_votes(0, 1, |votes| {
        votes.pop();
    });
    let forked = world.steps();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("election");
    // The honest files up to the head that covers cell 0's second batch of votes; then the forked ones.
    let second = honest
        .iter()
        .position(|(path, _)| path == "cells/0/batches/2")
        .unwrap();
    let covered = second
        + honest[second..]
            .iter()
            .position(|(path, _)| path == "heads/checkpoint")
            .unwrap();
    for (path, bytes) in &honest[..=covered] {
        write(&root, path, bytes);
    }
    let to_come = forked
        .iter()
        .filter(|(path, _)| path.starts_with("cells/0/"))
        .cloned();
    let source = Growing {
        directory: Directory::new(&root),
        root: root.clone(),
        to_come: Mutex::new(to_come.collect()),
        files_a_read: 2,
        lists: true,
    };
    let options = Options {
        threads: NonZeroUsize::MIN,
        settle: Duration::ZERO,
        evidence: Vec::new(),
        witnesses: Vec::new(),
        state: None,
    };
    let verdict = audit::audit(
        &source,
        "forking",
        &world.keys.election.id(),
        &options,
        &Progress::hidden(),
    );
    assert_eq!(verdict.verdict, Outcome::Findings, "{verdict:#?}");
}

#[test]
fn a_writer_that_died_at_any_file_leaves_an_election_that_verifies() {
    let world = World::new(
        "crash",
        Plan {
            votes: 24,
            issued: 30,
            batch: 12,
            finished: true,
        },
    );
    let steps = world.steps();
    let id = world.keys.election.id();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("election");
    // Before the first results and the first head there is nothing to audit yet.
    let first = steps
        .iter()
        .position(|(path, _)| path == "results.json")
        .unwrap();
    let mut states = std::collections::BTreeSet::new();
    for (n, (path, bytes)) in steps.iter().enumerate() {
        write(&root, path, bytes);
        if n < first {
            continue;
        }
        let verdict = crate::common::audit(&root, &id);
        // The final head is anchored and counted a moment after it is published; nobody waits here.
        let found: Vec<_> = found(&verdict)
            .into_iter()
            .filter(|(code, _)| !matches!(*code, "anchor-not-final" | "results-not-final"))
            .collect();
        assert_eq!(found, [], "after {path}, file {n}: {:#?}", verdict.findings);
        states.insert(format!("{:?} {:?}", verdict.verdict, verdict.state));
    }
    let states: Vec<String> = states.into_iter().collect();
    assert_eq!(
        states,
        [
            "Findings Some(Final)",
            "Verified Some(Final)",
            "Verified Some(Open)"
        ]
    );
}

/// A watch runs on while an audit recounts: what it keeps is newer than what the audit began with.
#[test]
fn what_was_kept_since_the_audit_began_is_held_against_what_is_shown_by_then() {
    let plan = Plan {
        votes: 120,
        issued: 200,
        batch: 40,
        finished: true,
    };
    let mut world = World::new("growing", plan);
    let id = world.keys.election.id();
    let kept = tempfile::tempdir().unwrap();
    world.publish(kept.path());
    let evidence =
        ["heads", "cells/0", "cells/1"].map(|log| kept.path().join(log).join("checkpoint"));
    let honest = world.steps();
    let mut later = 0;
    for start in [honest.len() / 3, honest.len() / 2] {
        let (verdict, _) =
            audit_with_evidence(world.steps(), &id, start, (2, false), evidence.to_vec());
        assert_eq!(
            verdict.verdict,
            Outcome::Verified,
            "{:#?}",
            verdict.findings
        );
        let newer = verdict.not_covered.iter();
        later += newer
            .filter(|what| what.contains("are newer than this audit"))
            .count();
    }
    assert!(later > 0);

    // Where it went on to another history, both signed, it is one all the same.
    world.change_votes(0, 2, |votes| {
        votes.pop();
    });
    let other = world.steps();
    let same = honest
        .iter()
        .zip(&other)
        .take_while(|(a, b)| a == b)
        .count();
    let (verdict, _) = audit_with_evidence(other, &id, same, (2, false), evidence.to_vec());
    assert!(
        verdict
            .findings
            .iter()
            .any(|finding| finding.code == Code::Equivocation),
        "{:#?}",
        verdict.findings
    );
}
