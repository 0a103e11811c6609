//! What keeps a roll as it was sealed: its root, which the manifest fixes, and a digest over everything else.
//!
//! ```text
//! digest = SHA-256("tallyroot/v1/roll-backup" ‖ 0x00 ‖ election (32) ‖ registrar u16
//!                  ‖ ('v' ‖ roll index u64 ‖ length u32 ‖ identity ‖ salt (32) ‖ code HMAC (32) ‖ code seal (32))*     by roll index
//!                  ‖ ('t' ‖ length u32 ‖ path ‖ length u32 ‖ bytes)*)                                                  by path
//! ```
//!
//! The root is proof against anybody. The digest is one against damage: a code whose HMAC lost a bit would turn its voter away, and nobody would know why. Anybody can compute it: what keeps a code
//! with its voter is its own seal, under the code key.

use protocol::ids::ElectionId;
use protocol::manifest::Election;
use protocol::merkle::{CompactRange, Hash};
use sha2::{Digest as _, Sha256};

use super::{DatabaseError, VoterRow};
use crate::code::{CodeDigest, CodeSeal};
use crate::roll::RollEntry;

const LABEL: &[u8] = b"tallyroot/v1/roll-backup\0";

/// Computes the digest over rows that come in order.
pub(super) struct Seal(Sha256);

impl Seal {
    pub(super) fn new(election: &ElectionId, registrar: u16) -> Self {
        Self(
            Sha256::new()
                .chain_update(LABEL)
                .chain_update(election.as_bytes())
                .chain_update(registrar.to_be_bytes()),
        )
    }

    pub(super) fn voter(
        &mut self,
        index: u64,
        entry: &RollEntry,
        code: &CodeDigest,
        seal: &CodeSeal,
    ) {
        self.0.update(b"v");
        self.0.update(index.to_be_bytes());
        self.bytes(entry.identity.as_bytes());
        self.0.update(entry.salt);
        self.0.update(code.0);
        self.0.update(seal.0);
    }

    pub(super) fn tile(&mut self, path: &str, bytes: &[u8]) {
        self.0.update(b"t");
        self.bytes(path.as_bytes());
        self.bytes(bytes);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // No identity, path or tile is anywhere near so long: what does not fit gives another digest, which is refused.
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.update(len.to_be_bytes());
        self.0.update(bytes);
    }

    pub(super) fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// Checks a whole database, row by row.
pub(super) struct Check<'a> {
    place: &'a str,
    election: &'a Election,
    range: CompactRange,
    seal: Seal,
}

impl<'a> Check<'a> {
    /// What `meta` says comes first.
    pub(super) fn new(
        place: &'a str,
        election: &'a Election,
        registrar: u16,
        found: (&[u8], i64),
    ) -> Result<Self, DatabaseError> {
        if found.0 != election.id().as_bytes() || found.1 != i64::from(registrar) {
            return Err(DatabaseError::Other(place.to_owned()));
        }
        Ok(Self {
            place,
            election,
            range: CompactRange::new(),
            seal: Seal::new(&election.id(), registrar),
        })
    }

    /// The next voter, by roll index.
    pub(super) fn voter(&mut self, row: &VoterRow) -> Result<(), DatabaseError> {
        let (index, entry) = (row.voter.roll_index, &row.voter.entry);
        if index != self.range.size() {
            return Err(DatabaseError::OtherRoll(self.place.to_owned()));
        }
        self.range.push(entry.leaf_hash());
        self.seal.voter(index, entry, &row.code, &row.seal);
        Ok(())
    }

    /// The next tile, by path.
    pub(super) fn tile(&mut self, path: &str, bytes: &[u8]) {
        self.seal.tile(path, bytes);
    }

    /// All of it, against the manifest's root and the digest in `meta`.
    pub(super) fn finish(self, digest: &[u8]) -> Result<(), DatabaseError> {
        let roll = self.election.manifest().roll;
        if self.range.size() != roll.size || self.range.root() != Hash(roll.root) {
            return Err(DatabaseError::OtherRoll(self.place.to_owned()));
        }
        if self.seal.digest() != digest {
            return Err(DatabaseError::Damaged(self.place.to_owned()));
        }
        Ok(())
    }
}
