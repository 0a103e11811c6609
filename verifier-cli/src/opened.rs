//! An election, opened where it is published: what every command of an auditor's begins with, and how it ends.

use std::collections::BTreeMap;

use protocol::ids::ElectionId;
use protocol::manifest::Election;

use crate::audit::context::{Context, Unread};
use crate::audit::manifest::{self, NoManifest};
use crate::finding::{Finding, Findings, Place, ROLL_MAX, Votes};
use crate::progress::Progress;
use crate::source::{Located, locate};
use crate::verdict::Outcome;

/// The election's files, its manifest, and where to put what is found.
pub(crate) struct Opened {
    pub(crate) election: Election,
    pub(crate) located: Located,
    pub(crate) findings: Findings,
    pub(crate) unread: Unread,
    pub(crate) progress: Progress,
}

/// How a check ended, and why.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) verdict: Outcome,
    pub(crate) findings: Vec<Finding>,
    pub(crate) findings_by_code: BTreeMap<&'static str, u64>,
    /// What could not be read.
    pub(crate) unread: Vec<String>,
}

impl Opened {
    /// Finds the election at `given`, a URL or a directory, and checks its manifest against the id.
    ///
    /// # Errors
    /// There is no election to check; how that ends.
    pub(crate) fn at(given: &str, id: &ElectionId, progress: &Progress) -> Result<Self, Ended> {
        let unchecked = |why: String| Ended {
            verdict: Outcome::Unchecked,
            findings: Vec::new(),
            findings_by_code: BTreeMap::new(),
            unread: vec![why],
        };
        let located = locate(given, id).map_err(|error| unchecked(error.to_string()))?;
        match manifest::open(located.source.as_ref(), id) {
            Ok(election) => Ok(Self {
                findings: Findings::new(election.manifest().roll.size),
                election,
                located,
                unread: Unread::default(),
                progress: progress.clone(),
            }),
            Err(NoManifest::Unread(problem)) => Err(unchecked(problem)),
            Err(NoManifest::Finding(code, evidence)) => {
                let findings = Findings::new(ROLL_MAX);
                findings.add(
                    code,
                    Place::file("manifest.json"),
                    Votes::WholeRoll,
                    evidence,
                );
                let (findings, findings_by_code) = findings.finish();
                Err(Ended {
                    verdict: Outcome::Findings,
                    findings,
                    findings_by_code,
                    unread: Vec::new(),
                })
            }
        }
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            election: &self.election,
            source: self.located.source.as_ref(),
            findings: &self.findings,
            unread: &self.unread,
            progress: &self.progress,
        }
    }

    /// What it came to: one finding outweighs what could not be read, and that outweighs what is right.
    pub(crate) fn end(&self) -> Ended {
        let (findings, findings_by_code) = self.findings.finish();
        let unread = self.unread.finish();
        Ended {
            verdict: if !findings.is_empty() {
                Outcome::Findings
            } else if !unread.is_empty() {
                Outcome::Unchecked
            } else {
                Outcome::Verified
            },
            findings,
            findings_by_code,
            unread,
        }
    }
}
