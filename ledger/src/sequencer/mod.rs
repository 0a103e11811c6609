//! One writer a log: how entries become final.
//!
//! See the crate's documentation for what is promised. The steps of one batch:
//!
//! 1. **gather**: submissions wait in a bounded queue; a batch is what has gathered while the last one committed.
//! 2. **exactly once**: what is *pending* (queued or on its way) is kept apart from what is *final*; a repeat is answered only from final.
//! 3. **commit**: one transaction of the store, with a compare-and-set on epoch and size,
//! 4. and the **durability gate**, read back in the same session. Any doubt between 3 and 4: everything pending is dropped and the log is taken over anew.
//! 5. **fence and second copy**: `batches/<n>` is created, never replaced, `n+1` after `n` is confirmed. Other bytes there: another writer is at work; step down.
//! 6. **checkpoint**: signed over what passed 5, then tiles and bundles, `checkpoints/<size>`, and `checkpoint` moves. One may cover several batches.
//! 7. **answer**: entries become final, and whoever waits is told.
//!
//! Start, takeover after an unknown outcome and rebuild of a lost copy are one path, [`takeover`].

mod finish;
mod handle;
mod intake;
mod known;
mod meter;
mod outcome;
mod receipt;
mod replay;
mod retry;
mod shared;
mod takeover;
mod term;
mod warm;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use signer::Checked;
use tracing::error;

use crate::batch::End;
use crate::clock::Clock;
use crate::content::Content;
use crate::log::{Keys, LogName};
use crate::publisher::Publisher;
use crate::store::{Owner, Store, TakeOver};

pub use handle::Handle;
pub use meter::describe_metrics;
pub use outcome::{CloseError, Final, Outcome, Standing, SubmitError};
pub use receipt::ReceiptError;
pub use warm::{Warm, WarmError};

use retry::{Backoff, Persistent, Stop};
use shared::Shared;

/// What a sequencer is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The log.
    pub log: LogName,
    /// The keys that its published checkpoints may carry. The signer must hold the one for the sizes to come.
    pub keys: Keys,
    /// When to make a batch.
    pub batch: BatchPolicy,
    /// The most submissions that may wait for a batch; one more is answered with [`SubmitError::Full`].
    pub queue_max: usize,
    /// The most batches that may be committed and not yet published.
    pub unpublished_max: usize,
    /// An end of this log that somebody outside holds (an anchored head), if one is known: the sequencer halts rather than to go on from anything that does not contain it.
    pub floor: Option<End>,
    /// Whether a takeover covers batches that no checkpoint covers yet; else the next batch's checkpoint is the first to cover them. For the heads log's spare key, which signs from its own
    /// switch notice on, and nothing before it.
    pub covers_rest: bool,
    /// What a standby process has read while it waited for its turn; saves the takeover that.
    pub warm: Option<Warm>,
    /// How long to wait before trying the publisher or the signer again; doubles up to 32 times that.
    pub retry: Duration,
}

impl Config {
    /// A log that batches at once, as issuance logs and heads do.
    #[must_use]
    pub const fn new(log: LogName, keys: Keys) -> Self {
        Self {
            log,
            keys,
            batch: BatchPolicy {
                count_min: 1,
                wait_max: Duration::ZERO,
                count_max: 8_192,
            },
            queue_max: 65_536,
            unpublished_max: 4,
            floor: None,
            covers_rest: true,
            warm: None,
            retry: Duration::from_millis(50),
        }
    }
}

/// When what has gathered becomes a batch: at `count_min` submissions, or once the oldest has waited for `wait_max`. Never while the last batch commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPolicy {
    /// Submissions to wait for; at least 1.
    pub count_min: usize,
    /// The longest wait for them.
    pub wait_max: Duration,
    /// The most submissions of a batch; with what the content adds, at most [`ENTRIES_MAX`](crate::batch::ENTRIES_MAX).
    pub count_max: usize,
}

/// What a sequencer works with.
#[derive(Clone)]
pub struct Parts {
    /// The database.
    pub store: Arc<dyn Store>,
    /// Where files are published.
    pub publisher: Arc<dyn Publisher>,
    /// The log's key.
    pub signer: Checked,
    /// The time for entries.
    pub clock: Arc<dyn Clock>,
    /// Makes the content of the empty log; called at each takeover.
    pub content: Arc<dyn Fn() -> Box<dyn Content> + Send + Sync>,
}

/// Whether the sequencer takes entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Taking over; soon running. Submissions are answered with [`SubmitError::NotOpen`].
    TakingOver,
    /// Taking entries (or none any more, once closed; see [`Published::closed`]).
    Running,
    /// Another sequencer has taken the log over. This process should end; another start takes the log back.
    SteppedDown(String),
    /// Going on might fork the log. Somebody must look; starting again halts again.
    Halted(String),
}

/// What everybody can see of the log: its newest published checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The number of entries and their root.
    pub end: End,
    /// The number of batches.
    pub batches: u64,
    /// Whether the last batch ended the log.
    pub closed: bool,
    /// The bytes of `checkpoint`. Empty before the first.
    pub checkpoint: Bytes,
}

/// A running sequencer. Dropping it stops the log where it stands, as a crash would; what is not final then may still become it at the next start.
pub struct Sequencer {
    handle: Handle,
    task: tokio::task::JoinHandle<()>,
}

impl Sequencer {
    /// Starts to take the log over, and returns at once; [`Handle::ready`] waits for the outcome. Call it within a runtime.
    #[must_use]
    pub fn spawn(config: Config, parts: Parts) -> Self {
        let shared = Arc::new(Shared::new(config, Arc::clone(&parts.publisher)));
        let handle = Handle::new(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            let guard = StopGuard(&shared);
            let state = run(&shared, &parts).await;
            guard.0.stop(state);
        });
        Self { handle, task }
    }

    /// A handle, cheap to clone.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until the sequencer has stepped down or halted.
    pub async fn ended(&mut self) -> State {
        // An error is a cancelled task, or one that panicked: the state tells.
        let _ = (&mut self.task).await;
        self.handle.state()
    }
}

impl Drop for Sequencer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whatever ends the task, nobody is left waiting for it.
struct StopGuard<'a>(&'a Shared);

impl Drop for StopGuard<'_> {
    fn drop(&mut self) {
        self.0.stop(State::Halted(
            "the sequencer was dropped, or failed in a way that it should not".to_owned(),
        ));
    }
}

/// Takes the log over and serves, again and again as long as outcomes are merely unknown.
async fn run(shared: &Shared, parts: &Parts) -> State {
    let config = &shared.config;
    let owner = Owner::random();
    let mut how = TakeOver::FromAnybody;
    let mut backoff = Backoff::new(config.retry);
    if let Err(stop) = Persistent::new(parts.publisher.as_ref(), config.retry)
        .probe()
        .await
    {
        return ended(config, stop);
    }
    loop {
        let taken = takeover::take_over(config, parts, &shared.meter, owner, &mut how).await;
        let stop = match taken {
            Ok(term) => {
                backoff.reset();
                shared.meter.taken_over();
                let stop = term::serve(shared, parts, term).await;
                shared.end_term();
                stop
            }
            Err(stop) => stop,
        };
        shared.meter.ended(&stop);
        match stop {
            Stop::Again(reason) => backoff.wait("the log", &reason).await,
            stop => return ended(config, stop),
        }
    }
}

fn ended(config: &Config, stop: Stop) -> State {
    let log = config.log.origin();
    match stop {
        Stop::Halt(reason) => {
            error!(
                log,
                reason, "HALTED: somebody must look; starting again does not help"
            );
            State::Halted(reason)
        }
        Stop::StepDown(reason) | Stop::Again(reason) => {
            error!(log, reason, "stepped down: another sequencer is at work");
            State::SteppedDown(reason)
        }
    }
}
