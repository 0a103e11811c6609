//! One-time codes: what a voter types to show the registrar who she is.
//!
//! A code is 100 random bits in Crockford's base32, shown as `XXXXX-XXXXX-XXXXX-XXXXX`. The registrar keeps only
//! `HMAC-SHA-256(key, "tallyroot/v1/code" ‖ 0x00 ‖ election id ‖ 20 normalized characters)` (specs/protocol.md section 14), and the key
//! is in a file of its own: the database alone lets nobody vote, and nobody test guesses.
//!
//! Beside it is a [`CodeSeal`] under the same key, which says whose the code is: who can write the database, but has no key, cannot move a code to another voter.

use core::fmt;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use protocol::ids::ElectionId;
use protocol::merkle::Hash;
use rand::Rng as _;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::secret_file::{self, SecretFileError};

/// Characters of a code, without the hyphens.
pub const CODE_LEN: usize = 20;
const LABEL: &[u8] = b"tallyroot/v1/code\0";
const TICKET_LABEL: &[u8] = b"tallyroot/v1/oidc-ticket\0";
const SEAL_LABEL: &[u8] = b"tallyroot/v1/code-seal\0";
/// Crockford's base32: no I, L, O or U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A one-time code, normalized. Wiped on drop; `Debug` does not show it; only [`Code::reveal`] does, for the code sheet.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Code([u8; CODE_LEN]);

impl Code {
    /// 100 fresh random bits: 20 characters of 5.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = Zeroizing::new([0u8; CODE_LEN]);
        rand::rng().fill_bytes(bytes.as_mut_slice());
        Self(bytes.map(symbol))
    }

    /// Normalizes what a person typed: "upper case, hyphens and spaces removed, `O` read as `0`, `I` and `L` as `1`".
    ///
    /// `None` where that does not give 20 characters of the alphabet: no such code was ever made.
    #[must_use]
    pub fn parse(typed: &str) -> Option<Self> {
        let mut code = Self([0; CODE_LEN]);
        let mut places = code.0.iter_mut();
        for byte in typed.bytes() {
            let symbol = match byte.to_ascii_uppercase() {
                b'-' | b' ' => continue,
                b'O' => b'0',
                b'I' | b'L' => b'1',
                other => other,
            };
            if !ALPHABET.contains(&symbol) {
                return None;
            }
            *places.next()? = symbol;
        }
        places.next().is_none().then_some(code)
    }

    /// `XXXXX-XXXXX-XXXXX-XXXXX`.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut shown = Zeroizing::new(String::with_capacity(CODE_LEN + 3));
        for (i, symbol) in self.0.iter().enumerate() {
            if i > 0 && i % 5 == 0 {
                shown.push('-');
            }
            shown.push(char::from(*symbol));
        }
        shown
    }
}

fn symbol(random: u8) -> u8 {
    // 256 is a multiple of 32, so the low five bits of a random byte are uniform.
    ALPHABET
        .get(usize::from(random & 31))
        .copied()
        .unwrap_or(b'0')
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(secret)")
    }
}

/// What the database knows of a code. Compared in constant time.
#[derive(Clone, Copy)]
pub struct CodeDigest(pub [u8; 32]);

impl ConstantTimeEq for CodeDigest {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// That a code is this voter's, and at this place of the roll. Compared in constant time.
#[derive(Clone, Copy)]
pub struct CodeSeal(pub [u8; 32]);

impl ConstantTimeEq for CodeSeal {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// A registrar's own HMAC key: 32 random bytes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct CodeKey([u8; 32]);

impl CodeKey {
    /// A fresh key.
    #[must_use]
    pub fn random() -> Self {
        let mut key = Self([0; 32]);
        rand::rng().fill_bytes(&mut key.0);
        key
    }

    /// Writes the key to a new file that only its owner may read.
    ///
    /// # Errors
    /// The file exists, or cannot be written.
    pub fn create_file(&self, path: &Path) -> Result<(), SecretFileError> {
        secret_file::create(path, &self.0)
    }

    /// Reads what [`CodeKey::create_file`] wrote.
    ///
    /// # Errors
    /// The file cannot be read, may be read by others, or does not hold 32 bytes.
    pub fn from_file(path: &Path) -> Result<Self, CodeKeyError> {
        let content = secret_file::read(path)?;
        match <[u8; 32]>::try_from(content.as_slice()) {
            Ok(key) => Ok(Self(key)),
            Err(_) => Err(CodeKeyError::Length(content.len())),
        }
    }

    /// `HMAC-SHA-256(key, "tallyroot/v1/code" ‖ 0x00 ‖ election id ‖ 20 normalized characters)`.
    #[must_use]
    pub fn digest(&self, election: &ElectionId, code: &Code) -> CodeDigest {
        CodeDigest(self.mac([LABEL, election.as_bytes(), &code.0]))
    }

    /// `HMAC-SHA-256(key, "tallyroot/v1/code-seal" ‖ 0x00 ‖ election id ‖ roll index u64 ‖ leaf hash (32) ‖ code HMAC (32))`, where the leaf hash is that of
    /// the voter's entry on the roll: identity and salt.
    #[must_use]
    pub fn seal(
        &self,
        election: &ElectionId,
        roll_index: u64,
        leaf: &Hash,
        code: &CodeDigest,
    ) -> CodeSeal {
        CodeSeal(self.mac([
            SEAL_LABEL,
            election.as_bytes(),
            &roll_index.to_be_bytes(),
            leaf.as_bytes(),
            &code.0,
        ]))
    }

    /// The MAC of a sign-in's ticket: see [`crate::oidc`].
    pub(crate) fn ticket_mac(
        &self,
        election: &ElectionId,
        registrar: u16,
        expiry: &[u8; 8],
        random: &[u8; 16],
        blinded_digest: &[u8; 32],
    ) -> [u8; 32] {
        self.mac([
            TICKET_LABEL,
            election.as_bytes(),
            &registrar.to_be_bytes(),
            expiry,
            random,
            blinded_digest,
        ])
    }

    fn mac<const N: usize>(&self, parts: [&[u8]; N]) -> [u8; 32] {
        // RFC 2104: a key shorter than SHA-256's block of 64 bytes is filled up with zeros.
        let mut block = Zeroizing::new([0; 64]);
        let (key, _) = block.split_at_mut(self.0.len());
        key.copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new((&*block).into());
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for CodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeKey(secret)")
    }
}

/// Why a file gives no key.
#[derive(Debug, thiserror::Error)]
pub enum CodeKeyError {
    /// The file is missing or not private.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// A key has 32 bytes.
    #[error("the code key's file has {0} bytes instead of 32: restore it from its backup")]
    Length(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_read_as_what_they_were_given() {
        let code = Code::parse("01234-56789-ABCDE-FGHJK").unwrap();
        assert_eq!(*code.reveal(), "01234-56789-ABCDE-FGHJK");
        for typed in [
            "0123456789abcdefghjk",
            "o1234 56789 abcde fghjk",
            "-0i234-56789--ABCDE fghjk ",
            "OL234-56789-ABCDE-FGHJK",
        ] {
            assert_eq!(
                *Code::parse(typed).unwrap().reveal(),
                *code.reveal(),
                "{typed}"
            );
        }
        for no_code in [
            "",
            "01234-56789-ABCDE-FGHJ",
            "01234-56789-ABCDE-FGHJKM",
            "U1234-56789-ABCDE-FGHJK",
            "01234_56789_ABCDE_FGHJK",
            "０1234-56789-ABCDE-FGHJK",
        ] {
            assert!(Code::parse(no_code).is_none(), "{no_code}");
        }
    }

    #[test]
    fn codes_are_fresh_and_use_the_whole_alphabet() {
        let mut seen = std::collections::BTreeSet::new();
        let mut symbols = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let code = Code::random();
            let shown = code.reveal();
            assert_eq!(shown.len(), 23);
            assert_eq!(*Code::parse(&shown).unwrap().reveal(), *shown);
            symbols.extend(shown.bytes().filter(|b| *b != b'-'));
            assert!(seen.insert(shown.to_string()));
        }
        assert_eq!(symbols.len(), 32);
        assert!(!format!("{:?}", Code::random()).contains(|c: char| c.is_ascii_digit()));
    }

    #[test]
    fn digests_depend_on_key_election_and_code_and_equal_openssls() {
        let key = CodeKey([7; 32]);
        let election = ElectionId([9; 32]);
        let code = Code::parse("01234-56789-ABCDE-FGHJK").unwrap();
        let digest = key.digest(&election, &code);

        let mut message = b"tallyroot/v1/code".to_vec();
        message.push(0);
        message.extend_from_slice(&[9; 32]);
        message.extend_from_slice(b"0123456789ABCDEFGHJK");
        let oracle_key = openssl::pkey::PKey::hmac(&[7; 32]).unwrap();
        let mut oracle =
            openssl::sign::Signer::new(openssl::hash::MessageDigest::sha256(), &oracle_key)
                .unwrap();
        oracle.update(&message).unwrap();
        assert_eq!(digest.0.to_vec(), oracle.sign_to_vec().unwrap());

        let other_code = Code::parse("01234-56789-ABCDE-FGHJM").unwrap();
        for other in [
            CodeKey([8; 32]).digest(&election, &code),
            key.digest(&ElectionId([8; 32]), &code),
            key.digest(&election, &other_code),
        ] {
            assert!(!bool::from(digest.ct_eq(&other)));
        }
    }

    #[test]
    fn seals_depend_on_everything_and_equal_openssls() {
        let key = CodeKey([7; 32]);
        let (election, leaf, code) = (ElectionId([9; 32]), Hash([6; 32]), CodeDigest([5; 32]));
        let seal = key.seal(&election, 258, &leaf, &code);

        let mut message = b"tallyroot/v1/code-seal\0".to_vec();
        message.extend_from_slice(&[9; 32]);
        message.extend_from_slice(&[0, 0, 0, 0, 0, 0, 1, 2]);
        message.extend_from_slice(&[6; 32]);
        message.extend_from_slice(&[5; 32]);
        let oracle_key = openssl::pkey::PKey::hmac(&[7; 32]).unwrap();
        let mut oracle =
            openssl::sign::Signer::new(openssl::hash::MessageDigest::sha256(), &oracle_key)
                .unwrap();
        oracle.update(&message).unwrap();
        assert_eq!(seal.0.to_vec(), oracle.sign_to_vec().unwrap());

        for other in [
            CodeKey([8; 32]).seal(&election, 258, &leaf, &code),
            key.seal(&ElectionId([8; 32]), 258, &leaf, &code),
            key.seal(&election, 259, &leaf, &code),
            key.seal(&election, 258, &Hash([7; 32]), &code),
            key.seal(&election, 258, &leaf, &CodeDigest([6; 32])),
        ] {
            assert!(!bool::from(seal.ct_eq(&other)));
        }
    }

    #[test]
    fn the_key_survives_its_file_and_a_short_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("code.key");
        let key = CodeKey::random();
        key.create_file(&path).unwrap();
        assert_eq!(CodeKey::from_file(&path).unwrap().0, key.0);
        let short = folder.path().join("short.key");
        secret_file::create(&short, &[1; 31]).unwrap();
        assert!(matches!(
            CodeKey::from_file(&short),
            Err(CodeKeyError::Length(31))
        ));
    }
}
