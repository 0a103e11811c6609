//! The vectors of notes, checkpoints and proofs, and their check.

use protocol::checkpoint::Checkpoint;
use protocol::cosignature::WitnessKey;
use protocol::ed25519;
use protocol::merkle::Hash;
use protocol::note::{KeyType, NoteSignature, SignedNote, VerifierKey, key_id};
use protocol::tlog_proof::TlogProof;
use serde_json::{Value, json};

use crate::common::vector_cases;
use crate::forms::{EXAMPLE_NOTE, EXAMPLE_VKEY, POEM};
use crate::proofs::proof;
use crate::support::{Key, ORIGIN, head, leaf, main_key, signed, spare_key};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn strings(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item.as_str().unwrap())
        .collect()
}

fn key_bytes(hex_text: &str) -> [u8; 32] {
    hex::decode(hex_text).unwrap().try_into().unwrap()
}

// ---- note.json

const NOTE_ABOUT: &str = "C2SP signed-note as Tallyroot reads it: 1 to 100 signature lines, at most 65,536 bytes, one spelling. \
kind `note`: `input` is the note's text (or `input_hex` its bytes); `expected` what it holds. \
kind `vkey`: `input` is a verifier key of type 1 (Ed25519) or 4 (cosignature). \
kind `signed`: whether the note `input` has a valid type 1 signature by `vkey`. Key IDs, keys and signatures are hex.";

fn note(name: &str, why: &str, input: &str, valid: bool) -> Value {
    let expected = if valid {
        describe_note(&SignedNote::parse(input.as_bytes()).unwrap())
    } else {
        Value::Null
    };
    json!({ "kind": "note", "name": name, "why": why, "input": input, "valid": valid, "expected": expected })
}

fn describe_note(note: &SignedNote) -> Value {
    let lines: Vec<Value> = note.signatures().iter().map(|line| json!({ "name": line.name(), "key_id": line.key_id().to_string(), "signature": hex::encode(line.signature()) })).collect();
    json!({ "text": note.text(), "signatures": lines })
}

fn vkey(name: &str, why: &str, input: &str, valid: bool) -> Value {
    let expected = if valid {
        describe_vkey(&VerifierKey::parse(input).unwrap())
    } else {
        Value::Null
    };
    json!({ "kind": "vkey", "name": name, "why": why, "input": input, "valid": valid, "expected": expected })
}

fn describe_vkey(key: &VerifierKey) -> Value {
    json!({ "name": key.name(), "key_id": key.key_id().to_string(), "type": key.key_type().byte(), "public_key": hex::encode(key.public_key()) })
}

fn note_cases() -> Vec<Value> {
    let good = "text\n\n— name AAAAAQI=\n";
    let cosigner = VerifierKey::new("w.example/1", KeyType::Cosignature, Key::new(11).public())
        .unwrap()
        .encode();
    let line = "— name AAAAAQI=\n";
    let too_long = format!("{}\n\n{line}", "x".repeat(65_536 - line.len() - 1));
    let mut cases = vec![
        note(
            "C2SP example",
            "signed-note, Verifier keys, Example",
            EXAMPLE_NOTE,
            true,
        ),
        note(
            "empty line in the text",
            "signed-note, the first example: the text ends at the last empty line",
            POEM,
            true,
        ),
        note(
            "one byte of signature",
            "4 bytes of key ID and at least one of signature",
            good,
            true,
        ),
        note(
            "text is one newline",
            "the text may consist of empty lines",
            &format!("\n\n{line}"),
            true,
        ),
        note(
            "text ends in an empty line",
            "the last empty line separates",
            &format!("text\n\n\n{line}"),
            true,
        ),
        note(
            "signature line in the text",
            "what stands above the last empty line is text",
            &format!("{line}\n{line}"),
            true,
        ),
        note(
            "two lines of one key",
            "the form allows it; who reads the note judges it",
            &format!("{good}{line}"),
            true,
        ),
        note(
            "100 lines",
            "the most that are read",
            &format!("text\n\n{}", line.repeat(100)),
            true,
        ),
        note(
            "101 lines",
            "at most 100 signature lines",
            &format!("text\n\n{}", line.repeat(101)),
            false,
        ),
        note(
            "65,537 bytes",
            "a note has at most 65,536 bytes",
            &too_long,
            false,
        ),
        note("empty", "no text", "", false),
        note("no signature line", "at least one", "text\n\n", false),
        note(
            "no empty line",
            "the separating line is missing",
            &format!("text\n{line}"),
            false,
        ),
        note(
            "no text",
            "the text ends in a newline, so it is not empty",
            &format!("\n{line}"),
            false,
        ),
        note(
            "no final newline",
            "each signature line ends in a newline",
            good.trim_end(),
            false,
        ),
        note(
            "empty line at the end",
            "that makes the lines text, and no line is left",
            &format!("{good}\n"),
            false,
        ),
        note(
            "CR LF",
            "control characters other than newline",
            &good.replace('\n', "\r\n"),
            false,
        ),
        note(
            "tab in the text",
            "control characters other than newline",
            &good.replace("text", "te\txt"),
            false,
        ),
        note(
            "hyphen",
            "a signature line starts with an em dash, U+2014",
            &good.replace('—', "-"),
            false,
        ),
        note(
            "en dash",
            "a signature line starts with an em dash, U+2014",
            &good.replace('—', "–"),
            false,
        ),
        note(
            "no space",
            "an em dash and a space",
            &good.replace("— ", "—"),
            false,
        ),
        note(
            "no key name",
            "a key name is not empty",
            &good.replace("name ", " "),
            false,
        ),
        note(
            "plus in the name",
            "key names hold no plus",
            &good.replace("name", "na+me"),
            false,
        ),
        note(
            "no-break space in the name",
            "key names hold no Unicode spaces",
            &good.replace("name", "na\u{a0}me"),
            false,
        ),
        note(
            "two spaces",
            "one space between name and base64",
            &good.replace("name ", "name  "),
            false,
        ),
        note(
            "no padding",
            "canonical base64",
            &good.replace("AAAAAQI=", "AAAAAQI"),
            false,
        ),
        note(
            "unused bits set",
            "canonical base64",
            &good.replace("AAAAAQI=", "AAAAAQJ="),
            false,
        ),
        note(
            "URL alphabet",
            "the standard alphabet",
            &good.replace("AAAAAQI=", "AAA_AQI="),
            false,
        ),
        note(
            "key ID alone",
            "at least one byte of signature",
            &good.replace("AAAAAQI=", "AAAAAQ=="),
            false,
        ),
        note(
            "3 bytes",
            "not even a key ID",
            &good.replace("AAAAAQI=", "AAAA"),
            false,
        ),
        json!({ "kind": "note", "name": "not UTF-8", "why": "a note is UTF-8", "input_hex": hex::encode(b"te\xffxt\n\n\xe2\x80\x94 name AAAAAQI=\n"), "valid": false, "expected": null }),
        vkey(
            "C2SP example",
            "signed-note, Verifier keys, Example",
            EXAMPLE_VKEY,
            true,
        ),
        vkey("cosigner", "type 4", &cosigner, true),
        vkey(
            "other name",
            "the key ID is not that of name and key",
            &cosigner.replacen("w.example/1", "w.example/2", 1),
            false,
        ),
        vkey(
            "other key ID",
            "the key ID is not that of name and key",
            &EXAMPLE_VKEY.replacen("530d903a", "530d903b", 1),
            false,
        ),
        vkey(
            "upper-case key ID",
            "hex is lowercase",
            &EXAMPLE_VKEY.replacen("530d903a", "530D903A", 1),
            false,
        ),
        vkey(
            "type 6",
            "ML-DSA-44 is not used here",
            "w+00000000+BgAA",
            false,
        ),
        vkey(
            "short key",
            "an Ed25519 key has 32 bytes",
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U0=",
            false,
        ),
        vkey(
            "newline",
            "nothing behind the key",
            &format!("{EXAMPLE_VKEY}\n"),
            false,
        ),
        vkey(
            "two parts",
            "three parts",
            "example.com/foo+530d903a",
            false,
        ),
    ];
    let signed = |name: &str, why: &str, input: &str, valid: bool| json!({ "kind": "signed", "name": name, "why": why, "vkey": EXAMPLE_VKEY, "input": input, "valid": valid });
    cases.extend([
        signed(
            "C2SP example",
            "signed-note, Verifier keys, Example",
            EXAMPLE_NOTE,
            true,
        ),
        signed(
            "other text",
            "the signature is over the text",
            &EXAMPLE_NOTE.replacen("This", "That", 1),
            false,
        ),
        signed(
            "other name",
            "name and key ID tell the key",
            &EXAMPLE_NOTE.replacen("foo", "bar", 1),
            false,
        ),
    ]);
    cases
}

#[test]
fn note_vectors() {
    for case in vector_cases("note.json", NOTE_ABOUT, &note_cases()) {
        let input = match &case["input"] {
            Value::String(text) => text.as_bytes().to_vec(),
            _ => hex::decode(case["input_hex"].as_str().unwrap()).unwrap(),
        };
        let got = match case["kind"].as_str().unwrap() {
            "note" => SignedNote::parse(&input).ok().map(|note| {
                assert_eq!(note.encode(), input);
                describe_note(&note)
            }),
            "vkey" => VerifierKey::parse(&text(&input)).ok().map(|key| {
                assert_eq!(key.encode().as_bytes(), input);
                describe_vkey(&key)
            }),
            "signed" => {
                let key = VerifierKey::parse(case["vkey"].as_str().unwrap()).unwrap();
                let note = SignedNote::parse(&input).unwrap();
                let by_key = |line: &&NoteSignature| {
                    line.name() == key.name() && line.key_id() == key.key_id()
                };
                let line = note.signatures().iter().find(by_key);
                line.filter(|line| {
                    ed25519::verify(
                        key.public_key(),
                        note.text().as_bytes(),
                        line.signature().try_into().unwrap(),
                    )
                    .is_ok()
                })
                .map(|_| Value::Null)
            }
            other => panic!("kind {other}"),
        };
        judge(&case, got);
    }
}

// ---- checkpoint.json

const CHECKPOINT_ABOUT: &str = "C2SP tlog-checkpoint as Tallyroot's logs sign it (specs/protocol.md section 4): no extension lines, and no signature line that the manifest does not allow. \
`keys` are the log's public keys in hex (main, spare). kind `checkpoint`: exactly one signature line, by one of them, named as the origin; `expected.key` is its index. \
kind `cosigned`: then only cosignatures (C2SP tlog-cosignature, type 4) of `witnesses` (verifier keys), each once; `expected.cosignatures` are pairs of the witness's index and the time in seconds. \
Sizes and times are decimal strings. The log keys have seeds of 32 bytes 01 and 02, the witnesses 0b and 0c.";

fn witness_vkey(name: &str, seed: u8) -> String {
    VerifierKey::new(name, KeyType::Cosignature, Key::new(seed).public())
        .unwrap()
        .encode()
}

fn checkpoint_case(kind: &str, name: &str, why: &str, input: &[u8], expected: &Value) -> Value {
    let mut case = json!({
        "kind": kind, "name": name, "why": why, "origin": ORIGIN, "input": text(input), "valid": !expected.is_null(), "expected": expected,
        "keys": [hex::encode(main_key().public()), hex::encode(spare_key().public())],
    });
    if kind == "cosigned" {
        case["witnesses"] = json!([
            witness_vkey("a.example/w", 11),
            witness_vkey("b.example/w", 12)
        ]);
    }
    case
}

fn expected_checkpoint(size: u64, key: usize) -> Value {
    json!({ "size": size.to_string(), "root": head(size).root().to_string(), "key": key })
}

/// Any three lines and signature lines, whether they make a checkpoint or not.
fn raw(body: &str, lines: &[NoteSignature]) -> Vec<u8> {
    let lines: String = lines.iter().map(NoteSignature::encode).collect();
    format!("{body}\n{lines}").into_bytes()
}

fn checkpoint_cases() -> Vec<Value> {
    let (main, spare) = (main_key(), spare_key());
    let body = head(7).body();
    let root = head(7).root().to_base64();
    let plain = |name: &str, why: &str, input: &[u8], expected: &Value| {
        checkpoint_case("checkpoint", name, why, input, expected)
    };
    let refused = |name: &str, why: &str, input: &[u8]| plain(name, why, input, &Value::Null);
    // A body that is spelled otherwise, with a valid signature over it.
    let spelled = |name: &str, why: &str, body: &str| {
        refused(name, why, &raw(body, &[main.line(ORIGIN, body)]))
    };
    let tampered = text(&signed(&head(7), &main)).replacen("\n7\n", "\n8\n", 1);
    let mut cases = vec![
        plain(
            "main key",
            "the log's main key",
            &signed(&head(7), &main),
            &expected_checkpoint(7, 0),
        ),
        plain(
            "spare key",
            "the log's spare key",
            &signed(&head(7), &spare),
            &expected_checkpoint(7, 1),
        ),
        plain(
            "empty log",
            "size 0 has the root of the empty tree",
            &signed(&head(0), &main),
            &expected_checkpoint(0, 0),
        ),
        refused(
            "size changed",
            "the signature is over all three lines",
            tampered.as_bytes(),
        ),
        refused(
            "unknown key",
            "signed by a key that is not the log's",
            &raw(&body, &[Key::new(9).line(ORIGIN, &body)]),
        ),
        refused(
            "forged",
            "the main key's ID, and another key's signature",
            &raw(
                &body,
                &[NoteSignature::new(
                    ORIGIN,
                    key_id(ORIGIN, 1, &main.public()),
                    &spare.sign(body.as_bytes()),
                )
                .unwrap()],
            ),
        ),
        refused(
            "other key name",
            "the line's name must be the origin",
            &raw(&body, &[main.line("vote.example/other", &body)]),
        ),
        refused(
            "two log lines",
            "exactly one signature line",
            &raw(
                &body,
                &[main.line(ORIGIN, &body), spare.line(ORIGIN, &body)],
            ),
        ),
        refused(
            "the same line twice",
            "exactly one signature line",
            &raw(&body, &[main.line(ORIGIN, &body), main.line(ORIGIN, &body)]),
        ),
        refused(
            "unknown line behind",
            "any other line is a finding",
            &raw(
                &body,
                &[
                    main.line(ORIGIN, &body),
                    Key::new(9).line("x.example", &body),
                ],
            ),
        ),
        refused(
            "cosignature behind",
            "any other line is a finding",
            &raw(
                &body,
                &[
                    main.line(ORIGIN, &body),
                    Key::new(11).cosign("a.example/w", 5, &body),
                ],
            ),
        ),
        refused(
            "no signature",
            "a note has a signature line",
            &raw(&body, &[]),
        ),
        spelled(
            "other origin",
            "another log's checkpoint",
            &body.replacen("cells/0", "cells/1", 1),
        ),
        spelled(
            "extension line",
            "no extension lines",
            &format!("{body}extension\n"),
        ),
        spelled(
            "empty line behind the root",
            "exactly three lines",
            &format!("{body}\n"),
        ),
        spelled(
            "two lines",
            "exactly three lines",
            &format!("{ORIGIN}\n7\n"),
        ),
        spelled(
            "leading zero",
            "decimal without leading zeroes",
            &body.replacen("\n7\n", "\n07\n", 1),
        ),
        spelled(
            "plus sign",
            "decimal without signs",
            &body.replacen("\n7\n", "\n+7\n", 1),
        ),
        spelled(
            "space behind the size",
            "decimal digits only",
            &body.replacen("\n7\n", "\n7 \n", 1),
        ),
        spelled(
            "size 2^64",
            "sizes are below 2^64",
            &body.replacen("\n7\n", "\n18446744073709551616\n", 1),
        ),
        spelled(
            "size 0 with another root",
            "size 0 has the root of the empty tree",
            &body.replacen("\n7\n", "\n0\n", 1),
        ),
        spelled(
            "root without padding",
            "canonical base64",
            &body.replacen(&root, root.trim_end_matches('='), 1),
        ),
        spelled(
            "root with unused bits",
            "canonical base64",
            &body.replacen(&root, &format!("{}B=", "A".repeat(42)), 1),
        ),
        spelled(
            "root of 31 bytes",
            "a root has 32 bytes",
            &body.replacen(&root, &format!("{}==", "A".repeat(42)), 1),
        ),
        spelled(
            "root of 33 bytes",
            "a root has 32 bytes",
            &body.replacen(&root, &"A".repeat(44), 1),
        ),
        refused(
            "short signature",
            "an Ed25519 signature has 64 bytes",
            &raw(
                &body,
                &[
                    NoteSignature::new(ORIGIN, key_id(ORIGIN, 1, &main.public()), &[1; 63])
                        .unwrap(),
                ],
            ),
        ),
    ];

    let (a, b) = (Key::new(11), Key::new(12));
    let cosigned =
        |name: &str, why: &str, lines: Vec<NoteSignature>, witnesses: Option<&[(usize, u64)]>| {
            let note = raw(&body, &[vec![main.line(ORIGIN, &body)], lines].concat());
            let expected = witnesses.map_or(Value::Null, |seen| {
                let mut expected = expected_checkpoint(7, 0);
                expected["cosignatures"] = seen
                    .iter()
                    .map(|(witness, time)| json!([witness, time.to_string()]))
                    .collect();
                expected
            });
            checkpoint_case("cosigned", name, why, &note, &expected)
        };
    let by_a = a.cosign("a.example/w", 1_700_000_000, &body);
    let by_b = b.cosign("b.example/w", (1 << 63) - 1, &body);
    let remade = |bytes: &[u8]| NoteSignature::new("a.example/w", by_a.key_id(), bytes).unwrap();
    let at = |time: u64| {
        remade(
            &[
                &time.to_be_bytes()[..],
                &a.sign(&protocol::cosignature::message(time, &body)),
            ]
            .concat(),
        )
    };
    cases.extend([
        cosigned(
            "nobody",
            "whether a quorum is met is another question",
            vec![],
            Some(&[]),
        ),
        cosigned(
            "one witness",
            "a named witness",
            vec![by_a.clone()],
            Some(&[(0, 1_700_000_000)]),
        ),
        cosigned(
            "both, in any order",
            "the largest time is 2^63 - 1",
            vec![by_b.clone(), by_a.clone()],
            Some(&[(1, (1 << 63) - 1), (0, 1_700_000_000)]),
        ),
        cosigned(
            "a witness twice",
            "each witness at most once",
            vec![by_a.clone(), a.cosign("a.example/w", 1_700_000_001, &body)],
            None,
        ),
        cosigned(
            "a stranger",
            "only named witnesses",
            vec![Key::new(13).cosign("c.example/w", 5, &body)],
            None,
        ),
        cosigned(
            "another's name",
            "name and key ID must be the witness's",
            vec![a.cosign("b.example/w", 5, &body)],
            None,
        ),
        cosigned(
            "plain signature",
            "a type 1 signature is not a cosignature",
            vec![a.line("a.example/w", &body)],
            None,
        ),
        cosigned(
            "other checkpoint",
            "the cosignature is over this body",
            vec![a.cosign("a.example/w", 5, &head(6).body())],
            None,
        ),
        cosigned(
            "other time",
            "the cosignature is over its time",
            vec![remade(
                &[&5_u64.to_be_bytes(), &by_a.signature()[8..]].concat(),
            )],
            None,
        ),
        cosigned(
            "time 0",
            "tlog-witness: the timestamp must not be zero",
            vec![at(0)],
            None,
        ),
        cosigned(
            "time 2^63",
            "times are at most 2^63 - 1",
            vec![at(1 << 63)],
            None,
        ),
        cosigned(
            "71 bytes",
            "8 bytes of time and 64 of signature",
            vec![remade(&by_a.signature()[..71])],
            None,
        ),
        cosigned(
            "the log's line twice",
            "only witnesses behind the log's line",
            vec![main.line(ORIGIN, &body)],
            None,
        ),
    ]);
    cases.push(checkpoint_case(
        "cosigned",
        "witness first",
        "the log's line stands first",
        &raw(&body, &[by_a, main.line(ORIGIN, &body)]),
        &Value::Null,
    ));
    cases
}

#[test]
fn checkpoint_vectors() {
    for case in vector_cases("checkpoint.json", CHECKPOINT_ABOUT, &checkpoint_cases()) {
        let keys: Vec<_> = strings(&case["keys"]).into_iter().map(key_bytes).collect();
        let (input, origin) = (
            case["input"].as_str().unwrap().as_bytes(),
            case["origin"].as_str().unwrap(),
        );
        let describe = |checkpoint: &Checkpoint, key: usize| json!({ "size": checkpoint.size().to_string(), "root": checkpoint.root().to_string(), "key": key });
        let got = match case["kind"].as_str().unwrap() {
            "checkpoint" => Checkpoint::verify(input, origin, &keys)
                .ok()
                .map(|(checkpoint, key)| describe(&checkpoint, key)),
            "cosigned" => {
                let witnesses: Vec<_> = strings(&case["witnesses"])
                    .into_iter()
                    .map(|vkey| WitnessKey::parse_vkey(vkey).unwrap())
                    .collect();
                Checkpoint::verify_cosigned(input, origin, &keys, &witnesses)
                    .ok()
                    .map(|(checkpoint, key, seen)| {
                        let mut got = describe(&checkpoint, key);
                        got["cosignatures"] = seen
                            .iter()
                            .map(|(witness, time)| json!([witness, time.to_string()]))
                            .collect();
                        got
                    })
            }
            other => panic!("kind {other}"),
        };
        judge(&case, got);
    }
}

// ---- tlog_proof.json

const PROOF_ABOUT: &str = "C2SP tlog-proof as Tallyroot reads it: at most 64 hashes and 131,072 bytes, one spelling, the checkpoint a signed note. \
kind `form`: what `input` holds (`extra` in hex or null, `index` a decimal string, hashes in hex). \
kind `proof`: whether `input` proves that the leaf hash `leaf` is in the log of `origin`, whose checkpoint holds exactly one signature line, by one of `keys` (hex). \
The log is that of checkpoint.json; entry i of it is the ASCII text `entry <i>`.";

fn proof_cases() -> Vec<Value> {
    let good = text(&proof(3, 7).encode());
    let first = proof(3, 7).proof()[0].to_base64();
    let form = |name: &str, why: &str, input: &str, valid: bool| {
        let expected = if valid {
            describe_proof(&TlogProof::parse(input.as_bytes()).unwrap())
        } else {
            Value::Null
        };
        json!({ "kind": "form", "name": name, "why": why, "input": input, "valid": valid, "expected": expected })
    };
    let longest = TlogProof::new(
        None,
        u64::MAX,
        vec![Hash([1; 32]); 64],
        proof(3, 7).checkpoint().to_vec(),
    )
    .unwrap();
    let longest = text(&longest.encode());
    let too_long = longest.replacen("\n\n", &format!("\n{}\n\n", Hash([1; 32]).to_base64()), 1);
    let without_extra = good.replacen("extra ZW50cnkgMw==\n", "", 1);
    let mut cases = vec![
        form(
            "with extra",
            "extra data, index, proof, checkpoint",
            &good,
            true,
        ),
        form(
            "without extra",
            "the line is left out",
            &without_extra,
            true,
        ),
        form(
            "no hashes",
            "the proof in a tree of one leaf is empty",
            &text(&proof(0, 1).encode()),
            true,
        ),
        form(
            "64 hashes, index 2^64 - 1",
            "the most that is read",
            &longest,
            true,
        ),
        form("65 hashes", "at most 64 hashes", &too_long, false),
        form(
            "131,073 bytes",
            "at most 131,072 bytes",
            &format!(
                "{}{}",
                without_extra,
                "x".repeat(131_073 - without_extra.len())
            ),
            false,
        ),
        form(
            "other version",
            "the first line",
            &good.replacen("@v1", "@v2", 1),
            false,
        ),
        form(
            "CR LF",
            "lines end in a newline",
            &good.replace('\n', "\r\n"),
            false,
        ),
        form(
            "empty extra",
            "without extra data the line is left out",
            &good.replacen("ZW50cnkgMw==", "", 1),
            false,
        ),
        form(
            "extra without padding",
            "canonical base64",
            &good.replacen("ZW50cnkgMw==", "ZW50cnkgMw", 1),
            false,
        ),
        form(
            "extra with unused bits",
            "canonical base64",
            &good.replacen("ZW50cnkgMw==", "ZW50cnkgMx==", 1),
            false,
        ),
        form(
            "extra twice",
            "one extra line",
            &good.replacen("index", "extra AA==\nindex", 1),
            false,
        ),
        form(
            "extra behind the index",
            "extra stands above index",
            &without_extra.replacen("index 3\n", "index 3\nextra AA==\n", 1),
            false,
        ),
        form(
            "no index",
            "the index line is missing",
            &good.replacen("index 3\n", "", 1),
            false,
        ),
        form(
            "leading zero",
            "decimal without leading zeroes",
            &good.replacen("index 3", "index 03", 1),
            false,
        ),
        form(
            "plus sign",
            "decimal without signs",
            &good.replacen("index 3", "index +3", 1),
            false,
        ),
        form(
            "index 2^64",
            "indices are below 2^64",
            &good.replacen("index 3", "index 18446744073709551616", 1),
            false,
        ),
        form(
            "short hash",
            "32 bytes in base64",
            &good.replacen(&first, &first[..40], 1),
            false,
        ),
        form(
            "hash with unused bits",
            "canonical base64",
            &good.replacen(&first, &format!("{}B=", "A".repeat(42)), 1),
            false,
        ),
        form(
            "no empty line",
            "an empty line stands above the checkpoint",
            &good.replacen("\n\n", "\n", 1),
            false,
        ),
        form(
            "no checkpoint",
            "the checkpoint is a signed note",
            &format!("{}\n\n", good.split_once("\n\n").unwrap().0),
            false,
        ),
        form(
            "bytes behind",
            "nothing behind the checkpoint",
            &format!("{good}x"),
            false,
        ),
    ];
    let proves = |name: &str, why: &str, input: &str, leaf: &Hash, valid: bool| {
        json!({
            "kind": "proof", "name": name, "why": why, "input": input, "leaf": leaf.to_string(), "valid": valid,
            "origin": ORIGIN, "keys": [hex::encode(main_key().public()), hex::encode(spare_key().public())],
        })
    };
    for (index, size) in [
        (0, 1),
        (0, 2),
        (1, 2),
        (2, 3),
        (3, 7),
        (6, 7),
        (5, 8),
        (99, 100),
    ] {
        cases.push(proves(
            &format!("entry {index} of {size}"),
            "the log's own proof",
            &text(&proof(index, size).encode()),
            &leaf(index),
            true,
        ));
    }
    cases.extend([
        proves(
            "other leaf",
            "the leaf is not at this index",
            &good,
            &leaf(4),
            false,
        ),
        proves(
            "other index",
            "the hashes are for index 3",
            &good.replacen("index 3", "index 2", 1),
            &leaf(3),
            false,
        ),
        proves(
            "index beyond the size",
            "a tree of 7 leaves ends at index 6",
            &good.replacen("index 3", "index 7", 1),
            &leaf(3),
            false,
        ),
        proves(
            "hash missing",
            "the length follows from index and size",
            &good.replacen(&format!("{first}\n"), "", 1),
            &leaf(3),
            false,
        ),
        proves(
            "hash doubled",
            "the length follows from index and size",
            &good.replacen(&first, &format!("{first}\n{first}"), 1),
            &leaf(3),
            false,
        ),
        proves(
            "hash changed",
            "it leads to another root",
            &good.replacen(&first, &Hash([1; 32]).to_base64(), 1),
            &leaf(3),
            false,
        ),
        proves(
            "size changed",
            "the checkpoint's signature",
            &good.replacen("\n7\n", "\n8\n", 1),
            &leaf(3),
            false,
        ),
        proves(
            "other extra",
            "the extra data is not authenticated by itself: its leaf hash must be `leaf`",
            &good.replacen("ZW50cnkgMw==", "ZW50cnkgNA==", 1),
            &leaf(3),
            true,
        ),
    ]);
    cases
}

fn describe_proof(proof: &TlogProof) -> Value {
    let hashes: Vec<String> = proof.proof().iter().map(Hash::to_string).collect();
    json!({ "extra": proof.extra().map(hex::encode), "index": proof.index().to_string(), "proof": hashes, "checkpoint": text(proof.checkpoint()) })
}

#[test]
fn tlog_proof_vectors() {
    for case in vector_cases("tlog_proof.json", PROOF_ABOUT, &proof_cases()) {
        let input = case["input"].as_str().unwrap();
        let got = match case["kind"].as_str().unwrap() {
            "form" => TlogProof::parse(input.as_bytes()).ok().map(|proof| {
                assert_eq!(text(&proof.encode()), input);
                describe_proof(&proof)
            }),
            "proof" => {
                let keys: Vec<_> = strings(&case["keys"]).into_iter().map(key_bytes).collect();
                let leaf = Hash::from_hex(case["leaf"].as_str().unwrap()).unwrap();
                let proof = TlogProof::parse(input.as_bytes()).unwrap();
                proof
                    .verify(&leaf, case["origin"].as_str().unwrap(), &keys)
                    .ok()
                    .map(|_| Value::Null)
            }
            other => panic!("kind {other}"),
        };
        judge(&case, got);
    }
}

/// Compares what was read with what the file says.
fn judge(case: &Value, got: Option<Value>) {
    assert_eq!(
        got.is_some(),
        case["valid"].as_bool().unwrap(),
        "{} {}: {}",
        case["kind"],
        case["name"],
        case["why"]
    );
    assert_eq!(
        got.unwrap_or(Value::Null),
        case["expected"],
        "{} {}",
        case["kind"],
        case["name"]
    );
}
