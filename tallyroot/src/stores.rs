//! Where the one-machine demo keeps its logs and rolls: SQLite files of its folder, or one Postgres.

use anyhow::{Context, Result};
use ledger::postgres::Location;
use ledger::store::postgres::Durability;
use protocol::ids::LogId;
use protocol::manifest::Election;
use registrar::database;

use crate::folder::Folder;
use crate::serve::config::{Database, Postgres, Roll};

/// The databases of all services of a demo.
#[derive(Clone, Debug)]
pub enum Stores {
    /// A file for each log, and the sealed rolls as they are.
    Files,
    /// A schema for each log and roll, in one database.
    Postgres(Box<Location>),
}

impl Stores {
    /// From `--store`.
    ///
    /// # Errors
    /// It is not the address of a Postgres database.
    pub fn parse(store: Option<&str>) -> Result<Self> {
        store.map_or(Ok(Self::Files), |url| {
            // Each part has a schema of its own, so this one is only a name.
            Location::parse(url, "tallyroot")
                .map(|location| Self::Postgres(Box::new(location)))
                .context("--store")
        })
    }

    /// A log's database.
    ///
    /// # Errors
    /// The schema's name is too long.
    pub fn log(&self, folder: &Folder, election: &Election, log: LogId) -> Result<Database> {
        Ok(match self {
            Self::Files => Database::Sqlite(folder.log_database(log)),
            Self::Postgres(location) => Database::Postgres(
                schema(location, election, &log.prefix())?,
                Durability::SingleNode,
            ),
        })
    }

    /// A registrar's roll, loaded if it was not.
    ///
    /// # Errors
    /// The database cannot be reached, or holds another roll.
    pub async fn roll(&self, folder: &Folder, election: &Election, registrar: u16) -> Result<Roll> {
        let backup = folder.registrar(registrar).database;
        let database = match self {
            Self::Files => None,
            Self::Postgres(location) => {
                let place = schema(location, election, &format!("registrars/{registrar}/roll"))?;
                database::Database::load_into_postgres(
                    &backup,
                    &place.location,
                    election,
                    registrar,
                )
                .await
                .with_context(|| format!("the roll of registrar {registrar}"))?;
                Some(place)
            }
        };
        Ok(Roll {
            backup: Some(backup),
            database,
        })
    }
}

/// `tallyroot_<the election id's first 16 digits>_cells_0`: several elections may share a database.
fn schema(location: &Location, election: &Election, part: &str) -> Result<Postgres> {
    let id = election.id().to_string();
    let name = format!(
        "tallyroot_{}_{}",
        id.get(..16).unwrap_or(&id),
        part.replace('/', "_")
    );
    Ok(Postgres {
        location: Box::new(location.with_schema(&name)?),
        password_file: None,
    })
}
