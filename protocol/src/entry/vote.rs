//! Votes: a credential, what proves it, a ballot, and nothing about the voter.

use crate::ballot::{Ballot, ballot_message};
use crate::credential::credential_message;
use crate::ed25519::{self, Ed25519Error};
use crate::manifest::Election;
use crate::merkle::{Hash, leaf_hash};
use crate::rsa::RsaError;
use crate::wire::Reader;

use super::{Entry, EntryError, type_byte};

/// A vote entry. Decoded does not mean valid: see [`Vote::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// The voter's Ed25519 public key, made for this election only.
    pub credential: [u8; 32],
    /// Each registrar's RSASSA-PSS signature of the credential, in the manifest's order, each of its key's modulus length.
    pub signatures: Vec<Vec<u8>>,
    /// What was chosen.
    pub ballot: Ballot,
    /// The credential key's signature of the ballot.
    pub signature: [u8; 64],
}

/// Why a vote is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VoteError {
    /// Another cell takes this credential.
    #[error("this credential votes in cell {cell}")]
    WrongCell {
        /// The right cell.
        cell: u32,
    },
    /// The credential breaks the key rule (section 3).
    #[error("the credential is no valid key: {0}")]
    BadKey(Ed25519Error),
    /// A registrar did not sign this credential.
    #[error("registrar {registrar}'s signature of the credential does not verify: {error}")]
    BadRegistrarSignature {
        /// The registrar's index.
        registrar: u16,
        /// Why.
        error: RsaError,
    },
    /// The vote holds more or fewer registrars' signatures than there are registrars.
    #[error("the vote must hold one signature of each registrar")]
    SignatureCount,
    /// The credential did not sign this ballot.
    #[error("the ballot's signature does not verify: {0}")]
    BadBallotSignature(Ed25519Error),
}

impl Vote {
    /// `0x02 ‖ credential key ‖ registrar signature * registrars ‖ ballot ‖ ballot signature`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![type_byte::VOTE];
        out.extend_from_slice(&self.credential);
        for signature in &self.signatures {
            out.extend_from_slice(signature);
        }
        out.extend_from_slice(&self.ballot.encode());
        out.extend_from_slice(&self.signature);
        out
    }

    /// Reads what [`Vote::encode`] writes, and nothing else.
    ///
    /// # Errors
    /// Another type of entry, a wrong length, or a ballot that the contests do not allow.
    pub fn decode(bytes: &[u8], election: &Election) -> Result<Self, EntryError> {
        match Entry::decode(bytes, election)? {
            Entry::Vote(vote) => Ok(vote),
            _ => Err(EntryError::Type {
                found: bytes.first().copied(),
            }),
        }
    }

    pub(super) fn decode_fields(fields: &[u8], election: &Election) -> Result<Self, EntryError> {
        let wire = EntryError::wire("vote");
        let mut reader = Reader::new(fields);
        let credential = reader.array().map_err(&wire)?;
        let signatures = election
            .registrar_keys()
            .iter()
            .map(|key| reader.bytes(key.signature_len()).map(<[u8]>::to_vec))
            .collect::<Result<_, _>>()
            .map_err(&wire)?;
        // The ballot lies between: whatever is not the signature at the end.
        let ballot_len = reader.remaining().saturating_sub(64);
        let ballot = reader.bytes(ballot_len).map_err(&wire)?;
        let signature = reader.array().map_err(&wire)?;
        Ok(Self {
            credential,
            signatures,
            ballot: Ballot::decode(ballot, election.contests())?,
            signature,
        })
    }

    /// The leaf hash of the entry, by which votes are sorted within their batch.
    #[must_use]
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.encode())
    }

    /// "Two votes are *the same* when credential key and ballot are equal"; signatures do not matter.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.credential == other.credential && self.ballot == other.ballot
    }

    /// What costs little: the cell, and the key rule. A service checks these first.
    ///
    /// # Errors
    /// `WrongCell` or `BadKey`.
    pub fn check_cheap(&self, election: &Election, cell: u32) -> Result<(), VoteError> {
        let right = election.cell_of(&self.credential);
        if right != cell {
            return Err(VoteError::WrongCell { cell: right });
        }
        ed25519::check_key(&self.credential).map_err(VoteError::BadKey)
    }

    /// Every signature: each registrar's of the credential, and the credential's of the ballot. The cheapest check comes first.
    ///
    /// # Errors
    /// Which signature, or that the credential is no key. Not checked: the cell ([`Vote::check_cheap`]).
    pub fn verify(&self, election: &Election) -> Result<(), VoteError> {
        let key = ed25519::PublicKey::parse(&self.credential).map_err(VoteError::BadKey)?;
        let keys = election.registrar_keys();
        if keys.len() != self.signatures.len() {
            return Err(VoteError::SignatureCount);
        }
        let message = credential_message(&election.id(), &self.credential);
        for (registrar, (key, signature)) in (0..).zip(keys.iter().zip(&self.signatures)) {
            key.verify(&message, signature)
                .map_err(|error| VoteError::BadRegistrarSignature { registrar, error })?;
        }
        let message = ballot_message(&election.id(), &self.ballot.encode());
        key.verify(&message, &self.signature)
            .map_err(VoteError::BadBallotSignature)
    }
}
