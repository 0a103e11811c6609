//! `tallyroot fsck` and `tallyroot rebuild`: a service's databases against what it has published.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ledger::clock::SystemClock;
use ledger::fsck::{Difference, RebuildError, Summary, fsck};
use ledger::heads::{keys_of, name_of};
use ledger::publisher::CHECKPOINT_BYTES_MAX;
use ledger::schedule;
use ledger::store::StoredRows;
use ledger::store::postgres::PostgresRows;
use ledger::store::sqlite::SqliteRows;
use registrar::database::{Database as RollDatabase, DatabaseError};
use serde_json::json;

use super::config::{Config, Database, LogPlace, Role};
use super::health::Vitals;
use super::service::{Ended, Prepared, Service, Surroundings, open_logs};
use super::turn::wait_for_turn;
use super::warm::Known;
use super::{HALTED, SCHEDULE_POLL, load, parts};
use crate::cli::RepairArgs;

/// There are differences.
const DIFFERS: u8 = 1;
/// How long the published heads log may take to be read.
const SCHEDULE_KNOWN: Duration = Duration::from_secs(60);
/// How long another process may take to let a log go.
const TURN: Duration = Duration::from_secs(10);
/// So many differences are shown; all are counted.
const SHOWN_MAX: usize = 1_000;

/// Compares each of the service's logs, and changes nothing. Exit code 0: no difference; 1: some.
///
/// # Errors
/// A database or the published files cannot be read, so nothing is known.
pub async fn compare(args: &RepairArgs) -> Result<ExitCode> {
    let config = load(args.role.into(), &args.config)?;
    let around = surroundings(&config).await?;
    let found = compare_all(&config, &around).await?;
    let whole = found.iter().all(|(summary, _)| summary.differences == 0);
    answer(args, &found, whole)?;
    Ok(ExitCode::from(if whole { 0 } else { DIFFERS }))
}

/// Fills a lost database from what is published, a registrar's roll from its backup, and compares afterwards.
///
/// # Errors
/// Nothing is published, another process is active, or going on might fork a log.
pub async fn rebuild(args: &RepairArgs) -> Result<ExitCode> {
    let config = load(args.role.into(), &args.config)?;
    let around = surroundings(&config).await?;
    // With the wrong folder configured, a takeover would begin a new log.
    for place in config.logs() {
        let path = name_of(&config.election, place.log).path("checkpoint");
        if around
            .reader
            .read(&path, CHECKPOINT_BYTES_MAX)
            .await?
            .is_none()
        {
            return Err(RebuildError::NothingPublished(path).into());
        }
    }
    let mut turns = Vec::new();
    for place in config.logs() {
        let turn = tokio::time::timeout(TURN, wait_for_turn(&config.election, place, || {})).await;
        turns.push(turn.with_context(|| {
            format!(
                "another process is active for {}: stop it, and its standby, before",
                place.log
            )
        })??);
    }
    load_roll(&config).await?;
    let vitals = Vitals::new(
        config.role.title(),
        config.election.clone(),
        around.schedule.clone(),
    );
    let prepared = Prepared::open(&config).await?;
    // Start, takeover and rebuild are one path.
    let logs = open_logs(&config, &around).await?;
    let service =
        Service::start(&config, prepared, logs, &Known::Nothing, &around, &vitals).await?;
    let ready = service.ready().await;
    service.shutdown().await;
    for turn in turns {
        turn.release().await;
    }
    match ready {
        Ok(()) => {}
        Err(Ended::Again(reason)) => bail!("{reason}"),
        Err(Ended::Halted(reason)) => {
            tracing::error!("{reason}");
            return Ok(ExitCode::from(HALTED));
        }
    }
    let found = compare_all(&config, &around).await?;
    let whole = found.iter().all(|(summary, _)| summary.differences == 0);
    answer(args, &found, whole)?;
    Ok(ExitCode::from(if whole { 0 } else { DIFFERS }))
}

async fn load_roll(config: &Config) -> Result<()> {
    if let Role::Registrar {
        registrar, roll, ..
    } = &config.role
        && let (Some(backup), Some(database)) = (&roll.backup, &roll.database)
    {
        let location = parts::located(database)?;
        // The role that serves need not be able to load.
        match RollDatabase::open_postgres(&location, &config.election, *registrar).await {
            Err(DatabaseError::Empty(_)) => {}
            there => {
                return there
                    .map(drop)
                    .with_context(|| format!("the roll of registrar {registrar}"));
            }
        }
        RollDatabase::load_into_postgres(backup, &location, &config.election, *registrar)
            .await
            .with_context(|| format!("the roll of registrar {registrar}"))?;
    }
    Ok(())
}

async fn surroundings(config: &Config) -> Result<Surroundings> {
    let reader = parts::reader(&config.published, &config.election).await?;
    let clock = Arc::new(SystemClock);
    // The follower ends with the last receiver.
    let (_, mut known) = schedule::follow(
        config.election.clone(),
        Arc::clone(&reader),
        clock.clone(),
        SCHEDULE_POLL,
    );
    tokio::time::timeout(SCHEDULE_KNOWN, schedule::known(&mut known))
        .await
        .with_context(|| {
            format!(
                "the published heads log cannot be read, so nobody knows which keys are in force: {:?}",
                known.borrow().health()
            )
        })?;
    Ok(Surroundings {
        reader,
        schedule: known,
        clock,
    })
}

type Found = (Summary, Vec<Difference>);

async fn compare_all(config: &Config, around: &Surroundings) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for place in config.logs() {
        let one = compare_one(config, around, place).await;
        found.push(one.with_context(|| format!("{}", place.log))?);
    }
    Ok(found)
}

async fn compare_one(config: &Config, around: &Surroundings, place: &LogPlace) -> Result<Found> {
    let election = &config.election;
    let name = name_of(election, place.log);
    let keys = keys_of(election, around.schedule.borrow().in_force(), place.log)
        .context("the manifest has no such log")?;
    let mut rows: Box<dyn StoredRows> = match &place.database {
        Database::Sqlite(path) => Box::new(
            SqliteRows::open(path, &name)
                .await
                .with_context(|| format!("{}", path.display()))?,
        ),
        Database::Postgres(postgres, _) => {
            Box::new(PostgresRows::open(&parts::located(postgres)?, &name).await?)
        }
    };
    let mut shown = Vec::new();
    let summary = fsck(
        rows.as_mut(),
        around.reader.as_ref(),
        &name,
        &keys,
        &mut |difference| {
            if shown.len() < SHOWN_MAX {
                shown.push(difference);
            }
        },
    )
    .await?;
    Ok((summary, shown))
}

fn answer(args: &RepairArgs, found: &[Found], whole: bool) -> Result<()> {
    let text = if args.json {
        let logs: Vec<_> = found
            .iter()
            .map(|(summary, differences)| json!({ "summary": summary, "differences": differences }))
            .collect();
        json!({ "whole": whole, "logs": logs }).to_string()
    } else {
        let mut lines = Vec::new();
        for (summary, differences) in found {
            lines.push(format!(
                "{}: {} batches published, {} stored, {} equal; {} entries; {} files compared; {} differences{}",
                summary.log,
                summary.published,
                summary.stored.map_or_else(|| "none".to_owned(), |n| n.to_string()),
                summary.equal,
                summary.size,
                summary.files,
                summary.differences,
                if summary.complete { "" } else { "; it could not be followed to its end" },
            ));
            for difference in differences {
                lines.push(format!(
                    "  {:?} {}: {}{}",
                    difference.kind,
                    difference.place,
                    difference.detail,
                    if difference.kind.heals() {
                        " (a start of the service, or `tallyroot rebuild`, sets it right)"
                    } else {
                        ""
                    }
                ));
            }
        }
        lines.join("\n")
    };
    crate::say(Some(text)).map(|_| ())
}
