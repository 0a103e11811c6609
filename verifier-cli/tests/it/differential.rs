//! This audit against that of the independent verifier in Python, on the trees of `specs/vectors/trees.json` with files changed at random:
//! both must find something, or both nothing. `TALLYROOT_TREES` (60) is how many, `TALLYROOT_SEED` (1) which.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use protocol::ids::ElectionId;
use serde_json::{Value, json};
use verifier_cli::verdict::Outcome;

use crate::common::{audit, write};
use crate::trees::{Trees, read};

/// xorshift64*: the same changes from the same seed, on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16).unwrap() % end.max(1)
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

type Files = BTreeMap<String, Option<Vec<u8>>>;

/// One file of a tree that is right, changed; or two of them exchanged.
fn change(files: &BTreeMap<String, Vec<u8>>, random: &mut Random) -> Files {
    let names: Vec<&String> = files.keys().collect();
    let name = names[random.below(names.len())];
    let mut bytes = files[name].clone();
    let at = random.below(bytes.len());
    let mut changed = Files::new();
    match random.below(7) {
        0 => return Files::from([(name.clone(), None)]),
        1 => {
            // Of the same folder, so that it is of the same kind.
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            let beside: Vec<&&String> = names
                .iter()
                .filter(|other| other.starts_with(folder))
                .collect();
            let other = *beside[random.below(beside.len())];
            changed.insert(other.clone(), Some(bytes));
            bytes = files[other].clone();
        }
        2 => bytes.truncate(at),
        3 => bytes.push(b'\n'),
        4 => {
            let copy = bytes.clone();
            return Files::from([(format!("{name}0"), Some(copy))]);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
    changed.insert(name.clone(), Some(bytes));
    changed
}

#[test]
fn both_verifiers_find_something_or_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = root.join(".tools/bin/python");
    assert!(
        python.is_file(),
        "run scripts/setup.sh test first: it installs what the verifier in Python needs"
    );
    let trees: Trees = read();
    let right: Vec<usize> = (0..trees.cases.len())
        .filter(|n| trees.cases[*n].findings.is_empty())
        .collect();
    let mut random = Random(number("TALLYROOT_SEED", 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (mut asked, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..number("TALLYROOT_TREES", 60) {
        let n = right[random.below(right.len())];
        let mut files = trees.files(n);
        let changed = change(&files, &mut random);
        let in_hex: BTreeMap<&String, Option<String>> = changed
            .iter()
            .map(|(name, bytes)| (name, bytes.as_ref().map(hex::encode)))
            .collect();
        asked.push(json!({"case": n, "files": in_hex}).to_string());
        for (name, bytes) in changed {
            match bytes {
                Some(bytes) => drop(files.insert(name, bytes)),
                None => drop(files.remove(&name)),
            }
        }
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in &files {
            write(folder.path(), name, bytes);
        }
        let id: ElectionId = trees.cases[n].election.parse().unwrap();
        let verdict = audit(folder.path(), &id);
        let codes: Vec<&str> = verdict.findings_by_code.keys().copied().collect();
        ours.push((
            verdict.verdict,
            format!("{codes:?} {:?}", verdict.not_covered),
        ));
    }
    let theirs = ask(&python, &root, &asked);
    let different: Vec<String> = asked
        .iter()
        .zip(ours.iter().zip(&theirs))
        .filter(|(_, ((verdict, _), theirs))| {
            let clean = theirs.get(0).and_then(Value::as_array).map(Vec::is_empty);
            // A source without a manifest cannot be located at all; then a finding, or nothing could be checked.
            clean != Some(*verdict == Outcome::Verified)
                && !(theirs.is_null() && *verdict != Outcome::Verified)
        })
        .map(|(asked, ((_, codes), theirs))| {
            format!(
                "{}\n  Rust {codes}\n  Python {theirs}",
                asked.chars().take(160).collect::<String>()
            )
        })
        .collect();
    let found = theirs
        .iter()
        .filter(|theirs| theirs[0] != json!([]))
        .count();
    println!("{} trees, {found} with findings", asked.len());
    assert!(
        different.is_empty(),
        "{} disagreements:\n{}",
        different.len(),
        different.join("\n")
    );
}

/// What the verifier in Python says to each.
fn ask(python: &Path, root: &Path, asked: &[String]) -> Vec<Value> {
    let mut child = Command::new(python)
        .args(["-B", "-m", "tests.differential"])
        .arg(
            root.join("specs/vectors/trees.json")
                .canonicalize()
                .unwrap(),
        )
        .current_dir(root.join("specs/reference"))
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
