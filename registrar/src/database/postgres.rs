//! The roll in a Postgres of the registrar's own.

use futures::TryStreamExt as _;
use ledger::postgres::Location;
use protocol::manifest::Election;
use sqlx::postgres::{PgPoolOptions, PgRow};
use sqlx::{Connection as _, PgConnection, PgPool, Row as _, SqlitePool};

use super::seal::Check;
use super::{DatabaseError, Loaded, READERS, VoterRow, sqlite, voter_row};
use crate::code::CodeDigest;

/// Bytes that go to the server at once.
const PIECE: usize = 1 << 20;
/// How the binary form of COPY begins: its name, no flags, no extension.
const BEGIN: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Reading or writing the whole roll is one statement; a large one takes longer than a session otherwise may.
const PATIENCE: &str = "SET statement_timeout = '30min'";

pub(super) async fn open(
    location: &Location,
    election: &Election,
    registrar: u16,
) -> Result<PgPool, DatabaseError> {
    let mut connection = location.connect("roll check").await?;
    check(&mut connection, location, election, registrar).await?;
    connection.close().await?;
    Ok(PgPoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(std::time::Duration::from_secs(10))
        .connect_with(location.options("roll"))
        .await?)
}

async fn check(
    connection: &mut PgConnection,
    location: &Location,
    election: &Election,
    registrar: u16,
) -> Result<(), DatabaseError> {
    let place = location.to_string();
    sqlx::raw_sql(PATIENCE).execute(&mut *connection).await?;
    let there: bool = sqlx::query_scalar("SELECT to_regclass('roll_tile') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !there {
        return Err(DatabaseError::Empty(place));
    }
    let Some((of_election, of_registrar, digest)) = meta(connection).await? else {
        return Err(DatabaseError::Empty(place));
    };
    let mut check = Check::new(&place, election, registrar, (&of_election, of_registrar))?;
    let mut rows = sqlx::query(sqlite::VOTERS).fetch(&mut *connection);
    while let Some(row) = rows.try_next().await? {
        check.voter(&voter(&row)?)?;
    }
    drop(rows);
    // The column compares by bytes, as SQLite does.
    let mut rows = sqlx::query(sqlite::TILES).fetch(&mut *connection);
    while let Some(row) = rows.try_next().await? {
        check.tile(row.try_get(0)?, row.try_get(1)?);
    }
    drop(rows);
    check.finish(&digest)
}

async fn meta(
    connection: &mut PgConnection,
) -> Result<Option<(Vec<u8>, i64, Vec<u8>)>, DatabaseError> {
    let meta = sqlx::query("SELECT election, registrar::bigint, digest FROM meta")
        .fetch_optional(connection)
        .await?;
    let Some(meta) = meta else { return Ok(None) };
    Ok(Some((meta.try_get(0)?, meta.try_get(1)?, meta.try_get(2)?)))
}

/// Fills an empty schema from a backup that has passed its check. What is there is not looked at further; `open` does.
pub(super) async fn load(
    backup: &SqlitePool,
    location: &Location,
    election: &Election,
    registrar: u16,
) -> Result<Loaded, DatabaseError> {
    location
        .migrate(sqlx::migrate!("./migrations"), "roll_migration")
        .await?;
    let mut connection = location.connect("roll load").await?;
    sqlx::raw_sql(PATIENCE).execute(&mut connection).await?;
    let mut transaction = connection.begin().await?;
    // Of two that load at once, the second finds it complete. Readers are not in the way.
    sqlx::raw_sql("LOCK TABLE meta IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *transaction)
        .await?;
    if let Some((of_election, of_registrar, _)) = meta(&mut transaction).await? {
        let same = of_election == election.id().as_bytes() && of_registrar == i64::from(registrar);
        return if same {
            Ok(Loaded::AlreadyThere)
        } else {
            Err(DatabaseError::Other(location.to_string()))
        };
    }
    copy_voters(backup, &mut transaction).await?;
    copy_tiles(backup, &mut transaction).await?;
    let digest: Vec<u8> = sqlx::query_scalar("SELECT digest FROM meta")
        .fetch_one(backup)
        .await?;
    sqlx::query("INSERT INTO meta (election, registrar, digest) VALUES ($1, $2, $3)")
        .bind(election.id().as_bytes().as_slice())
        .bind(i32::from(registrar))
        .bind(digest)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    connection.close().await?;
    Ok(Loaded::Filled)
}

async fn copy_voters(
    backup: &SqlitePool,
    connection: &mut PgConnection,
) -> Result<(), DatabaseError> {
    let mut copy = connection
        .copy_in_raw(
            "COPY voter (roll_index, identity, salt, code_hmac, code_seal) FROM STDIN (FORMAT binary)",
        )
        .await?;
    let mut piece = BEGIN.to_vec();
    let mut rows = sqlx::query(sqlite::VOTERS).fetch(backup);
    while let Some(row) = rows.try_next().await? {
        let VoterRow { voter, code, seal } = sqlite::voter(&row)?;
        let index = i64::try_from(voter.roll_index).map_err(|_| DatabaseError::Row)?;
        piece.extend_from_slice(&5_i16.to_be_bytes());
        field(&mut piece, &index.to_be_bytes())?;
        field(&mut piece, voter.entry.identity.as_bytes())?;
        field(&mut piece, &voter.entry.salt)?;
        field(&mut piece, &code.0)?;
        field(&mut piece, &seal.0)?;
        if piece.len() >= PIECE {
            copy.send(std::mem::take(&mut piece)).await?;
        }
    }
    piece.extend_from_slice(&(-1_i16).to_be_bytes());
    copy.send(piece).await?;
    copy.finish().await?;
    Ok(())
}

async fn copy_tiles(
    backup: &SqlitePool,
    connection: &mut PgConnection,
) -> Result<(), DatabaseError> {
    let mut copy = connection
        .copy_in_raw("COPY roll_tile (path, bytes) FROM STDIN (FORMAT binary)")
        .await?;
    let mut piece = BEGIN.to_vec();
    let mut rows = sqlx::query(sqlite::TILES).fetch(backup);
    while let Some(row) = rows.try_next().await? {
        piece.extend_from_slice(&2_i16.to_be_bytes());
        field(&mut piece, row.try_get::<&str, _>(0)?.as_bytes())?;
        field(&mut piece, row.try_get::<&[u8], _>(1)?)?;
        if piece.len() >= PIECE {
            copy.send(std::mem::take(&mut piece)).await?;
        }
    }
    piece.extend_from_slice(&(-1_i16).to_be_bytes());
    copy.send(piece).await?;
    copy.finish().await?;
    Ok(())
}

/// One field of a row in COPY's binary form.
fn field(piece: &mut Vec<u8>, bytes: &[u8]) -> Result<(), DatabaseError> {
    let len = i32::try_from(bytes.len()).map_err(|_| DatabaseError::Row)?;
    piece.extend_from_slice(&len.to_be_bytes());
    piece.extend_from_slice(bytes);
    Ok(())
}

pub(super) async fn voter_of(
    pool: &PgPool,
    code: &CodeDigest,
) -> Result<Option<VoterRow>, DatabaseError> {
    let row = sqlx::query(
        "SELECT roll_index, identity, salt, code_hmac, code_seal FROM voter WHERE code_hmac = $1",
    )
    .bind(code.0.as_slice())
    .fetch_optional(pool)
    .await?;
    row.as_ref().map(voter).transpose()
}

pub(super) async fn voter_named(
    pool: &PgPool,
    identity: &str,
) -> Result<Option<VoterRow>, DatabaseError> {
    let row = sqlx::query(
        "SELECT roll_index, identity, salt, code_hmac, code_seal FROM voter WHERE identity = $1",
    )
    .bind(identity)
    .fetch_optional(pool)
    .await?;
    row.as_ref().map(voter).transpose()
}

pub(super) async fn tile(pool: &PgPool, path: &str) -> Result<Vec<u8>, DatabaseError> {
    Ok(
        sqlx::query_scalar("SELECT bytes FROM roll_tile WHERE path = $1")
            .bind(path)
            .fetch_one(pool)
            .await?,
    )
}

fn voter(row: &PgRow) -> Result<VoterRow, DatabaseError> {
    voter_row(
        row.try_get(0)?,
        row.try_get(1)?,
        row.try_get(2)?,
        row.try_get(3)?,
        row.try_get(4)?,
    )
}
