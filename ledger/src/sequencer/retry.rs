//! Trying again, and when to stop.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use tracing::warn;

use super::meter;
use crate::publisher::{Creation, Move, PublishError, Publisher, ReadError, Reader};

/// Why a term of office ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Something is unknown; taking over anew settles it.
    Again(String),
    /// Another sequencer is at work: this one has nothing to do here any more.
    StepDown(String),
    /// Going on might fork the log, or publish what auditors refuse. Somebody must look.
    Halt(String),
}

/// Waiting times that double, up to 32 times the first.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    doubled: u32,
}

impl Backoff {
    pub(super) const fn new(first: Duration) -> Self {
        Self { first, doubled: 0 }
    }

    pub(super) async fn wait(&mut self, what: &'static str, reason: &(dyn Display + Sync)) {
        meter::retried(what);
        let wait = self.first * (1 << self.doubled);
        self.doubled = (self.doubled + 1).min(5);
        warn!(%reason, ?wait, "{what} failed; trying again");
        tokio::time::sleep(wait).await;
    }

    pub(super) const fn reset(&mut self) {
        self.doubled = 0;
    }
}

/// A publisher that is asked until it answers. Outcomes that stay unknown are no reason to give up: repeating is always safe, the number of batches that wait is bounded, and so is the queue.
#[derive(Clone)]
pub(super) struct Persistent<'a> {
    publisher: &'a dyn Publisher,
    retry: Duration,
}

impl<'a> Persistent<'a> {
    pub(super) const fn new(publisher: &'a dyn Publisher, retry: Duration) -> Self {
        Self { publisher, retry }
    }

    pub(super) async fn create(&self, path: &str, bytes: Bytes) -> Result<Creation, Stop> {
        let mut backoff = Backoff::new(self.retry);
        loop {
            match self.publisher.create(path, bytes.clone()).await {
                Ok(creation) => return Ok(creation),
                Err(error) => self.wait(&mut backoff, "publishing", error).await?,
            }
        }
    }

    pub(super) async fn move_checkpoint(
        &self,
        path: &str,
        expected: Option<Bytes>,
        new: Bytes,
    ) -> Result<Move, Stop> {
        let mut backoff = Backoff::new(self.retry);
        loop {
            match self
                .publisher
                .move_checkpoint(path, expected.clone(), new.clone())
                .await
            {
                Ok(moved) => return Ok(moved),
                Err(error) => {
                    self.wait(&mut backoff, "moving the checkpoint", error)
                        .await?
                }
            }
        }
    }

    pub(super) async fn probe(&self) -> Result<(), Stop> {
        let mut backoff = Backoff::new(self.retry);
        loop {
            match self.publisher.probe().await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    self.wait(&mut backoff, "probing the publisher", error)
                        .await?
                }
            }
        }
    }

    pub(super) async fn read(&self, path: &str, len_max: usize) -> Result<Option<Bytes>, Stop> {
        let mut backoff = Backoff::new(self.retry);
        loop {
            match Reader::read(self.publisher, path, len_max).await {
                Ok(found) => return Ok(found),
                Err(error @ ReadError::Unavailable { .. }) => backoff.wait("reading", &error).await,
                // Something stands there that the log did not publish.
                Err(error) => return Err(Stop::Halt(error.to_string())),
            }
        }
    }

    async fn wait(
        &self,
        backoff: &mut Backoff,
        what: &'static str,
        error: PublishError,
    ) -> Result<(), Stop> {
        match error {
            PublishError::Unknown { .. } => {
                backoff.wait(what, &error).await;
                Ok(())
            }
            // Trying again cannot help.
            PublishError::Path(_) | PublishError::Unfit(_) => Err(Stop::Halt(error.to_string())),
        }
    }
}
