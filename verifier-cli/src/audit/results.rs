//! The results: recomputed from the ballots, and compared with results.json byte for byte.

use std::collections::BTreeSet;

use protocol::count::Rankings;
use protocol::manifest::{Election, Method};
use protocol::merkle::verify_inclusion;
use protocol::note::NOTE_BYTES_MAX;
use protocol::results::{CellPart, RESULTS_LEN_MAX, Results, Status};
use protocol::tlog_proof::TlogProof;

use super::cell::{Cell, Snapshot};
use super::context::{Context, Read};
use super::walk::Walk;
use crate::finding::{Code, Place, Votes};

const FILE: &str = "results.json";

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

    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Results { results, .. } if results.status == Status::Final)
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
    is_final: bool,
) -> Option<Results> {
    let parts: Vec<CellPart> = cells
        .iter()
        .zip(sizes)
        .map(|(counted, size)| {
            let snapshot = counted.cell.snapshot(*size)?;
            Some(CellPart {
                size: *size,
                tally: Some((snapshot.totals.clone(), String::new())),
            })
        })
        .collect::<Option<_>>()?;
    if is_final {
        Results::finalize(election, &parts, &rankings(election, cells)).ok()
    } else {
        Results::open(election, &parts).ok()
    }
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
    final_sizes: Option<&[u64]>,
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
    match (results.status, final_sizes) {
        (Status::Final, None) => {
            return wrong("it says `final`, and there is no final head".to_owned());
        }
        (Status::Final, Some(sizes)) => {
            // "When `final`, the sizes are those of the final head"
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
        (Status::Open, Some(_)) => context.add(
            Code::ResultsNotFinal,
            Place::file(FILE),
            Votes::WholeRoll,
            "there is a final head, and it says `open`",
        ),
        (Status::Open, None) => {}
    }
    let Some(parts) = parts(context, cells, results, &wrong) else {
        return;
    };
    let expected = if results.status == Status::Final {
        Results::finalize(context.election, &parts, &rankings(context.election, cells))
    } else {
        Results::open(context.election, &parts)
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
    wrong: &impl Fn(String),
) -> Option<Vec<CellPart>> {
    let mut parts = Vec::new();
    let mut sound = true;
    for (counted, published) in cells.iter().zip(&results.cells) {
        let size = published.size;
        let log = counted.walk.log();
        let Some((end, snapshot)) = counted.walk.end_at(size).zip(counted.cell.snapshot(size))
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
            snapshot,
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

/// The proof's text, if it proves the newest tally below the size under `checkpoints/<size>`. `Err(None)`: already written down why not.
fn judge_proof(
    context: &Context<'_>,
    counted: &Counted<'_>,
    root: protocol::merkle::Hash,
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
    verify_inclusion(
        &protocol::merkle::leaf_hash(entry),
        index,
        size,
        proof.proof(),
        &root,
    )
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
