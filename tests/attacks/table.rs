//! The threat model's table names the tests that show each row: they exist, and no row is missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const ROWS: u32 = 49;

#[test]
fn every_row_of_the_threat_model_names_what_shows_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("specs/threat-model.md")).unwrap();
    let mut tests = BTreeSet::new();
    sources(root, &mut tests);
    let mut rows = BTreeSet::new();
    for line in page.lines() {
        let cells: Vec<&str> = line
            .trim()
            .trim_matches('|')
            .split(" | ")
            .map(str::trim)
            .collect();
        let Some(row) = cells.first().and_then(|cell| cell.parse::<u32>().ok()) else {
            continue;
        };
        assert_eq!(cells.len(), 5, "row {row}: {line}");
        assert!(
            ["prevented", "caught", "bounded", "not covered"]
                .iter()
                .any(|outcome| cells[3].contains(outcome)),
            "row {row}: {}",
            cells[3]
        );
        // `name` in the last cell is a test; a row without one says why in words.
        let named: Vec<&str> = cells[4].split('`').skip(1).step_by(2).collect();
        for name in &named {
            assert!(
                tests.contains(*name),
                "row {row} names `{name}`, and there is no such test"
            );
        }
        assert!(
            !named.is_empty() || cells[4].len() > 20,
            "row {row} is shown by nothing"
        );
        rows.insert(row);
    }
    assert_eq!(rows, (1..=ROWS).collect());
}

/// The names of all test functions in Rust, of the pages' test files, and of vector files.
fn sources(folder: &Path, tests: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !matches!(name, "target" | ".git" | ".tools" | "node_modules") {
                sources(&path, tests);
            }
            continue;
        }
        if name.ends_with(".json")
            && path
                .parent()
                .is_some_and(|parent| parent.ends_with("vectors"))
        {
            tests.insert(name.to_owned());
        }
        // The pages' tests, in a browser: named by their files.
        if name.ends_with(".test.ts") {
            tests.insert(name.to_owned());
        }
        if !name.ends_with(".rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let function = line
                .strip_prefix("async ")
                .unwrap_or(line)
                .strip_prefix("fn ");
            if let Some(name) = function.filter(|_| is_test) {
                tests.insert(name.split(['(', '<']).next().unwrap().to_owned());
                is_test = false;
            }
        }
    }
}
