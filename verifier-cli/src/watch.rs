//! Following a live election: several copies of it, round by round, with a memory that survives.
//!
//! An audit sees what one source shows at one moment. What a dishonest operator can do over time, or show to some and not to others, only those see who look often and
//! keep what they saw. So each round takes every log's checkpoint from each source, and holds it against all that was ever seen: one log can only grow. Results and new batches are
//! checked on the way, so that a false tally is raised while the election runs.

mod alarm;
mod cells;
mod heads;
mod keep;
mod look;
mod metrics;

use std::collections::BTreeMap;
use std::path::Path;

use protocol::ids::{ElectionId, LogId};
use protocol::manifest::Election;

pub use alarm::{Event, HEAD_AHEAD, LATE_HEAD};
pub use keep::KeepError;
pub use metrics::{Metrics, serve};

use self::alarm::Alarms;
use self::cells::Cells;
use self::heads::Heads;
use self::keep::Keep;
use crate::ask::{Shown, ask};
use crate::audit::context::Unread;
use crate::audit::manifest::{self, NoManifest};
use crate::finding::{Code, Findings, Place, Severity, Votes};
use crate::source::{Located, locate};
use crate::verdict::Outcome;

/// A head may be so many intervals old,
const LATE_INTERVALS: u64 = 3;
/// but is not late before this (ms).
const LATE_AT_LEAST: u64 = 30_000;
/// How far the watcher's clock and an honest head's may be apart (ms); the same as between heads and witnesses.
const AHEAD_MAX: u64 = 300_000;

/// Follows one election. See the [module](self).
pub struct Watcher {
    id: ElectionId,
    election: Option<Election>,
    sources: Vec<Watched>,
    /// Where witnesses serve what they cosigned last.
    witnesses: Vec<String>,
    /// Those that were found: any of them may show the tiles that another lacks.
    located: Vec<Located>,
    keep: Keep,
    cells: Cells,
    alarms: Alarms,
    round: u64,
    metrics: Metrics,
    /// Whether a source could not be read in the newest round.
    unread: bool,
}

/// One copy of the election.
struct Watched {
    /// As the user wrote it.
    given: String,
    located: Option<Located>,
    heads: Heads,
    /// What was checked last and found right: there is no need to check it again.
    settled: Option<[u8; 32]>,
    /// Results were not what the heads log calls for in the round before: they may have been about to be published.
    results_overdue: bool,
    /// There were no results in the round before.
    results_missing: bool,
    /// The largest size of each log that it showed.
    seen: BTreeMap<LogId, u64>,
}

impl Watcher {
    /// A watcher of these sources (URLs or directories), which asks witnesses at these URLs, with its memory in the folder `state`.
    ///
    /// # Errors
    /// The folder cannot be used: another watcher's, another election's, or not writable.
    pub fn open(
        id: &ElectionId,
        sources: &[String],
        witnesses: &[String],
        state: &Path,
    ) -> Result<Self, KeepError> {
        let keep = Keep::open(state, id)?;
        Ok(Self {
            id: *id,
            election: None,
            sources: sources
                .iter()
                .map(|given| Watched {
                    given: given.clone(),
                    located: None,
                    heads: Heads::default(),
                    settled: None,
                    results_overdue: false,
                    results_missing: false,
                    seen: BTreeMap::new(),
                })
                .collect(),
            witnesses: witnesses.to_vec(),
            located: Vec::new(),
            keep,
            cells: Cells::default(),
            alarms: Alarms::default(),
            round: 0,
            metrics: Metrics::default(),
            unread: false,
        })
    }

    /// What the metrics page shows; shared with whoever serves it.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// How it stands: 1 once anything was raised; else unchecked while something cannot be read.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.alarms.raised() > 0 {
            Outcome::Findings
        } else if self.unread || self.round == 0 {
            Outcome::Unchecked
        } else {
            Outcome::Verified
        }
    }

    /// The last event of a run.
    #[must_use]
    pub fn end(&self) -> Event {
        Event::End {
            verdict: self.outcome(),
            rounds: self.round,
            raised: self.alarms.raised(),
            raised_by_code: self.alarms.by_code().clone(),
            checkpoints: self.keep.count(),
        }
    }

    /// Looks at every source once. `now` is the watcher's own clock (ms since 1970); without one, no head is late or ahead.
    ///
    /// # Errors
    /// What was seen could not be kept: a watcher without memory is none.
    pub fn round(&mut self, now: Option<u64>) -> Result<Vec<Event>, KeepError> {
        let clock = now;
        let now = clock.unwrap_or(0);
        self.round += 1;
        self.unread = false;
        self.alarms.begin(self.round, now);
        let mut sources = std::mem::take(&mut self.sources);
        // Before the sources: whatever a witness cosigned by now is published by the time when they are read.
        let asked = self.ask();
        let mut newest_head: Option<u64> = None;
        let (mut heads_read, mut is_final) = (false, false);
        // Per log: how many sources showed it, and the largest size.
        let mut shown: BTreeMap<LogId, (usize, u64)> = BTreeMap::new();
        let mut result = Ok(());
        for watched in &mut sources {
            if !self.find(watched) {
                continue;
            }
            let (Some(located), Some(election)) = (watched.located.clone(), self.election.clone())
            else {
                continue;
            };
            let looked = self.look(watched, &located, &election);
            match looked {
                Ok(looked) => {
                    heads_read |= looked.heads_read;
                    is_final |= looked.is_final;
                    newest_head = newest_head.max(looked.head_time);
                    for (log, size) in looked.sizes {
                        let entry = shown.entry(log).or_default();
                        *entry = (entry.0 + 1, entry.1.max(size));
                    }
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        let count = sources.len();
        self.sources = sources;
        result?;
        if let Some(election) = self.election.clone() {
            self.judge_all(&election, count, &shown);
            self.judge_witnesses(&election, clock, &asked, shown.get(&LogId::Heads))?;
            if let Some(now) = clock
                && heads_read
            {
                if !is_final {
                    self.judge_lateness(&election, now, newest_head);
                }
                self.judge_ahead(now, newest_head);
            }
        }
        self.unread |= self.alarms.any_unread();
        let events = self.alarms.finish();
        self.keep.log(&events)?;
        self.keep.save(&self.cells)?;
        self.metrics
            .update(self.round, now, newest_head, &shown, &self.alarms);
        Ok(events)
    }

    /// Finds a source that was not found before. A wrong manifest is a finding; a source that does not answer is unread.
    fn find(&mut self, watched: &mut Watched) -> bool {
        if watched.located.is_some() {
            return true;
        }
        let located = match locate(&watched.given, &self.id) {
            Ok(located) => located,
            Err(error) => {
                self.alarms.unread(&watched.given, error.to_string());
                return false;
            }
        };
        match manifest::open(located.source.as_ref(), &self.id) {
            Ok(election) => {
                if self.election.is_none() {
                    self.keep.load(&election, &mut self.cells);
                    self.election = Some(election);
                }
                self.located.push(located.clone());
                watched.located = Some(located);
                true
            }
            Err(NoManifest::Unread(problem)) => {
                self.alarms.unread(&watched.given, problem);
                false
            }
            Err(NoManifest::Finding(code, evidence)) => {
                let findings = Findings::new(0);
                findings.add(
                    code,
                    Place::file("manifest.json"),
                    Votes::WholeRoll,
                    evidence,
                );
                self.alarms
                    .take(&watched.given, &findings, &Unread::default());
                false
            }
        }
    }

    /// Where every source answers and all are below what was once seen, the log was rolled back, whatever the sources are called today.
    fn judge_all(
        &mut self,
        election: &Election,
        sources: usize,
        shown: &BTreeMap<LogId, (usize, u64)>,
    ) {
        let findings = Findings::new(election.manifest().roll.size);
        for (log, (answered, size)) in shown {
            let Some(kept) = self.keep.newest(*log) else {
                continue;
            };
            let before = kept.checkpoint.size();
            if *answered == sources && *size < before {
                let place = format!("{log}/checkpoint");
                if self.alarms.is_raised(Code::CheckpointRollback, &place) {
                    continue;
                }
                findings.add(
                    Code::CheckpointRollback,
                    Place::file(place),
                    Votes::AtMost(before - size),
                    format!(
                        "every source shows at most size {size}, and its key signed size {before}, which is kept: the log was cut, or all sources are older copies"
                    ),
                );
            }
        }
        self.alarms
            .take("all sources", &findings, &Unread::default());
    }

    /// Asks every witness, once it is known which election this is.
    fn ask(&self) -> Vec<(String, Result<Shown, String>)> {
        let Some(election) = &self.election else {
            return Vec::new();
        };
        let answers = ask(&self.witnesses, election);
        self.witnesses.iter().cloned().zip(answers).collect()
    }

    /// What witnesses hold is held against what was seen, and kept with it. `heads`: how many sources showed the heads log, and its largest size.
    fn judge_witnesses(
        &mut self,
        election: &Election,
        clock: Option<u64>,
        asked: &[(String, Result<Shown, String>)],
        heads: Option<&(usize, u64)>,
    ) -> Result<(), KeepError> {
        for (url, answer) in asked {
            let name = format!("witness {url}");
            let shown = match answer {
                Ok(shown) => shown,
                Err(problem) => {
                    self.alarms.unread(&name, problem.clone());
                    continue;
                }
            };
            let findings = Findings::new(election.manifest().roll.size);
            let unread = Unread::default();
            let result = self.observe_witness(election, shown, &findings, &unread);
            let (answered, largest) = heads.copied().unwrap_or_default();
            let size = shown.checkpoint().size();
            if answered == self.sources.len()
                && largest < size
                && clock.is_some_and(|now| now.saturating_sub(shown.time) > allowed_age(election))
            {
                findings.add(
                    Code::CheckpointRollback,
                    Place::file("heads/checkpoint"),
                    Votes::AtMost(size - largest),
                    format!(
                        "a witness cosigned size {size}, and every source shows at most size {largest}: the log was cut, or all sources are older copies"
                    ),
                );
            }
            self.alarms.take(&name, &findings, &unread);
            result?;
        }
        Ok(())
    }

    fn judge_lateness(&mut self, election: &Election, now: u64, newest: Option<u64>) {
        let manifest = election.manifest();
        let allowed = allowed_age(election);
        // Before the first head, nothing is due until the election opens.
        let since = newest.unwrap_or(manifest.times.opening);
        let age = now.saturating_sub(since);
        if age > allowed {
            self.alarms.clock(LATE_HEAD, Severity::Major, 0, format!(
                "the newest head is {} s old by this machine's clock, and at most {} s are allowed: what is published since is covered by nothing that anchors or witnesses keep",
                age / 1_000,
                allowed / 1_000
            ));
        }
    }

    /// Whoever sets the heads' times forward can end the voting early, and have witnesses cosign when the true time has caught up: only who looks meanwhile sees it.
    fn judge_ahead(&mut self, now: u64, newest: Option<u64>) {
        let Some(ahead) = newest.and_then(|time| time.checked_sub(now)) else {
            return;
        };
        if ahead > AHEAD_MAX {
            let roll = self.election.as_ref();
            let roll = roll.map_or(0, |election| election.manifest().roll.size);
            self.alarms.clock(HEAD_AHEAD, Severity::Critical, roll, format!(
                "the newest head claims a time {} s ahead of this machine's clock, and at most {} s are allowed: openings and closings go by the heads' times",
                ahead / 1_000,
                AHEAD_MAX / 1_000
            ));
        }
    }
}

/// How old the newest head may be, and how long a cosigned one may stay unseen (ms).
fn allowed_age(election: &Election) -> u64 {
    election
        .manifest()
        .head_interval_ms
        .saturating_mul(LATE_INTERVALS)
        .max(LATE_AT_LEAST)
}
