//! What a log sends to `add-checkpoint`, read strictly.
//!
//! ```text
//! old <size>
//! <consistency proof, one base64 hash a line, at most 63>
//!
//! <checkpoint, a signed note>
//! ```
//!
//! A witness serves logs of any kind, so a checkpoint may here have what Tallyroot's own never have: extension lines, and signatures by others.

use protocol::merkle::Hash;
use protocol::note::{NOTE_BYTES_MAX, NoteError, SignedNote};

/// "The client MUST NOT send more than 63 consistency proof lines."
pub const PROOF_LINES_MAX: usize = 63;

/// The most bytes of a request: the longest note, 63 hashes of 45 bytes, and the first line.
pub const REQUEST_BYTES_MAX: usize = NOTE_BYTES_MAX + PROOF_LINES_MAX * 45 + 32;

/// A request that is well formed. Nothing about it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the client believes the witness cosigned last.
    pub old_size: u64,
    /// From there to the checkpoint's size.
    pub proof: Vec<Hash>,
    /// The checkpoint.
    pub checkpoint: Submitted,
}

/// A checkpoint of any log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The note, with all of its signature lines.
    pub note: SignedNote,
    /// Its first line.
    pub origin: String,
    /// The number of leaves.
    pub size: u64,
    /// The tree's root.
    pub root: Hash,
}

impl AddCheckpoint {
    /// Reads a request's body.
    ///
    /// # Errors
    /// The first thing that is not as C2SP tlog-witness has it.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(body).map_err(|_| Malformed::Text)?;
        // The first empty line: neither the old size nor a hash is one, and what follows is the note.
        let (head, note) = text.split_once("\n\n").ok_or(Malformed::EmptyLine)?;
        let mut lines = head.split('\n');
        let old_size = lines
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .and_then(decimal)
            .ok_or(Malformed::OldSize)?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == PROOF_LINES_MAX {
                return Err(Malformed::ProofLines);
            }
            proof.push(Hash::from_base64(line).ok_or(Malformed::Hash)?);
        }
        Ok(Self {
            old_size,
            proof,
            checkpoint: Submitted::parse(note.as_bytes())?,
        })
    }
}

impl Submitted {
    /// Reads a checkpoint.
    ///
    /// # Errors
    /// It is no signed note, or its text is no checkpoint's.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let note = SignedNote::parse(bytes).map_err(Malformed::Note)?;
        let mut lines = note
            .text()
            .strip_suffix('\n')
            .unwrap_or_default()
            .split('\n');
        let origin = lines
            .next()
            .filter(|line| !line.is_empty())
            .ok_or(Malformed::Checkpoint)?
            .to_owned();
        let size = lines
            .next()
            .and_then(decimal)
            .ok_or(Malformed::Checkpoint)?;
        let root = lines
            .next()
            .and_then(Hash::from_base64)
            .ok_or(Malformed::Checkpoint)?;
        // "extension lines … MUST be non-empty"
        if lines.any(str::is_empty) {
            return Err(Malformed::Checkpoint);
        }
        Ok(Self {
            note,
            origin,
            size,
            root,
        })
    }
}

/// "an ASCII decimal with no leading zeroes (unless the size is zero, in which case the encoding MUST be `0`)"
fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// Why a body is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not UTF-8.
    #[error("the body is not UTF-8 text")]
    Text,
    /// No empty line.
    #[error(
        "an empty line stands between the consistency proof and the checkpoint, and there is none"
    )]
    EmptyLine,
    /// The first line.
    #[error(
        "the first line is `old`, a space and a size in decimal without leading zeroes, and this is not"
    )]
    OldSize,
    /// A proof line.
    #[error("a line of the consistency proof is not a hash in base64")]
    Hash,
    /// Too many of them.
    #[error("a consistency proof has at most 63 lines")]
    ProofLines,
    /// The note.
    #[error("the checkpoint is no signed note: {0}")]
    Note(NoteError),
    /// Its text.
    #[error("the checkpoint's text is not an origin, a size, a root and perhaps extension lines")]
    Checkpoint,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of C2SP tlog-witness, section "add-checkpoint", as of 2026-07-06.
    const EXAMPLE: &str = "\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
";

    #[test]
    fn the_specifications_example_is_read() {
        let request = AddCheckpoint::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(request.old_size, 20_852_014);
        assert_eq!(request.proof.len(), 4);
        assert_eq!(request.checkpoint.origin, "example.com/behind-the-sofa");
        assert_eq!(request.checkpoint.size, 20_852_163);
        assert_eq!(request.checkpoint.note.signatures().len(), 2);
    }

    #[test]
    fn an_extension_line_is_part_of_the_text() {
        let with = EXAMPLE.replace("q2I=\n\n", "q2I=\nmore to say\n\n");
        let request = AddCheckpoint::parse(with.as_bytes()).unwrap();
        assert!(request.checkpoint.note.text().ends_with("more to say\n"));
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for (from, to, why) in [
            ("old 20852014", "old 020852014", Malformed::OldSize),
            ("old 20852014", "old -1", Malformed::OldSize),
            ("old 20852014", "old +1", Malformed::OldSize),
            (
                "old 20852014",
                "old 18446744073709551616",
                Malformed::OldSize,
            ),
            ("old ", "new ", Malformed::OldSize),
            ("old ", "old  ", Malformed::OldSize),
            ("PlRN", "PlR", Malformed::Hash),
            ("pkaw=\n", "pkaw=\r\n", Malformed::Hash),
            ("Kj/0=\n\n", "Kj/0=\n", Malformed::Hash),
            ("\n20852163\n", "\n020852163\n", Malformed::Checkpoint),
            ("\n20852163\n", "\n", Malformed::Checkpoint),
            ("CsUY", "sUY", Malformed::Checkpoint),
        ] {
            let changed = EXAMPLE.replacen(from, to, 1);
            assert_ne!(changed, EXAMPLE, "{from}");
            assert_eq!(
                AddCheckpoint::parse(changed.as_bytes()),
                Err(why),
                "{from:?} as {to:?}"
            );
        }
        assert_eq!(AddCheckpoint::parse(b""), Err(Malformed::EmptyLine));
        assert_eq!(AddCheckpoint::parse(b"\xff\n\n"), Err(Malformed::Text));
        let line = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n";
        let with = |lines: usize| EXAMPLE.replacen(line, &line.repeat(lines), 1);
        // 3 others stand there.
        assert!(AddCheckpoint::parse(with(60).as_bytes()).is_ok());
        assert_eq!(
            AddCheckpoint::parse(with(61).as_bytes()),
            Err(Malformed::ProofLines)
        );
    }
}
