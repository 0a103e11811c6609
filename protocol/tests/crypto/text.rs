//! Vectors for canonical JSON and for labels: where a verifier in another language meets another JSON library and another Unicode.

use protocol::canonical_json::from_canonical;
use protocol::text::check_label;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::support::vector_file;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    format: String,
    about: String,
    cases: Vec<Case>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    why: String,
    /// UTF-8 (or what claims to be), in hex.
    bytes: String,
    valid: bool,
}

fn vectors(format: &str, about: &str, groups: &[(bool, Cases)]) -> Vectors {
    let cases = groups.iter().flat_map(|(valid, cases)| {
        cases.iter().map(|(why, bytes)| Case {
            why: (*why).to_owned(),
            bytes: hex::encode(bytes),
            valid: *valid,
        })
    });
    Vectors {
        format: format!("tallyroot/v1/vectors/{format}"),
        about: about.to_owned(),
        cases: cases.collect(),
    }
}

/// Why, and the bytes.
type Cases = &'static [(&'static str, &'static [u8])];

const CANONICAL: Cases = &[
    ("empty object", b"{}"),
    ("empty array", b"[]"),
    ("every kind of value", b"{\"a\":[true,false,null],\"b\":{\"c\":\"d\"},\"e\":0}"),
    ("the largest integer", b"[9007199254740991]"),
    ("empty name and empty string", b"{\"\":\"\"}"),
    ("the escapes that must be used", b"[\"\\u0000\\u001f\\b\\t\\n\\f\\r\\\"\\\\\"]"),
    ("what must not be escaped", "[\"/\u{7f}\u{80}\u{2028}\u{2029}\u{20ac}\u{1f600}\"]".as_bytes()),
    (
        "names in order of UTF-16 code units (RFC 8785 section 3.2.3)",
        "{\"\\r\":0,\"1\":1,\"\u{80}\":2,\"\u{f6}\":3,\"\u{20ac}\":4,\"\u{1f600}\":5,\"\u{fb33}\":6}".as_bytes(),
    ),
    ("names that start alike", b"{\"a\":0,\"a \":1,\"aa\":2}"),
    ("text that looks like JSON", b"[\"{\\\"a\\\": -1.5e3}\"]"),
    ("combining characters are left alone", "[\"e\u{301}\u{e9}\"]".as_bytes()),
];

const NOT_CANONICAL: Cases = &[
    ("nothing", b""),
    ("white space inside", b"{\"a\": 1}"),
    ("white space before", b" {}"),
    ("newline after", b"{}\n"),
    ("byte order mark", b"\xef\xbb\xbf{}"),
    ("a second value", b"{}{}"),
    ("unfinished", b"{\"a\":1"),
    ("trailing comma", b"[1,]"),
    ("comment", b"[1/**/]"),
    ("single quotes", b"['a']"),
    ("name without quotes", b"{a:1}"),
    ("names out of order", b"{\"b\":1,\"a\":2}"),
    (
        "names in order of code points",
        "{\"\u{fb33}\":0,\"\u{1f600}\":1}".as_bytes(),
    ),
    ("repeated name", b"{\"a\":1,\"a\":1}"),
    ("repeated name, escaped once", b"{\"a\":1,\"\\u0061\":1}"),
    ("escape of a letter", b"[\"\\u0061\"]"),
    ("escape of a slash", b"[\"\\/\"]"),
    ("long escape where a short one exists", b"[\"\\u000a\"]"),
    ("escape in upper case", b"[\"\\u001F\"]"),
    ("escape of what needs none", b"[\"\\u20ac\"]"),
    ("surrogate pair as escapes", b"[\"\\ud83d\\ude00\"]"),
    ("lone surrogate as escape", b"[\"\\ud800\"]"),
    ("lone surrogate in UTF-8", b"[\"\xed\xa0\x80\"]"),
    ("overlong UTF-8", b"[\"\xc0\xaf\"]"),
    ("invalid UTF-8", b"[\"\xff\"]"),
    ("control character in a string", b"[\"\x01\"]"),
    ("newline in a string", b"[\"\n\"]"),
    ("negative", b"[-1]"),
    ("negative zero", b"[-0]"),
    ("fraction", b"[1.5]"),
    ("fraction of zero", b"[1.0]"),
    ("exponent", b"[1e2]"),
    ("exponent of zero", b"[1E0]"),
    ("2^53", b"[9007199254740992]"),
    ("2^64", b"[18446744073709551616]"),
    ("leading zero", b"[01]"),
    ("plus sign", b"[+1]"),
    ("NaN", b"[NaN]"),
    ("infinity", b"[1e400]"),
    ("True", b"[True]"),
    ("undefined", b"[undefined]"),
];

const LABELS: Cases = &[
    ("one letter", b"A"),
    ("Latin with marks", "Zoë Müller-Østergård".as_bytes()),
    ("Cyrillic, number sign", "Кандидат № 1".as_bytes()),
    ("Persian with a non-joiner", "می\u{200c}خواهم".as_bytes()),
    ("Devanagari with a joiner", "क\u{94d}\u{200d}ष".as_bytes()),
    ("Sinhala with a joiner", "ශ\u{dca}\u{200d}රී ලංකා".as_bytes()),
    ("ideographic space", "日本国\u{3000}東京".as_bytes()),
    ("Hangul syllables", "한국".as_bytes()),
    ("punctuation", "Straße (Nord) – Liste “3”".as_bytes()),
    (
        "emoji with variation selector",
        "🗳\u{fe0f} Party".as_bytes(),
    ),
    (
        "a base and a mark that have no composed form",
        "e\u{326}".as_bytes(),
    ),
    ("no-break spaces", "prix\u{202f}: 5\u{a0}€".as_bytes()),
    ("200 bytes", &[b'x'; 200]),
    (
        "a character that came with Unicode 14.0",
        "\u{1f6dd}".as_bytes(),
    ),
    (
        "the last ideograph of its block in Unicode 14.0",
        "\u{2b738}".as_bytes(),
    ),
];

const NOT_LABELS: Cases = &[
    ("empty", b""),
    ("201 bytes", &[b'x'; 201]),
    ("201 bytes in 101 characters", &{
        let mut bytes = [0xa9; 201];
        let mut i = 0;
        while i < 201 {
            bytes[i] = 0xc3;
            i += 2;
        }
        bytes[200] = b'x';
        bytes
    }),
    ("not UTF-8", b"\xff"),
    ("space in front", b" a"),
    ("space behind", b"a "),
    ("two spaces", b"a  b"),
    ("space and no-break space", "a \u{a0}b".as_bytes()),
    ("ideographic space behind", "a\u{3000}".as_bytes()),
    ("only a space", b" "),
    ("newline", b"a\nb"),
    ("tab", b"a\tb"),
    ("NUL", b"a\0b"),
    ("DEL", b"a\x7fb"),
    ("C1 control", "a\u{85}b".as_bytes()),
    ("decomposed", "e\u{301}".as_bytes()),
    ("marks in another order", "a\u{301}\u{326}".as_bytes()),
    ("Angstrom sign", "\u{212b}".as_bytes()),
    ("conjoining jamo", "\u{1100}\u{1161}".as_bytes()),
    ("soft hyphen", "a\u{ad}b".as_bytes()),
    ("combining grapheme joiner", "a\u{34f}b".as_bytes()),
    ("Arabic letter mark", "a\u{61c}b".as_bytes()),
    ("Hangul filler", "\u{3164}".as_bytes()),
    ("Braille blank", "\u{2800}".as_bytes()),
    ("zero-width space", "a\u{200b}b".as_bytes()),
    ("left-to-right mark", "a\u{200e}b".as_bytes()),
    ("right-to-left override", "a\u{202e}b".as_bytes()),
    ("line separator", "a\u{2028}b".as_bytes()),
    ("paragraph separator", "a\u{2029}b".as_bytes()),
    ("word joiner", "a\u{2060}b".as_bytes()),
    ("first strong isolate", "a\u{2068}b".as_bytes()),
    ("byte order mark", "\u{feff}a".as_bytes()),
    ("interlinear annotation", "a\u{fff9}b".as_bytes()),
    ("tag character", "a\u{e0041}b".as_bytes()),
    (
        "variation selector after a Latin letter",
        "A\u{fe0f}".as_bytes(),
    ),
    ("two variation selectors", "葛\u{e0100}\u{e0101}".as_bytes()),
    ("variation selector in front", "\u{fe0f}a".as_bytes()),
    ("private use", "\u{e000}".as_bytes()),
    ("private use, plane 16", "\u{100000}".as_bytes()),
    ("noncharacter FDD0", "a\u{fdd0}".as_bytes()),
    ("noncharacter FFFE", "a\u{fffe}".as_bytes()),
    ("noncharacter 1FFFF", "a\u{1ffff}".as_bytes()),
    (
        "non-joiner between Latin letters",
        "Al\u{200c}ice".as_bytes(),
    ),
    ("joiner between emoji", "👩\u{200d}🚀".as_bytes()),
    ("joiner in front", "\u{200d}क".as_bytes()),
    ("joiner behind", "क\u{200d}".as_bytes()),
    ("two joiners", "م\u{200c}\u{200d}ا".as_bytes()),
    ("non-joiner before a space", "م\u{200c} ا".as_bytes()),
    ("unassigned in every version", "a\u{378}b".as_bytes()),
    ("assigned in Unicode 15.0", "\u{1fae8}".as_bytes()),
    ("an ideograph of Unicode 15.0", "\u{2b739}".as_bytes()),
    (
        "a sign that composes with what follows from Unicode 16.0 on",
        "\u{105d2}\u{307}".as_bytes(),
    ),
    (
        "a mark of Unicode 15.0 that reorders",
        "a\u{1e4ec}\u{316}".as_bytes(),
    ),
    (
        "unassigned, in the last plane of ideographs",
        "\u{3ffff}".as_bytes(),
    ),
];

#[test]
fn canonical_json_vectors_hold() {
    let made = vectors(
        "canonical_json",
        "Which bytes are a canonical document of the protocol: RFC 8785, integers from 0 to 2^53 - 1 only. `bytes` is hex. What members a \
         document has is not asked here.",
        &[(true, CANONICAL), (false, NOT_CANONICAL)],
    );
    let read: Vectors = serde_json::from_str(&vector_file("canonical_json.json", &made)).unwrap();
    for case in &read.cases {
        let result = from_canonical::<Value>(&hex::decode(&case.bytes).unwrap(), 1 << 20);
        assert_eq!(result.is_ok(), case.valid, "{}: {result:?}", case.why);
    }
}

#[test]
fn label_vectors_hold() {
    let made = vectors(
        "labels",
        "Which bytes are a label of at most 200 bytes, specs/protocol.md section 2. `bytes` is hex.",
        &[(true, LABELS), (false, NOT_LABELS)],
    );
    let read: Vectors = serde_json::from_str(&vector_file("labels.json", &made)).unwrap();
    for case in &read.cases {
        let valid = String::from_utf8(hex::decode(&case.bytes).unwrap())
            .is_ok_and(|label| check_label(&label, 200).is_ok());
        assert_eq!(valid, case.valid, "{}", case.why);
    }
}
