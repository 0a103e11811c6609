//! The tally over HTTP: one program, since each that is linked anew costs as much as its tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    reason = "tests fail by panicking, and Clippy knows only functions marked as tests"
)]

#[path = "../../../anchoring/tests/suite/common/mod.rs"]
mod common;
mod results;
mod watching;
