//! Checking results.json against the signed trees: each cell's tally and proof, the sums, and the sizes that the heads log allows.

use protocol::checkpoint::Checkpoint;
use protocol::count::highest;
use protocol::entry::{Close, Entry, TallyTotals};
use protocol::ids::LogId;
use protocol::manifest::Method;
use protocol::merkle::{leaf_hash, verify_inclusion};
use protocol::note::NOTE_BYTES_MAX;
use protocol::results::{CellPart, CellResult, Results, Status};
use protocol::tlog_proof::TlogProof;

use super::{rounds, status_due};
use crate::audit::checkpoint::{Signed, verify};
use crate::audit::context::{Context, Read};
use crate::audit::heads_reader::HeadsToday;
use crate::finding::{Code, Place, Votes};
use crate::{counted, prove};

/// Whether results are what the heads log calls for; else they may be about to be published.
pub(crate) fn is_due(results: &Results, heads: &HeadsToday) -> bool {
    results.status == status_due(heads)
}

/// Checks results against what the heads log says, and the cells' newest checkpoints, all read after them. Returns each cell's totals.
///
/// `None`: they are wrong, or something could not be read; which, was written down.
pub(crate) fn check(
    context: &Context<'_>,
    heads: &HeadsToday,
    newest: &[Option<Signed>],
    results: &Results,
) -> Option<Vec<TallyTotals>> {
    let mut sound = judge_status(context, heads, results);
    let mut totals = Vec::new();
    let mut parts = Vec::new();
    for (cell, newest) in results.cells.iter().zip(newest) {
        let part = Part {
            context,
            heads,
            log: LogId::Cell(cell.cell),
            cell,
        };
        match part.check(newest.as_ref()) {
            Ok(tally) => {
                totals.push(tally.clone());
                parts.push(CellPart {
                    size: cell.size,
                    tally: cell.proof.clone().map(|proof| (tally, proof)),
                });
            }
            Err(Some(evidence)) => {
                sound = false;
                wrong(context, format!("the part of {}: {evidence}", part.log));
            }
            Err(None) => sound = false,
        }
    }
    if !sound || parts.len() != results.cells.len() {
        return None;
    }
    judge_sums(context, &parts, results).then_some(totals)
}

fn wrong(context: &Context<'_>, evidence: String) {
    context.add(
        Code::ResultsWrong,
        Place::file("results.json"),
        Votes::WholeRoll,
        evidence,
    );
}

/// Status and sizes, by the heads log.
fn judge_status(context: &Context<'_>, heads: &HeadsToday, results: &Results) -> bool {
    match (results.status, status_due(heads)) {
        (Status::Open, Status::Open) | (Status::Cancelled, Status::Cancelled) => true,
        (Status::Final, Status::Final) => {
            let head = heads.head.as_ref();
            let sizes = results.cells.iter().map(|cell| {
                let named = head?.log(context.election, LogId::Cell(cell.cell))?;
                Some((cell, named.size))
            });
            for (cell, size) in sizes.flatten() {
                // "When `final`, the sizes are those of the final head, without exception"
                if cell.size != size {
                    wrong(
                        context,
                        format!(
                            "it counts cell {} at size {}, and the final head at {size}",
                            cell.cell, cell.size
                        ),
                    );
                    return false;
                }
            }
            true
        }
        (Status::Open, Status::Final) => {
            context.add(
                Code::ResultsNotFinal,
                Place::file("results.json"),
                Votes::WholeRoll,
                "there is a final head, and it says Open",
            );
            // What it shows may be right all the same.
            true
        }
        (status, due) => {
            wrong(
                context,
                format!("it says {status:?}, and by the heads log it must say {due:?}"),
            );
            false
        }
    }
}

/// One cell's part of the sum.
struct Part<'p, 'a> {
    context: &'p Context<'a>,
    heads: &'p HeadsToday,
    log: LogId,
    cell: &'p CellResult,
}

impl Part<'_, '_> {
    /// The totals that its proof proves. `Err`: what is wrong with it; `Err(None)`: that was written down, or could not be read.
    fn check(&self, newest: Option<&Signed>) -> Result<TallyTotals, Option<String>> {
        let size = self.cell.size;
        let Some(proof) = &self.cell.proof else {
            return self.check_without_tally(newest);
        };
        let proof = TlogProof::parse(proof.as_bytes()).map_err(|error| Some(error.to_string()))?;
        let (signed, fault) = verify(self.context.election, self.log, proof.checkpoint());
        if let Some((_, evidence)) = fault {
            return Err(Some(evidence));
        }
        let signed = signed.ok_or(None)?;
        if let Some((_, evidence)) = self.heads.switches.judge(self.log, &signed) {
            return Err(Some(evidence));
        }
        if signed.size() != size {
            return Err(Some(format!(
                "its proof is under size {}, and it says {size}",
                signed.size()
            )));
        }
        let entry = proof
            .extra()
            .ok_or_else(|| Some("its proof holds no entry".to_owned()))?;
        verify_inclusion(
            &leaf_hash(entry),
            proof.index(),
            size,
            proof.proof(),
            &signed.checkpoint.root(),
        )
        .map_err(|error| Some(error.to_string()))?;
        let Ok(Entry::Tally(tally)) = Entry::decode(entry, self.context.election) else {
            return Err(Some("its proof is not of a tally entry".to_owned()));
        };
        let close = self.close_behind(&signed.checkpoint, proof.index())?;
        counted::judge_end(self.context, self.log, size, Some(&tally), close.as_ref())
            .ok_or(None)?;
        self.is_published(&signed, newest)?;
        Ok(tally.totals)
    }

    /// A log without a tally is empty, or holds its genesis, and perhaps a close. A first batch of votes ends at size 3 at the earliest.
    fn check_without_tally(&self, newest: Option<&Signed>) -> Result<TallyTotals, Option<String>> {
        let zero = TallyTotals::zero(self.context.election.contests());
        match self.cell.size {
            0 | 1 => Ok(zero),
            2 => {
                let newest = self.reaches(newest, 2)?;
                let tree = &newest.checkpoint;
                let last = prove::entry(self.context, self.log, tree, 1).ok_or(None)?;
                let Ok(Entry::Close(close)) = Entry::decode(&last, self.context.election) else {
                    return Err(Some("no batch of the log ends at size 2".to_owned()));
                };
                counted::judge_end(self.context, self.log, 2, None, Some(&close)).ok_or(None)?;
                Ok(zero)
            }
            size => Err(Some(format!(
                "its proof is null, and a log of size {size} has a tally"
            ))),
        }
    }

    /// "the newest tally entry below `size`": the last entry, or the one before the log's close, which is returned.
    fn close_behind(&self, tree: &Checkpoint, index: u64) -> Result<Option<Close>, Option<String>> {
        let size = tree.size();
        if index + 1 == size {
            return Ok(None);
        }
        let stale = || {
            Some(format!(
                "the tally at index {index} is not the newest below size {size}"
            ))
        };
        if index + 2 != size {
            return Err(stale());
        }
        let last = prove::entry(self.context, self.log, tree, size - 1).ok_or(None)?;
        match Entry::decode(&last, self.context.election) {
            Ok(Entry::Close(close)) => Ok(Some(close)),
            _ => Err(stale()),
        }
    }

    /// The published log must reach as far as results.json counts it.
    fn reaches<'n>(
        &self,
        newest: Option<&'n Signed>,
        size: u64,
    ) -> Result<&'n Signed, Option<String>> {
        let path = format!("{}/checkpoint", self.log);
        let place = || Place::file(path.clone());
        let Some(newest) = newest else {
            // Where it is there and wrong, that was said.
            if matches!(self.context.read(&path, NOTE_BYTES_MAX), Read::Missing) {
                self.context.add(
                    Code::MissingFile,
                    place(),
                    Votes::WholeRoll,
                    "there is no such file, and results.json counts the log",
                );
            }
            return Err(None);
        };
        if size > newest.size() {
            self.context.add(
                Code::CheckpointRollback,
                place(),
                Votes::AtMost(size - newest.size()),
                format!(
                    "it is of size {}, and results.json counts {size}",
                    newest.size(),
                ),
            );
            return Err(None);
        }
        Ok(newest)
    }

    /// The tree that is counted must be the one that is published, as far as it goes.
    fn is_published(&self, signed: &Signed, newest: Option<&Signed>) -> Result<(), Option<String>> {
        let newest = self.reaches(newest, signed.size())?;
        let (root, _) =
            prove::prefix(self.context, self.log, &newest.checkpoint, signed.size()).ok_or(None)?;
        if root == signed.checkpoint.root() {
            return Ok(());
        }
        self.context.add(
            Code::Equivocation,
            Place::file("results.json"),
            Votes::WholeRoll,
            format!(
                "at size {} the checkpoint in it names root {} of {}, and the published log has {root}: its key signed two histories",
                signed.size(),
                signed.checkpoint.root(),
                self.log
            ),
        );
        Err(None)
    }
}

/// Every number that it shows follows from the tallies, but for the rounds of a run-off behind the first: these must fit each other, and the winner them.
fn judge_sums(context: &Context<'_>, parts: &[CellPart], results: &Results) -> bool {
    let sums = match Results::open(context.election, parts) {
        Ok(sums) => sums,
        Err(error) => {
            wrong(context, error.to_string());
            return false;
        }
    };
    let mut faults = Vec::new();
    let mut number = |what: String, shown: u64, sum: u64| {
        if shown != sum {
            faults.push(format!("{what}: it says {shown}, the tallies make {sum}"));
        }
    };
    number("votes".to_owned(), results.votes, sums.votes);
    number(
        "abstentions".to_owned(),
        results.abstentions,
        sums.abstentions,
    );
    for (shown, sum) in results.contests.iter().zip(&sums.contests) {
        number(
            format!("blanks in {:?}", sum.name),
            shown.blanks,
            sum.blanks,
        );
        for ((option, shown), right) in sum.options.iter().zip(&shown.counts).zip(&sum.counts) {
            number(format!("{option:?} in {:?}", sum.name), *shown, *right);
        }
    }
    if results.status == Status::Final {
        let contests = context.election.contests().iter();
        for ((contest, shown), sum) in contests.zip(&results.contests).zip(&sums.contests) {
            if contest.method == Method::Ranked {
                let ballots = sums.votes.saturating_sub(sum.blanks);
                if let Err(problem) = rounds::judge(contest, &sum.counts, ballots, shown) {
                    faults.push(format!("the run-off of {:?}: {problem}", contest.name));
                }
            } else {
                let right = highest(&sum.counts);
                if (shown.winner, shown.tie_broken) != (right.winner, Some(right.tie_broken)) {
                    faults.push(format!("the winner of {:?} is another", contest.name));
                }
            }
        }
    }
    if faults.is_empty() {
        return true;
    }
    faults.truncate(8);
    wrong(context, faults.join("; "));
    false
}
