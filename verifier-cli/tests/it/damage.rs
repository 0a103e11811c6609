//! Files that somebody damaged, removed or exchanged, without any key. Each must be named.

use std::fs;
use std::path::Path;

use protocol::ids::ElectionId;
use verifier_cli::verdict::Outcome;

use crate::common::world::{Plan, World};
use crate::common::{audit, files, found};

/// A finished election, and another one by the same writer.
struct Stage {
    folder: tempfile::TempDir,
    id: ElectionId,
    other: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let publish = |world: &World| {
            let folder = tempfile::tempdir().unwrap();
            world.publish(folder.path());
            folder
        };
        let plan = Plan {
            votes: 60,
            issued: 600,
            batch: 30,
            finished: true,
        };
        let world = World::new("damaged", plan);
        let other = World::new("another", plan);
        Self {
            folder: publish(&world),
            id: world.keys.election.id(),
            other: publish(&other),
        }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Audits with `file` replaced (`None`: removed), and puts it back.
    fn with(&self, file: &str, bytes: Option<&[u8]>, what: &str, named: &[&str]) {
        let path = self.root().join(file);
        let before = fs::read(&path).unwrap();
        match bytes {
            Some(bytes) => {
                assert_ne!(before, bytes, "{what} of {file} changes nothing");
                fs::write(&path, bytes).unwrap();
            }
            None => fs::remove_file(&path).unwrap(),
        }
        let verdict = audit(self.root(), &self.id);
        fs::write(&path, before).unwrap();
        assert_eq!(verdict.verdict, Outcome::Findings, "{what} of {file}");
        let found = found(&verdict);
        let is_named = found
            .iter()
            .any(|(_, at)| at == file || named.contains(&at.as_str()));
        assert!(is_named, "{what} of {file} is not named: {found:#?}");
    }
}

/// One file of each kind: the newest, the oldest and one between where there are many.
fn samples(all: &[String]) -> Vec<String> {
    let kind = |path: &str| {
        let parts: Vec<&str> = path
            .split('/')
            .map(|part| {
                if part.ends_with(".p") {
                    "N.p"
                } else if part.parse::<u64>().is_ok() {
                    "N"
                } else {
                    part
                }
            })
            .collect();
        parts.join("/")
    };
    let mut kinds: std::collections::BTreeMap<String, Vec<&String>> = Default::default();
    for path in all {
        kinds.entry(kind(path)).or_default().push(path);
    }
    kinds
        .into_values()
        .flat_map(|paths| {
            let mut few = vec![
                paths[0].clone(),
                paths[paths.len() / 2].clone(),
                paths[paths.len() - 1].clone(),
            ];
            few.dedup();
            few
        })
        .collect()
}

#[test]
fn every_damaged_file_is_named() {
    let stage = Stage::new();
    let all = files(stage.root());
    let samples = samples(&all);
    assert!(samples.len() > 40, "{samples:#?}");
    for (i, file) in samples.iter().enumerate() {
        let bytes = fs::read(stage.root().join(file)).unwrap();
        // A damaged checkpoint of a size is also seen where it is copied from.
        let mut flipped = bytes.clone();
        let at = (i * 7919 + bytes.len() / 2) % bytes.len();
        flipped[at] ^= 1 << (i % 8);
        stage.with(file, Some(&flipped), "a flipped bit", &[]);
        stage.with(file, Some(&bytes[..bytes.len() - 1]), "truncation", &[]);
        stage.with(file, Some(&[&bytes[..], b"\n"].concat()), "extension", &[]);
        stage.with(file, Some(b""), "emptying", &[]);
        // (The logs of issuances differ between the two in their genesis only.)
        if let Ok(other) = fs::read(stage.other.path().join(file))
            && other != bytes
        {
            stage.with(file, Some(&other), "another election's file", &[]);
        }
        if !is_superseded(file, stage.root()) {
            stage.with(file, None, "removal", &[]);
        }
    }
    let verdict = audit(stage.root(), &stage.id);
    assert_eq!(
        verdict.verdict,
        Outcome::Verified,
        "everything was put back"
    );
}

/// "Partial tiles are optional once the full tile exists", and so are those of earlier sizes, and checkpoints that nothing names.
fn is_superseded(file: &str, root: &Path) -> bool {
    if let Some((full, width)) = file.split_once(".p/") {
        let wider = |name: &std::ffi::OsString| {
            name.to_str().unwrap().parse::<u64>().unwrap() > width.parse().unwrap()
        };
        return root.join(full).exists()
            || fs::read_dir(root.join(format!("{full}.p")))
                .unwrap()
                .any(|entry| wider(&entry.unwrap().file_name()));
    }
    // Every size of the test's cells and issuance logs that no head names.
    file.contains("/checkpoints/") && !named_by_heads(file, root)
}

fn named_by_heads(file: &str, root: &Path) -> bool {
    let size: u64 = file.rsplit('/').next().unwrap().parse().unwrap();
    let log = file.split("/checkpoints/").next().unwrap();
    if log == "heads" {
        // All of them are anchored.
        return true;
    }
    let newest = fs::read_to_string(root.join(format!("{log}/checkpoint"))).unwrap();
    let newest: u64 = newest.lines().nth(1).unwrap().parse().unwrap();
    let origin_bytes = size.to_be_bytes();
    let heads = fs::read_dir(root.join("heads/batches")).unwrap();
    size == newest
        || heads
            .map(|entry| fs::read(entry.unwrap().path()).unwrap())
            .any(|batch| batch.windows(8).any(|window| window == origin_bytes))
}

#[test]
fn exchanged_siblings_are_named() {
    let stage = Stage::new();
    let all = files(stage.root());
    let mut swapped = 0;
    for pair in samples(&all).windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        let folder = |path: &str| Path::new(path).parent().unwrap().to_owned();
        let read = |path: &str| fs::read(stage.root().join(path)).unwrap();
        if folder(a) != folder(b) || read(a) == read(b) {
            continue;
        }
        let (first, second) = (read(a), read(b));
        fs::write(stage.root().join(a), &second).unwrap();
        fs::write(stage.root().join(b), &first).unwrap();
        let verdict = audit(stage.root(), &stage.id);
        fs::write(stage.root().join(a), &first).unwrap();
        fs::write(stage.root().join(b), &second).unwrap();
        assert_eq!(verdict.verdict, Outcome::Findings, "{a} and {b}");
        let named = found(&verdict).iter().any(|(_, at)| at == a || at == b);
        assert!(named, "{a} and {b}: {:#?}", found(&verdict));
        swapped += 1;
    }
    assert!(swapped > 10, "{swapped}");
}

#[test]
fn what_belongs_to_nothing_is_named() {
    let stage = Stage::new();
    let put = |path: &str| {
        let full = stage.root().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(&full, b"x").unwrap();
        let verdict = audit(stage.root(), &stage.id);
        fs::remove_file(&full).unwrap();
        for folder in full.ancestors().skip(1) {
            // Only those that were made for it are empty now.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        let found = found(&verdict);
        // Whatever stands there is judged as a checkpoint.
        let expected = match path {
            "cells/0/checkpoints/100000" => "checkpoint-malformed",
            _ => "foreign-file",
        };
        assert_eq!(verdict.verdict, Outcome::Findings, "{path}");
        assert!(
            found
                .iter()
                .all(|(code, at)| *code == expected && path.starts_with(at.as_str())),
            "{path}: {found:#?}"
        );
        assert!(!found.is_empty());
    };
    for path in [
        "notes.txt",
        ".hidden",
        "cells/0/notes",
        "cells/00/checkpoint",
        "cells/2/checkpoint",
        "cells/0/batches/01",
        "cells/0/batches/99",
        "cells/0/batches/0.tmp",
        "cells/0/checkpoints/+1",
        "cells/0/checkpoints/100000",
        "cells/0/cosigned/1",
        "cells/0/tile/0/0",
        "cells/0/tile/0/000.p/256",
        "cells/0/tile/0/000.p/007.x",
        "cells/0/tile/0/000.p/0",
        "cells/0/tile/0/x000/000",
        "cells/0/tile/0/999",
        "cells/0/tile/9/000",
        "cells/0/tile/entries/900",
        "registrars/0/1/checkpoint",
        "registrars/7/0/batches/0",
        "heads/batches/1000",
        "anchors/near/1000",
        "anchors/elsewhere/0",
    ] {
        put(path);
    }
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    use std::os::unix::fs::symlink;
    let stage = Stage::new();
    for file in [
        "results.json",
        "cells/0/batches/1",
        "cells/0/checkpoint",
        "heads/checkpoints/1",
        "anchors/near/0",
    ] {
        // The link leads to the very bytes that belong there.
        let path = stage.root().join(file);
        let elsewhere = stage.other.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        let verdict = audit(stage.root(), &stage.id);
        fs::remove_file(&path).unwrap();
        fs::rename(&elsewhere, &path).unwrap();
        let found = found(&verdict);
        assert!(
            found.contains(&("not-a-file", file.to_owned())),
            "{found:#?}"
        );
    }
    // A linked folder, and one that leads back up.
    symlink(stage.root(), stage.root().join("cells/0/again")).unwrap();
    let verdict = audit(stage.root(), &stage.id);
    assert_eq!(
        found(&verdict),
        [("not-a-file", "cells/0/again".to_owned())]
    );
}

#[test]
fn oversized_files_are_findings_and_no_memory() {
    let stage = Stage::new();
    for file in [
        "results.json",
        "cells/1/batches/1",
        "cells/1/checkpoint",
        "registrars/0/0/tile/0/000",
        "anchors/far/0",
    ] {
        let path = stage.root().join(file);
        let before = fs::read(&path).unwrap();
        // A hole: 300 GiB that cost nothing to make.
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(300 << 30)
            .unwrap();
        let verdict = audit(stage.root(), &stage.id);
        fs::write(&path, before).unwrap();
        let found = found(&verdict);
        assert!(
            found.contains(&("file-too-large", file.to_owned())),
            "{found:#?}"
        );
    }
}

#[test]
fn another_election_is_not_mistaken_for_this_one() {
    let stage = Stage::new();
    let verdict = audit(stage.other.path(), &stage.id);
    assert_eq!(
        found(&verdict),
        [("manifest-mismatch", "manifest.json".to_owned())]
    );

    let nothing = tempfile::tempdir().unwrap();
    assert_eq!(audit(nothing.path(), &stage.id).verdict, Outcome::Unchecked);
    let absent = nothing.path().join("absent");
    assert_eq!(audit(&absent, &stage.id).verdict, Outcome::Unchecked);
}

#[test]
fn a_truncated_ledger_is_shorter_than_its_heads() {
    let stage = Stage::new();
    // Everything of cell 0 from its last batch on disappears, and the checkpoint goes back: all of it was signed.
    let root = stage.root();
    let newest = fs::read(root.join("cells/0/checkpoint")).unwrap();
    let sizes = files(&root.join("cells/0/checkpoints"));
    let mut sizes: Vec<u64> = sizes.iter().map(|size| size.parse().unwrap()).collect();
    sizes.sort_unstable();
    let earlier = sizes[sizes.len() - 3];
    let old = fs::read(root.join(format!("cells/0/checkpoints/{earlier}"))).unwrap();
    fs::write(root.join("cells/0/checkpoint"), old).unwrap();
    let verdict = audit(root, &stage.id);
    fs::write(root.join("cells/0/checkpoint"), newest).unwrap();
    assert!(
        found(&verdict)
            .iter()
            .any(|(code, _)| *code == "checkpoint-rollback"),
        "{:#?}",
        found(&verdict)
    );
}
