//! The inputs that fuzzing starts from: the published vectors, each put as the target takes it.

use protocol::dispute::{Dispute, HeadExhibit, LedgerExhibit};
use protocol::entry::Entry;
use protocol::evidence::{HeldCheckpoint, SplitView};
use protocol::ids::LogId;
use protocol::merkle::Hash;
use protocol::receipt::Receipt;
use protocol::tlog_proof::TlogProof;
use serde_json::{Value, json};

use crate::fixture::{ELECTIONS, base, bytes, cases};
use crate::trees::TREES;
use crate::{documents, entries, evidence_cases, files, notes};

/// The seeds of a target.
#[must_use]
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "audit" => audits(),
        "documents" => of_documents(),
        "entries" => of_entries(),
        "files" => files::seeds(),
        "notes" => of_notes(),
        "proofs" => of_proofs(),
        other => panic!("no target {other:?}"),
    }
}

fn seed(what: u8, rest: impl AsRef<[u8]>) -> Vec<u8> {
    [&[what], rest.as_ref()].concat()
}

fn of_entries() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for case in cases("entry", "cases") {
        seeds.push(seed(entries::ENTRY, seed(0, bytes(&case, "entry"))));
    }
    for case in cases("ballot", "cases") {
        let ballot = bytes(&case, "ballot");
        // In every kind of contest that the elections have.
        for election in 0..u8::try_from(ELECTIONS.len()).unwrap() {
            seeds.push(seed(entries::BALLOT, seed(election, &ballot)));
        }
    }
    for case in cases("batch", "cases") {
        seeds.push(seed(entries::BATCH, bytes(&case, "batch")));
    }
    for case in cases("anchor", "cases") {
        seeds.push(seed(entries::ANCHOR, bytes(&case, "anchor")));
    }
    for case in cases("tiles", "cases") {
        if case["kind"] == "bundle" {
            let width = u16::try_from(case["width"].as_u64().unwrap()).unwrap_or(u16::MAX);
            seeds.push(seed(
                entries::BUNDLE,
                [&width.to_be_bytes(), bytes(&case, "bytes").as_slice()].concat(),
            ));
        }
    }
    for case in cases("grammar", "cases") {
        let name = case["log"].as_str().unwrap();
        let logs = base().logs();
        let log = logs.iter().position(|log| log.prefix() == name);
        let mut data = vec![u8::try_from(log.unwrap_or(logs.len())).unwrap()];
        for batch in case["batches"].as_array().unwrap() {
            let batch = batch.as_array().unwrap();
            data.push(u8::try_from(batch.len()).unwrap());
            for entry in batch {
                let entry = hex::decode(entry.as_str().unwrap()).unwrap();
                data.extend(u16::try_from(entry.len()).unwrap().to_be_bytes());
                data.extend(entry);
            }
        }
        seeds.push(seed(entries::GRAMMAR, data));
    }
    for case in cases("rsa", "keys") {
        seeds.push(seed(entries::SPKI, bytes(&case, "spki")));
    }
    for case in cases("rsa", "signatures") {
        let data = [bytes(&case, "signature"), bytes(&case, "message")].concat();
        seeds.push(seed(entries::RSA, data));
    }
    for case in cases("ed25519", "cases") {
        let parts = ["public_key", "signature", "message"].map(|part| bytes(&case, part));
        seeds.push(seed(entries::ED25519, parts.concat()));
    }
    seeds
}

fn of_notes() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for case in cases("note", "cases") {
        // Long ones are many lines of the same.
        if let Some(note) = notes::input(&case).filter(|note| note.len() < 4_096) {
            seeds.push(seed(notes::NOTE, note));
        }
        if let Some(key) = case["vkey"].as_str() {
            seeds.push(seed(notes::VKEY, key));
        }
    }
    for case in cases("checkpoint", "cases") {
        if let Some(note) = notes::input(&case) {
            seeds.push(seed(notes::CHECKPOINT, &note));
            if let Some((body, lines)) = String::from_utf8_lossy(&note).split_once("\n\n") {
                seeds.push(seed(notes::BODY, format!("{body}\n")));
                seeds.push(seed(notes::LINE, lines));
            }
            let note = String::from_utf8_lossy(&note).into_owned();
            let proof = Hash([7; 32]).to_base64();
            seeds.push(seed(notes::REQUEST, format!("old 7\n{proof}\n\n{note}")));
            seeds.push(seed(notes::REQUEST, format!("old 0\n\n{note}")));
        }
        for key in case["witnesses"].as_array().into_iter().flatten() {
            seeds.push(seed(notes::VKEY, key.as_str().unwrap()));
        }
    }
    for case in cases("tlog_proof", "cases") {
        if let Some(proof) = notes::input(&case).filter(|proof| proof.len() < 8_192) {
            seeds.push(seed(notes::PROOF, proof));
        }
    }
    for note in notes::notes_of_base() {
        seeds.push(seed(notes::HELD, note));
    }
    seeds.push(seed(notes::NAMES, base().id().to_string()));
    seeds.push(seed(notes::NAMES, Hash([3; 32]).to_base64()));
    seeds.push(seed(notes::NAMES, "Zürich, Kreis 4"));
    seeds
}

fn of_documents() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for case in cases("canonical_json", "cases") {
        seeds.push(seed(documents::CANONICAL, bytes(&case, "bytes")));
    }
    let text = |case: &Value, member: &str| case[member].as_str().map(str::to_owned);
    for case in cases("manifest", "cases") {
        // The many that are wrong differ from `base` in a few bytes each: a fuzzer finds those.
        if case["valid"] == true {
            seeds.extend(text(&case, "manifest").map(|text| seed(documents::MANIFEST, text)));
        }
    }
    for case in cases("results", "cases") {
        seeds.extend(text(&case, "results").map(|text| seed(documents::RESULTS, text)));
    }
    for case in cases("receipt", "cases") {
        if case["valid"] == true
            && let Some(receipt) = text(&case, "receipt")
        {
            seeds.extend(disputes(&receipt).map(|text| seed(documents::DISPUTE, text)));
            seeds.push(seed(documents::RECEIPT, receipt));
        }
    }
    seeds.extend(split_views().map(|text| seed(documents::SPLIT_VIEW, text)));
    for case in evidence_cases::cases() {
        let what = match case.kind.as_str() {
            "split-view" => documents::SPLIT_VIEW,
            _ => documents::DISPUTE,
        };
        seeds.push(seed(what, case.file));
    }
    for case in cases("entry", "cases") {
        if case["type"] == "vote" {
            use base64::Engine as _;
            let vote = base64::engine::general_purpose::STANDARD.encode(bytes(&case, "entry"));
            let body = json!({ "vote": vote }).to_string();
            seeds.push(seed(documents::BODY, body));
        }
    }
    seeds
}

/// Disputes over a receipt, in which the ledger shows the very trees that are in it.
pub(crate) fn disputes(receipt: &str) -> impl Iterator<Item = Vec<u8>> + use<> {
    let parsed = Receipt::parse(receipt.as_bytes()).unwrap();
    let exhibit = |proof: &str| {
        let proof = TlogProof::parse(proof.as_bytes()).unwrap();
        let held = HeldCheckpoint::read(proof.checkpoint(), base()).unwrap();
        LedgerExhibit {
            checkpoint: String::from_utf8(held.note).unwrap(),
            proof: Vec::new(),
            root: held.checkpoint.root().to_base64(),
        }
    };
    let bare = Dispute {
        election: base().id(),
        format: protocol::dispute::DISPUTE_FORMAT.to_owned(),
        head: None,
        heads: None,
        ledger: None,
        receipt: receipt.to_owned(),
    };
    let ledger = Dispute {
        ledger: Some(exhibit(&parsed.vote)),
        ..bare.clone()
    };
    let sealed = parsed.sealed.as_ref().map(|seal| {
        let head = TlogProof::parse(seal.head.as_bytes()).unwrap();
        let cell = HeldCheckpoint::read(
            TlogProof::parse(seal.vote.as_bytes()).unwrap().checkpoint(),
            base(),
        )
        .unwrap();
        let said = match Entry::decode(head.extra().unwrap(), base()) {
            Ok(Entry::Head(head) | Entry::FinalHead(head)) => head,
            other => panic!("{other:?}"),
        };
        let root = match cell.log {
            LogId::Cell(_) => said.log(base(), cell.log).unwrap().root,
            _ => Hash([0; 32]),
        };
        Dispute {
            head: Some(HeadExhibit {
                head: seal.head.clone(),
                proof: Vec::new(),
                root: root.to_base64(),
            }),
            heads: Some(exhibit(&seal.head)),
            ..ledger.clone()
        }
    });
    [Some(bare), Some(ledger), sealed]
        .into_iter()
        .flatten()
        .map(|dispute| dispute.encode().unwrap())
}

/// What looks like a split view, of every two checkpoints of one log that the vectors' receipts hold.
pub(crate) fn split_views() -> impl Iterator<Item = Vec<u8>> {
    let notes = notes::notes_of_base();
    let held: Vec<HeldCheckpoint> = notes
        .iter()
        .map(|note| HeldCheckpoint::read(note, base()).unwrap())
        .collect();
    let pairs = held.iter().flat_map(|older| {
        let newer = held.iter().filter(|newer| {
            newer.log == older.log && newer.checkpoint.size() >= older.checkpoint.size()
        });
        newer.map(|newer| (older.clone(), newer.clone()))
    });
    let mut views: Vec<Vec<u8>> = pairs
        .filter(|(older, newer)| older.checkpoint != newer.checkpoint)
        .map(|(older, newer)| {
            let split = SplitView::new(base(), &older, &newer, &newer.checkpoint.root(), &[]);
            split.encode().unwrap()
        })
        .collect();
    views.truncate(8);
    views.into_iter()
}

/// Bytes without order: what they come to, the target makes of them.
struct Random(u64);

impl Random {
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        // xorshift64*
        (0..len)
            .map(|_| {
                self.0 ^= self.0 >> 12;
                self.0 ^= self.0 << 25;
                self.0 ^= self.0 >> 27;
                self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()[0]
            })
            .collect()
    }
}

fn of_proofs() -> Vec<Vec<u8>> {
    let mut random = Random(1);
    let mut seeds: Vec<Vec<u8>> = (0..7)
        .flat_map(|what| (0..12).map(move |n| (what, n)))
        .map(|(what, n)| [vec![what], random.bytes(16 << (n % 4))].concat())
        .collect();
    for path in ["tile/0/000", "tile/entries/x001/x234/067.p/255"] {
        seeds.push([vec![4], random.bytes(11), path.as_bytes().to_vec()].concat());
    }
    seeds
}

fn audits() -> Vec<Vec<u8>> {
    let mut random = Random(1);
    let mut seeds = Vec::new();
    for (tree, content) in (0u8..).zip(TREES.iter()) {
        seeds.push(vec![tree]);
        if content.is_right {
            for what in 0..10 {
                seeds.push([vec![tree, what], random.bytes(8)].concat());
            }
        }
    }
    seeds
}
