//! Witnesses that are asked for their own copies, over HTTP.

use std::fs;
use std::path::Path;

use protocol::cosignature;
use protocol::ids::LogId;
use protocol::note::SignedNote;
use sha2::{Digest as _, Sha256};
use verifier_cli::audit::{self, Options};
use verifier_cli::progress::Progress;
use verifier_cli::verdict::{AuditVerdict, Outcome};
use verifier_cli::watch::{Event, Watcher};

use crate::common::keys::{CLOSING, Keys};
use crate::common::world::{Plan, World};
use crate::common::{found, options};
use crate::web::serve;

const PLAN: Plan = Plan {
    votes: 60,
    issued: 80,
    batch: 20,
    finished: true,
};

/// An election's folder, and a server that answers for witnesses: number n below `/n/`.
struct Scene {
    folder: tempfile::TempDir,
    world: World,
    site: String,
}

impl Scene {
    fn new(world: World) -> Self {
        let folder = tempfile::tempdir().unwrap();
        world.publish(&folder.path().join("election"));
        let witnesses = folder.path().join("witnesses");
        fs::create_dir(&witnesses).unwrap();
        let site = serve(&witnesses, |_, _| None);
        Self {
            folder,
            world,
            site,
        }
    }

    /// The election as it was published, under the same keys but with other contents.
    fn publish(&self, name: &str, world: &World) -> std::path::PathBuf {
        let path = self.folder.path().join(name);
        world.publish(&path);
        path
    }

    fn election(&self) -> std::path::PathBuf {
        self.folder.path().join("election")
    }

    /// From now on witness n holds the checkpoint of this size, cosigned at this time (s since 1970).
    fn hold(&self, n: usize, size: u64, seconds: u64) -> String {
        let own = fs::read(self.election().join(format!("heads/checkpoints/{size}"))).unwrap();
        let note = SignedNote::parse(&own).unwrap();
        let (witness, key) = Keys::witness(self.world.keys.seed, n);
        let signature = key.sign(&cosignature::message(seconds, note.text()));
        let line = cosignature::line(&witness, seconds, &signature).unwrap();
        self.show(n, &note.with_signatures(vec![line]).unwrap().encode())
    }

    fn show(&self, n: usize, note: &[u8]) -> String {
        let origin = self.world.keys.election.origin(LogId::Heads);
        let name = hex::encode(Sha256::digest(origin));
        let folder = self.folder.path().join(format!("witnesses/{n}/{name}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("checkpoint"), note).unwrap();
        format!("{}/{n}", self.site)
    }

    fn audit(&self, election: &Path, witnesses: &[String]) -> AuditVerdict {
        let options = Options {
            witnesses: witnesses.to_vec(),
            ..options()
        };
        let id = self.world.keys.election.id();
        audit::run(
            election.to_str().unwrap(),
            &id,
            &options,
            &Progress::hidden(),
        )
    }
}

/// What is said not to be covered, as far as it is about witnesses.
fn open(verdict: &AuditVerdict) -> String {
    let words = verdict.not_covered.iter();
    words
        .filter(|words| words.contains("witness"))
        .cloned()
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_witness_that_agrees_is_covered_and_one_that_is_away_is_said() {
    let scene = Scene::new(World::witnessed("asked", PLAN));
    let time = CLOSING / 1_000;
    let asked = [scene.hold(0, 5, time), scene.hold(2, 8, time)];
    let verdict = scene.audit(&scene.election(), &asked);
    assert_eq!(found(&verdict), []);
    assert_eq!(verdict.verdict, Outcome::Verified);
    let covered: Vec<_> = verdict.covered.witnesses.iter().collect();
    assert_eq!(covered.len(), 2);
    assert_eq!((covered[0].size, covered[1].size), (5, 8));
    assert_eq!(covered[1].time, time * 1_000);
    let name = |n| Keys::witness(scene.world.keys.seed, n).0.name().to_owned();
    assert_eq!(covered[1].name, name(2));
    assert!(open(&verdict).contains(&name(1)) && !open(&verdict).contains(&name(0)));

    // Nobody at all is asked: all three are said.
    let verdict = scene.audit(&scene.election(), &[]);
    assert!((0..3).all(|n| open(&verdict).contains(&name(n))));

    // A witness that has nothing, shows garbage, a checkpoint that it did not cosign, or another's key: it blames nobody, and is not counted as heard.
    let own = fs::read(scene.election().join("heads/checkpoint")).unwrap();
    let stranger = {
        let note = SignedNote::parse(&own).unwrap();
        let (witness, key) = Keys::witness("a stranger", 0);
        let line = cosignature::line(&witness, time, &key.sign(b"whatever")).unwrap();
        note.with_signatures(vec![line]).unwrap().encode()
    };
    let answers: Vec<String> = [b"garbage".as_slice(), &own, &stranger, &[b'x'; 100_000]]
        .into_iter()
        .zip(10..)
        .map(|(answer, n)| scene.show(n, answer))
        .chain([format!("{}/nobody", scene.site), "ftp://nowhere".to_owned()])
        .collect();
    for url in &answers {
        let verdict = scene.audit(&scene.election(), std::slice::from_ref(url));
        assert_eq!(found(&verdict), [], "{url}");
        // Who asks for a witness wants to hear it.
        assert_eq!(verdict.verdict, Outcome::Unchecked, "{url}: {verdict:#?}");
        assert!(verdict.covered.witnesses.is_empty(), "{url}");
        assert!(open(&verdict).contains(url), "{url}: {}", open(&verdict));
    }
}

#[test]
fn whoever_is_asked_by_name_answers_for_nobody_else() {
    let scene = Scene::new(World::witnessed("asked", PLAN));
    let time = CLOSING / 1_000;
    let name = |n| Keys::witness(scene.world.keys.seed, n).0.name().to_owned();
    // Where witness 1 should answer, witness 0's note lies.
    let url = scene.hold(0, 5, time);
    let verdict = scene.audit(&scene.election(), &[format!("{}={url}", name(1))]);
    assert!(verdict.covered.witnesses.is_empty(), "{verdict:#?}");
    assert!(open(&verdict).contains(&format!("{} has not cosigned", name(1))));
    assert!((0..3).all(|n| open(&verdict).contains(&name(n))));
    let verdict = scene.audit(&scene.election(), &[format!("{}={url}", name(0))]);
    assert_eq!(verdict.covered.witnesses[0].name, name(0));
    let verdict = scene.audit(&scene.election(), &[format!("nobody={url}")]);
    assert!(open(&verdict).contains("the manifest names no witness \"nobody\""));

    // Without names, two addresses of one witness are said to be.
    let own = fs::read(
        scene
            .folder
            .path()
            .join("witnesses/0")
            .join(hex::encode(Sha256::digest(
                scene.world.keys.election.origin(LogId::Heads),
            )))
            .join("checkpoint"),
    );
    let again = scene.show(7, &own.unwrap());
    let verdict = scene.audit(&scene.election(), &[url.clone(), again]);
    assert!(
        open(&verdict).contains("both answered as witness"),
        "{verdict:#?}"
    );

    // A line in a witness's name that is not its own does not hide the right one behind it.
    let note = fs::read(scene.election().join("heads/checkpoints/5")).unwrap();
    let note = SignedNote::parse(&note).unwrap();
    let lines = [1, 2].map(|n| {
        let (witness, key) = Keys::witness(scene.world.keys.seed, n);
        let signed = if n == 1 {
            b"another".to_vec()
        } else {
            cosignature::message(time, note.text())
        };
        cosignature::line(&witness, time, &key.sign(&signed)).unwrap()
    });
    let url = scene.show(8, &note.with_signatures(lines.to_vec()).unwrap().encode());
    let verdict = scene.audit(&scene.election(), &[url]);
    assert_eq!(verdict.covered.witnesses[0].name, name(2), "{verdict:#?}");
}

#[test]
fn one_witness_convicts_a_log_that_was_signed_anew_or_cut() {
    let scene = Scene::new(World::witnessed("asked", PLAN));
    let mut forged = World::witnessed("asked", PLAN);
    forged.change_votes(0, 0, |votes| {
        votes.remove(0);
    });
    let forged = scene.publish("forged", &forged);
    // All three witnesses were made to cosign it: the files alone show nothing.
    assert_eq!(scene.audit(&forged, &[]).verdict, Outcome::Verified);
    let witness = scene.hold(1, 5, CLOSING / 1_000);
    let verdict = scene.audit(&forged, std::slice::from_ref(&witness));
    let found_at = |verdict: &AuditVerdict| found(verdict).pop().unwrap();
    let (code, place) = found_at(&verdict);
    assert_eq!(code, "equivocation", "{verdict:#?}");
    assert!(place.contains(&witness), "{place}");

    // And while it runs, a log that ends below what a witness cosigned.
    let cut = World::witnessed(
        "asked",
        Plan {
            finished: false,
            ..PLAN
        },
    );
    let cut = scene.publish("cut", &cut);
    assert_eq!(scene.audit(&cut, &[]).verdict, Outcome::Verified);
    let witness = scene.hold(1, 8, CLOSING / 1_000);
    let (code, _) = found_at(&scene.audit(&cut, &[witness]));
    assert_eq!(code, "checkpoint-rollback");
}

/// Heads that ran ahead of the time, whose cosignatures were withheld: the witnesses' own copies tell.
#[test]
fn a_quorum_of_own_copies_shows_times_that_were_set_forward() {
    let mut world = World::witnessed("withheld", PLAN);
    // Nothing but the final head's cosignatures is published.
    world.cosign = |size, time| {
        if size == 8 {
            crate::common::world::cosigned_at_once(size, time)
        } else {
            Vec::new()
        }
    };
    let scene = Scene::new(world);
    let verdict = scene.audit(&scene.election(), &[]);
    assert_eq!(found(&verdict), []);
    // The head at index 6 is the first that closes logs. Two witnesses had cosigned it an hour before it says it was.
    let early = CLOSING / 1_000 - 3_600;
    let asked = [scene.hold(0, 7, early), scene.hold(1, 8, early)];
    let verdict = scene.audit(&scene.election(), &asked);
    assert_eq!(
        found(&verdict),
        [("clock", "heads/checkpoint".to_owned())],
        "{:#?}",
        verdict.findings
    );
    // One of them twice is no quorum, and one alone is none.
    let twice = [asked[0].clone(), asked[0].clone()];
    assert_eq!(found(&scene.audit(&scene.election(), &twice)), []);
    // As far apart as clocks may be.
    let times = [(0, 7), (1, 8)];
    let asked = times.map(|(n, size)| scene.hold(n, size, CLOSING / 1_000));
    assert_eq!(found(&scene.audit(&scene.election(), &asked)), []);
}

#[test]
fn watch_holds_what_witnesses_cosigned_against_what_is_shown() {
    let scene = Scene::new(World::witnessed("asked", PLAN));
    let id = scene.world.keys.election.id();
    let watch = |site: &Path, witness: &str, state: &str, clock: Option<u64>| {
        let state = scene.folder.path().join(state);
        let site = site.to_str().unwrap().to_owned();
        let mut watcher = Watcher::open(&id, &[site], &[witness.to_owned()], &state).unwrap();
        // In the first round it learns which election this is, and asks then.
        let first = watcher.round(clock).unwrap();
        let heard = usize::from(!witness.ends_with("nobody"));
        assert_eq!(watcher.seen().witnesses, (heard, 1));
        let codes: Vec<&str> = first
            .iter()
            .filter_map(|event| match event {
                Event::Finding { code, .. } => Some(*code),
                _ => None,
            })
            .collect();
        (codes, watcher.outcome())
    };
    let time = CLOSING / 1_000;
    let witness = scene.hold(1, 5, time);
    let right = watch(&scene.election(), &witness, "right", None);
    assert_eq!(right, (vec![], Outcome::Verified));

    let mut forged = World::witnessed("asked", PLAN);
    forged.change_votes(0, 0, |votes| {
        votes.remove(0);
    });
    let forged = scene.publish("forged", &forged);
    let (codes, outcome) = watch(&forged, &witness, "forged-state", None);
    assert_eq!((codes, outcome), (vec!["equivocation"], Outcome::Findings));

    let open = Plan {
        finished: false,
        ..PLAN
    };
    let cut = scene.publish("cut", &World::witnessed("asked", open));
    let witness = scene.hold(1, 8, time);
    // It may be about to be published; after half a minute it was cut.
    let clock = |after: u64| Some(time * 1_000 + after);
    let (codes, outcome) = watch(&cut, &witness, "cut-now", clock(30_000));
    assert_eq!(codes, ["late-head"]);
    assert_eq!(outcome, Outcome::Findings);
    let (codes, _) = watch(&cut, &witness, "cut-later", clock(30_001));
    assert!(codes.contains(&"checkpoint-rollback"), "{codes:?}");
    // What reaches as far as the witness was not cut, however long ago that was.
    let whole = watch(&scene.election(), &witness, "whole", clock(600_000));
    assert_eq!(whole, (vec![], Outcome::Verified));

    // One that does not answer is no finding, and no silence either.
    let nobody = format!("{}/nobody", scene.site);
    let away = watch(&scene.election(), &nobody, "away", None);
    assert_eq!(away, (vec![], Outcome::Unchecked));
}
