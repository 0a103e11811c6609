use protocol::manifest::{Election, Manifest};
use protocol::merkle::Hash;

use protocol::ids::shard_of;

use super::*;

#[path = "../../tests/suite/common/manifest.rs"]
mod manifest;

const NOW: u64 = manifest::OPENING + 1;

fn election(change: impl FnOnce(&mut Manifest)) -> Election {
    let mut manifest = manifest::manifest();
    change(&mut manifest);
    Election::new(&manifest).unwrap()
}

fn state(size: u64, count: u64) -> Known {
    let root = Hash([u8::try_from(size).unwrap(); 32]);
    Known {
        end: End { size, root },
        closed: false,
        count: Some(count),
    }
}

fn closed(size: u64, count: u64) -> Known {
    Known {
        closed: true,
        ..state(size, count)
    }
}

fn judged(election: &Election, before: &[Known], looks: Vec<Look>) -> Judged {
    judge(election, &Schedule::new(election), NOW, 0, before, looks)
}

fn sizes(judged: &Judged) -> Vec<u64> {
    judged.head.logs.iter().map(|log| log.size).collect()
}

fn states(judged: &Judged) -> Vec<LogState> {
    judged.head.logs.iter().map(|log| log.state).collect()
}

#[test]
fn cells_are_taken_in_order_for_as_long_as_issuance_explains_them() {
    let election = election(|_| ());
    let before = [state(1, 0), state(1, 0), state(1, 0), state(1, 0)];
    // Cell 0 alone would be one vote too many, cell 1 fits.
    let looks = vec![
        Ok(state(9, 4)),
        Ok(state(7, 3)),
        Ok(state(3, 2)),
        Ok(state(2, 1)),
    ];
    let head = judged(&election, &before, looks);
    assert_eq!(sizes(&head), [1, 7, 3, 2]);
    assert_eq!(
        states(&head),
        [
            LogState::Stale,
            LogState::Open,
            LogState::Open,
            LogState::Open
        ]
    );
    assert!(head.stale[0].as_ref().unwrap().contains("4 votes"));
    assert!(!head.is_final);
    // The held cell is where it was, so the next look begins there.
    assert_eq!(head.known[0], before[0]);
}

#[test]
fn every_registrar_must_have_issued_as_much() {
    let two = |manifest: &mut Manifest| {
        let mut second = manifest.registrars[0].clone();
        second.name = "Second".to_owned();
        second.rsa = manifest::other_rsa();
        second.shards = vec![manifest::pair("second")];
        manifest.registrars.push(second);
    };
    let election = election(two);
    let before = [state(1, 0); 5];
    let looks = |second| {
        vec![
            Ok(state(3, 2)),
            Ok(state(1, 0)),
            Ok(state(3, 2)),
            Ok(state(2, 1)),
            second,
        ]
    };
    assert_eq!(
        sizes(&judged(&election, &before, looks(Ok(state(2, 1)))))[0],
        1
    );
    assert_eq!(
        sizes(&judged(&election, &before, looks(Ok(state(3, 2)))))[0],
        3
    );
    // "in each head in which no issuance log is stale": here one is, so the rule is not judged.
    assert_eq!(
        sizes(&judged(&election, &before, looks(Err("away".to_owned()))))[0],
        3
    );
}

#[test]
fn a_shard_holds_no_more_than_its_part_of_the_roll() {
    let election = election(|manifest| manifest.roll.size = 5);
    // Indices 0, 1 and 2 are shard 0's; 3 and 4 are shard 1's.
    let before = [state(1, 0); 4];
    let looks = |zero, one| {
        vec![
            Ok(state(1, 0)),
            Ok(state(1, 0)),
            Ok(state(4, zero)),
            Ok(state(3, one)),
        ]
    };
    let fine = judged(&election, &before, looks(3, 2));
    assert_eq!(sizes(&fine), [1, 1, 4, 3]);
    let over = judged(&election, &before, looks(3, 3));
    assert_eq!(sizes(&over), [1, 1, 4, 1]);
    assert_eq!(states(&over)[3], LogState::Stale);
}

#[test]
fn shards_add_up_to_the_roll_whatever_its_size() {
    for size in [1, 2, 3, 7, 40, 41, 1 << 40] {
        let election = election(|manifest| {
            manifest.roll.size = size;
            manifest.registrars[0].shards.push(manifest::pair("third"));
        });
        let of = |shard| {
            let log = LogId::Issuance {
                registrar: 0,
                shard,
            };
            shard_voters(&election, 0, log)
        };
        assert_eq!(of(0) + of(1) + of(2), size);
        if size <= 41 {
            for shard in 0..3 {
                let counted = (0..size).filter(|index| shard_of(*index, 3, size) == Some(shard));
                assert_eq!(of(shard), counted.count() as u64, "{shard} of {size}");
            }
        }
    }
}

#[test]
fn what_is_closed_stays_closed_though_it_cannot_be_read() {
    let election = election(|_| ());
    let before = [closed(4, 2), closed(3, 1), closed(5, 3), closed(2, 0)];
    let looks = vec![
        Err("away".to_owned()),
        Ok(before[1]),
        Ok(before[2]),
        Ok(before[3]),
    ];
    let head = judged(&election, &before, looks);
    assert_eq!(states(&head), [LogState::Closed; 4]);
    assert!(head.is_final);
}

#[test]
fn every_head_that_is_judged_keeps_the_rules() {
    use proptest::prelude::*;
    let election = election(|manifest| manifest.roll.size = 6);
    let look = || {
        prop_oneof![
            4 => (1u64..6, 0u64..6, any::<bool>()).prop_map(|(more, count, closed)| Some((more, count, closed))),
            1 => Just(None),
        ]
    };
    proptest!(|(rounds in proptest::collection::vec((proptest::array::uniform4(look()), 0u64..1_200_000), 1..6))| {
        let mut grammar = protocol::grammar::HeadsLog::new(&election);
        let genesis = protocol::entry::Genesis::of(&election, LogId::Heads).encode();
        grammar.batch(0, &[&genesis]).unwrap();
        let mut known: Vec<Known> = election.logs().iter().map(|log| Known::genesis(&election, *log)).collect();
        let mut last = 0;
        for (n, (looks, now)) in (1..).zip(rounds) {
            let looks = looks.iter().zip(&known).map(|(look, before)| match look {
                Some((more, count, closes)) if !before.closed => {
                    let size = before.end.size + more;
                    let count = before.count.unwrap().max(*count);
                    Ok(if *closes { closed(size, count) } else { state(size, count) })
                }
                Some(_) => Ok(*before),
                None => Err("away".to_owned()),
            });
            let now = manifest::OPENING + now;
            let judged = judge(&election, grammar.schedule(), now, last, &known, looks.collect());
            // Whatever was seen, the head is one that every auditor accepts, without a remark but for logs that closed too early or not at all.
            let entry = if judged.is_final {
                protocol::entry::Entry::FinalHead(judged.head.clone())
            } else {
                protocol::entry::Entry::Head(judged.head.clone())
            };
            let summary = grammar.batch(n, &[&entry.encode()]).unwrap();
            prop_assert!(summary.remarks.iter().all(|remark| ["unclosed", "closed-early"].contains(&remark.code.as_str())), "{:?}", summary.remarks);
            let issuance_fresh = judged.head.logs[2..].iter().all(|log| log.state != LogState::Stale);
            let votes: u64 = judged.known[..2].iter().map(|known| known.count.unwrap()).sum();
            let issued: u64 = judged.known[2..].iter().map(|known| known.count.unwrap()).sum();
            prop_assert!(issued <= 6);
            let before: u64 = known[..2].iter().map(|known| known.count.unwrap()).sum();
            // A round with a stale issuance log may have let votes through; none are added to them until they are explained.
            prop_assert!(!issuance_fresh || votes <= issued || votes == before);
            last = judged.head.time;
            known = judged.known;
            if judged.is_final {
                break;
            }
        }
    });
}
