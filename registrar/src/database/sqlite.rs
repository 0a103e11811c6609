//! The sealed roll backup: one SQLite file, made once.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use futures::TryStreamExt as _;
use protocol::ids::ElectionId;
use protocol::manifest::Election;
use protocol::merkle::tile::Edge;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::seal::{Check, Seal};
use super::{DatabaseError, READERS, VoterRow, voter_row};
use crate::code::{CodeDigest, CodeSeal};
use crate::roll::SealedRoll;

/// Rows of one INSERT: SQLite takes 32,766 variables.
const ROWS_AT_ONCE: usize = 4_000;

pub(super) const VOTERS: &str =
    "SELECT roll_index, identity, salt, code_hmac, code_seal FROM voter ORDER BY roll_index";
/// By its bytes, as SQLite compares text.
pub(super) const TILES: &str = "SELECT path, bytes FROM roll_tile ORDER BY path";

pub(super) async fn create(
    path: &Path,
    election: &ElectionId,
    registrar: u16,
    roll: &SealedRoll,
    codes: &[(CodeDigest, CodeSeal)],
) -> Result<(), DatabaseError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| DatabaseError::Io { path, source }
    };
    if codes.len() != roll.entries().len() {
        return Err(DatabaseError::Row);
    }
    let unfinished = path.with_extension("unfinished");
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(io(&unfinished))?;
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(
            SqliteConnectOptions::new()
                .filename(&unfinished)
                // A finished file is only read, and one file is easier to copy than a file with its write-ahead log.
                .journal_mode(SqliteJournalMode::Delete)
                .synchronous(SqliteSynchronous::Full),
        )
        .await?;
    fill(&pool, election, registrar, roll, codes).await?;
    pool.close().await;
    // `hard_link` fails where the name is taken; a rename would replace.
    std::fs::hard_link(&unfinished, path).map_err(io(path))?;
    std::fs::remove_file(&unfinished).map_err(io(&unfinished))?;
    let folder = path
        .parent()
        .filter(|f| !f.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::File::open(folder)
        .and_then(|f| f.sync_all())
        .map_err(io(folder))
}

pub(super) async fn open(
    path: &Path,
    election: &Election,
    registrar: u16,
) -> Result<SqlitePool, DatabaseError> {
    let pool = SqlitePoolOptions::new()
        .max_connections(READERS)
        .connect_with(SqliteConnectOptions::new().filename(path).read_only(true))
        .await?;
    let place = path.display().to_string();
    let meta = sqlx::query("SELECT election, registrar, digest FROM meta")
        .fetch_one(&pool)
        .await?;
    let (of_election, of_registrar, digest): (Vec<u8>, i64, Vec<u8>) =
        (meta.try_get(0)?, meta.try_get(1)?, meta.try_get(2)?);
    let mut check = Check::new(&place, election, registrar, (&of_election, of_registrar))?;
    let mut rows = sqlx::query(VOTERS).fetch(&pool);
    while let Some(row) = rows.try_next().await? {
        check.voter(&voter(&row)?)?;
    }
    drop(rows);
    let mut rows = sqlx::query(TILES).fetch(&pool);
    while let Some(row) = rows.try_next().await? {
        check.tile(row.try_get(0)?, row.try_get(1)?);
    }
    drop(rows);
    check.finish(&digest)?;
    Ok(pool)
}

pub(super) async fn voter_of(
    pool: &SqlitePool,
    code: &CodeDigest,
) -> Result<Option<VoterRow>, DatabaseError> {
    let row = sqlx::query(
        "SELECT roll_index, identity, salt, code_hmac, code_seal FROM voter WHERE code_hmac = ?",
    )
    .bind(code.0.as_slice())
    .fetch_optional(pool)
    .await?;
    row.as_ref().map(voter).transpose()
}

pub(super) async fn voter_named(
    pool: &SqlitePool,
    identity: &str,
) -> Result<Option<VoterRow>, DatabaseError> {
    let row = sqlx::query(
        "SELECT roll_index, identity, salt, code_hmac, code_seal FROM voter WHERE identity = ?",
    )
    .bind(identity)
    .fetch_optional(pool)
    .await?;
    row.as_ref().map(voter).transpose()
}

pub(super) async fn tile(pool: &SqlitePool, path: &str) -> Result<Vec<u8>, DatabaseError> {
    Ok(
        sqlx::query_scalar("SELECT bytes FROM roll_tile WHERE path = ?")
            .bind(path)
            .fetch_one(pool)
            .await?,
    )
}

pub(super) fn voter(row: &SqliteRow) -> Result<VoterRow, DatabaseError> {
    voter_row(
        row.try_get(0)?,
        row.try_get(1)?,
        row.try_get(2)?,
        row.try_get(3)?,
        row.try_get(4)?,
    )
}

async fn fill(
    pool: &SqlitePool,
    election: &ElectionId,
    registrar: u16,
    roll: &SealedRoll,
    codes: &[(CodeDigest, CodeSeal)],
) -> Result<(), DatabaseError> {
    let mut transaction = pool.begin().await?;
    for table in [
        "CREATE TABLE meta (election BLOB NOT NULL, registrar INTEGER NOT NULL, digest BLOB NOT NULL) STRICT",
        "CREATE TABLE voter (roll_index INTEGER PRIMARY KEY, identity TEXT NOT NULL, salt BLOB NOT NULL, code_hmac BLOB NOT NULL, code_seal BLOB NOT NULL) STRICT",
        "CREATE TABLE roll_tile (path TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT, WITHOUT ROWID",
    ] {
        sqlx::query(table).execute(&mut *transaction).await?;
    }
    let mut seal = Seal::new(election, registrar);
    let mut edge = Edge::new();
    let mut next: i64 = 0;
    for (entries, codes) in roll
        .entries()
        .chunks(ROWS_AT_ONCE)
        .zip(codes.chunks(ROWS_AT_ONCE))
    {
        for (entry, (code, code_seal)) in entries.iter().zip(codes) {
            seal.voter(edge.size(), entry, code, code_seal);
            edge.push(entry.leaf_hash());
        }
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO voter (roll_index, identity, salt, code_hmac, code_seal) ",
        );
        let rows = entries.iter().zip(codes);
        insert.push_values(rows, |mut row, (entry, (code, code_seal))| {
            row.push_bind(next)
                .push_bind(entry.identity.as_str())
                .push_bind(entry.salt.as_slice())
                .push_bind(code.0.as_slice())
                .push_bind(code_seal.0.as_slice());
            next += 1;
        });
        insert.build().execute(&mut *transaction).await?;
    }
    let mut tiles: Vec<(String, Vec<u8>)> = edge
        .take_new()
        .into_iter()
        .map(|(id, bytes)| (id.path(), bytes))
        .collect();
    tiles.sort();
    for (path, bytes) in tiles {
        seal.tile(&path, &bytes);
        sqlx::query("INSERT INTO roll_tile VALUES (?, ?)")
            .bind(path)
            .bind(bytes)
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::query("INSERT INTO meta VALUES (?, ?, ?)")
        .bind(election.as_bytes().as_slice())
        .bind(i64::from(registrar))
        .bind(seal.digest().as_slice())
        .execute(&mut *transaction)
        .await?;
    // Also proves that no two voters have the same code.
    sqlx::query("CREATE UNIQUE INDEX voter_by_code ON voter (code_hmac)")
        .execute(&mut *transaction)
        .await?;
    // And that no two places are one identity's.
    sqlx::query("CREATE UNIQUE INDEX voter_by_identity ON voter (identity)")
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}
