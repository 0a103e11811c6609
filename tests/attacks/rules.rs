//! Which rules of a ledger a history breaks, read off it in the plainest way: what an audit of the files alone must name, without anybody's evidence.
//!
//! Not all rules: those that a sum, a comparison or a look at the entry before can tell. Nothing here is shared with the audit but the decoders.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use protocol::ballot::ballot_message;
use protocol::entry::{Entry, LogState, TallyTotals, Vote};
use protocol::ids::LogId;
use protocol::manifest::Election;
use tests::forge::{History, Said};

/// What a log says, as far as the heads are held against it.
#[derive(Default)]
struct Log {
    /// For each batch: votes or issuances up to its end, and whether it is the log's close.
    ends: Vec<(u64, bool)>,
}

/// The codes of the rules that are broken.
pub(crate) fn broken(election: &Election, history: &History) -> BTreeSet<&'static str> {
    let mut codes = BTreeSet::new();
    let mut logs = BTreeMap::new();
    for (log, batches) in &history.logs {
        let read = match log {
            LogId::Cell(cell) => read_cell(election, *cell, batches, &mut codes),
            _ => read_issuances(election, batches, &mut codes),
        };
        logs.insert(*log, read);
    }
    judge_heads(election, history, &logs, &mut codes);
    codes
}

fn read_cell(
    election: &Election,
    cell: u32,
    batches: &[Vec<Vec<u8>>],
    codes: &mut BTreeSet<&'static str>,
) -> Log {
    let (mut log, mut credentials) = (Log::default(), HashSet::new());
    let (mut totals, mut time) = (TallyTotals::zero(election.contests()), 0);
    for (n, batch) in (0..).zip(batches) {
        let mut is_close = false;
        for bytes in batch {
            match Entry::decode(bytes, election).expect("an entry") {
                Entry::Vote(vote) => {
                    if election.cell_of(&vote.credential) != cell {
                        codes.insert("vote-wrong-cell");
                    }
                    if !credentials.insert(vote.credential) {
                        codes.insert("vote-duplicate");
                    }
                    if !is_signed(election, &vote) {
                        codes.insert("vote-ballot-signature");
                    }
                    totals.add(&vote.ballot, election.contests());
                }
                Entry::Tally(tally) => {
                    if tally.batch != n || tally.totals != totals {
                        codes.insert("tally-wrong");
                    }
                    if tally.time < time {
                        codes.insert("time-backwards");
                    }
                    time = tally.time;
                }
                Entry::Close(close) => {
                    is_close = true;
                    if close.count != totals.votes {
                        codes.insert("close-wrong");
                    }
                    if close.time < time {
                        codes.insert("time-backwards");
                    }
                }
                _ => {}
            }
        }
        log.ends.push((totals.votes, is_close));
    }
    log
}

/// By the voter's key; the registrars' signatures are not looked at.
fn is_signed(election: &Election, vote: &Vote) -> bool {
    protocol::ed25519::verify(
        &vote.credential,
        &ballot_message(&election.id(), &vote.ballot.encode()),
        &vote.signature,
    )
    .is_ok()
}

fn read_issuances(
    election: &Election,
    batches: &[Vec<Vec<u8>>],
    codes: &mut BTreeSet<&'static str>,
) -> Log {
    let (mut log, mut served) = (Log::default(), HashSet::new());
    let mut issued = 0;
    for batch in batches {
        let mut is_close = false;
        for bytes in batch {
            match Entry::decode(bytes, election).expect("an entry") {
                Entry::Issuance(issuance) => {
                    issued += 1;
                    if !served.insert(issuance.roll_index) {
                        codes.insert("issuance-duplicate");
                    }
                }
                Entry::Count(count) if count.issued != issued => {
                    codes.insert("count-wrong");
                }
                Entry::Close(close) => {
                    is_close = true;
                    if close.count != issued {
                        codes.insert("close-wrong");
                    }
                }
                _ => {}
            }
        }
        log.ends.push((issued, is_close));
    }
    log
}

/// What one head says of one log: state, batches, and votes or issuances up to there.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Reach {
    state: LogState,
    batches: usize,
    count: u64,
}

fn judge_heads(
    election: &Election,
    history: &History,
    logs: &BTreeMap<LogId, Log>,
    codes: &mut BTreeSet<&'static str>,
) {
    let mut before: Option<(u64, Vec<Reach>)> = None;
    for said in history.heads.iter().flatten() {
        let Said::Head {
            time,
            logs: of_logs,
            ..
        } = said
        else {
            continue;
        };
        let reached: Vec<Reach> = election
            .logs()
            .iter()
            .zip(of_logs)
            .map(|(log, (state, batches))| {
                let ends = &logs[log].ends;
                let batches = (*batches).min(ends.len());
                let (count, is_close) = ends[batches - 1];
                if *state != LogState::Stale && (*state == LogState::Closed) != is_close {
                    codes.insert("log-not-closed");
                }
                Reach {
                    state: *state,
                    batches,
                    count,
                }
            })
            .collect();
        if let Some((earlier, before)) = &before {
            if time < earlier {
                codes.insert("head-falls");
            }
            for (was, is) in before.iter().zip(&reached) {
                if was.state == LogState::Closed && was != is {
                    codes.insert("head-reopened");
                } else if is.state == LogState::Stale && was.batches != is.batches {
                    codes.insert("head-stale");
                } else if is.batches < was.batches {
                    codes.insert("head-falls");
                }
            }
        }
        let sum = |mine: &dyn Fn(LogId) -> bool| -> u64 {
            let of = election.logs().iter().zip(&reached);
            of.filter(|(log, _)| mine(**log))
                .map(|(_, at)| at.count)
                .sum()
        };
        let votes = sum(&|log| matches!(log, LogId::Cell(_)));
        for registrar in 0..election.manifest().registrars.len() {
            let is_its = |log: LogId| matches!(log, LogId::Issuance { registrar: of, .. } if usize::from(of) == registrar);
            let is_fresh = election
                .logs()
                .iter()
                .zip(&reached)
                .all(|(log, at)| !is_its(*log) || at.state != LogState::Stale);
            if is_fresh && votes > sum(&is_its) {
                codes.insert("votes-exceed-issued");
            }
        }
        before = Some((*time, reached));
    }
}
