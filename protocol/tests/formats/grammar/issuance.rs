//! Issuance logs.

use protocol::entry::{Close, Count, Issuance, Refused};
use protocol::grammar::{GrammarCode, IssuanceLog};
use protocol::ids::LogId;

use super::{Batches, Case, genesis};
use crate::fixture::{ELECTION, ISSUANCE};
use crate::keys::array;

fn issue(roll_index: u64) -> Vec<u8> {
    Issuance {
        roll_index,
        blinded_digest: array(&format!("blinded {roll_index}")),
    }
    .encode()
}

fn count(time: u64, issued: u64, unknown_code: u64) -> Vec<u8> {
    let refused = Refused {
        unknown_code,
        other_message: 1,
        outside_period: 0,
        malformed: 7,
    };
    Count {
        time,
        issued,
        refused,
    }
    .encode()
}

fn close(time: u64, count: u64) -> Vec<u8> {
    Close { time, count }.encode()
}

/// Genesis, then these batches.
fn log(batches: &[Vec<Vec<u8>>]) -> Batches {
    [&[genesis(ISSUANCE)], batches].concat()
}

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    use GrammarCode as Code;
    let ok = |why, batches: &[_]| Case::new(why, ISSUANCE, log(batches), None);
    let bad = |why, batches: &[_], code, index| Case::new(why, ISSUANCE, log(batches), Some((code, index)));
    let first = vec![issue(0), issue(499), count(1_000_000, 2, 3)];
    vec![
        ok("genesis alone", &[]),
        ok("issuances and a count", std::slice::from_ref(&first)),
        ok("a count alone", &[vec![count(1_000_000, 0, 0)]]),
        ok("a count between issuances of one batch", &[vec![issue(1), count(1_000_000, 1, 0), issue(2)], vec![count(1_000_000, 2, 0)]]),
        ok("closed", &[first.clone(), vec![close(3_000_000, 2)]]),
        ok("closed without issuance", &[vec![close(3_000_000, 0)]]),
        bad("a roll index that the roll lacks", &[first.clone(), vec![issue(1_000)]], Code::OffRoll, 4),
        bad("a roll index of the other shard", &[first.clone(), vec![issue(500)]], Code::WrongShard, 4),
        bad("a voter's second issuance", &[first.clone(), vec![issue(1), issue(499)]], Code::DuplicateIssuance, 5),
        bad("a voter's second issuance in one batch", &[vec![issue(7), issue(8), issue(7)]], Code::DuplicateIssuance, 3),
        bad("a count that says one too many", &[first.clone(), vec![issue(1), count(1_000_000, 4, 3)]], Code::WrongCount, 5),
        bad("a number of refusals that falls", &[first.clone(), vec![count(1_000_000, 2, 2)]], Code::CountFalls, 4),
        bad("a count before the last", &[first.clone(), vec![count(999_000, 2, 3)]], Code::TimeFalls, 4),
        bad("a count that is not on the grain", &[first.clone(), vec![count(1_000_500, 2, 3)]], Code::TimeGrain, 4),
        bad("a close with a wrong count", &[first.clone(), vec![close(3_000_000, 3)]], Code::WrongCount, 4),
        bad("a close before the last count", &[first.clone(), vec![close(999_000, 2)]], Code::TimeFalls, 4),
        bad("a close that is not alone", &[first.clone(), vec![issue(1), close(3_000_000, 3)]], Code::Order, 5),
        bad("an issuance after the close", &[first.clone(), vec![close(3_000_000, 2)], vec![issue(1)]], Code::AfterEnd, 5),
        bad("a second genesis", &[first.clone(), genesis(ISSUANCE)], Code::Order, 4),
        Case::new("issuances in a cell", LogId::Cell(0), vec![genesis(LogId::Cell(0)), first], Some((Code::Order, 1))),
    ]
}

#[test]
fn the_log_knows_who_has_a_credential() {
    let mut log = IssuanceLog::new(&ELECTION, 0, 1);
    let id = LogId::Issuance {
        registrar: 0,
        shard: 1,
    };
    log.batch(0, &[&genesis(id)[0]]).unwrap();
    let indices = [500, 511, 512, 575, 576, 999];
    let entries: Vec<Vec<u8>> = indices.into_iter().map(issue).collect();
    let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
    log.batch(1, &entries).unwrap();
    for index in 0..1_100 {
        assert_eq!(log.is_issued(index), indices.contains(&index), "{index}");
    }
    assert_eq!(log.issued(), 6);

    // What the registrar would append next is accepted.
    let refused = Refused {
        unknown_code: 5,
        ..Refused::default()
    };
    let count = log.next_count(1, refused, 1_234).encode();
    log.batch(2, &[&issue(600), &count]).unwrap();
    assert_eq!((log.last_time(), log.refused()), (2_000, refused));
    assert!(
        log.next_close(0)
            == Close {
                time: 2_000,
                count: 7
            }
    );
}

#[test]
fn a_roll_of_any_size_takes_little_memory() {
    let mut manifest = crate::fixture::manifest();
    manifest.roll.size = 1 << 40;
    let election = protocol::manifest::Election::new(&manifest).unwrap();
    let mut log = IssuanceLog::new(&election, 1, 0);
    let genesis = protocol::entry::Genesis::of(
        &election,
        LogId::Issuance {
            registrar: 1,
            shard: 0,
        },
    );
    log.batch(0, &[&genesis.encode()]).unwrap();
    let last = (1 << 40) - 1;
    log.batch(1, &[&issue(last), &issue(0)]).unwrap();
    assert!(log.is_issued(last) && log.is_issued(0) && !log.is_issued(last - 1));
}
