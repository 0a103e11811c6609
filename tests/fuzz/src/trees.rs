//! The small published trees of the vectors, in memory.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::ids::ElectionId;
use serde::Deserialize;
use verifier_cli::audit::{self, Options};
use verifier_cli::progress::Progress;
use verifier_cli::source::{Fetched, Listed, ListedKind, Source, SourceError};
use verifier_cli::verdict::AuditVerdict;

use crate::fixture;

/// Files of one election, by path.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A published tree.
pub(crate) struct Tree {
    pub(crate) election: ElectionId,
    pub(crate) files: Files,
    /// Whether an audit of it must find nothing.
    pub(crate) is_right: bool,
    /// Whether it ends in a final head that counts.
    pub(crate) is_final: bool,
}

#[derive(Deserialize)]
struct Trees {
    blobs: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    election: String,
    files: BTreeMap<String, usize>,
    findings: Vec<serde_json::Value>,
    state: String,
}

/// All of them.
pub(crate) static TREES: LazyLock<Vec<Tree>> = LazyLock::new(|| {
    let trees: Trees = serde_json::from_value(fixture::document("trees")).unwrap();
    let blobs = trees
        .blobs
        .iter()
        .map(|blob| STANDARD.decode(blob).unwrap());
    let blobs: Vec<Vec<u8>> = blobs.collect();
    let cases = trees.cases.into_iter();
    cases
        .map(|case| Tree {
            election: case.election.parse().unwrap(),
            files: case
                .files
                .into_iter()
                .map(|(path, blob)| (path, blobs[blob].clone()))
                .collect(),
            is_right: case.findings.is_empty(),
            is_final: case.state == "final",
        })
        .collect()
});

/// The one with the most files of those that are right.
pub(crate) static FULLEST: LazyLock<&Tree> = LazyLock::new(|| {
    let right = TREES.iter().filter(|tree| tree.is_right);
    right.max_by_key(|tree| tree.files.len()).unwrap()
});

impl Source for Tree {
    fn read(&self, path: &str, max_len: usize) -> Result<Fetched, SourceError> {
        Ok(match self.files.get(path) {
            Some(bytes) if bytes.len() > max_len => Fetched::TooLarge,
            Some(bytes) => Fetched::File(bytes.clone()),
            None if self.below(path).next().is_some() => Fetched::NotAFile,
            None => Fetched::Missing,
        })
    }

    fn list(&self, folder: &str) -> Result<Option<Vec<Listed>>, SourceError> {
        let mut names: Vec<Listed> = self
            .below(folder)
            .map(|rest| match rest.split_once('/') {
                Some((name, _)) => (name, ListedKind::Folder),
                None => (rest, ListedKind::File),
            })
            .map(|(name, kind)| Listed {
                name: name.to_owned(),
                kind,
            })
            .collect();
        names.sort();
        names.dedup();
        Ok(Some(names))
    }

    fn parallel_reads(&self) -> usize {
        1
    }
}

impl Tree {
    /// Paths below a folder, relative to it.
    fn below(&self, folder: &str) -> impl Iterator<Item = &str> {
        let prefix = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        let paths = self.files.keys();
        paths.filter_map(move |path| path.strip_prefix(&prefix))
    }

    /// Audits it, with what an interrupted audit remembered in this file.
    pub(crate) fn audit(&self, state: Option<PathBuf>) -> AuditVerdict {
        let options = Options {
            threads: NonZeroUsize::MIN,
            settle: Duration::ZERO,
            evidence: Vec::new(),
            witnesses: Vec::new(),
            state,
        };
        let hidden = Progress::hidden();
        audit::audit(self, "memory", &self.election, &options, &hidden)
    }
}
