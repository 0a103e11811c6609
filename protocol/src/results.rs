//! `results.json`: what the cells' newest tallies add up to, with the proof of each (section 12).

mod check;

use serde::{Deserialize, Serialize};

use crate::canonical_json::{CanonicalError, from_canonical, to_canonical};
use crate::count::{Rankings, Round, highest, run_off};
use crate::entry::TallyTotals;
use crate::ids::ElectionId;
use crate::manifest::{Election, Method};

/// The value of the member `format`.
pub const RESULTS_FORMAT: &str = "tallyroot/v1/results";

/// Most bytes of a `results.json`: 1,024 cells with a proof of 128 KiB would be as many as this.
pub const RESULTS_LEN_MAX: usize = 256 << 20;

/// The content of `results.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// Votes that are blank in every contest.
    pub abstentions: u64,
    /// What was added up: every cell, in order.
    pub cells: Vec<CellResult>,
    /// Every contest, in order.
    pub contests: Vec<ContestResult>,
    /// The election.
    pub election: ElectionId,
    /// Always [`RESULTS_FORMAT`].
    pub format: String,
    /// Whether more votes may come.
    pub status: Status,
    /// Votes, abstentions included.
    pub votes: u64,
}

/// Whether more votes may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Running totals.
    Open,
    /// The final head's.
    Final,
    /// The authority cancelled the election: the sums stand, nobody wins.
    Cancelled,
}

/// One cell's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellResult {
    /// The cell's index.
    pub cell: u32,
    /// The `.tlog-proof` of the newest tally below `size`, with the entry as `extra`; `None` where there is no tally yet.
    pub proof: Option<String>,
    /// The size of the cell's log; 0 while it has published nothing.
    pub size: u64,
}

/// One contest's totals, and when final its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ContestResult {
    /// Ballots without an option here.
    pub blanks: u64,
    /// For each option: see [`ContestTotals`](crate::entry::ContestTotals).
    pub counts: Vec<u64>,
    /// The contest's name.
    pub name: String,
    /// Its options.
    pub options: Vec<String>,
    /// The run-off of a ranked contest, when final.
    pub rounds: Option<Vec<Round>>,
    /// When final: whether a rule decided between equals.
    pub tie_broken: Option<bool>,
    /// When final: the winning option's index, if anybody voted.
    pub winner: Option<u16>,
}

/// What goes into the sum for one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellPart {
    /// The size of the cell's log, a batch end; 0 while it has published nothing.
    pub size: u64,
    /// The newest tally below it, and the text of its proof; `None` where there is no tally yet.
    pub tally: Option<(TallyTotals, String)>,
}

/// Why results cannot be made, or bytes are not results of this election.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResultsError {
    /// Not canonical JSON with these members.
    #[error("results.json cannot be read: {0}")]
    Json(#[from] CanonicalError),
    /// A member contradicts the manifest or another member.
    #[error("results.json, member `{member}`: {problem}")]
    Member {
        /// Where.
        member: String,
        /// What is wrong.
        problem: String,
    },
}

impl Results {
    /// The sums over the cells, in order, while votes may still come.
    ///
    /// # Errors
    /// The parts are not one for each cell, or their totals are not of this election's contests.
    pub fn open(election: &Election, cells: &[CellPart]) -> Result<Self, ResultsError> {
        Self::sum(election, cells, Status::Open)
    }

    /// The sums of an election that the authority cancelled: nothing is counted, so nobody wins.
    ///
    /// # Errors
    /// As [`Results::open`].
    pub fn cancelled(election: &Election, cells: &[CellPart]) -> Result<Self, ResultsError> {
        Self::sum(election, cells, Status::Cancelled)
    }

    /// The results at the final head: the same sums, with winners. `rankings` holds one map for each contest (unused, and may be empty, where it is not ranked).
    ///
    /// # Errors
    /// As [`Results::open`]; or the rankings do not add up to the first preferences.
    pub fn finalize(
        election: &Election,
        cells: &[CellPart],
        rankings: &[Rankings],
    ) -> Result<Self, ResultsError> {
        let mut results = Self::sum(election, cells, Status::Final)?;
        if rankings.len() != election.contests().len() {
            return wrong(
                "contests",
                "there must be one map of rankings for each contest",
            );
        }
        for (c, ((result, contest), rankings)) in results
            .contests
            .iter_mut()
            .zip(election.contests())
            .zip(rankings)
            .enumerate()
        {
            if contest.method != Method::Ranked {
                let outcome = highest(&result.counts);
                result.winner = outcome.winner;
                result.tie_broken = Some(outcome.tie_broken);
                continue;
            }
            check_first_preferences(c, &result.counts, rankings)?;
            let options = u16::try_from(contest.options.len()).unwrap_or(u16::MAX);
            let run_off = run_off(options, rankings, contest.tie_rule);
            result.winner = run_off.winner;
            // "of a ranked contest: whether any round's is true"
            result.tie_broken = Some(run_off.rounds.iter().any(|round| round.tie_broken));
            result.rounds = Some(run_off.rounds);
        }
        Ok(results)
    }

    fn sum(election: &Election, cells: &[CellPart], status: Status) -> Result<Self, ResultsError> {
        if cells.len() != election.manifest().cells.len() {
            return wrong("cells", "there must be one part for each cell, in order");
        }
        let mut totals = TallyTotals::zero(election.contests());
        for (k, part) in cells.iter().enumerate() {
            if let Some((cell, _)) = &part.tally
                && totals.merge(cell).is_none()
            {
                return wrong(
                    format!("cells[{k}]"),
                    "its totals are of other contests, or too large to add",
                );
            }
        }
        let contests = election
            .contests()
            .iter()
            .zip(totals.contests)
            .map(|(contest, totals)| ContestResult {
                blanks: totals.blanks,
                counts: totals.counts,
                name: contest.name.clone(),
                options: contest.options.clone(),
                rounds: None,
                tie_broken: None,
                winner: None,
            })
            .collect();
        Ok(Self {
            abstentions: totals.abstentions,
            cells: (0..)
                .zip(cells)
                .map(|(cell, part)| CellResult {
                    cell,
                    proof: part.tally.as_ref().map(|(_, proof)| proof.clone()),
                    size: part.size,
                })
                .collect(),
            contests,
            election: election.id(),
            format: RESULTS_FORMAT.to_owned(),
            status,
            votes: totals.votes,
        })
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// A sum is 2^53 or more.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ResultsError> {
        Ok(to_canonical(self)?)
    }

    /// Reads a `results.json` of this election: canonical, with the manifest's contests and cells, and without inner contradictions.
    /// That it is the right one, only who makes it again from the cells' tallies and ballots can say.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(bytes: &[u8], election: &Election) -> Result<Self, ResultsError> {
        let results: Self = from_canonical(bytes, RESULTS_LEN_MAX)?;
        if results.format != RESULTS_FORMAT {
            return wrong("format", format!("must be `{RESULTS_FORMAT}`"));
        }
        if results.election != election.id() {
            return wrong("election", "is another election's");
        }
        if results.abstentions > results.votes {
            return wrong("abstentions", "are more than the votes");
        }
        check::cells(&results, election)?;
        check::contests(&results, election)?;
        Ok(results)
    }
}

/// A ranked contest's counts are first preferences: the rankings must have them too.
fn check_first_preferences(
    contest: usize,
    counts: &[u64],
    rankings: &Rankings,
) -> Result<(), ResultsError> {
    let mut firsts = vec![0u64; counts.len()];
    for (ranking, ballots) in rankings {
        let Some(first) = ranking.first() else {
            continue;
        };
        if let Some(count) = firsts.get_mut(usize::from(*first)) {
            *count = count.saturating_add(*ballots);
        }
    }
    if firsts != counts {
        return wrong(
            format!("contests[{contest}]"),
            "the rankings do not add up to the tallies' first preferences",
        );
    }
    Ok(())
}

fn wrong<T>(member: impl Into<String>, problem: impl Into<String>) -> Result<T, ResultsError> {
    Err(ResultsError::Member {
        member: member.into(),
        problem: problem.into(),
    })
}
