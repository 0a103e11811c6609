//! Receipts: everything that shows that one vote is in the log, in one file that verifies offline (section 13).

mod switches;
mod verify;

use serde::{Deserialize, Serialize};

use crate::canonical_json::{from_canonical, to_canonical};
use crate::ids::ElectionId;

/// The value of the member `format`.
pub const RECEIPT_FORMAT: &str = "tallyroot/v1/receipt";

/// Most bytes of a receipt.
pub const RECEIPT_LEN_MAX: usize = 4 << 20;

/// The content of a receipt. A receipt shows the vote: keep it as secret as the vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The cell that took the vote.
    pub cell: u32,
    /// The election.
    pub election: ElectionId,
    /// What makes it final.
    #[serde(rename = "final")]
    pub sealed: Option<Seal>,
    /// Always [`RECEIPT_FORMAT`].
    pub format: String,
    /// The text of `manifest.json`.
    pub manifest: String,
    /// The `.tlog-proof`s of switch notices in the heads log (as `extra`), for logs of which a checkpoint in the receipt is signed by a spare.
    pub switches: Vec<String>,
    /// The `.tlog-proof` of the vote entry (as `extra`) in the cell's log.
    pub vote: String,
}

/// A head that covers the vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// The `.tlog-proof` of the head entry (as `extra`) in the heads log.
    pub head: String,
    /// The `.tlog-proof` of the vote entry (as `extra`) under the checkpoint of the size that the head names.
    pub vote: String,
}

/// What a receipt proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptVerdict {
    /// The election's title.
    pub title: String,
    /// The cell.
    pub cell: u32,
    /// The vote's index in the cell's log.
    pub index: u64,
    /// The voter's credential key.
    pub credential: [u8; 32],
    /// For each contest what was chosen.
    pub choices: Vec<Choice>,
    /// The size of the cell's log that the receipt's own checkpoint covers.
    pub checkpoint_size: u64,
    /// Which of the cell's keys signed it.
    pub key: KeySlot,
    /// What makes it final (*sealed*); `None`: provisional (*recorded*).
    pub seal: Option<SealVerdict>,
}

/// One contest's choice, in labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The contest's name.
    pub contest: String,
    /// The chosen options' labels, in the ballot's order; empty for a blank.
    pub options: Vec<String>,
}

/// Which of a log's two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeySlot {
    /// The main key.
    Main,
    /// The spare, after a switch.
    Spare,
}

/// What the head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealVerdict {
    /// The head's index in the heads log.
    pub head_index: u64,
    /// Its time, in ms since 1970.
    pub time: u64,
    /// Whether it is the final head.
    pub is_final_head: bool,
    /// The size of the heads log under whose checkpoint it is proven.
    pub heads_size: u64,
    /// Which of the heads log's keys signed.
    pub heads_key: KeySlot,
    /// Which of the cell's keys signed the checkpoint of the size that the head names.
    pub cell_key: KeySlot,
    /// The names of the witnesses that cosigned, with their timestamps in seconds since 1970.
    pub witnesses: Vec<(String, u64)>,
}

/// Why a receipt does not verify. The code is stable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} [{code}]")]
pub struct ReceiptError {
    /// For machines and tests.
    pub code: ReceiptCode,
    /// What is wrong, what it means, what to do.
    pub message: String,
}

/// What is wrong with a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReceiptCode {
    /// Not a receipt: bytes or members.
    Malformed,
    /// Of another election than the one asked for.
    OtherElection,
    /// Its manifest is not the election's, or breaks a rule.
    Manifest,
    /// Its vote entry is malformed or its signatures do not verify.
    Vote,
    /// The vote belongs to another cell.
    WrongCell,
    /// The vote's proof or its checkpoint does not verify.
    VoteProof,
    /// The proof under the head's size does not verify, or is of another vote.
    SealProof,
    /// The head's proof or its checkpoint does not verify.
    HeadProof,
    /// The head names another size or root.
    HeadMismatch,
    /// Fewer witnesses cosigned than the manifest asks for.
    Quorum,
    /// A switch notice does not verify, is missing or is not needed.
    Switch,
}

impl ReceiptCode {
    /// The code as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::OtherElection => "other-election",
            Self::Manifest => "manifest",
            Self::Vote => "vote",
            Self::WrongCell => "wrong-cell",
            Self::VoteProof => "vote-proof",
            Self::SealProof => "seal-proof",
            Self::HeadProof => "head-proof",
            Self::HeadMismatch => "head-mismatch",
            Self::Quorum => "quorum",
            Self::Switch => "switch",
        }
    }
}

impl core::fmt::Display for ReceiptCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Receipt {
    /// Reads a receipt's bytes. Nothing is verified yet.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let receipt: Self = from_canonical(bytes, RECEIPT_LEN_MAX)
            .or_else(|error| fail(ReceiptCode::Malformed, format!("not a receipt: {error}")))?;
        if receipt.format != RECEIPT_FORMAT {
            return fail(
                ReceiptCode::Malformed,
                format!("not a receipt: its format is not `{RECEIPT_FORMAT}`"),
            );
        }
        Ok(receipt)
    }

    /// The receipt's bytes.
    ///
    /// # Errors
    /// `Malformed`: longer than 4 MiB.
    pub fn encode(&self) -> Result<Vec<u8>, ReceiptError> {
        let bytes = to_canonical(self).or_else(|error| {
            fail(
                ReceiptCode::Malformed,
                format!("the receipt cannot be written: {error}"),
            )
        })?;
        if bytes.len() > RECEIPT_LEN_MAX {
            return fail(
                ReceiptCode::Malformed,
                format!(
                    "a receipt of {} bytes: at most 4 MiB are allowed",
                    bytes.len()
                ),
            );
        }
        Ok(bytes)
    }

    /// Verifies everything that can be verified offline against the election id that the caller knows. Anchors are not checked.
    ///
    /// # Errors
    /// The first thing that does not verify.
    pub fn verify(&self, expected: &ElectionId) -> Result<ReceiptVerdict, ReceiptError> {
        verify::verify(self, expected)
    }
}

fn fail<T>(code: ReceiptCode, message: impl Into<String>) -> Result<T, ReceiptError> {
    Err(ReceiptError {
        code,
        message: message.into(),
    })
}
