//! Postgres: the real store. One log is one schema of one database.
//!
//! The sequencer has one session of its own, straight to the server. A batch is one row, copied in binary in the same transaction as the head's compare-and-set. After COMMIT, the
//! *gate*: one query in the same session that reads back the head and everything that the durability policy rests on.
//!
//! | what may happen | what keeps it harmless |
//! | --- | --- |
//! | two writers | `UPDATE head … WHERE epoch AND owner AND …` must hit one row |
//! | the old session's COMMIT still runs when another takes over | it holds the head's row; the takeover waits for it, at most `lock_timeout` |
//! | COMMIT's wait for standbys is cancelled, and it returns success with a warning | the gate sees that they have not flushed it |
//! | `synchronous_standby_names` is emptied, `synchronous_commit` turned off while running | the gate reads them; and the transaction has pinned `synchronous_commit` for itself |
//! | the server was promoted, demoted, restarted | the session ends with it; a new one takes over and reads |
//! | a pooling proxy hands out another session | its settings or its process differ |

mod durability;
mod names;
mod rows;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use tokio::sync::Mutex;

use super::{Head, Owner, Row, Store, StoreError, StoredRows, TakeOver, root, signed, unsigned};
use crate::batch::{Batch, End};
use crate::log::LogName;
use crate::postgres::{ConnectError, Location, MigrateError, Turn};

pub use durability::{Durability, Failover, PolicyError, Standbys, Unmet};
use durability::{State, is_aurora};

/// The longest that any change or read may take, all in all: above the session's own time-outs, which tell more.
const CALL: Duration = Duration::from_secs(40);
/// Standbys report what they have flushed a moment after they have.
const REPORT: Duration = Duration::from_secs(3);
/// Between two looks at what they reported.
const LOOK: Duration = Duration::from_millis(10);

/// Where the migrations that were applied are written down.
const MIGRATIONS: &str = "ledger_migration";

/// A log in one schema of a Postgres database.
pub struct Postgres {
    location: Location,
    log: LogName,
    durability: Durability,
    /// Taken out by whoever uses it and put back only when all went well: a future that is dropped half-way takes its session with it.
    session: Mutex<Option<Session>>,
}

struct Session {
    connection: PgConnection,
    owner: Owner,
    /// The server process behind the session; behind a pooling proxy it may change.
    process: i32,
    /// What the policy `storage-replicated` rests on; it does not change within a session.
    aurora: bool,
    /// Begins a transaction that commits as the policy needs it, whatever the server is set to meanwhile.
    begin: String,
}

impl Postgres {
    /// Opens or makes this log's schema, once the server meets the policy.
    ///
    /// # Errors
    ///
    /// When the policy is not met or not allowed, the schema is another log's, or the server cannot be reached or used.
    pub async fn open(
        location: Location,
        log: &LogName,
        durability: Durability,
        demo: bool,
    ) -> Result<Self, OpenError> {
        if durability == Durability::SingleNode && !demo {
            return Err(OpenError::NotADemo);
        }
        let mut connection = location.connect("check").await?;
        inspect(&mut connection, &durability).await?;
        connection.close().await?;
        location
            .migrate(sqlx::migrate!("./migrations"), MIGRATIONS)
            .await?;
        let mut connection = location.connect("check").await?;
        let empty = End::empty();
        sqlx::query(
            "INSERT INTO head (election, log, origin, owner, epoch, batches, size, root) SELECT $1, $2, $3, ''::bytea, 0, 0, 0, $4
             WHERE NOT EXISTS (SELECT FROM head) ON CONFLICT DO NOTHING",
        )
        .bind(log.election().as_bytes().as_slice())
        .bind(log.id().encode().as_slice())
        .bind(log.origin())
        .bind(empty.root.as_bytes().as_slice())
        .execute(&mut connection)
        .await?;
        let own = check_log(&mut connection, &location, log).await;
        connection.close().await?;
        own?;
        Ok(Self {
            location,
            log: log.clone(),
            durability,
            session: Mutex::new(None),
        })
    }

    /// Checks everything that [`Postgres::open`] would, and changes nothing. `false`: there is no log in the schema yet; opening would make one.
    ///
    /// # Errors
    ///
    /// As [`Postgres::open`].
    pub async fn check(
        location: &Location,
        log: &LogName,
        durability: &Durability,
        demo: bool,
    ) -> Result<bool, OpenError> {
        if *durability == Durability::SingleNode && !demo {
            return Err(OpenError::NotADemo);
        }
        let mut connection = location.connect("check").await?;
        inspect(&mut connection, durability).await?;
        let there =
            has_head(&mut connection).await? && check_log(&mut connection, location, log).await?;
        connection.close().await?;
        Ok(there)
    }

    /// Waits until no other process is active for this log; see [`Location::wait_for_turn`].
    pub async fn wait_for_turn(&self) -> Turn {
        self.location.wait_for_turn(&self.log).await
    }

    /// The batches that were put aside, with the epoch that did; for somebody to look at.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub async fn aside(&self) -> Result<Vec<(u64, Row)>, StoreError> {
        let mut connection = self.connect("reader").await?;
        let rows =
            sqlx::query("SELECT n, epoch, size, root, body, by_epoch FROM aside ORDER BY id")
                .fetch_all(&mut connection)
                .await?;
        connection.close().await?;
        rows.iter()
            .map(|row| Ok((unsigned(row.try_get("by_epoch")?)?, rows::batch(row)?)))
            .collect()
    }

    async fn connect(&self, purpose: &str) -> Result<PgConnection, StoreError> {
        self.location
            .connect(purpose)
            .await
            .map_err(|error| StoreError::Unknown(error.to_string()))
    }

    /// Opens the sequencer's session. The settings are looked at by the first gate.
    async fn open_session(&self, owner: Owner) -> Result<Session, StoreError> {
        let mut connection = self
            .connect(&format!("sequencer {}", self.log.id()))
            .await?;
        let state = inspect(&mut connection, &self.durability)
            .await
            .map_err(|error| StoreError::Unknown(error.to_string()))?;
        let process = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut connection)
            .await?;
        Ok(Session {
            connection,
            owner,
            process,
            aurora: state.aurora,
            // One of the values that the policy allows: `inspect` has seen to that.
            begin: format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = {}",
                state.synchronous_commit
            ),
        })
    }

    /// Runs one change: transaction and gate.
    ///
    /// 1. BEGIN.
    /// 2. `change`: the compare-and-set on the head, and what goes with it. A commit of an earlier session that is still on its way holds the row, and finishes first.
    /// 3. COMMIT. It waits for the disks that `synchronous_commit` names; its success proves nothing.
    /// 4. The gate: read back, in the same session, that the head is what it should be, and that the policy is met.
    ///
    /// Only then does the session go back. Refusals roll back, and keep it.
    async fn change<'a>(
        &self,
        mut session: Session,
        change: Change<'a>,
    ) -> Result<Head, StoreError> {
        sqlx::raw_sql(AssertSqlSafe(session.begin.clone()))
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
        self.gate(&mut session, &want).await?;
        *self.session.lock().await = Some(session);
        Ok(want)
    }

    /// One query tells it all. It is repeated only while standbys have yet to report what they flushed, and then asks for the same position.
    async fn gate(&self, session: &mut Session, want: &Head) -> Result<(), StoreError> {
        let query = format!(
            "SELECT {}, pg_backend_pid() AS process, epoch, batches, size, root, owner FROM head, {}",
            State::COLUMNS,
            State::AT
        );
        let begun = Instant::now();
        let mut position: Option<String> = None;
        loop {
            let row = sqlx::query(AssertSqlSafe(query.clone()))
                .bind(self.durability.names())
                .bind(&position)
                .fetch_one(&mut session.connection)
                .await?;
            let head = rows::head(&row)?;
            let owner: Vec<u8> = row.try_get("owner")?;
            if head != *want || owner != session.owner.0 {
                return Err(StoreError::Unknown(format!(
                    "it is at {head:?} right after a commit of {want:?}"
                )));
            }
            if row.try_get::<i32, _>("process")? != session.process {
                return Err(StoreError::Unknown(
                    "a proxy changed the session: give the address of the server itself".to_owned(),
                ));
            }
            let state = State::of(&row, session.aurora)?;
            match self.durability.judge(&state) {
                Ok(()) => return Ok(()),
                Err(unmet) if unmet.passing && begun.elapsed() < REPORT => {
                    position.get_or_insert(state.flush_lsn);
                    tokio::time::sleep(LOOK).await;
                }
                Err(unmet) => return Err(StoreError::Unknown(unmet.to_string())),
            }
        }
    }

    async fn take_session(&self) -> Result<Session, StoreError> {
        let session = self.session.lock().await.take();
        session.ok_or_else(|| {
            StoreError::Unknown("there is no session; take the log over first".to_owned())
        })
    }
}

#[async_trait]
impl Store for Postgres {
    async fn take_over(&self, owner: Owner, how: TakeOver) -> Result<Head, StoreError> {
        // Whatever the old session was doing, its outcome is what the new one finds.
        drop(self.session.lock().await.take());
        bounded(async {
            let session = self.open_session(owner).await?;
            self.change(session, Change::TakeOver(how)).await
        })
        .await
    }

    async fn append(&self, expected: &Head, batch: &Batch) -> Result<Head, StoreError> {
        let session = self.take_session().await?;
        bounded(self.change(session, Change::Append(expected, batch))).await
    }

    async fn read(&self, n: u64) -> Result<Option<Row>, StoreError> {
        let mut session = self.take_session().await?;
        bounded(async {
            let row = read_row(&mut session.connection, n).await?;
            *self.session.lock().await = Some(session);
            Ok(row)
        })
        .await
    }

    async fn put_aside(&self, expected: &Head, first: u64, end: End) -> Result<Head, StoreError> {
        let session = self.take_session().await?;
        bounded(self.change(session, Change::PutAside(expected, first, end))).await
    }
}

/// Reads a log's schema without changing it, beside whoever writes it; from a standby server too.
pub struct PostgresRows(PgConnection);

impl PostgresRows {
    /// Opens a session that can only read.
    ///
    /// # Errors
    ///
    /// When there is none, or the schema is another log's.
    pub async fn open(location: &Location, log: &LogName) -> Result<Self, OpenError> {
        let mut connection = location.connect("reader").await?;
        sqlx::raw_sql("SET default_transaction_read_only = on")
            .execute(&mut connection)
            .await?;
        if has_head(&mut connection).await? {
            check_log(&mut connection, location, log).await?;
        }
        Ok(Self(connection))
    }
}

#[async_trait]
impl StoredRows for PostgresRows {
    async fn head(&mut self) -> Result<Option<Head>, StoreError> {
        bounded(async {
            if !has_head(&mut self.0).await? {
                return Ok(None);
            }
            let row = sqlx::query("SELECT epoch, batches, size, root FROM head")
                .fetch_optional(&mut self.0)
                .await?;
            row.as_ref().map(rows::head).transpose()
        })
        .await
    }

    async fn row(&mut self, n: u64) -> Result<Option<Row>, StoreError> {
        bounded(read_row(&mut self.0, n)).await
    }

    async fn surplus(&mut self) -> Result<Option<u64>, StoreError> {
        bounded(async {
            if !has_head(&mut self.0).await? {
                return Ok(None);
            }
            let last: Option<i64> = sqlx::query_scalar(
                "SELECT max(n) FROM batch WHERE n >= coalesce((SELECT batches FROM head), 0)",
            )
            .fetch_one(&mut self.0)
            .await?;
            last.map(unsigned).transpose()
        })
        .await
    }
}

async fn has_head(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT to_regclass('head') IS NOT NULL")
        .fetch_one(connection)
        .await
}

async fn read_row(connection: &mut PgConnection, n: u64) -> Result<Option<Row>, StoreError> {
    let row = sqlx::query("SELECT n, epoch, size, root, body FROM batch WHERE n = $1")
        .bind(signed(n)?)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(rows::batch).transpose()
}

/// Gives up on a server that does not answer; the session is dropped with the future.
async fn bounded<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(CALL, call).await.unwrap_or_else(|_| {
        Err(StoreError::Unknown(format!(
            "the server has not answered for {} s",
            CALL.as_secs()
        )))
    })
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
        let Session {
            connection, owner, ..
        } = session;
        let hit = match self {
            Self::TakeOver(how) => {
                sqlx::query("UPDATE head SET epoch = epoch + 1, owner = $1 WHERE owner = $1 OR $2")
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
                    rows::copy(connection, expected.epoch, batch).await?;
                }
                hit
            }
            Self::PutAside(expected, first, end) => {
                let hit = move_head(connection, owner, expected, *first, *end).await?;
                if hit == 1 {
                    sqlx::query(
                        "WITH lost AS (DELETE FROM batch WHERE n >= $2 RETURNING *)
                         INSERT INTO aside (by_epoch, n, epoch, size, root, body) SELECT $1, n, epoch, size, root, body FROM lost ORDER BY n",
                    )
                    .bind(signed(expected.epoch)?)
                    .bind(signed(*first)?)
                    .execute(&mut *connection)
                    .await?;
                }
                hit
            }
        };
        // It "must hit one row".
        if hit == 1 {
            Ok(Some(read_head(connection).await?))
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
    connection: &mut PgConnection,
    owner: &Owner,
    expected: &Head,
    batches: u64,
    end: End,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE head SET batches = $1, size = $2, root = $3 WHERE epoch = $4 AND owner = $5 AND batches = $6 AND size = $7 AND root = $8",
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

async fn read_head(connection: &mut PgConnection) -> Result<Head, StoreError> {
    let row = sqlx::query("SELECT epoch, batches, size, root FROM head")
        .fetch_one(connection)
        .await?;
    rows::head(&row)
}

/// Whether the schema is this log's; `false`: nobody's yet.
async fn check_log(
    connection: &mut PgConnection,
    location: &Location,
    log: &LogName,
) -> Result<bool, OpenError> {
    let row = sqlx::query("SELECT election, log, origin FROM head")
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(false) };
    let (election, id): (Vec<u8>, Vec<u8>) = (row.try_get("election")?, row.try_get("log")?);
    if election != log.election().as_bytes() || id != log.id().encode() {
        return Err(OpenError::OtherLog {
            location: location.to_string(),
            held: row.try_get("origin")?,
            wanted: log.origin().to_owned(),
        });
    }
    Ok(true)
}

/// Reads what the server says, and judges it; without a commit, so standbys must have flushed what this server has.
async fn inspect(
    connection: &mut PgConnection,
    durability: &Durability,
) -> Result<State, OpenError> {
    // No other policy asks for it.
    let aurora = *durability == Durability::StorageReplicated && is_aurora(connection).await?;
    let query = format!("SELECT {} FROM {}", State::COLUMNS, State::AT);
    let begun = Instant::now();
    let mut position: Option<String> = None;
    loop {
        let row = sqlx::query(AssertSqlSafe(query.clone()))
            .bind(durability.names())
            .bind(&position)
            .fetch_one(&mut *connection)
            .await?;
        let state = State::of(&row, aurora)?;
        match durability.judge(&state) {
            Ok(()) => return Ok(state),
            Err(unmet) if unmet.passing && begun.elapsed() < REPORT => {
                position.get_or_insert(state.flush_lsn);
                tokio::time::sleep(LOOK).await;
            }
            Err(unmet) => return Err(OpenError::Unmet(unmet)),
        }
    }
}

/// Why a Postgres cannot be used for a log.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A real election needs copies.
    #[error(
        "the policy single-node keeps a log on one disk only, which is allowed for demonstrations: this election's manifest does not say that it is one; use the policy of standbys, or storage-replicated"
    )]
    NotADemo,
    /// The schema is another log's.
    #[error(
        "{location} holds {held}, not {wanted}: configure the schema of this log, or a new one"
    )]
    OtherLog {
        /// Where.
        location: String,
        /// The origin of the log that is there.
        held: String,
        /// The origin of the log that was to be there.
        wanted: String,
    },
    /// The server does not do what the policy needs.
    #[error("the database does not meet the durability policy: {0}")]
    Unmet(Unmet),
    /// No session.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No tables.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// Anything else.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
}

impl OpenError {
    /// Whether the same may succeed later by itself: the server restarts, or failover is not done yet.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::NotADemo | Self::OtherLog { .. } => false,
            Self::Unmet(unmet) => unmet.passes(),
            Self::Connect(error) => error.passes(),
            Self::Migrate(error) => error.passes(),
            Self::Database(error) => crate::postgres::passes(error),
        }
    }
}
