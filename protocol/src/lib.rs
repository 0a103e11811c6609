//! Every format of Tallyroot and its verification: pure, no I/O, no async.

pub mod anchor;
pub mod ballot;
pub mod batch;
pub mod canonical_json;
pub mod checkpoint;
pub mod cosignature;
pub mod count;
pub mod credential;
pub mod dispute;
pub mod ed25519;
pub mod entry;
pub mod evidence;
pub mod grammar;
pub mod ids;
pub mod manifest;
pub mod merkle;
pub mod note;
pub mod receipt;
pub mod results;
pub mod rsa;
pub mod text;
pub mod tlog_proof;
mod wire;

pub use wire::WireError;
