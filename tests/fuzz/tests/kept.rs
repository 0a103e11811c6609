//! Every input that fuzzing kept, and every seed, through its target's body.
//!
//! `TALLYROOT_WRITE_SEEDS=FOLDER` writes the seeds there, a folder for each target, to start a corpus from.

use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;

use fuzz_bodies::{Body, TARGETS, seeds};

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut inputs: Vec<(String, Vec<u8>)> = fs::read_dir(folder.join(target))
        .expect("every target has a corpus")
        .map(|file| file.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

fn check(target: &str) {
    let (_, body): (_, Body) = *TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .expect("a target");
    let kept = corpus(target);
    assert!(!kept.is_empty(), "every target has a corpus");
    let seeds = seeds(target);
    assert!(!seeds.is_empty());
    if let Some(folder) = std::env::var_os("TALLYROOT_WRITE_SEEDS") {
        let folder = PathBuf::from(folder).join(target);
        fs::create_dir_all(&folder).unwrap();
        for (n, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{n:04}")), seed).unwrap();
        }
    }
    let seeds = seeds
        .into_iter()
        .enumerate()
        .map(|(n, seed)| (format!("seed {n}"), seed));
    let failed: Vec<String> = kept
        .into_iter()
        .chain(seeds)
        .filter(|(_, input)| catch_unwind(|| body(input)).is_err())
        .map(|(name, _)| name)
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn audit() {
    check("audit");
}

#[test]
fn documents() {
    check("documents");
}

#[test]
fn entries() {
    check("entries");
}

#[test]
fn files() {
    check("files");
}

#[test]
fn notes() {
    check("notes");
}

#[test]
fn proofs() {
    check("proofs");
}

#[test]
fn every_target_is_one_of_the_fuzz_folder() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
    let mut there: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    there.sort();
    let ours: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(there, ours);
}
