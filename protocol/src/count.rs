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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    // "No vote at all: no winner."
    let Some(most) = counts.iter().max().filter(|most| **most > 0) else {
        return Outcome {
            winner: None,
            tie_broken: false,
        };
    };
    let mut equals = (0..).zip(counts).filter(|(_, count)| *count == most);
    Outcome {
        winner: equals.next().map(|(option, _)| option),
        tie_broken: equals.next().is_some(),
    }
}

/// Instant run-off among `options` options. Blank rankings take no part; options that do not exist are passed over.
#[must_use]
pub fn run_off(options: u16, rankings: &Rankings, tie_rule: TieRule) -> RunOff {
    let mut piles = Piles::new(options, rankings);
    let mut rounds: Vec<Round> = Vec::new();
    loop {
        let mut round = Round {
            counts: piles.counts(),
            eliminated: None,
            exhausted: piles.exhausted,
            tie_broken: false,
        };
        let step = step(&round.counts, &rounds, tie_rule);
        if let Step::Eliminates { option, tie_broken } = step {
            round.eliminated = Some(option);
            round.tie_broken = tie_broken;
        }
        rounds.push(round);
        match step {
            Step::Eliminates { option, .. } => piles.eliminate(option),
            Step::Ends(winner) => return RunOff { rounds, winner },
        }
    }
}

/// What a round's counts call for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is the last round: this option wins; nobody, where nobody has a ballot.
    Ends(Option<u16>),
    /// This option goes.
    Eliminates {
        /// Its index.
        option: u16,
        /// Whether several have the lowest count, so that a rule decides.
        tie_broken: bool,
    },
}

/// What follows from a round of a run-off: its counts (`None` for options that do not continue), and the rounds before it, in order.
#[must_use]
pub fn step(counts: &[Option<u64>], earlier: &[Round], tie_rule: TieRule) -> Step {
    let counted: u128 = counts.iter().flatten().copied().map(u128::from).sum();
    // "if nobody has a count above 0, there is no winner": nor has anybody more than half of nothing.
    if counted == 0 {
        return Step::Ends(None);
    }
    if let Some(winner) = winner_of(counts, counted) {
        return Step::Ends(Some(winner));
    }
    match lowest(counts, earlier, tie_rule) {
        (Some(option), tie_broken) => Step::Eliminates { option, tie_broken },
        // Somebody has a count, so some option continues: there is a lowest.
        (None, _) => Step::Ends(None),
    }
}

/// "If an option has more than half of the round's counted ballots, or is the only one continuing, it wins." The only one has them all.
fn winner_of(counts: &[Option<u64>], counted: u128) -> Option<u16> {
    continuing(counts)
        .find(|(_, count)| u128::from(*count) * 2 > counted)
        .map(|(option, _)| option)
}

/// "Otherwise the option with the lowest count is eliminated, one a round." Also says whether there were several.
fn lowest(counts: &[Option<u64>], earlier: &[Round], tie_rule: TieRule) -> (Option<u16>, bool) {
    let all = continuing(counts).map(|(option, _)| option).collect();
    let mut equals = keep_lowest(all, counts);
    let tie_broken = equals.len() > 1;
    // "`prior-rounds` first keeps, among those lowest, the ones with the lowest count in the round before, then the round before that"
    if tie_rule == TieRule::PriorRounds {
        for round in earlier.iter().rev() {
            equals = keep_lowest(equals, &round.counts);
        }
    }
    // "`listed-order` eliminates the one last in the manifest's order"
    (equals.last().copied(), tie_broken)
}

fn keep_lowest(mut options: Vec<u16>, counts: &[Option<u64>]) -> Vec<u16> {
    let count = |option: &u16| counts.get(usize::from(*option)).copied().flatten();
    let least = options.iter().filter_map(count).min();
    options.retain(|option| count(option) == least);
    options
}

fn continuing(counts: &[Option<u64>]) -> impl Iterator<Item = (u16, u64)> {
    (0..)
        .zip(counts)
        .filter_map(|(option, count)| Some((option, (*count)?)))
}

/// Every ranking lies on the pile of the option that it counts for; an eliminated option's pile is dealt out to the next preferences.
/// So each ranking is looked at once for each of its options at most, not once a round.
struct Piles<'r> {
    /// `None`: eliminated.
    piles: Vec<Option<Pile<'r>>>,
    exhausted: u64,
}

#[derive(Default)]
struct Pile<'r> {
    count: u64,
    /// What remains of each ranking after the option of this pile, and its ballots.
    rankings: Vec<(&'r [u16], u64)>,
}

impl<'r> Piles<'r> {
    fn new(options: u16, rankings: &'r Rankings) -> Self {
        let mut piles = Self {
            piles: (0..options).map(|_| Some(Pile::default())).collect(),
            exhausted: 0,
        };
        for (ranking, ballots) in rankings.iter().filter(|(ranking, _)| !ranking.is_empty()) {
            piles.deal(ranking, *ballots);
        }
        piles
    }

    fn counts(&self) -> Vec<Option<u64>> {
        self.piles
            .iter()
            .map(|pile| pile.as_ref().map(|pile| pile.count))
            .collect()
    }

    fn eliminate(&mut self, option: u16) {
        let pile = self
            .piles
            .get_mut(usize::from(option))
            .and_then(Option::take);
        for (rest, ballots) in pile.into_iter().flat_map(|pile| pile.rankings) {
            self.deal(rest, ballots);
        }
    }

    /// "A ballot counts for its highest-ranked continuing option; with none it is exhausted."
    fn deal(&mut self, ranking: &'r [u16], ballots: u64) {
        let mut rest = ranking;
        while let Some((option, after)) = rest.split_first() {
            rest = after;
            if let Some(Some(pile)) = self.piles.get_mut(usize::from(*option)) {
                pile.count = pile.count.saturating_add(ballots);
                pile.rankings.push((rest, ballots));
                return;
            }
        }
        self.exhausted = self.exhausted.saturating_add(ballots);
    }
}
