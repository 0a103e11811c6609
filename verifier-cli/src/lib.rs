//! `tallyroot-verify`: recounts and verifies a whole election, or one receipt, from what is published and an election id.
//!
//! It shares the `protocol` crate with the services and nothing else. The idea of the audit is in [`audit`]; what it can find is in [`finding`].

pub mod anchors;
mod ask;
pub mod audit;
pub mod bundle;
pub mod cli;
pub mod consistency;
mod counted;
pub mod dispute;
mod draw;
pub mod finding;
mod folder;
pub mod issued;
pub mod kept;
pub mod mirror;
mod opened;
pub mod progress;
mod prove;
pub mod receipt;
pub mod reconcile;
pub mod result;
pub mod sample;
pub mod schema;
pub mod source;
mod stretch;
pub mod verdict;
pub mod watch;
pub mod witness;
mod words;
mod work;
