//! A watcher's memory: a folder of small files, each written whole or not at all.
//!
//! ```text
//! election                     whose memory it is
//! evidence/<log>/…             one checkpoint a file, as `audit --evidence` takes them; each proven to start the next
//! evidence/conflicting/…       checkpoints that contradict those
//! evidence/unproven/…          checkpoints of trees that no source has shown
//! split-views/…                the proofs of contradictions, for everybody
//! events.jsonl                 all that was said
//! state.json                   how far the cells were recounted
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use protocol::evidence::HeldCheckpoint;
use protocol::ids::{ElectionId, LogId};
use protocol::manifest::Election;
use sha2::{Digest as _, Sha256};

use super::alarm::Event;
use super::cells::Cells;
use crate::kept;

/// Checkpoints that are kept over all logs: less than `audit --evidence` takes of a folder.
const KEPT_MAX: usize = 80_000;
/// and of one log.
const KEPT_OF_LOG_MAX: usize = 4_096;
/// Contradicting and unproven checkpoints, and split views: a few convict as well as many.
const CONFLICTS_MAX: usize = 1_000;
/// Bytes of `events.jsonl`; what is said beyond is not written.
const EVENTS_LEN_MAX: u64 = 64 << 20;
/// Bytes of `state.json` that are read.
const STATE_LEN_MAX: usize = 32 << 20;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct KeepError {
    /// The file or folder.
    pub path: String,
    /// What happened, and what to do.
    pub problem: String,
}

impl KeepError {
    fn new(path: &Path, problem: impl std::fmt::Display) -> Self {
        Self {
            path: path.display().to_string(),
            problem: problem.to_string(),
        }
    }
}

/// The folder.
pub(super) struct Keep {
    root: PathBuf,
    /// Held as long as the watcher lives; a killed one lets go of it.
    _lock: File,
    logs: BTreeMap<LogId, Chain>,
    conflicts: usize,
    per_log: usize,
    events: File,
}

/// What is kept of one log: checkpoints of one history.
#[derive(Default)]
struct Chain {
    /// Path of each, by size.
    files: BTreeMap<u64, (PathBuf, HeldCheckpoint)>,
}

/// Where a checkpoint belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Consistent,
    Conflicting,
    Unproven,
}

impl Keep {
    pub(super) fn open(root: &Path, id: &ElectionId) -> Result<Self, KeepError> {
        for folder in ["evidence", "split-views", "unfinished"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(|error| KeepError::new(&path, error))?;
        }
        let path = root.join("lock");
        let lock = File::create(&path).map_err(|error| KeepError::new(&path, error))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => KeepError::new(
                root,
                "another watcher uses this folder: give each a folder of its own",
            ),
            TryLockError::Error(error) => KeepError::new(&path, error),
        })?;
        let path = root.join("election");
        match fs::read_to_string(&path) {
            Ok(known) if known.trim() == id.to_string() => {}
            Ok(known) => {
                return Err(KeepError::new(
                    root,
                    format!(
                        "it is the memory of a watch over election {:?}: name another folder",
                        known.trim()
                    ),
                ));
            }
            Err(_) => write_whole(root, &path, format!("{id}\n").as_bytes())?,
        }
        let path = root.join("events.jsonl");
        let events = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|error| KeepError::new(&path, error))?;
        Ok(Self {
            root: root.to_owned(),
            _lock: lock,
            logs: BTreeMap::new(),
            conflicts: 0,
            per_log: KEPT_OF_LOG_MAX,
            events,
        })
    }

    /// Takes up what was kept before. Files that are none of ours, or damaged, are left alone: they convict nobody.
    pub(super) fn load(&mut self, election: &Election, cells: &mut Cells) {
        self.per_log = (KEPT_MAX / (election.logs().len() + 1)).clamp(16, KEPT_OF_LOG_MAX);
        for log in election.logs().iter().copied().chain([LogId::Heads]) {
            let folder = self.root.join("evidence").join(name(log));
            for path in kept::files(&folder).unwrap_or_default() {
                let held = kept::bytes(&path)
                    .ok()
                    .and_then(|note| HeldCheckpoint::read(&note, election).ok());
                if let Some(held) = held.filter(|held| held.log == log) {
                    let chain = self.logs.entry(log).or_default();
                    chain.files.insert(held.checkpoint.size(), (path, held));
                }
            }
        }
        self.conflicts = ["evidence/conflicting", "evidence/unproven"]
            .iter()
            .filter_map(|folder| fs::read_dir(self.root.join(folder)).ok())
            .map(Iterator::count)
            .sum();
        let state = fs::read(self.root.join("state.json")).unwrap_or_default();
        if state.len() <= STATE_LEN_MAX {
            cells.load(&state, election);
        }
    }

    /// The newest checkpoint of a log's one history.
    pub(super) fn newest(&self, log: LogId) -> Option<&HeldCheckpoint> {
        let (_, (_, held)) = self.logs.get(&log)?.files.last_key_value()?;
        Some(held)
    }

    /// The newest one up to this size.
    pub(super) fn at_most(&self, log: LogId, size: u64) -> Option<&HeldCheckpoint> {
        let chain = self.logs.get(&log)?;
        let (_, (_, held)) = chain.files.range(..=size).next_back()?;
        Some(held)
    }

    /// Whether this checkpoint is known as one of that history.
    pub(super) fn knows(&self, held: &HeldCheckpoint) -> bool {
        self.logs
            .get(&held.log)
            .and_then(|chain| chain.files.get(&held.checkpoint.size()))
            .is_some_and(|(_, known)| known.checkpoint.root() == held.checkpoint.root())
    }

    pub(super) fn count(&self) -> u64 {
        let consistent: usize = self.logs.values().map(|chain| chain.files.len()).sum();
        (consistent + self.conflicts) as u64
    }

    /// Keeps a checkpoint, for good or until it is thinned out: a later one of the same history commits to it.
    pub(super) fn keep(
        &mut self,
        held: &HeldCheckpoint,
        standing: Standing,
    ) -> Result<(), KeepError> {
        let folder = match standing {
            Standing::Consistent => name(held.log),
            Standing::Conflicting => "conflicting".to_owned(),
            Standing::Unproven => "unproven".to_owned(),
        };
        let folder = self.root.join("evidence").join(folder);
        let digest = hex::encode(Sha256::digest(&held.note));
        let file = format!(
            "{}-{:020}-{}.checkpoint",
            name(held.log),
            held.checkpoint.size(),
            digest.get(..16).unwrap_or_default()
        );
        let path = folder.join(file);
        // One of the history that is here already and was not taken up is damaged: it is written anew.
        if standing != Standing::Consistent && path.exists() {
            return Ok(());
        }
        if standing != Standing::Consistent {
            if self.conflicts >= CONFLICTS_MAX {
                return Ok(());
            }
            self.conflicts += 1;
        }
        fs::create_dir_all(&folder).map_err(|error| KeepError::new(&folder, error))?;
        write_whole(&self.root, &path, &held.note)?;
        if standing == Standing::Consistent {
            let chain = self.logs.entry(held.log).or_default();
            chain
                .files
                .insert(held.checkpoint.size(), (path, held.clone()));
            if chain.files.len() > self.per_log {
                chain.thin_out();
            }
        }
        Ok(())
    }

    /// Writes a proof that the log's keys signed two histories. Returns its path.
    pub(super) fn keep_split(&self, log: LogId, split: &[u8]) -> Result<PathBuf, KeepError> {
        let folder = self.root.join("split-views");
        let digest = hex::encode(Sha256::digest(split));
        let path = folder.join(format!(
            "{}-{}.json",
            name(log),
            digest.get(..16).unwrap_or_default()
        ));
        let full = fs::read_dir(&folder).is_ok_and(|files| files.count() >= CONFLICTS_MAX);
        if !path.exists() && !full {
            write_whole(&self.root, &path, split)?;
        }
        Ok(path)
    }

    /// Writes down what was said.
    pub(super) fn log(&mut self, events: &[Event]) -> Result<(), KeepError> {
        let path = self.root.join("events.jsonl");
        let problem = |error: String| KeepError::new(&path, error);
        for event in events {
            let mut line = serde_json::to_vec(event).map_err(|error| problem(error.to_string()))?;
            line.push(b'\n');
            let len = self
                .events
                .metadata()
                .map_err(|error| problem(error.to_string()))?
                .len();
            if len + line.len() as u64 <= EVENTS_LEN_MAX {
                self.events
                    .write_all(&line)
                    .map_err(|error| problem(error.to_string()))?;
            }
        }
        if !events.is_empty() {
            self.events
                .sync_all()
                .map_err(|error| problem(error.to_string()))?;
        }
        Ok(())
    }

    /// Writes how far the cells were recounted.
    pub(super) fn save(&self, cells: &Cells) -> Result<(), KeepError> {
        let path = self.root.join("state.json");
        match cells.changed() {
            None => Ok(()),
            Some(state) => {
                let bytes =
                    serde_json::to_vec(&state).map_err(|error| KeepError::new(&path, error))?;
                write_whole(&self.root, &path, &bytes)
            }
        }
    }
}

impl Chain {
    /// Leaves out every second one of the older half. The first and the newest stay.
    fn thin_out(&mut self) {
        let half = self.files.len() / 2;
        let old: Vec<u64> = self
            .files
            .keys()
            .copied()
            .take(half)
            .skip(1)
            .step_by(2)
            .collect();
        for size in old {
            if let Some((path, _)) = self.files.remove(&size) {
                // One that stays is no harm.
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// A log's name as a file's.
fn name(log: LogId) -> String {
    log.prefix().replace('/', "-")
}

/// A file is there with all of its bytes, or not at all, whenever the machine stops.
fn write_whole(root: &Path, path: &Path, bytes: &[u8]) -> Result<(), KeepError> {
    let unfinished = root.join("unfinished").join("file");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|error| {
        KeepError::new(
            path,
            format!("{error}: what a watcher sees must be kept; make room, or name another folder"),
        )
    })
}
