//! What an operator watches of a registrar, beside its logs and its answers (which their crates count).

use std::time::Instant;

use metrics::{counter, describe_counter, describe_histogram, histogram};

const SIGNED: &str = "tallyroot_blind_signatures_total";
const SECONDS: &str = "tallyroot_blind_signature_seconds";

/// Names and explains the counters of this crate, for whoever installs a recorder.
pub fn describe_metrics() {
    describe_counter!(
        SIGNED,
        "Blind signatures, by outcome: signed, failed (an alarm: the key or the machine is faulty)."
    );
    describe_histogram!(
        SECONDS,
        "Seconds until a blind signature was made, waiting for a core included."
    );
    for outcome in ["signed", "failed"] {
        counter!(SIGNED, "outcome" => outcome).increment(0);
    }
}

pub(crate) fn blindly_signed(begun: Instant, right: bool) {
    let outcome = if right { "signed" } else { "failed" };
    counter!(SIGNED, "outcome" => outcome).increment(1);
    histogram!(SECONDS).record(begun.elapsed());
}
