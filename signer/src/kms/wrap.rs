//! Secrets that KMS cannot use itself, such as a registrar's RSA key for blind signatures: kept encrypted under a key in KMS, and decrypted into memory alone.

use std::collections::HashMap;

use aws::{Aws, Fault};
use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::EncryptionAlgorithmSpec;
use zeroize::Zeroizing;

use super::{KeyRef, KmsError, MESSAGE_LEN_MAX, Operation, client, failed};

/// What a secret is bound to: unwrapping needs the very same, and AWS's audit log shows it.
pub type Context<'a> = [(&'a str, String)];

/// A symmetric key in KMS under which secrets are wrapped.
#[derive(Debug)]
pub struct WrappingKey {
    client: Client,
    key: KeyRef,
}

impl WrappingKey {
    /// Names it. Whether it is there, its first use says.
    ///
    /// # Errors
    /// AWS cannot be asked at all.
    pub async fn new(aws: &Aws, key: &KeyRef) -> Result<Self, KmsError> {
        Ok(Self {
            client: client(aws, key).await?,
            key: key.clone(),
        })
    }

    /// Wraps a secret of at most 4,096 bytes.
    ///
    /// # Errors
    /// KMS cannot be reached, or refuses.
    pub async fn wrap(&self, secret: &[u8], context: &Context<'_>) -> Result<Vec<u8>, KmsError> {
        if secret.len() > MESSAGE_LEN_MAX {
            return Err(KmsError::TooLong(secret.len()));
        }
        let answer = self
            .client
            .encrypt()
            .key_id(self.key.as_str())
            .encryption_algorithm(EncryptionAlgorithmSpec::SymmetricDefault)
            .set_encryption_context(Some(map(context)))
            .plaintext(Blob::new(secret))
            .send()
            .await
            .map_err(|error| failed(self.key.as_str(), Operation::Encrypt, &Fault::of(&error)))?;
        let wrapped = answer.ciphertext_blob.map(Blob::into_inner);
        wrapped
            .filter(|wrapped| !wrapped.is_empty())
            .ok_or_else(|| self.wrong("what it wrapped is empty"))
    }

    /// Unwraps a secret. What is returned is wiped when it goes away; the SDK's own buffers for the answer are not.
    ///
    /// # Errors
    /// It was wrapped by another key or with another context, or is damaged; KMS cannot be reached, or refuses.
    pub async fn unwrap(
        &self,
        wrapped: &[u8],
        context: &Context<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let mut answer = self
            .client
            .decrypt()
            // Without it KMS would take any key that the bytes name.
            .key_id(self.key.as_str())
            .encryption_algorithm(EncryptionAlgorithmSpec::SymmetricDefault)
            .set_encryption_context(Some(map(context)))
            .ciphertext_blob(Blob::new(wrapped))
            .send()
            .await
            .map_err(|error| failed(self.key.as_str(), Operation::Decrypt, &Fault::of(&error)))?;
        let plaintext = answer.plaintext.take().map(Blob::into_inner);
        plaintext
            .map(Zeroizing::new)
            .filter(|secret| !secret.is_empty())
            .ok_or_else(|| self.wrong("what it unwrapped is empty"))
    }

    fn wrong(&self, what: &'static str) -> KmsError {
        KmsError::Answer {
            key: self.key.to_string(),
            what,
        }
    }
}

fn map(context: &Context<'_>) -> HashMap<String, String> {
    context
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}
