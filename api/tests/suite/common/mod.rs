//! A small election with real keys, and a cell that serves it over a real socket.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code, of which each binary uses its own part"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::{Cell, CellConfig, CellContent, CellLimits};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger::schedule::Schedule;
use ledger::store::{Owner, Row, TakeOver};
use ledger::{Batch, Clock, Content, Directory, End, Head, Sqlite, Store, StoreError, Warm};
use listener::Limits;
use openssl::rsa::{Padding, Rsa};
use protocol::ballot::{Ballot, ballot_message};
use protocol::credential::{CredentialKey, DeviceSecret, blind, credential_message, finalize};
use protocol::ed25519::SigningKey;
use protocol::entry::Vote;
use protocol::ids::LogId;
use protocol::manifest::{
    Anchor, AnchorKind, Contest, Election, FORMAT, KeyPair, Manifest, Method, Registrar, Roll,
    TieRule, Times, Witnesses,
};
use protocol::merkle::leaf_hash;
use protocol::tlog_proof::TlogProof;
use serde_json::{Value, json};
use signer::KeyFile;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

pub const OPENING: u64 = 1_000_000;
pub const CLOSING: u64 = 2_000_000;
pub const GRACE: u64 = 100_000;

/// A clock that the test sets.
pub struct SetClock(AtomicU64);

impl SetClock {
    pub fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// An election with every private key.
pub struct Keys {
    pub election: Election,
    pub registrars: Vec<Rsa<openssl::pkey::Private>>,
}

pub fn seed(of: u8, index: u8) -> [u8; 32] {
    let mut seed = [of; 32];
    seed[31] = index;
    seed
}

fn pair(of: u8, index: u8) -> KeyPair {
    KeyPair {
        main: SigningKey::from_seed(&seed(of, index)).public(),
        spare: SigningKey::from_seed(&seed(of + 100, index)).public(),
    }
}

/// Two cells, two registrars, a plurality and an approval contest.
pub fn election(change: impl FnOnce(&mut Manifest)) -> Keys {
    let registrars: Vec<_> = (0..2).map(|_| Rsa::generate(2048).unwrap()).collect();
    let contest = |name: &str, method, options: &[&str]| Contest {
        method,
        name: name.into(),
        options: options.iter().map(|option| (*option).into()).collect(),
        tie_rule: TieRule::ListedOrder,
    };
    let mut manifest = Manifest {
        format: FORMAT.into(),
        title: "Test".into(),
        base: "votes.example".into(),
        demo: true,
        contests: vec![
            contest("Mayor", Method::Plurality, &["Ada", "Grace", "Alan"]),
            contest("Parks", Method::Approval, &["North", "South"]),
        ],
        times: Times {
            registration: OPENING,
            opening: OPENING,
            closing: CLOSING,
            grace: GRACE,
        },
        retention: CLOSING + 1_000 * GRACE,
        cells: vec![pair(1, 0), pair(1, 1)],
        registrars: (0u8..)
            .zip(&registrars)
            .map(|(r, rsa)| Registrar {
                name: format!("Registrar {r}"),
                rsa: rsa.public_key_to_der().unwrap(),
                shards: vec![pair(2, r)],
            })
            .collect(),
        heads: pair(3, 0),
        authority: pair(4, 0),
        roll: Roll {
            size: 5_000,
            root: [7; 32],
        },
        batch_min: 1,
        batch_wait_ms: 100,
        cast_delay_s: 0,
        head_interval_ms: 100,
        anchors: vec![Anchor {
            kind: AnchorKind::Directory,
            name: "demo".into(),
        }],
        witnesses: Witnesses {
            keys: vec![],
            quorum: 0,
        },
    };
    change(&mut manifest);
    Keys {
        election: Election::new(&manifest).unwrap(),
        registrars,
    }
}

/// A voter's device after registration.
pub struct Voter {
    pub key: CredentialKey,
    pub signatures: Vec<Vec<u8>>,
}

impl Keys {
    pub fn voter(&self, number: u32) -> Voter {
        let mut secret = [0x5a; 32];
        secret[..4].copy_from_slice(&number.to_be_bytes());
        let secret = DeviceSecret::from_bytes(secret);
        let id = self.election.id();
        let signatures = (0u16..)
            .zip(self.election.registrar_keys().iter().zip(&self.registrars))
            .map(|(r, (public, private))| {
                let blinded = blind(&secret, &id, r, public).unwrap();
                let mut signature = vec![0; public.signature_len()];
                private
                    .private_encrypt(blinded.message(), &mut signature, Padding::NONE)
                    .unwrap();
                finalize(&blinded, &signature).unwrap()
            })
            .collect();
        Voter {
            key: CredentialKey::derive(&secret, &id),
            signatures,
        }
    }

    /// The first `count` voters of this cell, from a number on.
    pub fn voters_of(&self, cell: u32, count: usize) -> Vec<Voter> {
        (0..)
            .map(|number| self.voter(number))
            .filter(|voter| self.election.cell_of(&voter.key.public()) == cell)
            .take(count)
            .collect()
    }

    /// An Ordinary signature of the registrars over any 32 bytes, as a dishonest registrar could make it.
    pub fn sign_credential(&self, credential: &[u8; 32]) -> Vec<Vec<u8>> {
        let message = credential_message(&self.election.id(), credential);
        self.registrars
            .iter()
            .map(|rsa| {
                let key = openssl::pkey::PKey::from_rsa(rsa.clone()).unwrap();
                let digest = openssl::hash::MessageDigest::sha384();
                let mut signer = openssl::sign::Signer::new(digest, &key).unwrap();
                signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
                signer
                    .set_rsa_pss_saltlen(openssl::sign::RsaPssSaltlen::DIGEST_LENGTH)
                    .unwrap();
                signer.set_rsa_mgf1_md(digest).unwrap();
                signer.sign_oneshot_to_vec(&message).unwrap()
            })
            .collect()
    }

    pub fn vote(&self, voter: &Voter, choices: &[&[u16]]) -> Vote {
        let ballot = Ballot::new(choices, self.election.contests()).unwrap();
        let signature = voter
            .key
            .sign(&ballot_message(&self.election.id(), &ballot.encode()));
        Vote {
            credential: voter.key.public(),
            signatures: voter.signatures.clone(),
            ballot,
            signature,
        }
    }

    /// Checks a receipt as a client does, and returns the stored vote.
    pub fn check_receipt(&self, cell: u32, answer: &Value) -> Vote {
        let proof = TlogProof::parse(answer["proof"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(proof.index(), answer["index"].as_u64().unwrap());
        let entry = proof.extra().unwrap();
        let log = LogId::Cell(cell);
        let key = *self.election.log_keys(log).unwrap().main.as_bytes();
        proof
            .verify(&leaf_hash(entry), &self.election.origin(log), &[key])
            .unwrap();
        let vote = Vote::decode(entry, &self.election).unwrap();
        vote.verify(&self.election).unwrap();
        vote
    }
}

/// A store whose appends wait until the test lets them through.
pub struct GatedStore {
    inner: Sqlite,
    pub gate: Arc<Semaphore>,
    /// Appends that have arrived at the gate.
    pub arrived: Arc<Semaphore>,
}

#[async_trait]
impl Store for GatedStore {
    async fn take_over(&self, owner: Owner, how: TakeOver) -> Result<Head, StoreError> {
        self.inner.take_over(owner, how).await
    }
    async fn append(&self, expected: &Head, batch: &Batch) -> Result<Head, StoreError> {
        self.arrived.add_permits(1);
        let _through = self.gate.acquire().await.unwrap();
        self.inner.append(expected, batch).await
    }
    async fn read(&self, n: u64) -> Result<Option<Row>, StoreError> {
        self.inner.read(n).await
    }
    async fn put_aside(&self, expected: &Head, first: u64, end: End) -> Result<Head, StoreError> {
        self.inner.put_aside(expected, first, end).await
    }
}

/// A cell behind a real socket.
pub struct Served {
    pub keys: Keys,
    pub cell: Cell,
    pub clock: Arc<SetClock>,
    pub schedule: watch::Sender<Schedule>,
    pub client: reqwest::Client,
    pub url: String,
    pub address: String,
    pub gate: Arc<Semaphore>,
    pub arrived: Arc<Semaphore>,
    pub folder: Arc<TempDir>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

pub struct Options {
    pub limits: CellLimits,
    pub listener: Limits,
    pub gated: bool,
    pub index: u32,
    pub folder: Option<Arc<TempDir>>,
    pub now: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: CellLimits::default(),
            listener: Limits::default(),
            gated: false,
            index: 0,
            folder: None,
            now: OPENING,
        }
    }
}

pub fn log_db(folder: &Path, cell: u32) -> PathBuf {
    folder.join(format!("cell-{cell}.sqlite"))
}

/// Starts cell 0 over a folder that another process has left, with the key of this seed, without a server.
pub async fn start_cell(
    keys: &Keys,
    folder: &Path,
    key_seed: [u8; 32],
    schedule: Schedule,
) -> Result<Cell, api::StartError> {
    let election = &keys.election;
    let name = ledger::heads::name_of(election, LogId::Cell(0));
    let store = Sqlite::open(&log_db(folder, 0), &name, true).await.unwrap();
    let publisher = Directory::open(&folder.join("public"), &election.id(), "cells-0").unwrap();
    let key_path = folder.join(format!("{}.key", key_seed[0]));
    let signer = KeyFile::write(&key_path, &key_seed).unwrap();
    // Kept open for as long as the process lives: a closed channel is a follower that has stopped.
    let (sender, receiver) = watch::channel(schedule);
    std::mem::forget(sender);
    Cell::start(
        CellConfig::new(election, 0),
        Arc::new(store),
        Arc::new(publisher),
        Arc::new(signer),
        receiver,
        Arc::new(SetClock(AtomicU64::new(OPENING))),
    )
}

impl Served {
    pub async fn start(keys: Keys, options: Options) -> Self {
        let folder = options
            .folder
            .unwrap_or_else(|| Arc::new(tempfile::tempdir().unwrap()));
        let path = folder.path();
        let index = options.index;
        let election = keys.election.clone();
        let name = ledger::heads::name_of(&election, LogId::Cell(index));
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let arrived = Arc::new(Semaphore::new(0));
        let store = GatedStore {
            inner: Sqlite::open(&log_db(path, index), &name, true)
                .await
                .unwrap(),
            gate: Arc::clone(&gate),
            arrived: Arc::clone(&arrived),
        };
        let publisher = Directory::open(
            &path.join("public"),
            &election.id(),
            &format!("cells-{index}"),
        )
        .unwrap();
        let key_path = path.join(format!("cell-{index}.key"));
        let signer = KeyFile::load(&key_path).unwrap_or_else(|_| {
            KeyFile::write(&key_path, &seed(1, u8::try_from(index).unwrap())).unwrap()
        });
        let clock = Arc::new(SetClock(AtomicU64::new(options.now)));
        let (schedule, receiver) =
            watch::channel(Schedule::before_first_head(&election, options.now));
        // Whoever starts where a log is already has read it while standing by.
        let warm = Warm::new();
        let log_keys =
            ledger::heads::keys_of(&election, receiver.borrow().in_force(), LogId::Cell(index));
        let content = || Box::new(CellContent::new(&election, index)) as Box<dyn Content>;
        warm.follow(&name, &log_keys.unwrap(), &content, &publisher)
            .await
            .unwrap();
        let cell = Cell::start(
            CellConfig {
                limits: options.limits,
                warm: Some(warm),
                ..CellConfig::new(&election, index)
            },
            Arc::new(store),
            Arc::new(publisher),
            Arc::new(signer),
            receiver,
            Arc::clone(&clock) as Arc<dyn Clock>,
        )
        .unwrap();
        cell.ready().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let router = cell.router().fallback(listener::not_found);
        let server = tokio::spawn(listener::serve(listener, router, options.listener, async {
            let _ = stopped.await;
        }));
        if options.gated {
            // From here on; the genesis is through.
            gate.forget_permits(Semaphore::MAX_PERMITS);
            arrived.forget_permits(arrived.available_permits());
        }
        Self {
            url: format!(
                "http://{address}/elections/{}/cells/{index}/ballots",
                election.id()
            ),
            client: reqwest::Client::builder()
                .pool_max_idle_per_host(usize::MAX)
                .build()
                .unwrap(),
            keys,
            cell,
            clock,
            schedule,
            address,
            gate,
            arrived,
            folder,
            stop,
            server,
        }
    }

    pub async fn cast(&self, vote: &Vote) -> (u16, Value) {
        self.post(json!({"vote": STANDARD.encode(vote.encode())}).to_string())
            .await
    }

    pub async fn post(&self, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let answer = self.client.post(&self.url).body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        if status == 503 {
            assert!(answer.headers().contains_key("retry-after"));
        }
        assert_eq!(answer.headers()["cache-control"], "no-store");
        (status, answer.json().await.unwrap())
    }

    /// Stops everything gracefully, and gives back what a restart needs.
    pub async fn stop(self) -> (Keys, Arc<TempDir>) {
        let _ = self.stop.send(());
        self.server.await.unwrap();
        self.cell.shutdown().await;
        (self.keys, self.folder)
    }

    /// The cell's entries as published, after the grammar has been checked, and every signature.
    pub fn audit(&self) -> Vec<protocol::entry::Entry> {
        let folder = self
            .folder
            .path()
            .join("public/elections")
            .join(self.keys.election.id().to_string())
            .join("cells/0");
        let name = ledger::heads::name_of(&self.keys.election, LogId::Cell(0));
        let mut log = protocol::grammar::CellLog::new(&self.keys.election, 0);
        let mut range = protocol::merkle::CompactRange::new();
        let mut entries = Vec::new();
        for n in 0.. {
            let Ok(file) = std::fs::read(folder.join(format!("batches/{n}"))) else {
                break;
            };
            let batch = Batch::from_file(&name, n, &mut range, &file.into()).unwrap();
            let bytes = batch.entries();
            let bytes: Vec<&[u8]> = bytes.iter().map(AsRef::as_ref).collect();
            let summary = log.batch(n, &bytes).unwrap();
            for (_, vote) in summary.votes() {
                vote.verify(&self.keys.election).unwrap();
            }
            entries.extend(summary.entries);
        }
        entries
    }
}

pub fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or(""))
}

/// Awaits a condition; fails after a while.
pub async fn until(mut condition: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("the condition never came true");
}

/// Lets the task that closes logs look at the clock once or twice: time for it to do what it must not do. Nothing fails if it takes longer.
pub async fn time_for_haste() {
    tokio::time::sleep(Duration::from_millis(450)).await;
}
