//! The results: recomputed from the ballots, and compared with results.json byte for byte.

use std::collections::BTreeSet;

use protocol::batch::{BATCH_LEN_MAX, BatchFile};
use protocol::count::Rankings;
use protocol::entry::{Entry, TallyTotals};
use protocol::manifest::{Election, Method};
use protocol::merkle::{Hash, leaf_hash, verify_inclusion};
use protocol::note::NOTE_BYTES_MAX;
use protocol::results::{CellPart, RESULTS_LEN_MAX, Results, Status};
use protocol::tlog_proof::TlogProof;

use super::cell::{Cell, Snapshot};
use super::context::{Context, Read};
use super::walk::{End, Walk};
use crate::finding::{Code, Place, Votes};

const FILE: &str = "results.json";

/// What results.json must be, by the heads log.
pub(super) enum Expected<'s> {
    Open,
    /// With the cells' sizes in the final head.
    Final(&'s [u64]),
    /// Likewise, where there is a final head.
    Cancelled(Option<&'s [u64]>),
}

impl Expected<'_> {
    /// The cells' sizes in the final head.
    const fn final_sizes(&self) -> Option<&[u64]> {
        match self {
            Self::Open => None,
            Self::Final(sizes) => Some(sizes),
            Self::Cancelled(sizes) => *sizes,
        }
    }
}

/// What results.json says, before anything of it is believed.
pub(super) enum Published {
    /// It has the right form.
    Results {
        bytes: Vec<u8>,
        results: Box<Results>,
    },
    /// It is there and has not.
    Malformed(String),
    Missing,
    /// Already written down why.
    Unreadable,
}

impl Published {
    pub(super) fn read(context: &Context<'_>) -> Self {
        match context.read(FILE, RESULTS_LEN_MAX) {
            Read::File(bytes) => match Results::parse(&bytes, context.election) {
                Ok(results) => Self::Results {
                    bytes,
                    results: Box::new(results),
                },
                Err(error) => Self::Malformed(error.to_string()),
            },
            Read::Missing => Self::Missing,
            Read::Unusable | Read::Unknown => Self::Unreadable,
        }
    }

    /// Whether it is what the heads log calls for.
    pub(super) fn is_up_to(&self, expected: &Expected<'_>) -> bool {
        let Self::Results { results, .. } = self else {
            return false;
        };
        match expected {
            Expected::Open => true,
            Expected::Final(_) => results.status == Status::Final,
            // Its sizes tell that it was made after the final head: the status says it before.
            Expected::Cancelled(sizes) => {
                results.status == Status::Cancelled
                    && sizes.is_none_or(|sizes| self.sizes() == sizes)
            }
        }
    }

    pub(super) const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    /// It was read, and another reading may find a newer one.
    pub(super) const fn may_change(&self) -> bool {
        matches!(self, Self::Results { .. } | Self::Malformed(_))
    }

    /// The cells' sizes that it names.
    pub(super) fn sizes(&self) -> Vec<u64> {
        match self {
            Self::Results { results, .. } => results.cells.iter().map(|cell| cell.size).collect(),
            _ => Vec::new(),
        }
    }
}

/// A cell as it was counted.
pub(super) struct Counted<'c> {
    pub(super) walk: &'c Walk,
    pub(super) cell: &'c Cell<'c>,
}

/// The sums over all cells at these sizes, with winners where they are final. `None` where a cell was not followed that far.
pub(super) fn recount(
    election: &Election,
    cells: &[Counted<'_>],
    sizes: &[u64],
    expected: &Expected<'_>,
) -> Option<Results> {
    let parts: Vec<CellPart> = cells
        .iter()
        .zip(sizes)
        .map(|(counted, size)| {
            let totals = if is_unpublished(counted.walk) && *size <= 1 {
                TallyTotals::zero(election.contests())
            } else {
                counted.cell.snapshot(*size)?.totals.clone()
            };
            Some(CellPart {
                size: *size,
                tally: Some((totals, String::new())),
            })
        })
        .collect::<Option<_>>()?;
    match expected {
        Expected::Open => Results::open(election, &parts),
        Expected::Final(_) => Results::finalize(election, &parts, &rankings(election, cells)),
        Expected::Cancelled(_) => Results::cancelled(election, &parts),
    }
    .ok()
}

/// Nothing of the log was ever published, as far as can be seen.
fn is_unpublished(walk: &Walk) -> bool {
    walk.batches() == 0 && !walk.stopped()
}

fn rankings(election: &Election, cells: &[Counted<'_>]) -> Vec<Rankings> {
    let mut sum: Vec<Rankings> = vec![Rankings::new(); election.contests().len()];
    for counted in cells {
        for ((contest, sum), part) in election
            .contests()
            .iter()
            .zip(&mut sum)
            .zip(counted.cell.rankings())
        {
            if contest.method != Method::Ranked {
                continue;
            }
            for (ranking, count) in part {
                *sum.entry(ranking.clone()).or_default() += count;
            }
        }
    }
    sum
}

/// Compares results.json with what the votes below its sizes make.
pub(super) fn judge(
    context: &Context<'_>,
    cells: &[Counted<'_>],
    published: &Published,
    expected: &Expected<'_>,
) {
    let wrong = |evidence: String| {
        context.add(
            Code::ResultsWrong,
            Place::file(FILE),
            Votes::WholeRoll,
            evidence,
        );
    };
    let (bytes, results) = match published {
        Published::Results { bytes, results } => (bytes, results),
        Published::Malformed(why) => return wrong(why.clone()),
        Published::Missing => {
            context.add(
                Code::MissingFile,
                Place::file(FILE),
                Votes::AtMost(0),
                "there is no such file, and the results must be published at all times",
            );
            return;
        }
        Published::Unreadable => return,
    };
    match (results.status, expected) {
        (Status::Open, Expected::Open)
        | (Status::Final, Expected::Final(_))
        | (Status::Cancelled, Expected::Cancelled(_)) => {
            // "When `final`, the sizes are those of the final head", and while `cancelled` after one.
            let sizes = expected.final_sizes().unwrap_or_default();
            if let Some((cell, size)) = results
                .cells
                .iter()
                .zip(sizes)
                .find(|(cell, size)| cell.size != **size)
            {
                wrong(format!(
                    "it counts cell {} at size {}, and the final head at {size}",
                    cell.cell, cell.size
                ));
            }
        }
        (status, Expected::Open) => {
            return wrong(format!(
                "it says {status:?}, and the heads log holds neither a final head nor a cancellation"
            ));
        }
        (status, Expected::Final(_)) => context.add(
            Code::ResultsNotFinal,
            Place::file(FILE),
            Votes::WholeRoll,
            format!("there is a final head, and it says {status:?}"),
        ),
        (status, Expected::Cancelled(_)) => {
            return wrong(format!(
                "the election was cancelled, and it says {status:?}"
            ));
        }
    }
    let has_ended = expected.final_sizes().is_some();
    let Some(parts) = parts(context, cells, results, has_ended, &wrong) else {
        return;
    };
    let expected = match results.status {
        Status::Final => {
            Results::finalize(context.election, &parts, &rankings(context.election, cells))
        }
        Status::Open => Results::open(context.election, &parts),
        Status::Cancelled => Results::cancelled(context.election, &parts),
    };
    match expected.and_then(|expected| Ok((expected.to_bytes()?, expected))) {
        Ok((right, _)) if right == *bytes => {}
        Ok((_, expected)) => wrong(describe(results, &expected)),
        Err(error) => wrong(format!(
            "the results cannot be recomputed at its sizes: {error}"
        )),
    }
}

/// What goes into the sum, with the proofs as published, each verified: there is one right proof for a leaf and a size, so a valid one is the recomputed one.
fn parts(
    context: &Context<'_>,
    cells: &[Counted<'_>],
    results: &Results,
    has_ended: bool,
    wrong: &impl Fn(String),
) -> Option<Vec<CellPart>> {
    let mut parts = Vec::new();
    let mut sound = true;
    for (counted, published) in cells.iter().zip(&results.cells) {
        let size = published.size;
        let log = counted.walk.log();
        // "`size` is 0 and `proof` null while a cell has published nothing": then, after a final head, 1 as there.
        let is_genesis = size == 1 && has_ended && is_unpublished(counted.walk);
        if (size == 0 || is_genesis) && published.proof.is_none() {
            parts.push(CellPart { size, tally: None });
            continue;
        }
        let end = counted.walk.end_at(size);
        let Some((end, snapshot)) =
            end.and_then(|end| Some((end, snapshot(context, counted, end)?)))
        else {
            sound = false;
            if size > counted.walk.size() && !counted.walk.stopped() {
                wrong(format!(
                    "it counts {log} up to size {size}, and the log's checkpoint ends at {}",
                    counted.walk.size()
                ));
            } else if size <= counted.walk.size() {
                wrong(format!(
                    "it counts {log} up to size {size}, where no batch ends"
                ));
            }
            continue;
        };
        let tally = match judge_proof(
            context,
            counted,
            end.root,
            &snapshot,
            published.proof.as_deref(),
            size,
        ) {
            Ok(tally) => tally,
            Err(Some(evidence)) => {
                sound = false;
                wrong(format!("the proof for {log}: {evidence}"));
                continue;
            }
            Err(None) => {
                sound = false;
                continue;
            }
        };
        parts.push(CellPart {
            size,
            tally: tally.map(|proof| (snapshot.totals.clone(), proof)),
        });
    }
    sound.then_some(parts)
}

/// A cell's totals at a batch end. Those of results that were published after the walk come from the tally entry, which the walk found to be the sum.
fn snapshot(context: &Context<'_>, counted: &Counted<'_>, end: &End) -> Option<Snapshot> {
    if let Some(kept) = counted.cell.snapshot(end.size) {
        return Some(kept.clone());
    }
    let Some((index, leaf)) = end.tally else {
        return Some(Snapshot {
            totals: TallyTotals::zero(context.election.contests()),
            tally: None,
        });
    };
    let n = counted.walk.ends().partition_point(|end| end.size <= index);
    let Read::File(file) = context.read(
        &format!("{}/batches/{n}", counted.walk.log()),
        BATCH_LEN_MAX,
    ) else {
        return None;
    };
    let batch = BatchFile::decode(&file, context.election).ok()?;
    let position = usize::try_from(index.checked_sub(batch.old_size)?).ok()?;
    let bytes = batch
        .entries
        .get(position)
        .filter(|bytes| leaf_hash(bytes) == leaf)?;
    let Ok(Entry::Tally(tally)) = Entry::decode(bytes, context.election) else {
        return None;
    };
    Some(Snapshot {
        totals: tally.totals,
        tally: Some((index, bytes.to_vec())),
    })
}

/// The proof's text, if it proves the newest tally below the size under `checkpoints/<size>`. `Err(None)`: already written down why not.
fn judge_proof(
    context: &Context<'_>,
    counted: &Counted<'_>,
    root: Hash,
    snapshot: &Snapshot,
    proof: Option<&str>,
    size: u64,
) -> Result<Option<String>, Option<String>> {
    let (index, entry, text) = match (&snapshot.tally, proof) {
        (None, None) => return Ok(None),
        (None, Some(_)) => {
            return Err(Some(
                "there is no tally yet, so there can be no proof".to_owned(),
            ));
        }
        (Some(_), None) => return Err(Some("it is null, and there is a tally".to_owned())),
        (Some((index, entry)), Some(text)) => (*index, entry, text),
    };
    let fault = |what: &str| Some(what.to_owned());
    let proof = TlogProof::parse(text.as_bytes()).map_err(|error| Some(error.to_string()))?;
    if proof.index() != index || proof.extra() != Some(entry.as_slice()) {
        return Err(fault("it is not of the newest tally below the size"));
    }
    verify_inclusion(&leaf_hash(entry), index, size, proof.proof(), &root)
        .map_err(|error| Some(error.to_string()))?;
    let path = format!("{}/checkpoints/{size}", counted.walk.log());
    match context.read(&path, NOTE_BYTES_MAX) {
        Read::File(note) if note == proof.checkpoint() => Ok(Some(text.to_owned())),
        Read::File(_) => Err(fault(
            "its checkpoint is not the published one of that size",
        )),
        // Findings of their own.
        Read::Missing | Read::Unusable | Read::Unknown => Err(None),
    }
}

/// The first few differences, in words.
fn describe(published: &Results, expected: &Results) -> String {
    let mut words = Vec::new();
    let mut number = |what: String, published: u64, expected: u64| {
        if published != expected {
            words.push(format!(
                "{what}: it says {published}, the ballots make {expected}"
            ));
        }
    };
    number("votes".to_owned(), published.votes, expected.votes);
    number(
        "abstentions".to_owned(),
        published.abstentions,
        expected.abstentions,
    );
    for (published, expected) in published.contests.iter().zip(&expected.contests) {
        number(
            format!("blanks in {:?}", expected.name),
            published.blanks,
            expected.blanks,
        );
        for ((option, published), right) in expected
            .options
            .iter()
            .zip(&published.counts)
            .zip(&expected.counts)
        {
            number(
                format!("{option:?} in {:?}", expected.name),
                *published,
                *right,
            );
        }
    }
    for (published, expected) in published.contests.iter().zip(&expected.contests) {
        if published.winner != expected.winner {
            words.push(format!("the winner of {:?} is another", expected.name));
        } else if published.rounds != expected.rounds || published.tie_broken != expected.tie_broken
        {
            words.push(format!(
                "the run-off or tie of {:?} is another",
                expected.name
            ));
        }
    }
    if words.is_empty() {
        words.push("it is not byte-equal to the recomputed one".to_owned());
    }
    words.truncate(8);
    words.join("; ")
}

/// For each cell, the sizes at which its totals are wanted.
pub(super) fn wanted(sources: &[&[u64]], cell: usize) -> BTreeSet<u64> {
    sources
        .iter()
        .filter_map(|sizes| sizes.get(cell).copied())
        .collect()
}
