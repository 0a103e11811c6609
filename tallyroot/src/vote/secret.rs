//! The files that a voter's device keeps: her secret, and her receipt.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use protocol::credential::DeviceSecret;
use protocol::ids::ElectionId;
use protocol::receipt::Receipt;
use registrar::code::Code;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What the secret file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretFile {
    pub(super) about: String,
    pub(super) election: ElectionId,
    pub(super) secret: String,
    /// Hex signatures of the registrars that have signed so far, in the manifest's order.
    pub(super) signatures: Vec<String>,
    /// What tells the code that was sent to each registrar from others; nobody can find a code from it.
    #[serde(default)]
    pub(super) codes: Vec<String>,
    /// When casting may begin, in ms since 1970: drawn once, so that trying again does not draw again.
    #[serde(default)]
    pub(super) cast_from_ms: Option<u64>,
}

impl SecretFile {
    /// The file, or a new one with a fresh secret, on disk before this returns.
    pub(super) fn open(path: &Path, election: &ElectionId) -> Result<Self> {
        match std::fs::read(path) {
            Ok(bytes) => {
                let kept: Self = serde_json::from_slice(&bytes).with_context(|| {
                    format!(
                        "{} is not a secret file of `tallyroot vote`",
                        path.display()
                    )
                })?;
                if kept.election != *election {
                    bail!(
                        "{} belongs to election {}: name another file with --secret",
                        path.display(),
                        kept.election
                    );
                }
                Ok(kept)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let kept = Self {
                    about: "The secret of your vote. Keep it until the result is final, and show it to nobody."
                        .to_owned(),
                    election: *election,
                    secret: hex::encode(rand::random::<[u8; 32]>()),
                    signatures: Vec::new(),
                    codes: Vec::new(),
                    cast_from_ms: None,
                };
                kept.save(path)?;
                Ok(kept)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(super) fn device_secret(&self) -> Result<DeviceSecret> {
        let bytes: [u8; 32] = hex::decode(&self.secret)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .context("the secret file is damaged")?;
        Ok(DeviceSecret::from_bytes(bytes))
    }

    /// Whose credential this is was settled by the first codes: other ones are another voter's.
    pub(super) fn check_codes(&self, codes: &[String], path: &Path) -> Result<()> {
        for (code, used) in codes.iter().zip(&self.codes) {
            // One that is left empty is a sign-in's: whose, shows later.
            if !code.is_empty() && !used.is_empty() && self.mark(code) != *used {
                bail!(
                    "{} was begun with another code, so this one was not sent: for another voter, name other files with --secret and --receipt",
                    path.display()
                );
            }
        }
        Ok(())
    }

    /// Remembers, before it is sent, which code is used at the next registrar: an answer that is lost must not let another voter go on with this secret.
    pub(super) fn begin(&mut self, code: &str, path: &Path) -> Result<()> {
        let mark = self.mark(code);
        // A file of an older version has signatures without marks.
        while self.codes.len() < self.signatures.len() {
            self.codes.push(String::new());
        }
        if self.codes.len() == self.signatures.len() {
            self.codes.push(mark);
            self.save(path)?;
        }
        Ok(())
    }

    /// The same for an account at a provider, which is known once the voter has signed in.
    pub(super) fn begin_as(&mut self, account: &str, path: &Path) -> Result<()> {
        let used = self.codes.get(self.signatures.len());
        if used.is_some_and(|used| *used != self.mark(account)) {
            bail!(
                "{} was begun with another account or a code, so nothing was sent: for another voter, name other files with --secret and --receipt",
                path.display()
            );
        }
        self.begin(account, path)
    }

    /// The registrar refused the code, so nothing was issued for it: another one may be tried.
    pub(super) fn forget(&mut self, path: &Path) -> Result<()> {
        self.codes.truncate(self.signatures.len());
        self.save(path)
    }

    /// Keeps a registrar's signature.
    pub(super) fn keep(&mut self, signature: &[u8], path: &Path) -> Result<()> {
        self.signatures.push(hex::encode(signature));
        self.save(path)
    }

    /// Typed in whatever way, a code is the same code.
    fn mark(&self, code: &str) -> String {
        let code =
            Code::parse(code).map_or_else(|| code.to_owned(), |code| code.reveal().to_string());
        hex::encode(
            Sha256::new()
                .chain_update("tallyroot vote: the code of this secret\0")
                .chain_update(&self.secret)
                .chain_update(code)
                .finalize(),
        )
    }

    pub(super) fn save(&self, path: &Path) -> Result<()> {
        write(path, &serde_json::to_vec_pretty(self)?)
    }
}

/// Sees to it, before anything is sent, that the receipt will have a place, and that no other voter's receipt is there. `true`: this vote's sealed receipt is.
pub(super) fn check_receipt_place(
    path: &Path,
    secret: &Path,
    election: &ElectionId,
    credential: &[u8; 32],
) -> Result<bool> {
    if path == secret {
        bail!("--secret and --receipt name the same file: name two");
    }
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let partial = partial(path);
            return std::fs::write(&partial, b"")
                .and_then(|()| std::fs::remove_file(&partial))
                .map(|()| false)
                .with_context(|| format!("cannot write {}", path.display()));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    match Receipt::parse(&bytes).and_then(|receipt| receipt.verify(election)) {
        Ok(verdict) if verdict.credential == *credential => Ok(verdict.seal.is_some()),
        _ => bail!(
            "{} is there and is not a receipt of this vote: name another file with --receipt",
            path.display()
        ),
    }
}

/// Replaces a file in one step; readable for its owner only, since secrets and receipts both show what must stay private.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let partial = partial(path);
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)?;
        // The name must be as durable as the bytes: the secret has to outlive whatever breaks off after the first request.
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        std::fs::File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
    };
    // Only this function makes such a file; one that is there was left by a run that broke off.
    let _ = std::fs::remove_file(&partial);
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn partial(path: &Path) -> PathBuf {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    PathBuf::from(partial)
}

#[cfg(test)]
mod tests {
    use protocol::ids::ElectionId;

    use super::SecretFile;

    #[test]
    fn a_code_that_was_sent_settles_whose_secret_it_is_until_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.json");
        let id = ElectionId([7; 32]);
        let own = ["01234-56789-ABCDE-FGHJK".to_owned()];
        let typed = ["01234 56789 abcde fghjk".to_owned()];
        let other = ["01234-56789-ABCDE-FGHJM".to_owned()];
        let open = || SecretFile::open(&path, &id).unwrap();

        open().begin(&own[0], &path).unwrap();
        // The answer was lost: all that is left is the file.
        assert!(open().check_codes(&own, &path).is_ok());
        assert!(open().check_codes(&typed, &path).is_ok());
        assert!(open().check_codes(&other, &path).is_err());
        // Refused: she mistyped it.
        open().forget(&path).unwrap();
        assert!(open().check_codes(&other, &path).is_ok());
        open().begin(&other[0], &path).unwrap();
        open().keep(b"signature", &path).unwrap();
        open().forget(&path).unwrap();
        assert!(open().check_codes(&own, &path).is_err(), "it was issued");
    }
}
