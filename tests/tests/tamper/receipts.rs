//! Receipts that the voters of a closed election kept: right ones verify, offline and against the ledger; any other is refused.

use std::fs;
use std::path::{Path, PathBuf};

use rand::RngExt as _;
use serde_json::Value;
use tests::{Said, arg, folder, run, seed};

use crate::closed::{Closed, Copy, elections};

fn check(receipt: &Path, id: &str, more: &[&str]) -> Said {
    let mut arguments = vec!["receipt", arg(receipt), "--election", id, "--json"];
    arguments.extend(more);
    let said = run("tallyroot-verify", &arguments);
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
    said
}

fn verdict(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap()
}

/// Receipts in a folder, to be changed at will.
struct Receipts {
    folder: tempfile::TempDir,
    of: &'static Closed,
}

impl Receipts {
    fn of(closed: &'static Closed) -> Self {
        assert!(closed.receipts.len() >= 5, "voters keep their receipts");
        Self {
            folder: folder(),
            of: closed,
        }
    }

    fn bytes(&self, voter: usize) -> &'static [u8] {
        &self.of.receipts[&format!("voter-{voter}.json")]
    }

    fn json(&self, voter: usize) -> Value {
        serde_json::from_slice(self.bytes(voter)).unwrap()
    }

    fn write(&self, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("receipt.json");
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Exit code 1, a finding, and no vote shown as proven.
    fn must_be_refused(&self, bytes: &[u8], what: &str) {
        self.must_be(bytes, what, (1, "findings"));
    }

    /// Another file than a receipt of this election: no vote shown as proven, and nobody accused.
    fn must_be_another(&self, bytes: &[u8], what: &str) {
        self.must_be(bytes, what, (2, "unchecked"));
    }

    fn must_be(&self, bytes: &[u8], what: &str, (code, outcome): (i32, &str)) {
        let said = check(&self.write(bytes), &self.of.id, &[]);
        assert_eq!(said.code, code, "{what}: {said:#?}");
        let verdict = verdict(&said);
        assert_eq!(verdict["verdict"], outcome, "{what}");
        assert_eq!(verdict["vote"], Value::Null, "{what}");
        assert_eq!(verdict["findings"].as_array().unwrap().len(), 1, "{what}");
    }
}

#[test]
fn the_receipts_of_an_election_verify_offline_and_against_the_ledger() {
    let [victim, other] = elections();
    let receipts = Receipts::of(victim);
    let copy = Copy::of(victim);
    let ledger = copy.path("");
    for voter in 0..5 {
        let path = receipts.write(receipts.bytes(voter));
        let said = check(&path, &victim.id, &[]);
        assert_eq!(said.code, 0, "{said:#?}");
        let offline = verdict(&said);
        assert_eq!(offline["ledger"], Value::Null);
        assert_eq!(offline["vote"]["sealed"]["is_final_head"], true);

        let said = check(&path, &victim.id, &["--source", arg(&ledger)]);
        assert_eq!(said.code, 0, "{said:#?}");
        let online = verdict(&said);
        assert_eq!(online["ledger"]["in_ledger"], true);
        assert_eq!(online["ledger"]["counted"], "final");
        assert_eq!(online["vote"], offline["vote"]);

        // Whose it is, only the voter can say.
        let own = offline["vote"]["credential"].as_str().unwrap();
        assert_eq!(check(&path, &victim.id, &["--credential", own]).code, 0);
        let others = "0".repeat(64);
        let said = check(&path, &victim.id, &["--credential", &others]);
        assert_eq!(said.code, 1, "{said:#?}");
        // For another election it proves nothing.
        assert_eq!(check(&path, &other.id, &[]).code, 2);
    }
}

#[test]
fn a_receipt_with_any_bit_changed_is_refused() {
    let [victim, other] = elections();
    let receipts = Receipts::of(victim);
    let mut rng = seed::generator("receipts");
    for _ in 0..150 {
        let voter = rng.random_range(0..5);
        let mut bytes = receipts.bytes(voter).to_vec();
        let at = rng.random_range(0..bytes.len());
        let bit = 1 << rng.random_range(0..8);
        bytes[at] ^= bit;
        receipts.must_be_refused(&bytes, &format!("voter {voter}, byte {at}, bit {bit}"));
    }
    let good = receipts.bytes(0);
    receipts.must_be_refused(&good[..good.len() - 1], "cut");
    receipts.must_be_refused(&good[..good.len() / 2], "cut in the middle");
    receipts.must_be_another(b"", "empty");
    receipts.must_be_refused(&[good, b"\n"].concat(), "longer");
    receipts.must_be_refused(&[b" ", good].concat(), "later");
    receipts.must_be_another(Receipts::of(other).bytes(0), "another election's");
}

#[test]
fn parts_of_two_receipts_do_not_make_one() {
    let [victim, other] = elections();
    let receipts = Receipts::of(victim);
    let own = receipts.json(0);
    // Canonical as it is: members are sorted, and all text is ASCII.
    assert_eq!(own.to_string().as_bytes(), receipts.bytes(0));
    let foreign = Receipts::of(other).json(0);
    for (path, from) in [
        ("/vote", receipts.json(1)),
        ("/vote", foreign.clone()),
        ("/final/vote", receipts.json(1)),
        ("/final/head", foreign.clone()),
        ("/final", foreign.clone()),
        ("/manifest", foreign.clone()),
        ("/election", foreign),
    ] {
        let mut mixed = own.clone();
        let part = from.pointer(path).unwrap().clone();
        *mixed.pointer_mut(path).unwrap() = part;
        receipts.must_be_refused(mixed.to_string().as_bytes(), path);
    }
    let mut moved = own.clone();
    let cell = own["cell"].as_u64().unwrap();
    moved["cell"] = (1 - cell).into();
    receipts.must_be_refused(moved.to_string().as_bytes(), "in the other cell");
    let mut more = own.clone();
    more["note"] = "hello".into();
    receipts.must_be_refused(more.to_string().as_bytes(), "with one more member");
    // Without its seal it is what it was before: recorded, and valid.
    let mut unsealed = own;
    unsealed["final"] = Value::Null;
    let said = check(
        &receipts.write(unsealed.to_string().as_bytes()),
        &victim.id,
        &[],
    );
    assert_eq!(said.code, 0, "{said:#?}");
    assert_eq!(verdict(&said)["vote"]["sealed"], Value::Null);
}

#[test]
fn a_ledger_that_has_lost_or_changed_the_vote_is_found_out() {
    let [victim, other] = elections();
    let receipts = Receipts::of(victim);
    let path = receipts.write(receipts.bytes(0));
    let said = check(&path, &victim.id, &[]);
    let vote = verdict(&said)["vote"].clone();
    let (cell, index) = (
        vote["cell"].as_u64().unwrap(),
        vote["index"].as_u64().unwrap(),
    );

    let copy = Copy::of(victim);
    let ledger = copy.path("");
    let source = ["--source", arg(&ledger)];
    // The tiles (a wide and all narrower ones) in which the vote's leaf stands.
    let tile = format!("cells/{cell}/tile/0/{:03}", index / 256);
    let at = usize::try_from(index % 256).unwrap() * 32;
    let harmed: Vec<&String> = victim
        .files
        .keys()
        .filter(|path| path.starts_with(&tile) && victim.files[*path].len() > at)
        .collect();
    assert!(!harmed.is_empty());
    for path in &harmed {
        let mut bytes = victim.files[*path].clone();
        bytes[at] ^= 1;
        fs::write(copy.path(path), bytes).unwrap();
    }
    let said = check(&path, &victim.id, &source);
    assert_eq!(said.code, 1, "{said:#?}");
    assert_ne!(verdict(&said)["ledger"]["in_ledger"], true);
    for path in &harmed {
        copy.put_back(path);
    }
    assert_eq!(check(&path, &victim.id, &source).code, 0);

    // Rolled back to before the vote.
    let before = victim
        .files
        .keys()
        .filter_map(|path| {
            let size = path.strip_prefix(&format!("cells/{cell}/checkpoints/"))?;
            size.parse::<u64>().ok().filter(|size| *size <= index)
        })
        .max()
        .unwrap();
    let rolled_back = &victim.files[&format!("cells/{cell}/checkpoints/{before}")];
    fs::write(copy.path(&format!("cells/{cell}/checkpoint")), rolled_back).unwrap();
    let said = check(&path, &victim.id, &source);
    assert_eq!(said.code, 1, "{said:#?}");

    // Another election is no evidence either way.
    let elsewhere = Copy::of(other);
    let said = check(&path, &victim.id, &["--source", arg(&elsewhere.path(""))]);
    assert_ne!(said.code, 0, "{said:#?}");
}

#[test]
fn a_receipt_that_cannot_be_read_is_neither_right_nor_wrong() {
    let [victim, _] = elections();
    let receipts = Receipts::of(victim);
    let nowhere = receipts.folder.path().join("nowhere.json");
    assert_eq!(check(&nowhere, &victim.id, &[]).code, 2);
    assert_eq!(check(receipts.folder.path(), &victim.id, &[]).code, 2);
    let good = receipts.write(receipts.bytes(0));
    let said = check(&good, &victim.id, &["--source", arg(&nowhere)]);
    assert_eq!(said.code, 2, "{said:#?}");
    for bad_id in [
        "",
        "00",
        &victim.id.to_uppercase(),
        &format!("{}0", victim.id),
    ] {
        assert_eq!(check(&good, bad_id, &[]).code, 2, "{bad_id}");
    }
}
