//! A complete offline package of an election: one tar file, equal byte for byte for everybody who bundles the same state.
//!
//! It is a fresh copy as [`mirror`](crate::mirror) makes it, in the one encoding of [`Package`](crate::source::Package), with the BLAKE3 digest of every file inside.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use protocol::ids::ElectionId;
use schemars::JsonSchema;
use serde::Serialize;

use crate::finding::Finding;
use crate::folder;
use crate::mirror;
use crate::progress::Progress;
use crate::source::package;
use crate::verdict::Outcome;

/// What bundling came to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BundleVerdict {
    /// Verified: the package is written, of what was signed; it was not audited. Findings: the source is not what was signed, and there is no package. Unchecked: something could not be read or written.
    pub verdict: Outcome,
    /// The election id.
    pub election: String,
    /// Where the files came from.
    pub source: String,
    /// The package.
    pub file: String,
    /// Its BLAKE3 digest, as hexadecimal digits; null where there is none.
    pub blake3: Option<String>,
    /// Files in it.
    pub files: u64,
    /// Its length in bytes.
    pub len: u64,
    /// The size of each log in it.
    pub logs: BTreeMap<String, u64>,
    /// What is wrong with the source.
    pub findings: Vec<Finding>,
    /// How many findings there were of each code.
    pub findings_by_code: BTreeMap<&'static str, u64>,
    /// What could not be read or written.
    pub not_covered: Vec<String>,
}

/// Bundles the election at `given`, a URL or a directory, into `file`, which must not exist.
#[must_use]
pub fn run(given: &str, file: &Path, id: &ElectionId, progress: &Progress) -> BundleVerdict {
    let mut verdict = BundleVerdict {
        verdict: Outcome::Unchecked,
        election: id.to_string(),
        source: given.to_owned(),
        file: file.display().to_string(),
        blake3: None,
        files: 0,
        len: 0,
        logs: BTreeMap::new(),
        findings: Vec::new(),
        findings_by_code: BTreeMap::new(),
        not_covered: Vec::new(),
    };
    if file.exists() {
        let problem = format!("{} is there already: name a new file", file.display());
        verdict.not_covered.push(problem);
        return verdict;
    }
    // Of a fresh copy: one that grew with the election holds what a new one does not.
    let mut folder = file.as_os_str().to_owned();
    folder.push(".unfinished");
    let folder = PathBuf::from(folder);
    if let Err(error) = fs::create_dir(&folder) {
        verdict.not_covered.push(format!(
            "{}: {error}; it is made beside the package and removed at the end: remove it if it was left over, or name another file",
            folder.display()
        ));
        return verdict;
    }
    let copied = mirror::run(given, &folder, id, None, progress);
    verdict.verdict = copied.verdict;
    verdict.source = copied.source;
    verdict.logs = copied.logs;
    verdict.findings = copied.findings;
    verdict.findings_by_code = copied.findings_by_code;
    verdict.not_covered = copied.not_covered;
    if verdict.verdict == Outcome::Verified {
        progress.stage("package");
        match pack(&folder, file) {
            Ok((digest, files, len)) => {
                (verdict.files, verdict.len) = (files, len);
                verdict.blake3 = Some(digest);
            }
            Err(error) => {
                verdict.verdict = Outcome::Unchecked;
                verdict.not_covered.push(format!(
                    "{}: {error}; make room, or name a file in another folder",
                    file.display()
                ));
            }
        }
    }
    if let Err(error) = fs::remove_dir_all(&folder) {
        let problem = format!("{} could not be removed: {error}", folder.display());
        verdict.not_covered.push(problem);
    }
    verdict
}

/// Writes the package of everything that the copy serves, under its final name once it is whole.
fn pack(folder: &Path, file: &Path) -> std::io::Result<(String, u64, u64)> {
    let served = folder.join("public");
    let mut files = BTreeMap::new();
    let mut folders = vec![served.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let full = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(full);
            } else if let Some(path) = full.strip_prefix(&served).ok().and_then(Path::to_str) {
                files.insert(path.to_owned(), full.clone());
            }
        }
    }
    let unfinished = folder.join("package");
    let mut out: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&unfinished)?;
    let digest = package::write(&mut out, &files)?;
    out.sync_all()?;
    give_name(&unfinished, file)?;
    folder::sync(file.parent().unwrap_or(Path::new("/")))?;
    Ok((digest, files.len() as u64, out.metadata()?.len()))
}

/// Fails where the name is taken meanwhile.
fn give_name(unfinished: &Path, file: &Path) -> std::io::Result<()> {
    match fs::hard_link(unfinished, file) {
        // Some file systems (exFAT, say) know no links: there the name is taken first.
        Err(error) if error.kind() != ErrorKind::AlreadyExists => take_name(unfinished, file),
        named => named,
    }
}

fn take_name(unfinished: &Path, file: &Path) -> std::io::Result<()> {
    File::create_new(file)?;
    fs::rename(unfinished, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_stays_so() -> std::io::Result<()> {
        for give in [give_name, take_name] {
            let folder = tempfile::tempdir()?;
            let (new, file) = (folder.path().join("new"), folder.path().join("file"));
            fs::write(&new, b"new")?;
            fs::write(&file, b"old")?;
            assert!(give(&new, &file).is_err());
            assert_eq!(fs::read(&file)?, b"old");
            fs::remove_file(&file)?;
            give(&new, &file)?;
            assert_eq!(fs::read(&file)?, b"new");
        }
        Ok(())
    }
}
