//! A bucket: `<prefix>elections/<election id>/…` is what is published, and nothing else stands there.
//!
//! Files are created with `If-None-Match: *` and a SHA-256 that the server compares. `checkpoint` moves by `If-Match`. After every doubt (a time-out, a condition that did not hold,
//! another writer) what stands there is read and compared. A request that arrives late, after its sender gave up, meets the same conditions, so it replaces nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws::{AwsError, Fault};
use bytes::Bytes;
use protocol::ids::ElectionId;
use tokio::sync::Semaphore;

use super::path::Kind;
use super::{
    CHECKPOINT_BYTES_MAX, Creation, Move, PublishError, Publisher, ReadError, Reader,
    checkpoint_size,
};
use crate::bucket::{Bucket, Condition, Got, Object, Place, Written};

/// A creation that takes longer is sent once more beside the first: the same bytes, so it does not matter which arrives.
const HEDGE_AFTER: Duration = Duration::from_millis(700);
/// So many at once: where everything is slow, more requests make it slower.
const HEDGES_MAX: usize = 4;
/// So often a file that somebody else writes at the same moment, or a checkpoint that moves meanwhile, is tried before the caller hears of it.
const TRIES: u32 = 5;
/// Before the second try, doubled before each further one.
const PAUSE: Duration = Duration::from_millis(20);

const PUT: &str = "s3:PutObject";
const GET: &str = "s3:GetObject";

/// For what never changes: a year, the longest that caches take for *always*.
const FOREVER: &str = "public, max-age=31536000, immutable";
/// For what moves.
const A_MOMENT: &str = "public, max-age=1";

/// Publishes in a bucket, and reads what is published there. Cheap to clone.
#[derive(Clone, Debug)]
pub struct S3 {
    bucket: Bucket,
    election: ElectionId,
    root: String,
    hedge_after: Duration,
    hedges: Arc<Semaphore>,
}

impl S3 {
    /// The election's files in this part of a bucket. Nothing is asked of it yet: [`Publisher::probe`] does that.
    ///
    /// # Errors
    /// It is not known how to reach AWS.
    pub async fn open(place: &Place, election: &ElectionId) -> Result<Self, AwsError> {
        Ok(Self {
            bucket: Bucket::open(place).await?,
            election: *election,
            root: format!("{}elections/{election}/", place.prefix()),
            hedge_after: HEDGE_AFTER,
            hedges: Arc::new(Semaphore::new(HEDGES_MAX)),
        })
    }

    /// With another time after which a creation is sent once more.
    #[must_use]
    pub fn hedged_after(mut self, time: Duration) -> Self {
        self.hedge_after = time;
        self
    }

    /// Writes a file that changes, `results.json`. Not for a log's files.
    ///
    /// # Errors
    /// It is not known whether it was written, or somebody else wrote at the same moment.
    pub async fn replace(&self, path: &str, bytes: Bytes) -> Result<(), PublishError> {
        if Kind::of(path) != Some(Kind::Results) {
            return Err(PublishError::Path(path.to_owned()));
        }
        let key = self.key(path);
        // Conditional here too: a request that arrives late must not bring back old results.
        let found = self.bucket.etag(&key).await;
        let condition = match found.map_err(|fault| self.unknown(path, GET, &fault))? {
            Some(etag) => Condition::Is(etag),
            None => Condition::Absent,
        };
        match self.write(&key, Kind::Results, bytes, condition).await {
            Ok(Written::Done(_)) => Ok(()),
            Ok(Written::NotMet | Written::Busy) => Err(PublishError::Unknown {
                path: path.to_owned(),
                reason: "it changed meanwhile".to_owned(),
            }),
            Err(fault) => Err(self.unknown(path, PUT, &fault)),
        }
    }

    fn key(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    fn unknown(&self, path: &str, action: &str, fault: &Fault) -> PublishError {
        PublishError::Unknown {
            path: path.to_owned(),
            reason: self.bucket.explain(action, fault),
        }
    }

    async fn write(
        &self,
        key: &str,
        kind: Kind,
        bytes: Bytes,
        condition: Condition,
    ) -> Result<Written, Fault> {
        let request = self.bucket.put(key, bytes, condition);
        let request = request.content_type(kind.content_type());
        let caching = if kind.is_immutable() {
            FOREVER
        } else {
            A_MOMENT
        };
        self.bucket.write(request.cache_control(caching)).await
    }

    /// Writes, and once more where that is slow. Which of the two arrives first does not matter.
    async fn write_hedged(&self, key: &str, kind: Kind, bytes: Bytes) -> Result<Written, Fault> {
        let write = || self.write(key, kind, bytes.clone(), Condition::Absent);
        let first = write();
        tokio::pin!(first);
        if let Ok(done) = tokio::time::timeout(self.hedge_after, &mut first).await {
            return done;
        }
        let Ok(_permit) = self.hedges.try_acquire() else {
            return first.await;
        };
        tracing::debug!(key, "a slow creation is sent once more");
        let second = write();
        tokio::pin!(second);
        tokio::select! {
            done = &mut first => match done {
                Ok(done) => Ok(done),
                Err(_) => second.await,
            },
            done = &mut second => match done {
                Ok(done) => Ok(done),
                Err(_) => first.await,
            },
        }
    }

    /// What stands there, compared with `bytes`. `None`: nothing.
    async fn compare(&self, path: &str, bytes: &Bytes) -> Result<Option<Creation>, PublishError> {
        let found = self.bucket.get(&self.key(path), bytes.len()).await;
        Ok(
            match found.map_err(|fault| self.unknown(path, GET, &fault))? {
                Got::Missing => None,
                Got::Object(found) if found.bytes == *bytes => Some(Creation::AlreadyEqual),
                Got::Object(_) | Got::TooLong => Some(Creation::Different),
            },
        )
    }

    async fn checkpoint(&self, path: &str) -> Result<Option<Object>, PublishError> {
        let found = self.bucket.get(&self.key(path), CHECKPOINT_BYTES_MAX).await;
        match found.map_err(|fault| self.unknown(path, GET, &fault))? {
            Got::Missing => Ok(None),
            Got::Object(found) => Ok(Some(found)),
            Got::TooLong => Err(PublishError::Unknown {
                path: path.to_owned(),
                reason: "what stands there is longer than any checkpoint".to_owned(),
            }),
        }
    }
}

#[async_trait]
impl Reader for S3 {
    async fn read(&self, path: &str, len_max: usize) -> Result<Option<Bytes>, ReadError> {
        if Kind::of(path).is_none() {
            return Err(ReadError::Path(path.to_owned()));
        }
        match self.bucket.get(&self.key(path), len_max).await {
            Ok(Got::Missing) => Ok(None),
            Ok(Got::Object(found)) => Ok(Some(found.bytes)),
            Ok(Got::TooLong) => Err(ReadError::TooLong {
                path: path.to_owned(),
                len_max,
            }),
            Err(fault) => Err(ReadError::Unavailable {
                path: path.to_owned(),
                reason: self.bucket.explain(GET, &fault),
            }),
        }
    }
}

#[async_trait]
impl Publisher for S3 {
    async fn create(&self, path: &str, bytes: Bytes) -> Result<Creation, PublishError> {
        let Some(kind) = Kind::of(path).filter(|kind| kind.is_immutable()) else {
            return Err(PublishError::Path(path.to_owned()));
        };
        let key = self.key(path);
        let mut attempt = 0;
        loop {
            let written = self.write_hedged(&key, kind, bytes.clone()).await;
            let reason = match &written {
                Ok(Written::Done(_)) => return Ok(Creation::Created),
                Ok(Written::NotMet | Written::Busy) => {
                    "somebody else writes there, or did and it is gone".to_owned()
                }
                Err(fault) => self.bucket.explain(PUT, fault),
            };
            if let Some(creation) = self.compare(path, &bytes).await? {
                return Ok(creation);
            }
            if written.is_err() || attempt + 1 == TRIES {
                return Err(PublishError::Unknown {
                    path: path.to_owned(),
                    reason,
                });
            }
            pause(attempt).await;
            attempt += 1;
        }
    }

    async fn move_checkpoint(
        &self,
        path: &str,
        expected: Option<Bytes>,
        new: Bytes,
    ) -> Result<Move, PublishError> {
        if Kind::of(path) != Some(Kind::Checkpoint) {
            return Err(PublishError::Path(path.to_owned()));
        }
        let Some(new_size) = checkpoint_size(&new) else {
            return Err(PublishError::Unfit(format!(
                "what should stand at {path} is no checkpoint"
            )));
        };
        let key = self.key(path);
        for attempt in 0..TRIES {
            let current = self.checkpoint(path).await?;
            let bytes = current.as_ref().map(|found| found.bytes.clone());
            if bytes.as_ref() == Some(&new) {
                return Ok(Move::Moved);
            }
            let backwards =
                bytes.as_ref().and_then(|bytes| checkpoint_size(bytes)) > Some(new_size);
            if bytes != expected || backwards {
                return Ok(Move::Conflict(bytes));
            }
            let condition = match current {
                None => Condition::Absent,
                Some(found) => Condition::Is(found.etag.ok_or_else(|| {
                    PublishError::Unfit("it names no ETag of what it holds".to_owned())
                })?),
            };
            let written = self.write(&key, Kind::Checkpoint, new.clone(), condition);
            match written.await {
                Ok(Written::Done(_)) => return Ok(Move::Moved),
                // It moved meanwhile, or it was this very request, whose answer got lost.
                Ok(Written::NotMet | Written::Busy) => pause(attempt).await,
                Err(fault) => {
                    let stands = self.checkpoint(path).await?;
                    return match stands.is_some_and(|found| found.bytes == new) {
                        true => Ok(Move::Moved),
                        false => Err(self.unknown(path, PUT, &fault)),
                    };
                }
            }
        }
        Err(PublishError::Unknown {
            path: path.to_owned(),
            reason: "others write there all the time".to_owned(),
        })
    }

    async fn probe(&self) -> Result<(), PublishError> {
        // Beside the published tree; random, so that two that start at once do not meet.
        let key = format!(
            "{}probe/{}-{:016x}",
            self.bucket.place().prefix(),
            self.election,
            rand::random::<u64>()
        );
        let probed = self.try_conditions(&key).await;
        // Best effort: an object that stays there harms nobody.
        if let Err(fault) = self.bucket.remove(&key).await {
            tracing::debug!(key, %fault, "the probe's object stays");
        }
        match probed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(lacking)) => Err(PublishError::Unfit(format!(
                "{} {lacking}",
                self.bucket.place()
            ))),
            Err(fault) if fault.passes() => Err(self.unknown("probe", PUT, &fault)),
            Err(fault) => Err(PublishError::Unfit(
                self.bucket.explain("s3:GetObject and s3:PutObject", &fault),
            )),
        }
    }
}

impl S3 {
    /// Tries what the log relies on. The inner error says what is lacking.
    async fn try_conditions(&self, key: &str) -> Result<Result<(), &'static str>, Fault> {
        const REPLACES: &str = "replaces a file that should only be created: it does not honour If-None-Match, so it can hold anchors, but no log's files";
        const MOVES: &str = "does not honour If-Match: a checkpoint could move backwards there";
        const STAYS: &str = "refuses what carries If-Match with the very ETag that it names: no checkpoint could move there";
        let write = async |text: &'static str, condition| {
            let request = self.bucket.put(key, Bytes::from(text), condition);
            self.bucket.write(request).await
        };
        // A lost answer to the first makes the condition fail for the try after it: then it stands there all the same.
        write("one", Condition::Absent).await?;
        let again = write("two", Condition::Absent).await?;
        let one = self.bucket.get(key, 3).await?;
        let Got::Object(one) = one else {
            return Ok(Err("does not show what was just written"));
        };
        if again != Written::NotMet || one.bytes != "one" {
            return Ok(Err(REPLACES));
        }
        let Some(etag) = one.etag else {
            return Ok(Err("names no ETag of what it holds"));
        };
        let other = Condition::Is("\"00000000000000000000000000000000\"".to_owned());
        let wrong = write("two", other).await?;
        if wrong != Written::NotMet {
            return Ok(Err(MOVES));
        }
        write("two", Condition::Is(etag.clone())).await?;
        // As a writer that wakes up late.
        let late = write("one", Condition::Is(etag)).await?;
        match self.bucket.get(key, 3).await? {
            Got::Object(two) if two.bytes == "two" && late == Written::NotMet => Ok(Ok(())),
            Got::Object(one) if one.bytes == "one" && late == Written::NotMet => Ok(Err(STAYS)),
            _ => Ok(Err(MOVES)),
        }
    }
}

async fn pause(attempt: u32) {
    tokio::time::sleep(PAUSE.saturating_mul(1 << attempt.min(8))).await;
}
