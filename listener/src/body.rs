//! Bodies: bounded in bytes and time; then strict JSON, mostly.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use futures::StreamExt as _;
use serde::de::DeserializeOwned;

use crate::ApiError;

/// Reads the whole body, at most `bytes_max` bytes within `timeout`, and parses it as one JSON object.
///
/// `T` must be a struct with `#[serde(deny_unknown_fields)]`: "JSON bodies are UTF-8, without unknown or duplicate members."
/// The content type is not looked at.
///
/// # Errors
/// 413 `too-large`, before a byte is read where Content-Length says so; 408 `malformed` for a slow body; 400 `malformed`.
pub async fn json_body<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    timeout: Duration,
) -> Result<T, ApiError> {
    parse(&bytes_body(headers, body, bytes_max, timeout).await?)
}

/// Reads the whole body, at most `bytes_max` bytes within `timeout`: for what is not JSON.
///
/// # Errors
/// As [`json_body`]; 400 is for a body that breaks off or is encoded.
pub async fn bytes_body(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    timeout: Duration,
) -> Result<BytesMut, ApiError> {
    tokio::time::timeout(timeout, read(headers, body, bytes_max))
        .await
        .map_err(|_| {
            ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "malformed",
                "The body did not arrive in time, and nothing was done: send it again, at once.",
            )
        })?
}

async fn read(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<BytesMut, ApiError> {
    let too_large = || {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            format!(
                "The body is longer than {bytes_max} bytes, which no valid request is, and was not read."
            ),
        )
    };
    // hyper has checked the header's syntax; the lower bound of the size hint is its value.
    let announced = body.size_hint().lower();
    if announced > bytes_max as u64 {
        return Err(too_large());
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(ApiError::malformed(
            "Bodies are taken without Content-Encoding: send it as it is.",
        ));
    }
    let mut read = BytesMut::with_capacity(usize::try_from(announced).unwrap_or_default());
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| {
            ApiError::malformed("The body broke off: send the whole request again.")
        })?;
        if read.len() + chunk.len() > bytes_max {
            return Err(too_large());
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // serde would also take a JSON array in place of a struct: one meaning has one form here.
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err(ApiError::malformed(
            "The body is not a JSON object: send the members that the protocol names, and nothing else.",
        ));
    }
    // `from_slice` refuses trailing bytes and bad UTF-8; derived structs refuse duplicate members, and unknown ones when told.
    // Its message could repeat what was sent, so it is not passed on.
    serde_json::from_slice(bytes).map_err(|error| {
        ApiError::malformed(format!(
            "The body is not the JSON object that the protocol asks for (column {}): check the members' names and types; none may be missing, unknown or given twice, and nothing may follow.",
            error.column()
        ))
    })
}

/// Canonical base64 (RFC 4648 section 4, with padding, unused bits zero).
///
/// # Errors
/// 400 `malformed`, naming the member.
pub fn base64_of(member: &str, text: &str) -> Result<Vec<u8>, ApiError> {
    STANDARD.decode(text).map_err(|_| {
        ApiError::malformed(format!(
            "The member {member} is not base64 (RFC 4648 section 4, with padding): encode the bytes again."
        ))
    })
}
