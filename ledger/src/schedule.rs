//! What is in force: the election's times, and the authority's notices, as the published heads log has them.
//!
//! Services must act on notices (extend, cancel, freeze) without trusting who serves them. So each follows the heads log like an outsider, with
//! every check of [`HeadsFollower`]; only then does its own schedule change.
//!
//! It fails closed: whatever cannot be read, or does not check out, changes nothing. The last good schedule stays in force, and [`Health`] tells
//! readiness checks and alarms.

use std::sync::Arc;
use std::time::Duration;

use protocol::entry::{Head, LogState};
use protocol::grammar;
use protocol::ids::LogId;
use protocol::manifest::Election;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::batch::End;
use crate::clock::Clock;
use crate::heads::{FollowError, HeadsFollower};
use crate::publisher::Reader;

/// How far apart clocks of different machines may be.
pub const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(5);

/// What is in force, as far as this service has seen and checked the heads log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Schedule {
    in_force: Arc<grammar::Schedule>,
    /// The newest head's time; 0 before the first.
    head_time: u64,
    issuance_closed: bool,
    heads_size: u64,
    newest: Option<Arc<Head>>,
    final_head: bool,
    health: Health,
    checked_ms: u64,
    seen: Option<Seen>,
    head_interval: Duration,
}

/// When the newest head was first seen, by a clock that nobody sets.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    /// It was not there at the look before, so it is new; else it may be of any age.
    new: bool,
}

/// Whether the schedule is up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing is published yet: the manifest's times are in force.
    NotPublished,
    /// It is that of the newest published checkpoint.
    Current,
    /// The heads log cannot be read now. The last schedule stays in force.
    Unreachable(String),
    /// What is published does not check out. The last good schedule stays in force; somebody must look.
    Inconsistent(String),
}

impl Schedule {
    /// As the manifest has it, before any notice is known.
    #[must_use]
    pub fn of_manifest(election: &Election) -> Self {
        Self {
            in_force: Arc::new(grammar::Schedule::new(election)),
            head_time: 0,
            issuance_closed: false,
            heads_size: 0,
            newest: None,
            final_head: false,
            health: Health::NotPublished,
            checked_ms: 0,
            seen: None,
            head_interval: Duration::from_millis(election.manifest().head_interval_ms),
        }
    }

    /// As read, at this time, where no head is published yet.
    #[must_use]
    pub fn before_first_head(election: &Election, checked_ms: u64) -> Self {
        Self {
            checked_ms: checked_ms.max(1),
            ..Self::of_manifest(election)
        }
    }

    /// Whether the heads log was ever read and found good. Before that nobody knows what is in force: nothing that cannot be undone may follow from it,
    /// and nobody may be told that it is too early or too late.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.checked_ms > 0
    }

    /// Whether the final head is made: what enters a log from now on does not count.
    #[must_use]
    pub const fn has_final_head(&self) -> bool {
        self.final_head
    }

    /// Where the newest head says that this log ends. A log that ends below that was rolled back, and must not go on.
    #[must_use]
    pub fn end_in_newest_head(&self, election: &Election, log: LogId) -> Option<End> {
        let said = self.newest.as_ref()?.log(election, log)?;
        Some(End {
            size: said.size,
            root: said.root,
        })
    }

    /// The times and notices in force: opening, closing times, freezes, cancellation, key switches.
    #[must_use]
    pub fn in_force(&self) -> &grammar::Schedule {
        &self.in_force
    }

    /// Whether nothing new may enter this log, whatever the time: it is frozen, the election is cancelled, or the final head is made.
    #[must_use]
    pub fn is_stopped(&self, log: LogId) -> bool {
        self.final_head
            || self.in_force.freeze(log).is_some()
            || self.in_force.cancelled().is_some()
    }

    /// The newest head's time in ms, 0 before the first. Once it is above a closing time, no notice can extend that any more
    /// ("an `extend` after the closing time in force, by the time of the last head before it, is a finding").
    #[must_use]
    pub const fn head_time(&self) -> u64 {
        self.head_time
    }

    /// The time in ms that decisions which cannot be undone may go by, where this machine's clock shows `now`: not later than the newest head's, and what has passed since that was seen. So
    /// a clock that is ahead closes no log while the heads say otherwise. Where heads stand still (or there are none) it is `now`: logs are closed without them too.
    #[must_use]
    pub fn agreed_time(&self, now: u64) -> u64 {
        let Some(seen) = self.seen else { return now };
        let passed = seen.at.elapsed();
        if !seen.new && passed >= 3 * self.head_interval + CLOCKS_DIFFER_MAX {
            return now;
        }
        now.min(self.head_time.saturating_add(ms(passed)))
    }

    /// By how many ms a clock that shows `now` is ahead of the clock that heads are made by, at most by their age when they were seen; `None` before a new one was seen.
    #[must_use]
    pub fn clock_ahead_ms(&self, now: u64) -> Option<u64> {
        let seen = self.seen.filter(|seen| seen.new)?;
        Some(now.saturating_sub(self.head_time.saturating_add(ms(seen.at.elapsed()))))
    }

    /// How much a clock may seem to be ahead and still be right: a head may be an interval old, and clocks of different machines never agree.
    #[must_use]
    pub fn clock_ahead_max(&self) -> Duration {
        self.head_interval + CLOCKS_DIFFER_MAX
    }

    /// Whether each issuance log has been closed in some head.
    #[must_use]
    pub const fn issuance_closed(&self) -> bool {
        self.issuance_closed
    }

    /// Entries of the heads log that this follows from.
    #[must_use]
    pub const fn heads_size(&self) -> u64 {
        self.heads_size
    }

    /// Whether it is up to date.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// Up to date, or nothing is published yet.
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        matches!(self.health, Health::Current | Health::NotPublished)
    }

    /// When, by this machine's clock in ms, the heads log was last read and found good; 0 for never.
    #[must_use]
    pub const fn checked_ms(&self) -> u64 {
        self.checked_ms
    }
}

/// Follows the heads log: looks at once, and then every `poll`. The task ends when every receiver is gone; abort it at will.
///
/// The receiver first holds the manifest's schedule. Call it within a runtime.
pub fn follow(
    election: Election,
    reader: Arc<dyn Reader>,
    clock: Arc<dyn Clock>,
    poll: Duration,
) -> (JoinHandle<()>, watch::Receiver<Schedule>) {
    let (sender, receiver) = watch::channel(Schedule::of_manifest(&election));
    let mut follower = HeadsFollower::new(reader, &election);
    let mut issuance_open: Vec<LogId> = election
        .logs()
        .iter()
        .copied()
        .filter(|log| matches!(log, LogId::Issuance { .. }))
        .collect();
    let task = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(poll.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = sender.closed() => return,
                _ = ticks.tick() => {}
            }
            let outcome = follower.advance().await;
            if let Some((_, head)) = follower.log().last_head() {
                // For good: a later head may call a closed log stale, when it cannot be read.
                issuance_open.retain(|log| {
                    head.log(&election, *log)
                        .is_none_or(|said| said.state != LogState::Closed)
                });
            }
            sender.send_if_modified(|schedule| {
                let looked_before = schedule.is_known() && schedule.is_healthy();
                let health = schedule.take_health(health(outcome, &follower), clock.now_ms());
                schedule.take_log(&follower, issuance_open.is_empty(), looked_before) || health
            });
        }
    });
    (task, receiver)
}

/// Waits until the heads log has been read and found good once: from then on the schedule holds every notice that was published before.
/// Services wait for it before they choose a log's key.
///
/// It waits for as long as the log cannot be read or does not check out; [`Schedule::health`] tells why.
pub async fn known(schedule: &mut watch::Receiver<Schedule>) {
    // An error is a follower that was stopped: what is known then is all that will be.
    let _ = schedule.wait_for(Schedule::is_known).await;
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn health(outcome: Result<bool, FollowError>, follower: &HeadsFollower) -> Health {
    match outcome {
        Ok(_) if follower.checkpoint().is_none() => Health::NotPublished,
        Ok(_) => Health::Current,
        Err(error) if error.is_passing() => Health::Unreachable(error.to_string()),
        Err(error) => Health::Inconsistent(error.to_string()),
    }
}

impl Schedule {
    /// Returns whether it is news.
    fn take_health(&mut self, health: Health, now: u64) -> bool {
        let mut first = false;
        if matches!(health, Health::Current | Health::NotPublished) {
            first = self.checked_ms == 0;
            self.checked_ms = now.max(1);
        }
        if self.health == health {
            return first;
        }
        match &health {
            Health::Inconsistent(why) => {
                tracing::error!(%why, "ALARM: the heads log does not check out; the last good schedule stays in force");
            }
            Health::Unreachable(why) => {
                tracing::warn!(%why, "the heads log cannot be read; the last schedule stays in force");
            }
            Health::Current | Health::NotPublished => {}
        }
        self.health = health;
        true
    }

    /// Returns whether it is news.
    fn take_log(
        &mut self,
        follower: &HeadsFollower,
        issuance_closed: bool,
        looked_before: bool,
    ) -> bool {
        let log = follower.log();
        if self.heads_size == log.size() {
            return false;
        }
        self.heads_size = log.size();
        self.in_force = Arc::new(log.schedule().clone());
        let head_time = log.last_head().map_or(0, |(_, head)| head.time);
        if head_time > self.head_time {
            self.seen = Some(Seen {
                at: Instant::now(),
                new: looked_before,
            });
        }
        self.head_time = head_time;
        self.issuance_closed = issuance_closed;
        self.newest = log.last_head().map(|(_, head)| Arc::new(head.clone()));
        self.final_head = log.final_head().is_some();
        true
    }
}
