//! Every harm to either copy is found at its place, with its kind; and nothing else is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking, and Clippy knows only functions marked as tests"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use common::{Frozen, Models, config, keys, log, parts, read_folder, vote};
use futures::future::join_all;
use ledger::batch::{Batch, End};
use ledger::faulty::{Faults, Signed};
use ledger::fsck::{Difference, Kind, RebuildError, Summary, fsck, rebuild};
use ledger::postgres::Location;
use ledger::store::{Row, StoredRows};
use ledger::{
    Directory, DirectoryReader, Durability, Head, Postgres, PostgresRows, Sqlite, SqliteRows,
    StoreError,
};
use protocol::checkpoint::Checkpoint;
use protocol::ed25519::SigningKey;
use protocol::merkle::{CompactRange, Hash};
use throwaway_postgres::Server;

/// Both copies of a log, to be harmed.
#[derive(Clone)]
struct Copies {
    head: Option<Head>,
    rows: BTreeMap<u64, Row>,
    files: BTreeMap<String, Bytes>,
}

struct Rows(Copies);

#[async_trait]
impl StoredRows for Rows {
    async fn head(&mut self) -> Result<Option<Head>, StoreError> {
        Ok(self.0.head)
    }

    async fn row(&mut self, n: u64) -> Result<Option<Row>, StoreError> {
        Ok(self.0.rows.get(&n).cloned())
    }
}

impl Copies {
    /// A log of 600 votes in many batches, of two bundles and some, well published.
    async fn sound() -> Self {
        let models = Models::new();
        let mut config = config();
        config.batch.count_max = 40;
        let sequencer = models.running(config).await;
        let handle = sequencer.handle();
        for round in 0..5 {
            let votes = (round * 120..(round + 1) * 120).map(|key| handle.submit(vote(key, 0, 0)));
            join_all(votes).await.into_iter().for_each(|outcome| {
                outcome.unwrap();
            });
        }
        drop(sequencer);
        let rows = models.store.rows();
        Self {
            head: Some(models.store.head()),
            rows: rows.into_iter().map(|row| (row.n, row)).collect(),
            files: models.publisher.files(),
        }
    }

    async fn check(&self) -> (Summary, Vec<Difference>) {
        let mut found = Vec::new();
        let summary = fsck(
            &mut Rows(self.clone()),
            &Frozen(self.files.clone()),
            &log(),
            &keys(),
            &mut |difference| found.push(difference),
        )
        .await
        .unwrap();
        assert_eq!(summary.differences, found.len() as u64);
        (summary, found)
    }

    /// That just these differences are found, after a harm.
    async fn expect(&self, harm: impl FnOnce(&mut Self), want: &[(Kind, &str)]) -> Summary {
        let mut harmed = self.clone();
        harm(&mut harmed);
        let (summary, found) = harmed.check().await;
        let found: Vec<(Kind, &str)> = found
            .iter()
            .map(|difference| (difference.kind, difference.place.as_str()))
            .collect();
        assert_eq!(found, want);
        summary
    }

    fn batches(&self) -> u64 {
        self.rows.len() as u64
    }

    fn file(&mut self, path: &str) -> &mut Bytes {
        self.files.get_mut(path).unwrap_or_else(|| panic!("{path}"))
    }

    /// The batch of a row, and where it begins.
    fn batch(&self, n: u64) -> (CompactRange, Batch) {
        let mut range = CompactRange::new();
        for n in 0..n {
            let row = self.rows[&n].clone();
            Batch::from_body(n, &mut range, row.body, row.end).unwrap();
        }
        let row = self.rows[&n].clone();
        let batch = Batch::from_body(n, &mut range.clone(), row.body, row.end).unwrap();
        (range, batch)
    }
}

fn flip(bytes: &mut Bytes, at: usize) {
    let mut changed = bytes.to_vec();
    changed[at] ^= 1;
    *bytes = changed.into();
}

fn signed(seed: [u8; 32], end: End) -> Bytes {
    let key = SigningKey::from_seed(&seed);
    let checkpoint = Checkpoint::new(log().origin(), end.size, end.root).unwrap();
    let signature = key.sign(checkpoint.body().as_bytes());
    checkpoint.signed(&key.public(), &signature).into()
}

#[tokio::test]
async fn a_sound_log_has_no_differences() {
    let copies = Copies::sound().await;
    let (summary, found) = copies.check().await;
    assert_eq!(found, []);
    assert!(summary.complete);
    let all = copies.batches();
    assert_eq!(
        (summary.stored, summary.published, summary.equal),
        (Some(all), all, all)
    );
    assert_eq!(summary.checkpoint, Some(summary.size));
    assert!(summary.files >= copies.files.len() as u64);
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["log"], log().origin());
    assert_eq!(json["root"], copies.head.unwrap().end.root.to_string());
}

#[tokio::test]
async fn a_changed_byte_of_any_file_is_found_at_its_place() {
    let copies = Copies::sound().await;
    assert!(copies.files.len() > 50, "{}", copies.files.len());
    for (path, bytes) in &copies.files {
        // Of a note, the root; a byte of the signature, or of a tile, anywhere.
        for at in [bytes.len() / 2, bytes.len() - 2] {
            let mut harmed = copies.clone();
            flip(harmed.file(path), at);
            let (summary, found) = harmed.check().await;
            assert!(
                found.iter().any(|difference| difference.place == *path),
                "{path}: {found:?}"
            );
            assert!(summary.complete, "{path}");
        }
    }
}

#[tokio::test]
async fn a_missing_file_is_found_if_it_must_be_there() {
    let copies = Copies::sound().await;
    let size = copies.head.unwrap().end.size;
    for path in copies.files.keys() {
        let mut harmed = copies.clone();
        harmed.files.remove(path);
        let (_, found) = harmed.check().await;
        let kinds: Vec<Kind> = found.iter().map(|difference| difference.kind).collect();
        let last = format!("p/{}", size % 256);
        let old_partial =
            path.contains(".p/") && !path.ends_with(&last) && !path.contains("tile/1/");
        let old_checkpoint = path.contains("checkpoints/") && !path.ends_with(&size.to_string());
        // The level-1 tile of an earlier size is superseded too.
        let old_level = path.contains("tile/1/") && !path.ends_with(&format!("p/{}", size / 256));
        let batch = path.contains("batches/");
        match kinds.as_slice() {
            [] => assert!(
                old_partial || old_checkpoint || old_level || path.ends_with("/checkpoint"),
                "{path} is not missed"
            ),
            [Kind::NotPublished] => assert!(batch, "{path}"),
            [Kind::FileMissing] => {
                assert!(
                    !batch && !old_partial && !old_checkpoint && !old_level,
                    "{path}"
                );
                assert_eq!(&found[0].place, path);
            }
            other => panic!("{path}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn each_harm_has_its_kind() {
    let copies = Copies::sound().await;
    let last = copies.batches() - 1;
    let all = last + 1;

    copies
        .expect(
            |copies| drop(copies.rows.remove(&3)),
            &[(Kind::RowMissing, "database batch 3")],
        )
        .await;
    copies
        .expect(
            |copies| flip(&mut copies.rows.get_mut(&3).unwrap().body, 9),
            &[(Kind::RowDamaged, "database batch 3")],
        )
        .await;
    copies
        .expect(
            |copies| copies.rows.get_mut(&3).unwrap().end.size += 1,
            &[(Kind::RowDamaged, "database batch 3")],
        )
        .await;
    copies
        .expect(
            |copies| copies.head.as_mut().unwrap().end.root = Hash([1; 32]),
            &[(Kind::HeadElsewhere, "database head")],
        )
        .await;
    // Behind by one, as after a lost tail.
    let summary = copies
        .expect(
            |copies| {
                let (_, batch) = copies.batch(last);
                copies.rows.remove(&last);
                let head = copies.head.as_mut().unwrap();
                (head.batches, head.end) = (last, batch.old());
            },
            &[(Kind::NotStored, &format!("database batch {last}"))],
        )
        .await;
    assert_eq!((summary.published, summary.equal), (all, last));
    // Two writers: both follow.
    copies
        .expect(
            |copies| {
                let (mut range, batch) = copies.batch(last);
                let other = Batch::build(last, &mut range, &["another"]).unwrap();
                let row = copies.rows.get_mut(&last).unwrap();
                (row.body, row.end) = (other.body().clone(), other.new_end());
                copies.head.as_mut().unwrap().end = other.new_end();
                assert_ne!(batch.new_end(), other.new_end());
            },
            &[
                (Kind::OtherBatch, &format!("database batch {last}")),
                (Kind::HeadElsewhere, "database head"),
            ],
        )
        .await;
    // A published batch of another log, and one at the wrong place.
    copies
        .expect(
            |copies| {
                let other = copies.file("cells/0/batches/4").clone();
                *copies.file("cells/0/batches/3") = other;
            },
            &[(Kind::BatchDamaged, "cells/0/batches/3")],
        )
        .await;
    // Both copies of one are gone.
    let summary = copies
        .expect(
            |copies| {
                copies.rows.remove(&3);
                copies.files.remove("cells/0/batches/3");
            },
            &[
                (Kind::RowMissing, "database batch 3"),
                (Kind::Gap, "cells/0/batches/3"),
            ],
        )
        .await;
    assert!(!summary.complete);
    // Both copies end below what was signed.
    copies
        .expect(
            |copies| {
                let (_, batch) = copies.batch(last);
                copies.rows.remove(&last);
                copies.files.remove(&format!("cells/0/batches/{last}"));
                let head = copies.head.as_mut().unwrap();
                (head.batches, head.end) = (last, batch.old());
            },
            &[(Kind::SignedElsewhere, "cells/0/checkpoint")],
        )
        .await;
    // The log's own key signed another root: a fork, at the newest size and at an older one.
    let (_, batch) = copies.batch(3);
    let forked = |end: End| {
        signed(
            common::SEED,
            End {
                root: Hash([5; 32]),
                ..end
            },
        )
    };
    let older = format!("cells/0/checkpoints/{}", batch.new_end().size);
    copies
        .expect(
            |copies| drop(copies.files.insert(older.clone(), forked(batch.new_end()))),
            &[(Kind::SignedElsewhere, &older)],
        )
        .await;
    let end = copies.head.unwrap().end;
    copies
        .expect(
            |copies| {
                *copies.file("cells/0/checkpoint") = forked(end);
                *copies.file(&format!("cells/0/checkpoints/{}", end.size)) = forked(end);
            },
            &[(Kind::SignedElsewhere, "cells/0/checkpoint")],
        )
        .await;
    // In the middle of a batch.
    copies
        .expect(
            |copies| {
                let within = End {
                    size: end.size - 1,
                    ..end
                };
                *copies.file("cells/0/checkpoint") = signed(common::SEED, within);
            },
            &[(Kind::SignedElsewhere, "cells/0/checkpoint")],
        )
        .await;
    // Somebody else's key.
    copies
        .expect(
            |copies| {
                drop(
                    copies
                        .files
                        .insert(older.clone(), signed([8; 32], batch.new_end())),
                )
            },
            &[(Kind::NotSigned, &older)],
        )
        .await;
    copies
        .expect(
            |copies| *copies.file("cells/0/checkpoint") = signed([8; 32], end),
            &[(Kind::NotSigned, "cells/0/checkpoint")],
        )
        .await;
    // An empty database, and none.
    for head in [
        None,
        Some(Head {
            epoch: 0,
            batches: 0,
            end: End::empty(),
        }),
    ] {
        let mut empty = copies.clone();
        (empty.head, empty.rows) = (head, BTreeMap::new());
        let (summary, found) = empty.check().await;
        assert_eq!(found.len() as u64, all);
        assert!(
            found
                .iter()
                .all(|difference| difference.kind == Kind::NotStored && difference.kind.heals())
        );
        assert!(summary.complete && summary.size == end.size);
    }
    let json = serde_json::to_value(Kind::NotStored).unwrap();
    assert_eq!(json, "not-stored");
}

/// The real stores' readers, beside a running sequencer, and a rebuild that leaves no difference.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_databases_are_read_without_a_trace_and_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    let location = Location::parse(&server.url("postgres"), "log").unwrap();
    let open = || async {
        let policy = Durability::SingleNode;
        let store = Postgres::open(location.clone(), &log(), policy, true)
            .await
            .unwrap();
        let publisher = Directory::open(folder.path(), log().election(), "cells-0").unwrap();
        parts(
            Arc::new(store),
            Arc::new(publisher),
            &Signed::default(),
            &Faults::none(),
        )
    };
    // Nothing is published: not what a rebuild is for.
    let refused = rebuild(config(), open().await).await;
    assert!(
        matches!(refused, Err(RebuildError::NothingPublished(_))),
        "{refused:?}"
    );

    let sequencer = ledger::Sequencer::spawn(config(), open().await);
    let handle = sequencer.handle();
    handle.ready().await.unwrap();
    for round in 0..5 {
        let votes = (round * 60..(round + 1) * 60).map(|key| handle.submit(vote(key, 0, 0)));
        join_all(votes).await.into_iter().for_each(|outcome| {
            outcome.unwrap();
        });
    }
    let published = handle.published();
    let reader = DirectoryReader::new(folder.path(), log().election());
    let check = async |rows: &mut dyn StoredRows| {
        let mut found = Vec::new();
        let summary = fsck(rows, &reader, &log(), &keys(), &mut |one| found.push(one))
            .await
            .unwrap();
        (summary, found)
    };
    let before = read_folder(folder.path());
    let state = || server.psql("postgres", "SELECT * FROM log.head");
    let head = state();
    let (summary, found) = check(&mut PostgresRows::open(&location, &log()).await.unwrap()).await;
    assert_eq!((found, summary.equal), (vec![], published.batches));
    assert_eq!(
        (read_folder(folder.path()), state()),
        (before.clone(), head)
    );
    // The sequencer has not noticed.
    tokio::time::timeout(Duration::from_secs(30), handle.submit(vote(999, 0, 0)))
        .await
        .unwrap()
        .unwrap();
    let published = handle.published();
    drop(sequencer);

    server.psql("postgres", "DROP SCHEMA log CASCADE");
    let (summary, found) = check(&mut PostgresRows::open(&location, &log()).await.unwrap()).await;
    assert_eq!(
        (summary.stored, found.len() as u64),
        (None, published.batches)
    );
    assert_eq!(rebuild(config(), open().await).await.unwrap(), published);
    let (summary, found) = check(&mut PostgresRows::open(&location, &log()).await.unwrap()).await;
    assert_eq!((found, summary.equal), (vec![], published.batches));
    // From a standby server as well.
    let standby = server.standby("sb");
    let there = Location::parse(&standby.url("postgres"), "log").unwrap();
    let (_, found) = check(&mut PostgresRows::open(&there, &log()).await.unwrap()).await;
    assert_eq!(found, []);

    // The same published log, in SQLite.
    let path = folder.path().join("log.sqlite");
    let store = Sqlite::open(&path, &log(), true).await.unwrap();
    let publisher = Directory::open(folder.path(), log().election(), "cells-0").unwrap();
    let parts = parts(
        Arc::new(store),
        Arc::new(publisher),
        &Signed::default(),
        &Faults::none(),
    );
    assert_eq!(rebuild(config(), parts).await.unwrap(), published);
    let (summary, found) = check(&mut SqliteRows::open(&path, &log()).await.unwrap()).await;
    assert_eq!((found, summary.equal), (vec![], published.batches));
    let other = ledger::LogName::new(
        "votes.example",
        *log().election(),
        protocol::ids::LogId::Heads,
    );
    assert!(SqliteRows::open(&path, &other).await.is_err());
    assert!(PostgresRows::open(&location, &other).await.is_err());
}
