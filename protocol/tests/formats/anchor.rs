//! Anchor objects: one encoding, and bounds.

use proptest::prelude::*;
use protocol::anchor::{ANCHOR_LEN_MAX, AnchorError, AnchorObject};
use serde_json::{Value, json};

use crate::fixture::ELECTION;
use crate::vectors::vector_cases;

const NOTE: &[u8] = b"origin\n5\nroot\n\n\xe2\x80\x94 origin AAAA\n";

/// The layout as the specification draws it.
struct Raw {
    label: &'static [u8],
    election: [u8; 32],
    n: u64,
    sizes: (u64, u64),
    entries: Vec<Vec<u8>>,
    note_len: u32,
    note: Vec<u8>,
}

impl Raw {
    fn new(n: u64) -> Self {
        Self {
            label: b"tallyroot/v1/anchor\0",
            election: *ELECTION.id().as_bytes(),
            n,
            sizes: (2 * n, 2 * n + 2),
            entries: vec![b"head".to_vec(), b"notice".to_vec()],
            note_len: NOTE.len() as u32,
            note: NOTE.to_vec(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = [self.label, &self.election].concat();
        for number in [self.n, self.sizes.0, self.sizes.1] {
            out.extend(number.to_be_bytes());
        }
        for entry in &self.entries {
            out.extend((entry.len() as u16).to_be_bytes());
            out.extend(entry);
        }
        out.extend(self.note_len.to_be_bytes());
        out.extend(&self.note);
        out
    }

    fn with(n: u64, edit: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut raw = Self::new(n);
        edit(&mut raw);
        raw.encode()
    }

    /// An object of so many bytes, whose note is one byte.
    fn of_len(len: usize) -> Vec<u8> {
        Self::with(1, |raw| {
            raw.note = vec![b'x'];
            raw.note_len = 1;
            raw.entries.clear();
            let mut left = len - raw.encode().len();
            while left > 0 {
                // Two bytes of length and the entry; what is left always has room for one more.
                let taken = if left > 65_537 { 65_530 } else { left };
                raw.entries.push(vec![1; taken - 2]);
                left -= taken;
            }
            raw.sizes.1 = raw.sizes.0 + raw.entries.len() as u64;
        })
    }

    fn note(len: usize) -> Vec<u8> {
        Self::with(1, |raw| {
            raw.note = vec![b'x'; len];
            raw.note_len = len as u32;
        })
    }
}

#[rustfmt::skip]
fn all() -> Vec<(&'static str, Vec<u8>, bool)> {
    let good = Raw::new(1).encode();
    let mut longer = good.clone();
    longer.push(0);
    vec![
        ("object 0", Raw::new(0).encode(), true),
        ("object 1", good.clone(), true),
        ("nothing", vec![], false),
        ("another label", Raw::with(1, |raw| raw.label = b"tallyroot/v1/ANCHOR\0"), false),
        ("a label without its zero", Raw::with(1, |raw| raw.label = b"tallyroot/v1/anchor "), false),
        ("another election", Raw::with(1, |raw| raw.election[31] ^= 1), false),
        ("object 0 that starts later", Raw::with(0, |raw| raw.sizes = (1, 3)), false),
        ("more objects before it than entries", Raw::with(1, |raw| raw.n = 3), false),
        ("no entry", Raw::with(1, |raw| { raw.entries.clear(); raw.sizes = (2, 2); }), false),
        ("an empty entry", Raw::with(1, |raw| raw.entries[0].clear()), false),
        ("an entry fewer than the sizes say", Raw::with(1, |raw| { raw.entries.pop(); }), false),
        ("an entry more than the sizes say", Raw::with(1, |raw| raw.entries.push(vec![1])), false),
        ("a size that shrinks", Raw::with(1, |raw| raw.sizes = (4, 2)), false),
        ("sizes beyond any object", Raw::with(1, |raw| raw.sizes = (2, u64::MAX)), false),
        ("no note", Raw::note(0), false),
        ("a note shorter than it says", Raw::with(1, |raw| raw.note_len += 1), false),
        ("a note longer than it says", Raw::with(1, |raw| raw.note_len -= 1), false),
        ("a byte follows", longer, false),
        ("ends inside the header", good[..60].to_vec(), false),
    ]
}

#[test]
fn vectors() {
    let cases: Vec<Value> = all()
        .into_iter()
        .map(
            |(why, bytes, valid)| json!({"why": why, "anchor": hex::encode(bytes), "valid": valid}),
        )
        .collect();
    let about = "Anchor objects of the election `base` of manifest.json, specs/protocol.md section 10. `valid`: whether the bytes are an anchor object; entries and note are not judged.";
    for case in vector_cases("anchor.json", about, &cases) {
        let bytes = hex::decode(case["anchor"].as_str().unwrap()).unwrap();
        let anchor = AnchorObject::decode(&bytes, &ELECTION.id());
        assert_eq!(anchor.is_ok(), case["valid"], "{}", case["why"]);
        if let Ok(anchor) = anchor {
            assert_eq!(anchor.encode().unwrap(), bytes, "{}", case["why"]);
        }
    }
}

#[test]
fn notes_and_objects_are_bounded() {
    let id = ELECTION.id();
    assert!(AnchorObject::decode(&Raw::note(65_536), &id).is_ok());
    assert!(matches!(
        AnchorObject::decode(&Raw::note(65_537), &id),
        Err(AnchorError::Sizes(_))
    ));
    let longest = Raw::of_len(ANCHOR_LEN_MAX);
    assert_eq!(longest.len(), ANCHOR_LEN_MAX);
    let object = AnchorObject::decode(&longest, &id).unwrap();
    assert!(object.encode().unwrap() == longest);
    let longer = AnchorObject {
        note: &[b'x'; 2],
        ..object
    };
    let len = ANCHOR_LEN_MAX + 1;
    assert_eq!(longer.encode(), Err(AnchorError::TooLong { len }));
    assert_eq!(
        AnchorObject::decode(&Raw::of_len(len), &id),
        Err(AnchorError::TooLong { len })
    );
}

#[test]
fn nothing_is_encoded_that_no_decoder_accepts() {
    let bytes = Raw::new(1).encode();
    let good = AnchorObject::decode(&bytes, &ELECTION.id()).unwrap();
    let big = vec![1; 65_535];
    for wrong in [
        AnchorObject {
            new_size: 9,
            ..good.clone()
        },
        AnchorObject {
            n: 0,
            ..good.clone()
        },
        AnchorObject {
            note: b"",
            ..good.clone()
        },
        AnchorObject {
            entries: vec![b"", b"b"],
            ..good.clone()
        },
        AnchorObject {
            new_size: good.old_size + 256,
            entries: vec![&big; 256],
            ..good.clone()
        },
    ] {
        assert!(wrong.encode().is_err());
    }
}

proptest! {
    #[test]
    fn accepted_bytes_encode_identically(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
        cut in 0usize..3,
    ) {
        let mut bytes = Raw::new(1).encode();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() - cut);
        if let Ok(anchor) = AnchorObject::decode(&bytes, &ELECTION.id()) {
            prop_assert_eq!(anchor.encode().unwrap(), bytes);
        }
    }
}
