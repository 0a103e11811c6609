//! A watcher's memory: a folder of small files, each written whole or not at all.
//!
//! ```text
//! election                     whose memory it is
//! evidence/<log>/…             one checkpoint a file, as `audit --evidence` takes them; each proven to start the next
//! evidence/conflicting/…       checkpoints that contradict those
//! evidence/unproven/…          checkpoints of trees that no source has shown
//! split-views/…                the proofs of contradictions, for everybody
//! events.jsonl                 all that was said
//! state.json                   what was raised, what each source showed, how far the cells were recounted
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use protocol::evidence::HeldCheckpoint;
use protocol::ids::{ElectionId, LogId};
use protocol::manifest::Election;
use sha2::{Digest as _, Sha256};

use super::alarm::Event;
use super::state::State;
use crate::folder::{Folder, HoldError};
use crate::kept;

/// Checkpoints that are kept over all logs: less than `audit --evidence` takes of a folder.
const KEPT_MAX: usize = 80_000;
/// and of one log.
const KEPT_OF_LOG_MAX: usize = 4_096;
/// Contradicting checkpoints, unproven ones, and split views, each: a few convict as well as many.
const CONFLICTS_MAX: usize = 1_000;
/// Bytes of `events.jsonl`; what is said beyond is not written.
const EVENTS_LEN_MAX: u64 = 64 << 20;
/// Bytes of `state.json`: the last tallies of 1,024 cells with 4,096 options are 45 MB of it.
const STATE_LEN_MAX: u64 = 256 << 20;

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
    folder: Folder,
    logs: BTreeMap<LogId, Chain>,
    conflicting: usize,
    unproven: usize,
    per_log: usize,
    events: File,
    /// What `state.json` holds.
    saved: Vec<u8>,
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
        let mut folder = Folder::hold(root).map_err(|error| match error {
            HoldError::Held => KeepError::new(
                root,
                "another watcher uses this folder: give each a folder of its own",
            ),
            HoldError::Io(error) => KeepError::new(root, error),
        })?;
        for name in ["evidence", "split-views"] {
            let path = root.join(name);
            fs::create_dir_all(&path).map_err(|error| KeepError::new(&path, error))?;
        }
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
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // The state first: a folder that says whose memory it is has one ever after.
                let state = root.join("state.json");
                if !state.exists() {
                    let empty = serde_json::to_vec(&State::default())
                        .map_err(|error| KeepError::new(&state, error))?;
                    write(&mut folder, &state, &empty)?;
                }
                write(&mut folder, &path, format!("{id}\n").as_bytes())?;
            }
            // Whose memory it is cannot be told: it is not made ours.
            Err(error) => return Err(KeepError::new(&path, error)),
        }
        let path = root.join("events.jsonl");
        let events = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|error| KeepError::new(&path, error))?;
        Ok(Self {
            folder,
            logs: BTreeMap::new(),
            conflicting: 0,
            unproven: 0,
            per_log: KEPT_OF_LOG_MAX,
            events,
            saved: Vec::new(),
        })
    }

    /// Takes up what was kept before. Files that are none of ours, or damaged, are left alone: they convict nobody.
    pub(super) fn load(&mut self, election: &Election) {
        self.per_log = (KEPT_MAX / (election.logs().len() + 1)).clamp(16, KEPT_OF_LOG_MAX);
        for log in election.logs().iter().copied().chain([LogId::Heads]) {
            let folder = self.folder.root().join("evidence").join(name(log));
            for path in kept::files(&folder).unwrap_or_default().files {
                let held = kept::bytes(&path)
                    .ok()
                    .and_then(|note| HeldCheckpoint::read(&note, election).ok());
                if let Some(held) = held.filter(|held| held.log == log) {
                    let chain = self.logs.entry(log).or_default();
                    chain.files.insert(held.checkpoint.size(), (path, held));
                }
            }
        }
        let count =
            |folder| fs::read_dir(self.folder.root().join(folder)).map_or(0, Iterator::count);
        (self.conflicting, self.unproven) =
            (count("evidence/conflicting"), count("evidence/unproven"));
    }

    /// What was written last.
    ///
    /// # Errors
    /// It is gone or cannot be read: a watch that began anew would forget what it raised.
    pub(super) fn state(&mut self) -> Result<State, KeepError> {
        let path = self.folder.root().join("state.json");
        let problem = |why: String| {
            KeepError::new(
                &path,
                format!(
                    "{why}: it is what this watch remembers, and nothing was begun anew over it; restore it, or name another folder (what was raised is in events.jsonl, too)"
                ),
            )
        };
        let file = File::open(&path).map_err(|error| problem(error.to_string()))?;
        let mut bytes = Vec::new();
        file.take(STATE_LEN_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| problem(error.to_string()))?;
        if bytes.len() as u64 > STATE_LEN_MAX {
            return Err(problem(format!("it has more than {STATE_LEN_MAX} bytes")));
        }
        let state = serde_json::from_slice(&bytes).map_err(|error| problem(error.to_string()))?;
        self.saved = bytes;
        Ok(state)
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
        (consistent + self.conflicting + self.unproven) as u64
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
        let folder = self.folder.root().join("evidence").join(folder);
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
        let beside = match standing {
            Standing::Consistent => None,
            Standing::Conflicting => Some(&mut self.conflicting),
            Standing::Unproven => Some(&mut self.unproven),
        };
        if let Some(count) = beside {
            if *count >= CONFLICTS_MAX {
                return Ok(());
            }
            *count += 1;
        }
        write(&mut self.folder, &path, &held.note)?;
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

    /// Writes a proof that the log's keys signed two histories. Returns its path; `None` where there are too many already.
    pub(super) fn keep_split(
        &mut self,
        log: LogId,
        split: &[u8],
    ) -> Result<Option<PathBuf>, KeepError> {
        let folder = self.folder.root().join("split-views");
        let digest = hex::encode(Sha256::digest(split));
        let path = folder.join(format!(
            "{}-{}.json",
            name(log),
            digest.get(..16).unwrap_or_default()
        ));
        if !path.exists() {
            if fs::read_dir(&folder).is_ok_and(|files| files.count() >= CONFLICTS_MAX) {
                return Ok(None);
            }
            write(&mut self.folder, &path, split)?;
        }
        Ok(Some(path))
    }

    /// Writes down what was said.
    pub(super) fn log(&mut self, events: &[Event]) -> Result<(), KeepError> {
        let path = self.folder.root().join("events.jsonl");
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

    /// Writes the state, where it is not what was written last.
    pub(super) fn save(&mut self, state: &State) -> Result<(), KeepError> {
        let path = self.folder.root().join("state.json");
        let bytes = serde_json::to_vec(state).map_err(|error| KeepError::new(&path, error))?;
        if bytes.len() as u64 > STATE_LEN_MAX {
            let why = format!("it would have more than {STATE_LEN_MAX} bytes");
            return Err(KeepError::new(&path, why));
        }
        if bytes != self.saved {
            write(&mut self.folder, &path, &bytes)?;
            self.saved = bytes;
        }
        Ok(())
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

fn write(folder: &mut Folder, path: &Path, bytes: &[u8]) -> Result<(), KeepError> {
    folder.write(path, bytes).map_err(|error| {
        KeepError::new(
            path,
            format!("{error}: what a watcher sees must be kept; make room, or name another folder"),
        )
    })
}

#[cfg(test)]
mod tests {
    use protocol::checkpoint::Checkpoint;
    use protocol::merkle::Hash;

    use super::*;

    fn held(size: u64) -> HeldCheckpoint {
        let root = Hash::from([7; 32]);
        HeldCheckpoint {
            log: LogId::Cell(0),
            checkpoint: Checkpoint::new("example.org/cell", size, root).unwrap(),
            note: size.to_string().into_bytes(),
        }
    }

    fn keep(root: &Path) -> Keep {
        Keep::open(root, &ElectionId([7; 32])).unwrap()
    }

    fn sizes(keep: &Keep) -> Vec<u64> {
        let chain = keep.logs.get(&LogId::Cell(0)).unwrap();
        chain.files.keys().copied().collect()
    }

    #[test]
    fn every_second_of_the_older_half_makes_room() {
        let root = tempfile::tempdir().unwrap();
        let mut keep = keep(root.path());
        keep.per_log = 9;
        for size in 1..=9 {
            keep.keep(&held(size), Standing::Consistent).unwrap();
        }
        assert_eq!(sizes(&keep), (1..=9).collect::<Vec<_>>());
        keep.keep(&held(10), Standing::Consistent).unwrap();
        // The first and the newest stay.
        let left = [1, 3, 5, 6, 7, 8, 9, 10];
        assert_eq!(sizes(&keep), left);
        let files = kept::files(&root.path().join("evidence")).unwrap().files;
        assert_eq!(files.len(), left.len());
    }

    #[test]
    fn all_that_is_kept_is_counted() {
        let root = tempfile::tempdir().unwrap();
        let mut keep = keep(root.path());
        assert_eq!(keep.count(), 0);
        for (standing, how_many) in [
            (Standing::Consistent, 2),
            (Standing::Conflicting, 3),
            (Standing::Unproven, 5),
        ] {
            for size in 1..=how_many {
                keep.keep(&held(size), standing).unwrap();
            }
        }
        assert_eq!(keep.count(), 10);
    }
}
