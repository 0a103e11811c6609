//! What services hold of a sequencer.

use std::sync::Arc;

use tokio::sync::watch;

use super::intake::Admission;
use super::receipt::ReceiptError;
use super::shared::Shared;
use super::{CloseError, Config, Final, Outcome, Published, Standing, State, SubmitError};
use crate::content::Submission;

/// A handle on a log's sequencer; cheap to clone. The sequencer runs as long as its [`Sequencer`](super::Sequencer).
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Submits, and waits until it is final. Submitting the same again is always safe: it waits for what is pending, and gives the same index.
    ///
    /// Dropping the future does not take the submission back.
    ///
    /// # Errors
    ///
    /// See [`SubmitError`].
    pub async fn submit(&self, submission: Submission) -> Result<Outcome, SubmitError> {
        let answer = self.wait_for(submission).await;
        self.shared.meter.answered(&answer);
        answer
    }

    async fn wait_for(&self, submission: Submission) -> Result<Outcome, SubmitError> {
        let admission = self
            .shared
            .intake()
            .admit(submission, self.shared.config.queue_max)?;
        let answer = match admission {
            Admission::Answered(outcome) => return Ok(outcome),
            Admission::Waiting { answer, queued } => {
                if queued {
                    self.shared.arrival.notify_one();
                }
                answer
            }
        };
        // Dropped without an answer: the term of office ended, and nobody can say yet.
        answer.await.unwrap_or(Err(SubmitError::Unknown))
    }

    /// What is final under this key, if anything is. Pending submissions are not.
    #[must_use]
    pub fn lookup(&self, key: &[u8; 32]) -> Option<Final> {
        self.shared.intake().lookup(key)
    }

    /// The number of submissions that wait for a batch.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shared.intake().queued()
    }

    /// Whether this key is final, pending or neither: one look, so that nothing slips from pending to final in between.
    #[must_use]
    pub fn standing(&self, key: &[u8; 32]) -> Standing {
        let intake = self.shared.intake();
        match intake.lookup(key) {
            Some(found) => Standing::Final(found),
            None if intake.is_pending(key) => Standing::Pending,
            None => Standing::Unknown,
        }
    }

    /// The `.tlog-proof` of the entry at `index` under the newest published checkpoint, with the stored entry as `extra`.
    ///
    /// # Errors
    ///
    /// See [`ReceiptError`].
    pub async fn receipt(&self, index: u64) -> Result<Vec<u8>, ReceiptError> {
        self.shared.receipts.receipt(index).await
    }

    /// Takes nothing new from now on, for good; what is queued is still made final, and repeats are still answered.
    pub fn freeze(&self) {
        self.shared.intake().freeze();
        self.shared.arrival.notify_one();
    }

    /// Drains the queue, taking nothing new meanwhile, appends the batch that ends the log (with `entry`, or the one that the content makes), and waits until it is published.
    /// Closing a closed log returns what is published. If it fails with [`CloseError::Unknown`], call it again.
    ///
    /// # Errors
    ///
    /// See [`CloseError`].
    pub async fn close(&self, entry: Option<Vec<u8>>) -> Result<Published, CloseError> {
        let Some(closed) = self.shared.intake().request_close(entry)? else {
            return Ok(self.published());
        };
        self.shared.arrival.notify_one();
        closed.await.unwrap_or(Err(CloseError::Unknown))
    }

    /// The newest published checkpoint, and every one after it (the receiver sees the newest; some may be skipped).
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Published> {
        self.shared.published().subscribe()
    }

    /// The newest published checkpoint.
    #[must_use]
    pub fn published(&self) -> Published {
        self.shared.published().borrow().clone()
    }

    /// Whether it takes entries.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.state().borrow().clone()
    }

    /// The epoch of this sequencer's newest takeover; 0 before the first.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.shared.epoch()
    }

    /// Says whether another process may have this log by now. It changes nothing for what is submitted, which the epoch decides.
    pub fn doubt(&self, doubted: bool) {
        self.shared.set_doubted(doubted);
    }

    /// Whether another process may have taken the log, so that what is not known here may be final all the same: then nobody may be told that it is not.
    #[must_use]
    pub fn is_doubted(&self) -> bool {
        self.shared.is_doubted()
    }

    /// The state, and every one after it.
    #[must_use]
    pub fn watch_state(&self) -> watch::Receiver<State> {
        self.shared.state().subscribe()
    }

    /// Waits until the log is taken over and running.
    ///
    /// # Errors
    ///
    /// The state, when it stepped down or halted instead.
    pub async fn ready(&self) -> Result<(), State> {
        let mut states = self.watch_state();
        let settled = states.wait_for(|state| *state != State::TakingOver).await;
        // The sender lives as long as this handle.
        match settled.map(|state| state.clone()) {
            Ok(State::Running) => Ok(()),
            Ok(state) => Err(state),
            Err(_) => Err(self.state()),
        }
    }

    /// Waits until the log's last batch is published.
    ///
    /// # Errors
    /// The sequencer has stepped down or halted, and cannot close the log any more.
    pub async fn closed(&self) -> Result<(), State> {
        let mut published = self.watch();
        let mut state = self.watch_state();
        loop {
            if published.borrow_and_update().closed {
                return Ok(());
            }
            let now = state.borrow_and_update().clone();
            if matches!(now, State::SteppedDown(_) | State::Halted(_)) {
                return Err(now);
            }
            tokio::select! {
                changed = published.changed() => if changed.is_err() { return Err(now) },
                changed = state.changed() => if changed.is_err() { return Err(now) },
            }
        }
    }

    /// What the sequencer was told.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }
}
