//! Merkle trees and tiles: against RFC 6962 written down naively, against other people's implementations, and against forgers.
//!
//! `specs/vectors/{merkle,tiles}.json` are made in `vectors.rs`, deterministically, and each run compares them with what it would make now.
//! After a deliberate change: `TALLYROOT_WRITE_VECTORS=1 cargo test -p protocol --test merkle vectors`, then read the diff.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a panic is how a test fails"
)]

#[path = "../common/vectors.rs"]
mod common;
mod edge;
mod forgery;
mod huge;
mod names;
mod oracle;
mod others;
mod proofs;
mod vectors;
