//! The witness's HTTP interface: C2SP tlog-witness, and figures for its operator at another address.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use listener::{ApiError, Limits, Workers, bytes_body};

use super::cosigner::{Answer, Refusal, Witness};
use super::request::REQUEST_BYTES_MAX;

/// From the header to the end of the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests that wait for a thread.
const WAITING_MAX: usize = 256;
/// How many seconds whoever is turned away should wait.
const RETRY_AFTER_S: u32 = 5;
/// "The response MUST have a `Content-Type` of `text/x.tlog.size`."
const TLOG_SIZE: HeaderValue = HeaderValue::from_static("text/x.tlog.size");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The bounds of a witness's listener: it has few clients.
#[must_use]
pub fn limits() -> Limits {
    Limits {
        connections_max: 1_024,
        requests_max: 512,
        ..Limits::default()
    }
}

#[derive(Clone)]
struct App {
    witness: Arc<Witness>,
    workers: Workers,
}

/// `POST /add-checkpoint` and `GET /<origin hash>/checkpoint`.
pub fn router(witness: &Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{hash}/checkpoint", get(checkpoint))
        .fallback(listener::not_found)
        .method_not_allowed_fallback(listener::method_not_allowed)
        .with_state(App {
            witness: Arc::clone(witness),
            workers: Workers::for_this_machine(WAITING_MAX),
        })
}

/// `GET /livez` and `GET /metrics`, for the operator.
pub fn health_router(witness: &Arc<Witness>) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/metrics", get(metrics))
        .fallback(listener::not_found)
        .method_not_allowed_fallback(listener::method_not_allowed)
        .with_state(Arc::clone(witness))
}

async fn add_checkpoint(
    State(app): State<App>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let body = bytes_body(&head.headers, body, REQUEST_BYTES_MAX, BODY_TIMEOUT).await?;
    let witness = Arc::clone(&app.witness);
    // Two signature checks at least, and a write to disk that is waited for.
    match app
        .workers
        .run(move || witness.add_checkpoint(&body))
        .await?
    {
        Answer::Cosigned(line) => Ok(answer(StatusCode::OK, TEXT, line)),
        Answer::OtherSize(size) => Ok(answer(StatusCode::CONFLICT, TLOG_SIZE, format!("{size}\n"))),
        Answer::Refused(refusal) => Err(error(&refusal)),
    }
}

async fn checkpoint(
    State(app): State<App>,
    Path(hash): Path<String>,
) -> Result<Response, ApiError> {
    let note = app.witness.checkpoint(&hash).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "No checkpoint of this log was cosigned here: the path is /<SHA-256 of the log's origin, in lowercase hex>/checkpoint.",
        )
    })?;
    let mut response = answer(StatusCode::OK, TEXT, note);
    // Anybody may compare it, from a page of theirs too.
    response.headers_mut().insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    Ok(response)
}

async fn metrics(State(witness): State<Arc<Witness>>) -> Response {
    let version = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer(StatusCode::OK, version, witness.metrics())
}

fn answer(status: StatusCode, kind: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = (status, body.into()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    response
}

fn error(refusal: &Refusal) -> ApiError {
    let (status, code) = match refusal {
        Refusal::Malformed(_) | Refusal::Shrinks => (StatusCode::BAD_REQUEST, "malformed"),
        Refusal::UnknownLog => (StatusCode::NOT_FOUND, "unknown-log"),
        Refusal::UnknownKey | Refusal::BadSignature => (StatusCode::FORBIDDEN, "bad-signature"),
        Refusal::NotConsistent => (StatusCode::UNPROCESSABLE_ENTITY, "not-consistent"),
        Refusal::SameSize => (StatusCode::UNPROCESSABLE_ENTITY, "forked"),
        Refusal::Unavailable(_) => {
            return ApiError::busy(refusal.to_string(), RETRY_AFTER_S);
        }
    };
    ApiError::new(status, code, refusal.to_string())
}
