//! Voters who want to dispute what they did.

use std::fs;

use protocol::ed25519::SigningKey;
use protocol::entry::Vote;
use tests::{arg, folder, run};

use crate::stage::stage;

/// The encodings of the eight points of small order that are canonical; one signature by such a key fits several ballots.
const SMALL_ORDER: [[u8; 32]; 2] = [
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    [0; 32],
];

/// Who: a voter with a registrar that signs blindly (so it cannot see the key), and the operator. Do: vote under a key of small order, whose signature fits two ballots.
/// Catches: such keys are refused when casting and when auditing.
#[test]
fn row_34_a_key_whose_signature_fits_two_ballots() {
    let stage = stage();
    for key in SMALL_ORDER {
        let cell = stage.election().cell_of(&key);
        let own = SigningKey::from_seed(&[7; 32]);
        let signatures = (0..2)
            .map(|registrar| stage.registrar_signs(registrar, &key))
            .collect();
        let vote = Vote {
            credential: key,
            ..stage.signed(&own, signatures)
        };
        let n = stage.history.vote_batches(cell)[0];
        let forged = stage.forged(|history| {
            history.change_votes(stage.election(), (cell, n), |votes| {
                votes.push(vote.encode())
            });
        });
        let at = format!("cells/{cell}/batches/{n}");
        assert_eq!(stage.audit(&forged, &[]).names("vote-bad-key", &at), 1);
    }
}

/// Who: a voter. Do: claim a vote that was never recorded, with a receipt that she altered. Catches: only what the ledger's keys signed counts; the dispute's ruling says so.
#[test]
fn row_36_a_claim_without_a_receipt() {
    let stage = stage();
    let id = stage.published.id();
    let folder = folder();
    let file = folder.path().join("receipt.json");
    let bytes = fs::read(stage.receipt()).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    // Another index; another cell; another election's id.
    let forgeries = [
        text.replacen("\\nindex ", "\\nindex 9", 1),
        text.replacen("\"cell\":0", "\"cell\":1", 1),
        text.replacen(&id, &"0".repeat(64), 1),
    ];
    for forged in forgeries {
        assert_ne!(forged, text);
        fs::write(&file, forged).unwrap();
        let said = run(
            "tallyroot-verify",
            &[
                "dispute",
                arg(&file),
                "--election",
                &id,
                "--source",
                arg(&stage.published.folder),
                "--json",
            ],
        );
        assert_eq!(said.code, 1, "{said:#?}");
        assert!(said.stdout.contains("invalid-receipt"), "{}", said.stdout);
    }
}
