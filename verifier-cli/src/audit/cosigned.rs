//! What the witnesses vouch for: every `heads/cosigned/<size>`, when each had its quorum, and what follows for the times that heads claim.

use std::collections::{BTreeMap, BTreeSet};
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

/// What `early` goes by, and `late` where no witness says more.
pub(super) const HEADS_TIMES: &str = "the heads' times";

/// The cosigned checkpoints with a quorum.
#[derive(Default)]
pub(super) struct Cosigned {
    quorum: usize,
    /// Size to the time at which the quorum was complete (ms since 1970).
    complete: BTreeMap<u64, u64>,
    /// Sizes of which nobody can say whether they have their quorum: what could not be read blames nobody.
    unknown: BTreeSet<u64>,
}

impl Cosigned {
    /// Whether the manifest asks for a quorum at all.
    const fn is_asked(&self) -> bool {
        self.quorum > 0
    }

    /// By whose clock votes are late or early, in words.
    pub(super) fn judged_by(&self) -> String {
        match self.complete.last_key_value() {
            Some((size, _)) => format!(
                "{HEADS_TIMES}; late ones up to size {size} also by when a quorum of witnesses had seen them"
            ),
            None if self.is_asked() => {
                format!("{HEADS_TIMES} alone: no quorum of witnesses was seen to vouch for any")
            }
            None => HEADS_TIMES.to_owned(),
        }
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
    /// A size that could not be read may have been witnessed in time.
    pub(super) fn last_in_time(&self, heads: &[HeadAt], limit: u64) -> Option<usize> {
        let witnessed_by = limit.saturating_add(CLOCKS_APART_MAX);
        // From the newest to the oldest, so that the earliest quorum above is at hand.
        let mut above = self.complete.iter().rev().peekable();
        let newest_unknown = self.unknown.last().copied().unwrap_or(0);
        let mut earliest: Option<u64> = None;
        let mut in_time = heads.len();
        for (number, head) in heads.iter().enumerate().rev() {
            while let Some((_, time)) = above.next_if(|(size, _)| **size > head.index()) {
                earliest = Some(earliest.map_or(*time, |before| before.min(*time)));
            }
            let seen_late =
                newest_unknown <= head.index() && earliest.is_some_and(|time| time > witnessed_by);
            if head.time > limit || seen_late {
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
    let quorum = usize::try_from(named.quorum).unwrap_or(usize::MAX);
    let mut cosigned = Cosigned {
        quorum,
        ..Cosigned::default()
    };
    if witnesses.is_empty() {
        return cosigned;
    }
    let reader = Reader {
        context,
        witnesses: Arc::new(witnesses),
        quorum,
    };
    let root_of = |size: u64| heads.walk.end_at(size).map(|end| end.root);
    let newest = heads.walk.size();
    if cosigned.is_asked() && heads.content.final_head().is_some() {
        // Cosignatures follow the checkpoint after a moment.
        wait(settle, || reader.is_settled(newest, root_of(newest)));
    }
    let sizes: Vec<u64> = match context.list("heads/cosigned") {
        Some(listed) => listed
            .iter()
            .filter(|listed| listed.kind == ListedKind::File)
            .filter_map(|listed| strict_decimal(&listed.name))
            .filter(|size| *size <= newest)
            .collect(),
        // As many requests as the audit has made for the log's batches: so the verdict is the same as where the source can list.
        None => heads.walk.ends().iter().map(|end| end.size).collect(),
    };
    let judged = Arc::new(Mutex::new(cosigned));
    for size in sizes {
        let (reader, judged, root) = (reader.clone(), Arc::clone(&judged), root_of(size));
        pool.run(move || {
            let said = reader.judge(size, root);
            let mut judged = judged.lock().unwrap_or_else(PoisonError::into_inner);
            match said {
                Said::Complete(time) => {
                    judged.complete.insert(size, time);
                }
                Said::Unknown => {
                    judged.unknown.insert(size);
                }
                Said::Nothing => {}
            }
        });
    }
    pool.wait();
    cosigned = std::mem::take(&mut *judged.lock().unwrap_or_else(PoisonError::into_inner));
    if heads.walk.stopped() {
        // Nor is anything known of what witnesses saw above; why the log ends here is said elsewhere.
        cosigned.unknown.insert(u64::MAX);
    }
    for (size, seen) in &cosigned.complete {
        let place = Place::file(path(*size));
        judge_clock(&context, heads.content.heads(), place, *size, *seen);
    }
    judge_final(&context, heads, &cosigned);
    cosigned
}

/// What there is of the quorum for one size.
enum Said {
    /// It was complete at this time (ms since 1970).
    Complete(u64),
    /// It is not there, not enough, or wrong.
    Nothing,
    /// It could not be found out.
    Unknown,
}

/// Reads one of them.
#[derive(Clone)]
struct Reader<'a> {
    context: Context<'a>,
    witnesses: Arc<Vec<WitnessKey>>,
    quorum: usize,
}

impl Reader<'_> {
    /// Whether looking again would show nothing else: the quorum is there, or it cannot be told.
    fn is_settled(&self, size: u64, root: Option<Hash>) -> bool {
        match self.read(size) {
            Read::File(bytes) => matches!(
                self.check(size, root, &bytes),
                Ok(Said::Complete(_) | Said::Unknown)
            ),
            Read::Missing => false,
            Read::Unusable | Read::Unknown => true,
        }
    }

    /// What one of them says. A file that is wrong is a finding; one that could not be read is none.
    fn judge(&self, size: u64, root: Option<Hash>) -> Said {
        let bytes = match self.read(size) {
            Read::File(bytes) => bytes,
            Read::Missing | Read::Unusable => return Said::Nothing,
            Read::Unknown => return Said::Unknown,
        };
        self.check(size, root, &bytes).unwrap_or_else(|evidence| {
            self.context.add(
                Code::CosignatureWrong,
                Place::file(path(size)),
                Votes::AtMost(0),
                evidence,
            );
            Said::Nothing
        })
    }

    fn read(&self, size: u64) -> Read {
        self.context.read(&path(size), NOTE_BYTES_MAX)
    }

    /// "its bytes begin with those of `checkpoints/<size>`", then cosignatures of named witnesses and nothing else.
    fn check(&self, size: u64, root: Option<Hash>, bytes: &[u8]) -> Result<Said, String> {
        let own = match self
            .context
            .read(&format!("heads/checkpoints/{size}"), NOTE_BYTES_MAX)
        {
            Read::File(own) => own,
            // Where it is missing, nobody vouches for the log's own line.
            Read::Missing | Read::Unusable => Vec::new(),
            Read::Unknown => return Ok(Said::Unknown),
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
            .and_then(|last| times.get(last).copied())
            .map_or(Said::Nothing, Said::Complete))
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

/// "No head claims a time more than 5 minutes after a quorum saw it": finding `clock`. A quorum had cosigned this size by the time `seen` (ms since 1970).
pub(super) fn judge_clock(
    context: &Context<'_>,
    heads: &[HeadAt],
    place: Place,
    size: u64,
    seen: u64,
) {
    let below = heads.partition_point(|head| head.index() < size);
    let Some(newest) = below.checked_sub(1).and_then(|number| heads.get(number)) else {
        return;
    };
    if newest.time > seen.saturating_add(CLOCKS_APART_MAX) {
        context.add(
            Code::Clock,
            place,
            Votes::WholeRoll,
            format!(
                "the head at index {} claims the time {}; a quorum of witnesses had seen it by {seen} (ms since 1970)",
                newest.index(),
                newest.time
            ),
        );
    }
}

/// "Where there is a final head, `cosigned/<size>` of the heads log's last size must hold `quorum` cosignatures."
fn judge_final(context: &Context<'_>, heads: &Log<Heads<'_>>, cosigned: &Cosigned) {
    let size = heads.walk.size();
    if cosigned.is_asked()
        && heads.content.final_head().is_some()
        && !cosigned.complete.contains_key(&size)
        && !cosigned.unknown.contains(&size)
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
                unknown: BTreeSet::new(),
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
    #[test]
    fn what_could_not_be_read_makes_nobody_late() {
        let heads = [head(1, 10), head(2, 20), head(4, 40)];
        let of = |unknown: &[u64]| {
            let cosigned = Cosigned {
                quorum: 1,
                complete: BTreeMap::from([(5, 31 + CLOCKS_APART_MAX)]),
                unknown: unknown.iter().copied().collect(),
            };
            cosigned.last_in_time(&heads, 30)
        };
        assert_eq!(of(&[]), None);
        // A quorum for size 2 vouches for the first head alone; whatever witnesses say, the third claims a time that is too late itself.
        assert_eq!(of(&[2]), Some(0));
        assert_eq!(of(&[2, 3]), Some(1));
        assert_eq!(of(&[u64::MAX]), Some(1));
    }
}
