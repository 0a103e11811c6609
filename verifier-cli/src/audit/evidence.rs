//! What somebody kept from before, held against the published logs.
//!
//! Re-signed from end to end, a forged ledger is as well formed as an honest one. What it cannot have is the checkpoints that others hold: a receipt, an anchor that
//! was copied, yesterday's results. Each binds the operator to one root at one size.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use protocol::evidence::HeldCheckpoint;
use protocol::ids::LogId;
use protocol::merkle::Hash;
use protocol::tlog_proof::TlogProof;

use super::checkpoint::{Signed, read_newest};
use super::context::Context;
use super::moment::wait;
use super::walk::Walk;
use crate::finding::{Code, Place, Votes};
use crate::kept::{self, Kept};
use crate::prove;
use crate::verdict::EvidenceCovered;

/// The published logs, as far as they were followed.
pub(super) struct Ledger<'w> {
    /// In head order.
    pub(super) logs: Vec<&'w Walk>,
    pub(super) heads: &'w Walk,
    /// The cells' newest checkpoints, where there is a right one.
    pub(super) cells: Vec<Option<&'w Signed>>,
    /// In head order, where there is a final head.
    pub(super) final_sizes: Option<&'w [u64]>,
}

/// Files of one path that cannot be used are named one by one up to so many; further ones are only counted.
const UNUSABLE_LISTED_MAX: usize = 5;

/// What came of the kept files.
#[derive(Default)]
pub(super) struct Judged {
    pub(super) covered: EvidenceCovered,
    /// Which files could not be used: no findings, since anybody can make such a file; but no verdict that passes over them either.
    pub(super) unusable: Vec<String>,
    /// What was left out on purpose.
    pub(super) open: Vec<String>,
}

/// Checkpoints beyond the end of their log, by log and size, with the files that they are in.
type Beyond<'w> = BTreeMap<LogId, (&'w Walk, BTreeMap<u64, Vec<(String, HeldCheckpoint)>>)>;

/// Judges everything below these paths.
pub(super) fn judge(
    context: &Context<'_>,
    paths: &[PathBuf],
    ledger: &Ledger<'_>,
    settle: Duration,
) -> Judged {
    let mut judged = Judged::default();
    let mut beyond = Beyond::new();
    for path in paths {
        let mut unusable = Vec::new();
        let covered = &mut judged.covered;
        let found = kept::files(path).unwrap_or_else(|error| {
            unusable.push(error.to_string());
            kept::Found::default()
        });
        judged.open.extend(found.copies.iter().map(|copy| {
            format!(
                "{} is a copy of an election: its checkpoints, anchors and results were taken as evidence; whether its votes are right, only an audit of the copy itself tells",
                copy.display()
            )
        }));
        if found.files.is_empty() && unusable.is_empty() {
            unusable.push(format!(
                "{}: no file in it holds anything: name the folder in which checkpoints or receipts were kept",
                path.display()
            ));
        }
        for file in found.files {
            match kept::read(&file, context.election) {
                Ok(kept) => {
                    covered.files += 1;
                    covered.checkpoints += kept.checkpoints.len() as u64;
                    if let Err(problem) = judge_file(context, &kept, ledger, &mut beyond) {
                        unusable.push(problem);
                    }
                }
                Err(error) => unusable.push(error.to_string()),
            }
        }
        covered.unusable += unusable.len() as u64;
        if let Some(more) = unusable.len().checked_sub(UNUSABLE_LISTED_MAX + 1) {
            unusable.truncate(UNUSABLE_LISTED_MAX);
            unusable.push(format!(
                "and {} more of {}: give the files that hold checkpoints (receipts, checkpoints, anchors, results.json), or a folder of nothing else",
                more + 1,
                path.display()
            ));
        }
        judged.unusable.extend(unusable);
    }
    for (walk, held) in beyond.into_values() {
        judged
            .open
            .extend(judge_beyond(context, walk, &held, settle));
    }
    judged
}

/// `Err`: it is a receipt that proves nothing. (The checkpoints in it were signed, and are compared all the same.)
fn judge_file<'w>(
    context: &Context<'_>,
    kept: &Kept,
    ledger: &Ledger<'w>,
    beyond: &mut Beyond<'w>,
) -> Result<(), String> {
    for held in &kept.checkpoints {
        let Some(walk) = ledger.walk(held.log) else {
            continue;
        };
        let size = held.checkpoint.size();
        if size > walk.size() {
            let (_, of_log) = beyond.entry(held.log).or_insert((walk, BTreeMap::new()));
            let of_size = of_log.entry(size).or_default();
            of_size.push((kept.file.clone(), held.clone()));
        } else {
            judge_checkpoint(context, &kept.file, held, walk);
        }
    }
    let Some(receipt) = &kept.receipt else {
        return Ok(());
    };
    let proven = receipt
        .verify(&context.election.id())
        .map_err(|error| format!("{}: {error}", kept.file))?;
    let cell = LogId::Cell(proven.cell);
    let newest = ledger.cells.get(proven.cell as usize).copied().flatten();
    if let (Some(newest), Ok(proof)) = (newest, TlogProof::parse(receipt.vote.as_bytes())) {
        prove::holds_vote(context, cell, &newest.checkpoint, &proof, &kept.file);
    }
    let counted = context
        .election
        .head_position(cell)
        .and_then(|position| ledger.final_sizes?.get(position).copied());
    // "A valid receipt with an index at or above it is `dropped`."
    if let Some(size) = counted
        && proven.index >= size
    {
        context.add(
            Code::Dropped,
            Place::at(&kept.file, proven.index),
            Votes::AtMost(1),
            format!(
                "the receipt proves a vote at index {} of {cell}, and the final head counts {size} entries",
                proven.index
            ),
        );
    }
    Ok(())
}

/// What was kept may be newer than the moment of this audit: a watch that runs on, or hours of recounting. So the source is asked what it shows by now, and only what is beyond that too
/// is a finding: one for each log, however much was kept. Gives what is to be said of the rest.
fn judge_beyond(
    context: &Context<'_>,
    walk: &Walk,
    held: &BTreeMap<u64, Vec<(String, HeldCheckpoint)>>,
    settle: Duration,
) -> Option<String> {
    let log = walk.log();
    let largest = *held.last_key_value()?.0;
    // Where the log could not be followed, that is a finding of its own, and says no more.
    if walk.stopped() {
        return None;
    }
    let mut newest = read_newest(context, log);
    wait(settle, || {
        if newest.as_ref().is_none_or(|newest| newest.size() < largest) {
            newest = read_newest(context, log);
        }
        newest
            .as_ref()
            .is_none_or(|newest| newest.size() >= largest)
    });
    let shown = newest.as_ref().map_or(0, Signed::size).max(walk.size());
    let published = |size: u64| {
        let newest = newest.as_ref().filter(|newest| newest.size() >= size)?;
        prove::prefix(context, log, &newest.checkpoint, size).map(|(root, _)| root)
    };
    let mut since = 0;
    for (file, held) in held.range(..=shown).flat_map(|(_, files)| files) {
        since += 1;
        let size = held.checkpoint.size();
        match published(size) {
            Some(root) if root == held.checkpoint.root() => {}
            Some(root) => add_equivocation(context, file, held, root),
            None => context.unread.note(uncompared(file, log, size)),
        }
    }
    // What the source went on to must be of the history that was audited.
    if let (true, Some(end)) = (shown > walk.size(), walk.ends().last())
        && published(end.size).is_some_and(|root| root != end.root)
    {
        context.add(
            Code::Equivocation,
            Place::file(format!("{log}/checkpoint")),
            Votes::WholeRoll,
            format!("{log} was published up to size {} with root {}, and since up to size {shown} with another root there: its key signed two histories", end.size, end.root),
        );
    }
    let further: usize = held.range(shown + 1..).map(|(_, files)| files.len()).sum();
    if let Some((file, held)) = held.get(&largest).and_then(|files| files.first())
        && largest > shown
    {
        let others = match further - 1 {
            0 => String::new(),
            more => format!(" (and {more} more of what was kept are beyond it)"),
        };
        let note = String::from_utf8_lossy(&held.note);
        context.add(
            Code::CheckpointRollback,
            Place::file(file),
            Votes::in_missing(log, largest - shown),
            format!(
                "{log} is published up to size {shown}, and its key signed size {largest}{others}: the log was cut, or this is a copy that is older than what was kept. Of a copy (a mirror, a folder), copy what was kept first, then bring the copy up to date, and audit it with that. The note:\n{note}"
            ),
        );
    }
    (since > 0).then(|| {
        format!("{log} above size {}: {since} of the kept checkpoints are newer than this audit, and were held against what the source shows by now, up to size {shown}", walk.size())
    })
}

fn uncompared(file: &str, log: LogId, size: u64) -> String {
    format!(
        "{file}: what {log} holds at size {size} could not be proven here, so this file was compared with nothing"
    )
}

fn add_equivocation(context: &Context<'_>, file: &str, held: &HeldCheckpoint, published: Hash) {
    let (size, root) = (held.checkpoint.size(), held.checkpoint.root());
    let note = String::from_utf8_lossy(&held.note);
    context.add(
        Code::Equivocation,
        Place::file(file),
        Votes::WholeRoll,
        format!(
            "at size {size} of {} its key signed root {root}, and the published log has root {published}: it signed two histories. The note:\n{note}",
            held.log
        ),
    );
}

/// The published log must have passed through every checkpoint that its keys ever signed.
pub(super) fn judge_checkpoint(
    context: &Context<'_>,
    file: &str,
    held: &HeldCheckpoint,
    walk: &Walk,
) {
    let (size, root) = (held.checkpoint.size(), held.checkpoint.root());
    let note = String::from_utf8_lossy(&held.note);
    if size == 0 {
        return;
    }
    if size > walk.size() {
        // Where the log could not be followed, that is a finding of its own, and says no more.
        if !walk.stopped() {
            context.add(
                Code::CheckpointRollback,
                Place::file(file),
                Votes::in_missing(held.log, size - walk.size()),
                format!(
                    "{} is published up to size {}, and its key signed size {size}: the log was cut, or this source is an older copy, or of files of different moments. The note:\n{note}",
                    held.log,
                    walk.size()
                ),
            );
        }
        return;
    }
    let Some(published) = root_at(context, walk, size) else {
        context.unread.note(uncompared(file, held.log, size));
        return;
    };
    if published != root {
        add_equivocation(context, file, held, published);
    } else if walk.end_at(size).is_none() && matches!(held.log, LogId::Cell(_)) {
        // The tally that ends a batch names its number, so nobody but the cell cuts them.
        context.add(
            Code::CheckpointPlace,
            Place::file(file),
            Votes::AtMost(0),
            format!("no batch of {} ends at {size}, and checkpoints fall on batch ends only. The note:\n{note}", held.log),
        );
    }
}

/// The root that the published log has at a size within it.
///
/// Where batches of other logs than cells end, is signed at the sizes that heads name and nowhere else: whoever serves the files may join two. So a size where none ends here can be
/// one that the log's key signed all the same, and only its root tells. `None`: the tiles do not prove one.
pub(super) fn root_at(context: &Context<'_>, walk: &Walk, size: u64) -> Option<Hash> {
    if let Some(end) = walk.end_at(size) {
        return Some(end.root);
    }
    let newest = walk.newest()?;
    let is_followed = walk
        .end_at(newest.size())
        .is_some_and(|end| end.root == newest.root());
    if !is_followed || newest.size() < size {
        return None;
    }
    prove::prefix(context, walk.log(), newest, size).map(|(root, _)| root)
}

impl<'w> Ledger<'w> {
    fn walk(&self, log: LogId) -> Option<&'w Walk> {
        std::iter::once(self.heads)
            .chain(self.logs.iter().copied())
            .find(|walk| walk.log() == log)
    }
}
