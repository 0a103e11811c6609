//! The registrar's private RSA operation, by OpenSSL.
//!
//! Blind signing (RFC 9474 section 4.3, `BlindSign`) is the raw operation `m^d mod n` on what the voter sent. OpenSSL blinds it with a random
//! factor against timing, computes it by the Chinese remainder theorem and checks that against faults; and the result is verified
//! by the public operation once more before it leaves: one faulty signature would give the factors of the modulus away.

mod source;

use core::fmt;
use std::path::Path;

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use protocol::credential::{CredentialError, check_blinded_message};
use protocol::rsa::{RegistrarKey, RsaError};
use signer::KmsError;
use zeroize::Zeroizing;

use crate::secret_file::{self, SecretFileError};

pub use source::RsaKeySource;

/// Bits of the key made for a new election.
pub const MODULUS_BITS: u32 = 2048;

/// A registrar's RSA key. One key serves one election.
pub struct BlindSigner {
    private: Rsa<Private>,
    public: RegistrarKey,
}

/// Why there is no key, or no signature.
#[derive(Debug, thiserror::Error)]
pub enum BlindSignerError {
    /// OpenSSL reported an error. Its text names functions and reasons, never key material.
    #[error("OpenSSL: {0}")]
    OpenSsl(#[from] ErrorStack),
    /// The key's file is missing, exists already or is not private.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The wrapped key could not be unwrapped, or a new one not be wrapped.
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// The public half would be refused in a manifest.
    #[error("this RSA key cannot serve a registrar: {0}")]
    Unfit(#[from] RsaError),
    /// The parts of the private key contradict each other.
    #[error(
        "the parts of this RSA key do not fit together: the file is damaged; restore it from its backup"
    )]
    Inconsistent,
    /// The manifest names another key.
    #[error(
        "this RSA key is not the one that the manifest names for this registrar: a key serves one registrar of one election; check the configured file"
    )]
    OtherKey,
    /// The voter's message is out of range.
    #[error(transparent)]
    Message(#[from] CredentialError),
    /// The result did not verify. It stays here.
    #[error(
        "the RSA operation gave a wrong result, which was not sent: the machine computes wrongly; move the registrar to another"
    )]
    Fault,
}

impl BlindSignerError {
    /// Whether the same may succeed later, without anybody changing anything.
    #[must_use]
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Kms(error) if error.passes())
    }
}

impl BlindSigner {
    /// Makes a key with exponent 65537. 2048 bits take about 0.1 s, 4096 several seconds.
    ///
    /// # Errors
    /// OpenSSL's, or `bits` is not a size that manifests take.
    pub fn generate(bits: u32) -> Result<Self, BlindSignerError> {
        Self::new(Rsa::generate(bits)?)
    }

    /// Reads a PEM private key (PKCS #8 or PKCS #1) from a file that only its owner may read.
    ///
    /// # Errors
    /// As [`BlindSignerError`] says; an encrypted PEM is an OpenSSL error.
    pub fn from_file(path: &Path) -> Result<Self, BlindSignerError> {
        let pem = secret_file::read(path)?;
        // With a passphrase callback OpenSSL would ask on the terminal; an empty one makes an encrypted file an error.
        Self::new(Rsa::private_key_from_pem_passphrase(&pem, b"")?)
    }

    fn new(private: Rsa<Private>) -> Result<Self, BlindSignerError> {
        // `check_key` tests that the primes are primes and that n, d and the CRT parts belong to them.
        if !private.check_key().unwrap_or(false) {
            return Err(BlindSignerError::Inconsistent);
        }
        let spki = private.public_key_to_der()?;
        let public = RegistrarKey::from_spki(&spki)?;
        Ok(Self { private, public })
    }

    /// Writes the key as PKCS #8 PEM to a new file that only its owner may read.
    ///
    /// # Errors
    /// OpenSSL's, or the file exists or cannot be written.
    pub fn create_file(&self, path: &Path) -> Result<(), BlindSignerError> {
        let pem = Zeroizing::new(PKey::from_rsa(self.private.clone())?.private_key_to_pem_pkcs8()?);
        Ok(secret_file::create(path, &pem)?)
    }

    /// The public half, whose `spki()` goes into the manifest.
    #[must_use]
    pub const fn public(&self) -> &RegistrarKey {
        &self.public
    }

    /// Compares with the manifest's key for this registrar.
    ///
    /// # Errors
    /// `OtherKey`.
    pub fn check_is(&self, of_manifest: &RegistrarKey) -> Result<(), BlindSignerError> {
        if self.public.spki() == of_manifest.spki() {
            Ok(())
        } else {
            Err(BlindSignerError::OtherKey)
        }
    }

    /// RFC 9474 `BlindSign`: deterministic, so that the same message always gets the same answer. About 0.3 ms at 2048 bits: call it off
    /// the executor's threads.
    ///
    /// # Errors
    /// `Message` where the blinded message has another length than the modulus or is 0, 1, n - 1 or above; `Fault`; OpenSSL's.
    pub fn blind_sign(&self, blinded_message: &[u8]) -> Result<Vec<u8>, BlindSignerError> {
        // "The registrar refuses a blinded message whose length is not the modulus length or whose value is 0, 1, n - 1 or above."
        check_blinded_message(&self.public, blinded_message)?;
        let len = self.public.signature_len();
        let mut signature = vec![0; len];
        let written =
            self.private
                .private_encrypt(blinded_message, &mut signature, Padding::NONE)?;
        let mut back = vec![0; len];
        let read = self
            .private
            .public_decrypt(&signature, &mut back, Padding::NONE)?;
        if written != len || read != len || back != blinded_message {
            return Err(BlindSignerError::Fault);
        }
        Ok(signature)
    }
}

impl fmt::Debug for BlindSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlindSigner(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::bn::{BigNum, BigNumContext};

    #[test]
    fn a_key_survives_its_file_and_only_its_own_manifest_entry_fits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rsa.pem");
        let key = BlindSigner::generate(MODULUS_BITS).unwrap();
        key.create_file(&path).unwrap();
        let read = BlindSigner::from_file(&path).unwrap();
        read.check_is(key.public()).unwrap();
        let other = BlindSigner::generate(MODULUS_BITS).unwrap();
        assert!(matches!(
            read.check_is(other.public()),
            Err(BlindSignerError::OtherKey)
        ));
        assert!(matches!(
            other.create_file(&path),
            Err(BlindSignerError::File(SecretFileError::Exists(_)))
        ));
        assert_eq!(format!("{key:?}"), "BlindSigner(secret)");
    }

    #[test]
    fn the_raw_operation_is_exponentiation_and_always_the_same() {
        let key = BlindSigner::generate(MODULUS_BITS).unwrap();
        let n = BigNum::from_slice(key.public().modulus()).unwrap();
        let e = BigNum::from_u32(65_537).unwrap();
        let mut context = BigNumContext::new().unwrap();
        for byte in [2u8, 0x55, 0x7f] {
            let mut message = vec![byte; key.public().signature_len()];
            message[0] = 0;
            let signature = key.blind_sign(&message).unwrap();
            assert_eq!(signature, key.blind_sign(&message).unwrap());
            let mut back = BigNum::new().unwrap();
            let s = BigNum::from_slice(&signature).unwrap();
            back.mod_exp(&s, &e, &n, &mut context).unwrap();
            assert_eq!(back, BigNum::from_slice(&message).unwrap());
        }
    }

    #[test]
    fn trivial_and_misshapen_messages_are_refused() {
        let key = BlindSigner::generate(MODULUS_BITS).unwrap();
        let len = key.public().signature_len();
        let n = key.public().modulus().to_vec();
        let mut n_minus_1 = n.clone();
        n_minus_1[len - 1] -= 1;
        let mut one = vec![0; len];
        one[len - 1] = 1;
        for message in [
            vec![],
            vec![5; len - 1],
            vec![5; len + 1],
            vec![0; len],
            one,
            n_minus_1.clone(),
            n,
            vec![0xff; len],
        ] {
            assert!(matches!(
                key.blind_sign(&message),
                Err(BlindSignerError::Message(_))
            ));
        }
        // The largest message that is allowed: n - 2.
        n_minus_1[len - 1] -= 1;
        key.blind_sign(&n_minus_1).unwrap();
    }

    #[test]
    fn damaged_small_and_foreign_key_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let small = folder.path().join("small.pem");
        let pem = Rsa::generate(1024).unwrap().private_key_to_pem().unwrap();
        secret_file::create(&small, &pem).unwrap();
        assert!(matches!(
            BlindSigner::from_file(&small),
            Err(BlindSignerError::Unfit(_))
        ));
        let exponent = folder.path().join("exponent.pem");
        let three = BigNum::from_u32(3).unwrap();
        let pem = Rsa::generate_with_e(2048, &three)
            .unwrap()
            .private_key_to_pem()
            .unwrap();
        secret_file::create(&exponent, &pem).unwrap();
        assert!(matches!(
            BlindSigner::from_file(&exponent),
            Err(BlindSignerError::Unfit(RsaError::Exponent))
        ));
        let encrypted = folder.path().join("encrypted.pem");
        let pem = Rsa::generate(2048)
            .unwrap()
            .private_key_to_pem_passphrase(openssl::symm::Cipher::aes_128_cbc(), b"passphrase")
            .unwrap();
        secret_file::create(&encrypted, &pem).unwrap();
        assert!(matches!(
            BlindSigner::from_file(&encrypted),
            Err(BlindSignerError::OpenSsl(_))
        ));
        let text = folder.path().join("text.pem");
        secret_file::create(&text, b"no key").unwrap();
        assert!(matches!(
            BlindSigner::from_file(&text),
            Err(BlindSignerError::OpenSsl(_))
        ));
    }
}
