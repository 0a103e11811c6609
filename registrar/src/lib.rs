//! The roll, sign-in, blind issuance and the issuance log.
