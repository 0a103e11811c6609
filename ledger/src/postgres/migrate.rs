//! Bringing a schema up to date while others work in it.
//!
//! Old and new processes run side by side during a rolling upgrade, so migrations only add (specs/architecture.md, Migrations): an old process starts, and goes on, beside a newer schema.

use std::time::Duration;

use sqlx::migrate::{Migrate as _, Migrator};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{ConnectError, Location};

/// A migration that waits for a lock makes everybody who comes after it wait too: no longer than this.
const LOCK: &str = "SET lock_timeout = '200ms'";
/// How often it is tried, when somebody holds the lock.
const TRIES: u32 = 100;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

impl Location {
    /// Makes the schema if there is none, and applies the migrations that are not yet applied; `table` is where it is written down which are.
    ///
    /// Safe when several processes start at once. Applied migrations that this program does not know are a newer program's, and are left alone.
    ///
    /// # Errors
    ///
    /// When the role may not, when a migration fails, or when somebody holds a lock all the time.
    pub async fn migrate(
        &self,
        mut migrator: Migrator,
        table: &'static str,
    ) -> Result<(), MigrateError> {
        migrator.dangerous_set_table_name(table);
        migrator.set_ignore_missing(true);
        // One lock a schema, taken below, instead of sqlx's one a database.
        migrator.set_locking(false);
        let mut tries = 0;
        loop {
            let mut connection = self.connect("migrations").await?;
            let done = self.migrate_once(&mut connection, &migrator, table).await;
            let _ = connection.close().await;
            match done {
                Err(error) if tries < TRIES && passes(&error) => {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(sqlx::migrate::MigrateError::VersionMismatch(version)) => {
                    return Err(MigrateError::Changed {
                        location: self.to_string(),
                        version,
                    });
                }
                done => {
                    return done.map_err(|source| MigrateError::Failed {
                        location: self.to_string(),
                        source,
                    });
                }
            }
        }
    }

    async fn migrate_once(
        &self,
        connection: &mut PgConnection,
        migrator: &Migrator,
        table: &str,
    ) -> Result<(), sqlx::migrate::MigrateError> {
        // Nothing to do is the usual case, and needs no lock and no right to create anything.
        if is_current(connection, migrator, table).await? {
            return Ok(());
        }
        sqlx::raw_sql(LOCK).execute(&mut *connection).await?;
        // Of the session, which ends right after.
        sqlx::query("SELECT pg_advisory_lock(hashtextextended($1, 0))")
            .bind(format!("tallyroot migrations of {}", self.schema))
            .execute(&mut *connection)
            .await?;
        let there: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)")
                .bind(&self.schema)
                .fetch_one(&mut *connection)
                .await?;
        if !there {
            // The name has passed `check_schema`: it holds no quote.
            sqlx::raw_sql(AssertSqlSafe(format!("CREATE SCHEMA \"{}\"", self.schema)))
                .execute(&mut *connection)
                .await?;
        }
        migrator.run_direct(None, connection, false).await
    }
}

async fn is_current(
    connection: &mut PgConnection,
    migrator: &Migrator,
    table: &str,
) -> Result<bool, sqlx::migrate::MigrateError> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(table)
        .fetch_one(&mut *connection)
        .await?;
    if !there {
        return Ok(false);
    }
    let applied = connection.list_applied_migrations(table).await?;
    for migration in migrator.iter() {
        match applied.iter().find(|a| a.version == migration.version) {
            None => return Ok(false),
            Some(applied) if applied.checksum != migration.checksum => {
                return Err(sqlx::migrate::MigrateError::VersionMismatch(
                    migration.version,
                ));
            }
            Some(_) => {}
        }
    }
    Ok(true)
}

/// Whether trying again may help: somebody held a lock, or made the same thing at the same time.
fn passes(error: &sqlx::migrate::MigrateError) -> bool {
    let (sqlx::migrate::MigrateError::Execute(error)
    | sqlx::migrate::MigrateError::ExecuteMigration(error, _)) = error
    else {
        return false;
    };
    let code = error.as_database_error().and_then(|error| error.code());
    // lock_not_available, deadlock_detected, and the shapes that "it exists already" has.
    matches!(
        code.as_deref(),
        Some("55P03" | "40P01" | "42P06" | "42P07" | "23505")
    )
}

impl MigrateError {
    /// Whether the same may succeed later by itself.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Connect(error) => error.passes(),
            Self::Changed { .. } => false,
            Self::Failed { source, .. } => match source {
                sqlx::migrate::MigrateError::Execute(error)
                | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => super::passes(error),
                _ => false,
            },
        }
    }
}

/// Why a schema is not up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No session.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// An applied migration is not the one that this program has under its number.
    #[error(
        "migration {version} was applied at {location} in another form than this program knows: the schema is of another program or was changed by hand; use another schema, or the program that made this one"
    )]
    Changed {
        /// Where.
        location: String,
        /// Which.
        version: i64,
    },
    /// Anything else.
    #[error(
        "the tables cannot be made at {location}: {source}; the role needs CREATE on the schema, or on the database if the schema is to be made"
    )]
    Failed {
        /// Where.
        location: String,
        /// What was said.
        source: sqlx::migrate::MigrateError,
    },
}
