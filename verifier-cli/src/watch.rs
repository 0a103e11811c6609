//! Following a live election: several copies of it, round by round, with a memory that survives.
//!
//! An audit sees what one source shows at one moment. What a dishonest operator can do over time, or show to some and not to others, only those see who look often and
//! keep what they saw. So each round takes every log's checkpoint from each source, and holds it against all that was ever seen: one log can only grow. Results and new batches are
//! checked on the way, so that a false tally is raised while the election runs. The sources are looked at side by side: one that does not answer holds up no other.

mod alarm;
mod cells;
mod heads;
mod jobs;
mod judge;
mod keep;
mod look;
mod memory;
mod metrics;
mod observe;
mod results;
mod round;
mod state;
mod timed;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use protocol::ids::{ElectionId, LogId};
use protocol::manifest::Election;

pub use alarm::{Event, HEAD_AHEAD, LATE_HEAD, UNCOVERED};
pub(crate) use judge::allowed_age;
pub use keep::KeepError;
pub use metrics::{Metrics, serve};
pub use timed::Limits;

use self::alarm::Alarms;
use self::jobs::{Jobs, Task};
use self::judge::{Shown, Uncovered};
use self::keep::Keep;
use self::look::Watched;
use self::memory::Memory;
use self::state::State;
use crate::ask;
use crate::verdict::Outcome;

/// What is said when the recount does not keep up: of no source.
const RECOUNT: &str = "the recount";

/// Follows one election. See the [module](self).
pub struct Watcher {
    memory: Arc<Memory>,
    jobs: Jobs,
    sources: Vec<Source>,
    /// Where witnesses serve what they cosigned last.
    witnesses: Vec<Witness>,
    uncovered: BTreeMap<String, Uncovered>,
    alarms: Alarms,
    round: u64,
    metrics: Metrics,
    /// Something could not be read in the newest round.
    unread: bool,
    seen: Seen,
}

/// What the newest round saw, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Sources whose heads log was read, and how many there are.
    pub sources: (usize, usize),
    /// Witnesses that answered, and how many were asked for.
    pub witnesses: (usize, usize),
    /// The largest size of the heads log that was shown.
    pub heads: u64,
    /// The entries of all cells, each at the largest size that was shown.
    pub cells: u64,
    /// Findings that stand in this round.
    pub standing: usize,
    /// There is a final head.
    pub is_final: bool,
}

/// A copy of the election.
struct Source {
    given: String,
    task: Task,
    /// Not here while it is looked at.
    watched: Option<Watched>,
    /// The largest size of each log that it showed.
    seen: BTreeMap<String, u64>,
}

struct Witness {
    name: String,
    url: String,
    task: Task,
    /// What it answered, until it is held against what was seen.
    answer: Option<ask::Shown>,
    /// The rounds in which it was asked and heard last; 0: in none.
    asked_in: u64,
    heard_in: u64,
}

/// By this machine's clock (ms since 1970).
pub(crate) fn now() -> Option<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// Whom a round hears from as it goes.
type Say<'a> = &'a mut dyn FnMut(&Event);

impl Watcher {
    /// A watcher of these sources (URLs or directories), which asks witnesses at these URLs, with its memory in the folder `state`.
    ///
    /// # Errors
    /// The folder cannot be used: another watcher's, another election's, nobody's, not writable, or what it remembers cannot be read.
    pub fn open(
        id: &ElectionId,
        sources: &[String],
        witnesses: &[String],
        state: &Path,
    ) -> Result<Self, KeepError> {
        let mut keep = Keep::open(state, id)?;
        let mut state = keep.state()?;
        let mut alarms = Alarms::default();
        alarms.load(state.alarms);
        let memory = Arc::new(Memory::new(*id, keep, state.cells));
        let sources = sources.iter().map(|given| {
            let seen = state.seen.remove(given).unwrap_or_default();
            Source {
                given: given.clone(),
                task: Task::default(),
                watched: None,
                seen,
            }
        });
        let witnesses = witnesses
            .iter()
            .take(ask::WITNESSES_ASKED_MAX)
            .map(|url| Witness {
                name: format!("witness {url}"),
                url: url.clone(),
                task: Task::default(),
                answer: None,
                asked_in: 0,
                heard_in: 0,
            });
        Ok(Self {
            jobs: Jobs::new(Arc::clone(&memory)),
            memory,
            sources: sources.collect(),
            witnesses: witnesses.collect(),
            uncovered: state.uncovered,
            alarms,
            round: 0,
            metrics: Metrics::default(),
            unread: false,
            seen: Seen::default(),
        })
    }

    /// What it may spend on one look.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.jobs.limits = limits;
        self
    }

    /// What the metrics page shows; shared with whoever serves it.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// How it stands: 1 once anything was raised, also before a restart; else unchecked while something cannot be read.
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

    /// What the newest round saw.
    #[must_use]
    pub const fn seen(&self) -> Seen {
        self.seen
    }

    /// The last event of a run.
    #[must_use]
    pub fn end(&self) -> Event {
        Event::End {
            verdict: self.outcome(),
            rounds: self.round,
            raised: self.alarms.raised(),
            raised_before: self.alarms.raised_before(),
            raised_by_code: self.alarms.by_code().clone(),
            checkpoints: self.memory.lock().keep.count(),
        }
    }

    /// Looks at every source once, and returns all that is to be said. See [`Self::round_saying`].
    ///
    /// # Errors
    /// What was seen could not be kept: a watcher without memory is none.
    pub fn round(&mut self, now: Option<u64>) -> Result<Vec<Event>, KeepError> {
        let mut events = Vec::new();
        self.round_saying(now, &mut |event| events.push(event.clone()))?;
        Ok(events)
    }

    /// Looks at every source once, and says what was found as soon as a look has ended. `now` is the watcher's own clock (ms since 1970); without one, no head is late or ahead.
    ///
    /// A look that does not end in its time is said to be unread, and goes on.
    ///
    /// # Errors
    /// What was seen could not be kept: a watcher without memory is none.
    pub fn round_saying(&mut self, now: Option<u64>, say: Say<'_>) -> Result<(), KeepError> {
        self.round += 1;
        // Until this round has ended well.
        self.unread = true;
        self.alarms.begin(self.round, now.unwrap_or(0));
        let mut shown = Shown::default();
        // What ended since the last round; then nobody waits for a thread that is gone.
        while let Some(done) = self.jobs.next(Instant::now()) {
            self.take(done, &mut shown, now, say)?;
        }
        let tasks = self.sources.iter_mut().map(|source| &mut source.task);
        let witnesses = self.witnesses.iter_mut().map(|witness| &mut witness.task);
        self.jobs.free(tasks.chain(witnesses));

        let look = self.jobs.limits.look;
        // Before the sources: whatever a witness cosigned by now is published by the time when they are read.
        self.ask();
        self.wait(
            Instant::now() + look / 6,
            &mut shown,
            now,
            say,
            Self::are_witnesses_done,
        )?;
        self.look();
        self.wait(Instant::now() + look, &mut shown, now, say, |watcher| {
            !watcher
                .sources
                .iter()
                .any(|source| source.task.is_running())
        })?;
        // Only the first look told which election this is: who is asked once is asked now.
        if self.ask_first() {
            self.wait(
                Instant::now() + look / 6,
                &mut shown,
                now,
                say,
                Self::are_witnesses_done,
            )?;
        }
        self.leave_behind(&mut shown);
        if let Some(election) = self.memory.election() {
            self.compare(&election);
            self.wait(
                Instant::now() + look / 6,
                &mut shown,
                now,
                say,
                Self::are_witnesses_done,
            )?;
            self.judge(&election, now, &shown);
        }
        for witness in &self.witnesses {
            if witness.task.is_running() {
                let problem = "it has not answered yet; nobody else waits for it".to_owned();
                self.alarms.unread(&witness.name, problem);
                self.alarms.carry(&witness.name);
            }
        }
        let (behind, cells) = self.memory.behind();
        if behind > 0 {
            self.alarms.unread(RECOUNT, format!(
                "{behind} entries of {cells} cells were published and not recounted yet; the next rounds go on with them"
            ));
        }
        self.say(say)?;
        self.save()?;
        self.unread = self.alarms.any_unread();
        let size = |log| shown.logs.get(&log).map_or(0, |(_, size)| *size);
        let cells = shown.logs.iter();
        self.seen = Seen {
            sources: (
                shown
                    .logs
                    .get(&LogId::Heads)
                    .map_or(0, |(sources, _)| sources.len()),
                self.sources.len(),
            ),
            witnesses: (
                self.witnesses
                    .iter()
                    .filter(|witness| witness.heard_in == self.round)
                    .count(),
                self.witnesses.len(),
            ),
            heads: size(LogId::Heads),
            cells: cells
                .filter(|(log, _)| matches!(log, LogId::Cell(_)))
                .map(|(_, (_, size))| *size)
                .sum(),
            standing: self.alarms.standing(),
            is_final: shown.is_final,
        };
        let clock = now.unwrap_or(0);
        self.metrics
            .update(self.round, clock, &shown, behind, &self.alarms);
        Ok(())
    }

    fn are_witnesses_done(&self) -> bool {
        let mut witnesses = self.witnesses.iter();
        !witnesses.any(|witness| witness.task.is_running())
    }

    fn judge(&mut self, election: &Election, now: Option<u64>, shown: &Shown) {
        // A folder moves only if somebody updates it.
        let folders = self
            .sources
            .iter()
            .all(|source| !source.given.contains("://"));
        let alarms = &mut self.alarms;
        judge::judge_all(alarms, &self.memory, election, self.sources.len(), shown);
        if let Some(now) = now {
            judge::judge_lateness(alarms, election, now, shown, folders);
            judge::judge_ahead(alarms, election, now, shown);
            judge::judge_uncovered(alarms, &mut self.uncovered, election, now, shown);
        }
    }

    /// Says what there is to say, and writes it down.
    fn say(&mut self, say: Say<'_>) -> Result<(), KeepError> {
        let events = self.alarms.take_events();
        for event in &events {
            say(event);
        }
        self.memory.lock().keep.log(&events)
    }

    fn save(&self) -> Result<(), KeepError> {
        let mut inner = self.memory.lock();
        let state = State {
            cells: inner.cells_state(),
            alarms: self.alarms.state(),
            seen: self
                .sources
                .iter()
                .map(|source| (source.given.clone(), source.seen.clone()))
                .collect(),
            uncovered: self.uncovered.clone(),
        };
        inner.keep.save(&state)
    }
}
