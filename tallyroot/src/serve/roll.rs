//! `tallyroot roll load`: from the sealed roll to the registrar's Postgres.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use ledger::postgres::Location;
use registrar::database::{Database, Loaded};
use serde_json::json;

use super::config::{self, Role, RoleName, no_password_in};
use super::{load as read_config, parts};
use crate::cli::RollLoadArgs;

/// Loads the roll, or finds it loaded.
///
/// # Errors
/// The configuration names no backup or no Postgres, or either is another election's, another registrar's, or was changed.
pub async fn load(args: &RollLoadArgs) -> Result<ExitCode> {
    let config = read_config(RoleName::Registrar, &args.config)?;
    let Role::Registrar {
        registrar, roll, ..
    } = &config.role
    else {
        bail!("this is not the configuration of a registrar");
    };
    let backup = roll.backup.as_ref().with_context(|| {
        format!(
            "{} names no `roll_backup`: give the path of the sealed roll",
            args.config.display()
        )
    })?;
    let database = roll.database.as_ref().with_context(|| {
        format!(
            "{} names no Postgres: without `url` in [database] the sealed roll is served as it is, and there is nothing to load",
            args.config.display()
        )
    })?;
    let location = match &args.url {
        Some(url) => as_loader(url, args.password_file.clone(), database)?,
        None => parts::located(database)?,
    };
    let loaded = Database::load_into_postgres(backup, &location, &config.election, *registrar)
        .await
        .with_context(|| format!("the roll of registrar {registrar}"))?;
    let (loaded, words) = match loaded {
        Loaded::Filled => ("filled", "is loaded"),
        Loaded::AlreadyThere => ("already-there", "was there already, all of it"),
    };
    let voters = config.election.manifest().roll.size;
    crate::say(Some(if args.json {
        json!({ "registrar": registrar, "roll": voters, "loaded": loaded }).to_string()
    } else {
        format!("The roll of registrar {registrar}, {voters} voters, {words}: {location}")
    }))
}

/// The schema that is served from, with a role of its own to load it: then the one that serves cannot change it.
fn as_loader(
    url: &str,
    password_file: Option<PathBuf>,
    served: &config::Postgres,
) -> Result<Location> {
    no_password_in(url).map_err(|error| anyhow!("--url: {error}"))?;
    let location = Location::parse(url, served.location.schema()).context("--url")?;
    parts::located(&config::Postgres {
        location: Box::new(location),
        password_file,
    })
}
