//! `tallyroot-verify` against elections that are right, and against every way in which they can be wrong.
#![allow(missing_docs, unreachable_pub, dead_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod asked;
mod bounds;
mod command;
mod common;
mod copies;
mod counted;
mod damage;
mod differential;
mod dishonest;
mod evidence;
#[path = "../../../protocol/tests/common/evidence.rs"]
mod evidence_cases;
mod growing;
mod kept;
mod notices;
mod packages;
mod receipts;
mod reconcile;
mod result;
mod resume;
mod right;
mod sample;
mod schema;
mod trees;
mod watch;
mod watch_over_time;
mod web;
mod witnesses;
mod words;
