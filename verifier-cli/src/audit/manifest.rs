//! Opening the election: the one file that is checked against the id itself.

use protocol::ids::ElectionId;
use protocol::manifest::{Election, MANIFEST_LEN_MAX, ManifestError};

use crate::finding::Code;
use crate::source::{Fetched, Source};

/// Why there is no manifest to audit by.
pub(crate) enum NoManifest {
    /// It is certainly not what it must be.
    Finding(Code, String),
    /// It could not be read.
    Unread(String),
}

/// "`H(manifest.json)` must equal the id before it is parsed."
pub(crate) fn open(source: &dyn Source, id: &ElectionId) -> Result<Election, NoManifest> {
    let finding = |code, evidence: &str| Err(NoManifest::Finding(code, evidence.to_owned()));
    match source.read("manifest.json", MANIFEST_LEN_MAX) {
        Ok(Fetched::File(bytes)) => Election::check_id(&bytes, id).map_err(|error| {
            let code = match error {
                ManifestError::OtherElection { .. } => Code::ManifestMismatch,
                _ => Code::ManifestInvalid,
            };
            NoManifest::Finding(code, error.to_string())
        }),
        Ok(Fetched::Missing) => finding(
            Code::MissingFile,
            "there is no such file; without it nothing can be verified",
        ),
        Ok(Fetched::TooLarge) => finding(
            Code::FileTooLarge,
            "it has more bytes than a manifest may have",
        ),
        Ok(Fetched::NotAFile) => finding(
            Code::NotAFile,
            "a symbolic link, a folder or a device has this name; it was not followed",
        ),
        Err(error) => Err(NoManifest::Unread(error.to_string())),
    }
}
