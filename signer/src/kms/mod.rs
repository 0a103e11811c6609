//! Keys in AWS KMS: a key never leaves it, and signs there.

mod create;
mod error;
mod key_ref;
mod wrap;

use std::fmt;
use std::time::Instant;

use async_trait::async_trait;
use aws::{Aws, Counted, Fault, SdkConfig};
use aws_sdk_kms::Client;
use aws_sdk_kms::config::Builder;
use aws_sdk_kms::error::ProvideErrorMetadata as _;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{KeySpec, KeyUsageType, MessageType, SigningAlgorithmSpec};

use crate::{SignError, Signer};

pub use create::{Tag, create, open_new, tag};
pub use error::{KmsError, Operation};
pub use key_ref::{KeyRef, KeyRefError};
pub use wrap::{Context, WrappingKey};

/// KMS takes no longer messages; it hashes longer ones for no Ed25519 key.
pub const MESSAGE_LEN_MAX: usize = 4_096;
/// DER of an Ed25519 SubjectPublicKeyInfo (RFC 8410) up to its 32 bytes of key: there is one encoding.
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// What is asked to be signed at start, as a dry run: it answers whether the key would sign. No log's checkpoint and no notice begins like this.
const PROBE: &[u8] = b"tallyroot/kms-probe\0";

/// An Ed25519 key in KMS.
pub struct Kms {
    client: Client,
    /// By its ARN: an alias may be pointed at another key while this process runs.
    key: KeyRef,
    public_key: [u8; 32],
}

impl Kms {
    /// Asks KMS for the key, and whether it would sign for this process now.
    ///
    /// # Errors
    /// KMS cannot be reached, has no such key, or one of another kind; the key is disabled, or this process may not use it.
    pub async fn open(aws: &Aws, key: &KeyRef) -> Result<Self, KmsError> {
        let client = client(aws, key).await?;
        let answer = client.get_public_key().key_id(key.as_str()).send().await;
        let answer = answer
            .map_err(|error| failed(key.as_str(), Operation::GetPublicKey, &Fault::of(&error)))?;
        let (spec, usage) = (answer.key_spec(), answer.key_usage());
        if spec != Some(&KeySpec::EccNistEdwards25519) || usage != Some(&KeyUsageType::SignVerify) {
            let spec = spec.map_or("of no spec", KeySpec::as_str);
            let usage = usage.map_or("no usage", KeyUsageType::as_str);
            return Err(KmsError::OtherKind {
                key: key.to_string(),
                found: format!("{spec} for {usage}"),
            });
        }
        let wrong = |what| KmsError::Answer {
            key: key.to_string(),
            what,
        };
        let spki = answer.public_key().map(Blob::as_ref).unwrap_or_default();
        let public_key =
            of_spki(spki).ok_or_else(|| wrong("its public key is no SPKI of Ed25519"))?;
        let named = answer.key_id().and_then(|id| id.parse::<KeyRef>().ok());
        let named = named.ok_or_else(|| wrong("its public key comes without the key's name"))?;
        let opened = Self {
            client,
            key: named,
            public_key,
        };
        opened.would_sign().await?;
        Ok(opened)
    }

    /// The key's name in KMS: its ARN.
    #[must_use]
    pub const fn key(&self) -> &KeyRef {
        &self.key
    }

    /// The permission to read the public key is another than the one to sign, and so is what a disabled key allows.
    async fn would_sign(&self) -> Result<(), KmsError> {
        let asked = self.request(PROBE).dry_run(true).send().await;
        match asked {
            // A server that knows no dry runs has signed what is nobody's message.
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("DryRunOperationException") => Ok(()),
            Err(error) => Err(failed(
                self.key.as_str(),
                Operation::Sign,
                &Fault::of(&error),
            )),
        }
    }

    fn request(&self, message: &[u8]) -> aws_sdk_kms::operation::sign::builders::SignFluentBuilder {
        self.client
            .sign()
            .key_id(self.key.as_str())
            .message(Blob::new(message))
            .message_type(MessageType::Raw)
            .signing_algorithm(SigningAlgorithmSpec::Ed25519Sha512)
    }
}

#[async_trait]
impl Signer for Kms {
    fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        if message.len() > MESSAGE_LEN_MAX {
            return Err(SignError::TooLong {
                len: message.len(),
                max: MESSAGE_LEN_MAX,
            });
        }
        let begun = Instant::now();
        let answer = self.request(message).send().await;
        let signed = match &answer {
            Ok(answer) => {
                let signature = answer.signature().map(Blob::as_ref).unwrap_or_default();
                signature.try_into().map_err(|_| SignError::Invalid)
            }
            Err(error) => Err(failed(self.key.as_str(), Operation::Sign, &Fault::of(error)).into()),
        };
        let outcome = signed.as_ref().map_or_else(SignError::name, |_| "signed");
        tracing::debug!(key = %self.key, outcome, elapsed = ?begun.elapsed(), "kms.sign");
        signed
    }
}

impl fmt::Debug for Kms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Kms({}, public {})",
            self.key,
            hex::encode(self.public_key)
        )
    }
}

/// A client in the region that the key's name says, or else in the configured one.
async fn client(aws: &Aws, key: &KeyRef) -> Result<Client, KmsError> {
    Ok(match key.region() {
        Some(region) => counted(&aws.config_in(region).await?),
        None => counted(aws.config().await?),
    })
}

fn counted(config: &SdkConfig) -> Client {
    Client::from_conf(Builder::from(config).interceptor(Counted::KMS).build())
}

fn failed(key: &str, operation: Operation, fault: &Fault) -> KmsError {
    tracing::debug!(key, %operation, kind = ?fault.kind, code = fault.code, "kms.fault");
    KmsError::of(key, operation, fault.clone())
}

/// The key of an SPKI, which has exactly one encoding.
fn of_spki(spki: &[u8]) -> Option<[u8; 32]> {
    spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_spki_is_read_strictly() {
        let spki = [SPKI_PREFIX.as_slice(), &[7; 32]].concat();
        assert_eq!(of_spki(&spki), Some([7; 32]));
        for len in 0..spki.len() {
            assert_eq!(of_spki(&spki[..len]), None, "{len}");
        }
        assert_eq!(of_spki(&[spki.as_slice(), &[0]].concat()), None);
        for at in 0..SPKI_PREFIX.len() {
            let mut other = spki.clone();
            other[at] ^= 1;
            assert_eq!(of_spki(&other), None, "{at}");
        }
    }
}
