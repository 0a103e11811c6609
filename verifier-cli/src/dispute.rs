//! Disputes: a voter's receipt beside what the ledger says now, as one file that a third party judges offline.
//!
//! Making one gathers the exhibits: the cell's newest checkpoint and how it continues the receipt's tree, and the newest head. Judging one believes nothing in it
//! but signatures and proofs; [`protocol::dispute`] does that, for the maker and for everybody else alike.

use std::path::Path;

use protocol::checkpoint::Checkpoint;
use protocol::dispute::{DISPUTE_FORMAT, Dispute, HeadExhibit, LedgerExhibit, Ruling};
use protocol::entry::HeadLog;
use protocol::evidence::{HeldCheckpoint, SPLIT_VIEW_FORMAT};
use protocol::ids::{ElectionId, LogId};
use protocol::manifest::Election;
use protocol::merkle::Hash;
use protocol::merkle::tile::inclusion_tiles;
use protocol::receipt::{RECEIPT_FORMAT, Receipt};
use protocol::tlog_proof::TlogProof;
use schemars::JsonSchema;
use serde::Serialize;

use crate::audit::checkpoint::{Signed, read_newest};
use crate::audit::context::{Context, Unread};
use crate::audit::heads_reader;
use crate::counted::Patience;
use crate::finding::Findings;
use crate::kept;
use crate::progress::Progress;
use crate::prove;
use crate::receipt::VoteShown;
use crate::source::{Located, locate};
use crate::verdict::Outcome;
use crate::watch::now;
use crate::words::utc;

/// What a dispute comes to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DisputeVerdict {
    /// Verified: the ledger keeps what the receipt promises. Findings: it does not, or the receipt is none. Unchecked: not enough was shown.
    pub verdict: Outcome,
    /// The election id.
    pub election: String,
    /// The ruling; null where the file could not be judged.
    pub ruling: Option<Ruling>,
    /// Why.
    pub why: Option<String>,
    /// The vote; null without a valid receipt. Whoever sees it knows the vote.
    pub vote: Option<VoteShown>,
    /// The dispute's file.
    #[serde(skip)]
    pub file: Option<Vec<u8>>,
    /// What was not checked.
    pub not_covered: Vec<String>,
}

impl DisputeVerdict {
    fn unchecked(id: &ElectionId, why: String) -> Self {
        Self {
            verdict: Outcome::Unchecked,
            election: id.to_string(),
            ruling: None,
            why: None,
            vote: None,
            file: None,
            not_covered: vec![why],
        }
    }
}

/// Judges a dispute's file, offline.
#[must_use]
pub fn judge(file: &Path, id: &ElectionId) -> DisputeVerdict {
    match kept::bytes(file) {
        Ok(bytes) => match Dispute::parse(&bytes) {
            Ok(dispute) => ruled(&dispute, id, Shown::ByTheFile),
            Err(error) => {
                let why = other_file(&bytes).map_or_else(|| error.to_string(), str::to_owned);
                DisputeVerdict::unchecked(id, format!("{}: {why}", file.display()))
            }
        },
        Err(error) => DisputeVerdict::unchecked(id, error.to_string()),
    }
}

/// What a file is that is no dispute's, and what to do with it.
fn other_file(bytes: &[u8]) -> Option<&'static str> {
    match kept::format(bytes)?.as_str() {
        RECEIPT_FORMAT => Some(
            "this is a receipt: give --source, a URL or a directory, and it is held against the ledger there",
        ),
        SPLIT_VIEW_FORMAT => {
            Some("this is the proof of a split view: `consistency --check FILE` judges it")
        }
        _ => None,
    }
}

/// Makes the dispute of a receipt with the ledger at `source`, and judges it.
#[must_use]
pub fn make(receipt: &Path, source: &str, id: &ElectionId) -> DisputeVerdict {
    let bytes = match kept::bytes(receipt) {
        Ok(bytes) => bytes,
        Err(error) => return DisputeVerdict::unchecked(id, error.to_string()),
    };
    if kept::format(&bytes).as_deref() == Some(DISPUTE_FORMAT) {
        let why = format!(
            "{}: this is a dispute's file already: leave out --source and --out to judge it, or give the receipt",
            receipt.display()
        );
        return DisputeVerdict::unchecked(id, why);
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => {
            return DisputeVerdict::unchecked(
                id,
                format!("{}: it is no receipt", receipt.display()),
            );
        }
    };
    let mut dispute = Dispute {
        election: *id,
        format: DISPUTE_FORMAT.to_owned(),
        head: None,
        heads: None,
        ledger: None,
        receipt: text,
    };
    let mut missing = Vec::new();
    match locate(source, id) {
        Ok(located) => exhibits(&mut dispute, &located, id, &mut missing),
        Err(error) => missing.push(error.to_string()),
    }
    let mut verdict = ruled(&dispute, id, Shown::JustNow);
    verdict.not_covered.splice(0..0, missing);
    if verdict.ruling.is_some() {
        verdict.file = dispute.encode().ok();
    }
    verdict
}

/// Where the exhibits come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// We asked the source just now.
    JustNow,
    /// Whoever made the file chose them: it may be an old copy.
    ByTheFile,
}

fn ruled(dispute: &Dispute, id: &ElectionId, shown: Shown) -> DisputeVerdict {
    let judged = match dispute.judge(id) {
        Ok(judged) => judged,
        Err(error) => {
            return DisputeVerdict::unchecked(id, format!("the file proves nothing: {error}"));
        }
    };
    let verdict = match (judged.ruling, &judged.rolled_back) {
        (Ruling::InvalidReceipt | Ruling::SplitView | Ruling::Dropped, _) => Outcome::Findings,
        // A log that is short may be an old copy that somebody put beside the receipt. What we were shown ourselves is not.
        (_, Some(_)) if shown == Shown::JustNow => Outcome::Findings,
        (_, Some(_)) | (Ruling::NotShown | Ruling::RolledBack, None) => Outcome::Unchecked,
        // A head may cover the vote, or drop it: whoever hides the heads log must not get a yes.
        (Ruling::Held, None) if dispute.head.is_none() => Outcome::Unchecked,
        (Ruling::Held | Ruling::Covered | Ruling::Counted, None) => Outcome::Verified,
    };
    let headless = (judged.ruling == Ruling::Held && dispute.head.is_none()).then(|| {
        "no head is shown: whether one covers the vote, or the final head drops it, cannot be told"
            .to_owned()
    });
    let rolled_back = judged
        .rolled_back
        .filter(|_| judged.ruling != Ruling::RolledBack);
    DisputeVerdict {
        verdict,
        election: id.to_string(),
        ruling: Some(judged.ruling),
        why: Some(judged.why),
        vote: judged.receipt.map(VoteShown::from),
        file: None,
        not_covered: rolled_back
            .map(|why| format!("why {why}: an old copy, or a log that was cut"))
            .into_iter()
            .chain(headless)
            .chain([
                "all other votes, and the anchors: `tallyroot-verify audit` recounts the whole ledger"
                    .to_owned(),
            ])
            .collect(),
    }
}

/// Adds what the source shows; what it does not show is written to `missing`.
fn exhibits(dispute: &mut Dispute, located: &Located, id: &ElectionId, missing: &mut Vec<String>) {
    let Some(claimed) = claimed(&dispute.receipt, id) else {
        // The ruling says what is wrong with the receipt.
        return;
    };
    let (findings, unread) = (Findings::new(1), Unread::default());
    let progress = Progress::hidden();
    let context = Context {
        election: &claimed.election,
        source: located.source.as_ref(),
        findings: &findings,
        unread: &unread,
        progress: &progress,
    };
    let cell = claimed.cell;
    // The heads log before the cell, so that every size that a head names has been reached.
    let again = Again::of(&located.place);
    if let (Some(newest), Some(sealed)) = (read_newest(&context, LogId::Heads), &claimed.sealed) {
        again.ask(LogId::Heads, newest, sealed.size(), missing, || {
            read_newest(&context, LogId::Heads)
        });
    }
    let heads = heads_reader::read(&context);
    let newest = read_newest(&context, cell).map(|newest| {
        again.ask(cell, newest, claimed.checkpoint.size(), missing, || {
            read_newest(&context, cell)
        })
    });
    if let Some(newest) = &newest {
        dispute.ledger = ledger(&context, cell, &claimed.checkpoint, newest);
    }
    if let (Some(heads), Some(sealed)) = (&heads, &claimed.sealed) {
        dispute.heads = ledger(&context, LogId::Heads, sealed, &heads.newest);
    }
    if let (Some(heads), Some(newest)) = (heads, newest) {
        dispute.head = head(
            &context,
            cell,
            (claimed.index, &claimed.checkpoint),
            &newest.checkpoint,
            &heads,
        );
    }
    missing.extend(findings.finish().0.iter().map(|finding| {
        format!(
            "{}: {} [{}]",
            finding.place,
            finding.evidence,
            finding.code.name()
        )
    }));
    missing.extend(unread.finish());
}

/// A site is asked again before it is said to have shrunk: a cache on the way may give out an older state for a while.
#[derive(Clone, Copy)]
struct Again {
    /// `None`: a folder or a package on this machine, which no cache stands before.
    patience: Option<Patience>,
}

impl Again {
    fn of(place: &str) -> Self {
        Self {
            patience: place.contains("://").then(Patience::new),
        }
    }

    /// The checkpoint, once it is of this size or patience has ended; what was seen when is written down.
    fn ask(
        self,
        log: LogId,
        first: Signed,
        size: u64,
        seen: &mut Vec<String>,
        read: impl Fn() -> Option<Signed>,
    ) -> Signed {
        if first.size() >= size {
            return first;
        }
        let clock = || now().map_or_else(|| "an unknown time".to_owned(), utc);
        let (shown, at) = (first.size(), clock());
        let mut newest = first;
        while newest.size() < size && self.patience.is_some_and(Patience::waits) {
            newest = read().unwrap_or(newest);
        }
        seen.push(match self.patience {
            None => format!(
                "{log}/checkpoint: of size {shown} at {at}, and the receipt proves {size}: this is a copy on this machine, which may be an old one; ask the site itself"
            ),
            Some(_) => format!(
                "{log}/checkpoint: of size {shown} at {at}, and of size {} when it was asked for last, at {}; the receipt proves {size}. A cache may show an older state for longer: ask again later, and at another place",
                newest.size(),
                clock()
            ),
        });
        newest
    }
}

/// What a valid receipt claims.
struct Claimed {
    election: Election,
    cell: LogId,
    index: u64,
    checkpoint: Checkpoint,
    /// The heads log's, where the receipt is final.
    sealed: Option<Checkpoint>,
}

/// `None`: the receipt is not valid.
fn claimed(receipt: &str, id: &ElectionId) -> Option<Claimed> {
    let receipt = Receipt::parse(receipt.as_bytes()).ok()?;
    receipt.verify(id).ok()?;
    let election = Election::check_id(receipt.manifest.as_bytes(), id).ok()?;
    let proof = TlogProof::parse(receipt.vote.as_bytes()).ok()?;
    let held = HeldCheckpoint::read(proof.checkpoint(), &election).ok()?;
    let sealed = receipt
        .sealed
        .as_ref()
        .and_then(|seal| TlogProof::parse(seal.head.as_bytes()).ok())
        .and_then(|proof| HeldCheckpoint::read(proof.checkpoint(), &election).ok());
    Some(Claimed {
        sealed: sealed.map(|held| held.checkpoint),
        cell: held.log,
        index: proof.index(),
        checkpoint: held.checkpoint,
        election,
    })
}

fn ledger(
    context: &Context<'_>,
    log: LogId,
    claimed: &Checkpoint,
    newest: &Signed,
) -> Option<LedgerExhibit> {
    let held = HeldCheckpoint::read(&newest.bytes, context.election).ok()?;
    let (root, proof) = if newest.size() < claimed.size() {
        (newest.checkpoint.root(), Vec::new())
    } else {
        prove::prefix(context, log, &newest.checkpoint, claimed.size())?
    };
    Some(LedgerExhibit {
        checkpoint: String::from_utf8(held.note).ok()?,
        proof: base64(&proof),
        root: root.to_base64(),
    })
}

fn head(
    context: &Context<'_>,
    cell: LogId,
    (index, claimed): (u64, &Checkpoint),
    newest: &Checkpoint,
    heads: &heads_reader::HeadsToday,
) -> Option<HeadExhibit> {
    let (at, entry) = heads.head_entry.clone()?;
    let said = heads.head.as_ref()?.log(context.election, cell)?;
    let tiles = prove::tiles(
        context,
        LogId::Heads,
        &heads.newest.checkpoint,
        inclusion_tiles(at, heads.newest.size()),
    )?;
    let path = tiles.inclusion_proof(at).ok()?;
    let proof = TlogProof::new(Some(entry), at, path, heads.newest.bytes.clone()).ok()?;
    let (root, between) = if index >= said.size {
        (said.root, Vec::new())
    } else {
        between(context, cell, claimed, said, newest)?
    };
    Some(HeadExhibit {
        head: String::from_utf8(proof.encode()).ok()?,
        proof: base64(&between),
        root: root.to_base64(),
    })
}

/// From the smaller of the receipt's and the head's sizes to the larger one, in the tree of the larger one. `None`: that tree is not published.
fn between(
    context: &Context<'_>,
    cell: LogId,
    claimed: &Checkpoint,
    said: &HeadLog,
    newest: &Checkpoint,
) -> Option<(Hash, Vec<Hash>)> {
    let tree = |size, root| Checkpoint::new(claimed.origin(), size, root).ok();
    let (small, large) = if said.size <= claimed.size() {
        (said.size, tree(claimed.size(), claimed.root())?)
    } else {
        (claimed.size(), tree(said.size, said.root)?)
    };
    (small == large.size() || large.size() <= newest.size())
        .then(|| prove::prefix(context, cell, &large, small))
        .flatten()
}

fn base64(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(Hash::to_base64).collect()
}
