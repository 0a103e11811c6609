//! Ed25519 with one rule that every verifier of an election can follow exactly.
//!
//! RFC 8032 leaves room: libraries differ on non-canonical points, on points of small order and on the cofactor, so that a
//! crafted signature is valid for one auditor and not for the next. And some libraries take a small-order key, under which one
//! signature fits any two messages. So the rule is checked here, on bytes, before a library is asked:
//!
//! 1. `A` (the key) and `R` (the first half of the signature) encode a `y < p`, are not a negative zero, and are none of the eight
//!    points of small order;
//! 2. `S < L`;
//! 3. `A` is on the curve and the *cofactorless* equation holds: the encoding of `[S]B - [k]A` equals the bytes of `R`, with
//!    `k = SHA-512(R ‖ A ‖ message) mod L`. One signature at a time: batch verification answers differently on crafted input.
//!
//! A valid Ed25519 signature made in the ordinary way always passes.

use core::fmt;

use ed25519_dalek::{Signer as _, Verifier as _, VerifyingKey};

/// Which rule a key or a signature broke. Every one of them means the same for the caller: refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Ed25519Error {
    /// The key's y is 2^255 - 19 or more.
    #[error("the Ed25519 key is not encoded canonically (its y is not below p)")]
    NonCanonicalKey,
    /// The key is one of the eight points whose order divides the cofactor.
    #[error(
        "the Ed25519 key is a point of small order, under which one signature fits many messages"
    )]
    SmallOrderKey,
    /// The key, or R, has x = 0 and the sign bit set.
    #[error("the Ed25519 key or the signature's R encodes a negative zero")]
    NegativeZero,
    /// R's y is 2^255 - 19 or more.
    #[error("the Ed25519 signature's R is not encoded canonically (its y is not below p)")]
    NonCanonicalR,
    /// R is one of the eight points whose order divides the cofactor.
    #[error("the Ed25519 signature's R is a point of small order")]
    SmallOrderR,
    /// S is not below the group order L: the same signature could be written twice.
    #[error("the Ed25519 signature's S is not below the group order")]
    ScalarTooLarge,
    /// No point of the curve has the key's y.
    #[error("the Ed25519 key is not a point of the curve")]
    NotOnCurve,
    /// All is well formed and the equation does not hold.
    #[error("the Ed25519 signature does not fit this key and message")]
    BadSignature,
}

/// A public key that keeps the rule. 32 bytes, little-endian y with the sign of x in the top bit (RFC 8032 section 5.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Checks the bytes against the rule.
    ///
    /// # Errors
    /// `NonCanonicalKey`, `NegativeZero`, `SmallOrderKey` or `NotOnCurve`.
    pub fn parse(bytes: &[u8; 32]) -> Result<Self, Ed25519Error> {
        check_point(bytes).map_err(|fault| match fault {
            PointFault::NonCanonical => Ed25519Error::NonCanonicalKey,
            PointFault::NegativeZero => Ed25519Error::NegativeZero,
            PointFault::SmallOrder => Ed25519Error::SmallOrderKey,
        })?;
        VerifyingKey::from_bytes(bytes)
            .map(Self)
            .map_err(|_| Ed25519Error::NotOnCurve)
    }

    /// The 32 bytes that were parsed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Verifies one signature; the key was checked when it was parsed.
    ///
    /// # Errors
    /// `NonCanonicalR`, `NegativeZero`, `SmallOrderR`, `ScalarTooLarge` or `BadSignature`.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), Ed25519Error> {
        let signature = check_signature(signature)?;
        // `verify` of ed25519-dalek 3 recomputes R = [S]B - [k]A and compares its encoding with the bytes of R: cofactorless.
        self.0
            .verify(message, &signature)
            .map_err(|_| Ed25519Error::BadSignature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", hex::encode(self.as_bytes()))
    }
}

/// Checks a key alone, as when a manifest is read.
///
/// # Errors
/// As [`PublicKey::parse`].
pub fn check_key(public_key: &[u8; 32]) -> Result<(), Ed25519Error> {
    PublicKey::parse(public_key).map(|_| ())
}

/// Verifies `signature` over `message` under `public_key`, by the whole rule.
///
/// # Errors
/// The first rule that is broken: those on the key's bytes, then on R, then S, then the curve, then the equation.
pub fn verify(
    public_key: &[u8; 32],
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), Ed25519Error> {
    PublicKey::parse(public_key)?.verify(message, signature)
}

/// A signing key. Its memory is wiped on drop, and it never shows its content.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of a 32-byte seed (RFC 8032 section 5.1.5 calls it the private key).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Signs, deterministically (RFC 8032 section 5.1.6).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(secret)")
    }
}

/// p = 2^255 - 19, little-endian.
const P: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// L = 2^252 + 27742317777372353535851937790883648493, the order of the base point, little-endian.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The y of the eight points of small order: 1 (the identity), -1 (order 2), 0 (order 4, two points), and the two y of the four
/// points of order 8.
const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    small(1),
    {
        let mut minus_one = P;
        minus_one[0] = 0xec;
        minus_one
    },
    small(0),
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
];

const fn small(value: u8) -> [u8; 32] {
    let mut y = [0; 32];
    y[0] = value;
    y
}

enum PointFault {
    NonCanonical,
    NegativeZero,
    SmallOrder,
}

/// "y < p, none of the eight small-order encodings, no negative zero". Public data, so variable time is fine.
fn check_point(bytes: &[u8; 32]) -> Result<(), PointFault> {
    let mut y = *bytes;
    let [.., top] = &mut y;
    let sign = *top >> 7;
    *top &= 0x7f;
    if !below(&y, &P) {
        return Err(PointFault::NonCanonical);
    }
    let [one, minus_one, ..] = &SMALL_ORDER_Y;
    // x = 0 exactly where y is 1 or -1 (from -x² + y² = 1 + d x² y²).
    if sign == 1 && (y == *one || y == *minus_one) {
        return Err(PointFault::NegativeZero);
    }
    if SMALL_ORDER_Y.contains(&y) {
        return Err(PointFault::SmallOrder);
    }
    Ok(())
}

fn check_signature(bytes: &[u8; 64]) -> Result<ed25519_dalek::Signature, Ed25519Error> {
    let signature = ed25519_dalek::Signature::from_bytes(bytes);
    check_point(signature.r_bytes()).map_err(|fault| match fault {
        PointFault::NonCanonical => Ed25519Error::NonCanonicalR,
        PointFault::NegativeZero => Ed25519Error::NegativeZero,
        PointFault::SmallOrder => Ed25519Error::SmallOrderR,
    })?;
    if !below(signature.s_bytes(), &L) {
        return Err(Ed25519Error::ScalarTooLarge);
    }
    Ok(signature)
}

/// `a < b`, both little-endian.
fn below(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().rev().lt(b.iter().rev())
}
