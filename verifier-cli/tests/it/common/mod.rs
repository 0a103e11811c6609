//! A small election, written to a directory step by step straight from the formats: no service takes part, so this checks the formats as well.
//!
//! [`World`] holds what happens, in order: batches, heads, results. [`World::steps`] turns that into the files as they are written, one after the other,
//! everything signed with the right keys, so that a test can alter what happens (a dishonest operator) or the files (somebody else).

pub mod keys;
pub mod tree;
pub mod world;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::ids::ElectionId;
use verifier_cli::audit::{self, Options};
use verifier_cli::progress::Progress;
use verifier_cli::verdict::AuditVerdict;

/// Writes a step's file.
pub fn write(root: &Path, path: &str, bytes: &[u8]) {
    let full = root.join(path);
    fs::create_dir_all(full.parent().unwrap()).unwrap();
    // As the publisher does it: a reader never sees half a file.
    let unfinished = root.with_extension("unfinished");
    fs::write(&unfinished, bytes).unwrap();
    fs::rename(&unfinished, full).unwrap();
}

pub fn options() -> Options {
    Options {
        threads: NonZeroUsize::new(2).unwrap(),
        settle: Duration::ZERO,
        evidence: Vec::new(),
        witnesses: Vec::new(),
        state: None,
    }
}

pub fn audit(root: &Path, id: &ElectionId) -> AuditVerdict {
    audit::run(root.to_str().unwrap(), id, &options(), &Progress::hidden())
}

/// An audit with files or folders that were kept from before.
pub fn audit_with(root: &Path, id: &ElectionId, evidence: &[&Path]) -> AuditVerdict {
    let options = Options {
        evidence: evidence.iter().map(|path| (*path).to_owned()).collect(),
        ..options()
    };
    audit::run(root.to_str().unwrap(), id, &options, &Progress::hidden())
}

/// Codes and files of all findings, for messages and comparisons.
pub fn found(verdict: &AuditVerdict) -> Vec<(&'static str, String)> {
    verdict
        .findings
        .iter()
        .map(|finding| (finding.code.name(), finding.place.file.clone()))
        .collect()
}

/// All files below a folder, relative to it.
pub fn files(root: &Path) -> Vec<String> {
    fn walk(folder: &Path, root: &Path, files: &mut Vec<String>) {
        let mut names: Vec<PathBuf> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        for path in names {
            if path.is_dir() {
                walk(&path, root, files);
            } else {
                files.push(
                    path.strip_prefix(root)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                );
            }
        }
    }
    let mut files_below = Vec::new();
    walk(root, root, &mut files_below);
    files_below
}
