//! A registrar's database: the roll, and what tells whose a code is. Made once, before the election, and only read afterwards.
//!
//! ```text
//! voter      roll_index, identity, salt, code_hmac           one row a voter; no code, only its HMAC
//! roll_tile  path, bytes                                     the roll's Merkle tree in tiles, for inclusion proofs
//! meta       election, registrar                             what the file belongs to
//! ```
//!
//! Who was issued a credential is *not* here: the issuance log alone says so. A database that is lost, or restored from an old backup,
//! can therefore never issue twice.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use futures::TryStreamExt as _;
use protocol::ids::ElectionId;
use protocol::manifest::Election;
use protocol::merkle::tile::{Edge, TileError, Tiles, inclusion_tiles};
use protocol::merkle::{CompactRange, Hash};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{QueryBuilder, Row as _, Sqlite};
use subtle::ConstantTimeEq as _;

use crate::code::CodeDigest;
use crate::roll::{RollEntry, SealedRoll};

/// Rows of one INSERT: SQLite takes 32,766 variables.
const ROWS_AT_ONCE: usize = 4_000;
/// Readers at once. SQLite reads from memory, mostly; more would only wait for the two or four cores.
const READERS: u32 = 8;

/// Why a database cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite or the driver. Its text names no row.
    #[error("the registrar's database: {0}")]
    Sql(#[from] sqlx::Error),
    /// The operating system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file belongs to another election or registrar.
    #[error("{0} is the database of another election or registrar: check the configured file")]
    Other(PathBuf),
    /// The roll in it is not the one that the manifest fixes.
    #[error(
        "the roll in {0} is not the one that the manifest fixes: it was changed or damaged; restore it from its backup"
    )]
    OtherRoll(PathBuf),
    /// The stored tree does not prove a voter's place.
    #[error("the stored tree of the roll is damaged: {0}")]
    Tree(#[from] TileError),
    /// A row has a shape that this program never writes.
    #[error("a row of the registrar's database is damaged: restore it from its backup")]
    Row,
}

/// A voter found by her code.
#[derive(Clone)]
pub struct Voter {
    /// Her place on the roll.
    pub roll_index: u64,
    /// Her identity and salt.
    pub entry: RollEntry,
}

/// The open database.
#[derive(Clone)]
pub struct Database {
    pool: SqlitePool,
    roll_size: u64,
    roll_root: Hash,
}

impl Database {
    /// Makes the file: the roll with one code digest for each entry, in roll order. On return it is complete and on disk; after a
    /// failure there is no file of this name.
    ///
    /// # Errors
    /// `Io` when the file exists; the lists differ in length; SQLite's.
    pub async fn create(
        path: &Path,
        election: &ElectionId,
        registrar: u16,
        roll: &SealedRoll,
        codes: &[CodeDigest],
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

    /// Opens the file for reading, and recomputes the roll's root from every row: about a second for a million voters.
    ///
    /// # Errors
    /// The file belongs to another election or registrar, or its roll is not the manifest's.
    pub async fn open(
        path: &Path,
        election: &Election,
        registrar: u16,
    ) -> Result<Self, DatabaseError> {
        let pool = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(SqliteConnectOptions::new().filename(path).read_only(true))
            .await?;
        let meta = sqlx::query("SELECT election, registrar FROM meta")
            .fetch_one(&pool)
            .await?;
        let (of_election, of_registrar): (Vec<u8>, i64) = (meta.try_get(0)?, meta.try_get(1)?);
        if of_election != election.id().as_bytes() || of_registrar != i64::from(registrar) {
            return Err(DatabaseError::Other(path.to_owned()));
        }
        let roll = election.manifest().roll;
        let mut range = CompactRange::new();
        let mut rows =
            sqlx::query("SELECT roll_index, identity, salt FROM voter ORDER BY roll_index")
                .fetch(&pool);
        while let Some(row) = rows.try_next().await? {
            let voter = voter(&row)?;
            if voter.roll_index != range.size() {
                return Err(DatabaseError::OtherRoll(path.to_owned()));
            }
            range.push(voter.entry.leaf_hash());
        }
        drop(rows);
        if range.size() != roll.size || range.root() != Hash(roll.root) {
            return Err(DatabaseError::OtherRoll(path.to_owned()));
        }
        Ok(Self {
            pool,
            roll_size: roll.size,
            roll_root: Hash(roll.root),
        })
    }

    /// The voter to whom this code was given.
    ///
    /// What an attacker could time is the search for an HMAC under a key that she does not have; the last comparison is in constant time.
    ///
    /// # Errors
    /// SQLite's.
    pub async fn voter_of(&self, code: &CodeDigest) -> Result<Option<Voter>, DatabaseError> {
        let row = sqlx::query(
            "SELECT roll_index, identity, salt, code_hmac FROM voter WHERE code_hmac = ?",
        )
        .bind(code.0.as_slice())
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let stored = CodeDigest(array(row.try_get(3)?)?);
        if !bool::from(stored.ct_eq(code)) {
            return Ok(None);
        }
        voter(&row).map(Some)
    }

    /// The proof that the voter stands on the roll whose root the manifest fixes.
    ///
    /// # Errors
    /// SQLite's, or the stored tree is damaged.
    pub async fn roll_proof(&self, roll_index: u64) -> Result<Vec<Hash>, DatabaseError> {
        let mut tiles = Vec::new();
        for id in inclusion_tiles(roll_index, self.roll_size) {
            let bytes: Vec<u8> = sqlx::query("SELECT bytes FROM roll_tile WHERE path = ?")
                .bind(id.path())
                .fetch_one(&self.pool)
                .await?
                .try_get(0)?;
            tiles.push((id, bytes));
        }
        Ok(Tiles::authenticate(self.roll_size, &self.roll_root, tiles)?
            .inclusion_proof(roll_index)?)
    }
}

async fn fill(
    pool: &SqlitePool,
    election: &ElectionId,
    registrar: u16,
    roll: &SealedRoll,
    codes: &[CodeDigest],
) -> Result<(), DatabaseError> {
    let mut transaction = pool.begin().await?;
    for table in [
        "CREATE TABLE meta (election BLOB NOT NULL, registrar INTEGER NOT NULL) STRICT",
        "CREATE TABLE voter (roll_index INTEGER PRIMARY KEY, identity TEXT NOT NULL, salt BLOB NOT NULL, code_hmac BLOB NOT NULL) STRICT",
        "CREATE TABLE roll_tile (path TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT, WITHOUT ROWID",
    ] {
        sqlx::query(table).execute(&mut *transaction).await?;
    }
    sqlx::query("INSERT INTO meta VALUES (?, ?)")
        .bind(election.as_bytes().as_slice())
        .bind(i64::from(registrar))
        .execute(&mut *transaction)
        .await?;
    let mut edge = Edge::new();
    let mut next: i64 = 0;
    for (entries, codes) in roll
        .entries()
        .chunks(ROWS_AT_ONCE)
        .zip(codes.chunks(ROWS_AT_ONCE))
    {
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO voter (roll_index, identity, salt, code_hmac) ",
        );
        insert.push_values(entries.iter().zip(codes), |mut row, (entry, code)| {
            row.push_bind(next)
                .push_bind(entry.identity.as_str())
                .push_bind(entry.salt.as_slice())
                .push_bind(code.0.as_slice());
            next += 1;
        });
        insert.build().execute(&mut *transaction).await?;
        for entry in entries {
            edge.push(entry.leaf_hash());
        }
    }
    for (id, bytes) in edge.take_new() {
        sqlx::query("INSERT INTO roll_tile VALUES (?, ?)")
            .bind(id.path())
            .bind(bytes)
            .execute(&mut *transaction)
            .await?;
    }
    // Also proves that no two voters have the same code.
    sqlx::query("CREATE UNIQUE INDEX voter_by_code ON voter (code_hmac)")
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

fn voter(row: &sqlx::sqlite::SqliteRow) -> Result<Voter, DatabaseError> {
    let roll_index: i64 = row.try_get(0)?;
    Ok(Voter {
        roll_index: u64::try_from(roll_index).map_err(|_| DatabaseError::Row)?,
        entry: RollEntry {
            identity: row.try_get(1)?,
            salt: array(row.try_get(2)?)?,
        },
    })
}

fn array(bytes: &[u8]) -> Result<[u8; 32], DatabaseError> {
    bytes.try_into().map_err(|_| DatabaseError::Row)
}
