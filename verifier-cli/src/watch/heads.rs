//! The heads log as it grows: each round reads only the entry bundles that hold something new, and of very many no more than a look has room for.

use protocol::entry::{Entry, Head, NoticeAction};
use protocol::ids::LogId;
use protocol::merkle::tile::{BUNDLE_BYTES_MAX, BundleId, FULL_WIDTH, decode_bundle};
use protocol::merkle::{CompactRange, leaf_hash};

use super::timed::Until;
use crate::audit::checkpoint::{Signed, Switches};
use crate::audit::context::{Context, Read};
use crate::audit::heads_reader::HeadsToday;
use crate::finding::{Code, Place, Votes};
use crate::prove;

/// One source's heads log, as far as its entries were read and found to be what was signed.
#[derive(Clone, Default)]
pub(super) struct Heads {
    tree: CompactRange,
    head: Option<Head>,
    head_entry: Option<(u64, Vec<u8>)>,
    is_final: bool,
    cancelled: bool,
    switches: Switches,
}

impl Heads {
    /// Follows it to this checkpoint, or as far as this many bytes go. `None`: it is longer, what the source shows is not that tree, or it could not be read; which, was written down.
    pub(super) fn follow(
        &mut self,
        context: &Context<'_>,
        newest: &Signed,
        len_max: usize,
        until: &Until,
    ) -> Option<HeadsToday> {
        let mut grown = self.clone();
        let size = newest.size();
        if size < grown.tree.size() {
            // A rollback, which is named elsewhere: what was read is of no use for it.
            grown = Self::default();
        }
        let width = u64::from(FULL_WIDTH);
        let mut len = 0_usize;
        let mut malformed = None;
        while grown.tree.size() < size {
            let from = grown.tree.size();
            if len >= len_max || (len > 0 && !until.may_catch_up()) {
                return self.pause(grown, context, newest);
            }
            let first = from - from % width;
            let here = u16::try_from((size - first).min(width)).ok()?;
            let id = BundleId::new(first / width, here).ok()?;
            let (path, bytes) = read(context, id)?;
            len = len.saturating_add(bytes.len());
            let entries =
                decode_bundle(&bytes, here).or_else(|_| decode_bundle(&bytes, FULL_WIDTH));
            let entries = match entries {
                Ok(entries) => entries,
                Err(error) => return mismatch(context, &path, &error.to_string()),
            };
            let skipped = usize::try_from(from - first).ok()?;
            for bytes in entries.iter().take(usize::from(here)).skip(skipped) {
                let index = grown.tree.size();
                grown.tree.push(leaf_hash(bytes));
                match Entry::decode(bytes, context.election) {
                    Ok(entry) => grown.take(entry, bytes, context),
                    Err(error) => malformed = malformed.or(Some((index, error))),
                }
            }
        }
        // Only now is anything of it believed.
        if grown.tree.root() != newest.checkpoint.root() {
            // It may be another history than the one that was read before: next time from the start.
            *self = Self::default();
            return mismatch(
                context,
                "heads/tile/entries",
                "the entries do not make the root of heads/checkpoint",
            );
        }
        // Whether the source or the log's key is to blame, only the root tells. What follows is read again in each round, and found again.
        if let Some((index, error)) = malformed {
            context.add(
                Code::EntryMalformed,
                Place::at("heads/checkpoint", index),
                Votes::AtMost(1),
                format!("the log's key signed an entry that is none: {error}"),
            );
            return None;
        }
        *self = grown;
        if let Some((code, evidence)) = self.switches.judge(LogId::Heads, newest) {
            let place = Place::file("heads/checkpoint");
            context.add(code, place, Votes::WholeRoll, evidence);
            return None;
        }
        Some(HeadsToday {
            newest: newest.clone(),
            head: self.head.clone(),
            head_entry: self.head_entry.clone(),
            is_final: self.is_final,
            cancelled: self.cancelled,
            switches: self.switches.clone(),
        })
    }

    /// Goes on from here in the next round, if this is where the signed tree begins.
    fn pause<T>(&mut self, grown: Self, context: &Context<'_>, newest: &Signed) -> Option<T> {
        let (size, of) = (grown.tree.size(), newest.size());
        let (root, _) = prove::prefix(context, LogId::Heads, &newest.checkpoint, size)?;
        if root != grown.tree.root() {
            *self = Self::default();
            return mismatch(
                context,
                "heads/tile/entries",
                &format!(
                    "the first {size} entries do not make the tree that heads/checkpoint signs"
                ),
            );
        }
        *self = grown;
        context.unread.note(format!(
            "heads: the first {size} of {of} entries were read, the next round goes on; until all are, neither results nor keys are checked"
        ));
        None
    }

    fn take(&mut self, entry: Entry, bytes: &[u8], context: &Context<'_>) {
        match entry {
            Entry::Head(head) => self.take_head(head, bytes, false),
            Entry::FinalHead(head) => self.take_head(head, bytes, true),
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

    fn take_head(&mut self, head: Head, bytes: &[u8], is_final: bool) {
        self.head = Some(head);
        self.head_entry = Some((self.tree.size() - 1, bytes.to_vec()));
        self.is_final = is_final;
    }
}

fn read(context: &Context<'_>, id: BundleId) -> Option<(String, Vec<u8>)> {
    let path = format!("heads/{}", id.path());
    match context.read(&path, BUNDLE_BYTES_MAX) {
        Read::File(bytes) => Some((path, bytes)),
        Read::Missing => {
            let full = format!("heads/{}", id.full().path());
            let why = "every entry bundle of the newest checkpoint must exist";
            context
                .read_required(&full, BUNDLE_BYTES_MAX, Votes::AtMost(0), why)
                .map(|bytes| (full, bytes))
        }
        Read::Unusable | Read::Unknown => None,
    }
}

fn mismatch<T>(context: &Context<'_>, path: &str, evidence: &str) -> Option<T> {
    context.add(
        Code::BundleMismatch,
        Place::file(path),
        Votes::AtMost(0),
        format!("{evidence}; so this source cannot show what the heads say"),
    );
    None
}
