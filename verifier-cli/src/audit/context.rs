//! What every step of an audit needs: the election, its files, and where to put what is found or could not be read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use protocol::manifest::Election;

use crate::finding::{Code, Findings, Place, Votes};
use crate::progress::Progress;
use crate::source::{Fetched, Listed, Source, SourceError};

/// After so many files that could not be read (each was tried several times), the source counts as gone.
const FAILURES_MAX: usize = 6;
/// Files that could not be read, listed one by one; further ones are only counted.
const UNREAD_LISTED_MAX: usize = 20;

/// Handed to every step, and to every job.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) election: &'a Election,
    pub(crate) source: &'a dyn Source,
    pub(crate) findings: &'a Findings,
    pub(crate) unread: &'a Unread,
    pub(crate) progress: &'a Progress,
}

/// What reading a file came to. What is not `File` was already written down.
pub(crate) enum Read {
    /// The bytes.
    File(Vec<u8>),
    /// Certainly not there.
    Missing,
    /// There, and not usable: a finding was added.
    Unusable,
    /// Could not be found out.
    Unknown,
}

impl<'a> Context<'a> {
    /// Reads a file that may be missing.
    pub(crate) fn read(&self, path: &str, max_len: usize) -> Read {
        match self.fetch(path, max_len) {
            Ok(Fetched::File(bytes)) => Read::File(bytes),
            Ok(Fetched::Missing) => Read::Missing,
            Ok(Fetched::TooLarge) => {
                self.add(
                    Code::FileTooLarge,
                    Place::file(path),
                    Votes::WholeRoll,
                    format!("it has more than the {max_len} bytes that such a file may have"),
                );
                Read::Unusable
            }
            Ok(Fetched::NotAFile) => {
                self.add(
                    Code::NotAFile,
                    Place::file(path),
                    Votes::WholeRoll,
                    "a symbolic link, a folder or a device has this name; it was not followed",
                );
                Read::Unusable
            }
            Err(_) => Read::Unknown,
        }
    }

    /// Reads a file that must be there.
    pub(crate) fn read_required(
        &self,
        path: &str,
        max_len: usize,
        votes: Votes,
        why: &str,
    ) -> Option<Vec<u8>> {
        match self.read(path, max_len) {
            Read::File(bytes) => Some(bytes),
            Read::Missing => {
                self.add(
                    Code::MissingFile,
                    Place::file(path),
                    votes,
                    format!("there is no such file; {why}"),
                );
                None
            }
            Read::Unusable | Read::Unknown => None,
        }
    }

    /// Reads without judging; failures are noted, and a source that keeps failing is not asked again.
    pub(crate) fn fetch(&self, path: &str, max_len: usize) -> Result<Fetched, SourceError> {
        if self.unread.gave_up() {
            let error = SourceError {
                path: path.to_owned(),
                problem: "not asked for, since the source failed too often".to_owned(),
            };
            self.unread.add(&error);
            return Err(error);
        }
        self.source
            .read(path, max_len)
            .inspect_err(|error| self.unread.add(error))
    }

    /// The names in a folder; `None` where the source cannot list, or could not now.
    pub(crate) fn list(&self, folder: &str) -> Option<Vec<Listed>> {
        self.source
            .list(folder)
            .inspect_err(|error| self.unread.add(error))
            .ok()
            .flatten()
    }

    pub(crate) fn add(&self, code: Code, place: Place, votes: Votes, evidence: impl Into<String>) {
        self.findings.add(code, place, votes, evidence);
    }
}

/// What could not be read or was not looked at: no findings, and no verdict `verified` either.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    failures: AtomicUsize,
    listed: Mutex<Vec<String>>,
}

impl Unread {
    pub(crate) fn add(&self, error: &SourceError) {
        self.note(error.to_string());
    }

    /// Something that the verdict does not rest on.
    pub(crate) fn note(&self, what: String) {
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        if before < UNREAD_LISTED_MAX {
            self.listed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(what);
        }
    }

    /// Whether everything was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.failures.load(Ordering::Relaxed) == 0
    }

    fn gave_up(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= FAILURES_MAX
    }

    /// What is to be printed as not covered; empty where everything was read.
    pub(crate) fn finish(&self) -> Vec<String> {
        let count = self.failures.load(Ordering::Relaxed);
        let mut listed =
            std::mem::take(&mut *self.listed.lock().unwrap_or_else(PoisonError::into_inner));
        listed.sort();
        if count > listed.len() {
            listed.push(format!("and {} more files", count - listed.len()));
        }
        listed
    }
}
