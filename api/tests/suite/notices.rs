//! What the authority's notices do to a running cell.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{CLOSING, GRACE, OPENING, Options, Served, code, election, seed, until};
use ledger::faulty::HeadsWriter;
use ledger::{Directory, DirectoryReader};
use protocol::ed25519::SigningKey;
use protocol::entry::{Entry, LogState, NoticeAction};
use protocol::ids::LogId;
use protocol::merkle::Hash;
use tokio::task::JoinHandle;

const CELL: LogId = LogId::Cell(0);

/// A heads log beside the cell's, and the task that follows it for the cell.
struct Heads {
    writer: HeadsWriter,
    follower: JoinHandle<()>,
}

impl Heads {
    async fn beside(served: &Served) -> Self {
        let election = &served.keys.election;
        let root = served.folder.path().join("public");
        let publisher = Directory::open(&root, &election.id(), "heads").unwrap();
        let mut writer = HeadsWriter::new(
            election,
            Arc::new(publisher),
            SigningKey::from_seed(&seed(3, 0)),
            SigningKey::from_seed(&seed(4, 0)),
        );
        writer.genesis().await.unwrap();
        let (_, mut followed) = ledger::schedule::follow(
            election.clone(),
            Arc::new(DirectoryReader::new(&root, &election.id())),
            served.clock.clone(),
            Duration::from_millis(5),
        );
        let schedule = served.schedule.clone();
        let follower = tokio::spawn(async move {
            while followed.changed().await.is_ok() {
                schedule.send_replace(followed.borrow_and_update().clone());
            }
        });
        Self { writer, follower }
    }

    async fn seen(&self, served: &Served) {
        let mut schedule = served.schedule.subscribe();
        let size = self.writer.size();
        schedule.wait_for(|s| s.heads_size() == size).await.unwrap();
    }

    async fn notice(&mut self, served: &Served, action: NoticeAction) {
        self.writer.notice(action).await.unwrap();
        self.seen(served).await;
    }

    async fn head(&mut self, served: &Served, time: u64, issuance: LogState) {
        let state = |log| match log {
            LogId::Issuance { .. } => issuance,
            LogId::Cell(_) | LogId::Heads => LogState::Open,
        };
        self.writer.head(time, state).await.unwrap();
        self.seen(served).await;
    }
}

impl Drop for Heads {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_closes_once_a_head_shows_all_issuance_logs_closed() {
    let served = Served::start(election(|_| ()), Options::default()).await;
    let mut heads = Heads::beside(&served).await;
    let voters = served.keys.voters_of(0, 2);
    let vote = served.keys.vote(&voters[0], &[&[1], &[]]);
    assert_eq!(served.cast(&vote).await.0, 200);
    served.clock.set(CLOSING + 1);
    heads.head(&served, CLOSING, LogState::Open).await;
    let late = served.keys.vote(&voters[1], &[&[1], &[]]);
    assert_eq!(code(&served.cast(&late).await), (403, "closed"));
    crate::common::time_for_haste().await;
    assert!(!served.cell.is_closed());
    heads.head(&served, CLOSING + 1, LogState::Closed).await;
    crate::common::time_for_haste().await;
    assert!(
        !served.cell.is_closed(),
        "a ballot whose header came in time may still be on its way"
    );
    let closed_at = CLOSING + GRACE / 4;
    served.clock.set(closed_at);
    served.cell.closed().await.unwrap();
    let entries = served.audit();
    let Some(Entry::Close(close)) = entries.last() else {
        panic!("the log ends in a close");
    };
    assert_eq!(
        (close.time, close.count),
        (closed_at.next_multiple_of(100), 1)
    );
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_that_is_seen_after_closing_still_opens_the_cell_again() {
    let served = Served::start(election(|_| ()), Options::default()).await;
    let mut heads = Heads::beside(&served).await;
    let voter = &served.keys.voters_of(0, 1)[0];
    let vote = served.keys.vote(voter, &[&[1], &[]]);
    served.clock.set(CLOSING + 5);
    assert_eq!(code(&served.cast(&vote).await), (403, "closed"));
    crate::common::time_for_haste().await;
    // No head was made after closing: the notice is in time, though this cell sees it late.
    let closing = CLOSING + 1_000;
    heads
        .notice(&served, NoticeAction::Extend { closing })
        .await;
    assert_eq!(served.cast(&vote).await.0, 200);
    served.clock.set(closing);
    let next = served
        .keys
        .vote(&served.keys.voters_of(0, 2)[1], &[&[1], &[]]);
    assert_eq!(code(&served.cast(&next).await), (403, "closed"));
    served.clock.set(closing + GRACE / 2);
    served.cell.closed().await.unwrap();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_cell_takes_nothing_new_and_closes_after_the_issuance_logs() {
    let served = Served::start(election(|_| ()), Options::default()).await;
    let mut heads = Heads::beside(&served).await;
    let voters = served.keys.voters_of(0, 2);
    let vote = served.keys.vote(&voters[0], &[&[1], &[]]);
    assert_eq!(served.cast(&vote).await.0, 200);
    heads
        .notice(&served, NoticeAction::Freeze { log: CELL })
        .await;
    let late = served.keys.vote(&voters[1], &[&[1], &[]]);
    assert_eq!(code(&served.cast(&late).await), (403, "closed"));
    assert_eq!(served.cast(&vote).await.0, 200, "repeats are answered");
    heads.head(&served, OPENING + 10, LogState::Open).await;
    crate::common::time_for_haste().await;
    // Closed now, it would be closed while issuance goes on, which heads must not show.
    assert!(!served.cell.is_closed());
    heads.head(&served, OPENING + 20, LogState::Closed).await;
    served.cell.closed().await.unwrap();
    assert_eq!(served.cast(&vote).await.0, 200);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_election_takes_no_votes() {
    let served = Served::start(election(|_| ()), Options::default()).await;
    let mut heads = Heads::beside(&served).await;
    heads.notice(&served, NoticeAction::Cancel).await;
    let voter = &served.keys.voters_of(0, 1)[0];
    let answer = served.cast(&served.keys.vote(voter, &[&[1], &[]])).await;
    assert_eq!(code(&answer), (403, "closed"));
    assert!(
        answer.1["error"]["message"]
            .as_str()
            .unwrap()
            .contains("cancelled")
    );
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_to_the_spare_key_stops_the_process_that_holds_the_main_key() {
    let served = Served::start(election(|_| ()), Options::default()).await;
    let mut heads = Heads::beside(&served).await;
    let voters = served.keys.voters_of(0, 2);
    let vote = served.keys.vote(&voters[0], &[&[1], &[]]);
    assert_eq!(served.cast(&vote).await.0, 200);
    let end = served.cell.handle().published().end;
    let switch = |root: Hash| NoticeAction::Switch {
        log: CELL,
        size: end.size,
        root,
    };
    heads.notice(&served, switch(end.root)).await;
    let handle = served.cell.handle();
    until(|| matches!(handle.state(), ledger::State::Halted(_))).await;
    let next = served.keys.vote(&voters[1], &[&[1], &[]]);
    assert_eq!(code(&served.cast(&next).await), (503, "halted"));
    // What is final keeps its receipt under the main key.
    let (status, answer) = served.cast(&vote).await;
    assert_eq!(status, 200);
    assert_eq!(served.keys.check_receipt(0, &answer), vote);

    // The main key is refused at the next start, and the spare goes on above the size that the notice names.
    let schedule = served.schedule.borrow().clone();
    drop(heads);
    let (keys, folder) = served.stop().await;
    let refused =
        crate::common::start_cell(&keys, folder.path(), seed(1, 0), schedule.clone()).await;
    assert!(matches!(refused, Err(api::StartError::Key(_))));
    let cell = crate::common::start_cell(&keys, folder.path(), seed(101, 0), schedule)
        .await
        .unwrap();
    cell.ready().await.unwrap();
    let outcome = cell.handle().submit(api::submission(&next)).await.unwrap();
    let ledger::sequencer::Outcome::Final { index, .. } = outcome else {
        panic!("not final");
    };
    assert_eq!(index, end.size);
    let proof = cell.handle().receipt(index).await.unwrap();
    let proof = protocol::tlog_proof::TlogProof::parse(&proof).unwrap();
    let leaf = protocol::merkle::leaf_hash(&next.encode());
    let log_keys = keys.election.log_keys(CELL).unwrap();
    let origin = keys.election.origin(CELL);
    proof
        .verify(&leaf, &origin, &[*log_keys.spare.as_bytes()])
        .unwrap();
    assert!(
        proof
            .verify(&leaf, &origin, &[*log_keys.main.as_bytes()])
            .is_err()
    );
    cell.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_does_not_know_the_schedule_yet_neither_closes_nor_says_that_it_is_late() {
    let served = Served::start(election(|_| ()), Options::default()).await;
    let mut heads = Heads::beside(&served).await;
    let closing = CLOSING + 20 * GRACE;
    heads
        .notice(&served, NoticeAction::Extend { closing })
        .await;
    let with_extension = served.schedule.borrow().clone();
    // As after a restart, long after the manifest's closing: the extension stands in the heads log, unread.
    served
        .schedule
        .send_replace(ledger::schedule::Schedule::of_manifest(
            &served.keys.election,
        ));
    served.clock.set(CLOSING + 10 * GRACE);
    let voters = served.keys.voters_of(0, 1);
    let vote = served.keys.vote(&voters[0], &[&[1], &[]]);
    assert_eq!(code(&served.cast(&vote).await), (503, "busy"));
    crate::common::time_for_haste().await;
    assert!(!served.cell.is_closed());
    served.schedule.send_replace(with_extension);
    assert_eq!(served.cast(&vote).await.0, 200);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ahead_does_not_end_the_voting() {
    let served = Served::start(election(|_| ()), Options::default()).await;
    let mut heads = Heads::beside(&served).await;
    heads.head(&served, OPENING + 10, LogState::Open).await;
    // As if somebody set this machine's clock, while heads are made and show another time.
    served.clock.set(CLOSING + GRACE);
    crate::common::time_for_haste().await;
    assert!(!served.cell.is_closed());
    // With the issuance ended early, too.
    heads.head(&served, OPENING + 20, LogState::Closed).await;
    crate::common::time_for_haste().await;
    assert!(!served.cell.is_closed());
    served.clock.set(OPENING + 30);
    let voter = &served.keys.voters_of(0, 1)[0];
    let vote = served.keys.vote(voter, &[&[1], &[]]);
    assert_eq!(served.cast(&vote).await.0, 200);
    // Heads that have come so far say so too.
    served.clock.set(CLOSING + GRACE / 2);
    heads
        .head(&served, CLOSING + GRACE / 2, LogState::Closed)
        .await;
    served.cell.closed().await.unwrap();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_lost_its_turn_does_not_say_that_somebody_has_not_voted() {
    let served = Served::start(election(|_| ()), Options::default()).await;
    let mut heads = Heads::beside(&served).await;
    let voters = served.keys.voters_of(0, 3);
    let votes: Vec<_> = voters
        .iter()
        .map(|voter| served.keys.vote(voter, &[&[1], &[]]))
        .collect();
    assert_eq!(served.cast(&votes[0]).await.0, 200);
    let handle = served.cell.handle();
    handle.doubt(true);
    assert_eq!(
        served.cast(&votes[1]).await.0,
        200,
        "the epoch decides that"
    );
    served.clock.set(CLOSING);
    assert_eq!(code(&served.cast(&votes[2]).await), (503, "busy"));
    served.clock.set(OPENING);
    heads
        .notice(&served, NoticeAction::Freeze { log: CELL })
        .await;
    assert_eq!(code(&served.cast(&votes[2]).await), (503, "busy"));
    assert_eq!(served.cast(&votes[0]).await.0, 200);
    handle.doubt(false);
    assert_eq!(code(&served.cast(&votes[2]).await), (403, "closed"));
    served.stop().await;
}
