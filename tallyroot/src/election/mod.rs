//! Elections: making one (keys, roll, manifest), changing its course by notices, and what came out of it.

pub mod archive;
pub mod create;
pub mod description;
mod freeze;
mod keys;
pub mod notices;
pub mod opening;
pub mod outcome;
pub mod place;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use protocol::entry::NoticeAction;
use protocol::ids::LogId;

use crate::cli::ElectionCommand;
use place::Place;

/// Runs a command about an election that exists already.
///
/// # Errors
/// Each command's own.
pub async fn run(command: &ElectionCommand) -> Result<ExitCode> {
    match command {
        ElectionCommand::New(_) => bail!("this command makes an election"),
        ElectionCommand::Open(args) => opening::open(args).await,
        ElectionCommand::Extend(args) => {
            let closing = moment(&args.until)?;
            notices::act(&args.notice, async |_, _| {
                Ok(vec![NoticeAction::Extend { closing }])
            })
            .await
        }
        ElectionCommand::Cancel(args) => {
            notices::act(args, async |_, _| Ok(vec![NoticeAction::Cancel])).await
        }
        ElectionCommand::Freeze(args) => {
            notices::act(&args.notice, async |place, _| {
                let logs = chosen(place, &args.logs.cell, &args.logs.registrar)?;
                Ok(logs
                    .into_iter()
                    .map(|log| NoticeAction::Freeze { log })
                    .collect())
            })
            .await
        }
        ElectionCommand::Close(args) => {
            notices::act(args, async |place, heads| {
                Ok(notices::freezes(&place.election, heads.log()))
            })
            .await
        }
        ElectionCommand::Switch(args) => {
            notices::act(&args.notice, async |place, heads| {
                let mut logs = Vec::new();
                if args.heads {
                    logs.push(LogId::Heads);
                }
                if !args.logs.cell.is_empty() || !args.logs.registrar.is_empty() {
                    logs.extend(chosen(place, &args.logs.cell, &args.logs.registrar)?);
                }
                let mut actions = Vec::new();
                for log in logs {
                    if log == LogId::Heads {
                        // Its spare signs the notice's own checkpoint, so the notice names the place where it will stand: behind every published batch.
                        let (_, end) = heads.beyond().await.context("the heads log")?;
                        let (size, root) = (end.size, end.root);
                        actions.push(NoticeAction::Switch { log, size, root });
                        continue;
                    }
                    // The log's very last checkpoint under its main key: so its writer must have stopped.
                    let newest = place.log(heads, log)?.newest().await?;
                    let (newest, _) = newest.with_context(|| {
                        format!("{log} has no checkpoint, so there is nothing to switch")
                    })?;
                    actions.push(NoticeAction::Switch {
                        log,
                        size: newest.size(),
                        root: newest.root(),
                    });
                }
                if actions.is_empty() {
                    bail!(
                        "name the log whose key is switched: --cell K, --registrar R/J or --heads"
                    );
                }
                Ok(actions)
            })
            .await
        }
        ElectionCommand::Submit(args) => notices::submit(args).await,
        ElectionCommand::Finalize(args) => outcome::finalize(args).await,
        ElectionCommand::Archive(args) => archive::archive(args).await,
    }
}

/// `2027-03-09T20:00:00Z` in ms.
fn moment(text: &str) -> Result<u64> {
    let time: jiff::Timestamp = text.parse().with_context(|| {
        format!("`{text}` is not a date and time with an offset, such as 2027-03-01T08:00:00Z")
    })?;
    u64::try_from(time.as_millisecond()).with_context(|| format!("`{text}` lies before 1970"))
}

/// The logs that `--cell` and `--registrar` name.
fn chosen(place: &Place, cells: &[u32], registrars: &[String]) -> Result<Vec<LogId>> {
    let mut logs: Vec<LogId> = cells.iter().map(|k| LogId::Cell(*k)).collect();
    for given in registrars {
        let wrong =
            || format!("`{given}` names no registrar: give R, or R/J for one of its shards");
        let (registrar, shard) = match given.split_once('/') {
            Some((registrar, shard)) => {
                (registrar, Some(shard.parse::<u32>().with_context(wrong)?))
            }
            None => (given.as_str(), None),
        };
        let registrar: u16 = registrar.parse().with_context(wrong)?;
        match shard {
            Some(shard) => logs.push(LogId::Issuance { registrar, shard }),
            None => logs.extend(place.election.logs().iter().filter(
                |log| matches!(log, LogId::Issuance { registrar: r, .. } if *r == registrar),
            )),
        }
    }
    if let Some(unknown) = logs.iter().find(|log| !place.election.contains(**log)) {
        bail!("the election has no log {unknown}");
    }
    if logs.is_empty() {
        bail!("name at least one log that there is: --cell K, --registrar R or --registrar R/J");
    }
    Ok(logs)
}
