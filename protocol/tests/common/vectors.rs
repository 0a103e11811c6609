//! Vector files: made by a test, deterministically, and read back by the same test's other half.

use std::path::PathBuf;

use serde_json::{Value, json};

/// Compares `specs/vectors/<name>` with what the generator makes now (with `TALLYROOT_WRITE_VECTORS=1`, writes it first), and returns the cases as they stand in the file.
pub(crate) fn vector_cases(name: &str, about: &str, cases: &[Value]) -> Vec<Value> {
    let stem = name.trim_end_matches(".json");
    let made =
        json!({ "format": format!("tallyroot/v1/vectors/{stem}"), "about": about, "cases": cases });
    let made = serde_json::to_string_pretty(&made).unwrap() + "\n";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../specs/vectors")
        .join(name);
    if std::env::var_os("TALLYROOT_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text == made,
        "specs/vectors/{name} is not what its generator makes; run with TALLYROOT_WRITE_VECTORS=1 and read the diff"
    );
    let file: Value = serde_json::from_str(&text).unwrap();
    file["cases"].as_array().unwrap().clone()
}
