//! A few worker threads that share the heavy work: checking signatures, and comparing files with what they must be.
//!
//! The queue is short, so that whoever feeds it waits instead of filling the memory.

use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Scope;

type Job<'env> = Box<dyn FnOnce() + Send + 'env>;

/// Jobs that may wait for each worker.
const WAITING_FOR_EACH: usize = 2;

/// Hands jobs to worker threads. Ends with the [`std::thread::scope`] that it was made in.
pub(crate) struct Pool<'env> {
    jobs: SyncSender<Job<'env>>,
    open: Arc<Open>,
}

/// How many jobs were handed in and have not ended.
#[derive(Default)]
struct Open {
    count: Mutex<usize>,
    changed: Condvar,
}

/// Counts a job as ended even if it panics, so that nobody waits for it for ever.
struct Ended(Arc<Open>);

impl Drop for Ended {
    fn drop(&mut self) {
        let mut count = self.0.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_sub(1);
        self.0.changed.notify_all();
    }
}

impl<'env> Pool<'env> {
    /// Starts `threads` workers.
    pub(crate) fn start<'scope>(scope: &'scope Scope<'scope, 'env>, threads: NonZeroUsize) -> Self
    where
        'env: 'scope,
    {
        let (jobs, queue) = sync_channel::<Job<'env>>(threads.get() * WAITING_FOR_EACH);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads.get() {
            let queue = Arc::clone(&queue);
            scope.spawn(move || {
                while let Some(job) = next(&queue) {
                    job();
                }
            });
        }
        Self {
            jobs,
            open: Arc::default(),
        }
    }

    /// Hands in a job; waits while the queue is full.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'env) {
        *self
            .open
            .count
            .lock()
            .unwrap_or_else(PoisonError::into_inner) += 1;
        let ended = Ended(Arc::clone(&self.open));
        let job: Job<'env> = Box::new(move || {
            let _ended = ended;
            job();
        });
        if let Err(unsent) = self.jobs.send(job) {
            // No worker is left: do it here rather than leave it undone.
            (unsent.0)();
        }
    }

    /// Waits until everything that was handed in has ended.
    pub(crate) fn wait(&self) {
        let mut count = self
            .open
            .count
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while *count > 0 {
            count = self
                .open
                .changed
                .wait(count)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn next<'env>(queue: &Mutex<Receiver<Job<'env>>>) -> Option<Job<'env>> {
    queue
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .recv()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn waiting_means_that_every_job_has_ended() {
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let pool = Pool::start(scope, NonZeroUsize::new(3).unwrap());
            for round in 1..=4 {
                for _ in 0..100 {
                    pool.run(|| {
                        done.fetch_add(1, Ordering::SeqCst);
                    });
                }
                pool.wait();
                assert_eq!(done.load(Ordering::SeqCst), round * 100);
            }
        });
    }
}
