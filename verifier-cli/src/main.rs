//! tallyroot-verify
fn main() {}
