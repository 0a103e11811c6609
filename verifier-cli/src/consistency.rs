//! Can one log have both of two checkpoints? If not, that is a proof of misbehaviour which anybody verifies: a split view.
//!
//! Two of one size tell by themselves. Of two sizes, somebody must show the tiles of the newer tree: any source will do, since they are authenticated. Where no
//! source has that tree, each checkpoint is compared with what the sources publish today: an operator with two trees publishes one of them at most.

use std::collections::BTreeSet;
use std::path::Path;

use protocol::evidence::{HeldCheckpoint, SplitView};
use protocol::ids::{ElectionId, LogId};
use protocol::manifest::Election;
use schemars::JsonSchema;
use serde::Serialize;

use crate::audit::context::{Context, Unread};
use crate::audit::manifest;
use crate::finding::{Code, Finding, Findings, Place, Votes};
use crate::kept::{self, Kept};
use crate::progress::Progress;
use crate::prove;
use crate::source::{Located, locate};
use crate::verdict::Outcome;

/// What was found of two checkpoints.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ConsistencyVerdict {
    /// Verified: one log can have both. Findings: it cannot. Unchecked: nobody showed enough.
    pub verdict: Outcome,
    /// The election id.
    pub election: String,
    /// The logs whose checkpoints were compared, such as `cells/0`.
    pub logs: Vec<String>,
    /// What was compared: log by log, the older first.
    pub checkpoints: Vec<CheckpointShown>,
    /// The evidence, for `--proof` and for everybody: a file of the format `tallyroot/v1/split-view`, as text.
    #[serde(skip)]
    pub split: Option<Vec<u8>>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What could not be checked, and why.
    pub not_covered: Vec<String>,
}

/// One checkpoint.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CheckpointShown {
    /// Of which log.
    pub log: String,
    /// Where it came from.
    pub from: String,
    /// The log's size.
    pub size: u64,
    /// Its root, as base64.
    pub root: String,
}

/// Compares the checkpoints in two kept files, of every log that both hold; `sources` may show what is between them.
#[must_use]
pub fn run(a: &Path, b: &Path, id: &ElectionId, sources: &[String]) -> ConsistencyVerdict {
    let mut verdict = ConsistencyVerdict {
        verdict: Outcome::Unchecked,
        election: id.to_string(),
        logs: Vec::new(),
        checkpoints: Vec::new(),
        split: None,
        findings: Vec::new(),
        not_covered: Vec::new(),
    };
    let mut located = Vec::new();
    for given in sources {
        match locate(given, id) {
            Ok(found) => located.push(found),
            Err(error) => verdict.not_covered.push(error.to_string()),
        }
    }
    let Some(election) = election(id, &located, &[a, b]) else {
        verdict.not_covered.push(
            "neither a source nor a file holds the election's manifest, which names the keys: give --source, a URL or a directory".to_owned(),
        );
        return verdict;
    };
    let (kept_a, kept_b) = match (kept::read(a, &election), kept::read(b, &election)) {
        (Ok(a), Ok(b)) => (a, b),
        (a, b) => {
            let errors = [a.err(), b.err()].into_iter().flatten();
            verdict
                .not_covered
                .extend(errors.map(|error| error.to_string()));
            return verdict;
        }
    };
    let comparison = Comparison {
        election: &election,
        sources: &located,
    };
    let mut outcomes = Vec::new();
    for log in common(&kept_a, &kept_b) {
        verdict.logs.push(log.prefix());
        let held = of_log(log, &[&kept_a, &kept_b]);
        verdict
            .checkpoints
            .extend(held.iter().map(|(held, from)| shown(held, from)));
        // Neighbours by size: what holds of each pair holds of all.
        for (older, newer) in held.iter().zip(held.iter().skip(1)) {
            outcomes.push(comparison.judge(*older, *newer, &mut verdict));
        }
    }
    if outcomes.is_empty() {
        verdict
            .not_covered
            .push("the two files hold no checkpoints of one log".to_owned());
    }
    verdict.verdict = if outcomes.contains(&Outcome::Findings) {
        Outcome::Findings
    } else if outcomes.is_empty() || outcomes.contains(&Outcome::Unchecked) {
        Outcome::Unchecked
    } else {
        Outcome::Verified
    };
    verdict
}

/// The logs of which both files hold checkpoints.
fn common(a: &Kept, b: &Kept) -> BTreeSet<LogId> {
    let logs =
        |kept: &Kept| -> BTreeSet<LogId> { kept.checkpoints.iter().map(|held| held.log).collect() };
    logs(a).intersection(&logs(b)).copied().collect()
}

/// All checkpoints of a log, with the file that each is from, by size.
fn of_log<'k>(log: LogId, files: &[&'k Kept]) -> Vec<(&'k HeldCheckpoint, &'k str)> {
    let mut held: Vec<_> = files
        .iter()
        .flat_map(|kept| {
            let own = kept.checkpoints.iter().filter(|held| held.log == log);
            own.map(|held| (held, kept.file.as_str()))
        })
        .collect();
    held.sort_by_key(|(held, _)| held.checkpoint.size());
    held
}

/// Verifies evidence of a split view, offline.
#[must_use]
pub fn check(file: &Path, id: &ElectionId) -> ConsistencyVerdict {
    let mut verdict = ConsistencyVerdict {
        verdict: Outcome::Unchecked,
        election: id.to_string(),
        logs: Vec::new(),
        checkpoints: Vec::new(),
        split: None,
        findings: Vec::new(),
        not_covered: Vec::new(),
    };
    let from = file.display().to_string();
    let parsed = kept::bytes(file)
        .map_err(|error| error.to_string())
        .and_then(|bytes| SplitView::parse(&bytes).map_err(|error| format!("{from}: {error}")));
    let split = match parsed {
        Ok(split) => split,
        Err(error) => {
            verdict.not_covered.push(error);
            return verdict;
        }
    };
    let Some(election) = election(id, &[], &[file]) else {
        verdict
            .not_covered
            .push(format!("{from}: it does not hold the election's manifest"));
        return verdict;
    };
    let notes = [&split.older, &split.newer];
    for held in notes
        .into_iter()
        .filter_map(|note| HeldCheckpoint::read(note.as_bytes(), &election).ok())
    {
        verdict.logs = vec![held.log.prefix()];
        verdict.checkpoints.push(shown(&held, &from));
    }
    verdict.verdict = Comparison {
        election: &election,
        sources: &[],
    }
    .convict(&split, &from, &mut verdict);
    verdict
}

/// The election behind the id, from wherever its manifest is.
pub(crate) fn election(id: &ElectionId, located: &[Located], files: &[&Path]) -> Option<Election> {
    let published = located
        .iter()
        .find_map(|located| manifest::open(located.source.as_ref(), id).ok());
    published.or_else(|| files.iter().find_map(|file| kept::manifest(file, id)))
}

fn shown(held: &HeldCheckpoint, from: &str) -> CheckpointShown {
    CheckpointShown {
        log: held.log.prefix(),
        from: from.to_owned(),
        size: held.checkpoint.size(),
        root: held.checkpoint.root().to_base64(),
    }
}

/// What is known of two checkpoints of one log.
pub(crate) enum Relation {
    /// The newer tree starts with the older one.
    Consistent,
    /// It does not: the evidence.
    Split(SplitView),
    /// Nobody shows the newer tree; why.
    Unknown(Vec<String>),
}

/// Compares two, with the tiles of these sources.
pub(crate) struct Comparison<'a> {
    pub(crate) election: &'a Election,
    pub(crate) sources: &'a [Located],
}

impl Comparison<'_> {
    fn judge(
        &self,
        older: (&HeldCheckpoint, &str),
        newer: (&HeldCheckpoint, &str),
        verdict: &mut ConsistencyVerdict,
    ) -> Outcome {
        let why = match self.relation(older.0, newer.0) {
            Relation::Consistent => return Outcome::Verified,
            Relation::Split(split) => return self.convict(&split, older.1, verdict),
            Relation::Unknown(why) => why,
        };
        // Nobody has the newer tree. One of the two may contradict what is published today.
        for source in self.sources {
            let Some(published) = self.published(source, older.0) else {
                continue;
            };
            for (held, from) in [older, newer] {
                let (first, second) = if held.checkpoint.size() <= published.checkpoint.size() {
                    (held, &published)
                } else {
                    (&published, held)
                };
                if let Relation::Split(split) = self.relation(first, second) {
                    verdict.checkpoints.push(shown(&published, &source.place));
                    return self.convict(&split, from, verdict);
                }
            }
        }
        verdict.not_covered.extend(why);
        verdict.not_covered.push(format!(
            "whether {} of size {} starts with that of size {}: a source that publishes the newer tree (a mirror, the site) can show it, give it with --source",
            newer.0.log,
            newer.0.checkpoint.size(),
            older.0.checkpoint.size()
        ));
        Outcome::Unchecked
    }

    /// The first evidence is kept: one is enough.
    fn convict(&self, split: &SplitView, file: &str, verdict: &mut ConsistencyVerdict) -> Outcome {
        let findings = Findings::new(self.election.manifest().roll.size);
        match (split.verify(&self.election.id()), split.encode()) {
            (Ok(proven), Ok(bytes)) => {
                findings.add(
                    Code::Equivocation,
                    Place::file(file),
                    Votes::WholeRoll,
                    format!(
                        "{}: the log's key signed size {} with root {}, and size {} of a tree whose root at size {} is {}",
                        proven.log,
                        proven.older.size(),
                        proven.older.root(),
                        proven.newer.size(),
                        proven.older.size(),
                        proven.root
                    ),
                );
                verdict.findings.extend(findings.finish().0);
                verdict.split.get_or_insert(bytes);
                Outcome::Findings
            }
            (Err(error), _) | (_, Err(error)) => {
                verdict.not_covered.push(error.to_string());
                Outcome::Unchecked
            }
        }
    }

    /// What two checkpoints of one log are to each other; the older one first.
    pub(crate) fn relation(&self, older: &HeldCheckpoint, newer: &HeldCheckpoint) -> Relation {
        let size = older.checkpoint.size();
        // Every log starts with the empty tree.
        if size == 0 {
            return Relation::Consistent;
        }
        let split = |root, proof: &[_]| {
            Relation::Split(SplitView::new(self.election, older, newer, root, proof))
        };
        if size == newer.checkpoint.size() {
            return if older.checkpoint.root() == newer.checkpoint.root() {
                Relation::Consistent
            } else {
                split(&newer.checkpoint.root(), &[])
            };
        }
        let mut why = Vec::new();
        for source in self.sources {
            let (findings, unread) = (Findings::new(1), Unread::default());
            let context = Context {
                election: self.election,
                source: source.source.as_ref(),
                findings: &findings,
                unread: &unread,
                progress: &Progress::hidden(),
            };
            match prove::prefix(&context, older.log, &newer.checkpoint, size) {
                Some((root, _)) if root == older.checkpoint.root() => return Relation::Consistent,
                Some((root, proof)) => return split(&root, &proof),
                None => {
                    why.extend(findings.finish().0.iter().map(|finding| {
                        format!("{}: {}: {}", source.place, finding.place, finding.evidence)
                    }));
                    why.extend(unread.finish());
                }
            }
        }
        Relation::Unknown(why)
    }

    /// What a source publishes of that log today.
    fn published(&self, source: &Located, like: &HeldCheckpoint) -> Option<HeldCheckpoint> {
        let path = format!("{}/checkpoint", like.log);
        match source.source.read(&path, protocol::note::NOTE_BYTES_MAX) {
            Ok(crate::source::Fetched::File(note)) => HeldCheckpoint::read(&note, self.election)
                .ok()
                .filter(|held| held.log == like.log),
            _ => None,
        }
    }
}
