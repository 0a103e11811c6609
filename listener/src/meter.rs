//! What an operator watches of requests: how many, how they ended, how long they took. Never who asked, nor what.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use metrics::{counter, describe_counter, describe_histogram, gauge, histogram};

use crate::tls;

const REQUESTS: &str = "tallyroot_http_requests_total";
const SECONDS: &str = "tallyroot_http_request_seconds";
const IN_FLIGHT: &str = "tallyroot_http_requests_in_flight";
const REFUSALS: &str = "tallyroot_refusals_total";
pub(crate) const HANDSHAKES: &str = "tallyroot_tls_handshakes_total";

/// Names and explains the counters of this crate, for whoever installs a recorder.
pub fn describe_metrics() {
    describe_counter!(
        REQUESTS,
        "Requests answered, by the route's pattern (none: no such route) and status."
    );
    describe_histogram!(
        SECONDS,
        "Seconds from the last byte of a request's header to its answer, by the route's pattern."
    );
    metrics::describe_gauge!(IN_FLIGHT, "Requests that wait for their answer.");
    describe_counter!(
        REFUSALS,
        "Errors told to clients, by their stable code (specs/protocol.md, section 14)."
    );
    describe_counter!(
        HANDSHAKES,
        "TLS handshakes that ended: done, failed, or late."
    );
    metrics::describe_gauge!(
        tls::NOT_AFTER,
        "When the listener's certificate expires, or the first of those that it rests on."
    );
    metrics::describe_gauge!(
        tls::UNREAD,
        "1 while the certificate's files hold what cannot be used, and an older one is shown."
    );
    gauge!(IN_FLIGHT).set(0);
}

/// An error goes out.
pub(crate) fn refused(code: &'static str) {
    counter!(REFUSALS, "code" => code).increment(1);
}

/// One request. However it ends, also when its client goes away, it is in flight no more.
pub(crate) struct Meter {
    /// The pattern, never the path: what somebody typed is no label.
    route: String,
    begun: Instant,
}

impl Meter {
    pub(crate) fn of(request: &Request<Body>) -> Self {
        let matched = request.extensions().get::<MatchedPath>();
        gauge!(IN_FLIGHT).increment(1);
        Self {
            route: matched.map_or_else(|| "none".to_owned(), |it| it.as_str().to_owned()),
            begun: Instant::now(),
        }
    }

    pub(crate) fn answered(&self, response: &Response) {
        let status = response.status().as_str().to_owned();
        counter!(REQUESTS, "route" => self.route.clone(), "status" => status).increment(1);
        histogram!(SECONDS, "route" => self.route.clone()).record(self.begun.elapsed());
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        gauge!(IN_FLIGHT).decrement(1);
    }
}
