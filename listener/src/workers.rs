//! CPU work off the executor's threads, in a bounded way.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::ApiError;

/// How many seconds a client that was turned away should wait.
const RETRY_AFTER_S: u32 = 2;

/// Runs signature checks and the like on threads of their own: as many at once as there are cores, with a bounded number waiting.
///
/// More at once would only make every one of them slower; a longer queue would only be work for clients that have given up.
#[derive(Clone)]
pub struct Workers {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

impl Workers {
    /// `running` jobs at once (at least 1), and `waiting_max` more in the queue.
    #[must_use]
    pub fn new(running: usize, waiting_max: usize) -> Self {
        let running = running.max(1);
        Self {
            running: Arc::new(Semaphore::new(running)),
            admitted: Arc::new(Semaphore::new(running.saturating_add(waiting_max))),
        }
    }

    /// One job for each core of this machine at once, and `waiting_max` waiting.
    #[must_use]
    pub fn for_this_machine(waiting_max: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(cores, waiting_max)
    }

    /// Runs `job`, which should take well under a millisecond or a few. Dropping the future does not stop a job that runs, and frees its
    /// place only when it ends.
    ///
    /// # Errors
    /// 503 `busy` when the queue is full: nothing was done.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let busy = || {
            ApiError::busy(
                "Too many requests at once, and nothing was done: send the same again after Retry-After.",
                RETRY_AFTER_S,
            )
        };
        let admitted = Arc::clone(&self.admitted)
            .try_acquire_owned()
            .map_err(|_| busy())?;
        // Closed never: the semaphore lives as long as `self`.
        let running = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(|_| busy())?;
        tokio::task::spawn_blocking(move || {
            let result = job();
            drop((running, admitted));
            result
        })
        .await
        .map_err(|_| busy())
    }
}
