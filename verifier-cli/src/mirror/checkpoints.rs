//! Checkpoints that something names, and what witnesses put under them.

use std::collections::BTreeSet;
use std::time::Instant;

use protocol::checkpoint::Checkpoint;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::Hash;
use protocol::note::{NOTE_BYTES_MAX, SignedNote};

use super::copy::Copy;
use super::log::{Copied, create};
use super::own::own_damage;
use super::{POLL, SETTLE, Stop};
use crate::audit::checkpoint::verify;
use crate::audit::context::{Context, Read};
use crate::finding::{Code, Place, Votes};

/// Copies `checkpoints/<size>` of a log, whose root there is known, and returns its bytes. `None`: it is missing or wrong, which was written down.
pub(super) fn copy_named(
    context: &Context<'_>,
    copy: &mut Copy,
    log: LogId,
    size: u64,
    root: Hash,
) -> Result<Option<Vec<u8>>, Stop> {
    let path = format!("{log}/checkpoints/{size}");
    if let Some(bytes) = copy.read(&path)? {
        return Ok(Some(bytes));
    }
    let Some(bytes) = context.read_required(
        &path,
        NOTE_BYTES_MAX,
        Votes::AtMost(0),
        "a head, an anchor, results.json or `checkpoint` names this size",
    ) else {
        return Ok(None);
    };
    match verify(context.election, log, &bytes) {
        (Some(signed), None) if (signed.size(), signed.checkpoint.root()) == (size, root) => {
            create(context, copy, &path, &bytes)?;
            return Ok(Some(bytes));
        }
        (signed, fault) => {
            if signed.is_some() {
                copy.put_aside(&path, &bytes)?;
            }
            let (code, evidence) = fault.unwrap_or_else(|| {
                (
                    Code::CheckpointRoot,
                    format!("it is not of size {size} with root {root}"),
                )
            });
            context.add(code, Place::file(path), Votes::WholeRoll, evidence);
        }
    }
    Ok(None)
}

/// Sizes of the heads log at which a cosigned checkpoint may be: those that something names, and all others, since each can show that a head's time is wrong.
///
/// Each is asked for while the log grows to it and for a while after (`from`), since cosignatures follow; and once more when the log has ended. What was left behind is asked
/// for again only where the source lists it and the copy has none: for a witness that is away for long, every run would else ask for every one.
pub(super) fn asked_for(
    from: u64,
    mut named: BTreeSet<u64>,
    others: impl Iterator<Item = u64>,
) -> BTreeSet<u64> {
    named.retain(|size| *size > from);
    named.extend(others);
    named
}

/// Copies cosigned checkpoints of the heads log, where there are any. Lines that the copy has are never lost, and lines that come later are taken up.
pub(super) fn copy_cosigned(
    context: &Context<'_>,
    copy: &mut Copy,
    heads: &Copied,
    sizes: &BTreeSet<u64>,
    final_size: Option<u64>,
) -> Result<(), Stop> {
    if context.election.witnesses().is_empty() {
        return Ok(());
    }
    let quorum = usize::try_from(context.election.manifest().witnesses.quorum);
    let deadline = Instant::now() + SETTLE;
    for size in sizes.iter().copied() {
        let path = format!("heads/cosigned/{size}");
        let kept = copy.read(&path)?.map(|bytes| check(context, size, &bytes));
        let kept = match kept {
            Some(Err(evidence)) => {
                own_damage(context, &path, &evidence);
                continue;
            }
            Some(Ok(cosigned)) => Some(cosigned),
            None => None,
        };
        let lines = |note: &Option<SignedNote>| {
            note.as_ref()
                .map_or(0, |note| note.signatures().len().saturating_sub(1))
        };
        let is_enough = |note: &Option<SignedNote>| {
            Some(size) != final_size || quorum.is_ok_and(|quorum| lines(note) >= quorum)
        };
        let mut both = kept;
        if lines(&both) == context.election.witnesses().len() {
            continue;
        }
        loop {
            let shown = match context.read(&path, NOTE_BYTES_MAX) {
                Read::File(bytes) => match check(context, size, &bytes) {
                    Ok(note) => Some(note),
                    Err(evidence) => {
                        let place = Place::file(&path);
                        context.add(Code::CosignatureWrong, place, Votes::AtMost(0), evidence);
                        break;
                    }
                },
                Read::Missing => None,
                Read::Unusable | Read::Unknown => break,
            };
            both = join(both, shown);
            // Those of the final head follow it after a moment.
            if is_enough(&both) || Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(POLL);
        }
        let Some(note) = both else { continue };
        // It begins with the log's own checkpoint, which is then there too. Where no batch ends there, the audit of the source names it.
        if let Some(root) = heads.root_at(size)
            && copy_named(context, copy, LogId::Heads, size, root)?.is_some()
        {
            copy.replace(&path, &note.encode())?;
        }
    }
    Ok(())
}

/// A cosigned checkpoint of this size, with valid lines of named witnesses and no others.
fn check(context: &Context<'_>, size: u64, bytes: &[u8]) -> Result<SignedNote, String> {
    let (origin, keys) = heads_keys(context.election).ok_or("the election has no heads log")?;
    let witnesses = context.election.witnesses();
    let (checkpoint, _, _) = Checkpoint::verify_cosigned(bytes, &origin, &keys, witnesses)
        .map_err(|error| error.to_string())?;
    if checkpoint.size() != size {
        return Err("it is of another size".to_owned());
    }
    SignedNote::parse(bytes).map_err(|error| error.to_string())
}

fn heads_keys(election: &Election) -> Option<(String, [[u8; 32]; 2])> {
    let keys = election.log_keys(LogId::Heads)?.to_bytes();
    Some((election.origin(LogId::Heads), keys))
}

/// The lines of both, as the source has them if it has all of the copy's.
fn join(kept: Option<SignedNote>, shown: Option<SignedNote>) -> Option<SignedNote> {
    let (kept, shown) = match (kept, shown) {
        (Some(kept), Some(shown)) if kept.text() == shown.text() => (kept, shown),
        // What contradicts the copied log is said where the log is read.
        (kept, shown) => return kept.or(shown),
    };
    let has = |note: &SignedNote, line| note.signatures().contains(line);
    if kept.signatures().iter().all(|line| has(&shown, line)) {
        return Some(shown);
    }
    // Each witness has at most one line.
    let known = |line: &&protocol::note::NoteSignature| {
        kept.signatures()
            .iter()
            .all(|own| (own.name(), own.key_id()) != (line.name(), line.key_id()))
    };
    let more: Vec<_> = shown.signatures().iter().filter(known).cloned().collect();
    kept.with_signatures(more).ok().or(Some(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_that_is_away_does_not_have_every_cosignature_asked_for_again() {
        let named = || BTreeSet::from([3, 40, 90]);
        let asked = |from, others: &[u64]| -> Vec<u64> {
            asked_for(from, named(), others.iter().copied())
                .into_iter()
                .collect()
        };
        // Of what an anchor names, only what may still be cosigned; of what is listed, also what was never copied.
        assert_eq!(asked(50, &[60, 90, 91]), [60, 90, 91]);
        assert_eq!(asked(50, &[7, 91]), [7, 90, 91]);
        // At the end all of them, once.
        assert_eq!(asked(0, &[91]), [3, 40, 90, 91]);
    }

    fn note(text: &str, signers: &[&str]) -> SignedNote {
        let lines: String = signers
            .iter()
            .map(|name| format!("\u{2014} {name} AAAAAGFh\n"))
            .collect();
        SignedNote::parse(format!("{text}\n\n{lines}").as_bytes()).unwrap()
    }

    #[test]
    fn lines_of_another_text_are_joined_to_none() {
        let joined = |kept, shown| join(Some(kept), Some(shown)).unwrap();
        assert_eq!(
            joined(note("a", &["w"]), note("a", &["v", "w"])),
            note("a", &["v", "w"])
        );
        assert_eq!(
            joined(note("a", &["w"]), note("a", &["v"])),
            note("a", &["w", "v"])
        );
        assert_eq!(
            joined(note("a", &["w"]), note("b", &["w", "v"])),
            note("a", &["w"])
        );
        assert_eq!(join(None, Some(note("b", &["w"]))), Some(note("b", &["w"])));
    }
}
