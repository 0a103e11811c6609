//! Making an election: keys, roll, manifest.

pub mod create;
pub mod description;
