//! The roll, sign-in, blind issuance and the issuance log.
//!
//! A registrar knows who may vote ([`roll`], [`database`]) and recognizes voters by their one-time codes ([`code`]) or an identity provider's
//! tokens ([`oidc`]). It signs one blinded
//! credential for each ([`rsa`]), after it has written so into its public issuance log. [`create()`] makes a registrar's files for a new election;
//! [`Registrar::start`] runs it.
//!
//! Nothing here logs an address, a code, a token, an identity, a roll index or a body; what is logged are kinds and counts.

mod closing;
pub mod code;
mod content;
pub mod create;
pub mod database;
mod issue;
mod meter;
pub mod oidc;
pub mod roll;
pub mod rsa;
pub mod secret_file;
mod service;
mod sign_in;

pub use content::{IssuanceContent, Refusals};
pub use create::{CreateError, RegistrarFiles, create};
pub use meter::describe_metrics;
pub use service::{Registrar, RegistrarConfig, RegistrarLimits, ShardParts, ShardWarm, StartError};
