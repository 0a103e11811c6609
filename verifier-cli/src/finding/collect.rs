//! Findings gathered from many threads, bounded in number.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{Code, Finding, Place, Votes};

/// Findings that are listed one by one; further ones are only counted, by code.
pub const LISTED_MAX: usize = 1_000;

/// All that was found so far.
#[derive(Debug)]
pub struct Findings {
    roll_size: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    listed: Vec<Finding>,
    by_code: BTreeMap<&'static str, u64>,
}

impl Findings {
    /// None yet. `roll_size` is what stands for [`Votes::WholeRoll`].
    #[must_use]
    pub fn new(roll_size: u64) -> Self {
        Self {
            roll_size,
            inner: Mutex::default(),
        }
    }

    /// Adds one.
    pub fn add(&self, code: Code, place: Place, votes: Votes, evidence: impl Into<String>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let evidence = evidence.into();
        // A file is read for several reasons; what is wrong with it is said once.
        let known = |finding: &Finding| {
            finding.code == code && finding.place == place && finding.evidence == evidence
        };
        let has_room = inner.listed.len() < LISTED_MAX;
        if has_room && inner.listed.iter().any(known) {
            return;
        }
        *inner.by_code.entry(code.name()).or_default() += 1;
        if has_room {
            inner.listed.push(Finding {
                code,
                severity: code.severity(),
                place,
                evidence,
                votes_at_most: match votes {
                    Votes::AtMost(votes) => votes,
                    Votes::WholeRoll => self.roll_size,
                },
            });
        }
    }

    /// Takes them out: those listed, the weightiest first, and how many there were of each code in all.
    #[must_use]
    pub fn finish(&self) -> (Vec<Finding>, BTreeMap<&'static str, u64>) {
        let inner = std::mem::take(&mut *self.inner.lock().unwrap_or_else(PoisonError::into_inner));
        let mut listed = inner.listed;
        // Threads add in no fixed order; two audits of one ledger should read the same.
        listed.sort_by(|a, b| {
            b.severity
                .cmp(&a.severity)
                .then_with(|| a.code.cmp(&b.code))
                .then_with(|| a.place.file.cmp(&b.place.file))
                .then_with(|| a.place.index.cmp(&b.place.index))
        });
        (listed, inner.by_code)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .by_code
            .is_empty()
    }
}
