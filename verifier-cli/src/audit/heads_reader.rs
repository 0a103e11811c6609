//! The heads log as a single voter's check needs it: its newest head and the notices, read from the entry bundles and authenticated as a whole.

use protocol::entry::{Entry, Head, NoticeAction};
use protocol::ids::LogId;
use protocol::merkle::tile::{BUNDLE_BYTES_MAX, BundleId, bundles, decode_bundle};
use protocol::merkle::{CompactRange, leaf_hash};

use super::checkpoint::{Signed, Switches, read_newest};
use super::context::{Context, Read};
use crate::finding::{Code, Place, Votes};

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
    let mut today = HeadsToday {
        newest,
        head: None,
        head_entry: None,
        is_final: false,
        cancelled: false,
        switches: Switches::default(),
    };
    let mut tree = CompactRange::new();
    for id in bundles(today.newest.size()) {
        let bytes = read_bundle(context, id)?;
        let full_or_partial = decode_bundle(&bytes, id.width()).or_else(|_| {
            // A full bundle where the partial one is gone: its first entries are the partial one's.
            decode_bundle(&bytes, id.full().width()).map(|mut entries| {
                entries.truncate(usize::from(id.width()));
                entries
            })
        });
        let entries = match full_or_partial {
            Ok(entries) => entries,
            Err(error) => {
                mismatch(context, &format!("heads/{}", id.path()), &error.to_string());
                return None;
            }
        };
        for bytes in entries {
            tree.push(leaf_hash(bytes));
            match Entry::decode(bytes, context.election) {
                Ok(entry) => {
                    if matches!(entry, Entry::Head(_) | Entry::FinalHead(_)) {
                        today.head_entry = Some((tree.size() - 1, bytes.to_vec()));
                    }
                    today.take(entry, context);
                }
                Err(error) => {
                    mismatch(context, &format!("heads/{}", id.path()), &error.to_string());
                    return None;
                }
            }
        }
    }
    // Only now is anything of it believed.
    if tree.root() != today.newest.checkpoint.root() {
        mismatch(
            context,
            "heads/tile/entries",
            "the entries do not make the root of heads/checkpoint",
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

fn read_bundle(context: &Context<'_>, id: BundleId) -> Option<Vec<u8>> {
    let path = format!("heads/{}", id.path());
    match context.read(&path, BUNDLE_BYTES_MAX) {
        Read::File(bytes) => Some(bytes),
        Read::Missing if !id.is_full() => context.read_required(
            &format!("heads/{}", id.full().path()),
            BUNDLE_BYTES_MAX,
            Votes::AtMost(0),
            "nor the partial bundle that the newest checkpoint needs",
        ),
        Read::Missing => {
            context.add(
                Code::MissingFile,
                Place::file(path),
                Votes::AtMost(0),
                "there is no such file, and the newest checkpoint needs it",
            );
            None
        }
        Read::Unusable | Read::Unknown => None,
    }
}

fn mismatch(context: &Context<'_>, path: &str, evidence: &str) {
    context.add(
        Code::BundleMismatch,
        Place::file(path),
        Votes::AtMost(0),
        format!("{evidence}; so this source cannot show whether a head covers the vote"),
    );
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
