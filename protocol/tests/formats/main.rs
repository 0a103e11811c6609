//! The election's formats: round trips, rules one by one, and the vectors that every verifier of the protocol runs.
//!
//! `specs/vectors/{manifest,ballot,entry,grammar,batch,anchor,count,results,receipt}.json` are made here, deterministically from fixed
//! seeds, and each run compares them with what it would make now. After a deliberate change:
//! `TALLYROOT_WRITE_VECTORS=1 cargo test -p protocol --test formats`, then read the diff.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests: a panic is how they fail"
)]

mod anchor;
mod ballot;
mod batch;
mod bounds;
mod count;
mod entry;
mod evidence;
#[path = "../common/evidence.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod evidence_cases;
mod fixture;
mod grammar;
mod log;
mod manifest;
mod receipt;
mod results;
#[path = "../common/vectors.rs"]
mod vectors;

/// Registrars' RSA keys that are the same on every run.
#[path = "../crypto/support.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod keys;
