use openssl::rsa::Rsa;
use protocol::ed25519::SigningKey;
use protocol::manifest::{
    Anchor, AnchorKind, Contest, FORMAT, KeyPair, Manifest, Method, Registrar, Roll, TieRule,
    Times, Witnesses,
};

use super::*;

fn pair(of: u8) -> KeyPair {
    KeyPair {
        main: SigningKey::from_seed(&[of; 32]).public(),
        spare: SigningKey::from_seed(&[of + 100; 32]).public(),
    }
}

/// Ten voters in two shards.
fn election() -> Election {
    let manifest = Manifest {
        format: FORMAT.into(),
        title: "Test".into(),
        base: "votes.example".into(),
        demo: true,
        contests: vec![Contest {
            method: Method::Plurality,
            name: "Mayor".into(),
            options: vec!["Ada".into()],
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
            shards: vec![pair(2), pair(5)],
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

const fn at(n: u64, first_index: u64) -> Position {
    Position { n, first_index }
}

fn begun(election: &Election, refusals: &Refusals) -> IssuanceContent {
    let mut content = IssuanceContent::new(election, 0, 0, refusals.clone());
    let genesis = content.genesis();
    content.replay(at(0, 0), &[&genesis]).unwrap();
    content
}

fn replay(
    content: &mut IssuanceContent,
    at: Position,
    entries: &[Vec<u8>],
) -> Result<Replayed, ContentError> {
    let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
    content.replay(at, &entries)
}

#[test]
fn counts_come_once_and_after_what_they_count() {
    let election = election();
    let refusals = Refusals::default();
    let mut content = begun(&election, &refusals);
    refusals.add(|refused| &mut refused.other_message);
    let items = [count(), issuance(3, [1; 32]), count(), issuance(1, [2; 32])];
    let arranged = content.arrange(at(1, 1), 1_001, &items).unwrap();
    assert_eq!(
        arranged.places,
        [Place::At(2), Place::At(0), Place::At(2), Place::At(1)]
    );
    let [.., last] = arranged.entries.as_slice() else {
        panic!("no entries");
    };
    let Entry::Count(counted) = Entry::decode(last, &election).unwrap() else {
        panic!("no count");
    };
    assert_eq!((counted.issued, counted.time), (2, 2_000));
    assert_eq!(counted.refused.to_array(), [0, 1, 0, 0]);
    let replayed = replay(&mut content, at(1, 1), &arranged.entries).unwrap();
    let keyed: Vec<_> = replayed
        .keyed
        .iter()
        .map(|k| (k.offset, k.key, k.same))
        .collect();
    assert_eq!(keyed, [(0, key_of(3), [1; 32]), (1, key_of(1), [2; 32])]);

    // The end counts what the log holds, and nothing follows it.
    assert!(content.close(at(2, 4), 9, Some(b"x")).is_err());
    let close = content.close(at(2, 4), 9, None).unwrap();
    assert!(replay(&mut content, at(2, 4), &[close]).unwrap().closed);
    let late = content
        .arrange(at(3, 5), 9, &[issuance(0, [1; 32])])
        .unwrap();
    assert!(replay(&mut content, at(3, 5), &late.entries).is_err());
}

#[test]
fn whoever_takes_over_goes_on_from_the_published_counts() {
    let election = election();
    let before = Refusals::default();
    let mut first = begun(&election, &before);
    for _ in 0..5 {
        before.add(|refused| &mut refused.unknown_code);
    }
    let arranged = first.arrange(at(1, 1), 1, &[count()]).unwrap();

    let after = Refusals::default();
    after.add(|refused| &mut refused.malformed);
    let mut second = begun(&election, &after);
    replay(&mut second, at(1, 1), &arranged.entries).unwrap();
    after.add(|refused| &mut refused.unknown_code);
    assert_eq!(after.now().to_array(), [6, 0, 0, 1]);
}

#[test]
fn a_log_refuses_a_second_issuance_another_shards_voter_and_nobody() {
    let election = election();
    let mut content = begun(&election, &Refusals::default());
    let good = content
        .arrange(at(1, 1), 1, &[issuance(4, [1; 32])])
        .unwrap();
    replay(&mut content, at(1, 1), &good.entries).unwrap();
    for roll_index in [4, 5, 9, 10, u64::MAX] {
        let bad = content
            .arrange(at(2, 2), 1, &[issuance(roll_index, [2; 32])])
            .unwrap();
        assert!(
            replay(&mut content, at(2, 2), &bad.entries).is_err(),
            "{roll_index}"
        );
    }
}
