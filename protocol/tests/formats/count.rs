//! Counting, against cases worked out by hand and a naive count over single ballots.

use proptest::prelude::*;
use protocol::count::{Outcome, Rankings, Round, RunOff, highest, run_off};
use protocol::manifest::TieRule;
use serde_json::{Value, json};

use crate::vectors::vector_cases;

type Ballots = &'static [(&'static [u16], u64)];

struct Case {
    why: &'static str,
    options: u16,
    ballots: Ballots,
    tie_rule: TieRule,
    /// For each round: the counts (-1: eliminated), who goes (-1: nobody), the exhausted, whether a tie was broken.
    rounds: &'static [(&'static [i64], i64, u64, bool)],
    winner: Option<u16>,
}

use TieRule::{ListedOrder as LISTED, PriorRounds as PRIOR};

#[rustfmt::skip]
const RUN_OFFS: &[Case] = &[
    Case { why: "a majority at once", options: 3, ballots: &[(&[0], 3), (&[1], 1), (&[2], 1)], tie_rule: LISTED,
        rounds: &[(&[3, 1, 1], -1, 0, false)], winner: Some(0) },
    Case { why: "half is no majority, and a transfer decides", options: 3, ballots: &[(&[0], 2), (&[1], 1), (&[2, 1], 1)], tie_rule: LISTED,
        rounds: &[(&[2, 1, 1], 2, 0, true), (&[2, 2, -1], 1, 0, true), (&[2, -1, -1], -1, 2, false)], winner: Some(0) },
    Case { why: "the leader of the first round loses", options: 3, ballots: &[(&[0], 4), (&[1, 2], 3), (&[2, 1], 2)], tie_rule: LISTED,
        rounds: &[(&[4, 3, 2], 2, 0, false), (&[4, 5, -1], -1, 0, false)], winner: Some(1) },
    Case { why: "a majority of what is left, not of all ballots", options: 3, ballots: &[(&[0], 3), (&[1], 2), (&[2], 2)], tie_rule: LISTED,
        rounds: &[(&[3, 2, 2], 2, 0, true), (&[3, 2, -1], -1, 2, false)], winner: Some(0) },
    Case { why: "no ballot at all", options: 3, ballots: &[], tie_rule: LISTED,
        rounds: &[(&[0, 0, 0], -1, 0, false)], winner: None },
    Case { why: "blanks only: they take no part", options: 2, ballots: &[(&[], 9)], tie_rule: LISTED,
        rounds: &[(&[0, 0], -1, 0, false)], winner: None },
    Case { why: "a single option with a vote", options: 1, ballots: &[(&[0], 1), (&[], 5)], tie_rule: LISTED,
        rounds: &[(&[1], -1, 0, false)], winner: Some(0) },
    Case { why: "a single option without one", options: 1, ballots: &[], tie_rule: PRIOR,
        rounds: &[(&[0], -1, 0, false)], winner: None },
    Case { why: "two equals: listed order sends the last away, which leaves one", options: 2, ballots: &[(&[0], 1), (&[1], 1)], tie_rule: LISTED,
        rounds: &[(&[1, 1], 1, 0, true), (&[1, -1], -1, 1, false)], winner: Some(0) },
    Case { why: "options without a vote go one a round", options: 4, ballots: &[(&[1], 1), (&[2], 1)], tie_rule: LISTED,
        rounds: &[(&[0, 1, 1, 0], 3, 0, true), (&[0, 1, 1, -1], 0, 0, false), (&[-1, 1, 1, -1], 2, 0, true), (&[-1, 1, -1, -1], -1, 1, false)], winner: Some(1) },
    Case { why: "a tie that the round before settles", options: 4, ballots: &[(&[0], 5), (&[1], 2), (&[2], 3), (&[3, 1], 1)], tie_rule: PRIOR,
        rounds: &[(&[5, 2, 3, 1], 3, 0, false), (&[5, 3, 3, -1], 1, 0, true), (&[5, -1, 3, -1], -1, 3, false)], winner: Some(0) },
    Case { why: "the same tie by listed order", options: 4, ballots: &[(&[0], 5), (&[1], 2), (&[2], 3), (&[3, 1], 1)], tie_rule: LISTED,
        rounds: &[(&[5, 2, 3, 1], 3, 0, false), (&[5, 3, 3, -1], 2, 0, true), (&[5, 3, -1, -1], -1, 3, false)], winner: Some(0) },
    Case { why: "equal in this round and the one before: the first round settles it", options: 5,
        ballots: &[(&[0], 5), (&[1], 2), (&[2], 3), (&[3, 1], 1), (&[3, 2], 1), (&[4, 1], 1)], tie_rule: PRIOR,
        rounds: &[(&[5, 2, 3, 2, 1], 4, 0, false), (&[5, 3, 3, 2, -1], 3, 0, false), (&[5, 4, 4, -1, -1], 1, 0, true), (&[5, -1, 4, -1, -1], -1, 4, false)], winner: Some(0) },
    Case { why: "equal in every round: listed order after all", options: 3, ballots: &[(&[0], 3), (&[1], 2), (&[2], 2)], tie_rule: PRIOR,
        rounds: &[(&[3, 2, 2], 2, 0, true), (&[3, 2, -1], -1, 2, false)], winner: Some(0) },
    Case { why: "exhausted ballots add up over rounds", options: 4, ballots: &[(&[0], 3), (&[1], 3), (&[2], 2), (&[3], 1)], tie_rule: LISTED,
        rounds: &[(&[3, 3, 2, 1], 3, 0, false), (&[3, 3, 2, -1], 2, 1, false), (&[3, 3, -1, -1], 1, 3, true), (&[3, -1, -1, -1], -1, 6, false)], winner: Some(0) },
    Case { why: "a preference for an option that went before is passed over", options: 4, ballots: &[(&[0], 4), (&[1], 3), (&[3, 0], 1), (&[2, 3, 1], 2)], tie_rule: LISTED,
        rounds: &[(&[4, 3, 2, 1], 3, 0, false), (&[5, 3, 2, -1], 2, 0, false), (&[5, 5, -1, -1], 1, 0, true), (&[5, -1, -1, -1], -1, 5, false)], winner: Some(0) },
];

const HIGHEST: &[(&str, &[u64], Option<u16>, bool)] = &[
    ("the most votes", &[1, 5, 3], Some(1), false),
    ("a tie: the first listed", &[4, 2, 4], Some(0), true),
    (
        "a tie below the top does not matter",
        &[1, 1, 2],
        Some(2),
        false,
    ),
    ("no vote", &[0, 0], None, false),
    ("a single option", &[1], Some(0), false),
    ("a single option without a vote", &[0], None, false),
];

fn rankings(ballots: Ballots) -> Rankings {
    let mut rankings = Rankings::new();
    for (ranking, count) in ballots {
        *rankings.entry(ranking.to_vec()).or_default() += count;
    }
    rankings
}

fn expected(case: &Case) -> RunOff {
    let rounds = case.rounds.iter();
    RunOff {
        rounds: rounds
            .map(|(counts, eliminated, exhausted, tie_broken)| Round {
                counts: counts
                    .iter()
                    .map(|count| u64::try_from(*count).ok())
                    .collect(),
                eliminated: u16::try_from(*eliminated).ok(),
                exhausted: *exhausted,
                tie_broken: *tie_broken,
            })
            .collect(),
        winner: case.winner,
    }
}

fn cases() -> Vec<Value> {
    let run_offs = RUN_OFFS.iter().map(|case| {
        let expected = expected(case);
        json!({
            "why": case.why, "method": "ranked", "options": case.options, "tie_rule": case.tie_rule,
            "rankings": case.ballots, "rounds": expected.rounds, "winner": expected.winner,
        })
    });
    let highest = HIGHEST.iter().map(|(why, counts, winner, tie)| {
        json!({"why": why, "method": "plurality", "counts": counts, "winner": winner, "tie_broken": tie})
    });
    highest.chain(run_offs).collect()
}

#[test]
fn vectors() {
    let about = "Counting, specs/protocol.md section 11. Plurality and approval: from counts to the winner. Ranked: `rankings` are pairs of option indices, most preferred first, and the number of ballots that have them.";
    for case in vector_cases("count.json", about, &cases()) {
        let why = &case["why"];
        if case["method"] == "plurality" {
            let counts: Vec<u64> = serde_json::from_value(case["counts"].clone()).unwrap();
            let outcome = highest(&counts);
            assert_eq!(json!(outcome.winner), case["winner"], "{why}");
            assert_eq!(outcome.tie_broken, case["tie_broken"], "{why}");
            continue;
        }
        let pairs: Vec<(Vec<u16>, u64)> = serde_json::from_value(case["rankings"].clone()).unwrap();
        let tie_rule = serde_json::from_value(case["tie_rule"].clone()).unwrap();
        let options: u16 = serde_json::from_value(case["options"].clone()).unwrap();
        let run_off = run_off(options, &pairs.into_iter().collect(), tie_rule);
        assert_eq!(json!(run_off.rounds), case["rounds"], "{why}");
        assert_eq!(json!(run_off.winner), case["winner"], "{why}");
    }
}

#[test]
fn run_offs_by_hand() {
    for case in RUN_OFFS {
        let counted = run_off(case.options, &rankings(case.ballots), case.tie_rule);
        assert_eq!(counted, expected(case), "{}", case.why);
        assert_eq!(
            counted,
            naive(
                case.options,
                &singles(&rankings(case.ballots)),
                case.tie_rule
            ),
            "{}",
            case.why
        );
    }
}

#[test]
fn the_highest_by_hand() {
    for (why, counts, winner, tie_broken) in HIGHEST {
        let expected = Outcome {
            winner: *winner,
            tie_broken: *tie_broken,
        };
        assert_eq!(highest(counts), expected, "{why}");
    }
}

#[test]
fn huge_counts_do_not_wrap() {
    let rankings: Rankings = [(vec![0, 1], u64::MAX), (vec![1], u64::MAX)].into();
    assert_eq!(run_off(2, &rankings, LISTED).winner, Some(0));
}

fn singles(rankings: &Rankings) -> Vec<Vec<u16>> {
    rankings
        .iter()
        .flat_map(|(ranking, count)| vec![ranking.clone(); *count as usize])
        .collect()
}

/// Section 11 read word by word: every round looks at every ballot again.
fn naive(options: u16, ballots: &[Vec<u16>], tie_rule: TieRule) -> RunOff {
    let mut gone: Vec<u16> = Vec::new();
    let mut history: Vec<Vec<u64>> = Vec::new();
    let mut rounds = Vec::new();
    loop {
        let mut counts = vec![0u64; options as usize];
        let mut exhausted = 0;
        for ballot in ballots.iter().filter(|ballot| !ballot.is_empty()) {
            match ballot.iter().find(|option| !gone.contains(option)) {
                Some(option) => counts[*option as usize] += 1,
                None => exhausted += 1,
            }
        }
        let left: Vec<u16> = (0..options).filter(|o| !gone.contains(o)).collect();
        let total: u64 = counts.iter().sum();
        let mut round = Round {
            counts: (0..options)
                .map(|o| (!gone.contains(&o)).then(|| counts[o as usize]))
                .collect(),
            eliminated: None,
            exhausted,
            tie_broken: false,
        };
        let majority = left.iter().find(|o| counts[**o as usize] > total / 2);
        let winner = if total == 0 {
            None
        } else if left.len() == 1 {
            Some(left[0])
        } else {
            majority.copied()
        };
        if total == 0 || winner.is_some() {
            rounds.push(round);
            return RunOff { rounds, winner };
        }
        let least = left.iter().map(|o| counts[*o as usize]).min().unwrap();
        let mut lowest: Vec<u16> = left
            .into_iter()
            .filter(|o| counts[*o as usize] == least)
            .collect();
        round.tie_broken = lowest.len() > 1;
        if tie_rule == PRIOR {
            for earlier in history.iter().rev() {
                let least = lowest.iter().map(|o| earlier[*o as usize]).min().unwrap();
                lowest.retain(|o| earlier[*o as usize] == least);
            }
        }
        let out = *lowest.last().unwrap();
        round.eliminated = Some(out);
        rounds.push(round);
        history.push(counts);
        gone.push(out);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn piles_count_as_ballots_do(
        options in 1u16..6,
        ballots in proptest::collection::vec((Just([0u16, 1, 2, 3, 4]).prop_shuffle(), 0usize..=5), 0..14),
        prior in any::<bool>(),
    ) {
        let ballots: Vec<Vec<u16>> = ballots
            .into_iter()
            .map(|(order, len)| order.into_iter().filter(|o| *o < options).take(len).collect())
            .collect();
        let mut aggregated = Rankings::new();
        for ballot in &ballots {
            *aggregated.entry(ballot.clone()).or_default() += 1;
        }
        let tie_rule = if prior { PRIOR } else { LISTED };
        prop_assert_eq!(run_off(options, &aggregated, tie_rule), naive(options, &ballots, tie_rule));
    }
}
