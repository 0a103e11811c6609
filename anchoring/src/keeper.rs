//! Keeping one anchor up to date with the heads log.
//!
//! Nothing is remembered between runs: the anchor's own last object says where to go on, once it was found to be of our log. An anchor that
//! cannot be reached delays only itself; one that holds anything that is not of our log is evidence of a fork, and everything stops.

use std::sync::Arc;
use std::time::Duration;

use ledger::batch::End;
use ledger::publisher::Reader;
use ledger::sequencer::Published;
use protocol::manifest::Election;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::anchor::{Anchor, AnchorError, Created};
use crate::meter::AnchorMeter;
use crate::object::{ObjectError, Objects};
use crate::observe::ObserveError;

/// The number of objects of the anchor: its objects are consecutive, so the first that is missing tells.
pub(crate) async fn count(anchor: &dyn Anchor) -> Result<u64, AnchorError> {
    // Doubling steps up to one that is missing, then bisection: at most 128 reads however many objects there are.
    let mut there = 0u64;
    let mut step = 1u64;
    let mut missing = loop {
        let probe = there.saturating_add(step).saturating_sub(1);
        match anchor.read(probe).await? {
            Some(_) if probe < u64::MAX / 4 => {
                there = probe.saturating_add(1);
                step = step.saturating_mul(2);
            }
            _ => break probe,
        }
    };
    while there < missing {
        let middle = there.saturating_add((missing - there) / 2);
        match anchor.read(middle).await? {
            Some(_) => there = middle.saturating_add(1),
            None => missing = middle,
        }
    }
    Ok(there)
}

/// The end of the heads log that the anchor's last object holds, signed with one of its keys; `None` for an empty anchor.
pub(crate) async fn held(
    anchor: &dyn Anchor,
    election: &Election,
    reader: Arc<dyn Reader>,
) -> Result<Option<End>, KeepError> {
    let Some(last) = count(anchor).await?.checked_sub(1) else {
        return Ok(None);
    };
    match anchor.read(last).await? {
        Some(bytes) => Ok(Some(Objects::new(election, reader).end_of(last, &bytes)?)),
        None => Ok(None),
    }
}

/// Why an anchor could not be asked or extended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    #[error(transparent)]
    Object(#[from] ObjectError),
}

impl From<ObserveError> for KeepError {
    fn from(error: ObserveError) -> Self {
        Self::Object(error.into())
    }
}

impl KeepError {
    /// Two histories exist, so nothing may go on.
    pub(crate) const fn is_fork(&self) -> bool {
        matches!(
            self,
            Self::Object(ObjectError::Fork { .. }) | Self::Anchor(AnchorError::TooLarge { .. })
        )
    }
}

/// What a keeper is told.
pub(crate) struct Keeper {
    pub(crate) anchor: Arc<dyn Anchor>,
    pub(crate) objects: Objects,
    /// The heads log's newest published checkpoint.
    pub(crate) published: watch::Receiver<Published>,
    /// The heads log's size that this anchor holds.
    pub(crate) held: watch::Sender<u64>,
    /// The first wait before trying again; doubles up to 32 times that.
    pub(crate) retry: Duration,
    /// An alarm is raised when a checkpoint has not been anchored for this long, and again after each such time.
    pub(crate) late: Duration,
}

/// Where the anchor ends.
#[derive(Clone, Copy)]
struct At {
    next: u64,
    size: u64,
}

impl Keeper {
    /// Runs until the log has ended and is covered (`Ok`), or a fork is found.
    pub(crate) async fn run(mut self) -> Result<(), String> {
        let name = self.anchor.name().to_owned();
        let meter = AnchorMeter::new(&name);
        let mut at: Option<At> = None;
        let mut wait = self.retry;
        let mut behind_since: Option<Instant> = None;
        loop {
            let published = self.published.borrow_and_update().clone();
            let covered = at.is_some_and(|at| at.size >= published.end.size);
            if covered {
                behind_since = None;
                if published.closed {
                    return Ok(());
                }
                if self.published.changed().await.is_err() {
                    return Ok(());
                }
                continue;
            }
            let since = *behind_since.get_or_insert_with(Instant::now);
            match self.step(at, &published).await {
                Ok(reached) => {
                    at = Some(reached);
                    self.held.send_replace(reached.size);
                    meter.holds(reached.size);
                    wait = self.retry;
                    behind_since = None;
                }
                Err(error) if error.is_fork() => {
                    tracing::error!(anchor = %name, %error, "FORK: this anchor holds what is not of our heads log; everything stops, keep both as evidence");
                    return Err(format!("anchor {name}: {error}"));
                }
                Err(error) => {
                    meter.failed();
                    if since.elapsed() >= self.late {
                        behind_since = Some(Instant::now());
                        meter.late(true);
                        tracing::error!(anchor = %name, %error, size = published.end.size, "the heads log is not anchored in time; receipts are not final until it is");
                    } else {
                        tracing::warn!(anchor = %name, %error, "an anchor could not be extended; trying again");
                    }
                    tokio::time::sleep(wait).await;
                    wait = wait.saturating_mul(2).min(self.retry.saturating_mul(32));
                }
            }
        }
    }

    /// One step towards the newest checkpoint: find out where the anchor ends, or extend it.
    async fn step(&self, at: Option<At>, published: &Published) -> Result<At, KeepError> {
        let Some(At { next, size }) = at else {
            return self.resume(published).await;
        };
        let (new_size, bytes) = self.objects.make(next, size, &published.checkpoint).await?;
        match self.anchor.create(next, &bytes).await? {
            Created::Created | Created::AlreadyEqual => {}
            // Another process of ours may have cut the objects elsewhere: what counts is that it is the same log.
            Created::Different => return self.take(next, Some(size)).await,
        }
        Ok(At {
            next: next.saturating_add(1),
            size: new_size,
        })
    }

    async fn resume(&self, published: &Published) -> Result<At, KeepError> {
        let next = count(self.anchor.as_ref()).await?;
        let Some(last) = next.checked_sub(1) else {
            return Ok(At { next: 0, size: 0 });
        };
        let at = self.take(last, None).await?;
        if at.size > published.end.size {
            return Err(ObjectError::Fork {
                n: last,
                reason: format!(
                    "it covers {} entries, and our heads log has {}",
                    at.size, published.end.size
                ),
            }
            .into());
        }
        Ok(at)
    }

    /// Takes an object that stands there as ours, if it is.
    async fn take(&self, n: u64, old_size: Option<u64>) -> Result<At, KeepError> {
        let Some(bytes) = self.anchor.read(n).await? else {
            return Err(ObserveError::Missing(format!(
                "anchor object {n}, which was there before,"
            ))
            .into());
        };
        let size = self.objects.compare(n, old_size, &bytes).await?;
        Ok(At {
            next: n.saturating_add(1),
            size,
        })
    }
}
