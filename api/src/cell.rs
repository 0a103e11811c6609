//! A cell: its log, its intake, and the task that closes it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use ledger::schedule::Schedule;
use ledger::sequencer::{BatchPolicy, Config};
use ledger::{Clock, Handle, Parts, Publisher, Sequencer, State, Store};
use listener::Workers;
use protocol::ids::LogId;
use protocol::manifest::Election;
use signer::{SignError, Signer};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cast::{Cast, cast};
use crate::closing;
use crate::content::CellContent;

/// Votes of one batch, at most, where the manifest's minimum is not more: about 4 MB and a quarter of a second of work.
const BATCH_MAX: usize = 8_192;
/// "at most 32,768" entries, one of them the tally.
const BATCH_CEILING: usize = 32_767;

/// What a cell gives to strangers, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellLimits {
    /// From the header to the end of the body.
    pub body_timeout: Duration,
    /// How long a client waits for its vote to become final, before it is told to cast the same again. Above the manifest's `batch_wait_ms`.
    pub final_timeout: Duration,
    /// Ballots that wait for a core to check their signatures.
    pub checks_waiting_max: usize,
    /// Verified ballots that wait for a batch.
    pub queue_max: usize,
}

impl Default for CellLimits {
    fn default() -> Self {
        Self {
            body_timeout: Duration::from_secs(10),
            final_timeout: Duration::from_secs(45),
            // At about 60 µs each: well under a second of waiting.
            checks_waiting_max: 8_192,
            queue_max: 65_536,
        }
    }
}

/// Which cell, and how.
#[derive(Debug, Clone)]
pub struct CellConfig {
    /// The election.
    pub election: Election,
    /// The cell's index.
    pub cell: u32,
    /// Bounds.
    pub limits: CellLimits,
    /// An end of the log that somebody outside holds (an anchored head), if one is known.
    pub floor: Option<ledger::End>,
    /// What this process has read of the log while it stood by, with [`CellContent`](crate::CellContent).
    pub warm: Option<ledger::Warm>,
}

impl CellConfig {
    /// With default limits.
    #[must_use]
    pub fn new(election: &Election, cell: u32) -> Self {
        Self {
            election: election.clone(),
            cell,
            limits: CellLimits::default(),
            floor: None,
            warm: None,
        }
    }
}

/// Why a cell does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The manifest has fewer cells.
    #[error("the manifest has no cell {0}: check the configured index")]
    NoSuchCell(u32),
    /// The key is not the one that may sign this log now.
    #[error(transparent)]
    Key(#[from] SignError),
}

/// A running cell.
pub struct Cell {
    handle: Handle,
    router: Router,
    tasks: Vec<JoinHandle<()>>,
    sequencer: Arc<tokio::sync::Mutex<Option<Sequencer>>>,
}

impl Cell {
    /// Starts to take the log over, and returns at once: until that is done, casts get 503. Call it within a runtime.
    ///
    /// The signer must hold the key that may sign the log now: the manifest's main key, or its spare where `schedule` knows a switch notice. So let
    /// the schedule be read once before.
    ///
    /// # Errors
    /// There is no such cell, or the key is not the log's.
    pub fn start(
        config: CellConfig,
        store: Arc<dyn Store>,
        publisher: Arc<dyn Publisher>,
        signer: Arc<dyn Signer>,
        schedule: watch::Receiver<Schedule>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let CellConfig {
            election,
            cell,
            limits,
            floor,
            warm,
        } = config;
        let log = LogId::Cell(cell);
        let (switched, keys, key) = {
            let schedule = schedule.borrow();
            let in_force = schedule.in_force();
            let keys = ledger::heads::keys_of(&election, in_force, log)
                .zip(in_force.checkpoint_key(log, u64::MAX));
            let (keys, key) = keys.ok_or(StartError::NoSuchCell(cell))?;
            (in_force.switch(log).is_some(), keys, key)
        };
        let signer = signer::checked(signer, *key.as_bytes())?;

        let manifest = election.manifest();
        let count_min = usize::try_from(manifest.batch_min)
            .unwrap_or(BATCH_CEILING)
            .clamp(1, BATCH_CEILING);
        let sequencer = Sequencer::spawn(
            Config {
                // "A batch waits for `batch_min` votes or `batch_wait_ms`."
                batch: BatchPolicy {
                    count_min,
                    wait_max: Duration::from_millis(manifest.batch_wait_ms),
                    count_max: BATCH_MAX.max(count_min),
                },
                queue_max: limits.queue_max,
                floor,
                warm,
                ..Config::new(ledger::heads::name_of(&election, log), keys)
            },
            Parts {
                store,
                publisher,
                signer,
                clock: Arc::clone(&clock),
                content: {
                    let election = election.clone();
                    Arc::new(move || Box::new(CellContent::new(&election, cell)))
                },
            },
        );
        let handle = sequencer.handle();
        let sequencer = Arc::new(tokio::sync::Mutex::new(Some(sequencer)));

        let state = Arc::new(Cast {
            body_max: crate::cast::body_max(&election),
            path_cell: cell,
            election: election.clone(),
            handle: handle.clone(),
            workers: Workers::for_this_machine(limits.checks_waiting_max),
            schedule: schedule.clone(),
            clock: Arc::clone(&clock),
            limits,
        });
        // The whole path is literal, so that the routers of several cells can be merged into one.
        let path = format!("/elections/{}/cells/{cell}/ballots", election.id());
        let router = Router::new()
            .route(&path, post(cast))
            .method_not_allowed_fallback(listener::method_not_allowed)
            .with_state(state);

        let tasks = vec![
            tokio::spawn(closing::close_in_time(
                election.clone(),
                cell,
                handle.clone(),
                schedule.clone(),
                clock,
            )),
            tokio::spawn(closing::stop_on_switch(
                log,
                switched,
                schedule,
                Arc::clone(&sequencer),
            )),
        ];
        Ok(Self {
            handle,
            router,
            tasks,
            sequencer,
        })
    }

    /// Serves `POST /elections/<id>/cells/<k>/ballots` for this cell, and nothing else. Give the router that it is merged into the fallback
    /// [`listener::not_found`].
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The log's handle: its state, and what is published.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Whether the log's last batch is published.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.handle.published().closed
    }

    /// Waits until the log's last batch is published; or until this process cannot close it any more, with the state that tells why.
    ///
    /// # Errors
    /// The sequencer has stepped down or halted.
    pub async fn closed(&self) -> Result<(), State> {
        self.handle.closed().await
    }

    /// Waits until the log has been taken over and casts are served.
    ///
    /// # Errors
    /// The sequencer has stepped down or halted.
    pub async fn ready(&self) -> Result<(), State> {
        self.handle.ready().await
    }

    /// Stops the tasks and the sequencer where they stand. Stop the server first: casts that are waiting are told that the outcome is unknown.
    pub async fn shutdown(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // An error is the cancellation.
            let _ = task.await;
        }
        self.sequencer.lock().await.take();
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
