//! Whether an election can begin.

use std::process::ExitCode;

use anyhow::{Result, bail};
use ledger::clock::{Clock as _, SystemClock};
use ledger::heads::HeadsFollower;
use protocol::entry::{Genesis, LogState};
use protocol::ids::LogId;
use serde_json::json;

use super::notices::time;
use super::place::Place;
use crate::cli::OpenArgs;
use crate::health::{self, at};
use crate::serve::check::Check;

/// A head is fresh for so many intervals, and this.
const FRESH_INTERVALS: u64 = 3;
/// How far clocks of two machines may be apart.
const CLOCKS_APART_MS_MAX: u64 = 5_000;
/// Go or no-go: exit code 0 or 1.
///
/// # Errors
/// The manifest cannot be had, so nothing else could be looked at.
pub async fn open(args: &OpenArgs) -> Result<ExitCode> {
    let place = Place::open(&args.site, &args.election).await?;
    let mut checks = vec![Check::of(
        "manifest",
        Ok(format!("published, with the id {}", place.election.id())),
    )];
    let now = SystemClock.now_ms();
    checks.push(Check::of("times", times(&place, now)));
    match place.heads().await {
        Ok(heads) => {
            checks.push(Check::of("heads", newest_head(&place, &heads, now)));
            for log in place.election.logs() {
                checks.push(Check::of("log", begun(&place, &heads, *log).await));
            }
        }
        Err(error) => checks.push(Check::of("heads", Err(error))),
    }
    for address in &args.health {
        checks.push(Check::of("service", ready(&place, address).await));
    }
    let go = checks.iter().all(|check| check.outcome.is_ok());
    crate::say(Some(if args.json {
        json!({ "go": go, "checks": checks.iter().map(Check::to_json).collect::<Vec<_>>() })
            .to_string()
    } else {
        let mut lines: Vec<String> = checks.iter().map(Check::line).collect();
        lines.push(if go { "GO" } else { "NO GO: see what is WRONG" }.to_owned());
        lines.join("\n")
    }))?;
    Ok(ExitCode::from(u8::from(!go)))
}

/// The times are the manifest's (a notice can only extend them); what can be wrong is that they are over.
fn times(place: &Place, now: u64) -> Result<String> {
    let times = &place.election.manifest().times;
    if now >= times.closing {
        bail!(
            "the manifest's closing time, {}, is over; unless a notice extends it, this election has ended",
            time(times.closing)
        );
    }
    Ok(format!(
        "registration from {}, votes from {} to {}",
        time(times.registration),
        time(times.opening),
        time(times.closing)
    ))
}

fn newest_head(place: &Place, heads: &HeadsFollower, now: u64) -> Result<String> {
    let Some((_, head)) = heads.log().last_head() else {
        bail!("there is no head yet: start the anchoring service");
    };
    if head.time > now.saturating_add(CLOCKS_APART_MS_MAX) {
        bail!(
            "the newest head is {} s ahead of this machine's clock: one of the two clocks is wrong",
            (head.time - now).div_ceil(1_000)
        );
    }
    let interval = place.election.manifest().head_interval_ms;
    let age = now.saturating_sub(head.time);
    if age > interval.saturating_mul(FRESH_INTERVALS) + CLOCKS_APART_MS_MAX {
        bail!(
            "the newest head is {} s old, and there should be one every {} s: look at the anchoring service",
            age / 1_000,
            interval.div_ceil(1_000)
        );
    }
    if heads.log().final_head().is_some() {
        bail!("the final head is made: this election is over");
    }
    let logs = place.election.logs().iter().zip(&head.logs);
    let stale: Vec<String> = logs
        .filter(|(_, said)| said.state == LogState::Stale)
        .map(|(log, _)| log.prefix())
        .collect();
    if !stale.is_empty() {
        bail!(
            "the newest head calls {} stale: look at those services",
            stale.join(", ")
        );
    }
    Ok(format!(
        "{:.1} s old, no log is stale",
        age as f64 / 1_000.0
    ))
}

/// The log's newest checkpoint verifies, and its first entry is this log's genesis.
async fn begun(place: &Place, heads: &HeadsFollower, log: LogId) -> Result<String> {
    let client = place.log(heads, log)?;
    let Some((checkpoint, _)) = client.newest().await? else {
        bail!("{log} has no checkpoint yet: start its service");
    };
    let proven = client.inclusion(0, &checkpoint).await?;
    if proven.entry != Genesis::of(&place.election, log).encode() {
        bail!("{log} does not begin with its genesis: it is another log");
    }
    Ok(format!(
        "{log}: {} entries under its key",
        checkpoint.size()
    ))
}

async fn ready(place: &Place, address: &str) -> Result<String> {
    let (ready, status) = health::ask(address).await?;
    let state = at(&status, "/state").as_str().unwrap_or("?");
    let role = at(&status, "/role").as_str().unwrap_or("?");
    if *at(&status, "/election") != place.election.id().to_string() {
        bail!("{role} at {address} serves another election");
    }
    if !ready && state != "standby" {
        bail!("{role} at {address} is not ready: {state}");
    }
    Ok(format!("{role} at {address}: {state}"))
}
