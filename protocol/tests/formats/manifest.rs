//! Every rule of section 2, one at a time: an edit of the base manifest, and the member that the refusal must name.

use protocol::canonical_json::CanonicalError;
use protocol::ids::{ElectionId, LogId};
use protocol::manifest::{Election, MANIFEST_LEN_MAX, Manifest, ManifestError};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::fixture::{ELECTION, manifest, pair, witness};
use crate::vectors::vector_cases;

/// What a verifier must say of a manifest: the broken member's name, `json` for a broken document, or nothing for a valid one.
type Expected = Option<&'static str>;

struct Edit {
    why: &'static str,
    edit: fn(&mut Value),
    expected: Expected,
}

const fn ok(why: &'static str, edit: fn(&mut Value)) -> Edit {
    Edit {
        why,
        edit,
        expected: None,
    }
}

const fn bad(member: &'static str, why: &'static str, edit: fn(&mut Value)) -> Edit {
    Edit {
        why,
        edit,
        expected: Some(member),
    }
}

fn labels(count: usize) -> Value {
    (0..count).map(|i| json!(format!("Option {i}"))).collect()
}

fn simple_contest(name: &str, options: usize) -> Value {
    json!({"method": "approval", "name": name, "options": labels(options), "tie_rule": "listed-order"})
}

fn key_pairs(label: &str, count: usize) -> Value {
    (0..count)
        .map(|i| serde_json::to_value(pair(&format!("{label} {i}"))).unwrap())
        .collect()
}

#[rustfmt::skip]
const EDITS: &[Edit] = &[
    ok("base", |_| {}),
    bad("format", "another format", |m| m["format"] = json!("tallyroot/v2/manifest")),
    bad("json", "an unknown member", |m| m["colour"] = json!("red")),
    bad("json", "a missing member", |m| { m.as_object_mut().unwrap().remove("demo"); }),
    bad("json", "an unknown member deep inside", |m| m["times"]["doors"] = json!(1)),
    bad("json", "a string where a number must be", |m| m["batch_min"] = json!("2")),
    bad("json", "a negative number", |m| m["cast_delay_s"] = json!(-1)),
    bad("title", "empty title", |m| m["title"] = json!("")),
    ok("a title of 200 bytes", |m| m["title"] = json!("é".repeat(100))),
    bad("title", "a title of 201 bytes", |m| m["title"] = json!("e".repeat(201))),
    bad("title", "a title that is not NFC", |m| m["title"] = json!("Ko\u{308}nigsdorf")),
    bad("title", "a bidirectional override", |m| m["title"] = json!("a\u{202e}b")),
    bad("title", "white space at the end", |m| m["title"] = json!("Council ")),
    ok("a host alone", |m| m["base"] = json!("votes.example")),
    ok("a base of 128 bytes", |m| m["base"] = json!(format!("h/{}", "p".repeat(126)))),
    bad("base", "a base of 129 bytes", |m| m["base"] = json!(format!("h/{}", "p".repeat(127)))),
    bad("base", "a scheme", |m| m["base"] = json!("https://votes.example")),
    bad("base", "a port", |m| m["base"] = json!("votes.example:443")),
    bad("base", "a trailing slash", |m| m["base"] = json!("votes.example/")),
    bad("base", "an empty part", |m| m["base"] = json!("votes.example//a")),
    bad("base", "a part that climbs", |m| m["base"] = json!("votes.example/../a")),
    bad("base", "a part that stays", |m| m["base"] = json!("votes.example/./a")),
    bad("base", "upper case", |m| m["base"] = json!("Votes.example")),
    bad("base", "an empty host label", |m| m["base"] = json!("votes..example")),
    bad("base", "a host label that ends in a hyphen", |m| m["base"] = json!("votes-.example")),
    bad("base", "a host label that begins with a hyphen", |m| m["base"] = json!("-votes.example")),
    ok("every character that a base may have", |m| m["base"] = json!("0a-z9.example/a_z/0-9.b")),
    bad("base", "upper case in a path part", |m| m["base"] = json!("votes.example/A")),
    bad("base", "a character that a path part may not have", |m| m["base"] = json!("votes.example/a~b")),
    bad("base", "a character that a host may not have", |m| m["base"] = json!("vo~tes.example")),
    bad("base", "an underscore in the host", |m| m["base"] = json!("my_votes.example")),
    bad("base", "empty", |m| m["base"] = json!("")),
    bad("contests", "no contest", |m| m["contests"] = json!([])),
    ok("200 contests", |m| m["contests"] = (0..200).map(|i| simple_contest(&format!("C{i}"), 1)).collect()),
    bad("contests", "201 contests", |m| m["contests"] = (0..201).map(|i| simple_contest(&format!("C{i}"), 1)).collect()),
    bad("contests[0].method", "an unknown method", |m| m["contests"][0]["method"] = json!("lottery")),
    bad("contests[0].name", "an empty name", |m| m["contests"][0]["name"] = json!("")),
    bad("contests[1].name", "a repeated name", |m| m["contests"][1]["name"] = json!("Mayor")),
    bad("contests[0].options", "no option", |m| m["contests"][0]["options"] = json!([])),
    bad("contests[0].options[2]", "a repeated option", |m| m["contests"][0]["options"][2] = json!("Ada")),
    ok("an option of another contest", |m| m["contests"][1]["options"][0] = json!("Ada")),
    bad("contests[0].options[1]", "doubled white space", |m| m["contests"][0]["options"][1] = json!("Ben  B")),
    ok("4,096 options in all", |m| m["contests"] = json!([simple_contest("A", 4_000), simple_contest("B", 96)])),
    bad("contests (options in all)", "4,097 options in all", |m| m["contests"] = json!([simple_contest("A", 4_000), simple_contest("B", 97)])),
    ok("listed order for a ranked contest", |m| m["contests"][2]["tie_rule"] = json!("listed-order")),
    bad("contests[0].tie_rule", "prior rounds without rounds", |m| m["contests"][0]["tie_rule"] = json!("prior-rounds")),
    ok("registration with opening", |m| m["times"]["registration"] = json!(2_000_000)),
    bad("times.registration", "registration after opening", |m| m["times"]["registration"] = json!(2_000_001)),
    bad("times.opening", "opening at closing", |m| m["times"]["opening"] = json!(3_000_000)),
    bad("times.grace", "too short a grace", |m| m["times"]["grace"] = json!(999)),
    bad("times.grace", "too long a grace", |m| m["times"]["grace"] = json!(604_800_001)),
    bad("json", "a time of 2^53", |m| m["times"]["closing"] = json!(1u64 << 53)),
    ok("retention until closing", |m| m["retention"] = json!(3_000_000)),
    bad("retention", "retention that ends before closing", |m| m["retention"] = json!(2_999_999)),
    bad("cells", "no cell", |m| m["cells"] = json!([])),
    bad("cells[0].main", "a key with a negative zero", |m| m["cells"][0]["main"] = json!(format!("01{}80", "00".repeat(30)))),
    bad("cells[0].main", "a key of small order", |m| m["cells"][0]["main"] = json!(format!("01{}", "00".repeat(31)))),
    bad("cells[0].spare", "a key that is not on the curve", |m| m["cells"][0]["spare"] = json!(format!("02{}", "00".repeat(31)))),
    bad("cells[1].spare", "a key with y above p", |m| m["cells"][1]["spare"] = json!(format!("ee{}7f", "ff".repeat(30)))),
    bad("cells[0].main", "capital hexadecimal", |m| m["cells"][0]["main"] = json!(m["cells"][0]["main"].as_str().unwrap().to_uppercase())),
    bad("cells[0].main", "31 bytes", |m| m["cells"][0]["main"] = json!("00".repeat(31))),
    bad("cells[1].spare", "a spare that is another cell's main key", |m| m["cells"][1]["spare"] = m["cells"][0]["main"].clone()),
    bad("heads.main", "the heads key of a cell", |m| m["heads"]["main"] = m["cells"][0]["main"].clone()),
    bad("authority.spare", "a spare that is no spare", |m| m["authority"]["spare"] = m["authority"]["main"].clone()),
    bad("registrars", "no registrar", |m| m["registrars"] = json!([])),
    bad("registrars[1].rsa", "two registrars with one modulus", |m| m["registrars"][1]["rsa"] = m["registrars"][0]["rsa"].clone()),
    bad("registrars[0].rsa", "no key", |m| m["registrars"][0]["rsa"] = json!("")),
    bad("registrars[0].rsa", "base64 without padding", |m| m["registrars"][0]["rsa"] = json!("AAA")),
    bad("registrars[0].rsa", "an RSA key cut short", |m| {
        let text = m["registrars"][0]["rsa"].as_str().unwrap();
        m["registrars"][0]["rsa"] = json!(text[..text.len() - 4]);
    }),
    bad("registrars[0].name", "a registrar without name", |m| m["registrars"][0]["name"] = json!("")),
    bad("registrars[0].shards", "no shard", |m| m["registrars"][0]["shards"] = json!([])),
    ok("64 shards", |m| m["registrars"][0]["shards"] = key_pairs("shard", 64)),
    bad("registrars[0].shards", "65 shards", |m| m["registrars"][0]["shards"] = key_pairs("shard", 65)),
    ok("1,021 cells and 3 shards", |m| m["cells"] = key_pairs("cell", 1_021)),
    bad("cells and shards (together)", "1,022 cells and 3 shards", |m| m["cells"] = key_pairs("cell", 1_022)),
    bad("roll.size", "an empty roll", |m| m["roll"]["size"] = json!(0)),
    ok("a roll of 2^40", |m| m["roll"]["size"] = json!(1u64 << 40)),
    bad("roll.size", "a roll of 2^40 + 1", |m| m["roll"]["size"] = json!((1u64 << 40) + 1)),
    bad("batch_min", "batches of nothing", |m| m["batch_min"] = json!(0)),
    ok("the largest batch of these votes", |m| m["batch_min"] = json!(26_378)),
    bad("batch_min", "one vote more than a batch file holds", |m| m["batch_min"] = json!(26_379)),
    bad("batch_min", "as many votes as a batch has entries: there is no room for the tally", |m| m["batch_min"] = json!(32_768)),
    bad("batch_wait_ms", "too short a wait", |m| m["batch_wait_ms"] = json!(99)),
    bad("batch_wait_ms", "too long a wait", |m| m["batch_wait_ms"] = json!(30_001)),
    ok("no cast delay", |m| m["cast_delay_s"] = json!(0)),
    bad("cast_delay_s", "a delay of more than a day", |m| m["cast_delay_s"] = json!(86_401)),
    bad("head_interval_ms", "heads too close", |m| m["head_interval_ms"] = json!(99)),
    bad("head_interval_ms", "heads too far apart", |m| m["head_interval_ms"] = json!(3_600_001)),
    bad("anchors", "no anchor", |m| m["anchors"] = json!([])),
    bad("anchors[1].name", "two anchors with one name", |m| m["anchors"][1]["name"] = json!("north")),
    bad("anchors[0].name", "an anchor's name with a slash", |m| m["anchors"][0]["name"] = json!("a/b")),
    bad("anchors[0].name", "an anchor's name of 65 bytes", |m| m["anchors"][0]["name"] = json!("a".repeat(65))),
    bad("anchors[0].kind", "an unknown kind of anchor", |m| m["anchors"][0]["kind"] = json!("blackboard")),
    ok("no witnesses", |m| m["witnesses"] = json!({"keys": [], "quorum": 0})),
    bad("witnesses.quorum", "a quorum above the witnesses", |m| m["witnesses"]["quorum"] = json!(3)),
    bad("witnesses.keys[1]", "two witnesses of one name", |m| {
        let other = witness("w2.example").replacen("w2", "w1", 1);
        m["witnesses"]["keys"][1] = json!(other);
    }),
    bad("witnesses.keys[0]", "a witness whose name hides a character", |m| {
        let key = crate::fixture::key("witness w1.example").public();
        m["witnesses"]["keys"][0] = json!(protocol::note::VerifierKey::new("w1\u{202e}.example", protocol::note::KeyType::Cosignature, key).unwrap().encode());
    }),
    bad("witnesses.keys[0]", "a witness whose name is no label: a control character", |m| {
        let key = crate::fixture::key("witness w1.example").public();
        m["witnesses"]["keys"][0] = json!(protocol::note::VerifierKey::new("w1\u{7f}.example", protocol::note::KeyType::Cosignature, key).unwrap().encode());
    }),
    bad("witnesses.keys[0]", "a witness's key of type 0x01", |m| {
        use protocol::note::{KeyType, VerifierKey};
        let key = crate::fixture::key("witness w1.example").public();
        m["witnesses"]["keys"][0] = json!(VerifierKey::new("w1.example", KeyType::Ed25519, key).unwrap().encode());
    }),
    bad("witnesses.keys[0]", "a witness with a key of a cell", |m| {
        use protocol::note::{KeyType, VerifierKey};
        let key = pair("cells/0").main;
        m["witnesses"]["keys"][0] = json!(VerifierKey::new("w1.example", KeyType::Cosignature, key).unwrap().encode());
    }),
];

/// Documents that no edit of the members makes.
fn raw_cases(base: &str) -> Vec<(&'static str, String)> {
    let first = &base[1..];
    vec![
        ("white space", format!("{{ {first}")),
        ("a final newline", format!("{base}\n")),
        ("a repeated member", {
            let (anchors, rest) = first.split_once(",\"authority\"").unwrap();
            format!("{{{anchors},{anchors},\"authority\"{rest}")
        }),
        ("members out of order", {
            let (anchors, rest) = first.split_once(",\"authority\"").unwrap();
            format!(
                "{{\"authority\"{},{anchors}}}",
                rest.strip_suffix('}').unwrap()
            )
        }),
        (
            "a number with a fraction",
            base.replace("\"batch_min\":2", "\"batch_min\":2.0"),
        ),
        ("an escape where none is needed", {
            base.replace("\"Ada\"", "\"\\u0041da\"")
        }),
        ("no object", "[]".to_owned()),
        ("nothing", String::new()),
    ]
}

fn canonical(value: &Value) -> String {
    String::from_utf8(serde_json_canonicalizer::to_vec(value).unwrap()).unwrap()
}

fn case(name: &str, text: &str, expected: Expected) -> Value {
    let id = hex::encode(Sha256::digest(text));
    json!({
        "why": name, "manifest": text, "valid": expected.is_none(), "member": expected,
        "election": expected.is_none().then_some(id),
    })
}

/// Refusals that serde makes while parsing name no member here: the document "cannot be read".
fn is_type_error(member: &str) -> bool {
    matches!(
        member,
        "contests[0].method" | "anchors[0].kind" | "cells[0].main" | "registrars[0].rsa"
    )
}

fn cases() -> Vec<Value> {
    let base = serde_json::to_value(manifest()).unwrap();
    let mut cases: Vec<Value> = EDITS
        .iter()
        .filter(|edit| {
            // Left to the unit test below: their bytes are many and say little.
            !matches!(
                edit.why,
                "200 contests" | "201 contests" | "4,096 options in all" | "4,097 options in all"
            ) && !edit.why.contains(" shards")
        })
        .map(|edit| {
            let mut value = base.clone();
            (edit.edit)(&mut value);
            case(edit.why, &canonical(&value), edit.expected)
        })
        .collect();
    let text = canonical(&base);
    cases.extend(
        raw_cases(&text)
            .iter()
            .map(|(why, text)| case(why, text, Some("json"))),
    );
    cases
}

fn judge(text: &str) -> Result<Election, ManifestError> {
    Election::from_manifest_bytes(text.as_bytes())
}

fn check(why: &str, text: &str, expected: Option<&str>) {
    match (judge(text), expected) {
        (Ok(election), None) => assert_eq!(election.manifest_bytes(), text.as_bytes(), "{why}"),
        (Err(ManifestError::Json(_)), Some("json")) => {}
        (Err(ManifestError::Json(_)), Some(member)) if is_type_error(member) => {}
        (Err(ManifestError::Member { member, .. }), Some(expected)) => {
            assert_eq!(member, expected, "{why}");
        }
        (result, _) => panic!("{why}: {:?}", result.map(|election| election.id())),
    }
}

#[test]
fn every_rule_names_the_member_that_breaks_it() {
    let base = serde_json::to_value(manifest()).unwrap();
    for edit in EDITS {
        let mut value = base.clone();
        (edit.edit)(&mut value);
        check(edit.why, &canonical(&value), edit.expected);
    }
}

#[test]
fn vectors() {
    let about = "Manifests, specs/protocol.md section 2. A verifier must answer `valid`, and `election` is the id; `member` is what the Rust implementation names as wrong. \
        The case `base` is the election of the other files.";
    for case in vector_cases("manifest.json", about, &cases()) {
        let why = case["why"].as_str().unwrap();
        let text = case["manifest"].as_str().unwrap();
        check(why, text, case["member"].as_str());
        assert_eq!(judge(text).is_ok(), case["valid"], "{why}");
        if let Ok(election) = judge(text) {
            assert_eq!(election.id().to_string(), case["election"], "{why}");
        }
    }
}

#[test]
fn the_id_is_checked_before_anything_is_parsed() {
    let bytes = ELECTION.manifest_bytes();
    assert!(Election::check_id(bytes, &ELECTION.id()).is_ok());
    let other = ElectionId([0; 32]);
    // Not even JSON: the hash is what is wrong first.
    for bytes in [bytes, b"{"] {
        assert!(matches!(
            Election::check_id(bytes, &other),
            Err(ManifestError::OtherElection { expected, .. }) if expected == other
        ));
    }
    let huge = vec![b' '; (1 << 20) + 1];
    let id = ElectionId(Sha256::digest(&huge).into());
    assert!(matches!(
        Election::check_id(&huge, &id),
        Err(ManifestError::Json(_))
    ));
}

#[test]
fn sealing_and_opening_agree() {
    let sealed = Election::new(&manifest()).unwrap();
    let opened = Election::check_id(sealed.manifest_bytes(), &sealed.id()).unwrap();
    assert_eq!(opened.manifest(), &manifest());
    let id: [u8; 32] = Sha256::digest(sealed.manifest_bytes()).into();
    assert_eq!(opened.id(), ElectionId(id));
    // The id is all that makes an election the same.
    assert_eq!(opened, sealed);
    let mut other = manifest();
    other.demo = !other.demo;
    assert_ne!(Election::new(&other).unwrap(), sealed);
}

#[test]
fn the_shards_of_a_registrar_share_the_roll() {
    let voters = |registrar, shard| ELECTION.voters_of_shard(registrar, shard);
    assert_eq!(voters(0, 0) + voters(0, 1), manifest().roll.size);
    assert_eq!(voters(1, 0), manifest().roll.size);
    assert_eq!([voters(0, 2), voters(1, 1), voters(2, 0)], [0; 3]);
}

#[test]
fn logs_stand_in_head_order_with_their_own_keys() {
    let issuance = |registrar, shard| LogId::Issuance { registrar, shard };
    let logs = [
        LogId::Cell(0),
        LogId::Cell(1),
        issuance(0, 0),
        issuance(0, 1),
        issuance(1, 0),
    ];
    assert_eq!(ELECTION.logs(), logs);
    for (position, log) in logs.into_iter().enumerate() {
        assert_eq!(ELECTION.head_position(log), Some(position));
        let keys = ELECTION.log_keys(log).unwrap();
        let pair = pair(&log.prefix());
        assert_eq!(keys.to_bytes(), [pair.main, pair.spare]);
        let id = ELECTION.id();
        assert_eq!(
            ELECTION.origin(log),
            format!("votes.example/2026/elections/{id}/{log}")
        );
    }
    assert_eq!(ELECTION.head_position(LogId::Heads), None);
    assert!(ELECTION.contains(LogId::Heads) && ELECTION.log_keys(LogId::Heads).is_some());
    for absent in [
        LogId::Cell(2),
        issuance(0, 2),
        issuance(1, 1),
        issuance(2, 0),
    ] {
        assert!(!ELECTION.contains(absent) && ELECTION.log_keys(absent).is_none());
    }
    assert_eq!(ELECTION.shard_of(0, 499), Some(0));
    assert_eq!(ELECTION.shard_of(0, 500), Some(1));
    assert_eq!(ELECTION.shard_of(1, 999), Some(0));
    assert_eq!(ELECTION.shard_of(1, 1_000), None);
    assert_eq!(ELECTION.shard_of(2, 0), None);
    // type, credential, two signatures, 1 + 4 + 4 options, ballot signature
    assert_eq!(
        ELECTION.max_vote_len(),
        1 + 32 + 256 + 257 + 2 * (3 + 1 + 4 + 4) + 64
    );
}

#[test]
fn a_manifest_keeps_the_rules_wherever_a_byte_is_flipped() {
    // No flip may panic, and what is still accepted must be another election.
    let bytes = ELECTION.manifest_bytes();
    for at in (0..bytes.len()).step_by(41) {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1;
        if let Ok(election) = Election::from_manifest_bytes(&flipped) {
            assert_ne!(election.id(), ELECTION.id());
        }
    }
}

#[test]
fn a_raw_manifest_survives_json() {
    let text = serde_json::to_string(&manifest()).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest());
}

#[test]
fn a_manifest_of_the_greatest_length_is_looked_at() {
    let id = ElectionId([0; 32]);
    let too_large = |len: usize| {
        let error = Election::check_id(&vec![b' '; len], &id).unwrap_err();
        matches!(error, ManifestError::Json(CanonicalError::TooLarge { .. }))
    };
    assert!(!too_large(MANIFEST_LEN_MAX));
    assert!(too_large(MANIFEST_LEN_MAX + 1));
}
