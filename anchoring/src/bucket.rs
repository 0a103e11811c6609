//! A bucket with Object Lock as an anchor: `<prefix>elections/<election id>/anchors/<name>/<n>`, each locked in COMPLIANCE mode, which nobody can lift, the account's owner included.
//!
//! What counts is an object's *earliest* version. A lock keeps versions; it does not keep others from writing newer ones or delete markers above them, which hide but take nothing away.

use std::io;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws::{AwsError, Fault};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{BucketVersioningStatus, ChecksumMode, ObjectLockEnabled, ObjectLockMode};
use bytes::Bytes;
use ledger::bucket::{Bucket, Condition, Got, Place, Written, collect};
use protocol::manifest::Election;

use crate::anchor::{Anchor, AnchorError, Created, OBJECT_LEN_MAX};

/// Pages of versions of one object: one, unless somebody wrote over it a thousand times.
const PAGES_MAX: usize = 100;
/// In base64, zeros: nothing that anybody knows hashes to that. A store compares one or the other.
const NO_SHA256: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const NO_MD5: &str = "AAAAAAAAAAAAAAAAAAAAAA==";
/// All that is asked for one object, its bytes included.
const WHOLE: Duration = Duration::from_secs(60);

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct BucketAnchor {
    name: String,
    bucket: Bucket,
    /// What the objects' keys begin with.
    root: String,
    /// Seconds since 1970: locked until then.
    until: i64,
}

/// Why a bucket is no anchor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketAnchorError {
    /// It is not known how to reach it.
    #[error("{0}")]
    Aws(#[from] AwsError),
    /// Nothing could be locked any more.
    #[error(
        "the manifest's retention has passed: nothing can be locked until then, so nothing more can be anchored"
    )]
    Past,
    /// It could not be asked now.
    #[error("the bucket {bucket} could not be asked now: {reason}")]
    Unavailable {
        /// Its name.
        bucket: String,
        /// What went wrong.
        reason: String,
    },
    /// It does not keep what it is given.
    #[error("the bucket {bucket} keeps nothing for certain: {lacking}")]
    Unfit {
        /// Its name.
        bucket: String,
        /// What is lacking, and what to do.
        lacking: String,
    },
}

impl BucketAnchorError {
    /// Whether the same may succeed later.
    #[must_use]
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// What became of trying.
enum Tried {
    Taken,
    Fault(Fault),
}

/// One version of an object, or a delete marker.
#[derive(Debug)]
struct Version {
    id: String,
    is_marker: bool,
}

impl BucketAnchor {
    /// The anchor `name` of this election in a part of a bucket. Nothing is asked of it yet.
    ///
    /// # Errors
    /// It is not known how to reach AWS.
    pub async fn open(
        name: &str,
        place: &Place,
        election: &Election,
    ) -> Result<Self, BucketAnchorError> {
        let retention = election.manifest().retention;
        Ok(Self {
            name: name.to_owned(),
            root: format!(
                "{}elections/{}/anchors/{name}/",
                place.prefix(),
                election.id()
            ),
            bucket: Bucket::open(place).await?,
            until: i64::try_from(retention.div_ceil(1_000)).unwrap_or(i64::MAX),
        })
    }

    /// Makes sure, at start, that what is put there stays: versions are kept, locks are possible, and the retention is not over; and that this process may put it there.
    ///
    /// # Errors
    /// It is not so, or could not be found out: with what to do.
    pub async fn check(&self) -> Result<(), BucketAnchorError> {
        let bucket = self.bucket.place().bucket().to_owned();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        if self.until <= i64::try_from(now).unwrap_or(i64::MAX) {
            return Err(BucketAnchorError::Past);
        }
        let unfit = |lacking: &str| BucketAnchorError::Unfit {
            bucket: bucket.clone(),
            lacking: lacking.to_owned(),
        };
        let failed = |action: &str, fault: &Fault| match fault.passes() {
            true => BucketAnchorError::Unavailable {
                bucket: bucket.clone(),
                reason: fault.to_string(),
            },
            false => unfit(&self.bucket.explain(action, fault)),
        };
        let client = self.bucket.client();
        let locks = client.get_object_lock_configuration().bucket(&bucket);
        let locks = match locks.send().await {
            Ok(answer) => answer.object_lock_configuration,
            Err(error) => match Fault::of(&error) {
                fault if fault.is("ObjectLockConfigurationNotFoundError") => None,
                fault => return Err(failed("s3:GetBucketObjectLockConfiguration", &fault)),
            },
        };
        let enabled = locks.and_then(|locks| locks.object_lock_enabled);
        if enabled != Some(ObjectLockEnabled::Enabled) {
            return Err(unfit(
                "Object Lock is not enabled: make a bucket with it (`aws s3api create-bucket --object-lock-enabled-for-bucket`)",
            ));
        }
        let versioning = client.get_bucket_versioning().bucket(&bucket).send().await;
        let versioning =
            versioning.map_err(|error| failed("s3:GetBucketVersioning", &Fault::of(&error)))?;
        if versioning.status() != Some(&BucketVersioningStatus::Enabled) {
            return Err(unfit("versioning is not enabled: enable it"));
        }
        match self.try_to_write().await {
            Ok(()) => Ok(()),
            Err(Tried::Taken) => Err(unfit(
                "it took an object whose checksum is another's, so what is damaged on its way is kept for good: use a store that compares (S3 does)",
            )),
            Err(Tried::Fault(fault)) => {
                Err(failed("s3:PutObject and s3:PutObjectRetention", &fault))
            }
        }
    }

    /// Whether an object would be taken, with its lock, of this process: everything about the request is as it will be but for the checksum, which is
    /// compared last. So nothing is locked for years only to try.
    async fn try_to_write(&self) -> Result<(), Tried> {
        let request = self
            .request(&format!("{}probe", self.root), Bytes::from_static(b"probe"))
            .checksum_sha256(NO_SHA256)
            .content_md5(NO_MD5);
        match self.bucket.write_once(request).await {
            Err(fault) if fault.is("BadDigest") || fault.is("XAmzContentChecksumMismatch") => {
                Ok(())
            }
            Err(fault) => Err(Tried::Fault(fault)),
            Ok(Written::Done(_)) => Err(Tried::Taken),
            // Something stands there, whoever put it: who may not write is not told that.
            Ok(Written::NotMet | Written::Busy) => Ok(()),
        }
    }

    fn request(&self, key: &str, bytes: Bytes) -> PutObjectFluentBuilder {
        self.bucket
            .put(key, bytes, Condition::Absent)
            .content_type("application/octet-stream")
            .object_lock_mode(ObjectLockMode::Compliance)
            .object_lock_retain_until_date(DateTime::from_secs(self.until))
    }

    fn key(&self, n: u64) -> String {
        format!("{}{n}", self.root)
    }

    /// All versions of an object and the delete markers among them, the newest first.
    async fn versions(&self, key: &str) -> Result<Vec<Version>, String> {
        let client = self.bucket.client();
        let mut versions = Vec::new();
        let (mut key_marker, mut version_marker) = (None, None);
        for _ in 0..PAGES_MAX {
            let page = client
                .list_object_versions()
                .bucket(self.bucket.place().bucket())
                .prefix(key)
                .set_key_marker(key_marker)
                .set_version_id_marker(version_marker);
            let page = page.send().await.map_err(|error| {
                let fault = Fault::of(&error);
                self.bucket.explain("s3:ListBucketVersions", &fault)
            })?;
            // Others' keys begin with this one: 10 with 1. They come after it.
            let of_key = page.versions().iter().filter(|one| one.key() == Some(key));
            versions.extend(of_key.map(|one| Version {
                id: one.version_id().unwrap_or_default().to_owned(),
                is_marker: false,
            }));
            let of_key = page.delete_markers().iter();
            let of_key = of_key.filter(|one| one.key() == Some(key));
            versions.extend(of_key.map(|one| Version {
                id: one.version_id().unwrap_or_default().to_owned(),
                is_marker: true,
            }));
            let goes_on = page.is_truncated() == Some(true)
                && page.next_key_marker().is_some_and(|next| next == key);
            if !goes_on {
                return Ok(versions);
            }
            key_marker = page.next_key_marker;
            version_marker = page.next_version_id_marker;
        }
        Err(format!("{key} has more versions than can be listed"))
    }

    /// The earliest version, if there is one; says aloud what stands above it.
    async fn earliest(&self, n: u64) -> Result<Option<Version>, String> {
        let versions = self.versions(&self.key(n)).await?;
        let (markers, mut versions): (Vec<Version>, Vec<Version>) =
            versions.into_iter().partition(|version| version.is_marker);
        let earliest = versions.pop();
        if !markers.is_empty() || !versions.is_empty() {
            tracing::error!(
                anchor = %self.name,
                object = n,
                versions = versions.len() + usize::from(earliest.is_some()),
                delete_markers = markers.len(),
                "somebody wrote over an anchored object, or put a delete marker above it: the earliest version counts, and every audit of the bucket will find the others; see who can write there"
            );
        }
        Ok(earliest)
    }

    /// A version's bytes; `None`: more than an object may have. With its lock.
    async fn version(&self, n: u64, id: &str) -> Result<(Got, Lock), String> {
        let request = self
            .bucket
            .client()
            .get_object()
            .bucket(self.bucket.place().bucket())
            .key(self.key(n))
            .checksum_mode(ChecksumMode::Enabled)
            .version_id(id);
        let explain = |fault: &Fault| {
            let actions = "s3:GetObjectVersion and s3:GetObjectRetention";
            self.bucket.explain(actions, fault)
        };
        let answer = request.send().await;
        let answer = answer.map_err(|error| explain(&Fault::of(&error)))?;
        let lock = Lock::of(&answer);
        let got = collect(answer, OBJECT_LEN_MAX).await;
        Ok((got.map_err(|fault| explain(&fault))?, lock))
    }

    /// What stands there, against what should; `None`: nothing.
    async fn compare(&self, n: u64, bytes: &[u8]) -> Result<Option<bool>, String> {
        let Some(earliest) = self.earliest(n).await? else {
            return Ok(None);
        };
        let (got, lock) = self.version(n, &earliest.id).await?;
        if !matches!(got, Got::Object(object) if object.bytes == bytes) {
            return Ok(Some(false));
        }
        lock.holds_until(self.until)
            .map_err(|what| format!("it stands there, and {what}"))?;
        Ok(Some(true))
    }

    async fn put(&self, n: u64, bytes: &[u8]) -> Result<(), String> {
        let request = self.request(&self.key(n), Bytes::copy_from_slice(bytes));
        // Whatever became of it, what stands there is read before it is tried again.
        let written = self.bucket.write_once(request).await;
        written.map(drop).map_err(|fault| {
            let actions = "s3:PutObject and s3:PutObjectRetention";
            self.bucket.explain(actions, &fault)
        })
    }

    async fn keep(&self, n: u64, bytes: &[u8]) -> Result<Created, String> {
        // Looked at first: a store that does not honour the condition would add a version.
        match self.compare(n, bytes).await? {
            Some(true) => return Ok(Created::AlreadyEqual),
            Some(false) => return Ok(Created::Different),
            None => {}
        }
        let put = self.put(n, bytes).await;
        match self.compare(n, bytes).await? {
            Some(true) => Ok(Created::Created),
            Some(false) => Ok(Created::Different),
            None => Err(put
                .err()
                .unwrap_or_else(|| "it was taken and is not there".to_owned())),
        }
    }

    async fn within<T>(
        &self,
        n: u64,
        work: impl Future<Output = Result<T, String>>,
    ) -> Result<T, AnchorError> {
        let outcome = match tokio::time::timeout(WHOLE, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err("no answer in time".to_owned()),
        };
        outcome.map_err(|what| AnchorError::Unavailable {
            anchor: self.name.clone(),
            n,
            source: io::Error::other(what),
        })
    }
}

#[async_trait]
impl Anchor for BucketAnchor {
    fn name(&self) -> &str {
        &self.name
    }

    async fn create(&self, n: u64, bytes: &[u8]) -> Result<Created, AnchorError> {
        self.within(n, self.keep(n, bytes)).await
    }

    async fn read(&self, n: u64) -> Result<Option<Vec<u8>>, AnchorError> {
        let read = async {
            match self.earliest(n).await? {
                Some(earliest) => Ok(Some(self.version(n, &earliest.id).await?.0)),
                None => Ok(None),
            }
        };
        match self.within(n, read).await? {
            None => Ok(None),
            Some(Got::Object(object)) => Ok(Some(object.bytes.into())),
            Some(Got::TooLong) => Err(AnchorError::TooLarge {
                anchor: self.name.clone(),
                n,
                len: OBJECT_LEN_MAX as u64 + 1,
            }),
            // A version that is listed and cannot be had.
            Some(Got::Missing) => Err(AnchorError::Unavailable {
                anchor: self.name.clone(),
                n,
                source: io::ErrorKind::NotFound.into(),
            }),
        }
    }
}

/// How a version is locked.
#[derive(Debug)]
struct Lock {
    mode: Option<String>,
    until: Option<i64>,
}

impl Lock {
    fn of(answer: &GetObjectOutput) -> Self {
        Self {
            mode: answer
                .object_lock_mode()
                .map(|mode| mode.as_str().to_owned()),
            until: answer.object_lock_retain_until_date().map(DateTime::secs),
        }
    }

    fn holds_until(&self, until: i64) -> Result<(), String> {
        match (self.mode.as_deref(), self.until) {
            (Some("COMPLIANCE"), Some(found)) if found >= until => Ok(()),
            (Some("COMPLIANCE"), Some(found)) => Err(format!(
                "it is locked until {found} only, and must be until {until} (seconds since 1970): extend its retention"
            )),
            (None, _) | (_, None) => Err(
                "no lock of it is shown: allow s3:GetObjectRetention, or, if it has none, lock this version in COMPLIANCE mode"
                    .to_owned(),
            ),
            (Some(mode), _) => Err(format!(
                "it is locked in {mode} mode, which can be lifted: lock this version in COMPLIANCE mode"
            )),
        }
    }
}
