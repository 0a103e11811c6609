//! Merkle trees and tiles: against RFC 6962 written down naively, against other people's implementations, and against forgers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a panic is how a test fails"
)]

mod edge;
mod forgery;
mod huge;
mod names;
mod oracle;
mod others;
mod proofs;
