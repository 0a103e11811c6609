//! A service's address while the process is not active: every request is told to come again.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use listener::ApiError;
use tower::ServiceExt as _;

use super::health::Vitals;

/// How long a client should wait before it asks again: a takeover takes a second or a few.
const RETRY_AFTER_S: u32 = 1;

/// Closed at first; [`Gate::open`] lets requests through to the service.
#[derive(Clone)]
pub(super) struct Gate {
    live: Arc<RwLock<Option<Router>>>,
    vitals: Vitals,
}

impl Gate {
    /// A closed one.
    #[must_use]
    pub(super) fn new(vitals: Vitals) -> Self {
        Self {
            live: Arc::default(),
            vitals,
        }
    }

    /// From now on requests go to the service.
    pub(super) fn open(&self, service: Router) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(service);
    }

    /// What is served at the service's address.
    pub(super) fn router(&self) -> Router {
        Router::new().fallback(pass).with_state(self.clone())
    }
}

async fn pass(State(gate): State<Gate>, request: Request<Body>) -> Result<Response, Infallible> {
    let live = gate
        .live
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    match live {
        Some(service) => service.oneshot(request).await,
        None => Ok(ApiError::new(
            // Not 503, which the active process answers too, and a balancer must pass on.
            StatusCode::BAD_GATEWAY,
            "standby",
            format!(
                "This process is not active now ({}), and did nothing; whether it was done before is not known: send exactly the same again after Retry-After, which is always safe.",
                gate.vitals.phase().name()
            ),
        )
        .retry_after(RETRY_AFTER_S)
        .into_response()),
    }
}
