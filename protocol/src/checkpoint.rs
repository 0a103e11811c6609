//! Checkpoints, the signed heads of logs: C2SP tlog-checkpoint, narrowed to what Tallyroot's logs sign.
//!
//! ```text
//! <origin>
//! <tree size, decimal>
//! <root hash, base64>
//!
//! — <origin> base64(key ID || Ed25519 signature of the log over the three lines)
//! — <witness> base64(key ID || timestamp || cosignature)           in cosigned checkpoints only
//! ```
//!
//! C2SP lets a note carry lines that the reader does not know, and a checkpoint extension lines. Tallyroot's published notes hold exactly the lines that the manifest allows;
//! any other is a finding, so here it is an error: nobody can hide data in them, or show different readers different bytes.

use crate::cosignature::{self, CosignatureError, Cosignatures, WitnessKey};
use crate::ed25519;
use crate::merkle::{Hash, empty_root};
use crate::note::{ED25519, NoteError, NoteSignature, SignedNote, is_key_name, key_id};

/// The size and root of a log at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
}

impl Checkpoint {
    /// The head of the log with this origin.
    ///
    /// # Errors
    ///
    /// When the origin cannot be a key name (empty, with spaces, control characters or `+`), or the size is 0 and the root is not that of the empty tree.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        // The origin is the log's key name too, so it follows the rule of those.
        if !is_key_name(origin) {
            return Err(CheckpointError::Origin);
        }
        if size == 0 && root != empty_root() {
            return Err(CheckpointError::EmptyRoot);
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
        })
    }

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    #[must_use]
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// The note's text, which the log signs: three lines, final newline included.
    #[must_use]
    pub fn body(&self) -> String {
        format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            self.root.to_base64()
        )
    }

    /// Reads exactly what [`Checkpoint::body`] writes.
    ///
    /// # Errors
    ///
    /// When the text is spelled in any other way: extension lines, leading zeroes and non-canonical base64 included.
    pub fn parse_body(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text
            .split_inclusive('\n')
            .map(|line| line.strip_suffix('\n'));
        let (Some(Some(origin)), Some(Some(size)), Some(Some(root)), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Lines);
        };
        let size = parse_decimal(size).ok_or(CheckpointError::Size)?;
        let root = Hash::from_base64(root).ok_or(CheckpointError::RootHash)?;
        Self::new(origin, size, root)
    }

    /// The one-signature note: this body and the log's signature over it.
    #[must_use]
    pub fn signed(&self, public_key: &[u8; 32], signature: &[u8; 64]) -> Vec<u8> {
        let id = key_id(&self.origin, ED25519, public_key);
        // The origin is a key name and the signature is not empty, so there is such a line.
        let line = NoteSignature::new(&self.origin, id, signature)
            .map(|line| line.encode())
            .unwrap_or_default();
        format!("{}\n{line}", self.body()).into_bytes()
    }

    /// Checks a checkpoint with exactly one signature line, by one of the log's `keys`, and returns it and the index of that key.
    ///
    /// # Errors
    ///
    /// When the bytes are not a checkpoint, are another log's, hold any other signature line, or the signature does not verify.
    pub fn verify(
        bytes: &[u8],
        origin: &str,
        keys: &[[u8; 32]],
    ) -> Result<(Self, usize), CheckpointError> {
        let (checkpoint, key, note) = Self::verify_log_line(bytes, origin, keys)?;
        match note.signatures() {
            [_] => Ok((checkpoint, key)),
            _ => Err(CheckpointError::UnexpectedLine { line: 1 }),
        }
    }

    /// Checks a cosigned checkpoint: the log's line first, then only valid cosignatures of these witnesses, each at most once and in any order.
    /// Returns it, the index of the log's key, and the index and timestamp (seconds since the Epoch) of each witness. Whether those are enough, the caller judges.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::verify`]; and when a line behind the first is not of a named witness, or its cosignature does not verify.
    pub fn verify_cosigned(
        bytes: &[u8],
        origin: &str,
        keys: &[[u8; 32]],
        witnesses: &[WitnessKey],
    ) -> Result<(Self, usize, Cosignatures), CheckpointError> {
        let (checkpoint, key, note) = Self::verify_log_line(bytes, origin, keys)?;
        let mut cosigned = Cosignatures::new();
        for (line, signature) in note.signatures().iter().enumerate().skip(1) {
            let (witness, named) = witnesses
                .iter()
                .enumerate()
                .find(|(_, witness)| witness.claims(signature))
                .ok_or(CheckpointError::UnexpectedLine { line })?;
            if cosigned.iter().any(|(seen, _)| *seen == witness) {
                return Err(CheckpointError::UnexpectedLine { line });
            }
            let timestamp = cosignature::verify(named, signature, note.text())
                .map_err(|error| CheckpointError::Cosignature { line, error })?;
            cosigned.push((witness, timestamp));
        }
        Ok((checkpoint, key, cosigned))
    }

    /// Checks the form of the whole note, and its first line as the log's.
    fn verify_log_line(
        bytes: &[u8],
        origin: &str,
        keys: &[[u8; 32]],
    ) -> Result<(Self, usize, SignedNote), CheckpointError> {
        let note = SignedNote::parse(bytes)?;
        let checkpoint = Self::parse_body(note.text())?;
        if checkpoint.origin != origin {
            return Err(CheckpointError::OtherOrigin {
                got: checkpoint.origin,
            });
        }
        // "The log's key name in its signature line SHOULD match the origin line": here it must.
        let line = note
            .signatures()
            .first()
            .filter(|line| line.name() == origin)
            .ok_or(CheckpointError::OtherKey)?;
        let mut known = false;
        for (index, key) in keys.iter().enumerate() {
            if line.key_id() != key_id(origin, ED25519, key) {
                continue;
            }
            known = true;
            let signature: &[u8; 64] = line
                .signature()
                .try_into()
                .map_err(|_| CheckpointError::Signature)?;
            // Two keys may share an ID, so a failure is final only when none is left.
            if ed25519::verify(key, note.text().as_bytes(), signature).is_ok() {
                return Ok((checkpoint, index, note));
            }
        }
        Err(if known {
            CheckpointError::Signature
        } else {
            CheckpointError::OtherKey
        })
    }
}

/// Reads an ASCII decimal "with no leading zeroes (unless … `0`)".
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    // `parse` also takes leading zeroes and a plus; one number has one spelling.
    (number.to_string() == text).then_some(number)
}

/// A stranger's text, made fit for a terminal: short, and nothing in it but visible ASCII.
fn shown(text: &str) -> String {
    text.chars()
        .take(200)
        .flat_map(char::escape_default)
        .collect()
}

/// Why bytes are not a valid checkpoint of the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Not three lines.
    #[error(
        "a checkpoint's text is exactly three lines, origin, size and root: extension lines are not allowed"
    )]
    Lines,
    /// The origin cannot be a key name.
    #[error("a checkpoint's origin is not empty and holds neither spaces nor `+`")]
    Origin,
    /// The size is not a canonical decimal.
    #[error("a checkpoint's second line is the size in decimal below 2^64, without leading zeroes")]
    Size,
    /// The root is not canonical base64 of 32 bytes.
    #[error("a checkpoint's third line is the root hash in canonical base64")]
    RootHash,
    /// An empty tree with leaves' root.
    #[error("the size is 0 and the root is not that of the empty tree")]
    EmptyRoot,
    /// Another log's checkpoint.
    #[error("the checkpoint is of another log, `{}`", shown(got))]
    OtherOrigin {
        /// The origin it names.
        got: String,
    },
    /// The first line is not by a key of the log.
    #[error(
        "the first signature line is not by a key of this log: its name is not the origin, or its key ID is unknown"
    )]
    OtherKey,
    /// The log's signature does not verify.
    #[error("the log's signature does not verify: the checkpoint is forged or damaged")]
    Signature,
    /// A line that must not be there.
    #[error(
        "signature line {line} (from 0) must not be there: it is by an unknown key, or a second one by the same key"
    )]
    UnexpectedLine {
        /// The line's position among the signature lines, from 0.
        line: usize,
    },
    /// A witness's line does not verify.
    #[error("signature line {line} (from 0) names a witness, but: {error}")]
    Cosignature {
        /// The line's position among the signature lines, from 0.
        line: usize,
        /// What is wrong with it.
        error: CosignatureError,
    },
}
