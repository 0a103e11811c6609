//! Findings gathered from many threads, bounded in number.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{Code, Finding, Place, Votes};

/// Findings that are listed one by one; further ones are only counted, by code.
pub const LISTED_MAX: usize = 1_000;
/// So many of each code are listed in any case: a flood of one kind buries no other.
const LISTED_OF_CODE: usize = 10;

/// All that was found so far.
#[derive(Debug)]
pub struct Findings {
    roll_size: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By code, in the order in which they were found.
    listed: BTreeMap<Code, Vec<Finding>>,
    count: usize,
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
        let finding = Finding {
            code,
            severity: code.severity(),
            place,
            evidence: evidence.into(),
            votes_at_most: match votes {
                Votes::AtMost(votes) => votes,
                Votes::WholeRoll => self.roll_size,
            },
        };
        // A file is read for several reasons; what is wrong with it is said once.
        let alike = inner.listed.entry(code).or_default();
        if alike.contains(&finding) {
            return;
        }
        let of_code = alike.len();
        *inner.by_code.entry(code.name()).or_default() += 1;
        inner.list(finding, of_code);
    }

    /// Takes them out: those listed, the weightiest first, and how many there were of each code in all.
    #[must_use]
    pub fn finish(&self) -> (Vec<Finding>, BTreeMap<&'static str, u64>) {
        let inner = std::mem::take(&mut *self.inner.lock().unwrap_or_else(PoisonError::into_inner));
        let mut listed: Vec<Finding> = inner.listed.into_values().flatten().collect();
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

    /// Adds to the evidence what this says of a finding.
    pub fn amend(&self, mut say: impl FnMut(&Finding) -> Option<String>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for finding in inner.listed.values_mut().flatten() {
            if let Some(more) = say(finding) {
                finding.evidence.push_str("; ");
                finding.evidence.push_str(&more);
            }
        }
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

impl Inner {
    fn list(&mut self, finding: Finding, of_code: usize) {
        if self.count >= LISTED_MAX {
            if of_code >= LISTED_OF_CODE {
                return;
            }
            let largest = self.listed.values_mut().max_by_key(|alike| alike.len());
            if largest.and_then(Vec::pop).is_some() {
                self.count -= 1;
            }
        }
        self.listed.entry(finding.code).or_default().push(finding);
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_buries_no_other() {
        let findings = Findings::new(7);
        for n in 0..3_000u64 {
            let place = Place::at("cells/0/batches/1", n);
            findings.add(Code::BatchOrder, place, Votes::AtMost(1), "out of order");
        }
        for n in 0..20 {
            let place = Place::at("cells/0/batches/2", n);
            findings.add(Code::VoteBallotSignature, place, Votes::AtMost(1), "forged");
            // Said once.
            let place = Place::at("cells/0/batches/2", n);
            findings.add(Code::VoteBallotSignature, place, Votes::AtMost(1), "forged");
        }
        findings.add(
            Code::Fork,
            Place::file("x"),
            Votes::WholeRoll,
            "two histories",
        );
        let (listed, counted) = findings.finish();
        assert_eq!(listed.len(), LISTED_MAX);
        let of = |code| listed.iter().filter(|finding| finding.code == code).count();
        assert_eq!(
            (of(Code::Fork), of(Code::VoteBallotSignature)),
            (1, LISTED_OF_CODE)
        );
        let fork = listed.iter().find(|finding| finding.code == Code::Fork);
        assert_eq!(fork.map(|fork| fork.votes_at_most), Some(7));
        assert_eq!((counted["batch-order"], counted["fork"]), (3_000, 1));
    }
}
