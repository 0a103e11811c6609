//! Where batches are committed: a database that only the one sequencer of the log may append to.
//!
//! The *epoch* is the fence. Whoever takes over bumps it; an append carries the epoch that its writer took, and the store's compare-and-set refuses every older one.

pub mod postgres;
pub mod sqlite;

use async_trait::async_trait;
use bytes::Bytes;
use protocol::merkle::Hash;

use crate::batch::{Batch, End};

/// Where the store stands, and who may append to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How often the log was taken over. Strictly grows.
    pub epoch: u64,
    /// The number of batches: the next one's n.
    pub batches: u64,
    /// Where the last one ends.
    pub end: End,
}

impl Head {
    /// For stores, before they append: the batch must begin exactly here. That it does not is its writer's mistake, and is settled by taking over anew.
    pub(crate) fn check_follows(&self, batch: &Batch) -> Result<(), StoreError> {
        if (batch.n(), batch.old()) == (self.batches, self.end) {
            return Ok(());
        }
        Err(StoreError::Unknown(format!(
            "batch {} begins at {:?}, not at the head {self:?}; it was not appended",
            batch.n(),
            batch.old()
        )))
    }
}

/// A committed batch, as it was stored. Not trusted: [`Batch::from_body`] checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The batch number.
    pub n: u64,
    /// The epoch of the writer.
    pub epoch: u64,
    /// The log's end after the batch.
    pub end: End,
    /// `(length u16 ‖ entry)*`
    pub body: Bytes,
}

/// Who takes over: a random number of each sequencer, so that it knows its own epoch again after an unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub [u8; 16]);

impl Owner {
    /// A new random owner.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }
}

/// Whether to take a log away from another owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeOver {
    /// At start: from anybody.
    FromAnybody,
    /// Again, after an unknown outcome: only if nobody else has taken it since.
    IfStillMine,
}

/// A log's database.
///
/// Each of the changing methods is one transaction with a compare-and-set on the head, followed by the *durability gate*: in the same session, after COMMIT, one query reads back
/// the head and the state of the durability policy. COMMIT's success alone proves nothing. `Ok` means: it is there, and stays there under the durability policy.
///
/// Implementations bound the time of every call. Every method may be cancelled; the session is thrown away then, as after every error, and what became of the change is unknown.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Opens a new session and bumps the epoch. Every other writer is refused from now on.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] for [`TakeOver::IfStillMine`] when somebody else has taken over; else [`StoreError::Unknown`].
    async fn take_over(&self, owner: Owner, how: TakeOver) -> Result<Head, StoreError>;

    /// Appends a batch behind `expected`, and returns the new head.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] when the head is not `expected`: it certainly was not appended. Else [`StoreError::Unknown`].
    async fn append(&self, expected: &Head, batch: &Batch) -> Result<Head, StoreError>;

    /// Batch `n`, or `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unknown`] when it could not be read now.
    async fn read(&self, n: u64) -> Result<Option<Row>, StoreError>;

    /// Moves the batches from `first` on out of the log into a table of their own, for somebody to look at, and returns the new head, which ends at `end` (where batch `first` began).
    /// They lost against a published batch of the same number, so no receipt for them can exist.
    ///
    /// # Errors
    ///
    /// As [`Store::append`].
    async fn put_aside(&self, expected: &Head, first: u64, end: End) -> Result<Head, StoreError>;
}

/// A log's database as somebody reads it who takes nothing over: the head first, then the rows that it counts, which stay.
#[async_trait]
pub trait StoredRows: Send {
    /// Where the database stands; `None`: there is no log in it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unknown`] when it could not be read now.
    async fn head(&mut self) -> Result<Option<Head>, StoreError>;

    /// Batch `n`, or `None` where there is none.
    ///
    /// # Errors
    ///
    /// As [`StoredRows::head`].
    async fn row(&mut self, n: u64) -> Result<Option<Row>, StoreError>;

    /// The last batch that is there and that the head does not count, by one look at both, so that a writer at work leaves none; `None`: as it should be.
    ///
    /// # Errors
    ///
    /// As [`StoredRows::head`].
    async fn surplus(&mut self) -> Result<Option<u64>, StoreError>;
}

/// Why a store did not do, or may not have done, what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Fenced: the change was certainly not made.
    #[error(
        "the database refused: {0}; another sequencer has taken this log over, and this one must stop"
    )]
    Refused(String),
    /// Anything else: cancelled, lost session, failed gate. The change may or may not be there, now or later.
    #[error("whether the database made the change is unknown ({0}): take over and read")]
    Unknown(String),
}

/// The integers of databases are signed; no log is so long.
fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::Unknown(format!("{number} does not fit")))
}

fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number)
        .map_err(|_| StoreError::Unknown(format!("the database holds {number}: it is damaged")))
}

fn root(bytes: Vec<u8>) -> Result<Hash, StoreError> {
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| {
        StoreError::Unknown("the database holds a root that is no hash: it is damaged".to_owned())
    })?;
    Ok(Hash(bytes))
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unknown(error.to_string())
    }
}
