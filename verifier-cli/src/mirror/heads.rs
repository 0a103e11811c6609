//! What the copied heads log says, as far as copying needs it.

use std::collections::{BTreeMap, BTreeSet};

use protocol::entry::{Entry, Head, NoticeAction};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::results::Status;

use crate::audit::checkpoint::{Signed, Switches};
use crate::audit::heads_reader::HeadsToday;

#[derive(Default)]
pub(super) struct Heads {
    /// Sizes that heads, anchors, results or `checkpoint` name: their checkpoints must exist.
    named: BTreeMap<LogId, BTreeSet<u64>>,
    newest: Option<(u64, Vec<u8>, Head)>,
    pub(super) is_final: bool,
    cancelled: bool,
    pub(super) switches: Switches,
}

impl Heads {
    pub(super) fn name(&mut self, log: LogId, size: u64) {
        self.named.entry(log).or_default().insert(size);
    }

    /// What is named of this log so far.
    pub(super) fn named(&self, log: LogId) -> BTreeSet<u64> {
        self.named.get(&log).cloned().unwrap_or_default()
    }

    pub(super) fn take_named(&mut self) -> BTreeMap<LogId, BTreeSet<u64>> {
        std::mem::take(&mut self.named)
    }

    /// Takes an entry of the heads log. What was copied of it before has been served with all that it names, so only what is new is remembered.
    pub(super) fn take(&mut self, election: &Election, index: u64, bytes: &[u8], is_new: bool) {
        match Entry::decode(bytes, election) {
            Ok(Entry::Head(head)) => self.take_head(election, index, bytes, head, is_new),
            Ok(Entry::FinalHead(head)) => {
                self.is_final = true;
                self.take_head(election, index, bytes, head, is_new);
            }
            Ok(Entry::Notice(notice)) if notice.verify(election).is_ok() => {
                match notice.body.action {
                    NoticeAction::Cancel => self.cancelled = true,
                    NoticeAction::Switch { log, size, .. } => self.switches.0.push((log, size)),
                    NoticeAction::Extend { .. } | NoticeAction::Freeze { .. } => {}
                }
            }
            // What cannot be decoded, the audit names.
            _ => {}
        }
    }

    fn take_head(
        &mut self,
        election: &Election,
        index: u64,
        bytes: &[u8],
        head: Head,
        is_new: bool,
    ) {
        if is_new {
            for (log, said) in election.logs().iter().zip(&head.logs) {
                self.name(*log, said.size);
            }
        }
        self.newest = Some((index, bytes.to_vec(), head));
    }

    /// What results.json must say.
    pub(super) const fn due(&self) -> Status {
        match (self.cancelled, self.is_final) {
            (true, _) => Status::Cancelled,
            (false, true) => Status::Final,
            (false, false) => Status::Open,
        }
    }

    /// The same, as results are checked against it.
    pub(super) fn today(&self, newest: &Signed) -> HeadsToday {
        let (entry, head) = match self.newest.clone() {
            Some((index, bytes, head)) => (Some((index, bytes)), Some(head)),
            None => (None, None),
        };
        HeadsToday {
            newest: newest.clone(),
            head,
            head_entry: entry,
            is_final: self.is_final,
            cancelled: self.cancelled,
            switches: self.switches.clone(),
        }
    }
}
