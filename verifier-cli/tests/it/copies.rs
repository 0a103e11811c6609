//! `mirror` and `bundle`: copies that verify by themselves, at every moment, and never forget.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use protocol::ids::ElectionId;
use verifier_cli::bundle::{self, BundleVerdict};
use verifier_cli::consistency;
use verifier_cli::mirror::{self, MirrorVerdict};
use verifier_cli::progress::Progress;
use verifier_cli::verdict::Outcome;

use crate::common::world::{Plan, World};
use crate::common::{audit, files, found, options, write};
use crate::receipts::{PLAN, early};

struct Scene {
    folder: tempfile::TempDir,
    world: World,
    id: ElectionId,
}

impl Scene {
    fn of(world: World) -> Self {
        let scene = Self {
            id: world.keys.election.id(),
            folder: tempfile::tempdir().unwrap(),
            world,
        };
        scene.world.publish(&scene.path("site"));
        scene
    }

    fn new() -> Self {
        Self::of(World::new("receipts", PLAN))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn show(&self, world: &World) {
        fs::remove_dir_all(self.path("site")).unwrap();
        world.publish(&self.path("site"));
    }

    fn mirror(&self) -> MirrorVerdict {
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
    fn copy(&self) -> PathBuf {
        self.path(&format!("copy/public/elections/{}", self.id))
    }

    fn bundle(&self, name: &str) -> BundleVerdict {
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

fn bytes_of(root: &Path) -> Vec<(String, Vec<u8>)> {
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
        fs::write(scene.path("copy/unfinished/file"), b"half").unwrap();
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
    assert!(
        codes(&verdict).contains(&"checkpoint-rollback"),
        "{verdict:#?}"
    );
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

#[test]
fn packages_of_one_state_are_equal_and_audit_as_they_are() {
    let scene = Scene::new();
    let one = scene.bundle("one.tar");
    assert_eq!(one.verdict, Outcome::Verified, "{one:#?}");
    // By another way: from a copy that grew with the election.
    let site = scene.path("site");
    let world = early(&scene.world, scene.world.nth_head(3) + 1);
    scene.show(&world);
    scene.mirror();
    scene.show(&scene.world);
    scene.mirror();
    let copy = scene.path("copy");
    let two = bundle::run(
        copy.to_str().unwrap(),
        &scene.path("two.tar"),
        &scene.id,
        &Progress::hidden(),
    );
    assert_eq!(two.blake3, one.blake3, "{two:#?}");
    assert_eq!(
        fs::read(scene.path("one.tar")).unwrap(),
        fs::read(scene.path("two.tar")).unwrap()
    );
    let digest = blake3_of(&scene.path("one.tar"));
    assert_eq!(one.blake3.as_deref(), Some(digest.as_str()));

    let verdict = audit(&scene.path("one.tar"), &scene.id);
    assert_eq!(verdict.verdict, Outcome::Verified, "{:?}", found(&verdict));
    assert_eq!(verdict.votes, 60);
    // It lists its files, as a folder does.
    assert!(
        !verdict
            .not_covered
            .iter()
            .any(|what| what.contains("does not list"))
    );
    let wrong = audit(&scene.path("one.tar"), &ElectionId([1; 32]));
    assert_eq!(wrong.verdict, Outcome::Unchecked);

    // Any tar program unpacks it.
    let unpacked = scene.path("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let tar = Command::new("tar")
        .arg("-xf")
        .arg(scene.path("one.tar"))
        .arg("-C")
        .arg(&unpacked)
        .status()
        .unwrap();
    assert!(tar.success());
    let verdict = audit(&unpacked, &scene.id);
    assert_eq!(verdict.verdict, Outcome::Verified, "{:?}", found(&verdict));
    let sums = fs::read_to_string(unpacked.join("BLAKE3SUMS")).unwrap();
    for line in sums.lines() {
        let (digest, path) = line.split_once("  ").unwrap();
        assert_eq!(blake3_of(&unpacked.join(path)), digest, "{path}");
    }
    assert_eq!(sums.lines().count() as u64, one.files);

    // A package is never overwritten, and what is wrong is not packed.
    assert_eq!(scene.bundle("one.tar").verdict, Outcome::Unchecked);
    fs::remove_file(site.join("cells/0/batches/1")).unwrap();
    assert_eq!(scene.bundle("three.tar").verdict, Outcome::Findings);
    assert!(!scene.path("three.tar").exists());
    assert!(!scene.path("three.tar.unfinished").exists());
}

fn blake3_of(path: &Path) -> String {
    blake3::hash(&fs::read(path).unwrap()).to_hex().to_string()
}

#[test]
fn damaged_and_hostile_packages_are_refused() {
    let scene = Scene::new();
    scene.bundle("right.tar");
    let right = fs::read(scene.path("right.tar")).unwrap();
    let refused = |what: &str, bytes: &[u8]| {
        let path = scene.path("bad.tar");
        fs::write(&path, bytes).unwrap();
        let verdict = audit(&path, &scene.id);
        assert_eq!(
            verdict.verdict,
            Outcome::Unchecked,
            "{what}: {:?}",
            found(&verdict)
        );
        assert!(
            verdict.not_covered[0].contains("package"),
            "{what}: {:?}",
            verdict.not_covered
        );
    };
    for at in (0..right.len()).step_by(right.len() / 300) {
        let mut flipped = right.clone();
        flipped[at] ^= 1;
        refused(&format!("byte {at}"), &flipped);
    }
    for len in [
        0,
        1,
        511,
        512,
        1_000,
        right.len() / 2,
        right.len() - 512,
        right.len() - 1,
    ] {
        refused(&format!("cut to {len}"), &right[..len]);
    }
    refused("longer", &[&right[..], &[0; 512]].concat());

    // What GNU tar makes of links and other paths, and of the same files with its own metadata.
    let folder = scene.path("folder");
    fs::create_dir_all(folder.join("elections")).unwrap();
    fs::write(folder.join("BLAKE3SUMS"), b"").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.join("elections/link")).unwrap();
    let pack = |args: &[&str]| {
        let out = scene.path("made.tar");
        let made = Command::new("tar")
            .arg("-cf")
            .arg(&out)
            .args(args)
            .current_dir(&folder)
            .status();
        assert!(made.unwrap().success());
        fs::read(out).unwrap()
    };
    refused("a link", &pack(&["BLAKE3SUMS", "elections/link"]));
    refused("an absolute path", &pack(&["-P", "/etc/hostname"]));
    refused("a way up", &pack(&["-P", "../right.tar"]));
    refused("twice", &pack(&["BLAKE3SUMS", "BLAKE3SUMS"]));

    // The largest size that a header can name.
    let mut huge = right.clone();
    huge[124..135].copy_from_slice(b"77777777777");
    let sum: u32 = huge[..512]
        .iter()
        .enumerate()
        .map(|(i, byte)| {
            if (148..156).contains(&i) {
                32
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    huge[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    refused("a huge size", &huge);
}
