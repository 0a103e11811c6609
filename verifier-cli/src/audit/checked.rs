//! What makes an audit resumable: a file that remembers which batches' signatures were checked and found right.
//!
//! Signatures are nearly all of the work, and whether they are right follows from a batch's entries alone. Those are fixed by the index of the first of them and the
//! root that the log has behind the last (the root alone says where a batch ends, not where it begins). So a resumed audit reads, hashes, counts and compares
//! everything again, and skips only the signatures of a batch of which both are written down. A batch with any wrong signature is never written down: it is found
//! again.
//!
//! The file is a header, then one record for each batch, appended as they are finished; a record that was cut off is dropped. Whoever can write the file can make
//! the audit skip signatures, so it belongs to the auditor alone, like the program.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::ids::ElectionId;
use protocol::merkle::Hash;
use sha2::{Digest as _, Sha256};

/// `label ‖ 0x00 ‖ election id`. Another version of the checks needs another label.
const LABEL: &[u8] = b"tallyroot-verify/checked/v2\0";
/// `cell u32 ‖ first index u64 ‖ root (32) ‖ the first 4 bytes of SHA-256 of these`.
const RECORD_LEN: usize = 4 + 8 + 32 + 4;
/// Most bytes that are read: records of 20 million batches.
const FILE_LEN_MAX: u64 = 1 << 30;

/// The batches whose signatures need no second check.
#[derive(Debug, Default)]
pub(super) struct Checked {
    known: HashSet<Key>,
    /// Batches that were asked for and known.
    hits: AtomicU64,
    /// Where to write down more; `None`: nothing is remembered.
    file: Option<Mutex<File>>,
    /// The first fault of writing; the audit goes on without.
    fault: Mutex<Option<String>>,
}

type Key = [u8; RECORD_LEN - 4];

fn key(cell: u32, first: u64, root: &Hash) -> Key {
    let mut key = [0; RECORD_LEN - 4];
    let (at_cell, rest) = key.split_at_mut(4);
    let (at_first, at_root) = rest.split_at_mut(8);
    at_cell.copy_from_slice(&cell.to_be_bytes());
    at_first.copy_from_slice(&first.to_be_bytes());
    at_root.copy_from_slice(root.as_bytes());
    key
}

fn checksum(key: &[u8]) -> [u8; 4] {
    let digest = Sha256::digest(key);
    let mut sum = [0; 4];
    for (to, from) in sum.iter_mut().zip(digest.iter()) {
        *to = *from;
    }
    sum
}

impl Checked {
    /// Opens or makes the file, for this election alone.
    ///
    /// # Errors
    /// It cannot be read or written, is no such file, or is another election's; in words.
    pub(super) fn open(path: &Path, election: &ElectionId) -> Result<Self, String> {
        let shown = path.display();
        let problem = |error: std::io::Error| format!("{shown}: {error}");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(problem)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(error) => {
                return Err(format!(
                    "{shown}: another audit has it open ({error}); wait for it, or name another file"
                ));
            }
        }
        let header = [LABEL, election.as_bytes()].concat();
        let mut bytes = Vec::new();
        (&mut file)
            .take(FILE_LEN_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(problem)?;
        if bytes.len() as u64 > FILE_LEN_MAX {
            return Err(format!("{shown}: it is too long to be such a file"));
        }
        if bytes.len() < header.len() && header.starts_with(&bytes) {
            // New, or cut off while it was made.
            file.set_len(0).map_err(problem)?;
            file.seek(SeekFrom::Start(0)).map_err(problem)?;
            file.write_all(&header).map_err(problem)?;
            file.sync_all().map_err(problem)?;
            return Ok(Self {
                known: HashSet::new(),
                hits: AtomicU64::new(0),
                file: Some(Mutex::new(file)),
                fault: Mutex::default(),
            });
        }
        let Some(records) = bytes.strip_prefix(header.as_slice()) else {
            return Err(format!(
                "{shown}: it is not the state of an audit of this election by this version: name a new file, and the audit begins anew"
            ));
        };
        let mut known = HashSet::new();
        let mut whole = header.len();
        for record in records.chunks_exact(RECORD_LEN) {
            let Some((key, sum)) = record.split_first_chunk::<{ RECORD_LEN - 4 }>() else {
                break;
            };
            if checksum(key) != *sum {
                break;
            }
            known.insert(*key);
            whole += RECORD_LEN;
        }
        file.set_len(whole as u64).map_err(problem)?;
        file.seek(SeekFrom::End(0)).map_err(problem)?;
        Ok(Self {
            known,
            hits: AtomicU64::new(0),
            file: Some(Mutex::new(file)),
            fault: Mutex::default(),
        })
    }

    /// Whether the signatures of the batch from this index to the end with this root were checked before.
    pub(super) fn knows(&self, cell: u32, first: u64, root: &Hash) -> bool {
        let known = self.known.contains(&key(cell, first, root));
        self.hits.fetch_add(u64::from(known), Ordering::Relaxed);
        known
    }

    /// How many batches this audit need not check again.
    pub(super) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Why nothing more could be written down, if that happened.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn remember(&self, key: &Key) {
        let Some(file) = &self.file else { return };
        let record = [key.as_slice(), &checksum(key)].concat();
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        // After a fault the file may end in half a record: what would follow it is lost anyway.
        if fault.is_some() {
            return;
        }
        let len = file.metadata().map(|metadata| metadata.len());
        if len.is_ok_and(|len| len + record.len() as u64 > FILE_LEN_MAX) {
            // Longer ones are not read again.
            *fault = Some(
                "it is full: further batches are checked again when the audit is resumed"
                    .to_owned(),
            );
            return;
        }
        // One write: another process's kill leaves a prefix of it at most.
        if let Err(error) = file.write_all(&record)
            && error.kind() != ErrorKind::Interrupted
        {
            *fault = Some(error.to_string());
        }
    }
}

/// One batch whose signatures are being checked, in several jobs. When the last of them ends and none found anything, it is written down.
#[derive(Clone)]
pub(super) struct Pending<'c>(Arc<Batch<'c>>);

struct Batch<'c> {
    checked: &'c Checked,
    key: Key,
    /// Jobs that have not ended, and one more for whoever hands them in.
    open: AtomicUsize,
    spoiled: AtomicBool,
}

impl<'c> Pending<'c> {
    pub(super) fn new(checked: &'c Checked, cell: u32, first: u64, root: &Hash) -> Self {
        Self(Arc::new(Batch {
            checked,
            key: key(cell, first, root),
            open: AtomicUsize::new(1),
            spoiled: AtomicBool::new(false),
        }))
    }

    /// One job more.
    pub(super) fn job(&self) -> Job<'c> {
        self.0.open.fetch_add(1, Ordering::AcqRel);
        Job {
            pending: self.clone(),
            is_right: false,
        }
    }

    /// No more jobs come.
    pub(super) fn handed_in(self) {
        self.end(true);
    }

    fn end(&self, is_right: bool) {
        if !is_right {
            self.0.spoiled.store(true, Ordering::Release);
        }
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1
            && !self.0.spoiled.load(Ordering::Acquire)
        {
            self.0.checked.remember(&self.0.key);
        }
    }
}

/// A job that has not ended. One that is dropped without [`Job::right`] (it panicked, or found something) spoils its batch.
pub(super) struct Job<'c> {
    pending: Pending<'c>,
    is_right: bool,
}

impl Job<'_> {
    /// Every signature was right.
    pub(super) fn right(mut self) {
        self.is_right = true;
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        self.pending.end(self.is_right);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Hash = Hash([3; 32]);

    fn reopened(path: &Path) -> Checked {
        loop {
            match Checked::open(path, &ElectionId([1; 32])) {
                Ok(checked) => return checked,
                // A child that another test has just forked holds the lock until it is another program.
                Err(error) if error.to_string().contains("another audit has it open") => {
                    std::thread::yield_now();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn check(checked: &Checked, n: u64, results: &[bool]) {
        let pending = Pending::new(checked, 0, n, &ROOT);
        let jobs: Vec<_> = results
            .iter()
            .map(|right| (pending.job(), *right))
            .collect();
        pending.handed_in();
        for (job, right) in jobs {
            if right {
                job.right();
            }
        }
    }

    #[test]
    fn a_batch_is_remembered_once_all_of_it_was_right() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let checked = reopened(&path);
        check(&checked, 1, &[true, true]);
        check(&checked, 2, &[true, false]);
        check(&checked, 3, &[]);
        assert_eq!(checked.fault(), None);
        drop(checked);
        let checked = reopened(&path);
        assert!(checked.knows(0, 1, &ROOT) && checked.knows(0, 3, &ROOT));
        assert!(!checked.knows(0, 2, &ROOT));
        // Another cell, another beginning, another end: another batch.
        assert!(!checked.knows(1, 1, &ROOT) && !checked.knows(0, 1, &Hash([4; 32])));
        assert!(!checked.knows(0, 4, &ROOT));
    }

    #[test]
    fn a_file_that_was_cut_anywhere_is_taken_up_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let checked = reopened(&path);
        for n in 0..3 {
            check(&checked, n, &[true]);
        }
        drop(checked);
        let whole = std::fs::read(&path).unwrap();
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let checked = reopened(&path);
            let records = len.saturating_sub(LABEL.len() + 32) / RECORD_LEN;
            assert_eq!(checked.known.len(), records, "{len}");
            check(&checked, 9, &[true]);
            drop(checked);
            assert_eq!(reopened(&path).known.len(), records + 1, "{len}");
        }
    }

    #[test]
    fn a_changed_record_and_what_follows_it_count_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let checked = reopened(&path);
        for n in 0..3 {
            check(&checked, n, &[true]);
        }
        drop(checked);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[LABEL.len() + 32 + RECORD_LEN + 5] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(reopened(&path).known.len(), 1);
    }

    #[test]
    fn what_is_another_elections_or_in_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let checked = reopened(&path);
        let error = Checked::open(&path, &ElectionId([1; 32])).unwrap_err();
        assert!(error.contains("another audit"), "{error}");
        drop(checked);
        let error = Checked::open(&path, &ElectionId([2; 32])).unwrap_err();
        assert!(error.contains("name a new file"), "{error}");
        let picture = folder.path().join("picture");
        std::fs::write(&picture, b"\x89PNG").unwrap();
        assert!(Checked::open(&picture, &ElectionId([1; 32])).is_err());
        assert_eq!(std::fs::read(&picture).unwrap(), b"\x89PNG");
        assert!(Checked::open(folder.path(), &ElectionId([1; 32])).is_err());
    }
}
