//! Whoever changes, cuts, swaps or takes away a published file is found, and the file is named. The election id is all that the audit
//! is told.
//!
//! One closed election is copied, and a sample of every kind of file in the copy is harmed in every way; a second election, held in the
//! same way at the same time, lends files that are valid elsewhere.

mod closed;
mod foreign;
mod harms;
mod receipts;
