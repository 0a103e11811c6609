//! The published vectors, which the bodies know the right answers from.

use std::sync::LazyLock;

use protocol::ids::ElectionId;
use protocol::manifest::Election;
use serde_json::Value;

macro_rules! vectors {
    ($($name:literal),*) => {
        /// The text of a file of `specs/vectors`.
        fn text(name: &str) -> &'static str {
            match name {
                $($name => include_str!(concat!("../../../specs/vectors/", $name, ".json")),)*
                other => panic!("no vectors {other:?}"),
            }
        }
    };
}

vectors!(
    "anchor",
    "ballot",
    "batch",
    "canonical_json",
    "checkpoint",
    "ed25519",
    "entry",
    "grammar",
    "manifest",
    "note",
    "receipt",
    "results",
    "rsa",
    "tiles",
    "tlog_proof",
    "trees"
);

/// A file of vectors.
pub(crate) fn document(name: &str) -> Value {
    serde_json::from_str(text(name)).unwrap()
}

/// The cases under this member of a file of vectors.
pub(crate) fn cases(name: &str, member: &str) -> Vec<Value> {
    document(name)[member].as_array().unwrap().clone()
}

/// A member that is text.
pub(crate) fn string(case: &Value, member: &str) -> String {
    case[member].as_str().unwrap().to_owned()
}

/// A member that is hex.
pub(crate) fn bytes(case: &Value, member: &str) -> Vec<u8> {
    hex::decode(case[member].as_str().unwrap()).unwrap()
}

/// The elections of all right manifests in the vectors; the first is `base`, which most vectors are of.
pub(crate) static ELECTIONS: LazyLock<Vec<Election>> = LazyLock::new(|| {
    cases("manifest", "cases")
        .iter()
        .filter(|case| case["valid"] == true)
        .map(|case| Election::from_manifest_bytes(string(case, "manifest").as_bytes()).unwrap())
        .collect()
});

/// The election `base`.
pub(crate) fn base() -> &'static Election {
    &ELECTIONS[0]
}

/// An election id that no input knows the manifest of.
pub(crate) const OTHER: ElectionId = ElectionId([7; 32]);
