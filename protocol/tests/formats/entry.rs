//! Entries: their layouts, what a decoder refuses, and the signatures of votes and notices.

use proptest::prelude::*;
use protocol::ballot::Ballot;
use protocol::entry::{
    AuthorityKey, Close, ContestTotals, Count, Entry, Genesis, Head, HeadLog, Issuance, LogState,
    NoticeAction, Refused, Tally, TallyTotals, Vote, VoteError,
};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::Hash;
use serde_json::{Value, json};

use crate::fixture::{ELECTION, ISSUANCE, notice, unsigned_vote, vote, voters};
use crate::keys::array;
use crate::vectors::vector_cases;

pub(crate) fn head() -> Head {
    let states = [
        LogState::Open,
        LogState::Stale,
        LogState::Closed,
        LogState::Open,
        LogState::Open,
    ];
    let logs = (1..).zip(states).map(|(size, state)| HeadLog {
        state,
        size: size * 10,
        root: Hash(array(&format!("root {size}"))),
    });
    Head {
        time: 2_500_123,
        logs: logs.collect(),
    }
}

fn tally() -> Tally {
    let contest = |blanks, counts: &[u64]| ContestTotals {
        blanks,
        counts: counts.to_vec(),
    };
    Tally {
        batch: 7,
        time: 2_100_000,
        totals: TallyTotals {
            votes: 10,
            abstentions: 1,
            contests: vec![
                contest(2, &[5, 3, 0]),
                contest(1, &[9, 9, 0, 1]),
                contest(4, &[1, 2, 3, 0]),
            ],
        },
    }
}

/// One of each type and kind, all valid.
fn entries() -> Vec<(&'static str, Entry)> {
    let election = &*ELECTION;
    let signed = |key, sequence, action| Entry::Notice(notice(election, key, sequence, action));
    let root = Hash(array("switch root"));
    vec![
        (
            "genesis of a cell",
            Entry::Genesis(Genesis::of(election, LogId::Cell(1))),
        ),
        (
            "genesis of an issuance log",
            Entry::Genesis(Genesis::of(election, ISSUANCE)),
        ),
        (
            "genesis of the heads log",
            Entry::Genesis(Genesis::of(election, LogId::Heads)),
        ),
        (
            "a vote",
            Entry::Vote(vote(election, 1, &[&[1], &[0, 2], &[3, 1]])),
        ),
        (
            "an abstention",
            Entry::Vote(vote(election, 2, &[&[], &[], &[]])),
        ),
        ("a tally", Entry::Tally(tally())),
        (
            "a close",
            Entry::Close(Close {
                time: 3_000_000,
                count: 12,
            }),
        ),
        (
            "an issuance",
            Entry::Issuance(Issuance {
                roll_index: 499,
                blinded_digest: array("digest"),
            }),
        ),
        (
            "a count",
            Entry::Count(Count {
                time: 2_000_000,
                issued: 4,
                refused: Refused {
                    unknown_code: 1,
                    other_message: 2,
                    outside_period: 3,
                    malformed: 4,
                },
            }),
        ),
        ("a head", Entry::Head(head())),
        ("a final head", Entry::FinalHead(head())),
        (
            "extend",
            signed(
                AuthorityKey::Main,
                0,
                NoticeAction::Extend { closing: 4_000_000 },
            ),
        ),
        (
            "cancel, signed by the spare",
            signed(AuthorityKey::Spare, 1, NoticeAction::Cancel),
        ),
        (
            "freeze a cell",
            signed(
                AuthorityKey::Main,
                2,
                NoticeAction::Freeze {
                    log: LogId::Cell(0),
                },
            ),
        ),
        (
            "freeze an issuance log",
            signed(
                AuthorityKey::Main,
                3,
                NoticeAction::Freeze { log: ISSUANCE },
            ),
        ),
        (
            "switch the heads log",
            signed(
                AuthorityKey::Main,
                4,
                NoticeAction::Switch {
                    log: LogId::Heads,
                    size: 77,
                    root,
                },
            ),
        ),
    ]
}

fn encoded(name: &str) -> Vec<u8> {
    let (_, entry) = entries().into_iter().find(|(why, _)| *why == name).unwrap();
    entry.encode()
}

fn with(name: &str, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = encoded(name);
    edit(&mut bytes);
    bytes
}

/// What no decoder of this election accepts.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let max_time = (1u64 << 53).to_be_bytes();
    let set_time =
        |name: &str, at: usize| with(name, |bytes| bytes[at..at + 8].copy_from_slice(&max_time));
    vec![
        ("nothing", vec![]),
        ("an unknown type", with("a close", |b| b[0] = 0x0a)),
        ("type 0", with("a close", |b| b[0] = 0)),
        (
            "genesis of another election",
            with("genesis of a cell", |b| b[1] ^= 1),
        ),
        (
            "genesis of a cell that the election lacks",
            with("genesis of a cell", |b| b[37] = 2),
        ),
        (
            "genesis with an unused number",
            with("genesis of a cell", |b| b[41] = 1),
        ),
        ("a vote with a byte more", with("a vote", |b| b.push(0))),
        (
            "a vote with a byte less",
            with("a vote", |b| {
                b.pop();
            }),
        ),
        (
            "a vote with one registrar's signature only",
            with("a vote", |b| {
                b.drain(33..33 + 256);
            }),
        ),
        (
            "a vote for an option that the contest lacks",
            with("a vote", |b| b[546 + 3] = 3),
        ),
        (
            "a tally of fewer options",
            with("a tally", |b| b.truncate(b.len() - 8)),
        ),
        ("a tally with a byte more", with("a tally", |b| b.push(0))),
        ("a tally at 2^53", set_time("a tally", 9)),
        ("a close at 2^53", set_time("a close", 1)),
        ("a close with a byte more", with("a close", |b| b.push(0))),
        (
            "an issuance with a digest cut short",
            with("an issuance", |b| {
                b.pop();
            }),
        ),
        (
            "a count with a number missing",
            with("a count", |b| b.truncate(b.len() - 8)),
        ),
        ("a count at 2^53", set_time("a count", 1)),
        ("a head with an unknown state", with("a head", |b| b[9] = 3)),
        (
            "a head of one log fewer",
            with("a head", |b| b.truncate(b.len() - 41)),
        ),
        (
            "a head of one log more",
            with("a head", |b| b.extend([0; 41])),
        ),
        ("a head at 2^53", set_time("a head", 1)),
        ("a notice of an unknown kind", with("extend", |b| b[66] = 5)),
        ("a notice of kind 0", with("extend", |b| b[66] = 0)),
        ("a notice with key byte 2", with("extend", |b| b[1] = 2)),
        ("a closing time of 2^53", set_time("extend", 71)),
        (
            "a cancel with fields",
            with("cancel, signed by the spare", |b| b.push(0)),
        ),
        (
            "a freeze of the heads log",
            with("freeze a cell", |b| b[71] = 3),
        ),
        (
            "a freeze of a cell that the election lacks",
            with("freeze a cell", |b| b[75] = 9),
        ),
        (
            "a switch without root",
            with("switch the heads log", |b| b.truncate(b.len() - 32)),
        ),
        ("65,536 bytes", vec![2; 65_536]),
    ]
}

fn cases() -> Vec<Value> {
    let case = |why: &str, bytes: &[u8], entry: Option<&Entry>| json!({"why": why, "entry": hex::encode(bytes), "valid": entry.is_some(), "type": entry.map(Entry::name)});
    let valid = entries();
    let malformed = malformed();
    valid
        .iter()
        .map(|(why, entry)| case(why, &entry.encode(), Some(entry)))
        .chain(
            malformed
                .iter()
                // Half a vector file of one byte says nothing.
                .filter(|(_, bytes)| bytes.len() < 60_000)
                .map(|(why, bytes)| case(why, bytes, None)),
        )
        .chain(signature_cases())
        .collect()
}

/// Entries that decode, with signatures that do or do not verify.
fn signature_cases() -> Vec<Value> {
    let flips: [(&str, &str, usize); 8] = [
        ("another credential", "a vote", 1),
        ("the first registrar's signature changed", "a vote", 40),
        (
            "the second registrar's signature changed",
            "a vote",
            33 + 256 + 9,
        ),
        (
            "another option: the ballot signature is of the first",
            "a vote",
            546 + 3,
        ),
        ("the ballot signature changed", "a vote", 634 - 6),
        ("another closing time", "extend", 78),
        ("another sequence", "extend", 70),
        ("signed by the main key, and says spare", "extend", 1),
    ];
    let case = |why: &str, bytes: &[u8], valid: bool| {
        let name = Entry::decode(bytes, &ELECTION).unwrap().name();
        json!({"why": why, "entry": hex::encode(bytes), "valid": true, "type": name, "signatures": valid})
    };
    let mut cases = vec![
        case("a vote, its signatures", &encoded("a vote"), true),
        case("a notice, its signature", &encoded("extend"), true),
        case(
            "a notice, by the spare",
            &encoded("cancel, signed by the spare"),
            true,
        ),
    ];
    for (why, name, at) in flips {
        let at = if why.contains("ballot signature changed") {
            encoded(name).len() - 6
        } else {
            at
        };
        cases.push(case(why, &with(name, |bytes| bytes[at] ^= 1), false));
    }
    let small_order = with("a vote", |bytes| {
        bytes[1..33].fill(0);
        bytes[1] = 1;
    });
    cases.push(case("a credential of small order", &small_order, false));
    cases
}

fn signatures_verify(entry: &Entry) -> bool {
    match entry {
        Entry::Vote(vote) => vote.verify(&ELECTION).is_ok(),
        Entry::Notice(notice) => notice.verify(&ELECTION).is_ok(),
        _ => panic!("has no signature"),
    }
}

#[test]
fn vectors() {
    let about = "Entries of the election `base` of manifest.json, specs/protocol.md section 7. `valid`: whether the bytes are an entry; \
        `signatures`, where given: whether all its signatures verify too.";
    for case in vector_cases("entry.json", about, &cases()) {
        let why = &case["why"];
        let bytes = hex::decode(case["entry"].as_str().unwrap()).unwrap();
        let entry = Entry::decode(&bytes, &ELECTION);
        assert_eq!(entry.is_ok(), case["valid"], "{why}");
        if let Ok(entry) = entry {
            assert_eq!(entry.name(), case["type"], "{why}");
            assert_eq!(entry.encode(), bytes, "{why}");
            if let Some(expected) = case.get("signatures") {
                assert_eq!(signatures_verify(&entry), *expected, "{why}");
            }
        }
    }
}

#[test]
fn every_type_survives_encoding() {
    for (why, entry) in entries() {
        assert_eq!(
            Entry::decode(&entry.encode(), &ELECTION).unwrap(),
            entry,
            "{why}"
        );
    }
}

#[test]
fn what_is_malformed_is_refused() {
    for (why, bytes) in malformed() {
        assert!(Entry::decode(&bytes, &ELECTION).is_err(), "{why}");
    }
}

#[test]
fn layouts_are_those_of_the_specification() {
    let id = ELECTION.id();
    let genesis = [&[1u8][..], id.as_bytes(), &[1, 0, 0, 0, 1, 0, 0, 0, 0]].concat();
    assert_eq!(encoded("genesis of a cell"), genesis);

    let Entry::Vote(vote) = &entries()[3].1 else {
        panic!()
    };
    let ballot = hex::decode("00010001000200000002000200030001").unwrap();
    assert_eq!(vote.ballot.encode(), ballot);
    let fields = [
        &[2u8][..],
        &vote.credential,
        &vote.signatures[0],
        &vote.signatures[1],
        &ballot,
        &vote.signature,
    ];
    assert_eq!(encoded("a vote"), fields.concat());

    let numbers: [u64; 18] = [
        7, 2_100_000, 10, 1, 2, 5, 3, 0, 1, 9, 9, 0, 1, 4, 1, 2, 3, 0,
    ];
    let tally: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
    assert_eq!(encoded("a tally"), [&[3u8][..], &tally].concat());

    let head = encoded("a head");
    assert_eq!(head.len(), 9 + 5 * 41);
    assert_eq!(head[0], 7);
    assert_eq!(head[9 + 41], 1);
    assert_eq!(head[9 + 2 * 41..][..9], [2, 0, 0, 0, 0, 0, 0, 0, 30]);
    assert_eq!(encoded("a final head")[1..], head[1..]);
    assert_eq!(encoded("a final head")[0], 9);

    let extend = encoded("extend");
    assert_eq!(extend[..2], [8, 0]);
    assert_eq!(
        extend[66..],
        [&[1u8, 0, 0, 0, 0][..], &4_000_000u64.to_be_bytes()].concat()
    );
}

#[test]
fn a_vote_names_what_is_wrong_with_it() {
    let election: &Election = &ELECTION;
    let voter = voters(election, 1, 1, 1)[0];
    let good = vote(election, voter, &[&[0], &[], &[]]);
    assert_eq!(good.verify(election), Ok(()));
    assert_eq!(good.check_cheap(election, 1), Ok(()));
    assert_eq!(
        good.check_cheap(election, 0),
        Err(VoteError::WrongCell { cell: 1 })
    );

    let mut by_other_registrar = good.clone();
    by_other_registrar.signatures[1][0] ^= 0x40;
    assert!(matches!(
        by_other_registrar.verify(election),
        Err(VoteError::BadRegistrarSignature { registrar: 1, .. })
    ));
    let mut one_short = good.clone();
    one_short.signatures.pop();
    assert_eq!(one_short.verify(election), Err(VoteError::SignatureCount));
    let mut other_ballot = good.clone();
    other_ballot.ballot = Ballot::new(&[vec![1], vec![], vec![]], election.contests()).unwrap();
    assert!(matches!(
        other_ballot.verify(election),
        Err(VoteError::BadBallotSignature(_))
    ));
    assert!(!other_ballot.is_same(&good));

    // Somebody else's signatures of their own credential do not fit this one.
    let other = vote(election, voter + 1, &[&[0], &[], &[]]);
    let mut stolen = good.clone();
    stolen.signatures = other.signatures.clone();
    assert!(matches!(
        stolen.verify(election),
        Err(VoteError::BadRegistrarSignature { registrar: 0, .. })
    ));
    // Two signatures of one ballot are the same vote.
    let mut resigned = good.clone();
    resigned.signature = [1; 64];
    assert!(resigned.is_same(&good));
}

#[test]
fn votes_of_another_election_do_not_verify_here() {
    let mut manifest = crate::fixture::manifest();
    manifest.title = "Another".to_owned();
    let other = Election::new(&manifest).unwrap();
    let vote = vote(&other, 1, &[&[0], &[], &[]]);
    assert!(vote.verify(&other).is_ok());
    assert!(vote.verify(&ELECTION).is_err());
    let notice = notice(&other, AuthorityKey::Main, 0, NoticeAction::Cancel);
    assert!(notice.verify(&other).is_ok());
    assert!(notice.verify(&ELECTION).is_err());
}

#[test]
fn totals_add_up_and_never_wrap() {
    let contests = ELECTION.contests();
    let mut totals = TallyTotals::zero(contests);
    for choices in [
        [vec![1u16], vec![0, 2], vec![3, 1]],
        [vec![], vec![], vec![]],
        [vec![1], vec![], vec![3]],
    ] {
        totals.add(&Ballot::new(&choices, contests).unwrap(), contests);
    }
    assert_eq!((totals.votes, totals.abstentions), (3, 1));
    let numbers: Vec<_> = totals
        .contests
        .iter()
        .map(|contest| (contest.blanks, contest.counts.as_slice()))
        .collect();
    assert_eq!(
        numbers,
        [
            (1, [0, 2, 0].as_slice()),
            (2, &[1, 0, 1, 0]),
            (1, &[0, 0, 0, 2])
        ]
    );
    let mut sum = totals.clone();
    assert_eq!(sum.merge(&totals), Some(()));
    assert_eq!(sum.votes, 6);
    assert_eq!(sum.contests[0].counts, [0, 4, 0]);
    sum.votes = u64::MAX;
    assert_eq!(sum.merge(&totals), None);
}

proptest! {
    /// "a decoder must accept exactly what the encoder produces"
    #[test]
    fn accepted_bytes_encode_identically(
        which in 0usize..16,
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        cut in 0usize..4,
        tail in proptest::collection::vec(any::<u8>(), 0..3),
    ) {
        let mut bytes = ENCODED[which].clone();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cut == 0 {
            bytes.pop();
        }
        bytes.extend(tail);
        if let Ok(entry) = Entry::decode(&bytes, &ELECTION) {
            prop_assert_eq!(entry.encode(), bytes);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(entry) = Entry::decode(&bytes, &ELECTION) {
            prop_assert_eq!(entry.encode(), bytes);
        }
    }

    #[test]
    fn votes_survive(voter in 0u32..1000, mayor in proptest::option::of(0u16..3), ranked in 0usize..=4) {
        let mayor: Vec<u16> = mayor.into_iter().collect();
        let vote = unsigned_vote(&ELECTION, voter, &[&mayor, &[], &[2, 0, 3, 1][..ranked]]);
        prop_assert_eq!(Vote::decode(&vote.encode(), &ELECTION).unwrap(), vote);
    }
}

static ENCODED: std::sync::LazyLock<Vec<Vec<u8>>> =
    std::sync::LazyLock::new(|| entries().iter().map(|(_, entry)| entry.encode()).collect());
