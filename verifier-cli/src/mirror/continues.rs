//! The source must continue what the copy holds; if it does not, both are kept.

use std::path::PathBuf;
use std::sync::Arc;

use protocol::evidence::HeldCheckpoint;
use protocol::ids::LogId;

use super::Stop;
use super::copy::Copy;
use crate::audit::checkpoint::Signed;
use crate::audit::context::Context;
use crate::consistency::{Comparison, Relation};
use crate::finding::{Code, Place, Votes};
use crate::source::{Directory, Located};

/// Compares the source's newest checkpoint of a log with the copy's, and returns that one, if there is one.
pub(super) fn compare(
    context: &Context<'_>,
    source: &Located,
    copy: &mut Copy,
    log: LogId,
    newest: &Signed,
) -> Result<Option<HeldCheckpoint>, Stop> {
    let path = format!("{log}/checkpoint");
    let held = |bytes: &[u8]| HeldCheckpoint::read(bytes, context.election).ok();
    let Some(kept) = copy.read(&path)?.and_then(|note| held(&note)) else {
        return Ok(None);
    };
    let Some(shown) = held(&newest.bytes).filter(|_| kept.log == log) else {
        return Ok(None);
    };
    let own = Located {
        place: copy.served().display().to_string(),
        source: Arc::new(Directory::new(copy.served())),
    };
    let sources = [source.clone(), own];
    let comparison = Comparison {
        election: context.election,
        sources: &sources,
    };
    let is_older = shown.checkpoint.size() < kept.checkpoint.size();
    let (older, newer) = if is_older {
        (&shown, &kept)
    } else {
        (&kept, &shown)
    };
    let (code, votes, evidence) = match comparison.relation(older, newer) {
        Relation::Consistent if !is_older => return Ok(Some(kept)),
        Relation::Split(split) => {
            let path = match split.encode() {
                Ok(bytes) => copy.put_aside(&format!("{log}/split-view.json"), &bytes)?,
                Err(_) => PathBuf::new(),
            };
            (
                Code::Equivocation,
                Votes::WholeRoll,
                format!(
                    "the source shows another history than the copy holds; the proof for everybody is {}",
                    path.display()
                ),
            )
        }
        Relation::Unknown(why) if !is_older => (
            Code::TileMismatch,
            Votes::AtMost(0),
            format!(
                "the source does not show that it continues size {}: {}",
                older.checkpoint.size(),
                why.join("; ")
            ),
        ),
        Relation::Consistent | Relation::Unknown(_) => (
            Code::CheckpointRollback,
            Votes::in_missing(kept.log, kept.checkpoint.size() - shown.checkpoint.size()),
            format!(
                "the source shows size {}, and the copy holds {}: the log was cut, or the source is an older copy",
                shown.checkpoint.size(),
                kept.checkpoint.size()
            ),
        ),
    };
    copy.put_aside(&path, &newest.bytes)?;
    context.add(code, Place::file(path), votes, evidence);
    Err(Stop::Said)
}
