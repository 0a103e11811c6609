//! Every setting that a commit's durability rests on: wrong at start, and made wrong while the log is written.

use ledger::store::postgres::OpenError;
use ledger::{Durability, Failover, Postgres, Standbys};
use throwaway_postgres::{Server, Setup};

use super::{ANNA, Writer, common::log, contains, location, one_of, open, single, unknown};

fn unmet(outcome: Result<Postgres, OpenError>, words: &[&str]) {
    match outcome {
        Err(error @ OpenError::Unmet(_)) => contains(&error.to_string(), words),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was opened; it should have said {words:?}"),
    }
}

#[tokio::test]
async fn a_single_node_is_for_demonstrations() {
    let server = Server::start();
    let opened = Postgres::open(location(&server), &log(), Durability::SingleNode, false).await;
    assert!(matches!(opened, Err(OpenError::NotADemo)));
    let checked = Postgres::check(&location(&server), &log(), &Durability::SingleNode, false).await;
    assert!(matches!(checked, Err(OpenError::NotADemo)));
    // Nothing was made.
    assert_eq!(server.psql("postgres", "SELECT to_regnamespace('log')"), "");
}

#[tokio::test]
async fn a_server_that_may_lose_a_commit_is_refused_at_start() {
    for (setting, wrong) in [
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("synchronous_commit", "off"),
    ] {
        let server = Setup::new().set(setting, wrong).start();
        unmet(
            open(&server, Durability::SingleNode).await,
            &[
                &format!("{setting} is {wrong}, and must be on"),
                &format!("set {setting} = on"),
            ],
        );
        assert_eq!(server.psql("postgres", "SELECT to_regnamespace('log')"), "");
    }
}

#[tokio::test]
async fn a_role_or_database_that_commits_carelessly_is_refused() {
    let server = Server::start();
    server.psql("postgres", "CREATE ROLE careless LOGIN SUPERUSER");
    server.psql(
        "postgres",
        "ALTER ROLE careless SET synchronous_commit = off",
    );
    let url = server.url_as("careless", "", "postgres");
    let careless = ledger::postgres::Location::parse(&url, "log").unwrap();
    let opened = Postgres::open(careless, &log(), Durability::SingleNode, true).await;
    unmet(opened, &["synchronous_commit is off", "ALTER ROLE"]);
    server.psql(
        "postgres",
        "ALTER DATABASE postgres SET synchronous_commit = off",
    );
    unmet(
        open(&server, Durability::SingleNode).await,
        &["synchronous_commit is off", "ALTER DATABASE"],
    );
}

#[tokio::test]
async fn the_gate_sees_what_is_turned_off_while_running() {
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        let server = Server::start();
        let mut writer = Writer::new(single(&server).await, ANNA).await;
        writer.append().await.unwrap();
        server.psql("postgres", &format!("ALTER SYSTEM SET {setting} = off"));
        server.psql("postgres", "SELECT pg_reload_conf()");
        unknown(
            &writer.append_until_error().await,
            &[&format!("{setting} is off, and must be on")],
        );
        // The session is gone, and a new one is refused as long as it is so.
        unknown(&writer.append().await.unwrap_err(), &["no session"]);
        let again = ledger::store::TakeOver::IfStillMine;
        let error = ledger::Store::take_over(&writer.store, ANNA, again)
            .await
            .unwrap_err();
        unknown(&error, &[&format!("{setting} is off")]);
        server.psql("postgres", &format!("ALTER SYSTEM RESET {setting}"));
        server.psql("postgres", "SELECT pg_reload_conf()");
        Writer::new(single(&server).await, ANNA)
            .await
            .append()
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_transaction_commits_as_the_policy_needs_it_whatever_the_server_is_set_to_meanwhile() {
    let server = Server::start();
    let mut writer = Writer::new(single(&server).await, ANNA).await;
    // Fires within the transaction, before COMMIT.
    server.psql(
        "postgres",
        "CREATE TABLE log.seen (value text);
         CREATE FUNCTION log.see() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN INSERT INTO log.seen VALUES (current_setting(''synchronous_commit'')); RETURN NULL; END';
         CREATE TRIGGER see AFTER INSERT ON log.batch FOR EACH STATEMENT EXECUTE FUNCTION log.see()",
    );
    server.psql("postgres", "ALTER SYSTEM SET synchronous_commit = off");
    server.psql("postgres", "SELECT pg_reload_conf()");
    unknown(
        &writer.append_until_error().await,
        &["synchronous_commit is off"],
    );
    assert_eq!(
        server.psql("postgres", "SELECT DISTINCT value FROM log.seen"),
        "on"
    );
}

#[tokio::test]
async fn only_aurora_has_replicated_storage() {
    let server = Server::start();
    unmet(
        open(&server, Durability::StorageReplicated).await,
        &[
            "aurora_version() is not there",
            "use the policy of standbys",
        ],
    );
    // A function of that name anywhere else is no proof.
    server.psql(
        "postgres",
        "CREATE FUNCTION aurora_version() RETURNS text LANGUAGE sql AS 'SELECT ''16.1''::text'",
    );
    unmet(
        open(&server, Durability::StorageReplicated).await,
        &["not there"],
    );
    // Only whoever owns the server can put one where Aurora has it; there, pages are not written at all.
    for sql in [
        "SET allow_system_table_mods = on; CREATE FUNCTION pg_catalog.aurora_version() RETURNS text LANGUAGE sql AS 'SELECT ''16.1''::text'",
        "ALTER SYSTEM SET full_page_writes = off",
        "SELECT pg_reload_conf()",
    ] {
        server.psql("postgres", sql);
    }
    super::until("the setting is loaded", || {
        server.psql("postgres", "SHOW full_page_writes") == "off"
    })
    .await;
    let opened = open(&server, Durability::StorageReplicated).await.unwrap();
    Writer::new(opened, ANNA).await.append().await.unwrap();
    unmet(
        open(&server, Durability::SingleNode).await,
        &["full_page_writes is off"],
    );
}

/// As Aurora is said to be: `aurora_version()` can be called though the catalog does not show it under this signature, and no WAL function can be.
#[tokio::test]
async fn aurora_is_asked_by_a_call_and_for_no_position() {
    let server = Server::start();
    for sql in [
        "SET allow_system_table_mods = on;
         ALTER FUNCTION pg_catalog.pg_current_wal_flush_lsn() RENAME TO pg_no_wal;
         CREATE FUNCTION pg_catalog.pg_current_wal_flush_lsn() RETURNS pg_lsn LANGUAGE plpgsql AS
         'BEGIN RAISE EXCEPTION ''WAL control functions cannot be executed''; END'",
        "SET allow_system_table_mods = on;
         CREATE FUNCTION pg_catalog.aurora_version(text DEFAULT '') RETURNS text LANGUAGE sql AS 'SELECT ''17.7''::text'",
    ] {
        server.psql("postgres", sql);
    }
    let opened = open(&server, Durability::StorageReplicated).await.unwrap();
    Writer::new(opened, ANNA).await.append().await.unwrap();
    Writer::new(single(&server).await, ANNA)
        .await
        .append()
        .await
        .unwrap();
    // An answer that is none is not taken for a no, nor for a yes.
    server.psql(
        "postgres",
        "SET allow_system_table_mods = on;
         CREATE OR REPLACE FUNCTION pg_catalog.aurora_version(text DEFAULT '') RETURNS text LANGUAGE plpgsql AS
         'BEGIN RAISE EXCEPTION ''not now''; END'",
    );
    let error = open(&server, Durability::StorageReplicated)
        .await
        .err()
        .unwrap();
    contains(&error.to_string(), &["not now"]);
}

#[test]
fn a_policy_that_failover_could_break_is_refused() {
    let new = |names: &[&str], count, compares| {
        Standbys::new(names, count, Failover::Compares(compares)).is_ok()
    };
    // count >= names - compares + 1
    for (names, count, compares, fine) in [
        (1, 1, 1, true),
        (2, 1, 1, false),
        (2, 2, 1, true),
        (2, 1, 2, true),
        (3, 2, 1, false),
        (3, 2, 2, true),
        (3, 1, 3, true),
        (3, 3, 4, false),
        (3, 3, 0, false),
        (3, 0, 3, false),
        (3, 4, 1, false),
    ] {
        let all = ["a", "b", "c"];
        assert_eq!(
            new(&all[..names], count, compares),
            fine,
            "{names} {count} {compares}"
        );
    }
    for names in [&["a", "A"] as &[&str], &["*"], &[""], &[]] {
        assert!(!new(names, 1, 1), "{names:?}");
    }
}

#[tokio::test]
async fn a_setting_that_does_not_force_the_standbys_is_refused() {
    let server = Server::start();
    let _standby = server.standby("a");
    let policy = || one_of(&["a", "b"]);
    let strict = Standbys::new(["a", "b"], 1, Failover::OnlySynchronous).unwrap();
    let both = Standbys::new(["a", "b"], 2, Failover::Compares(1)).unwrap();
    for (setting, durability, words) in [
        ("", policy(), "waits for no standby"),
        ("*", policy(), "may return without them"),
        ("ANY 1 (a, c)", policy(), "may return without them"),
        ("c, a", policy(), "may return without them"),
        (
            "ANY 1 (a, b)",
            Durability::Standbys(both.clone()),
            "at least 2 of a, b",
        ),
        (
            "ANY 1 (a, b)",
            Durability::Standbys(strict.clone()),
            "every listed standby",
        ),
        (
            "ANY 2 (a, c)",
            Durability::Standbys(strict.clone()),
            "every listed standby",
        ),
    ] {
        server.psql(
            "postgres",
            &format!("ALTER SYSTEM SET synchronous_standby_names = '{setting}'"),
        );
        server.psql("postgres", "SELECT pg_reload_conf()");
        // A new session begins with the new value.
        super::until("the setting is loaded", || {
            server.psql("postgres", "SHOW synchronous_standby_names") == setting
        })
        .await;
        unmet(
            open(&server, durability).await,
            &["synchronous_standby_names is", words],
        );
    }
    for (setting, durability) in [
        ("a", policy()),
        ("ANY 1 (A, b)", policy()),
        ("FIRST 1 (a, b)", policy()),
        ("\"a\"", Durability::Standbys(strict)),
    ] {
        server.psql(
            "postgres",
            &format!("ALTER SYSTEM SET synchronous_standby_names = '{setting}'"),
        );
        server.psql("postgres", "SELECT pg_reload_conf()");
        super::until("the setting is loaded", || {
            server.psql("postgres", "SHOW synchronous_standby_names") == setting
        })
        .await;
        let mut writer = Writer::new(open(&server, durability).await.unwrap(), ANNA).await;
        writer.append().await.unwrap();
    }
}

#[tokio::test]
async fn a_role_without_superuser_needs_one_grant() {
    let server = Setup::new().set("synchronous_standby_names", "a").start();
    let _standby = server.standby("a");
    server.psql("postgres", "CREATE ROLE cell LOGIN");
    server.psql("postgres", "CREATE DATABASE cell OWNER cell");
    let url = server.url_as("cell", "", "cell");
    let location = || ledger::postgres::Location::parse(&url, "log").unwrap();
    let opened = Postgres::open(location(), &log(), one_of(&["a"]), false).await;
    unmet(opened, &["GRANT pg_monitor TO \"cell\""]);
    server.psql("postgres", "GRANT pg_monitor TO cell");
    let opened = Postgres::open(location(), &log(), one_of(&["a"]), false)
        .await
        .unwrap();
    Writer::new(opened, ANNA).await.append().await.unwrap();
    assert!(
        Postgres::check(&location(), &log(), &one_of(&["a"]), false)
            .await
            .unwrap()
    );
    // A role that may neither make a schema nor use this one.
    server.psql("postgres", "CREATE ROLE other LOGIN");
    let url = server.url_as("other", "", "cell");
    let other = ledger::postgres::Location::parse(&url, "other").unwrap();
    let error = Postgres::open(other, &log(), Durability::SingleNode, true)
        .await
        .err()
        .unwrap();
    contains(&error.to_string(), &["permission denied", "needs CREATE"]);
}

#[tokio::test]
async fn a_schema_is_one_logs() {
    let server = Server::start();
    assert!(
        !Postgres::check(&location(&server), &log(), &Durability::SingleNode, true)
            .await
            .unwrap()
    );
    single(&server).await;
    assert!(
        Postgres::check(&location(&server), &log(), &Durability::SingleNode, true)
            .await
            .unwrap()
    );
    let other = ledger::LogName::new(
        "votes.example",
        *log().election(),
        protocol::ids::LogId::Cell(1),
    );
    let refused = [
        Postgres::open(location(&server), &other, Durability::SingleNode, true)
            .await
            .err()
            .unwrap(),
        Postgres::check(&location(&server), &other, &Durability::SingleNode, true)
            .await
            .err()
            .unwrap(),
    ];
    for error in refused {
        contains(
            &error.to_string(),
            &["cells/0", "cells/1", "configure the schema"],
        );
    }
}

#[tokio::test]
async fn a_committed_batch_cannot_be_rewritten_by_hand() {
    let server = Server::start();
    let mut writer = Writer::new(single(&server).await, ANNA).await;
    writer.append().await.unwrap();
    for sql in ["UPDATE log.batch SET epoch = 0", "TRUNCATE log.batch"] {
        let out = server
            .command("psql")
            .args(["-X", "-U", "postgres", "-d", "postgres", "-c", sql])
            .output()
            .unwrap();
        contains(&String::from_utf8_lossy(&out.stderr), &["never rewritten"]);
    }
}
