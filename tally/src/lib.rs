//! Live results: the sum of the cells' newest tally entries, with proofs, and the stream of their changes.
mod web;
pub use web::Watchers;
