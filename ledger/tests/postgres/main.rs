//! Postgres as it is: real servers that are killed, promoted, misconfigured and cut off while the log is written.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking, and Clippy knows only functions marked as tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod crash;
mod durability;
mod location;
mod migrations;
mod sequencer;
mod standbys;
mod tls;
mod turn;
mod views;

use std::time::{Duration, Instant};

use ledger::batch::Batch;
use ledger::postgres::Location;
use ledger::store::postgres::OpenError;
use ledger::store::{Owner, TakeOver};
use ledger::{Durability, Failover, Head, Postgres, Standbys, Store, StoreError};
use protocol::merkle::CompactRange;
use throwaway_postgres::Server;

const ANNA: Owner = Owner([1; 16]);
const BERT: Owner = Owner([2; 16]);

/// A slow machine gets this long for what should take a moment.
const PATIENCE: Duration = Duration::from_secs(60);

fn location(server: &Server) -> Location {
    Location::parse(&server.url("postgres"), "log").unwrap()
}

async fn open(server: &Server, durability: Durability) -> Result<Postgres, OpenError> {
    Postgres::open(location(server), &common::log(), durability, true).await
}

async fn single(server: &Server) -> Postgres {
    open(server, Durability::SingleNode).await.unwrap()
}

fn one_of(names: &[&str]) -> Durability {
    Durability::Standbys(Standbys::new(names, 1, Failover::Compares(names.len())).unwrap())
}

/// A log that is written batch by batch, and what was acknowledged of it.
struct Writer {
    store: Postgres,
    owner: Owner,
    head: Head,
    range: CompactRange,
}

impl Writer {
    async fn new(store: Postgres, owner: Owner) -> Self {
        let head = store.take_over(owner, TakeOver::FromAnybody).await.unwrap();
        let mut range = CompactRange::new();
        for n in 0..head.batches {
            let row = store.read(n).await.unwrap().unwrap();
            Batch::from_body(n, &mut range, row.body, row.end).unwrap();
        }
        Self {
            store,
            owner,
            head,
            range,
        }
    }

    /// The next batch.
    fn next(&self) -> Batch {
        let n = self.head.batches;
        Batch::build(n, &mut self.range.clone(), &[format!("entry {n}")]).unwrap()
    }

    async fn append(&mut self) -> Result<(), StoreError> {
        let batch = self.next();
        self.head = self.store.append(&self.head, &batch).await?;
        batch
            .leaves()
            .iter()
            .for_each(|leaf| self.range.push(*leaf));
        Ok(())
    }

    /// Appends until something is wrong, and says what.
    async fn append_until_error(&mut self) -> StoreError {
        let begun = Instant::now();
        loop {
            if let Err(error) = self.append().await {
                return error;
            }
            assert!(begun.elapsed() < PATIENCE, "nothing was wrong");
        }
    }
}

/// Waits for a condition that somebody else brings about.
async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// That a change was not acknowledged, with these words in the reason.
fn unknown(error: &StoreError, words: &[&str]) {
    let StoreError::Unknown(reason) = error else {
        panic!("{error}");
    };
    contains(reason, words);
}

fn contains(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}
