//! Labels: the titles, names and options that voters read.
//!
//! Two labels that look the same should be the same bytes, and no label may change how the text around it is shown. So a label is
//! in Unicode normalization form C and holds no control, no bidirectional control, and no other character that shows nothing.
//! The sets below are written out as ranges rather than taken from a Unicode table: tables grow with every version of Unicode,
//! and two verifiers with different tables must not disagree about a manifest.
//!
//! Normalization is the one thing that does come from such a table, of whatever version a library brings. It never changes for code points that were
//! assigned once, so a label holds only those of Unicode 14.0: every library of that version or a later one answers alike.
//!
//! This cannot see look-alikes of different scripts (a Cyrillic `а` for a Latin `a`); whoever reads the manifest does.

mod unassigned;

use unicode_normalization::UnicodeNormalization as _;

/// Why a text is no label. Offsets count bytes from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum LabelError {
    /// Nothing there.
    #[error("the label is empty")]
    Empty,
    /// More bytes of UTF-8 than allowed.
    #[error("the label has {len} bytes; at most {max} are allowed")]
    TooLong {
        /// Bytes found.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A control, invisible or private character, or one that is no character.
    #[error(
        "the label holds U+{:04X} at byte {offset}, which is invisible or changes how text is shown; remove it",
        u32::from(*found)
    )]
    Forbidden {
        /// The character.
        found: char,
        /// Where it starts.
        offset: usize,
    },
    /// A code point that Unicode 14.0 does not assign: whether it is normalized depends on the version of a library.
    #[error("the label holds U+{:04X} at byte {offset}, which is no character of Unicode 14.0; write it in another way", u32::from(*found))]
    Unassigned {
        /// The code point.
        found: char,
        /// Where it starts.
        offset: usize,
    },
    /// A zero-width joiner, non-joiner or variation selector beside characters on which it has no effect.
    #[error("the label holds the invisible U+{:04X} at byte {offset}, which has no effect there; remove it", u32::from(*found))]
    Stray {
        /// The character.
        found: char,
        /// Where it starts.
        offset: usize,
    },
    /// White space at the start or the end, or two in a row.
    #[error(
        "the label has white space at its start or end, or twice in a row, at byte {offset}; remove it"
    )]
    WhiteSpace {
        /// Where it starts.
        offset: usize,
    },
    /// Not in normalization form C.
    #[error(
        "the label is not in Unicode normalization form C; normalize it (NFC) before making the manifest"
    )]
    NotNormalized,
}

/// Checks a title, a name or an option.
///
/// # Errors
/// What is wrong, and where.
pub fn check_label(label: &str, max_bytes: usize) -> Result<(), LabelError> {
    if label.is_empty() {
        return Err(LabelError::Empty);
    }
    if label.len() > max_bytes {
        return Err(LabelError::TooLong {
            len: label.len(),
            max: max_bytes,
        });
    }
    let mut previous: Option<char> = None;
    let mut rest = label.char_indices().peekable();
    while let Some((offset, found)) = rest.next() {
        let next = rest.peek().map(|(_, c)| *c);
        if is_joiner(found) {
            if !previous.is_some_and(takes_joiner) || !next.is_some_and(takes_joiner) {
                return Err(LabelError::Stray { found, offset });
            }
        } else if is_variation_selector(found) {
            if !previous.is_some_and(takes_variation_selector) {
                return Err(LabelError::Stray { found, offset });
            }
        } else if is_forbidden(found) {
            return Err(LabelError::Forbidden { found, offset });
        } else if unassigned::is_unassigned(found) {
            return Err(LabelError::Unassigned { found, offset });
        } else if is_white_space(found) && (previous.is_none_or(is_white_space) || next.is_none()) {
            return Err(LabelError::WhiteSpace { offset });
        }
        previous = Some(found);
    }
    if !label.nfc().eq(label.chars()) {
        return Err(LabelError::NotNormalized);
    }
    Ok(())
}

/// Whether a label must not hold this character: it shows nothing, or changes how the text around it is shown. Controls are among them.
#[must_use]
pub fn is_forbidden(c: char) -> bool {
    matches!(u32::from(c),
        // Cc: C0, DEL and C1 controls.
        0..=0x1f | 0x7f..=0x9f
        // Cf: format characters, the bidirectional controls (061C, 200E..F, 202A..E, 2066..9) and tags among them, without the two joiners.
        | 0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x180e | 0x200b | 0x200e..=0x200f
        | 0x202a..=0x202e | 0x2060..=0x206f | 0xfeff | 0xfff0..=0xfffb | 0x110bd | 0x110cd | 0x13430..=0x1343f
        | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe00ff | 0xe01f0..=0xe0fff
        // Zl, Zp.
        | 0x2028..=0x2029
        // Letters and marks that show nothing: grapheme joiner, Hangul and Khmer fillers, blank Braille.
        | 0x34f | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x2800 | 0x3164 | 0xffa0
        // Co: private use. (Surrogates are no `char`.)
        | 0xe000..=0xf8ff | 0xf0000..=0x10_ffff
        // Noncharacters outside the ranges above.
        | 0xfdd0..=0xfdef)
        || u32::from(c) & 0xfffe == 0xfffe
}

/// White_Space of Unicode, without the control characters and separators that are forbidden anyway.
fn is_white_space(c: char) -> bool {
    matches!(
        u32::from(c),
        0x20 | 0xa0 | 0x1680 | 0x2000..=0x200a | 0x202f | 0x205f | 0x3000
    )
}

/// U+200C ZERO WIDTH NON-JOINER and U+200D ZERO WIDTH JOINER.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// The blocks of the scripts whose spelling needs joiners: Arabic to Mongolian with all of South and South-East Asia, and their
/// later extensions. In Latin, Greek, Cyrillic or between emoji a joiner would be one more way to write what looks the same.
fn takes_joiner(c: char) -> bool {
    matches!(u32::from(c), 0x600..=0x10ff | 0x1700..=0x1cff | 0xa800..=0xabff | 0xfb50..=0xfdff | 0xfe70..=0xfefe
        | 0x10a00..=0x10fff | 0x11000..=0x11fff | 0x1e900..=0x1e95f)
        && !is_forbidden(c)
}

/// VS1 to VS16 and VS17 to VS256: they choose between the shapes of an emoji or of an ideograph, as in Japanese names.
fn is_variation_selector(c: char) -> bool {
    matches!(u32::from(c), 0xfe00..=0xfe0f | 0xe0100..=0xe01ef)
}

/// From the symbols upwards. After a letter of an alphabet a selector would be one more way to write what looks the same.
fn takes_variation_selector(c: char) -> bool {
    u32::from(c) >= 0x2010 && !is_white_space(c) && !is_joiner(c) && !is_variation_selector(c)
}

#[cfg(test)]
mod tests {
    use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

    use super::*;

    #[test]
    fn names_of_the_world_are_labels() {
        for label in [
            "Zoë Müller-Østergård",
            "A",
            "Yes",
            "Кандидат № 1",
            "محمد رضا می\u{200c}خواهم",
            "क\u{94d}\u{200d}ष",
            "ශ\u{dca}\u{200d}රී ලංකා",
            "日本国\u{3000}東京",
            "한국",
            "Straße (Nord) – Liste “3”",
            "🗳\u{fe0f} Party",
            "葛\u{e0100}城",
            "e\u{326}",
            "prix\u{202f}: 5\u{a0}€",
        ] {
            assert_eq!(check_label(label, 200), Ok(()), "{label}");
        }
    }

    #[test]
    fn bounds_and_white_space() {
        assert_eq!(check_label("", 10), Err(LabelError::Empty));
        assert_eq!(check_label("äb", 3), Ok(()));
        assert_eq!(
            check_label("äbc", 3),
            Err(LabelError::TooLong { len: 4, max: 3 })
        );
        for (label, offset) in [
            (" a", 0),
            ("a ", 1),
            ("a  b", 2),
            (" ", 0),
            ("a\u{a0} b", 3),
            ("a\u{3000}", 1),
            ("\u{2003}a", 0),
        ] {
            assert_eq!(
                check_label(label, 20),
                Err(LabelError::WhiteSpace { offset }),
                "{label:?}"
            );
        }
    }

    #[test]
    fn only_form_c_is_a_label() {
        for label in [
            "e\u{301}",
            "\u{212b}",
            "\u{1100}\u{1161}",
            "a\u{301}\u{326}",
            "\u{958}",
        ] {
            assert_eq!(
                check_label(label, 20),
                Err(LabelError::NotNormalized),
                "{label:?}"
            );
        }
    }

    #[test]
    fn joiners_and_selectors_stand_only_where_they_have_an_effect() {
        for (label, offset) in [
            ("Al\u{200c}ice", 2),
            ("\u{200d}क", 0),
            ("क\u{200d}", 3),
            ("म\u{200c}\u{200d}ख", 3),
            ("م\u{200c} ا", 2),
            ("👩\u{200d}🚀", 4),
            ("A\u{fe0f}", 1),
            ("\u{fe0f}a", 0),
            ("葛\u{e0100}\u{e0101}", 7),
            ("a\u{3000}\u{fe00}b", 4),
        ] {
            let found = label[offset..].chars().next().unwrap();
            assert_eq!(
                check_label(label, 20),
                Err(LabelError::Stray { found, offset }),
                "{label:?}"
            );
        }
    }

    /// The table is the published one, and whatever it lets through is a character in the newest tables at hand too.
    #[test]
    fn only_characters_of_unicode_14_are_labels() {
        let published = include_str!("../../specs/unicode-14.0-unassigned.txt");
        let published: Vec<(u32, u32)> = published
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(str::split_whitespace)
            .map(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let [first, last] = [first, last].map(|hex| u32::from_str_radix(hex, 16).unwrap());
                (first, last)
            })
            .collect();
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let code = u32::from(c);
            let listed = published
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&code));
            assert_eq!(unassigned::is_unassigned(c), listed, "U+{code:04X}");
            assert!(
                listed || c.general_category() != GeneralCategory::Unassigned,
                "U+{code:04X}"
            );
            let result = check_label(&format!("a{c}a"), 20);
            assert!(
                !listed
                    || is_forbidden(c)
                    || matches!(result, Err(LabelError::Unassigned { offset: 1, .. })),
                "U+{code:04X}"
            );
        }
        assert_eq!(check_label("\u{1f6dd}", 20), Ok(()));
    }

    /// The written-out ranges against a Unicode table: every control, format, separator, private and non-character is refused, and
    /// nothing that shows.
    #[test]
    fn forbidden_ranges_match_the_unicode_table() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let code = u32::from(c);
            let expected = match c.general_category() {
                GeneralCategory::Control
                | GeneralCategory::LineSeparator
                | GeneralCategory::ParagraphSeparator
                | GeneralCategory::PrivateUse => true,
                GeneralCategory::Format => !is_joiner(c),
                GeneralCategory::Unassigned
                    if (code & 0xfffe) == 0xfffe || (0xfdd0..=0xfdef).contains(&code) =>
                {
                    true
                }
                // Not assigned today: some are reserved for further invisible characters and are refused with their neighbours.
                GeneralCategory::Unassigned => continue,
                _ => matches!(
                    code,
                    0x34f | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x2800 | 0x3164 | 0xffa0
                ),
            };
            assert_eq!(is_forbidden(c), expected, "U+{code:04X}");
            assert_eq!(
                is_white_space(c),
                c.is_whitespace() && !is_forbidden(c),
                "U+{code:04X}"
            );
            let result = check_label(&format!("a{c}a"), 20);
            assert!(
                !expected || matches!(result, Err(LabelError::Forbidden { offset: 1, .. })),
                "U+{code:04X}"
            );
        }
    }
}
