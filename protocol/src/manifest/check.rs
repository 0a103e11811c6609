//! The rules of the manifest (section 2), each beside the sentence that it enforces.

use crate::canonical_json::CanonicalError;
use crate::ids::ElectionId;
use crate::rsa::RegistrarKey;

use super::election::ParsedKeys;
use super::{MANIFEST_LEN_MAX, Manifest};

/// Why a file is no manifest, or not the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The bytes are a different election's manifest, or damaged.
    #[error(
        "this manifest is of election {actual}, not {expected}: it belongs to another election or was changed; fetch it again, or ask for the id at a source that you trust"
    )]
    OtherElection {
        /// The id that the caller knows.
        expected: ElectionId,
        /// The hash of the bytes at hand.
        actual: ElectionId,
    },
    /// The bytes are not canonical JSON with a manifest's members.
    #[error("manifest.json cannot be read: {0}")]
    Json(#[from] CanonicalError),
    /// A member breaks a rule.
    #[error("manifest.json, member `{member}`: {problem}")]
    Member {
        /// Where, such as `contests[2].options[0]`.
        member: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// "`manifest.json` is at most 1 MiB".
pub(super) fn check_len(bytes: &[u8]) -> Result<(), ManifestError> {
    if bytes.len() > MANIFEST_LEN_MAX {
        return Err(ManifestError::Json(CanonicalError::TooLarge {
            len: bytes.len(),
            max: MANIFEST_LEN_MAX,
        }));
    }
    Ok(())
}

/// Every rule beyond the JSON types; returns the keys, parsed.
pub(super) fn check(_manifest: &Manifest) -> Result<ParsedKeys, ManifestError> {
    unimplemented!()
}

/// The longest vote entry: type, credential, signatures, the longest ballot, ballot signature.
pub(super) fn vote_len_max(_manifest: &Manifest, _registrars: &[RegistrarKey]) -> usize {
    unimplemented!()
}
