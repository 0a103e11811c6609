//! One look at one source: what it shows, held against all that was ever seen. Each runs in a thread of its own.

use std::collections::BTreeMap;

use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::note::NOTE_BYTES_MAX;

use super::cells::Recount;
use super::heads::Heads;
use super::judge::HeadSeen;
use super::keep::KeepError;
use super::memory::Memory;
use super::observe::{Observer, Shows};
use super::results::{fingerprint, judge_results, results_len_max};
use super::timed::{Limits, Timed, Until};
use crate::audit::checkpoint::{Signed, read_newest};
use crate::audit::context::{Context, Read, Unread};
use crate::audit::heads_reader::HeadsToday;
use crate::audit::manifest::{self, NoManifest};
use crate::finding::{Code, Findings, Place, ROLL_MAX, Votes};
use crate::progress::Progress;
use crate::result;
use crate::source::{Located, locate};

/// One copy of the election.
#[derive(Default)]
pub(super) struct Watched {
    /// As the user wrote it.
    pub(super) given: String,
    located: Option<Located>,
    heads: Heads,
    /// What was checked last and found right: there is no need to check it again.
    settled: Option<[u8; 32]>,
    /// Results were not what the heads log calls for in the round before: they may have been about to be published.
    results_overdue: bool,
    /// The largest size of each log that it showed.
    pub(super) seen: BTreeMap<String, u64>,
}

impl Watched {
    pub(super) fn new(given: &str, seen: &BTreeMap<String, u64>) -> Self {
        Self {
            given: given.to_owned(),
            seen: seen.clone(),
            ..Self::default()
        }
    }
}

/// What a source showed.
pub(super) struct Looked {
    pub(super) findings: Findings,
    pub(super) unread: Unread,
    /// The size of each log's checkpoint, where there is a right one.
    pub(super) sizes: BTreeMap<LogId, u64>,
    pub(super) head: Option<HeadSeen>,
    pub(super) heads_read: bool,
    pub(super) heads_missing: bool,
    pub(super) is_final: bool,
    pub(super) cancelled: bool,
    /// It took more time than a look has.
    pub(super) cut: bool,
    /// What was seen could not be kept.
    pub(super) failed: Option<KeepError>,
}

impl Looked {
    fn new(roll: u64) -> Self {
        Self {
            findings: Findings::new(roll),
            unread: Unread::default(),
            sizes: BTreeMap::new(),
            head: None,
            heads_read: false,
            heads_missing: false,
            is_final: false,
            cancelled: false,
            cut: false,
            failed: None,
        }
    }
}

/// Looks at a source once.
pub(super) fn look(memory: &Memory, watched: &mut Watched, limits: &Limits) -> Looked {
    let until = Until::of(limits.look);
    let election = match find(memory, watched) {
        Ok(election) => election,
        Err(looked) => return *looked,
    };
    let Some(located) = watched
        .located
        .as_ref()
        .map(|at| Timed::located(at, &until))
    else {
        return Looked::new(ROLL_MAX);
    };
    let mut looked = Looked::new(election.manifest().roll.size);
    let (findings, unread) = (
        Findings::new(election.manifest().roll.size),
        Unread::default(),
    );
    let progress = Progress::hidden();
    let context = Context {
        election: &election,
        source: located.source.as_ref(),
        findings: &findings,
        unread: &unread,
        progress: &progress,
    };
    let given = watched.given.clone();
    let observer = Observer {
        memory,
        context: &context,
        given: &given,
        until: &until,
        shows: Shows::Tree,
    };
    let result = Look {
        observer,
        limits,
        watched,
    }
    .run(&mut looked);
    // What was found counts even where it could not be kept.
    looked.failed = result.err();
    looked.cut = until.was_cut();
    (looked.findings, looked.unread) = (findings, unread);
    looked
}

/// Finds a source that was not found before. A wrong manifest is a finding; a source that does not answer is unread.
fn find(memory: &Memory, watched: &mut Watched) -> Result<Election, Box<Looked>> {
    if watched.located.is_some()
        && let Some(election) = memory.election()
    {
        return Ok(election);
    }
    let unread = |problem: String| {
        let looked = Looked::new(ROLL_MAX);
        looked.unread.note(problem);
        Box::new(looked)
    };
    let located = locate(&watched.given, &memory.id).map_err(|error| unread(error.to_string()))?;
    match manifest::open(located.source.as_ref(), &memory.id) {
        Ok(election) => {
            let mut inner = memory.lock();
            if inner.election.is_none() {
                inner.take_up(&election);
            }
            inner.located.insert(watched.given.clone(), located.clone());
            watched.located = Some(located);
            Ok(election)
        }
        Err(NoManifest::Unread(problem)) => Err(unread(problem)),
        Err(NoManifest::Finding(code, evidence)) => {
            let looked = Looked::new(ROLL_MAX);
            let place = Place::file("manifest.json");
            looked.findings.add(code, place, Votes::WholeRoll, evidence);
            Err(Box::new(looked))
        }
    }
}

struct Look<'a> {
    observer: Observer<'a>,
    limits: &'a Limits,
    watched: &'a mut Watched,
}

impl Look<'_> {
    /// First what speaks of other files, then what it speaks of: results, heads, cells, issuance logs. So all that was taken is covered by what was taken later.
    fn run(&mut self, looked: &mut Looked) -> Result<(), KeepError> {
        let context = self.observer.context;
        let results = result::parse(
            context,
            context.read(result::FILE, results_len_max(context.election)),
        );
        let mut heads = None;
        if let Some(newest) = self.take(LogId::Heads) {
            looked.sizes.insert(LogId::Heads, newest.size());
            self.observer.observe(&newest)?;
            heads = self.follow(&newest);
        } else {
            looked.heads_missing = matches!(
                context.read("heads/checkpoint", NOTE_BYTES_MAX),
                Read::Missing
            );
        }
        let logs = context.election.logs().to_vec();
        let mut newest: BTreeMap<LogId, Signed> = BTreeMap::new();
        for log in logs {
            let Some(signed) = self.take(log) else {
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
                heads = self.follow(&now).or(heads);
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
            looked.cancelled = heads.cancelled;
            looked.head = heads.head.clone().map(|head| HeadSeen {
                size: heads.newest.size(),
                head,
            });
        } else if context.findings.is_empty() && context.unread.is_empty() {
            context.unread.note(
                "heads/checkpoint is not there (yet): without heads, neither results nor keys can be checked".to_owned(),
            );
        }
        let fingerprint = fingerprint(results.as_ref(), heads.as_ref(), &newest);
        if self.watched.settled != Some(fingerprint) {
            for signed in newest.values() {
                self.observer.observe(signed)?;
            }
            self.observer.observe_results(results.as_ref())?;
            if let Some(heads) = &heads {
                judge_results(
                    &mut self.watched.results_overdue,
                    context,
                    heads,
                    &newest,
                    results.as_ref(),
                );
            }
            let is_right = context.findings.is_empty()
                && context.unread.is_empty()
                && heads.is_some()
                && !self.watched.results_overdue;
            self.watched.settled = is_right.then_some(fingerprint);
        }
        Recount::new(&self.observer, self.limits).run(self.observer.known_cells(&newest));
        Ok(())
    }

    fn follow(&mut self, newest: &Signed) -> Option<HeadsToday> {
        let Observer { context, until, .. } = self.observer;
        self.watched
            .heads
            .follow(context, newest, self.limits.heads, until)
    }

    /// A log's `checkpoint`. What was there once must stay there, and not shrink.
    fn take(&mut self, log: LogId) -> Option<Signed> {
        let context = self.observer.context;
        let path = format!("{log}/checkpoint");
        let Some(signed) = read_newest(context, log) else {
            let kept = self.observer.memory.lock().keep.newest(log).cloned();
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
        let seen = self.watched.seen.entry(log.prefix()).or_default();
        if signed.size() < *seen {
            context.add(
                Code::CheckpointRollback,
                Place::file(path),
                Votes::in_missing(log, *seen - signed.size()),
                format!(
                    "this source showed size {seen} before, and shows {} now",
                    signed.size()
                ),
            );
        }
        *seen = signed.size().max(*seen);
        Some(signed)
    }
}
