//! A registrar's RSA key and the signatures made with it (skeleton).

/// What is wrong with a registrar's key or signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RsaError {
    /// The signature does not fit.
    #[error("the registrar's signature does not fit this credential")]
    BadSignature,
}

/// A registrar's public RSA key, as the manifest fixes it. Cheap to clone.
#[derive(Clone)]
pub struct RegistrarKey;

impl RegistrarKey {
    /// Parses the one accepted encoding.
    ///
    /// # Errors
    /// Which rule is broken.
    pub fn from_spki(_spki: &[u8]) -> Result<Self, RsaError> {
        Err(RsaError::BadSignature)
    }
    /// The DER bytes.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &[]
    }
    /// The modulus, big-endian, without a leading zero.
    #[must_use]
    pub fn modulus(&self) -> &[u8] {
        &[]
    }
    /// The length of the modulus, and so of every signature, in bytes.
    #[must_use]
    pub fn signature_len(&self) -> usize {
        0
    }
    /// Verifies RSASSA-PSS with SHA-384 and a salt of 48 bytes.
    ///
    /// # Errors
    /// `BadSignature`.
    pub fn verify(&self, _message: &[u8], _signature: &[u8]) -> Result<(), RsaError> {
        Err(RsaError::BadSignature)
    }
}
