//! What is in force: the election's times, and the authority's notices, as the published heads log has them.
//!
//! Services must act on notices (extend, cancel, freeze) without trusting who serves them. So each follows the heads log like an outsider: the
//! checkpoint's signature, every batch behind the last one, the root that they lead to, the log's grammar, and the authority's signature on each
//! notice. Only then does its own schedule change.
//!
//! It fails closed: whatever cannot be read, or does not check out, changes nothing. The last good schedule stays in force, and [`Health`] tells
//! readiness checks and alarms.

use std::sync::Arc;
use std::time::Duration;

use protocol::checkpoint::{Checkpoint, CheckpointError};
use protocol::entry::{LogState, NoticeError};
use protocol::grammar::{self, GrammarError, HeadsLog};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::CompactRange;
use protocol::note::NOTE_BYTES_MAX;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::log::{Keys, LogName};
use crate::publisher::{ReadError, Reader};
use crate::read::{LogClient, LogError};

/// What is in force, as far as this service has seen and checked the heads log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Schedule {
    in_force: Arc<grammar::Schedule>,
    /// The newest head's time; 0 before the first.
    head_time: u64,
    issuance_closed: bool,
    heads_size: u64,
    health: Health,
    checked_ms: u64,
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
            health: Health::NotPublished,
            checked_ms: 0,
        }
    }

    /// The times and notices in force: opening, closing times, freezes, cancellation, key switches.
    #[must_use]
    pub fn in_force(&self) -> &grammar::Schedule {
        &self.in_force
    }

    /// Whether nothing new may enter this log, whatever the time: it is frozen, or the election is cancelled.
    #[must_use]
    pub fn is_stopped(&self, log: LogId) -> bool {
        self.in_force.freeze(log).is_some() || self.in_force.cancelled().is_some()
    }

    /// The newest head's time in ms, 0 before the first. Once it is at or above a closing time, no notice can extend that any more
    /// ("an `extend` after the closing time in force, by the time of the last head before it, is a finding").
    #[must_use]
    pub const fn head_time(&self) -> u64 {
        self.head_time
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
    let mut follower = Follower::new(&election, reader);
    let task = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(poll.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = sender.closed() => return,
                _ = ticks.tick() => {}
            }
            let outcome = follower.poll().await;
            sender.send_if_modified(|schedule| take(schedule, &follower, outcome, clock.now_ms()));
        }
    });
    (task, receiver)
}

/// Updates what receivers see; returns whether that is news.
fn take(
    schedule: &mut Schedule,
    follower: &Follower,
    outcome: Result<bool, FollowError>,
    now: u64,
) -> bool {
    let health = match outcome {
        Ok(published) => {
            schedule.checked_ms = now;
            if published {
                Health::Current
            } else {
                Health::NotPublished
            }
        }
        Err(error) if error.is_transient() => Health::Unreachable(error.to_string()),
        Err(error) => Health::Inconsistent(error.to_string()),
    };
    let mut news = false;
    if schedule.health != health {
        match &health {
            Health::Inconsistent(why) => {
                tracing::error!(%why, "ALARM: the heads log does not check out; the last good schedule stays in force");
            }
            Health::Unreachable(why) => {
                tracing::warn!(%why, "the heads log cannot be read; the last schedule stays in force");
            }
            Health::Current | Health::NotPublished => {}
        }
        schedule.health = health;
        news = true;
    }
    let good = &follower.good;
    if schedule.heads_size != good.log.size() {
        schedule.heads_size = good.log.size();
        schedule.in_force = Arc::new(good.log.schedule().clone());
        schedule.head_time = good.log.last_head().map_or(0, |(_, head)| head.time);
        schedule.issuance_closed = good.issuance_open.is_empty();
        news = true;
    }
    news
}

/// Why the schedule could not be brought up to date.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("heads/checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("the heads log's batch {n} breaks its grammar: {error}")]
    Grammar { n: u64, error: GrammarError },
    #[error("the heads log holds a notice that the authority did not sign: {0}")]
    Notice(#[from] NoticeError),
    #[error(
        "heads/checkpoint went back from size {from} to {to}: somebody serves an old one, or the log was rolled back"
    )]
    Backwards { from: u64, to: u64 },
    #[error(
        "the heads log's batches do not lead to the checkpoint of size {size}: it was forked, or batches were changed"
    )]
    Fork { size: u64 },
    #[error("the heads log's checkpoint of size {size} is signed by the wrong one of its two keys")]
    WrongKey { size: u64 },
}

impl FollowError {
    /// Trying again may help, and nothing has been shown to be wrong.
    const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Read(ReadError::Unavailable { .. })
                | Self::Log(LogError::Read(ReadError::Unavailable { .. }) | LogError::Missing(_))
        )
    }
}

/// Everything checked so far, up to the end of one batch.
#[derive(Clone)]
struct Good {
    log: HeadsLog,
    range: CompactRange,
    /// Issuance logs that no head has shown closed yet. A later head may call a closed log stale, when it cannot be read.
    issuance_open: Vec<LogId>,
}

struct Follower {
    election: Election,
    reader: Arc<dyn Reader>,
    name: LogName,
    client: LogClient,
    good: Good,
}

impl Follower {
    fn new(election: &Election, reader: Arc<dyn Reader>) -> Self {
        let name = LogName::new(
            election.id(),
            LogId::Heads.encode(),
            &LogId::Heads.prefix(),
            &election.origin(LogId::Heads),
        );
        let keys = Keys::main(election.manifest().heads.main);
        Self {
            client: LogClient::new(Arc::clone(&reader), name.clone(), keys),
            election: election.clone(),
            reader,
            name,
            good: Good {
                log: HeadsLog::new(election),
                range: CompactRange::new(),
                issuance_open: election
                    .logs()
                    .iter()
                    .copied()
                    .filter(|log| matches!(log, LogId::Issuance { .. }))
                    .collect(),
            },
        }
    }

    /// Brings `good` to the newest checkpoint: wholly, or not at all. `Ok(false)`: there is none yet.
    async fn poll(&mut self) -> Result<bool, FollowError> {
        let path = self.name.path("checkpoint");
        let Some(note) = self.reader.read(&path, NOTE_BYTES_MAX).await? else {
            return match self.good.log.size() {
                0 => Ok(false),
                from => Err(FollowError::Backwards { from, to: 0 }),
            };
        };
        // Which of the two keys must sign depends on the notices, and those on the batches: so the key is judged at the end.
        let keys = self.election.manifest().heads;
        let (checkpoint, key) =
            Checkpoint::verify(&note, self.name.origin(), &[keys.main, keys.spare])?;
        let from = self.good.log.size();
        if checkpoint.size() < from {
            return Err(FollowError::Backwards {
                from,
                to: checkpoint.size(),
            });
        }
        let ahead = self.read_to(&checkpoint).await?;
        // "above `size`, checkpoints of that log are signed by its spare key"
        let must = ahead
            .log
            .schedule()
            .checkpoint_key(LogId::Heads, checkpoint.size());
        let signed = [keys.main, keys.spare].get(key).copied();
        if must.map(|key| *key.as_bytes()) != signed {
            return Err(FollowError::WrongKey {
                size: checkpoint.size(),
            });
        }
        self.good = ahead;
        Ok(true)
    }

    /// Everything up to this checkpoint, checked against its root.
    async fn read_to(&self, checkpoint: &Checkpoint) -> Result<Good, FollowError> {
        let mut ahead = self.good.clone();
        while ahead.log.size() < checkpoint.size() {
            let n = ahead.log.next_batch();
            let batch = self
                .client
                .batch(n, &mut ahead.range)
                .await?
                .ok_or_else(|| LogError::Missing(self.name.path(&format!("batches/{n}"))))?;
            let entries = batch.entries();
            let entries: Vec<&[u8]> = entries.iter().map(AsRef::as_ref).collect();
            let summary = ahead
                .log
                .batch(n, &entries)
                .map_err(|error| FollowError::Grammar { n, error })?;
            // "Notices carry valid signatures of the authority."
            for (_, notice) in summary.notices() {
                notice.verify(&self.election)?;
            }
            for (_, head) in summary.heads() {
                ahead.issuance_open.retain(|log| {
                    head.log(&self.election, *log)
                        .is_none_or(|said| said.state != LogState::Closed)
                });
            }
        }
        // Also where nothing is new: the same size with another root is a fork.
        if ahead.range.size() != checkpoint.size() || ahead.range.root() != checkpoint.root() {
            return Err(FollowError::Fork {
                size: checkpoint.size(),
            });
        }
        Ok(ahead)
    }
}
