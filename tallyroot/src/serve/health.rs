//! How a process is: for load balancers, supervisors and people, at an address of its own.
//!
//! - `GET /livez`: 200 as long as the process answers at all.
//! - `GET /readyz`: 200 if requests are served; 503 otherwise (standby, taking over, stopping), with the state, and what it waits for.
//! - `GET /metrics`: counters and gauges for Prometheus, see [`super::metrics`].
//! - `GET /status`: JSON with state, epoch, size and schedule. Nothing in it is about a voter or a vote but how many there are in all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anchoring::{Cosigned, WitnessState};
use axum::Json;
use axum::Router;
use axum::extract::State as Extract;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use ledger::clock::{Clock as _, SystemClock};
use ledger::schedule::{Health, Schedule};
use ledger::sequencer::{Handle, State};
use protocol::manifest::Election;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::metrics;
use crate::ending::{Course, Ending};

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Checking and opening what it works with.
    Starting,
    /// Another process is active; this one waits for its turn.
    Standby,
    /// Its turn: it takes its logs over.
    TakingOver,
    /// It serves.
    Active,
    /// It was asked to stop, and ends what is in flight.
    Stopping,
}

impl Phase {
    /// As `/readyz` and `/status` name it.
    #[must_use]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Standby => "standby",
            Self::TakingOver => "taking-over",
            Self::Active => "active",
            Self::Stopping => "stopping",
        }
    }
}

/// What is known of this process. Cheap to clone.
#[derive(Clone)]
pub(super) struct Vitals(Arc<Inner>);

struct Inner {
    role: String,
    election: Election,
    schedule: watch::Receiver<Schedule>,
    now: Mutex<Now>,
}

struct Now {
    phase: Phase,
    /// What it waits for, where that is not its turn.
    waits_for: Option<String>,
    logs: Vec<Handle>,
    anchored: Option<(watch::Receiver<u64>, watch::Receiver<Cosigned>)>,
}

impl Vitals {
    /// Of a process that begins.
    #[must_use]
    pub(super) fn new(
        role: String,
        election: Election,
        schedule: watch::Receiver<Schedule>,
    ) -> Self {
        Self(Arc::new(Inner {
            role,
            election,
            schedule,
            now: Mutex::new(Now {
                phase: Phase::Starting,
                waits_for: None,
                logs: Vec::new(),
                anchored: None,
            }),
        }))
    }

    /// A plain value is behind the lock: what a panic left is whole.
    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The phase begins.
    pub(super) fn enter(&self, phase: Phase) {
        // Whoever reads the line finds it so.
        self.now().phase = phase;
        tracing::info!("{}: {}", self.0.role, phase.name());
    }

    /// The phase.
    #[must_use]
    pub(super) fn phase(&self) -> Phase {
        self.now().phase
    }

    /// What it waits for, and why: it is not ready meanwhile.
    pub(super) fn wait_for(&self, reason: Option<String>) {
        self.now().waits_for = reason;
    }

    fn waits_for(&self) -> Option<String> {
        self.now().waits_for.clone()
    }

    /// The logs that it writes from now on.
    pub(super) fn write(&self, logs: Vec<Handle>) {
        self.now().logs = logs;
    }

    /// The size of the heads log that every anchor holds, and how far the witnesses are.
    pub(super) fn anchor(
        &self,
        anchored: watch::Receiver<u64>,
        cosigned: watch::Receiver<Cosigned>,
    ) {
        self.now().anchored = Some((anchored, cosigned));
    }

    /// What it is now, and whether it serves.
    #[must_use]
    pub(super) fn readiness(&self) -> (&'static str, bool) {
        let now = self.now();
        let worst = now
            .logs
            .iter()
            .map(Handle::state)
            .find(|state| *state != State::Running);
        match (now.phase, worst) {
            (Phase::Active, None) => (Phase::Active.name(), true),
            (Phase::Active, Some(state)) => (state_name(&state), false),
            (phase, _) => (phase.name(), false),
        }
    }

    fn status(&self) -> Value {
        let (state, ready) = self.readiness();
        let schedule = self.0.schedule.borrow().clone();
        let course = Course::of_schedule(&self.0.election, &schedule);
        let now = self.now();
        let logs = now.logs.iter().map(|handle| log_status(handle, &course));
        let logs: Vec<Value> = logs.collect();
        let anchored = now
            .anchored
            .as_ref()
            .map(|(size, cosigned)| (*size.borrow(), cosigned.borrow().clone()));
        drop(now);
        let mut status = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "process": std::process::id(),
            "role": self.0.role,
            "election": self.0.election.id().to_string(),
            "state": state,
            "ready": ready,
            "reason": self.waits_for(),
            "logs": logs,
            "schedule": schedule_status(&schedule),
        });
        if let (Some((anchored, cosigned)), Some(members)) = (anchored, status.as_object_mut()) {
            members.insert("anchored_size".to_owned(), anchored.into());
            if !cosigned.witnesses.is_empty() {
                members.insert("cosigned_size".to_owned(), cosigned.size.into());
                let witnesses = cosigned.witnesses.iter().map(witness_status).collect();
                members.insert("witnesses".to_owned(), witnesses);
            }
        }
        status
    }

    /// The state of things as gauges, and every counter of this process. `None`: there is no recorder.
    fn metrics(&self) -> Option<String> {
        let (_, ready) = self.readiness();
        metrics::process(&self.0.role, ready);
        metrics::schedule(&self.0.schedule.borrow());
        let now = self.now();
        now.logs.iter().for_each(metrics::log);
        if let Some((size, cosigned)) = &now.anchored {
            metrics::anchored(*size.borrow(), &cosigned.borrow());
        }
        drop(now);
        metrics::page()
    }

    /// The four routes.
    pub(super) fn router(&self) -> Router {
        Router::new()
            .route("/livez", get(async || "alive\n"))
            .route("/readyz", get(readyz))
            .route("/status", get(status))
            .route("/metrics", get(metrics))
            .fallback(listener::not_found)
            .method_not_allowed_fallback(listener::method_not_allowed)
            .with_state(self.clone())
    }
}

async fn readyz(Extract(vitals): Extract<Vitals>) -> Response {
    let (state, ready) = vitals.readiness();
    let code = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let text = match vitals.waits_for() {
        Some(reason) => format!("{state}: {reason}\n"),
        None => format!("{state}\n"),
    };
    fresh((code, text).into_response())
}

async fn metrics(Extract(vitals): Extract<Vitals>) -> Response {
    let Some(page) = vitals.metrics() else {
        return listener::not_found().await.into_response();
    };
    // "text/plain; version=0.0.4" is the text format's name (Prometheus, exposition formats).
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    fresh((kind, page).into_response())
}

async fn status(Extract(vitals): Extract<Vitals>) -> Response {
    fresh(Json(vitals.status()).into_response())
}

/// An answer that nobody may keep.
fn fresh(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) const fn state_name(state: &State) -> &'static str {
    match state {
        State::TakingOver => "taking-over",
        State::Running => "running",
        State::SteppedDown(_) => "stepped-down",
        State::Halted(_) => "halted",
    }
}

fn log_status(handle: &Handle, course: &Course<'_>) -> Value {
    let published = handle.published();
    let log = handle.config().log.id();
    let ending = Ending::of(course, log, published.closed, SystemClock.now_ms());
    let state = handle.state();
    let reason = match &state {
        State::SteppedDown(reason) | State::Halted(reason) => Some(reason.clone()),
        State::TakingOver | State::Running => None,
    };
    json!({
        "log": log.prefix(),
        "state": state_name(&state),
        "reason": reason,
        "epoch": handle.epoch(),
        "size": published.end.size,
        "root": hex::encode(published.end.root.as_bytes()),
        "batches": published.batches,
        "closed": published.closed,
        "ending": ending.to_json(),
        "queued": handle.queued(),
    })
}

fn witness_status(witness: &WitnessState) -> Value {
    json!({ "name": witness.name, "size": witness.size, "wrong": witness.wrong })
}

fn schedule_status(schedule: &Schedule) -> Value {
    let (health, reason) = match schedule.health() {
        Health::NotPublished => ("not-published", None),
        Health::Current => ("current", None),
        Health::Unreachable(reason) => ("unreachable", Some(reason)),
        Health::Inconsistent(reason) => ("inconsistent", Some(reason)),
    };
    json!({
        "health": health,
        "reason": reason,
        "checked_ms": schedule.checked_ms(),
        "heads_size": schedule.heads_size(),
        "head_time": schedule.head_time(),
        "closing": schedule.in_force().closing(),
        "cancelled": schedule.in_force().cancelled().is_some(),
        "final": schedule.has_final_head(),
    })
}
