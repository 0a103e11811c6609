//! Offline proofs that an entry is in a log: C2SP tlog-proof.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64>                        optional
//! index <decimal>
//! <base64 hash>                         zero or more: the inclusion proof, from the leaf's sibling up to the root's child
//!
//! <checkpoint, a signed note, verbatim>
//! ```
//!
//! [`TlogProof::parse`] and [`TlogProof::encode`] are exact inverses. Parsing checks the form only; [`TlogProof::verify`] checks the proof.
//! "Applications MUST NOT implicitly trust the extra data, as it is not authenticated": Tallyroot puts the entry there, and its leaf hash authenticates it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, CheckpointError, parse_decimal};
use crate::cosignature::{Cosignatures, WitnessKey};
use crate::merkle::{Hash, ProofError, verify_inclusion};
use crate::note::{NoteError, SignedNote};

/// The number of bytes of the longest proof file that is parsed or made.
pub const PROOF_BYTES_MAX: usize = 128 * 1024;

/// The number of hashes of the longest inclusion proof: one for each level of a tree whose size fits 64 bits.
pub const PROOF_HASHES_MAX: usize = 64;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// A proof that the entry at `index` is in the log whose checkpoint it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    extra: Option<Vec<u8>>,
    index: u64,
    proof: Vec<Hash>,
    checkpoint: Vec<u8>,
}

impl TlogProof {
    /// A proof with this extra data, leaf index, inclusion proof and checkpoint (a signed note's bytes, which stay as they are).
    ///
    /// # Errors
    ///
    /// When the extra data is there but empty, there are more than 64 hashes, the checkpoint is not a signed note, or the whole is longer than 128 KiB.
    pub fn new(
        extra: Option<Vec<u8>>,
        index: u64,
        proof: Vec<Hash>,
        checkpoint: Vec<u8>,
    ) -> Result<Self, TlogProofError> {
        // "If no extra data is present, this line is omitted."
        if extra.as_ref().is_some_and(Vec::is_empty) {
            return Err(TlogProofError::Extra);
        }
        if proof.len() > PROOF_HASHES_MAX {
            return Err(TlogProofError::TooManyHashes);
        }
        SignedNote::parse(&checkpoint)?;
        let this = Self {
            extra,
            index,
            proof,
            checkpoint,
        };
        check_size(this.encode().len())?;
        Ok(this)
    }

    /// The extra data, not authenticated.
    #[must_use]
    pub fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// The entry's leaf index.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The inclusion proof, from the leaf's sibling up to the root's child.
    #[must_use]
    pub fn proof(&self) -> &[Hash] {
        &self.proof
    }

    /// The checkpoint's bytes, not yet verified.
    #[must_use]
    pub fn checkpoint(&self) -> &[u8] {
        &self.checkpoint
    }

    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{FIRST_LINE}\n");
        if let Some(extra) = &self.extra {
            text += &format!("extra {}\n", STANDARD.encode(extra));
        }
        text += &format!("index {}\n", self.index);
        for hash in &self.proof {
            text += &hash.to_base64();
            text.push('\n');
        }
        text.push('\n');
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.checkpoint);
        bytes
    }

    /// Reads exactly what [`TlogProof::encode`] writes.
    ///
    /// # Errors
    ///
    /// When the bytes are spelled in any other way, hold more than 64 hashes, or are longer than 128 KiB.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        check_size(bytes.len())?;
        let text = std::str::from_utf8(bytes).map_err(|_| TlogProofError::FirstLine)?;
        let rest = text
            .strip_prefix(FIRST_LINE)
            .and_then(|rest| rest.strip_prefix('\n'))
            .ok_or(TlogProofError::FirstLine)?;
        // The first empty line ends the proof; what follows is the checkpoint, verbatim.
        let (head, checkpoint) = rest.split_once("\n\n").ok_or(TlogProofError::EmptyLine)?;
        let mut lines = head.split('\n').peekable();
        let extra = match lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            Some(extra) => {
                lines.next();
                Some(STANDARD.decode(extra).map_err(|_| TlogProofError::Extra)?)
            }
            None => None,
        };
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(parse_decimal)
            .ok_or(TlogProofError::Index)?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == PROOF_HASHES_MAX {
                return Err(TlogProofError::TooManyHashes);
            }
            proof.push(Hash::from_base64(line).ok_or(TlogProofError::Hash)?);
        }
        Self::new(extra, index, proof, checkpoint.as_bytes().to_vec())
    }

    /// Checks that the log with this origin and these keys signed a checkpoint (exactly one signature line) of a tree that holds `leaf` at the index.
    /// Returns the checkpoint and the index of the key.
    ///
    /// # Errors
    ///
    /// When the checkpoint or the inclusion proof does not verify.
    pub fn verify(
        &self,
        leaf: &Hash,
        origin: &str,
        keys: &[[u8; 32]],
    ) -> Result<(Checkpoint, usize), TlogProofError> {
        let (checkpoint, key) = Checkpoint::verify(&self.checkpoint, origin, keys)?;
        self.verify_under(leaf, &checkpoint)?;
        Ok((checkpoint, key))
    }

    /// As [`TlogProof::verify`], for a checkpoint that may carry cosignatures of these witnesses; also returns each one's index and timestamp.
    ///
    /// # Errors
    ///
    /// When the checkpoint, a cosignature or the inclusion proof does not verify.
    pub fn verify_cosigned(
        &self,
        leaf: &Hash,
        origin: &str,
        keys: &[[u8; 32]],
        witnesses: &[WitnessKey],
    ) -> Result<(Checkpoint, usize, Cosignatures), TlogProofError> {
        let (checkpoint, key, cosigned) =
            Checkpoint::verify_cosigned(&self.checkpoint, origin, keys, witnesses)?;
        self.verify_under(leaf, &checkpoint)?;
        Ok((checkpoint, key, cosigned))
    }

    fn verify_under(&self, leaf: &Hash, checkpoint: &Checkpoint) -> Result<(), TlogProofError> {
        Ok(verify_inclusion(
            leaf,
            self.index,
            checkpoint.size(),
            &self.proof,
            &checkpoint.root(),
        )?)
    }
}

const fn check_size(len: usize) -> Result<(), TlogProofError> {
    if len > PROOF_BYTES_MAX {
        Err(TlogProofError::TooLong { len })
    } else {
        Ok(())
    }
}

/// Why bytes are not a valid proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// Too many bytes.
    #[error("{len} bytes are more than a proof may have (131,072)")]
    TooLong {
        /// The number of bytes.
        len: usize,
    },
    /// Not this format.
    #[error("a proof is text that starts with the line `c2sp.org/tlog-proof@v1`, and this is not")]
    FirstLine,
    /// No empty line.
    #[error("an empty line stands between the proof and its checkpoint, and there is none")]
    EmptyLine,
    /// The extra line is malformed.
    #[error(
        "the `extra` line is canonical base64 of at least one byte; without extra data it is left out"
    )]
    Extra,
    /// The index line is missing or malformed.
    #[error(
        "the `index` line, a decimal below 2^64 without leading zeroes, is missing or malformed"
    )]
    Index,
    /// A hash line is malformed.
    #[error("the lines of the inclusion proof are hashes in canonical base64, and one is not")]
    Hash,
    /// Too many hashes.
    #[error("an inclusion proof has at most 64 hashes")]
    TooManyHashes,
    /// The checkpoint is not a signed note.
    #[error("the proof's checkpoint: {0}")]
    Note(#[from] NoteError),
    /// The checkpoint does not verify.
    #[error("the proof's checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The inclusion proof does not verify.
    #[error(transparent)]
    Inclusion(#[from] ProofError),
}
