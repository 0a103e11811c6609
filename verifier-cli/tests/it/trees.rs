//! `specs/vectors/trees.json`: small published trees, made by an independent builder, with the findings that every audit must come to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::ids::ElectionId;
use serde::Deserialize;
use serde_json::Value;

use crate::common::{audit, write};

#[derive(Deserialize)]
pub struct Trees {
    blobs: Vec<String>,
    pub cases: Vec<Case>,
}

#[derive(Deserialize)]
pub struct Case {
    why: String,
    pub election: String,
    files: BTreeMap<String, usize>,
    state: String,
    pub findings: Vec<Expected>,
    also: Vec<String>,
}

#[derive(Deserialize)]
pub struct Expected {
    code: String,
    votes: u64,
}

pub fn read() -> Trees {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../specs/vectors/trees.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

impl Trees {
    /// A case by its reason, and its number.
    pub fn case(&self, why: &str) -> (usize, &Case) {
        let mut cases = self.cases.iter().enumerate();
        cases.find(|(_, case)| case.why == why).unwrap()
    }

    /// The files of a case.
    pub fn files(&self, case: usize) -> BTreeMap<String, Vec<u8>> {
        let bytes = |blob: &usize| STANDARD.decode(&self.blobs[*blob]).unwrap();
        let files = self.cases[case].files.iter();
        files
            .map(|(name, blob)| (name.clone(), bytes(blob)))
            .collect()
    }
}

#[test]
fn every_tree_has_the_findings_that_the_specification_names() {
    let trees = read();
    let mut wrong = Vec::new();
    for (n, case) in trees.cases.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in trees.files(n) {
            write(folder.path(), &name, &bytes);
        }
        let id = case.election.parse::<ElectionId>().unwrap();
        let verdict = audit(folder.path(), &id);
        let mut found: BTreeMap<&str, u64> = BTreeMap::new();
        for finding in &verdict.findings {
            if !case.also.iter().any(|code| code == finding.code.name()) {
                let votes = found.entry(finding.code.name()).or_default();
                *votes = finding.votes_at_most.max(*votes);
            }
        }
        let expected: BTreeMap<&str, u64> = case
            .findings
            .iter()
            .map(|finding| (finding.code.as_str(), finding.votes))
            .collect();
        if found != expected {
            wrong.push(format!(
                "{}: {found:?} instead of {expected:?}: {:#?}",
                case.why, verdict.findings
            ));
        }
        let has_manifest = !expected.contains_key("manifest-mismatch");
        if let Some(state) = verdict.state.filter(|_| has_manifest) {
            assert_eq!(
                serde_json::to_value(state).unwrap(),
                Value::from(case.state.as_str()),
                "{}",
                case.why
            );
        }
        assert_eq!(verdict.state.is_some(), has_manifest, "{}", case.why);
    }
    assert!(trees.cases.len() > 50);
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        trees.cases.len(),
        wrong.join("\n")
    );
}
