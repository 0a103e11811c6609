//! What the ledger's tests share: a simple log of "votes", and the check of a whole log.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod bucket;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ledger::batch::{Batch, End};
use ledger::clock::TokioClock;
use ledger::faulty::{Faults, MemoryPublisher, MemorySigner, MemoryStore, Signed};
use ledger::publisher::path::Kind;
use ledger::{
    Arranged, Config, Content, ContentError, Keyed, Keys, LogClient, LogName, Outcome, Parts,
    Place, Position, Publisher, ReadError, Reader, Replayed, Sequencer, Store, Submission,
    SubmitError,
};
use protocol::ids::{ElectionId, LogId};
use protocol::merkle::tile::{Edge, bundles, encode_bundle, tiles};
use protocol::merkle::{CompactRange, leaf_hash};
use protocol::tlog_proof::TlogProof;

pub(crate) const SEED: [u8; 32] = [7; 32];

pub(crate) fn log() -> LogName {
    let election = ElectionId([0xe1; 32]);
    LogName::new("votes.example", election, LogId::Cell(0))
}

pub(crate) fn keys() -> Keys {
    Keys::main(protocol::ed25519::SigningKey::from_seed(&SEED).public())
}

pub(crate) fn config() -> Config {
    let mut config = Config::new(log(), keys());
    config.batch.count_max = 1_000;
    config.retry = Duration::from_millis(20);
    config
}

pub(crate) fn parts(
    store: Arc<dyn Store>,
    publisher: Arc<dyn Publisher>,
    signed: &Signed,
    faults: &Faults,
) -> Parts {
    let signer = Arc::new(MemorySigner::new(SEED, signed.clone(), faults.clone()));
    Parts {
        store,
        publisher,
        signer: signer::checked(signer, keys().at(1)).unwrap(),
        clock: Arc::new(TokioClock::starting_at(1_000_000)),
        content: Arc::new(|| Box::new(Votes::default())),
    }
}

/// A log of `'v' ‖ key (32) ‖ choice (8) ‖ nonce (8)`, sorted by leaf hash, and `'t' ‖ n ‖ time ‖ votes` at the end of each batch; anything else without a key is `'h' ‖ …`.
#[derive(Default)]
pub(crate) struct Votes {
    votes: u64,
    time: u64,
    next: u64,
    closed: bool,
    keys: HashSet<[u8; 32]>,
}

/// A vote. Two of one key are the same if their choice is: the nonce stands for a signature made at random.
pub(crate) fn vote(key: u64, choice: u64, nonce: u64) -> Submission {
    let mut entry = vec![b'v'; 1];
    let mut full = [0; 32];
    full[..8].copy_from_slice(&key.to_be_bytes());
    entry.extend_from_slice(&full);
    entry.extend_from_slice(&choice.to_be_bytes());
    let same = leaf_hash(&entry).0;
    entry.extend_from_slice(&nonce.to_be_bytes());
    Submission {
        key: Some(full),
        same,
        entry,
    }
}

fn keyed(offset: usize, entry: &[u8]) -> Keyed {
    Keyed {
        offset: offset.try_into().unwrap(),
        key: entry[1..33].try_into().unwrap(),
        same: leaf_hash(&entry[..41]).0,
    }
}

fn numbers(kind: u8, numbers: &[u64]) -> Vec<u8> {
    let mut entry = vec![kind];
    numbers
        .iter()
        .for_each(|number| entry.extend_from_slice(&number.to_be_bytes()));
    entry
}

impl Content for Votes {
    fn genesis(&self) -> Vec<u8> {
        b"genesis".to_vec()
    }

    fn arrange(
        &mut self,
        at: Position,
        now_ms: u64,
        items: &[Submission],
    ) -> Result<Arranged, ContentError> {
        // Entries that end in "refuse" are refused.
        let taken = |item: &Submission| !item.entry.ends_with(b"refuse");
        let mut order: Vec<usize> = (0..items.len()).filter(|i| taken(&items[*i])).collect();
        if order.is_empty() {
            return Ok(Arranged {
                entries: Vec::new(),
                places: items
                    .iter()
                    .map(|_| Place::Refused("refuse".to_owned()))
                    .collect(),
            });
        }
        order.sort_by_key(|i| leaf_hash(&items[*i].entry));
        let mut places = vec![Place::Refused("refuse".to_owned()); items.len()];
        for (offset, item) in order.iter().enumerate() {
            places[*item] = Place::At(offset.try_into().unwrap());
        }
        let mut entries: Vec<Vec<u8>> = order.iter().map(|i| items[*i].entry.clone()).collect();
        let votes = entries.iter().filter(|entry| entry[0] == b'v').count() as u64;
        entries.push(numbers(
            b't',
            &[at.n, now_ms.max(self.time), self.votes + votes],
        ));
        Ok(Arranged { entries, places })
    }

    fn close(
        &mut self,
        _: Position,
        now_ms: u64,
        given: Option<&[u8]>,
    ) -> Result<Vec<u8>, ContentError> {
        match given {
            Some(b"refuse") => Err(ContentError::new("not like this")),
            Some(given) => Ok([b"c", given].concat()),
            None => Ok(numbers(b'c', &[now_ms.max(self.time), self.votes])),
        }
    }

    fn replay(&mut self, at: Position, entries: &[&[u8]]) -> Result<Replayed, ContentError> {
        let fault = |text: &str| Err(ContentError::new(format!("batch {}: {text}", at.n)));
        if at.n != self.next || self.closed {
            return fault("out of order, or after close");
        }
        self.next += 1;
        if at.n == 0 {
            return if entries == [b"genesis"] {
                Ok(Replayed::default())
            } else {
                fault("no genesis")
            };
        }
        if let [close] = entries
            && close[0] == b'c'
        {
            self.closed = true;
            return Ok(Replayed {
                keyed: Vec::new(),
                closed: true,
            });
        }
        let Some((tally, votes)) = entries.split_last() else {
            return fault("empty");
        };
        let mut found = Vec::new();
        for (offset, entry) in votes.iter().enumerate() {
            if entry[0] == b'v' {
                let entry = keyed(offset, entry);
                if !self.keys.insert(entry.key) {
                    return fault("a key twice");
                }
                found.push(entry);
            }
        }
        if !votes
            .windows(2)
            .all(|pair| leaf_hash(pair[0]) < leaf_hash(pair[1]))
        {
            return fault("not sorted");
        }
        self.votes += found.len() as u64;
        let time = u64::from_be_bytes(tally[9..17].try_into().unwrap());
        if time < self.time || **tally != numbers(b't', &[at.n, time, self.votes])[..] {
            return fault("wrong tally");
        }
        self.time = time;
        Ok(Replayed {
            keyed: found,
            closed: false,
        })
    }
}

/// Files that do not change any more.
pub(crate) struct Frozen(pub(crate) BTreeMap<String, Bytes>);

#[async_trait]
impl Reader for Frozen {
    async fn read(&self, path: &str, _: usize) -> Result<Option<Bytes>, ReadError> {
        Ok(self.0.get(path).cloned())
    }
}

/// What a check of a whole log found.
pub(crate) struct Checked {
    /// By key: index and `same` of its one vote.
    pub(crate) votes: HashMap<[u8; 32], (u64, [u8; 32])>,
    pub(crate) entries: Vec<Bytes>,
    pub(crate) ends: Vec<End>,
    pub(crate) closed: bool,
}

/// Checks everything that is published, as an auditor would, with its own tree: grammar, chain, roots, signatures, every tile and bundle byte for byte, and that nothing else is there.
pub(crate) async fn check_log(files: &BTreeMap<String, Bytes>) -> Checked {
    let client = LogClient::new(Arc::new(Frozen(files.clone())), log(), keys());
    let (newest, bytes) = client
        .newest()
        .await
        .unwrap()
        .expect("there is a checkpoint");
    assert_eq!(
        client
            .at(newest.size())
            .await
            .unwrap()
            .expect("checkpoints/<size>")
            .1,
        bytes
    );

    let mut content = Votes::default();
    let mut range = CompactRange::new();
    let (mut entries, mut ends, mut votes, mut closed) =
        (Vec::new(), Vec::new(), HashMap::new(), false);
    let mut n = 0;
    while let Some(batch) = client.batch(n, &mut range).await.unwrap() {
        let first_index = entries.len() as u64;
        let batch_entries = batch.entries();
        let slices: Vec<&[u8]> = batch_entries.iter().map(AsRef::as_ref).collect();
        let replayed = content
            .replay(Position { n, first_index }, &slices)
            .unwrap();
        for entry in replayed.keyed {
            let before = votes.insert(
                entry.key,
                (first_index + u64::from(entry.offset), entry.same),
            );
            assert!(before.is_none(), "a key twice");
        }
        closed = replayed.closed;
        entries.extend(batch_entries);
        ends.push(batch.new_end());
        n += 1;
    }
    assert!(
        ends.contains(&End {
            size: newest.size(),
            root: newest.root()
        }),
        "checkpoints fall on batch ends"
    );
    assert_eq!(
        ends.last().unwrap().size,
        newest.size(),
        "every batch is covered"
    );

    let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let edge = |size: u64| {
        let mut edge = Edge::new();
        leaves[..usize::try_from(size).unwrap()]
            .iter()
            .for_each(|leaf| edge.push(*leaf));
        edge
    };
    let mut all = edge(newest.size());
    assert_eq!(all.root(), newest.root());
    let made: HashMap<_, _> = all.take_new().into_iter().collect();
    for tile in tiles(newest.size()) {
        let path = log().path(&tile.path());
        assert_eq!(
            files.get(&path).map(AsRef::as_ref),
            Some(&made[&tile][..]),
            "{path}"
        );
    }
    for bundle in bundles(newest.size()) {
        let path = log().path(&bundle.path());
        let first = usize::try_from(bundle.first_leaf()).unwrap();
        let want = encode_bundle(
            entries[first..first + usize::from(bundle.width())]
                .iter()
                .map(AsRef::as_ref),
        )
        .unwrap();
        assert_eq!(
            files.get(&path).map(AsRef::as_ref),
            Some(&want[..]),
            "{path}"
        );
    }
    // Whatever else is there is of an earlier checkpoint, and right.
    for (path, bytes) in files {
        let kind = Kind::of(path).unwrap_or_else(|| panic!("{path} does not belong there"));
        let file = path.strip_prefix("cells/0/").unwrap();
        match kind {
            Kind::Checkpoint => {}
            Kind::Batch => assert!(
                file["batches/".len()..].parse::<u64>().unwrap() < n,
                "{path} has a gap before it"
            ),
            Kind::CheckpointAt => {
                let checkpoint = keys().verify(&log(), bytes).unwrap();
                assert!(
                    ends.contains(&End {
                        size: checkpoint.size(),
                        root: checkpoint.root()
                    }),
                    "{path} forked"
                );
            }
            Kind::Tile => {
                let tile = protocol::merkle::tile::TileId::parse_path(file).unwrap();
                let full = made.get(&tile.full()).or_else(|| {
                    made.iter()
                        .find(|(id, _)| id.level() == tile.level() && id.index() == tile.index())
                        .map(|(_, bytes)| bytes)
                });
                assert_eq!(
                    full.map(|full| &full[..tile.byte_len()]),
                    Some(bytes.as_ref()),
                    "{path}"
                );
            }
            Kind::Bundle => {
                let bundle = protocol::merkle::tile::BundleId::parse_path(file).unwrap();
                let first = usize::try_from(bundle.first_leaf()).unwrap();
                let want = encode_bundle(
                    entries[first..first + usize::from(bundle.width())]
                        .iter()
                        .map(AsRef::as_ref),
                )
                .unwrap();
                assert_eq!(bytes.as_ref(), &want[..], "{path}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    Checked {
        votes,
        entries,
        ends,
        closed,
    }
}

/// Every checkpoint that was ever signed is one of the log's batch ends: it never forked.
pub(crate) fn check_signed(signed: &Signed, checked: &Checked) {
    for end in signed.ends() {
        assert!(
            checked.ends.contains(&end),
            "{end:?} was signed, and is not of this log"
        );
    }
}

/// The store holds the published batches, byte for byte.
pub(crate) fn check_rows(rows: &[ledger::store::Row], files: &BTreeMap<String, Bytes>) {
    let mut range = CompactRange::new();
    for (n, row) in rows.iter().enumerate() {
        let batch = Batch::from_body(n as u64, &mut range, row.body.clone(), row.end).unwrap();
        assert_eq!(
            files[&log().path(&format!("batches/{n}"))],
            batch.file(&log())
        );
    }
    assert!(!files.contains_key(&log().path(&format!("batches/{}", rows.len()))));
}

/// Checks a receipt as a voter would.
pub(crate) fn check_receipt(receipt: &[u8], index: u64, entry: &[u8]) {
    let proof = TlogProof::parse(receipt).unwrap();
    assert_eq!(proof.extra(), Some(entry));
    assert_eq!(proof.index(), index);
    proof
        .verify(&leaf_hash(entry), log().origin(), &[keys().at(1)])
        .unwrap();
}

/// Every file below a folder, by its path in the published tree.
pub(crate) fn read_folder(folder: &std::path::Path) -> BTreeMap<String, Bytes> {
    fn walk(folder: &std::path::Path, prefix: &str, into: &mut BTreeMap<String, Bytes>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{path}/"), into);
            } else {
                into.insert(path, std::fs::read(entry.path()).unwrap().into());
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(folder, "", &mut files);
    files
}

/// A log over models, which outlives its sequencers.
pub(crate) struct Models {
    pub(crate) store: MemoryStore,
    pub(crate) publisher: MemoryPublisher,
    pub(crate) signed: Signed,
}

impl Models {
    pub(crate) fn new() -> Self {
        Self {
            store: MemoryStore::new(Faults::none()),
            publisher: MemoryPublisher::new(Faults::none()),
            signed: Signed::default(),
        }
    }

    pub(crate) fn parts(&self, faults: &Faults) -> Parts {
        let store = Arc::new(self.store.with_faults(faults.clone()));
        let publisher = Arc::new(self.publisher.with_faults(faults.clone()));
        parts(store, publisher, &self.signed, faults)
    }

    /// A sequencer over these models, failing as planned.
    pub(crate) fn spawn(&self, config: Config, faults: &Faults) -> Sequencer {
        Sequencer::spawn(config, self.parts(faults))
    }

    /// A sequencer that runs, with nothing failing.
    pub(crate) async fn running(&self, config: Config) -> Sequencer {
        let sequencer = self.spawn(config, &Faults::none());
        sequencer.handle().ready().await.unwrap();
        sequencer
    }

    /// Checks both copies, and everything that was ever signed.
    pub(crate) async fn check(&self) -> Checked {
        let files = self.publisher.files();
        let checked = check_log(&files).await;
        check_signed(&self.signed, &checked);
        check_rows(&self.store.rows(), &files);
        checked
    }
}

/// The index of a submission that became final, or lost against another.
pub(crate) fn index(outcome: &Result<Outcome, SubmitError>) -> u64 {
    match outcome {
        Ok(Outcome::Final { index, .. } | Outcome::Different { index }) => *index,
        Err(error) => panic!("{error}"),
    }
}
