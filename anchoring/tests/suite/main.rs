//! The anchor's work on stores and witnesses of the test: one program, since each that is linked anew costs as much as its tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    reason = "tests fail by panicking, and Clippy knows only functions marked as tests"
)]

mod anchors;
mod common;
mod heads;
mod notices;
mod witnesses;
