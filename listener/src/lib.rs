//! What every HTTP service here shares, so that each limit is set in one place:
//!
//! - [`serve`]: HTTP/1.1 with bounds on connections, headers, time and work in flight; [`serve_tls`]: the same over TLS, with a certificate from files;
//! - [`json_body`]: a bounded body, read within a bounded time, as strict JSON ([`bytes_body`]: as it is);
//! - [`Workers`]: signature checks off the executor's threads, a bounded number at once;
//! - [`ApiError`]: errors as `{"error": {"code": …, "message": …}}`, each saying what to do.
//!
//! Nothing here logs an address, a path, a header or a body: who asked when is what must not be joinable with what was asked.
//! What voters speak to stands in front of this (specs/architecture.md): this TLS is the last hop's.

mod body;
mod error;
mod limits;
mod meter;
mod serve;
mod tls;
mod workers;

pub use body::{base64_of, bytes_body, json_body};
pub use error::{ApiError, method_not_allowed, not_found};
pub use limits::Limits;
pub use meter::describe_metrics;
pub use serve::{serve, serve_tls};
pub use tls::{Tls, TlsError, TlsFiles, TlsSource};
pub use workers::Workers;

#[cfg(test)]
mod tests;
