//! The decision in every case of the specification, at every crash, and under contention.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io};

use protocol::checkpoint::Checkpoint;
use protocol::cosignature;
use protocol::ed25519::SigningKey;
use protocol::merkle::{Hash, leaf_hash, node_hash};

use super::*;

const ORIGIN: &str = "log.example/heads";

/// A log whose leaves are numbers, perhaps with others from some index on.
struct TestLog {
    leaves: Vec<Hash>,
    key: SigningKey,
}

impl TestLog {
    fn new(size: u64, forked_from: u64) -> Self {
        let leaf = |index: u64| {
            let fork = if index >= forked_from { "forked" } else { "" };
            leaf_hash(format!("{fork}{index}").as_bytes())
        };
        Self {
            leaves: (0..size).map(leaf).collect(),
            key: SigningKey::from_seed(&[1; 32]),
        }
    }

    fn checkpoint(&self, size: usize) -> Checkpoint {
        Checkpoint::new(ORIGIN, size as u64, root(&self.leaves[..size])).unwrap()
    }

    fn note(&self, size: usize) -> String {
        let checkpoint = self.checkpoint(size);
        let signature = self.key.sign(checkpoint.body().as_bytes());
        String::from_utf8(checkpoint.signed(&self.key.public(), &signature)).unwrap()
    }

    fn request(&self, old: usize, new: usize) -> Vec<u8> {
        let proof = if old == 0 || old >= new {
            Vec::new()
        } else {
            subproof(old, &self.leaves[..new], true)
        };
        with(old, &proof, &self.note(new))
    }
}

fn with(old: usize, proof: &[Hash], note: &str) -> Vec<u8> {
    let lines: String = proof.iter().map(|hash| hash.to_base64() + "\n").collect();
    format!("old {old}\n{lines}\n{note}").into_bytes()
}

/// RFC 6962, section 2.1, as it is written there.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(half(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// RFC 6962, section 2.1.2: `SUBPROOF(m, D, b)`.
fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole {
            Vec::new()
        } else {
            vec![root(leaves)]
        };
    }
    let k = half(leaves.len());
    let (left, right) = leaves.split_at(k);
    if m <= k {
        let mut proof = subproof(m, left, whole);
        proof.push(root(right));
        proof
    } else {
        let mut proof = subproof(m - k, right, false);
        proof.push(root(left));
        proof
    }
}

fn half(n: usize) -> usize {
    n.next_power_of_two() / 2
}

struct Bench {
    folder: tempfile::TempDir,
    now: Arc<AtomicU64>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (key, line) = CosigningKey::generate("w.example/1").unwrap();
        CosigningKey::write(&folder.path().join("key"), &line).unwrap();
        StateFolder::create(&folder.path().join("state"), &key).unwrap();
        Self {
            folder,
            now: Arc::new(AtomicU64::new(1_700_000_000)),
        }
    }

    fn open(&self) -> Witness {
        let key = CosigningKey::load(&self.folder.path().join("key")).unwrap();
        let state = StateFolder::open(&self.folder.path().join("state"), &key).unwrap();
        let mut logs = Logs::default();
        let policy = self.folder.path().join("policy");
        let vkey = |seed| {
            let key = SigningKey::from_seed(&[seed; 32]).public();
            protocol::note::VerifierKey::new(ORIGIN, protocol::note::KeyType::Ed25519, key)
                .unwrap()
                .encode()
        };
        fs::write(&policy, format!("log {}\nlog {}\n", vkey(1), vkey(2))).unwrap();
        logs.add_list(&policy).unwrap();
        let now = Arc::clone(&self.now);
        let clock = Box::new(move || now.load(Ordering::SeqCst));
        Witness::open(key, state, &logs, clock).unwrap()
    }

    fn evidence(&self) -> Vec<String> {
        let logs = self.folder.path().join("state/logs");
        let folder = logs.join(origin_hash(ORIGIN)).join("evidence");
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn line(answer: Answer) -> NoteSignature {
    match answer {
        Answer::Cosigned(line) => NoteSignature::parse(&line).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_growing_log_is_cosigned_and_the_cosignature_verifies() {
    let bench = Bench::new();
    let witness = bench.open();
    let log = TestLog::new(300, u64::MAX);
    let hash = origin_hash(ORIGIN);
    assert_eq!(witness.checkpoint(&hash), None);
    let mut old = 0;
    for new in [0, 1, 2, 3, 7, 8, 64, 65, 255, 256, 300] {
        let line = line(witness.add_checkpoint(&log.request(old, new)));
        let time = cosignature::verify(witness.key().public(), &line, &log.checkpoint(new).body())
            .unwrap();
        assert_eq!(time, 1_700_000_000);
        // What monitors get: the log's line and the cosignature.
        let note = witness.checkpoint(&hash).unwrap();
        let (checkpoint, _, cosigned) = Checkpoint::verify_cosigned(
            &note,
            ORIGIN,
            &[log.key.public()],
            &[witness.key().public().clone()],
        )
        .unwrap();
        assert_eq!(
            (checkpoint, cosigned),
            (log.checkpoint(new), vec![(0, time)])
        );
        old = new;
    }
    // After a restart it goes on from there.
    drop(witness);
    let witness = bench.open();
    assert_eq!(
        witness.add_checkpoint(&log.request(0, 300)),
        Answer::OtherSize(300)
    );
    assert!(bench.evidence().is_empty());
}

#[test]
fn every_answer_is_the_specifications() {
    let bench = Bench::new();
    let witness = bench.open();
    let log = TestLog::new(20, u64::MAX);
    let fork = TestLog::new(20, 5);
    line(witness.add_checkpoint(&log.request(0, 10)));
    let refused = |body: &[u8]| match witness.add_checkpoint(body) {
        Answer::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    };

    assert!(matches!(refused(b"old 10\n"), Refusal::Malformed(_)));
    assert_eq!(refused(&log.request(11, 10)), Refusal::Shrinks);
    let foreign = String::from_utf8(log.request(10, 12)).unwrap();
    assert_eq!(
        refused(foreign.replace(ORIGIN, "log.example/other").as_bytes()),
        Refusal::UnknownLog
    );
    let mut stranger = TestLog::new(20, u64::MAX);
    stranger.key = SigningKey::from_seed(&[9; 32]);
    assert_eq!(refused(&stranger.request(10, 12)), Refusal::UnknownKey);
    // A known key's line that does not verify spoils the note, whatever stands beside it.
    let note = log.note(12);
    let body = log.checkpoint(12).body();
    let wrong = log.key.sign(b"something else");
    let id = key_id(ORIGIN, ED25519, &log.key.public());
    let wrong = NoteSignature::new(ORIGIN, id, &wrong).unwrap().encode();
    let proof = subproof(10, &log.leaves[..12], true);
    assert_eq!(
        refused(&with(10, &proof, &format!("{note}{wrong}"))),
        Refusal::BadSignature
    );
    // The size that is asked for, whichever way it is missed.
    for old in [0, 3, 9, 11] {
        assert_eq!(
            witness.add_checkpoint(&log.request(old, 12)),
            Answer::OtherSize(10),
            "{old}"
        );
    }
    assert!(bench.evidence().is_empty());
    assert_eq!(refused(&fork.request(10, 12)), Refusal::NotConsistent);
    assert_eq!(refused(&with(10, &[], &note)), Refusal::NotConsistent);
    assert_eq!(refused(&fork.request(10, 10)), Refusal::SameSize);
    // And nothing of all this has moved it; strangers' lines are passed over.
    let other = NoteSignature::new("x.example", id, &[7; 64])
        .unwrap()
        .encode();
    line(witness.add_checkpoint(&with(10, &proof, &format!("{note}{other}"))));
    let kept = String::from_utf8(witness.checkpoint(&origin_hash(ORIGIN)).unwrap()).unwrap();
    assert!(kept.starts_with(&body) && !kept.contains("x.example"));
    let metrics = witness.metrics();
    for said in [
        "answers_total{answer=\"cosigned\"} 2",
        "answers_total{answer=\"other_size\"} 4",
        "answers_total{answer=\"not_consistent\"} 3",
        "contradictions_total{kind=\"same_size\"} 1",
        "witness_size{origin=\"log.example/heads\"} 12",
    ] {
        assert!(metrics.contains(said), "{said}:\n{metrics}");
    }
}

#[test]
fn an_empty_tree_has_one_root() {
    let bench = Bench::new();
    let witness = bench.open();
    let log = TestLog::new(1, u64::MAX);
    let text = format!("{ORIGIN}\n0\n{}\n", log.leaves[0].to_base64());
    let id = key_id(ORIGIN, ED25519, &log.key.public());
    let signed = NoteSignature::new(ORIGIN, id, &log.key.sign(text.as_bytes())).unwrap();
    let note = format!("{text}\n{}", signed.encode());
    assert_eq!(
        witness.add_checkpoint(&with(0, &[], &note)),
        Answer::Refused(Refusal::NotConsistent)
    );
    // "The proof MUST be empty if the old size is zero."
    assert_eq!(
        witness.add_checkpoint(&with(0, &[log.leaves[0]], &log.note(1))),
        Answer::Refused(Refusal::NotConsistent)
    );
}

#[test]
fn the_spare_is_as_good_as_the_main_key() {
    let bench = Bench::new();
    let witness = bench.open();
    let mut log = TestLog::new(20, u64::MAX);
    line(witness.add_checkpoint(&log.request(0, 10)));
    log.key = SigningKey::from_seed(&[2; 32]);
    line(witness.add_checkpoint(&log.request(10, 20)));
}

#[test]
fn two_signed_roots_of_one_size_are_kept_whatever_was_asked() {
    let bench = Bench::new();
    let witness = bench.open();
    let (log, fork) = (TestLog::new(20, u64::MAX), TestLog::new(20, 5));
    line(witness.add_checkpoint(&log.request(0, 10)));
    // The liar does not even know how far the witness is.
    for _ in 0..3 {
        assert_eq!(
            witness.add_checkpoint(&fork.request(0, 10)),
            Answer::OtherSize(10)
        );
    }
    let [name] = &bench.evidence()[..] else {
        panic!("{:?}", bench.evidence());
    };
    assert!(name.starts_with("same-size-10-"), "{name}");
    let logs = bench.folder.path().join("state/logs");
    let file = logs.join(origin_hash(ORIGIN)).join("evidence").join(name);
    let evidence: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    // Both verify under the log's key, by themselves.
    let keys = [log.key.public()];
    let submitted = evidence["submitted"].as_str().unwrap();
    let (theirs, _) = Checkpoint::verify(submitted.as_bytes(), ORIGIN, &keys).unwrap();
    let (ours, _, _) = Checkpoint::verify_cosigned(
        evidence["cosigned"].as_str().unwrap().as_bytes(),
        ORIGIN,
        &keys,
        &[witness.key().public().clone()],
    )
    .unwrap();
    assert!(ours.size() == theirs.size() && ours.root() != theirs.root());
}

/// Somebody sends a true checkpoint with a proof that does not hold, as anybody can.
fn stranger(witness: &Witness, log: &TestLog, old: usize, new: usize) {
    let answer = witness.add_checkpoint(&with(old, &[leaf_hash(b"wrong")], &log.note(new)));
    assert_eq!(answer, Answer::Refused(Refusal::NotConsistent));
}

#[test]
fn what_is_cosigned_later_is_no_evidence_any_more() {
    let bench = Bench::new();
    let witness = bench.open();
    let (log, fork) = (TestLog::new(20, u64::MAX), TestLog::new(20, 5));
    line(witness.add_checkpoint(&log.request(0, 3)));
    stranger(&witness, &log, 3, 12);
    line(witness.add_checkpoint(&log.request(3, 10)));
    stranger(&witness, &log, 10, 12);
    stranger(&witness, &fork, 10, 12);
    assert_eq!(bench.evidence().len(), 2);
    line(witness.add_checkpoint(&log.request(10, 12)));
    // The other root of that size remains.
    let [name] = &bench.evidence()[..] else {
        panic!("{:?}", bench.evidence());
    };
    let logs = bench.folder.path().join("state/logs");
    let file = logs.join(origin_hash(ORIGIN)).join("evidence").join(name);
    let evidence: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(evidence["submitted"], fork.note(12));
}

#[test]
fn strangers_cannot_fill_the_evidence() {
    const MAX: usize = crate::witness::state::EVIDENCE_MAX;
    let bench = Bench::new();
    let witness = bench.open();
    let size = MAX + 20;
    let (log, fork) = (
        TestLog::new(size as u64, u64::MAX),
        TestLog::new(size as u64, 5),
    );
    line(witness.add_checkpoint(&log.request(0, 10)));
    for new in 11..11 + MAX {
        stranger(&witness, &log, 10, new);
    }
    assert_eq!(bench.evidence().len(), MAX);
    // A fork that comes then is still kept.
    stranger(&witness, &fork, 10, 12);
    let logs = bench.folder.path().join("state/logs");
    let folder = logs.join(origin_hash(ORIGIN)).join("evidence");
    let kept = bench.evidence();
    assert_eq!(kept.len(), MAX);
    let forks = kept.iter().filter(|name| {
        let evidence: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap();
        evidence["submitted"] == fork.note(12)
    });
    assert_eq!(forks.count(), 1);
}

/// Monitors and the operator read while the disk is waited for, and see what is durable.
#[test]
fn whoever_reads_does_not_wait_for_the_disk() {
    let bench = Bench::new();
    let witness = Arc::new(bench.open());
    let log = TestLog::new(20, u64::MAX);
    line(witness.add_checkpoint(&log.request(0, 3)));
    let hash = origin_hash(ORIGIN);
    let before = witness.checkpoint(&hash).unwrap();
    let answer = witness.decide(&log.request(3, 10), |_| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (witness, hash) = (Arc::clone(&witness), hash.clone());
        std::thread::spawn(move || sender.send((witness.checkpoint(&hash), witness.metrics())));
        let (shown, metrics) = receiver
            .recv_timeout(std::time::Duration::from_secs(10))
            .expect("a reader waits for the disk");
        assert_eq!(shown.as_ref(), Some(&before));
        assert!(metrics.contains("witness_size{origin=\"log.example/heads\"} 3\n"));
        Ok(())
    });
    line(answer);
    assert_ne!(witness.checkpoint(&hash).unwrap(), before);
    assert!(
        witness
            .metrics()
            .contains("witness_size{origin=\"log.example/heads\"} 10\n")
    );
}

#[test]
fn a_crash_between_any_two_steps_leaves_no_cosignature_behind_the_state() {
    for at in [Step::Written, Step::Synced, Step::Renamed] {
        let bench = Bench::new();
        let (log, fork) = (TestLog::new(20, u64::MAX), TestLog::new(20, 5));
        let crash = |step| {
            if step == at {
                Err(io::Error::other("killed"))
            } else {
                Ok(())
            }
        };
        let witness = bench.open();
        line(witness.add_checkpoint(&log.request(0, 3)));
        let answer = witness.decide(&log.request(3, 10), crash);
        assert!(
            matches!(answer, Answer::Refused(Refusal::Unavailable(_))),
            "{at:?}: {answer:?}"
        );
        // Nobody has seen a cosignature of size 10, so until a restart another history may take its place …
        drop(witness);
        // … and after it the state decides: the checkpoint before, or this one whole.
        let witness = bench.open();
        let size = match witness.add_checkpoint(&log.request(0, 20)) {
            Answer::OtherSize(size) => usize::try_from(size).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(size, if at == Step::Renamed { 10 } else { 3 }, "{at:?}");
        line(witness.add_checkpoint(&log.request(size, 20)));
        assert_eq!(
            witness.add_checkpoint(&fork.request(20, 20)),
            Answer::Refused(Refusal::SameSize)
        );
    }
}

#[test]
fn of_two_histories_at_once_one_is_cosigned() {
    let bench = Bench::new();
    let witness = Arc::new(bench.open());
    let (a, b) = (TestLog::new(64, u64::MAX), TestLog::new(64, 0));
    let (a, b) = (Arc::new(a), Arc::new(b));
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let witness = Arc::clone(&witness);
            let log = Arc::clone(if thread % 2 == 0 { &a } else { &b });
            std::thread::spawn(move || {
                let mut cosigned = Vec::new();
                let mut old = 0;
                for new in 1..=64 {
                    match witness.add_checkpoint(&log.request(old, new)) {
                        Answer::Cosigned(_) => {
                            cosigned.push(new);
                            old = new;
                        }
                        Answer::OtherSize(size) => {
                            old = usize::try_from(size).unwrap().min(new);
                        }
                        Answer::Refused(_) => {}
                    }
                }
                (thread % 2, cosigned)
            })
        })
        .collect();
    let mut by_history = [Vec::new(), Vec::new()];
    for thread in threads {
        let (history, cosigned) = thread.join().unwrap();
        by_history[history].extend(cosigned);
    }
    let [of_a, of_b] = &by_history;
    assert!(of_a.is_empty() != of_b.is_empty(), "{of_a:?} {of_b:?}");
}

#[test]
fn time_never_falls_and_a_repeat_costs_nothing() {
    let bench = Bench::new();
    let witness = bench.open();
    let log = TestLog::new(20, u64::MAX);
    let time = |answer, size: usize| {
        let body = log.checkpoint(size).body();
        cosignature::verify(witness.key().public(), &line(answer), &body).unwrap()
    };
    let begun = bench.now.load(Ordering::SeqCst);
    assert_eq!(time(witness.add_checkpoint(&log.request(0, 3)), 3), begun);
    // The same again: the same line, and nothing written.
    bench.now.store(begun + 29, Ordering::SeqCst);
    let unwritten = |_| -> io::Result<()> { panic!("written") };
    assert_eq!(
        time(witness.decide(&log.request(3, 3), unwritten), 3),
        begun
    );
    bench.now.store(begun + 30, Ordering::SeqCst);
    assert_eq!(
        time(witness.add_checkpoint(&log.request(3, 3)), 3),
        begun + 30
    );
    // A clock that was set back as far as it may.
    bench.now.store(begun - 270, Ordering::SeqCst);
    assert_eq!(
        time(witness.add_checkpoint(&log.request(3, 4)), 4),
        begun + 30
    );
    // And one that was set back far: "the timestamp MUST NOT be zero", nor be in the past.
    for now in [begun - 271, 0] {
        bench.now.store(now, Ordering::SeqCst);
        assert_eq!(
            witness.add_checkpoint(&log.request(4, 5)),
            Answer::Refused(Refusal::Unavailable("its clock was turned back"))
        );
    }
}

#[test]
fn a_clock_that_was_never_set_signs_nothing() {
    let bench = Bench::new();
    bench.now.store(0, Ordering::SeqCst);
    let witness = bench.open();
    let answer = witness.add_checkpoint(&TestLog::new(3, 9).request(0, 3));
    assert_eq!(
        answer,
        Answer::Refused(Refusal::Unavailable("this machine's clock is not set"))
    );
}

#[test]
fn the_state_belongs_to_one_key_and_one_process() {
    let bench = Bench::new();
    let witness = bench.open();
    let state = bench.folder.path().join("state");
    let key = CosigningKey::load(&bench.folder.path().join("key")).unwrap();
    let said = |result: Result<StateFolder>| format!("{:#}", result.unwrap_err());
    assert!(said(StateFolder::open(&state, &key)).contains("another process"));
    line(witness.add_checkpoint(&TestLog::new(3, 9).request(0, 3)));
    drop(witness);
    let (stranger, _) = CosigningKey::generate("w.example/1").unwrap();
    assert!(said(StateFolder::open(&state, &stranger)).contains("another witness"));
    // An empty folder is not taken for a new beginning.
    assert!(said(StateFolder::open(bench.folder.path(), &key)).contains("no witness's state"));
    assert!(StateFolder::create(&state, &stranger).is_err());
    // Nor is a checkpoint that this key did not cosign.
    let path = state
        .join("logs")
        .join(origin_hash(ORIGIN))
        .join("checkpoint");
    let kept = fs::read_to_string(&path).unwrap();
    let folder = StateFolder::open(&state, &key).unwrap();
    for damaged in [
        kept.replace("\n3\n", "\n4\n"),
        TestLog::new(3, 9).note(3),
        String::new(),
    ] {
        fs::write(&path, damaged).unwrap();
        assert!(folder.log(ORIGIN, &key).is_err());
    }
    fs::write(&path, kept).unwrap();
    assert!(folder.log(ORIGIN, &key).unwrap().1.is_some());
}
