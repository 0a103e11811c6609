//! What a service is told: one TOML file a process, with the environment over it, and nothing that its role does not need.
//!
//! Secrets are never in the configuration itself: it names the files that hold them, and those must be readable by their owner alone.

mod anchors;
mod bucket;
mod database;
mod key;
mod oidc;
mod section;
#[cfg(test)]
mod tests;
mod tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anchoring::Witness;
use aws::Aws;
use ledger::bucket::Place;
use ledger::postgres::Location;
use ledger::store::postgres::Durability;
use listener::TlsSource;
use protocol::ids::{ElectionId, LogId};
use protocol::manifest::{Election, MANIFEST_LEN_MAX};
use registrar::oidc::Oidc;
use registrar::rsa::RsaKeySource;
use tally::Providers;

pub(super) use database::no_password_in;
pub use section::{ConfigError, PREFIX};

use anchors::anchor;
pub use anchors::{AnchorPlace, Objects};
use bucket::bucket;
use database::{WHAT_SCHEMA, database_of, server};
pub use key::KeyPlace;
use key::{key, rsa_key};
use section::{Document, Section};

use crate::cli::WriterRole;

/// Which service a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleName {
    /// Takes votes.
    Cell,
    /// Issues credentials.
    Registrar,
    /// Writes the heads log and the anchors.
    Anchor,
    /// Adds up.
    Tally,
}

impl RoleName {
    const ALL: [Self; 4] = [Self::Cell, Self::Registrar, Self::Anchor, Self::Tally];

    /// The keys, outside of sections, that this role alone has.
    const fn own_keys(self) -> &'static [&'static str] {
        match self {
            Self::Cell => &["cell"],
            Self::Registrar => &[
                "registrar",
                "rsa_key",
                "code_key",
                "roll_backup",
                "oidc",
                "shards",
            ],
            Self::Anchor => &["anchors", "witnesses"],
            Self::Tally => &[],
        }
    }

    /// With its article.
    const fn title(self) -> &'static str {
        match self {
            Self::Cell => "a cell",
            Self::Registrar => "a registrar",
            Self::Anchor => "the anchoring service",
            Self::Tally => "the tally service",
        }
    }
}

impl std::fmt::Display for RoleName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cell => "cell",
            Self::Registrar => "registrar",
            Self::Anchor => "anchor",
            Self::Tally => "tally",
        })
    }
}

/// The role whose configuration this is, by what that one alone has, where it is not this one.
fn other_role(document: &Document, role: RoleName) -> Option<RoleName> {
    let is_of = |role: &RoleName| role.own_keys().iter().any(|key| document.names(key));
    let of_tally = || document.serves_files().then_some(RoleName::Tally);
    if is_of(&role) {
        return None;
    }
    let other = RoleName::ALL.into_iter().find(is_of).or_else(of_tally);
    other.filter(|other| *other != role)
}

impl From<WriterRole> for RoleName {
    fn from(role: WriterRole) -> Self {
        match role {
            WriterRole::Cell => Self::Cell,
            WriterRole::Registrar => Self::Registrar,
            WriterRole::Anchor => Self::Anchor,
        }
    }
}

/// A whole configuration, checked in itself; nothing that it names was touched but the manifest.
#[derive(Clone, Debug)]
pub struct Config {
    /// Behind the manifest.
    pub election: Election,
    /// Where it serves.
    pub listen: SocketAddr,
    /// The certificate that it shows there; `None`: it speaks plain HTTP.
    pub tls: Option<TlsSource>,
    /// Where it tells how it is: `/livez`, `/readyz`, `/status`.
    pub health_listen: SocketAddr,
    /// Where files are published.
    pub published: Published,
    /// What only this role has.
    pub role: Role,
}

/// What only one role has.
#[derive(Clone, Debug)]
pub enum Role {
    /// A cell.
    Cell {
        /// Its index.
        cell: u32,
        /// Its log.
        log: LogPlace,
    },
    /// A registrar.
    Registrar {
        /// Its index.
        registrar: u16,
        /// Where the private RSA key is.
        rsa_key: RsaKeySource,
        /// The codes' HMAC key's file.
        code_key: PathBuf,
        /// The roll.
        roll: Roll,
        /// Where voters may sign in beside their codes.
        oidc: Option<Oidc>,
        /// Its issuance logs, in the manifest's order.
        shards: Vec<LogPlace>,
    },
    /// The anchoring service.
    Anchor {
        /// The heads log.
        log: LogPlace,
        /// The anchors, in the manifest's order.
        anchors: Vec<AnchorPlace>,
        /// The witnesses, in the manifest's order.
        witnesses: Vec<Witness>,
    },
    /// The tally service.
    Tally {
        /// Whether it serves the published files too, where nothing else does.
        serve_files: bool,
        /// Where voters may sign in with an account (`sign_in_at`).
        providers: Providers,
    },
}

/// Where files are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// In a folder: `<folder>/elections/<id>/…`
    Directory(PathBuf),
    /// In a bucket: `<prefix>/elections/<id>/…`
    Bucket(Place),
}

/// What a log's writer works with.
#[derive(Clone, Debug)]
pub struct LogPlace {
    /// The log.
    pub log: LogId,
    /// Its keys.
    pub key: KeyPlace,
    /// Its database.
    pub database: Database,
}

/// Where a registrar's roll is.
#[derive(Clone, Debug)]
pub struct Roll {
    /// The sealed roll, an SQLite file that `election new` made. Without a Postgres it is served as it is; with one, only loading needs it.
    pub backup: Option<PathBuf>,
    /// The Postgres schema that it was loaded into.
    pub database: Option<Postgres>,
}

/// A log's database.
#[derive(Clone, Debug)]
pub enum Database {
    /// One file, for demos.
    Sqlite(PathBuf),
    /// A schema of a Postgres, and which copies of a commit there must be.
    Postgres(Postgres, Durability),
}

/// A schema of a Postgres.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// Where it is, without a password.
    pub location: Box<Location>,
    /// The file that holds the password.
    pub password_file: Option<PathBuf>,
}

const WHAT_MANIFEST: &str = "the path of the election's manifest.json";
const WHAT_ELECTION: &str =
    "the election id, 64 hexadecimal digits, from a source that is not the manifest's";
const WHAT_LISTEN: &str = "an address to serve at, such as \"127.0.0.1:7100\"";
const WHAT_HEALTH: &str =
    "an address for health checks, such as \"127.0.0.1:7101\", or a port of 127.0.0.1";
const WHAT_BACKUP: &str = "the sealed roll, registrar.sqlite";

impl Config {
    /// Reads the configuration of a role from a file and the process's environment.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place and what to do.
    pub fn load(
        role: RoleName,
        file: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let document = Document::read(file, environment)?;
        Self::of(role, &document).map_err(|error| {
            if let Some(other) = other_role(&document, role) {
                return ConfigError {
                    place: file.display().to_string(),
                    message: format!(
                        "this is the configuration of {}, and this is `{role}`: run `tallyroot serve {}` with it, or give this one's own after --config ({error})",
                        other.title(),
                        other
                    ),
                };
            }
            ConfigError {
                message: format!("{}{}", error.message, document.misspelt()),
                ..error
            }
        })
    }

    fn of(role: RoleName, document: &Document) -> Result<Self, ConfigError> {
        let root = document.root();
        let election = election(&root)?;
        let listen = root.address("listen", WHAT_LISTEN)?;
        let health_listen = root.address("health_listen", WHAT_HEALTH)?;
        if listen == health_listen && listen.port() != 0 {
            return Err(root.error(
                "health_listen",
                format!("it is {health_listen}, which `listen` is too: give another port"),
            ));
        }
        let tls = tls::tls(&root)?;
        let aws = key::aws(&root)?;
        let published = published(&root, role, &aws)?;
        let role = match role {
            RoleName::Cell => cell(&root, &election, &aws)?,
            RoleName::Registrar => registrar(&root, &election, &aws)?,
            RoleName::Anchor => anchor(&root, &election, &published.0, &aws)?,
            RoleName::Tally => Role::Tally {
                serve_files: published.1,
                providers: providers(&root)?,
            },
        };
        root.finish()?;
        document.finish()?;
        Ok(Self {
            election,
            listen,
            tls,
            health_listen,
            published: published.0,
            role,
        })
    }

    /// The logs that this service writes.
    #[must_use]
    pub fn logs(&self) -> Vec<&LogPlace> {
        match &self.role {
            Role::Cell { log, .. } | Role::Anchor { log, .. } => vec![log],
            Role::Registrar { shards, .. } => shards.iter().collect(),
            Role::Tally { .. } => Vec::new(),
        }
    }
}

impl Role {
    /// What it is, for people: `cell 3`.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Cell { cell, .. } => format!("cell {cell}"),
            Self::Registrar { registrar, .. } => format!("registrar {registrar}"),
            Self::Anchor { .. } => "anchor".to_owned(),
            Self::Tally { .. } => "tally".to_owned(),
        }
    }
}

fn election(root: &Section<'_>) -> Result<Election, ConfigError> {
    let path = root.path("manifest", WHAT_MANIFEST)?;
    let id = root.text("election", WHAT_ELECTION)?;
    let id: ElectionId = id
        .parse()
        .map_err(|_| root.error("election", format!("it is {id:?}: give {WHAT_ELECTION}")))?;
    let unreadable = |cause: std::io::Error| {
        root.error(
            "manifest",
            format!(
                "{} cannot be read ({cause}): check the path",
                path.display()
            ),
        )
    };
    let len = std::fs::metadata(&path).map_err(unreadable)?.len();
    if len > MANIFEST_LEN_MAX as u64 {
        return Err(root.error(
            "manifest",
            format!(
                "{} has {len} bytes, more than a manifest may have: check the path",
                path.display()
            ),
        ));
    }
    let bytes = std::fs::read(&path).map_err(unreadable)?;
    Election::check_id(&bytes, &id).map_err(|error| {
        root.error(
            "manifest",
            format!(
                "{} is not the manifest of the election {id} ({error}): check both `manifest` and `election`",
                path.display()
            ),
        )
    })
}

/// Where files are published, and whether the tally service serves them.
fn published(
    root: &Section<'_>,
    role: RoleName,
    aws: &Aws,
) -> Result<(Published, bool), ConfigError> {
    let section = root.section("published")?;
    let directory = section.path_if_any(
        "directory",
        "the folder in which elections/<id> stands or shall stand",
    )?;
    let published = match (directory, bucket(&section, aws)?) {
        (Some(directory), None) => Published::Directory(directory),
        (None, Some(place)) => Published::Bucket(place),
        (Some(_), Some(_)) => {
            return Err(section.error(
                "bucket",
                "both `directory` and `bucket` are given: files are published in one place, so remove one",
            ));
        }
        (None, None) => {
            return Err(section.error(
                "directory",
                "it is missing: give the folder in which elections/<id> stands or shall stand, or the `bucket`",
            ));
        }
    };
    let serve = role == RoleName::Tally && section.flag("serve")?;
    section.finish()?;
    Ok((published, serve))
}

const WHAT_PROVIDERS: &str = "the origins of OpenID providers that the voting page may reach, such as [\"https://id.example.org\"]: https, no path, at most 16";

/// Where voters may sign in with an account; nowhere, if it is not given.
fn providers(root: &Section<'_>) -> Result<Providers, ConfigError> {
    let wrong = |why: &str| root.error("sign_in_at", format!("it {why}: give {WHAT_PROVIDERS}"));
    let Some(value) = root.any("sign_in_at") else {
        return Ok(Providers::default());
    };
    let origins: Option<Vec<String>> = value.as_array().and_then(|all| {
        all.iter()
            .map(|one| one.as_str().map(str::to_owned))
            .collect()
    });
    let origins = origins.ok_or_else(|| wrong("is no list of texts"))?;
    Providers::new(origins).map_err(|bad| wrong(&format!("has {bad:?}")))
}

fn cell(root: &Section<'_>, election: &Election, aws: &Aws) -> Result<Role, ConfigError> {
    let cells = election.cells();
    let what = format!(
        "the cell's index, 0 to {}, as the manifest has {cells}",
        cells.saturating_sub(1)
    );
    let cell: u32 = root.number("cell", &what)?;
    if cell >= cells {
        return Err(root.error("cell", format!("it is {cell}: give {what}")));
    }
    Ok(Role::Cell {
        cell,
        log: log(root, LogId::Cell(cell), aws)?,
    })
}

fn registrar(root: &Section<'_>, election: &Election, aws: &Aws) -> Result<Role, ConfigError> {
    let registrars = &election.manifest().registrars;
    let what = format!(
        "the registrar's index, 0 to {}, as the manifest has {}",
        registrars.len().saturating_sub(1),
        registrars.len()
    );
    let registrar: u16 = root.number("registrar", &what)?;
    let Some(named) = registrars.get(usize::from(registrar)) else {
        return Err(root.error("registrar", format!("it is {registrar}: give {what}")));
    };
    let rsa_key = rsa_key(root, aws)?;
    let code_key = root.path("code_key", "the file of the codes' key")?;
    let backup = root.path_if_any("roll_backup", WHAT_BACKUP)?;
    let oidc = oidc::oidc(root)?
        .map(|settings| Oidc::new(settings, Arc::new(ledger::clock::SystemClock)))
        .transpose()
        .map_err(|error| root.error("oidc", error.to_string()))?;
    let section = root.section("database")?;
    let database = server(&section)?;
    let schema = section.text_if_any("schema", WHAT_SCHEMA)?;
    if database.is_none() && schema.is_some() {
        return Err(section.error("schema", "there is no `url`: give both, or remove it"));
    }
    if database.is_none() && backup.is_none() {
        return Err(root.error(
            "roll_backup",
            format!("it is missing, and there is no `url` in [database]: give {WHAT_BACKUP}"),
        ));
    }
    let roll = Roll {
        database: match &database {
            Some(server) => Some(server.schema(&section, schema, "roll")?),
            None => None,
        },
        backup,
    };
    section.finish()?;
    let given = root.sections("shards")?;
    if given.len() != named.shards.len() {
        return Err(root.error(
            "shards",
            format!(
                "there are {}: give one section [[shards]] for each of the manifest's {}",
                given.len(),
                named.shards.len()
            ),
        ));
    }
    let shards = (0u32..)
        .zip(given)
        .map(|(shard, section)| {
            let log = LogId::Issuance { registrar, shard };
            let key = key(&section, log, aws)?;
            let database = database_of(&section, database.as_ref(), &format!("shard_{shard}"))?;
            section.finish()?;
            Ok(LogPlace { log, key, database })
        })
        .collect::<Result<_, ConfigError>>()?;
    Ok(Role::Registrar {
        registrar,
        rsa_key,
        code_key,
        roll,
        oidc,
        shards,
    })
}

/// `[key]` and `[database]`.
fn log(section: &Section<'_>, log: LogId, aws: &Aws) -> Result<LogPlace, ConfigError> {
    let keys = section.section("key")?;
    let key = key(&keys, log, aws)?;
    keys.finish()?;
    let given = section.section("database")?;
    let server = server(&given)?;
    let database = database_of(&given, server.as_ref(), &log.prefix().replace('/', "_"))?;
    given.finish()?;
    Ok(LogPlace { log, key, database })
}
