//! `bundle`: packages, equal for everybody, and refused where they are not what it writes.

use std::fs;
use std::path::Path;
use std::process::Command;

use protocol::ids::ElectionId;
use verifier_cli::bundle;
use verifier_cli::progress::Progress;
use verifier_cli::verdict::Outcome;

use crate::common::{audit, found};
use crate::copies::{Scene, bytes_of};
use crate::receipts::early;

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

    // All digests are right, and no program could unpack it.
    let folder = tempfile::tempdir().unwrap();
    let unpacked = Command::new("tar")
        .arg("-xf")
        .arg(scene.path("right.tar"))
        .arg("-C")
        .arg(folder.path())
        .status();
    assert!(unpacked.unwrap().success());
    fs::remove_file(folder.path().join("BLAKE3SUMS")).unwrap();
    let mut of = bytes_of(folder.path());
    assert!(package_of(of.clone()) == right, "the test makes packages");
    let below = of.last().unwrap().0.clone() + "/below";
    of.push((below, b"more".to_vec()));
    refused("a file that is a folder too", &package_of(of));
    let mut of = bytes_of(folder.path());
    of.push(("zz".to_owned(), Vec::new()));
    let more = package_of(of.clone());
    let verdict = {
        fs::write(scene.path("more.tar"), &more).unwrap();
        audit(&scene.path("more.tar"), &scene.id)
    };
    assert_eq!(verdict.verdict, Outcome::Verified, "{:?}", found(&verdict));
    // The sums name one more, or one less.
    of.pop();
    refused(
        "a sum too many",
        &package_with(
            &of,
            &sums_of(&[of.clone(), vec![("zz".to_owned(), Vec::new())]].concat()),
        ),
    );
    refused("a sum too few", &package_with(&of, &sums_of(&of[1..])));

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

type Files = [(String, Vec<u8>)];

fn sums_of(files: &Files) -> Vec<u8> {
    let lines = files
        .iter()
        .map(|(path, bytes)| format!("{}  {path}\n", blake3::hash(bytes).to_hex()));
    lines.collect::<String>().into_bytes()
}

/// A package of these files, whatever their names.
fn package_of(mut files: Vec<(String, Vec<u8>)>) -> Vec<u8> {
    files.sort();
    package_with(&files, &sums_of(&files))
}

fn package_with(files: &Files, sums: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let sums = [("BLAKE3SUMS".to_owned(), sums.to_vec())];
    for (path, bytes) in sums.iter().chain(files) {
        let (prefix, name) = if path.len() <= 100 {
            ("", path.as_str())
        } else {
            let cuts = path
                .match_indices('/')
                .map(|(at, _)| (&path[..at], &path[at + 1..]));
            cuts.into_iter()
                .find(|(_, name)| name.len() <= 100)
                .unwrap()
        };
        let fields = [
            (0, name.to_owned()),
            (100, ["0000644", "0000000", "0000000", ""].join("\0")),
            (124, format!("{:011o}\0{:011o}\0", bytes.len(), 0)),
            (148, "        0".to_owned()),
            (257, "ustar\x0000".to_owned()),
            (345, prefix.to_owned()),
        ];
        let mut header = [0u8; 512];
        for (at, text) in fields {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(header);
        out.extend(bytes);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend([0; 1024]);
    out
}
