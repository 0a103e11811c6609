//! The roll: who may vote, sealed under one root before anybody does.
//!
//! ```text
//! roll leaf's entry = H("tallyroot/v1/roll" ‖ 0x00 ‖ salt (32) ‖ identity)          identity: NFC UTF-8, 1 to 200 bytes
//! roll.root         = RFC 6962 root over the entries, in random order
//! ```
//!
//! The order is random so that a roll index says nothing about a place in the alphabet or in the register; the salts keep anybody
//! who sees the leaves from guessing names. A voter gets her identity, index, salt and inclusion proof, and so sees that
//! she stands on the roll whose root and size the manifest fixes.

use protocol::merkle::{CompactRange, Hash, leaf_hash};
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use sha2::{Digest as _, Sha256};

const LABEL: &[u8] = b"tallyroot/v1/roll\0";
/// Bytes of an identity, at most.
pub const IDENTITY_LEN_MAX: usize = 200;
/// Voters on one roll, at most, when it is made from a file: all of it is in memory then (about 200 bytes each).
pub const ROLL_SIZE_MAX: usize = 20_000_000;
/// Bytes of a register's file, at most.
pub const CSV_LEN_MAX: usize = 4 << 30;

/// One voter's place on the roll.
#[derive(Clone, PartialEq, Eq)]
pub struct RollEntry {
    /// Whatever names the voter in the register: NFC, 1 to 200 bytes.
    pub identity: String,
    /// 32 random bytes, known to the registrars and the voter.
    pub salt: [u8; 32],
}

impl RollEntry {
    /// The 32 bytes that are the roll leaf's entry.
    #[must_use]
    pub fn leaf_entry(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(LABEL)
            .chain_update(self.salt)
            .chain_update(self.identity.as_bytes())
            .finalize()
            .into()
    }

    /// The RFC 6962 hash of that leaf.
    #[must_use]
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.leaf_entry())
    }
}

/// A roll in its final order, with salts.
#[derive(Clone)]
pub struct SealedRoll {
    entries: Vec<RollEntry>,
}

impl SealedRoll {
    /// Shuffles the identities and gives each a fresh salt.
    #[must_use]
    pub fn seal(identities: Vec<String>) -> Self {
        // ChaCha, seeded by the operating system: nobody can compute the order or a salt from others.
        let mut rng = rand::rng();
        let mut entries: Vec<RollEntry> = identities
            .into_iter()
            .map(|identity| {
                let mut salt = [0; 32];
                rng.fill_bytes(&mut salt);
                RollEntry { identity, salt }
            })
            .collect();
        entries.shuffle(&mut rng);
        Self { entries }
    }

    /// The entries; an entry's place is its roll index.
    #[must_use]
    pub fn entries(&self) -> &[RollEntry] {
        &self.entries
    }

    /// The number of voters: `roll.size` of the manifest.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    /// `roll.root` of the manifest.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut range = CompactRange::new();
        for entry in &self.entries {
            range.push(entry.leaf_hash());
        }
        range.root()
    }
}

/// What is wrong with a register's file. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollError {
    /// Several columns, and none of them named.
    #[error(
        "line {line} has several columns, and none is headed `identity`: name the column with the voters' identities so, in a first line; columns are separated by commas"
    )]
    NoColumn {
        /// The line.
        line: u64,
    },
    /// No voters.
    #[error(
        "the register names no voter: it needs one line for each, and may start with a header that has a column `identity`"
    )]
    NoVoters,
    /// More than [`ROLL_SIZE_MAX`] lines or [`CSV_LEN_MAX`] bytes.
    #[error(
        "the register is too large: at most {ROLL_SIZE_MAX} voters in {CSV_LEN_MAX} bytes; divide it into several elections"
    )]
    TooLarge,
    /// Bytes that are not UTF-8.
    #[error("line {line} of the register is not UTF-8: save the file as UTF-8")]
    NotUtf8 {
        /// The line.
        line: u64,
    },
    /// A line without anything on it.
    #[error("line {line} of the register is empty: remove it, or put the missing voter there")]
    EmptyLine {
        /// The line.
        line: u64,
    },
    /// A line whose identity is empty, or which is too short to have one.
    #[error("line {line} of the register has no identity")]
    NoIdentity {
        /// The line.
        line: u64,
    },
    /// More than [`IDENTITY_LEN_MAX`] bytes.
    #[error(
        "the identity on line {line} of the register has {len} bytes; at most {IDENTITY_LEN_MAX} are allowed"
    )]
    TooLong {
        /// The line.
        line: u64,
        /// Bytes found.
        len: usize,
    },
    /// Two spellings of the same letters would be two voters.
    #[error(
        "the identity on line {line} of the register is not in Unicode's normal form NFC: convert the file (for example with uconv -x any-nfc)"
    )]
    NotNfc {
        /// The line.
        line: u64,
    },
    /// White space around, or a control character within.
    #[error(
        "the identity on line {line} of the register has white space around it or a control character in it: nobody would type it so"
    )]
    Untidy {
        /// The line.
        line: u64,
    },
    /// A voter stands there twice, which would be two votes.
    #[error(
        "line {line} of the register repeats the identity of line {first}: each voter must stand there once"
    )]
    Duplicate {
        /// The first line.
        first: u64,
        /// The second.
        line: u64,
    },
    /// The CSV itself is broken.
    #[error("line {line} of the register is not valid CSV")]
    Csv {
        /// The line.
        line: u64,
    },
}

/// Reads the identities of a register in CSV (RFC 4180), in the file's order.
///
/// Where the first line has a field `identity`, it is a header and names the column. Otherwise there is no header: every line is a
/// voter and its only field the identity. Other columns than a named one are ignored. A byte-order mark is skipped.
///
/// # Errors
/// The first fault, by line. Nothing is repaired silently: a roll decides who may vote.
pub fn identities_from_csv(csv: &[u8]) -> Result<Vec<String>, RollError> {
    if csv.len() > CSV_LEN_MAX {
        return Err(RollError::TooLarge);
    }
    let csv = csv.strip_prefix(b"\xef\xbb\xbf").unwrap_or(csv);
    no_empty_line(csv)?;
    let mut reader = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(csv);
    let (mut column, mut named) = (0, false);
    let mut identities: Vec<String> = Vec::new();
    let mut record = ::csv::ByteRecord::new();
    let mut lines_of = std::collections::HashMap::<String, u64>::new();
    let mut first = true;
    loop {
        let line = reader.position().line();
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => return Err(RollError::Csv { line }),
        }
        let line = record.position().map_or(line, ::csv::Position::line);
        if std::mem::take(&mut first)
            && let Some(found) = record.iter().position(|field| field == b"identity")
        {
            (column, named) = (found, true);
            continue;
        }
        if !named && record.len() > 1 {
            return Err(RollError::NoColumn { line });
        }
        let identity = checked_identity(record.get(column).unwrap_or_default(), line)?;
        if identities.len() == ROLL_SIZE_MAX {
            return Err(RollError::TooLarge);
        }
        if let Some(first) = lines_of.insert(identity.to_owned(), line) {
            return Err(RollError::Duplicate { first, line });
        }
        identities.push(identity.to_owned());
    }
    if identities.is_empty() {
        return Err(RollError::NoVoters);
    }
    Ok(identities)
}

/// "identity is NFC UTF-8, 1 to 200 bytes."
fn checked_identity(field: &[u8], line: u64) -> Result<&str, RollError> {
    if field.is_empty() {
        return Err(RollError::NoIdentity { line });
    }
    let identity = std::str::from_utf8(field).map_err(|_| RollError::NotUtf8 { line })?;
    if identity.len() > IDENTITY_LEN_MAX {
        return Err(RollError::TooLong {
            line,
            len: identity.len(),
        });
    }
    if identity.trim() != identity || identity.chars().any(char::is_control) {
        return Err(RollError::Untidy { line });
    }
    if !unicode_normalization::is_nfc(identity) {
        return Err(RollError::NotNfc { line });
    }
    Ok(identity)
}

/// The CSV reader skips empty lines silently; here one is a fault, since it may be where a voter was lost.
fn no_empty_line(csv: &[u8]) -> Result<(), RollError> {
    // What follows the last line end is no line.
    let csv = csv.strip_suffix(b"\n").unwrap_or(csv);
    if csv.is_empty() {
        return Err(RollError::NoVoters);
    }
    let mut quoted = false;
    for (i, line) in csv.split(|byte| *byte == b'\n').enumerate() {
        if !quoted && matches!(line, b"" | b"\r") {
            return Err(RollError::EmptyLine { line: i as u64 + 1 });
        }
        // A doubled quote within a quoted field toggles twice.
        if line.iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
            quoted = !quoted;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(csv: &str) -> Result<Vec<String>, RollError> {
        identities_from_csv(csv.as_bytes())
    }

    #[test]
    fn a_register_is_read_with_and_without_a_header() {
        let voters = ["ada@example.org", "Grace Hopper", "Ωmega, \"the last\""];
        for csv in [
            "ada@example.org\nGrace Hopper\n\"Ωmega, \"\"the last\"\"\"\n",
            "ada@example.org\r\nGrace Hopper\r\n\"Ωmega, \"\"the last\"\"\"",
            "identity,x\r\nada@example.org,x\r\nGrace Hopper,y\r\n\"Ωmega, \"\"the last\"\"\",z",
            "\u{feff}identity\nada@example.org\nGrace Hopper\n\"Ωmega, \"\"the last\"\"\"\n",
            "street,identity\n\"1, Way\n\nsecond floor\",ada@example.org\n2,Grace Hopper\n3,\"Ωmega, \"\"the last\"\"\"\n",
        ] {
            assert_eq!(read(csv).unwrap(), voters, "{csv:?}");
        }
    }

    #[test]
    fn faults_name_their_line() {
        let long = "a".repeat(200);
        assert_eq!(read(&long).unwrap(), std::slice::from_ref(&long));
        for (csv, fault) in [
            ("name,x\nada,1\n", RollError::NoColumn { line: 1 }),
            ("ada\nbert,1\n", RollError::NoColumn { line: 2 }),
            ("", RollError::NoVoters),
            ("identity\n", RollError::NoVoters),
            ("\n", RollError::NoVoters),
            ("a\n\nb\n", RollError::EmptyLine { line: 2 }),
            ("a\r\n\r\nb\r\n", RollError::EmptyLine { line: 2 }),
            ("a\nb\n\n", RollError::EmptyLine { line: 3 }),
            ("a\n\"\"\n", RollError::NoIdentity { line: 2 }),
            ("x,identity\n1,a\n2\n", RollError::NoIdentity { line: 3 }),
            ("a\nb\na\n", RollError::Duplicate { first: 1, line: 3 }),
            (
                "x,identity\n\"1\n1\",a\n2,a\n",
                RollError::Duplicate { first: 2, line: 4 },
            ),
            ("a\n b\n", RollError::Untidy { line: 2 }),
            ("a\nb\u{7}c\n", RollError::Untidy { line: 2 }),
            ("a\ne\u{301}\n", RollError::NotNfc { line: 2 }),
        ] {
            assert_eq!(read(csv), Err(fault), "{csv:?}");
        }
        assert_eq!(
            read(&format!("a\n{long}b\n")),
            Err(RollError::TooLong { line: 2, len: 201 })
        );
        assert_eq!(
            identities_from_csv(b"a\n\xff\n"),
            Err(RollError::NotUtf8 { line: 2 })
        );
    }

    #[test]
    fn sealing_keeps_every_voter_and_neither_order_nor_salt() {
        let voters: Vec<String> = (0..300).map(|i| format!("voter {i}")).collect();
        let roll = SealedRoll::seal(voters.clone());
        let sealed: Vec<&str> = roll.entries().iter().map(|e| e.identity.as_str()).collect();
        assert_ne!(
            sealed, voters,
            "300 voters come out in order once in 300! times"
        );
        let mut sorted: Vec<String> = sealed.iter().map(|s| (*s).to_owned()).collect();
        let mut expected = voters.clone();
        sorted.sort();
        expected.sort();
        assert_eq!(sorted, expected);
        let salts: std::collections::BTreeSet<_> = roll.entries().iter().map(|e| e.salt).collect();
        assert_eq!(salts.len(), 300);
        assert_ne!(roll.root(), SealedRoll::seal(voters).root());
    }

    #[test]
    fn a_leaf_is_the_specifications() {
        let entry = RollEntry {
            identity: "Zoë".into(),
            salt: [3; 32],
        };
        let mut bytes = b"tallyroot/v1/roll".to_vec();
        bytes.push(0);
        bytes.extend_from_slice(&[3; 32]);
        bytes.extend_from_slice("Zo\u{eb}".as_bytes());
        assert_eq!(entry.leaf_entry().to_vec(), openssl::sha::sha256(&bytes));
        let roll = SealedRoll {
            entries: vec![entry.clone()],
        };
        assert_eq!(roll.root(), leaf_hash(&openssl::sha::sha256(&bytes)));
        assert_eq!(roll.size(), 1);
    }
}
