//! What the heads log holds: heads, notices and the final head, each checked before it is appended.

use ledger::content::{
    Arranged, Content, ContentError, Keyed, Place, Position, Replayed, Submission,
};
use protocol::entry::{Entry, Genesis, NoticeAction};
use protocol::grammar::HeadsLog;
use protocol::ids::LogId;
use protocol::manifest::Election;
use sha2::{Digest as _, Sha256};

/// The heads log's entries, for the ledger's sequencer.
///
/// A submission is an entry's bytes, a head or a notice; [`submission`] makes one. The final head is appended by closing the log with it.
pub struct HeadsContent {
    election: Election,
    log: HeadsLog,
    signs_with: HeadsKey,
}

/// Which of the heads log's keys this process signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadsKey {
    /// The main key: the switch notice of the heads log itself is refused, for the checkpoint over it would have the wrong signature.
    Main,
    /// The spare: until there is that notice, it is the only thing that may come.
    Spare,
}

/// A notice, to be appended once: submitting the same again gives the same index.
pub(crate) fn notice(entry: Vec<u8>) -> Submission {
    let key = Sha256::digest(&entry).into();
    Submission {
        key: Some(key),
        same: key,
        entry,
    }
}

/// A head. Nothing about it is unique, since the same may be true twice; appended twice by a retry, it says the same twice.
pub(crate) fn head(entry: Vec<u8>) -> Submission {
    Submission {
        key: None,
        same: [0; 32],
        entry,
    }
}

impl HeadsContent {
    /// The content of the empty log.
    #[must_use]
    pub fn new(election: &Election, signs_with: HeadsKey) -> Self {
        Self {
            election: election.clone(),
            log: HeadsLog::new(election),
            signs_with,
        }
    }

    /// SPEC: "For a switch of the heads log itself, the spare signs the checkpoint that first includes the notice and all after it".
    fn check_key(&self, before: &[Vec<u8>], entry: &Entry) -> Result<(), String> {
        let switches_heads = matches!(entry, Entry::Notice(notice)
            if matches!(notice.body.action, NoticeAction::Switch { log: LogId::Heads, .. }));
        let switched = self.log.schedule().switch(LogId::Heads).is_some();
        match (self.signs_with, switched, switches_heads) {
            (HeadsKey::Main, _, true) => Err("this process signs with the main key: start it again with the spare, then submit this notice".to_owned()),
            (HeadsKey::Spare, false, true) if !before.is_empty() => Err("it must come first: submit it again".to_owned()),
            (HeadsKey::Spare, false, false) => Err("this process signs with the spare key, and the switch notice that allows it is not here yet: it must come first".to_owned()),
            _ => Ok(()),
        }
    }

    /// The log's grammar goes by the last head's time, and heads may pause while the logs close by their own clocks: an extension after closing would make them
    /// look closed early.
    fn check_in_time(&self, now_ms: u64, entry: &Entry) -> Result<(), String> {
        let closing = self.log.schedule().closing();
        match entry {
            Entry::Notice(notice)
                if matches!(notice.body.action, NoticeAction::Extend { .. })
                    && now_ms > closing =>
            {
                Err(format!(
                    "it extends after the closing time {closing}, and by this machine's clock it is {now_ms}: logs may have closed, so nothing can be extended any more"
                ))
            }
            _ => Ok(()),
        }
    }

    /// Whether `last` may follow the log and the entries of `before`, which may.
    fn check(&self, n: u64, before: &[Vec<u8>], last: &[u8]) -> Result<Entry, String> {
        let entry = Entry::decode(last, &self.election).map_err(|error| error.to_string())?;
        self.check_key(before, &entry)?;
        if let Entry::Notice(notice) = &entry {
            // SPEC: "Notices carry valid signatures of the authority."
            notice
                .verify(&self.election)
                .map_err(|error| error.to_string())?;
        }
        let mut batch: Vec<&[u8]> = before.iter().map(Vec::as_slice).collect();
        batch.push(last);
        let summary = self
            .log
            .clone()
            .batch(n, &batch)
            .map_err(|error| error.to_string())?;
        // A remark is a rule that others broke and the log would truthfully report. A notice that breaks one is not taken in the first
        // place; what a head reports is the caller's to weigh.
        let index = summary.new_size().saturating_sub(1);
        let remark = summary.remarks.iter().find(|remark| remark.index == index);
        match (&entry, remark) {
            (Entry::Notice(_), Some(remark)) => Err(remark.to_string()),
            _ => Ok(entry),
        }
    }
}

impl Content for HeadsContent {
    fn genesis(&self) -> Vec<u8> {
        Genesis::of(&self.election, LogId::Heads).encode()
    }

    fn arrange(
        &mut self,
        at: Position,
        now_ms: u64,
        items: &[Submission],
    ) -> Result<Arranged, ContentError> {
        let mut arranged = Arranged::default();
        for item in items {
            let checked = self
                .check(at.n, &arranged.entries, &item.entry)
                .and_then(|entry| self.check_in_time(now_ms, &entry).map(|()| entry));
            let place = match checked {
                Ok(Entry::Head(_) | Entry::Notice(_)) => {
                    arranged.entries.push(item.entry.clone());
                    let last = arranged.entries.len().saturating_sub(1);
                    Place::At(
                        u32::try_from(last)
                            .map_err(|error| ContentError::new(error.to_string()))?,
                    )
                }
                Ok(other) => Place::Refused(format!(
                    "a {} is not appended like this: heads and notices are",
                    other.name()
                )),
                Err(reason) => Place::Refused(reason),
            };
            arranged.places.push(place);
        }
        Ok(arranged)
    }

    fn close(
        &mut self,
        at: Position,
        _now_ms: u64,
        given: Option<&[u8]>,
    ) -> Result<Vec<u8>, ContentError> {
        let Some(given) = given else {
            return Err(ContentError::new(
                "the heads log ends with the final head, which whoever closes it must give",
            ));
        };
        match self.check(at.n, &[], given).map_err(ContentError::new)? {
            Entry::FinalHead(_) => Ok(given.to_vec()),
            other => Err(ContentError::new(format!(
                "the heads log ends with a final head, not with a {}",
                other.name()
            ))),
        }
    }

    fn replay(&mut self, at: Position, entries: &[&[u8]]) -> Result<Replayed, ContentError> {
        let summary = self
            .log
            .batch(at.n, entries)
            .map_err(|error| ContentError::new(error.to_string()))?;
        for (index, notice) in summary.notices() {
            notice
                .verify(&self.election)
                .map_err(|error| ContentError::new(format!("entry {index}: {error}")))?;
        }
        let mut keyed = Vec::new();
        for ((offset, bytes), entry) in (0u32..).zip(entries).zip(&summary.entries) {
            if let Entry::Notice(_) = entry {
                let key = Sha256::digest(bytes).into();
                keyed.push(Keyed {
                    offset,
                    key,
                    same: key,
                });
            }
        }
        Ok(Replayed {
            keyed,
            closed: self.log.final_head().is_some(),
        })
    }
}
