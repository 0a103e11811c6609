use openssl::rsa::Rsa;
use protocol::ballot::Ballot;
use protocol::ed25519::SigningKey;
use protocol::manifest::{
    Anchor, AnchorKind, Contest, FORMAT, KeyPair, Manifest, Method, Registrar, Roll, TieRule,
    Times, Witnesses,
};
use protocol::merkle::leaf_hash;

use super::*;

fn pair(of: u8) -> KeyPair {
    KeyPair {
        main: SigningKey::from_seed(&[of; 32]).public(),
        spare: SigningKey::from_seed(&[of + 100; 32]).public(),
    }
}

fn election() -> Election {
    let manifest = Manifest {
        format: FORMAT.into(),
        title: "Test".into(),
        base: "votes.example".into(),
        demo: true,
        contests: vec![Contest {
            method: Method::Ranked,
            name: "Mayor".into(),
            options: vec!["Ada".into(), "Grace".into()],
            tie_rule: TieRule::ListedOrder,
        }],
        times: Times {
            registration: 1,
            opening: 1,
            closing: 1_000_000,
            grace: 10_000,
        },
        retention: 1_000_000,
        cells: vec![pair(1)],
        registrars: vec![Registrar {
            name: "Registrar".into(),
            rsa: Rsa::generate(2048).unwrap().public_key_to_der().unwrap(),
            shards: vec![pair(2)],
        }],
        heads: pair(3),
        authority: pair(4),
        roll: Roll {
            size: 10,
            root: [7; 32],
        },
        batch_min: 1,
        batch_wait_ms: 1_000,
        cast_delay_s: 0,
        head_interval_ms: 100,
        anchors: vec![Anchor {
            kind: AnchorKind::Directory,
            name: "demo".into(),
        }],
        witnesses: Witnesses {
            keys: vec![],
            quorum: 0,
        },
    };
    Election::new(&manifest).unwrap()
}

/// A vote whose signatures nobody checks here.
fn vote(election: &Election, number: u8, choice: &[u16]) -> Vote {
    Vote {
        credential: [number; 32],
        signatures: vec![vec![1; 256]],
        ballot: Ballot::new(&[choice], election.contests()).unwrap(),
        signature: [number; 64],
    }
}

fn slices(entries: &[Vec<u8>]) -> Vec<&[u8]> {
    entries.iter().map(Vec::as_slice).collect()
}

fn begun(election: &Election) -> CellContent {
    let mut content = CellContent::new(election, 0);
    let genesis = content.genesis();
    content.replay(at(0, 0), &[&genesis]).unwrap();
    content
}

const fn at(n: u64, first_index: u64) -> Position {
    Position { n, first_index }
}

#[test]
fn a_batch_is_sorted_and_each_submission_finds_its_place() {
    let election = election();
    let mut content = begun(&election);
    let votes: Vec<Vote> = (1..60)
        .map(|i| vote(&election, i, &[u16::from(i) % 2]))
        .collect();
    let items: Vec<Submission> = votes.iter().map(submission).collect();
    let arranged = content.arrange(at(1, 1), 1_500, &items).unwrap();
    assert_eq!(arranged.entries.len(), 60);
    let leaves: Vec<_> = arranged.entries[..59]
        .iter()
        .map(|entry| leaf_hash(entry))
        .collect();
    assert!(leaves.is_sorted() && !items.iter().map(|i| leaf_hash(&i.entry)).is_sorted());
    for (item, place) in items.iter().zip(&arranged.places) {
        let Place::At(offset) = place else {
            panic!("refused: {place:?}");
        };
        assert_eq!(arranged.entries[*offset as usize], item.entry);
    }
    let replayed = content
        .replay(at(1, 1), &slices(&arranged.entries))
        .unwrap();
    assert!(!replayed.closed);
    assert_eq!(replayed.keyed.len(), 59);
    for keyed in replayed.keyed {
        let entry = &arranged.entries[keyed.offset as usize];
        let item = items.iter().find(|item| item.entry == *entry).unwrap();
        assert_eq!((Some(keyed.key), keyed.same), (item.key, item.same));
    }
}

#[test]
fn what_is_no_vote_is_refused_alone_and_times_never_fall() {
    let election = election();
    let mut content = begun(&election);
    let good = submission(&vote(&election, 1, &[1, 0]));
    let mut foreign = submission(&vote(&election, 2, &[]));
    foreign.entry.push(0);
    let mut mislabelled = submission(&vote(&election, 3, &[]));
    mislabelled.key = Some([9; 32]);
    let close = Submission {
        key: None,
        same: [0; 32],
        entry: content.close(at(1, 1), 5, None).unwrap(),
    };
    let items = [foreign.clone(), good, mislabelled, close];
    let arranged = content.arrange(at(1, 1), 2_001, &items).unwrap();
    assert!(matches!(
        arranged.places[..],
        [
            Place::Refused(_),
            Place::At(0),
            Place::Refused(_),
            Place::Refused(_)
        ]
    ));
    content
        .replay(at(1, 1), &slices(&arranged.entries))
        .unwrap();

    // Nothing left: no batch.
    let nothing = content.arrange(at(2, 3), 2_001, &[foreign]).unwrap();
    assert!(nothing.entries.is_empty());

    // The clock went back; the log's time does not.
    let next = [submission(&vote(&election, 4, &[]))];
    let arranged = content.arrange(at(2, 3), 7, &next).unwrap();
    let Entry::Tally(tally) = Entry::decode(&arranged.entries[1], &election).unwrap() else {
        panic!("no tally");
    };
    assert_eq!(
        (tally.time, tally.totals.votes, tally.totals.abstentions),
        (3_000, 2, 1)
    );
    // Another batch number than the log's next is a fault of the sequencer, not of a voter.
    assert!(content.arrange(at(3, 3), 7, &next).is_err());
}

#[test]
fn it_makes_its_own_close_and_nothing_follows() {
    let election = election();
    let mut content = begun(&election);
    assert!(content.close(at(1, 1), 5, Some(b"x")).is_err());
    let close = content.close(at(1, 1), 5, None).unwrap();
    assert!(content.replay(at(1, 1), &[&close]).unwrap().closed);
    let items = [submission(&vote(&election, 1, &[]))];
    let arranged = content.arrange(at(2, 2), 9, &items).unwrap();
    assert!(
        content
            .replay(at(2, 2), &slices(&arranged.entries))
            .is_err()
    );
}

#[test]
fn signatures_do_not_make_another_vote_and_ballots_do() {
    let election = election();
    let first = vote(&election, 1, &[1, 0]);
    let signed_again = Vote {
        signature: [8; 64],
        signatures: vec![vec![2; 256]],
        ..first.clone()
    };
    assert_eq!(submission(&first).same, submission(&signed_again).same);
    assert_ne!(
        submission(&first).same,
        submission(&vote(&election, 1, &[0, 1])).same
    );
    assert_ne!(
        submission(&first).same,
        submission(&vote(&election, 2, &[1, 0])).same
    );
}
