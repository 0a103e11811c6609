//! Sessions and servers that end in the middle of appends: whatever was acknowledged is there, in order, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ledger::store::TakeOver;
use ledger::{Store, StoreError};
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
    for _ in 0..20 {
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
