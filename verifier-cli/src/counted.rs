//! The signed tree in which a log is counted, held against the newest head, and how a cell's log ends in it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use protocol::checkpoint::Checkpoint;
use protocol::entry::{Close, Entry, HeadLog, Tally, TallyTotals};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::note::NOTE_BYTES_MAX;

use crate::audit::checkpoint::{Signed, read_newest};
use crate::audit::context::{Context, Read};
use crate::audit::heads_reader::HeadsToday;
use crate::finding::{Code, Place, Votes};
use crate::prove;

const POLL: Duration = Duration::from_millis(500);

/// How long files that lag behind the heads log are waited for, over a whole command: a cache on the way may give out an older one for a while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    until: Instant,
}

impl Patience {
    const SETTLE: Duration = Duration::from_secs(10);

    pub(crate) fn new() -> Self {
        Self {
            until: Instant::now() + Self::SETTLE,
        }
    }

    /// Waits a moment. False: it has been long enough.
    pub(crate) fn waits(self) -> bool {
        let is_left = Instant::now() < self.until;
        if is_left {
            sleep(POLL);
        }
        is_left
    }
}

/// A log's newest checkpoint, by the key that the notices make the right one; one that is behind the newest head is asked for again, until patience ends.
///
/// `None`: the log has published none, or it is wrong, which was written down.
pub(crate) fn newest(
    context: &Context<'_>,
    heads: Option<&HeadsToday>,
    log: LogId,
    patience: Patience,
) -> Option<Signed> {
    let said = said(context, heads, log).map_or(0, |said| said.size);
    let mut signed = read_newest(context, log)?;
    while signed.size() < said && patience.waits() {
        signed = read_newest(context, log)?;
    }
    match heads.and_then(|heads| heads.switches.judge(log, &signed)) {
        None => Some(signed),
        Some((code, evidence)) => {
            let place = Place::file(format!("{log}/checkpoint"));
            context.add(code, place, Votes::WholeRoll, evidence);
            None
        }
    }
}

/// What the newest head says of a log.
fn said<'h>(
    context: &Context<'_>,
    heads: Option<&'h HeadsToday>,
    log: LogId,
) -> Option<&'h HeadLog> {
    heads?.head.as_ref()?.log(context.election, log)
}

/// Holds a log against what the newest head says of it: that much of it must be published, and be that history. What is wrong is a finding.
///
/// `None`: it is wrong, or could not be shown; why, was written down. A log without a usable checkpoint fits if the head does not ask for more.
pub(crate) fn fits_head(
    context: &Context<'_>,
    heads: &HeadsToday,
    log: LogId,
    newest: Option<&Signed>,
) -> Option<()> {
    let Some(said) = said(context, Some(heads), log) else {
        return Some(());
    };
    let place = || Place::file(format!("{log}/checkpoint"));
    let Some(newest) = newest else {
        // A log that has published nothing is listed with its genesis. Where the file is there and wrong, that was said.
        if said.size > 1 && is_missing(context, log) {
            context.add(
                Code::MissingFile,
                place(),
                Votes::WholeRoll,
                format!(
                    "there is no such file, and the newest head names size {}",
                    said.size
                ),
            );
            return None;
        }
        return Some(());
    };
    if said.size > newest.size() {
        context.add(
            Code::CheckpointRollback,
            place(),
            Votes::in_missing(log, said.size - newest.size()),
            format!(
                "it is of size {}, and the newest head names {}",
                newest.size(),
                said.size
            ),
        );
        return None;
    }
    let (root, _) = prove::prefix(context, log, &newest.checkpoint, said.size)?;
    if root == said.root {
        return Some(());
    }
    context.add(
        Code::HeadRoot,
        Place::file("heads/checkpoint"),
        Votes::WholeRoll,
        format!(
            "the newest head names root {} of {log} at size {}; the published log has {root}",
            said.root, said.size
        ),
    );
    None
}

fn is_missing(context: &Context<'_>, log: LogId) -> bool {
    let path = format!("{log}/checkpoint");
    matches!(context.read(&path, NOTE_BYTES_MAX), Read::Missing)
}

/// The signed tree in which a log counts: the final head's, or before it the newest checkpoint's. `Some(None)`: it has published nothing.
///
/// `None`: it could not be shown; why, was written down.
#[allow(clippy::option_option, reason = "two answers that must be kept apart")]
pub(crate) fn tree(
    context: &Context<'_>,
    heads: &HeadsToday,
    log: LogId,
    patience: Patience,
) -> Option<Option<Checkpoint>> {
    let newest = newest(context, Some(heads), log, patience);
    fits_head(context, heads, log, newest.as_ref())?;
    let Some(newest) = newest else {
        return is_missing(context, log).then_some(None);
    };
    // What stands above the final head does not count.
    let counted =
        said(context, Some(heads), log).filter(|said| heads.is_final && said.size < newest.size());
    match counted {
        Some(said) => Checkpoint::new(newest.checkpoint.origin(), said.size, said.root)
            .ok()
            .map(Some),
        None => Some(Some(newest.checkpoint)),
    }
}

/// Where a cell's log ends in a signed tree.
#[derive(Debug, Clone)]
pub(crate) struct CellEnd {
    /// The newest tally entry; `None` where there is none yet.
    pub(crate) tally: Option<Tally>,
    /// The last entry is a close.
    pub(crate) closed: bool,
}

impl CellEnd {
    /// Batches of votes; they are numbered from 1.
    pub(crate) fn batches(&self) -> u64 {
        self.tally.as_ref().map_or(0, |tally| tally.batch)
    }

    pub(crate) fn totals(&self, election: &Election) -> TallyTotals {
        self.tally.as_ref().map_or_else(
            || TallyTotals::zero(election.contests()),
            |tally| tally.totals.clone(),
        )
    }
}

/// Reads the end of a cell's log: its tally, or its close and the tally before that. `None`: it could not be shown, or is wrong; why, was written down.
pub(crate) fn cell_end(context: &Context<'_>, cell: LogId, tree: &Checkpoint) -> Option<CellEnd> {
    let mut close = None;
    for index in (0..tree.size()).rev().take(2) {
        let bytes = prove::entry(context, cell, tree, index)?;
        let tally = match Entry::decode(&bytes, context.election) {
            Ok(Entry::Close(last)) if close.is_none() => {
                close = Some(last);
                continue;
            }
            Ok(Entry::Tally(tally)) => Some(tally),
            Ok(Entry::Genesis(_)) if index == 0 => None,
            _ => {
                context.add(
                    Code::GrammarBroken,
                    Place::at(format!("{cell}/checkpoint"), index),
                    Votes::WholeRoll,
                    "a cell's log ends in a tally entry, or in a close behind one; this is neither",
                );
                return None;
            }
        };
        judge_end(context, cell, tree.size(), tally.as_ref(), close.as_ref())?;
        return Some(CellEnd {
            tally,
            closed: close.is_some(),
        });
    }
    None
}

/// A cell's log is `genesis (vote+ tally)* close?`: so its size follows from its last tally, and the close repeats the votes.
/// What contradicts that is a finding; `None`: its tally is worth nothing.
pub(crate) fn judge_end(
    context: &Context<'_>,
    cell: LogId,
    size: u64,
    tally: Option<&Tally>,
    close: Option<&Close>,
) -> Option<()> {
    let (votes, batches) = tally.map_or((0, 0), |tally| (tally.totals.votes, tally.batch));
    let place = || Place::at(format!("{cell}/checkpoint"), size.saturating_sub(1));
    let entries = [votes, batches, u64::from(close.is_some())]
        .into_iter()
        .fold(1, u64::saturating_add);
    if entries != size {
        context.add(
            Code::TallyWrong,
            place(),
            Votes::WholeRoll,
            format!("the last tally names {votes} votes in {batches} batches, which make a log of {entries} entries; it has {size}"),
        );
        return None;
    }
    if let Some(close) = close.filter(|close| close.count != votes) {
        context.add(
            Code::CloseWrong,
            place(),
            Votes::AtMost(close.count.abs_diff(votes)),
            format!(
                "the close names {} votes, and the tally before it {votes}",
                close.count
            ),
        );
    }
    Some(())
}
