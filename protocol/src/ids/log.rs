//! Which log: a cell, one shard of a registrar's issuance log, or the heads log.

use core::fmt;

use sha2::{Digest, Sha256};

use super::ElectionId;

/// One log of an election. Ordered as heads list them: the cells, then each registrar's shards; the heads log last.
///
/// Encoded in 9 bytes, `kind u8 ‖ a u32 ‖ b u32` (big-endian): kind 1 is cell a, 2 is registrar a's shard b, 3 is the heads log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogId {
    /// Cell k: votes.
    Cell(u32),
    /// Shard j of registrar r's issuance log.
    Issuance {
        /// The registrar's index in the manifest.
        registrar: u16,
        /// The shard's index among the registrar's.
        shard: u32,
    },
    /// The log of heads and notices.
    Heads,
}

/// The 9 bytes are not the encoding of any log id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these 9 bytes are not a log id (kind 1, 2 or 3, then two numbers; unused ones are 0)")]
pub struct LogIdError;

impl LogId {
    /// Bytes of an encoded log id.
    pub const LEN: usize = 9;

    /// `kind u8 ‖ a u32 ‖ b u32`.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let (kind, a, b) = match *self {
            Self::Cell(k) => (1, k, 0),
            Self::Issuance { registrar, shard } => (2, u32::from(registrar), shard),
            Self::Heads => (3, 0, 0),
        };
        let mut out = [0; Self::LEN];
        let (head, tail) = out.split_at_mut(1);
        let (left, right) = tail.split_at_mut(4);
        head.copy_from_slice(&[kind]);
        left.copy_from_slice(&u32::to_be_bytes(a));
        right.copy_from_slice(&u32::to_be_bytes(b));
        out
    }

    /// Reads what [`LogId::encode`] writes, and nothing else. Whether an election has this log is
    /// [`Election::contains`](crate::manifest::Election::contains)'s to say.
    ///
    /// # Errors
    /// An unknown kind, a registrar above 65,535, or an unused number that is not 0.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Result<Self, LogIdError> {
        let [kind, a0, a1, a2, a3, b0, b1, b2, b3] = *bytes;
        let a = u32::from_be_bytes([a0, a1, a2, a3]);
        let b = u32::from_be_bytes([b0, b1, b2, b3]);
        match (kind, a, b) {
            (1, k, 0) => Ok(Self::Cell(k)),
            (2, r, shard) => Ok(Self::Issuance {
                registrar: u16::try_from(r).map_err(|_| LogIdError)?,
                shard,
            }),
            (3, 0, 0) => Ok(Self::Heads),
            _ => Err(LogIdError),
        }
    }

    /// The log's folder below the election's: `cells/0`, `registrars/0/0`, `heads`.
    #[must_use]
    pub fn prefix(&self) -> String {
        self.to_string()
    }

    /// The checkpoint origin, `<base>/elections/<election id hex>/<prefix>`.
    #[must_use]
    pub fn origin(&self, base: &str, election: &ElectionId) -> String {
        format!("{base}/elections/{election}/{self}")
    }
}

/// As [`LogId::prefix`].
impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cell(k) => write!(f, "cells/{k}"),
            Self::Issuance { registrar, shard } => write!(f, "registrars/{registrar}/{shard}"),
            Self::Heads => f.write_str("heads"),
        }
    }
}

/// The one cell that takes this credential's vote:
/// `(u64 big-endian of the first 8 bytes of SHA-256(credential key) * cells) >> 64`, in 128-bit arithmetic.
#[must_use]
pub fn cell_of(credential_key: &[u8; 32], cells: u32) -> u32 {
    let digest: [u8; 32] = Sha256::digest(credential_key).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    let first = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let cell = (u128::from(first) * u128::from(cells)) >> 64;
    // Below `cells`, hence within 32 bits: a 64-bit number times `cells` is below `cells * 2^64`.
    u32::try_from(cell).unwrap_or(0)
}

/// The shard of a registrar's issuance log that takes this roll index: `(roll index * shards) / roll size`, rounded down.
///
/// `None` where there is no such roll index (`roll_index >= roll_size`).
#[must_use]
pub fn shard_of(roll_index: u64, shards: u32, roll_size: u64) -> Option<u32> {
    if roll_index >= roll_size {
        return None;
    }
    let shard = (u128::from(roll_index) * u128::from(shards)) / u128::from(roll_size);
    u32::try_from(shard).ok()
}

/// How many roll indices [`shard_of`] gives to a shard.
#[must_use]
pub fn voters_of_shard(shard: u32, shards: u32, roll_size: u64) -> u64 {
    // The first index of shard j is the smallest with index * shards >= j * size.
    let first = |j: u64| {
        let start = (u128::from(j) * u128::from(roll_size)).div_ceil(u128::from(shards.max(1)));
        u64::try_from(start).unwrap_or(u64::MAX).min(roll_size)
    };
    let shard = u64::from(shard);
    first(shard.saturating_add(1)).saturating_sub(first(shard))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_log_id_has_nine_bytes_and_one_folder() {
        for (log, bytes, prefix) in [
            (LogId::Cell(0), [1, 0, 0, 0, 0, 0, 0, 0, 0], "cells/0"),
            (LogId::Cell(300), [1, 0, 0, 1, 44, 0, 0, 0, 0], "cells/300"),
            (
                LogId::Issuance {
                    registrar: 2,
                    shard: 7,
                },
                [2, 0, 0, 0, 2, 0, 0, 0, 7],
                "registrars/2/7",
            ),
            (LogId::Heads, [3, 0, 0, 0, 0, 0, 0, 0, 0], "heads"),
        ] {
            assert_eq!(log.encode(), bytes);
            assert_eq!(LogId::decode(&bytes), Ok(log));
            assert_eq!(log.prefix(), prefix);
        }
        let id = ElectionId([0xab; 32]);
        assert_eq!(
            LogId::Heads.origin("votes.example/x", &id),
            format!("votes.example/x/elections/{}/heads", "ab".repeat(32))
        );
    }

    #[test]
    fn unused_numbers_must_be_zero() {
        for wrong in [
            [0, 0, 0, 0, 0, 0, 0, 0, 0],
            [4, 0, 0, 0, 0, 0, 0, 0, 0],
            [1, 0, 0, 0, 0, 0, 0, 0, 1],
            [2, 0, 1, 0, 0, 0, 0, 0, 0],
            [3, 0, 0, 0, 1, 0, 0, 0, 0],
            [3, 0, 0, 0, 0, 0, 0, 0, 1],
        ] {
            assert_eq!(LogId::decode(&wrong), Err(LogIdError));
        }
    }

    #[test]
    fn shards_split_the_roll_evenly_and_completely() {
        assert_eq!(shard_of(0, 3, 10), Some(0));
        assert_eq!(shard_of(3, 3, 10), Some(0));
        assert_eq!(shard_of(4, 3, 10), Some(1));
        assert_eq!(shard_of(9, 3, 10), Some(2));
        assert_eq!(shard_of(10, 3, 10), None);
        assert_eq!(shard_of((1 << 40) - 1, 64, 1 << 40), Some(63));
    }

    #[test]
    fn shards_have_as_many_voters_as_they_are_given() {
        for roll in [1u64, 2, 7, 64, 1_000] {
            for shards in [1u32, 2, 3, 64] {
                for shard in 0..shards {
                    let given =
                        (0..roll).filter(|index| shard_of(*index, shards, roll) == Some(shard));
                    assert_eq!(voters_of_shard(shard, shards, roll), given.count() as u64);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn accepted_bytes_encode_identically(bytes in proptest::array::uniform9(0u8..5)) {
            if let Ok(log) = LogId::decode(&bytes) {
                prop_assert_eq!(log.encode(), bytes);
            }
        }

        #[test]
        fn every_key_has_a_cell(key: [u8; 32], cells in 1u32..=1024) {
            let cell = cell_of(&key, cells);
            prop_assert!(cell < cells);
            prop_assert_eq!(cell_of(&key, 1), 0);
            // Doubling the cells splits each in two: the leading bits decide.
            prop_assert_eq!(cell_of(&key, cells * 2) / 2, cell);
        }
    }
}
