//! Credentials issued and refused.

use crate::wire::Reader;

use super::{EntryError, type_byte};

/// One credential issued to one voter of the roll. It names no credential: the message was blinded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issuance {
    /// The voter's index in the roll.
    pub roll_index: u64,
    /// SHA-256 of the blinded message that the registrar signs.
    pub blinded_digest: [u8; 32],
}

/// Credentials issued and requests refused so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// When, in ms since 1970, rounded up to a multiple of the manifest's `batch_wait_ms`.
    pub time: u64,
    /// Issuance entries of the log before this entry.
    pub issued: u64,
    /// Requests refused since the log began.
    pub refused: Refused,
}

/// Refused requests, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refused {
    /// The code is not of this roll.
    pub unknown_code: u64,
    /// A credential was already issued for another blinded message.
    pub other_message: u64,
    /// Before registration or after closing.
    pub outside_period: u64,
    /// Not a request.
    pub malformed: u64,
}

impl Refused {
    /// The four numbers in the entry's order.
    #[must_use]
    pub const fn to_array(self) -> [u64; 4] {
        [
            self.unknown_code,
            self.other_message,
            self.outside_period,
            self.malformed,
        ]
    }
}

impl Issuance {
    /// `0x05 ‖ roll index ‖ SHA-256(blinded message)`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [
            &[type_byte::ISSUANCE],
            self.roll_index.to_be_bytes().as_slice(),
            &self.blinded_digest,
        ]
        .concat()
    }

    pub(super) fn decode_fields(fields: &[u8]) -> Result<Self, EntryError> {
        let mut reader = Reader::new(fields);
        (|| {
            let issuance = Self {
                roll_index: reader.u64()?,
                blinded_digest: reader.array()?,
            };
            reader.finish()?;
            Ok(issuance)
        })()
        .map_err(EntryError::wire("issuance"))
    }
}

impl Count {
    /// `0x06 ‖ time ‖ issued ‖ refused * 4`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![type_byte::COUNT];
        out.extend_from_slice(&self.time.to_be_bytes());
        out.extend_from_slice(&self.issued.to_be_bytes());
        for number in self.refused.to_array() {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out
    }

    pub(super) fn decode_fields(fields: &[u8]) -> Result<Self, EntryError> {
        let mut reader = Reader::new(fields);
        (|| {
            let count = Self {
                time: reader.time()?,
                issued: reader.u64()?,
                refused: Refused {
                    unknown_code: reader.u64()?,
                    other_message: reader.u64()?,
                    outside_period: reader.u64()?,
                    malformed: reader.u64()?,
                },
            };
            reader.finish()?;
            Ok(count)
        })()
        .map_err(EntryError::wire("count"))
    }
}
