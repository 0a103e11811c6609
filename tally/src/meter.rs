//! What an operator watches of live results.

use metrics::{counter, describe_counter, describe_gauge, gauge};

const WRITES: &str = "tallyroot_results_written_total";
const STALE: &str = "tallyroot_results_cell_stale";
const VOTES: &str = "tallyroot_results_votes";

/// Names and explains the counters of this crate, for whoever installs a recorder.
pub fn describe_metrics() {
    describe_counter!(
        WRITES,
        "Times that results.json was replaced, by outcome: written, failed (the file), wrong (the parts do not add up)."
    );
    describe_gauge!(
        STALE,
        "1 while a cell keeps its last good part in the results: it cannot be read, or does not check out."
    );
    describe_gauge!(VOTES, "Votes in the results that were written last.");
    for outcome in ["written", "failed", "wrong"] {
        counter!(WRITES, "outcome" => outcome).increment(0);
    }
}

pub(crate) fn wrote(outcome: &'static str) {
    counter!(WRITES, "outcome" => outcome).increment(1);
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a gauge is a float: exact up to 2^53 votes"
)]
pub(crate) fn votes(votes: u64) {
    gauge!(VOTES).set(votes as f64);
}

pub(crate) fn stale(cell: usize, stale: bool) {
    gauge!(STALE, "cell" => cell.to_string()).set(u8::from(stale));
}
