//! `watch`: what only those find who look often and keep what they saw. Rounds are counted, not seconds.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::checkpoint::Checkpoint;
use protocol::entry::Entry;
use protocol::evidence::HeldCheckpoint;
use protocol::ids::{ElectionId, LogId};
use protocol::results::Results;
use verifier_cli::consistency;
use verifier_cli::verdict::Outcome;
use verifier_cli::watch::{Event as Said, HEAD_AHEAD, LATE_HEAD, Watcher};

use crate::common::keys::{CLOSING, OPENING};
use crate::common::world::World;
use crate::common::{audit_with, write};
use crate::receipts::{PLAN, early};

/// A site whose files the test swaps, and a watcher's memory.
pub struct Scene {
    pub folder: tempfile::TempDir,
    pub world: World,
    pub id: ElectionId,
}

impl Scene {
    pub fn new() -> Self {
        let world = World::new("receipts", PLAN);
        let scene = Self {
            id: world.keys.election.id(),
            folder: tempfile::tempdir().unwrap(),
            world,
        };
        scene.show("site", &scene.then(3));
        scene
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn given(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The election as it stood at the n-th head.
    pub fn then(&self, head: usize) -> World {
        early(&self.world, self.world.nth_head(head) + 1)
    }

    /// What stands at the source from now on.
    pub fn show(&self, name: &str, world: &World) {
        let _ = std::fs::remove_dir_all(self.path(name));
        world.publish(&self.path(name));
    }

    pub fn watcher(&self, sources: &[&str]) -> Watcher {
        let sources: Vec<String> = sources.iter().map(|name| self.given(name)).collect();
        Watcher::open(&self.id, &sources, &[], &self.path("state")).unwrap()
    }
}

/// The other history of the same keys: one vote of cell 0 is gone.
fn forged() -> World {
    let mut forged = World::new("receipts", PLAN);
    forged.change_votes(0, 0, |votes| {
        votes.remove(0);
    });
    forged
}

pub fn codes(events: &[Said]) -> Vec<&'static str> {
    events
        .iter()
        .filter_map(|event| match event {
            Said::Finding { code, .. } => Some(*code),
            _ => None,
        })
        .collect()
}

/// Without a clock, so that no head is late or ahead.
pub fn round(watcher: &mut Watcher) -> Vec<Said> {
    watcher.round(None).unwrap()
}

/// Two rounds, of which one must raise this.
pub fn raises(watcher: &mut Watcher, code: &str) -> Vec<Said> {
    let mut events = round(watcher);
    events.extend(round(watcher));
    assert!(codes(&events).contains(&code), "{code}: {events:#?}");
    assert_eq!(watcher.outcome(), Outcome::Findings);
    events
}

#[test]
fn an_honest_election_raises_nothing_while_it_grows() {
    let scene = Scene::new();
    let steps = scene.world.steps();
    let begin = 1 + steps
        .iter()
        .position(|(path, _)| path == "results.json")
        .unwrap();
    let (site, mirror) = (scene.path("live"), scene.path("late"));
    for (path, bytes) in &steps[..begin] {
        write(&site, path, bytes);
        write(&mirror, path, bytes);
    }
    // The mirror is always one step behind.
    let mut watcher = scene.watcher(&["live", "late"]);
    let chunks: Vec<_> = steps[begin..].chunks(25).collect();
    for (n, chunk) in chunks.iter().enumerate() {
        for (path, bytes) in *chunk {
            write(&site, path, bytes);
        }
        for (path, bytes) in n.checked_sub(1).map_or(&[][..], |n| chunks[n]) {
            write(&mirror, path, bytes);
        }
        let events = round(&mut watcher);
        assert_eq!(codes(&events), [""; 0], "chunk {n}: {events:#?}");
    }
    assert_eq!(watcher.outcome(), Outcome::Verified);
    let page = watcher.metrics().page();
    assert!(
        page.contains("tallyroot_watch_log_size{log=\"cells/0\"}"),
        "{page}"
    );
    drop(watcher);

    // All that was kept is evidence, and none of it speaks against the ledger.
    let verdict = audit_with(&site, &scene.id, &[&scene.path("state/evidence")]);
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    assert!(verdict.covered.evidence.checkpoints > 10);
}

#[test]
fn a_split_view_between_sources() {
    let scene = Scene::new();
    scene.show("site", &scene.world);
    scene.show("mirror", &forged());
    let mut watcher = scene.watcher(&["site", "mirror"]);
    raises(&mut watcher, "equivocation");
    drop(watcher);
    let proofs: Vec<_> = std::fs::read_dir(scene.path("state/split-views"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(!proofs.is_empty());
    for proof in proofs {
        let checked = consistency::check(&proof, &scene.id);
        assert_eq!(checked.verdict, Outcome::Findings, "{checked:#?}");
    }
}

#[test]
fn a_split_view_over_time() {
    let scene = Scene::new();
    let mut watcher = scene.watcher(&["site"]);
    assert_eq!(codes(&round(&mut watcher)), [""; 0]);
    scene.show("site", &forged());
    raises(&mut watcher, "equivocation");
    drop(watcher);
    // What was kept convicts the ledger that is shown today, by itself.
    let evidence = scene.path("state/evidence");
    let alone = audit_with(&scene.path("site"), &scene.id, &[]);
    assert_eq!(alone.verdict, Outcome::Verified);
    let verdict = audit_with(&scene.path("site"), &scene.id, &[&evidence]);
    assert_eq!(verdict.verdict, Outcome::Findings, "{verdict:#?}");
}

#[test]
fn a_rollback_also_after_a_restart() {
    let scene = Scene::new();
    scene.show("site", &scene.world);
    let mut watcher = scene.watcher(&["site"]);
    assert_eq!(codes(&round(&mut watcher)), [""; 0]);
    scene.show("site", &scene.then(3));
    raises(&mut watcher, "checkpoint-rollback");
    drop(watcher);
    raises(&mut scene.watcher(&["site"]), "checkpoint-rollback");

    // Only the site went back; its mirror did not.
    let scene = Scene::new();
    scene.show("site", &scene.world);
    scene.show("mirror", &scene.world);
    let mut watcher = scene.watcher(&["mirror", "site"]);
    assert_eq!(codes(&round(&mut watcher)), [""; 0]);
    scene.show("site", &scene.then(3));
    raises(&mut watcher, "checkpoint-rollback");
}

#[test]
fn false_results() {
    let scene = Scene::new();
    let mut watcher = scene.watcher(&["site"]);
    assert_eq!(codes(&round(&mut watcher)), [""; 0]);
    let path = scene.path("site/results.json");
    let right = std::fs::read(&path).unwrap();
    let mut results = Results::parse(&right, &scene.world.keys.election).unwrap();
    results.contests[0].counts[0] -= 1;
    results.contests[0].counts[1] += 1;
    std::fs::write(&path, results.to_bytes().unwrap()).unwrap();
    raises(&mut watcher, "results-wrong");
    // Said once; once more when it comes back.
    assert_eq!(codes(&round(&mut watcher)), [""; 0]);
    std::fs::write(&path, right).unwrap();
    assert_eq!(codes(&round(&mut watcher)), [""; 0]);
    std::fs::write(&path, results.to_bytes().unwrap()).unwrap();
    assert_eq!(codes(&round(&mut watcher)), ["results-wrong"]);
}

#[test]
fn a_heads_log_whose_entries_are_not_the_signed_ones() {
    let scene = Scene::new();
    let mut watcher = scene.watcher(&["site"]);
    let folder = scene.path("site/heads/tile/entries/000.p");
    for bundle in std::fs::read_dir(folder).unwrap() {
        let path = bundle.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
    raises(&mut watcher, "bundle-mismatch");
}

#[test]
fn a_false_tally_in_a_new_batch() {
    for then in [1, 4] {
        let mut scene = Scene::new();
        let election = scene.world.keys.election.clone();
        let last = scene.world.batch_of_votes(0, 2).last_mut().unwrap();
        let Entry::Tally(mut tally) = Entry::decode(last, &election).unwrap() else {
            panic!("a batch ends in a tally");
        };
        tally.totals.contests[1].counts[1] += 1;
        *last = tally.encode();
        // results.json follows it; only the votes do not.
        let mut watcher = scene.watcher(&["site"]);
        scene.show("site", &scene.then(then));
        let at_first = codes(&round(&mut watcher));
        assert_eq!(
            at_first,
            if then == 4 {
                vec!["tally-wrong"]
            } else {
                vec![]
            }
        );
        if then == 1 {
            scene.show("site", &scene.world);
            let events = raises(&mut watcher, "tally-wrong");
            assert_eq!(codes(&events), ["tally-wrong"]);
        }
    }
}

#[test]
fn a_vote_that_nobody_signed() {
    let mut scene = Scene::new();
    let election = scene.world.keys.election.clone();
    // Small batches: each vote of them is drawn sooner or later, and most at once.
    scene.world.change_votes(0, 0, |votes| {
        for vote in votes {
            let mut forged = protocol::entry::Vote::decode(vote, &election).unwrap();
            forged.signature[40] ^= 1;
            *vote = forged.encode();
        }
    });
    scene.show("site", &scene.world);
    raises(&mut scene.watcher(&["site"]), "vote-ballot-signature");
}

#[test]
fn a_late_head() {
    let scene = Scene::new();
    let mut watcher = scene.watcher(&["site"]);
    let newest = OPENING + 65_000 + 10_000;
    assert_eq!(
        codes(&watcher.round(Some(newest + 30_000)).unwrap()),
        [""; 0]
    );
    let events = watcher.round(Some(newest + 31_000)).unwrap();
    assert_eq!(codes(&events), [LATE_HEAD], "{events:#?}");
    // With the final head, nothing more is due.
    scene.show("site", &scene.world);
    let events = watcher.round(Some(newest + 1_000_000_000)).unwrap();
    assert_eq!(codes(&events), [""; 0], "{events:#?}");
}

#[test]
fn a_head_ahead_of_the_time() {
    let scene = Scene::new();
    let mut watcher = scene.watcher(&["site"]);
    let newest = OPENING + 65_000 + 10_000;
    assert_eq!(
        codes(&watcher.round(Some(newest - 300_000)).unwrap()),
        [""; 0]
    );
    let events = watcher.round(Some(newest - 300_001)).unwrap();
    assert_eq!(codes(&events), [HEAD_AHEAD], "{events:#?}");
    // A final head that came early is the worst of them.
    drop(watcher);
    scene.show("site", &scene.world);
    let mut watcher = scene.watcher(&["site"]);
    let events = watcher.round(Some(CLOSING - 600_000)).unwrap();
    assert_eq!(codes(&events), [HEAD_AHEAD], "{events:#?}");
}

#[test]
fn wrong_keys() {
    let scene = Scene::new();
    let mut watcher = scene.watcher(&["site"]);
    let keys = &scene.world.keys;
    let note = std::fs::read(scene.path("site/cells/0/checkpoint")).unwrap();
    let held = HeldCheckpoint::read(&note, &keys.election).unwrap();
    let (size, root) = (held.checkpoint.size(), held.checkpoint.root());
    let origin = keys.election.origin(LogId::Cell(0));
    let checkpoint = Checkpoint::new(&origin, size, root).unwrap();
    // The spare without a notice, and a stranger.
    for key in [keys.log(LogId::Cell(0), true), keys.voter(1)] {
        let signature = key.sign(checkpoint.body().as_bytes());
        let note = checkpoint.signed(&key.public(), &signature);
        write(&scene.path("site"), "cells/0/checkpoint", &note);
        raises(&mut watcher, "checkpoint-signature");
        scene.show("site", &scene.then(3));
        assert_eq!(codes(&round(&mut watcher)), [""; 0]);
    }
}

#[test]
fn a_source_that_does_not_answer_is_no_finding() {
    let scene = Scene::new();
    let mut watcher = scene.watcher(&["site", "nowhere"]);
    let events = round(&mut watcher);
    assert_eq!(codes(&events), [""; 0]);
    assert!(matches!(&events[..], [Said::Unread { .. }]), "{events:#?}");
    assert_eq!(watcher.outcome(), Outcome::Unchecked);
    assert!(round(&mut watcher).is_empty());
    scene.show("nowhere", &scene.then(3));
    round(&mut watcher);
    assert_eq!(watcher.outcome(), Outcome::Verified);
}

#[test]
fn a_memory_is_of_one_election_and_one_watcher() {
    let scene = Scene::new();
    let watcher = scene.watcher(&["site"]);
    let open = |id| Watcher::open(&id, &[scene.given("site")], &[], &scene.path("state"));
    assert!(open(scene.id).is_err());
    drop(watcher);
    assert!(open(ElectionId([1; 32])).is_err());
    assert!(open(scene.id).is_ok());
}

#[test]
fn a_memory_that_cannot_be_read_is_not_begun_anew() {
    let scene = Scene::new();
    scene.show("site", &scene.world);
    let site = scene.given("site");
    round(&mut scene.watcher(&["site"]));
    let state = scene.path("state/state.json");
    let whole = std::fs::read(&state).unwrap();
    let open = || {
        Watcher::open(
            &scene.id,
            std::slice::from_ref(&site),
            &[],
            &scene.path("state"),
        )
    };
    std::fs::write(&state, &whole[..whole.len() / 2]).unwrap();
    let refused = open().err().unwrap().to_string();
    assert!(refused.contains("what this watch remembers"), "{refused}");
    assert!(refused.contains("state.json"), "{refused}");
    std::fs::write(&state, whole).unwrap();
    assert!(open().is_ok());
}

#[test]
fn what_is_none_of_ours_is_left_as_it_is() {
    let scene = Scene::new();
    scene.show("site", &scene.world);
    let site = scene.given("site");
    for (file, bytes) in [
        ("state/unfinished/thesis.txt", "years"),
        ("state/lock", "other"),
    ] {
        let path = scene.path(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let opened = Watcher::open(
            &scene.id,
            std::slice::from_ref(&site),
            &[],
            &scene.path("state"),
        );
        let refused = opened.err().unwrap().to_string();
        assert!(refused.contains("none of ours"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), bytes);
        std::fs::remove_dir_all(scene.path("state")).unwrap();
    }
}

pub fn command(scene: &Scene, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallyroot-verify"));
    command
        .arg("watch")
        .arg(scene.given("site"))
        .args(["--election", &scene.id.to_string()])
        .args(["--state", &scene.given("state")])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn has_files(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some())
}

/// Whether a round has ended and was written down.
fn has_looked(scene: &Scene) -> bool {
    let state = std::fs::read(scene.path("state/state.json")).unwrap_or_default();
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap_or_default();
    let seen = state["seen"].as_object();
    seen.is_some_and(|seen| !seen.is_empty())
}

#[test]
fn killed_it_goes_on_where_it_was() {
    let scene = Scene::new();
    scene.show("site", &scene.world);
    let mut running = command(&scene, &["--json", "--interval", "1"])
        .spawn()
        .unwrap();
    while !has_looked(&scene) {
        assert!(running.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // SIGKILL.
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(has_files(&scene.path("state/evidence/cells-0")));

    scene.show("site", &forged());
    let output = command(&scene, &["--json", "--rounds", "2", "--interval", "1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let lines: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        lines.iter().any(|line| line["code"] == "equivocation"),
        "{lines:#?}"
    );
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["event"], &last["verdict"]),
        (&"end".into(), &"findings".into())
    );
}

#[test]
fn an_interrupt_ends_it_with_its_verdict() {
    let scene = Scene::new();
    scene.show("site", &scene.world);
    let running = command(&scene, &["--interval", "3600"]).spawn().unwrap();
    while !has_looked(&scene) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let killed = Command::new("kill")
        .args(["-INT", &running.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let output = running.wait_with_output().unwrap();
    // This machine's clock is used here: until the day of this election has come, its heads are ahead.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (code, words) = if now.as_millis() < u128::from(OPENING) {
        (1, "FINDINGS")
    } else {
        (0, "NOTHING RAISED")
    };
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(words), "{said}");
}

#[test]
fn metrics_over_http() {
    use std::io::{Read as _, Write as _};
    let scene = Scene::new();
    let mut watcher = scene.watcher(&["site"]);
    round(&mut watcher);
    let address =
        verifier_cli::watch::serve("127.0.0.1:0".parse().unwrap(), watcher.metrics()).unwrap();
    let ask = |request: &[u8]| {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        // A request that is cut off is answered by hanging up.
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    assert!(ask(b"GET /metrics HTTP/1.1\r\n\r\n").contains("tallyroot_watch_rounds_total 1"));
    assert!(ask(b"GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
    ask(&[b'x'; 100_000]);
    assert!(ask(b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
}

/// An entry that is none, in a tree that the log's key signed, is the key's doing and not the source's.
#[test]
fn a_signed_entry_that_is_none_is_the_log_keys() {
    let scene = Scene::new();
    let mut watcher = scene.watcher(&["site"]);
    round(&mut watcher);
    let mut world = scene.then(3);
    world.batch(LogId::Heads, vec![b"\x07junk".to_vec()]);
    scene.show("site", &world);
    let said: Vec<_> = (0..2).flat_map(|_| round(&mut watcher)).collect();
    assert_eq!(codes(&said), ["entry-malformed"], "{said:#?}");
}

/// A memory without what it remembers would let a watch forget what it raised.
#[test]
fn a_memory_that_lost_its_state_is_not_begun_anew() {
    let scene = Scene::new();
    round(&mut scene.watcher(&["site"]));
    let state = scene.path("state").join("state.json");
    std::fs::remove_file(&state).unwrap();
    let sources = [scene.given("site")];
    let error = Watcher::open(&scene.id, &sources, &[], &scene.path("state")).err();
    let error = error.expect("it must not begin anew").to_string();
    assert!(error.contains("state.json"), "{error}");
    assert!(!state.exists());
}
