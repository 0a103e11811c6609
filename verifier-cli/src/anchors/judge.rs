//! What anchors hold, against the heads log that is published.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::entry::Entry;
use protocol::ids::LogId;
use protocol::merkle::{CompactRange, Hash, leaf_hash};

use super::Heads;
use super::bucket::{Held, Object};
use crate::audit::checkpoint::verify;
use crate::audit::context::Context;
use crate::audit::heads_reader;
use crate::finding::{Code, Place, Votes};
use crate::opened::Opened;
use crate::prove;

/// The published heads log, as far as anchors speak of it.
struct Published {
    leaves: Vec<Hash>,
    /// By size.
    roots: BTreeMap<u64, Hash>,
    /// Times of heads, by index.
    times: BTreeMap<u64, u64>,
}

/// `None`: the heads log could not be read, or does not check out.
pub(super) fn judge(opened: &Opened, held: &mut [Held], late: Duration) -> Option<Heads> {
    let context = opened.context();
    opened.progress.stage("heads");
    let today = heads_reader::read(&context)?;
    let newest = &today.newest.checkpoint;
    let ends = held.iter().flat_map(|held| &held.objects);
    let sizes: BTreeSet<u64> = ends.map(|object| object.new_size).collect();
    let mut published = Published {
        leaves: Vec::new(),
        roots: BTreeMap::new(),
        times: BTreeMap::new(),
    };
    let mut tree = CompactRange::new();
    prove::entries(&context, LogId::Heads, newest, |index, bytes| {
        if let Ok(Entry::Head(head) | Entry::FinalHead(head)) =
            Entry::decode(bytes, context.election)
        {
            published.times.insert(index, head.time);
        }
        let leaf = leaf_hash(bytes);
        published.leaves.push(leaf);
        tree.push(leaf);
        if sizes.contains(&tree.size()) {
            published.roots.insert(tree.size(), tree.root());
        }
    })?;
    let mut heads = Heads {
        size: newest.size(),
        is_final: today.is_final,
        waits: false,
    };
    for anchor in held {
        let mut size = Some(0);
        for object in &anchor.objects {
            let place = Place::at(anchor.path(object.n), object.n);
            if object.new_size > newest.size() {
                heads.waits = true;
                context.add(
                    Code::CheckpointRollback,
                    place,
                    Votes::WholeRoll,
                    format!(
                        "it holds the heads log up to size {}, and heads/checkpoint ends at {}",
                        object.new_size,
                        newest.size()
                    ),
                );
                continue;
            }
            if !compare(&context, &place, object, &published) {
                size = None;
                continue;
            }
            is_in_time(&context, &place, object, &published, late);
            // From the first on, without a gap.
            size = match size {
                Some(so_far) if so_far == object.old_size => Some(object.new_size),
                Some(so_far) if so_far > object.old_size => {
                    context.add(
                        Code::AnchorConflict,
                        place,
                        Votes::AtMost(0),
                        format!(
                            "it continues size {}, and the object before it ends at {so_far}",
                            object.old_size
                        ),
                    );
                    None
                }
                _ => None,
            };
            if let Some(size) = size {
                anchor.asked.size = size;
            }
        }
        if today.is_final && anchor.asked.size < newest.size() {
            heads.waits = true;
            context.add(
                Code::AnchorNotFinal,
                Place::file(format!("anchors/{}", anchor.asked.name)),
                Votes::AtMost(0),
                format!(
                    "the heads log ends at size {}, and the anchor holds it up to {} without a gap",
                    newest.size(),
                    anchor.asked.size
                ),
            );
        }
    }
    Some(heads)
}

/// Its entries are the heads log's, and its note is what the heads log's key signed over them.
fn compare(context: &Context<'_>, place: &Place, object: &Object, published: &Published) -> bool {
    let conflict = |evidence: String| {
        context.add(
            Code::AnchorConflict,
            place.clone(),
            Votes::WholeRoll,
            evidence,
        );
        false
    };
    let from = usize::try_from(object.old_size).unwrap_or(usize::MAX);
    let ours = published.leaves.get(from..).unwrap_or_default();
    if ours.get(..object.leaves.len()) != Some(object.leaves.as_slice()) {
        return conflict(
            "its entries are not those of the published heads log at the same place".to_owned(),
        );
    }
    let (signed, fault) = verify(context.election, LogId::Heads, &object.note);
    if let Some((_, evidence)) = fault {
        return conflict(format!("its note is not valid: {evidence}"));
    }
    let Some(signed) = signed else {
        return conflict("its note is not valid".to_owned());
    };
    let root = published.roots.get(&object.new_size);
    if signed.size() != object.new_size || Some(&signed.checkpoint.root()) != root {
        return conflict(format!(
            "its note is signed over size {} and root {}; the published heads log has another root there",
            signed.size(),
            signed.checkpoint.root()
        ));
    }
    true
}

fn is_in_time(
    context: &Context<'_>,
    place: &Place,
    object: &Object,
    published: &Published,
    late: Duration,
) {
    let mut heads = published.times.range(object.old_size..object.new_size);
    let Some((_, time)) = heads.next_back() else {
        return;
    };
    let stored = u64::try_from(object.stored).unwrap_or(0);
    let after = Duration::from_millis(stored.saturating_sub(*time));
    if after > late {
        context.add(
            Code::AnchorLate,
            place.clone(),
            Votes::AtMost(0),
            format!(
                "it was stored at {stored} by the store's clock, {} s after the newest head in it, of {time} (ms since 1970)",
                after.as_secs()
            ),
        );
    }
}
