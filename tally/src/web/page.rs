//! The page's files, embedded in the program.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// One file of the page.
pub(super) struct Asset {
    /// Its name below `/elections/<id>/`; empty for the page itself.
    pub(super) name: &'static str,
    media_type: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

pub(super) static ASSETS: &[Asset] = &[
    asset("", HTML, include_str!("../../web/index.html")),
    asset("page.css", CSS, include_str!("../../web/page.css")),
    asset("page.js", SCRIPT, include_str!("../../web/page.js")),
    asset("render.js", SCRIPT, include_str!("../../web/render.js")),
    asset("verify.js", SCRIPT, include_str!("../../web/verify.js")),
    asset("formats.js", SCRIPT, include_str!("../../web/formats.js")),
    asset("crypto.js", SCRIPT, include_str!("../../web/crypto.js")),
];

const fn asset(name: &'static str, media_type: &'static str, text: &'static str) -> Asset {
    Asset {
        name,
        media_type,
        text,
    }
}

/// Nothing from anywhere else, nothing inline, nobody frames it: what is shown can only come from these files and the election's own data.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn serve(asset: &Asset) -> Response {
    let headers: [(HeaderName, &'static str); 7] = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "public, max-age=60"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    (
        headers.map(|(name, value)| (name, HeaderValue::from_static(value))),
        asset.text,
    )
        .into_response()
}
