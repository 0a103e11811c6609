//! What the sequencer's tasks and its handles share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::finish::Frontier;
use super::intake::Intake;
use super::meter::Meter;
use super::receipt::{Edge, Receipts};
use super::{Config, Published, State};
use crate::batch::End;
use crate::publisher::Publisher;

/// One for each sequencer.
pub(super) struct Shared {
    pub(super) config: Config,
    /// Woken when there may be something to gather.
    pub(super) arrival: Notify,
    pub(super) receipts: Receipts,
    pub(super) meter: Meter,
    intake: Mutex<Intake>,
    state: watch::Sender<State>,
    published: watch::Sender<Published>,
    /// Of the newest takeover; 0 before the first.
    epoch: AtomicU64,
    doubted: AtomicBool,
}

impl Shared {
    pub(super) fn new(config: Config, publisher: Arc<dyn Publisher>) -> Self {
        let published = Published {
            end: End::empty(),
            batches: 0,
            closed: false,
            checkpoint: Bytes::new(),
        };
        Self {
            receipts: Receipts::new(config.log.clone(), publisher),
            meter: Meter::new(&config.log.id().prefix()),
            config,
            arrival: Notify::new(),
            intake: Mutex::default(),
            state: watch::Sender::new(State::TakingOver),
            published: watch::Sender::new(published),
            epoch: AtomicU64::new(0),
            doubted: AtomicBool::new(false),
        }
    }

    /// The intake. Nothing that holds it waits; what it holds is consistent between statements, so a panic elsewhere does not matter.
    pub(super) fn intake(&self) -> MutexGuard<'_, Intake> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a new checkpoint: first to receipts, then to watchers.
    pub(super) fn publish(&self, published: Published, frontier: &Frontier) {
        self.receipts.show(Edge::new(&published, frontier));
        self.published.send_if_modified(|current| {
            let new = *current != published;
            *current = published;
            new
        });
    }

    /// Serves from now on, as the owner of this epoch.
    pub(super) fn set_running(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
        self.state.send_replace(State::Running);
    }

    /// Ends a term of office; another may follow.
    pub(super) fn end_term(&self) {
        self.state.send_replace(State::TakingOver);
        self.intake().drop_pending();
    }

    /// Ends it for good. The first reason stands.
    pub(super) fn stop(&self, state: State) {
        self.state.send_if_modified(|current| {
            let first = matches!(current, State::TakingOver | State::Running);
            if first {
                *current = state;
            }
            first
        });
        self.intake().stop();
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    pub(super) fn set_doubted(&self, doubted: bool) {
        self.doubted.store(doubted, Ordering::SeqCst);
    }

    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::SeqCst)
    }

    pub(super) const fn state(&self) -> &watch::Sender<State> {
        &self.state
    }

    pub(super) const fn published(&self) -> &watch::Sender<Published> {
        &self.published
    }
}
