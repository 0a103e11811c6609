//! What an election publishes, and what its voters' devices remember, read straight from the files.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without"
)]

use std::fs;
use std::path::{Path, PathBuf};

use protocol::batch::BatchFile;
use protocol::checkpoint::Checkpoint;
use protocol::entry::Entry;
use protocol::ids::{ElectionId, LogId};
use protocol::manifest::Election;
use protocol::merkle::tile::tiles;
use protocol::merkle::{CompactRange, Hash};

/// Bytes of a record of `voters/recorded`, checksum included.
const RECORDED_LEN: usize = 4 + 4 + 8 + 32 + 8;

/// The published files of the election in a data folder.
#[derive(Clone, Debug)]
pub struct Published {
    /// The election's own folder: `public/elections/<id>`.
    pub folder: PathBuf,
    /// Behind the manifest.
    pub election: Election,
}

impl Published {
    /// Of `DIR`.
    ///
    /// # Panics
    /// There is none, or its manifest does not fit its id.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        let id = fs::read_to_string(data.join("election")).expect("the election id");
        let id: ElectionId = id.trim().parse().expect("an election id");
        let folder = data.join("public/elections").join(id.to_string());
        let manifest = fs::read(folder.join("manifest.json")).expect("a manifest");
        let election = Election::check_id(&manifest, &id).expect("the election's manifest");
        Self { folder, election }
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> String {
        self.election.id().to_string()
    }

    /// A log's newest checkpoint, its signature verified; `None` before the first.
    ///
    /// # Panics
    /// It does not verify.
    #[must_use]
    pub fn checkpoint(&self, log: LogId) -> Option<Checkpoint> {
        let bytes = fs::read(self.folder.join(log.prefix()).join("checkpoint")).ok()?;
        let keys = self.election.log_keys(log).expect("the log's keys");
        let (checkpoint, _) =
            Checkpoint::verify(&bytes, &self.election.origin(log), &[*keys.main.as_bytes()])
                .expect("a checkpoint of this log, under its main key");
        Some(checkpoint)
    }

    /// The leaf hashes of a log up to its newest checkpoint, from the tiles alone; they lead to the signed root.
    ///
    /// # Panics
    /// A tile is missing, or they do not.
    #[must_use]
    pub fn leaves(&self, log: LogId) -> Vec<Hash> {
        let Some(checkpoint) = self.checkpoint(log) else {
            return Vec::new();
        };
        let mut leaves = Vec::new();
        let mut range = CompactRange::new();
        for tile in tiles(checkpoint.size()).filter(|tile| tile.level() == 0) {
            let path = self.folder.join(log.prefix()).join(tile.path());
            // A partial tile is optional once the full one is there.
            let full = self.folder.join(log.prefix()).join(tile.full().path());
            let bytes = fs::read(&path)
                .or_else(|_| fs::read(full))
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            for hash in bytes[..tile.byte_len()].chunks_exact(32) {
                let leaf = Hash(hash.try_into().expect("32 bytes"));
                range.push(leaf);
                leaves.push(leaf);
            }
        }
        assert_eq!(
            (range.size(), range.root()),
            (checkpoint.size(), checkpoint.root()),
            "the tiles of {} under its checkpoint",
            log.prefix()
        );
        leaves
    }

    /// A log's batches, decoded.
    ///
    /// # Panics
    /// One is malformed.
    #[must_use]
    pub fn batches(&self, log: LogId) -> Vec<Vec<Entry>> {
        let mut batches = Vec::new();
        loop {
            let path = self
                .folder
                .join(log.prefix())
                .join(format!("batches/{}", batches.len()));
            let Ok(bytes) = fs::read(path) else {
                return batches;
            };
            let batch = BatchFile::decode(&bytes, &self.election).expect("a batch file");
            batches.push(
                batch
                    .entries
                    .iter()
                    .map(|entry| Entry::decode(entry, &self.election).expect("an entry"))
                    .collect(),
            );
        }
    }
}

/// What a voter's device was shown, and wrote down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The voter.
    pub voter: u32,
    /// The cell.
    pub cell: u32,
    /// The leaf's index.
    pub index: u64,
    /// Its hash.
    pub leaf: Hash,
}

/// The votes that the played voters' devices have recorded, in the order in which they did. A torn last record does not count.
///
/// # Panics
/// The file cannot be read.
#[must_use]
pub fn recorded(data: &Path) -> Vec<Recorded> {
    let bytes = match fs::read(data.join("voters/recorded")) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => panic!("voters/recorded: {error}"),
    };
    bytes
        .chunks_exact(RECORDED_LEN)
        .map(|record| Recorded {
            voter: u32::from_be_bytes(record[..4].try_into().expect("4 bytes")),
            cell: u32::from_be_bytes(record[4..8].try_into().expect("4 bytes")),
            index: u64::from_be_bytes(record[8..16].try_into().expect("8 bytes")),
            leaf: Hash(record[16..48].try_into().expect("32 bytes")),
        })
        .collect()
}

/// How many votes are recorded, at a glance.
#[must_use]
pub fn recorded_count(data: &Path) -> u64 {
    count(&data.join("voters/recorded"), RECORDED_LEN)
}

/// How many played voters have their credential (with registrars' keys of 2,048 bits), at a glance.
#[must_use]
pub fn credential_count(data: &Path, registrars: u16) -> u64 {
    count(
        &data.join("voters/credentials"),
        4 + 256 * usize::from(registrars) + 8,
    )
}

fn count(path: &Path, record_len: usize) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len() / record_len as u64)
}

/// The codes of one identity, one of each registrar, from the sheets.
///
/// # Panics
/// A sheet has no such line.
#[must_use]
pub fn codes(data: &Path, registrars: u16, identity: &str) -> Vec<String> {
    (0..registrars)
        .map(|registrar| {
            let path = data.join(format!("registrars/{registrar}/codes.csv"));
            let sheet = fs::read_to_string(path).expect("a sheet of codes");
            sheet
                .lines()
                .find_map(|line| line.strip_prefix(identity)?.strip_prefix(','))
                .unwrap_or_else(|| panic!("no code for {identity}"))
                .to_owned()
        })
        .collect()
}
