//! Compares what heads say with the logs that they speak of, once those have been followed.

use std::collections::HashMap;

use protocol::entry::{HeadLog, LogState};
use protocol::ids::LogId;

use super::context::Context;
use super::cosigned::{Cosigned, HEADS_TIMES};
use super::heads::{HeadAt, Heads};
use super::walk::Walk;
use crate::finding::{Code, Place, Votes};

/// The logs as followed, in head order.
pub(super) type Walks<'w> = [&'w Walk];

/// Judges every head. Returns the late and early votes.
pub(super) fn judge(
    context: &Context<'_>,
    heads: &Heads<'_>,
    walks: &Walks<'_>,
    cosigned: &Cosigned,
) -> Timing {
    for (walk, changes) in walks.iter().zip(heads.changes()) {
        for (number, said) in changes {
            if let Some(head) = heads.heads().get(*number) {
                judge_size(context, &head.place, walk, said);
            }
        }
    }
    judge_sums(context, heads, walks);
    judge_switches(context, heads, walks);
    judge_unclosed(context, heads, walks);
    judge_timing(context, heads, walks, cosigned)
}

/// "every (size, root) is a batch end of its log with that root"
fn judge_size(context: &Context<'_>, place: &Place, walk: &Walk, said: &HeadLog) {
    let log = walk.log();
    if said.state == LogState::Stale && said.size == 1 && walk.batches() == 0 {
        // "A log that has published nothing is listed with state 1 and its genesis, and needs no checkpoint": the heads log's grammar judged the root.
        return;
    }
    let Some(end) = walk.end_at(said.size) else {
        if said.size > walk.size() && walk.stopped() {
            // Why the log was not followed that far is a finding of its own, or it could not be read.
            return;
        }
        let (code, votes, evidence) = if said.size > walk.size() {
            (
                Code::CheckpointRollback,
                at_most_roll(context, said.size - walk.size()),
                format!(
                    "it names size {} of {log}, whose published checkpoint ends at {}",
                    said.size,
                    walk.size()
                ),
            )
        } else {
            (
                Code::HeadSize,
                Votes::WholeRoll,
                format!("it names size {} of {log}, where no batch ends", said.size),
            )
        };
        context.add(code, place.clone(), votes, evidence);
        return;
    };
    if end.root != said.root {
        context.add(
            Code::HeadRoot,
            place.clone(),
            Votes::WholeRoll,
            format!(
                "it names root {} of {log} at size {}; the entries make {}",
                said.root, said.size, end.root
            ),
        );
    }
    // "2 closed (the entry at `size - 1` is close)"; a stale state says nothing about the end.
    if said.state != LogState::Stale && (said.state == LogState::Closed) != end.closed {
        context.add(
            Code::LogNotClosed,
            place.clone(),
            Votes::AtMost(0),
            format!(
                "it calls {log} {} at size {}, and the log is {} there",
                if end.closed { "open" } else { "closed" },
                said.size,
                if end.closed { "closed" } else { "open" }
            ),
        );
    }
}

/// A head or a checkpoint may name any size; no more votes than voters.
pub(super) fn at_most_roll(context: &Context<'_>, entries: u64) -> Votes {
    Votes::AtMost(entries.min(context.election.manifest().roll.size))
}

/// What one head says of all logs, kept up to date while going from head to head.
struct Standing<'h> {
    changes: Vec<std::iter::Peekable<std::slice::Iter<'h, (usize, HeadLog)>>>,
    said: Vec<Option<HeadLog>>,
}

impl<'h> Standing<'h> {
    fn new(heads: &'h Heads<'_>) -> Self {
        Self {
            changes: heads
                .changes()
                .iter()
                .map(|changes| changes.iter().peekable())
                .collect(),
            said: vec![None; heads.changes().len()],
        }
    }

    fn move_to(&mut self, head: usize) {
        for (changes, said) in self.changes.iter_mut().zip(&mut self.said) {
            while let Some((_, now)) = changes.next_if(|(number, _)| *number <= head) {
                *said = Some(*now);
            }
        }
    }
}

/// "in each head in which no issuance log is stale: total votes <= issued by each registrar <= `roll.size`".
fn judge_sums(context: &Context<'_>, heads: &Heads<'_>, walks: &Walks<'_>) {
    let registrars = context.election.manifest().registrars.len();
    let roll = context.election.manifest().roll.size;
    // Of each fault only the first head is reported, with the largest excess: what went wrong once stays wrong in every later head.
    let mut too_many_votes: Vec<Option<(Place, u64)>> = vec![None; registrars];
    let mut too_many_issued: Vec<Option<(Place, u64)>> = vec![None; registrars];
    let mut standing = Standing::new(heads);
    for (number, HeadAt { place, .. }) in heads.heads().iter().enumerate() {
        standing.move_to(number);
        let mut votes = 0u64;
        let mut issued = vec![0u64; registrars];
        let mut stale = false;
        for (walk, said) in walks.iter().zip(&standing.said) {
            let Some(said) = said else { continue };
            let total = walk.end_at(said.size).map_or(0, |end| end.total);
            match walk.log() {
                LogId::Cell(_) => {
                    votes += total;
                }
                LogId::Issuance { registrar, .. } => {
                    if let Some(issued) = issued.get_mut(usize::from(registrar)) {
                        *issued += total;
                    }
                    stale |= said.state == LogState::Stale;
                    // A log that could not be followed says nothing here.
                    stale |= walk.end_at(said.size).is_none();
                }
                LogId::Heads => {}
            }
        }
        for ((issued, votes_fault), issued_fault) in issued
            .iter()
            .zip(&mut too_many_votes)
            .zip(&mut too_many_issued)
        {
            if !stale && votes > *issued {
                keep_largest(votes_fault, place, votes - issued);
            }
            if *issued > roll {
                keep_largest(issued_fault, place, issued - roll);
            }
        }
    }
    for (registrar, fault) in too_many_votes.into_iter().enumerate() {
        if let Some((place, excess)) = fault {
            context.add(
                Code::VotesExceedIssued,
                place,
                Votes::AtMost(excess),
                format!("from this head on there are up to {excess} more votes than registrar {registrar} issued credentials"),
            );
        }
    }
    for (registrar, fault) in too_many_issued.into_iter().enumerate() {
        if let Some((place, excess)) = fault {
            context.add(
                Code::IssuedExceedsRoll,
                place,
                Votes::AtMost(excess),
                format!("from this head on registrar {registrar} issued up to {excess} more credentials than the roll's {roll} voters"),
            );
        }
    }
}

fn keep_largest(fault: &mut Option<(Place, u64)>, place: &Place, excess: u64) {
    match fault {
        Some((_, largest)) => *largest = excess.max(*largest),
        None => *fault = Some((place.clone(), excess)),
    }
}

/// A switch notice names the log's last size and root under the main key.
fn judge_switches(context: &Context<'_>, heads: &Heads<'_>, walks: &Walks<'_>) {
    for (place, log, size, root) in &heads.notices().switched_at {
        let Some(walk) = walks.iter().find(|walk| walk.log() == *log) else {
            continue;
        };
        let fits = walk.end_at(*size).is_some_and(|end| end.root == *root);
        if !fits && (*size <= walk.size() || !walk.stopped()) {
            context.add(
                Code::NoticeInvalid,
                place.clone(),
                Votes::WholeRoll,
                format!("it switches {log} at size {size} and root {root}, which is no batch end of the log"),
            );
        }
    }
}

/// "A log that [the final head] lists with state other than 2 is finding `unclosed`."
fn judge_unclosed(context: &Context<'_>, heads: &Heads<'_>, walks: &Walks<'_>) {
    let (Some(head), Some(said)) = (heads.final_head(), heads.final_sizes()) else {
        return;
    };
    for (walk, said) in walks.iter().zip(said) {
        if said.state == LogState::Closed {
            continue;
        }
        let counted = walk.end_at(said.size).map_or(0, |end| end.total);
        let published = walk.ends().last().map_or(0, |end| end.total);
        let above = published.saturating_sub(counted);
        context.add(
            Code::Unclosed,
            head.place.clone(),
            Votes::AtMost(above),
            format!(
                "it lists {} as {:?} at size {}; the log has published {above} more votes or issuances since, which do not count",
                walk.log(),
                said.state,
                said.size
            ),
        );
    }
}

/// Votes outside the time of voting.
#[derive(Clone, Debug, Default)]
pub(super) struct Timing {
    pub(super) late: u64,
    pub(super) early: u64,
    /// By whose clock.
    pub(super) judged_by: String,
}

/// "Votes of a cell below the size in the last head, and not below the size in the last head *in time* (1 where there is none), are `late`; votes
/// below the size in the last head whose time is before opening are `early`".
fn judge_timing(
    context: &Context<'_>,
    heads: &Heads<'_>,
    walks: &Walks<'_>,
    cosigned: &Cosigned,
) -> Timing {
    let times = &context.election.manifest().times;
    let mut timing = Timing {
        judged_by: cosigned.judged_by(),
        ..Timing::default()
    };
    // Nearly all cells end at the same time.
    let mut in_time_by_limit: HashMap<u64, Option<usize>> = HashMap::new();
    let Some(last_head) = heads.heads().len().checked_sub(1) else {
        return timing;
    };
    for (walk, changes) in walks.iter().zip(heads.changes()) {
        if !matches!(walk.log(), LogId::Cell(_)) {
            continue;
        }
        let votes_at = |number: Option<usize>| {
            let number = number?;
            let at = changes.partition_point(|(from, _)| *from <= number);
            let (_, said) = changes.get(at.checked_sub(1)?)?;
            walk.end_at(said.size).map(|end| end.total)
        };
        let end = heads
            .notices()
            .closing_of(walk.log())
            .saturating_add(times.grace);
        let in_time = *in_time_by_limit
            .entry(end)
            .or_insert_with(|| cosigned.last_in_time(heads.heads(), end));
        let counted = votes_at(Some(last_head)).unwrap_or(0);
        let late = if in_time == Some(last_head) {
            0
        } else {
            counted.saturating_sub(votes_at(in_time).unwrap_or(0))
        };
        report_timing(
            context,
            Code::LateVotes,
            walk,
            late,
            "were first covered by a head after closing plus grace",
            &timing.judged_by,
        );
        timing.late += late;

        let before_opening = heads
            .heads()
            .partition_point(|head| head.time < times.opening);
        let early = votes_at(before_opening.checked_sub(1)).unwrap_or(0);
        report_timing(
            context,
            Code::EarlyVotes,
            walk,
            early,
            "were covered by a head before opening",
            HEADS_TIMES,
        );
        timing.early += early;
    }
    timing
}

fn report_timing(
    context: &Context<'_>,
    code: Code,
    walk: &Walk,
    votes: u64,
    what: &str,
    judged_by: &str,
) {
    if votes > 0 {
        context.add(
            code,
            Place::file(format!("{}/checkpoint", walk.log())),
            Votes::AtMost(votes),
            format!(
                "{votes} votes of {} {what} (by {judged_by}); they are counted",
                walk.log()
            ),
        );
    }
}

/// The votes of the last head against all that was issued, whatever heads say of issuance logs: no stale one hides invented votes for ever.
///
/// "all that each registrar has issued in its published logs <= `roll.size`"
pub(super) fn judge_totals(context: &Context<'_>, heads: &Heads<'_>, walks: &Walks<'_>) {
    if walks.iter().any(|walk| walk.stopped()) {
        return;
    }
    let total = |walk: &Walk| walk.ends().last().map_or(0, |end| end.total);
    let votes: u64 = walks
        .iter()
        .zip(heads.changes())
        .filter(|(walk, _)| matches!(walk.log(), LogId::Cell(_)))
        .filter_map(|(walk, changes)| Some(walk.end_at(changes.last()?.1.size)?.total))
        .sum();
    let roll = context.election.manifest().roll.size;
    for registrar in (0u16..).take(context.election.manifest().registrars.len()) {
        let issued: u64 = walks
            .iter()
            .filter(
                |walk| matches!(walk.log(), LogId::Issuance { registrar: r, .. } if r == registrar),
            )
            .map(|walk| total(walk))
            .sum();
        let place = || Place::file(format!("registrars/{registrar}/0/checkpoint"));
        if votes > issued {
            context.add(
                Code::VotesExceedIssued,
                place(),
                Votes::AtMost(votes - issued),
                format!("the last head covers {votes} votes, and registrar {registrar} issued {issued} credentials in all"),
            );
        }
        if issued > roll {
            context.add(
                Code::IssuedExceedsRoll,
                place(),
                Votes::AtMost(issued - roll),
                format!("registrar {registrar} issued {issued} credentials, and the roll has {roll} voters"),
            );
        }
    }
}
