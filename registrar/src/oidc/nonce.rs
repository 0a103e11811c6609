//! The nonce of a sign-in: short-lived, and good for one blinded message alone.
//!
//! ```text
//! nonce = base64url(expiry u64 ‖ random (16) ‖ HMAC-SHA-256(code key, "tallyroot/v1/oidc-nonce" ‖ 0x00 ‖ election id ‖ r u16 ‖ expiry ‖ random ‖ SHA-256(blinded message)))
//! ```
//!
//! So the registrar fixes it and keeps nothing: a nonce survives its restart and a failover, and a token that somebody else got hold of
//! gets nothing but the answer that the voter's own device gets. Who sees it (the provider) cannot tell the blinded message, whose digest
//! the issuance log shows beside a roll index.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::ids::ElectionId;
use rand::Rng as _;
use subtle::ConstantTimeEq as _;

use crate::code::CodeKey;

/// How long a voter has to sign in.
pub(crate) const VALID_S: u64 = 600;
const RANDOM_LEN: usize = 16;
const NONCE_LEN: usize = 8 + RANDOM_LEN + 32;

/// What a nonce is made for.
pub(crate) struct Purpose {
    pub(crate) key: Arc<CodeKey>,
    pub(crate) election: ElectionId,
    pub(crate) registrar: u16,
    /// SHA-256 of the blinded message.
    pub(crate) blinded_digest: [u8; 32],
}

/// Why a nonce is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NonceError {
    #[error("its nonce is not one that this registrar gave out for this blinded message")]
    Foreign,
    #[error("its nonce has expired")]
    Expired,
}

impl Purpose {
    /// A fresh nonce.
    pub(crate) fn nonce(&self, now_s: u64) -> String {
        let expiry = now_s.saturating_add(VALID_S).to_be_bytes();
        let mut random = [0; RANDOM_LEN];
        rand::rng().fill_bytes(&mut random);
        let mac = self.mac(&expiry, &random);
        let mut nonce = Vec::with_capacity(NONCE_LEN);
        nonce.extend_from_slice(&expiry);
        nonce.extend_from_slice(&random);
        nonce.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(nonce)
    }

    /// Whether it was made by [`Purpose::nonce`] for the same purpose, and not long ago.
    pub(crate) fn check(&self, nonce: &str, now_s: u64) -> Result<(), NonceError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(nonce)
            .map_err(|_| NonceError::Foreign)?;
        let (expiry, rest) = bytes.split_first_chunk::<8>().ok_or(NonceError::Foreign)?;
        let (random, mac) = rest
            .split_first_chunk::<RANDOM_LEN>()
            .ok_or(NonceError::Foreign)?;
        if !bool::from(mac.ct_eq(&self.mac(expiry, random))) {
            return Err(NonceError::Foreign);
        }
        if u64::from_be_bytes(*expiry) <= now_s {
            return Err(NonceError::Expired);
        }
        Ok(())
    }

    fn mac(&self, expiry: &[u8; 8], random: &[u8; RANDOM_LEN]) -> [u8; 32] {
        self.key.nonce_mac(
            &self.election,
            self.registrar,
            expiry,
            random,
            &self.blinded_digest,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_its_purpose_and_its_time_alone() {
        let (key, other_key) = (Arc::new(CodeKey::random()), Arc::new(CodeKey::random()));
        let purpose = |key: &Arc<CodeKey>, election, registrar, digest| Purpose {
            key: Arc::clone(key),
            election: ElectionId([election; 32]),
            registrar,
            blinded_digest: [digest; 32],
        };
        let own = purpose(&key, 1, 2, 3);
        let nonce = own.nonce(1_000);
        assert_ne!(nonce, own.nonce(1_000));
        assert_eq!(own.check(&nonce, 1_000), Ok(()));
        assert_eq!(own.check(&nonce, 1_000 + VALID_S - 1), Ok(()));
        assert_eq!(own.check(&nonce, 1_000 + VALID_S), Err(NonceError::Expired));
        for other in [
            purpose(&other_key, 1, 2, 3),
            purpose(&key, 9, 2, 3),
            purpose(&key, 1, 9, 3),
            purpose(&key, 1, 2, 9),
        ] {
            assert_eq!(other.check(&nonce, 1_000), Err(NonceError::Foreign));
        }
        let bytes = URL_SAFE_NO_PAD.decode(&nonce).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            assert_eq!(own.check(&changed, 1_000), Err(NonceError::Foreign));
        }
        for none in ["", "x", "!", &nonce[..74], &format!("{nonce}AAAA")] {
            assert_eq!(own.check(none, 1_000), Err(NonceError::Foreign), "{none}");
        }
    }
}
