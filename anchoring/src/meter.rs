//! What an operator watches of anchors and heads.

use metrics::{counter, describe_counter, describe_gauge, gauge};
use protocol::ids::LogId;

const OBJECTS: &str = "tallyroot_anchor_objects_total";
const FAILURES: &str = "tallyroot_anchor_failures_total";
const SIZE: &str = "tallyroot_anchor_size";
const LATE: &str = "tallyroot_anchor_late";
const STALE: &str = "tallyroot_heads_log_stale";

/// Names and explains the counters of this crate, for whoever installs a recorder.
pub fn describe_metrics() {
    describe_counter!(OBJECTS, "Objects that an anchor took and gave back right.");
    describe_counter!(
        FAILURES,
        "Times that an anchor could not be extended or read."
    );
    describe_gauge!(SIZE, "Entries of the heads log that an anchor holds.");
    describe_gauge!(
        LATE,
        "1 while an anchor has been behind the heads log for longer than it may."
    );
    describe_gauge!(
        STALE,
        "1 while heads repeat a log's last good size: it cannot be read, or does not check out."
    );
}

/// One anchor, by its name in the manifest.
pub(crate) struct AnchorMeter(String);

impl AnchorMeter {
    pub(crate) fn new(anchor: &str) -> Self {
        let meter = Self(anchor.to_owned());
        counter!(OBJECTS, "anchor" => meter.name()).increment(0);
        counter!(FAILURES, "anchor" => meter.name()).increment(0);
        meter.late(false);
        meter
    }

    fn name(&self) -> String {
        self.0.clone()
    }

    /// It holds the heads log up to this size.
    pub(crate) fn holds(&self, size: u64) {
        counter!(OBJECTS, "anchor" => self.name()).increment(1);
        // A gauge is a float: exact up to 2^53 entries.
        #[allow(clippy::cast_precision_loss)]
        gauge!(SIZE, "anchor" => self.name()).set(size as f64);
        self.late(false);
    }

    pub(crate) fn failed(&self) {
        counter!(FAILURES, "anchor" => self.name()).increment(1);
    }

    pub(crate) fn late(&self, late: bool) {
        gauge!(LATE, "anchor" => self.name()).set(u8::from(late));
    }
}

/// Whether heads repeat this log's last good size.
pub(crate) fn stale(log: LogId, stale: bool) {
    gauge!(STALE, "log" => log.prefix()).set(u8::from(stale));
}
