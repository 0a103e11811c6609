//! What every store must do. One suite for all of them: a store joins by implementing [`Place`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking, and Clippy knows only functions marked as tests"
)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::log;
use ledger::batch::{Batch, End};
use ledger::faulty::{Faults, MemoryStore};
use ledger::log::LogName;
use ledger::postgres::Location;
use ledger::store::sqlite::OpenError;
use ledger::store::{Owner, Row, TakeOver};
use ledger::{Durability, Head, Postgres, Sqlite, Store, StoreError};
use protocol::ids::LogId;
use protocol::merkle::CompactRange;
use throwaway_postgres::Server;

/// Somewhere a new log's store can be had.
trait Place {
    /// Another session on the one store of this place.
    async fn session(&self) -> Arc<dyn Store>;
    /// What was put aside.
    async fn aside(&self) -> Vec<Row>;
}

struct Memory(MemoryStore);

impl Place for Memory {
    async fn session(&self) -> Arc<dyn Store> {
        Arc::new(self.0.with_faults(Faults::none()))
    }

    async fn aside(&self) -> Vec<Row> {
        self.0.aside()
    }
}

struct SqliteFile(tempfile::TempDir);

impl SqliteFile {
    async fn open(&self) -> Sqlite {
        Sqlite::open(&self.0.path().join("log.sqlite"), &log(), true)
            .await
            .unwrap()
    }
}

impl Place for SqliteFile {
    async fn session(&self) -> Arc<dyn Store> {
        Arc::new(self.open().await)
    }

    async fn aside(&self) -> Vec<Row> {
        self.open()
            .await
            .aside()
            .await
            .unwrap()
            .into_iter()
            .map(|(_, row)| row)
            .collect()
    }
}

/// A schema of its own in a database that several logs share.
struct Schema(Location);

impl Schema {
    async fn open(&self) -> Postgres {
        Postgres::open(self.0.clone(), &log(), Durability::SingleNode, true)
            .await
            .unwrap()
    }
}

impl Place for Schema {
    async fn session(&self) -> Arc<dyn Store> {
        Arc::new(self.open().await)
    }

    async fn aside(&self) -> Vec<Row> {
        self.open()
            .await
            .aside()
            .await
            .unwrap()
            .into_iter()
            .map(|(_, row)| row)
            .collect()
    }
}

const ANNA: Owner = Owner([1; 16]);
const BERT: Owner = Owner([2; 16]);

/// Batches of a few entries, from the empty log on.
fn batches(count: u64, flavour: u8) -> Vec<Batch> {
    let mut range = CompactRange::new();
    let entries = |n: u64| {
        (0..=n % 3)
            .map(|i| vec![flavour; usize::try_from(n * 10 + i + 1).unwrap()])
            .collect::<Vec<_>>()
    };
    (0..count)
        .map(|n| Batch::build(n, &mut range, &entries(n)).unwrap())
        .collect()
}

fn row(batch: &Batch, epoch: u64) -> Row {
    Row {
        n: batch.n(),
        epoch,
        end: batch.new_end(),
        body: batch.body().clone(),
    }
}

async fn append_all(store: &dyn Store, mut head: Head, batches: &[Batch]) -> Head {
    for batch in batches {
        head = store.append(&head, batch).await.unwrap();
    }
    head
}

fn refused<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Refused(_)))
}

fn unknown<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Unknown(_)))
}

async fn conforms<P: Place>(place: impl Fn() -> P) {
    a_new_log_is_empty(&place()).await;
    what_was_appended_is_there_for_whoever_comes_next(&place()).await;
    an_append_must_start_exactly_at_the_head(&place()).await;
    whoever_was_taken_over_is_refused(&place()).await;
    only_the_owner_takes_over_again(&place()).await;
    what_lost_is_put_aside(&place()).await;
    a_cancelled_append_happened_or_did_not(&place).await;
    a_batch_that_begins_elsewhere_is_not_appended(&place()).await;
    large_batches_fit(&place()).await;
}

async fn a_new_log_is_empty(place: &impl Place) {
    let store = place.session().await;
    assert!(
        unknown(store.read(0).await),
        "without a session nothing is read"
    );
    assert!(unknown(
        store
            .append(
                &Head {
                    epoch: 0,
                    batches: 0,
                    end: End::empty()
                },
                &batches(1, 0)[0]
            )
            .await
    ));
    let head = store.take_over(ANNA, TakeOver::FromAnybody).await.unwrap();
    assert_eq!((head.batches, head.end), (0, End::empty()));
    assert!(head.epoch > 0);
    assert_eq!(store.read(0).await, Ok(None));
}

async fn what_was_appended_is_there_for_whoever_comes_next(place: &impl Place) {
    let batches = batches(7, 0);
    let store = place.session().await;
    let first = store.take_over(ANNA, TakeOver::FromAnybody).await.unwrap();
    let head = append_all(store.as_ref(), first, &batches).await;
    assert_eq!(
        head,
        Head {
            epoch: first.epoch,
            batches: 7,
            end: batches[6].new_end()
        }
    );
    let store = place.session().await;
    let next = store.take_over(BERT, TakeOver::FromAnybody).await.unwrap();
    assert_eq!((next.batches, next.end), (head.batches, head.end));
    assert!(next.epoch > head.epoch);
    for batch in &batches {
        assert_eq!(
            store.read(batch.n()).await,
            Ok(Some(row(batch, first.epoch)))
        );
    }
    assert_eq!(store.read(7).await, Ok(None));
}

async fn an_append_must_start_exactly_at_the_head(place: &impl Place) {
    let batches = batches(4, 0);
    let store = place.session().await;
    let first = store.take_over(ANNA, TakeOver::FromAnybody).await.unwrap();
    let head = append_all(store.as_ref(), first, &batches[..2]).await;
    for wrong in [
        Head {
            epoch: head.epoch + 1,
            ..head
        },
        Head {
            epoch: head.epoch - 1,
            ..head
        },
        Head { batches: 1, ..head },
        Head { batches: 3, ..head },
        Head {
            end: End {
                size: head.end.size + 1,
                ..head.end
            },
            ..head
        },
        Head {
            end: End {
                root: End::empty().root,
                ..head.end
            },
            ..head
        },
        first,
    ] {
        assert!(
            refused(store.append(&wrong, &batches[2]).await),
            "{wrong:?}"
        );
        assert!(
            refused(store.put_aside(&wrong, 1, batches[0].new_end()).await),
            "{wrong:?}"
        );
    }
    // A refusal changes nothing, and the session goes on.
    assert_eq!(store.read(2).await, Ok(None));
    append_all(store.as_ref(), head, &batches[2..]).await;
}

async fn whoever_was_taken_over_is_refused(place: &impl Place) {
    let (ours, theirs) = (batches(3, 0), batches(3, 9));
    let (old, new) = (place.session().await, place.session().await);
    let head = old.take_over(ANNA, TakeOver::FromAnybody).await.unwrap();
    let head = append_all(old.as_ref(), head, &ours[..1]).await;
    let taken = new.take_over(BERT, TakeOver::FromAnybody).await.unwrap();
    assert!(refused(old.append(&head, &ours[1]).await));
    // Not even with the epoch of who took over: that one is another's.
    assert!(refused(old.append(&taken, &ours[1]).await));
    assert!(refused(old.put_aside(&taken, 0, End::empty()).await));
    let head = new.append(&taken, &ours[1]).await.unwrap();
    assert!(refused(old.append(&head, &theirs[2]).await));
    assert_eq!(new.read(2).await, Ok(None));
    // Reading is not fenced: what is read is compared with what is published.
    assert!(old.read(1).await.unwrap().is_some());
}

async fn only_the_owner_takes_over_again(place: &impl Place) {
    let (anna, bert) = (place.session().await, place.session().await);
    assert!(refused(anna.take_over(ANNA, TakeOver::IfStillMine).await));
    let first = anna.take_over(ANNA, TakeOver::FromAnybody).await.unwrap();
    let again = anna.take_over(ANNA, TakeOver::IfStillMine).await.unwrap();
    assert!(again.epoch > first.epoch);
    assert!(refused(anna.append(&first, &batches(1, 0)[0]).await));
    assert!(refused(bert.take_over(BERT, TakeOver::IfStillMine).await));
    // From another session of the same owner, as after a lost one.
    let again = place
        .session()
        .await
        .take_over(ANNA, TakeOver::IfStillMine)
        .await
        .unwrap();
    let taken = bert.take_over(BERT, TakeOver::FromAnybody).await.unwrap();
    assert!(taken.epoch > again.epoch);
    assert!(refused(anna.take_over(ANNA, TakeOver::IfStillMine).await));
    append_all(bert.as_ref(), taken, &batches(1, 0)).await;
}

async fn what_lost_is_put_aside(place: &impl Place) {
    let (lost, won) = (batches(5, 0), batches(5, 9));
    let store = place.session().await;
    let first = store.take_over(ANNA, TakeOver::FromAnybody).await.unwrap();
    append_all(store.as_ref(), first, &lost).await;
    let store = place.session().await;
    let head = store.take_over(BERT, TakeOver::FromAnybody).await.unwrap();
    let head = store.put_aside(&head, 2, lost[2].old()).await.unwrap();
    assert_eq!((head.batches, head.end), (2, lost[1].new_end()));
    assert_eq!(store.read(1).await, Ok(Some(row(&lost[1], first.epoch))));
    assert_eq!(store.read(2).await, Ok(None));
    assert_eq!(
        place.aside().await,
        lost[2..]
            .iter()
            .map(|batch| row(batch, first.epoch))
            .collect::<Vec<_>>()
    );
    // Again, down to nothing; then the log goes on with what won.
    let head = store.put_aside(&head, 0, End::empty()).await.unwrap();
    assert_eq!((head.batches, head.end), (0, End::empty()));
    let head = append_all(store.as_ref(), head, &won).await;
    assert_eq!(store.read(4).await, Ok(Some(row(&won[4], head.epoch))));
    assert_eq!(place.aside().await.len(), 5);
}

/// Dropped after any number of polls, an append has happened or has not; whoever takes over then sees which, and it stays so.
async fn a_cancelled_append_happened_or_did_not<P: Place>(place: &impl Fn() -> P) {
    let batches = batches(2, 0);
    for polls in 0..40 {
        let place = place();
        let store = place.session().await;
        let head = store.take_over(ANNA, TakeOver::FromAnybody).await.unwrap();
        let head = append_all(store.as_ref(), head, &batches[..1]).await;
        let done = {
            let mut append = store.append(&head, &batches[1]);
            let mut polled = 0;
            std::future::poll_fn(|context| {
                if polled == polls {
                    return std::task::Poll::Ready(None);
                }
                polled += 1;
                append.as_mut().poll(context).map(Some)
            })
            .await
        };
        if done.is_none() && polls > 0 {
            assert!(
                unknown(store.append(&head, &batches[1]).await),
                "the session is gone"
            );
        }
        let next = place.session().await;
        let taken = next.take_over(BERT, TakeOver::FromAnybody).await.unwrap();
        assert!(done.is_none() || taken.batches == 2);
        let there = next.read(1).await.unwrap();
        assert_eq!(there.is_some(), taken.batches == 2, "after {polls} polls");
        if taken.batches == 1 {
            append_all(next.as_ref(), taken, &batches[1..]).await;
        }
        assert!(refused(store.take_over(ANNA, TakeOver::IfStillMine).await));
    }
}

async fn large_batches_fit(place: &impl Place) {
    let store = place.session().await;
    let head = store.take_over(ANNA, TakeOver::FromAnybody).await.unwrap();
    let entries: Vec<Vec<u8>> = (0..255).map(|i| vec![i; 65_535]).collect();
    let batch = Batch::build(0, &mut CompactRange::new(), &entries).unwrap();
    store.append(&head, &batch).await.unwrap();
    assert_eq!(store.read(0).await.unwrap().unwrap().body, batch.body());
}

#[tokio::test]
async fn the_model_conforms() {
    conforms(|| Memory(MemoryStore::new(Faults::none()))).await;
}

#[tokio::test]
async fn sqlite_conforms() {
    conforms(|| SqliteFile(tempfile::tempdir().unwrap())).await;
}

#[tokio::test]
async fn postgres_conforms() {
    let server = Server::start();
    let url = server.database("logs");
    let made = std::cell::Cell::new(0);
    conforms(|| {
        made.set(made.get() + 1);
        Schema(Location::parse(&url, &format!("log_{}", made.get())).unwrap())
    })
    .await;
}

#[tokio::test]
async fn sqlite_is_for_demonstrations_and_for_one_log_only() {
    let folder = tempfile::tempdir().unwrap();
    let path: &Path = &folder.path().join("log.sqlite");
    assert!(matches!(
        Sqlite::open(path, &log(), false).await,
        Err(OpenError::NotADemo)
    ));
    assert!(!path.exists());
    Sqlite::open(path, &log(), true).await.unwrap();
    let other = LogName::new("votes.example", *log().election(), LogId::Cell(1));
    assert!(matches!(
        Sqlite::open(path, &other, true).await,
        Err(OpenError::OtherLog(_))
    ));
    Sqlite::open(path, &log(), true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_lets_one_writer_win() {
    let place = SqliteFile(tempfile::tempdir().unwrap());
    one_writer_wins(place.open().await, place.open().await, place.open().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_lets_one_writer_win() {
    let server = Server::start();
    let place = Schema(Location::parse(&server.url("postgres"), "log").unwrap());
    one_writer_wins(place.open().await, place.open().await, place.open().await).await;
}

/// Two writers that take the log from each other all the time: every batch number is won once, and the batches chain.
async fn one_writer_wins<S: Store>(one: S, two: S, store: S) {
    const BATCHES: u64 = 20;
    let race = |owner: Owner, store: S| {
        tokio::spawn(async move {
            let mut won = Vec::new();
            loop {
                // Locked by the other for too long, say.
                let Ok(mut head) = store.take_over(owner, TakeOver::FromAnybody).await else {
                    continue;
                };
                let mut range = CompactRange::new();
                for n in 0..head.batches {
                    let row = store.read(n).await.unwrap().unwrap();
                    Batch::from_body(n, &mut range, row.body, row.end).unwrap();
                }
                while head.batches < BATCHES {
                    let batch = Batch::build(head.batches, &mut range, &[owner.0]).unwrap();
                    match store.append(&head, &batch).await {
                        Ok(next) => head = next,
                        Err(_) => break,
                    }
                    won.push(batch.n());
                }
                if head.batches == BATCHES {
                    return won;
                }
            }
        })
    };
    let (anna, bert) = (race(ANNA, one), race(BERT, two));
    let (anna, bert) = (anna.await.unwrap(), bert.await.unwrap());
    let head = store.take_over(ANNA, TakeOver::FromAnybody).await.unwrap();
    assert_eq!(head.batches, BATCHES);
    for n in 0..BATCHES {
        let body = store.read(n).await.unwrap().unwrap().body;
        let winner = if body.ends_with(&ANNA.0) {
            (&anna, &bert)
        } else {
            (&bert, &anna)
        };
        // Whose batch it is may not know (the outcome may have been unknown), but the other must not think so.
        assert!(!winner.1.contains(&n), "{n}");
    }
}

/// A batch must begin where the head is, whatever its writer expects.
async fn a_batch_that_begins_elsewhere_is_not_appended(place: &impl Place) {
    let (ours, theirs) = (batches(3, 0), batches(3, 9));
    let store = place.session().await;
    let head = store.take_over(ANNA, TakeOver::FromAnybody).await.unwrap();
    let head = append_all(store.as_ref(), head, &ours[..1]).await;
    for wrong in [&theirs[1], &ours[2], &ours[0]] {
        assert!(store.append(&head, wrong).await.is_err());
    }
    let head = store.take_over(ANNA, TakeOver::IfStillMine).await.unwrap();
    assert_eq!((head.batches, head.end), (1, ours[0].new_end()));
}
