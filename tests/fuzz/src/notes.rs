//! Text formats: signed notes, keys, checkpoints, cosignatures, proof files; what a log sends to a witness.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use protocol::anchor::AnchorObject;
use protocol::checkpoint::Checkpoint;
use protocol::cosignature::WitnessKey;
use protocol::evidence::HeldCheckpoint;
use protocol::ids::ElectionId;
use protocol::merkle::Hash;
use protocol::note::{KeyType, NOTE_BYTES_MAX, NoteSignature, SignedNote, VerifierKey};
use protocol::tlog_proof::TlogProof;
use serde_json::Value;
use verifier_cli::witness::request::{AddCheckpoint, PROOF_LINES_MAX, Submitted};

use crate::chosen;
use crate::fixture::{base, bytes, cases, string};

pub(crate) const NOTE: u8 = 0;
pub(crate) const LINE: u8 = 1;
pub(crate) const VKEY: u8 = 2;
pub(crate) const BODY: u8 = 3;
pub(crate) const CHECKPOINT: u8 = 4;
pub(crate) const PROOF: u8 = 5;
pub(crate) const HELD: u8 = 6;
pub(crate) const REQUEST: u8 = 7;
pub(crate) const NAMES: u8 = 8;
const ALL: u8 = 9;

/// A log of the vectors, under whose keys checkpoints and proofs are verified.
struct Log {
    origin: String,
    keys: Vec<[u8; 32]>,
    witnesses: Vec<WitnessKey>,
    /// The texts in the vectors that its keys signed.
    signed: BTreeSet<String>,
    /// The signature lines in the vectors, right or wrong.
    lines: BTreeSet<String>,
}

impl Log {
    fn keys(case: &Value) -> Vec<[u8; 32]> {
        let keys = case["keys"].as_array().unwrap().iter();
        keys.map(|key| {
            let key = hex::decode(key.as_str().unwrap()).unwrap();
            key.try_into().unwrap()
        })
        .collect()
    }
}

static LOG: LazyLock<Log> = LazyLock::new(|| {
    let all = cases("checkpoint", "cases");
    let first = all
        .iter()
        .find(|case| case["witnesses"].is_array() && case["valid"] == true)
        .unwrap();
    let (origin, keys) = (string(first, "origin"), Log::keys(first));
    let witnesses: Vec<WitnessKey> = first["witnesses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| WitnessKey::parse_vkey(key.as_str().unwrap()).unwrap())
        .collect();
    let proofs = cases("tlog_proof", "cases");
    let notes: Vec<SignedNote> = proofs
        .iter()
        .filter_map(input)
        .filter_map(|proof| TlogProof::parse(&proof).ok())
        .map(|proof| proof.checkpoint().to_vec())
        .chain(all.iter().filter_map(input))
        .filter_map(|note| SignedNote::parse(&note).ok())
        .collect();
    let is_signed = |note: &&SignedNote| {
        Checkpoint::verify_cosigned(&note.encode(), &origin, &keys, &witnesses).is_ok()
    };
    let signed = notes.iter().filter(is_signed);
    let lines = notes.iter().flat_map(SignedNote::signatures);
    Log {
        signed: signed.map(|note| note.text().to_owned()).collect(),
        lines: lines.map(NoteSignature::encode).collect(),
        origin,
        keys,
        witnesses,
    }
});

/// The texts that logs of `base` signed, in any receipt or results file of the vectors.
pub(crate) static SIGNED_OF_BASE: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    notes_of_base()
        .iter()
        .map(|note| SignedNote::parse(note).unwrap().text().to_owned())
        .collect()
});

/// The notes in the vectors that logs of `base` signed, wherever they are.
pub(crate) fn notes_of_base() -> BTreeSet<Vec<u8>> {
    let anchors = cases("anchor", "cases");
    anchors
        .iter()
        .map(|case| bytes(case, "anchor"))
        .filter_map(|object| {
            Some(
                AnchorObject::decode(&object, &base().id())
                    .ok()?
                    .note
                    .to_vec(),
            )
        })
        .chain(
            proofs_of_base()
                .iter()
                .map(|proof| proof.checkpoint().to_vec()),
        )
        .filter(|note| HeldCheckpoint::read(note, base()).is_ok())
        .collect()
}

/// The proofs in the receipts and results of the vectors, under checkpoints that logs of `base` signed.
pub(crate) fn proofs_of_base() -> Vec<TlogProof> {
    fn strings(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(values) => values.iter().for_each(|value| strings(value, found)),
            Value::Object(members) => members.values().for_each(|value| strings(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut texts = Vec::new();
    for name in ["receipt", "results"] {
        for case in cases(name, "cases") {
            if let Ok(document) = serde_json::from_str(case[name].as_str().unwrap_or_default()) {
                strings(&document, &mut texts);
            }
        }
    }
    texts
        .iter()
        .filter_map(|text| TlogProof::parse(text.as_bytes()).ok())
        .filter(|proof| HeldCheckpoint::read(proof.checkpoint(), base()).is_ok())
        .collect()
}

/// Decodes a text format.
pub fn notes(data: &[u8]) {
    let Some((what, rest)) = chosen(data, ALL) else {
        return;
    };
    let text = std::str::from_utf8(rest);
    match what {
        NOTE => note(rest),
        LINE => _ = text.map(line),
        VKEY => _ = text.map(vkey),
        BODY => _ = text.map(body),
        CHECKPOINT => checkpoint(rest),
        PROOF => proof(rest),
        HELD => held(rest),
        REQUEST => request(rest),
        _ => _ = text.map(names),
    }
}

fn note(bytes: &[u8]) {
    let Ok(note) = SignedNote::parse(bytes) else {
        return;
    };
    assert!(bytes.len() <= NOTE_BYTES_MAX);
    assert_eq!(note.encode(), bytes);
    assert_eq!(
        SignedNote::new(note.text(), note.signatures().to_vec()).as_ref(),
        Ok(&note)
    );
    for signature in note.signatures() {
        assert_eq!(
            NoteSignature::parse(&signature.encode()).as_ref(),
            Ok(signature)
        );
    }
    if let Ok(twice) = note.with_signatures(note.signatures().to_vec()) {
        assert_eq!(SignedNote::parse(&twice.encode()), Ok(twice));
    }
}

fn line(text: &str) {
    if let Ok(line) = NoteSignature::parse(text) {
        assert_eq!(line.encode(), text);
        let again = NoteSignature::new(line.name(), line.key_id(), line.signature());
        assert_eq!(again.as_ref(), Ok(&line));
        for witness in &LOG.witnesses {
            // No text of fewer than three lines was ever cosigned.
            assert!(protocol::cosignature::verify(witness, &line, "").is_err());
        }
    }
}

fn vkey(text: &str) {
    let witness = WitnessKey::parse_vkey(text);
    let Ok(key) = VerifierKey::parse(text) else {
        assert!(witness.is_err());
        return;
    };
    assert_eq!(key.encode(), text);
    assert_eq!(
        VerifierKey::new(key.name(), key.key_type(), *key.public_key()).as_ref(),
        Ok(&key)
    );
    assert_eq!(witness.is_ok(), key.key_type() == KeyType::Cosignature);
}

fn body(text: &str) {
    if let Ok(checkpoint) = Checkpoint::parse_body(text) {
        assert_eq!(checkpoint.body(), text);
        let again = Checkpoint::new(checkpoint.origin(), checkpoint.size(), checkpoint.root());
        assert_eq!(again.as_ref(), Ok(&checkpoint));
    }
}

fn checkpoint(bytes: &[u8]) {
    let log = &*LOG;
    let alone = Checkpoint::verify(bytes, &log.origin, &log.keys);
    let cosigned = Checkpoint::verify_cosigned(bytes, &log.origin, &log.keys, &log.witnesses);
    if let Ok((checkpoint, key)) = &alone {
        assert_eq!(cosigned, Ok((checkpoint.clone(), *key, Vec::new())));
    }
    if let Ok((checkpoint, _, witnesses)) = cosigned {
        assert!(
            log.signed.contains(&checkpoint.body()),
            "a checkpoint that nobody signed"
        );
        assert_eq!(alone.is_ok(), witnesses.is_empty());
        // Its lines can be left out and put in another order, and no more than that.
        let note = SignedNote::parse(bytes).unwrap();
        assert_eq!(note.text(), checkpoint.body());
        assert_eq!(note.signatures().len(), 1 + witnesses.len());
        let mut lines = note.signatures().iter();
        assert!(lines.all(|line| log.lines.contains(&line.encode())));
    }
}

fn proof(bytes: &[u8]) {
    let Ok(proof) = TlogProof::parse(bytes) else {
        return;
    };
    assert_eq!(proof.encode(), bytes);
    assert_eq!(
        TlogProof::new(
            proof.extra().map(<[u8]>::to_vec),
            proof.index(),
            proof.proof().to_vec(),
            proof.checkpoint().to_vec()
        )
        .as_ref(),
        Ok(&proof)
    );
    let log = &*LOG;
    let leaf = proof.extra().map(protocol::merkle::leaf_hash);
    let leaf = leaf.unwrap_or(Hash([0; 32]));
    let alone = proof.verify(&leaf, &log.origin, &log.keys);
    let cosigned = proof.verify_cosigned(&leaf, &log.origin, &log.keys, &log.witnesses);
    assert!(cosigned.is_ok() || alone.is_err());
    if let Ok((checkpoint, ..)) = cosigned {
        assert!(proof.index() < checkpoint.size());
        assert!(log.signed.contains(&checkpoint.body()));
        // The logs of the vectors hold `entry 0`, `entry 1`, …
        assert_eq!(
            proof.extra().map(<[u8]>::to_vec),
            Some(format!("entry {}", proof.index()).into_bytes())
        );
    }
}

fn held(bytes: &[u8]) {
    let Ok(held) = HeldCheckpoint::read(bytes, base()) else {
        return;
    };
    assert!(
        SIGNED_OF_BASE.contains(&held.checkpoint.body()),
        "a checkpoint that nobody signed"
    );
    // What is kept of it is read as the same.
    assert_eq!(HeldCheckpoint::read(&held.note, base()), Ok(held));
}

fn request(bytes: &[u8]) {
    if let Ok(submitted) = Submitted::parse(bytes) {
        let start = format!(
            "{}\n{}\n{}\n",
            submitted.origin,
            submitted.size,
            submitted.root.to_base64()
        );
        assert!(submitted.note.text().starts_with(&start));
    }
    let Ok(request) = AddCheckpoint::parse(bytes) else {
        return;
    };
    assert!(request.proof.len() <= PROOF_LINES_MAX);
    let proof = request.proof.iter().map(|hash| hash.to_base64() + "\n");
    let mut again = format!("old {}\n{}\n", request.old_size, proof.collect::<String>());
    again.push_str(&String::from_utf8(request.checkpoint.note.encode()).unwrap());
    assert_eq!(again.as_bytes(), bytes, "one request has one spelling");
}

fn names(text: &str) {
    if let Ok(id) = text.parse::<ElectionId>() {
        assert_eq!(id.to_string(), text);
    }
    if let Some(hash) = Hash::from_base64(text) {
        assert_eq!(hash.to_base64(), text);
    }
    if let Some(hash) = Hash::from_hex(text) {
        assert_eq!(hash.to_string(), text);
    }
    let verdict = protocol::text::check_label(text, 200);
    assert!(verdict.is_err() || (1..=200).contains(&text.len()));
}

/// The cases' members that are notes, as bytes.
pub(crate) fn input(case: &Value) -> Option<Vec<u8>> {
    if case["input_hex"].is_string() {
        return Some(bytes(case, "input_hex"));
    }
    Some(case["input"].as_str()?.as_bytes().to_vec())
}
