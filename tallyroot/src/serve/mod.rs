//! `tallyroot serve`: one service, alone in its process.
//!
//! A process checks what it was told, stands by until it is its turn, takes its logs over, serves, and ends either because it was asked to or because it
//! must not go on. Two processes of the same service make an active one and a standby: whoever comes second waits, and serves as soon as the first one ends,
//! however it ends.

pub(crate) mod check;
pub mod config;
pub mod files;
mod gate;
mod health;
mod metrics;
pub mod parts;
mod patience;
pub mod repair;
pub mod roll;
mod service;
mod turn;
mod warm;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::FutureExt as _;
use futures::future::select_all;
use ledger::clock::{Clock, SystemClock};
use ledger::schedule;
use ledger::sequencer::Handle;
use listener::{Limits, Tls};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::ServeCommand;
use crate::health::{ask as health_of, at};
use check::Check;
use config::{Config, ConfigError, LogPlace, RoleName};
use gate::Gate;
use health::{Phase, Vitals};
use service::{Ended, Prepared, Service, Surroundings, open_logs};
use turn::{Turn, turn_again, wait_for_turn};
use warm::Known;

/// It was not right to start, or something broke down.
const FAILED: u8 = 1;
/// Fenced, or the key was switched: start it again, and it stands by or takes the spare.
const AGAIN: u8 = 3;
/// Halted: somebody must look.
const HALTED: u8 = 4;

/// How often services look at the heads log for notices.
pub(crate) const SCHEDULE_POLL: Duration = Duration::from_millis(250);
/// How long a batch takes from its last vote to its answers, at most, where all is well.
const PUBLISHED: Duration = Duration::from_secs(10);
/// Requests for health are few.
const HEALTH_CONNECTIONS: usize = 64;

/// Runs a service until it is stopped, or checks its configuration.
///
/// # Errors
/// What is wrong, where nothing was started.
pub async fn run(command: &ServeCommand) -> Result<ExitCode> {
    let (role, args) = match command {
        ServeCommand::Cell(args) => (RoleName::Cell, args),
        ServeCommand::Registrar(args) => (RoleName::Registrar, args),
        ServeCommand::Anchor(args) => (RoleName::Anchor, args),
        ServeCommand::Tally(args) => (RoleName::Tally, args),
    };
    let config = match load(role, &args.config) {
        Ok(config) => config,
        Err(error) if args.check_config => {
            let check = Check {
                name: "configuration",
                outcome: Err(error.to_string()),
                passes: false,
            };
            return report(None, &[check], args.json);
        }
        Err(error) => return Err(error.into()),
    };
    if !args.check_config {
        metrics::install();
        match role {
            RoleName::Registrar => registrar::describe_metrics(),
            RoleName::Anchor => anchoring::describe_metrics(),
            RoleName::Tally => tally::describe_metrics(),
            RoleName::Cell => {}
        }
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let reader = parts::reader(&config.published, &config.election).await?;
    let (follower, schedule) = schedule::follow(
        config.election.clone(),
        Arc::clone(&reader),
        Arc::clone(&clock),
        SCHEDULE_POLL,
    );
    let around = Surroundings {
        reader,
        schedule,
        clock,
    };
    let (mut checks, prepared) = check::all(&config, &around).await;
    let tls = config.tls.clone().map(Tls::open).transpose();
    match &tls {
        Ok(None) => {}
        Ok(Some(tls)) => checks.push(Check::of("tls", Ok(check::certificate(tls, &around)))),
        Err(error) => checks.push(Check {
            name: "tls",
            outcome: Err(format!("[tls]: {error}")),
            passes: false,
        }),
    }
    let listeners = listen(&config).await;
    checks.push(Check::of(
        "listen",
        match &listeners {
            Ok(_) => Ok(format!(
                "{} and {} are free",
                config.listen, config.health_listen
            )),
            Err(error) => Err(anyhow::anyhow!(match running_already(&config).await {
                Some(running) => format!("{running} ({})", crate::in_words(error)),
                None => crate::in_words(error),
            })),
        },
    ));
    if args.check_config {
        return report(Some(&config), &checks, args.json);
    }
    for check in &checks {
        match &check.outcome {
            Ok(_) => {}
            // It is waited for.
            Err(wrong) if check.passes => tracing::warn!("{}: {wrong}", check.name),
            Err(wrong) => tracing::error!("{}: {wrong}", check.name),
        }
    }
    let right = checks
        .iter()
        .all(|check| check.outcome.is_ok() || check.passes);
    let (Ok(listeners), Ok(tls), true) = (listeners, tls, right) else {
        tracing::error!("{} was not started: see above", config.role.title());
        return Ok(ExitCode::from(FAILED));
    };
    let code = live(&config, prepared, &around, listeners, tls).await?;
    follower.abort();
    Ok(ExitCode::from(code))
}

fn load(role: RoleName, file: &Path) -> Result<Config, ConfigError> {
    // A variable that is not UTF-8 is none of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Config::load(role, file, environment)
}

/// The answer to `--check-config`.
fn report(config: Option<&Config>, checks: &[Check], as_json: bool) -> Result<ExitCode> {
    let ok = checks.iter().all(|check| check.outcome.is_ok());
    let text = if as_json {
        json!({
            "role": config.map(|config| config.role.title()),
            "election": config.map(|config| config.election.id().to_string()),
            "ok": ok,
            "checks": checks.iter().map(Check::to_json).collect::<Vec<_>>(),
        })
        .to_string()
    } else {
        let lines: Vec<String> = checks.iter().map(Check::line).collect();
        lines.join("\n")
    };
    crate::say(Some(text))?;
    Ok(ExitCode::from(if ok { 0 } else { FAILED }))
}

/// Where the service and its health are served.
struct Listeners {
    service: TcpListener,
    health: TcpListener,
}

async fn listen(config: &Config) -> Result<Listeners> {
    Ok(Listeners {
        service: bind("listen", config.listen).await?,
        health: bind("health_listen", config.health_listen).await?,
    })
}

/// Whether the ports are taken by this very service: what its health address says.
async fn running_already(config: &Config) -> Option<String> {
    let address = config.health_listen.to_string();
    let (_, status) = health_of(&address).await.ok()?;
    let is = |place: &str, value: &str| at(&status, place).as_str() == Some(value);
    let (title, id) = (config.role.title(), config.election.id().to_string());
    (is("/role", &title) && is("/election", &id)).then(|| {
        format!(
            "{title} of this election runs with these addresses already: process {}, {}, says so at {address}. To replace it, stop it first; to have another one stand by, give that one \
             addresses of its own",
            at(&status, "/process"),
            at(&status, "/state").as_str().unwrap_or("?"),
        )
    })
}

async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "`{key}`: cannot listen on {address}: is another process there, perhaps this service's own? Give each process its own port"
        )
    })
}

/// A server that runs beside.
struct Server {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    fn start(
        listener: TcpListener,
        tls: Option<Tls>,
        router: axum::Router,
        limits: Limits,
    ) -> Self {
        let (stop, mut stopping) = watch::channel(false);
        let stopped = async move {
            // An error is this server, dropped: that too is the time to stop.
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        let task = tokio::spawn(async move {
            match tls {
                None => listener::serve(listener, router, limits, stopped).await,
                Some(tls) => listener::serve_tls(listener, tls, router, limits, stopped).await,
            }
        });
        Self { stop, task }
    }

    /// Takes nothing new, and waits for what is in flight, within the listener's bound.
    async fn drain(self) {
        let _ = self.stop.send(true);
        // An error is a listener that broke down, which has stopped all the same.
        let _ = self.task.await;
    }
}

/// From standby to the end; the exit code.
async fn live(
    config: &Config,
    prepared: Option<Prepared>,
    around: &Surroundings,
    listeners: Listeners,
    tls: Option<Tls>,
) -> Result<u8> {
    let title = config.role.title();
    let mut asked = Asked::new()?;
    let vitals = Vitals::new(
        title.clone(),
        config.election.clone(),
        around.schedule.clone(),
    );
    let gate = Gate::new(vitals.clone());
    tracing::info!(
        "{title}: at {}://{}, health at http://{}",
        if tls.is_some() { "https" } else { "http" },
        listeners.service.local_addr()?,
        listeners.health.local_addr()?
    );
    let health_limits = Limits {
        connections_max: HEALTH_CONNECTIONS,
        requests_max: HEALTH_CONNECTIONS,
        drain_timeout: Duration::from_secs(1),
        ..Limits::default()
    };
    let health = Server::start(listeners.health, None, vitals.router(), health_limits);
    // Whoever waits for a batch when the process is asked to stop still gets her answer.
    let batch_wait = Duration::from_millis(config.election.manifest().batch_wait_ms);
    let limits = Limits::default();
    let limits = Limits {
        drain_timeout: limits.drain_timeout.max(batch_wait + PUBLISHED),
        ..limits
    };
    let server = Server::start(listeners.service, tls, gate.router(), limits);

    let begun = async {
        let prepared = prepare(config, prepared, &vitals).await?;
        let known = Known::of(config);
        let (turns, logs) = loop {
            let mut turns = tokio::select! {
                turns = wait_for_turns(config, &vitals) => turns?,
                never = known.keep_up(&config.election, around) => match never {},
            };
            vitals.enter(Phase::TakingOver);
            // It may have been right when this process began to stand by, weeks ago.
            check::clock(config, around).await?;
            known.catch_up(&config.election, around).await;
            let opened =
                patience::until_it_passes(&vitals, "its database and its key", async || {
                    open_logs(config, around).await
                });
            tokio::select! {
                logs = opened => break (turns, logs?),
                reason = any_lost(&mut turns) => {
                    tracing::warn!("the turn was lost ({reason}) before the log was taken over: waiting for it again");
                }
            }
        };
        let service = Service::start(config, prepared, logs, &known, around, &vitals).await?;
        anyhow::Ok((turns, service))
    };
    let begun = tokio::select! {
        begun = begun => Some(begun?),
        () = asked.stop() => None,
    };
    let Some((mut turns, service)) = begun else {
        vitals.enter(Phase::Stopping);
        server.drain().await;
        health.drain().await;
        tracing::info!("{title}: stopped as asked, before it was its turn");
        return Ok(0);
    };
    let ended = tokio::select! {
        ended = serve(config, &service, &gate, &vitals, around) => Some(ended),
        ended = keep(config, &service, &mut turns) => Some(ended),
        () = asked.stop() => None,
    };
    vitals.enter(Phase::Stopping);
    service.let_watchers_go();
    server.drain().await;
    service.shutdown().await;
    // Only now: nothing is on its way any more, so the next one finds a log at rest.
    for turn in turns {
        turn.release().await;
    }
    health.drain().await;
    Ok(match ended {
        None => {
            tracing::info!("{title}: stopped as asked");
            0
        }
        Some(Ended::Again(reason)) => {
            tracing::error!("{title} ends: {reason}");
            AGAIN
        }
        Some(Ended::Halted(reason)) => {
            tracing::error!("{title} ends: {reason}");
            HALTED
        }
    })
}

/// Serves until it cannot any more.
async fn serve(
    config: &Config,
    service: &Service,
    gate: &Gate,
    vitals: &Vitals,
    around: &Surroundings,
) -> Ended {
    // Open at once: what a log that is being taken over cannot answer, it says itself.
    gate.open(service.router(config, &around.reader));
    let active = async {
        if service.ready().await.is_ok() {
            vitals.enter(Phase::Active);
        }
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        never = active => match never {},
        ended = service.ended(&around.schedule) => ended,
    }
}

/// All of the service's logs, always in the same order, so that two processes never hold some each.
async fn wait_for_turns(config: &Config, vitals: &Vitals) -> Result<Vec<Turn>> {
    let mut turns = Vec::new();
    for place in config.logs() {
        let turn = wait_for_turn(&config.election, place, || {
            if vitals.phase() != Phase::Standby {
                vitals.enter(Phase::Standby);
            }
        });
        turns.push(turn.await?);
    }
    Ok(turns)
}

/// Waits until the databases are what a service can begin with, and opens what it needs beside its logs, where that could not be done at once.
async fn prepare(config: &Config, prepared: Option<Prepared>, vitals: &Vitals) -> Result<Prepared> {
    patience::until_it_passes(vitals, "its database", async || {
        for place in config.logs() {
            check::database(config, place).await?;
        }
        Ok(())
    })
    .await?;
    match prepared {
        Some(prepared) => Ok(prepared),
        None => {
            patience::until_it_passes(vitals, "its roll and its RSA key", async || {
                Prepared::open(config).await
            })
            .await
        }
    }
}

/// Waits until one of them is lost, and says why.
async fn any_lost(turns: &mut [Turn]) -> String {
    let lost: Vec<_> = turns.iter_mut().map(|turn| turn.lost().boxed()).collect();
    if lost.is_empty() {
        return std::future::pending().await;
    }
    select_all(lost).await.0
}

/// A turn is lost with its session: the database failed over, or the network did. Nobody need have noticed, so serving goes on while it is asked for again;
/// if somebody else took the log over, the database says so, and this process ends.
async fn keep(config: &Config, service: &Service, turns: &mut [Turn]) -> Ended {
    let handles = service.handles();
    let places = config.logs();
    let kept: Vec<_> = places
        .into_iter()
        .zip(turns)
        .filter_map(|(place, turn)| {
            let handle = handles
                .iter()
                .find(|handle| handle.config().log.id() == place.log)?;
            Some(keep_one(config, place, handle, turn).boxed())
        })
        .collect();
    if kept.is_empty() {
        return std::future::pending().await;
    }
    select_all(kept).await.0
}

async fn keep_one(config: &Config, place: &LogPlace, handle: &Handle, turn: &mut Turn) -> Ended {
    loop {
        let reason = turn.lost().await;
        tracing::warn!(log = %place.log, "its turn was lost ({reason}), and is asked for again; serving goes on until somebody else takes the log over");
        handle.doubt(true);
        match turn_again(&config.election, place, handle).await {
            Some(again) => *turn = again,
            // It stays doubted: what this process knows is no longer all.
            None => {
                return Ended::Again(format!(
                    "another process has taken {} over (this one's turn was lost: {reason}): start this one again, and it stands by",
                    place.log
                ));
            }
        }
        handle.doubt(false);
    }
}

/// SIGTERM or SIGINT.
struct Asked {
    terminate: Signal,
    interrupt: Signal,
}

impl Asked {
    fn new() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
