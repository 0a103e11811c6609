//! Live results: the sum of the cells' newest tally entries, with proofs, and the stream of their changes.
//!
//! [`Tally`] holds no key. It reads what is published like any outsider, checks it, and writes `results.json`, which anybody else makes from the
//! same files byte for byte. So nobody has to trust it: what it says carries its proof, and the page that it serves checks that proof in the reader's
//! own browser.
//!
//! While votes come in, each cell's part is its newest tally entry with the inclusion proof. A cell that cannot be read, or whose files do not
//! check out, keeps its last good part and stalls nobody. Once the heads log holds a final head, everything is counted anew from all ballots.

mod cell;
mod meter;
mod recount;
mod service;
mod web;

pub use meter::describe_metrics;
pub use service::{ResultsFile, Tally, TallyConfig};
pub use web::{Providers, Watchers};
