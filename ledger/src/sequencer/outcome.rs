//! What becomes of a submission.

/// What became of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is final in the log.
    Final {
        /// The entry's index.
        index: u64,
        /// The same had been submitted before.
        repeat: bool,
    },
    /// Something else is final under the same key.
    Different {
        /// That entry's index.
        index: u64,
    },
}

/// Something that is final under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Final {
    /// The entry's index.
    pub index: u64,
    /// As [`Submission::same`](crate::content::Submission::same).
    pub same: [u8; 32],
}

impl Final {
    /// What somebody is told who submitted `same` under its key.
    pub(super) fn outcome(&self, same: &[u8; 32], repeat: bool) -> Outcome {
        if self.same == *same {
            Outcome::Final {
                index: self.index,
                repeat,
            }
        } else {
            Outcome::Different { index: self.index }
        }
    }
}

/// What a sequencer knows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing; while the log is being taken over, that says nothing.
    Unknown,
    /// Submitted, and not final yet. It may still be dropped by a takeover.
    Pending,
    /// In the log.
    Final(Final),
}

/// Why a submission did not become final, or is not known to have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full.
    #[error("the queue is full: nothing was taken; try again later")]
    Full,
    /// Too long for any batch.
    #[error("an entry has at most 65,535 bytes: nothing was taken")]
    TooLong,
    /// The log takes nothing new any more.
    #[error("the log is closed, and this was not submitted before it closed")]
    Closed,
    /// The sequencer is taking over.
    #[error("the log is being taken over: nothing was taken; try again")]
    NotOpen,
    /// The sequencer has stopped for good.
    #[error("the log has stopped: nothing was taken; try again later, at whoever has taken over")]
    Halted,
    /// The content refused it.
    #[error("refused: {0}")]
    Refused(String),
    /// The outcome is unknown.
    #[error("whether this is in the log is unknown: submit the same again, which is always safe")]
    Unknown,
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
