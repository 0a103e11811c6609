//! Disputes: a voter's receipt beside what the ledger says, in one file that a third party judges offline (section 17).
//!
//! Nothing in the file is believed but signatures: the verdict is computed from it, by everybody anew.

use serde::{Deserialize, Serialize};

use crate::canonical_json::{from_canonical, to_canonical};
use crate::entry::{Entry, Head};
use crate::evidence::{EvidenceError, HeldCheckpoint, decode_hash};
use crate::ids::{ElectionId, LogId};
use crate::manifest::Election;
use crate::merkle::{Hash, leaf_hash, verify_consistency};
use crate::receipt::{Receipt, ReceiptError, ReceiptVerdict};
use crate::tlog_proof::TlogProof;

/// The value of the member `format`.
pub const DISPUTE_FORMAT: &str = "tallyroot/v1/dispute";

/// Most bytes of such a file.
pub const DISPUTE_LEN_MAX: usize = 16 << 20;

/// A receipt, and what the ledger holds against it or for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dispute {
    /// The election.
    pub election: ElectionId,
    /// Always [`DISPUTE_FORMAT`].
    pub format: String,
    /// The newest head of the heads log; null where none was shown.
    pub head: Option<HeadExhibit>,
    /// The heads log's newest checkpoint, beside the one in a final receipt; null where none was shown, or the receipt is provisional.
    pub heads: Option<LedgerExhibit>,
    /// The cell's newest checkpoint; null where none was shown.
    pub ledger: Option<LedgerExhibit>,
    /// The text of the receipt.
    pub receipt: String,
}

/// What a log has published, and how it continues the receipt's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerExhibit {
    /// The log's note.
    pub checkpoint: String,
    /// From the receipt's size, where the published tree has `root`, to the published size. Empty where the published size is not the larger one.
    pub proof: Vec<String>,
    /// The published tree's root at the receipt's size, or at its own where that is smaller.
    pub root: String,
}

/// A head, and how what it names of the cell continues the receipt's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadExhibit {
    /// The `.tlog-proof` of the head entry, as `extra`, under a checkpoint of the heads log.
    pub head: String,
    /// Between the receipt's size and the cell's size in the head, from the smaller to the larger one; the tree of the larger one has `root` at the smaller one. Where they are
    /// equal, the head's counts as the smaller.
    /// Empty where the head ends below the vote: which tree it ends then matters no more.
    pub proof: Vec<String>,
    /// See `proof`; the head's own root where it ends below the vote.
    pub root: String,
}

/// What a dispute comes to. The strongest that the file proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Ruling {
    /// The receipt is none: it proves no vote.
    InvalidReceipt,
    /// The receipt is valid; nothing that the ledger shows speaks for or against it.
    NotShown,
    /// The published log is shorter than what its key signed in the receipt. An old copy looks the same: ask for the newest one; if it stays so, the log was rolled back.
    RolledBack,
    /// The vote is in the published log; no head covers it yet.
    Held,
    /// The vote is in the published log, and a head covers it.
    Covered,
    /// The final head counts the vote.
    Counted,
    /// The vote was recorded, and the final head does not count it.
    Dropped,
    /// The keys of the ledger signed two histories.
    SplitView,
}

/// The ruling, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisputeVerdict {
    /// See [`Ruling`].
    pub ruling: Ruling,
    /// Why, in a sentence.
    pub why: String,
    /// What the receipt proves, where it is valid.
    pub receipt: Option<ReceiptVerdict>,
    /// A log that is shown shorter than what its key signed in the receipt, whatever else holds.
    pub rolled_back: Option<String>,
}

impl Dispute {
    /// Reads the bytes; nothing is verified yet.
    ///
    /// # Errors
    /// They are not such a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, EvidenceError> {
        let dispute: Self = from_canonical(bytes, DISPUTE_LEN_MAX)
            .map_err(|error| EvidenceError::Malformed(error.to_string()))?;
        if dispute.format != DISPUTE_FORMAT {
            return Err(EvidenceError::Malformed(format!(
                "its format is not `{DISPUTE_FORMAT}`"
            )));
        }
        Ok(dispute)
    }

    /// The bytes.
    ///
    /// # Errors
    /// They would be too many.
    pub fn encode(&self) -> Result<Vec<u8>, EvidenceError> {
        to_canonical(self).map_err(|error| EvidenceError::Malformed(error.to_string()))
    }

    /// Judges the file against the election id that the caller knows.
    ///
    /// # Errors
    /// An exhibit is not what it must be. It proves nothing then, neither for nor against anybody, and the file is refused as a whole. (A receipt that is not
    /// valid is a ruling.)
    pub fn judge(&self, expected: &ElectionId) -> Result<DisputeVerdict, EvidenceError> {
        if self.election != *expected {
            return Err(EvidenceError::OtherElection(self.election));
        }
        let claimed = match Claimed::read(&self.receipt, expected) {
            Ok(claimed) => claimed,
            Err(error) => {
                return Ok(DisputeVerdict {
                    ruling: Ruling::InvalidReceipt,
                    why: error.to_string(),
                    receipt: None,
                    rolled_back: None,
                });
            }
        };
        let mut rulings = vec![(
            Ruling::NotShown,
            "the receipt is valid, and the file shows nothing of the ledger".to_owned(),
        )];
        if let Some(ledger) = &self.ledger {
            rulings.push(ledger.judge(&claimed.held, &claimed.election)?);
        }
        if let Some(heads) = &self.heads {
            let sealed = claimed.sealed.as_ref().ok_or_else(|| {
                EvidenceError::Malformed(
                    "a provisional receipt holds no checkpoint of the heads log".to_owned(),
                )
            })?;
            let (ruling, why) = heads.judge(sealed, &claimed.election)?;
            // That the heads log goes on as it should says nothing about the vote.
            if ruling != Ruling::Held {
                rulings.push((ruling, why));
            }
        }
        if let Some(head) = &self.head {
            rulings.extend(head.judge(&claimed)?);
        }
        let rolled_back = rulings
            .iter()
            .find(|(ruling, _)| *ruling == Ruling::RolledBack)
            .map(|(_, why)| why.clone());
        let (ruling, why) = rulings
            .into_iter()
            .max_by_key(|(ruling, _)| *ruling)
            .unwrap_or((Ruling::NotShown, String::new()));
        Ok(DisputeVerdict {
            ruling,
            why,
            receipt: Some(claimed.verdict),
            rolled_back,
        })
    }
}

/// What a valid receipt claims.
struct Claimed {
    election: Election,
    index: u64,
    /// The checkpoint under which the vote was proven.
    held: HeldCheckpoint,
    /// The heads log's, where the receipt is final.
    sealed: Option<HeldCheckpoint>,
    verdict: ReceiptVerdict,
}

impl Claimed {
    fn read(text: &str, expected: &ElectionId) -> Result<Self, ClaimError> {
        let receipt = Receipt::parse(text.as_bytes())?;
        let verdict = receipt.verify(expected)?;
        let election = Election::check_id(receipt.manifest.as_bytes(), expected)
            .map_err(|error| EvidenceError::Manifest(error.to_string()))?;
        let held = |proof: &str| {
            let proof = TlogProof::parse(proof.as_bytes())
                .map_err(|error| EvidenceError::Proof(error.to_string()))?;
            HeldCheckpoint::read(proof.checkpoint(), &election)
        };
        Ok(Self {
            held: held(&receipt.vote)?,
            sealed: receipt
                .sealed
                .as_ref()
                .map(|seal| held(&seal.head))
                .transpose()?,
            index: verdict.index,
            election,
            verdict,
        })
    }
}

#[derive(Debug, thiserror::Error)]
enum ClaimError {
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

impl LedgerExhibit {
    fn judge(
        &self,
        claimed: &HeldCheckpoint,
        election: &Election,
    ) -> Result<(Ruling, String), EvidenceError> {
        let held = HeldCheckpoint::read(self.checkpoint.as_bytes(), election)?;
        if held.log != claimed.log {
            return Err(EvidenceError::TwoLogs);
        }
        let (published, signed) = (&held.checkpoint, &claimed.checkpoint);
        let root = decode_hash(&self.root)?;
        if published.size() < signed.size() {
            if root != published.root() || !self.proof.is_empty() {
                return Err(EvidenceError::Proof(
                    "a published size below the receipt's needs none".to_owned(),
                ));
            }
            return Ok((
                Ruling::RolledBack,
                format!(
                    "{} is published up to size {}, and its key signed size {} in the receipt",
                    held.log,
                    published.size(),
                    signed.size()
                ),
            ));
        }
        verify_consistency(
            signed.size(),
            &root,
            published.size(),
            &published.root(),
            &hashes(&self.proof)?,
        )
        .map_err(|error| EvidenceError::Proof(error.to_string()))?;
        Ok(if root == signed.root() {
            (
                Ruling::Held,
                format!(
                    "the published log of size {} starts with the tree in the receipt",
                    published.size()
                ),
            )
        } else {
            (
                Ruling::SplitView,
                format!(
                    "at size {} of {} its key signed root {} in the receipt, and root {root} in the published log",
                    signed.size(),
                    held.log,
                    signed.root()
                ),
            )
        })
    }
}

impl HeadExhibit {
    /// `None`: the head ends below the vote, and more may come.
    fn judge(&self, claimed: &Claimed) -> Result<Option<(Ruling, String)>, EvidenceError> {
        let (head, is_final) = self.head(&claimed.election)?;
        let said = head
            .log(&claimed.election, claimed.held.log)
            .ok_or(EvidenceError::TwoLogs)?;
        let signed = &claimed.held.checkpoint;
        let root = decode_hash(&self.root)?;
        if claimed.index >= said.size {
            if root != said.root || !self.proof.is_empty() {
                return Err(EvidenceError::Proof(
                    "a head that ends below the vote needs none".to_owned(),
                ));
            }
            return Ok(is_final.then(|| {
                (
                    Ruling::Dropped,
                    format!(
                        "the vote stands at index {}, and the final head counts the cell's log up to size {} only",
                        claimed.index, said.size
                    ),
                )
            }));
        }
        // The smaller size, what is said of it, and the tree that holds it.
        let (small, small_root, large, large_root) = if said.size <= signed.size() {
            (said.size, said.root, signed.size(), signed.root())
        } else {
            (signed.size(), signed.root(), said.size, said.root)
        };
        verify_consistency(small, &root, large, &large_root, &hashes(&self.proof)?)
            .map_err(|error| EvidenceError::Proof(error.to_string()))?;
        if root != small_root {
            return Ok(Some((
                Ruling::SplitView,
                format!(
                    "at size {small} of the cell's log the head and the receipt come from two trees: {root} and {small_root}"
                ),
            )));
        }
        let size = said.size;
        Ok(Some(if is_final {
            (
                Ruling::Counted,
                format!("the final head counts the cell's log up to size {size}"),
            )
        } else {
            (
                Ruling::Covered,
                format!("a head covers the cell's log up to size {size}"),
            )
        }))
    }

    /// The head, under a checkpoint that the heads log's keys signed.
    fn head(&self, election: &Election) -> Result<(Head, bool), EvidenceError> {
        let proof = TlogProof::parse(self.head.as_bytes())
            .map_err(|error| EvidenceError::Malformed(error.to_string()))?;
        let entry = proof.extra().ok_or_else(|| {
            EvidenceError::Malformed("the head's proof lacks its entry".to_owned())
        })?;
        let held = HeldCheckpoint::read(proof.checkpoint(), election)?;
        if held.log != LogId::Heads {
            return Err(EvidenceError::TwoLogs);
        }
        crate::merkle::verify_inclusion(
            &leaf_hash(entry),
            proof.index(),
            held.checkpoint.size(),
            proof.proof(),
            &held.checkpoint.root(),
        )
        .map_err(|error| EvidenceError::Proof(error.to_string()))?;
        match Entry::decode(entry, election) {
            Ok(Entry::Head(head)) => Ok((head, false)),
            Ok(Entry::FinalHead(head)) => Ok((head, true)),
            Ok(other) => Err(EvidenceError::Malformed(format!(
                "the head's proof is of a {} entry",
                other.name()
            ))),
            Err(error) => Err(EvidenceError::Malformed(error.to_string())),
        }
    }
}

fn hashes(proof: &[String]) -> Result<Vec<Hash>, EvidenceError> {
    proof.iter().map(|hash| decode_hash(hash)).collect()
}
