//! `/metrics`, in Prometheus's text form: the counters of every part of this process, and how its logs stand at the moment of the scrape.
//!
//! No label and no value is about a voter, a vote or a credential: labels are logs, anchors, witnesses, routes, outcomes and codes, all of which the
//! manifest or the code names.

use std::sync::OnceLock;

use anchoring::Cosigned;
use ledger::schedule::{Health, Schedule};
use ledger::sequencer::{Handle, State};
use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::warn;

/// Bounds of all histograms of seconds: from a commit on a fast disk to what somebody would call an outage.
const SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the recorder, once for this process: before anything counts.
pub(super) fn install() {
    RECORDER.get_or_init(|| {
        let built = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .and_then(PrometheusBuilder::install_recorder);
        match built {
            Ok(handle) => {
                describe();
                Some(handle)
            }
            Err(error) => {
                // A service without metrics serves all the same.
                warn!(%error, "there are no metrics");
                None
            }
        }
    });
}

/// The page. `None`: no recorder was installed.
pub(super) fn page() -> Option<String> {
    let handle = RECORDER.get()?.as_ref()?;
    handle.run_upkeep();
    Some(handle.render())
}

fn describe() {
    listener::describe_metrics();
    ledger::sequencer::describe_metrics();
    signer::describe_metrics();
    aws::describe_metrics();
    describe_gauge!(
        "tallyroot_process",
        "Always 1; the labels say what this process is."
    );
    describe_gauge!(
        "tallyroot_ready",
        "1 while requests are served: as /readyz."
    );
    describe_gauge!(
        "tallyroot_log_state",
        "1 for the state that a log of this process is in: taking-over, running, stepped-down, halted."
    );
    describe_gauge!("tallyroot_log_size", "Entries of a log, as published.");
    describe_gauge!("tallyroot_log_batches", "Batches of a log, as published.");
    describe_gauge!(
        "tallyroot_log_epoch",
        "The epoch of a log's newest takeover."
    );
    describe_gauge!(
        "tallyroot_log_queued",
        "Submissions that wait for their batch."
    );
    describe_gauge!(
        "tallyroot_log_closed",
        "1 once a log's last batch is published."
    );
    describe_gauge!(
        "tallyroot_schedule_current",
        "1 while the heads log could be followed at the last look: notices are heard."
    );
    describe_gauge!(
        "tallyroot_schedule_checked_timestamp_seconds",
        "When the heads log was last followed to its end."
    );
    describe_gauge!(
        "tallyroot_schedule_heads_size",
        "Entries of the heads log, as this process has followed it."
    );
    describe_gauge!(
        "tallyroot_schedule_head_timestamp_seconds",
        "The time in the newest head."
    );
    describe_gauge!(
        "tallyroot_anchored_size",
        "Entries of the heads log that every anchor holds."
    );
    describe_gauge!(
        "tallyroot_cosigned_size",
        "Entries of the heads log that the quorum of witnesses has cosigned."
    );
    describe_gauge!(
        "tallyroot_witness_size",
        "Entries of the heads log that a witness has cosigned for this process."
    );
    describe_gauge!(
        "tallyroot_witness_wrong",
        "1 while a witness does not cosign; /status says why."
    );
}

/// What this process is: a cell, a registrar, the anchor or the tally.
pub(super) fn process(role: &str, ready: bool) {
    let version = env!("CARGO_PKG_VERSION");
    gauge!("tallyroot_process", "role" => role.to_owned(), "version" => version).set(1);
    gauge!("tallyroot_ready").set(u8::from(ready));
}

/// How a log of this process stands.
pub(super) fn log(handle: &Handle) {
    let log = || handle.config().log.id().prefix();
    let now = super::health::state_name(&handle.state());
    for state in [
        State::TakingOver,
        State::Running,
        State::SteppedDown(String::new()),
        State::Halted(String::new()),
    ] {
        let state = super::health::state_name(&state);
        gauge!("tallyroot_log_state", "log" => log(), "state" => state).set(u8::from(state == now));
    }
    let published = handle.published();
    gauge!("tallyroot_log_size", "log" => log()).set(float(published.end.size));
    gauge!("tallyroot_log_batches", "log" => log()).set(float(published.batches));
    gauge!("tallyroot_log_epoch", "log" => log()).set(float(handle.epoch()));
    gauge!("tallyroot_log_queued", "log" => log()).set(float(handle.queued() as u64));
    gauge!("tallyroot_log_closed", "log" => log()).set(u8::from(published.closed));
}

/// What this process knows of the heads log.
pub(super) fn schedule(schedule: &Schedule) {
    let current = matches!(schedule.health(), Health::Current);
    gauge!("tallyroot_schedule_current").set(u8::from(current));
    gauge!("tallyroot_schedule_checked_timestamp_seconds").set(seconds(schedule.checked_ms()));
    gauge!("tallyroot_schedule_heads_size").set(float(schedule.heads_size()));
    gauge!("tallyroot_schedule_head_timestamp_seconds").set(seconds(schedule.head_time()));
}

/// How far anchors and witnesses are.
pub(super) fn anchored(size: u64, cosigned: &Cosigned) {
    gauge!("tallyroot_anchored_size").set(float(size));
    if !cosigned.witnesses.is_empty() {
        gauge!("tallyroot_cosigned_size").set(float(cosigned.size));
    }
    for witness in &cosigned.witnesses {
        let name = || witness.name.clone();
        gauge!("tallyroot_witness_size", "witness" => name()).set(float(witness.size));
        gauge!("tallyroot_witness_wrong", "witness" => name())
            .set(u8::from(witness.wrong.is_some()));
    }
}

/// Gauges are floats: exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
const fn float(value: u64) -> f64 {
    value as f64
}

const fn seconds(milliseconds: u64) -> f64 {
    float(milliseconds) / 1_000.0
}
