//! Random choices that anybody can repeat who knows the seed.

use rand::Rng as _;
use sha2::{Digest as _, Sha256};

/// Numbers from a seed: the n-th is the first 8 bytes, big-endian, of SHA-256(seed ‖ n as u64).
#[derive(Debug, Clone)]
pub(crate) struct Draw {
    seed: [u8; 32],
    next: u64,
}

impl Draw {
    pub(crate) const fn new(seed: [u8; 32]) -> Self {
        Self { seed, next: 0 }
    }

    /// A seed that nobody can foresee.
    pub(crate) fn fresh_seed() -> [u8; 32] {
        let mut seed = [0; 32];
        rand::rng().fill_bytes(&mut seed);
        seed
    }

    /// A number below `end`, each as likely as any other; 0 where `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        if end == 0 {
            return 0;
        }
        // The numbers from here on would make the small remainders likelier.
        let fair = u64::MAX - u64::MAX % end;
        loop {
            let number = self.number();
            if number < fair {
                return number % end;
            }
        }
    }

    fn number(&mut self) -> u64 {
        let digest = Sha256::new()
            .chain_update(self.seed)
            .chain_update(self.next.to_be_bytes())
            .finalize();
        self.next += 1;
        digest
            .iter()
            .take(8)
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_choices_and_all_are_made() {
        let draw = |seed| {
            let mut draw = Draw::new([seed; 32]);
            (0..200).map(|_| draw.below(7)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        for n in 0..7 {
            assert!(draw(1).contains(&n));
        }
        assert!(draw(1).iter().all(|n| *n < 7));
        assert_eq!(Draw::new([1; 32]).below(0), 0);
        assert_ne!(Draw::fresh_seed(), Draw::fresh_seed());
        // By hand: SHA-256 of the seed and eight zero bytes begins with this number.
        let number = 1_326_242_002_051_960_478;
        assert_eq!(Draw::new([1; 32]).below(u64::MAX), number);
    }
}
