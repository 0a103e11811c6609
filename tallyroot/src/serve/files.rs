//! The published files over HTTP, where nothing else serves them: no web server, and nothing in front of a bucket.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use ledger::publisher::path::Kind;
use ledger::publisher::{ReadError, Reader};
use protocol::manifest::Election;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

use super::config::Published;

/// No published file is longer (specs/protocol.md, sections 9 and 10: 16 MiB), but for results.json and what future versions may have.
const FILE_LEN_MAX: usize = 32 << 20;

/// Everything that is not a service's own route is a published file, or nothing.
pub fn published_files(
    app: Router,
    published: &Published,
    reader: &Arc<dyn Reader>,
    election: &Election,
) -> Router {
    let page = format!("/elections/{}/", election.id());
    let header = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    let app = app.route("/", get(move || async move { Redirect::temporary(&page) }));
    let app = match published {
        Published::Directory(public) => app.nest_service(
            "/elections",
            ServeDir::new(public.join("elections")).append_index_html_on_directories(false),
        ),
        Published::Bucket(_) => app.route(
            &format!("/elections/{}/{{*path}}", election.id()),
            get(of_bucket).with_state(Arc::clone(reader)),
        ),
    };
    // Anybody may read and verify from anywhere; what can change must be asked for again.
    app.layer(header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .layer(header(header::CACHE_CONTROL, "no-cache"))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(header::REFERRER_POLICY, "no-referrer"))
}

async fn of_bucket(State(reader): State<Arc<dyn Reader>>, Path(path): Path<String>) -> Response {
    let Some(kind) = Kind::of(&path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match reader.read(&path, FILE_LEN_MAX).await {
        Ok(Some(bytes)) => {
            let kind = [(header::CONTENT_TYPE, kind.content_type())];
            (kind, Body::from(bytes)).into_response()
        }
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            tracing::warn!(%error, "a published file could not be served");
            match error {
                ReadError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE.into_response(),
                ReadError::TooLong { .. } | ReadError::Path(_) => {
                    StatusCode::INTERNAL_SERVER_ERROR.into_response()
                }
            }
        }
    }
}
