//! Cells.

use proptest::prelude::*;
use protocol::entry::{Close, Entry, Tally, Vote};
use protocol::grammar::{CellLog, GrammarCode};
use protocol::ids::LogId;

use super::{Batches, Case, genesis};
use crate::fixture::{ELECTION, GRAIN, ISSUANCE, credential, unsigned_vote, voters};

pub(super) const CELL: LogId = LogId::Cell(0);

/// A cell that makes its own batches, and lets them be spoilt.
#[derive(Clone)]
pub(super) struct Maker {
    log: CellLog,
    pub(super) batches: Batches,
}

impl Maker {
    pub(super) fn new() -> Self {
        let mut maker = Self {
            log: CellLog::new(&ELECTION, 0),
            batches: Vec::new(),
        };
        maker.push(genesis(CELL));
        maker
    }

    fn push(&mut self, batch: Vec<Vec<u8>>) {
        let entries: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        self.log.batch(self.batches.len() as u64, &entries).unwrap();
        self.batches.push(batch);
    }

    /// The next batch of these votes at this time, not yet taken.
    pub(super) fn votes(&self, votes: &[Vote], now: u64) -> Vec<Vec<u8>> {
        self.spoilt(votes, now, |_| {})
    }

    fn spoilt(&self, votes: &[Vote], now: u64, edit: impl FnOnce(&mut Tally)) -> Vec<Vec<u8>> {
        let mut sorted: Vec<&Vote> = votes.iter().collect();
        sorted.sort_by_key(|vote| vote.leaf_hash());
        let mut tally = self.log.next_tally(votes, now);
        edit(&mut tally);
        let votes = sorted.into_iter().map(Vote::encode);
        votes.chain([Entry::Tally(tally).encode()]).collect()
    }

    pub(super) fn then(mut self, votes: &[Vote], now: u64) -> Self {
        let batch = self.votes(votes, now);
        self.push(batch);
        self
    }

    pub(super) fn close(&self, now: u64) -> Vec<Vec<u8>> {
        vec![self.log.next_close(now).encode()]
    }

    pub(super) fn closed(mut self, now: u64) -> Self {
        let close = self.close(now);
        self.push(close);
        self
    }

    /// These batches and one more.
    fn and(&self, batch: Vec<Vec<u8>>) -> Batches {
        let mut batches = self.batches.clone();
        batches.push(batch);
        batches
    }
}

/// Votes of cell 0; the n-th voter always chooses the same.
pub(super) fn votes(from: u32, count: usize) -> Vec<Vote> {
    voters(&ELECTION, 0, from, count)
        .into_iter()
        .map(|voter| {
            let mayor: &[u16] = match voter % 4 {
                3 => &[],
                _ => &[(voter % 3) as u16],
            };
            let emblem = &[2, 0, 1][..(voter % 4) as usize % 3];
            unsigned_vote(&ELECTION, voter, &[mayor, &[1, 3], emblem])
        })
        .collect()
}

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    use GrammarCode as Code;
    let start = Maker::new();
    let first = start.clone().then(&votes(0, 3), 2_000_500);
    let case = |why, batches, broken| Case::new(why, CELL, batches, broken);
    let ok = |why, batches| case(why, batches, None);
    let bad = |why, batches, code, index| case(why, batches, Some((code, index)));
    // `first` holds genesis, three votes and a tally: what follows has indices from 5 on.
    let more = votes(100, 2);
    let second = |edit: fn(&mut Tally)| first.and(first.spoilt(&more, 2_003_000, edit));
    let close = |time, count| first.and(vec![Close { time, count }.encode()]);
    let good = first.votes(&more, 2_003_000);
    let edited = |edit: fn(&mut Vec<Vec<u8>>)| {
        let mut batch = good.clone();
        edit(&mut batch);
        first.and(batch)
    };
    let foreign = unsigned_vote(&ELECTION, voters(&ELECTION, 1, 0, 1)[0], &[&[0], &[], &[]]);
    let again = votes(0, 1);
    vec![
        ok("genesis alone: open", start.batches.clone()),
        ok("a batch of three votes", first.batches.clone()),
        ok("a batch of one vote", start.clone().then(&votes(0, 1), 2_000_000).batches),
        ok("two batches at one time", first.clone().then(&more, 2_000_500).batches),
        ok("closed", first.clone().closed(3_000_000).batches),
        ok("closed without a vote", start.clone().closed(3_000_000).batches),
        bad("no genesis", vec![start.votes(&votes(0, 1), 0)], Code::Genesis, 0),
        bad("another log's genesis", vec![genesis(LogId::Cell(1))], Code::Genesis, 0),
        bad("genesis and more in batch 0", vec![[genesis(CELL), genesis(CELL)].concat()], Code::Genesis, 0),
        bad("an empty batch", first.and(vec![]), Code::Order, 5),
        bad("bytes that are no entry", first.and(vec![vec![0x42]]), Code::Malformed, 5),
        bad("a second genesis", first.and(genesis(CELL)), Code::Order, 5),
        bad("a tally alone", first.and(first.votes(&[], 2_003_000)), Code::Order, 5),
        bad("votes without a tally", edited(|batch| { batch.pop(); }), Code::Order, 6),
        bad("two tallies", edited(|batch| batch.push(batch[2].clone())), Code::Order, 7),
        bad("a vote after the tally", edited(|batch| batch.swap(1, 2)), Code::Order, 6),
        bad("a close within a batch of votes", edited(|batch| batch.push(Close { time: 2_003_000, count: 5 }.encode())), Code::Order, 7),
        bad("an issuance in a cell", first.and(vec![protocol::entry::Issuance { roll_index: 1, blinded_digest: [0; 32] }.encode()]), Code::Order, 5),
        bad("votes in the wrong order", edited(|batch| batch.swap(0, 1)), Code::Unsorted, 6),
        bad("a vote twice in its batch", edited(|batch| batch.insert(1, batch[0].clone())), Code::Unsorted, 6),
        bad("a vote of another cell", first.and(first.votes(&[foreign], 2_003_000)), Code::WrongCell, 5),
        bad("a credential that voted in an earlier batch", first.and(first.votes(&again, 2_003_000)), Code::DuplicateVote, 5),
        bad("a tally with another batch's number", second(|tally| tally.batch = 1), Code::TallyBatch, 7),
        bad("a tally that is not on the grain", second(|tally| tally.time += 1), Code::TimeGrain, 7),
        bad("a tally before the last", second(|tally| tally.time = 2_000_000), Code::TimeFalls, 7),
        bad("a vote too many", second(|tally| tally.totals.votes += 1), Code::TallySum, 7),
        bad("an abstention too many", second(|tally| tally.totals.abstentions += 1), Code::TallySum, 7),
        bad("a blank too few", second(|tally| tally.totals.contests[2].blanks -= 1), Code::TallySum, 7),
        bad("a vote moved to another option", second(|tally| {
            tally.totals.contests[1].counts[1] -= 1;
            tally.totals.contests[1].counts[0] += 1;
        }), Code::TallySum, 7),
        bad("a close before the last tally", close(2_000_000, 3), Code::TimeFalls, 5),
        bad("a close that is not on the grain", close(2_001_001, 3), Code::TimeGrain, 5),
        bad("a close with a vote too many", close(2_001_000, 4), Code::WrongCount, 5),
        bad("a vote after the close", {
            let closed = first.clone().closed(2_001_000);
            closed.and(good.clone())
        }, Code::AfterEnd, 6),
        Case::new("a cell's batches in an issuance log", ISSUANCE, vec![genesis(ISSUANCE), good], Some((Code::Order, 1))),
    ]
}

#[test]
fn the_set_of_credentials_answers_where_a_vote_stands() {
    let maker = Maker::new().then(&votes(0, 3), 0).then(&votes(100, 2), 0);
    let mut seen = std::collections::BTreeSet::new();
    for vote in [votes(0, 3), votes(100, 2)].concat() {
        let index = maker.log.index_of(&vote.credential).unwrap();
        let flat: Vec<&Vec<u8>> = maker.batches.iter().flatten().collect();
        assert_eq!(flat[index as usize], &vote.encode());
        seen.insert(index);
    }
    assert_eq!(seen.len(), 5);
    assert_eq!(maker.log.index_of(&credential(&ELECTION, 9_999)), None);
}

/// A batch that is refused for its last vote must not have added its first ones.
#[test]
fn a_refused_batch_adds_no_credential() {
    let maker = Maker::new().then(&votes(0, 1), 0);
    let fresh = votes(100, 20);
    let with_repeat = [fresh.clone(), votes(0, 1)].concat();
    let batch = maker.votes(&with_repeat, 0);
    let entries: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
    let mut log = maker.log.clone();
    assert_eq!(
        log.batch(2, &entries).unwrap_err().code,
        GrammarCode::DuplicateVote
    );
    for vote in &fresh {
        assert_eq!(log.index_of(&vote.credential), None);
    }
    // And they can still vote.
    assert!(maker.then(&fresh, 0).log.votes() == 21);
}

#[test]
fn one_credential_with_two_ballots_in_one_batch_is_a_duplicate() {
    let voter = voters(&ELECTION, 0, 0, 1)[0];
    let two = [
        unsigned_vote(&ELECTION, voter, &[&[0], &[], &[]]),
        unsigned_vote(&ELECTION, voter, &[&[1], &[], &[]]),
    ];
    let batch = Maker::new().votes(&two, 0);
    let entries: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
    let mut log = Maker::new().log;
    let error = log.batch(1, &entries).unwrap_err();
    assert_eq!((error.code, error.index), (GrammarCode::DuplicateVote, 2));
    assert_eq!(log.index_of(&two[0].credential), None);

    // Whoever keeps the set elsewhere checks it there.
    let mut open = CellLog::without_credentials(&ELECTION, 0);
    open.batch(0, &[&genesis(CELL)[0]]).unwrap();
    assert!(open.batch(1, &entries).is_ok());
}

#[test]
fn a_stretch_can_be_recounted_alone() {
    let maker = Maker::new().then(&votes(0, 3), 5_000);
    let Entry::Tally(tally) = Entry::decode(&maker.batches[1][3], &ELECTION).unwrap() else {
        panic!()
    };
    let next = maker.votes(&votes(100, 4), 9_000);
    let entries: Vec<&[u8]> = next.iter().map(Vec::as_slice).collect();
    let mut stretch = CellLog::after_tally(&ELECTION, 0, 5, &tally);
    stretch.batch(2, &entries).unwrap();
    assert_eq!((stretch.size(), stretch.votes()), (10, 7));
    // From a tally that lies about what came before, the true batch does not follow.
    let mut lie = tally;
    lie.totals.votes += 1;
    let mut stretch = CellLog::after_tally(&ELECTION, 0, 5, &lie);
    assert_eq!(
        stretch.batch(2, &entries).unwrap_err().code,
        GrammarCode::TallySum
    );
    // A size that no log has is refused, not overflown.
    let mut absurd = CellLog::after_tally(&ELECTION, 0, u64::MAX - 1, &lie);
    assert_eq!(
        absurd.batch(2, &entries).unwrap_err().code,
        GrammarCode::Malformed
    );
}

#[test]
fn times_are_rounded_up_and_never_fall() {
    let log = Maker::new().then(&votes(0, 1), 5_001).log;
    assert_eq!(log.last_time(), 6_000);
    for (now, time) in [(0, 6_000), (6_000, 6_000), (6_001, 7_000), (6_999, 7_000)] {
        assert_eq!(log.next_tally([], now).time, time);
        assert_eq!(log.next_close(now).time, time);
    }
    assert_eq!(GRAIN, 1_000);
}

proptest! {
    /// Any split of any votes into batches is accepted, and the totals do not depend on it.
    #[test]
    fn totals_do_not_depend_on_batches(sizes in proptest::collection::vec(1usize..5, 1..5)) {
        let all = votes(0, sizes.iter().sum());
        let mut split = Maker::new();
        let mut rest = all.as_slice();
        for (now, size) in (0..).zip(sizes) {
            let (batch, after) = rest.split_at(size);
            split = split.then(batch, now * 700);
            rest = after;
        }
        let whole = Maker::new().then(&all, 0);
        prop_assert_eq!(split.log.tally(), whole.log.tally());
    }
}
