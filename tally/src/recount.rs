//! The final result, from every ballot below the sizes that the final head names.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use ledger::publisher::Reader;
use protocol::count::Rankings;
use protocol::entry::{Genesis, Head, TallyTotals};
use protocol::grammar::{CellLog, Schedule};
use protocol::ids::LogId;
use protocol::manifest::{Contest, Election, Method};
use protocol::merkle::{CompactRange, Hash, leaf_hash};
use protocol::results::{CellPart, Results};

use crate::cell::{CellError, CellReader};

/// Recounts all cells and makes the final results (or, where the election was cancelled, the sums without an outcome).
pub(crate) async fn results(
    reader: &Arc<dyn Reader>,
    election: &Election,
    schedule: &Schedule,
    head: &Head,
    parallel: usize,
) -> Result<Results, CellError> {
    let cells = (0..election.cells()).zip(&head.logs);
    let counts: Vec<_> = cells
        .map(|(cell, said)| {
            let reader = CellReader::new(reader, election, schedule, cell);
            let election = election.clone();
            let said = *said;
            async move {
                let Some(reader) = reader else {
                    return Err(CellError::invalid(format!(
                        "the election has no cell {cell}"
                    )));
                };
                let counted = count(&reader, &election, cell, said.size, said.root).await;
                counted.map_err(|error| CellError::invalid(format!("cell {cell}: {error}")))
            }
        })
        .collect();
    let counted: Vec<(CellPart, Vec<Rankings>)> = futures::stream::iter(counts)
        .buffered(parallel.max(1))
        .try_collect()
        .await?;
    let mut parts = Vec::with_capacity(counted.len());
    let mut rankings = vec![Rankings::new(); election.contests().len()];
    for (part, cell) in counted {
        parts.push(part);
        for (all, cell) in rankings.iter_mut().zip(cell) {
            for (ranking, ballots) in cell {
                let sum = all.entry(ranking).or_insert(0);
                *sum = sum.saturating_add(ballots);
            }
        }
    }
    let made = match schedule.cancelled() {
        Some(_) => Results::cancelled(election, &parts),
        None => Results::finalize(election, &parts, &rankings),
    };
    made.map_err(CellError::invalid)
}

/// One cell, from its batches alone: their grammar, their sums, and the root that the final head names.
async fn count(
    reader: &CellReader,
    election: &Election,
    cell: u32,
    size: u64,
    root: Hash,
) -> Result<(CellPart, Vec<Rankings>), CellError> {
    if size <= 1 {
        // The genesis alone, which everybody knows and which may never have been published.
        let genesis = Genesis::of(election, LogId::Cell(cell)).encode();
        if size == 1 && leaf_hash(&genesis) != root {
            return Err(CellError::invalid("the final head names another genesis"));
        }
        return Ok((CellPart { size, tally: None }, Vec::new()));
    }
    let mut counting = Counting {
        log: CellLog::without_credentials(election, cell),
        rankings: vec![Rankings::new(); election.contests().len()],
    };
    let mut range = CompactRange::new();
    while range.size() < size {
        let n = counting.log.next_batch();
        let Some(batch) = reader.client().batch(n, &mut range).await? else {
            return Err(CellError::invalid(format!(
                "batches/{n} is missing below the final head's size"
            )));
        };
        let contests = election.contests().to_vec();
        // Decoding and adding up takes a while for a batch of thousands: not on the thread that serves watchers.
        counting =
            tokio::task::spawn_blocking(move || counting.take(n, &batch.entries(), &contests))
                .await
                .map_err(CellError::invalid)??;
    }
    if range.size() != size || range.root() != root {
        return Err(CellError::invalid(format!(
            "its batches do not lead to the tree of size {size} that the final head names"
        )));
    }
    let part = reader.at(size, root).await?;
    let none = TallyTotals::zero(election.contests());
    let proven = part.cell.tally.as_ref().map_or(&none, |(totals, _)| totals);
    if proven != counting.log.tally() {
        return Err(CellError::invalid(
            "its newest tally is not the sum of its ballots",
        ));
    }
    Ok((part.cell, counting.rankings))
}

struct Counting {
    log: CellLog,
    rankings: Vec<Rankings>,
}

impl Counting {
    fn take(
        mut self,
        n: u64,
        entries: &[bytes::Bytes],
        contests: &[Contest],
    ) -> Result<Self, CellError> {
        let entries: Vec<&[u8]> = entries.iter().map(AsRef::as_ref).collect();
        let summary = self.log.batch(n, &entries).map_err(CellError::invalid)?;
        for (_, vote) in summary.votes() {
            for ((contest, rankings), choice) in contests
                .iter()
                .zip(&mut self.rankings)
                .zip(vote.ballot.choices())
            {
                if contest.method == Method::Ranked && !choice.is_empty() {
                    let count = rankings.entry(choice.to_vec()).or_insert(0);
                    *count = count.saturating_add(1);
                }
            }
        }
        Ok(self)
    }
}
