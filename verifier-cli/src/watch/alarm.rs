//! What a watcher says: findings when they begin, and sources that do not answer.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::context::Unread;
use crate::finding::{Code, Findings, Place, Severity};
use crate::verdict::Outcome;

/// The newest head is too old. No finding of an audit: an audit does not know what time it is.
pub const LATE_HEAD: &str = "late-head";
/// The newest head claims a time that has not come. No finding of an audit either.
pub const HEAD_AHEAD: &str = "head-ahead";
/// Heads go on, and leave out what a log published long ago. No finding of an audit either.
pub const UNCOVERED: &str = "uncovered";

/// Findings that are remembered one by one; further ones are only counted, by code.
const RAISED_MAX: usize = 10_000;

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
        /// What kind: a finding's code, or [`LATE_HEAD`], [`HEAD_AHEAD`] or [`UNCOVERED`].
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
        /// Findings: something was raised, in this run or an earlier one with the same memory. Unchecked: the last round could not read everything.
        verdict: Outcome,
        /// Rounds made.
        rounds: u64,
        /// Findings raised, also before a restart.
        raised: u64,
        /// How many of them an earlier run raised.
        raised_before: u64,
        /// How many of each code.
        raised_by_code: BTreeMap<&'static str, u64>,
        /// Checkpoints that are kept.
        checkpoints: u64,
    },
}

/// Findings are told apart by kind, source and file: evidence changes with every round.
type Key = (&'static str, String, String);

/// The alarms, of this run and of those before it.
#[derive(Default)]
pub(super) struct Alarms {
    round: u64,
    at: u64,
    /// How long something that a stale copy shows too must stand before it is raised (ms).
    patience: u64,
    /// Of the round before, and of this one.
    before: BTreeSet<Key>,
    now: BTreeSet<Key>,
    /// What may yet turn out to be a stale answer, and since when.
    suspected_before: BTreeMap<Key, u64>,
    suspected_now: BTreeMap<Key, u64>,
    unread_before: BTreeSet<String>,
    unread_now: BTreeSet<String>,
    events: Vec<Event>,
    /// All that was ever raised.
    raised: BTreeSet<Key>,
    by_code: BTreeMap<&'static str, u64>,
    /// How many of these are of earlier runs.
    raised_before: u64,
}

/// What of it outlives the process.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct AlarmState {
    raised: Vec<(String, String, String)>,
    by_code: BTreeMap<String, u64>,
    suspected: Vec<(String, String, String, u64)>,
}

/// A code of ours, as it is named in the program.
fn known(code: &str) -> Option<&'static str> {
    [LATE_HEAD, HEAD_AHEAD, UNCOVERED]
        .into_iter()
        .find(|own| *own == code)
        .or_else(|| Code::by_name(code).map(Code::name))
}

/// What a cache, or two servers behind one name, show of an honest log as well: an older state for a moment, or a file that is not there yet.
const fn may_be_stale(code: Code) -> bool {
    matches!(code, Code::CheckpointRollback | Code::MissingFile)
}

impl Alarms {
    pub(super) fn load(&mut self, state: AlarmState) {
        let key = |(code, source, file): (String, String, String)| {
            known(&code).map(|code| (code, source, file))
        };
        self.raised = state.raised.into_iter().filter_map(key).collect();
        self.by_code = state
            .by_code
            .into_iter()
            .filter_map(|(code, count)| Some((known(&code)?, count)))
            .collect();
        self.raised_before = self.raised();
        self.suspected_now = state
            .suspected
            .into_iter()
            .filter_map(|(code, source, file, since)| Some((key((code, source, file))?, since)))
            .collect();
    }

    pub(super) fn state(&self) -> AlarmState {
        let owned = |(code, source, file): &Key| {
            let code: &str = code;
            (code.to_owned(), source.clone(), file.clone())
        };
        AlarmState {
            raised: self.raised.iter().map(owned).collect(),
            by_code: self
                .by_code
                .iter()
                .map(|(code, count)| ((*code).to_owned(), *count))
                .collect(),
            suspected: self
                .suspected_now
                .iter()
                .map(|(key, since)| {
                    let (code, source, file) = owned(key);
                    (code, source, file, *since)
                })
                .collect(),
        }
    }

    pub(super) const fn set_patience(&mut self, patience: u64) {
        self.patience = patience;
    }

    pub(super) fn begin(&mut self, round: u64, at: u64) {
        (self.round, self.at) = (round, at);
        self.before = std::mem::take(&mut self.now);
        self.suspected_before = std::mem::take(&mut self.suspected_now);
        self.unread_before = std::mem::take(&mut self.unread_now);
    }

    /// A source that was not looked at in this round stands as it stood.
    pub(super) fn carry(&mut self, source: &str) {
        let before = self.before.iter().filter(|key| key.1 == source).cloned();
        self.now.extend(before);
        let suspected = self.suspected_before.iter();
        self.suspected_now.extend(
            suspected
                .filter(|(key, _)| key.1 == source)
                .map(|(key, since)| (key.clone(), *since)),
        );
    }

    /// What is to be said since this was last asked for.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub(super) fn raised(&self) -> u64 {
        self.by_code.values().sum()
    }

    /// Those of earlier runs.
    pub(super) const fn raised_before(&self) -> u64 {
        self.raised_before
    }

    pub(super) const fn by_code(&self) -> &BTreeMap<&'static str, u64> {
        &self.by_code
    }

    /// How many different findings were ever raised.
    pub(super) fn known(&self) -> usize {
        self.raised.len()
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

    /// Takes over what a look at a source came to. What a stale answer shows too is raised once it stands in another round, and for long enough.
    pub(super) fn take(&mut self, source: &str, findings: &Findings, unread: &Unread) {
        self.take_all(source, findings, unread, may_be_stale);
    }

    /// Takes over what needs no second look.
    pub(super) fn take_at_once(&mut self, source: &str, findings: &Findings, unread: &Unread) {
        self.take_all(source, findings, unread, |_| false);
    }

    fn take_all(
        &mut self,
        source: &str,
        findings: &Findings,
        unread: &Unread,
        must_stand: impl Fn(Code) -> bool,
    ) {
        for finding in findings.finish().0 {
            let (code, place) = (finding.code.name(), finding.place);
            let key = (code, source.to_owned(), place.file.clone());
            if must_stand(finding.code) && !self.stands(&key) {
                let seen = format!("{place}: {}", finding.evidence);
                self.unread(source, format!("{seen}; this is raised if it stays so"));
                continue;
            }
            if self.is_new(key) {
                self.events.push(Event::Finding {
                    round: self.round,
                    at: self.at,
                    source: source.to_owned(),
                    code,
                    severity: finding.severity,
                    place,
                    evidence: finding.evidence,
                    votes_at_most: finding.votes_at_most,
                });
            }
        }
        for problem in unread.finish() {
            self.unread(source, problem);
        }
    }

    /// Whether it was so in the round before too, and for long enough; without a clock, rounds alone count.
    fn stands(&mut self, key: &Key) -> bool {
        let before = self.suspected_before.get(key).copied();
        self.suspected_now
            .insert(key.clone(), before.unwrap_or(self.at));
        before.is_some_and(|since| self.at == 0 || self.at.saturating_sub(since) >= self.patience)
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

    /// An alarm by the watcher's own clock, about all sources.
    pub(super) fn clock(
        &mut self,
        code: &'static str,
        severity: Severity,
        file: &str,
        votes_at_most: u64,
        evidence: String,
    ) {
        let source = "all sources".to_owned();
        if self.is_new((code, source.clone(), file.to_owned())) {
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
        if self.raised.len() < RAISED_MAX {
            self.raised.insert(key.clone());
        }
        let is_new = self.now.insert(key.clone()) && !self.before.contains(&key);
        if is_new {
            *self.by_code.entry(code).or_default() += 1;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(file: &str) -> Findings {
        let findings = Findings::new(10);
        findings.add(
            Code::HeadRoot,
            Place::file(file),
            crate::finding::Votes::AtMost(1),
            "two roots".to_owned(),
        );
        findings
    }

    fn begins(alarms: &mut Alarms, round: u64) {
        alarms.begin(round, 1_000 * round);
    }

    #[test]
    fn what_was_not_looked_at_in_a_round_stands_as_it_stood() {
        let mut alarms = Alarms::default();
        begins(&mut alarms, 1);
        alarms.take("a", &findings("heads/checkpoint"), &Unread::default());
        alarms.take("b", &findings("heads/checkpoint"), &Unread::default());
        assert_eq!((alarms.take_events().len(), alarms.standing()), (2, 2));
        // Only one of them is looked at, and nothing is wrong there any more.
        begins(&mut alarms, 2);
        alarms.carry("a");
        assert_eq!(alarms.standing(), 1);
        assert!(alarms.is_raised(Code::HeadRoot, "heads/checkpoint"));
        assert!(!alarms.is_raised(Code::HeadRoot, "cells/0/checkpoint"));
        assert!(!alarms.is_raised(Code::BatchChain, "heads/checkpoint"));
        // What stood all the while is not said again; what had ended is.
        begins(&mut alarms, 3);
        alarms.take("a", &findings("heads/checkpoint"), &Unread::default());
        assert_eq!(alarms.take_events().len(), 0);
        alarms.take("b", &findings("heads/checkpoint"), &Unread::default());
        assert_eq!(
            (alarms.take_events().len(), alarms.raised(), alarms.known()),
            (1, 3, 2)
        );
    }

    #[test]
    fn what_a_stale_copy_shows_too_must_stand_for_its_time_in_rounds_without_a_look_too() {
        let findings = || {
            let findings = Findings::new(10);
            findings.add(
                Code::MissingFile,
                Place::file("heads/checkpoint"),
                crate::finding::Votes::AtMost(0),
                "it is gone".to_owned(),
            );
            findings
        };
        let mut alarms = Alarms::default();
        alarms.set_patience(2_000);
        begins(&mut alarms, 1);
        alarms.take("a", &findings(), &Unread::default());
        assert!(matches!(
            alarms.take_events().as_slice(),
            [Event::Unread { .. }]
        ));
        begins(&mut alarms, 2);
        alarms.carry("a");
        begins(&mut alarms, 3);
        alarms.take("a", &findings(), &Unread::default());
        assert!(matches!(
            alarms.take_events().as_slice(),
            [Event::Finding { .. }]
        ));
    }
}
