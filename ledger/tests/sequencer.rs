//! The sequencer as services see it.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{
    check_log, check_receipt, check_rows, check_signed, config, log, parts, read_folder, vote,
};
use ledger::faulty::{Faults, MemoryPublisher, MemoryStore, Signed};
use ledger::sequencer::CloseError;
use ledger::{
    Directory, Handle, Outcome, Publisher, Sequencer, Sqlite, State, Store, Submission, SubmitError,
};

/// A sequencer over models that do not fail.
struct Models {
    store: Arc<MemoryStore>,
    publisher: Arc<MemoryPublisher>,
    signed: Signed,
}

impl Models {
    fn new() -> Self {
        let faults = Faults::none();
        Self {
            store: Arc::new(MemoryStore::new(faults.clone())),
            publisher: Arc::new(MemoryPublisher::new(faults)),
            signed: Signed::default(),
        }
    }

    fn spawn(&self, config: ledger::Config) -> Sequencer {
        let store = Arc::new(self.store.with_faults(Faults::none()));
        Sequencer::spawn(
            config,
            parts(store, self.publisher.clone(), &self.signed, &Faults::none()),
        )
    }

    async fn check(&self) -> common::Checked {
        let files = self.publisher.files();
        let checked = check_log(&files).await;
        check_signed(&self.signed, &checked);
        check_rows(&self.store.rows(), &files);
        checked
    }
}

async fn submit_all(
    handle: &Handle,
    submissions: impl IntoIterator<Item = Submission>,
) -> Vec<Result<Outcome, SubmitError>> {
    futures::future::join_all(
        submissions
            .into_iter()
            .map(|submission| handle.submit(submission)),
    )
    .await
}

fn index(outcome: &Result<Outcome, SubmitError>) -> u64 {
    match outcome {
        Ok(Outcome::Final { index, .. } | Outcome::Different { index }) => *index,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn votes_become_final_over_sqlite_and_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let signed = Signed::default();
    let open = || async {
        let store: Arc<dyn Store> = Arc::new(
            Sqlite::open(&folder.path().join("cell.sqlite"), &log(), true)
                .await
                .unwrap(),
        );
        let publisher: Arc<dyn Publisher> =
            Arc::new(Directory::open(folder.path(), log().election(), "cells-0").unwrap());
        Sequencer::spawn(config(), parts(store, publisher, &signed, &Faults::none()))
    };
    let sequencer = open().await;
    let handle = sequencer.handle();
    handle.ready().await.unwrap();
    assert_eq!(handle.published().end.size, 1);
    let submissions: Vec<_> = (0..3_000).map(|key| vote(key, 1, key)).collect();
    let outcomes = submit_all(&handle, submissions.clone()).await;
    for (submission, outcome) in submissions.iter().zip(&outcomes) {
        assert!(matches!(outcome, Ok(Outcome::Final { repeat: false, .. })));
        let receipt = handle.receipt(index(outcome)).await.unwrap();
        check_receipt(&receipt, index(outcome), &submission.entry);
    }
    drop(sequencer);

    // After a restart everything is there, and goes on.
    let sequencer = open().await;
    let handle = sequencer.handle();
    handle.ready().await.unwrap();
    for (submission, outcome) in submissions.iter().zip(&outcomes).step_by(97) {
        assert_eq!(
            handle.submit(submission.clone()).await,
            Ok(Outcome::Final {
                index: index(outcome),
                repeat: true
            })
        );
    }
    let published = handle.close(None).await.unwrap();
    assert!(published.closed);
    let files = read_folder(
        &folder
            .path()
            .join("elections")
            .join(log().election().to_string()),
    );
    let checked = check_log(&files).await;
    check_signed(&signed, &checked);
    assert_eq!(checked.votes.len(), 3_000);
    assert!(checked.closed);
    for (submission, outcome) in submissions.iter().zip(&outcomes) {
        assert_eq!(checked.votes[&submission.key.unwrap()].0, index(outcome));
    }
}
