//! The source must continue what the copy holds; if it does not, both are kept.

use std::path::PathBuf;
use std::sync::Arc;

use protocol::evidence::HeldCheckpoint;
use protocol::ids::LogId;

use super::Stop;
use super::copy::Copy;
use super::shown::{Seen, Shown};
use crate::audit::checkpoint::Signed;
use crate::audit::context::Context;
use crate::consistency::{Comparison, Relation};
use crate::finding::{Code, Place, Votes};
use crate::source::{Directory, Located};
use crate::watch::{allowed_age, now};

/// Compares the source's newest checkpoint of a log with the copy's, and returns that one, if there is one.
pub(super) fn compare(
    context: &Context<'_>,
    source: &Located,
    copy: &mut Copy,
    shown_before: &mut Shown,
    log: LogId,
    newest: &Signed,
) -> Result<Option<HeldCheckpoint>, Stop> {
    let seen = shown_before.take(
        &source.place,
        log,
        newest.size(),
        now().unwrap_or(0),
        allowed_age(context.election),
    );
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
        Relation::Consistent | Relation::Unknown(_) => match seen {
            Seen::TakenBack(before) => (
                Code::CheckpointRollback,
                Votes::in_missing(kept.log, before - shown.checkpoint.size()),
                format!(
                    "this source showed size {before} in an earlier run, and has shown less for {} s or more, now {}: the log was cut there, or the source was put back to an older copy",
                    allowed_age(context.election) / 1_000,
                    shown.checkpoint.size()
                ),
            ),
            Seen::Most | Seen::Less(_) => {
                // A cache or a mirror that lags is honest, and what it shows is signed and known: nothing is put aside.
                let then = match seen {
                    Seen::Less(before) => format!(
                        " It showed size {before} in an earlier run; if it still shows less in a run {} s from now or later, that is a finding (checkpoint-rollback)",
                        allowed_age(context.election) / 1_000
                    ),
                    _ => String::new(),
                };
                context.unread.note(format!(
                    "{path}: the source shows size {}, and the copy holds size {}: it lags behind, as a mirror or a cache may, and has nothing new. The copy stays as it was.{then}",
                    shown.checkpoint.size(),
                    kept.checkpoint.size()
                ));
                return Err(Stop::Said);
            }
        },
    };
    let aside = copy.put_aside(&path, &newest.bytes)?;
    let evidence = format!(
        "{evidence}. The checkpoint that the source shows is kept as {}",
        aside.display()
    );
    context.add(code, Place::file(path), votes, evidence);
    Err(Stop::Said)
}
