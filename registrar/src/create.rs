//! A registrar's files for a new election.
//!
//! Two steps, since codes are bound to the election id, and that follows from the roll and the RSA key:
//!
//! 1. [`SealedRoll::seal`] and [`BlindSigner::generate`](crate::rsa::BlindSigner::generate) before the manifest is written;
//! 2. [`create`] for each registrar afterwards.

use std::path::{Path, PathBuf};

use protocol::manifest::Election;
use zeroize::Zeroizing;

use crate::code::{Code, CodeKey};
use crate::database::{Database, DatabaseError};
use crate::roll::SealedRoll;
use crate::secret_file::{self, SecretFileError};

/// Where a registrar's files are: all in one folder, each readable by its owner only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrarFiles {
    /// `rsa.pem`: the private RSA key.
    pub rsa_key: PathBuf,
    /// `rsa.wrapped`: the same, wrapped by a key in KMS; only one of the two is there.
    pub rsa_wrapped: PathBuf,
    /// `code.key`: the HMAC key of the codes.
    pub code_key: PathBuf,
    /// `registrar.sqlite`: the roll and the codes' HMACs.
    pub database: PathBuf,
    /// `codes.csv`: identity and code of each voter, to be handed out and then destroyed.
    pub code_sheet: PathBuf,
}

impl RegistrarFiles {
    /// The files of the registrar whose folder this is.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            rsa_key: folder.join("rsa.pem"),
            rsa_wrapped: folder.join("rsa.wrapped"),
            code_key: folder.join("code.key"),
            database: folder.join("registrar.sqlite"),
            code_sheet: folder.join("codes.csv"),
        }
    }
}

/// Why the files could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The roll is not the one that the manifest fixes.
    #[error(
        "the sealed roll is not the one that the manifest fixes: make the manifest with this roll's size and root"
    )]
    OtherRoll,
    /// The manifest has fewer registrars.
    #[error("the manifest has no registrar {0}")]
    NoSuchRegistrar(u16),
    /// A file exists, or cannot be written.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The database cannot be written.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The code sheet cannot be put into CSV.
    #[error("the code sheet: {0}")]
    Csv(#[from] csv::Error),
}

/// Makes one registrar's codes, code key, code sheet and database. Codes are independent of every other registrar's: to vote in a voter's name
/// takes a code of each.
///
/// The folder must exist. The sheet is sorted by identity, so that its order says nothing about roll indices. The RSA key's file is not touched.
///
/// # Errors
/// As [`CreateError`] says. Nothing that exists is replaced; files made before the error remain.
pub async fn create(
    files: &RegistrarFiles,
    election: &Election,
    registrar: u16,
    roll: &SealedRoll,
) -> Result<(), CreateError> {
    let manifest = election.manifest();
    if roll.size() != manifest.roll.size || roll.root().as_bytes() != &manifest.roll.root {
        return Err(CreateError::OtherRoll);
    }
    if usize::from(registrar) >= manifest.registrars.len() {
        return Err(CreateError::NoSuchRegistrar(registrar));
    }
    let key = CodeKey::random();
    key.create_file(&files.code_key)?;

    let mut sealed = Vec::with_capacity(roll.entries().len());
    let mut lines = Vec::with_capacity(roll.entries().len());
    for (index, entry) in (0..).zip(roll.entries()) {
        let code = Code::random();
        let digest = key.digest(&election.id(), &code);
        let seal = key.seal(&election.id(), index, &entry.leaf_hash(), &digest);
        sealed.push((digest, seal));
        lines.push((entry.identity.as_str(), code));
    }
    lines.sort_unstable_by_key(|(identity, _)| *identity);
    secret_file::create(&files.code_sheet, &sheet(&lines)?)?;
    drop(lines);
    // Last: where there is a database, all else is there too.
    Database::create(&files.database, &election.id(), registrar, roll, &sealed).await?;
    Ok(())
}

fn sheet(lines: &[(&str, Code)]) -> Result<Zeroizing<Vec<u8>>, csv::Error> {
    // Room for everything, so that no copy of the codes is left behind by growing.
    let room = lines
        .iter()
        .map(|(identity, _)| identity.len() * 2 + 32)
        .sum::<usize>()
        + 32;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let mut csv = csv::Writer::from_writer(&mut *bytes);
    csv.write_record(["identity", "code"])?;
    for (identity, code) in lines {
        csv.write_record([*identity, code.reveal().as_str()])?;
    }
    csv.flush()?;
    drop(csv);
    Ok(bytes)
}
