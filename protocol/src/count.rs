//! Counting: from totals or rankings to a winner (section 11).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::manifest::TieRule;

/// Ranked ballots of one contest, added up: each ranking, most preferred first, with the number of ballots that have it. Blanks may be left out.
pub type Rankings = BTreeMap<Vec<u16>, u64>;

/// Who won a plurality or approval contest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The option's index; `None` if nobody voted.
    pub winner: Option<u16>,
    /// Whether several options had the highest count.
    pub tie_broken: bool,
}

/// How a run-off went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOff {
    /// Every round, in order.
    pub rounds: Vec<Round>,
    /// The option's index; `None` if nobody voted.
    pub winner: Option<u16>,
}

/// One round of a run-off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// For each option its ballots; `None` if it was eliminated before.
    pub counts: Vec<Option<u64>>,
    /// The option that goes after this round; `None` in the last.
    pub eliminated: Option<u16>,
    /// Ballots that rank no continuing option; blanks are not among them.
    pub exhausted: u64,
    /// Whether a rule decided who goes.
    pub tie_broken: bool,
}

/// The option with the highest count; among equals, the first in the manifest's order.
#[must_use]
pub fn highest(counts: &[u64]) -> Outcome {
    let _ = counts;
    unimplemented!()
}

/// Instant run-off among `options` options.
#[must_use]
pub fn run_off(options: usize, rankings: &Rankings, tie_rule: TieRule) -> RunOff {
    let _ = (options, rankings, tie_rule);
    unimplemented!()
}
