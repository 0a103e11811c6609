//! SQLite: the embedded store, one file a log, for demonstrations.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use tokio::sync::Mutex;

use super::{Head, Owner, Row, Store, StoreError, StoredRows, TakeOver, root, signed, unsigned};
use crate::batch::{Batch, End};
use crate::log::LogName;

/// The head is one row; a batch is one row, never rewritten; and `aside` keeps what lost against a published batch.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    election BLOB NOT NULL,
    log BLOB NOT NULL,
    owner BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    batches INTEGER NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS batch (
    n INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS aside (
    id INTEGER PRIMARY KEY,
    by_epoch INTEGER NOT NULL,
    n INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
";

/// A log in one SQLite file, in WAL mode with `synchronous=FULL`, which is read back at start and at every gate.
pub struct Sqlite {
    path: PathBuf,
    /// Taken out by whoever uses it and put back only when all went well: a future that is dropped half-way takes its session with it.
    session: Mutex<Option<Session>>,
}

struct Session {
    connection: SqliteConnection,
    owner: Owner,
}

impl Sqlite {
    /// Opens or creates the file of this log.
    ///
    /// SQLite's durability policy is *single node*: one disk holds the only copy in a database. That is refused unless the manifest says that the election is a demo.
    ///
    /// # Errors
    ///
    /// When the election is not a demo, the file is another log's, or it cannot be opened with full durability.
    pub async fn open(path: &Path, log: &LogName, demo: bool) -> Result<Self, OpenError> {
        if !demo {
            return Err(OpenError::NotADemo);
        }
        let mut connection = connect(path).await?;
        check_durability(&mut connection).await?;
        sqlx::raw_sql("BEGIN IMMEDIATE")
            .execute(&mut connection)
            .await?;
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
        let empty = End::empty();
        sqlx::query("INSERT OR IGNORE INTO head VALUES (1, ?, ?, x'', 0, 0, 0, ?)")
            .bind(log.election().as_bytes().as_slice())
            .bind(log.id().encode().as_slice())
            .bind(empty.root.as_bytes().as_slice())
            .execute(&mut connection)
            .await?;
        let row = sqlx::query("SELECT election, log FROM head")
            .fetch_one(&mut connection)
            .await?;
        let (election, id): (Vec<u8>, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
        if election != log.election().as_bytes() || id != log.id().encode() {
            return Err(OpenError::OtherLog(path.to_owned()));
        }
        sqlx::raw_sql("COMMIT").execute(&mut connection).await?;
        connection.close().await?;
        Ok(Self {
            path: path.to_owned(),
            session: Mutex::new(None),
        })
    }

    /// The batches that were put aside, with the epoch that did; for somebody to look at.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub async fn aside(&self) -> Result<Vec<(u64, Row)>, StoreError> {
        let mut connection = connect(&self.path).await?;
        let rows =
            sqlx::query("SELECT n, epoch, size, root, body, by_epoch FROM aside ORDER BY id")
                .fetch_all(&mut connection)
                .await?;
        rows.iter()
            .map(|row| Ok((unsigned(row.try_get(5)?)?, batch_row(row)?)))
            .collect()
    }

    /// Runs one change: transaction and gate.
    ///
    /// 1. BEGIN IMMEDIATE: SQLite's one write lock. A commit of an earlier session that is still on its way finishes first.
    /// 2. `change`: the compare-and-set on the head, and what goes with it.
    /// 3. COMMIT: the write-ahead log goes to the disk (`synchronous=FULL`).
    /// 4. The gate: read back, in the same session, that the head is what it should be, and that the session still is durable.
    ///
    /// Only then does the session go back. Refusals roll back, and keep it.
    async fn change<'a>(
        &self,
        mut session: Session,
        change: Change<'a>,
    ) -> Result<Head, StoreError> {
        sqlx::raw_sql("BEGIN IMMEDIATE")
            .execute(&mut session.connection)
            .await?;
        let Some(want) = change.apply(&mut session).await? else {
            sqlx::raw_sql("ROLLBACK")
                .execute(&mut session.connection)
                .await?;
            let found = read_head(&mut session.connection).await?;
            *self.session.lock().await = Some(session);
            return Err(StoreError::Refused(format!(
                "it is at {found:?}, {}",
                change.expectation()
            )));
        };
        sqlx::raw_sql("COMMIT")
            .execute(&mut session.connection)
            .await?;
        let (head, owner) = read_head(&mut session.connection).await?;
        if head != want || owner != session.owner.0 {
            return Err(StoreError::Unknown(format!(
                "it is at {head:?} right after a commit of {want:?}"
            )));
        }
        check_durability(&mut session.connection)
            .await
            .map_err(|error| StoreError::Unknown(error.to_string()))?;
        *self.session.lock().await = Some(session);
        Ok(head)
    }

    async fn take_session(&self) -> Result<Session, StoreError> {
        let session = self.session.lock().await.take();
        session.ok_or_else(|| {
            StoreError::Unknown("there is no session; take the log over first".to_owned())
        })
    }
}

/// What a transaction does.
enum Change<'a> {
    TakeOver(TakeOver),
    Append(&'a Head, &'a Batch),
    PutAside(&'a Head, u64, End),
}

impl Change<'_> {
    /// The head that this change leads to, or `None` when the head was not as it must be and nothing changed.
    async fn apply(&self, session: &mut Session) -> Result<Option<Head>, StoreError> {
        let Session { connection, owner } = session;
        let hit = match self {
            Self::TakeOver(how) => {
                sqlx::query("UPDATE head SET epoch = epoch + 1, owner = ?1 WHERE owner = ?1 OR ?2")
                    .bind(owner.0.as_slice())
                    .bind(*how == TakeOver::FromAnybody)
                    .execute(&mut *connection)
                    .await?
                    .rows_affected()
            }
            Self::Append(expected, batch) => {
                let hit =
                    move_head(connection, owner, expected, batch.n() + 1, batch.new_end()).await?;
                if hit == 1 {
                    // An error drops the session, and with it the transaction.
                    expected.check_follows(batch)?;
                    sqlx::query("INSERT INTO batch VALUES (?, ?, ?, ?, ?)")
                        .bind(signed(batch.n())?)
                        .bind(signed(expected.epoch)?)
                        .bind(signed(batch.new_end().size)?)
                        .bind(batch.new_end().root.as_bytes().as_slice())
                        .bind(batch.body().as_ref())
                        .execute(&mut *connection)
                        .await?;
                }
                hit
            }
            Self::PutAside(expected, first, end) => {
                let hit = move_head(connection, owner, expected, *first, *end).await?;
                if hit == 1 {
                    sqlx::query(
                        "INSERT INTO aside (by_epoch, n, epoch, size, root, body) SELECT ?, n, epoch, size, root, body FROM batch WHERE n >= ? ORDER BY n",
                    )
                    .bind(signed(expected.epoch)?)
                    .bind(signed(*first)?)
                    .execute(&mut *connection)
                    .await?;
                    sqlx::query("DELETE FROM batch WHERE n >= ?")
                        .bind(signed(*first)?)
                        .execute(&mut *connection)
                        .await?;
                }
                hit
            }
        };
        // It "must hit one row".
        if hit == 1 {
            Ok(Some(read_head(connection).await?.0))
        } else {
            Ok(None)
        }
    }

    fn expectation(&self) -> String {
        match self {
            Self::TakeOver(_) => "of another owner".to_owned(),
            Self::Append(expected, _) | Self::PutAside(expected, ..) => {
                format!("not at {expected:?}")
            }
        }
    }
}

/// The fence: moves the head only if it is exactly as expected, epoch and owner included.
async fn move_head(
    connection: &mut SqliteConnection,
    owner: &Owner,
    expected: &Head,
    batches: u64,
    end: End,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE head SET batches = ?, size = ?, root = ? WHERE epoch = ? AND owner = ? AND batches = ? AND size = ? AND root = ?",
    )
    .bind(signed(batches)?)
    .bind(signed(end.size)?)
    .bind(end.root.as_bytes().as_slice())
    .bind(signed(expected.epoch)?)
    .bind(owner.0.as_slice())
    .bind(signed(expected.batches)?)
    .bind(signed(expected.end.size)?)
    .bind(expected.end.root.as_bytes().as_slice())
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

async fn read_head(connection: &mut SqliteConnection) -> Result<(Head, Vec<u8>), StoreError> {
    let row = sqlx::query("SELECT epoch, batches, size, root, owner FROM head")
        .fetch_one(connection)
        .await?;
    let end = End {
        size: unsigned(row.try_get(2)?)?,
        root: root(row.try_get(3)?)?,
    };
    let head = Head {
        epoch: unsigned(row.try_get(0)?)?,
        batches: unsigned(row.try_get(1)?)?,
        end,
    };
    Ok((head, row.try_get(4)?))
}

fn batch_row(row: &SqliteRow) -> Result<Row, StoreError> {
    let body: Vec<u8> = row.try_get(4)?;
    Ok(Row {
        n: unsigned(row.try_get(0)?)?,
        epoch: unsigned(row.try_get(1)?)?,
        end: End {
            size: unsigned(row.try_get(2)?)?,
            root: root(row.try_get(3)?)?,
        },
        body: Bytes::from(body),
    })
}

#[async_trait]
impl Store for Sqlite {
    async fn take_over(&self, owner: Owner, how: TakeOver) -> Result<Head, StoreError> {
        // Whatever the old session was doing, its outcome is what the new one finds.
        drop(self.session.lock().await.take());
        let connection = connect(&self.path).await?;
        self.change(Session { connection, owner }, Change::TakeOver(how))
            .await
    }

    async fn append(&self, expected: &Head, batch: &Batch) -> Result<Head, StoreError> {
        let session = self.take_session().await?;
        self.change(session, Change::Append(expected, batch)).await
    }

    async fn read(&self, n: u64) -> Result<Option<Row>, StoreError> {
        let mut session = self.take_session().await?;
        let row = sqlx::query("SELECT n, epoch, size, root, body FROM batch WHERE n = ?")
            .bind(signed(n)?)
            .fetch_optional(&mut session.connection)
            .await?;
        let row = row.as_ref().map(batch_row).transpose()?;
        *self.session.lock().await = Some(session);
        Ok(row)
    }

    async fn put_aside(&self, expected: &Head, first: u64, end: End) -> Result<Head, StoreError> {
        let session = self.take_session().await?;
        self.change(session, Change::PutAside(expected, first, end))
            .await
    }
}

/// Reads a log's file without changing it, beside whoever writes it.
pub struct SqliteRows(SqliteConnection);

impl SqliteRows {
    /// Opens the file for reading.
    ///
    /// # Errors
    ///
    /// When it is not there, cannot be read, or is another log's.
    pub async fn open(path: &Path, log: &LogName) -> Result<Self, OpenError> {
        let mut connection = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .connect()
            .await?;
        let row = sqlx::query("SELECT election, log FROM head")
            .fetch_optional(&mut connection)
            .await?;
        if let Some(row) = row {
            let (election, id): (Vec<u8>, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
            if election != log.election().as_bytes() || id != log.id().encode() {
                return Err(OpenError::OtherLog(path.to_owned()));
            }
        }
        Ok(Self(connection))
    }
}

#[async_trait]
impl StoredRows for SqliteRows {
    async fn head(&mut self) -> Result<Option<Head>, StoreError> {
        let there: i64 = sqlx::query_scalar("SELECT count(*) FROM head")
            .fetch_one(&mut self.0)
            .await?;
        if there == 0 {
            return Ok(None);
        }
        Ok(Some(read_head(&mut self.0).await?.0))
    }

    async fn row(&mut self, n: u64) -> Result<Option<Row>, StoreError> {
        let row = sqlx::query("SELECT n, epoch, size, root, body FROM batch WHERE n = ?")
            .bind(signed(n)?)
            .fetch_optional(&mut self.0)
            .await?;
        row.as_ref().map(batch_row).transpose()
    }

    async fn surplus(&mut self) -> Result<Option<u64>, StoreError> {
        let last: Option<i64> = sqlx::query_scalar(
            "SELECT max(n) FROM batch WHERE n >= coalesce((SELECT batches FROM head), 0)",
        )
        .fetch_one(&mut self.0)
        .await?;
        last.map(unsigned).transpose()
    }
}

async fn connect(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .connect()
        .await
}

/// What was asked for is not always what SQLite does (some file systems have no WAL), so it is read back.
async fn check_durability(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut *connection)
        .await?;
    if journal != "wal" {
        return Err(OpenError::NotDurable(format!(
            "journal_mode=wal (it is {journal})"
        )));
    }
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(&mut *connection)
        .await?;
    // 2 is FULL.
    if synchronous != 2 {
        return Err(OpenError::NotDurable(format!(
            "synchronous=FULL (it is {synchronous})"
        )));
    }
    Ok(())
}

/// Why a SQLite file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A real election needs a replicated store.
    #[error(
        "SQLite keeps a log on one disk only, which is allowed for demonstrations, and this election's manifest says `demo: false`: use Postgres, or make the election again with `demo = true`"
    )]
    NotADemo,
    /// The file is another log's.
    #[error("{} holds another log: configure the file of this log, or a new one", .0.display())]
    OtherLog(PathBuf),
    /// Full durability is off.
    #[error("SQLite did not take {0}: without it, a power failure may lose a commit")]
    NotDurable(String),
    /// Anything else.
    #[error("SQLite: {0}")]
    Database(#[from] sqlx::Error),
}
