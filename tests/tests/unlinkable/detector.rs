//! Values that stand on both sides: any 8 bytes in a row, in whatever way they are written down.

use std::collections::HashMap;
use std::collections::HashSet;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// A named string of bytes.
pub(crate) type Value = (String, Vec<u8>);

/// Eight bytes in a row.
pub(crate) type Window = [u8; 8];

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

pub(crate) fn windows(bytes: &[u8]) -> impl Iterator<Item = Window> {
    bytes.windows(8).map(|window| window.try_into().unwrap())
}

/// Numbers that say nothing of their own: indices, sizes, counts, lengths, and the zeroes between them.
fn is_small(window: Window) -> bool {
    window.iter().filter(|byte| **byte != 0).count() <= 3
}

/// What both sides hold that is not public: where on either side, and the bytes.
pub(crate) fn common(
    one: &[Value],
    other: &[Value],
    public: &HashSet<Window>,
) -> Vec<(String, String, Window)> {
    let mut there: HashMap<Window, &str> = HashMap::new();
    for (name, bytes) in one {
        for window in windows(bytes) {
            if !is_small(window) && !public.contains(&window) {
                there.entry(window).or_insert(name);
            }
        }
    }
    let mut found = Vec::new();
    for (name, bytes) in other {
        for window in windows(bytes) {
            if let Some(first) = there.remove(&window) {
                found.push((first.to_owned(), name.clone(), window));
            }
        }
    }
    found
}

/// The value itself (of a text, its lines: what ends one and begins the next is the format's), and all that its text may spell:
/// hexadecimal, base64 at any alignment, lists of decimal numbers, escapes.
pub(crate) fn spelled(name: &str, bytes: &[u8]) -> Vec<Value> {
    let is_text = std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0'));
    let mut values: Vec<Value> = bytes
        .split(|byte| is_text && *byte == b'\n')
        .map(|part| (name.to_owned(), part.to_vec()))
        .collect();
    let mut add = |how: &str, bytes: Vec<u8>| {
        if bytes.len() >= 8 {
            values.push((format!("{name}, {how}"), bytes));
        }
    };
    for run in runs(bytes, |byte| byte.is_ascii_hexdigit(), 16) {
        // From either digit on.
        for run in [run, &run[1..]] {
            if let Ok(decoded) = hex::decode(&run[..run.len() / 2 * 2]) {
                add("as hexadecimal", decoded);
            }
        }
    }
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    for run in runs(bytes, is_base64, 11) {
        for start in 0..4 {
            let run = &run[start.min(run.len())..];
            // One letter alone holds no byte.
            let len = if run.len() % 4 == 1 {
                run.len() - 1
            } else {
                run.len()
            };
            if let Ok(decoded) = LENIENT.decode(&run[..len]) {
                add("as base64", decoded);
            }
        }
    }
    let is_list = |byte: u8| byte.is_ascii_digit() || byte == b',' || byte == b' ';
    for run in runs(bytes, is_list, 15) {
        let text = String::from_utf8_lossy(run).into_owned();
        let numbers: Vec<u8> = text
            .split(',')
            .filter_map(|number| number.trim().parse().ok())
            .collect();
        add("as a list", numbers);
    }
    if bytes.windows(2).any(|two| two == b"\\x") {
        add("as escapes", unescaped(bytes));
    }
    values
}

/// The longest stretches of such bytes, at least so long.
fn runs(bytes: &[u8], is_in: impl Fn(u8) -> bool, least: usize) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(move |byte| !is_in(*byte))
        .filter(move |run| run.len() >= least)
}

fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        let escape = match rest {
            [b'\\', b'x', high, low, ..] => hex::decode([*high, *low]).ok(),
            _ => None,
        };
        match escape {
            Some(byte) => {
                out.extend(byte);
                rest = &rest[4..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

#[test]
fn a_value_is_found_however_it_is_spelled() {
    let secret: [u8; 32] = rand::random();
    let one = [("secret".to_owned(), secret.to_vec())];
    let base64 = base64::engine::general_purpose::STANDARD;
    let texts = [
        hex::encode(secret),
        format!("0{}", hex::encode(secret)),
        hex::encode_upper(&secret[11..20]),
        base64.encode(secret),
        base64.encode([b"x", &secret[..]].concat()),
        base64.encode([b"xy", &secret[..]].concat()),
        format!("{secret:?}"),
        format!("{:?}", bytes_debug(&secret)),
    ];
    for text in texts {
        let line = format!("DEBUG it was {text}, at 12:00");
        let other = spelled("a line", line.as_bytes());
        assert!(!common(&one, &other, &HashSet::new()).is_empty(), "{line}");
    }
    let other = spelled(
        "a line",
        b"DEBUG nothing of it, at 12:00, 1, 2, 3, deadbeefdeadbeef",
    );
    assert_eq!(common(&one, &other, &HashSet::new()), []);
}

/// As `bytes::Bytes` and byte strings print themselves.
fn bytes_debug(bytes: &[u8]) -> impl std::fmt::Debug {
    struct Escaped(String);
    impl std::fmt::Debug for Escaped {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&self.0)
        }
    }
    Escaped(bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect())
}
