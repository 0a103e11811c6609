//! The anchors' objects: what they lock away must be the copied heads log.

use std::time::Instant;

use protocol::anchor::{ANCHOR_LEN_MAX, AnchorObject};
use protocol::ids::LogId;
use protocol::merkle::{CompactRange, leaf_hash};

use super::checkpoints::copy_named;
use super::copy::{Copy, Later};
use super::log::Copied;
use super::own::own_damage;
use super::{POLL, SETTLE, Stop};
use crate::audit::context::{Context, Read};
use crate::finding::{Code, Place, Votes};

/// What is new of the anchors.
#[derive(Default)]
pub(super) struct Anchors {
    /// To be served once the heads log is.
    pub(super) objects: Vec<Later>,
    /// Sizes of the heads log at which the objects end.
    pub(super) sizes: Vec<u64>,
}

/// Reads and checks all objects as far as the copied heads log reaches. A final head is waited for.
///
/// Each holds an entry at least and continues the one before, so there are no more of them than the heads log has entries.
pub(super) fn read(
    context: &Context<'_>,
    copy: &mut Copy,
    heads: &Copied,
    is_final: bool,
) -> Result<Anchors, Stop> {
    let deadline = Instant::now() + SETTLE;
    let mut anchors = Anchors::default();
    for anchor in &context.election.manifest().anchors {
        let mut tree = CompactRange::new();
        let mut n = 0u64;
        loop {
            let path = format!("anchors/{}/{n}", anchor.name);
            let kept = copy.read(&path)?;
            let is_kept = kept.is_some();
            let bytes = match kept {
                Some(bytes) => bytes,
                None => match context.read(&path, ANCHOR_LEN_MAX) {
                    Read::File(bytes) => bytes,
                    Read::Missing
                        if is_final && tree.size() < heads.size() && Instant::now() < deadline =>
                    {
                        std::thread::sleep(POLL);
                        continue;
                    }
                    _ => break,
                },
            };
            let taken = take(context, copy, heads, &mut tree, n, &bytes)?;
            match taken {
                Taken::Right if is_kept => {}
                Taken::Right => anchors.objects.push(copy.prepare(&path, &bytes)?),
                Taken::Later => break,
                Taken::Unknown => return Err(Stop::Said),
                Taken::Wrong(_, evidence) if is_kept => {
                    own_damage(context, &path, &evidence);
                    return Err(Stop::Said);
                }
                Taken::Wrong(code, evidence) => {
                    let votes = match code {
                        Code::AnchorConflict => Votes::WholeRoll,
                        _ => Votes::AtMost(0),
                    };
                    copy.put_aside(&path, &bytes)?;
                    context.add(code, Place::at(path, n), votes, evidence);
                    return Err(Stop::Said);
                }
            }
            anchors.sizes.push(tree.size());
            n += 1;
        }
    }
    Ok(anchors)
}

enum Taken {
    /// It is the next one, and what the heads log holds.
    Right,
    /// It reaches beyond the copied heads log.
    Later,
    Wrong(Code, String),
    /// It could not be compared; why, was written down.
    Unknown,
}

fn take(
    context: &Context<'_>,
    copy: &mut Copy,
    heads: &Copied,
    tree: &mut CompactRange,
    n: u64,
    bytes: &[u8],
) -> Result<Taken, Stop> {
    let object = match AnchorObject::decode(bytes, &context.election.id()) {
        Ok(object) => object,
        Err(error) => return Ok(Taken::Wrong(Code::AnchorMalformed, error.to_string())),
    };
    if object.n != n {
        let evidence = format!("it is object {}", object.n);
        return Ok(Taken::Wrong(Code::AnchorMalformed, evidence));
    }
    // "Old size is object n - 1's new size (0 for n = 0)".
    if object.old_size != tree.size() {
        let evidence = format!(
            "it continues size {}, and the object before it ends at {}",
            object.old_size,
            tree.size()
        );
        return Ok(Taken::Wrong(Code::AnchorConflict, evidence));
    }
    if object.new_size > heads.size() {
        return Ok(Taken::Later);
    }
    for entry in &object.entries {
        tree.push(leaf_hash(entry));
    }
    let (size, root) = (tree.size(), tree.root());
    if heads.root_at(size) != Some(root) {
        let evidence =
            format!("its entries make root {root} at size {size}; the heads log's batches do not");
        return Ok(Taken::Wrong(Code::AnchorConflict, evidence));
    }
    // "the note is the byte-exact `checkpoints/<new size>` of the heads log"
    let Some(published) = copy_named(context, copy, LogId::Heads, size, root)? else {
        return Ok(Taken::Unknown);
    };
    if published != object.note {
        let evidence = format!("its note is not byte-equal to heads/checkpoints/{size}");
        return Ok(Taken::Wrong(Code::AnchorConflict, evidence));
    }
    Ok(Taken::Right)
}
