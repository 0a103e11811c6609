//! The sequencer as services see it.
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
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use common::{
    Models, Votes, check_log, check_receipt, check_signed, config, index, log, parts, read_folder,
    vote,
};
use ledger::faulty::{Fault, Faults, MemoryPublisher, MemorySigner, Signed};
use ledger::sequencer::{BatchPolicy, CloseError, ReceiptError};
use ledger::{
    Arranged, Content, ContentError, Creation, Directory, Handle, Move, Outcome, Position,
    PublishError, Publisher, ReadError, Reader, Replayed, Sequencer, Sqlite, State, Store,
    Submission, SubmitError,
};
use tokio::sync::Semaphore;

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
    assert!(read_folder(&folder.path().join("tmp")).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_copies_make_one_leaf() {
    let models = Models::new();
    let sequencer = models.running(config()).await;
    // The same ballot, each time with another signature.
    let outcomes = submit_all(
        &sequencer.handle(),
        (0..1_000).map(|nonce| vote(1, 5, nonce)),
    )
    .await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Ok(Outcome::Final { index: 1, .. })))
    );
    let first = |outcome: &&_| matches!(outcome, Ok(Outcome::Final { repeat: false, .. }));
    assert_eq!(outcomes.iter().filter(first).count(), 1);
    // And again, once it is final; the entry that was stored first is what everybody gets.
    assert_eq!(
        sequencer.handle().submit(vote(1, 5, 9_999)).await,
        Ok(Outcome::Final {
            index: 1,
            repeat: true
        })
    );
    check_receipt(
        &sequencer.handle().receipt(1).await.unwrap(),
        1,
        &vote(1, 5, 0).entry,
    );
    assert_eq!(models.check().await.votes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_ballot_under_a_key_is_told_where_the_first_one_is() {
    let models = Models::new();
    let sequencer = models.running(config()).await;
    let handle = sequencer.handle();
    // At once, while the first is pending …
    let outcomes = submit_all(&handle, [vote(1, 5, 0), vote(1, 6, 0), vote(2, 7, 0)]).await;
    let first = index(&outcomes[0]);
    assert_eq!(
        outcomes[0],
        Ok(Outcome::Final {
            index: first,
            repeat: false
        })
    );
    assert_eq!(outcomes[1], Ok(Outcome::Different { index: first }));
    // … and later.
    assert_eq!(
        handle.submit(vote(1, 6, 1)).await,
        Ok(Outcome::Different { index: first })
    );
    assert_eq!(
        handle.lookup(&vote(1, 0, 0).key.unwrap()).unwrap().index,
        first
    );
    assert_eq!(handle.lookup(&vote(3, 0, 0).key.unwrap()), None);
    assert_eq!(models.check().await.votes.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_company_but_not_for_ever() {
    let models = Models::new();
    let mut config = config();
    config.batch = BatchPolicy {
        count_min: 10,
        wait_max: Duration::from_secs(30),
        count_max: 15,
    };
    let sequencer = models.running(config).await;
    let handle = sequencer.handle();
    let start = tokio::time::Instant::now();
    // Enough for a batch: nobody waits.
    submit_all(&handle, (0..10).map(|key| vote(key, 0, 0))).await;
    assert!(start.elapsed() < Duration::from_secs(1));
    // One alone waits its time out, and no longer.
    let start = tokio::time::Instant::now();
    handle.submit(vote(10, 0, 0)).await.unwrap();
    assert!((Duration::from_secs(30)..Duration::from_secs(31)).contains(&start.elapsed()));
    // More than a batch may hold make two, of which the rest waits again.
    let start = tokio::time::Instant::now();
    submit_all(&handle, (20..40).map(|key| vote(key, 0, 0))).await;
    assert!((Duration::from_secs(30)..Duration::from_secs(31)).contains(&start.elapsed()));
    let sizes: Vec<u64> = models
        .check()
        .await
        .ends
        .iter()
        .map(|end| end.size)
        .collect();
    assert_eq!(sizes, [1, 12, 14, 30, 36]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_takes_no_more_until_it_has_drained() {
    let models = Models::new();
    let mut config = config();
    config.queue_max = 10;
    config.batch.count_min = 100;
    config.batch.wait_max = Duration::from_secs(5);
    let sequencer = models.running(config).await;
    let handle = sequencer.handle();
    let outcomes = submit_all(&handle, (0..12).map(|key| vote(key, 0, 0))).await;
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| **outcome == Err(SubmitError::Full))
            .count(),
        2
    );
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
        10
    );
    handle.submit(vote(11, 0, 0)).await.unwrap();
    let long = Submission {
        key: None,
        same: [0; 32],
        entry: vec![b'h'; 65_536],
    };
    assert_eq!(handle.submit(long).await, Err(SubmitError::TooLong));
    assert_eq!(models.check().await.votes.len(), 11);
}

#[tokio::test(start_paused = true)]
async fn entries_without_a_key_may_repeat_and_the_content_may_refuse() {
    let models = Models::new();
    let sequencer = models.running(config()).await;
    let handle = sequencer.handle();
    let item = |text: &str| Submission {
        key: None,
        same: [0; 32],
        entry: text.as_bytes().to_vec(),
    };
    let outcomes = submit_all(&handle, [item("h1"), item("h refuse"), item("h2")]).await;
    assert_eq!(outcomes[1], Err(SubmitError::Refused("refuse".to_owned())));
    assert_ne!(index(&outcomes[0]), index(&outcomes[2]));
    // A batch of which nothing is left is none.
    assert_eq!(
        handle.submit(item("h refuse")).await,
        Err(SubmitError::Refused("refuse".to_owned()))
    );
    let again = handle.submit(item("h1")).await;
    assert_eq!(
        again,
        Ok(Outcome::Final {
            index: 4,
            repeat: false
        })
    );
    assert_eq!(models.check().await.ends.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn closing_drains_the_queue_and_ends_the_log() {
    let models = Models::new();
    let mut config = config();
    config.batch.count_min = 100;
    config.batch.wait_max = Duration::from_secs(30);
    let sequencer = models.running(config.clone()).await;
    let handle = sequencer.handle();
    let start = tokio::time::Instant::now();
    let (outcomes, closed, late) = futures::join!(
        submit_all(&handle, (0..5).map(|key| vote(key, 0, 0))),
        handle.close(None),
        handle.submit(vote(5, 0, 0)),
    );
    // What arrived before counts, without waiting for company that cannot come; what came after does not.
    assert!(outcomes.iter().all(Result::is_ok));
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(late, Err(SubmitError::Closed));
    let closed = closed.unwrap();
    assert!(closed.closed && closed.end.size == 8);
    for handle in [handle, models.running(config).await.handle()] {
        // Repeats still get their answer, also after a restart; the log ends once.
        assert_eq!(handle.close(None).await, Ok(closed.clone()));
        assert!(matches!(
            handle.submit(vote(3, 0, 0)).await,
            Ok(Outcome::Final { repeat: true, .. })
        ));
        assert!(matches!(
            handle.submit(vote(3, 1, 0)).await,
            Ok(Outcome::Different { .. })
        ));
        assert_eq!(handle.submit(vote(6, 0, 0)).await, Err(SubmitError::Closed));
        check_receipt(
            &handle.receipt(index(&outcomes[0])).await.unwrap(),
            index(&outcomes[0]),
            &vote(0, 0, 0).entry,
        );
    }
    assert!(models.check().await.closed);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_the_content_refuses_leaves_the_log_open() {
    let models = Models::new();
    let sequencer = models.running(config()).await;
    let handle = sequencer.handle();
    assert_eq!(
        handle.close(Some(b"refuse".to_vec())).await,
        Err(CloseError::Refused("not like this".to_owned()))
    );
    handle.submit(vote(1, 0, 0)).await.unwrap();
    handle.freeze();
    assert_eq!(handle.submit(vote(2, 0, 0)).await, Err(SubmitError::Closed));
    assert!(handle.close(Some(b"final".to_vec())).await.unwrap().closed);
    assert_eq!(
        models.check().await.entries.last().unwrap().as_ref(),
        b"cfinal"
    );
}

/// Lets nothing of the chosen kind pass without a permit.
struct Gate {
    inner: MemoryPublisher,
    kind: &'static str,
    permits: Semaphore,
}

#[async_trait]
impl Reader for Gate {
    async fn read(&self, path: &str, len_max: usize) -> Result<Option<Bytes>, ReadError> {
        self.inner.read(path, len_max).await
    }
}

#[async_trait]
impl Publisher for Gate {
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Creation, PublishError> {
        if path.contains(self.kind) {
            self.permits.acquire().await.unwrap().forget();
        }
        self.inner.create(path, bytes).await
    }

    async fn move_checkpoint(
        &self,
        path: &str,
        expected: Option<Bytes>,
        new: Bytes,
    ) -> Result<Move, PublishError> {
        if path.ends_with(self.kind) {
            self.permits.acquire().await.unwrap().forget();
        }
        self.inner.move_checkpoint(path, expected, new).await
    }

    async fn probe(&self) -> Result<(), PublishError> {
        self.inner.probe().await
    }
}

/// A vote that waits at `kind` is not answered and not final, nor are its repeats; once it passes, all are.
async fn nothing_is_answered_before(kind: &'static str) {
    let models = Models::new();
    drop(models.running(config()).await);
    let gate = Arc::new(Gate {
        inner: models.publisher.clone(),
        kind,
        permits: Semaphore::new(0),
    });
    let store = Arc::new(models.store.with_faults(Faults::none()));
    let sequencer = Sequencer::spawn(
        config(),
        parts(store, gate.clone(), &models.signed, &Faults::none()),
    );
    let handle = sequencer.handle();
    handle.ready().await.unwrap();
    let waiting: Vec<_> = (0..3)
        .map(|nonce| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.submit(vote(1, 0, nonce)).await })
        })
        .collect();
    // The clock is paused: this passes once nothing else can go on.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(models.store.rows().len(), 2, "it is committed");
    assert!(
        waiting.iter().all(|waiting| !waiting.is_finished()),
        "before {kind}"
    );
    assert_eq!(handle.lookup(&vote(1, 0, 0).key.unwrap()), None);
    assert_eq!(handle.published().end.size, 1);
    assert_eq!(handle.receipt(1).await, Err(ReceiptError::NotPublished(1)));
    gate.permits.add_permits(1_000);
    for waiting in waiting {
        assert!(matches!(
            waiting.await.unwrap(),
            Ok(Outcome::Final { index: 1, .. })
        ));
    }
    models.check().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_answered_before_the_second_copy() {
    nothing_is_answered_before("batches/").await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_answered_before_the_tiles() {
    nothing_is_answered_before("tile/").await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_answered_before_the_checkpoint() {
    nothing_is_answered_before("/checkpoint").await;
}

#[tokio::test(start_paused = true)]
async fn a_bounded_number_of_batches_waits_to_be_published() {
    let models = Models::new();
    drop(models.running(config()).await);
    let gate = Arc::new(Gate {
        inner: models.publisher.clone(),
        kind: "batches/",
        permits: Semaphore::new(0),
    });
    let mut config = config();
    config.batch.count_max = 1;
    config.unpublished_max = 3;
    let store = Arc::new(models.store.with_faults(Faults::none()));
    let sequencer = Sequencer::spawn(
        config,
        parts(store, gate.clone(), &models.signed, &Faults::none()),
    );
    let handle = sequencer.handle();
    handle.ready().await.unwrap();
    let all = submit_all(&handle, (0..20).map(|key| vote(key, 0, 0)));
    let watch = async {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(models.store.rows().len(), 1 + 3);
        let before = models.signed.ends().len();
        gate.permits.add_permits(1_000);
        before
    };
    let (outcomes, signed_before) = futures::join!(all, watch);
    assert!(outcomes.iter().all(Result::is_ok));
    // One signature covers what was fenced together.
    assert!(models.signed.ends().len() - signed_before <= 20);
    assert_eq!(models.check().await.ends.len(), 21);
}

#[tokio::test(start_paused = true)]
async fn of_two_sequencers_only_the_one_that_took_over_goes_on() {
    let models = Models::new();
    let first = models.running(config()).await;
    let indices = submit_all(&first.handle(), (0..10).map(|key| vote(key, 0, 0))).await;
    let second = models.running(config()).await;
    // The second knows everything that the first acknowledged.
    let again = submit_all(&second.handle(), (0..10).map(|key| vote(key, 0, 1))).await;
    assert!(
        indices
            .iter()
            .zip(&again)
            .all(|(one, two)| index(one) == index(two))
    );
    // The first finds out as soon as it tries to append, and says that it does not know.
    assert_eq!(
        first.handle().submit(vote(10, 0, 0)).await,
        Err(SubmitError::Unknown)
    );
    assert!(matches!(
        first.handle().ready().await,
        Err(State::SteppedDown(_))
    ));
    assert_eq!(
        first.handle().submit(vote(11, 0, 0)).await,
        Err(SubmitError::Halted)
    );
    assert_eq!(first.handle().close(None).await, Err(CloseError::Halted));
    second.handle().submit(vote(10, 0, 0)).await.unwrap();
    assert_eq!(models.check().await.votes.len(), 11);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_know_takes_over_again_unless_somebody_else_has() {
    // The step at which the first sequencer commits its first vote.
    let faults = Faults::none();
    let models = Models::new();
    let sequencer = models.spawn(config(), &faults);
    sequencer.handle().ready().await.unwrap();
    let step = faults.steps().len();
    sequencer.handle().submit(vote(0, 0, 0)).await.unwrap();
    assert_eq!(faults.steps()[step], "store: append 1");

    for rival in [false, true] {
        let models = Models::new();
        let first = models.spawn(config(), &Faults::at(step, Fault::Before));
        first.handle().ready().await.unwrap();
        let second = if rival {
            Some(models.running(config()).await)
        } else {
            None
        };
        let outcome = first.handle().submit(vote(0, 0, 0)).await;
        assert_eq!(outcome, Err(SubmitError::Unknown));
        match second {
            None => first.handle().ready().await.unwrap(),
            Some(second) => {
                assert!(matches!(
                    first.handle().ready().await,
                    Err(State::SteppedDown(_))
                ));
                second.handle().submit(vote(1, 0, 0)).await.unwrap();
            }
        }
        models.check().await;
    }
}

#[tokio::test(start_paused = true)]
async fn receipts_of_every_entry_prove_it_under_the_newest_checkpoint() {
    let models = Models::new();
    let mut config = config();
    config.batch.count_max = 97;
    let sequencer = models.running(config.clone()).await;
    submit_all(&sequencer.handle(), (0..1_500).map(|key| vote(key, 0, 0))).await;
    let checked = models.check().await;
    for handle in [sequencer.handle(), models.running(config).await.handle()] {
        for (number, entry) in checked.entries.iter().enumerate() {
            check_receipt(
                &handle.receipt(number as u64).await.unwrap(),
                number as u64,
                entry,
            );
        }
        let beyond = checked.entries.len() as u64;
        assert_eq!(
            handle.receipt(beyond).await,
            Err(ReceiptError::NotPublished(beyond))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_file_gives_no_receipt() {
    for kind in ["tile/0/000", "tile/entries/000"] {
        let models = Models::new();
        let sequencer = models.running(config()).await;
        submit_all(&sequencer.handle(), (0..600).map(|key| vote(key, 0, 0))).await;
        drop(sequencer);
        let handle = models.running(config()).await;
        let path = log().path(kind);
        let good = models.publisher.files()[&path].clone();
        let mut bad = good.to_vec();
        bad[77] ^= 1;
        models.publisher.tamper(&path, Some(bad.into()));
        assert!(
            matches!(
                handle.handle().receipt(3).await,
                Err(ReceiptError::Damaged(_))
            ),
            "{kind}"
        );
        models.publisher.tamper(&path, None);
        assert!(handle.handle().receipt(3).await.is_err(), "{kind}");
        // What was bad is not remembered.
        models.publisher.tamper(&path, Some(good));
        handle.handle().receipt(3).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn another_key_than_the_manifests_signs_nothing() {
    let models = Models::new();
    let signer = Arc::new(MemorySigner::new(
        [8; 32],
        models.signed.clone(),
        Faults::none(),
    ));
    let key = signer::Signer::public_key(signer.as_ref());
    let mut parts = models.parts(&Faults::none());
    // Checked against the wrong expectation: the log's keys still do not name it.
    parts.signer = signer::checked(signer, key).unwrap();
    let sequencer = Sequencer::spawn(config(), parts);
    assert!(matches!(
        sequencer.handle().ready().await,
        Err(State::Halted(_))
    ));
    assert!(models.signed.ends().is_empty());
}

/// Makes one mistake.
struct Wrong(Votes, &'static str);

impl Content for Wrong {
    fn genesis(&self) -> Vec<u8> {
        self.0.genesis()
    }

    fn arrange(
        &mut self,
        at: Position,
        now_ms: u64,
        items: &[Submission],
    ) -> Result<Arranged, ContentError> {
        let mut arranged = self.0.arrange(at, now_ms, items)?;
        match self.1 {
            "tally" => arranged.entries.last_mut().unwrap()[20] ^= 1,
            "places" => arranged.places.reverse(),
            "missing" => drop(arranged.places.pop()),
            "entry" => arranged.entries[0][44] ^= 1,
            other => panic!("{other}"),
        }
        Ok(arranged)
    }

    fn close(
        &mut self,
        at: Position,
        now_ms: u64,
        given: Option<&[u8]>,
    ) -> Result<Vec<u8>, ContentError> {
        self.0.close(at, now_ms, given)
    }

    fn replay(&mut self, at: Position, entries: &[&[u8]]) -> Result<Replayed, ContentError> {
        self.0.replay(at, entries)
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_made_wrong_halts_the_log_before_it_is_committed() {
    for mistake in ["tally", "places", "missing", "entry"] {
        let models = Models::new();
        let mut parts = models.parts(&Faults::none());
        parts.content = Arc::new(move || Box::new(Wrong(Votes::default(), mistake)));
        let sequencer = Sequencer::spawn(config(), parts);
        let handle = sequencer.handle();
        handle.ready().await.unwrap();
        let outcomes = submit_all(&handle, (0..3).map(|key| vote(key, 0, 0))).await;
        assert!(
            outcomes
                .iter()
                .all(|outcome| *outcome == Err(SubmitError::Unknown)),
            "{mistake}"
        );
        assert!(matches!(handle.state(), State::Halted(_)), "{mistake}");
        assert_eq!(models.store.rows().len(), 1, "{mistake}");
        models.check().await;
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_sequencer_leaves_nobody_waiting() {
    let models = Models::new();
    let mut config = config();
    config.batch.count_min = 100;
    config.batch.wait_max = Duration::from_secs(3_600);
    let sequencer = models.running(config).await;
    let handle = sequencer.handle();
    let waiting = tokio::spawn(async move { handle.submit(vote(1, 0, 0)).await });
    let handle = sequencer.handle();
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(sequencer);
    assert_eq!(waiting.await.unwrap(), Err(SubmitError::Unknown));
    assert!(matches!(handle.ready().await, Err(State::Halted(_))));
}
