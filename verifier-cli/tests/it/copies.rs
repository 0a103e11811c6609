//! `mirror`: copies that verify by themselves, at every moment, and never forget.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use protocol::anchor::AnchorObject;
use protocol::batch::BatchFile;
use protocol::ids::{ElectionId, LogId};
use protocol::merkle::CompactRange;
use protocol::note::{NoteSignature, SignedNote};
use protocol::results::{Results, Status};
use verifier_cli::bundle::{self, BundleVerdict};
use verifier_cli::consistency;
use verifier_cli::mirror::{self, MirrorVerdict};
use verifier_cli::progress::Progress;
use verifier_cli::verdict::Outcome;

use crate::common::world::{Plan, World};
use crate::common::{audit, files, found, options, write};
use crate::receipts::{PLAN, early};
use crate::web::{Answer, serve};

pub struct Scene {
    folder: tempfile::TempDir,
    pub world: World,
    pub id: ElectionId,
}

impl Scene {
    pub fn of(world: World) -> Self {
        let scene = Self {
            id: world.keys.election.id(),
            folder: tempfile::tempdir().unwrap(),
            world,
        };
        scene.world.publish(&scene.path("site"));
        scene
    }

    pub fn new() -> Self {
        Self::of(World::new("receipts", PLAN))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn show(&self, world: &World) {
        fs::remove_dir_all(self.path("site")).unwrap();
        world.publish(&self.path("site"));
    }

    pub fn mirror(&self) -> MirrorVerdict {
        let site = self.path("site");
        mirror::run(
            site.to_str().unwrap(),
            &self.path("copy"),
            &self.id,
            Some(&options()),
            &Progress::hidden(),
        )
    }

    /// The copy's own folder of the election.
    pub fn copy(&self) -> PathBuf {
        self.path(&format!("copy/public/elections/{}", self.id))
    }

    pub fn bundle(&self, name: &str) -> BundleVerdict {
        let site = self.path("site");
        bundle::run(
            site.to_str().unwrap(),
            &self.path(name),
            &self.id,
            &Progress::hidden(),
        )
    }
}

fn codes(verdict: &MirrorVerdict) -> Vec<&'static str> {
    let findings = verdict.findings.iter();
    findings.map(|finding| finding.code.name()).collect()
}

pub fn bytes_of(root: &Path) -> Vec<(String, Vec<u8>)> {
    let names = files(root).into_iter();
    names
        .map(|name| (name.clone(), fs::read(root.join(name)).unwrap()))
        .collect()
}

#[test]
fn a_copy_is_byte_equal_where_something_must_be() {
    // More than a tile, and cosignatures.
    let plan = Plan {
        votes: 60,
        issued: 640,
        batch: 20,
        finished: true,
    };
    let scene = Scene::of(World::witnessed("mirror", plan));
    let verdict = scene.mirror();
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    let audited = verdict.audit.unwrap();
    assert_eq!((audited.votes, audited.verdict), (60, Outcome::Verified));
    for (path, bytes) in bytes_of(&scene.copy()) {
        assert_eq!(
            fs::read(scene.path("site").join(&path)).unwrap(),
            bytes,
            "{path}"
        );
    }
    assert!(scene.copy().join("registrars/0/0/tile/0/000").exists());
    assert!(scene.copy().join("heads/cosigned").exists());

    // Nothing is left to do.
    let again = scene.mirror();
    assert_eq!(
        (again.verdict, again.written),
        (Outcome::Verified, 0),
        "{again:#?}"
    );
}

#[test]
fn it_grows_with_the_election_and_is_right_at_every_moment() {
    let scene = Scene::new();
    for heads in [1, 2, 4] {
        scene.show(&early(&scene.world, scene.world.nth_head(heads) + 1));
        let verdict = scene.mirror();
        assert_eq!(verdict.verdict, Outcome::Verified, "{heads}: {verdict:#?}");
    }
    // Killed at any moment: the files that it would have written so far, in their order, are an election that verifies.
    let before = bytes_of(&scene.copy());
    scene.show(&scene.world);
    assert_eq!(scene.mirror().verdict, Outcome::Verified);
    let after = bytes_of(&scene.copy());
    let is_new = |file: &&(String, Vec<u8>)| !before.contains(file);
    let moves = |path: &str| path.ends_with("checkpoint") || path == "results.json";
    let fixed: Vec<_> = after
        .iter()
        .filter(is_new)
        .filter(|(path, _)| !moves(path) && !path.starts_with("anchors/"))
        .collect();
    let half = scene.path("half");
    for (path, bytes) in before.iter().chain(fixed) {
        write(&half, path, bytes);
    }
    let verdict = audit(&half, &scene.id);
    assert_eq!(verdict.verdict, Outcome::Verified, "{:?}", found(&verdict));
    let election = &scene.world.keys.election;
    let order = election
        .logs()
        .iter()
        .rev()
        .map(|log| format!("{log}/checkpoint"));
    for path in order.chain(["heads/checkpoint".to_owned()]) {
        write(&half, &path, &fs::read(scene.copy().join(&path)).unwrap());
        if path == "heads/checkpoint" {
            // With the final head, anchors and results are due; an audit waits for them.
            break;
        }
        let verdict = audit(&half, &scene.id);
        assert_eq!(
            verdict.verdict,
            Outcome::Verified,
            "{path}: {:?}",
            found(&verdict)
        );
    }
}

#[test]
fn a_killed_copy_goes_on() {
    let scene = Scene::new();
    let whole = {
        assert_eq!(scene.mirror().verdict, Outcome::Verified);
        bytes_of(&scene.copy())
    };
    for keep in [0, 1, 7, 20, 40] {
        fs::remove_dir_all(scene.path("copy")).unwrap();
        // In no special order, and a file that was not finished.
        for (path, bytes) in whole
            .iter()
            .filter(|(path, _)| path.contains("batches") || path.contains("tile"))
            .take(keep)
        {
            write(&scene.copy(), path, bytes);
        }
        fs::create_dir_all(scene.path("copy/unfinished")).unwrap();
        fs::write(scene.path("copy/unfinished/3"), b"half").unwrap();
        let verdict = scene.mirror();
        assert_eq!(verdict.verdict, Outcome::Verified, "{keep}: {verdict:#?}");
        assert_eq!(bytes_of(&scene.copy()), whole);
    }
}

#[test]
fn what_contradicts_the_copy_is_put_aside() {
    let scene = Scene::new();
    scene.show(&early(&scene.world, scene.world.nth_head(3) + 1));
    assert_eq!(scene.mirror().verdict, Outcome::Verified);
    let before = bytes_of(&scene.copy());

    let mut forged = World::new("receipts", PLAN);
    forged.change_votes(0, 0, |votes| {
        votes.remove(0);
    });
    scene.show(&forged);
    let verdict = scene.mirror();
    assert!(codes(&verdict).contains(&"equivocation"), "{verdict:#?}");
    assert!(!verdict.complete);
    let aside = files(&scene.path("copy/conflicts"));
    let proof = aside
        .iter()
        .find(|path| path.contains("split-view"))
        .unwrap();
    let proof = scene.path("copy/conflicts").join(proof);
    assert_eq!(
        consistency::check(&proof, &scene.id).verdict,
        Outcome::Findings
    );

    // Nothing that was there has changed, and what is served verifies.
    for (path, bytes) in before {
        assert_eq!(fs::read(scene.copy().join(&path)).unwrap(), bytes, "{path}");
    }
    let served = audit(&scene.path("copy"), &scene.id);
    assert_eq!(served.verdict, Outcome::Verified, "{:?}", found(&served));

    // An older state of the same history.
    scene.show(&early(&scene.world, scene.world.nth_head(2) + 1));
    let verdict = scene.mirror();
    assert_eq!(verdict.verdict, Outcome::Unchecked, "{verdict:#?}");
    assert!(!verdict.complete && verdict.usable, "{verdict:#?}");
    // And the election as it goes on.
    scene.show(&scene.world);
    assert_eq!(scene.mirror().verdict, Outcome::Verified);
}

#[test]
fn a_source_that_is_not_what_was_signed_is_not_copied() {
    let scene = Scene::new();
    let mut forged = World::new("receipts", PLAN);
    forged.change_votes(0, 2, |votes| {
        votes.remove(0);
    });
    let other = tempfile::tempdir().unwrap();
    forged.publish(other.path());
    let site = scene.path("site");
    for (file, code) in [
        ("cells/0/batches/1", "batch-malformed"),
        ("cells/0/batches/3", "checkpoint-root"),
        // A root that its entries do not make, in the last batch.
        ("cells/1/batches/3", "batch-chain"),
        ("cells/0/checkpoint", "checkpoint-signature"),
        ("heads/batches/4", "missing-file"),
        ("anchors/near/1", "anchor-malformed"),
        ("manifest.json", "manifest-mismatch"),
    ] {
        let path = site.join(file);
        let right = fs::read(&path).unwrap();
        match code {
            "missing-file" => fs::remove_file(&path).unwrap(),
            "checkpoint-root" => {
                // The last votes, well formed and chained: only the signature speaks against them.
                fs::copy(other.path().join(file), &path).map(drop).unwrap();
            }
            "batch-chain" => {
                let mut batch = right.clone();
                // Label and zero, election id, log id, n, old size, old root, new size: then the new root.
                batch[18 + 1 + 32 + 9 + 8 + 8 + 32 + 8] ^= 1;
                fs::write(&path, batch).unwrap();
            }
            "checkpoint-signature" => {
                let mut note = right.clone();
                let at = note.len() - 20;
                note[at] = if note[at] == b'A' { b'B' } else { b'A' };
                fs::write(&path, note).unwrap();
            }
            _ => fs::write(&path, &right[..right.len() - 1]).unwrap(),
        }
        let _ = fs::remove_dir_all(scene.path("copy"));
        let verdict = scene.mirror();
        assert_eq!(verdict.verdict, Outcome::Findings, "{file}");
        assert!(
            codes(&verdict)
                .iter()
                .any(|found| *found == code
                    || (code == "checkpoint-root" && *found == "batch-chain")),
            "{file}: {:?}",
            codes(&verdict)
        );
        // Nothing that names anything was published.
        assert!(!scene.copy().join("results.json").exists());
        assert!(!scene.copy().join("cells/0/checkpoint").exists());
        fs::write(&path, right).unwrap();
    }
    // Tiles are made, so wrong ones of the source do no harm to the copy.
    fs::write(site.join("cells/0/tile/0/000.p/30"), b"wrong").unwrap();
    let _ = fs::remove_dir_all(scene.path("copy"));
    assert_eq!(scene.mirror().verdict, Outcome::Verified);
}

/// The codes of what a copy's verdict found, and of its audit.
fn all_codes(verdict: &MirrorVerdict) -> Vec<&'static str> {
    let audited = verdict.audit.iter().flat_map(|audit| &audit.findings);
    let all = verdict.findings.iter().chain(audited);
    all.map(|finding| finding.code.name()).collect()
}

/// Batch `n` of a log with these entries, after the batches that the site serves before it.
fn forged_batch(scene: &Scene, log: LogId, n: u64, entries: Vec<&[u8]>) -> Vec<u8> {
    let election = &scene.world.keys.election;
    let mut tree = CompactRange::new();
    for before in 0..n {
        let bytes = fs::read(scene.path(&format!("site/{log}/batches/{before}"))).unwrap();
        let batch = BatchFile::decode(&bytes, election).unwrap();
        batch.apply(&mut tree).unwrap();
    }
    let batch = BatchFile::build(election, log, n, &mut tree, entries).unwrap();
    batch.encode()
}

#[test]
fn whoever_serves_the_files_once_spoils_no_copy() {
    let scene = Scene::new();
    let site = scene.path("site");
    let cell = LogId::Cell(0);
    let bytes = fs::read(site.join("cells/0/batches/1")).unwrap();
    let batch = BatchFile::decode(&bytes, &scene.world.keys.election).unwrap();
    let next = fs::read(site.join("cells/0/batches/2")).unwrap();
    let next = BatchFile::decode(&next, &scene.world.keys.election).unwrap();
    // Nobody's key is needed for any of these.
    let junk = vec![vec![7u8; 60_000]; batch.entries.len()];
    let junk = forged_batch(&scene, cell, 1, junk.iter().map(Vec::as_slice).collect());
    let both = [batch.entries.as_slice(), next.entries.as_slice()].concat();
    let longer = forged_batch(&scene, cell, 1, both);
    let (part, _) = batch.entries.split_at(batch.entries.len() / 2);
    let shorter = forged_batch(&scene, cell, 1, part.to_vec());
    for (what, forged, code) in [
        ("other entries", junk, "batch-chain"),
        ("two batches as one", longer, "grammar-broken"),
        ("half a batch", shorter, "grammar-broken"),
    ] {
        let _ = fs::remove_dir_all(scene.path("copy"));
        write(&site, "cells/0/batches/1", &forged);
        let verdict = scene.mirror();
        assert_eq!(codes(&verdict), [code], "{what}: {verdict:#?}");
        assert!(!scene.copy().join("cells/0/batches/1").exists(), "{what}");
        write(&site, "cells/0/batches/1", &bytes);
        let verdict = scene.mirror();
        assert_eq!(verdict.verdict, Outcome::Verified, "{what}: {verdict:#?}");
    }
}

#[test]
fn batches_that_are_cut_elsewhere_blame_nobody() {
    // Where an issuance log's batches end is not signed, but where heads name it.
    let plan = Plan {
        issued: 640,
        ..PLAN
    };
    let scene = Scene::of(World::new("receipts", plan));
    let site = scene.path("site");
    let log = LogId::Issuance {
        registrar: 0,
        shard: 0,
    };
    let read = |n: u64| fs::read(site.join(format!("{log}/batches/{n}"))).unwrap();
    let (one, two) = (read(1), read(2));
    // Where heads name them: the close goes into the batch before it.
    let (count, close) = (read(4), read(5));
    let election = scene.world.keys.election.clone();
    let entries = |bytes: &[u8]| -> Vec<Vec<u8>> {
        let batch = BatchFile::decode(bytes, &election).unwrap();
        batch.entries.iter().map(|entry| entry.to_vec()).collect()
    };
    let both = [entries(&one), entries(&two)].concat();
    let closed = [entries(&count), entries(&close)].concat();
    let closed = forged_batch(&scene, log, 4, closed.iter().map(Vec::as_slice).collect());
    write(&site, &format!("{log}/batches/4"), &closed);
    let verdict = scene.mirror();
    assert_eq!(codes(&verdict), ["head-size"], "{verdict:#?}");
    assert!(!scene.copy().join(format!("{log}/batches/4")).exists());
    write(&site, &format!("{log}/batches/4"), &count);
    let verdict = scene.mirror();
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    fs::remove_dir_all(scene.path("copy")).unwrap();
    // And where they do not.
    let merged = forged_batch(&scene, log, 1, both.iter().map(Vec::as_slice).collect());
    write(&site, &format!("{log}/batches/1"), &merged);
    let verdict = scene.mirror();
    assert!(!verdict.complete, "{verdict:#?}");
    write(&site, &format!("{log}/batches/1"), &one);
    let verdict = scene.mirror();
    assert_eq!(codes(&verdict), [""; 0], "{verdict:#?}");
    assert_eq!(verdict.verdict, Outcome::Unchecked);
    let said = verdict.not_covered.join("\n");
    assert!(said.contains("cut"), "{said}");
}

#[test]
fn anchors_are_copied_as_far_as_they_are_right() {
    let scene = Scene::new();
    let site = scene.path("site");
    let election = scene.world.keys.election.clone();
    let name = election.manifest().anchors[0].name.clone();
    let path = format!("anchors/{name}/1");
    let right = fs::read(site.join(&path)).unwrap();
    let published = fs::read_dir(site.join(format!("anchors/{name}")))
        .unwrap()
        .count();
    let change = |change: fn(&mut AnchorObject<'_>)| {
        let mut object = AnchorObject::decode(&right, &election.id()).unwrap();
        change(&mut object);
        object.encode().unwrap()
    };
    for (what, forged, code) in [
        (
            "note",
            change(|object| object.note = b"forged"),
            "anchor-conflict",
        ),
        (
            "entries",
            change(|object| object.entries[0] = b"forged"),
            "anchor-conflict",
        ),
    ] {
        let _ = fs::remove_dir_all(scene.path("copy"));
        write(&site, &path, &forged);
        let verdict = scene.mirror();
        assert_eq!(codes(&verdict), [code], "{what}: {verdict:#?}");
        assert!(!scene.copy().join(&path).exists());
        write(&site, &path, &right);
        let verdict = scene.mirror();
        assert_eq!(verdict.verdict, Outcome::Verified, "{what}: {verdict:#?}");
    }
    // One object under many names: no end of them is read.
    for n in published..published + 50 {
        write(&site, &format!("anchors/{name}/{n}"), &right);
    }
    let _ = fs::remove_dir_all(scene.path("copy"));
    let verdict = scene.mirror();
    assert_eq!(codes(&verdict), ["anchor-malformed"], "{verdict:#?}");
    assert_eq!(
        verdict.findings[0].place.file,
        format!("anchors/{name}/{published}")
    );
}

#[test]
fn cosignatures_that_were_left_out_are_taken_up_later() {
    let plan = Plan {
        finished: true,
        ..PLAN
    };
    let scene = Scene::of(World::witnessed("mirror", plan));
    let site = scene.path("site");
    let sizes = fs::read_dir(site.join("heads/cosigned")).unwrap();
    let sizes = sizes.map(|file| file.unwrap().file_name().to_str().unwrap().parse::<u64>());
    let path = format!(
        "heads/cosigned/{}",
        sizes.map(Result::unwrap).max().unwrap()
    );
    let full = fs::read(site.join(&path)).unwrap();
    let note = SignedNote::parse(&full).unwrap();
    let lines = note.signatures();
    assert!(lines.len() > 2, "{lines:?}");
    let with = |lines: Vec<NoteSignature>| SignedNote::new(note.text(), lines).unwrap().encode();
    let first = with(lines[..2].to_vec());
    let others = with([&lines[..1], &lines[2..]].concat());
    for shown in [&first, &others] {
        write(&site, &path, shown);
        let verdict = scene.mirror();
        assert_eq!(codes(&verdict), [""; 0], "{verdict:#?}");
    }
    // The lines of both make the quorum.
    let kept = SignedNote::parse(&fs::read(scene.copy().join(&path)).unwrap()).unwrap();
    assert_eq!(kept.signatures().len(), lines.len());
    write(&site, &path, &full);
    let verdict = scene.mirror();
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    // And none is lost again.
    write(&site, &path, &first);
    let verdict = scene.mirror();
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    assert_eq!(fs::read(scene.copy().join(&path)).unwrap(), full);
}

/// An anchor's objects may each span several heads, so that nothing names the sizes between.
fn join_anchored(site: &Path, id: &ElectionId, anchor: &str, n: u64) {
    let path = |n: u64| site.join(format!("anchors/{anchor}/{n}"));
    let (first, second) = (fs::read(path(n)).unwrap(), fs::read(path(n + 1)).unwrap());
    let mut first = AnchorObject::decode(&first, id).unwrap();
    let second = AnchorObject::decode(&second, id).unwrap();
    first.entries.extend(&second.entries);
    (first.new_size, first.note) = (second.new_size, second.note);
    let mut joined = first.encode().unwrap();
    let mut at = n;
    while path(at + 2).exists() {
        let later = fs::read(path(at + 2)).unwrap();
        let mut later = AnchorObject::decode(&later, id).unwrap();
        later.n = at + 1;
        let next = later.encode().unwrap();
        fs::write(path(at), std::mem::replace(&mut joined, next)).unwrap();
        at += 1;
    }
    fs::write(path(at), joined).unwrap();
    fs::remove_file(path(at + 1)).unwrap();
}

#[test]
fn cosignatures_that_nothing_names_are_copied_too() {
    let plan = Plan {
        finished: true,
        ..PLAN
    };
    let scene = Scene::of(World::witnessed("mirror", plan));
    let site = scene.path("site");
    for anchor in &scene.world.keys.election.manifest().anchors {
        join_anchored(&site, &scene.id, &anchor.name, 2);
    }
    let cosigned = |root: &Path| files(&root.join("heads/cosigned"));
    let all = cosigned(&site);
    let verdict = scene.mirror();
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    assert_eq!(cosigned(&scene.copy()), all);
    // The same where the source cannot list its files.
    fs::remove_dir_all(scene.path("copy")).unwrap();
    let verdict = mirror::run(
        &serve(&site, |_, _| None),
        &scene.path("copy"),
        &scene.id,
        Some(&options()),
        &Progress::hidden(),
    );
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    assert_eq!(cosigned(&scene.copy()), all);
}

#[test]
fn two_runs_do_not_meet_in_one_folder() {
    let scene = Scene::new();
    assert_eq!(scene.mirror().verdict, Outcome::Verified);
    let lock = fs::File::create(scene.path("copy/lock")).unwrap();
    lock.lock().unwrap();
    let verdict = scene.mirror();
    assert_eq!(verdict.verdict, Outcome::Unchecked, "{verdict:#?}");
    assert!(verdict.not_covered[0].contains("another"), "{verdict:#?}");
    drop(lock);
    assert_eq!(scene.mirror().verdict, Outcome::Verified);

    for n in 0..5 {
        let (site, to) = (scene.path("site"), scene.path(&format!("copy{n}")));
        let site = site.to_str().unwrap();
        let run = || mirror::run(site, &to, &scene.id, None, &Progress::hidden());
        let verdicts = std::thread::scope(|scope| {
            let (one, two) = (scope.spawn(run), scope.spawn(run));
            [one.join().unwrap(), two.join().unwrap()]
        });
        assert!(
            verdicts.iter().any(|verdict| verdict.complete),
            "{verdicts:#?}"
        );
        assert!(
            verdicts.iter().all(|verdict| verdict.findings.is_empty()),
            "{verdicts:#?}"
        );
        let again = run();
        assert_eq!((again.complete, again.written), (true, 0), "{again:#?}");
    }
}

#[test]
fn results_and_cells_are_held_against_the_heads_before_they_are_served() {
    let world = World::new("receipts", PLAN);
    let scene = Scene::of(early(&world, world.nth_head(3) + 1));
    let site = scene.path("site");
    let right = fs::read(site.join("results.json")).unwrap();
    let mut results = Results::parse(&right, &world.keys.election).unwrap();
    results.contests[0].counts.reverse();
    write(&site, "results.json", &results.to_bytes().unwrap());
    let verdict = scene.bundle("false.tar");
    assert_eq!(verdict.verdict, Outcome::Findings, "{verdict:#?}");
    assert_eq!(verdict.findings[0].code.name(), "results-wrong");
    assert!(!scene.path("false.tar").exists());
    let run = || {
        let (site, copy) = (scene.path("site"), scene.path("copy"));
        mirror::run(
            site.to_str().unwrap(),
            &copy,
            &scene.id,
            None,
            &Progress::hidden(),
        )
    };
    assert_eq!(codes(&run()), ["results-wrong"]);
    assert!(!scene.copy().join("results.json").exists());
    // Whatever they call themselves: those that are of another moment are sums of signed tallies, too.
    results.status = Status::Cancelled;
    write(&site, "results.json", &results.to_bytes().unwrap());
    assert_eq!(codes(&run()), ["results-wrong"]);
    assert!(!scene.copy().join("results.json").exists());
    // Right numbers under a status that nothing signed are not served either.
    results.contests[0].counts.reverse();
    write(&site, "results.json", &results.to_bytes().unwrap());
    assert_ne!(run().verdict, Outcome::Verified);
    assert!(!scene.copy().join("results.json").exists());
    write(&site, "results.json", &right);
    let verdict = run();
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    // That nothing was recounted is said.
    assert!(
        verdict.not_covered.join("").contains("audit"),
        "{verdict:#?}"
    );

    // A log that heads name and the source does not show.
    fs::rename(site.join("registrars/0"), scene.path("away")).unwrap();
    let verdict = scene.bundle("less.tar");
    assert_eq!(verdict.verdict, Outcome::Unchecked, "{verdict:#?}");
    assert!(!scene.path("less.tar").exists());
}

#[test]
fn a_run_reads_what_is_new() {
    // More than a tile, so that full and partial ones are gone on with.
    let plan = Plan {
        votes: 60,
        issued: 640,
        batch: 20,
        finished: true,
    };
    let scene = Scene::of(World::new("receipts", plan));
    let mut witness = scene.path("fresh");
    for heads in [1, 3] {
        let world = early(&scene.world, scene.world.nth_head(heads) + 1);
        scene.show(&world);
        assert_eq!(scene.mirror().verdict, Outcome::Verified);
        // What was copied is not read again: the copy's own batches are its audit's to check.
        let own = scene.copy().join("registrars/0/0/batches/1");
        let right = fs::read(&own).unwrap();
        fs::write(&own, b"damaged").unwrap();
        let verdict = scene.mirror();
        assert_eq!(codes(&verdict), [""; 0], "{verdict:#?}");
        assert!(verdict.complete, "{verdict:#?}");
        assert_eq!(verdict.written, 0);
        assert!(
            all_codes(&verdict).contains(&"batch-malformed"),
            "{verdict:#?}"
        );
        fs::write(&own, right).unwrap();
    }
    scene.show(&scene.world);
    // Without its partial tiles, the edge is made anew from the batches.
    let tiles = scene.copy().join("cells/0/tile/0");
    fs::remove_dir_all(&tiles).unwrap();
    assert_eq!(scene.mirror().verdict, Outcome::Verified);
    let grown = bytes_of(&scene.copy());
    witness.push("x");
    for (path, bytes) in &grown {
        assert_eq!(
            &fs::read(scene.path("site").join(path)).unwrap(),
            bytes,
            "{path}"
        );
    }
    // The same as all at once, but for what the newest size does not need.
    let site = scene.path("site");
    let fresh = mirror::run(
        site.to_str().unwrap(),
        &witness,
        &scene.id,
        None,
        &Progress::hidden(),
    );
    assert!(fresh.complete, "{fresh:#?}");
    let fresh = bytes_of(&witness.join(format!("public/elections/{}", scene.id)));
    for file in &fresh {
        assert!(grown.contains(file), "{}", file.0);
    }
}

#[test]
fn damage_to_the_copys_own_files_blames_nobody() {
    let scene = Scene::new();
    assert_eq!(scene.mirror().verdict, Outcome::Verified);
    let whole = bytes_of(&scene.copy());
    // Without the tiles at its edge, the log is read from its batches again.
    fs::remove_dir_all(scene.copy().join("cells/0/tile/0")).unwrap();
    for path in ["cells/0/batches/2", "heads/batches/3", "anchors/near/1"] {
        let own = scene.copy().join(path);
        fs::write(&own, b"damaged").unwrap();
        let verdict = scene.mirror();
        assert_eq!(verdict.verdict, Outcome::Unchecked, "{path}: {verdict:#?}");
        assert_eq!(codes(&verdict), [""; 0], "{path}: {verdict:#?}");
        let said = &verdict.not_covered[0];
        assert!(said.contains(path) && said.contains("own"), "{said}");
        fs::remove_file(&own).unwrap();
    }
    let verdict = scene.mirror();
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    for (path, bytes) in bytes_of(&scene.copy()) {
        assert!(whole.contains(&(path.clone(), bytes)), "{path}");
    }
}

/// Right behind the final head, its cosignatures, anchors and results are still to come: they are waited for.
#[test]
fn what_follows_the_final_head_is_waited_for() {
    let scene = Scene::of(World::witnessed("mirror", PLAN));
    let site = scene.path("site");
    let election = &scene.world.keys.election;
    let last = |folder: &str| {
        let names = fs::read_dir(site.join(folder)).unwrap();
        let names = names.map(|name| name.unwrap().file_name().into_string().unwrap());
        let number = names.map(|name| name.parse::<u64>().unwrap()).max();
        format!("{folder}/{}", number.unwrap())
    };
    let anchors = &election.manifest().anchors;
    let late = [
        last(&format!("anchors/{}", anchors[0].name)),
        last("heads/cosigned"),
    ];
    let right = fs::read(site.join("results.json")).unwrap();
    let mut open = Results::parse(&right, election).unwrap();
    open.status = Status::Open;
    for contest in &mut open.contests {
        contest.winner = None;
        contest.rounds = None;
        contest.tie_broken = None;
    }
    let open = open.to_bytes().unwrap();
    let asked = Mutex::new(BTreeSet::new());
    let address = serve(&site, move |path, _| {
        let is_first = |path: &str| asked.lock().unwrap().insert(path.to_owned());
        if path == "results.json" && is_first(path) {
            return Some(Answer::Bytes(open.clone()));
        }
        (late.iter().any(|late| late == path) && is_first(path)).then_some(Answer::Status(404, ""))
    });
    let verdict = mirror::run(
        &address,
        &scene.path("copy"),
        &scene.id,
        None,
        &Progress::hidden(),
    );
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
    for (path, bytes) in bytes_of(&site) {
        if path.starts_with("anchors/") || path == "results.json" || path == last("heads/cosigned")
        {
            assert_eq!(fs::read(scene.copy().join(&path)).unwrap(), bytes, "{path}");
        }
    }
}
