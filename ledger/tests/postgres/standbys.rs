//! Synchronous standbys that stop, and primaries that are not any more.

use std::sync::Arc;

use ledger::store::TakeOver;
use ledger::store::postgres::OpenError;
use ledger::{Durability, Store};
use throwaway_postgres::{Server, Setup};

use super::{ANNA, BERT, Writer, contains, one_of, open, unknown, until};

const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name LIKE 'tallyroot sequencer%'";

/// A primary whose commits wait for a standby.
fn pair() -> (Server, Server) {
    let primary = Setup::new()
        .set("synchronous_standby_names", "ANY 1 (sb)")
        .start();
    let standby = primary.standby("sb");
    (primary, standby)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_wait_for_the_standby_is_no_commit() {
    let (primary, mut standby) = pair();
    let mut writer = Writer::new(open(&primary, one_of(&["sb"])).await.unwrap(), ANNA).await;
    writer.append().await.unwrap();
    standby.crash();
    let batch = writer.next();
    let (store, head) = (Arc::new(writer.store), writer.head);
    let append = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.append(&head, &batch).await })
    };
    until("the commit waits", || {
        primary.psql("postgres", WAITING) == "1"
    })
    .await;
    // COMMIT now returns success, with a warning that nobody reads.
    primary.psql(
        "postgres",
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
    );
    let error = append.await.unwrap().unwrap_err();
    unknown(
        &error,
        &[
            "pg_stat_replication",
            "at least 1 of sb",
            "see whether the standbys run",
        ],
    );
    // Committed it is, for everybody to see, on one disk. Whoever takes over waits for the standby, and finds it.
    assert_eq!(
        primary.psql("postgres", "SELECT batches FROM log.head"),
        "2"
    );
    standby.restart();
    let taken = store.take_over(BERT, TakeOver::FromAnybody).await.unwrap();
    assert_eq!(taken.batches, 2);
}

/// To be connected is not to have it: the position counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_streams_but_has_not_flushed_the_commit_does_not_count() {
    let (primary, standby) = pair();
    let mut writer = Writer::new(open(&primary, one_of(&["sb"])).await.unwrap(), ANNA).await;
    writer.append().await.unwrap();
    let receiver = standby.psql("postgres", "SELECT pid FROM pg_stat_wal_receiver");
    let signal = |signal: &str| {
        let sent = std::process::Command::new("kill")
            .args([signal, &receiver])
            .status();
        assert!(sent.unwrap().success());
    };
    signal("-STOP");
    let batch = writer.next();
    let (store, head) = (Arc::new(writer.store), writer.head);
    let append = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.append(&head, &batch).await })
    };
    until("the commit waits", || {
        primary.psql("postgres", WAITING) == "1"
    })
    .await;
    primary.psql(
        "postgres",
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
    );
    let error = append.await.unwrap().unwrap_err();
    let connected = primary.psql(
        "postgres",
        "SELECT application_name, state FROM pg_stat_replication",
    );
    signal("-CONT");
    assert_eq!(connected, "sb|streaming");
    unknown(
        &error,
        &["pg_stat_replication is []", "have flushed the last commit"],
    );
    let taken = store.take_over(BERT, TakeOver::FromAnybody).await.unwrap();
    assert_eq!(taken.batches, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn emptied_names_are_no_way_out() {
    let (primary, mut standby) = pair();
    let mut writer = Writer::new(open(&primary, one_of(&["sb"])).await.unwrap(), ANNA).await;
    writer.append().await.unwrap();
    standby.crash();
    primary.psql(
        "postgres",
        "ALTER SYSTEM SET synchronous_standby_names = ''",
    );
    primary.psql("postgres", "SELECT pg_reload_conf()");
    // Either the wait ends at once, or there is none.
    let error = writer.append_until_error().await;
    unknown(
        &error,
        &["synchronous_standby_names is ''", "waits for no standby"],
    );
    let error = writer
        .store
        .take_over(ANNA, TakeOver::IfStillMine)
        .await
        .unwrap_err();
    unknown(&error, &["synchronous_standby_names is ''"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_under_the_same_name_counts_once() {
    let primary = Setup::new()
        .set("synchronous_standby_names", "ANY 2 (a, b)")
        .start();
    let _one = primary.standby("a");
    let _two = primary.standby("a");
    let both = ledger::Standbys::new(["a", "b"], 2, ledger::Failover::Compares(1)).unwrap();
    // The server is content with two that call themselves a.
    primary.psql("postgres", "CREATE TABLE t ()");
    let error = open(&primary, Durability::Standbys(both))
        .await
        .err()
        .unwrap();
    contains(
        &error.to_string(),
        &["pg_stat_replication is [a]", "at least 2 of a, b"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_refused_and_a_promoted_one_goes_on() {
    let (mut primary, standby) = pair();
    let mut writer = Writer::new(open(&primary, one_of(&["sb"])).await.unwrap(), ANNA).await;
    for _ in 0..5 {
        writer.append().await.unwrap();
    }
    let error = open(&standby, one_of(&["sb"])).await.err().unwrap();
    assert!(matches!(error, OpenError::Unmet(_)));
    contains(&error.to_string(), &["this server is a standby"]);

    primary.crash();
    unknown(&writer.append().await.unwrap_err(), &[]);
    standby.promote();
    // It has inherited the setting, and nobody stands by it.
    let error = open(&standby, one_of(&["sb"])).await.err().unwrap();
    contains(
        &error.to_string(),
        &["pg_stat_replication is []", "at least 1 of sb"],
    );
    let _next = standby.standby("sb");
    let mut taken = Writer::new(open(&standby, one_of(&["sb"])).await.unwrap(), BERT).await;
    assert_eq!((taken.head.batches, taken.head.end), (5, writer.head.end));
    taken.append().await.unwrap();

    // The old primary comes back with nobody behind it: it can acknowledge nothing.
    primary.restart();
    let error = writer
        .store
        .take_over(ANNA, TakeOver::IfStillMine)
        .await
        .unwrap_err();
    unknown(&error, &["pg_stat_replication is []"]);
}
