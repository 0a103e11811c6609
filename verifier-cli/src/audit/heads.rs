//! What the heads log holds: heads, the authority's notices, and at last the final head. Here each is judged by what stands before it; `head_rules`
//! compares them with the logs that they speak of.

use std::collections::HashMap;

use protocol::entry::{Entry, Genesis, Head, HeadLog, LogState, Notice, NoticeAction};
use protocol::grammar::HeadsLog;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::{Hash, leaf_hash};

use super::checkpoint::Switches;
use super::head_rules::at_most_roll;
use super::judge::{Judge, Opinion};
use super::walk::{Applied, Content};
use crate::finding::{Code, Place, Votes};
use crate::work::Pool;

/// What the heads log says so far.
pub(super) struct Heads<'a> {
    election: &'a Election,
    grammar: Option<HeadsLog>,
    heads: Vec<HeadAt>,
    /// For each log, in head order, what heads say of it, wherever that changes: `(number of the head, what it says)`.
    changes: Vec<Vec<(usize, HeadLog)>>,
    final_head: bool,
    notices: Notices,
}

/// One head.
#[derive(Clone, Debug)]
pub(super) struct HeadAt {
    pub(super) place: Place,
    pub(super) time: u64,
}

/// What the authority decided.
#[derive(Default)]
pub(super) struct Notices {
    next_sequence: u32,
    /// The closing time in force.
    closing: u64,
    pub(super) cancelled: bool,
    /// Frozen logs; the time is that of the first head at or after the notice.
    frozen: HashMap<LogId, Option<u64>>,
    pub(super) switches: Switches,
    /// The switches of other logs than the heads log, to be compared with those logs.
    pub(super) switched_at: Vec<(Place, LogId, u64, Hash)>,
}

impl HeadAt {
    /// Its index in the heads log.
    pub(super) fn index(&self) -> u64 {
        self.place.index.unwrap_or_default()
    }
}

impl Notices {
    /// When a log closes: the election's closing time, or earlier if it was frozen.
    pub(super) fn closing_of(&self, log: LogId) -> u64 {
        match self.frozen.get(&log) {
            Some(Some(frozen)) => self.closing.min(*frozen),
            _ => self.closing,
        }
    }
}

impl<'a> Heads<'a> {
    pub(super) fn new(election: &'a Election) -> Self {
        Self {
            election,
            grammar: Some(HeadsLog::new(election)),
            heads: Vec::new(),
            changes: election.logs().iter().map(|_| Vec::new()).collect(),
            final_head: false,
            notices: Notices {
                closing: election.manifest().times.closing,
                ..Notices::default()
            },
        }
    }

    pub(super) fn heads(&self) -> &[HeadAt] {
        &self.heads
    }

    /// For each log, in head order, what heads say of it wherever that changes.
    pub(super) fn changes(&self) -> &[Vec<(usize, HeadLog)>] {
        &self.changes
    }

    pub(super) const fn notices(&self) -> &Notices {
        &self.notices
    }

    /// What the final head says of each log, in head order; `None` as long as there is none.
    pub(super) fn final_sizes(&self) -> Option<Vec<HeadLog>> {
        if !self.final_head {
            return None;
        }
        self.changes
            .iter()
            .map(|changes| changes.last().map(|(_, log)| *log))
            .collect()
    }

    /// The final head, which is the last.
    pub(super) fn final_head(&self) -> Option<&HeadAt> {
        self.heads.last().filter(|_| self.final_head)
    }

    fn take_head(&mut self, head: &Head, index: u64, judge: &Judge<'_, 'a>) {
        // "Times never fall."
        if let Some(last) = self.heads.last()
            && head.time < last.time
        {
            judge.add(
                Code::HeadFalls,
                index,
                Votes::AtMost(0),
                format!(
                    "its time {} is below the last head's, {}",
                    head.time, last.time
                ),
            );
        }
        let number = self.heads.len();
        let logs = self.election.logs().iter().zip(&head.logs);
        let mut newly_closed = None;
        let closing = self.notices.closing;
        let is_open = head.time <= closing && !self.notices.cancelled;
        for ((log, now), changes) in logs.zip(&mut self.changes) {
            let last = changes.last().map(|(_, last)| *last);
            judge_change(self.election, *log, last, now, index, judge);
            let closes = now.state == LogState::Closed
                && last.is_none_or(|last| last.state != LogState::Closed);
            let is_frozen = self.notices.frozen.contains_key(log);
            if closes && !is_frozen && matches!(log, LogId::Cell(_)) {
                newly_closed.get_or_insert(*log);
            }
            // "not above the closing time in force, unless the log was frozen or the election cancelled before that head"
            if closes && !is_frozen && is_open {
                judge.add(
                    Code::ClosedEarly,
                    index,
                    Votes::WholeRoll,
                    format!(
                        "{log} is closed in a head of time {}, and voting lasts until {closing}; nobody froze it",
                        head.time
                    ),
                );
            }
            if last != Some(*now) {
                changes.push((number, *now));
            }
        }
        if let Some(cell) = newly_closed {
            judge_order_of_closing(self.election, cell, head, index, judge);
        }
        for frozen in self.notices.frozen.values_mut() {
            frozen.get_or_insert(head.time);
        }
        self.heads.push(HeadAt {
            place: judge.place(index),
            time: head.time,
        });
    }

    fn take_final(&mut self, head: &Head, index: u64, judge: &Judge<'_, 'a>) {
        self.final_head = true;
        let open: Vec<String> = self
            .election
            .logs()
            .iter()
            .zip(&head.logs)
            .filter(|(_, said)| said.state != LogState::Closed)
            .map(|(log, _)| log.to_string())
            .collect();
        // "It is made once all logs are closed, or later than closing plus grace."
        let end = self
            .notices
            .closing
            .saturating_add(self.election.manifest().times.grace);
        if !open.is_empty() && head.time <= end {
            judge.add(
                Code::FinalHeadEarly,
                index,
                Votes::WholeRoll,
                format!(
                    "it was made at {}, not later than closing plus grace ({end}), while these were not closed: {}",
                    head.time,
                    open.join(", ")
                ),
            );
        }
    }

    fn take_notice(&mut self, index: u64, notice: &Notice, judge: &Judge<'_, 'a>) {
        if let Err(error) = notice.verify(self.election) {
            judge.add(
                Code::NoticeSignature,
                index,
                Votes::WholeRoll,
                error.to_string(),
            );
            return;
        }
        let last_head = self.heads.last().map(|head| head.time);
        let notices = &mut self.notices;
        let invalid = |evidence: String| {
            judge.add(Code::NoticeInvalid, index, Votes::WholeRoll, evidence);
        };
        if notice.body.sequence != notices.next_sequence {
            invalid(format!(
                "it is notice {}, and {} is due",
                notice.body.sequence, notices.next_sequence
            ));
        }
        notices.next_sequence = notice.body.sequence.saturating_add(1);
        match notice.body.action {
            NoticeAction::Extend { closing } => {
                if closing <= notices.closing {
                    invalid(format!(
                        "it moves closing to {closing}, which is not later than {}",
                        notices.closing
                    ));
                } else if closing > self.election.manifest().retention {
                    invalid(format!(
                        "it moves closing to {closing}, which is later than {}, until when anchors are locked",
                        self.election.manifest().retention
                    ));
                } else if last_head.is_some_and(|time| time > notices.closing) {
                    invalid(format!(
                        "it extends an election that closed at {}, before the head in front of it",
                        notices.closing
                    ));
                } else {
                    notices.closing = closing;
                }
            }
            NoticeAction::Cancel => {
                if notices.cancelled {
                    invalid("the election was cancelled before".to_owned());
                }
                notices.cancelled = true;
            }
            NoticeAction::Freeze { log } => {
                if notices.frozen.contains_key(&log) {
                    invalid(format!("{log} was frozen before"));
                }
                notices.frozen.entry(log).or_insert(None);
            }
            NoticeAction::Switch { log, size, root } => {
                if notices
                    .switches
                    .0
                    .iter()
                    .any(|(switched, _)| *switched == log)
                {
                    invalid(format!("{log} was switched to its spare key before"));
                    return;
                }
                // "A switch names no size below the last head's."
                let position = self.election.head_position(log);
                let last_size = position
                    .and_then(|position| self.changes.get(position)?.last())
                    .map_or(0, |(_, said)| said.size);
                if size < last_size {
                    invalid(format!(
                        "it switches {log} at size {size}, and the last head names {last_size}"
                    ));
                }
                // "For a switch of the heads log itself … its `size` is the index of the notice entry."
                if log == LogId::Heads && size != index {
                    invalid(format!(
                        "it switches the heads log at size {size}, and stands at index {index}"
                    ));
                }
                notices.switches.0.push((log, size));
                notices
                    .switched_at
                    .push((judge.place(index), log, size, root));
            }
        }
    }
}

/// What a head says of one log, against what the head before it said.
fn judge_change(
    election: &Election,
    log: LogId,
    last: Option<HeadLog>,
    now: &HeadLog,
    index: u64,
    judge: &Judge<'_, '_>,
) {
    // "sizes never fall (before the first head they are 1: the genesis)"
    let least = last.map_or(1, |last| last.size);
    if now.size < least {
        judge.add(
            Code::HeadFalls,
            index,
            at_most_roll(&judge.context, least - now.size),
            format!("its size of {log} falls from {least} to {}", now.size),
        );
    }
    // "once a log is closed in a head, every later head repeats its state, size and root"
    if last.is_some_and(|last| last.state == LogState::Closed && last != *now) {
        judge.add(
            Code::HeadReopened,
            index,
            at_most_roll(&judge.context, now.size.abs_diff(least)),
            format!(
                "{log} was closed at size {least} in an earlier head; this one calls it {:?} at size {}, root {}",
                now.state, now.size, now.root
            ),
        );
    }
    if now.state == LogState::Stale {
        // "size and root repeat the last head's, or are those of genesis"
        let (size, root) = last.map_or_else(
            || (1, leaf_hash(&Genesis::of(election, log).encode())),
            |last| (last.size, last.root),
        );
        if (now.size, now.root) != (size, root) {
            judge.add(
                Code::HeadStale,
                index,
                at_most_roll(&judge.context, now.size.abs_diff(size)),
                format!(
                    "it calls {log} stale with size {} and root {}, where {size} and {root} were last",
                    now.size, now.root
                ),
            );
        }
    }
}

/// "In the head that first shows a cell closed, unless it is frozen, every issuance log is closed or stale".
fn judge_order_of_closing(
    election: &Election,
    cell: LogId,
    head: &Head,
    index: u64,
    judge: &Judge<'_, '_>,
) {
    let open =
        election.logs().iter().zip(&head.logs).find(|(log, said)| {
            matches!(log, LogId::Issuance { .. }) && said.state == LogState::Open
        });
    if let Some((log, _)) = open {
        judge.add(
            Code::IssuanceClosedLate,
            index,
            Votes::WholeRoll,
            format!("{cell} is closed here for the first time, and {log} is still open"),
        );
    }
}

impl<'a> Content<'a> for Heads<'a> {
    fn apply(&mut self, judge: &Judge<'_, 'a>, _: &Pool<'a>) -> Applied {
        let mut opinion = Opinion::ask(&mut self.grammar, judge.batch, HeadsLog::batch);
        for (index, entry) in judge.entries(&mut opinion) {
            // "heads = genesis (head | notice)* final-head?"
            let fits = !self.final_head
                && match &entry {
                    Entry::Genesis(_) => index == 0 && judge.batch.entries.len() == 1,
                    Entry::Head(_) | Entry::Notice(_) | Entry::FinalHead(_) => judge.batch.n > 0,
                    _ => false,
                };
            if !fits {
                let place = if self.final_head {
                    "after the final head"
                } else {
                    "here"
                };
                judge.add(
                    Code::GrammarBroken,
                    index,
                    Votes::WholeRoll,
                    format!("an entry of type {} may not stand {place}", entry.name()),
                );
                continue;
            }
            match entry {
                Entry::Genesis(genesis) => judge.genesis(index, genesis.log, LogId::Heads),
                Entry::Head(head) => self.take_head(&head, index, judge),
                Entry::FinalHead(head) => {
                    self.take_head(&head, index, judge);
                    self.take_final(&head, index, judge);
                }
                Entry::Notice(notice) => self.take_notice(index, &notice, judge),
                _ => {}
            }
        }
        judge.second(&opinion);
        Applied {
            total: 0,
            closed: self.final_head,
            tally: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_closes_when_it_is_frozen_or_with_the_election_whichever_is_first() {
        let [open, early, late, undated] = [0, 1, 2, 3].map(LogId::Cell);
        let notices = Notices {
            closing: 100,
            frozen: HashMap::from([(early, Some(60)), (late, Some(140)), (undated, None)]),
            ..Notices::default()
        };
        assert_eq!(
            [open, early, late, undated].map(|log| notices.closing_of(log)),
            [100, 60, 100, 100]
        );
    }
}
