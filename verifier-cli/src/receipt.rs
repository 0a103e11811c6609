//! Checking one voter's receipt: offline against the election id, and with a source also against the ledger as it is published today.

mod ledger;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use protocol::ids::ElectionId;
use protocol::manifest::Election;
use protocol::receipt::{RECEIPT_FORMAT, RECEIPT_LEN_MAX, Receipt, ReceiptCode, ReceiptError};
use schemars::JsonSchema;
use serde::Serialize;

use crate::finding::{Code, Finding, Findings, Place, Votes};
use crate::source::locate;
use crate::verdict::Outcome;

/// What the check of a receipt says.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ReceiptVerdict {
    /// How it ended.
    pub verdict: Outcome,
    /// The election id.
    pub election: String,
    /// The vote; null where the receipt is not valid.
    pub vote: Option<VoteShown>,
    /// The published ledger; null where it was not asked for.
    pub ledger: Option<LedgerShown>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What was not checked.
    pub not_covered: Vec<String>,
}

/// What a valid receipt shows. Whoever sees it knows the vote.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct VoteShown {
    /// The election's title.
    pub title: String,
    /// The cell.
    pub cell: u32,
    /// The vote's index in the cell's log.
    pub index: u64,
    /// The voter's credential key.
    pub credential: String,
    /// What was chosen, in labels.
    pub choices: Vec<ChoiceShown>,
    /// The size of the cell's log that the receipt's checkpoint covers.
    pub checkpoint_size: u64,
    /// The head that covers the vote; null: provisional (*recorded*). Otherwise final (*sealed*).
    pub sealed: Option<SealShown>,
}

/// One contest's choice.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ChoiceShown {
    /// The contest's name.
    pub contest: String,
    /// The chosen options; none for a blank.
    pub options: Vec<String>,
}

/// The head in a receipt.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SealShown {
    /// Its index in the heads log.
    pub head_index: u64,
    /// Its time (ms since 1970).
    pub time: u64,
    /// Whether it is the final head.
    pub is_final_head: bool,
    /// The names of the witnesses that cosigned.
    pub witnesses: Vec<String>,
}

/// What the published ledger says.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LedgerShown {
    /// Where it is.
    pub source: String,
    /// The size of the cell's log today.
    pub cell_size: Option<u64>,
    /// Whether the vote is in it, and it is the same log as the receipt's.
    pub in_ledger: bool,
    /// Whether heads cover the vote.
    pub counted: Counted,
}

/// Whether heads cover the vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// No head covers it yet.
    NotYet,
    /// The newest head covers it, and there is no final head.
    Covered,
    /// The final head counts it.
    Final,
    /// The final head does not count it.
    Dropped,
    /// The election is void.
    Cancelled,
    /// It could not be found out.
    Unknown,
}

/// Checks the receipt in `file`.
#[must_use]
pub fn run(
    file: &Path,
    id: &ElectionId,
    source: Option<&str>,
    credential: Option<&[u8; 32]>,
) -> ReceiptVerdict {
    let shown = file.display().to_string();
    let bytes = match read(file) {
        Ok(bytes) => bytes,
        Err(problem) => {
            return ReceiptVerdict {
                verdict: Outcome::Unchecked,
                not_covered: vec![format!("the receipt could not be read: {shown}: {problem}")],
                ..empty(id)
            };
        }
    };
    check(&bytes, &shown, id, source, credential)
}

/// One byte more than a receipt may have is enough to know that it is none.
fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?
        .take(RECEIPT_LEN_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether these bytes may have been a receipt before something changed them.
fn is_like_one(bytes: &[u8]) -> bool {
    let holds = |part: &str| bytes.windows(part.len()).any(|at| at == part.as_bytes());
    holds(RECEIPT_FORMAT) || holds("c2sp.org/tlog-proof@v1")
}

fn empty(id: &ElectionId) -> ReceiptVerdict {
    ReceiptVerdict {
        verdict: Outcome::Findings,
        election: id.to_string(),
        vote: None,
        ledger: None,
        findings: Vec::new(),
        not_covered: Vec::new(),
    }
}

/// What is wrong with a receipt that does not verify.
fn wrong(bytes: &[u8], id: &ElectionId, error: &ReceiptError) -> (Code, String) {
    let said = error.to_string();
    // It names one election and carries the manifest of another: one of the two was changed.
    let is_damaged = match error.code {
        ReceiptCode::Manifest => true,
        ReceiptCode::OtherElection => Receipt::parse(bytes)
            .is_ok_and(|receipt| Election::check_id(receipt.manifest.as_bytes(), id).is_ok()),
        _ => false,
    };
    match error.code {
        _ if is_damaged => (
            Code::ReceiptInvalid,
            format!(
                "the election that it names and the manifest in it do not belong together: the file was damaged or changed ({said})"
            ),
        ),
        ReceiptCode::Malformed => (Code::ReceiptMalformed, said),
        ReceiptCode::OtherElection => (Code::ReceiptForeign, said),
        _ => (Code::ReceiptInvalid, said),
    }
}

fn check(
    bytes: &[u8],
    file: &str,
    id: &ElectionId,
    source: Option<&str>,
    credential: Option<&[u8; 32]>,
) -> ReceiptVerdict {
    let findings = Findings::new(1);
    let verified = Receipt::parse(bytes).and_then(|receipt| {
        let proven = receipt.verify(id)?;
        Ok((receipt, proven))
    });
    let (receipt, proven) = match verified {
        Ok(verified) => verified,
        Err(error) => {
            let (code, evidence) = wrong(bytes, id, &error);
            findings.add(code, Place::file(file), Votes::AtMost(1), evidence);
            // The wrong file, or the wrong id: a mistake of whoever asks, as far as anybody can tell.
            let is_other = match code {
                Code::ReceiptForeign => true,
                Code::ReceiptMalformed => !is_like_one(bytes),
                _ => false,
            };
            return ReceiptVerdict {
                verdict: if is_other {
                    Outcome::Unchecked
                } else {
                    Outcome::Findings
                },
                findings: findings.finish().0,
                not_covered: if is_other {
                    vec![format!(
                        "anything: {file} is no receipt of the election {id}. Give the file that was saved when you voted, and the id that you were given outside this site"
                    )]
                } else {
                    Vec::new()
                },
                ..empty(id)
            };
        }
    };
    if let Some(own) = credential
        && *own != proven.credential
    {
        findings.add(
            Code::ReceiptOtherKey,
            Place::file(file),
            Votes::AtMost(1),
            format!(
                "it is for credential {}, and yours is {}",
                hex::encode(proven.credential),
                hex::encode(own)
            ),
        );
    }

    let mut not_covered = Vec::new();
    if credential.is_none() {
        not_covered.push(
            "whether the credential is yours: give --credential, as your voting client shows it"
                .to_owned(),
        );
    }
    let (ledger, unread) = match source {
        None => {
            not_covered.push(
                "whether the published ledger still holds the vote: give --source".to_owned(),
            );
            (None, false)
        }
        Some(given) => in_ledger(
            given,
            id,
            file,
            &receipt,
            &proven,
            &findings,
            &mut not_covered,
        ),
    };
    not_covered
        .push("the anchors: `tallyroot-verify audit` compares them with the heads log".to_owned());
    not_covered
        .push("all other votes: `tallyroot-verify audit` recounts the whole ledger".to_owned());
    let verdict = if !findings.is_empty() {
        Outcome::Findings
    } else if unread {
        Outcome::Unchecked
    } else {
        Outcome::Verified
    };
    ReceiptVerdict {
        verdict,
        vote: Some(proven.into()),
        ledger,
        findings: findings.finish().0,
        not_covered,
        ..empty(id)
    }
}

impl From<protocol::receipt::ReceiptVerdict> for VoteShown {
    fn from(proven: protocol::receipt::ReceiptVerdict) -> Self {
        Self {
            title: proven.title,
            cell: proven.cell,
            index: proven.index,
            credential: hex::encode(proven.credential),
            choices: proven
                .choices
                .into_iter()
                .map(|choice| ChoiceShown {
                    contest: choice.contest,
                    options: choice.options,
                })
                .collect(),
            checkpoint_size: proven.checkpoint_size,
            sealed: proven.seal.map(|seal| SealShown {
                head_index: seal.head_index,
                time: seal.time,
                is_final_head: seal.is_final_head,
                witnesses: seal.witnesses.into_iter().map(|(name, _)| name).collect(),
            }),
        }
    }
}

/// Looks the vote up in the published ledger. The flag: something could not be read.
fn in_ledger(
    given: &str,
    id: &ElectionId,
    file: &str,
    receipt: &Receipt,
    proven: &protocol::receipt::ReceiptVerdict,
    findings: &Findings,
    not_covered: &mut Vec<String>,
) -> (Option<LedgerShown>, bool) {
    // The receipt's manifest was verified against the id; the source's need not be.
    let Ok(election) = Election::check_id(receipt.manifest.as_bytes(), id) else {
        return (None, true);
    };
    let located = match locate(given, id) {
        Ok(located) => located,
        Err(error) => {
            not_covered.push(error.to_string());
            return (None, true);
        }
    };
    let (shown, unread) = ledger::check(&election, &located, file, receipt, proven, findings);
    let any = !unread.is_empty();
    not_covered.extend(unread);
    (Some(shown), any)
}
