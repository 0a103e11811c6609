//! `specs/vectors/evidence.json`: split-view and dispute files that an independent verifier made from the specification's words, and what each of them proves.

use protocol::dispute::Dispute;
use protocol::evidence::{EvidenceError, SplitView};
use protocol::ids::ElectionId;
use serde_json::{Value, json};

use crate::evidence_cases::cases;

/// What the file proves to whoever asks about this election.
fn judged(kind: &str, file: &[u8], id: &ElectionId) -> Result<Value, EvidenceError> {
    match kind {
        "split-view" => {
            let split = SplitView::parse(file)?;
            let verdict = split.verify(id)?;
            assert_eq!(split.encode().unwrap(), file, "one spelling");
            Ok(json!({
                "log": verdict.log.prefix(),
                "newer": verdict.newer.size().to_string(),
                "older": verdict.older.size().to_string(),
            }))
        }
        "dispute" => {
            let dispute = Dispute::parse(file)?;
            let verdict = dispute.judge(id)?;
            assert_eq!(dispute.encode().unwrap(), file, "one spelling");
            Ok(json!({ "rolled_back": verdict.rolled_back.is_some(), "ruling": verdict.ruling }))
        }
        other => panic!("{other}"),
    }
}

/// Whether the file was refused for what is wrong with it, and not for something else.
fn is_named(name: &str, error: &EvidenceError) -> bool {
    use EvidenceError as Error;
    match name {
        "malformed" | "heads" => matches!(error, Error::Malformed(_)),
        "other-election" => matches!(error, Error::OtherElection(_)),
        "manifest" => matches!(error, Error::Manifest(_)),
        "note" => matches!(
            error,
            Error::Note(_) | Error::Origin(_) | Error::Signature(_) | Error::TwoLogs
        ),
        "proof" => matches!(error, Error::Proof(_)),
        "older" | "consistent" => matches!(error, Error::Consistent),
        "head" => matches!(error, Error::Malformed(_) | Error::Proof(_)),
        other => panic!("{other}"),
    }
}

#[test]
fn every_file_proves_what_the_specification_says() {
    let mut wrong = Vec::new();
    for case in cases() {
        let id: ElectionId = case.election.parse().unwrap();
        let answer = judged(&case.kind, &case.file, &id);
        let right = match (&answer, &case.error) {
            (Ok(verdict), None) => case.verdict == *verdict,
            (Err(error), Some(name)) => is_named(name, error),
            _ => false,
        };
        if !right {
            let expected = case.error.unwrap_or_else(|| case.verdict.to_string());
            wrong.push(format!(
                "{} {}: {answer:?}, not {expected}",
                case.kind, case.why
            ));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
