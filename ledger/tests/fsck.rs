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
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use common::{Frozen, Models, config, keys, log, parts, read_folder, vote};
use futures::future::join_all;
use ledger::batch::{Batch, End};
use ledger::faulty::{Faults, Signed};
use ledger::fsck::{Difference, Kind, RebuildError, Summary, fsck, rebuild};
use ledger::postgres::Location;
use ledger::publisher::{ReadError, Reader};
use ledger::store::{Row, StoredRows};
use ledger::{
    Directory, DirectoryReader, Durability, Handle, Head, Postgres, PostgresRows, Sqlite,
    SqliteRows, StoreError,
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

    async fn surplus(&mut self) -> Result<Option<u64>, StoreError> {
        let batches = self.0.head.map_or(0, |head| head.batches);
        let last = self.0.rows.keys().next_back().copied();
        Ok(last.filter(|last| *last >= batches))
    }
}

/// Both copies while a writer is at work: it goes on when this row, or this file, is asked for, and just after the answer.
struct Moving {
    copies: Arc<Mutex<Copies>>,
    then: Copies,
    row: Option<u64>,
    file: Option<String>,
}

#[async_trait]
impl StoredRows for Moving {
    async fn head(&mut self) -> Result<Option<Head>, StoreError> {
        Ok(self.copies.lock().unwrap().head)
    }

    async fn row(&mut self, n: u64) -> Result<Option<Row>, StoreError> {
        let mut copies = self.copies.lock().unwrap();
        let row = copies.rows.get(&n).cloned();
        if self.row == Some(n) {
            *copies = self.then.clone();
        }
        Ok(row)
    }

    async fn surplus(&mut self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
}

#[async_trait]
impl Reader for Moving {
    async fn read(&self, path: &str, _: usize) -> Result<Option<Bytes>, ReadError> {
        let mut copies = self.copies.lock().unwrap();
        let bytes = copies.files.get(path).cloned();
        if self.file.as_deref() == Some(path) {
            *copies = self.then.clone();
        }
        Ok(bytes)
    }
}

/// A real database's reader, beside a sequencer that takes votes just after the first row was read.
struct Meanwhile {
    rows: PostgresRows,
    votes: Option<Handle>,
}

#[async_trait]
impl StoredRows for Meanwhile {
    async fn head(&mut self) -> Result<Option<Head>, StoreError> {
        self.rows.head().await
    }

    async fn row(&mut self, n: u64) -> Result<Option<Row>, StoreError> {
        let row = self.rows.row(n).await;
        if let Some(handle) = self.votes.take() {
            // Two batches at least: each is recorded before the next vote is cast.
            for key in 900..904 {
                handle.submit(vote(key, 0, 0)).await.unwrap();
            }
        }
        row
    }

    async fn surplus(&mut self) -> Result<Option<u64>, StoreError> {
        self.rows.surplus().await
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

    /// As they were when only batches below `n` were there. (Nothing has to follow from them without a checkpoint.)
    fn before(&self, n: u64) -> Self {
        let mut before = self.clone();
        before.rows.retain(|row, _| *row < n);
        before.files.remove("cells/0/checkpoint");
        for later in n..self.batches() {
            before.files.remove(&format!("cells/0/batches/{later}"));
        }
        let head = before.head.as_mut().unwrap();
        (head.batches, head.end) = (n, self.batch(n).1.old());
        before
    }

    /// The database's last rows become another writer's, from `n` on.
    fn part(&mut self, n: u64) {
        let (mut range, _) = self.batch(n);
        for n in n..self.batches() {
            let other = Batch::build(n, &mut range, &[format!("another {n}")]).unwrap();
            let row = self.rows.get_mut(&n).unwrap();
            (row.body, row.end) = (other.body().clone(), other.new_end());
            self.head.as_mut().unwrap().end = other.new_end();
        }
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

/// A writer at work, at every place of the walk where both copies grow between two looks.
#[tokio::test]
async fn what_is_written_during_the_walk_is_no_difference() {
    let after = Copies::sound().await;
    let all = after.batches();
    let n = all - 3;
    let file = |n: u64| Some(format!("cells/0/batches/{n}"));
    for (row, file) in [
        (Some(0), None),
        (Some(n - 1), None),
        (None, file(n - 1)),
        // It is not there, and then the next one is.
        (None, file(n)),
    ] {
        let copies = Arc::new(Mutex::new(after.before(n)));
        let moving = || Moving {
            copies: Arc::clone(&copies),
            then: after.clone(),
            row,
            file: file.clone(),
        };
        let mut found = Vec::new();
        let summary = fsck(&mut moving(), &moving(), &log(), &keys(), &mut |one| {
            found.push(one)
        })
        .await
        .unwrap();
        assert_eq!(found, [], "{row:?} {file:?}");
        assert!(summary.complete);
        assert_eq!((summary.stored, summary.equal), (Some(all), all));
    }
}

/// Two writers: all that the loser left in the database follows on its own branch, and heals.
#[tokio::test]
async fn what_lost_is_judged_along_its_own_branch() {
    let copies = Copies::sound().await;
    let last = copies.batches() - 1;
    let place = |n: u64| format!("database batch {n}");
    let (one, two, three) = (place(last - 2), place(last - 1), place(last));
    let (one, two, three) = (one.as_str(), two.as_str(), three.as_str());
    let other = |place| (Kind::OtherBatch, place);
    copies
        .expect(|copies| copies.part(last), &[other(three)])
        .await;
    let lost = [other(one), other(two), other(three)];
    let summary = copies.expect(|copies| copies.part(last - 2), &lost).await;
    assert!(summary.complete && Kind::OtherBatch.heals());
    assert_eq!((summary.published, summary.equal), (last + 1, last - 2));
    // More was published than the loser wrote, and less.
    let end = copies.batch(last).0;
    copies
        .expect(
            |copies| {
                copies.part(last - 2);
                copies.rows.remove(&last);
                let head = copies.head.as_mut().unwrap();
                (head.batches, head.end) = (last, copies.rows[&(last - 1)].end);
            },
            &[other(one), other(two), (Kind::NotStored, three)],
        )
        .await;
    let summary = copies
        .expect(
            |copies| {
                copies.part(last - 2);
                copies.files.remove("cells/0/checkpoint");
                copies.files.remove(&format!("cells/0/batches/{last}"));
            },
            &lost,
        )
        .await;
    assert!(summary.complete);
    assert_eq!(summary.size, End::from(&end).size);
    // The head is held against the branch, and so is each row.
    copies
        .expect(
            |copies| {
                copies.part(last - 2);
                copies.head.as_mut().unwrap().end.root = Hash([1; 32]);
            },
            &[lost.as_slice(), &[(Kind::HeadElsewhere, "database head")]].concat(),
        )
        .await;
    let summary = copies
        .expect(
            |copies| {
                copies.part(last - 2);
                flip(&mut copies.rows.get_mut(&(last - 1)).unwrap().body, 9);
            },
            &[other(one), (Kind::RowDamaged, two)],
        )
        .await;
    assert!(!summary.complete);
    let summary = copies
        .expect(
            |copies| {
                copies.part(last - 2);
                copies.rows.remove(&(last - 1));
            },
            &[other(one), (Kind::RowMissing, two)],
        )
        .await;
    assert!(!summary.complete);
    // One batch was exchanged in its place.
    let summary = copies
        .expect(
            |copies| {
                let behind = copies.clone();
                copies.part(last - 2);
                copies.head = behind.head;
                copies
                    .rows
                    .insert(last - 1, behind.rows[&(last - 1)].clone());
                copies.rows.insert(last, behind.rows[&last].clone());
            },
            &[other(one)],
        )
        .await;
    assert!(summary.complete);
    assert_eq!(summary.equal, last);
}

/// The next append would fail on it, and so each takeover.
#[tokio::test]
async fn a_row_that_the_head_does_not_count_is_found() {
    let copies = Copies::sound().await;
    let all = copies.batches();
    for n in [all, all + 7] {
        let summary = copies
            .expect(
                |copies| {
                    let row = copies.rows[&1].clone();
                    copies.rows.insert(n, Row { n, ..row });
                },
                &[(Kind::RowSurplus, &format!("database batch {n}"))],
            )
            .await;
        assert!(summary.complete && !Kind::RowSurplus.heals());
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
    let batches = published.batches;
    assert_eq!((found, summary.equal), (vec![], batches));
    assert_eq!(
        (read_folder(folder.path()), state()),
        (before.clone(), head)
    );
    // And while it appends, nothing is missed in either copy but what was not published yet.
    let mut meanwhile = Meanwhile {
        rows: PostgresRows::open(&location, &log()).await.unwrap(),
        votes: Some(handle.clone()),
    };
    let (summary, found) = check(&mut meanwhile).await;
    let published = handle.published();
    assert_eq!((found, summary.equal), (vec![], published.batches));
    assert!(published.batches > batches);
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
    // A row behind the head, in each.
    let sql =
        "INSERT INTO batch SELECT n + 1000, epoch, size + 1000, root, body FROM batch WHERE n = 1";
    server.psql("postgres", &format!("SET search_path = log; {sql}"));
    let sqlite = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let pool = sqlx::SqlitePool::connect_with(sqlite).await.unwrap();
    sqlx::query(sql).execute(&pool).await.unwrap();
    pool.close().await;
    let (_, in_postgres) = check(&mut PostgresRows::open(&location, &log()).await.unwrap()).await;
    let (_, in_sqlite) = check(&mut SqliteRows::open(&path, &log()).await.unwrap()).await;
    for found in [in_postgres, in_sqlite] {
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].kind, found[0].batch),
            (Kind::RowSurplus, Some(1001))
        );
    }
    let other = ledger::LogName::new(
        "votes.example",
        *log().election(),
        protocol::ids::LogId::Heads,
    );
    assert!(SqliteRows::open(&path, &other).await.is_err());
    assert!(PostgresRows::open(&location, &other).await.is_err());
}
