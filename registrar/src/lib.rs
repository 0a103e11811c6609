//! The roll, sign-in, blind issuance and the issuance log.
pub mod code;
pub mod create;
pub mod database;
pub mod roll;
pub mod rsa;
pub mod secret_file;
