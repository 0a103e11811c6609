//! A bucket of S3, or of a server that speaks its protocol: what our publisher and our anchors ask of it, and how its answers are read.

mod place;

use std::time::Duration;

use aws::{AwsError, Counted, Fault, FaultKind};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{Builder, Config};
use aws_sdk_s3::error::{DisplayErrorContext, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::operation::put_object::{PutObjectError, PutObjectOutput};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};
use bytes::{Bytes, BytesMut};

pub use place::{Place, PlaceError};

/// One read or write, all tries and the whole body included. The SDK's own time-outs end with an answer's first byte.
const WHOLE: Duration = Duration::from_secs(45);

/// A bucket, or the part of one below a prefix. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    place: Place,
}

/// What stands under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    /// Nothing.
    Missing,
    /// More bytes than were asked for. They were not read.
    TooLong,
    /// These bytes; what the server gave a checksum for is as it was stored.
    Object(Object),
}

/// An object that was read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its bytes.
    pub bytes: Bytes,
    /// What `If-Match` compares.
    pub etag: Option<String>,
}

/// On which condition an object is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing stands there.
    Absent,
    /// What stands there has this ETag.
    Is(String),
}

/// What became of writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It stands there: its version, where the bucket keeps versions.
    Done(Option<String>),
    /// The condition does not hold (or did not, when it was tried again after a lost answer).
    NotMet,
    /// Somebody else writes there just now.
    Busy,
}

impl Bucket {
    /// Nothing is asked of it yet.
    ///
    /// # Errors
    /// No region is known, or the endpoint is none for us.
    pub async fn open(place: &Place) -> Result<Self, AwsError> {
        let config = place.aws().config().await?;
        // Names below a custom endpoint's name would need name servers and certificates that private endpoints rarely have.
        let builder = Builder::from(config)
            .force_path_style(config.endpoint_url().is_some())
            .interceptor(Counted::S3);
        Ok(Self {
            client: Client::from_conf(builder.build()),
            place: place.clone(),
        })
    }

    /// Where it is.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// For what only one caller asks.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Reads an object of at most `len_max` bytes, never more. Reads see every write that was answered before.
    ///
    /// # Errors
    /// It could not be read now.
    pub async fn get(&self, key: &str, len_max: usize) -> Result<Got, Fault> {
        let read = async {
            let request = self.client.get_object().bucket(self.place.bucket());
            let request = request.key(key).checksum_mode(ChecksumMode::Enabled);
            match request.send().await {
                Ok(answer) => collect(answer, len_max).await,
                Err(error) => match Fault::of(&error) {
                    fault if fault.is("NoSuchKey") => Ok(Got::Missing),
                    fault => Err(fault),
                },
            }
        };
        within(read).await
    }

    /// The ETag of what stands under a key, if anything does.
    ///
    /// # Errors
    /// It could not be found out now.
    pub async fn etag(&self, key: &str) -> Result<Option<String>, Fault> {
        let request = self.client.head_object().bucket(self.place.bucket());
        match request.key(key).send().await {
            Ok(answer) => Ok(answer.e_tag().map(str::to_owned)),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_not_found()) => Ok(None),
            Err(error) => Err(Fault::of(&error)),
        }
    }

    /// A request that writes these bytes with their SHA-256, which the server compares. Callers add headers, and hand it to [`Bucket::write`].
    #[must_use]
    pub fn put(&self, key: &str, bytes: Bytes, condition: Condition) -> PutObjectFluentBuilder {
        let request = self
            .client
            .put_object()
            .bucket(self.place.bucket())
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .body(ByteStream::from(bytes));
        match condition {
            Condition::Absent => request.if_none_match("*"),
            Condition::Is(etag) => request.if_match(etag),
        }
    }

    /// Sends it.
    ///
    /// # Errors
    /// It is not known whether it was written; or it was refused.
    pub async fn write(&self, request: PutObjectFluentBuilder) -> Result<Written, Fault> {
        within(async { written(request.send().await) }).await
    }

    /// Sends it once, and not again whatever becomes of it: a store that does not honour the condition would keep a second version.
    ///
    /// # Errors
    /// As [`Bucket::write`].
    pub async fn write_once(&self, request: PutObjectFluentBuilder) -> Result<Written, Fault> {
        let once = Config::builder().retry_config(RetryConfig::disabled());
        let request = request.customize().config_override(once);
        within(async { written(request.send().await) }).await
    }

    /// Removes what this process put there to try something.
    ///
    /// # Errors
    /// It was not removed.
    pub async fn remove(&self, key: &str) -> Result<(), Fault> {
        let request = self.client.delete_object().bucket(self.place.bucket());
        let removed = request.key(key).send().await;
        removed.map(drop).map_err(|error| Fault::of(&error))
    }

    /// A fault in words, with what to do about it.
    #[must_use]
    pub fn explain(&self, action: &str, fault: &Fault) -> String {
        let bucket = self.place.bucket();
        match fault.kind {
            _ if fault.is("NoSuchBucket") => format!(
                "there is no bucket {bucket} ({fault}): check its name, the region and the endpoint"
            ),
            _ if fault.is("PermanentRedirect") => {
                format!("the bucket {bucket} is in another region ({fault}): give that `region`")
            }
            _ if fault.is("AuthorizationHeaderMalformed") => {
                format!("{fault}: give the bucket's own `region`")
            }
            // An action on the bucket itself, and not on what lies in it.
            FaultKind::NotAllowed if action.starts_with("s3:GetBucket") => {
                format!("{fault}: allow this process's role {action} on arn:aws:s3:::{bucket}")
            }
            FaultKind::NotAllowed => format!(
                "{fault}: allow this process's role {action} on arn:aws:s3:::{bucket}/{}*, and s3:ListBucket on the bucket (without it, S3 does not tell what is missing from what is forbidden)",
                self.place.prefix()
            ),
            _ => fault.to_string(),
        }
    }
}

fn written(
    answer: Result<PutObjectOutput, SdkError<PutObjectError, HttpResponse>>,
) -> Result<Written, Fault> {
    match answer {
        Ok(answer) => Ok(Written::Done(answer.version_id().map(str::to_owned))),
        Err(error) => match Fault::of(&error) {
            // `If-Match` where nothing stands.
            fault if fault.is("PreconditionFailed") || fault.is("NoSuchKey") => Ok(Written::NotMet),
            fault if fault.is("ConditionalRequestConflict") => Ok(Written::Busy),
            fault => Err(fault),
        },
    }
}

async fn within<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    match tokio::time::timeout(WHOLE, work).await {
        Ok(result) => result,
        Err(_) => Err(unreachable("no answer in time")),
    }
}

fn unreachable(message: impl Into<String>) -> Fault {
    Fault {
        kind: FaultKind::Unreachable,
        code: None,
        message: message.into(),
    }
}

/// The body of an answer, if it has at most `len_max` bytes. Callers bound the time.
///
/// # Errors
/// It was cut short, or is not what the server's checksum says.
pub async fn collect(mut answer: GetObjectOutput, len_max: usize) -> Result<Got, Fault> {
    let promised = answer
        .content_length()
        .and_then(|len| usize::try_from(len).ok());
    if promised.is_some_and(|len| len > len_max) {
        return Ok(Got::TooLong);
    }
    let mut bytes = BytesMut::with_capacity(promised.unwrap_or(0));
    while let Some(chunk) = answer.body.next().await {
        // Also where the bytes are not those of the checksum.
        let chunk = chunk.map_err(|error| unreachable(DisplayErrorContext(error).to_string()))?;
        if chunk.len() > len_max.saturating_sub(bytes.len()) {
            return Ok(Got::TooLong);
        }
        bytes.extend_from_slice(&chunk);
    }
    if promised.is_some_and(|len| len != bytes.len()) {
        return Err(unreachable("the answer was cut short"));
    }
    Ok(Got::Object(Object {
        bytes: bytes.freeze(),
        etag: answer.e_tag,
    }))
}
