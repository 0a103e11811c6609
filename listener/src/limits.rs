//! Every bound of a listener.

use std::time::Duration;

/// What a listener gives to strangers, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open connections. Further ones wait in the kernel's queue until one ends.
    pub connections_max: usize,
    /// Requests being worked on. Further ones get 503 `busy` at once.
    pub requests_max: usize,
    /// From the connection's start, or the end of the last response, to the end of the next request's header.
    /// It is also how long an idle connection is kept.
    pub header_timeout: Duration,
    /// From the header to the end of the body.
    pub body_timeout: Duration,
    /// From the header to the answer's start; the work on it is then dropped, with 503 `busy`.
    pub request_timeout: Duration,
    /// How long a client may take no byte of what is sent to it.
    pub write_timeout: Duration,
    /// Bytes of a request's line and headers together.
    pub header_bytes_max: usize,
    /// Header fields of a request.
    pub headers_max: usize,
    /// TLS handshakes under way. Further ones wait, within their own time.
    pub handshakes_max: usize,
    /// From a connection's start to the end of its TLS handshake.
    pub handshake_timeout: Duration,
    /// Between two looks whether the certificate's files have changed.
    pub certificate_look: Duration,
    /// How long requests in flight may take to end after shutdown was asked for.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            requests_max: 16_384,
            header_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            header_bytes_max: 16 * 1024,
            headers_max: 64,
            handshakes_max: 1_024,
            handshake_timeout: Duration::from_secs(10),
            certificate_look: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// File descriptors that a process keeps for its databases and files, whatever strangers do.
const DESCRIPTORS_KEPT: u64 = 256;

impl Limits {
    /// Connections that may be open at once: as many as asked for, and as the system's limit on descriptors leaves room for.
    /// Raises that limit as far as it may be.
    pub(crate) fn connections(&self) -> usize {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        let current = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit.maximum,
            Err(_) => limit.current,
        };
        let room = current.map_or(u64::MAX, |current| {
            current.saturating_sub(DESCRIPTORS_KEPT).max(1)
        });
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if room < self.connections_max {
            tracing::warn!(
                room,
                "the limit on open files leaves room for fewer connections than configured: raise it (ulimit -n)"
            );
        }
        self.connections_max.min(room)
    }
}
