use std::time::Duration;

use super::{common::log, location, until};
use throwaway_postgres::Server;

const HOLDERS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted";

#[tokio::test(flavor = "multi_thread")]
async fn one_process_has_the_turn_and_the_next_gets_it_when_that_one_is_gone() {
    let server = Server::start();
    let here = location(&server);
    let mut first = here.wait_for_turn(&log()).await;
    assert!(here.try_turn(&log()).await.unwrap().is_none());
    // Another log's, and the same log's elsewhere, are free.
    let other = ledger::LogName::new(
        "votes.example",
        *log().election(),
        protocol::ids::LogId::Cell(1),
    );
    assert!(here.try_turn(&other).await.unwrap().is_some());
    assert!(
        here.with_schema("elsewhere")
            .unwrap()
            .try_turn(&log())
            .await
            .unwrap()
            .is_some()
    );

    let waiting = {
        let here = here.clone();
        tokio::spawn(async move { here.wait_for_turn(&log()).await })
    };
    until("the next one asks", || {
        server.psql(
            "postgres",
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tallyroot turn cells/0'",
        ) == "2"
    })
    .await;
    assert!(!waiting.is_finished() && !first.is_lost());

    // The server drops the session, as it does when the process or its machine dies.
    server.psql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted",
    );
    let second = waiting.await.unwrap();
    let reason = first.lost().await;
    assert!(reason.contains("its session ended"), "{reason}");
    assert!(first.is_lost() && !second.is_lost());

    // Given up in good order, it is free at once.
    second.release().await;
    let third = here.try_turn(&log()).await.unwrap().unwrap();
    drop(third);
    until("a dropped turn is free", || {
        server.psql("postgres", HOLDERS) == "0"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_endures_a_server_that_is_away_and_a_standby_gives_no_turns() {
    let mut server = Server::start();
    let standby = server.standby("sb");
    let error = location(&standby)
        .try_turn(&log())
        .await
        .unwrap_err()
        .to_string();
    super::contains(&error, &["the server is a standby"]);
    let mut first = location(&server).wait_for_turn(&log()).await;
    server.crash();
    first.lost().await;
    let here = location(&server);
    let waiting = tokio::spawn(async move { here.wait_for_turn(&log()).await });
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(!waiting.is_finished());
    server.restart();
    assert!(!waiting.await.unwrap().is_lost());
}
