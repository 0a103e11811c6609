//! The cases of `specs/vectors/evidence.json`, with their files written out.

use std::path::Path;

use serde_json::Value;

/// A file, and what every verifier says of it.
pub(crate) struct Case {
    /// What is in it.
    pub(crate) why: String,
    /// `split-view` or `dispute`.
    pub(crate) kind: String,
    /// The election id that the verifier is asked about.
    pub(crate) election: String,
    /// The bytes.
    pub(crate) file: Vec<u8>,
    /// What it proves; null where it proves nothing.
    pub(crate) verdict: Value,
    /// What is wrong with it then.
    pub(crate) error: Option<String>,
    /// The exit code of a command that judges it offline.
    pub(crate) exit: u64,
}

/// The cases, as they stand in the file.
pub(crate) fn cases() -> Vec<Case> {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let vectors =
        folders.find_map(|folder| std::fs::read(folder.join("specs/vectors/evidence.json")).ok());
    let vectors: Value = serde_json::from_slice(&vectors.unwrap()).unwrap();
    let texts: Vec<String> = serde_json::from_value(vectors["texts"].clone()).unwrap();
    let text = |case: &Value, name: &str| case[name].as_str().unwrap().to_owned();
    let cases = vectors["cases"].as_array().unwrap().iter();
    let cases: Vec<Case> = cases
        .map(|case| Case {
            why: text(case, "why"),
            kind: text(case, "kind"),
            election: text(case, "election"),
            file: written_out(case, &texts),
            verdict: case["verdict"].clone(),
            error: case["error"].as_str().map(str::to_owned),
            exit: case["exit"].as_u64().unwrap(),
        })
        .collect();
    assert!(cases.len() > 300);
    cases
}

/// The bytes of a case's file: `~0` stands for the first text, and so on; `~x` for what `fill` says.
fn written_out(case: &Value, texts: &[String]) -> Vec<u8> {
    let mut file = case["file"].as_str().unwrap().to_owned();
    for (n, text) in texts.iter().enumerate() {
        file = file.replace(&format!("~{n}"), text);
    }
    if let Some(fill) = case.get("fill") {
        let times = usize::try_from(fill[1].as_u64().unwrap()).unwrap();
        file = file.replace("~x", &fill[0].as_str().unwrap().repeat(times));
    }
    file.into_bytes()
}
