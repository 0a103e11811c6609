//! Ballots: what each method allows, and one encoding for each choice.

use std::collections::HashSet;

use proptest::prelude::*;
use protocol::ballot::{Ballot, BallotError, ballot_message};
use protocol::manifest::{Contest, Method, TieRule};
use serde_json::{Value, json};

use crate::fixture::{ELECTION, contest};
use crate::vectors::vector_cases;

type Choices = &'static [&'static [u16]];

/// Of the base election: Mayor (plurality of 3), Projects (approval of 4), Emblem (ranked of 4).
const VALID: &[(&str, Choices)] = &[
    ("blank everywhere: an abstention", &[&[], &[], &[]]),
    ("one option for mayor", &[&[2], &[], &[]]),
    ("all projects, ascending", &[&[0], &[0, 1, 2, 3], &[]]),
    ("a full ranking", &[&[1], &[1, 3], &[3, 0, 2, 1]]),
    ("a ranking of one", &[&[], &[], &[2]]),
];

const INVALID: &[(&str, Choices)] = &[
    ("two options in a plurality contest", &[&[0, 1], &[], &[]]),
    ("an option that the contest lacks", &[&[3], &[], &[]]),
    (
        "an approved option that the contest lacks",
        &[&[], &[1, 4], &[]],
    ),
    ("approved options that descend", &[&[], &[2, 1], &[]]),
    ("an option approved twice", &[&[], &[1, 1], &[]]),
    ("an option ranked twice", &[&[], &[], &[2, 0, 2]]),
    (
        "a ranking longer than the options",
        &[&[], &[], &[0, 1, 2, 3, 0]],
    ),
    ("a contest missing", &[&[], &[]]),
    ("a contest too many", &[&[], &[], &[], &[]]),
];

/// The layout as the specification draws it, without the code under test.
fn naive_encode<C: AsRef<[u16]>>(choices: &[C]) -> Vec<u8> {
    choices
        .iter()
        .flat_map(|chosen| {
            let chosen = chosen.as_ref();
            std::iter::once(chosen.len() as u16).chain(chosen.iter().copied())
        })
        .flat_map(u16::to_be_bytes)
        .collect()
}

fn cases() -> Vec<Value> {
    let case = |why: &str, bytes: &[u8], choices: Value, valid: bool| {
        let abstention = valid.then(|| bytes.iter().all(|byte| *byte == 0));
        json!({"why": why, "ballot": hex::encode(bytes), "valid": valid, "choices": choices, "abstention": abstention})
    };
    let mut cases: Vec<Value> = VALID
        .iter()
        .map(|(why, choices)| case(why, &naive_encode(choices), json!(choices), true))
        .collect();
    cases.extend(
        INVALID
            .iter()
            .map(|(why, choices)| case(why, &naive_encode(choices), Value::Null, false)),
    );
    for (why, bytes) in [
        ("nothing", "".to_owned()),
        ("ends inside a count", "0000000000".to_owned()),
        ("ends inside an index", "00010000000000000100".to_owned()),
        ("a byte follows", format!("{}00", "0000".repeat(3))),
        ("a count beyond the bytes", "ffff".to_owned()),
    ] {
        cases.push(case(why, &hex::decode(bytes).unwrap(), Value::Null, false));
    }
    cases
}

#[test]
fn vectors() {
    let about = "Ballots of the election `base` of manifest.json, specs/protocol.md section 6. `choices` are the option indices of each contest.";
    for case in vector_cases("ballot.json", about, &cases()) {
        let why = &case["why"];
        let bytes = hex::decode(case["ballot"].as_str().unwrap()).unwrap();
        let ballot = Ballot::decode(&bytes, ELECTION.contests());
        assert_eq!(ballot.is_ok(), case["valid"], "{why}");
        if let Ok(ballot) = ballot {
            let choices: Vec<&[u16]> = ballot.choices().collect();
            assert_eq!(json!(choices), case["choices"], "{why}");
            assert_eq!(ballot.is_abstention(), case["abstention"], "{why}");
            assert_eq!(ballot.encode(), bytes, "{why}");
        }
    }
}

#[test]
fn new_and_decode_refuse_the_same_choices() {
    for (why, choices) in VALID {
        let ballot = Ballot::new(choices, ELECTION.contests()).unwrap();
        assert_eq!(ballot.encode(), naive_encode(choices), "{why}");
        for (c, chosen) in choices.iter().enumerate() {
            assert_eq!(ballot.choice(c), *chosen, "{why}");
        }
        assert!(ballot.choice(choices.len()).is_empty());
    }
    for (why, choices) in INVALID {
        assert!(Ballot::new(choices, ELECTION.contests()).is_err(), "{why}");
    }
}

#[test]
fn errors_say_where() {
    let contests = ELECTION.contests();
    assert_eq!(
        Ballot::new(&[vec![], vec![], vec![1, 1]], contests),
        Err(BallotError::Repeated {
            contest: 2,
            option: 1
        })
    );
    assert_eq!(
        Ballot::decode(&[0, 0, 0, 1, 0, 9, 0, 0], contests),
        Err(BallotError::NoSuchOption {
            contest: 1,
            option: 9
        })
    );
}

/// Every byte string up to the longest ballot of two tiny contests: exactly the ballots that the rules allow are accepted.
#[test]
fn exactly_the_allowed_ballots_exist() {
    for method in [Method::Plurality, Method::Approval, Method::Ranked] {
        let contests = [contest(method, "A", &["x", "y"], TieRule::ListedOrder)];
        let lists: [&[u16]; 7] = [&[], &[0], &[1], &[0, 1], &[1, 0], &[0, 0], &[1, 1]];
        let allowed: HashSet<Vec<u8>> = lists
            .iter()
            .filter(|list| match method {
                Method::Plurality => list.len() < 2,
                Method::Approval => list.windows(2).all(|pair| pair[0] < pair[1]),
                Method::Ranked => list.iter().collect::<HashSet<_>>().len() == list.len(),
            })
            .map(|list| naive_encode(&[list]))
            .collect();
        let mut accepted = HashSet::new();
        // Bytes above 3 stand for all others.
        for len in 0..=7u32 {
            for number in 0..4u32.pow(len) {
                let bytes: Vec<u8> = (0..len).map(|i| (number >> (2 * i) & 3) as u8).collect();
                if Ballot::decode(&bytes, &contests).is_ok() {
                    accepted.insert(bytes);
                }
            }
        }
        assert_eq!(accepted, allowed, "{method:?}");
    }
}

#[test]
fn a_long_ranking_is_checked_for_repeats_too() {
    let options: Vec<String> = (0..100).map(|i| format!("o{i}")).collect();
    let contests = [Contest {
        method: Method::Ranked,
        name: "R".to_owned(),
        options,
        tie_rule: TieRule::ListedOrder,
    }];
    let mut ranking: Vec<u16> = (0..100).rev().collect();
    assert!(Ballot::new(&[&ranking], &contests).is_ok());
    ranking[99] = 50;
    assert_eq!(
        Ballot::new(&[&ranking], &contests),
        Err(BallotError::Repeated {
            contest: 0,
            option: 50
        })
    );
}

#[test]
fn the_signed_message_is_bound_to_label_and_election() {
    let id = ELECTION.id();
    let message = ballot_message(&id, b"ballot");
    let expected = [
        b"tallyroot/v1/ballot\0".as_slice(),
        id.as_bytes(),
        b"ballot",
    ];
    assert_eq!(message, expected.concat());
}

proptest! {
    #[test]
    fn accepted_bytes_encode_identically(bytes in proptest::collection::vec(0u8..5, 0..30)) {
        if let Ok(ballot) = Ballot::decode(&bytes, ELECTION.contests()) {
            prop_assert_eq!(ballot.encode(), bytes);
        }
    }

    #[test]
    fn valid_choices_survive(
        mayor in proptest::option::of(0u16..3),
        projects in proptest::sample::subsequence(vec![0u16, 1, 2, 3], 0..=4),
        emblem in Just(vec![0u16, 1, 2, 3]).prop_shuffle(),
        ranked in 0usize..=4,
    ) {
        let choices = [mayor.into_iter().collect(), projects, emblem[..ranked].to_vec()];
        let ballot = Ballot::new(&choices, ELECTION.contests()).unwrap();
        prop_assert_eq!(ballot.encode(), naive_encode(&choices));
        prop_assert_eq!(Ballot::decode(&ballot.encode(), ELECTION.contests()).unwrap(), ballot);
    }
}
