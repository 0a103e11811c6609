//! `specs/vectors/evidence.json`: with which exit code a file ends that is judged offline.

use protocol::ids::ElectionId;
use verifier_cli::{consistency, dispute};

use crate::evidence_cases::cases;

#[test]
fn every_file_ends_with_the_exit_code_that_the_specification_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file.json");
    for case in cases() {
        std::fs::write(&file, &case.file).unwrap();
        let id: ElectionId = case.election.parse().unwrap();
        let outcome = match case.kind.as_str() {
            "split-view" => consistency::check(&file, &id).verdict,
            "dispute" => dispute::judge(&file, &id).verdict,
            other => panic!("{other}"),
        };
        assert_eq!(
            u64::from(u8::from(outcome)),
            case.exit,
            "{} {}",
            case.kind,
            case.why
        );
    }
}
