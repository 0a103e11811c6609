//! Rust against the independent Python verifier, on inputs that nobody wrote: those of every vector, changed at random.
//!
//! `TALLYROOT_MUTANTS` (1,000) is how many, `TALLYROOT_SEED` (1) which. `make differential` runs 10,000. Both must accept the same bytes and read
//! the same in them; every disagreement is a gap of the specification or a fault of one of them.
#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../common/evidence.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod evidence_cases;
mod mutate;
mod outcome;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use protocol::manifest::Election;
use serde_json::{Value, json};

use mutate::Random;

/// The inputs of each kind of case: file, list, kind of case if there are several, and what is changed.
const INPUTS: &[(&str, &str, Option<&str>, &[&str])] = &[
    ("canonical_json", "cases", None, &["bytes"]),
    ("labels", "cases", None, &["bytes"]),
    (
        "ed25519",
        "cases",
        None,
        &["public_key", "message", "signature"],
    ),
    ("rsa", "keys", None, &["spki"]),
    ("rsa", "signatures", None, &["spki", "message", "signature"]),
    ("manifest", "cases", None, &["manifest"]),
    ("ballot", "cases", None, &["ballot"]),
    ("entry", "cases", None, &["entry"]),
    ("grammar", "cases", None, &["batches"]),
    ("batch", "cases", None, &["batch"]),
    ("anchor", "cases", None, &["anchor"]),
    ("results", "cases", None, &["results"]),
    ("receipt", "cases", None, &["receipt"]),
    ("evidence", "cases", Some("split-view"), &["evidence"]),
    ("evidence", "cases", Some("dispute"), &["evidence"]),
    (
        "merkle",
        "cases",
        Some("inclusion"),
        &["leaf", "root", "index", "size", "proof"],
    ),
    (
        "merkle",
        "cases",
        Some("consistency"),
        &["old_size", "old_root", "new_size", "new_root", "proof"],
    ),
    ("note", "cases", Some("note"), &["input"]),
    ("note", "cases", Some("vkey"), &["input"]),
    ("note", "cases", Some("signed"), &["input"]),
    ("checkpoint", "cases", Some("checkpoint"), &["input"]),
    ("checkpoint", "cases", Some("cosigned"), &["input"]),
    ("tlog_proof", "cases", Some("form"), &["input"]),
    ("tlog_proof", "cases", Some("proof"), &["input"]),
    ("tiles", "cases", Some("path"), &["path"]),
    ("tiles", "cases", Some("bundle"), &["bytes"]),
];

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number"))
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/vectors")
}

fn read(file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(vectors().join(format!("{file}.json"))).unwrap()).unwrap()
}

/// The cases of a kind of evidence, without those that are there for their length.
fn evidence(kind: &str) -> Vec<Value> {
    let cases = evidence_cases::cases().into_iter();
    cases
        .filter(|case| case.kind == kind && case.file.len() < 64 << 10)
        .map(|case| {
            json!({
                "kind": case.kind,
                "election": case.election,
                "valid": case.error.is_none(),
                "evidence": hex::encode(case.file),
            })
        })
        .collect()
}

/// The cases of a kind, with every input that is changed in hexadecimal.
fn cases(file: &Value, list: &str, kind: Option<&str>, fields: &[&str]) -> Vec<Value> {
    let cases = file[list].as_array().unwrap().iter();
    cases
        .filter(|case| kind.is_none_or(|kind| case["kind"] == kind))
        .cloned()
        .map(|mut case| {
            for field in fields.iter().filter(|field| mutate::is_text(field)) {
                let text = case.get(format!("{field}_hex")).cloned();
                let hexed =
                    text.unwrap_or_else(|| json!(hex::encode(case[*field].as_str().unwrap())));
                case[*field] = hexed;
            }
            case
        })
        .collect()
}

#[test]
fn both_verifiers_read_the_same_in_any_bytes() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin/python");
    assert!(
        python.is_file(),
        "run scripts/setup.sh test first: it installs what the verifier in Python needs"
    );
    let election = Election::from_manifest_bytes(
        read("manifest")["cases"][0]["manifest"]
            .as_str()
            .unwrap()
            .as_bytes(),
    )
    .unwrap();
    let pools: Vec<Vec<Value>> = INPUTS
        .iter()
        .map(|(file, list, kind, fields)| match (*file, *kind) {
            ("evidence", Some(kind)) => evidence(kind),
            _ => cases(&read(file), list, *kind, fields),
        })
        .collect();
    let mut random = Random::new(number("TALLYROOT_SEED", 1));
    let (mut asked, mut ours, mut accepted) = (Vec::new(), Vec::new(), BTreeMap::new());
    for n in 0..number("TALLYROOT_MUTANTS", 1_000) {
        // In turn, so that each kind gets its share.
        let at = usize::try_from(n).unwrap() % INPUTS.len();
        let (file, _, kind, fields) = INPUTS[at];
        let case = mutate::mutant(&pools[at], fields, &mut random);
        let outcome = outcome::of(file, kind, &case, &election);
        *accepted.entry((file, kind)).or_insert(0) +=
            u32::from(!outcome.is_null() && outcome != json!(false));
        asked.push(json!({"file": file, "case": case}).to_string());
        ours.push(outcome);
    }
    let theirs = ask(&python, &asked);
    assert_eq!(theirs.len(), ours.len());
    let different: Vec<String> = asked
        .iter()
        .zip(ours.iter().zip(&theirs))
        .filter(|(_, (ours, theirs))| ours != theirs)
        .map(|(asked, (ours, theirs))| format!("{asked}\n  Rust {ours}\n  Python {theirs}"))
        .collect();
    println!(
        "{} inputs; accepted of each kind: {accepted:?}",
        asked.len()
    );
    assert!(
        different.is_empty(),
        "{} disagreements:\n{}",
        different.len(),
        different.join("\n")
    );
}

/// What the verifier in Python says to each.
fn ask(python: &Path, asked: &[String]) -> Vec<Value> {
    let mut child = Command::new(python)
        .args(["-B", "-m", "tests.differential"])
        .arg(vectors())
        .current_dir(vectors().join("../reference"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = asked.join("\n") + "\n";
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
