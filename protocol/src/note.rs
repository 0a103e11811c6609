//! Signed notes: C2SP signed-note.
//!
//! ```text
//! <text, one or more lines>
//!
//! — <key name> base64(32-bit key ID || signature)
//! ```
//!
//! [`SignedNote::parse`] and [`SignedNote::encode`] are exact inverses: what the parser accepts encodes to the same bytes, so a note has one spelling.
//! Parsing checks the form only. Whether a line is a valid signature by a key that counts, the caller decides: [`checkpoint`](crate::checkpoint) and [`cosignature`](crate::cosignature).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The number of bytes of the longest note that is parsed or made.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;

/// The number of signature lines of a note. (C2SP: "Verifiers SHOULD apply a maximum limit to the number of signatures in a note … but MUST accept at least up to 16".)
pub const SIGNATURES_MAX: usize = 100;

/// Signature type of Ed25519 over the note's text (C2SP signed-note, "Signature types").
pub const ED25519: u8 = 0x01;

/// Signature type of timestamped Ed25519 checkpoint cosignatures (C2SP tlog-cosignature).
pub const COSIGNATURE: u8 = 0x04;

/// What a signature line starts with: an em dash and a space.
const LINE_START: &str = "\u{2014} ";

/// A key's short identifier. It only tells keys apart; many keys have the same, and whoever wants to finds one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// "key ID = SHA-256(key name || 0x0A || signature type || public key)\[:4\]"
#[must_use]
pub fn key_id(name: &str, signature_type: u8, public_key: &[u8]) -> KeyId {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', signature_type])
        .chain_update(public_key)
        .finalize()
        .into();
    let [a, b, c, d, ..] = digest;
    KeyId([a, b, c, d])
}

/// "Key names MUST be non-empty and MUST NOT contain any Unicode spaces or plus (U+002B) characters", nor, as all of a note, control characters.
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| !c.is_whitespace() && c != '+' && c >= ' ')
}

/// One signature line of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    key_id: KeyId,
    signature: Vec<u8>,
}

impl NoteSignature {
    /// A line with this key name, key ID and signature (of a form that depends on the key's type).
    ///
    /// # Errors
    ///
    /// When the name is no key name, or the signature is empty.
    pub fn new(name: &str, key_id: KeyId, signature: &[u8]) -> Result<Self, NoteError> {
        if !is_key_name(name) {
            return Err(NoteError::KeyName);
        }
        if signature.is_empty() {
            return Err(NoteError::SignatureLine);
        }
        Ok(Self {
            name: name.to_owned(),
            key_id,
            signature: signature.to_vec(),
        })
    }

    /// The key name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key ID.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The signature's bytes, without the key ID.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The line, with its newline.
    #[must_use]
    pub fn encode(&self) -> String {
        let blob = STANDARD.encode([&self.key_id.0, self.signature.as_slice()].concat());
        format!("{LINE_START}{} {blob}\n", self.name)
    }

    /// Reads exactly what [`NoteSignature::encode`] writes: one line with its newline. Witnesses answer with such lines.
    ///
    /// # Errors
    ///
    /// When the line is spelled in any other way, or longer than a note may be.
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        check_size(line.len())?;
        let rest = line
            .strip_suffix('\n')
            .and_then(|line| line.strip_prefix(LINE_START))
            .ok_or(NoteError::SignatureLine)?;
        let (name, blob) = rest.split_once(' ').ok_or(NoteError::SignatureLine)?;
        // The decoder takes canonical base64 only: padded, unused bits zero.
        let blob = STANDARD
            .decode(blob)
            .map_err(|_| NoteError::SignatureLine)?;
        let (key_id, signature) = blob.split_first_chunk().ok_or(NoteError::SignatureLine)?;
        Self::new(name, KeyId(*key_id), signature)
    }
}

/// A text and the signature lines below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// A note with this text, final newline included, and these lines.
    ///
    /// # Errors
    ///
    /// When the text does not end in a newline or holds other control characters, there is no line or more than 100, or the note is longer than 64 KiB.
    pub fn new(text: &str, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        if !text.ends_with('\n') {
            return Err(NoteError::Text);
        }
        check_controls(text)?;
        if signatures.is_empty() || signatures.len() > SIGNATURES_MAX {
            return Err(NoteError::SignatureCount);
        }
        let note = Self {
            text: text.to_owned(),
            signatures,
        };
        check_size(note.encode().len())?;
        Ok(note)
    }

    /// The text, final newline included.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, in order.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The same note with more lines at its end.
    ///
    /// # Errors
    ///
    /// When the note would have more than 100 lines or be longer than 64 KiB.
    pub fn with_signatures(
        &self,
        more: impl IntoIterator<Item = NoteSignature>,
    ) -> Result<Self, NoteError> {
        Self::new(
            &self.text,
            self.signatures.iter().cloned().chain(more).collect(),
        )
    }

    /// The note's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let lines: String = self.signatures.iter().map(NoteSignature::encode).collect();
        format!("{}\n{lines}", self.text).into_bytes()
    }

    /// Reads exactly what [`SignedNote::encode`] writes.
    ///
    /// # Errors
    ///
    /// When the bytes are not a signed note, have more than 100 signature lines, or are longer than 64 KiB.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        check_size(bytes.len())?;
        // "Signed notes MUST be valid UTF-8 and MUST NOT contain any ASCII control characters (those below U+0020) other than newline."
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Utf8)?;
        check_controls(note)?;
        // "the text is separated from the signatures by the last empty line in the note." Both newlines are one byte long.
        let empty_line = note.rfind("\n\n").ok_or(NoteError::Text)?;
        let (text, lines) = note
            .split_at_checked(empty_line + 1)
            .ok_or(NoteError::Text)?;
        let lines: Vec<&str> = lines
            .strip_prefix('\n')
            .ok_or(NoteError::Text)?
            .split_inclusive('\n')
            .take(SIGNATURES_MAX + 1)
            .collect();
        if lines.is_empty() || lines.len() > SIGNATURES_MAX {
            return Err(NoteError::SignatureCount);
        }
        let signatures = lines
            .into_iter()
            .map(NoteSignature::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }
}

const fn check_size(len: usize) -> Result<(), NoteError> {
    if len > NOTE_BYTES_MAX {
        Err(NoteError::TooLong { len })
    } else {
        Ok(())
    }
}

fn check_controls(text: &str) -> Result<(), NoteError> {
    if text.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        Err(NoteError::ControlCharacter)
    } else {
        Ok(())
    }
}

/// What a key signs. Types that Tallyroot does not use are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// A log's Ed25519 signatures over the note's text.
    Ed25519,
    /// A witness's timestamped Ed25519 cosignatures.
    Cosignature,
}

impl KeyType {
    /// The signature type identifier byte.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => ED25519,
            Self::Cosignature => COSIGNATURE,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            ED25519 => Some(Self::Ed25519),
            COSIGNATURE => Some(Self::Cosignature),
            _ => None,
        }
    }
}

/// A verifier key, or *vkey*: `<key name>+hex(32-bit key ID)+base64(signature type || public key)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: String,
    key_type: KeyType,
    public_key: [u8; 32],
}

impl VerifierKey {
    /// The verifier key of this name, type and Ed25519 public key. The key's bytes are taken as they are; verification judges them.
    ///
    /// # Errors
    ///
    /// When the name is no key name.
    pub fn new(name: &str, key_type: KeyType, public_key: [u8; 32]) -> Result<Self, NoteError> {
        if !is_key_name(name) {
            return Err(NoteError::KeyName);
        }
        Ok(Self {
            name: name.to_owned(),
            key_type,
            public_key,
        })
    }

    /// The key name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the key signs.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The Ed25519 public key.
    #[must_use]
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// The key ID.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        key_id(&self.name, self.key_type.byte(), &self.public_key)
    }

    /// The key as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let material =
            STANDARD.encode([&[self.key_type.byte()], self.public_key.as_slice()].concat());
        format!("{}+{}+{material}", self.name, self.key_id())
    }

    /// Reads exactly what [`VerifierKey::encode`] writes.
    ///
    /// # Errors
    ///
    /// When the text is not a verifier key, is of a type other than 0x01 and 0x04, or its key ID is not the one that name and key give.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        check_size(text.len())?;
        // A key name holds no plus; base64 may.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_), Some(material)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(NoteError::VerifierKey);
        };
        let material = STANDARD
            .decode(material)
            .map_err(|_| NoteError::VerifierKey)?;
        let (&signature_type, public_key) = material.split_first().ok_or(NoteError::VerifierKey)?;
        let key_type =
            KeyType::from_byte(signature_type).ok_or(NoteError::KeyType { signature_type })?;
        let public_key = public_key.try_into().map_err(|_| NoteError::VerifierKey)?;
        let key = Self::new(name, key_type, public_key)?;
        // "The key name and ID MUST match those used in the signatures": a wrong ID would never match.
        if key.encode() == text {
            Ok(key)
        } else {
            Err(NoteError::VerifierKey)
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.encode())
    }
}

/// Why something is not a signed note or a verifier key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Too many bytes.
    #[error("{len} bytes are more than a note may have (65,536)")]
    TooLong {
        /// The number of bytes.
        len: usize,
    },
    /// Not UTF-8.
    #[error("a note is UTF-8 text, and this is not")]
    Utf8,
    /// A control character other than newline.
    #[error("a note holds no control characters but newlines")]
    ControlCharacter,
    /// No text, or no empty line below it.
    #[error(
        "a note is a text that ends in a newline, an empty line and signature lines: the empty line or the newline is missing"
    )]
    Text,
    /// No signature line, or too many.
    #[error("a note has 1 to 100 signature lines")]
    SignatureCount,
    /// A signature line is malformed.
    #[error(
        "a signature line is an em dash, a key name and canonical base64 of a key ID and a signature, and ends in a newline: one is not"
    )]
    SignatureLine,
    /// Not a key name.
    #[error("a key name is not empty and holds neither spaces nor `+`")]
    KeyName,
    /// Not a verifier key.
    #[error(
        "not a verifier key as C2SP signed-note spells it, or its key ID is not that of its name and key"
    )]
    VerifierKey,
    /// A verifier key of a type that is not used here.
    #[error(
        "a verifier key of type {signature_type:#04x}: only Ed25519 (0x01) and Ed25519 cosignatures (0x04) are used here"
    )]
    KeyType {
        /// The signature type identifier byte.
        signature_type: u8,
    },
}
