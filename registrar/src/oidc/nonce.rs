//! The ticket of a sign-in, short-lived and good for one blinded message alone, and the nonce that a device makes of it.
//!
//! ```text
//! ticket = base64url(expiry u64 ‖ random (16) ‖ HMAC-SHA-256(code key, "tallyroot/v1/oidc-ticket" ‖ 0x00 ‖ election id ‖ r u16 ‖ expiry ‖ random ‖ SHA-256(blinded message)))
//! nonce = base64url(SHA-256("tallyroot/v1/oidc-nonce" ‖ 0x00 ‖ election id ‖ r u16 ‖ SHA-256(blinded message) ‖ ticket))
//! ```
//!
//! The registrar fixes the ticket and keeps nothing: it survives its restart and a failover, and bounds how old a token may be. The device makes the nonce, over its own
//! message: so whoever stands between, or another registrar at the same provider, cannot have a voter sign in for a message that is not hers.
//! Who sees the nonce (the provider) cannot tell the blinded message, whose digest the issuance log shows beside a roll index: it does not know the ticket.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::ids::ElectionId;
use rand::Rng as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::code::CodeKey;

/// How long a voter has to sign in.
pub(crate) const VALID_S: u64 = 600;
const RANDOM_LEN: usize = 16;
const TICKET_LEN: usize = 8 + RANDOM_LEN + 32;

const NONCE_LABEL: &[u8] = b"tallyroot/v1/oidc-nonce\0";

/// What a ticket is made for.
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
    /// A fresh ticket.
    pub(crate) fn ticket(&self, now_s: u64) -> String {
        let expiry = now_s.saturating_add(VALID_S).to_be_bytes();
        let mut random = [0; RANDOM_LEN];
        rand::rng().fill_bytes(&mut random);
        let mac = self.mac(&expiry, &random);
        let mut ticket = Vec::with_capacity(TICKET_LEN);
        ticket.extend_from_slice(&expiry);
        ticket.extend_from_slice(&random);
        ticket.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(ticket)
    }

    /// Whether the nonce was made of this ticket for the same purpose, and the ticket by [`Purpose::ticket`], not long ago.
    pub(crate) fn check(&self, nonce: &str, ticket: &str, now_s: u64) -> Result<(), NonceError> {
        let expected = nonce_of(&self.election, self.registrar, &self.blinded_digest, ticket);
        if !bool::from(expected.as_bytes().ct_eq(nonce.as_bytes())) {
            return Err(NonceError::Foreign);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(ticket)
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
        self.key.ticket_mac(
            &self.election,
            self.registrar,
            expiry,
            random,
            &self.blinded_digest,
        )
    }
}

/// The nonce that a device sends to the provider: over its own blinded message, and the ticket that the registrar gave it.
#[must_use]
pub fn nonce_of(
    election: &ElectionId,
    registrar: u16,
    blinded_digest: &[u8; 32],
    ticket: &str,
) -> String {
    let hash = Sha256::new()
        .chain_update(NONCE_LABEL)
        .chain_update(election.as_bytes())
        .chain_update(registrar.to_be_bytes())
        .chain_update(blinded_digest)
        .chain_update(ticket.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_for_its_purpose_and_its_time_alone() {
        let (key, other_key) = (Arc::new(CodeKey::random()), Arc::new(CodeKey::random()));
        let purpose = |key: &Arc<CodeKey>, election, registrar, digest| Purpose {
            key: Arc::clone(key),
            election: ElectionId([election; 32]),
            registrar,
            blinded_digest: [digest; 32],
        };
        let nonce = |of: &Purpose, ticket: &str| {
            nonce_of(&of.election, of.registrar, &of.blinded_digest, ticket)
        };
        // As a device that is given this ticket for this purpose makes it.
        let check = |of: &Purpose, ticket: &str, now| of.check(&nonce(of, ticket), ticket, now);
        let own = purpose(&key, 1, 2, 3);
        let ticket = own.ticket(1_000);
        assert_ne!(ticket, own.ticket(1_000));
        assert_eq!(check(&own, &ticket, 1_000), Ok(()));
        assert_eq!(check(&own, &ticket, 1_000 + VALID_S - 1), Ok(()));
        let late = check(&own, &ticket, 1_000 + VALID_S);
        assert_eq!(late, Err(NonceError::Expired));
        for other in [
            purpose(&other_key, 1, 2, 3),
            purpose(&key, 9, 2, 3),
            purpose(&key, 1, 9, 3),
            purpose(&key, 1, 2, 9),
        ] {
            assert_eq!(check(&other, &ticket, 1_000), Err(NonceError::Foreign));
        }
        let bytes = URL_SAFE_NO_PAD.decode(&ticket).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            assert_eq!(check(&own, &changed, 1_000), Err(NonceError::Foreign));
        }
        for none in ["", "x", "!", &ticket[..74], &format!("{ticket}AAAA")] {
            assert_eq!(check(&own, none, 1_000), Err(NonceError::Foreign), "{none}");
        }
    }

    /// Whoever stands between gives a voter a ticket that she got for a message of her own: the voter's device makes its nonce over its message all the same.
    #[test]
    fn a_ticket_for_another_message_gives_the_voters_token_to_nobody() {
        let key = Arc::new(CodeKey::random());
        let purpose = |registrar, digest| Purpose {
            key: Arc::clone(&key),
            election: ElectionId([1; 32]),
            registrar,
            blinded_digest: [digest; 32],
        };
        let thief = purpose(0, 9);
        let ticket = thief.ticket(1_000);
        for (registrar, message) in [(0, 3), (1, 3), (1, 9)] {
            let of_voter = nonce_of(&ElectionId([1; 32]), registrar, &[message; 32], &ticket);
            assert_eq!(
                thief.check(&of_voter, &ticket, 1_000),
                Err(NonceError::Foreign)
            );
        }
    }
}
