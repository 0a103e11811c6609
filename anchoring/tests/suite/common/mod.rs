//! A small election whose cells and issuance logs are real logs in a real directory, written through the ledger's sequencer. What the services around it
//! would check (registrar and ballot signatures) is left blank: neither anchoring nor tally looks at it.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests; and each test file uses its part"
)]

pub(crate) mod manifest;
pub(crate) mod service;
pub(crate) mod witness;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ledger::clock::Clock;
use ledger::content::{
    Arranged, Content, ContentError, Keyed, Place, Position, Replayed, Submission,
};
use ledger::faulty::{Faults, MemorySigner, Signed};
use ledger::sequencer::{Config, Handle, Parts, Published, Sequencer};
use ledger::{Directory, DirectoryReader, Keys, LogName, Sqlite};
use protocol::ballot::Ballot;
use protocol::entry::{
    AuthorityKey, Close, Entry, Genesis, Issuance, Notice, NoticeAction, NoticeBody, Vote,
};
use protocol::grammar::{CellLog, IssuanceLog};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::leaf_hash;
use sha2::{Digest as _, Sha256};
use signer::Checked;

pub(crate) use manifest::{CLOSING, GRACE, OPENING, manifest};
use manifest::{key, seed};

/// A clock that stands where it is put.
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn at(ms: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(ms)))
    }

    pub(crate) fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) fn election() -> Election {
    Election::new(&manifest()).unwrap()
}

/// The folders of one test, removed at its end.
pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) election: Election,
    pub(crate) clock: Arc<TestClock>,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::of(election())
    }

    pub(crate) fn of(election: Election) -> Self {
        let _ = tracing_subscriber::fmt()
            .with_test_writer()
            .with_max_level(tracing::Level::WARN)
            .try_init();
        Self {
            folder: tempfile::tempdir().unwrap(),
            election,
            clock: TestClock::at(OPENING + 1),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Where a file of the published tree stands.
    pub(crate) fn published(&self, path: &str) -> PathBuf {
        self.root()
            .join("elections")
            .join(self.election.id().to_string())
            .join(path)
    }

    pub(crate) fn reader(&self) -> Arc<DirectoryReader> {
        Arc::new(DirectoryReader::new(self.root(), &self.election.id()))
    }

    pub(crate) fn directory(&self, owner: &str) -> Arc<Directory> {
        Arc::new(Directory::open(self.root(), &self.election.id(), owner).unwrap())
    }

    pub(crate) async fn store(&self, log: LogId) -> Arc<Sqlite> {
        let name = LogName::of(&self.election, log).unwrap().0;
        let file = format!("{}.sqlite", log.prefix().replace('/', "-"));
        Arc::new(
            Sqlite::open(&self.root().join(file), &name, true)
                .await
                .unwrap(),
        )
    }

    pub(crate) fn signer(&self, log: LogId, spare: bool) -> Checked {
        let seed = seed(&log.prefix(), spare);
        let signer = Arc::new(MemorySigner::new(seed, Signed::default(), Faults::none()));
        signer::checked(signer, key(&log.prefix(), spare).public()).unwrap()
    }

    /// Starts one of the cells or issuance logs.
    pub(crate) async fn log(&self, log: LogId) -> Log {
        self.log_signing(log, None).await
    }

    /// As [`Site::log`], signing with the spare above `switched`.
    pub(crate) async fn log_signing(&self, log: LogId, switched: Option<u64>) -> Log {
        let (name, mut keys) = LogName::of(&self.election, log).unwrap();
        if let Some(size) = switched {
            keys = keys.switched(key(&log.prefix(), true).public(), size);
        }
        self.start(log, name, keys, switched.is_some(), false).await
    }

    /// An issuance log whose close says that nothing was ever issued.
    pub(crate) async fn lying_log(&self, log: LogId) -> Log {
        let (name, keys) = LogName::of(&self.election, log).unwrap();
        self.start(log, name, keys, false, true).await
    }

    async fn start(&self, log: LogId, name: LogName, keys: Keys, spare: bool, lies: bool) -> Log {
        let mut config = Config::new(name, keys);
        config.batch.count_max = 1_000;
        let election = self.election.clone();
        let content: Arc<dyn Fn() -> Box<dyn Content> + Send + Sync> = match log {
            LogId::Cell(cell) => Arc::new(move || {
                Box::new(Cell(
                    CellLog::new(&election, cell),
                    election.clone(),
                    LogId::Cell(cell),
                ))
            }),
            LogId::Issuance { .. } if lies => {
                Arc::new(move || Box::new(Lying(election.clone(), log)))
            }
            LogId::Issuance { registrar, shard } => Arc::new(move || {
                Box::new(Issuances(
                    IssuanceLog::new(&election, registrar, shard),
                    election.clone(),
                    log,
                ))
            }),
            LogId::Heads => unreachable!(),
        };
        let parts = Parts {
            store: self.store(log).await,
            publisher: self.directory(&log.prefix().replace('/', "-")),
            signer: self.signer(log, spare),
            clock: self.clock.clone(),
            content,
        };
        let sequencer = Sequencer::spawn(config, parts);
        let handle = sequencer.handle();
        handle.ready().await.unwrap();
        // Ready means taken over; the genesis is published by then.
        Log {
            election: self.election.clone(),
            log,
            handle,
            _sequencer: sequencer,
        }
    }

    /// All four logs.
    pub(crate) async fn logs(&self) -> Logs {
        Logs {
            cells: vec![
                self.log(LogId::Cell(0)).await,
                self.log(LogId::Cell(1)).await,
            ],
            shards: vec![self.log(shard(0)).await, self.log(shard(1)).await],
        }
    }

    pub(crate) fn notice(&self, sequence: u32, action: NoticeAction) -> Notice {
        let body = NoticeBody { sequence, action };
        let message = body.message(&self.election.id(), AuthorityKey::Main);
        Notice {
            key: AuthorityKey::Main,
            signature: key("authority", false).sign(&message),
            body,
        }
    }
}

pub(crate) const fn shard(shard: u32) -> LogId {
    LogId::Issuance {
        registrar: 0,
        shard,
    }
}

pub(crate) struct Logs {
    pub(crate) cells: Vec<Log>,
    pub(crate) shards: Vec<Log>,
}

impl Logs {
    pub(crate) async fn close_all(&self) {
        for log in self.shards.iter().chain(&self.cells) {
            log.close().await;
        }
    }
}

/// A running cell or issuance log.
pub(crate) struct Log {
    election: Election,
    log: LogId,
    pub(crate) handle: Handle,
    _sequencer: Sequencer,
}

impl Log {
    /// Casts this ballot with a credential of its own, made from `voter`, that belongs to this cell.
    pub(crate) async fn vote(&self, voter: u64, choices: &[&[u16]]) -> Published {
        let LogId::Cell(cell) = self.log else {
            panic!("not a cell")
        };
        let credential = (0u64..)
            .map(|tries| {
                <[u8; 32]>::from(Sha256::digest(
                    [voter.to_be_bytes(), tries.to_be_bytes()].concat(),
                ))
            })
            .find(|key| self.election.cell_of(key) == cell)
            .unwrap();
        let vote = Vote {
            credential,
            signatures: vec![vec![1; 256]],
            ballot: Ballot::new(choices, self.election.contests()).unwrap(),
            signature: [2; 64],
        };
        self.submit(credential, Entry::Vote(vote).encode()).await
    }

    /// Issues to this voter of the roll.
    pub(crate) async fn issue(&self, roll_index: u64) -> Published {
        let issuance = Issuance {
            roll_index,
            blinded_digest: [3; 32],
        };
        let key = Sha256::digest(roll_index.to_be_bytes()).into();
        self.submit(key, Entry::Issuance(issuance).encode()).await
    }

    async fn submit(&self, key: [u8; 32], entry: Vec<u8>) -> Published {
        let submission = Submission {
            key: Some(key),
            same: key,
            entry,
        };
        self.handle.submit(submission).await.unwrap();
        self.handle.published()
    }

    pub(crate) async fn close(&self) -> Published {
        self.handle.close(None).await.unwrap()
    }
}

struct Cell(CellLog, Election, LogId);

fn fault(error: impl ToString) -> ContentError {
    ContentError::new(error.to_string())
}

impl Content for Cell {
    fn genesis(&self) -> Vec<u8> {
        Genesis::of(&self.1, self.2).encode()
    }

    fn arrange(
        &mut self,
        _at: Position,
        now_ms: u64,
        items: &[Submission],
    ) -> Result<Arranged, ContentError> {
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|i| leaf_hash(&items[*i].entry));
        let mut entries: Vec<Vec<u8>> = order.iter().map(|i| items[*i].entry.clone()).collect();
        let decoded: Vec<Entry> = entries
            .iter()
            .map(|entry| Entry::decode(entry, &self.1).unwrap())
            .collect();
        let votes = decoded.iter().filter_map(|entry| match entry {
            Entry::Vote(vote) => Some(vote),
            _ => None,
        });
        let tally = self.0.next_tally(votes, now_ms);
        let mut places = vec![Place::At(0); items.len()];
        for (at, item) in order.into_iter().enumerate() {
            places[item] = Place::At(u32::try_from(at).unwrap());
        }
        entries.push(Entry::Tally(tally).encode());
        Ok(Arranged { entries, places })
    }

    fn close(
        &mut self,
        _at: Position,
        now_ms: u64,
        _given: Option<&[u8]>,
    ) -> Result<Vec<u8>, ContentError> {
        Ok(Entry::Close(self.0.next_close(now_ms)).encode())
    }

    fn replay(&mut self, at: Position, entries: &[&[u8]]) -> Result<Replayed, ContentError> {
        let summary = self.0.batch(at.n, entries).map_err(fault)?;
        let keyed = summary
            .votes()
            .map(|(index, vote)| Keyed {
                offset: u32::try_from(index - at.first_index).unwrap(),
                key: vote.credential,
                same: vote.credential,
            })
            .collect();
        Ok(Replayed {
            keyed,
            closed: summary.close().is_some(),
        })
    }
}

struct Issuances(IssuanceLog, Election, LogId);

impl Content for Issuances {
    fn genesis(&self) -> Vec<u8> {
        Genesis::of(&self.1, self.2).encode()
    }

    fn arrange(
        &mut self,
        _at: Position,
        _now_ms: u64,
        items: &[Submission],
    ) -> Result<Arranged, ContentError> {
        Ok(Arranged {
            entries: items.iter().map(|item| item.entry.clone()).collect(),
            places: (0..).take(items.len()).map(Place::At).collect(),
        })
    }

    fn close(
        &mut self,
        _at: Position,
        now_ms: u64,
        _given: Option<&[u8]>,
    ) -> Result<Vec<u8>, ContentError> {
        Ok(Entry::Close(self.0.next_close(now_ms)).encode())
    }

    fn replay(&mut self, at: Position, entries: &[&[u8]]) -> Result<Replayed, ContentError> {
        let summary = self.0.batch(at.n, entries).map_err(fault)?;
        let keyed = summary
            .indexed()
            .filter_map(|(index, entry)| match entry {
                Entry::Issuance(issuance) => Some((index, issuance)),
                _ => None,
            })
            .map(|(index, issuance)| {
                let key = Sha256::digest(issuance.roll_index.to_be_bytes()).into();
                Keyed {
                    offset: u32::try_from(index - at.first_index).unwrap(),
                    key,
                    same: key,
                }
            })
            .collect();
        Ok(Replayed {
            keyed,
            closed: summary.close().is_some(),
        })
    }
}

/// An issuance log that keeps no rules.
struct Lying(Election, LogId);

impl Content for Lying {
    fn genesis(&self) -> Vec<u8> {
        Genesis::of(&self.0, self.1).encode()
    }

    fn arrange(
        &mut self,
        _at: Position,
        _now_ms: u64,
        items: &[Submission],
    ) -> Result<Arranged, ContentError> {
        Ok(Arranged {
            entries: items.iter().map(|item| item.entry.clone()).collect(),
            places: (0..).take(items.len()).map(Place::At).collect(),
        })
    }

    fn close(
        &mut self,
        _at: Position,
        now_ms: u64,
        _given: Option<&[u8]>,
    ) -> Result<Vec<u8>, ContentError> {
        let close = Close {
            time: now_ms,
            count: 0,
        };
        Ok(Entry::Close(close).encode())
    }

    fn replay(&mut self, at: Position, entries: &[&[u8]]) -> Result<Replayed, ContentError> {
        let mut keyed = Vec::new();
        let mut closed = false;
        for (offset, entry) in (0..).zip(entries) {
            match Entry::decode(entry, &self.0).map_err(fault)? {
                Entry::Issuance(issuance) if at.n > 0 => {
                    let key = Sha256::digest(issuance.roll_index.to_be_bytes()).into();
                    keyed.push(Keyed {
                        offset,
                        key,
                        same: key,
                    });
                }
                Entry::Close(_) => closed = true,
                _ => {}
            }
        }
        Ok(Replayed { keyed, closed })
    }
}
