//! What an operator watches of a log, by the `metrics` facade: nothing is kept where no recorder is installed.
//!
//! Labels name logs and outcomes; nothing here is about a voter, a vote or a key.

use std::time::Instant;

use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};

use super::{Outcome, Stop, SubmitError};

const SUBMISSIONS: &str = "tallyroot_log_submissions_total";
const ENTRIES: &str = "tallyroot_log_entries_total";
const BATCHES: &str = "tallyroot_log_batches_total";
const STEP: &str = "tallyroot_log_step_seconds";
const TERMS: &str = "tallyroot_log_terms_ended_total";
const TAKEOVERS: &str = "tallyroot_log_takeovers_total";
const PUT_ASIDE: &str = "tallyroot_log_put_aside_total";
const RETRIES: &str = "tallyroot_log_retries_total";

/// Names and explains the counters of this crate, for whoever installs a recorder.
pub fn describe_metrics() {
    describe_counter!(
        SUBMISSIONS,
        "Submissions to a log, by what became of them: final, repeat, different (another one stands under the key), or why not."
    );
    describe_counter!(ENTRIES, "Entries made final, tally entries among them.");
    describe_counter!(BATCHES, "Batches made final.");
    describe_histogram!(
        STEP,
        "Seconds of a batch's steps: commit (database and durability gate), fence (batches/<n>), finish (signature, tiles, checkpoint)."
    );
    describe_counter!(
        TAKEOVERS,
        "Takeovers of a log that came to their end: it runs from then on."
    );
    describe_counter!(
        TERMS,
        "Terms of office and takeovers that ended, by why: again (an unknown outcome; taken over anew), stepped-down, halted."
    );
    describe_counter!(
        PUT_ASIDE,
        "Times that rows of the database were put aside, since other batches are published: there were two writers."
    );
    describe_counter!(
        RETRIES,
        "Steps that failed and are tried again, by what failed."
    );
}

/// Something that is tried again failed, and why is in the log.
pub(super) fn retried(what: &'static str) {
    counter!(RETRIES, "what" => what).increment(1);
}

/// The answers to submissions, as the label `outcome` names them.
const OUTCOMES: [&str; 10] = [
    "final",
    "repeat",
    "different",
    "full",
    "too-long",
    "closed",
    "not-open",
    "halted",
    "refused",
    "unknown",
];

/// The counters of one log.
pub(super) struct Meter {
    submissions: [Counter; OUTCOMES.len()],
    entries: Counter,
    batches: Counter,
    commit: Histogram,
    fence: Histogram,
    finish: Histogram,
    takeovers: Counter,
    again: Counter,
    stepped_down: Counter,
    halted: Counter,
    put_aside: Counter,
}

impl Meter {
    /// Of the log with this prefix; all counters are there from the start, at zero.
    pub(super) fn new(log: &str) -> Self {
        let log = || log.to_owned();
        let step = |step: &'static str| histogram!(STEP, "log" => log(), "step" => step);
        let ended = |why: &'static str| counter!(TERMS, "log" => log(), "why" => why);
        Self {
            submissions: OUTCOMES
                .map(|outcome| counter!(SUBMISSIONS, "log" => log(), "outcome" => outcome)),
            entries: counter!(ENTRIES, "log" => log()),
            batches: counter!(BATCHES, "log" => log()),
            commit: step("commit"),
            fence: step("fence"),
            finish: step("finish"),
            takeovers: counter!(TAKEOVERS, "log" => log()),
            again: ended("again"),
            stepped_down: ended("stepped-down"),
            halted: ended("halted"),
            put_aside: counter!(PUT_ASIDE, "log" => log()),
        }
    }

    pub(super) fn answered(&self, answer: &Result<Outcome, SubmitError>) {
        let which = match answer {
            Ok(Outcome::Final { repeat: false, .. }) => 0,
            Ok(Outcome::Final { repeat: true, .. }) => 1,
            Ok(Outcome::Different { .. }) => 2,
            Err(SubmitError::Full) => 3,
            Err(SubmitError::TooLong) => 4,
            Err(SubmitError::Closed) => 5,
            Err(SubmitError::NotOpen) => 6,
            Err(SubmitError::Halted) => 7,
            Err(SubmitError::Refused(_)) => 8,
            Err(SubmitError::Unknown) => 9,
        };
        if let Some(counter) = self.submissions.get(which) {
            counter.increment(1);
        }
    }

    pub(super) fn committed(&self, begun: Instant) {
        self.commit.record(begun.elapsed());
    }

    pub(super) fn fenced(&self, begun: Instant) {
        self.fence.record(begun.elapsed());
    }

    pub(super) fn finished(&self, begun: Instant, batches: u64, entries: u64) {
        self.finish.record(begun.elapsed());
        self.batches.increment(batches);
        self.entries.increment(entries);
    }

    pub(super) fn taken_over(&self) {
        self.takeovers.increment(1);
    }

    pub(super) fn put_aside(&self) {
        self.put_aside.increment(1);
    }

    pub(super) fn ended(&self, stop: &Stop) {
        match stop {
            Stop::Again(_) => self.again.increment(1),
            Stop::StepDown(_) => self.stepped_down.increment(1),
            Stop::Halt(_) => self.halted.increment(1),
        }
    }
}
