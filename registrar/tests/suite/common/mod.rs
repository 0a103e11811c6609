//! An election with one or two real registrars, each behind a real socket.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code, of which each binary uses its own part"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger::postgres::Location;
use ledger::schedule::Schedule;
use ledger::store::{Owner, Row, TakeOver};
use ledger::{Batch, Clock, Directory, Durability, End, Head, Postgres, Sqlite, Store, StoreError};
use listener::Limits;
use protocol::credential::{Blinded, DeviceSecret, blind};
use protocol::ed25519::SigningKey;
use protocol::entry::{Entry, Issuance};
use protocol::ids::LogId;
use protocol::manifest::{
    Anchor, AnchorKind, Contest, Election, FORMAT, KeyPair, Manifest, Method, Roll, TieRule, Times,
    Witnesses,
};
use protocol::merkle::{CompactRange, Hash, leaf_hash, verify_inclusion};
use protocol::tlog_proof::TlogProof;
use registrar::code::{Code, CodeKey};
use registrar::database::Database;
use registrar::oidc::Oidc;
use registrar::roll::SealedRoll;
use registrar::rsa::{BlindSigner, MODULUS_BITS};
use registrar::{
    Registrar, RegistrarConfig, RegistrarFiles, RegistrarLimits, ShardParts, ShardWarm, create,
};
use serde_json::{Value, json};
use signer::KeyFile;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

pub const REGISTRATION: u64 = 1_000_000;
pub const CLOSING: u64 = 2_000_000;
pub const GRACE: u64 = 100_000;
pub const SHARDS: u8 = 2;

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

/// An election's folder: `public/`, and `r<r>/` for each registrar.
pub struct Place {
    pub election: Election,
    pub roll: SealedRoll,
    pub folder: TempDir,
}

impl Place {
    pub fn files(&self, registrar: u16) -> RegistrarFiles {
        RegistrarFiles::in_folder(&self.folder.path().join(format!("r{registrar}")))
    }

    pub fn log_db(&self, registrar: u16, shard: u32) -> PathBuf {
        self.folder
            .path()
            .join(format!("r{registrar}/log-{shard}.sqlite"))
    }

    /// Makes an election with these voters, as `tallyroot election new` does.
    pub async fn new(voters: &[&str], registrars: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let roll = SealedRoll::seal(voters.iter().map(|v| (*v).to_owned()).collect());
        let named = (0..registrars)
            .map(|r| {
                let own = folder.path().join(format!("r{r}"));
                std::fs::create_dir(&own).unwrap();
                let rsa = BlindSigner::generate(MODULUS_BITS).unwrap();
                rsa.create_file(&RegistrarFiles::in_folder(&own).rsa_key)
                    .unwrap();
                protocol::manifest::Registrar {
                    name: format!("Registrar {r}"),
                    rsa: rsa.public().spki().to_vec(),
                    shards: (0..SHARDS)
                        .map(|j| pair(2, u8::try_from(r).unwrap() * SHARDS + j))
                        .collect(),
                }
            })
            .collect();
        let manifest = Manifest {
            format: FORMAT.into(),
            title: "Test".into(),
            base: "votes.example".into(),
            demo: true,
            contests: vec![Contest {
                method: Method::Plurality,
                name: "Mayor".into(),
                options: vec!["Ada".into(), "Grace".into()],
                tie_rule: TieRule::ListedOrder,
            }],
            times: Times {
                registration: REGISTRATION,
                opening: REGISTRATION,
                closing: CLOSING,
                grace: GRACE,
            },
            retention: CLOSING + GRACE,
            cells: vec![pair(1, 0)],
            registrars: named,
            heads: pair(3, 0),
            authority: pair(4, 0),
            roll: Roll {
                size: roll.size(),
                root: roll.root().0,
            },
            batch_min: 1,
            batch_wait_ms: 1000,
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
        let election = Election::new(&manifest).unwrap();
        let place = Self {
            election,
            roll,
            folder,
        };
        for r in 0..registrars {
            create(&place.files(r), &place.election, r, &place.roll)
                .await
                .unwrap();
        }
        place
    }

    /// Identity to code, from the sheet that is handed out.
    pub fn codes(&self, registrar: u16) -> BTreeMap<String, String> {
        csv::Reader::from_path(self.files(registrar).code_sheet)
            .unwrap()
            .records()
            .map(|line| {
                let line = line.unwrap();
                (line[0].to_owned(), line[1].to_owned())
            })
            .collect()
    }

    pub fn roll_index(&self, identity: &str) -> u64 {
        self.roll
            .entries()
            .iter()
            .position(|entry| entry.identity == identity)
            .unwrap() as u64
    }

    pub fn blinded(&self, registrar: u16, device: u8) -> Blinded {
        let secret = DeviceSecret::from_bytes([device; 32]);
        let key = &self.election.registrar_keys()[usize::from(registrar)];
        blind(&secret, &self.election.id(), registrar, key).unwrap()
    }

    /// A shard's entries as published, after the grammar has been checked.
    pub fn audit(&self, registrar: u16, shard: u32) -> Vec<Entry> {
        let log = LogId::Issuance { registrar, shard };
        let folder = self
            .folder
            .path()
            .join("public/elections")
            .join(self.election.id().to_string())
            .join(log.prefix());
        let name = ledger::heads::name_of(&self.election, log);
        let mut state = protocol::grammar::IssuanceLog::new(&self.election, registrar, shard);
        let mut range = CompactRange::new();
        let mut entries = Vec::new();
        for n in 0.. {
            let Ok(file) = std::fs::read(folder.join(format!("batches/{n}"))) else {
                break;
            };
            let batch = Batch::from_file(&name, n, &mut range, &file.into()).unwrap();
            let bytes = batch.entries();
            let bytes: Vec<&[u8]> = bytes.iter().map(AsRef::as_ref).collect();
            entries.extend(state.batch(n, &bytes).unwrap().entries);
        }
        entries
    }

    pub fn issued(&self, registrar: u16) -> Vec<Issuance> {
        (0..u32::from(SHARDS))
            .flat_map(|shard| self.audit(registrar, shard))
            .filter_map(|entry| match entry {
                Entry::Issuance(issued) => Some(issued),
                _ => None,
            })
            .collect()
    }

    /// Checks everything in an answer that a client can check but the signature.
    pub fn check_answer(&self, registrar: u16, identity: &str, blinded: &Blinded, answer: &Value) {
        let roll = &answer["roll"];
        let index = roll["index"].as_u64().unwrap();
        assert_eq!(roll["identity"], identity);
        assert_eq!(index, self.roll_index(identity));
        let salt = hex::decode(roll["salt"].as_str().unwrap()).unwrap();
        let mut leaf = b"tallyroot/v1/roll\0".to_vec();
        leaf.extend_from_slice(&salt);
        leaf.extend_from_slice(identity.as_bytes());
        let proof: Vec<Hash> = roll["proof"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hash| Hash::from_base64(hash.as_str().unwrap()).unwrap())
            .collect();
        let manifest = self.election.manifest();
        verify_inclusion(
            &leaf_hash(&openssl::sha::sha256(&leaf)),
            index,
            manifest.roll.size,
            &proof,
            &Hash(manifest.roll.root),
        )
        .unwrap();

        let issuance = &answer["issuance"];
        let shard = self.election.shard_of(registrar, index).unwrap();
        assert_eq!(issuance["shard"], shard);
        let log = LogId::Issuance { registrar, shard };
        let proof = TlogProof::parse(issuance["proof"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(proof.index(), issuance["index"].as_u64().unwrap());
        let entry = Entry::decode(proof.extra().unwrap(), &self.election).unwrap();
        let expected = Issuance {
            roll_index: index,
            blinded_digest: openssl::sha::sha256(blinded.message()),
        };
        assert_eq!(entry, Entry::Issuance(expected));
        let key = *self.election.log_keys(log).unwrap().main.as_bytes();
        proof
            .verify(
                &leaf_hash(proof.extra().unwrap()),
                &self.election.origin(log),
                &[key],
            )
            .unwrap();
    }
}

/// A store whose appends wait until the test lets them through.
pub struct GatedStore {
    inner: Box<dyn Store>,
    gate: Arc<Semaphore>,
    arrived: Arc<Semaphore>,
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

pub struct Served {
    pub registrar: Registrar,
    pub clock: Arc<SetClock>,
    pub schedule: watch::Sender<Schedule>,
    pub client: reqwest::Client,
    pub url: String,
    pub address: String,
    pub gate: Arc<Semaphore>,
    pub arrived: Arc<Semaphore>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

pub struct Options {
    pub now: u64,
    pub gated: bool,
    pub limits: RegistrarLimits,
    pub database: Option<PathBuf>,
    /// Roll and logs are here, each in a schema, instead of in SQLite.
    pub postgres: Option<Location>,
    /// What was read of each shard's log before.
    pub warm: Vec<ShardWarm>,
    /// Where voters may sign in beside their codes.
    pub oidc: Option<Oidc>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            now: REGISTRATION,
            gated: false,
            limits: RegistrarLimits::default(),
            database: None,
            postgres: None,
            warm: Vec::new(),
            oidc: None,
        }
    }
}

fn key_file(folder: &Path, seed: [u8; 32]) -> KeyFile {
    let path = folder.join(format!("log-{}.key", seed[31]));
    KeyFile::load(&path).unwrap_or_else(|_| KeyFile::write(&path, &seed).unwrap())
}

impl Served {
    pub async fn start(place: &Place, r: u16, options: Options) -> Self {
        let election = &place.election;
        let files = place.files(r);
        let path = options.database.unwrap_or(files.database);
        let database = match &options.postgres {
            None => Database::open(&path, election, r).await,
            Some(location) => {
                Database::load_into_postgres(&path, location, election, r)
                    .await
                    .unwrap();
                Database::open_postgres(location, election, r).await
            }
        }
        .unwrap();
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let arrived = Arc::new(Semaphore::new(0));
        let mut shards = Vec::new();
        for j in 0..SHARDS {
            let log = LogId::Issuance {
                registrar: r,
                shard: u32::from(j),
            };
            let name = ledger::heads::name_of(election, log);
            let db = place.log_db(r, u32::from(j));
            let inner: Box<dyn Store> = match &options.postgres {
                None => Box::new(Sqlite::open(&db, &name, true).await.unwrap()),
                Some(location) => {
                    let location = location.with_schema(&format!("log_{j}")).unwrap();
                    let policy = Durability::SingleNode;
                    Box::new(Postgres::open(location, &name, policy, true).await.unwrap())
                }
            };
            let own = place.folder.path().join(format!("r{r}"));
            shards.push(ShardParts {
                store: Arc::new(GatedStore {
                    inner,
                    gate: Arc::clone(&gate),
                    arrived: Arc::clone(&arrived),
                }),
                publisher: Arc::new(
                    Directory::open(
                        &place.folder.path().join("public"),
                        &election.id(),
                        &format!("registrars-{r}-{j}"),
                    )
                    .unwrap(),
                ),
                signer: Arc::new(key_file(
                    &own,
                    seed(2, u8::try_from(r).unwrap() * SHARDS + j),
                )),
                floor: None,
                warm: options
                    .warm
                    .get(usize::from(j))
                    .cloned()
                    .unwrap_or_default(),
            });
        }
        let clock = Arc::new(SetClock(AtomicU64::new(options.now)));
        let (schedule, receiver) =
            watch::channel(Schedule::before_first_head(election, options.now));
        let registrar = Registrar::start(
            RegistrarConfig {
                limits: options.limits,
                oidc: options.oidc,
                ..RegistrarConfig::new(election, r)
            },
            database,
            shards,
            BlindSigner::from_file(&files.rsa_key).unwrap(),
            CodeKey::from_file(&files.code_key).unwrap(),
            receiver,
            Arc::clone(&clock) as Arc<dyn Clock>,
        )
        .unwrap();
        registrar.ready().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let router = registrar.router().fallback(listener::not_found);
        let server = tokio::spawn(listener::serve(
            listener,
            router,
            Limits::default(),
            async {
                let _ = stopped.await;
            },
        ));
        if options.gated {
            gate.forget_permits(Semaphore::MAX_PERMITS);
            arrived.forget_permits(arrived.available_permits());
        }
        Self {
            registrar,
            clock,
            schedule,
            client: reqwest::Client::new(),
            url: format!(
                "http://{address}/elections/{}/registrars/{r}/credentials",
                election.id()
            ),
            address,
            gate,
            arrived,
            stop,
            server,
        }
    }

    pub async fn ask(&self, code: &str, blinded: &[u8]) -> (u16, Value) {
        self.post(json!({"blinded": STANDARD.encode(blinded), "code": code}).to_string())
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

    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.server.await.unwrap();
        self.registrar.shutdown().await;
    }
}

pub fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or(""))
}

/// A code that is well formed and nobody's.
pub fn nobodys_code() -> String {
    Code::random().reveal().to_string()
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
