//! Credentials (skeleton).

use crate::ids::ElectionId;
use crate::rsa::RegistrarKey;

/// What went wrong with a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The blinded message has another length than the modulus.
    #[error("the blinded message has the wrong length")]
    WrongLength,
}

/// The device's secret.
pub struct DeviceSecret(#[allow(dead_code)] [u8; 32]);

impl DeviceSecret {
    /// Wraps 32 bytes from the device's random generator.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// The voter's Ed25519 key.
pub struct CredentialKey(crate::ed25519::SigningKey);

impl CredentialKey {
    /// Derives the key.
    #[must_use]
    pub fn derive(secret: &DeviceSecret, _election: &ElectionId) -> Self {
        Self(crate::ed25519::SigningKey::from_seed(&secret.0))
    }
    /// The public key: the credential.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.public()
    }
    /// Signs.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

/// A blinded credential message and what undoes the blinding.
pub struct Blinded {
    message: Vec<u8>,
}

impl Blinded {
    /// What goes to the registrar: `signature_len` bytes.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }
}

/// Blinds.
///
/// # Errors
/// Only where the key is no RSA key.
pub fn blind(
    _: &DeviceSecret,
    _: &ElectionId,
    _registrar: u16,
    _: &RegistrarKey,
) -> Result<Blinded, CredentialError> {
    Err(CredentialError::WrongLength)
}

/// Unblinds and verifies.
///
/// # Errors
/// The registrar's answer is not a signature of the credential.
pub fn finalize(_: &Blinded, _blind_signature: &[u8]) -> Result<Vec<u8>, CredentialError> {
    Err(CredentialError::WrongLength)
}

/// `"tallyroot/v1/credential" ‖ 0x00 ‖ election id ‖ credential public key`.
#[must_use]
pub fn credential_message(_election: &ElectionId, _public: &[u8; 32]) -> Vec<u8> {
    Vec::new()
}

/// SHA-256 of the blinded message.
#[must_use]
pub fn blinded_digest(_blinded_message: &[u8]) -> [u8; 32] {
    [0; 32]
}

/// The registrar's check before it signs.
///
/// # Errors
/// `WrongLength` or out of range.
pub fn check_blinded_message(
    _: &RegistrarKey,
    _blinded_message: &[u8],
) -> Result<(), CredentialError> {
    Err(CredentialError::WrongLength)
}
