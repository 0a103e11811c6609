//! The two ends of an election: whether it can begin, and what came out. Neither changes anything.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ledger::clock::{Clock as _, SystemClock};
use ledger::heads::HeadsFollower;
use protocol::entry::{Genesis, LogState};
use protocol::ids::LogId;
use protocol::results::{RESULTS_LEN_MAX, Results, Status};
use serde_json::{Value, json};
use tokio::time::Instant;
use verifier_cli::audit::Options;
use verifier_cli::verdict::{AuditVerdict, Outcome};

use super::notices::time;
use super::place::{LOOK, Place};
use crate::cli::{FinalizeArgs, OpenArgs};
use crate::health::{self, at};
use crate::serve::check::Check;

/// How far clocks of two machines may be apart.
const CLOCKS_APART_MS_MAX: u64 = 5_000;
/// A head is fresh for so many intervals, and this.
const FRESH_INTERVALS: u64 = 3;
/// How long an audit waits for what is published a moment after something else.
const SETTLE: Duration = Duration::from_secs(10);

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

/// Waits for the final head, its anchors and the final result; audits; prints.
///
/// # Errors
/// They do not come in time, or cannot be read.
pub async fn finalize(args: &FinalizeArgs) -> Result<ExitCode> {
    let place = Place::open(&args.site, &args.election).await?;
    let deadline = Instant::now() + Duration::from_secs(args.wait);
    let mut heads = place.heads().await?;
    while heads.log().final_head().is_none() {
        if Instant::now() >= deadline {
            let ends = heads.log().schedule().deadline();
            bail!(
                "there is no final head yet: it comes once all logs are closed, or after {} at the latest",
                time(ends)
            );
        }
        tokio::time::sleep(LOOK).await;
        match heads.advance().await {
            Err(error) if !error.is_passing() => return Err(error).context("the heads log"),
            _ => {}
        }
    }
    let Some((index, head)) = heads.log().final_head() else {
        bail!("there is no final head");
    };
    let cancelled = heads.log().schedule().cancelled().is_some();
    let wanted = if cancelled {
        Status::Cancelled
    } else {
        Status::Final
    };
    // The sizes of the final head, also where nothing is counted.
    let of_head = |results: &Results| {
        results.cells.iter().all(|cell| {
            head.log(&place.election, LogId::Cell(cell.cell))
                .is_some_and(|said| said.size == cell.size)
        })
    };
    let results = loop {
        let bytes = place.reader.read("results.json", RESULTS_LEN_MAX).await;
        if let Ok(Some(bytes)) = bytes {
            let results = Results::parse(&bytes, &place.election)
                .context("results.json is not what it must be")?;
            if results.status == wanted && of_head(&results) {
                break bytes;
            }
        }
        if Instant::now() >= deadline {
            bail!("the final head is made, but not the final result: look at the tally service");
        }
        tokio::time::sleep(LOOK).await;
    };
    // The anchors, and everything else: by the auditors' own program.
    let size = heads.log().size();
    let verdict = loop {
        let verdict = audit(&args.site, &place).await?;
        let anchored = verdict
            .covered
            .anchors
            .iter()
            .all(|anchor| anchor.size >= size);
        // What else it found does not go away by waiting.
        if anchored || Instant::now() >= deadline {
            break verdict;
        }
        tokio::time::sleep(LOOK).await;
    };
    let logs: Vec<Value> = place
        .election
        .logs()
        .iter()
        .zip(&head.logs)
        .map(|(log, said)| {
            json!({ "log": log.prefix(), "size": said.size, "state": state_name(said.state), "root": hex::encode(said.root.as_bytes()) })
        })
        .collect();
    let verified = verdict.verdict == Outcome::Verified;
    let anchors: Vec<Value> = verdict
        .covered
        .anchors
        .iter()
        .map(|anchor| json!({ "name": anchor.name, "size": anchor.size, "holds_final_head": anchor.size >= size }))
        .collect();
    let findings: Vec<Value> = verdict
        .findings
        .iter()
        .map(|finding| serde_json::to_value(finding).unwrap_or_default())
        .collect();
    let answer = json!({
        "election_id": place.election.id().to_string(),
        "final_head": { "index": index, "time": head.time, "logs": logs },
        "cancelled": cancelled,
        "votes": verdict.votes,
        "abstentions": verdict.abstentions,
        "anchors": anchors,
        "verified": verified,
        "findings": findings,
        "results": serde_json::from_slice::<Value>(&results).context("results.json")?,
    });
    crate::say(Some(if args.json {
        answer.to_string()
    } else {
        in_words(&answer)
    }))?;
    Ok(ExitCode::from(u8::from(!verified)))
}

pub(super) async fn audit(given: &str, place: &Place) -> Result<AuditVerdict> {
    let given = match &place.folder {
        Some(folder) => folder.display().to_string(),
        None => given.to_owned(),
    };
    let id = place.election.id();
    let options = Options {
        threads: std::thread::available_parallelism().unwrap_or(std::num::NonZeroUsize::MIN),
        settle: SETTLE,
    };
    tokio::task::spawn_blocking(move || {
        let progress = verifier_cli::progress::Progress::hidden();
        verifier_cli::audit::run(&given, &id, &options, &progress)
    })
    .await
    .context("the audit broke down")
}

pub(crate) const fn state_name(state: LogState) -> &'static str {
    match state {
        LogState::Open => "open",
        LogState::Stale => "stale",
        LogState::Closed => "closed",
    }
}

fn in_words(answer: &Value) -> String {
    let mut lines = vec![
        format!(
            "Election     {}",
            at(answer, "/election_id").as_str().unwrap_or_default()
        ),
        format!(
            "Final head   index {}, {}",
            at(answer, "/final_head/index"),
            time(at(answer, "/final_head/time").as_u64().unwrap_or_default())
        ),
    ];
    for log in at(answer, "/final_head/logs")
        .as_array()
        .into_iter()
        .flatten()
    {
        lines.push(format!(
            "  {:<18} {:>10} entries  {}",
            at(log, "/log").as_str().unwrap_or_default(),
            at(log, "/size"),
            at(log, "/state").as_str().unwrap_or_default()
        ));
    }
    for anchor in at(answer, "/anchors").as_array().into_iter().flatten() {
        let holds = if *at(anchor, "/holds_final_head") == true {
            "holds the final head"
        } else {
            "DOES NOT hold the final head yet"
        };
        lines.push(format!(
            "Anchor       {} {holds}",
            at(anchor, "/name").as_str().unwrap_or_default()
        ));
    }
    lines.push(if *at(answer, "/cancelled") == true {
        "Result       cancelled: nothing is counted".to_owned()
    } else {
        format!(
            "Votes        {}, of them {} abstentions",
            at(answer, "/votes"),
            at(answer, "/abstentions")
        )
    });
    for contest in at(answer, "/results/contests")
        .as_array()
        .into_iter()
        .flatten()
    {
        lines.push(format!("{contest}"));
    }
    for finding in at(answer, "/findings").as_array().into_iter().flatten() {
        lines.push(format!("Finding      {finding}"));
    }
    lines.push(
        if *at(answer, "/verified") == true {
            "VERIFIED"
        } else {
            "NOT VERIFIED"
        }
        .to_owned(),
    );
    lines.join("\n")
}
