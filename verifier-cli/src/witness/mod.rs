//! `tallyroot-verify witness`: a witness after C2SP tlog-witness, for any number of logs, that anybody can run.
//!
//! A witness cosigns a log's checkpoint after it was shown that the log only grew since the one before. Whoever sees a quorum of cosignatures knows that
//! the log showed the same to all of them. It knows nothing of elections: heads logs are logs like others to it.
//!
//! [`request`] reads what a log sends, [`cosigner`] decides, [`state`] remembers, [`http`] serves.

mod args;
pub mod cosigner;
mod files;
pub mod http;
pub mod key;
pub mod logs;
mod metrics;
pub mod request;
pub mod state;

pub use args::{WitnessArgs, run};
