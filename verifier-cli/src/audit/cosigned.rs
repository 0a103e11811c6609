//! What the witnesses vouch for: every `heads/cosigned/<size>`, when each had its quorum, and what follows for the times that heads claim.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::checkpoint::Checkpoint;
use protocol::cosignature::WitnessKey;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::Hash;
use protocol::note::NOTE_BYTES_MAX;

use super::context::{Context, Read};
use super::heads::{HeadAt, Heads};
use super::log::Log;
use super::moment::wait;
use super::tiles::strict_decimal;
use crate::finding::{Code, Place, Votes};
use crate::source::ListedKind;
use crate::verdict::CosignedCovered;
use crate::work::Pool;

/// How far apart the clocks of honest witnesses and of an honest heads log may be (ms).
const CLOCKS_APART_MAX: u64 = 300_000;
/// Where the source cannot list: sizes that are tried, one after the other, for the first that was cosigned above a head.
const TRIED_MAX: usize = 64;

/// The cosigned checkpoints with a quorum.
#[derive(Default)]
pub(super) struct Cosigned {
    quorum: usize,
    /// Size to the time at which the quorum was complete (ms since 1970).
    complete: BTreeMap<u64, u64>,
}

impl Cosigned {
    /// Whether the manifest asks for a quorum at all.
    pub(super) const fn is_asked(&self) -> bool {
        self.quorum > 0
    }

    /// What the verdict says of it.
    pub(super) fn covered(&self, election: &Election) -> Option<CosignedCovered> {
        let witnesses = election.manifest().witnesses.keys.len() as u64;
        let newest = self.complete.last_key_value();
        (witnesses > 0).then(|| CosignedCovered {
            witnesses,
            quorum: self.quorum as u64,
            checkpoints: self.complete.len() as u64,
            size: newest.map_or(0, |(size, _)| *size),
            time: newest.map(|(_, time)| *time),
        })
    }

    /// The last head that is in time: it and all before it have times of at most `limit`, and were not witnessed more than 5 minutes after it.
    pub(super) fn last_in_time(&self, heads: &[HeadAt], limit: u64) -> Option<usize> {
        let witnessed_by = limit.saturating_add(CLOCKS_APART_MAX);
        // From the newest to the oldest, so that the earliest quorum above is at hand.
        let mut above = self.complete.iter().rev().peekable();
        let mut earliest: Option<u64> = None;
        let mut in_time = heads.len();
        for (number, head) in heads.iter().enumerate().rev() {
            while let Some((_, time)) = above.next_if(|(size, _)| **size > head.index()) {
                earliest = Some(earliest.map_or(*time, |before| before.min(*time)));
            }
            if head.time > limit || earliest.is_some_and(|time| time > witnessed_by) {
                in_time = number;
            }
        }
        in_time.checked_sub(1)
    }
}

/// Reads and judges all of them, with what they say of the heads' times and of the final head.
pub(super) fn take<'a>(
    context: Context<'a>,
    heads: &Log<Heads<'a>>,
    pool: &Pool<'a>,
    settle: Duration,
) -> Cosigned {
    let named = &context.election.manifest().witnesses;
    let witnesses: Vec<WitnessKey> = named
        .keys
        .iter()
        .filter_map(|vkey| WitnessKey::parse_vkey(vkey).ok())
        .collect();
    let mut cosigned = Cosigned {
        quorum: usize::try_from(named.quorum).unwrap_or(usize::MAX),
        complete: BTreeMap::new(),
    };
    if witnesses.is_empty() {
        return cosigned;
    }
    let reader = Reader {
        context,
        witnesses: Arc::new(witnesses),
        quorum: cosigned.quorum,
    };
    let root_of = |size: u64| heads.walk.end_at(size).map(|end| end.root);
    let newest = heads.walk.size();
    if cosigned.is_asked() && heads.content.final_head().is_some() {
        // Cosignatures follow the checkpoint after a moment.
        wait(settle, || reader.is_complete(newest, root_of(newest)));
    }
    match context.list("heads/cosigned") {
        Some(listed) => {
            let sizes = listed
                .iter()
                .filter(|listed| listed.kind == ListedKind::File)
                .filter_map(|listed| strict_decimal(&listed.name))
                .filter(|size| *size <= newest);
            let complete = Arc::new(Mutex::new(BTreeMap::new()));
            for size in sizes {
                let (reader, complete, root) =
                    (reader.clone(), Arc::clone(&complete), root_of(size));
                pool.run(move || {
                    if let Some(time) = reader.judge(size, root) {
                        complete
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .insert(size, time);
                    }
                });
            }
            pool.wait();
            cosigned.complete =
                std::mem::take(&mut *complete.lock().unwrap_or_else(PoisonError::into_inner));
        }
        None => reader.try_some(heads, &mut cosigned),
    }
    judge_clock(&context, heads.content.heads(), &cosigned);
    judge_final(&context, heads, &cosigned);
    cosigned
}

/// Reads one of them.
#[derive(Clone)]
struct Reader<'a> {
    context: Context<'a>,
    witnesses: Arc<Vec<WitnessKey>>,
    quorum: usize,
}

impl Reader<'_> {
    /// Without a list of them: the newest, and the first above the last head in time of each cell.
    fn try_some<'h>(&self, heads: &Log<Heads<'h>>, cosigned: &mut Cosigned) {
        let mut read = |size: u64| {
            let root = heads.walk.end_at(size).map(|end| end.root);
            let time = self.judge(size, root)?;
            cosigned.complete.insert(size, time);
            Some(time)
        };
        read(heads.walk.size());
        let election = self.context.election;
        let grace = election.manifest().times.grace;
        let mut limits: Vec<u64> = election
            .logs()
            .iter()
            .filter(|log| matches!(log, LogId::Cell(_)))
            .map(|log| {
                heads
                    .content
                    .notices()
                    .closing_of(*log)
                    .saturating_add(grace)
            })
            .collect();
        limits.sort_unstable();
        limits.dedup();
        for limit in limits {
            let in_time = heads
                .content
                .heads()
                .iter()
                .rfind(|head| head.time <= limit);
            let Some(in_time) = in_time else { continue };
            let above = heads
                .walk
                .ends()
                .iter()
                .map(|end| end.size)
                .filter(|size| *size > in_time.index());
            for size in above.take(TRIED_MAX) {
                if read(size).is_some() {
                    break;
                }
            }
        }
    }

    fn is_complete(&self, size: u64, root: Option<Hash>) -> bool {
        match self.read(size) {
            Read::File(bytes) => self
                .check(size, root, &bytes)
                .is_ok_and(|time| time.is_some()),
            _ => false,
        }
    }

    /// The time at which the quorum was complete; `None` where it is missing, not enough or wrong, which is a finding.
    fn judge(&self, size: u64, root: Option<Hash>) -> Option<u64> {
        let Read::File(bytes) = self.read(size) else {
            return None;
        };
        self.check(size, root, &bytes).unwrap_or_else(|evidence| {
            self.context.add(
                Code::CosignatureWrong,
                Place::file(path(size)),
                Votes::AtMost(0),
                evidence,
            );
            None
        })
    }

    fn read(&self, size: u64) -> Read {
        self.context.read(&path(size), NOTE_BYTES_MAX)
    }

    /// "its bytes begin with those of `checkpoints/<size>`", then cosignatures of named witnesses and nothing else.
    fn check(&self, size: u64, root: Option<Hash>, bytes: &[u8]) -> Result<Option<u64>, String> {
        let own = match self
            .context
            .read(&format!("heads/checkpoints/{size}"), NOTE_BYTES_MAX)
        {
            Read::File(own) => own,
            // Where it is missing, nobody vouches for the log's own line.
            _ => Vec::new(),
        };
        let Some(lines) = bytes
            .strip_prefix(own.as_slice())
            .filter(|_| !own.is_empty())
        else {
            return Err(
                "it does not start with the note of heads/checkpoints of its size".to_owned(),
            );
        };
        if lines.is_empty() {
            return Err("it holds no cosignature".to_owned());
        }
        let (checkpoint, cosignatures) = verify(self.context.election, bytes, &self.witnesses)?;
        if checkpoint.size() != size || Some(checkpoint.root()) != root {
            return Err(format!(
                "it is of size {} and root {}, which the heads log's entries do not make",
                checkpoint.size(),
                checkpoint.root()
            ));
        }
        let mut times: Vec<u64> = cosignatures
            .into_iter()
            .map(|(_, seconds)| seconds.saturating_mul(1_000))
            .collect();
        times.sort_unstable();
        // The quorum is complete with its last, counted from the earliest.
        Ok(self
            .quorum
            .checked_sub(1)
            .and_then(|last| times.get(last).copied()))
    }
}

fn path(size: u64) -> String {
    format!("heads/cosigned/{size}")
}

fn verify(
    election: &Election,
    bytes: &[u8],
    witnesses: &[WitnessKey],
) -> Result<(Checkpoint, Vec<(usize, u64)>), String> {
    let keys = election
        .log_keys(LogId::Heads)
        .ok_or("the election has no heads log")?;
    let keys = [*keys.main.as_bytes(), *keys.spare.as_bytes()];
    Checkpoint::verify_cosigned(bytes, &election.origin(LogId::Heads), &keys, witnesses)
        .map(|(checkpoint, _, cosignatures)| (checkpoint, cosignatures))
        .map_err(|error| error.to_string())
}

/// "No head claims a time more than 5 minutes after a quorum saw it": finding `clock`.
fn judge_clock(context: &Context<'_>, heads: &[HeadAt], cosigned: &Cosigned) {
    for (size, seen) in &cosigned.complete {
        let below = heads.partition_point(|head| head.index() < *size);
        let Some(newest) = below.checked_sub(1).and_then(|number| heads.get(number)) else {
            continue;
        };
        if newest.time > seen.saturating_add(CLOCKS_APART_MAX) {
            context.add(
                Code::Clock,
                Place::file(path(*size)),
                Votes::WholeRoll,
                format!(
                    "the head at index {} claims the time {}; a quorum of witnesses had seen it by {seen} (ms since 1970)",
                    newest.index(),
                    newest.time
                ),
            );
        }
    }
}

/// "Where there is a final head, `cosigned/<size>` of the heads log's last size must hold `quorum` cosignatures."
fn judge_final(context: &Context<'_>, heads: &Log<Heads<'_>>, cosigned: &Cosigned) {
    let size = heads.walk.size();
    if cosigned.is_asked()
        && heads.content.final_head().is_some()
        && !cosigned.complete.contains_key(&size)
    {
        context.add(
            Code::Quorum,
            Place::file(path(size)),
            Votes::WholeRoll,
            format!(
                "the final head is not cosigned by the quorum of {} witnesses that the manifest asks for",
                cosigned.quorum
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(index: u64, time: u64) -> HeadAt {
        HeadAt {
            place: Place::at("heads/batches/1", index),
            time,
        }
    }

    #[test]
    fn a_head_is_in_time_when_it_was_seen_in_time() {
        let heads = [head(1, 10), head(2, 20), head(4, 30)];
        let of = |complete: &[(u64, u64)], limit| {
            let cosigned = Cosigned {
                quorum: 1,
                complete: complete.iter().copied().collect(),
            };
            cosigned.last_in_time(&heads, limit)
        };
        const FAR: u64 = CLOCKS_APART_MAX;
        // Without witnesses, heads' times alone.
        assert_eq!(of(&[], 9), None);
        assert_eq!(of(&[], 20), Some(1));
        assert_eq!(of(&[], 30), Some(2));
        // The second head was seen with the third, too late; the first before.
        assert_eq!(of(&[(2, 15), (5, 31 + FAR)], 30), Some(0));
        assert_eq!(of(&[(2, 15), (5, 30 + FAR)], 30), Some(2));
        // A later size that was cosigned earlier shows that all below it was there.
        assert_eq!(of(&[(3, 99 + FAR), (5, 30)], 30), Some(2));
        // What nobody has seen yet is judged by its own time, but not behind a head that was seen late.
        assert_eq!(of(&[(2, 15)], 30), Some(2));
        assert_eq!(of(&[(3, 31 + FAR)], 30), None);
    }
}
