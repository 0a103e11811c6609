//! What this implementation reads in an input: null where it refuses it.

use protocol::anchor::AnchorObject;
use protocol::ballot::Ballot;
use protocol::batch::BatchFile;
use protocol::canonical_json::from_canonical;
use protocol::checkpoint::Checkpoint;
use protocol::cosignature::WitnessKey;
use protocol::dispute::Dispute;
use protocol::ed25519;
use protocol::entry::Entry;
use protocol::evidence::SplitView;
use protocol::grammar::{BatchSummary, CellLog, GrammarError, HeadsLog, IssuanceLog};
use protocol::ids::{ElectionId, LogId};
use protocol::manifest::Election;
use protocol::merkle::tile::{BundleId, TileId, decode_bundle};
use protocol::merkle::{Hash, verify_consistency, verify_inclusion};
use protocol::note::{SignedNote, VerifierKey};
use protocol::receipt::Receipt;
use protocol::results::Results;
use protocol::rsa::RegistrarKey;
use protocol::text::check_label;
use protocol::tlog_proof::TlogProof;
use serde_json::{Value, json};

fn bytes(case: &Value, field: &str) -> Vec<u8> {
    hex::decode(case[field].as_str().unwrap()).unwrap()
}

fn number(case: &Value, field: &str) -> u64 {
    case[field].as_str().unwrap().parse().unwrap()
}

fn hash(case: &Value, field: &str) -> Hash {
    Hash::from_hex(case[field].as_str().unwrap()).unwrap()
}

fn hashes(case: &Value) -> Vec<Hash> {
    let proof = case["proof"].as_array().unwrap().iter();
    proof
        .map(|hash| Hash::from_hex(hash.as_str().unwrap()).unwrap())
        .collect()
}

pub(crate) fn of(file: &str, kind: Option<&str>, case: &Value, election: &Election) -> Value {
    read(file, kind, case, election).unwrap_or(Value::Null)
}

fn read(file: &str, kind: Option<&str>, case: &Value, election: &Election) -> Option<Value> {
    let input = |field: &str| bytes(case, field);
    Some(match file {
        "canonical_json" => json!(from_canonical::<Value>(&input("bytes"), 1 << 20).is_ok()),
        "labels" => {
            json!(
                String::from_utf8(input("bytes"))
                    .is_ok_and(|label| check_label(&label, 200).is_ok())
            )
        }
        "ed25519" => {
            let key: [u8; 32] = input("public_key").try_into().ok()?;
            let signature: [u8; 64] = input("signature").try_into().ok()?;
            ed25519::verify(&key, &input("message"), &signature).ok()?;
            json!(true)
        }
        "rsa" => {
            let key = RegistrarKey::from_spki(&input("spki")).ok()?;
            match case.get("signature") {
                None => json!(key.signature_len()),
                Some(_) => json!(key.verify(&input("message"), &input("signature")).is_ok()),
            }
        }
        "manifest" => json!(
            Election::from_manifest_bytes(&input("manifest"))
                .ok()?
                .id()
                .to_string()
        ),
        "ballot" => {
            let ballot = Ballot::decode(&input("ballot"), election.contests()).ok()?;
            json!(ballot.choices().collect::<Vec<_>>())
        }
        "entry" => entry(&input("entry"), election)?,
        "grammar" => grammar(case, election)?,
        "batch" => {
            let data = input("batch");
            let batch = BatchFile::decode(&data, election).ok()?;
            json!([
                batch.log.prefix(),
                batch.n,
                batch.old_size,
                batch.new_size,
                batch.entries.len()
            ])
        }
        "anchor" => {
            let data = input("anchor");
            let anchor = AnchorObject::decode(&data, &election.id()).ok()?;
            json!([
                anchor.n,
                anchor.old_size,
                anchor.new_size,
                anchor.entries.len(),
                anchor.note.len()
            ])
        }
        "results" => {
            let results = Results::parse(&input("results"), election).ok()?;
            let sizes: Vec<u64> = results.cells.iter().map(|cell| cell.size).collect();
            json!([format!("{:?}", results.status).to_lowercase(), sizes])
        }
        "receipt" => {
            let id: ElectionId = case["election"].as_str().unwrap().parse().unwrap();
            let verdict = Receipt::parse(&input("receipt")).ok()?.verify(&id).ok()?;
            let seal = verdict.seal.map(|seal| {
                json!([
                    seal.head_index,
                    seal.heads_size,
                    seal.time,
                    seal.is_final_head,
                    seal.witnesses
                ])
            });
            json!([verdict.cell, verdict.index, verdict.checkpoint_size, seal])
        }
        "evidence" => evidence(kind?, case)?,
        "merkle" if kind == Some("inclusion") => json!(
            verify_inclusion(
                &hash(case, "leaf"),
                number(case, "index"),
                number(case, "size"),
                &hashes(case),
                &hash(case, "root")
            )
            .is_ok()
        ),
        "merkle" => json!(
            verify_consistency(
                number(case, "old_size"),
                &hash(case, "old_root"),
                number(case, "new_size"),
                &hash(case, "new_root"),
                &hashes(case)
            )
            .is_ok()
        ),
        "note" => note(kind?, case)?,
        "checkpoint" => checkpoint(kind?, case)?,
        "tlog_proof" => proof(kind?, case)?,
        "tiles" if kind == Some("path") => {
            let path = String::from_utf8(input("path")).ok()?;
            match BundleId::parse_path(&path) {
                Ok(id) => json!(["entries", id.index().to_string(), id.width()]),
                Err(_) => {
                    let id = TileId::parse_path(&path).ok()?;
                    json!([id.level().to_string(), id.index().to_string(), id.width()])
                }
            }
        }
        "tiles" => {
            let data = input("bytes");
            let width = u16::try_from(case["width"].as_u64().unwrap()).ok()?;
            let entries = decode_bundle(&data, width).ok()?;
            json!(entries.iter().map(hex::encode).collect::<Vec<_>>())
        }
        other => panic!("{other}"),
    })
}

fn evidence(kind: &str, case: &Value) -> Option<Value> {
    let data = bytes(case, "evidence");
    let id: ElectionId = case["election"].as_str().unwrap().parse().unwrap();
    if kind == "split-view" {
        let verdict = SplitView::parse(&data).ok()?.verify(&id).ok()?;
        return Some(json!([
            verdict.log.prefix(),
            verdict.older.size().to_string(),
            verdict.newer.size().to_string()
        ]));
    }
    let verdict = Dispute::parse(&data).ok()?.judge(&id).ok()?;
    Some(json!([verdict.ruling, verdict.rolled_back.is_some()]))
}

fn entry(data: &[u8], election: &Election) -> Option<Value> {
    let entry = Entry::decode(data, election).ok()?;
    let signatures = match &entry {
        Entry::Vote(vote) => Some(vote.verify(election).is_ok()),
        Entry::Notice(notice) => Some(notice.verify(election).is_ok()),
        _ => None,
    };
    Some(json!([entry.name(), signatures]))
}

/// Any log's state machine.
type Take = Box<dyn FnMut(u64, &[&[u8]]) -> Result<BatchSummary, GrammarError>>;

/// The findings that a log without broken rules reports.
fn grammar(case: &Value, election: &Election) -> Option<Value> {
    let prefix = case["log"].as_str().unwrap();
    let log = election
        .logs()
        .iter()
        .chain([&LogId::Heads])
        .find(|log| log.prefix() == prefix)?;
    let mut take: Take = match log {
        LogId::Cell(k) => {
            let mut log = CellLog::new(election, *k);
            Box::new(move |n, entries| log.batch(n, entries))
        }
        LogId::Issuance { registrar, shard } => {
            let mut log = IssuanceLog::new(election, *registrar, *shard);
            Box::new(move |n, entries| log.batch(n, entries))
        }
        LogId::Heads => {
            let mut log = HeadsLog::new(election);
            Box::new(move |n, entries| log.batch(n, entries))
        }
    };
    let mut remarks = Vec::new();
    for (n, batch) in (0..).zip(case["batches"].as_array().unwrap()) {
        let entries: Vec<Vec<u8>> = batch
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| hex::decode(entry.as_str().unwrap()).unwrap())
            .collect();
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let summary = take(n, &entries).ok()?;
        // The signatures of notices are a rule of the heads log.
        if summary
            .notices()
            .any(|(_, notice)| notice.verify(election).is_err())
        {
            return None;
        }
        remarks.extend(
            summary
                .remarks
                .iter()
                .map(|remark| json!([remark.index, remark.code.as_str()])),
        );
    }
    Some(json!(remarks))
}

fn note(kind: &str, case: &Value) -> Option<Value> {
    let data = bytes(case, "input");
    if kind == "vkey" {
        let key = VerifierKey::parse(&String::from_utf8(data).ok()?).ok()?;
        return Some(json!([
            key.name(),
            key.key_type().byte(),
            hex::encode(key.public_key())
        ]));
    }
    let note = SignedNote::parse(&data).ok()?;
    if kind == "signed" {
        let key = VerifierKey::parse(case["vkey"].as_str().unwrap()).unwrap();
        let is_by = note.signatures().iter().any(|line| {
            line.name() == key.name()
                && line.key_id() == key.key_id()
                && line
                    .signature()
                    .try_into()
                    .is_ok_and(|signature: &[u8; 64]| {
                        ed25519::verify(key.public_key(), note.text().as_bytes(), signature).is_ok()
                    })
        });
        return Some(json!(is_by));
    }
    let lines: Vec<Value> = note
        .signatures()
        .iter()
        .map(|line| json!([line.name(), hex::encode(line.signature())]))
        .collect();
    Some(json!([note.text(), lines]))
}

fn keys(case: &Value) -> Vec<[u8; 32]> {
    let keys = case["keys"].as_array().unwrap().iter();
    keys.map(|key| {
        hex::decode(key.as_str().unwrap())
            .unwrap()
            .try_into()
            .unwrap()
    })
    .collect()
}

fn checkpoint(kind: &str, case: &Value) -> Option<Value> {
    let data = bytes(case, "input");
    let origin = case["origin"].as_str().unwrap();
    if kind == "checkpoint" {
        let (checkpoint, key) = Checkpoint::verify(&data, origin, &keys(case)).ok()?;
        return Some(json!([
            checkpoint.size().to_string(),
            checkpoint.root().to_string(),
            key
        ]));
    }
    let witnesses: Vec<WitnessKey> = case["witnesses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|vkey| WitnessKey::parse_vkey(vkey.as_str().unwrap()).unwrap())
        .collect();
    let (checkpoint, key, cosigned) =
        Checkpoint::verify_cosigned(&data, origin, &keys(case), &witnesses).ok()?;
    let cosigned: Vec<Value> = cosigned
        .iter()
        .map(|(witness, time)| json!([witness, time.to_string()]))
        .collect();
    Some(json!([
        checkpoint.size().to_string(),
        checkpoint.root().to_string(),
        key,
        cosigned
    ]))
}

fn proof(kind: &str, case: &Value) -> Option<Value> {
    let proof = TlogProof::parse(&bytes(case, "input")).ok()?;
    if kind == "proof" {
        let verified = proof.verify(
            &hash(case, "leaf"),
            case["origin"].as_str().unwrap(),
            &keys(case),
        );
        return Some(json!(verified.is_ok()));
    }
    Some(json!([
        proof.extra().map(hex::encode),
        proof.index().to_string(),
        proof.proof().len(),
        hex::encode(proof.checkpoint())
    ]))
}
