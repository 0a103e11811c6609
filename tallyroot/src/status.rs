//! `tallyroot status`: one look at an election, or at its services.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use ledger::clock::{Clock as _, SystemClock};
use protocol::entry::LogState;
use protocol::results::{RESULTS_LEN_MAX, Results};
use serde_json::{Value, json};

use crate::cli::StatusArgs;
use crate::election::notices::time;
use crate::election::outcome::state_name;
use crate::election::place::{self, Place};
use crate::ending::{self, Course, Ending};
use crate::health::{self, at};

/// A log is not well, or a service is not ready.
const NOT_WELL: u8 = 3;

/// Looks once, and says what there is. Exit code 0: all is well; 3: something is stale, halted, or does not answer.
///
/// # Errors
/// The site cannot be read at all, or neither a site nor an address was given.
pub async fn run(args: &StatusArgs) -> Result<ExitCode> {
    let mut answer = serde_json::Map::new();
    let mut lines = Vec::new();
    let mut well = true;
    if let Some(site) = &args.site {
        let id = match &args.election {
            Some(id) => id.clone(),
            None => place::only_election(site).await?,
        };
        let (found, words, site_well) = of_site(&Place::open(site, &id).await?).await?;
        answer.insert("site".to_owned(), found);
        lines.extend(words);
        well &= site_well;
    } else if args.health.is_empty() {
        bail!(
            "give a site (https://…, or a folder) with --election ID, or the health addresses of services with --health"
        );
    }
    let mut services = Vec::new();
    for address in &args.health {
        let (found, words, service_well) = of_service(address).await;
        services.push(found);
        lines.extend(words);
        well &= service_well;
    }
    answer.insert("services".to_owned(), services.into());
    answer.insert("well".to_owned(), well.into());
    crate::say(Some(if args.json {
        Value::Object(answer).to_string()
    } else {
        lines.join("\n")
    }))?;
    Ok(ExitCode::from(if well { 0 } else { NOT_WELL }))
}

type Look = (Value, Vec<String>, bool);

async fn of_site(place: &Place) -> Result<Look> {
    let heads = place.heads().await?;
    let now = SystemClock.now_ms();
    let last = heads.log().last_head();
    let schedule = heads.log().schedule();
    let course = Course::of_heads(&place.election, &heads);
    let mut well = true;
    let mut logs = Vec::new();
    let mut rows = Vec::new();
    for log in place.election.logs() {
        let newest = place.log(&heads, *log)?.newest().await;
        let (size, problem) = match newest {
            Ok(newest) => (newest.map(|(checkpoint, _)| checkpoint.size()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let said = last.and_then(|(_, head)| head.log(&place.election, *log));
        let state = said.map(|said| state_name(said.state));
        let closed = said.is_some_and(|said| said.state == LogState::Closed);
        let ending = Ending::of(&course, *log, closed, now);
        well &= problem.is_none() && said.is_none_or(|said| said.state != LogState::Stale);
        logs.push(json!({
            "log": log.prefix(),
            "size": size,
            "in_head": said.map(|said| said.size),
            "state": state,
            "frozen": schedule.freeze(*log).is_some(),
            "ending": ending.to_json(),
            "switched": schedule.switch(*log).is_some(),
            "problem": problem,
        }));
        rows.push(format!(
            "  {:<18} {:>10} entries, {:>10} in the newest head  {}{}{}",
            log.prefix(),
            size.map_or_else(|| "no".to_owned(), |size| size.to_string()),
            said.map_or_else(|| "none".to_owned(), |said| said.size.to_string()),
            state.unwrap_or("not begun"),
            ending.words(),
            problem.map_or_else(String::new, |problem| format!("  WRONG: {problem}")),
        ));
    }
    let results = place.reader.read("results.json", RESULTS_LEN_MAX).await?;
    let results = results
        .map(|bytes| Results::parse(&bytes, &place.election))
        .transpose()
        .context("results.json is not what it must be")?;
    let votes = results.map(|results| results.votes);
    let is_final = heads.log().final_head().is_some();
    let age_ms = last.map(|(_, head)| now.saturating_sub(head.time));
    let manifest = place.election.manifest();
    let found = json!({
        "election_id": place.election.id().to_string(),
        "title": manifest.title,
        "opening": schedule.opening(),
        "closing": schedule.closing(),
        "extended": schedule.closing() != manifest.times.closing,
        "cancelled": schedule.cancelled().is_some(),
        "final": is_final,
        "heads": { "size": heads.log().size(), "age_ms": age_ms, "notices": heads.log().next_sequence() },
        "votes": votes,
        "logs": logs,
    });
    let mut lines = vec![
        format!("{}  ({})", manifest.title, place.election.id()),
        format!(
            "  votes are taken from {} to {}{}{}",
            time(schedule.opening()),
            time(schedule.closing()),
            if schedule.closing() == manifest.times.closing {
                ""
            } else {
                ", extended by notice"
            },
            if schedule.cancelled().is_some() {
                "; CANCELLED"
            } else {
                ""
            },
        ),
        match (age_ms, is_final) {
            (None, _) => "  no head yet".to_owned(),
            (Some(_), true) => "  the final head is made".to_owned(),
            (Some(age), false) => format!("  newest head {:.1} s ago", age as f64 / 1_000.0),
        },
        format!(
            "  {} in the results",
            crate::counted(votes.unwrap_or(0), "vote")
        ),
    ];
    lines.extend(rows);
    Ok((found, lines, well))
}

async fn of_service(address: &str) -> Look {
    match health::ask(address).await {
        Ok((ready, status)) => {
            let state = at(&status, "/state").as_str().unwrap_or("?").to_owned();
            let mut lines = vec![format!(
                "{:<14} {:<12} {address}",
                at(&status, "/role").as_str().unwrap_or("?"),
                state
            )];
            for log in at(&status, "/logs").as_array().into_iter().flatten() {
                lines.push(format!(
                    "  {:<18} {:>10} entries, epoch {}, {}{}{}",
                    at(log, "/log").as_str().unwrap_or("?"),
                    at(log, "/size"),
                    at(log, "/epoch"),
                    at(log, "/state").as_str().unwrap_or("?"),
                    at(log, "/reason")
                        .as_str()
                        .map_or_else(String::new, |reason| format!(": {reason}")),
                    ending::words(
                        at(log, "/ending/state").as_str().unwrap_or("?"),
                        at(log, "/ending/waits_for").as_str(),
                    ),
                ));
            }
            let well = ready || state == "standby";
            (json!({ "address": address, "status": status }), lines, well)
        }
        Err(error) => (
            json!({ "address": address, "problem": crate::in_words(&error) }),
            vec![format!(
                "{:<14} {:<12} {address}: {}",
                "?",
                "no answer",
                crate::in_words(&error)
            )],
            false,
        ),
    }
}
