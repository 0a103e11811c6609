//! Reading and judging checkpoints: the newest of each log, and every `checkpoints/<size>`.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::checkpoint::{Checkpoint, CheckpointError};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::note::{NOTE_BYTES_MAX, SignedNote};

use super::context::{Context, Read};
use super::tiles::strict_decimal;
use super::walk::Walk;
use crate::finding::{Code, Place, Votes};
use crate::source::ListedKind;
use crate::work::Pool;

/// A checkpoint that one of its log's keys signed.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) checkpoint: Checkpoint,
    /// 0: the main key; 1: the spare.
    pub(crate) key: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Signed {
    pub(crate) const fn size(&self) -> u64 {
        self.checkpoint.size()
    }
}

/// What is wrong with a checkpoint, as a finding.
pub(crate) type Fault = (Code, String);

/// Verifies a checkpoint note by either key of its log. Which of the two it must be depends on the notices: see [`Switches`].
///
/// The faults do not always spoil it: a note with a valid log signature and a line too many still says what the log signed.
pub(crate) fn verify(
    election: &Election,
    log: LogId,
    bytes: &[u8],
) -> (Option<Signed>, Option<Fault>) {
    let Some(keys) = election.log_keys(log) else {
        return (None, None);
    };
    let keys = [*keys.main.as_bytes(), *keys.spare.as_bytes()];
    let origin = election.origin(log);
    let signed = |bytes: &[u8]| {
        Checkpoint::verify(bytes, &origin, &keys).map(|(checkpoint, key)| Signed {
            checkpoint,
            key,
            bytes: bytes.to_vec(),
        })
    };
    match signed(bytes) {
        Ok(signed) => (Some(signed), None),
        Err(error @ CheckpointError::UnexpectedLine { .. }) => {
            let first_line_only = SignedNote::parse(bytes)
                .ok()
                .and_then(|note| {
                    let first = note.signatures().first()?.clone();
                    SignedNote::new(note.text(), vec![first]).ok()
                })
                .map(|note| note.encode());
            let rest = first_line_only.and_then(|first| signed(&first).ok());
            let rest = rest.map(|rest| Signed {
                bytes: bytes.to_vec(),
                ..rest
            });
            (rest, Some((Code::CheckpointExtraLine, error.to_string())))
        }
        Err(error @ (CheckpointError::Signature | CheckpointError::OtherKey)) => {
            (None, Some((Code::CheckpointSignature, error.to_string())))
        }
        Err(error) => (None, Some((Code::CheckpointMalformed, error.to_string()))),
    }
}

/// Reads a log's `checkpoint`. It may be missing where the log has published nothing yet: see `judge_unpublished`.
pub(crate) fn read_newest(context: &Context<'_>, log: LogId) -> Option<Signed> {
    let path = format!("{log}/checkpoint");
    let Read::File(bytes) = context.read(&path, NOTE_BYTES_MAX) else {
        return None;
    };
    let (signed, fault) = verify(context.election, log, &bytes);
    if let Some((code, evidence)) = fault {
        context.add(code, Place::file(&path), Votes::WholeRoll, evidence);
    }
    signed
}

/// A log without a `checkpoint` must have published nothing else either, and nothing may speak of it.
pub(super) fn judge_unpublished(context: &Context<'_>, walk: &Walk, is_named: bool) {
    let log = walk.log();
    let path = format!("{log}/checkpoint");
    if !matches!(context.read(&path, NOTE_BYTES_MAX), Read::Missing) {
        return;
    }
    let evidence = if walk.size() > 0 {
        "there is no such file, and the log has published batches: nothing in it is signed"
    } else if is_named {
        "there is no such file, and heads, results or an anchor name the log"
    } else {
        return;
    };
    context.add(
        Code::MissingFile,
        Place::file(path),
        Votes::WholeRoll,
        evidence,
    );
}

/// From which size on each log is signed by its spare key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switches(pub(crate) Vec<(LogId, u64)>);

impl Switches {
    /// "above `size`, checkpoints of that log are signed by its spare key": the index, 0 or 1, of the key that must sign at this size.
    pub(crate) fn key_at(&self, log: LogId, size: u64) -> usize {
        let switched = self
            .0
            .iter()
            .any(|(switched, above)| *switched == log && size > *above);
        usize::from(switched)
    }

    /// Checks that the right one of the two keys signed.
    pub(crate) fn judge(&self, log: LogId, signed: &Signed) -> Option<Fault> {
        let must = self.key_at(log, signed.size());
        if must == signed.key {
            return None;
        }
        let names = ["main", "spare"];
        let name = |key: usize| names.get(key).copied().unwrap_or("other");
        Some((
            Code::CheckpointSignature,
            format!(
                "the {} key signed at size {}, where the notices make it the {} key's",
                name(signed.key),
                signed.size(),
                name(must)
            ),
        ))
    }
}

/// Verifies every `checkpoints/<size>` that is listed, or where the source cannot list, those that must exist.
///
/// `checkpoints/<size>` must exist for every size that a head, an anchor, `results.json` or `checkpoint` names; others may.
pub(super) fn compare_all<'a>(
    pool: &Pool<'a>,
    context: Context<'a>,
    walk: &Walk,
    required: &BTreeSet<u64>,
    switches: &Arc<Switches>,
) {
    let log = walk.log();
    let folder = format!("{log}/checkpoints");
    let mut sizes: BTreeSet<u64> = required.clone();
    for listed in context.list(&folder).unwrap_or_default() {
        if let (Some(size), ListedKind::File) = (strict_decimal(&listed.name), listed.kind) {
            sizes.insert(size);
        }
    }
    for size in sizes {
        // What lies above the walk is growth that was published since, or the census names it.
        if size > walk.size() {
            continue;
        }
        let path = format!("{folder}/{size}");
        // "of a `checkpoints/<size>` that nothing names: 0; else the roll"
        let votes = if required.contains(&size) {
            Votes::WholeRoll
        } else {
            Votes::AtMost(0)
        };
        let Some(end) = walk.end_at(size) else {
            // That something names such a size is another finding: see `head-size`.
            judge_stray(&context, walk, &path, size, votes, switches);
            continue;
        };
        let root = end.root;
        let switches = Arc::clone(switches);
        pool.run(move || {
            let Some(bytes) = context.read_required(
                &path,
                NOTE_BYTES_MAX,
                Votes::AtMost(0),
                "a head, an anchor, results.json or `checkpoint` names this size",
            ) else {
                return;
            };
            let Some(signed) = open(&context, log, &path, &bytes, &switches) else {
                return;
            };
            if signed.size() != size {
                misplaced(&context, &path, votes, &signed);
            } else if signed.checkpoint.root() != root {
                context.add(
                    Code::CheckpointRoot,
                    Place::file(&path),
                    Votes::WholeRoll,
                    format!(
                        "it names root {}; the entries make {root}",
                        signed.checkpoint.root()
                    ),
                );
            }
        });
    }
}

/// The log's checkpoint in a file, and findings of its form and keys.
fn open(
    context: &Context<'_>,
    log: LogId,
    path: &str,
    bytes: &[u8],
    switches: &Switches,
) -> Option<Signed> {
    let (signed, fault) = verify(context.election, log, bytes);
    let wrong_key = signed
        .as_ref()
        .and_then(|signed| switches.judge(log, signed));
    for (code, evidence) in fault.into_iter().chain(wrong_key) {
        context.add(code, Place::file(path), Votes::WholeRoll, evidence);
    }
    signed
}

fn misplaced(context: &Context<'_>, path: &str, votes: Votes, signed: &Signed) {
    context.add(
        Code::CheckpointPlace,
        Place::file(path),
        votes,
        format!("it is a checkpoint of size {}", signed.size()),
    );
}

/// Judges a `checkpoints/<size>` of a size at which no batch of the log ends, if it is there. `votes`: at most so many, where it is in the wrong place.
pub(super) fn judge_stray(
    context: &Context<'_>,
    walk: &Walk,
    path: &str,
    size: u64,
    votes: Votes,
    switches: &Switches,
) {
    let Read::File(bytes) = context.read(path, NOTE_BYTES_MAX) else {
        return;
    };
    let Some(signed) = open(context, walk.log(), path, &bytes, switches) else {
        return;
    };
    if signed.size() != size {
        misplaced(context, path, votes, &signed);
    } else if size <= walk.size() {
        context.add(
            Code::CheckpointPlace,
            Place::file(path),
            votes,
            format!("no batch of the log ends at {size}, and checkpoints fall on batch ends only"),
        );
    }
    // Above the log's end by its name and by what it says: the log was longer once.
    if size > walk.size() && signed.size() > walk.size() {
        context.add(
            Code::CheckpointRollback,
            Place::file(path),
            Votes::WholeRoll,
            format!(
                "the log's key signed size {} with root {}, and the published log ends at {}",
                signed.size(),
                signed.checkpoint.root(),
                walk.size()
            ),
        );
    }
}
