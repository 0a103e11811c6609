//! Whole sequencers on Postgres and a directory: a server that crashes under load, a lost database, and an active process that dies.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use ledger::faulty::{Faults, Signed};
use ledger::store::TakeOver;
use ledger::{Directory, Handle, Outcome, Sequencer, State, Store};
use throwaway_postgres::Server;

use super::common::{
    check_log, check_receipt, check_rows, check_signed, config, log, parts, read_folder, vote,
};
use super::{BERT, location, single, until};

/// A log's two copies, and whatever was signed.
struct Place {
    folder: tempfile::TempDir,
    signed: Signed,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            signed: Signed::default(),
        }
    }

    async fn spawn(&self, server: &Server, name: &str) -> Sequencer {
        let publisher = Directory::open(self.folder.path(), log().election(), name).unwrap();
        let mut config = config();
        config.batch.count_max = 7;
        let parts = parts(
            Arc::new(single(server).await),
            Arc::new(publisher),
            &self.signed,
            &Faults::none(),
        );
        Sequencer::spawn(config, parts)
    }

    /// Both copies are the same log, which never forked and holds just these votes at these indices.
    async fn check(&self, server: &Server, told: &[u64]) {
        let files = read_folder(&tree(self.folder.path()));
        let checked = check_log(&files).await;
        check_signed(&self.signed, &checked);
        let store = single(server).await;
        let head = store.take_over(BERT, TakeOver::FromAnybody).await.unwrap();
        let mut rows = Vec::new();
        for n in 0..head.batches {
            rows.push(store.read(n).await.unwrap().unwrap());
        }
        check_rows(&rows, &files);
        assert!(store.aside().await.unwrap().is_empty());
        assert_eq!(checked.votes.len(), told.len());
        for (key, index) in (0..).zip(told) {
            let submission = vote(key, 0, 0);
            assert_eq!(
                checked.votes[&submission.key.unwrap()],
                (*index, submission.same)
            );
        }
    }
}

fn tree(folder: &Path) -> std::path::PathBuf {
    folder.join("elections").join(log().election().to_string())
}

/// Casts until it is known what became of it.
async fn cast(handle: &Handle, key: u64, choice: u64) -> Outcome {
    loop {
        if let Ok(Ok(outcome)) =
            tokio::time::timeout(Duration::from_secs(5), handle.submit(vote(key, choice, 0))).await
        {
            return outcome;
        }
        assert!(
            !matches!(handle.state(), State::Halted(_)),
            "{:?}",
            handle.state()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn cast_all(handle: &Handle, keys: std::ops::Range<u64>) -> Vec<u64> {
    let outcomes = join_all(keys.map(|key| cast(handle, key, 0))).await;
    outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Final { index, .. } => index,
            Outcome::Different { .. } => panic!("{outcome:?}"),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_under_load_loses_no_vote() {
    let place = Place::new();
    let mut server = Server::start();
    let sequencer = place.spawn(&server, "cells-0").await;
    let handle = sequencer.handle();
    handle.ready().await.unwrap();
    let casting = {
        let handle = handle.clone();
        tokio::spawn(async move { cast_all(&handle, 0..600).await })
    };
    for crash in 1..=3 {
        // Some way on each time.
        until("votes become final", || {
            handle.published().end.size > crash * 60
        })
        .await;
        server.crash();
        server.restart();
    }
    let told = casting.await.unwrap();
    for index in told.iter().step_by(50) {
        let key = told.iter().position(|other| other == index).unwrap() as u64;
        check_receipt(
            &handle.receipt(*index).await.unwrap(),
            *index,
            &vote(key, 0, 0).entry,
        );
    }
    // Repeats get what they had, another ballot does not.
    assert_eq!(cast_all(&handle, 0..600).await, told);
    let other = cast(&handle, 5, 1).await;
    assert!(
        matches!(other, Outcome::Different { index } if index == told[5]),
        "{other:?}"
    );
    drop(sequencer);
    place.check(&server, &told).await;
}

/// A takeover of an empty database is the rebuild.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_is_rebuilt_to_the_same_roots_and_indices() {
    let place = Place::new();
    let lost = Server::start();
    let sequencer = place.spawn(&lost, "cells-0").await;
    sequencer.handle().ready().await.unwrap();
    let told = cast_all(&sequencer.handle(), 0..100).await;
    let before = sequencer.handle().published();
    drop(sequencer);
    drop(lost);

    let fresh = Server::start();
    let sequencer = place.spawn(&fresh, "cells-0").await;
    let handle = sequencer.handle();
    handle.ready().await.unwrap();
    assert_eq!(handle.published(), before);
    assert_eq!(cast_all(&handle, 0..100).await, told);
    let other = cast(&handle, 7, 1).await;
    assert!(
        matches!(other, Outcome::Different { index } if index == told[7]),
        "{other:?}"
    );
    let more = cast_all(&handle, 100..120).await;
    drop(sequencer);
    place.check(&fresh, &[told, more].concat()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_goes_on_when_the_active_process_is_gone_and_fences_it_if_it_is_not() {
    let place = Place::new();
    let server = Server::start();
    let mut turn = location(&server).wait_for_turn(&log()).await;
    let mut active = place.spawn(&server, "cells-0").await;
    active.handle().ready().await.unwrap();
    let told = cast_all(&active.handle(), 0..30).await;

    let here = location(&server);
    let waiting = tokio::spawn(async move { here.wait_for_turn(&log()).await });
    // The session of the turn dies, while the active process lives on and does not know.
    server.psql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted",
    );
    let _next_turn = waiting.await.unwrap();
    let standby = place.spawn(&server, "cells-0-b").await;
    standby.handle().ready().await.unwrap();
    turn.lost().await;
    // The old one is fenced at its next batch, and what it was given then was not acknowledged.
    let late = active.handle().submit(vote(1_000, 0, 0)).await;
    assert!(late.is_err(), "{late:?}");
    let state = active.ended().await;
    assert!(matches!(state, State::SteppedDown(_)), "{state:?}");
    let more = cast_all(&standby.handle(), 30..60).await;
    drop((active, standby));
    place.check(&server, &[told, more].concat()).await;
}
