//! The forms of notes and verifier keys.

use proptest::prelude::*;
use protocol::ed25519;
use protocol::note::{
    KeyId, KeyType, NOTE_BYTES_MAX, NoteError, NoteSignature, SignedNote, VerifierKey, key_id,
};

use crate::support::{Key, ORIGIN};

/// The example of C2SP signed-note: verifier key and note.
pub(crate) const EXAMPLE_VKEY: &str =
    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
pub(crate) const EXAMPLE_NOTE: &str = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

/// The example at the top of C2SP signed-note, with an empty line in its text.
pub(crate) const POEM: &str = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";

#[test]
fn the_specifications_example_verifies() {
    let key = VerifierKey::parse(EXAMPLE_VKEY).unwrap();
    assert_eq!(
        (key.name(), key.key_type()),
        ("example.com/foo", KeyType::Ed25519)
    );
    assert_eq!(key.key_id().to_string(), "530d903a");
    assert_eq!(key.encode(), EXAMPLE_VKEY);

    let note = SignedNote::parse(EXAMPLE_NOTE.as_bytes()).unwrap();
    assert_eq!(note.encode(), EXAMPLE_NOTE.as_bytes());
    assert_eq!(note.text(), "This is an example message.\n");
    let [line] = note.signatures() else {
        panic!("one line")
    };
    assert_eq!((line.name(), line.key_id()), (key.name(), key.key_id()));
    let signature = line.signature().try_into().unwrap();
    ed25519::verify(key.public_key(), note.text().as_bytes(), signature).unwrap();
    ed25519::verify(key.public_key(), b"This is another message.\n", signature).unwrap_err();
}

#[test]
fn the_text_ends_at_the_last_empty_line() {
    let note = SignedNote::parse(POEM.as_bytes()).unwrap();
    assert!(note.text().ends_with("sole:\n\ned è subito sera.\n"));
    assert_eq!(note.encode(), POEM.as_bytes());
    // A text that itself ends in an empty line, and one that is nothing else.
    for text in ["a\n\n", "\n", "\n\n\n", "— a AAAAAAA=\n\n"] {
        let line = Key::new(1).line("a", text);
        let note = SignedNote::new(text, vec![line]).unwrap();
        assert_eq!(SignedNote::parse(&note.encode()).unwrap(), note);
    }
}

#[test]
fn other_spellings_of_a_note_are_refused() {
    let blob = "AAAAAQI=";
    let line = format!("— name {blob}\n");
    let good = format!("text\n\n{line}");
    SignedNote::parse(good.as_bytes()).unwrap();
    let wrong = [
        (String::new(), NoteError::Text),
        ("text\n".into(), NoteError::Text),
        ("text\n\n".into(), NoteError::SignatureCount),
        ("text\n\n\n".into(), NoteError::SignatureCount),
        (line.clone(), NoteError::Text),
        (format!("\n{line}"), NoteError::Text),
        (format!("text\n{line}"), NoteError::Text),
        (format!("text{line}"), NoteError::Text),
        (good.trim_end().into(), NoteError::SignatureLine),
        (format!("{good}\n"), NoteError::SignatureCount),
        (format!("{good}x\n"), NoteError::SignatureLine),
        (
            format!("{good}{}", line.trim_end()),
            NoteError::SignatureLine,
        ),
        (good.replace('\n', "\r\n"), NoteError::ControlCharacter),
        (good.replace("text", "te\txt"), NoteError::ControlCharacter),
        (good.replace("text", "te\0xt"), NoteError::ControlCharacter),
        (good.replace("name", "na\tme"), NoteError::ControlCharacter),
        (good.replace('—', "-"), NoteError::SignatureLine),
        (good.replace('—', "–"), NoteError::SignatureLine),
        (good.replace("— ", "—"), NoteError::SignatureLine),
        (good.replace("— ", "—  "), NoteError::SignatureLine),
        (good.replace("— ", " — "), NoteError::SignatureLine),
        (good.replace("— ", "—\u{a0}"), NoteError::SignatureLine),
        (good.replace("name ", "name"), NoteError::SignatureLine),
        (good.replace("name ", ""), NoteError::SignatureLine),
        (good.replace("name ", " "), NoteError::KeyName),
        (good.replace("name ", "name  "), NoteError::SignatureLine),
        (good.replace("name", "na+me"), NoteError::KeyName),
        (good.replace("name", "na\u{a0}me"), NoteError::KeyName),
        (good.replace("name", "na\u{85}me"), NoteError::KeyName),
        (good.replace("name", "na\u{3000}me"), NoteError::KeyName),
        (good.replace(blob, "AAAAAQI"), NoteError::SignatureLine),
        (good.replace(blob, "AAAAAQJ="), NoteError::SignatureLine),
        (good.replace(blob, "AAAAAQI=="), NoteError::SignatureLine),
        (good.replace(blob, "AAAAAQI= "), NoteError::SignatureLine),
        (good.replace(blob, "AAAA-QI="), NoteError::SignatureLine),
        (good.replace(blob, "AAA"), NoteError::SignatureLine),
        (good.replace(blob, ""), NoteError::SignatureLine),
        // Only a key ID, or not even that.
        (good.replace(blob, "AAAAAQ=="), NoteError::SignatureLine),
        (good.replace(blob, "AAAA"), NoteError::SignatureLine),
    ];
    for (note, error) in wrong {
        assert_eq!(SignedNote::parse(note.as_bytes()), Err(error), "{note:?}");
    }
    assert_eq!(SignedNote::parse(b"te\xffxt\n\n- "), Err(NoteError::Utf8));
    assert_eq!(SignedNote::new("text", vec![]), Err(NoteError::Text));
    assert_eq!(
        SignedNote::new("text\n", vec![]),
        Err(NoteError::SignatureCount)
    );
    assert_eq!(
        NoteSignature::new("name", KeyId([0; 4]), &[]),
        Err(NoteError::SignatureLine)
    );
    assert_eq!(
        NoteSignature::new("", KeyId([0; 4]), &[1]),
        Err(NoteError::KeyName)
    );
}

#[test]
fn notes_are_bounded() {
    let line = Key::new(1).line("a", "text\n");
    let note = SignedNote::new("text\n", vec![line.clone(); 100]).unwrap();
    assert_eq!(SignedNote::parse(&note.encode()).unwrap(), note);
    assert_eq!(
        note.with_signatures([line.clone()]),
        Err(NoteError::SignatureCount)
    );
    let too_many = [note.encode(), line.encode().into_bytes()].concat();
    assert_eq!(SignedNote::parse(&too_many), Err(NoteError::SignatureCount));

    let overhead = "\n\n".len() + line.encode().len();
    let longest = "x".repeat(NOTE_BYTES_MAX - overhead) + "\n";
    let note = SignedNote::new(&longest, vec![line.clone()]).unwrap();
    assert_eq!(note.encode().len(), NOTE_BYTES_MAX);
    assert_eq!(SignedNote::parse(&note.encode()).unwrap(), note);
    let len = NOTE_BYTES_MAX + 1;
    assert_eq!(
        SignedNote::new(&format!("x{longest}"), vec![line]),
        Err(NoteError::TooLong { len })
    );
    let too_long = [b"x".to_vec(), note.encode()].concat();
    assert_eq!(
        SignedNote::parse(&too_long),
        Err(NoteError::TooLong { len })
    );
    assert_eq!(
        NoteSignature::parse(&"x".repeat(len)),
        Err(NoteError::TooLong { len })
    );
    assert_eq!(
        VerifierKey::parse(&"x".repeat(len)),
        Err(NoteError::TooLong { len })
    );
}

#[test]
fn other_spellings_of_a_verifier_key_are_refused() {
    let key = VerifierKey::new(ORIGIN, KeyType::Cosignature, Key::new(3).public()).unwrap();
    let good = key.encode();
    assert_eq!(VerifierKey::parse(&good), Ok(key.clone()));
    assert_eq!(key.to_string(), good);
    assert_eq!(key.key_id(), key_id(ORIGIN, 4, key.public_key()));
    let id = key.key_id().to_string();
    let material = good.rsplit_once('+').unwrap().1.to_owned();
    let wrong = [
        String::new(),
        "++".into(),
        ORIGIN.into(),
        good.replacen(&id, "00000000", 1),
        good.replacen(&id, &id.to_uppercase(), 1),
        good.replacen(&id, &id[1..], 1),
        good.replacen(ORIGIN, "vote.example/other", 1),
        good.replacen(ORIGIN, "", 1),
        good.replacen(ORIGIN, "a b", 1),
        good.replacen(&material, &material[1..], 1),
        good.replacen(&material, "", 1),
        good.trim_end_matches('=').to_owned() + "==",
        format!("{good}\n"),
        format!(" {good}"),
        format!("{good}+"),
    ];
    for text in wrong {
        assert_ne!(text, good, "a test of nothing");
        assert!(VerifierKey::parse(&text).is_err(), "{text:?}");
    }
    // Types that are not used here: an unknown one, and ML-DSA-44.
    for (signature_type, text) in [
        (2, "PeterNeumann+c74f20a3+ApMb4k9wXvqvqA8tR0Hn1w=="),
        (6, "w+00000000+BgAA"),
    ] {
        assert_eq!(
            VerifierKey::parse(text),
            Err(NoteError::KeyType { signature_type })
        );
    }
    assert_eq!(
        VerifierKey::new("a b", KeyType::Ed25519, [0; 32]),
        Err(NoteError::KeyName)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever was done to a note: it is refused, or it is the one spelling of what was read.
    #[test]
    fn a_spoiled_note_is_refused_or_still_one_spelling(
        text in "(\\PC{0,12}\n){1,4}", name in "[a-z.—/]{1,8}", signature in prop::collection::vec(any::<u8>(), 1..12), lines in 1_usize..4,
        at in any::<prop::sample::Index>(), cut in 0_usize..3, with in "[\n —+=aAQ\\x00]{0,2}",
    ) {
        let line = NoteSignature::new(&name, KeyId([1, 2, 3, 4]), &signature).unwrap();
        let note = SignedNote::new(&text, vec![line; lines]).unwrap();
        let mut bytes = note.encode();
        prop_assert_eq!(&SignedNote::parse(&bytes).unwrap(), &note);
        let start = at.index(bytes.len());
        let end = (start + cut).min(bytes.len());
        bytes.splice(start..end, with.into_bytes());
        if let Ok(parsed) = SignedNote::parse(&bytes) {
            prop_assert_eq!(parsed.encode(), bytes);
        }
    }

    #[test]
    fn a_spoiled_verifier_key_is_refused_or_still_one_spelling(seed in any::<u8>(), at in any::<prop::sample::Index>(), with in "[a-f0-9A-Z+/= ]{0,2}") {
        let key = VerifierKey::new("w.example", KeyType::Cosignature, Key::new(seed).public()).unwrap();
        let mut text = key.encode();
        prop_assert_eq!(VerifierKey::parse(&text).unwrap(), key);
        let at = at.index(text.len());
        text.replace_range(at..=at, &with);
        if let Ok(parsed) = VerifierKey::parse(&text) {
            prop_assert_eq!(parsed.encode(), text);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = SignedNote::parse(&bytes);
        let _ = VerifierKey::parse(&String::from_utf8_lossy(&bytes));
    }
}
