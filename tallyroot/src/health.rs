//! Asking services how they are, at their health addresses.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// A service answers for its health at once, or is not well.
const TIMEOUT: Duration = Duration::from_secs(5);
/// No status is longer.
const STATUS_BYTES_MAX: usize = 1 << 20;

/// Whether the service at this address (`127.0.0.1:7101`, or with `http://`) is ready, and its `/status`.
///
/// # Errors
/// Nobody answers there, or somebody else than a service about its health.
pub async fn ask(address: &str) -> Result<(bool, Value)> {
    let base = if address.contains("://") {
        address.trim_end_matches('/').to_owned()
    } else {
        format!("http://{address}")
    };
    let http = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .context("cannot set up the HTTP client")?;
    let mut response = http
        .get(format!("{base}/status"))
        .send()
        .await
        .with_context(|| {
            format!(
                "no service answers at {base} (is it running, and is this its `health_listen`?)"
            )
        })?;
    let other = || {
        format!(
            "{base} answers, but is no service's health address: give the one that its configuration names as `health_listen`, not `listen`"
        )
    };
    if !response.status().is_success() {
        bail!("{} (/status: {})", other(), response.status());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .with_context(|| format!("while reading {base}/status"))?
    {
        if bytes.len() + chunk.len() > STATUS_BYTES_MAX {
            bail!("{} (/status is too long)", other());
        }
        bytes.extend_from_slice(&chunk);
    }
    let status: Value =
        serde_json::from_slice(&bytes).map_err(|_| anyhow!("{} (/status is no JSON)", other()))?;
    if !(at(&status, "/role").is_string() && at(&status, "/state").is_string()) {
        bail!("{} (/status names no role)", other());
    }
    Ok((*at(&status, "/ready") == true, status))
}

/// The value at this place of an answer (RFC 6901); null where there is none.
#[must_use]
pub(crate) fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    static NULL: Value = Value::Null;
    value.pointer(pointer).unwrap_or(&NULL)
}
