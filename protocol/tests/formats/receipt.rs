//! Receipts: what a voter can prove offline, and every way in which a receipt can lie.

use protocol::entry::{AuthorityKey, Entry, Genesis, Head, HeadLog, LogState, NoticeAction};
use protocol::ids::{ElectionId, LogId};
use protocol::merkle::{Hash, leaf_hash};
use protocol::receipt::{
    KeySlot, RECEIPT_FORMAT, RECEIPT_LEN_MAX, Receipt, ReceiptCode, ReceiptVerdict, Seal,
};
use protocol::tlog_proof::TlogProof;
use serde_json::{Value, json};

use crate::fixture::{ELECTION, notice, vote, voters};
use crate::log::{Log, cell_log};
use crate::vectors::vector_cases;

const TIME: u64 = 2_500_000;
/// When witnesses cosign, in seconds.
const COSIGNED: u64 = 2_501;

/// A cell of two batches and the heads log above it.
struct World {
    cell: Log,
    heads: Log,
    /// The index of a vote of the second batch.
    index: u64,
    /// The sizes of the cell's two batch ends.
    sizes: [u64; 2],
}

impl World {
    /// The heads log holds its genesis, these notices, and a head that names the cell's second batch end.
    fn new(notices: &[NoticeAction]) -> Self {
        let ids = voters(&ELECTION, 0, 0, 5);
        let votes: Vec<_> = ids
            .iter()
            .map(|voter| vote(&ELECTION, *voter, &[&[2], &[0, 3], &[1, 0]]))
            .collect();
        let (cell, _) = cell_log(0, &[&votes[..3], &votes[3..]]);
        let mut heads = Log::new(&ELECTION, LogId::Heads);
        heads
            .entries
            .push(Genesis::of(&ELECTION, LogId::Heads).encode());
        for (sequence, action) in (0..).zip(notices) {
            let entry = notice(&ELECTION, AuthorityKey::Main, sequence, *action);
            heads.entries.push(entry.encode());
        }
        heads.entries.push(Entry::Head(head(&cell, 8)).encode());
        Self {
            cell,
            heads,
            index: 5,
            sizes: [5, 8],
        }
    }

    fn plain() -> Self {
        Self::new(&[])
    }

    /// As [`World::new`] with a switch of the heads log itself as the first notice.
    fn heads_switched(more: &[NoticeAction]) -> Self {
        let mut heads = Log::new(&ELECTION, LogId::Heads);
        heads
            .entries
            .push(Genesis::of(&ELECTION, LogId::Heads).encode());
        let own = NoticeAction::Switch {
            log: LogId::Heads,
            size: 1,
            root: heads.root(1),
        };
        Self::new(&[&[own], more].concat())
    }

    fn vote(&self, size: u64, slot: &str) -> String {
        self.cell
            .proof(self.index, size, self.cell.checkpoint(size, slot))
    }

    /// The proof of the entry at this index of the heads log, at its present size.
    fn in_heads(&self, index: u64, slot: &str, witnesses: &[&str]) -> String {
        let size = self.heads.size();
        let note = self.heads.cosigned(size, slot, witnesses, COSIGNED);
        self.heads.proof(index, size, note)
    }

    fn seal(&self, cell_slot: &str, heads_slot: &str, witnesses: &[&str]) -> Seal {
        Seal {
            head: self.in_heads(self.heads.size() - 1, heads_slot, witnesses),
            vote: self.vote(8, cell_slot),
        }
    }

    fn receipt(&self, slot: &str) -> Receipt {
        Receipt {
            cell: 0,
            election: ELECTION.id(),
            sealed: None,
            format: RECEIPT_FORMAT.to_owned(),
            manifest: String::from_utf8(ELECTION.manifest_bytes().to_vec()).unwrap(),
            switches: Vec::new(),
            vote: self.vote(8, slot),
        }
    }

    fn sealed(&self) -> Receipt {
        Receipt {
            sealed: Some(self.seal("main", "main", &["w1.example"])),
            ..self.receipt("main")
        }
    }
}

/// A head that names this size of the cell, and the geneses of all other logs.
fn head(cell: &Log, size: u64) -> Head {
    let logs = ELECTION.logs().iter().map(|log| match log {
        LogId::Cell(0) => HeadLog {
            state: LogState::Open,
            size,
            root: cell.root(size),
        },
        other => HeadLog {
            state: LogState::Stale,
            size: 1,
            root: leaf_hash(&Genesis::of(&ELECTION, *other).encode()),
        },
    });
    Head {
        time: TIME,
        logs: logs.collect(),
    }
}

fn cell_switch(size: u64) -> NoticeAction {
    NoticeAction::Switch {
        log: LogId::Cell(0),
        size,
        root: World::plain().cell.root(size),
    }
}

/// The same proof with another part.
fn with_proof(text: &str, edit: impl FnOnce(&mut Parts)) -> String {
    let proof = TlogProof::parse(text.as_bytes()).unwrap();
    let mut parts = Parts {
        extra: proof.extra().map(<[u8]>::to_vec),
        index: proof.index(),
        path: proof.proof().to_vec(),
        note: proof.checkpoint().to_vec(),
    };
    edit(&mut parts);
    let proof = TlogProof::new(parts.extra, parts.index, parts.path, parts.note).unwrap();
    String::from_utf8(proof.encode()).unwrap()
}

struct Parts {
    extra: Option<Vec<u8>>,
    index: u64,
    path: Vec<Hash>,
    note: Vec<u8>,
}

impl Parts {
    fn extra(&mut self) -> &mut Vec<u8> {
        self.extra.as_mut().unwrap()
    }
}

struct Case {
    why: &'static str,
    receipt: Receipt,
    expected: ElectionId,
    error: Option<ReceiptCode>,
}

#[rustfmt::skip]
fn valid() -> Vec<(&'static str, Receipt)> {
    let plain = World::plain();
    let early = World { index: 2, ..World::plain() };
    let switched = World::new(&[cell_switch(5)]);
    let both = World::heads_switched(&[cell_switch(5)]);
    let heads_only = World::heads_switched(&[]);
    let one_entry = |world: &World, index, slot| world.in_heads(index, slot, &[]);
    let cell_first = World::new(&[cell_switch(5), NoticeAction::Switch { log: LogId::Heads, size: 2, root: switched.heads.root(2) }]);
    vec![
        ("recorded", plain.receipt("main")),
        ("recorded under an earlier checkpoint", Receipt { vote: early.vote(5, "main"), ..early.receipt("main") }),
        ("sealed", plain.sealed()),
        ("sealed, both witnesses", Receipt { sealed: Some(plain.seal("main", "main", &["w2.example", "w1.example"])), ..plain.receipt("main") }),
        ("sealed by a later checkpoint than recorded", Receipt { vote: early.vote(5, "main"), sealed: Some(early.seal("main", "main", &["w1.example"])), ..early.receipt("main") }),
        ("sealed by the final head", {
            let mut world = World::plain();
            world.heads.entries.push(Entry::FinalHead(head(&world.cell, 8)).encode());
            world.sealed()
        }),
        ("recorded under the cell's spare", Receipt { switches: vec![one_entry(&switched, 1, "main")], ..switched.receipt("spare") }),
        ("recorded before the switch, sealed after it", Receipt {
            vote: World { index: 2, ..World::plain() }.vote(5, "main"),
            sealed: Some(World { index: 2, ..World::new(&[cell_switch(5)]) }.seal("spare", "main", &["w1.example"])),
            switches: vec![one_entry(&switched, 1, "main")],
            ..switched.receipt("main")
        }),
        ("sealed under the heads log's spare", Receipt {
            sealed: Some(heads_only.seal("main", "spare", &["w1.example"])),
            switches: vec![one_entry(&heads_only, 1, "spare")],
            ..heads_only.receipt("main")
        }),
        ("both logs switched", Receipt {
            sealed: Some(both.seal("spare", "spare", &["w1.example"])),
            switches: vec![one_entry(&both, 2, "spare"), one_entry(&both, 1, "spare")],
            ..both.receipt("spare")
        }),
        ("both logs switched, the cell's notice shown at the last size under the heads log's main key", Receipt {
            sealed: Some(cell_first.seal("spare", "spare", &["w1.example"])),
            switches: vec![cell_first.heads.proof(1, 2, cell_first.heads.cosigned(2, "main", &[], COSIGNED)), one_entry(&cell_first, 2, "spare")],
            ..cell_first.receipt("spare")
        }),
        ("recorded under the spare, whose notice stands under the heads log's spare", Receipt {
            switches: vec![one_entry(&both, 2, "spare"), one_entry(&both, 1, "spare")],
            ..both.receipt("spare")
        }),
    ]
}

#[rustfmt::skip]
fn lies() -> Vec<(&'static str, Receipt, ReceiptCode)> {
    use ReceiptCode as Code;
    let plain = World::plain();
    let sealed = plain.sealed();
    let seal = sealed.sealed.clone().unwrap();
    let switched = World::new(&[cell_switch(5)]);
    let both = World::heads_switched(&[cell_switch(5)]);
    let edit_vote = |edit: fn(&mut Parts)| Receipt { vote: with_proof(&sealed.vote, edit), ..sealed.clone() };
    let edit_seal = |edit: fn(&mut Parts)| Receipt { sealed: Some(Seal { vote: with_proof(&seal.vote, edit), ..seal.clone() }), ..sealed.clone() };
    let edit_head = |edit: fn(&mut Parts)| Receipt { sealed: Some(Seal { head: with_proof(&seal.head, edit), ..seal.clone() }), ..sealed.clone() };
    let noted = |note: Vec<u8>| Receipt { vote: plain.cell.proof(plain.index, 8, note), ..plain.receipt("main") };
    let other_head = |edit: fn(&mut Head)| {
        let mut world = World::plain();
        let mut said = head(&world.cell, 8);
        edit(&mut said);
        *world.heads.entries.last_mut().unwrap() = Entry::Head(said).encode();
        world.sealed()
    };
    let switch_by = |entry: Vec<u8>| {
        let mut world = World::new(&[cell_switch(5)]);
        world.heads.entries[1] = entry;
        Receipt { switches: vec![world.in_heads(1, "main", &[])], ..world.receipt("spare") }
    };
    let other_cell = {
        let ids = voters(&ELECTION, 1, 0, 1);
        let (log, _) = cell_log(1, &[&[vote(&ELECTION, ids[0], &[&[], &[], &[]])]]);
        log
    };
    vec![
        ("of another election", Receipt { election: ElectionId([1; 32]), ..sealed.clone() }, Code::OtherElection),
        ("another manifest than the election's", Receipt { manifest: sealed.manifest.replace("Ada", "Eve"), ..sealed.clone() }, Code::Manifest),
        ("no vote: another choice than was signed", edit_vote(|parts| { parts.extra()[549] ^= 1; }), Code::Vote),
        ("no vote: a registrar's signature changed", edit_vote(|parts| { parts.extra()[40] ^= 1; }), Code::Vote),
        ("no vote: a tally", Receipt { vote: plain.cell.proof(7, 8, plain.cell.checkpoint(8, "main")), ..sealed.clone() }, Code::Vote),
        ("without its entry", edit_vote(|parts| parts.extra = None), Code::VoteProof),
        ("no proof at all", Receipt { vote: "vote".to_owned(), ..sealed.clone() }, Code::VoteProof),
        ("of another cell than the vote's", Receipt { cell: 1, ..sealed.clone() }, Code::WrongCell),
        ("of a cell that the election lacks", Receipt { cell: 2, ..sealed.clone() }, Code::WrongCell),
        ("at another index", edit_vote(|parts| parts.index -= 1), Code::VoteProof),
        ("beyond the checkpoint", edit_vote(|parts| parts.index = 8), Code::VoteProof),
        ("a hash of the path changed", edit_vote(|parts| parts.path[0].0[0] ^= 1), Code::VoteProof),
        ("a hash of the path missing", edit_vote(|parts| { parts.path.pop(); }), Code::VoteProof),
        ("under another log's checkpoint", noted(other_cell.checkpoint(3, "main")), Code::VoteProof),
        ("under a checkpoint that the spare signed without a switch", plain.receipt("spare"), Code::VoteProof),
        ("under a checkpoint with a line too many", noted(plain.cell.cosigned(8, "main", &["w1.example"], COSIGNED)), Code::VoteProof),
        ("sealed with another vote's proof", Receipt { sealed: Some(Seal { vote: World { index: 6, ..World::plain() }.vote(8, "main"), ..seal.clone() }), ..sealed.clone() }, Code::SealProof),
        ("sealed with a changed path", edit_seal(|parts| parts.path[1].0[0] ^= 1), Code::SealProof),
        ("sealed at another index", edit_seal(|parts| parts.index += 1), Code::SealProof),
        ("the seal's checkpoint signed by the spare without a switch", Receipt { sealed: Some(plain.seal("spare", "main", &["w1.example"])), ..plain.receipt("main") }, Code::SealProof),
        ("the head's path changed", edit_head(|parts| parts.path[0].0[0] ^= 1), Code::HeadProof),
        ("the head's time changed", edit_head(|parts| { parts.extra()[8] ^= 1; }), Code::HeadProof),
        ("the head is the heads log's genesis", Receipt { sealed: Some(Seal { head: plain.in_heads(0, "main", &["w1.example"]), ..seal.clone() }), ..sealed.clone() }, Code::HeadProof),
        ("the heads checkpoint signed by the spare without a switch", Receipt { sealed: Some(plain.seal("main", "spare", &["w1.example"])), ..plain.receipt("main") }, Code::HeadProof),
        ("cosigned by a stranger", Receipt { sealed: Some(plain.seal("main", "main", &["w1.example", "w3.example"])), ..plain.receipt("main") }, Code::HeadProof),
        ("cosigned twice by one witness", Receipt { sealed: Some(plain.seal("main", "main", &["w1.example", "w1.example"])), ..plain.receipt("main") }, Code::HeadProof),
        ("no witness cosigned", Receipt { sealed: Some(plain.seal("main", "main", &[])), ..plain.receipt("main") }, Code::Quorum),
        ("the head names another size", other_head(|head| head.logs[0].size = 5), Code::HeadMismatch),
        ("the head names another root", other_head(|head| head.logs[0].root.0[0] ^= 1), Code::HeadMismatch),
        ("a switch that no checkpoint needs", Receipt { switches: vec![switched.in_heads(1, "main", &[])], vote: World { index: 2, ..World::plain() }.vote(5, "main"), ..plain.receipt("main") }, Code::Switch),
        ("a switch of the heads log that no checkpoint but its own needs", { let world = World::heads_switched(&[]); Receipt { switches: vec![world.in_heads(1, "spare", &[])], ..world.receipt("main") } }, Code::Switch),
        ("the main key's checkpoint above the switch", Receipt { switches: vec![switched.in_heads(1, "main", &[])], ..switched.receipt("main") }, Code::VoteProof),
        ("the spare's checkpoint at the switch", { let world = World::new(&[cell_switch(8)]); Receipt { switches: vec![world.in_heads(1, "main", &[])], ..world.receipt("spare") } }, Code::VoteProof),
        ("a switch that the authority did not sign", { let mut entry = notice(&ELECTION, AuthorityKey::Main, 0, cell_switch(5)).encode(); entry[9] ^= 1; switch_by(entry) }, Code::Switch),
        ("a switch signed by one key in the name of the other", { let mut entry = notice(&ELECTION, AuthorityKey::Main, 0, cell_switch(5)).encode(); entry[1] = 1; switch_by(entry) }, Code::Switch),
        ("a notice that is no switch", switch_by(notice(&ELECTION, AuthorityKey::Main, 0, NoticeAction::Cancel).encode()), Code::Switch),
        ("a switch of another cell", switch_by(notice(&ELECTION, AuthorityKey::Main, 0, NoticeAction::Switch { log: LogId::Cell(1), size: 5, root: Hash([0; 32]) }).encode()), Code::Switch),
        ("a switch that is not in the heads log", Receipt { switches: vec![with_proof(&switched.in_heads(1, "main", &[]), |parts| parts.path[0].0[0] ^= 1)], ..switched.receipt("spare") }, Code::Switch),
        ("a switch proven under the cell's own key", { let note = switched.heads.checkpoint(3, "main"); let text = String::from_utf8(note).unwrap().replace("heads", "cells/0"); Receipt { switches: vec![switched.heads.proof(1, 3, text.into_bytes())], ..switched.receipt("spare") } }, Code::Switch),
        ("one switch twice", Receipt { switches: vec![switched.in_heads(1, "main", &[]); 2], ..switched.receipt("spare") }, Code::Switch),
        ("the heads log's switch before the cell's", Receipt { switches: vec![both.in_heads(1, "spare", &[]), both.in_heads(2, "spare", &[])], ..both.receipt("spare") }, Code::Switch),
        ("the heads log's switch twice", { let world = World::heads_switched(&[]); Receipt { sealed: Some(world.seal("main", "spare", &["w1.example"])), switches: vec![world.in_heads(1, "spare", &[]); 2], ..world.receipt("main") } }, Code::Switch),
        ("a switch of the heads log that stands elsewhere than it says", {
            let mut world = World::heads_switched(&[]);
            world.heads.entries.insert(1, notice(&ELECTION, AuthorityKey::Main, 0, NoticeAction::Cancel).encode());
            Receipt { sealed: Some(world.seal("main", "spare", &["w1.example"])), switches: vec![world.in_heads(2, "spare", &[])], ..world.receipt("main") }
        }, Code::Switch),
    ]
}

fn all() -> Vec<Case> {
    let expected = ELECTION.id();
    let mut all: Vec<Case> = valid()
        .into_iter()
        .map(|(why, receipt)| Case {
            why,
            receipt,
            expected,
            error: None,
        })
        .collect();
    all.push(Case {
        why: "asked about another election",
        receipt: World::plain().sealed(),
        expected: ElectionId([7; 32]),
        error: Some(ReceiptCode::OtherElection),
    });
    all.extend(lies().into_iter().map(|(why, receipt, error)| Case {
        why,
        receipt,
        expected,
        error: Some(error),
    }));
    all
}

fn judge(text: &str, expected: &ElectionId) -> Result<ReceiptVerdict, ReceiptCode> {
    Receipt::parse(text.as_bytes())
        .and_then(|receipt| receipt.verify(expected))
        .map_err(|error| error.code)
}

fn slot(slot: KeySlot) -> &'static str {
    match slot {
        KeySlot::Main => "main",
        KeySlot::Spare => "spare",
    }
}

fn described(verdict: &ReceiptVerdict) -> Value {
    let choices: Vec<Value> = verdict
        .choices
        .iter()
        .map(|choice| json!([choice.contest, choice.options]))
        .collect();
    let seal = verdict.seal.as_ref().map(|seal| {
        json!({
            "head": seal.head_index, "time": seal.time, "final_head": seal.is_final_head, "heads_size": seal.heads_size,
            "heads_key": slot(seal.heads_key), "cell_key": slot(seal.cell_key), "witnesses": seal.witnesses,
        })
    });
    json!({"cell": verdict.cell, "index": verdict.index, "size": verdict.checkpoint_size, "key": slot(verdict.key), "choices": choices, "seal": seal})
}

/// What the valid receipts say, by hand.
fn verdict_by_hand(why: &str) -> Value {
    let early = matches!(
        why,
        "recorded under an earlier checkpoint"
            | "sealed by a later checkpoint than recorded"
            | "recorded before the switch, sealed after it"
    );
    let (index, size) = if early { (2, 5) } else { (5, 8) };
    let key = match why {
        "recorded under the cell's spare"
        | "both logs switched"
        | "both logs switched, the cell's notice shown at the last size under the heads log's main key"
        | "recorded under the spare, whose notice stands under the heads log's spare" => "spare",
        _ => "main",
    };
    let seal = |head: u64, final_head, heads_key, cell_key, witnesses: &[&str]| {
        let witnesses: Vec<Value> = witnesses.iter().map(|w| json!([w, COSIGNED])).collect();
        json!({"head": head, "time": TIME, "final_head": final_head, "heads_size": head + 1, "heads_key": heads_key, "cell_key": cell_key, "witnesses": witnesses})
    };
    let one = &["w1.example"][..];
    let seal = match why {
        "sealed" | "sealed by a later checkpoint than recorded" => {
            seal(1, false, "main", "main", one)
        }
        "sealed, both witnesses" => seal(1, false, "main", "main", &["w2.example", "w1.example"]),
        "sealed by the final head" => seal(2, true, "main", "main", one),
        "recorded before the switch, sealed after it" => seal(2, false, "main", "spare", one),
        "sealed under the heads log's spare" => seal(2, false, "spare", "main", one),
        "both logs switched"
        | "both logs switched, the cell's notice shown at the last size under the heads log's main key" => {
            seal(3, false, "spare", "spare", one)
        }
        _ => Value::Null,
    };
    json!({
        "cell": 0, "index": index, "size": size, "key": key, "seal": seal,
        "choices": [["Mayor", ["Cleo"]], ["Projects", ["Bridge", "Park"]], ["Emblem", ["Heron", "Oak"]]],
    })
}

#[test]
fn vectors() {
    let mut cases: Vec<Value> = all()
        .iter()
        .map(|case| {
            let text = String::from_utf8(case.receipt.encode().unwrap()).unwrap();
            json!({
                "why": case.why, "receipt": text, "election": case.expected, "valid": case.error.is_none(), "error": case.error.map(ReceiptCode::as_str),
                "verdict": case.error.is_none().then(|| verdict_by_hand(case.why)),
            })
        })
        .collect();
    let good = String::from_utf8(World::plain().sealed().encode().unwrap()).unwrap();
    for (why, text) in [
        ("not canonical: white space", format!(" {good}")),
        (
            "an unknown member",
            good.replacen("{\"cell\"", "{\"age\":1,\"cell\"", 1),
        ),
        ("a missing member", good.replacen("\"switches\":[],", "", 1)),
        (
            "another format",
            good.replacen("v1/receipt", "v2/receipt", 1),
        ),
        (
            "an id in capitals",
            good.replacen(
                &ELECTION.id().to_string(),
                &ELECTION.id().to_string().to_uppercase(),
                1,
            ),
        ),
    ] {
        assert_ne!(text, good);
        cases.push(json!({"why": why, "receipt": text, "election": ELECTION.id(), "valid": false, "error": "malformed", "verdict": null}));
    }
    let about = "Receipts of the election `base` of manifest.json, specs/protocol.md section 13; `election` is the id that the verifier is asked about. \
        `valid` is binding; `error` is the Rust implementation's name for the first thing wrong; `verdict` is what a valid receipt proves. A `seal`'s times: `time` in ms, witnesses' in s.";
    for case in vector_cases("receipt.json", about, &cases) {
        let why = &case["why"];
        let expected = serde_json::from_value(case["election"].clone()).unwrap();
        match judge(case["receipt"].as_str().unwrap(), &expected) {
            Ok(verdict) => {
                assert_eq!(case["valid"], true, "{why}");
                assert_eq!(described(&verdict), case["verdict"], "{why}");
            }
            Err(code) => assert_eq!(code.as_str(), case["error"], "{why}"),
        }
    }
}

#[test]
fn a_verdict_names_the_voters_credential_and_the_title() {
    let world = World::plain();
    let verdict = world.sealed().verify(&ELECTION.id()).unwrap();
    let Ok(Entry::Vote(vote)) = Entry::decode(&world.cell.entries[5], &ELECTION) else {
        panic!()
    };
    assert_eq!(verdict.credential, vote.credential);
    assert_eq!(verdict.title, "Gemeinderat Königsdorf");
    assert_eq!(world.sizes, [5, 8]);
}

#[test]
fn receipts_are_bounded() {
    let mut receipt = World::plain().receipt("main");
    receipt.vote.clear();
    let room = RECEIPT_LEN_MAX - receipt.encode().unwrap().len();
    receipt.vote = "x".repeat(room);
    let longest = receipt.encode().unwrap();
    assert_eq!(longest.len(), RECEIPT_LEN_MAX);
    assert_eq!(Receipt::parse(&longest).unwrap(), receipt);
    receipt.vote.push('x');
    assert_eq!(receipt.encode().unwrap_err().code, ReceiptCode::Malformed);
    let long = vec![b' '; RECEIPT_LEN_MAX + 1];
    assert_eq!(
        Receipt::parse(&long).unwrap_err().code,
        ReceiptCode::Malformed
    );
}

/// Whatever byte changes, a receipt never comes to prove something else.
#[test]
fn no_flipped_bit_passes() {
    let good = World::plain().sealed().encode().unwrap();
    let honest = judge(std::str::from_utf8(&good).unwrap(), &ELECTION.id()).unwrap();
    for at in (0..good.len()).step_by(47) {
        let mut flipped = good.clone();
        flipped[at] ^= 1 << (at % 7);
        let verdict = std::str::from_utf8(&flipped)
            .map_err(|_| ReceiptCode::Malformed)
            .and_then(|text| judge(text, &ELECTION.id()));
        if let Ok(verdict) = verdict {
            assert_eq!(verdict, honest, "byte {at}");
        }
    }
}
