//! A signer that has been compared with the manifest, and that checks every signature it passes on.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use metrics::{counter, describe_counter, describe_histogram, histogram};
use protocol::ed25519;

use crate::{SignError, Signer};

const SIGNATURES: &str = "tallyroot_signatures_total";
const SECONDS: &str = "tallyroot_signature_seconds";

/// Names and explains the counters of this crate, for whoever installs a recorder, and begins those that alerts look at with zero.
pub fn describe_metrics() {
    describe_counter!(
        SIGNATURES,
        "Signatures asked of log keys, by outcome: signed, or why not."
    );
    describe_histogram!(SECONDS, "Seconds until a log's key had signed, or had not.");
    for outcome in ["signed", "unavailable", "refused", "too-long", "invalid"] {
        counter!(SIGNATURES, "outcome" => outcome).increment(0);
    }
}

/// A signer whose key is the expected one, and whose every signature is verified before it leaves. Cheap to clone.
#[derive(Clone)]
pub struct Checked {
    inner: Arc<dyn Signer>,
    public_key: [u8; 32],
}

/// Takes a signer into use, if its key is `expected`: the one that the manifest fixes for this log.
///
/// # Errors
///
/// [`SignError::WrongKey`]: the process must not start.
pub fn checked(signer: Arc<dyn Signer>, expected: [u8; 32]) -> Result<Checked, SignError> {
    let got = signer.public_key();
    if got != expected {
        return Err(SignError::WrongKey {
            expected: hex::encode(expected),
            got: hex::encode(got),
        });
    }
    Ok(Checked {
        inner: signer,
        public_key: expected,
    })
}

#[async_trait]
impl Signer for Checked {
    fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let begun = Instant::now();
        let signature = self.signature(message).await;
        let outcome = signature
            .as_ref()
            .map_or_else(SignError::name, |_| "signed");
        counter!(SIGNATURES, "outcome" => outcome).increment(1);
        histogram!(SECONDS).record(begun.elapsed());
        signature
    }
}

impl Checked {
    async fn signature(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let signature = self.inner.sign(message).await?;
        // Against the key of the manifest, not the one that the signer says it has: a signature that a client would refuse helps nobody, and a faulty one
        // (Ed25519 is deterministic) can give the key away.
        ed25519::verify(&self.public_key, message, &signature).map_err(|_| SignError::Invalid)?;
        Ok(signature)
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checked({})", hex::encode(self.public_key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signs rightly, or flips a bit of what it signed.
    struct Device {
        key: ed25519::SigningKey,
        faulty: bool,
    }

    #[async_trait]
    impl Signer for Device {
        fn public_key(&self) -> [u8; 32] {
            self.key.public()
        }

        async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
            let mut signature = self.key.sign(message);
            signature[40] ^= u8::from(self.faulty);
            Ok(signature)
        }
    }

    fn device(faulty: bool) -> Arc<Device> {
        Arc::new(Device {
            key: ed25519::SigningKey::from_seed(&[7; 32]),
            faulty,
        })
    }

    #[test]
    fn another_key_than_the_manifests_is_refused_at_start() {
        let other = ed25519::SigningKey::from_seed(&[8; 32]).public();
        let refusal = checked(device(false), other).unwrap_err();
        assert!(
            matches!(refusal, SignError::WrongKey { expected, .. } if expected == hex::encode(other))
        );
    }

    #[tokio::test]
    async fn a_good_signature_leaves_and_a_faulty_one_never_does() {
        let good = device(false);
        let key = good.public_key();
        let signature = checked(good, key)
            .unwrap()
            .sign(b"checkpoint")
            .await
            .unwrap();
        ed25519::verify(&key, b"checkpoint", &signature).unwrap();
        assert_eq!(
            checked(device(true), key)
                .unwrap()
                .sign(b"checkpoint")
                .await,
            Err(SignError::Invalid)
        );
    }
}
