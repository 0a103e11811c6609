//! Can one log have both of two checkpoints? If not, that is a proof of misbehaviour which anybody verifies: a split view.
//!
//! Two of one size tell by themselves. Of two sizes, somebody must show the tiles of the newer tree: any source will do, since they are authenticated. Where no
//! source has that tree, each checkpoint is compared with what the sources publish today: an operator with two trees publishes one of them at most.

use std::path::Path;

use protocol::evidence::{HeldCheckpoint, SplitView};
use protocol::ids::ElectionId;
use protocol::manifest::Election;
use serde::Serialize;

use crate::audit::context::{Context, Unread};
use crate::audit::manifest;
use crate::finding::{Code, Finding, Findings, Place, Votes};
use crate::kept;
use crate::progress::Progress;
use crate::prove;
use crate::source::{Located, locate};
use crate::verdict::Outcome;

/// What was found of two checkpoints.
#[derive(Debug, Clone, Serialize)]
pub struct ConsistencyVerdict {
    /// Verified: one log can have both. Findings: it cannot. Unchecked: nobody showed enough.
    pub verdict: Outcome,
    /// The election id.
    pub election: String,
    /// Of which log they are, such as `cells/0`.
    pub log: Option<String>,
    /// What was compared, the older first.
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
#[derive(Debug, Clone, Serialize)]
pub struct CheckpointShown {
    /// Where it came from.
    pub from: String,
    /// The log's size.
    pub size: u64,
    /// Its root, as base64.
    pub root: String,
}

/// Compares the newest checkpoints, of one log, in two kept files; `sources` may show what is between them.
#[must_use]
pub fn run(a: &Path, b: &Path, id: &ElectionId, sources: &[String]) -> ConsistencyVerdict {
    let mut verdict = ConsistencyVerdict {
        verdict: Outcome::Unchecked,
        election: id.to_string(),
        log: None,
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
    let Some((held_a, held_b)) = kept::common(&kept_a, &kept_b) else {
        verdict
            .not_covered
            .push("the two files hold no checkpoints of one log".to_owned());
        return verdict;
    };
    let (older, newer) = if held_a.checkpoint.size() <= held_b.checkpoint.size() {
        (
            (held_a, kept_a.file.as_str()),
            (held_b, kept_b.file.as_str()),
        )
    } else {
        (
            (held_b, kept_b.file.as_str()),
            (held_a, kept_a.file.as_str()),
        )
    };
    verdict.log = Some(older.0.log.prefix());
    verdict.checkpoints = [older, newer]
        .map(|(held, from)| shown(held, from))
        .to_vec();
    Comparison {
        election: &election,
        sources: &located,
    }
    .judge(older, newer, &mut verdict);
    verdict
}

/// Verifies evidence of a split view, offline.
#[must_use]
pub fn check(file: &Path, id: &ElectionId) -> ConsistencyVerdict {
    let mut verdict = ConsistencyVerdict {
        verdict: Outcome::Unchecked,
        election: id.to_string(),
        log: None,
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
        verdict.log = Some(held.log.prefix());
        verdict.checkpoints.push(shown(&held, &from));
    }
    Comparison {
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
    ) {
        match self.relation(older.0, newer.0) {
            Relation::Consistent => verdict.verdict = Outcome::Verified,
            Relation::Split(split) => self.convict(&split, older.1, verdict),
            Relation::Unknown(why) => {
                // Nobody has the newer tree. One of the two may contradict what is published today.
                for source in self.sources {
                    let Some(published) = self.published(source, older.0) else {
                        continue;
                    };
                    for (held, from) in [older, newer] {
                        let (first, second) =
                            if held.checkpoint.size() <= published.checkpoint.size() {
                                (held, &published)
                            } else {
                                (&published, held)
                            };
                        if let Relation::Split(split) = self.relation(first, second) {
                            verdict.checkpoints.push(shown(&published, &source.place));
                            self.convict(&split, from, verdict);
                            return;
                        }
                    }
                }
                verdict.not_covered.extend(why);
                verdict.not_covered.push(
                    "whether the newer tree starts with the older one: a source that publishes the newer tree (a mirror, the site) can show it, give it with --source".to_owned(),
                );
            }
        }
    }

    fn convict(&self, split: &SplitView, file: &str, verdict: &mut ConsistencyVerdict) {
        let findings = Findings::new(self.election.manifest().roll.size);
        let proven = split.verify(&self.election.id());
        match (proven, split.encode()) {
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
                verdict.findings = findings.finish().0;
                verdict.split = Some(bytes);
                verdict.verdict = Outcome::Findings;
            }
            (Err(error), _) | (_, Err(error)) => verdict.not_covered.push(error.to_string()),
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
