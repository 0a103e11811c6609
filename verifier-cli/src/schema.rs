//! JSON schemas (draft 2020-12) of what `--json` prints: made from the very types that are printed, so that they cannot differ.
//!
//! Members are added to, never renamed or removed. `specs/schemas/` holds them as files.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

use crate::anchors::AnchorsVerdict;
use crate::bundle::BundleVerdict;
use crate::consistency::ConsistencyVerdict;
use crate::dispute::DisputeVerdict;
use crate::issued::IssuedVerdict;
use crate::mirror::MirrorVerdict;
use crate::receipt::ReceiptVerdict;
use crate::reconcile::ReconcileVerdict;
use crate::result::ResultVerdict;
use crate::sample::SampleVerdict;
use crate::verdict::AuditVerdict;
use crate::watch::Event;

/// The commands that have `--json`, in the order of their names. `watch` prints one such document a line.
pub const COMMANDS: [&str; 12] = [
    "anchors",
    "audit",
    "bundle",
    "consistency",
    "dispute",
    "issued",
    "mirror",
    "receipt",
    "reconcile",
    "result",
    "sample",
    "watch",
];

/// The schema of what this command prints with `--json`.
#[must_use]
pub fn of(command: &str) -> Option<Schema> {
    Some(match command {
        "anchors" => schema::<AnchorsVerdict>(),
        "audit" => schema::<AuditVerdict>(),
        "bundle" => schema::<BundleVerdict>(),
        "consistency" => schema::<ConsistencyVerdict>(),
        "dispute" => schema::<DisputeVerdict>(),
        "issued" => schema::<IssuedVerdict>(),
        "mirror" => schema::<MirrorVerdict>(),
        "receipt" => schema::<ReceiptVerdict>(),
        "reconcile" => schema::<ReconcileVerdict>(),
        "result" => schema::<ResultVerdict>(),
        "sample" => schema::<SampleVerdict>(),
        "watch" => schema::<Event>(),
        _ => return None,
    })
}

fn schema<T: JsonSchema>() -> Schema {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.inline_subschemas = false;
    settings.into_generator().into_root_schema_for::<T>()
}
