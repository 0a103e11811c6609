//! Which database a configuration names, and what it must promise.

use std::path::PathBuf;

use ledger::postgres::Location;
use ledger::store::postgres::{Durability, Failover, PolicyError, Standbys};
use toml::Value;

use super::section::{ConfigError, Section};
use super::{Database, Postgres};

pub(super) const WHAT_SCHEMA: &str = "the name of a schema, a-z, 0-9 and _";
const WHAT_DURABILITY: &str = "\"single-node\" (demos only), \"storage-replicated\", or { standbys = [\"a\", \"b\"], count = 2 }, which may say what failover does: failover = 2 (it compares two of them) or failover = \"only-synchronous\"";

/// A Postgres, before a schema of it is chosen.
pub(super) struct Server {
    url: String,
    password_file: Option<PathBuf>,
    durability: Durability,
}

impl Server {
    pub(super) fn schema(
        &self,
        section: &Section<'_>,
        given: Option<String>,
        default: &str,
    ) -> Result<Postgres, ConfigError> {
        let schema = given.as_deref().unwrap_or(default);
        let location = Location::parse(&self.url, schema)
            .map_err(|error| section.error("url", error.to_string()))?;
        Ok(Postgres {
            location: Box::new(location),
            password_file: self.password_file.clone(),
        })
    }
}

/// `url`, `password_file` and `durability`, if there is a `url`.
pub(super) fn server(section: &Section<'_>) -> Result<Option<Server>, ConfigError> {
    let url = section.text_if_any("url", "the address of a Postgres, postgres://…")?;
    let password_file = section.path_if_any("password_file", "the file that holds the password")?;
    let durability = section.any("durability");
    let Some(url) = url else {
        let alone = [
            ("password_file", password_file.is_some()),
            ("durability", durability.is_some()),
        ];
        return match alone.iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(section.error(
                key,
                "it belongs to a Postgres, and no `url` is given: give that, or remove it",
            )),
            None => Ok(None),
        };
    };
    if section.has("sqlite") {
        return Err(section.error(
            "sqlite",
            "both `sqlite` and `url` are given: a log has one database, so remove one",
        ));
    }
    check_url(section, &url)?;
    let durability = durability.ok_or_else(|| {
        section.error(
            "durability",
            format!("it is missing: give {WHAT_DURABILITY}"),
        )
    })?;
    Ok(Some(Server {
        url,
        password_file,
        durability: as_durability(section, &durability)?,
    }))
}

/// A log's database: a schema of the server, or an SQLite file.
pub(super) fn database_of(
    section: &Section<'_>,
    server: Option<&Server>,
    default: &str,
) -> Result<Database, ConfigError> {
    let sqlite = section.path_if_any("sqlite", "the path of an SQLite file")?;
    let schema = section.text_if_any("schema", WHAT_SCHEMA)?;
    match (sqlite, server) {
        (Some(_), Some(_)) => Err(section.error(
            "sqlite",
            "both `sqlite` and `url` are given: a log has one database, so remove one",
        )),
        (None, None) => Err(section.error(
            "url",
            "neither `url` (a Postgres) nor `sqlite` (a file, for demos) is given: give one",
        )),
        (Some(_), None) if schema.is_some() => Err(section.error(
            "schema",
            "it belongs to a Postgres, and `sqlite` is given: remove it",
        )),
        (Some(path), None) => Ok(Database::Sqlite(path)),
        (None, Some(server)) => Ok(Database::Postgres(
            server.schema(section, schema, default)?,
            server.durability.clone(),
        )),
    }
}

fn check_url(section: &Section<'_>, url: &str) -> Result<(), ConfigError> {
    no_password_in(url).map_err(|error| section.error("url", error))
}

/// That a URL is one of a Postgres and holds no password. Says nothing of what is wrong with a URL that could hold one.
pub(in crate::serve) fn no_password_in(url: &str) -> Result<(), &'static str> {
    let parsed = reqwest::Url::parse(url).ok();
    let is_postgres = |url: &reqwest::Url| matches!(url.scheme(), "postgres" | "postgresql");
    let Some(parsed) = parsed.filter(is_postgres) else {
        return Err(
            "it is not an address of the form postgres://role@host:5432/database: correct it",
        );
    };
    let in_query = parsed.query_pairs().any(|(key, _)| key == "password");
    if parsed.password().is_some() || in_query {
        return Err(
            "it holds a password, which configurations and environments give away: put it into a file of mode 0600, and name that in `password_file`",
        );
    }
    Ok(())
}

fn as_durability(section: &Section<'_>, value: &Value) -> Result<Durability, ConfigError> {
    let wrong = || {
        section.error(
            "durability",
            format!("it is {value}: give {WHAT_DURABILITY}"),
        )
    };
    match value {
        Value::String(text) if text == "single-node" => Ok(Durability::SingleNode),
        Value::String(text) if text == "storage-replicated" => Ok(Durability::StorageReplicated),
        Value::Table(table) => standbys(table)
            .ok_or_else(wrong)?
            .map(Durability::Standbys)
            .map_err(|error| section.error("durability", error.to_string())),
        _ => Err(wrong()),
    }
}

/// `{ standbys = […], count = …, failover = … }`; `None` if it is of another shape.
fn standbys(table: &toml::Table) -> Option<Result<Standbys, PolicyError>> {
    let known = ["standbys", "count", "failover"];
    if table.keys().any(|key| !known.contains(&key.as_str())) {
        return None;
    }
    let number = |value: &Value| usize::try_from(value.as_integer()?).ok();
    let names = table.get("standbys")?.as_array()?;
    let names: Vec<&str> = names.iter().map(Value::as_str).collect::<Option<_>>()?;
    let count = number(table.get("count")?)?;
    let failover = match table.get("failover") {
        // The careful assumption: it may promote any of them.
        None => Failover::Compares(1),
        Some(Value::String(text)) if text == "only-synchronous" => Failover::OnlySynchronous,
        Some(value) => Failover::Compares(number(value)?),
    };
    Some(Standbys::new(names, count, failover))
}
