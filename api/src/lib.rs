//! A cell's HTTP service: ballots in, receipts out.
//!
//! [`Cell::start`] puts together the log (crate `ledger`), what it holds ([`CellContent`]) and the one request that it answers. All reads are
//! static files elsewhere.
//!
//! Nothing here logs an address, a credential, a ballot or a body; what is logged are kinds and counts.

mod cast;
mod cell;
mod closing;
mod content;

pub use cell::{Cell, CellConfig, CellLimits, StartError};
pub use content::{CellContent, submission};
