//! Offline proofs.

use proptest::prelude::*;
use protocol::checkpoint::CheckpointError;
use protocol::merkle::tile::{Edge, Tiles, inclusion_tiles};
use protocol::merkle::{Hash, ProofError};
use protocol::note::{NoteError, SignedNote};
use protocol::tlog_proof::{PROOF_BYTES_MAX, TlogProof, TlogProofError};

use crate::support::{Key, ORIGIN, entry, head, leaf, main_key, signed};

/// The proof of entry `index` in the log of `size` entries (below 256), with the entry as extra data.
pub(crate) fn proof(index: u64, size: u64) -> TlogProof {
    let mut edge = Edge::new();
    (0..size).for_each(|i| edge.push(leaf(i)));
    let files = inclusion_tiles(index, size)
        .into_iter()
        .map(|id| (id, edge.tile(&id).unwrap()));
    let tiles = Tiles::authenticate(size, &edge.root(), files).unwrap();
    let hashes = tiles.inclusion_proof(index).unwrap();
    TlogProof::new(
        Some(entry(index)),
        index,
        hashes,
        signed(&head(size), &main_key()),
    )
    .unwrap()
}

#[test]
fn a_proof_leads_from_the_entry_to_the_signed_checkpoint() {
    let keys = [main_key().public()];
    for size in [1, 2, 3, 7, 8, 100] {
        for index in 0..size {
            let proof = proof(index, size);
            assert_eq!(TlogProof::parse(&proof.encode()).unwrap(), proof);
            assert_eq!(
                proof.verify(&leaf(index), ORIGIN, &keys).unwrap(),
                (head(size), 0)
            );
            let (_, _, cosigned) = proof
                .verify_cosigned(&leaf(index), ORIGIN, &keys, &[])
                .unwrap();
            assert_eq!(cosigned, []);
            assert_eq!(
                proof.verify(&leaf(index + 1), ORIGIN, &keys),
                Err(TlogProofError::Inclusion(ProofError::Root))
            );
            let elsewhere = TlogProof::new(
                None,
                index + 1,
                proof.proof().to_vec(),
                proof.checkpoint().to_vec(),
            )
            .unwrap();
            assert!(matches!(
                elsewhere.verify(&leaf(index), ORIGIN, &keys),
                Err(TlogProofError::Inclusion(_))
            ));
            let stranger = [Key::new(9).public()];
            assert_eq!(
                proof.verify(&leaf(index), ORIGIN, &stranger),
                Err(TlogProofError::Checkpoint(CheckpointError::OtherKey))
            );
        }
    }
}

#[test]
fn a_cosigned_proof_names_its_witnesses() {
    let plain = proof(3, 7);
    let witness = Key::new(11);
    let line = witness.cosign("w.example", 1_700_000_000, &head(7).body());
    let note = SignedNote::parse(plain.checkpoint())
        .unwrap()
        .with_signatures([line])
        .unwrap();
    let cosigned = TlogProof::new(None, 3, plain.proof().to_vec(), note.encode()).unwrap();
    let keys = [main_key().public()];
    let (_, _, seen) = cosigned
        .verify_cosigned(&leaf(3), ORIGIN, &keys, &[witness.witness("w.example")])
        .unwrap();
    assert_eq!(seen, [(0, 1_700_000_000)]);
    let unexpected = TlogProofError::Checkpoint(CheckpointError::UnexpectedLine { line: 1 });
    assert_eq!(
        cosigned.verify(&leaf(3), ORIGIN, &keys),
        Err(unexpected.clone())
    );
    assert_eq!(
        cosigned.verify_cosigned(&leaf(3), ORIGIN, &keys, &[]),
        Err(unexpected)
    );
}

#[test]
fn other_spellings_of_a_proof_are_refused() {
    let proof = proof(3, 7);
    let good = String::from_utf8(proof.encode()).unwrap();
    let first = proof.proof()[0].to_base64();
    let wrong = [
        (String::new(), TlogProofError::FirstLine),
        (good.replacen("@v1", "@v2", 1), TlogProofError::FirstLine),
        (good.replacen("@v1", "@v1 ", 1), TlogProofError::FirstLine),
        (
            good.replacen("@v1\n", "@v1\r\n", 1),
            TlogProofError::FirstLine,
        ),
        (format!("\n{good}"), TlogProofError::FirstLine),
        (good.replacen("extra ", "extra", 1), TlogProofError::Index),
        (good.replacen("extra ", "Extra ", 1), TlogProofError::Index),
        (good.replacen("extra ", "extra  ", 1), TlogProofError::Extra),
        (
            good.replacen("extra ZW50cnkgMw==", "extra ZW50cnkgMx==", 1),
            TlogProofError::Extra,
        ),
        (
            good.replacen("extra ZW50cnkgMw==", "extra ZW50cnkgMw", 1),
            TlogProofError::Extra,
        ),
        (
            good.replacen("extra ZW50cnkgMw==", "extra ", 1),
            TlogProofError::Extra,
        ),
        (
            good.replacen("extra ZW50cnkgMw==", "extra", 1),
            TlogProofError::Index,
        ),
        (
            good.replacen("extra ZW50cnkgMw==", "extra AA==\nextra AA==", 1),
            TlogProofError::Index,
        ),
        (
            good.replacen("index 3", "index 03", 1),
            TlogProofError::Index,
        ),
        (
            good.replacen("index 3", "index +3", 1),
            TlogProofError::Index,
        ),
        (
            good.replacen("index 3", "index -3", 1),
            TlogProofError::Index,
        ),
        (
            good.replacen("index 3", "index  3", 1),
            TlogProofError::Index,
        ),
        (
            good.replacen("index 3", "index 3 ", 1),
            TlogProofError::Index,
        ),
        (good.replacen("index 3", "index ", 1), TlogProofError::Index),
        (good.replacen("index 3", "index", 1), TlogProofError::Index),
        (
            good.replacen("index 3", "index 18446744073709551616", 1),
            TlogProofError::Index,
        ),
        (good.replacen("index 3\n", "", 1), TlogProofError::Index),
        (
            good.replacen("index 3\n", "index 3\nindex 3\n", 1),
            TlogProofError::Hash,
        ),
        (good.replacen(&first, &first[..43], 1), TlogProofError::Hash),
        (
            good.replacen(&first, &format!("{first} "), 1),
            TlogProofError::Hash,
        ),
        (
            good.replacen(&first, &format!(" {first}"), 1),
            TlogProofError::Hash,
        ),
        (
            good.replacen(&first, &format!("{}B=", "A".repeat(42)), 1),
            TlogProofError::Hash,
        ),
        (
            good.replacen("index 3", "index 3\r", 1),
            TlogProofError::Index,
        ),
        (good.replacen("\n\n", "\n", 1), TlogProofError::Hash),
        (
            good.replacen("\n\n", "\n\n\n", 1),
            TlogProofError::Checkpoint(CheckpointError::Lines),
        ),
        (
            good.replacen("— ", "- ", 1),
            TlogProofError::Note(NoteError::SignatureLine),
        ),
        (
            format!("{good}\n"),
            TlogProofError::Note(NoteError::SignatureCount),
        ),
        (
            good.trim_end().to_owned(),
            TlogProofError::Note(NoteError::SignatureLine),
        ),
    ];
    let keys = [main_key().public()];
    let judge = |text: &str| {
        TlogProof::parse(text.as_bytes()).and_then(|proof| proof.verify(&leaf(3), ORIGIN, &keys))
    };
    judge(&good).unwrap();
    for (text, error) in wrong {
        assert_eq!(judge(&text), Err(error), "{text}");
    }
    assert_eq!(TlogProof::parse(b"\xff"), Err(TlogProofError::FirstLine));
    assert_eq!(
        TlogProof::parse(b"c2sp.org/tlog-proof@v1\nindex 0\n"),
        Err(TlogProofError::EmptyLine)
    );
}

#[test]
fn proofs_are_bounded() {
    let note = signed(&head(7), &main_key());
    let make = |extra: usize, hashes: usize| {
        TlogProof::new(
            (extra > 0).then(|| vec![1; extra]),
            u64::MAX,
            vec![Hash([1; 32]); hashes],
            note.clone(),
        )
    };
    let largest = make(65_535, 64).unwrap();
    assert_eq!(TlogProof::parse(&largest.encode()).unwrap(), largest);
    assert_eq!(make(0, 65), Err(TlogProofError::TooManyHashes));
    let with_one_more = String::from_utf8(make(0, 64).unwrap().encode())
        .unwrap()
        .replacen("\n\n", &format!("\n{}\n\n", Hash([1; 32]).to_base64()), 1);
    assert_eq!(
        TlogProof::parse(with_one_more.as_bytes()),
        Err(TlogProofError::TooManyHashes)
    );
    assert!(matches!(
        make(98_304, 0),
        Err(TlogProofError::TooLong { .. })
    ));
    assert!(!matches!(
        TlogProof::parse(&vec![b'x'; PROOF_BYTES_MAX]),
        Err(TlogProofError::TooLong { .. })
    ));
    let len = PROOF_BYTES_MAX + 1;
    assert_eq!(
        TlogProof::parse(&vec![b'x'; len]),
        Err(TlogProofError::TooLong { len })
    );
    assert_eq!(
        TlogProof::new(Some(vec![]), 0, vec![], note),
        Err(TlogProofError::Extra)
    );
    assert_eq!(
        TlogProof::new(None, 0, vec![], b"no note".to_vec()),
        Err(TlogProofError::Note(NoteError::Text))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whatever was done to a proof: it is refused, or it is the one spelling of what was read, and proves no other leaf.
    #[test]
    fn a_spoiled_proof_is_refused_or_still_one_spelling(at in any::<prop::sample::Index>(), cut in 0_usize..3, with in "[\n0-9a-zA-Z+/= ]{0,2}") {
        let good = proof(5, 11).encode();
        let start = at.index(good.len());
        let mut bytes = good.clone();
        bytes.splice(start..(start + cut).min(good.len()), with.into_bytes());
        if let Ok(parsed) = TlogProof::parse(&bytes) {
            prop_assert_eq!(parsed.encode(), bytes.clone());
            // Only the extra data is not authenticated.
            let same = parsed.index() == 5 && parsed.proof() == proof(5, 11).proof() && parsed.checkpoint() == proof(5, 11).checkpoint();
            prop_assert_eq!(parsed.verify(&leaf(5), ORIGIN, &[main_key().public()]).is_ok(), same);
        }
    }
}
