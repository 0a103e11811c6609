//! What an operator of a witness watches.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::cosigner::{Answer, Refusal};
use super::state::Contradiction;

/// Answers and contradictions since the start.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    answers: [AtomicU64; 7],
    same_size: AtomicU64,
    not_consistent: AtomicU64,
    lost: AtomicU64,
}

/// As the label `answer` names them, in the order of [`Metrics::answers`].
const ANSWERS: [&str; 7] = [
    "cosigned",
    "other_size",
    "malformed",
    "unknown_log",
    "bad_signature",
    "not_consistent",
    "unavailable",
];

impl Metrics {
    pub(super) fn count(&self, answer: &Answer) {
        let which = match answer {
            Answer::Cosigned(_) => 0,
            Answer::OtherSize(_) => 1,
            Answer::Refused(Refusal::Malformed(_) | Refusal::Shrinks) => 2,
            Answer::Refused(Refusal::UnknownLog) => 3,
            Answer::Refused(Refusal::UnknownKey | Refusal::BadSignature) => 4,
            Answer::Refused(Refusal::NotConsistent | Refusal::SameSize) => 5,
            Answer::Refused(Refusal::Unavailable(_)) => 6,
        };
        if let Some(counter) = self.answers.get(which) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn contradiction(&self, contradiction: Contradiction) {
        let counter = match contradiction {
            Contradiction::SameSize => &self.same_size,
            Contradiction::NotConsistent => &self.not_consistent,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn evidence_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Prometheus's text form; `logs` are origin, size, and time of the newest cosignature in seconds.
    pub(super) fn text<'a>(&self, logs: impl Iterator<Item = (&'a str, u64, u64)>) -> String {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut text = String::new();
        // Writing to a String cannot fail.
        let mut say = |line: std::fmt::Arguments<'_>| {
            let _ = writeln!(text, "{line}");
        };
        say(format_args!(
            "# HELP tallyroot_witness_answers_total Answers to add-checkpoint."
        ));
        say(format_args!(
            "# TYPE tallyroot_witness_answers_total counter"
        ));
        for (name, counter) in ANSWERS.iter().zip(&self.answers) {
            say(format_args!(
                "tallyroot_witness_answers_total{{answer=\"{name}\"}} {}",
                value(counter)
            ));
        }
        say(format_args!(
            "# HELP tallyroot_witness_contradictions_total Checkpoints that a log signed and that contradict what was cosigned. Any same_size is a fork: look into the state folder."
        ));
        say(format_args!(
            "# TYPE tallyroot_witness_contradictions_total counter"
        ));
        for (name, counter) in [
            ("same_size", &self.same_size),
            ("not_consistent", &self.not_consistent),
        ] {
            say(format_args!(
                "tallyroot_witness_contradictions_total{{kind=\"{name}\"}} {}",
                value(counter)
            ));
        }
        say(format_args!(
            "# HELP tallyroot_witness_evidence_lost_total Contradictions that could not be written down."
        ));
        say(format_args!(
            "# TYPE tallyroot_witness_evidence_lost_total counter"
        ));
        say(format_args!(
            "tallyroot_witness_evidence_lost_total {}",
            value(&self.lost)
        ));
        say(format_args!(
            "# HELP tallyroot_witness_size Size of the newest cosigned checkpoint."
        ));
        say(format_args!("# TYPE tallyroot_witness_size gauge"));
        let logs: Vec<_> = logs.collect();
        for (origin, size, _) in &logs {
            say(format_args!(
                "tallyroot_witness_size{{origin=\"{}\"}} {size}",
                label(origin)
            ));
        }
        say(format_args!(
            "# HELP tallyroot_witness_cosigned_timestamp_seconds Time of the newest cosignature; 0 where there is none."
        ));
        say(format_args!(
            "# TYPE tallyroot_witness_cosigned_timestamp_seconds gauge"
        ));
        for (origin, _, time_s) in &logs {
            say(format_args!(
                "tallyroot_witness_cosigned_timestamp_seconds{{origin=\"{}\"}} {time_s}",
                label(origin)
            ));
        }
        text
    }
}

/// Key names hold no control characters; what is left to escape are these two.
fn label(origin: &str) -> String {
    origin.replace('\\', "\\\\").replace('"', "\\\"")
}
