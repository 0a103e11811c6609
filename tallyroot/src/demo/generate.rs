//! Ballots for a demo without a file: three contests, one of each counting method, and a spread of choices.

use protocol::manifest::Method;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::ballots::{BallotBox, ContestPlan};

/// How strongly voters lean to each option, in percent; what is missing to 100 stays blank.
struct Leaning(&'static [(&'static str, u32)]);

const MAYOR: Leaning = Leaning(&[
    ("Ada Lovelace", 31),
    ("Grace Hopper", 27),
    ("Alan Turing", 22),
    ("Mary Somerville", 12),
    ("Charles Babbage", 6),
]);
const LIBRARY: Leaning = Leaning(&[("Yes", 57), ("No", 39)]);
const PARK: Leaning = Leaning(&[
    ("Playground", 62),
    ("Pond", 35),
    ("Orchard", 48),
    ("Skate ramp", 29),
    ("Open stage", 21),
]);

/// The ballots of `voters` voters, always the same for the same seed.
#[must_use]
pub fn generate(voters: u32, seed: u64) -> BallotBox {
    let mut rng = StdRng::seed_from_u64(seed);
    let ballots = (0..voters)
        .map(|_| {
            // One voter in fifty hands in an empty ballot.
            if rng.random_ratio(1, 50) {
                vec![Vec::new(), Vec::new(), Vec::new()]
            } else {
                vec![
                    ranking(&MAYOR, &mut rng),
                    one(&LIBRARY, &mut rng),
                    several(&PARK, &mut rng),
                ]
            }
        })
        .collect();
    let contest = |name: &str, method, leaning: &Leaning| ContestPlan {
        name: name.to_owned(),
        method,
        options: leaning
            .0
            .iter()
            .map(|(label, _)| (*label).to_owned())
            .collect(),
    };
    BallotBox {
        contests: vec![
            contest("Mayor", Method::Ranked, &MAYOR),
            contest("Open the library on Sundays?", Method::Plurality, &LIBRARY),
            contest("What should the new park have?", Method::Approval, &PARK),
        ],
        ballots,
    }
}

/// One option by its weight, or none.
fn one(leaning: &Leaning, rng: &mut StdRng) -> Vec<u16> {
    let mut at = rng.random_range(0..100);
    for (option, (_, weight)) in (0u16..).zip(leaning.0) {
        if at < *weight {
            return vec![option];
        }
        at -= weight;
    }
    Vec::new()
}

/// Each option by its own chance, ascending as approval ballots are.
fn several(leaning: &Leaning, rng: &mut StdRng) -> Vec<u16> {
    (0u16..)
        .zip(leaning.0)
        .filter(|(_, (_, weight))| rng.random_ratio(*weight, 100))
        .map(|(option, _)| option)
        .collect()
}

/// Up to four draws by weight; what was drawn already ends the ranking sooner, as people's rankings do.
fn ranking(leaning: &Leaning, rng: &mut StdRng) -> Vec<u16> {
    let mut ranking = Vec::new();
    for _ in 0..rng.random_range(1..=4) {
        for option in one(leaning, rng) {
            if !ranking.contains(&option) {
                ranking.push(option);
            }
        }
    }
    ranking
}
