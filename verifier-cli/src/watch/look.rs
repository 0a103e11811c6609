//! One look at one source: what it shows, held against all that was ever seen.

use std::collections::BTreeMap;

use protocol::evidence::HeldCheckpoint;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::note::NOTE_BYTES_MAX;
use protocol::results::{RESULTS_LEN_MAX, Results};
use protocol::tlog_proof::TlogProof;
use sha2::{Digest as _, Sha256};

use super::cells::Budget;
use super::keep::{KeepError, Standing};
use super::{Watched, Watcher};
use crate::ask::Shown;
use crate::audit::checkpoint::{Signed, read_newest};
use crate::audit::context::{Context, Read, Unread};
use crate::audit::heads_reader::HeadsToday;
use crate::consistency::{Comparison, Relation};
use crate::finding::{Code, Findings, Place, Votes};
use crate::progress::Progress;
use crate::result;
use crate::source::Located;

/// What whoever showed a checkpoint shows besides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// The tree: a source, which must have it.
    Tree,
    /// Nothing: a witness.
    Checkpoint,
}

/// What a source showed.
#[derive(Default)]
pub(super) struct Looked {
    /// The size of each log's checkpoint, where there is a right one.
    pub(super) sizes: BTreeMap<LogId, u64>,
    pub(super) head_time: Option<u64>,
    pub(super) heads_read: bool,
    pub(super) is_final: bool,
}

impl Watcher {
    pub(super) fn look(
        &mut self,
        watched: &mut Watched,
        located: &Located,
        election: &Election,
    ) -> Result<Looked, KeepError> {
        let findings = Findings::new(election.manifest().roll.size);
        let unread = Unread::default();
        let progress = Progress::hidden();
        let context = Context {
            election,
            source: located.source.as_ref(),
            findings: &findings,
            unread: &unread,
            progress: &progress,
        };
        let looked = self.look_at(watched, located, &context);
        // What was found counts even where it could not be kept.
        self.alarms.take(&watched.given, &findings, &unread);
        looked
    }

    /// First what speaks of other files, then what it speaks of: results, heads, cells, issuance logs. So all that was taken is covered by what was taken later.
    fn look_at(
        &mut self,
        watched: &mut Watched,
        located: &Located,
        context: &Context<'_>,
    ) -> Result<Looked, KeepError> {
        let mut looked = Looked::default();
        let results = match context.read(result::FILE, RESULTS_LEN_MAX) {
            // The first results may be about to be published: the next round finds them, or finds that they are not.
            Read::Missing if !std::mem::replace(&mut watched.results_missing, true) => None,
            read => {
                watched.results_missing = matches!(read, Read::Missing);
                result::parse(context, read)
            }
        };
        let mut heads = None;
        if let Some(newest) = self.take(watched, context, LogId::Heads) {
            looked.sizes.insert(LogId::Heads, newest.size());
            self.observe(context, located, &newest)?;
            heads = watched.heads.follow(context, &newest);
        }
        let logs = context.election.logs().to_vec();
        let mut newest: BTreeMap<LogId, Signed> = BTreeMap::new();
        for log in logs {
            let Some(signed) = self.take(watched, context, log) else {
                continue;
            };
            let wrong_key = |heads: &Option<HeadsToday>| {
                heads
                    .as_ref()
                    .and_then(|heads| heads.switches.judge(log, &signed))
            };
            if wrong_key(&heads).is_some()
                && let Some(now) = read_newest(context, LogId::Heads)
            {
                // The log may have gone over to its spare since the heads were read: then the notice is there by now.
                heads = watched.heads.follow(context, &now).or(heads);
            }
            if let Some((code, evidence)) = wrong_key(&heads) {
                let place = Place::file(format!("{log}/checkpoint"));
                context.add(code, place, Votes::WholeRoll, evidence);
            }
            looked.sizes.insert(log, signed.size());
            newest.insert(log, signed);
        }
        if let Some(heads) = &heads {
            looked.heads_read = true;
            looked.is_final = heads.is_final;
            looked.head_time = heads.head.as_ref().map(|head| head.time);
        }
        let fingerprint = fingerprint(results.as_ref(), heads.as_ref(), &newest);
        if watched.settled != Some(fingerprint) {
            for signed in newest.values() {
                self.observe(context, located, signed)?;
            }
            self.observe_results(context, located, results.as_ref())?;
            if let Some(heads) = &heads {
                judge_results(watched, context, heads, &newest, results.as_ref());
            }
            let is_right = context.findings.is_empty()
                && context.unread.is_empty()
                && heads.is_some()
                && !watched.results_overdue;
            watched.settled = is_right.then_some(fingerprint);
        }
        self.recount(context, &newest);
        Ok(looked)
    }

    /// A log's `checkpoint`. What was there once must stay there, and not shrink.
    fn take(&self, watched: &mut Watched, context: &Context<'_>, log: LogId) -> Option<Signed> {
        let path = format!("{log}/checkpoint");
        let kept = self.keep.newest(log);
        let Some(signed) = read_newest(context, log) else {
            if let Some(kept) = kept
                && matches!(context.read(&path, NOTE_BYTES_MAX), Read::Missing)
            {
                context.add(
                    Code::MissingFile,
                    Place::file(path),
                    Votes::WholeRoll,
                    format!(
                        "there is no such file, and one of size {} was seen before",
                        kept.checkpoint.size()
                    ),
                );
            }
            return None;
        };
        let seen = watched.seen.entry(log).or_default();
        if signed.size() < *seen {
            context.add(
                Code::CheckpointRollback,
                Place::file(path),
                Votes::AtMost(*seen - signed.size()),
                format!(
                    "this source showed size {seen} before, and shows {} now",
                    signed.size()
                ),
            );
        }
        *seen = signed.size().max(*seen);
        Some(signed)
    }

    /// Holds a checkpoint against what was seen before, and keeps it.
    fn observe(
        &mut self,
        context: &Context<'_>,
        located: &Located,
        signed: &Signed,
    ) -> Result<(), KeepError> {
        match HeldCheckpoint::read(&signed.bytes, context.election) {
            Ok(held) => self.observe_held(context, located, &held, Shows::Tree),
            // It was verified when it was read.
            Err(_) => Ok(()),
        }
    }

    fn observe_held(
        &mut self,
        context: &Context<'_>,
        located: &Located,
        held: &HeldCheckpoint,
        shows: Shows,
    ) -> Result<(), KeepError> {
        if held.checkpoint.size() == 0 || self.keep.knows(held) {
            return Ok(());
        }
        let Some(kept) = self.keep.newest(held.log).cloned() else {
            return self.keep.keep(held, Standing::Consistent);
        };
        let (older, newer) = if kept.checkpoint.size() <= held.checkpoint.size() {
            (&kept, held)
        } else {
            (held, &kept)
        };
        // The source itself first: any copy will do, since tiles are proven.
        let others = self
            .located
            .iter()
            .filter(|other| other.place != located.place);
        let sources: Vec<Located> = std::iter::once(located).chain(others).cloned().collect();
        let comparison = Comparison {
            election: context.election,
            sources: &sources,
        };
        let mut relation = comparison.relation(older, newer);
        if older == held
            && matches!(relation, Relation::Unknown(_))
            && let Some(below) = self.keep.at_most(held.log, held.checkpoint.size())
            && let split @ Relation::Split(_) = comparison.relation(below, held)
        {
            // Nobody shows the newest tree, and an older one contradicts it already.
            relation = split;
        }
        match relation {
            Relation::Consistent => self.keep.keep(held, Standing::Consistent),
            Relation::Split(split) => {
                self.keep.keep(held, Standing::Conflicting)?;
                // Only what convinces others is said.
                let (Ok(proven), Ok(bytes)) =
                    (split.verify(&context.election.id()), split.encode())
                else {
                    return Ok(());
                };
                let path = self.keep.keep_split(held.log, &bytes)?;
                context.add(
                    Code::Equivocation,
                    Place::file(format!("{}/checkpoint", held.log)),
                    Votes::WholeRoll,
                    format!(
                        "the log's key signed size {} with root {}, and size {} of a tree whose root at size {} is {}; the proof for everybody is {}",
                        proven.older.size(),
                        proven.older.root(),
                        proven.newer.size(),
                        proven.older.size(),
                        proven.root,
                        path.display()
                    ),
                );
                Ok(())
            }
            Relation::Unknown(why) => {
                self.keep.keep(held, Standing::Unproven)?;
                // The tree that this source signed must be the one that it shows.
                let shows_it = newer == held && shows == Shows::Tree;
                let what = format!(
                    "that size {} starts with size {} is not shown: {}",
                    newer.checkpoint.size(),
                    older.checkpoint.size(),
                    why.join("; ")
                );
                if shows_it && context.unread.is_empty() {
                    context.add(
                        Code::TileMismatch,
                        Place::file(format!("{}/checkpoint", held.log)),
                        Votes::AtMost(0),
                        what,
                    );
                } else {
                    context.unread.note(format!("{}: {what}", held.log));
                }
                Ok(())
            }
        }
    }

    /// Holds what a witness cosigned last against what was seen before, and keeps it.
    pub(super) fn observe_witness(
        &mut self,
        election: &Election,
        shown: &Shown,
        findings: &Findings,
        unread: &Unread,
    ) -> Result<(), KeepError> {
        let Some(located) = self.located.first().cloned() else {
            return Ok(());
        };
        let progress = Progress::hidden();
        let context = Context {
            election,
            source: located.source.as_ref(),
            findings,
            unread,
            progress: &progress,
        };
        self.observe_held(&context, &located, &shown.held, Shows::Checkpoint)
    }

    /// The checkpoints that results carry bind the operator as any other.
    fn observe_results(
        &mut self,
        context: &Context<'_>,
        located: &Located,
        results: Option<&Results>,
    ) -> Result<(), KeepError> {
        let proofs = results.into_iter().flat_map(|results| &results.cells);
        for proof in proofs.filter_map(|cell| cell.proof.as_ref()) {
            let held = TlogProof::parse(proof.as_bytes())
                .ok()
                .and_then(|proof| HeldCheckpoint::read(proof.checkpoint(), context.election).ok());
            if let Some(held) = held {
                self.observe_held(context, located, &held, Shows::Tree)?;
            }
        }
        Ok(())
    }

    /// Recounts what is new, in trees that continue what was seen before.
    fn recount(&mut self, context: &Context<'_>, newest: &BTreeMap<LogId, Signed>) {
        let mut budget = Budget::of_round();
        for (log, signed) in newest {
            let LogId::Cell(cell) = log else { continue };
            let held = HeldCheckpoint::read(&signed.bytes, context.election);
            if held.is_ok_and(|held| self.keep.knows(&held)) {
                self.cells
                    .advance(context, *cell, &signed.checkpoint, &mut budget);
            }
        }
    }
}

/// Results, and the newest head, against the cells.
fn judge_results(
    watched: &mut Watched,
    context: &Context<'_>,
    heads: &HeadsToday,
    newest: &BTreeMap<LogId, Signed>,
    results: Option<&Results>,
) {
    let cells: Vec<Option<Signed>> = (0..context.election.cells())
        .map(|cell| newest.get(&LogId::Cell(cell)).cloned())
        .collect();
    result::judge_head(context, heads, &cells);
    let Some(results) = results else { return };
    // Just after the final head, results may be about to follow: the next round finds them, or finds that they do not.
    let is_due = result::is_due(results, heads);
    let was_overdue = std::mem::replace(&mut watched.results_overdue, !is_due);
    if is_due || was_overdue {
        result::check(context, heads, &cells, results);
    }
}

fn fingerprint(
    results: Option<&Results>,
    heads: Option<&HeadsToday>,
    newest: &BTreeMap<LogId, Signed>,
) -> [u8; 32] {
    let mut digest = Sha256::new();
    let results = results.and_then(|results| results.to_bytes().ok());
    let heads = heads.map(|heads| heads.newest.bytes.as_slice());
    let notes = newest.values().map(|signed| signed.bytes.as_slice());
    for bytes in [results.as_deref(), heads]
        .into_iter()
        .flatten()
        .chain(notes)
    {
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    }
    digest.finalize().into()
}
