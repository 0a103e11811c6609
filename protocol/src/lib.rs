//! Every format of Tallyroot and its verification: pure, no I/O, no async.

pub mod canonical_json;
pub mod checkpoint;
pub mod cosignature;
pub mod credential;
pub mod ed25519;
pub mod ids;
pub mod merkle;
pub mod note;
pub mod rsa;
pub mod text;
pub mod tlog_proof;
