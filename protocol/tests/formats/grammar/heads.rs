//! The heads log.

use protocol::entry::{
    AuthorityKey, Entry, Genesis, Head, HeadLog, LogState, NoticeAction, NoticeKind,
};
use protocol::grammar::{Freeze, GrammarCode, HeadsLog, Switch, Window};
use protocol::ids::LogId;
use protocol::merkle::{Hash, leaf_hash};

use super::{Batches, Case, genesis};
use crate::fixture::{CLOSING, ELECTION, GRACE, ISSUANCE, OPENING, notice};
use crate::keys::array;
use crate::log::root;

use LogState::{Closed, Open, Stale};

const CELL: LogId = LogId::Cell(0);

/// A log's state and size in a head; its root follows from log and size.
type Said = (LogState, u64);

fn root_of(log: LogId, size: u64) -> Hash {
    match size {
        1 => leaf_hash(&Genesis::of(&ELECTION, log).encode()),
        _ => Hash(array(&format!("{log} at {size}"))),
    }
}

fn head(time: u64, logs: [Said; 5]) -> Head {
    let logs = ELECTION
        .logs()
        .iter()
        .zip(logs)
        .map(|(log, (state, size))| HeadLog {
            state,
            size,
            root: root_of(*log, size),
        })
        .collect();
    Head { time, logs }
}

fn open(time: u64, size: u64) -> Vec<u8> {
    Entry::Head(head(time, [(Open, size); 5])).encode()
}

fn said(time: u64, logs: [Said; 5]) -> Vec<u8> {
    Entry::Head(head(time, logs)).encode()
}

fn last(time: u64, logs: [Said; 5]) -> Vec<u8> {
    Entry::FinalHead(head(time, logs)).encode()
}

fn act(sequence: u32, action: NoticeAction) -> Vec<u8> {
    notice(&ELECTION, AuthorityKey::Main, sequence, action).encode()
}

const fn extend(closing: u64) -> NoticeAction {
    NoticeAction::Extend { closing }
}

const fn freeze(log: LogId) -> NoticeAction {
    NoticeAction::Freeze { log }
}

fn switch(log: LogId, size: u64) -> NoticeAction {
    let root = root_of(log, size);
    NoticeAction::Switch { log, size, root }
}

/// Genesis, then a batch for each entry.
fn log(entries: &[Vec<u8>]) -> Batches {
    let mut batches = vec![genesis(LogId::Heads)];
    batches.extend(entries.iter().map(|entry| vec![entry.clone()]));
    batches
}

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    use GrammarCode as Code;
    const T: u64 = 2_500_000;
    const LATE: u64 = CLOSING + 1;
    const RETENTION: u64 = 9_000_000;
    const FROZEN: [Said; 5] = [(Closed, 10), (Open, 9), (Open, 9), (Open, 9), (Stale, 1)];
    // The third log is `ISSUANCE`.
    const ONE: [Said; 5] = [(Open, 9), (Open, 9), (Closed, 9), (Open, 9), (Open, 9)];
    const END: [Said; 5] = [(Closed, 9); 5];
    let ok = |why, entries: &[Vec<u8>]| Case::new(why, LogId::Heads, log(entries), None);
    let bad = |why, entries: &[Vec<u8>], code, index| Case::new(why, LogId::Heads, log(entries), Some((code, index)));
    let mut wrong_root = head(T, [(Open, 5); 5]);
    wrong_root.logs[1].root.0[0] ^= 1;
    let wrong_root = Entry::Head(wrong_root).encode();
    let mut wrong_genesis = head(T, [(Open, 1); 5]);
    wrong_genesis.logs[0].root.0[0] ^= 1;
    let own_switch = |index: u64, before: &[Vec<u8>]| {
        let leaves: Vec<Hash> = genesis(LogId::Heads).iter().chain(before).map(|entry| leaf_hash(entry)).collect();
        act(0, NoticeAction::Switch { log: LogId::Heads, size: index, root: root(&leaves) })
    };
    let mixed = |cell: Said, issuance: Said| [cell, (Open, 9), issuance, (Closed, 9), (Stale, 1)];
    // Of size 10, with the roots of size 9.
    let old_roots = |time: u64, state: LogState| {
        let mut larger = head(time, [(state, 10); 5]);
        for (log, old) in larger.logs.iter_mut().zip(head(time, [(state, 9); 5]).logs) {
            log.root = old.root;
        }
        Entry::Head(larger).encode()
    };
    let mut cases = vec![
        ok("genesis alone", &[]),
        ok("heads that grow", &[open(T, 3), open(T + 1, 3), open(T + 1, 5)]),
        ok("a first head with nothing but geneses", &[open(T, 1)]),
        ok("stale from the start: the genesis", &[said(T, [(Stale, 1); 5])]),
        ok("stale in between", &[open(T, 3), said(T, [(Stale, 3); 5]), open(T, 5)]),
        ok("all closed, then final", &[said(CLOSING + 1, END), last(CLOSING + 1, END)]),
        ok("final at once", &[last(CLOSING + 1, END)]),
        bad("the time falls", &[open(T, 3), open(T - 1, 3)], Code::TimeFalls, 2),
        bad("a size falls", &[open(T, 3), open(T, 2)], Code::SizeFalls, 2),
        bad("a size of 0", &[open(T, 0)], Code::SizeFalls, 1),
        bad("another root of the same size", &[open(T, 5), wrong_root], Code::Fork, 2),
        bad("a genesis that is none", &[Entry::Head(wrong_genesis).encode()], Code::Fork, 1),
        bad("stale, and grows", &[open(T, 3), said(T, [(Stale, 4); 5])], Code::Stale, 2),
        bad("stale, and shrinks to the genesis", &[open(T, 3), said(T, [(Stale, 1); 5])], Code::Stale, 2),
        bad("closed, and open again", &[said(LATE, END), open(LATE, 9)], Code::Reopened, 2),
        bad("closed, and grows", &[said(LATE, END), said(LATE, [(Closed, 10); 5])], Code::Reopened, 2),
        bad("closed, and larger with the root of before", &[said(LATE, END), old_roots(LATE, Closed)], Code::Reopened, 2),
        bad("stale, and larger with the root of before", &[said(T, [(Open, 9); 5]), old_roots(T, Stale)], Code::Stale, 2),
        bad("closed, then stale", &[said(LATE, END), said(LATE, [(Stale, 9); 5])], Code::Reopened, 2),
        ok("closed with nothing but genesis and close", &[said(LATE, [(Closed, 2); 5])]),
        bad("closed at the genesis", &[said(T, [(Closed, 1); 5])], Code::Order, 1),
        bad("something after the final head", &[last(LATE, END), open(LATE, 9)], Code::AfterEnd, 2),
        bad("a final head while votes may come", &[last(T, [(Open, 9); 5])], Code::EarlyFinal, 1),
        bad("a final head at closing plus grace", &[last(CLOSING + GRACE, [(Stale, 1); 5])], Code::EarlyFinal, 1),
        bad("a final head within the grace of a later closing", &[act(0, extend(CLOSING + 1)), last(CLOSING + GRACE + 1, [(Stale, 1); 5])], Code::EarlyFinal, 2),
        bad("a vote in the heads log", &[super::cell::Maker::new().votes(&super::cell::votes(0, 1), 0)[0].clone()], Code::Order, 1),
        ok("two extensions", &[act(0, extend(CLOSING + 1)), open(CLOSING + 1, 2), act(1, extend(CLOSING + 2))]),
        ok("an extension at closing", &[open(CLOSING, 2), act(0, extend(CLOSING + 1))]),
        bad("an extension after closing", &[open(CLOSING + 1, 2), act(0, extend(CLOSING + 9))], Code::Notice, 2),
        ok("an extension to the end of retention", &[act(0, extend(RETENTION))]),
        bad("an extension beyond retention", &[act(0, extend(RETENTION + 1))], Code::Notice, 1),
        bad("an extension to the closing time in force", &[act(0, extend(CLOSING))], Code::Notice, 1),
        bad("an extension to earlier", &[act(0, extend(CLOSING + 5)), act(1, extend(CLOSING + 4))], Code::Notice, 2),
        ok("cancelled", &[act(0, NoticeAction::Cancel)]),
        bad("cancelled twice", &[act(0, NoticeAction::Cancel), act(1, NoticeAction::Cancel)], Code::Notice, 2),
        bad("a sequence that does not start at 0", &[act(1, NoticeAction::Cancel)], Code::NoticeSequence, 1),
        bad("a sequence that repeats", &[act(0, freeze(CELL)), act(0, NoticeAction::Cancel)], Code::NoticeSequence, 2),
        ok("notices go on: frozen when closed, cancelled, and more", &[
            said(LATE, ONE), act(0, freeze(ISSUANCE)), act(1, switch(ISSUANCE, 9)), act(2, NoticeAction::Cancel), act(3, freeze(CELL)),
        ]),
        ok("all frozen, then extended", &[act(0, freeze(CELL)), act(1, freeze(ISSUANCE)), act(2, extend(CLOSING + 5))]),
        ok("two logs frozen", &[act(0, freeze(CELL)), act(1, freeze(ISSUANCE))]),
        bad("a log frozen twice", &[act(0, freeze(CELL)), act(1, freeze(CELL))], Code::Notice, 2),
        ok("a switch at the last head's size", &[open(T, 3), act(0, switch(CELL, 3)), open(T, 3), open(T, 6)]),
        ok("a switch above the last head's size", &[open(T, 3), act(0, switch(CELL, 5)), open(T, 6)]),
        bad("a switch below the last head's size", &[open(T, 3), act(0, switch(CELL, 2))], Code::Notice, 2),
        bad("a switch with another root than the last head's", &[open(T, 3), act(0, NoticeAction::Switch { log: CELL, size: 3, root: Hash([0; 32]) })], Code::Notice, 2),
        bad("a head that names another root than the switch", &[act(0, NoticeAction::Switch { log: CELL, size: 3, root: Hash([0; 32]) }), open(T, 3)], Code::Fork, 2),
        bad("a log switched twice", &[act(0, switch(CELL, 3)), act(1, switch(CELL, 4))], Code::Notice, 2),
        ok("a switch of the heads log itself", &[open(T, 3), own_switch(2, &[open(T, 3)]), open(T, 4)]),
        bad("a switch of the heads log that names another size", &[open(T, 3), own_switch(1, &[])], Code::Notice, 2),
        bad("a switch of the heads log that names another root", &[open(T, 3), act(0, switch(LogId::Heads, 2))], Code::Notice, 2),
    ];
    let mut together = vec![genesis(LogId::Heads)];
    together.push(vec![act(0, extend(CLOSING + 1)), open(T, 3), act(1, freeze(CELL)), open(T, 4)]);
    cases.push(Case::new("heads and notices in one batch", LogId::Heads, together, None));
    let past_end = vec![genesis(LogId::Heads), vec![last(LATE, END), open(LATE, 9)]];
    cases.push(Case::new("a head after the final head in one batch", LogId::Heads, past_end, Some((Code::AfterEnd, 2))));
    cases.push(Case {
        remarks: vec![(Code::Unclosed, 1), (Code::Unclosed, 1)],
        ..ok("a final head after the grace, two logs not closed", &[last(CLOSING + GRACE + 1, [(Closed, 9), (Open, 9), (Closed, 9), (Closed, 9), (Stale, 1)])])
    });
    cases.push(Case {
        remarks: vec![(Code::IssuanceOpen, 2)],
        ..ok("a cell closed while an issuance log is open: said once", &[
            said(LATE, mixed((Open, 9), (Open, 9))), said(LATE, mixed((Closed, 10), (Open, 9))), said(LATE, mixed((Closed, 10), (Open, 9))),
        ])
    });
    cases.push(ok("a frozen cell closed while an issuance log is open", &[act(0, freeze(CELL)), said(T, FROZEN)]));
    let early = |why, entries: &[Vec<u8>], at: &[u64]| Case {
        remarks: at.iter().map(|index| (Code::ClosedEarly, *index)).collect(),
        ..ok(why, entries)
    };
    cases.push(early("all closed at closing, then final: nothing was over yet", &[said(CLOSING, END), last(CLOSING + 1, END)], &[1; 5]));
    cases.push(early("final at once, before closing", &[last(T, END)], &[1; 5]));
    cases.push(early("closed within the time of an extension", &[act(0, extend(CLOSING + 5)), said(CLOSING + 5, END)], &[2; 5]));
    cases.push(early("one log closed early, said once", &[said(T, ONE), said(T, ONE)], &[1]));
    cases.push(early("frozen behind the head that shows it closed: too late", &[said(T, ONE), act(0, freeze(ISSUANCE)), said(T, ONE)], &[1]));
    cases.push(early("frozen in front of the head that shows it closed", &[act(0, freeze(ISSUANCE)), said(T, ONE)], &[]));
    cases.push(early("cancelled in front of the head that shows all closed", &[act(0, NoticeAction::Cancel), said(T, END)], &[]));
    cases
}

fn fed(entries: &[Vec<u8>]) -> HeadsLog {
    let mut heads = HeadsLog::new(&ELECTION);
    for (n, batch) in (0..).zip(log(entries)) {
        heads.batch(n, &[&batch[0]]).unwrap();
    }
    heads
}

#[test]
fn the_schedule_says_what_is_in_force() {
    let before = fed(&[open(2_400_000, 3)]);
    let plain = before.schedule();
    assert_eq!((plain.opening(), plain.closing()), (OPENING, CLOSING));
    assert_eq!(plain.deadline(), CLOSING + GRACE);
    assert_eq!((plain.cancelled(), plain.freeze(CELL)), (None, None));

    let log = fed(&[
        open(2_400_000, 3),
        act(0, extend(CLOSING + 500)),
        act(1, freeze(CELL)),
        act(2, NoticeAction::Cancel),
    ]);
    let schedule = log.schedule();
    assert_eq!(log.next_sequence(), 3);
    assert_eq!(schedule.deadline(), CLOSING + 500 + GRACE);
    assert_eq!(schedule.cancelled(), Some(4));
    // Until a head follows, a freeze has no time; the log must drain all the same.
    assert_eq!(
        schedule.freeze(CELL),
        Some(Freeze {
            notice: 3,
            time: None
        })
    );
    assert_eq!(schedule.closing_of(CELL), CLOSING + 500);

    let later = fed(&[
        act(0, freeze(CELL)),
        open(2_450_000, 4),
        open(2_460_000, 5),
        act(1, extend(CLOSING + 500)),
    ]);
    let schedule = later.schedule();
    assert_eq!(schedule.closing_of(CELL), 2_450_000);
    assert_eq!(schedule.closing_of(ISSUANCE), CLOSING + 500);

    let late_freeze = fed(&[act(0, freeze(CELL)), open(CLOSING + 5, 4)]);
    assert_eq!(late_freeze.schedule().closing_of(CELL), CLOSING);
}

#[test]
fn a_switch_changes_the_key_above_its_size() {
    let log = fed(&[open(2_400_000, 3), act(0, switch(CELL, 7))]);
    let schedule = log.schedule();
    let keys = ELECTION.log_keys(CELL).unwrap();
    assert_eq!(schedule.checkpoint_key(CELL, 7), Some(keys.main));
    assert_eq!(schedule.checkpoint_key(CELL, 8), Some(keys.spare));
    let other = ELECTION.log_keys(LogId::Cell(1)).unwrap();
    assert_eq!(schedule.checkpoint_key(LogId::Cell(1), 8), Some(other.main));
    assert_eq!(schedule.checkpoint_key(LogId::Cell(2), 8), None);
    let expected = Switch {
        notice: 2,
        size: 7,
        root: root_of(CELL, 7),
    };
    assert_eq!(schedule.switch(CELL), Some(expected));
}

#[test]
fn windows_say_what_is_early_and_late() {
    let window = |log: &HeadsLog, id| {
        let Window {
            before_opening,
            in_time,
        } = log.window(id).unwrap();
        (before_opening, in_time)
    };
    assert_eq!(window(&fed(&[]), CELL), (1, 1));
    let log = fed(&[
        open(OPENING - 1, 2),
        open(OPENING, 3),
        open(CLOSING + GRACE, 6),
        open(CLOSING + GRACE + 1, 8),
    ]);
    assert_eq!(window(&log, CELL), (2, 6));
    assert_eq!(log.window(LogId::Heads), None);

    // A frozen log's time ends earlier, others' do not; an extension moves the end.
    let log = fed(&[
        act(0, freeze(CELL)),
        open(OPENING, 3),
        open(OPENING + GRACE, 4),
        open(OPENING + GRACE + 1, 5),
        act(1, extend(CLOSING + 1)),
        open(CLOSING + GRACE + 1, 6),
        open(CLOSING + GRACE + 2, 7),
    ]);
    assert_eq!(window(&log, CELL), (1, 4));
    assert_eq!(window(&log, LogId::Cell(1)), (1, 6));
}

#[test]
fn the_last_head_is_final_only_when_it_is() {
    let end = [(Closed, 9); 5];
    let log = fed(&[said(2_500_000, end)]);
    assert_eq!(log.last_head().unwrap().0, 1);
    assert!(log.final_head().is_none());
    let log = fed(&[said(2_500_000, end), last(2_500_001, end)]);
    let (index, head) = log.final_head().unwrap();
    assert_eq!((index, head.time), (2, 2_500_001));
    let size = |id| head.log(&ELECTION, id).map(|log| log.size);
    assert_eq!((size(CELL), size(LogId::Heads)), (Some(9), None));
}

#[test]
fn the_root_is_that_of_the_entries() {
    let entries = [open(1, 2), act(0, NoticeAction::Cancel), open(2, 3)];
    let leaves: Vec<Hash> = genesis(LogId::Heads)
        .iter()
        .chain(&entries)
        .map(|entry| leaf_hash(entry))
        .collect();
    assert_eq!(fed(&entries).root(), root(&leaves));
    assert_eq!(NoticeAction::Cancel.kind(), NoticeKind::Cancel);
}
