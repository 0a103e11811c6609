//! `results.json`: what the cells' newest tallies add up to, with the proof of each (section 12).

use serde::{Deserialize, Serialize};

use crate::count::{Rankings, Round};
use crate::entry::TallyTotals;
use crate::ids::ElectionId;
use crate::manifest::Election;

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
}

/// One cell's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellResult {
    /// The cell's index.
    pub cell: u32,
    /// The `.tlog-proof` of the newest tally below `size`, with the entry as `extra`; `None` where there is no tally yet.
    pub proof: Option<String>,
    /// The size of the cell's log.
    pub size: u64,
}

/// One contest's totals, and when final its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The size of the cell's log, a batch end.
    pub size: u64,
    /// The newest tally below it, and the text of its proof; `None` where there is no tally yet.
    pub tally: Option<(TallyTotals, String)>,
}

/// Why results cannot be made, or bytes are not results of this election.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResultsError {
    /// Not canonical JSON with these members.
    #[error("results.json cannot be read: {0}")]
    Json(#[from] crate::canonical_json::CanonicalError),
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
        let _ = (election, cells);
        unimplemented!()
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
        let _ = (election, cells, rankings);
        unimplemented!()
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// A sum is 2^53 or more.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ResultsError> {
        Ok(crate::canonical_json::to_canonical(self)?)
    }

    /// Reads a `results.json` of this election: canonical, with the manifest's contests and cells. The sums and proofs are the caller's to check.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(bytes: &[u8], election: &Election) -> Result<Self, ResultsError> {
        let _ = (bytes, election);
        unimplemented!()
    }
}
