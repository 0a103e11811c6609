//! Waiting for what passes by itself: a database that restarts, fails over, or whose replicas have yet to reattach; a KMS that does not answer.
//!
//! A process that ends for such a thing leaves the log without anybody, just when somebody is needed. So it tries again until it succeeds, is not ready meanwhile, and says why.

use std::time::Duration;

use anchoring::BucketAnchorError;
use anyhow::{Error, Result};
use ledger::publisher::{PublishError, ReadError};
use ledger::store::postgres::OpenError;
use registrar::database::DatabaseError;
use registrar::rsa::BlindSignerError;

use super::health::Vitals;

/// Before the second try; doubled before each further one.
const FIRST: Duration = Duration::from_millis(250);
/// The longest pause: replicas reattach within tens of seconds.
const LONGEST: Duration = Duration::from_secs(5);
/// A try that takes longer waits for something that is not there, such as a standby's word for a commit.
const TRY: Duration = Duration::from_secs(60);

/// Whether the same may succeed later, without anybody changing what is configured.
pub(super) fn passes(error: &Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref().is_some_and(OpenError::passes)
            || cause.downcast_ref().is_some_and(DatabaseError::passes)
            || cause.downcast_ref().is_some_and(signer::OpenError::passes)
            || cause.downcast_ref().is_some_and(BlindSignerError::passes)
            || matches!(cause.downcast_ref(), Some(PublishError::Unknown { .. }))
            || matches!(cause.downcast_ref(), Some(ReadError::Unavailable { .. }))
            || cause.downcast_ref().is_some_and(BucketAnchorError::passes)
            || cause.is::<tokio::time::error::Elapsed>()
    })
}

/// Tries until it succeeds. `what` is waited for, as the log and `/readyz` say.
///
/// # Errors
/// What does not pass by itself.
pub(super) async fn until_it_passes<T>(
    vitals: &Vitals,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let mut pause = FIRST;
    let mut told = String::new();
    loop {
        let outcome = match tokio::time::timeout(TRY, attempt()).await {
            Ok(outcome) => outcome,
            Err(elapsed) => Err(Error::new(elapsed).context("no answer")),
        };
        let error = match outcome {
            Ok(value) => {
                vitals.wait_for(None);
                return Ok(value);
            }
            Err(error) if passes(&error) => crate::in_words(&error),
            Err(error) => return Err(error),
        };
        // Once for each reason, not at each try.
        if error != told {
            tracing::warn!("waiting for {what}: {error}");
            vitals.wait_for(Some(error.clone()));
            told = error;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}
