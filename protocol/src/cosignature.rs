//! Witnesses' Ed25519 cosignatures on checkpoints: C2SP tlog-cosignature, signature type 0x04.
//!
//! ```text
//! message           = "cosignature/v1\n" "time <timestamp>\n" <checkpoint body>
//! note signature    = timestamp u64 || Ed25519 signature (64) over the message
//! ```
//!
//! The timestamp is in seconds since the Epoch. It says that the witness had seen no larger consistent tree of this log by then.

use crate::ed25519;
use crate::note::{
    COSIGNATURE, KeyType, NoteError, NoteSignature, VerifierKey, is_key_name, key_id,
};

/// "It MUST NOT exceed 2^63 - 1"
pub const TIMESTAMP_MAX: u64 = (1 << 63) - 1;

/// The cosignatures of a checkpoint: of each witness that cosigned, its index among the named witnesses, and the timestamp in seconds since the Epoch.
pub type Cosignatures = Vec<(usize, u64)>;

/// A witness that is named in advance: key name and Ed25519 public key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WitnessKey {
    name: String,
    public_key: [u8; 32],
}

impl WitnessKey {
    /// The witness of this key name and public key.
    ///
    /// # Errors
    ///
    /// When the name is no key name.
    pub fn new(name: &str, public_key: [u8; 32]) -> Result<Self, NoteError> {
        if !is_key_name(name) {
            return Err(NoteError::KeyName);
        }
        Ok(Self {
            name: name.to_owned(),
            public_key,
        })
    }

    /// Reads a verifier key of type 0x04.
    ///
    /// # Errors
    ///
    /// When the text is not a verifier key, or is of another type.
    pub fn parse_vkey(text: &str) -> Result<Self, NoteError> {
        let key = VerifierKey::parse(text)?;
        if key.key_type() != KeyType::Cosignature {
            return Err(NoteError::KeyType {
                signature_type: key.key_type().byte(),
            });
        }
        Self::new(key.name(), *key.public_key())
    }

    /// The key name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Ed25519 public key.
    #[must_use]
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// Whether a signature line claims to be this witness's: its name and key ID are the witness's. [`verify`] then judges it.
    #[must_use]
    pub fn claims(&self, line: &NoteSignature) -> bool {
        line.name() == self.name
            && line.key_id() == key_id(&self.name, COSIGNATURE, &self.public_key)
    }
}

/// The bytes that a witness signs: for the checkpoint with this body (its note's text, final newline included), at this time.
#[must_use]
pub fn message(timestamp: u64, body: &str) -> Vec<u8> {
    // "followed by the whole note body of the cosigned checkpoint (including the final newline, but not including any signature lines)"
    format!("cosignature/v1\ntime {timestamp}\n{body}").into_bytes()
}

/// The signature line of a witness, from its Ed25519 signature over [`message`].
///
/// # Errors
///
/// When the timestamp is 0 or beyond 2^63 - 1.
pub fn line(
    witness: &WitnessKey,
    timestamp: u64,
    signature: &[u8; 64],
) -> Result<NoteSignature, CosignatureError> {
    check_timestamp(timestamp)?;
    let id = key_id(&witness.name, COSIGNATURE, &witness.public_key);
    let timestamped = [timestamp.to_be_bytes().as_slice(), signature].concat();
    NoteSignature::new(&witness.name, id, &timestamped).map_err(|_| CosignatureError::Form)
}

/// Checks that this line is the witness's cosignature on the checkpoint with this body, and returns its timestamp. Whether that time is plausible, the caller judges.
///
/// # Errors
///
/// When the line is not this witness's, is malformed, has an impossible timestamp, or the signature does not verify.
pub fn verify(
    witness: &WitnessKey,
    line: &NoteSignature,
    body: &str,
) -> Result<u64, CosignatureError> {
    if !witness.claims(line) {
        return Err(CosignatureError::OtherKey);
    }
    let (timestamp, signature) = line
        .signature()
        .split_first_chunk()
        .ok_or(CosignatureError::Form)?;
    let timestamp = u64::from_be_bytes(*timestamp);
    let signature: &[u8; 64] = signature.try_into().map_err(|_| CosignatureError::Form)?;
    check_timestamp(timestamp)?;
    ed25519::verify(&witness.public_key, &message(timestamp, body), signature)
        .map_err(|_| CosignatureError::Signature)?;
    Ok(timestamp)
}

/// tlog-witness: "The cosignature MUST NOT omit the timestamp, i.e. the timestamp MUST NOT be zero."
const fn check_timestamp(timestamp: u64) -> Result<(), CosignatureError> {
    if timestamp == 0 || timestamp > TIMESTAMP_MAX {
        Err(CosignatureError::Timestamp { timestamp })
    } else {
        Ok(())
    }
}

/// Why a line is not a witness's cosignature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CosignatureError {
    /// The name or the key ID is another's.
    #[error("the line's key name or key ID is not this witness's")]
    OtherKey,
    /// Not a timestamp and an Ed25519 signature.
    #[error("an Ed25519 cosignature is 72 bytes, a timestamp and a signature, and this is not")]
    Form,
    /// An impossible timestamp.
    #[error("{timestamp} is no time at which a witness cosigns: it is 0 or beyond 2^63 - 1")]
    Timestamp {
        /// The timestamp, in seconds since the Epoch.
        timestamp: u64,
    },
    /// The signature does not verify.
    #[error("the cosignature does not verify: it is forged, or for another checkpoint or time")]
    Signature,
}
