//! Proofs of misbehaviour that convince a third party: a *split view* (section 17).
//!
//! Two checkpoints that one log's keys signed, and that no single log can have: of one size with two roots, or of two sizes where the newer tree does not start
//! with the older one. Whoever holds the election id verifies it offline, and needs nobody's word.

use serde::{Deserialize, Serialize};

use crate::canonical_json::{from_canonical, to_canonical};
use crate::checkpoint::Checkpoint;
use crate::ids::{ElectionId, LogId};
use crate::manifest::Election;
use crate::merkle::{Hash, verify_consistency};
use crate::note::SignedNote;

/// The value of the member `format`.
pub const SPLIT_VIEW_FORMAT: &str = "tallyroot/v1/split-view";

/// Most bytes of such a file.
pub const SPLIT_VIEW_LEN_MAX: usize = 4 << 20;

/// A checkpoint that one of its log's two keys signed, wherever it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldCheckpoint {
    /// The log.
    pub log: LogId,
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// The note with the log's line alone: what others add to it proves nothing about the log.
    pub note: Vec<u8>,
}

impl HeldCheckpoint {
    /// Reads a note and verifies the log's line in it, by the log's main or spare key: both are the operator's, so both bind.
    ///
    /// Lines of others (cosignatures) are left out. Which of the two keys had to sign at this size is the audit's question.
    ///
    /// # Errors
    /// The note is malformed, of no log of the election, or none of that log's keys signed it.
    pub fn read(note: &[u8], election: &Election) -> Result<Self, EvidenceError> {
        let note =
            SignedNote::parse(note).map_err(|error| EvidenceError::Note(error.to_string()))?;
        let said = Checkpoint::parse_body(note.text())
            .map_err(|error| EvidenceError::Note(error.to_string()))?;
        let log = election
            .logs()
            .iter()
            .copied()
            .chain([LogId::Heads])
            .find(|log| election.origin(*log) == said.origin())
            .ok_or_else(|| EvidenceError::Origin(said.origin().to_owned()))?;
        let keys = election
            .log_keys(log)
            .ok_or_else(|| EvidenceError::Origin(said.origin().to_owned()))?
            .to_bytes();
        note.signatures()
            .iter()
            .filter(|line| line.name() == said.origin())
            .find_map(|line| {
                let alone = SignedNote::new(note.text(), vec![line.clone()])
                    .ok()?
                    .encode();
                let (checkpoint, _) = Checkpoint::verify(&alone, said.origin(), &keys).ok()?;
                Some(Self {
                    log,
                    checkpoint,
                    note: alone,
                })
            })
            .ok_or(EvidenceError::Signature(log))
    }
}

/// Two signed histories of one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitView {
    /// The election.
    pub election: ElectionId,
    /// Always [`SPLIT_VIEW_FORMAT`].
    pub format: String,
    /// The text of `manifest.json`.
    pub manifest: String,
    /// The note of the larger size; of two equal sizes, either.
    pub newer: String,
    /// The other note.
    pub older: String,
    /// The consistency proof from `root`, at the size of `older`, to `newer`; empty where the sizes are equal.
    pub proof: Vec<String>,
    /// The root that the tree of `newer` has at the size of `older`, as base64: another one than `older` names.
    pub root: String,
}

/// What a split view proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitVerdict {
    /// The log whose operator signed both.
    pub log: LogId,
    /// The older checkpoint.
    pub older: Checkpoint,
    /// The newer one.
    pub newer: Checkpoint,
    /// What the newer tree holds at the older size.
    pub root: Hash,
}

impl SplitView {
    /// Puts the evidence together.
    #[must_use]
    pub fn new(
        election: &Election,
        older: &HeldCheckpoint,
        newer: &HeldCheckpoint,
        root: &Hash,
        proof: &[Hash],
    ) -> Self {
        Self {
            election: election.id(),
            format: SPLIT_VIEW_FORMAT.to_owned(),
            manifest: String::from_utf8_lossy(election.manifest_bytes()).into_owned(),
            newer: String::from_utf8_lossy(&newer.note).into_owned(),
            older: String::from_utf8_lossy(&older.note).into_owned(),
            proof: proof.iter().map(Hash::to_base64).collect(),
            root: root.to_base64(),
        }
    }

    /// Reads the bytes; nothing is verified yet.
    ///
    /// # Errors
    /// They are not such a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, EvidenceError> {
        let split: Self = from_canonical(bytes, SPLIT_VIEW_LEN_MAX)
            .map_err(|error| EvidenceError::Malformed(error.to_string()))?;
        if split.format != SPLIT_VIEW_FORMAT {
            return Err(EvidenceError::Malformed(format!(
                "its format is not `{SPLIT_VIEW_FORMAT}`"
            )));
        }
        Ok(split)
    }

    /// The bytes.
    ///
    /// # Errors
    /// They would be too many.
    pub fn encode(&self) -> Result<Vec<u8>, EvidenceError> {
        to_canonical(self).map_err(|error| EvidenceError::Malformed(error.to_string()))
    }

    /// Verifies all of it against the election id that the caller knows. `Ok`: the operator of the log signed two histories.
    ///
    /// # Errors
    /// It does not prove that; why, is said.
    pub fn verify(&self, expected: &ElectionId) -> Result<SplitVerdict, EvidenceError> {
        if self.election != *expected {
            return Err(EvidenceError::OtherElection(self.election));
        }
        let election = Election::check_id(self.manifest.as_bytes(), expected)
            .map_err(|error| EvidenceError::Manifest(error.to_string()))?;
        let older = HeldCheckpoint::read(self.older.as_bytes(), &election)?;
        let newer = HeldCheckpoint::read(self.newer.as_bytes(), &election)?;
        if older.log != newer.log {
            return Err(EvidenceError::TwoLogs);
        }
        let root = decode_hash(&self.root)?;
        let proof = self
            .proof
            .iter()
            .map(|hash| decode_hash(hash))
            .collect::<Result<Vec<_>, _>>()?;
        judge(&older.checkpoint, &newer.checkpoint, &root, &proof)?;
        Ok(SplitVerdict {
            log: older.log,
            older: older.checkpoint,
            newer: newer.checkpoint,
            root,
        })
    }
}

/// "The newer tree has `root` at the older size, by the proof; and the older checkpoint names another root."
fn judge(
    older: &Checkpoint,
    newer: &Checkpoint,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), EvidenceError> {
    // Every tree starts with the empty one: nothing can be proven of it.
    if older.size() == 0 {
        return Err(EvidenceError::Consistent);
    }
    verify_consistency(older.size(), root, newer.size(), &newer.root(), proof)
        .map_err(|error| EvidenceError::Proof(error.to_string()))?;
    if *root == older.root() {
        return Err(EvidenceError::Consistent);
    }
    Ok(())
}

pub(crate) fn decode_hash(text: &str) -> Result<Hash, EvidenceError> {
    Hash::from_base64(text)
        .ok_or_else(|| EvidenceError::Malformed("a hash is not 32 bytes in base64".to_owned()))
}

/// Why something is no evidence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// Not such a file.
    #[error("it is malformed: {0}")]
    Malformed(String),
    /// Of another election.
    #[error("it is of election {0}")]
    OtherElection(ElectionId),
    /// The manifest in it.
    #[error("its manifest is not the election's: {0}")]
    Manifest(String),
    /// A note in it.
    #[error("a checkpoint in it is malformed: {0}")]
    Note(String),
    /// A note of another log.
    #[error("the election has no log {0:?}")]
    Origin(String),
    /// A note that the log did not sign.
    #[error("none of the keys of {0} signed it: anybody could have made it")]
    Signature(LogId),
    /// Two logs.
    #[error("the two checkpoints are of two logs, and prove nothing about each other")]
    TwoLogs,
    /// The consistency proof.
    #[error("the proof does not hold: {0}")]
    Proof(String),
    /// No contradiction.
    #[error("the two checkpoints do not contradict each other: one log can have both")]
    Consistent,
}
