//! The manifest: everything that an election fixes in advance, in one canonical JSON file whose SHA-256 is the election id.
//!
//! [`Manifest`] is the raw file, for whoever writes one. [`Election`] is a manifest that keeps every rule, with its keys parsed:
//! the only form in which the rest of the crate takes one. Checking it once, here, is what lets all other code trust it.

mod check;
mod election;
mod encoding;
mod keys;
mod types;

pub use check::{LABEL_LEN_MAX, ManifestError};
pub use election::{Election, LogKeys};
pub use types::{
    Anchor, AnchorKind, Contest, KeyPair, Manifest, Method, Registrar, Roll, TieRule, Times,
    Witnesses,
};

/// The value of the member `format`.
pub const FORMAT: &str = "tallyroot/v1/manifest";

/// Most bytes of a `manifest.json`.
pub const MANIFEST_LEN_MAX: usize = 1 << 20;

/// Times and sizes in JSON lie below this bound, so that every JSON reader holds them exactly.
pub const INTEGER_END: u64 = crate::canonical_json::INTEGER_MAX + 1;
