//! The witness's own name and key.
//!
//! Kept in one file that only its owner can read, in one line as signed notes' tools write private keys:
//! `PRIVATE+KEY+<name>+<key ID in hex>+base64(0x04 || seed)`.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::cosignature::{self, WitnessKey};
use protocol::ed25519::SigningKey;
use protocol::note::{COSIGNATURE, KeyType, NoteSignature, VerifierKey, key_id};
use rand::TryRng as _;
use zeroize::Zeroizing;

use super::files;

/// "distinct names of at most 200 bytes" (specs/protocol.md section 2)
pub const NAME_BYTES_MAX: usize = 200;
const FILE_BYTES_MAX: u64 = 1_024;
const PREFIX: &str = "PRIVATE+KEY+";

/// A witness's name and private key. `Debug` shows the public half only.
pub struct CosigningKey {
    public: WitnessKey,
    secret: SigningKey,
}

impl CosigningKey {
    /// Makes a new random key under this name.
    ///
    /// # Errors
    /// The name is no key name or too long, or the system has no randomness.
    pub fn generate(name: &str) -> Result<(Self, Zeroizing<String>)> {
        let mut seed = Zeroizing::new([0; 32]);
        rand::rngs::SysRng
            .try_fill_bytes(seed.as_mut_slice())
            .map_err(|error| anyhow!("the system gives no random bytes: {error}"))?;
        let key = Self::of(name, &seed)?;
        let mut material = Zeroizing::new(vec![COSIGNATURE]);
        material.extend_from_slice(seed.as_slice());
        let text = Zeroizing::new(STANDARD.encode(&*material));
        let id = key_id(name, COSIGNATURE, key.public.public_key());
        let line = Zeroizing::new(format!("{PREFIX}{name}+{id}+{}\n", *text));
        Ok((key, line))
    }

    fn of(name: &str, seed: &[u8; 32]) -> Result<Self> {
        if name.len() > NAME_BYTES_MAX {
            bail!("a witness's name has at most {NAME_BYTES_MAX} bytes");
        }
        let secret = SigningKey::from_seed(seed);
        let public = WitnessKey::new(name, secret.public())
            .context("name it like an address without https://, such as witness.example/w1")?;
        Ok(Self { public, secret })
    }

    /// Writes a new key's line to a new file of mode 0600.
    ///
    /// # Errors
    /// There is a file already (a key is never overwritten), or it cannot be written durably.
    pub fn write(path: &Path, line: &Zeroizing<String>) -> Result<()> {
        let context = || format!("cannot make the key file {}", path.display());
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .with_context(context)?;
        file.write_all(line.as_bytes()).with_context(context)?;
        file.sync_all().with_context(context)?;
        files::sync_folder_of(path).with_context(context)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// It cannot be read, others can read it, or it is not a witness's key. Nothing of its content is said.
    pub fn load(path: &Path) -> Result<Self> {
        let shown = path.display();
        let file = File::open(path).with_context(|| {
            format!("cannot read the key file {shown}: make one with `witness new-key`")
        })?;
        // The open file is asked, not the path: nothing can be put in its place in between.
        let metadata = file.metadata().with_context(|| format!("{shown}"))?;
        let mode = metadata.mode() & 0o7777;
        if !metadata.is_file() || mode & 0o077 != 0 {
            bail!(
                "the key file {shown} has mode {mode:o}: others than its owner may use it; if nobody did, run chmod 600, else make a new key"
            );
        }
        let mut text = Zeroizing::new(String::with_capacity(1_024));
        file.take(FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|_| anyhow!("the key file {shown} cannot be read as text"))?;
        Self::parse(&text).ok_or_else(|| {
            anyhow!("{shown} is no key file of a witness: make one with `witness new-key`")
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text
            .strip_suffix('\n')
            .unwrap_or(text)
            .strip_prefix(PREFIX)?
            .splitn(3, '+');
        let (name, id, material) = (parts.next()?, parts.next()?, parts.next()?);
        let material = Zeroizing::new(STANDARD.decode(material).ok()?);
        let (&key_type, seed) = material.split_first()?;
        let mut bytes = Zeroizing::new([0; 32]);
        if key_type != COSIGNATURE || seed.len() != bytes.len() {
            return None;
        }
        bytes.copy_from_slice(seed);
        let key = Self::of(name, &bytes).ok()?;
        let right = key_id(name, COSIGNATURE, key.public.public_key()).to_string();
        (right == id).then_some(key)
    }

    /// Name and public key.
    #[must_use]
    pub const fn public(&self) -> &WitnessKey {
        &self.public
    }

    /// The verifier key, as a manifest or a policy names it.
    ///
    /// # Errors
    /// Never, for a key that was made or read.
    pub fn vkey(&self) -> Result<String> {
        let key = VerifierKey::new(
            self.public.name(),
            KeyType::Cosignature,
            *self.public.public_key(),
        )?;
        Ok(key.encode())
    }

    /// The cosignature line on the checkpoint with this text, at this time in seconds since the Epoch.
    ///
    /// # Errors
    /// The time is 0 or beyond 2^63 - 1.
    pub fn cosign(
        &self,
        time_s: u64,
        text: &str,
    ) -> Result<NoteSignature, cosignature::CosignatureError> {
        let signature = self.secret.sign(&cosignature::message(time_s, text));
        cosignature::line(&self.public, time_s, &signature)
    }
}

impl fmt::Debug for CosigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CosigningKey").field(&self.public).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_comes_back_from_its_file_and_shows_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let (key, line) = CosigningKey::generate("witness.example/w1").unwrap();
        CosigningKey::write(&path, &line).unwrap();
        let again = CosigningKey::load(&path).unwrap();
        assert_eq!(again.public(), key.public());
        let vkey = key.vkey().unwrap();
        assert_eq!(WitnessKey::parse_vkey(&vkey).unwrap(), *key.public());
        let seed = line.rsplit('+').next().unwrap().trim_end();
        assert!(!format!("{again:?}").contains(seed));
        // Never overwritten.
        CosigningKey::write(&path, &line).unwrap_err();
    }

    #[test]
    fn what_others_can_read_or_is_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let (_, line) = CosigningKey::generate("w.example").unwrap();
        CosigningKey::write(&path, &line).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = format!("{:#}", CosigningKey::load(&path).unwrap_err());
        assert!(error.contains("chmod 600"), "{error}");

        for (from, to) in [
            ("PRIVATE", "PUBLIC"),
            ("w.example", "v.example"),
            ("+B", "+A"),
        ] {
            let changed = line.replacen(from, to, 1);
            assert!(
                changed != *line && CosigningKey::parse(&changed).is_none(),
                "{to}"
            );
        }
        for name in ["", "with space", "a+b", "tab\there", &"x".repeat(201)] {
            CosigningKey::generate(name).unwrap_err();
        }
    }

    #[test]
    fn a_name_may_have_two_hundred_bytes() {
        assert!(CosigningKey::generate(&"x".repeat(200)).is_ok());
        let error = CosigningKey::generate(&"x".repeat(201)).unwrap_err();
        assert!(error.to_string().contains("at most 200 bytes"), "{error}");
    }
}
