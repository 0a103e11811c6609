//! The heads log as a single voter's check needs it: its newest head and the notices, read from the entry bundles and authenticated as a whole.

use protocol::entry::{Entry, Head, NoticeAction};
use protocol::ids::LogId;

use super::checkpoint::{Signed, Switches, read_newest};
use super::context::{Context, Read};
use crate::finding::{Code, Place, Votes};
use crate::prove;

/// What the heads log says today.
pub(crate) struct HeadsToday {
    pub(crate) newest: Signed,
    /// The newest head.
    pub(crate) head: Option<Head>,
    /// Its index and its bytes.
    pub(crate) head_entry: Option<(u64, Vec<u8>)>,
    /// It is the final head.
    pub(crate) is_final: bool,
    pub(crate) cancelled: bool,
    pub(crate) switches: Switches,
}

/// Reads the heads log. `None`: it is missing, wrong or could not be read; which of these, a finding or the list of unread files says.
pub(crate) fn read(context: &Context<'_>) -> Option<HeadsToday> {
    let Some(newest) = read_newest(context, LogId::Heads) else {
        if matches!(context.read("heads/checkpoint", 1 << 16), Read::Missing) {
            context
                .unread
                .note("heads/checkpoint is not there (yet)".to_owned());
        }
        return None;
    };
    if newest.size() > prove::ENTRIES_READ_MAX {
        context.unread.note(format!(
            "heads/checkpoint names {} entries, and at most {} are read to look something up: `audit` reads them all",
            newest.size(),
            prove::ENTRIES_READ_MAX
        ));
        return None;
    }
    let mut today = HeadsToday {
        newest,
        head: None,
        head_entry: None,
        is_final: false,
        cancelled: false,
        switches: Switches::default(),
    };
    let newest = today.newest.checkpoint.clone();
    let mut malformed = None;
    // Nothing of it is believed before all of it made the signed root.
    prove::entries(
        context,
        LogId::Heads,
        &newest,
        |index, bytes| match Entry::decode(bytes, context.election) {
            Ok(entry) => {
                if matches!(entry, Entry::Head(_) | Entry::FinalHead(_)) {
                    today.head_entry = Some((index, bytes.to_vec()));
                }
                today.take(entry, context);
            }
            Err(error) => malformed = malformed.take().or(Some((index, error.to_string()))),
        },
    )?;
    if let Some((index, error)) = malformed {
        context.add(
            Code::EntryMalformed,
            Place::at("heads/tile/entries", index),
            Votes::AtMost(0),
            format!("{error}; so this source cannot show whether a head covers the vote"),
        );
        return None;
    }
    if let Some((code, evidence)) = today.switches.judge(LogId::Heads, &today.newest) {
        context.add(
            code,
            Place::file("heads/checkpoint"),
            Votes::WholeRoll,
            evidence,
        );
        return None;
    }
    Some(today)
}

impl HeadsToday {
    fn take(&mut self, entry: Entry, context: &Context<'_>) {
        match entry {
            Entry::Head(head) => self.head = Some(head),
            Entry::FinalHead(head) => {
                self.head = Some(head);
                self.is_final = true;
            }
            // A notice that the authority did not sign has no effect; the audit names it.
            Entry::Notice(notice) if notice.verify(context.election).is_ok() => {
                match notice.body.action {
                    NoticeAction::Cancel => self.cancelled = true,
                    NoticeAction::Switch { log, size, .. } => self.switches.0.push((log, size)),
                    NoticeAction::Extend { .. } | NoticeAction::Freeze { .. } => {}
                }
            }
            _ => {}
        }
    }
}
