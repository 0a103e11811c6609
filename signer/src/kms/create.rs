//! New keys for a new election.

use std::time::Duration;

use aws::{Aws, Fault, FaultKind};
use aws_sdk_kms::types::{self, KeySpec, KeyUsageType};

use super::{KeyRef, Kms, KmsError, Operation, client, failed};

/// A new key is not known everywhere at once: it is asked for so often, with a doubling pause (25 s in all).
const LOOKS: u32 = 8;
/// The first of these pauses.
const LOOK: Duration = Duration::from_millis(200);

/// How errors call a key that has no name yet.
const NEW: &str = "that is being made";

/// What a key is for, as AWS's console, bills and policies show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl Tag {
    fn build(&self, key: &str) -> Result<types::Tag, KmsError> {
        types::Tag::builder()
            .tag_key(&self.key)
            .tag_value(&self.value)
            .build()
            .map_err(|_| KmsError::Answer {
                key: key.to_string(),
                what: "a tag without a name",
            })
    }
}

/// Makes an Ed25519 key that never leaves KMS. Its policy is the account's default one: who may use the key is the operator's to say.
///
/// It is not known everywhere at once: [`open_new`] waits for that.
///
/// # Errors
/// KMS cannot be reached (then a key may have been made all the same), or refuses.
pub async fn create(aws: &Aws, description: &str, tags: &[Tag]) -> Result<KeyRef, KmsError> {
    let client = super::counted(aws.config().await?);
    let mut request = client
        .create_key()
        .key_spec(KeySpec::EccNistEdwards25519)
        .key_usage(KeyUsageType::SignVerify)
        .description(description);
    for tag in tags {
        request = request.tags(tag.build(NEW)?);
    }
    let answer = request.send().await.map_err(|error| {
        let mut fault = Fault::of(&error);
        // Here it is the account's quota of keys, which no patience changes.
        if fault.is("LimitExceededException") {
            fault.kind = FaultKind::Refused;
        }
        failed(NEW, Operation::CreateKey, &fault)
    })?;
    let arn = answer.key_metadata().and_then(|made| made.arn());
    arn.and_then(|arn| arn.parse().ok())
        .ok_or(KmsError::Answer {
            key: NEW.to_owned(),
            what: "a new key comes without its name",
        })
}

/// Takes a key into use that was just made.
///
/// # Errors
/// As [`Kms::open`], once it should be known everywhere.
pub async fn open_new(aws: &Aws, key: &KeyRef) -> Result<Kms, KmsError> {
    let mut pause = LOOK;
    for _ in 1..LOOKS {
        match Kms::open(aws, key).await {
            Err(KmsError::Refused { fault, .. }) if fault.is("NotFoundException") => {}
            Err(error) if error.passes() => {}
            opened => return opened,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Kms::open(aws, key).await
}

/// Adds tags to a key: what is known only once the key is made.
///
/// # Errors
/// KMS cannot be reached, or refuses.
pub async fn tag(aws: &Aws, key: &KeyRef, tags: &[Tag]) -> Result<(), KmsError> {
    let client = client(aws, key).await?;
    let mut request = client.tag_resource().key_id(key.as_str());
    for tag in tags {
        request = request.tags(tag.build(key.as_str())?);
    }
    request
        .send()
        .await
        .map_err(|error| failed(key.as_str(), Operation::TagResource, &Fault::of(&error)))?;
    Ok(())
}
