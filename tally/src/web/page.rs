//! The pages' files, embedded in the program.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::Providers;

/// One file of the pages.
pub(super) struct Asset {
    /// Its name below `/elections/<id>/`; empty for the results page.
    pub(super) name: &'static str,
    media_type: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// As `web/app` builds them: the test suite proves that they come from its source, byte for byte.
macro_rules! built {
    ($name:literal) => {
        include_str!(concat!("../../../web/app/dist/", $name))
    };
}

pub(super) static ASSETS: &[Asset] = &[
    asset("", HTML, built!("index.html")),
    asset("vote", HTML, built!("vote.html")),
    asset("receipt", HTML, built!("receipt.html")),
    asset("audit", HTML, built!("audit.html")),
    asset("page.css", CSS, built!("page.css")),
    asset("voting.css", CSS, built!("voting.css")),
    asset("start.js", SCRIPT, built!("start.js")),
    asset("page.js", SCRIPT, built!("page.js")),
    asset("worker.js", SCRIPT, built!("worker.js")),
    asset("vote.js", SCRIPT, built!("vote.js")),
    asset("voter.js", SCRIPT, built!("voter.js")),
    asset("receipt.js", SCRIPT, built!("receipt.js")),
    asset("receipt-worker.js", SCRIPT, built!("receipt-worker.js")),
    asset("offline.js", SCRIPT, built!("offline.js")),
    asset("audit.js", SCRIPT, built!("audit.js")),
    asset("vote-ar.js", SCRIPT, built!("vote-ar.js")),
    asset("vote-de.js", SCRIPT, built!("vote-de.js")),
    asset("vote-es.js", SCRIPT, built!("vote-es.js")),
    asset("vote-fr.js", SCRIPT, built!("vote-fr.js")),
    asset("vote-pt.js", SCRIPT, built!("vote-pt.js")),
    asset("ar.js", SCRIPT, built!("ar.js")),
    asset("de.js", SCRIPT, built!("de.js")),
    asset("es.js", SCRIPT, built!("es.js")),
    asset("fr.js", SCRIPT, built!("fr.js")),
    asset("pt.js", SCRIPT, built!("pt.js")),
    asset("sums.txt", TEXT, built!("sums.txt")),
];

const fn asset(name: &'static str, media_type: &'static str, text: &'static str) -> Asset {
    Asset {
        name,
        media_type,
        text,
    }
}

/// Nothing from anywhere else, nothing inline, nobody frames it, and no text ever becomes markup or a script: what is shown can only come from these files
/// and the election's own data.
const POLICY: &str = "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types tallyroot";

/// The policy of one file. The voting page's worker asks the identity providers, and a worker has the policy that its own script came with.
pub(super) fn policy(asset: &Asset, providers: &Providers) -> HeaderValue {
    let only_here = HeaderValue::from_static(POLICY);
    match asset.name {
        "vote" | "voter.js" => {
            HeaderValue::from_str(&providers.within(POLICY)).unwrap_or(only_here)
        }
        _ => only_here,
    }
}

pub(super) fn serve(asset: &Asset, policy: HeaderValue) -> Response {
    let headers: [(HeaderName, &'static str); 6] = [
        (header::CONTENT_TYPE, asset.media_type),
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
        [(header::CONTENT_SECURITY_POLICY, policy)],
        headers.map(|(name, value)| (name, HeaderValue::from_static(value))),
        asset.text,
    )
        .into_response()
}
