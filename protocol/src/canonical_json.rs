//! JSON in its RFC 8785 canonical form (JCS), for documents whose only numbers are integers from 0 to 2^53 - 1.
//!
//! A document that is hashed or compared byte for byte must have one form. [`from_canonical`] parses, writes the value again and
//! compares: members that the type does not know, repeated members, white space, floats, exponents, escapes that are not the
//! shortest, another order of members — whatever the cause, the bytes differ, and the error says where.

use serde::{Serialize, de::DeserializeOwned};

/// Brackets that may be open at once: far above what any document of the protocol needs, and small enough for any stack.
pub const DEPTH_MAX: usize = 32;

/// The largest integer that every JSON implementation holds exactly: 2^53 - 1.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Why bytes are not the canonical form of a document, or why a value has none. Offsets count bytes from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// More bytes than the kind of document may have.
    #[error("the document has {len} bytes; at most {max} are allowed")]
    TooLarge {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// More than [`DEPTH_MAX`] open brackets.
    #[error("the document nests deeper than {DEPTH_MAX} at byte {offset}")]
    TooDeep {
        /// Of the bracket.
        offset: usize,
    },
    /// A number that is not an integer from 0 to 2^53 - 1, written without sign, fraction or exponent.
    #[error("the number at byte {offset} is not an integer from 0 to 2^53 - 1 in plain digits")]
    Number {
        /// Of its first byte.
        offset: usize,
    },
    /// Not JSON, or not a document of this kind.
    #[error("the document cannot be read: {0}")]
    Parse(String),
    /// The value has no JSON form.
    #[error("the value cannot be written as JSON: {0}")]
    Serialize(String),
    /// The document means something, but its bytes are not the canonical ones for it.
    #[error(
        "the document is not in RFC 8785 canonical form: at byte {offset} it has {found}, where {expected} is expected \
         (look for unknown or repeated members, their order, white space, or a longer way to write a value)"
    )]
    NotCanonical {
        /// Of the first difference.
        offset: usize,
        /// A few bytes of the document from there.
        found: String,
        /// The canonical bytes from there.
        expected: String,
    },
}

/// Writes a value in canonical form.
///
/// # Errors
/// `Serialize`, `Number` or `TooDeep`: the value cannot be a document of the protocol.
pub fn to_canonical<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let bytes = serde_json_canonicalizer::to_vec(&value)
        .map_err(|error| CanonicalError::Serialize(error.to_string()))?;
    check_depth_and_numbers(&bytes)?;
    Ok(bytes)
}

/// Reads a document that is the canonical form of its own content, and nothing else.
///
/// # Errors
/// What is wrong, and where. Size and depth are checked before anything is parsed.
pub fn from_canonical<T: DeserializeOwned + Serialize>(
    bytes: &[u8],
    max_len: usize,
) -> Result<T, CanonicalError> {
    if bytes.len() > max_len {
        return Err(CanonicalError::TooLarge {
            len: bytes.len(),
            max: max_len,
        });
    }
    check_depth_and_numbers(bytes)?;
    let value: T =
        serde_json::from_slice(bytes).map_err(|error| CanonicalError::Parse(error.to_string()))?;
    let canonical = to_canonical(&value)?;
    match first_difference(bytes, &canonical) {
        None => Ok(value),
        Some(offset) => Err(CanonicalError::NotCanonical {
            offset,
            found: excerpt(bytes, offset),
            expected: excerpt(&canonical, offset),
        }),
    }
}

/// One pass over the bytes, outside strings only. It need not understand JSON: what it lets pass is parsed afterwards.
fn check_depth_and_numbers(bytes: &[u8]) -> Result<(), CanonicalError> {
    let mut depth = 0usize;
    let mut in_string = false;
    let mut rest = bytes.iter().enumerate().peekable();
    while let Some((offset, byte)) = rest.next() {
        match byte {
            // Outside a string there is none in JSON.
            b'\\' => {
                rest.next();
            }
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(CanonicalError::TooDeep { offset });
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'-' => return Err(CanonicalError::Number { offset }),
            b'0'..=b'9' => {
                let mut value = u64::from(byte - b'0');
                while let Some((_, digit)) = rest.next_if(|(_, b)| b.is_ascii_digit()) {
                    // Saturating: anything above INTEGER_MAX is refused alike.
                    value = value
                        .saturating_mul(10)
                        .saturating_add(u64::from(digit - b'0'));
                }
                let continues = rest
                    .peek()
                    .is_some_and(|(_, b)| matches!(b, b'.' | b'e' | b'E'));
                if continues || value > INTEGER_MAX {
                    return Err(CanonicalError::Number { offset });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let common = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    (common < a.len().max(b.len())).then_some(common)
}

/// Up to 24 bytes from `offset`, escaped so that an error message is always printable ASCII.
fn excerpt(bytes: &[u8], offset: usize) -> String {
    match bytes.get(offset..) {
        None | Some([]) => "the end".to_owned(),
        Some(rest) => format!(
            "`{}`",
            rest.iter()
                .take(24)
                .copied()
                .collect::<Vec<u8>>()
                .escape_ascii()
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Document {
        title: String,
        count: u64,
        nested: Option<Box<Document>>,
        list: Vec<u32>,
    }

    fn document() -> Document {
        Document {
            title: "Wahl \u{20ac} \"x\" \\ / \n \u{1} \u{1f600}".to_owned(),
            count: INTEGER_MAX,
            nested: Some(Box::new(Document {
                title: String::new(),
                count: 0,
                nested: None,
                list: vec![],
            })),
            list: vec![3, 2, 1],
        }
    }

    const CANONICAL: &str = "{\"count\":9007199254740991,\"list\":[3,2,1],\"nested\":{\"count\":0,\"list\":[],\"nested\":null,\"title\":\"\"},\
         \"title\":\"Wahl \u{20ac} \\\"x\\\" \\\\ / \\n \\u0001 \u{1f600}\"}";

    #[test]
    fn the_canonical_form_round_trips() {
        assert_eq!(
            String::from_utf8(to_canonical(&document()).unwrap()).unwrap(),
            CANONICAL
        );
        assert_eq!(
            from_canonical::<Document>(CANONICAL.as_bytes(), CANONICAL.len()).unwrap(),
            document()
        );
    }

    #[test]
    fn members_are_sorted_by_utf16_code_units() {
        // RFC 8785 section 3.2.3: the published example and its published order.
        let names = [
            "\u{20ac}",
            "\r",
            "\u{fb33}",
            "1",
            "\u{1f600}",
            "\u{80}",
            "\u{f6}",
        ];
        let object: BTreeMap<&str, u8> = names.into_iter().zip(0..).collect();
        let text = String::from_utf8(to_canonical(&object).unwrap()).unwrap();
        let sorted = [
            "\\r",
            "1",
            "\u{80}",
            "\u{f6}",
            "\u{20ac}",
            "\u{1f600}",
            "\u{fb33}",
        ];
        let places: Vec<_> = sorted
            .iter()
            .map(|name| text.find(&format!("\"{name}\":")).unwrap())
            .collect();
        assert!(places.is_sorted(), "{text}");
    }

    #[track_caller]
    fn refused(text: &str) -> CanonicalError {
        from_canonical::<Document>(text.as_bytes(), 1 << 20).unwrap_err()
    }

    const SMALL: &str = r#"{"count":7,"list":[1,2],"nested":null,"title":"a/b"}"#;

    /// `SMALL` with one part replaced, and where the part starts.
    fn altered(from: &str, to: &str) -> (String, usize) {
        assert!(from_canonical::<Document>(SMALL.as_bytes(), SMALL.len()).is_ok());
        (SMALL.replacen(from, to, 1), SMALL.find(from).unwrap())
    }

    #[test]
    fn every_other_way_to_write_it_is_refused_and_located() {
        // What is replaced, by what, and how far into it the first difference lies.
        for (from, to, into) in [
            ("{\"count\"", "{ \"count\"", 1),
            ("[1,2]", "[1, 2]", 3),
            ("a/b", "a\\/b", 1),
            ("a/b", "\\u0061/b", 0),
            ("a/b", "a\\u002Fb", 1),
            ("}", "}\n", 1),
            // An absent Option and a null one are the same value to serde, and not the same bytes.
            ("nested\":null,\"", "", 0),
            (
                "\"count\":7,\"list\":[1,2]",
                "\"list\":[1,2],\"count\":7",
                1,
            ),
        ] {
            let (text, at) = altered(from, to);
            let error = refused(&text);
            let CanonicalError::NotCanonical { offset, .. } = error else {
                panic!("{text}: {error}")
            };
            assert_eq!(offset, at + into, "{text}");
        }
    }

    #[test]
    fn what_the_type_does_not_know_is_refused() {
        for (from, to) in [
            ("\"list\"", "\"extra\":1,\"list\""),
            ("\"count\":7", "\"count\":7,\"count\":7"),
            ("\"count\":7,", ""),
            ("7", "\"7\""),
            ("[1,2]", "[1,2"),
            ("[1,2]", "[1,,2]"),
            ("}", "}}"),
            ("{\"count\"", "\u{feff}{\"count\""),
            ("a/b", "a\nb"),
            ("a/b", "\\ud800"),
        ] {
            let (text, _) = altered(from, to);
            assert!(matches!(refused(&text), CanonicalError::Parse(_)), "{text}");
        }
        let invalid_utf8 = [SMALL.as_bytes(), b"\xff"].concat();
        assert!(matches!(
            from_canonical::<Document>(&invalid_utf8, 100),
            Err(CanonicalError::Parse(_))
        ));
        assert!(matches!(
            from_canonical::<Document>(b"", 100),
            Err(CanonicalError::Parse(_))
        ));

        // Types that would let repeated or unknown members pass still do not, since the bytes differ.
        #[derive(Debug, Serialize, Deserialize)]
        struct Open {
            a: u8,
        }
        assert!(matches!(
            from_canonical::<Open>(b"{\"a\":1,\"b\":2}", 100),
            Err(CanonicalError::NotCanonical { offset: 6, .. })
        ));
        assert!(matches!(
            from_canonical::<Value>(b"{\"a\":1,\"a\":1}", 100),
            Err(CanonicalError::NotCanonical { offset: 6, .. })
        ));
    }

    #[test]
    fn numbers_are_plain_integers_below_2_to_the_53() {
        for number in [
            "-1",
            "-0",
            "1.0",
            "1.5",
            "1e2",
            "1E2",
            "1e+2",
            "0.1",
            "9007199254740992",
            "18446744073709551616",
            "1e400",
        ] {
            let (text, at) = altered("7", number);
            assert_eq!(
                refused(&text),
                CanonicalError::Number { offset: at },
                "{number}"
            );
        }
        for number in ["07", "00", "+7", ".7", "0x7", "NaN"] {
            assert!(
                matches!(refused(&altered("7", number).0), CanonicalError::Parse(_)),
                "{number}"
            );
        }
        // Digits in a string are text, also behind an escaped quotation mark.
        assert!(from_canonical::<Value>(br#"{"a":"\"-1.5e3\\"}"#, 100).is_ok());
        for value in [
            serde_json::json!([1.5]),
            serde_json::json!({"a": -1}),
            serde_json::json!(INTEGER_MAX + 1),
        ] {
            assert!(
                matches!(to_canonical(&value), Err(CanonicalError::Number { .. })),
                "{value}"
            );
        }
    }

    #[test]
    fn size_and_depth_are_bounded_before_parsing() {
        let len = SMALL.len();
        assert_eq!(
            from_canonical::<Document>(SMALL.as_bytes(), len - 1).unwrap_err(),
            CanonicalError::TooLarge { len, max: len - 1 }
        );
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(from_canonical::<Value>(nested(DEPTH_MAX).as_bytes(), 1000).is_ok());
        assert_eq!(
            from_canonical::<Value>(nested(DEPTH_MAX + 1).as_bytes(), 1000).unwrap_err(),
            CanonicalError::TooDeep { offset: DEPTH_MAX }
        );
        let bomb = "[".repeat(1 << 20);
        assert!(matches!(
            from_canonical::<Value>(bomb.as_bytes(), 1 << 21),
            Err(CanonicalError::TooDeep { .. })
        ));
    }

    proptest::proptest! {
        /// Whatever is accepted is its own canonical form: no two accepted texts mean the same.
        #[test]
        fn accepted_bytes_are_canonical(noise in "[\\[\\]{}:,\" a0-9.e\\\\-]{0,40}") {
            if let Ok(value) = from_canonical::<Value>(noise.as_bytes(), 100) {
                proptest::prop_assert_eq!(to_canonical(&value).unwrap(), noise.into_bytes());
            }
        }

        /// Any text survives.
        #[test]
        fn strings_round_trip(text in "\\PC*|[\\x00-\\x7f]*") {
            let bytes = to_canonical(&text).unwrap();
            proptest::prop_assert_eq!(from_canonical::<String>(&bytes, 1 << 16).unwrap(), text);
        }
    }
}
