//! What came out of an election.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use protocol::entry::LogState;
use protocol::ids::LogId;
use protocol::results::{RESULTS_LEN_MAX, Results, Status};
use serde_json::{Value, json};
use tokio::time::Instant;
use verifier_cli::audit::Options;
use verifier_cli::verdict::{AuditVerdict, Outcome};

use super::notices::time;
use super::place::{LOOK, Place};
use crate::cli::FinalizeArgs;
use crate::health::at;

/// How long an audit waits for what is published a moment after something else.
const SETTLE: Duration = Duration::from_secs(10);

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
                break results;
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
        "results": serde_json::to_value(&results).context("results.json")?,
    });
    crate::say(Some(if args.json {
        answer.to_string()
    } else {
        in_words(&answer, &results)
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
        evidence: Vec::new(),
        witnesses: Vec::new(),
        state: None,
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

fn in_words(answer: &Value, results: &Results) -> String {
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
            "Votes        {}, of them {}",
            at(answer, "/votes"),
            crate::counted(
                at(answer, "/abstentions").as_u64().unwrap_or(0),
                "abstention"
            )
        )
    });
    for contest in &results.contests {
        lines.push(contest.name.clone());
        for (n, (option, count)) in (0u16..).zip(contest.options.iter().zip(&contest.counts)) {
            let won = if contest.winner == Some(n) {
                "  won"
            } else {
                ""
            };
            lines.push(format!("  {count:>10}  {option}{won}"));
        }
        lines.push(format!("  {:>10}  (blank)", contest.blanks));
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
