//! An audit that is interrupted at any moment and resumed says what an uninterrupted one says.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use protocol::batch::BatchFile;
use protocol::entry::Vote;
use protocol::ids::{ElectionId, LogId};
use protocol::merkle::{CompactRange, leaf_hash};
use serde_json::Value;
use verifier_cli::audit::{self, Options};
use verifier_cli::progress::Progress;
use verifier_cli::verdict::AuditVerdict;

use crate::common::world::{Plan, World};
use crate::common::{found, options};

/// So many small batches that an audit has many moments to be interrupted at.
const PLAN: Plan = Plan {
    issued: 330,
    votes: 320,
    batch: 10,
    finished: true,
};

/// The verdict without what may differ: how long it took, and how much had been done before.
fn essence(verdict: &AuditVerdict) -> Value {
    stripped(serde_json::to_value(verdict).unwrap())
}

fn stripped(mut verdict: Value) -> Value {
    verdict["seconds"] = Value::Null;
    verdict["covered"]["checked_before"] = Value::Null;
    verdict
}

fn audited(root: &Path, id: &ElectionId, state: Option<&Path>) -> AuditVerdict {
    let options = Options {
        state: state.map(Path::to_owned),
        ..options()
    };
    audit::run(root.to_str().unwrap(), id, &options, &Progress::hidden())
}

/// A right election, and one with a vote that its voter did not sign so.
fn elections(folder: &Path) -> ElectionId {
    let world = World::new("resume", PLAN);
    world.publish(&folder.join("right"));
    let mut wrong = World::new("resume", PLAN);
    wrong.change_votes(1, 3, |votes| {
        let last = votes[0].len() - 1;
        votes[0][last] ^= 1;
    });
    wrong.publish(&folder.join("wrong"));
    world.keys.election.id()
}

/// Runs the audit, kills it as soon as it has written down a little more, and so on, until one comes to its end. How often it was killed, and what the last one said.
fn killed(tree: &Path, id: &ElectionId, state: &Path) -> (usize, Value) {
    for kills in 0.. {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tallyroot-verify"));
        command.args(["audit", tree.to_str().unwrap(), "--json", "--settle", "0"]);
        command.args(["--threads", "1", "--election", &id.to_string()]);
        command.args(["--state", state.to_str().unwrap()]);
        let len = || std::fs::metadata(state).map_or(0, |found| found.len());
        let before = len();
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while len() < before + 3 * 48 && process.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(120), "it hangs");
            std::thread::sleep(Duration::from_millis(1));
        }
        // One that has nothing more to write comes to its end.
        if process.try_wait().unwrap().is_none() && len() >= before + 3 * 48 {
            process.kill().unwrap();
        }
        let output = process.wait_with_output().unwrap();
        if output.status.code().is_some() {
            return (kills, serde_json::from_slice(&output.stdout).unwrap());
        }
    }
    unreachable!()
}

#[test]
fn killed_again_and_again_it_says_the_same_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let id = elections(folder.path());
    for name in ["right", "wrong"] {
        let tree = folder.path().join(name);
        let whole = essence(&audited(&tree, &id, None));
        // A busy machine may let an audit come to its end before anybody looks: then once more, from the beginning.
        let attempts =
            (0..20).map(|n| killed(&tree, &id, &folder.path().join(format!("{name}.{n}"))));
        let (_, said) = attempts
            .into_iter()
            .find(|(kills, _)| *kills > 0)
            .expect("an audit that was killed");
        assert_ne!(said["covered"]["checked_before"], 0);
        assert_eq!(stripped(said), whole, "{name}");
    }
}

#[test]
fn from_whatever_was_written_down_it_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let id = elections(folder.path());
    let tree = folder.path().join("wrong");
    let whole = essence(&audited(&tree, &id, None));
    let state = folder.path().join("state");
    audited(&tree, &id, Some(&state));
    let written = std::fs::read(&state).unwrap();
    for eighth in 0..8 {
        std::fs::write(&state, &written[..written.len() * eighth / 8]).unwrap();
        let verdict = audited(&tree, &id, Some(&state));
        assert_eq!(essence(&verdict), whole, "{eighth}/8");
    }
}

#[test]
fn what_was_checked_of_one_tree_excuses_nothing_in_another() {
    let folder = tempfile::tempdir().unwrap();
    let id = elections(folder.path());
    let state = folder.path().join("state");
    let (right, wrong) = (folder.path().join("right"), folder.path().join("wrong"));
    assert!(found(&audited(&right, &id, Some(&state))).is_empty());
    let resumed = audited(&right, &id, Some(&state));
    assert!(
        resumed.covered.checked_before > 60,
        "{}",
        resumed.covered.checked_before
    );
    assert!(found(&resumed).is_empty());

    // Every time, however often it was found.
    for _ in 0..2 {
        let verdict = audited(&wrong, &id, Some(&state));
        assert_eq!(essence(&verdict), essence(&audited(&wrong, &id, None)));
        assert!(
            found(&verdict)
                .iter()
                .any(|(code, _)| *code == "vote-ballot-signature")
        );
    }
}

#[test]
fn a_state_that_cannot_be_used_stops_the_audit_before_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let id = elections(folder.path());
    let state = folder.path().join("state");
    std::fs::write(&state, b"something else").unwrap();
    let verdict = audited(&folder.path().join("right"), &id, Some(&state));
    assert_eq!(verdict.verdict, verifier_cli::verdict::Outcome::Unchecked);
    assert!(
        verdict.not_covered[0].contains("name a new file"),
        "{:?}",
        verdict.not_covered
    );
    assert_eq!(std::fs::read(&state).unwrap(), b"something else");
}

/// The first run is served the same entries, but cut into other batches, so that one vote that nobody signed ends the batch before: what it wrote down says nothing
/// of the batches that the second run sees.
#[test]
fn batches_that_were_cut_elsewhere_are_others() {
    let mut world = World::new("resume", Plan { batch: 100, ..PLAN });
    let election = world.keys.election.clone();
    world.change_votes(0, 1, |votes| {
        let altered = votes.iter().map(|vote| {
            let mut vote = Vote::decode(vote, &election).unwrap();
            vote.signature[40] ^= 1;
            vote.encode()
        });
        // Votes are sorted by leaf hash, and signatures are new in each run: the one that sorts first has others behind it.
        let first = altered.enumerate().min_by_key(|(_, vote)| leaf_hash(vote));
        let (n, vote) = first.unwrap();
        votes[n] = vote;
    });
    let forged = |bytes: &Vec<u8>| {
        Vote::decode(bytes, &election).is_ok_and(|vote| vote.verify(&election).is_err())
    };
    let behind = 1 + world.batch_of_votes(0, 1).iter().position(forged).unwrap();
    // Votes follow it, and the tally.
    assert!(behind + 2 < world.batch_of_votes(0, 1).len());
    let folder = tempfile::tempdir().unwrap();
    let (tree, state) = (folder.path().join("tree"), folder.path().join("state"));
    world.publish(&tree);
    let id = election.id();
    let whole = essence(&audited(&tree, &id, None));
    assert_eq!(whole["findings_by_code"]["vote-ballot-signature"], 1);

    let path = |n: u64| tree.join(format!("cells/0/batches/{n}"));
    let files: Vec<Vec<u8>> = (0..3).map(|n| std::fs::read(path(n)).unwrap()).collect();
    let batches: Vec<BatchFile<'_>> = files
        .iter()
        .map(|bytes| BatchFile::decode(bytes, &election).unwrap())
        .collect();
    let mut edge = CompactRange::new();
    batches[0].apply(&mut edge).unwrap();
    let (first, rest) = batches[2].entries.split_at(behind);
    let stretched = [batches[1].entries.as_slice(), first].concat();
    for (n, entries) in [(1, stretched), (2, rest.to_vec())] {
        let batch = BatchFile::build(&election, LogId::Cell(0), n, &mut edge, entries).unwrap();
        std::fs::write(path(n), batch.encode()).unwrap();
    }
    audited(&tree, &id, Some(&state));
    for (n, file) in (0..).zip(&files) {
        std::fs::write(path(n), file).unwrap();
    }
    assert_eq!(essence(&audited(&tree, &id, Some(&state))), whole);
}
