//! The service that a process runs, once it is its turn.

use std::sync::Arc;
use std::time::Duration;

use anchoring::Anchoring;
use anyhow::{Context, Result, anyhow};
use api::{Cell, CellConfig};
use axum::Router;
use futures::FutureExt as _;
use futures::future::select_all;
use ledger::clock::Clock;
use ledger::heads::name_of;
use ledger::publisher::CHECKPOINT_BYTES_MAX;
use ledger::publisher::Reader;
use ledger::schedule::Schedule;
use ledger::sequencer::{Handle, State};
use protocol::ids::LogId;
use protocol::manifest::Election;
use registrar::{Registrar, ShardParts};
use tally::{Tally, TallyConfig};
use tokio::sync::watch;

use super::config::{Config, Role};
use super::files::published_files;
use super::health::Vitals;
use super::parts::{self, LogParts, RegistrarParts};
use super::warm::Known;

/// How long the first head waits for logs that have not begun: an election's services are started in any order, within about this time.
const BEGINNINGS: Duration = Duration::from_secs(60);
/// Between two looks for them.
const LOOK: Duration = Duration::from_millis(250);

/// What services read and know, whichever they are.
pub(super) struct Surroundings {
    /// What is published.
    pub(super) reader: Arc<dyn Reader>,
    /// Notices and times.
    pub(super) schedule: watch::Receiver<Schedule>,
    /// The time.
    pub(super) clock: Arc<dyn Clock>,
}

/// What can be made ready before it is this process's turn: whatever takes long and needs no log.
pub(super) enum Prepared {
    /// The roll, verified, and the keys.
    Registrar(Box<RegistrarParts>),
    /// Nothing.
    Nothing,
}

/// A running service.
pub(super) enum Service {
    /// See [`Cell`].
    Cell(Cell),
    /// See [`Registrar`].
    Registrar(Registrar),
    /// See [`Anchoring`].
    Anchor(Anchoring),
    /// See [`Tally`].
    Tally(Tally),
}

/// Why a service has ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Another process has the log now, or this one holds a key that was switched off: start it again.
    Again(String),
    /// Going on might fork a log: somebody must look.
    Halted(String),
}

/// Opens the logs that it writes.
///
/// # Errors
/// A key, a database, or a folder that is not right.
pub(super) async fn open_logs(
    config: &Config,
    around: &Surroundings,
) -> Result<Vec<(LogId, LogParts)>> {
    let in_force = around.schedule.borrow().clone();
    let mut logs = Vec::new();
    for place in config.logs() {
        let opened = LogParts::open(
            &config.election,
            place,
            &config.published,
            in_force.in_force(),
        )
        .await?;
        logs.push((place.log, opened));
    }
    Ok(logs)
}

impl Prepared {
    /// Opens it.
    ///
    /// # Errors
    /// It is not what the manifest names.
    pub(super) async fn open(config: &Config) -> Result<Self> {
        let Role::Registrar {
            registrar,
            rsa_key,
            code_key,
            roll,
            oidc,
            ..
        } = &config.role
        else {
            return Ok(Self::Nothing);
        };
        let parts = RegistrarParts::open(
            &config.election,
            *registrar,
            rsa_key,
            code_key,
            roll,
            oidc.clone(),
        )
        .await?;
        Ok(Self::Registrar(Box::new(parts)))
    }
}

impl Service {
    /// Starts it, and returns at once; [`Service::ready`] waits until it has taken its logs over.
    ///
    /// # Errors
    /// Something is not what the manifest names.
    pub(super) async fn start(
        config: &Config,
        prepared: Prepared,
        mut logs: Vec<(LogId, LogParts)>,
        known: &Known,
        around: &Surroundings,
        vitals: &Vitals,
    ) -> Result<Self> {
        let election = &config.election;
        let in_force = around.schedule.borrow().clone();
        let floor = |log| in_force.end_in_newest_head(election, log);
        let service = match (&config.role, prepared) {
            (Role::Cell { cell, .. }, _) => {
                let (log, parts) = logs.pop().context("a cell has a log")?;
                let cell = Cell::start(
                    CellConfig {
                        floor: floor(log),
                        warm: known.cell(),
                        ..CellConfig::new(election, *cell)
                    },
                    parts.store,
                    parts.publisher,
                    Arc::new(parts.signer),
                    around.schedule.clone(),
                    Arc::clone(&around.clock),
                );
                Self::Cell(cell?)
            }
            (Role::Registrar { registrar, .. }, Prepared::Registrar(opened)) => {
                let shards = logs
                    .into_iter()
                    .map(|(log, parts)| ShardParts {
                        warm: known.shard(log),
                        ..parts::as_shard(parts, floor(log))
                    })
                    .collect();
                Self::Registrar(opened.start(
                    election,
                    *registrar,
                    shards,
                    &around.schedule,
                    &around.clock,
                )?)
            }
            (Role::Registrar { .. }, Prepared::Nothing) => {
                return Err(anyhow!("the registrar's files were not opened"));
            }
            (
                Role::Anchor {
                    anchors, witnesses, ..
                },
                _,
            ) => {
                let (_, parts) = logs.pop().context("the heads log is a log")?;
                if in_force.heads_size() == 0 {
                    wait_for_beginnings(election, &around.reader).await;
                }
                let anchors = parts::open_anchors(anchors, &config.published, election).await?;
                let anchoring = parts::start_anchoring(
                    election,
                    parts,
                    anchors,
                    witnesses.clone(),
                    &around.reader,
                    &around.clock,
                )
                .await?;
                vitals.anchor(anchoring.anchored(), anchoring.cosigned());
                Self::Anchor(anchoring)
            }
            (Role::Tally { providers, .. }, _) => {
                let results = parts::results_file(&config.published, election).await?;
                let mut tally = TallyConfig::new(election);
                tally.providers.clone_from(providers);
                Self::Tally(Tally::start(tally, Arc::clone(&around.reader), results))
            }
        };
        vitals.write(service.handles());
        Ok(service)
    }

    /// The logs that it writes.
    #[must_use]
    pub(super) fn handles(&self) -> Vec<Handle> {
        match self {
            Self::Cell(cell) => vec![cell.handle()],
            Self::Registrar(registrar) => registrar.handles(),
            Self::Anchor(anchoring) => vec![anchoring.handle()],
            Self::Tally(_) => Vec::new(),
        }
    }

    /// What it serves.
    pub(super) fn router(&self, config: &Config, reader: &Arc<dyn Reader>) -> Router {
        match self {
            Self::Cell(cell) => cell.router().fallback(listener::not_found),
            Self::Registrar(registrar) => registrar.router().fallback(listener::not_found),
            Self::Anchor(anchoring) => anchoring.router().fallback(listener::not_found),
            Self::Tally(tally) => match &config.role {
                Role::Tally {
                    serve_files: true, ..
                } => published_files(tally.router(), &config.published, reader, &config.election),
                _ => tally.router().fallback(listener::not_found),
            },
        }
    }

    /// Waits until all logs are taken over.
    ///
    /// # Errors
    /// One cannot be.
    pub(super) async fn ready(&self) -> Result<(), Ended> {
        for handle in self.handles() {
            handle
                .ready()
                .await
                .map_err(|state| ended(&handle, &state))?;
        }
        Ok(())
    }

    /// Waits until it cannot go on, and says why. A log that was closed still answers, so that is no end.
    pub(super) async fn ended(&self, schedule: &watch::Receiver<Schedule>) -> Ended {
        let logs = self.handles().into_iter().map(|handle| {
            let schedule = schedule.clone();
            async move { log_ended(&handle, schedule).await }.boxed()
        });
        let mut ends: Vec<_> = logs.collect();
        if let Self::Anchor(anchoring) = self {
            ends.push(anchoring_ended(anchoring).boxed());
        }
        if ends.is_empty() {
            return std::future::pending().await;
        }
        select_all(ends).await.0
    }

    /// Ends the streams that would never end by themselves, and that a draining server would else wait for.
    pub(super) fn let_watchers_go(&self) {
        if let Self::Tally(tally) = self {
            tally.let_watchers_go();
        }
    }

    /// Ends it, once nothing is asked of it any more. What was acknowledged stays.
    pub(super) async fn shutdown(self) {
        match self {
            Self::Cell(cell) => cell.shutdown().await,
            Self::Registrar(registrar) => registrar.shutdown().await,
            Self::Anchor(_) | Self::Tally(_) => {}
        }
    }
}

async fn log_ended(handle: &Handle, schedule: watch::Receiver<Schedule>) -> Ended {
    let mut states = handle.watch_state();
    let last = states
        .wait_for(|state| matches!(state, State::SteppedDown(_) | State::Halted(_)))
        .await
        .map(|state| state.clone());
    let state = last.unwrap_or_else(|_| handle.state());
    // A process with the main key is stopped by the notice that switches to the spare.
    let log = handle.config().log.id();
    let signs = handle.config().keys.at(u64::MAX);
    let switched = schedule.borrow().in_force().checkpoint_key(log, u64::MAX);
    match switched.filter(|key| *key.as_bytes() != signs) {
        Some(_) => Ended::Again(format!(
            "a notice switched {log} to its spare key, and this process signs with the main key: start it again with `spare` in [key]"
        )),
        None => ended(handle, &state),
    }
}

async fn anchoring_ended(anchoring: &Anchoring) -> Ended {
    match anchoring.finished().await {
        // The final head is in every anchor; it stays to answer.
        Ok(_) => std::future::pending().await,
        Err(reason) => match anchoring.handle().state() {
            state @ (State::SteppedDown(_) | State::Halted(_)) => {
                ended(&anchoring.handle(), &state)
            }
            State::TakingOver | State::Running => Ended::Halted(reason),
        },
    }
}

fn ended(handle: &Handle, state: &State) -> Ended {
    let log = handle.config().log.id();
    match state {
        State::SteppedDown(reason) => Ended::Again(format!(
            "another process has taken {log} over ({reason}): start this one again, and it stands by"
        )),
        State::Halted(reason) => Ended::Halted(format!(
            "{log} has halted: {reason}. Somebody must look: starting again halts again"
        )),
        State::TakingOver | State::Running => {
            Ended::Halted(format!("{log} is {state:?}, which is no end"))
        }
    }
}

/// The very first head calls a log that is not there yet stale. Services are started in any order, so it waits a little for all of them.
async fn wait_for_beginnings(election: &Election, reader: &Arc<dyn Reader>) {
    let all_begun = async {
        for log in election.logs() {
            let path = name_of(election, *log).path("checkpoint");
            while !matches!(reader.read(&path, CHECKPOINT_BYTES_MAX).await, Ok(Some(_))) {
                tokio::time::sleep(LOOK).await;
            }
        }
    };
    if tokio::time::timeout(BEGINNINGS, all_begun).await.is_err() {
        tracing::warn!("not all logs have begun: the first head calls the missing ones stale");
    }
}
