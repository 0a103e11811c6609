//! `tallyroot-verify`: recounts and verifies a whole election, or one receipt, from what is published and an election id.
//!
//! It shares the `protocol` crate with the services and nothing else. The idea of the audit is in [`audit`]; what it can find is in [`finding`].

pub mod audit;
pub mod cli;
pub mod consistency;
pub mod dispute;
pub mod finding;
pub mod issued;
pub mod kept;
pub mod progress;
mod prove;
pub mod receipt;
pub mod source;
pub mod verdict;
pub mod witness;
mod words;
mod work;
