//! What services hold of a sequencer.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Config, Outcome, Parts, Published, State, SubmitError};
use crate::content::Submission;

/// A handle on a log's sequencer; cheap to clone. The sequencer runs as long as its [`Sequencer`](super::Sequencer).
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    state: watch::Sender<State>,
    published: watch::Sender<Published>,
}

/// Something that is final under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Final {
    /// The entry's index.
    pub index: u64,
    /// As [`Submission::same`].
    pub same: [u8; 32],
}

impl Handle {
    pub(super) fn new(_config: Arc<Config>, _parts: Parts) -> Self {
        let published = Published {
            end: crate::End::empty(),
            batches: 0,
            closed: false,
            checkpoint: bytes::Bytes::new(),
        };
        Self {
            shared: Arc::new(Shared {
                state: watch::Sender::new(State::TakingOver),
                published: watch::Sender::new(published),
            }),
        }
    }

    /// Submits, and waits until it is final. Submitting the same again is always safe: it waits for what is pending, and gives the same index.
    ///
    /// Dropping the future does not take the submission back.
    ///
    /// # Errors
    ///
    /// See [`SubmitError`].
    pub async fn submit(&self, _submission: Submission) -> Result<Outcome, SubmitError> {
        Err(SubmitError::NotOpen)
    }

    /// What is final under this key, if anything is. Pending submissions are not.
    #[must_use]
    pub fn lookup(&self, _key: &[u8; 32]) -> Option<Final> {
        None
    }

    /// Whether something is pending under this key: queued, or in a batch on its way.
    #[must_use]
    pub fn is_pending(&self, _key: &[u8; 32]) -> bool {
        false
    }

    /// The `.tlog-proof` of the entry at `index` under the newest published checkpoint, with the stored entry as `extra`.
    ///
    /// # Errors
    ///
    /// See [`ReceiptError`].
    pub async fn receipt(&self, index: u64) -> Result<Vec<u8>, ReceiptError> {
        Err(ReceiptError::NotPublished(index))
    }

    /// Takes nothing new from now on, for good; what is queued is still made final, and repeats are still answered.
    pub fn freeze(&self) {}

    /// Freezes the intake, drains the queue, appends the batch that ends the log (with `entry`, or the one that the content makes), and waits until it is published.
    /// Closing a closed log returns what is published. If it fails with [`CloseError::Unknown`], call it again.
    ///
    /// # Errors
    ///
    /// See [`CloseError`].
    pub async fn close(&self, _entry: Option<Vec<u8>>) -> Result<Published, CloseError> {
        Err(CloseError::Unknown)
    }

    /// The newest published checkpoint, and every one after it (the receiver sees the newest; some may be skipped).
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Published> {
        self.shared.published.subscribe()
    }

    /// The newest published checkpoint.
    #[must_use]
    pub fn published(&self) -> Published {
        self.shared.published.borrow().clone()
    }

    /// Whether it takes entries.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.state.borrow().clone()
    }

    /// The state, and every one after it.
    #[must_use]
    pub fn watch_state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Waits until the log is taken over and running.
    ///
    /// # Errors
    ///
    /// The state, when it stepped down or halted instead.
    pub async fn ready(&self) -> Result<(), State> {
        Err(self.state())
    }
}

/// Why there is no receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The published log has no such entry.
    #[error("the published log has no entry {0}")]
    NotPublished(u64),
    /// The files could not be read now.
    #[error("the files for this receipt could not be read now ({0}); try again")]
    Unavailable(String),
    /// The published files do not prove it.
    #[error("the published files do not prove this entry: {0}")]
    Damaged(String),
}

/// Why the log is not closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    /// The content refuses to end the log by this entry.
    #[error("the log cannot be closed like this: {0}")]
    Refused(String),
    /// The sequencer has stopped for good.
    #[error("the log has stopped, and was not closed by this sequencer")]
    Halted,
    /// The outcome is unknown.
    #[error("whether the log is closed is unknown: close it again")]
    Unknown,
}
