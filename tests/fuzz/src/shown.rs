//! The election of `specs/vectors/evidence.json`: whatever becomes of its files, they prove nothing that its keys did not sign.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use protocol::checkpoint::Checkpoint;
use protocol::dispute::{Dispute, DisputeVerdict};
use protocol::evidence::{HeldCheckpoint, SplitView};
use protocol::manifest::Election;
use protocol::receipt::Receipt;
use protocol::tlog_proof::TlogProof;
use serde_json::Value;

use crate::documents::{Proven, proven};
use crate::evidence_cases::cases;

/// A signed tree: origin, size, root.
type Signed = (String, u64, [u8; 32]);

/// What the keys of the election signed in any of the files, right or wrong.
struct Shown {
    election: Election,
    checkpoints: BTreeSet<Signed>,
    votes: BTreeSet<Proven>,
}

static SHOWN: LazyLock<Shown> = LazyLock::new(|| {
    let cases = cases();
    let id = cases[0].election.parse().unwrap();
    let mut texts = BTreeSet::new();
    for case in &cases {
        if let Ok(file) = serde_json::from_slice(&case.file) {
            gather(&file, &mut texts);
        }
    }
    let election = texts
        .iter()
        .find_map(|text| Election::check_id(text.as_bytes(), &id).ok())
        .unwrap();
    let notes = texts.iter().filter_map(|text| {
        let proof = TlogProof::parse(text.as_bytes());
        let note = proof.map_or_else(|_| text.clone().into_bytes(), |it| it.checkpoint().to_vec());
        HeldCheckpoint::read(&note, &election).ok()
    });
    let checkpoints: BTreeSet<Signed> = notes.map(|held| signed(&held.checkpoint)).collect();
    let receipts = texts.iter().filter_map(|text| {
        let receipt = Receipt::parse(text.as_bytes()).ok()?;
        receipt.verify(&id).ok()
    });
    let votes: BTreeSet<Proven> = receipts.map(|verdict| proven(&verdict)).collect();
    assert!(checkpoints.len() > 10 && !votes.is_empty());
    Shown {
        election,
        checkpoints,
        votes,
    }
});

/// Every string in a document, and in the documents that are strings in it.
fn gather(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            if into.insert(text.clone())
                && let Ok(inner) = serde_json::from_str(text)
            {
                gather(&inner, into);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| gather(value, into)),
        Value::Object(members) => members.values().for_each(|value| gather(value, into)),
        _ => {}
    }
}

fn signed(checkpoint: &Checkpoint) -> Signed {
    let origin = checkpoint.origin().to_string();
    (origin, checkpoint.size(), checkpoint.root().0)
}

/// A split view, asked about this election.
pub(crate) fn split_view(split: &SplitView) {
    if let Ok(verdict) = split.verify(&SHOWN.election.id()) {
        let (older, newer) = (&verdict.older, &verdict.newer);
        assert!(older.size() <= newer.size() && older.root() != verdict.root);
        for checkpoint in [older, newer] {
            assert!(
                SHOWN.checkpoints.contains(&signed(checkpoint)),
                "a checkpoint that nobody signed: {checkpoint:?}"
            );
        }
    }
}

/// A dispute, asked about this election.
pub(crate) fn dispute(dispute: &Dispute) {
    let verdict = dispute.judge(&SHOWN.election.id());
    if let Ok(DisputeVerdict {
        receipt: Some(receipt),
        ..
    }) = verdict
    {
        assert!(
            SHOWN.votes.contains(&proven(&receipt)),
            "a vote that nobody cast: {receipt:?}"
        );
    }
}
