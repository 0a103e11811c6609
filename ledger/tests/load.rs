//! Many votes through SQLite or Postgres and a directory, receipts included: what must take seconds. Nothing is timed here, only shown:
//! `cargo test -p ledger --test load -- --nocapture`; `VOTES=1000000` for more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking, and Clippy knows only functions marked as tests"
)]

mod common;

use std::sync::Arc;
use std::time::Instant;

use common::{
    check_log, check_receipt, check_signed, config, index, log, parts, read_folder, vote,
};
use futures::StreamExt as _;
use ledger::faulty::{Faults, Signed};
use ledger::postgres::Location;
use ledger::{Directory, Durability, Postgres, Sequencer, Sqlite, Store};
use throwaway_postgres::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eighty_thousand_votes_through_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.sqlite");
    many_votes(async || Arc::new(Sqlite::open(&path, &log(), true).await.unwrap())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eighty_thousand_votes_through_postgres() {
    let server = Server::start();
    let location = Location::parse(&server.url("postgres"), "log").unwrap();
    many_votes(async || {
        let policy = Durability::SingleNode;
        let opened = Postgres::open(location.clone(), &log(), policy, true).await;
        Arc::new(opened.unwrap())
    })
    .await;
}

async fn many_votes<S: Store>(store: impl AsyncFn() -> Arc<S>) {
    let votes: u64 = std::env::var("VOTES")
        .ok()
        .map_or(80_000, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let open = || async {
        let store = store().await;
        let publisher = Directory::open(folder.path(), log().election(), "cells-0").unwrap();
        let mut config = config();
        config.batch.count_max = 8_000;
        let signed = Signed::default();
        let sequencer = Sequencer::spawn(
            config,
            parts(store, Arc::new(publisher), &signed, &Faults::none()),
        );
        sequencer.handle().ready().await.unwrap();
        (sequencer, signed)
    };
    let (sequencer, signed) = open().await;
    let handle = sequencer.handle();
    let start = Instant::now();
    let outcomes: Vec<_> = futures::stream::iter(0..votes)
        .map(|key| handle.submit(vote(key, 0, 0)))
        .buffer_unordered(20_000)
        .collect()
        .await;
    println!(
        "{votes} votes final after {:?}, in {} batches",
        start.elapsed(),
        handle.published().batches
    );

    let start = Instant::now();
    let newest = handle.published().end.size.saturating_sub(8_000);
    let mut receipts = 0;
    for index in outcomes.iter().map(index).filter(|index| *index >= newest) {
        handle.receipt(index).await.unwrap();
        receipts += 1;
    }
    println!(
        "{receipts} receipts of the newest votes after {:?}",
        start.elapsed()
    );
    drop(sequencer);

    let start = Instant::now();
    let (sequencer, _) = open().await;
    println!("taken over after {:?}", start.elapsed());
    for key in (0..votes).step_by(997) {
        let again = index(&sequencer.handle().submit(vote(key, 0, 1)).await);
        check_receipt(
            &sequencer.handle().receipt(again).await.unwrap(),
            again,
            &vote(key, 0, 0).entry,
        );
    }
    let files = read_folder(
        &folder
            .path()
            .join("elections")
            .join(log().election().to_string()),
    );
    let checked = check_log(&files).await;
    check_signed(&signed, &checked);
    assert_eq!(checked.votes.len() as u64, votes);
}
