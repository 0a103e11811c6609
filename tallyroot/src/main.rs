//! tallyroot
fn main() {}
