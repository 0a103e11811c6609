//! A lost database, filled again from what is published.

use crate::publisher::{CHECKPOINT_BYTES_MAX, ReadError};
use crate::sequencer::{Config, Parts, Published, Sequencer, State};

/// Takes a log over whose database is new or behind, and returns once the database holds everything that is published; the roots and indices are the same, since they follow from the entries.
///
/// It is a takeover like any other: it checks every batch, fences whoever else is at work, publishes what the database alone had, and halts rather than to fork. What it adds is that
/// there must be something published: with the wrong folder configured it would else begin a new log.
///
/// # Errors
///
/// When nothing is published, or the takeover stepped down or halted.
pub async fn rebuild(config: Config, parts: Parts) -> Result<Published, RebuildError> {
    let path = config.log.path("checkpoint");
    if parts
        .publisher
        .read(&path, CHECKPOINT_BYTES_MAX)
        .await?
        .is_none()
    {
        return Err(RebuildError::NothingPublished(path));
    }
    let sequencer = Sequencer::spawn(config, parts);
    let handle = sequencer.handle();
    match handle.ready().await {
        Ok(()) => Ok(handle.published()),
        Err(State::SteppedDown(reason)) => Err(RebuildError::SteppedDown(reason)),
        Err(State::Halted(reason)) => Err(RebuildError::Halted(reason)),
        Err(State::TakingOver | State::Running) => {
            Err(RebuildError::SteppedDown("it ended early".to_owned()))
        }
    }
}

/// Why a database was not rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RebuildError {
    /// There is nothing to rebuild it from.
    #[error(
        "there is no {0}: nothing is published of this log there; check where the published files are. (A log that never published anything is begun by starting its service.)"
    )]
    NothingPublished(String),
    /// What is published cannot be read.
    #[error(transparent)]
    Files(#[from] ReadError),
    /// Somebody else took the log.
    #[error("another process took the log over meanwhile ({0}): stop it, and try again")]
    SteppedDown(String),
    /// Going on might fork the log.
    #[error("the database cannot be rebuilt, somebody must look: {0}")]
    Halted(String),
}
