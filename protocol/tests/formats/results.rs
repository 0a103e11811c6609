//! `results.json`: sums, winners, and what a reader refuses.

use protocol::count::Rankings;
use protocol::entry::{Tally, Vote};
use protocol::results::{CellPart, RESULTS_FORMAT, Results, ResultsError, Status};
use serde_json::{Value, json};

use crate::fixture::{ELECTION, unsigned_vote, voters};
use crate::log::cell_log;
use crate::vectors::vector_cases;

/// One cell's votes, as choices.
type Votes = &'static [[&'static [u16]; 3]];

struct Case {
    why: &'static str,
    /// `None`: the cell has published nothing.
    cells: [Option<Votes>; 2],
    status: Status,
    /// What is expected, without election, format, status and cells.
    expected: fn() -> Value,
}

/// Mayor: Ada 3, Ben 3, Cleo 0. Emblem: Oak 2, Heron 2, Mill 1; Mill's ballot goes to Heron.
const CELL_0: Votes = &[
    [&[0], &[0, 1], &[0]],
    [&[0], &[], &[1, 0]],
    [&[1], &[1], &[2, 1]],
    [&[], &[], &[]],
];
const CELL_1: Votes = &[
    [&[1], &[1, 2, 3], &[0, 1]],
    [&[1], &[2], &[1]],
    [&[0], &[], &[]],
];

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { why: "nothing published", cells: [None, None], status: Status::Open, expected: || json!({
        "abstentions": 0, "votes": 0,
        "contests": [[0, [0, 0, 0], null, null, null], [0, [0, 0, 0, 0], null, null, null], [0, [0, 0, 0, 0], null, null, null]],
    }) },
    Case { why: "open: one cell with votes, one with its genesis only", cells: [Some(CELL_0), Some(&[])], status: Status::Open, expected: || json!({
        "abstentions": 1, "votes": 4,
        "contests": [[1, [2, 1, 0], null, null, null], [2, [1, 2, 0, 0], null, null, null], [1, [1, 1, 1, 0], null, null, null]],
    }) },
    Case { why: "open: a single vote, the least that has a tally", cells: [Some(&[[&[0], &[], &[1]]]), None], status: Status::Open, expected: || json!({
        "abstentions": 0, "votes": 1,
        "contests": [[0, [1, 0, 0], null, null, null], [1, [0, 0, 0, 0], null, null, null], [0, [0, 1, 0, 0], null, null, null]],
    }) },
    Case { why: "open: two cells", cells: [Some(CELL_0), Some(CELL_1)], status: Status::Open, expected: || json!({
        "abstentions": 1, "votes": 7,
        "contests": [[1, [3, 3, 0], null, null, null], [3, [1, 3, 2, 1], null, null, null], [2, [2, 2, 1, 0], null, null, null]],
    }) },
    Case { why: "final: a tie for mayor, and a run-off", cells: [Some(CELL_0), Some(CELL_1)], status: Status::Final, expected: || json!({
        "abstentions": 1, "votes": 7,
        "contests": [
            [1, [3, 3, 0], null, true, 0],
            [3, [1, 3, 2, 1], null, false, 1],
            [2, [2, 2, 1, 0], [
                {"counts": [2, 2, 1, 0], "eliminated": 3, "exhausted": 0, "tie_broken": false},
                {"counts": [2, 2, 1, null], "eliminated": 2, "exhausted": 0, "tie_broken": false},
                {"counts": [2, 3, null, null], "eliminated": null, "exhausted": 0, "tie_broken": false},
            ], false, 1],
        ],
    }) },
    Case { why: "final without a vote, nor anything of a cell but its genesis", cells: [Some(&[]), Some(&[])], status: Status::Final, expected: || json!({
        "abstentions": 0, "votes": 0,
        "contests": [
            [0, [0, 0, 0], null, false, null],
            [0, [0, 0, 0, 0], null, false, null],
            [0, [0, 0, 0, 0], [{"counts": [0, 0, 0, 0], "eliminated": null, "exhausted": 0, "tie_broken": false}], false, null],
        ],
    }) },
    Case { why: "cancelled: the sums stand, nobody wins", cells: [Some(CELL_0), Some(CELL_1)], status: Status::Cancelled, expected: || json!({
        "abstentions": 1, "votes": 7,
        "contests": [[1, [3, 3, 0], null, null, null], [3, [1, 3, 2, 1], null, null, null], [2, [2, 2, 1, 0], null, null, null]],
    }) },
];

fn votes(cell: u32, choices: Votes) -> Vec<Vote> {
    voters(&ELECTION, cell, 0, choices.len())
        .into_iter()
        .zip(choices)
        .map(|(voter, choices)| unsigned_vote(&ELECTION, voter, choices))
        .collect()
}

/// The cell's part, and its newest tally entry.
fn part(cell: u32, choices: Option<Votes>) -> (CellPart, Option<Vec<u8>>) {
    let Some(choices) = choices else {
        let unpublished = CellPart {
            size: 0,
            tally: None,
        };
        return (unpublished, None);
    };
    if choices.is_empty() {
        let empty = CellPart {
            size: 1,
            tally: None,
        };
        return (empty, None);
    }
    let (log, state) = cell_log(cell, &[&votes(cell, choices)]);
    let size = log.size();
    let proof = log.proof(size - 1, size, log.checkpoint(size, "main"));
    let tally = Tally {
        batch: 1,
        time: state.last_time(),
        totals: state.tally().clone(),
    };
    let entry = tally.encode();
    assert_eq!(&entry, log.entries.last().unwrap());
    let part = CellPart {
        size,
        tally: Some((tally.totals, proof)),
    };
    (part, Some(entry))
}

fn parts(case: &Case) -> Vec<(CellPart, Option<Vec<u8>>)> {
    (0..)
        .zip(case.cells)
        .map(|(cell, choices)| part(cell, choices))
        .collect()
}

fn rankings(case: &Case) -> Vec<Rankings> {
    let mut rankings = vec![Rankings::new(); 3];
    for choices in case.cells.iter().flatten().copied().flatten() {
        for (contest, chosen) in rankings.iter_mut().zip(choices).skip(2) {
            *contest.entry(chosen.to_vec()).or_default() += 1;
        }
    }
    rankings
}

fn make(case: &Case) -> Results {
    let parts: Vec<CellPart> = parts(case).into_iter().map(|(part, _)| part).collect();
    match case.status {
        Status::Open => Results::open(&ELECTION, &parts),
        Status::Cancelled => Results::cancelled(&ELECTION, &parts),
        Status::Final => Results::finalize(&ELECTION, &parts, &rankings(case)),
    }
    .unwrap()
}

/// The document that the specification asks for, put together without the code under test.
fn expected_text(case: &Case) -> String {
    let mut expected = (case.expected)();
    let contests: Vec<Value> = expected["contests"]
        .as_array()
        .unwrap()
        .iter()
        .zip(ELECTION.contests())
        .map(|(numbers, contest)| {
            json!({
                "blanks": numbers[0], "counts": numbers[1], "name": contest.name, "options": contest.options,
                "rounds": numbers[2], "tie_broken": numbers[3], "winner": numbers[4],
            })
        })
        .collect();
    let cells: Vec<Value> = (0..)
        .zip(parts(case))
        .map(|(cell, (part, _)): (u32, _)| {
            json!({"cell": cell, "proof": part.tally.map(|(_, proof)| proof), "size": part.size})
        })
        .collect();
    expected["contests"] = json!(contests);
    expected["cells"] = json!(cells);
    expected["election"] = json!(ELECTION.id());
    expected["format"] = json!(RESULTS_FORMAT);
    expected["status"] = json!(case.status);
    text(&expected)
}

fn text(value: &Value) -> String {
    String::from_utf8(serde_json_canonicalizer::to_vec(value).unwrap()).unwrap()
}

/// A final document's member to be named as wrong, why, and the change that makes it contradict the manifest or itself.
type Contradiction = (&'static str, &'static str, fn(&mut Value));

#[rustfmt::skip]
const CONTRADICTIONS: &[Contradiction] = &[
    ("format", "another format", |r| r["format"] = json!("tallyroot/v2/results")),
    ("election", "another election", |r| r["election"] = json!("00".repeat(32))),
    ("abstentions", "more abstentions than votes", |r| r["abstentions"] = json!(8)),
    ("cells", "a cell missing", |r| { r["cells"].as_array_mut().unwrap().pop(); }),
    ("cells[0].cell", "cells out of order", |r| { r["cells"][0]["cell"] = json!(1); r["cells"][1]["cell"] = json!(0); }),
    ("cells[0].proof", "a tally in a log of two entries", |r| r["cells"][0]["size"] = json!(2)),
    ("cells[0].proof", "no tally, where the size says that there is one", |r| r["cells"][0]["proof"] = json!(null)),
    ("cells[0].proof", "a size of three without a tally", |r| { r["cells"][0]["size"] = json!(3); r["cells"][0]["proof"] = json!(null); }),
    ("cells[0].proof", "a proof that is none", |r| r["cells"][0]["proof"] = json!("x")),
    ("cells[0].proof", "a proof of an entry above the size", |r| r["cells"][0]["size"] = json!(3)),
    ("cells[0].proof", "a proof of the entry at the size", |r| r["cells"][0]["size"] = json!(5)),
    ("cells[1].size", "final, at a size below the genesis", |r| { r["cells"][1]["size"] = json!(0); r["cells"][1]["proof"] = json!(null); }),
    ("contests", "a contest missing", |r| { r["contests"].as_array_mut().unwrap().pop(); }),
    ("contests[0].name", "another name", |r| r["contests"][0]["name"] = json!("King")),
    ("contests[0].options", "another option", |r| r["contests"][0]["options"][0] = json!("Eve")),
    ("contests[0].counts", "a count missing", |r| { r["contests"][0]["counts"].as_array_mut().unwrap().pop(); }),
    ("contests[0].counts", "a vote too many in a plurality contest", |r| r["contests"][0]["counts"][0] = json!(4)),
    ("contests[1].counts", "more approvals of an option than ballots", |r| r["contests"][1]["counts"][0] = json!(5)),
    ("contests[1].counts", "fewer approvals than ballots that approve", |r| r["contests"][1]["counts"] = json!([1, 1, 1, 0])),
    ("contests[0].blanks", "fewer blanks than abstentions", |r| r["contests"][0]["blanks"] = json!(0)),
    ("contests[0].blanks", "more blanks than votes", |r| r["contests"][0]["blanks"] = json!(8)),
    ("contests[0].tie_broken", "final without saying whether a tie was broken", |r| r["contests"][0]["tie_broken"] = json!(null)),
    ("contests[0].rounds", "rounds in a plurality contest", |r| r["contests"][0]["rounds"] = json!([])),
    ("contests[2].rounds", "final without rounds", |r| r["contests"][2]["rounds"] = json!(null)),
    ("contests[2].rounds", "a round with a count missing", |r| { r["contests"][2]["rounds"][0]["counts"].as_array_mut().unwrap().pop(); }),
    ("contests[2].rounds", "final without any round", |r| r["contests"][2]["rounds"] = json!([])),
    ("contests[2].rounds", "more rounds than options", |r| { let rounds = r["contests"][2]["rounds"].as_array_mut().unwrap(); rounds.resize(5, rounds[0].clone()); }),
    ("contests[2].rounds", "a round with more ballots than votes", |r| r["contests"][2]["rounds"][0]["counts"][0] = json!(8)),
    ("contests[2].rounds", "more exhausted ballots than votes", |r| r["contests"][2]["rounds"][0]["exhausted"] = json!(8)),
    ("contests[2].rounds", "a round that eliminates what is no option", |r| r["contests"][2]["rounds"][0]["eliminated"] = json!(4)),
    ("contests[0].winner", "open, and names a winner", |r| {
        r["status"] = json!("open");
        for contest in r["contests"].as_array_mut().unwrap() {
            contest["tie_broken"] = json!(null);
            contest["rounds"] = json!(null);
        }
    }),
    ("contests[0].winner", "a winner that is no option", |r| r["contests"][0]["winner"] = json!(3)),
    ("contests[0].tie_broken", "open, and says how a tie was broken", |r| r["status"] = json!("open")),
    ("json", "an unknown status", |r| r["status"] = json!("sure")),
    ("json", "an unknown member", |r| r["clock"] = json!(1)),
];

#[test]
fn vectors() {
    let mut cases: Vec<Value> = CASES
        .iter()
        .map(|case| {
            let tallies: Vec<Option<String>> = parts(case)
                .into_iter()
                .map(|(_, entry)| entry.map(hex::encode))
                .collect();
            let ballots: Vec<_> = case.cells.iter().map(|votes| votes.unwrap_or_default()).collect();
            json!({"why": case.why, "valid": true, "results": expected_text(case), "tallies": tallies, "ballots": ballots})
        })
        .collect();
    let good = expected_text(&CASES[4]);
    for (_, why, edit) in CONTRADICTIONS {
        let mut value: Value = serde_json::from_str(&good).unwrap();
        edit(&mut value);
        cases.push(json!({"why": why, "valid": false, "results": text(&value)}));
    }
    cases.push(
        json!({"why": "not canonical", "valid": false, "results": good.replacen(',', ", ", 1)}),
    );
    let about = "results.json of the election `base` of manifest.json, specs/protocol.md section 12. Where `valid`: `tallies` are the cells' newest tally entries, `ballots` the choices of each cell's votes, \
        `results` what follows from them. Where not: a document that contradicts the manifest or itself.";
    for case in vector_cases("results.json", about, &cases) {
        let parsed = Results::parse(case["results"].as_str().unwrap().as_bytes(), &ELECTION);
        assert_eq!(parsed.is_ok(), case["valid"], "{}", case["why"]);
    }
}

#[test]
fn results_are_what_the_specification_says() {
    for case in CASES {
        let results = make(case);
        let bytes = results.to_bytes().unwrap();
        assert_eq!(
            std::str::from_utf8(&bytes).unwrap(),
            expected_text(case),
            "{}",
            case.why
        );
        assert_eq!(Results::parse(&bytes, &ELECTION).unwrap(), results);
    }
}

#[test]
fn contradictions_are_named() {
    let good = expected_text(&CASES[4]);
    for (expected, why, edit) in CONTRADICTIONS {
        let mut value: Value = serde_json::from_str(&good).unwrap();
        edit(&mut value);
        match Results::parse(text(&value).as_bytes(), &ELECTION) {
            Err(ResultsError::Member { member, .. }) => assert_eq!(member, *expected, "{why}"),
            Err(ResultsError::Json(_)) => assert_eq!("json", *expected, "{why}"),
            Ok(_) => panic!("{why}"),
        }
    }
}

#[test]
fn what_does_not_add_up_is_not_published() {
    let parts: Vec<CellPart> = parts(&CASES[4]).into_iter().map(|(part, _)| part).collect();
    assert!(Results::open(&ELECTION, &parts[..1]).is_err());
    let good = rankings(&CASES[4]);
    assert!(Results::finalize(&ELECTION, &parts, &good[..2]).is_err());
    let mut lost_ballot = good.clone();
    lost_ballot[2].remove([2u16, 1].as_slice());
    assert!(Results::finalize(&ELECTION, &parts, &lost_ballot).is_err());
    let mut overflow = parts.clone();
    overflow[0].tally.as_mut().unwrap().0.votes = u64::MAX;
    assert!(Results::open(&ELECTION, &overflow).is_err());
    let mut huge = parts;
    huge[0].tally.as_mut().unwrap().0.votes = 1 << 53;
    assert!(Results::open(&ELECTION, &huge).unwrap().to_bytes().is_err());
}
