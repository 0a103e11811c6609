//! Checkpoints and cosignatures.

use proptest::prelude::*;
use protocol::checkpoint::{Checkpoint, CheckpointError};
use protocol::cosignature::{self, CosignatureError, TIMESTAMP_MAX, WitnessKey};
use protocol::merkle::{Hash, empty_root};
use protocol::note::{
    COSIGNATURE, KeyType, NoteError, NoteSignature, SignedNote, VerifierKey, key_id,
};

use crate::support::{Key, ORIGIN, head, main_key, signed, spare_key};

fn keys() -> [[u8; 32]; 2] {
    [main_key().public(), spare_key().public()]
}

fn with_lines(bytes: &[u8], lines: Vec<NoteSignature>) -> Vec<u8> {
    SignedNote::parse(bytes)
        .unwrap()
        .with_signatures(lines)
        .unwrap()
        .encode()
}

#[test]
fn the_log_signs_by_its_main_or_its_spare_key() {
    let checkpoint = head(7);
    for (index, key) in [main_key(), spare_key()].iter().enumerate() {
        let note = signed(&checkpoint, key);
        assert_eq!(
            Checkpoint::verify(&note, ORIGIN, &keys()),
            Ok((checkpoint.clone(), index))
        );
        assert_eq!(checkpoint.origin(), ORIGIN);
        // Without cosignatures it is a cosigned checkpoint too, cosigned by nobody.
        assert_eq!(
            Checkpoint::verify_cosigned(&note, ORIGIN, &keys(), &[]),
            Ok((checkpoint.clone(), index, vec![]))
        );
        assert_eq!(
            Checkpoint::verify(&note, ORIGIN, &[]),
            Err(CheckpointError::OtherKey)
        );
        assert_eq!(
            Checkpoint::verify(&note, ORIGIN, &[Key::new(9).public()]),
            Err(CheckpointError::OtherKey)
        );
        let got = ORIGIN.to_owned();
        assert_eq!(
            Checkpoint::verify(&note, "vote.example/other", &keys()),
            Err(CheckpointError::OtherOrigin { got })
        );
    }
    let [main, spare] = keys();
    assert_eq!(
        Checkpoint::verify(&signed(&checkpoint, &spare_key()), ORIGIN, &[main]),
        Err(CheckpointError::OtherKey)
    );
    assert_eq!(
        Checkpoint::verify(&signed(&checkpoint, &spare_key()), ORIGIN, &[spare])
            .unwrap()
            .1,
        0
    );
}

#[test]
fn every_byte_of_a_checkpoint_matters() {
    let note = signed(&head(1000), &main_key());
    for at in 0..note.len() {
        for bit in 0..8 {
            let mut spoiled = note.clone();
            spoiled[at] ^= 1 << bit;
            Checkpoint::verify(&spoiled, ORIGIN, &keys()).expect_err("a spoiled checkpoint passed");
        }
        Checkpoint::verify(&note[..at], ORIGIN, &keys()).expect_err("a cut checkpoint passed");
    }
}

#[test]
fn a_checkpoint_holds_no_other_line() {
    let checkpoint = head(7);
    let note = signed(&checkpoint, &main_key());
    let body = checkpoint.body();
    let others = [
        Key::new(5).cosign("w.example", 1, &body),
        Key::new(5).line("w.example", &body),
        spare_key().line(ORIGIN, &body),
        main_key().line(ORIGIN, &body),
    ];
    for other in others {
        let refused = CheckpointError::UnexpectedLine { line: 1 };
        let more = with_lines(&note, vec![other.clone()]);
        assert_eq!(
            Checkpoint::verify(&more, ORIGIN, &keys()),
            Err(refused.clone())
        );
        assert_eq!(
            Checkpoint::verify_cosigned(&more, ORIGIN, &keys(), &[]),
            Err(refused)
        );
        // And none before the log's own.
        let first =
            SignedNote::new(&body, vec![other.clone(), main_key().line(ORIGIN, &body)]).unwrap();
        Checkpoint::verify(&first.encode(), ORIGIN, &keys()).unwrap_err();
    }
    // A valid signature by the right key under another name, or for the name's key ID by another key.
    let named = SignedNote::new(&body, vec![main_key().line("other", &body)]).unwrap();
    assert_eq!(
        Checkpoint::verify(&named.encode(), ORIGIN, &keys()),
        Err(CheckpointError::OtherKey)
    );
    let id = key_id(ORIGIN, 1, &main_key().public());
    let forged = NoteSignature::new(ORIGIN, id, &spare_key().sign(body.as_bytes())).unwrap();
    let forged = SignedNote::new(&body, vec![forged]).unwrap();
    assert_eq!(
        Checkpoint::verify(&forged.encode(), ORIGIN, &keys()),
        Err(CheckpointError::Signature)
    );
    for len in [1, 63, 65, 72] {
        let line = NoteSignature::new(ORIGIN, id, &vec![1; len]).unwrap();
        let note = SignedNote::new(&body, vec![line]).unwrap();
        assert_eq!(
            Checkpoint::verify(&note.encode(), ORIGIN, &keys()),
            Err(CheckpointError::Signature)
        );
    }
}

#[test]
fn a_body_has_one_spelling() {
    let root = head(7).root().to_base64();
    let zero = empty_root().to_base64();
    let good = format!("{ORIGIN}\n7\n{root}\n");
    assert_eq!(Checkpoint::parse_body(&good).unwrap(), head(7));
    assert_eq!(
        Checkpoint::parse_body(&format!("a\n{}\n{root}\n", u64::MAX))
            .unwrap()
            .size(),
        u64::MAX
    );
    assert_eq!(
        Checkpoint::parse_body(&format!("a\n0\n{zero}\n"))
            .unwrap()
            .root(),
        empty_root()
    );
    let wrong = [
        (String::new(), CheckpointError::Lines),
        (format!("{ORIGIN}\n7\n"), CheckpointError::Lines),
        (format!("{ORIGIN}\n7\n{root}"), CheckpointError::Lines),
        (format!("{good}extension\n"), CheckpointError::Lines),
        (format!("{good}\n"), CheckpointError::Lines),
        (format!("{good}x"), CheckpointError::Lines),
        (format!("\n7\n{root}\n"), CheckpointError::Origin),
        (format!("a b\n7\n{root}\n"), CheckpointError::Origin),
        (format!("a+b\n7\n{root}\n"), CheckpointError::Origin),
        (format!("a\r\n7\n{root}\n"), CheckpointError::Origin),
        (format!("a\n\n{root}\n"), CheckpointError::Size),
        (format!("a\n07\n{root}\n"), CheckpointError::Size),
        (format!("a\n+7\n{root}\n"), CheckpointError::Size),
        (format!("a\n-7\n{root}\n"), CheckpointError::Size),
        (format!("a\n 7\n{root}\n"), CheckpointError::Size),
        (format!("a\n7 \n{root}\n"), CheckpointError::Size),
        (format!("a\n0x7\n{root}\n"), CheckpointError::Size),
        (format!("a\n7\r\n{root}\n"), CheckpointError::Size),
        (format!("a\n٧\n{root}\n"), CheckpointError::Size),
        (
            format!("a\n18446744073709551616\n{root}\n"),
            CheckpointError::Size,
        ),
        (format!("a\n00\n{zero}\n"), CheckpointError::Size),
        (format!("a\n0\n{root}\n"), CheckpointError::EmptyRoot),
        ("a\n7\n\n".to_owned(), CheckpointError::RootHash),
        (
            format!("a\n7\n{}\n", &root[..43]),
            CheckpointError::RootHash,
        ),
        (format!("a\n7\n{root}=\n"), CheckpointError::RootHash),
        (format!("a\n7\n {root}\n"), CheckpointError::RootHash),
        // 32 bytes with the unused bits set; 33 bytes; 31 bytes; the URL alphabet.
        (
            format!("a\n7\n{}B=\n", "A".repeat(42)),
            CheckpointError::RootHash,
        ),
        (
            format!("a\n7\n{}\n", "A".repeat(44)),
            CheckpointError::RootHash,
        ),
        (
            format!("a\n7\n{}==\n", "A".repeat(42)),
            CheckpointError::RootHash,
        ),
        (
            format!("a\n7\n{}_A=\n", "A".repeat(41)),
            CheckpointError::RootHash,
        ),
    ];
    for (body, error) in wrong {
        assert_eq!(Checkpoint::parse_body(&body), Err(error), "{body:?}");
    }
    assert_eq!(
        Checkpoint::new("", 0, empty_root()),
        Err(CheckpointError::Origin)
    );
    assert_eq!(
        Checkpoint::new("a", 0, Hash([0; 32])),
        Err(CheckpointError::EmptyRoot)
    );
}

#[test]
fn named_witnesses_cosign_once_each_in_any_order() {
    let checkpoint = head(7);
    let body = checkpoint.body();
    let note = signed(&checkpoint, &main_key());
    let (a, b) = (Key::new(11), Key::new(12));
    let witnesses = [a.witness("a.example/w"), b.witness("b.example/w")];
    let verify = |lines: Vec<NoteSignature>| {
        Checkpoint::verify_cosigned(&with_lines(&note, lines), ORIGIN, &keys(), &witnesses)
            .map(|(_, _, seen)| seen)
    };

    let by_a = a.cosign("a.example/w", 1_700_000_000, &body);
    let by_b = b.cosign("b.example/w", TIMESTAMP_MAX, &body);
    assert_eq!(verify(vec![by_a.clone()]), Ok(vec![(0, 1_700_000_000)]));
    assert_eq!(
        verify(vec![by_b.clone(), by_a.clone()]),
        Ok(vec![(1, TIMESTAMP_MAX), (0, 1_700_000_000)])
    );

    let twice = vec![
        by_a.clone(),
        by_b.clone(),
        a.cosign("a.example/w", 1_700_000_001, &body),
    ];
    assert_eq!(
        verify(twice),
        Err(CheckpointError::UnexpectedLine { line: 3 })
    );
    let stranger = vec![by_a.clone(), Key::new(13).cosign("c.example/w", 5, &body)];
    assert_eq!(
        verify(stranger),
        Err(CheckpointError::UnexpectedLine { line: 2 })
    );
    // The right key under another's name, and the right name with another key.
    assert_eq!(
        verify(vec![a.cosign("b.example/w", 5, &body)]),
        Err(CheckpointError::UnexpectedLine { line: 1 })
    );
    // A plain note signature by the witness's key is not a cosignature.
    assert_eq!(
        verify(vec![a.line("a.example/w", &body)]),
        Err(CheckpointError::UnexpectedLine { line: 1 })
    );

    let refused = |line: &NoteSignature, error| {
        assert_eq!(
            verify(vec![line.clone()]),
            Err(CheckpointError::Cosignature { line: 1, error })
        );
    };
    let id = by_a.key_id();
    let remade = |bytes: &[u8]| NoteSignature::new("a.example/w", id, bytes).unwrap();
    let mut other_time = by_a.signature().to_vec();
    other_time[7] ^= 1;
    refused(&remade(&other_time), CosignatureError::Signature);
    refused(
        &a.cosign("a.example/w", 5, &head(6).body()),
        CosignatureError::Signature,
    );
    refused(&remade(&by_a.signature()[..71]), CosignatureError::Form);
    refused(&remade(&by_a.signature()[..64]), CosignatureError::Form);
    refused(&remade(&by_a.signature()[..7]), CosignatureError::Form);
    refused(
        &remade(&[by_a.signature(), &[0]].concat()),
        CosignatureError::Form,
    );
    for timestamp in [0, TIMESTAMP_MAX + 1, u64::MAX] {
        let signature = a.sign(&cosignature::message(timestamp, &body));
        refused(
            &remade(&[&timestamp.to_be_bytes()[..], &signature].concat()),
            CosignatureError::Timestamp { timestamp },
        );
        assert_eq!(
            cosignature::line(&witnesses[0], timestamp, &signature),
            Err(CosignatureError::Timestamp { timestamp })
        );
    }
    assert_eq!(
        cosignature::verify(&witnesses[1], &by_a, &body),
        Err(CosignatureError::OtherKey)
    );
    // A cosignature in the place of the log's own line.
    let alone = SignedNote::new(&body, vec![by_a]).unwrap().encode();
    assert_eq!(
        Checkpoint::verify_cosigned(&alone, ORIGIN, &keys(), &witnesses),
        Err(CheckpointError::OtherKey)
    );
}

#[test]
fn the_cosigned_message_is_the_specifications() {
    let body =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    Checkpoint::parse_body(body).unwrap();
    let message = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    assert_eq!(
        cosignature::message(1_679_315_147, body),
        message.as_bytes()
    );
}

#[test]
fn witnesses_are_named_by_verifier_keys_of_their_type() {
    let public = Key::new(3).public();
    let vkey = |key_type| {
        VerifierKey::new("w.example", key_type, public)
            .unwrap()
            .encode()
    };
    let witness = WitnessKey::parse_vkey(&vkey(KeyType::Cosignature)).unwrap();
    assert_eq!(
        (witness.name(), witness.public_key()),
        ("w.example", &public)
    );
    assert_eq!(witness, WitnessKey::new("w.example", public).unwrap());
    assert_eq!(
        WitnessKey::parse_vkey(&vkey(KeyType::Ed25519)),
        Err(NoteError::KeyType { signature_type: 1 })
    );
    assert_eq!(WitnessKey::new("", public), Err(NoteError::KeyName));
    assert_ne!(
        key_id("w.example", COSIGNATURE, &public),
        key_id("w.example", 1, &public)
    );
}

#[test]
fn errors_do_not_repeat_what_a_terminal_would_obey() {
    let hostile = format!("evil\u{7f}\u{9b}31m\u{202e}{}", "x".repeat(60_000));
    let body = format!("{hostile}\n7\n{}\n", head(7).root().to_base64());
    let note = SignedNote::new(&body, vec![main_key().line("a", &body)]).unwrap();
    let error = Checkpoint::verify(&note.encode(), ORIGIN, &keys())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(r"evil\u{7f}\u{9b}31m\u{202e}xxx") && error.is_ascii() && error.len() < 400,
        "{error}"
    );
}

proptest! {
    #[test]
    fn a_spoiled_body_is_refused_or_still_one_spelling(size in any::<u64>(), shift in 0_u32..64, at in any::<prop::sample::Index>(), with in "[\n0-9A-Za-z+= ]{0,2}") {
        let checkpoint = Checkpoint::new("log.example/1", (size >> shift).max(1), Hash([7; 32])).unwrap();
        let mut body = checkpoint.body();
        prop_assert_eq!(Checkpoint::parse_body(&body).unwrap(), checkpoint);
        let at = at.index(body.len());
        body.replace_range(at..=at, &with);
        if let Ok(parsed) = Checkpoint::parse_body(&body) {
            prop_assert_eq!(parsed.body(), body);
        }
    }
}
