//! Errors as clients see them.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// `{"error": {"code": string, "message": string}}` plus further members, with a status and perhaps Retry-After (specs/protocol.md section 14).
///
/// `code` is for programs and never changes its meaning; `message` is for people and says what to do. Neither repeats what the client sent.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after_s: Option<u32>,
    members: Map<String, Value>,
}

impl ApiError {
    /// An error without further members.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after_s: None,
            members: Map::new(),
        }
    }

    /// 400 `malformed`.
    #[must_use]
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", message)
    }

    /// 503 `busy`, with Retry-After.
    #[must_use]
    pub fn busy(message: impl Into<String>, retry_after_s: u32) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).retry_after(retry_after_s)
    }

    /// Adds Retry-After, in seconds.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Adds a member beside `error`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        crate::meter::refused(self.code);
        let mut members = self.members;
        members.insert(
            "error".to_owned(),
            json!({"code": self.code, "message": self.message}),
        );
        let mut response = (self.status, Json(Value::Object(members))).into_response();
        let headers = response.headers_mut();
        // An answer holds what one client may know now; nothing on the way may keep it.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// 404 `not-found`: for routers' fallback.
#[allow(clippy::unused_async, reason = "handlers are async functions")]
pub async fn not_found() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "not-found",
        "Nothing is served here: check the election id, the cell or registrar, and the path.",
    )
}

/// 405 `method-not-allowed`: for routers' fallback.
#[allow(clippy::unused_async, reason = "handlers are async functions")]
pub async fn method_not_allowed() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "This path takes another method: see the protocol's section on HTTP.",
    )
}
