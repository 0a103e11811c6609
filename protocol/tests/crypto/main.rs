//! The cryptographic ground floor against independent implementations, and the vectors that every verifier of the protocol runs.
//!
//! `specs/vectors/{ed25519,rsa,credential,canonical_json,labels}.json` are made here, deterministically, and each run compares them with what it would
//! make now. After a deliberate change: `TALLYROOT_WRITE_VECTORS=1 cargo test -p protocol --test crypto`, then read the diff.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests: a panic is how they fail"
)]

mod credential;
mod ed25519;
mod rsa;
mod support;
mod text;
