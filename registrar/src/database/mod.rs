//! A registrar's database: the roll, and what tells whose a code is. Made once, before the election, and only read afterwards.
//!
//! ```text
//! voter      roll_index, identity, salt, code_hmac, code_seal   one row a voter; no code, only its HMAC, and under the same key whose it is
//! roll_tile  path, bytes                                        the roll's Merkle tree in tiles, for inclusion proofs
//! meta       election, registrar, digest                        what the database belongs to; SHA-256 over everything in it
//! ```
//!
//! `election new` makes it as one SQLite file, which never changes: the *sealed roll backup*. A demonstration is served from that file;
//! else [`Database::load_into_postgres`] fills a Postgres from it, and again after a loss.
//!
//! Who was issued a credential is *not* here: the issuance log alone says so. A database that is lost, or restored from an old backup,
//! can therefore never issue twice.

mod postgres;
mod seal;
mod sqlite;
mod tree;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ledger::postgres::{ConnectError, Location, MigrateError};
use protocol::ids::ElectionId;
use protocol::manifest::Election;
use protocol::merkle::Hash;
use protocol::merkle::tile::TileError;
use sqlx::{PgPool, SqlitePool};
use subtle::ConstantTimeEq as _;

use crate::code::{Code, CodeDigest, CodeKey, CodeSeal};
use crate::roll::{RollEntry, SealedRoll};

/// Readers at once. The database reads from memory, mostly; more would only wait for the two or four cores.
const READERS: u32 = 8;

/// Why a database cannot be made or used. Nothing in it names a row.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The database or the driver.
    #[error("the registrar's database: {0}")]
    Sql(#[from] sqlx::Error),
    /// No session with the server.
    #[error("the registrar's database: {0}")]
    Connect(#[from] ConnectError),
    /// No tables.
    #[error("the registrar's database: {0}")]
    Migrate(#[from] MigrateError),
    /// The operating system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It belongs to another election or registrar.
    #[error("{0} is the database of another election or registrar: check what is configured")]
    Other(String),
    /// The roll in it is not the one that the manifest fixes.
    #[error(
        "the roll in {0} is not the one that the manifest fixes: it was changed or damaged; restore it from its backup"
    )]
    OtherRoll(String),
    /// The roll is right, but not everything else is what was sealed.
    #[error(
        "the codes or the tree in {0} are not what was sealed with the roll: it was changed or damaged; restore it from its backup"
    )]
    Damaged(String),
    /// A row was changed by somebody who does not have the code key.
    #[error(
        "a voter's row is not as it was sealed, such as with another's code: somebody has written into the registrar's database; stop the registrar, find out who, and load the roll from its backup"
    )]
    Moved,
    /// There is no roll in it.
    #[error("{0} holds no roll: load the sealed roll backup into it first")]
    Empty(String),
    /// The stored tree does not prove a voter's place.
    #[error("the stored tree of the roll is damaged: {0}")]
    Tree(#[from] TileError),
    /// A row has a shape that this program never writes.
    #[error("a row of the registrar's database is damaged: restore it from its backup")]
    Row,
}

impl DatabaseError {
    /// Whether the same may succeed later by itself: the server restarts, fails over, or cannot be reached.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Sql(error) => ledger::postgres::passes(error),
            Self::Connect(error) => error.passes(),
            Self::Migrate(error) => error.passes(),
            _ => false,
        }
    }
}

/// A voter found by her code.
#[derive(Clone)]
pub struct Voter {
    /// Her place on the roll.
    pub roll_index: u64,
    /// Her identity and salt.
    pub entry: RollEntry,
}

/// Everything that is kept of a voter.
struct VoterRow {
    voter: Voter,
    code: CodeDigest,
    seal: CodeSeal,
}

/// What loading found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// The database was empty, and now holds the roll.
    Filled,
    /// It holds all of it already; nothing was changed.
    AlreadyThere,
}

/// The open database.
#[derive(Clone)]
pub struct Database {
    rows: Rows,
    election: ElectionId,
    tree: Arc<tree::Tree>,
}

#[derive(Clone)]
enum Rows {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Database {
    /// Makes the sealed roll backup: the roll with one code's digest and seal for each entry, in roll order. On return it is complete and on disk; after a
    /// failure there is no file of this name.
    ///
    /// # Errors
    /// `Io` when the file exists; the lists differ in length; SQLite's.
    pub async fn create(
        path: &Path,
        election: &ElectionId,
        registrar: u16,
        roll: &SealedRoll,
        codes: &[(CodeDigest, CodeSeal)],
    ) -> Result<(), DatabaseError> {
        sqlite::create(path, election, registrar, roll, codes).await
    }

    /// Opens the sealed roll backup for reading, and recomputes the roll's root and the seal from every row: about two seconds for a million voters.
    ///
    /// # Errors
    /// The file belongs to another election or registrar, or it was changed.
    pub async fn open(
        path: &Path,
        election: &Election,
        registrar: u16,
    ) -> Result<Self, DatabaseError> {
        let pool = sqlite::open(path, election, registrar).await?;
        Ok(Self::of(Rows::Sqlite(pool), election))
    }

    /// Opens a Postgres that was filled by [`Database::load_into_postgres`], with the same checks. The role needs nothing but to read.
    ///
    /// # Errors
    /// As [`Database::open`]; also when nothing was loaded yet, or the server cannot be reached.
    pub async fn open_postgres(
        location: &Location,
        election: &Election,
        registrar: u16,
    ) -> Result<Self, DatabaseError> {
        let pool = postgres::open(location, election, registrar).await?;
        Ok(Self::of(Rows::Postgres(pool), election))
    }

    /// Fills an empty schema of a Postgres from the sealed roll backup, in one transaction; a roll that is there in part is impossible. Once it is
    /// there, this only checks that it is all there.
    ///
    /// # Errors
    /// The backup or the database is another election's or registrar's, or was changed. Then nothing is changed.
    pub async fn load_into_postgres(
        backup: &Path,
        location: &Location,
        election: &Election,
        registrar: u16,
    ) -> Result<Loaded, DatabaseError> {
        // Checked before a row of it is copied.
        let backup = sqlite::open(backup, election, registrar).await?;
        let loaded = postgres::load(&backup, location, election, registrar).await?;
        backup.close().await;
        postgres::open(location, election, registrar)
            .await?
            .close()
            .await;
        Ok(loaded)
    }

    fn of(rows: Rows, election: &Election) -> Self {
        let roll = election.manifest().roll;
        Self {
            rows,
            election: election.id(),
            tree: Arc::new(tree::Tree::new(roll.size, Hash(roll.root))),
        }
    }

    /// The voter to whom this code was given.
    ///
    /// What an attacker could time is the search for an HMAC under a key that she does not have; the last comparisons are in constant time.
    ///
    /// # Errors
    /// The database's; `Moved` if the row was not sealed for this code, under this key: the roll was whole when it was opened, but who writes it could have changed it since.
    pub async fn voter_of(
        &self,
        key: &CodeKey,
        code: &Code,
    ) -> Result<Option<Voter>, DatabaseError> {
        let digest = key.digest(&self.election, code);
        let row = match &self.rows {
            Rows::Sqlite(pool) => sqlite::voter_of(pool, &digest).await?,
            Rows::Postgres(pool) => postgres::voter_of(pool, &digest).await?,
        };
        let Some(row) = row.filter(|row| row.code.ct_eq(&digest).into()) else {
            return Ok(None);
        };
        self.sealed(key, row).map(Some)
    }

    /// The voter whose identity on the roll this is, byte for byte.
    ///
    /// # Errors
    /// The database's; `Moved` if the row was not sealed under this key as it is now.
    pub async fn voter_named(
        &self,
        key: &CodeKey,
        identity: &str,
    ) -> Result<Option<Voter>, DatabaseError> {
        let row = match &self.rows {
            Rows::Sqlite(pool) => sqlite::voter_named(pool, identity).await?,
            Rows::Postgres(pool) => postgres::voter_named(pool, identity).await?,
        };
        // Whatever the database holds to be the same text: two places never answer to one identity.
        let Some(row) = row.filter(|row| row.voter.entry.identity == identity) else {
            return Ok(None);
        };
        self.sealed(key, row).map(Some)
    }

    /// The voter of a row that was sealed under this key as it is now.
    fn sealed(&self, key: &CodeKey, row: VoterRow) -> Result<Voter, DatabaseError> {
        let VoterRow { voter, code, seal } = row;
        let leaf = voter.entry.leaf_hash();
        let wanted = key.seal(&self.election, voter.roll_index, &leaf, &code);
        if bool::from(seal.ct_eq(&wanted)) {
            Ok(voter)
        } else {
            Err(DatabaseError::Moved)
        }
    }

    /// The proof that the voter stands on the roll whose root the manifest fixes.
    ///
    /// # Errors
    /// The database's, or the stored tree is damaged.
    pub async fn roll_proof(&self, roll_index: u64) -> Result<Vec<Hash>, DatabaseError> {
        let read = |path: String| {
            let rows = self.rows.clone();
            async move {
                match rows {
                    Rows::Sqlite(pool) => sqlite::tile(&pool, &path).await,
                    Rows::Postgres(pool) => postgres::tile(&pool, &path).await,
                }
            }
        };
        self.tree.proof(roll_index, read).await
    }
}

fn voter_row(
    roll_index: i64,
    identity: String,
    salt: &[u8],
    code: &[u8],
    seal: &[u8],
) -> Result<VoterRow, DatabaseError> {
    let array = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).map_err(|_| DatabaseError::Row);
    Ok(VoterRow {
        voter: Voter {
            roll_index: u64::try_from(roll_index).map_err(|_| DatabaseError::Row)?,
            entry: RollEntry {
                identity,
                salt: array(salt)?,
            },
        },
        code: CodeDigest(array(code)?),
        seal: CodeSeal(array(seal)?),
    })
}
