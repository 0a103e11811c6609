//! Randomness that a failure can be replayed with.
#![allow(clippy::expect_used, reason = "what a test cannot go on without")]
#![allow(clippy::print_stderr, reason = "a failing test shows it")]

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// The environment variable that replays a test.
pub const SEED: &str = "TALLYROOT_TEST_SEED";

/// A generator for this test, from `TALLYROOT_TEST_SEED` or a fresh seed, which a failing test prints.
///
/// # Panics
/// The variable does not hold a number.
#[must_use]
pub fn generator(test: &str) -> StdRng {
    let seed: u64 = match std::env::var(SEED) {
        Ok(seed) => seed.parse().expect("TALLYROOT_TEST_SEED is a number"),
        Err(_) => rand::rng().random(),
    };
    eprintln!("{test}: replay with {SEED}={seed}");
    StdRng::seed_from_u64(seed)
}
