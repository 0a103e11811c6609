//! What a watcher says: findings when they begin, and sources that do not answer.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use crate::audit::context::Unread;
use crate::finding::{Code, Findings, Place, Severity};
use crate::verdict::Outcome;

/// The newest head is too old. No finding of an audit: an audit does not know what time it is.
pub const LATE_HEAD: &str = "late-head";
/// The newest head claims a time that has not come. No finding of an audit either.
pub const HEAD_AHEAD: &str = "head-ahead";

/// Something worth saying.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// Something is wrong. Said once, and again after a round without it.
    Finding {
        /// The round, from 1.
        round: u64,
        /// By the watcher's clock (ms since 1970).
        at: u64,
        /// Which source showed it.
        source: String,
        /// What kind: a finding's code, or [`LATE_HEAD`] or [`HEAD_AHEAD`].
        code: &'static str,
        /// How much it weighs.
        severity: Severity,
        /// Where.
        place: Place,
        /// What was seen.
        evidence: String,
        /// Votes affected at most.
        votes_at_most: u64,
    },
    /// A source does not answer, or not all of it can be read.
    Unread {
        /// The round, from 1.
        round: u64,
        /// By the watcher's clock (ms since 1970).
        at: u64,
        /// Which.
        source: String,
        /// What happened.
        problem: String,
    },
    /// The watch ends.
    End {
        /// Findings: something was raised. Unchecked: the last round could not read everything.
        verdict: Outcome,
        /// Rounds made.
        rounds: u64,
        /// Findings raised.
        raised: u64,
        /// How many of each code.
        raised_by_code: BTreeMap<&'static str, u64>,
        /// Checkpoints that are kept.
        checkpoints: u64,
    },
}

/// Findings are told apart by kind, source and file: evidence changes with every round.
type Key = (&'static str, String, String);

/// The alarms of a run.
#[derive(Default)]
pub(super) struct Alarms {
    round: u64,
    at: u64,
    /// Of the round before, and of this one.
    before: BTreeSet<Key>,
    now: BTreeSet<Key>,
    unread_before: BTreeSet<String>,
    unread_now: BTreeSet<String>,
    events: Vec<Event>,
    by_code: BTreeMap<&'static str, u64>,
}

impl Alarms {
    pub(super) fn begin(&mut self, round: u64, at: u64) {
        (self.round, self.at) = (round, at);
        self.before = std::mem::take(&mut self.now);
        self.unread_before = std::mem::take(&mut self.unread_now);
    }

    pub(super) fn finish(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub(super) fn raised(&self) -> u64 {
        self.by_code.values().sum()
    }

    pub(super) const fn by_code(&self) -> &BTreeMap<&'static str, u64> {
        &self.by_code
    }

    /// How many findings there are in this round.
    pub(super) fn standing(&self) -> usize {
        self.now.len()
    }

    pub(super) fn any_unread(&self) -> bool {
        !self.unread_now.is_empty()
    }

    pub(super) fn is_raised(&self, code: Code, file: &str) -> bool {
        self.now
            .iter()
            .any(|(name, _, at)| *name == code.name() && at == file)
    }

    /// Takes over what a look at a source came to.
    pub(super) fn take(&mut self, source: &str, findings: &Findings, unread: &Unread) {
        for finding in findings.finish().0 {
            let key = (
                finding.code.name(),
                source.to_owned(),
                finding.place.file.clone(),
            );
            if self.is_new(key) {
                self.events.push(Event::Finding {
                    round: self.round,
                    at: self.at,
                    source: source.to_owned(),
                    code: finding.code.name(),
                    severity: finding.severity,
                    place: finding.place,
                    evidence: finding.evidence,
                    votes_at_most: finding.votes_at_most,
                });
            }
        }
        for problem in unread.finish() {
            self.unread(source, problem);
        }
    }

    pub(super) fn unread(&mut self, source: &str, problem: String) {
        let is_first = self.unread_now.insert(source.to_owned());
        if is_first && !self.unread_before.contains(source) {
            self.events.push(Event::Unread {
                round: self.round,
                at: self.at,
                source: source.to_owned(),
                problem,
            });
        }
    }

    /// An alarm by the watcher's own clock.
    pub(super) fn clock(
        &mut self,
        code: &'static str,
        severity: Severity,
        votes_at_most: u64,
        evidence: String,
    ) {
        let (source, file) = ("all sources".to_owned(), "heads/checkpoint".to_owned());
        if self.is_new((code, source.clone(), file.clone())) {
            self.events.push(Event::Finding {
                round: self.round,
                at: self.at,
                source,
                code,
                severity,
                place: Place::file(file),
                evidence,
                votes_at_most,
            });
        }
    }

    fn is_new(&mut self, key: Key) -> bool {
        let code = key.0;
        let is_new = self.now.insert(key.clone()) && !self.before.contains(&key);
        if is_new {
            *self.by_code.entry(code).or_default() += 1;
        }
        is_new
    }
}
