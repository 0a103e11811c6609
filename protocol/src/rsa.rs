//! A registrar's RSA key and the signatures made with it.
//!
//! The manifest fixes each registrar's key as a DER SubjectPublicKeyInfo (RFC 5280 section 4.1, RFC 8017 appendix A.1.1):
//!
//! ```text
//! 30 82 LLLL                                   SubjectPublicKeyInfo
//!    30 0d 06 09 2a864886f70d010101 05 00      AlgorithmIdentifier: rsaEncryption, NULL
//!    03 82 LLLL 00                             BIT STRING, no unused bits
//!       30 82 LLLL                             RSAPublicKey
//!          02 82 LLLL 00 <modulus>             INTEGER, 2048 to 4096 bits, a multiple of 8, top bit set
//!          02 03 010001                        INTEGER 65537
//! ```
//!
//! Exactly one encoding is accepted, so that a key cannot be written into two manifests in two ways. The OID is rsaEncryption,
//! not id-RSASSA-PSS: WebCrypto in browsers refuses the latter.
//!
//! What this cannot see: whether the modulus is a product of two large secret primes. A registrar that wants everybody to be able
//! to sign in its name can as well publish its private key; the checks here catch accidents and the cheap tricks.

use core::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PSS_2048_8192_SHA384};
use crypto_bigint::{BoxedUint, Odd};

/// Bits of a modulus, at least.
pub const MODULUS_BITS_MIN: usize = 2048;
/// Bits of a modulus, at most.
pub const MODULUS_BITS_MAX: usize = 4096;
/// Every prime below this is tried as a factor of a modulus.
pub const SMALL_FACTOR_LIMIT: u32 = 65_536;

/// What is wrong with a registrar's key or signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RsaError {
    /// Not the DER structure above: wrong tags, lengths, trailing or missing bytes.
    #[error(
        "the registrar's key is not a DER SubjectPublicKeyInfo in its one encoding; export it again as an rsaEncryption public key"
    )]
    Malformed,
    /// Another algorithm than rsaEncryption with NULL parameters.
    #[error(
        "the registrar's key does not carry the rsaEncryption OID with NULL parameters (an id-RSASSA-PSS key is refused: browsers cannot import it)"
    )]
    Algorithm,
    /// Fewer than 2048 or more than 4096 bits, or not a multiple of 8.
    #[error(
        "the registrar's RSA modulus has {bits} bits; it must have {MODULUS_BITS_MIN} to {MODULUS_BITS_MAX}, a multiple of 8"
    )]
    ModulusSize {
        /// Bits found.
        bits: usize,
    },
    /// The modulus is even.
    #[error("the registrar's RSA modulus is even, so it is no product of two large primes")]
    EvenModulus,
    /// A prime below 65,536 divides the modulus.
    #[error("the registrar's RSA modulus has the small factor {prime}: anyone can factor it")]
    SmallFactor {
        /// The smallest such prime.
        prime: u32,
    },
    /// The modulus is a perfect square.
    #[error("the registrar's RSA modulus is a perfect square: anyone can factor it")]
    PerfectSquare,
    /// The public exponent is not 65537.
    #[error("the registrar's RSA exponent is not 65537")]
    Exponent,
    /// A signature of another length than the modulus.
    #[error("the registrar's signature has {len} bytes; its key makes signatures of {expected}")]
    SignatureLength {
        /// Bytes found.
        len: usize,
        /// Bytes of the modulus.
        expected: usize,
    },
    /// A signature that is, as an integer, the modulus or more: the same signature could be written twice.
    #[error("the registrar's signature is not below its modulus")]
    SignatureRange,
    /// All is well formed and the signature does not fit.
    #[error("the registrar's signature does not fit this message")]
    BadSignature,
}

/// A registrar's public RSA key, as the manifest fixes it: parsed and checked once, cheap to clone, shared between threads.
#[derive(Clone)]
pub struct RegistrarKey(Arc<Inner>);

struct Inner {
    spki: Vec<u8>,
    modulus: Vec<u8>,
    n: Odd<BoxedUint>,
    verifier: ParsedPublicKey,
}

impl RegistrarKey {
    /// Parses and checks a key. This takes a few milliseconds (trial division); keep the result.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn from_spki(spki: &[u8]) -> Result<Self, RsaError> {
        let modulus = parse_spki(spki)?;
        let n = check_modulus(modulus)?;
        // The parser above is strict, but what settles "exactly one encoding" is that ours gives the same bytes.
        if encode_spki(modulus) != spki {
            return Err(RsaError::Malformed);
        }
        let verifier = ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA384, spki)
            .map_err(|_| RsaError::Malformed)?;
        Ok(Self(Arc::new(Inner {
            spki: spki.to_vec(),
            modulus: modulus.to_vec(),
            n,
            verifier,
        })))
    }

    /// The DER SubjectPublicKeyInfo that was parsed.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.0.spki
    }

    /// The modulus n, big-endian, without a leading zero.
    #[must_use]
    pub fn modulus(&self) -> &[u8] {
        &self.0.modulus
    }

    /// Bytes of the modulus, and so of every signature and blinded message.
    #[must_use]
    pub fn signature_len(&self) -> usize {
        self.0.modulus.len()
    }

    /// The modulus as an integer of its own precision.
    pub(crate) fn n(&self) -> &Odd<BoxedUint> {
        &self.0.n
    }

    /// Verifies RSASSA-PSS (RFC 8017 section 8.1.2) with SHA-384, MGF1 with SHA-384 and a salt of exactly 48 bytes.
    ///
    /// # Errors
    /// `SignatureLength`, `SignatureRange` or `BadSignature`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), RsaError> {
        let expected = self.signature_len();
        if signature.len() != expected {
            return Err(RsaError::SignatureLength {
                len: signature.len(),
                expected,
            });
        }
        // Equal lengths, big-endian: byte order is integer order.
        if signature >= self.modulus() {
            return Err(RsaError::SignatureRange);
        }
        // AWS-LC is told RSA_PSS_SALTLEN_DIGEST: any other salt length than SHA-384's 48 bytes fails (tests/rsa.rs proves it).
        self.0
            .verifier
            .verify_sig(message, signature)
            .map_err(|_| RsaError::BadSignature)
    }
}

impl PartialEq for RegistrarKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki() == other.spki()
    }
}

impl Eq for RegistrarKey {}

impl fmt::Debug for RegistrarKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegistrarKey({} bits)", self.signature_len() * 8)
    }
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// AlgorithmIdentifier's content: OID 1.2.840.113549.1.1.1 (rsaEncryption), NULL.
const RSA_ENCRYPTION: [u8; 13] = [
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
const EXPONENT: [u8; 3] = [0x01, 0x00, 0x01];

/// Walks the structure in the module's documentation and returns the modulus.
fn parse_spki(spki: &[u8]) -> Result<&[u8], RsaError> {
    let key_info = der_only(SEQUENCE, spki)?;
    let (algorithm, key_bits) = der(SEQUENCE, key_info)?;
    if algorithm != RSA_ENCRYPTION {
        return Err(RsaError::Algorithm);
    }
    let [0, public_key @ ..] = der_only(BIT_STRING, key_bits)? else {
        return Err(RsaError::Malformed);
    };
    let (modulus, exponent) = der(INTEGER, der_only(SEQUENCE, public_key)?)?;
    if der_only(INTEGER, exponent)? != EXPONENT {
        return Err(RsaError::Exponent);
    }
    // A positive INTEGER whose top bit is set has one leading zero byte. One without it is negative or has 8k - 1 bits or fewer.
    match modulus {
        [0, modulus @ ..] if modulus.first().is_some_and(|top| *top >= 0x80) => Ok(modulus),
        [top, ..] if (1..0x80).contains(top) => Err(RsaError::ModulusSize {
            bits: modulus.len() * 8 - top.leading_zeros() as usize,
        }),
        _ => Err(RsaError::Malformed),
    }
}

/// One DER element with this tag that fills `input`.
fn der_only(tag: u8, input: &[u8]) -> Result<&[u8], RsaError> {
    match der(tag, input)? {
        (content, []) => Ok(content),
        _ => Err(RsaError::Malformed),
    }
}

/// One DER element with this tag, and what follows it. Lengths must be in their shortest form (X.690 section 10.1).
fn der(tag: u8, input: &[u8]) -> Result<(&[u8], &[u8]), RsaError> {
    let (len, rest) = match input {
        [t, short @ 0..=0x7f, rest @ ..] if *t == tag => (usize::from(*short), rest),
        [t, 0x81, len @ 0x80..=0xff, rest @ ..] if *t == tag => (usize::from(*len), rest),
        [t, 0x82, high @ 1..=0xff, low, rest @ ..] if *t == tag => {
            (usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        _ => return Err(RsaError::Malformed),
    };
    rest.split_at_checked(len).ok_or(RsaError::Malformed)
}

/// The one encoding of a modulus that `check_modulus` has passed.
fn encode_spki(modulus: &[u8]) -> Vec<u8> {
    let public_key = [
        der_encode(INTEGER, &[&[0], modulus]),
        der_encode(INTEGER, &[&EXPONENT]),
    ]
    .concat();
    let bits = der_encode(BIT_STRING, &[&[0], &der_encode(SEQUENCE, &[&public_key])]);
    der_encode(
        SEQUENCE,
        &[&der_encode(SEQUENCE, &[&RSA_ENCRYPTION]), &bits],
    )
}

fn der_encode(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    // Contents here are below 600 bytes; a longer one would saturate and so never compare equal.
    let [high, low] = u16::try_from(content.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let mut out = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    out.extend_from_slice(&content);
    out
}

/// "The modulus has 2048 to 4096 bits, a multiple of 8, with its top bit set, is odd and has no prime factor below 65,536."
fn check_modulus(modulus: &[u8]) -> Result<Odd<BoxedUint>, RsaError> {
    let bits = modulus.len() * 8;
    if !(MODULUS_BITS_MIN..=MODULUS_BITS_MAX).contains(&bits) {
        return Err(RsaError::ModulusSize { bits });
    }
    let n: Option<Odd<BoxedUint>> = Odd::new(BoxedUint::from_be_slice_vartime(modulus)).into();
    let n = n.ok_or(RsaError::EvenModulus)?;
    if let Some(prime) = small_factor(modulus) {
        return Err(RsaError::SmallFactor { prime });
    }
    if n.as_ref().checked_sqrt_vartime().is_some() {
        return Err(RsaError::PerfectSquare);
    }
    Ok(n)
}

/// The smallest prime below 65,536 that divides a big-endian integer.
fn small_factor(integer: &[u8]) -> Option<u32> {
    small_primes().into_iter().find(|prime| {
        let remainder = integer.iter().fold(0u32, |remainder, byte| {
            ((remainder << 8) | u32::from(*byte)) % prime
        });
        remainder == 0
    })
}

/// The primes below 65,536, by the sieve of Eratosthenes.
fn small_primes() -> Vec<u32> {
    let mut composite = vec![false; SMALL_FACTOR_LIMIT as usize];
    let mut primes = Vec::new();
    for candidate in 2..SMALL_FACTOR_LIMIT {
        if composite.get(candidate as usize).copied().unwrap_or(true) {
            continue;
        }
        primes.push(candidate);
        composite
            .iter_mut()
            .step_by(candidate as usize)
            .for_each(|multiple| *multiple = true);
    }
    primes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sieve_gives_the_primes() {
        let primes = small_primes();
        assert_eq!(primes.len(), 6542);
        assert_eq!(primes[..8], [2, 3, 5, 7, 11, 13, 17, 19]);
        assert_eq!(primes.last(), Some(&65_521));
        assert!(
            primes
                .iter()
                .all(|p| (2..*p).take_while(|d| d * d <= *p).all(|d| p % d != 0))
        );
    }

    #[test]
    fn a_small_factor_is_found_in_a_long_integer() {
        for prime in [3u64, 257, 65_521] {
            // 2^128 + 51 is prime, so the product has no other small factor; it is written by schoolbook multiplication.
            let mut product = [0u8; 24];
            let mut carry = 0u64;
            let mut factor = [0u8; 24];
            factor[7] = 1;
            factor[23] = 51;
            for (out, byte) in product.iter_mut().rev().zip(factor.iter().rev()) {
                let sum = u64::from(*byte) * prime + carry;
                *out = sum.to_le_bytes()[0];
                carry = sum >> 8;
            }
            assert_eq!(small_factor(&factor), None);
            assert_eq!(u64::from(small_factor(&product).unwrap()), prime);
        }
    }
}
