//! A schema that grows while old and new processes work in it.

use std::borrow::Cow;

use ledger::Durability;
use ledger::Postgres;
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use throwaway_postgres::Server;

use super::{ANNA, Writer, common::log, contains, location, single};

/// What a later version of this program may add.
fn newer() -> Migrator {
    let mut all: Vec<Migration> = sqlx::migrate!("./migrations").iter().cloned().collect();
    all.push(Migration::new(
        9999,
        Cow::Borrowed("a later version"),
        MigrationType::Simple,
        "ALTER TABLE head ADD COLUMN note text; ALTER TABLE batch ADD COLUMN note text; CREATE TABLE later (n int)"
            .into_sql_str(),
        false,
    ));
    Migrator::with_migrations(all)
}

const TABLE: &str = "ledger_migration";

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_may_start_at_once() {
    let server = Server::start();
    let opening = (0..8).map(|_| {
        let here = location(&server);
        tokio::spawn(async move {
            Postgres::open(here, &log(), Durability::SingleNode, true)
                .await
                .map(|_| ())
        })
    });
    for opened in futures::future::join_all(opening).await {
        opened.unwrap().unwrap();
    }
    assert_eq!(
        server.psql("postgres", "SELECT count(*) FROM log.head"),
        "1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_under_load_stops_nobody_and_the_old_process_goes_on_and_starts_again() {
    let server = Server::start();
    let mut writer = Writer::new(single(&server).await, ANNA).await;
    writer.append().await.unwrap();
    // A reader that holds the table: the migration has to wait for it, but nobody may have to wait behind the migration.
    let mut reader = location(&server).connect("reader").await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM batch")
        .execute(&mut reader)
        .await
        .unwrap();
    let here = location(&server);
    let migrating = tokio::spawn(async move { here.migrate(newer(), TABLE).await });
    super::until("the migration waits for the reader", || {
        server.psql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tallyroot migrations' AND wait_event_type = 'Lock'") == "1"
    })
    .await;
    for _ in 0..20 {
        writer.append().await.unwrap();
    }
    assert!(!migrating.is_finished());
    sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
    while !migrating.is_finished() {
        writer.append().await.unwrap();
    }
    migrating.await.unwrap().unwrap();
    // The running old process, an old process that starts, and a new one.
    writer.append().await.unwrap();
    let before = writer.head;
    let mut old = Writer::new(single(&server).await, ANNA).await;
    assert_eq!(
        (old.head.batches, old.head.end),
        (before.batches, before.end)
    );
    old.append().await.unwrap();
    location(&server).migrate(newer(), TABLE).await.unwrap();
    assert_eq!(
        server.psql("postgres", "SELECT max(version) FROM log.ledger_migration"),
        "9999"
    );
}

#[tokio::test]
async fn a_migration_that_was_changed_afterwards_is_refused() {
    let server = Server::start();
    single(&server).await;
    server.psql(
        "postgres",
        "UPDATE log.ledger_migration SET checksum = '\\x00' WHERE version = 1",
    );
    let error = Postgres::open(location(&server), &log(), Durability::SingleNode, true)
        .await
        .err()
        .unwrap();
    contains(
        &error.to_string(),
        &["migration 1 was applied", "another form"],
    );
}
