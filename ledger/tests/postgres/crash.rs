//! Sessions and servers that end in the middle of appends: whatever was acknowledged is there, in order, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ledger::store::TakeOver;
use ledger::{Store, StoreError};
use sqlx::PgConnection;
use throwaway_postgres::Server;
use tokio::sync::Mutex;

use super::{ANNA, Writer, single, unknown};

/// Appends, taking the log over again whenever an outcome is unknown, until told to stop. What was acknowledged must be there each time.
async fn write(mut writer: Writer, stop: Arc<AtomicBool>) -> (Writer, u32) {
    let mut unknowns = 0;
    while !stop.load(Ordering::Relaxed) {
        let batch = writer.next();
        match writer.append().await {
            Ok(()) => continue,
            Err(StoreError::Refused(reason)) => panic!("{reason}"),
            Err(StoreError::Unknown(_)) => unknowns += 1,
        }
        let taken = loop {
            match writer
                .store
                .take_over(writer.owner, TakeOver::IfStillMine)
                .await
            {
                Ok(taken) => break taken,
                Err(StoreError::Refused(reason)) => panic!("{reason}"),
                Err(StoreError::Unknown(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        if taken.batches == batch.n() + 1 {
            assert_eq!(taken.end, batch.new_end());
            batch
                .leaves()
                .iter()
                .for_each(|leaf| writer.range.push(*leaf));
        } else {
            assert_eq!(
                (taken.batches, taken.end),
                (writer.head.batches, writer.head.end)
            );
        }
        writer.head = taken;
    }
    (writer, unknowns)
}

async fn all_is_there(server: &Server, writer: Writer) {
    let reader = Writer::new(single(server).await, super::BERT).await;
    assert_eq!(
        (reader.head.batches, reader.head.end),
        (writer.head.batches, writer.head.end)
    );
    assert_eq!(reader.range, writer.range);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminated_sessions_lose_nothing() {
    let server = Server::start();
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn(write(
        Writer::new(single(&server).await, ANNA).await,
        Arc::clone(&stop),
    ));
    for kill in 0..10 {
        // Some way on each time.
        super::until("it is written to", || {
            server
                .psql("postgres", "SELECT batches FROM log.head")
                .parse::<u64>()
                .unwrap()
                > kill * 5
        })
        .await;
        server.psql(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tallyroot sequencer%'",
        );
    }
    stop.store(true, Ordering::Relaxed);
    let (writer, unknowns) = writing.await.unwrap();
    assert!(unknowns > 0 && writer.head.batches > 0);
    all_is_there(&server, writer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_loses_nothing() {
    let server = Arc::new(Mutex::new(Server::start()));
    let stop = Arc::new(AtomicBool::new(false));
    let first = Writer::new(single(&*server.lock().await).await, ANNA).await;
    let writing = tokio::spawn(write(first, Arc::clone(&stop)));
    for _ in 0..4 {
        let mut server = server.lock().await;
        super::until("it is written to", || {
            server.psql("postgres", "CHECKPOINT; SELECT batches FROM log.head") != "0"
        })
        .await;
        server.crash();
        server.restart();
    }
    stop.store(true, Ordering::Relaxed);
    let (writer, unknowns) = writing.await.unwrap();
    assert!(unknowns > 0 && writer.head.batches > 0);
    all_is_there(&*server.lock().await, writer).await;
}

/// Makes every COMMIT of a batch wait for an advisory lock, which the returned session holds.
async fn slow_commits(server: &Server) -> PgConnection {
    server.psql(
        "postgres",
        "CREATE FUNCTION log.wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON log.batch DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION log.wait()",
    );
    let mut holder = super::location(server).connect("holder").await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(7)")
        .execute(&mut holder)
        .await
        .unwrap();
    holder
}

fn waiting(server: &Server, wait: &str) -> bool {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = '{wait}' AND application_name LIKE 'tallyroot sequencer%'"
    );
    server.psql("postgres", &sql) == "1"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_waits_for_the_commit_of_a_writer_that_still_lives_and_sees_its_batch() {
    let server = Server::start();
    let writer = Writer::new(single(&server).await, ANNA).await;
    let mut holder = slow_commits(&server).await;
    let batch = writer.next();
    let (store, head) = (writer.store, writer.head);
    let appending = tokio::spawn(async move { store.append(&head, &batch).await });
    super::until("the commit runs", || waiting(&server, "advisory")).await;
    let rival = single(&server).await;
    let taking =
        tokio::spawn(async move { rival.take_over(super::BERT, TakeOver::FromAnybody).await });
    super::until("the takeover waits", || waiting(&server, "transactionid")).await;
    assert!(!taking.is_finished());
    sqlx::query("SELECT pg_advisory_unlock(7)")
        .execute(&mut holder)
        .await
        .unwrap();
    assert_eq!(taking.await.unwrap().unwrap().batches, 1);
    // It was committed; but who asks the old writer hears of it only if its gate came before the takeover.
    if let Err(error) = appending.await.unwrap() {
        unknown(&error, &["right after a commit"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_writers_open_transaction_does_not_keep_the_log() {
    let server = Server::start();
    let writer = Writer::new(single(&server).await, ANNA).await;
    let _holder = slow_commits(&server).await;
    let batch = writer.next();
    let (store, head) = (writer.store, writer.head);
    let appending = tokio::spawn(async move { store.append(&head, &batch).await });
    super::until("the commit runs", || waiting(&server, "advisory")).await;
    // As when the process is killed: its socket closes. The server sees it, and takes the transaction back.
    appending.abort();
    let _ = appending.await;
    let rival = single(&server).await;
    let taken = rival
        .take_over(super::BERT, TakeOver::FromAnybody)
        .await
        .unwrap();
    assert_eq!(taken.batches, 0);
}

#[tokio::test]
async fn rows_that_are_gone_are_not_taken_for_a_log_that_is_behind() {
    let server = Server::start();
    let mut writer = Writer::new(single(&server).await, ANNA).await;
    writer.append().await.unwrap();
    server.psql("postgres", "TRUNCATE log.head");
    let error = writer
        .store
        .append(&writer.head, &writer.next())
        .await
        .unwrap_err();
    // Not refused for certain: nobody knows what has become of this database.
    unknown(&error, &[]);
}
