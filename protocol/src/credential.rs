//! Credentials: how a voter's key gets every registrar's signature without any registrar seeing it.
//!
//! RFC 9474, variant RSABSSA-SHA384-PSS-Deterministic, over
//! `"tallyroot/v1/credential" ‖ 0x00 ‖ election id (32) ‖ credential public key (32)`:
//!
//! ```text
//! device                                             registrar r
//!   m  = EMSA-PSS(message, salt)
//!   z  = m * x^e mod n           ── blinded ──▶        check_blinded_message
//!   s  = b * x^-1 mod n          ◀── signature ──      b = z^d mod n
//!   verify s
//! ```
//!
//! Key, salts and blinding factors x all come by HKDF from one [`DeviceSecret`], which the device stores before its first request.
//! So a device that crashed asks again with the same bytes and gets the same answer; a fresh blinding would be refused as a second
//! credential. Libraries draw salt and factor from a random generator and cannot do that, hence the arithmetic here.
//!
//! The blinding hides the credential from the registrar whatever the factor's distribution elsewhere: x is uniform for whoever does
//! not know the secret. The arithmetic on secrets (x, m) uses the constant-time operations of `crypto-bigint`.

use core::fmt;

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Gcd as _, Odd};
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256, Sha384};
use zeroize::{Zeroize as _, Zeroizing};

use crate::ed25519::SigningKey;
use crate::ids::ElectionId;
use crate::rsa::{RegistrarKey, RsaError};

const CREDENTIAL_LABEL: &[u8] = b"tallyroot/v1/credential";
const KEY_INFO: &[u8] = b"tallyroot/v1/credential-key";
const SALT_INFO: &[u8] = b"tallyroot/v1/pss-salt";
const BLIND_INFO: &[u8] = b"tallyroot/v1/blind";

/// Bytes of a SHA-384 digest, and of the PSS salt.
const HASH_LEN: usize = 48;

/// Candidates for a blinding factor that are tried. A modulus has its top bit set, so each is right with probability above 1/2.
const CANDIDATES_MAX: u32 = 256;

/// What went wrong with a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// A blinded message, or a registrar's answer to one, has another length than the registrar's modulus.
    #[error("{len} bytes where the registrar's modulus has {expected}")]
    Length {
        /// Bytes found.
        len: usize,
        /// Bytes of the modulus.
        expected: usize,
    },
    /// A blinded message that is 0, 1, n - 1 or above, or a registrar's answer that is n or above.
    #[error("the number is out of range for the registrar's modulus")]
    Range,
    /// The registrar's key cannot blind this message: it shares a factor with the modulus, or no blinding factor was found. For a
    /// real RSA key this does not happen.
    #[error("this credential cannot be blinded under the registrar's key; the key is broken")]
    Unblindable,
    /// The registrar's answer does not become a signature of the credential.
    #[error(
        "the registrar did not sign what was sent: {0}; keep the answer as evidence and ask again"
    )]
    BadSignature(#[source] RsaError),
}

/// 32 random bytes, made on the device and stored there before the first request. Whoever has them can vote in the voter's place
/// and recognise her vote, so they leave the device only by the voter's own hand. Wiped on drop, never printed.
pub struct DeviceSecret(Zeroizing<[u8; 32]>);

impl DeviceSecret {
    /// Wraps 32 bytes from the device's random generator (or from its storage).
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for storing them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// `HKDF-Extract(salt = election id, IKM = secret)`, ready to expand.
    fn prk(&self, election: &ElectionId) -> Hkdf<Sha256> {
        Hkdf::new(Some(election.as_bytes()), self.0.as_slice())
    }
}

impl fmt::Debug for DeviceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceSecret(secret)")
    }
}

/// `HKDF-Expand(PRK, info, len)`. RFC 5869 allows 8,160 bytes; the longest here is a modulus of 512.
fn expand(
    prk: &Hkdf<Sha256>,
    info: &[&[u8]],
    len: usize,
) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let mut out = Zeroizing::new(vec![0; len]);
    prk.expand_multi_info(info, &mut out)
        .map_err(|_| CredentialError::Unblindable)?;
    Ok(out)
}

/// The voter's Ed25519 key for one election. Its public half is the credential.
pub struct CredentialKey(SigningKey);

impl CredentialKey {
    /// The key with seed `HKDF-Expand(PRK, "tallyroot/v1/credential-key", 32)`.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a seed of zeroes would be worse than a panic, and this cannot happen"
    )]
    pub fn derive(secret: &DeviceSecret, election: &ElectionId) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        let expanded = secret.prk(election).expand(KEY_INFO, seed.as_mut_slice());
        expanded.expect("HKDF-Expand fails only above 255 hash blocks, and this is one");
        Self(SigningKey::from_seed(&seed))
    }

    /// The credential: the public key that stands in the vote.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.public()
    }

    /// Signs bytes that already carry their label and election id.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

impl fmt::Debug for CredentialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialKey(secret)")
    }
}

/// What each registrar signs: `"tallyroot/v1/credential" ‖ 0x00 ‖ election id ‖ credential public key`, 88 bytes.
#[must_use]
pub fn credential_message(election: &ElectionId, public: &[u8; 32]) -> Vec<u8> {
    [CREDENTIAL_LABEL, &[0], election.as_bytes(), public].concat()
}

/// SHA-256 of the blinded message, as it stands in the issuance log.
#[must_use]
pub fn blinded_digest(blinded_message: &[u8]) -> [u8; 32] {
    Sha256::digest(blinded_message).into()
}

/// What goes to a registrar, and what turns its answer into a signature. It can be made again from the device secret at any time.
pub struct Blinded {
    blinded_message: Vec<u8>,
    credential_message: Vec<u8>,
    /// x^-1 mod n.
    unblinder: Zeroizing<BoxedUint>,
    key: RegistrarKey,
}

impl Blinded {
    /// The blinded message z, big-endian, as long as the modulus: this goes to the registrar.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.blinded_message
    }

    /// [`blinded_digest`] of the blinded message: what the voter looks for in the issuance log.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        blinded_digest(&self.blinded_message)
    }
}

impl fmt::Debug for Blinded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The blinded message names the voter to the registrar and the credential message names the vote: neither belongs in a log.
        write!(f, "Blinded({:?})", self.key)
    }
}

/// Blinds this device's credential for registrar `registrar` (its index in the manifest). RFC 9474 section 4.2, with salt and
/// blinding factor from the device secret.
///
/// # Errors
/// `Unblindable`: the registrar's key is no RSA key.
pub fn blind(
    secret: &DeviceSecret,
    election: &ElectionId,
    registrar: u16,
    key: &RegistrarKey,
) -> Result<Blinded, CredentialError> {
    let prk = secret.prk(election);
    let message = credential_message(election, &CredentialKey::derive(secret, election).public());
    let salt = expand(&prk, &[SALT_INFO, &registrar.to_be_bytes()], HASH_LEN)?;
    // "for c = 0, 1, 2, … (as u32) HKDF-Expand(PRK, "tallyroot/v1/blind" ‖ r ‖ c, modulus length) read big-endian;
    // the first x with 1 < x < n and gcd(x, n) = 1"
    for counter in 0..CANDIDATES_MAX {
        let info: [&[u8]; 3] = [BLIND_INFO, &registrar.to_be_bytes(), &counter.to_be_bytes()];
        let candidate = expand(&prk, &info, key.signature_len())?;
        if let Some(factor) = BlindingFactor::new(&candidate, key)? {
            return blind_with(key, message, &salt, &factor);
        }
    }
    Err(CredentialError::Unblindable)
}

/// x with 1 < x < n and gcd(x, n) = 1, and its inverse.
struct BlindingFactor {
    x: Zeroizing<BoxedUint>,
    inverse: Zeroizing<BoxedUint>,
}

impl BlindingFactor {
    fn new(candidate: &[u8], key: &RegistrarKey) -> Result<Option<Self>, CredentialError> {
        let n = key.n();
        let x = Zeroizing::new(integer(candidate, n)?);
        if *x >= *n.as_ref() || x.is_zero().into() || x.is_one().into() {
            return Ok(None);
        }
        let inverse: Option<BoxedUint> = x.invert_odd_mod(n).into();
        Ok(inverse.map(|inverse| Self {
            x,
            inverse: Zeroizing::new(inverse),
        }))
    }
}

/// RFC 9474 section 4.2 with everything given.
fn blind_with(
    key: &RegistrarKey,
    credential_message: Vec<u8>,
    salt: &[u8],
    factor: &BlindingFactor,
) -> Result<Blinded, CredentialError> {
    let n = key.n();
    // "m = bytes_to_int(encoded_msg); c = is_coprime(m, n); if c is false, raise an "invalid input" error"
    let encoded = emsa_pss_encode(&credential_message, salt, key.signature_len());
    let m = Zeroizing::new(integer(&encoded, n)?);
    if !bool::from(m.gcd(n.as_ref()).is_one()) {
        return Err(CredentialError::Unblindable);
    }
    // "x = RSAVP1(pk, r); z = (m * x) mod n"
    let params = BoxedMontyParams::new(n.clone());
    let mut x = BoxedMontyForm::new((*factor.x).clone(), &params);
    let mut m = BoxedMontyForm::new((*m).clone(), &params);
    let mut x_e = x.pow_bounded_exp(&BoxedUint::from(65_537u64), 17);
    let z = m.mul(&x_e).retrieve();
    for secret in [&mut x, &mut m, &mut x_e] {
        secret.zeroize();
    }
    let blinded_message = to_bytes(&z, key.signature_len());
    check_blinded_message(key, &blinded_message).map_err(|_| CredentialError::Unblindable)?;
    Ok(Blinded {
        blinded_message,
        credential_message,
        unblinder: factor.inverse.clone(),
        key: key.clone(),
    })
}

/// Turns a registrar's answer into its signature of the credential, and verifies it. RFC 9474 section 4.4.
///
/// # Errors
/// `Length`, `Range` or `BadSignature`: the registrar answered something else than it was asked for.
pub fn finalize(blinded: &Blinded, blind_signature: &[u8]) -> Result<Vec<u8>, CredentialError> {
    let Blinded {
        key,
        unblinder,
        credential_message,
        ..
    } = blinded;
    check_length(key, blind_signature)?;
    if blind_signature >= key.modulus() {
        return Err(CredentialError::Range);
    }
    // "z = bytes_to_int(blind_sig); s = (z * inv) mod n"
    let params = BoxedMontyParams::new(key.n().clone());
    let z = BoxedMontyForm::new(integer(blind_signature, key.n())?, &params);
    let mut inverse = BoxedMontyForm::new((**unblinder).clone(), &params);
    let signature = to_bytes(&z.mul(&inverse).retrieve(), key.signature_len());
    inverse.zeroize();
    // "result = RSASSA-PSS-VERIFY(pk, msg, sig)"
    key.verify(credential_message, &signature)
        .map_err(CredentialError::BadSignature)?;
    Ok(signature)
}

/// The registrar's check before it signs: exactly as long as the modulus, and a number from 2 to n - 2. (0, 1 and n - 1 are their
/// own signatures up to sign and belong to no credential; n and above would be a second way to write a smaller number.)
///
/// # Errors
/// `Length` or `Range`.
pub fn check_blinded_message(
    key: &RegistrarKey,
    blinded_message: &[u8],
) -> Result<(), CredentialError> {
    check_length(key, blinded_message)?;
    let [high @ .., low] = blinded_message else {
        return Err(CredentialError::Range);
    };
    let too_small = *low < 2 && high.iter().all(|byte| *byte == 0);
    // n is odd, so n - 1 differs from it in the last byte only. Equal lengths, big-endian: byte order is integer order.
    let mut n_minus_one = key.modulus().to_vec();
    if let Some(low) = n_minus_one.last_mut() {
        *low &= 0xfe;
    }
    if too_small || blinded_message >= n_minus_one.as_slice() {
        return Err(CredentialError::Range);
    }
    Ok(())
}

fn check_length(key: &RegistrarKey, bytes: &[u8]) -> Result<(), CredentialError> {
    let expected = key.signature_len();
    if bytes.len() == expected {
        Ok(())
    } else {
        Err(CredentialError::Length {
            len: bytes.len(),
            expected,
        })
    }
}

/// A big-endian integer in the modulus' precision.
fn integer(bytes: &[u8], n: &Odd<BoxedUint>) -> Result<BoxedUint, CredentialError> {
    BoxedUint::from_be_slice(bytes, n.as_ref().bits_precision()).map_err(|_| CredentialError::Range)
}

/// An integer below n as exactly `len` big-endian bytes.
fn to_bytes(integer: &BoxedUint, len: usize) -> Vec<u8> {
    let bytes = integer.to_be_bytes();
    // The precision is `len` rounded up to whole limbs; what is cut off are zeroes.
    bytes
        .get(bytes.len().saturating_sub(len)..)
        .unwrap_or_default()
        .to_vec()
}

/// EMSA-PSS-ENCODE (RFC 8017 section 9.1.1) with SHA-384, MGF1 with SHA-384 and the given salt, for a modulus of `len` bytes whose
/// top bit is set: emBits is 8 * len - 1, so emLen is `len` and one bit on the left is cleared.
fn emsa_pss_encode(message: &[u8], salt: &[u8], len: usize) -> Zeroizing<Vec<u8>> {
    // "M' = (0x)00 00 00 00 00 00 00 00 || mHash || salt; H = Hash(M')"
    let h = Sha384::new()
        .chain_update([0; 8])
        .chain_update(Sha384::digest(message))
        .chain_update(salt)
        .finalize();
    // "DB = PS || 0x01 || salt", of emLen - hLen - 1 bytes; "EM = maskedDB || H || 0xbc".
    let db_len = len.saturating_sub(HASH_LEN + 1);
    let mut encoded = Zeroizing::new(vec![0; db_len.saturating_sub(salt.len() + 1)]);
    encoded.push(0x01);
    encoded.extend_from_slice(salt);
    // "dbMask = MGF(H, emLen - hLen - 1)": RFC 8017 appendix B.2.1.
    for (counter, block) in (0u32..).zip(encoded.chunks_mut(HASH_LEN)) {
        let mask = Sha384::new()
            .chain_update(h)
            .chain_update(counter.to_be_bytes())
            .finalize();
        for (byte, mask) in block.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
    // "Set the leftmost 8emLen - emBits bits of the leftmost octet in maskedDB to zero."
    if let Some(top) = encoded.first_mut() {
        *top &= 0x7f;
    }
    encoded.extend_from_slice(&h);
    encoded.push(0xbc);
    encoded
}

#[cfg(test)]
#[path = "credential/rfc9474_tests.rs"]
mod rfc9474_tests;
