//! Notes, checkpoints, cosignatures and proofs: one spelling each, and nothing that the manifest does not allow.
//!
//! `specs/vectors/{note,checkpoint,tlog_proof}.json` are made in `vectors.rs`, deterministically, and each run compares them with what it would make now.
//! After a deliberate change: `TALLYROOT_WRITE_VECTORS=1 cargo test -p protocol --test notes vectors`, then read the diff.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a panic is how a test fails"
)]

mod checkpoints;
#[path = "../common/vectors.rs"]
mod common;
mod forms;
mod proofs;
mod support;
mod vectors;
