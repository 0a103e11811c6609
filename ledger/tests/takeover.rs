//! Start, takeover and rebuild: every way in which the two copies can differ, and what must stop the log.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking, and Clippy knows only functions marked as tests"
)]

mod common;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use common::{Models, config, index, log, vote};
use ledger::batch::{Batch, End};
use ledger::faulty::{Faults, MemoryPublisher, MemorySigner, MemoryStore};
use ledger::store::{Head, Owner, Row, Store, StoreError, TakeOver};
use ledger::{
    Creation, Move, Outcome, PublishError, Publisher, ReadError, Reader, Sequencer, State,
    Submission,
};
use protocol::merkle::CompactRange;

/// A log with the genesis and `batches` batches of one vote each (keys from 1 on), nobody running.
async fn stopped(batches: u64) -> Models {
    let models = Models::new();
    let sequencer = models.running(config()).await;
    for key in 1..=batches {
        sequencer.handle().submit(vote(key, 0, 0)).await.unwrap();
    }
    models
}

fn path(file: &str) -> String {
    log().path(file)
}

/// Starts, checks that votes 1 to `votes` are there, adds one, and checks the whole log.
async fn goes_on(models: &Models, votes: u64) {
    let sequencer = models.running(config()).await;
    for key in 1..=votes {
        let outcome = sequencer.handle().submit(vote(key, 0, 9)).await;
        // Batch by batch: the vote and its tally entry.
        assert_eq!(
            outcome,
            Ok(Outcome::Final {
                index: key * 2 - 1,
                repeat: true
            })
        );
    }
    sequencer.handle().submit(vote(1_000, 0, 0)).await.unwrap();
    assert_eq!(models.check().await.votes.len() as u64, votes + 1);
}

/// Starts, and must halt for this reason, with nothing changed and nothing signed.
async fn halts(models: &Models, because: &str) {
    halts_with(models, config(), because).await;
}

async fn halts_with(models: &Models, config: ledger::Config, because: &str) {
    let state = || {
        (
            models.publisher.files(),
            models.signed.ends().len(),
            models.store.rows(),
            models.store.aside(),
        )
    };
    let before = state();
    // As often as one likes.
    for _ in 0..2 {
        let sequencer = models.spawn(config.clone(), &Faults::none());
        match sequencer.handle().ready().await {
            Err(State::Halted(reason)) => assert!(reason.contains(because), "{reason}"),
            other => panic!("{other:?} instead of a halt because {because}"),
        }
        assert!(state() == before, "{because}");
    }
}

#[tokio::test(start_paused = true)]
async fn equal_copies_go_on() {
    goes_on(&stopped(5).await, 5).await;
    goes_on(&Models::new(), 0).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_publisher_lost_is_published_from_the_database_after_any_change() {
    let all = stopped(4).await.publisher.changes();
    for kept in 0..=all {
        let models = stopped(4).await;
        models.publisher.lose_tail(kept);
        goes_on(&models, 4).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_database_lost_is_appended_from_what_is_published() {
    for kept in 0..=5 {
        for epochs in 0..=1 {
            let models = stopped(4).await;
            models.store.lose_tail(kept, epochs);
            goes_on(&models, 4).await;
            assert!(models.store.aside().is_empty());
        }
    }
}

/// A batch that could stand behind the first `n` of the log, but is another than its batch n.
fn rival(models: &Models, n: u64, key: u64) -> Batch {
    let mut range = CompactRange::new();
    for (number, row) in models
        .store
        .rows()
        .iter()
        .take(usize::try_from(n).unwrap())
        .enumerate()
    {
        Batch::from_body(number as u64, &mut range, row.body.clone(), row.end).unwrap();
    }
    let mut content = common::Votes::default();
    let mut at = ledger::Position {
        n: 0,
        first_index: 0,
    };
    use ledger::Content as _;
    for row in models.store.rows().iter().take(usize::try_from(n).unwrap()) {
        let batch = Batch::from_body(row.n, &mut CompactRange::new(), row.body.clone(), row.end);
        let entries = batch.map_or_else(|_| Vec::new(), |batch| batch.entries());
        let entries = if entries.is_empty() {
            split(&row.body)
        } else {
            entries
        };
        content
            .replay(at, &entries.iter().map(AsRef::as_ref).collect::<Vec<_>>())
            .unwrap();
        at = ledger::Position {
            n: at.n + 1,
            first_index: row.end.size,
        };
    }
    let items: [Submission; 1] = [vote(key, 7, 7)];
    let arranged = content.arrange(at, 2_000_000, &items).unwrap();
    Batch::build(n, &mut range, &arranged.entries).unwrap()
}

fn split(body: &Bytes) -> Vec<Bytes> {
    let mut entries = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let len = usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
        entries.push(body.slice(at + 2..at + 2 + len));
        at += 2 + len;
    }
    entries
}

fn row(batch: &Batch) -> Row {
    Row {
        n: batch.n(),
        epoch: 1,
        end: batch.new_end(),
        body: batch.body().clone(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_published_batch_wins_over_the_databases_which_is_put_aside() {
    for first in 1..=4 {
        let models = stopped(4).await;
        let lost: Vec<Row> = (first..=4)
            .map(|_| rival(&models, first, 500))
            .map(|batch| row(&batch))
            .take(1)
            .collect();
        models.store.overwrite(lost.clone());
        goes_on(&models, 4).await;
        assert_eq!(models.store.aside(), lost);
    }
}

#[tokio::test(start_paused = true)]
async fn rows_behind_one_that_lost_are_put_aside_with_it() {
    let models = stopped(2).await;
    // The database went on to 3 and 4, but another writer published its own 3.
    let published = rival(&models, 3, 600);
    {
        let sequencer = models.running(config()).await;
        for key in 3..=4 {
            sequencer.handle().submit(vote(key, 0, 0)).await.unwrap();
        }
    }
    let kept = stopped(2).await;
    let rows = models.store.rows();
    kept.store.overwrite(rows[3..].to_vec());
    kept.publisher
        .tamper(&path("batches/3"), Some(published.file(&log())));
    let sequencer = kept.running(config()).await;
    let outcome = sequencer.handle().submit(vote(600, 7, 0)).await;
    assert_eq!(
        outcome,
        Ok(Outcome::Final {
            index: 5,
            repeat: true
        })
    );
    // Those who waited for 3 and 4 were told nothing, and cast again.
    for key in 3..=4 {
        assert!(matches!(
            sequencer.handle().submit(vote(key, 0, 0)).await,
            Ok(Outcome::Final { repeat: false, .. })
        ));
    }
    assert_eq!(kept.check().await.votes.len(), 5);
    assert_eq!(kept.store.aside(), rows[3..]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_published_and_never_signed_counts() {
    let models = stopped(2).await;
    let last = rival(&models, 3, 700);
    models
        .publisher
        .tamper(&path("batches/3"), Some(last.file(&log())));
    let sequencer = models.running(config()).await;
    assert_eq!(index(&sequencer.handle().submit(vote(700, 7, 0)).await), 5);
    assert_eq!(models.check().await.votes.len(), 3);
}

/// Somebody else publishes their batch right before ours.
struct Snatched {
    inner: MemoryPublisher,
    rival: Mutex<Option<(String, Bytes)>>,
}

#[async_trait]
impl Reader for Snatched {
    async fn read(&self, path: &str, len_max: usize) -> Result<Option<Bytes>, ReadError> {
        self.inner.read(path, len_max).await
    }
}

#[async_trait]
impl Publisher for Snatched {
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Creation, PublishError> {
        let rival = self
            .rival
            .lock()
            .unwrap()
            .take_if(|(rival, _)| rival == path);
        if let Some((path, bytes)) = rival {
            self.inner.create(&path, bytes).await?;
        }
        self.inner.create(path, bytes).await
    }

    async fn move_checkpoint(
        &self,
        path: &str,
        expected: Option<Bytes>,
        new: Bytes,
    ) -> Result<Move, PublishError> {
        self.inner.move_checkpoint(path, expected, new).await
    }

    async fn probe(&self) -> Result<(), PublishError> {
        self.inner.probe().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_published_between_our_look_and_our_write_wins() {
    let models = stopped(2).await;
    let (ours, theirs) = (rival(&models, 3, 700), rival(&models, 3, 800));
    models.store.overwrite(vec![row(&ours)]);
    let mut parts = models.parts(&Faults::none());
    parts.publisher = Arc::new(Snatched {
        inner: models.publisher.clone(),
        rival: Mutex::new(Some((path("batches/3"), theirs.file(&log())))),
    });
    let sequencer = Sequencer::spawn(config(), parts);
    sequencer.handle().ready().await.unwrap();
    assert_eq!(index(&sequencer.handle().submit(vote(800, 7, 0)).await), 5);
    assert_eq!(models.check().await.votes.len(), 3);
    assert_eq!(models.store.aside(), [row(&ours)]);
}

#[tokio::test(start_paused = true)]
async fn batches_that_do_not_chain_halt_the_log() {
    // One bit of any part of the file.
    let models = stopped(3).await;
    let good = models.publisher.files()[&path("batches/2")].clone();
    for place in [0, 20, 52, 60, 70, 80, 110, 118, 141, good.len() - 1] {
        let mut bad = good.to_vec();
        bad[place] ^= 1;
        let models = stopped(3).await;
        models
            .publisher
            .tamper(&path("batches/2"), Some(bad.into()));
        halts(&models, "do not chain").await;
    }
    for bad in [&good[..good.len() - 1], &good[..100], b""] {
        let models = stopped(3).await;
        models
            .publisher
            .tamper(&path("batches/2"), Some(Bytes::copy_from_slice(bad)));
        halts(&models, "do not chain").await;
    }
    let models = stopped(3).await;
    models.publisher.tamper(
        &path("batches/2"),
        Some(Bytes::from(vec![0; (16 << 20) + 1])),
    );
    halts(&models, "longer than").await;
}

#[tokio::test(start_paused = true)]
async fn a_rival_batch_below_the_checkpoint_halts_the_log_whatever_the_database_says() {
    let models = stopped(4).await;
    let rival = rival(&models, 2, 500);
    models
        .publisher
        .tamper(&path("batches/2"), Some(rival.file(&log())));
    // Batch 3 does not follow on the rival.
    halts(&models, "do not chain").await;
    models.publisher.tamper(&path("batches/3"), None);
    models.publisher.tamper(&path("batches/4"), None);
    // Nor does the database; but now both copies end below what was signed.
    halts(&models, "entries are lost").await;
    models.publisher.tamper(&path("batches/2"), None);
    models.store.overwrite(vec![row(&rival)]);
    halts(&models, "entries are lost").await;
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_within_or_beside_the_batches_halts_the_log() {
    // The last batch is replaced in both copies, so only the checkpoint knows.
    let models = stopped(3).await;
    let rival = rival(&models, 3, 500);
    models
        .publisher
        .tamper(&path("batches/3"), Some(rival.file(&log())));
    models.store.overwrite(vec![row(&rival)]);
    halts(&models, "has forked").await;
    // In the database only, and gone from what is published.
    models.publisher.tamper(&path("batches/3"), None);
    halts(&models, "has forked").await;
}

#[tokio::test(start_paused = true)]
async fn both_copies_below_a_signed_checkpoint_halt_the_log() {
    for kept in 0..4 {
        let models = stopped(4).await;
        models.store.lose_tail(kept, 0);
        for n in kept..=4 {
            models
                .publisher
                .tamper(&path(&format!("batches/{n}")), None);
        }
        halts(&models, "entries are lost").await;
    }
}

#[tokio::test(start_paused = true)]
async fn both_copies_below_an_anchored_head_halt_the_log() {
    let models = stopped(4).await;
    let anchored = *models.check().await.ends.last().unwrap();
    let mut config = config();
    config.floor = Some(anchored);
    drop(models.running(config.clone()).await);
    // Everything is lost evenly, checkpoint included: only the anchor knows.
    let models = stopped(3).await;
    halts_with(&models, config.clone(), "entries are lost").await;
    // Or there is another log in its place.
    let models = Models::new();
    {
        let sequencer = models.running(common::config()).await;
        for key in 10..=14 {
            sequencer.handle().submit(vote(key, 0, 0)).await.unwrap();
        }
    }
    halts_with(&models, config, "has forked").await;
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_the_database_cannot_fill_halts_the_log() {
    let models = stopped(4).await;
    models.publisher.tamper(&path("batches/2"), None);
    // It can be filled from the database, which has the same batch …
    goes_on(&models, 4).await;
    // … but not by another, even if no checkpoint told.
    let models = stopped(4).await;
    let rival = rival(&models, 2, 500);
    models.publisher.tamper(&path("batches/2"), None);
    models.publisher.tamper(&path("checkpoint"), None);
    models.store.overwrite(vec![row(&rival)]);
    halts(&models, "does not follow on the database's").await;
}

#[tokio::test(start_paused = true)]
async fn a_foreign_checkpoint_halts_the_log() {
    let models = stopped(2).await;
    let mut bad = models.publisher.files()[&path("checkpoint")].to_vec();
    let at = bad.len() - 10;
    bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
    models
        .publisher
        .tamper(&path("checkpoint"), Some(bad.into()));
    halts(&models, "not a checkpoint of this log").await;
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_of_the_next_size_with_another_root_halts_the_log() {
    // The fork is known from `checkpoints/<size>` only: signed, then both copies and `checkpoint` went back.
    let models = stopped(3).await;
    let other = Models::new();
    {
        let sequencer = other.running(config()).await;
        for key in [1, 2, 30] {
            sequencer.handle().submit(vote(key, 0, 0)).await.unwrap();
        }
    }
    let size = other.check().await.ends.last().unwrap().size;
    let forked = path(&format!("checkpoints/{size}"));
    let two = stopped(2).await;
    two.publisher
        .tamper(&forked, Some(models.publisher.files()[&forked].clone()));
    let sequencer = two.running(config()).await;
    let _ = sequencer.handle().submit(vote(30, 0, 0)).await;
    assert!(
        matches!(sequencer.handle().ready().await, Err(State::Halted(reason)) if reason.contains("has forked"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_published_batch_that_breaks_the_grammar_halts_the_log() {
    let models = stopped(2).await;
    let mut range = CompactRange::new();
    for row in models.store.rows() {
        Batch::from_body(row.n, &mut range, row.body, row.end).unwrap();
    }
    // It chains, but repeats a vote.
    let entries = [vote(1, 0, 0).entry, b"t".to_vec()];
    let bad = Batch::build(3, &mut range, &entries).unwrap();
    models
        .publisher
        .tamper(&path("batches/3"), Some(bad.file(&log())));
    halts(&models, "must not stand in this log").await;
    models.publisher.tamper(&path("batches/3"), None);
    models.store.overwrite(vec![row(&bad)]);
    halts(&models, "must not stand in this log").await;
}

#[tokio::test(start_paused = true)]
async fn a_database_whose_head_and_rows_differ_halts_the_log() {
    let models = stopped(3).await;
    let mut rows = models.store.rows();
    rows[3].end = End {
        size: rows[3].end.size + 1,
        ..rows[3].end
    };
    models.store.overwrite(rows[3..].to_vec());
    // What is published wins over the row; the database is repaired.
    goes_on(&models, 3).await;
    assert_eq!(models.store.aside().len(), 1);
    // Ahead, and damaged: nothing may be published from it.
    let models = stopped(3).await;
    let mut bad = row(&rival(&models, 4, 500));
    bad.end.root = bad.end.root.as_bytes().map(|byte| byte ^ 1).into();
    models.store.overwrite(vec![bad]);
    halts(&models, "does not follow on the log").await;
}

#[tokio::test(start_paused = true)]
async fn after_a_switch_the_spare_key_goes_on() {
    let models = stopped(3).await;
    let end = *models.check().await.ends.last().unwrap();
    // What the notice names is the last checkpoint that everybody has seen; one batch more stands in both copies, unsigned.
    let unsigned = rival(&models, 4, 400);
    models
        .publisher
        .tamper(&path("batches/4"), Some(unsigned.file(&log())));
    let spare = Arc::new(MemorySigner::new(
        [8; 32],
        models.signed.clone(),
        Faults::none(),
    ));
    let key = signer::Signer::public_key(spare.as_ref());
    let mut config = config();
    config.keys = config.keys.switched(key, end.size);

    // With the old key, nothing is signed any more.
    halts_with_signature(&models, config.clone()).await;

    let mut parts = models.parts(&Faults::none());
    parts.signer = signer::checked(spare, key).unwrap();
    let sequencer = Sequencer::spawn(config.clone(), parts);
    let handle = sequencer.handle();
    handle.ready().await.unwrap();
    assert_eq!(index(&handle.submit(vote(400, 7, 0)).await), 7);
    handle.submit(vote(500, 0, 0)).await.unwrap();
    // The old checkpoints stand, and the new ones are the spare's.
    let files = models.publisher.files();
    for (place, bytes) in files
        .iter()
        .filter(|(place, _)| place.contains("checkpoints/"))
    {
        let size: u64 = place.rsplit('/').next().unwrap().parse().unwrap();
        config.keys.verify(&log(), bytes).unwrap();
        assert_eq!(
            common::keys().verify(&log(), bytes).is_ok(),
            size <= end.size,
            "{place}"
        );
    }
}

/// The heads log's spare signs from its switch notice on, and only that: a batch that the writer before left without a checkpoint is covered with the notice, not before.
#[tokio::test(start_paused = true)]
async fn a_key_that_signs_from_the_next_batch_on_signs_nothing_before_it() {
    let models = stopped(3).await;
    let end = *models.check().await.ends.last().unwrap();
    let unsigned = rival(&models, 4, 400);
    models
        .publisher
        .tamper(&path("batches/4"), Some(unsigned.file(&log())));
    let spare = Arc::new(MemorySigner::new(
        [8; 32],
        models.signed.clone(),
        Faults::none(),
    ));
    let key = signer::Signer::public_key(spare.as_ref());
    let mut config = config();
    config.keys = config.keys.switched(key, end.size);
    config.covers_rest = false;
    // However often it is started.
    for _ in 0..2 {
        let before = models.signed.ends();
        let mut parts = models.parts(&Faults::none());
        parts.signer = signer::checked(Arc::clone(&spare) as Arc<dyn signer::Signer>, key).unwrap();
        let sequencer = Sequencer::spawn(config.clone(), parts);
        sequencer.handle().ready().await.unwrap();
        assert_eq!(sequencer.handle().published().end, end);
        assert_eq!(models.signed.ends(), before);
    }
    let mut parts = models.parts(&Faults::none());
    parts.signer = signer::checked(spare, key).unwrap();
    let sequencer = Sequencer::spawn(config.clone(), parts);
    let handle = sequencer.handle();
    handle.ready().await.unwrap();
    assert_eq!(index(&handle.submit(vote(500, 0, 0)).await), 9);
    let signed: Vec<u64> = models
        .publisher
        .files()
        .keys()
        .filter_map(|place| place.rsplit_once("checkpoints/")?.1.parse().ok())
        .filter(|size| *size > end.size)
        .collect();
    assert_eq!(signed, [handle.published().end.size]);
    let note = models.publisher.files()[&path("checkpoint")].clone();
    config.keys.verify(&log(), &note).unwrap();
    assert_eq!(index(&handle.submit(vote(400, 7, 0)).await), 7);
}

/// Starts with the main key, and must halt without a signature.
async fn halts_with_signature(models: &Models, config: ledger::Config) {
    let before = models.signed.ends();
    let sequencer = models.spawn(config, &Faults::none());
    match sequencer.handle().ready().await {
        Err(State::Halted(reason)) => assert!(reason.contains("not the one for size"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(models.signed.ends(), before);
}

#[tokio::test(start_paused = true)]
async fn an_existing_checkpoint_of_the_same_root_stays() {
    // Signed by another implementation of the same key, say: other bytes, same statement. Here: the old key's, above the size of the switch, is none of ours.
    let models = stopped(3).await;
    let end = *models.check().await.ends.last().unwrap();
    let newest = models.publisher.files()[&path("checkpoint")].clone();
    // Nothing but `checkpoint` is lost: `checkpoints/<size>` is found, and adopted.
    models.publisher.tamper(&path("checkpoint"), None);
    let sequencer = models.running(config()).await;
    assert_eq!(sequencer.handle().published().end, end);
    assert_eq!(models.publisher.files()[&path("checkpoint")], newest);
    drop(sequencer);
    // By a key that may not sign at this size: halt.
    models.publisher.tamper(&path("checkpoint"), None);
    let spare = Arc::new(MemorySigner::new(
        [8; 32],
        models.signed.clone(),
        Faults::none(),
    ));
    let key = signer::Signer::public_key(spare.as_ref());
    let mut config = config();
    config.keys = config.keys.switched(key, end.size - 1);
    let mut parts = models.parts(&Faults::none());
    parts.signer = signer::checked(spare, key).unwrap();
    let sequencer = Sequencer::spawn(config, parts);
    assert!(
        matches!(sequencer.handle().ready().await, Err(State::Halted(reason)) if reason.contains("not a checkpoint of this log"))
    );
}

/// Fails over, losing its last batches, right before batch `at` is read.
struct FailsOver {
    inner: MemoryStore,
    at: u64,
    to: u64,
}

#[async_trait]
impl Store for FailsOver {
    async fn take_over(&self, owner: Owner, how: TakeOver) -> Result<Head, StoreError> {
        self.inner.take_over(owner, how).await
    }

    async fn append(&self, expected: &Head, batch: &Batch) -> Result<Head, StoreError> {
        self.inner.append(expected, batch).await
    }

    async fn read(&self, n: u64) -> Result<Option<Row>, StoreError> {
        if n == self.at && self.inner.head().batches > self.to {
            self.inner.lose_tail(self.to, 0);
        }
        self.inner.read(n).await
    }

    async fn put_aside(&self, expected: &Head, first: u64, end: End) -> Result<Head, StoreError> {
        self.inner.put_aside(expected, first, end).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_that_fails_over_while_it_is_read_is_not_taken_for_damaged() {
    for at in 0..=4 {
        for to in 0..=at {
            let models = stopped(4).await;
            let mut parts = models.parts(&Faults::none());
            parts.store = Arc::new(FailsOver {
                inner: models.store.with_faults(Faults::none()),
                at,
                to,
            });
            let sequencer = Sequencer::spawn(config(), parts);
            // The log is not ours any more, as far as the new database knows.
            assert!(
                matches!(sequencer.handle().ready().await, Err(State::SteppedDown(_))),
                "{at} {to}"
            );
            goes_on(&models, 4).await;
        }
    }
}
