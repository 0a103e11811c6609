//! The authority's notices: the only way to change anything about an election that is sealed.
//!
//! The next notice follows from the published heads log, so it is read and checked first. The authority's key signs here, or in KMS, and is sent nowhere; what is sent,
//! or written to a file for another machine to send, is the signed notice alone.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ledger::heads::HeadsFollower;
use protocol::entry::{AuthorityKey, Entry, Genesis, LogState, Notice, NoticeAction, NoticeBody};
use protocol::grammar::HeadsLog;
use protocol::ids::LogId;
use protocol::manifest::Election;
use serde::Deserialize;
use serde_json::{Value, json};
use signer::{Checked, KeySource, Signer as _};
use tokio::time::Instant;

use super::freeze;
use super::place::{LOOK, Place};
use crate::cli::{NoticeArgs, SubmitArgs};
use crate::client::site::{Answer, Backoff, Site};
use crate::health::at;

/// Files of notices are a few lines.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The authority's key.
pub struct Authority {
    key: Checked,
    which: AuthorityKey,
}

impl Authority {
    /// Takes the key into use; whether it is the main key or the spare, the manifest says.
    ///
    /// # Errors
    /// It cannot be used, or is neither.
    pub async fn open(source: &KeySource, election: &Election) -> Result<Self> {
        let key = source.open().await.context("the authority's key")?;
        let keys = election.authority_keys();
        let which = match key.public_key() {
            public if public == *keys.main.as_bytes() => AuthorityKey::Main,
            public if public == *keys.spare.as_bytes() => AuthorityKey::Spare,
            public => bail!(
                "{source} holds the key {}, which is neither of the authority's in the manifest: give the authority's key",
                hex::encode(public)
            ),
        };
        let held = key.public_key();
        let key = signer::checked(key, held)?;
        Ok(Self { key, which })
    }

    /// Signs the notice with this number.
    ///
    /// # Errors
    /// The key cannot sign.
    pub async fn sign(
        &self,
        election: &Election,
        sequence: u32,
        action: NoticeAction,
    ) -> Result<Notice> {
        let body = NoticeBody { sequence, action };
        let message = body.message(&election.id(), self.which);
        Ok(Notice {
            key: self.which,
            signature: self.key.sign(&message).await?,
            body,
        })
    }
}

/// What ends the election now: a freeze of every log that is open and not frozen yet, the issuance logs first.
#[must_use]
pub fn freezes(election: &Election, heads: &HeadsLog) -> Vec<NoticeAction> {
    let logs = election.logs();
    let is_open = |log: &&LogId| {
        let closed = heads
            .last_head()
            .and_then(|(_, head)| head.log(election, **log))
            .is_some_and(|said| said.state == LogState::Closed);
        !closed && heads.schedule().freeze(**log).is_none()
    };
    let issuance = logs
        .iter()
        .filter(|log| matches!(log, LogId::Issuance { .. }));
    let cells = logs.iter().filter(|log| matches!(log, LogId::Cell(_)));
    issuance
        .chain(cells)
        .filter(is_open)
        .map(|log| NoticeAction::Freeze { log: *log })
        .collect()
}

/// Signs the actions that `plan` asks for, and submits them or writes them to a file.
///
/// # Errors
/// The heads log cannot be read, the key is not the authority's, the action is not allowed now, or it is not known whether a notice was taken.
pub async fn act(
    args: &NoticeArgs,
    plan: impl AsyncFnOnce(&Place, &HeadsFollower) -> Result<Vec<NoticeAction>>,
) -> Result<ExitCode> {
    let place = Place::open(&args.site, &args.election).await?;
    let election = &place.election;
    let authority = Authority::open(&args.key.source(), election).await?;
    let mut heads = place.heads().await?;
    if heads.log().final_head().is_some() {
        bail!("the final head is made: nothing can be changed any more");
    }
    let actions = plan(&place, &heads).await?;
    let warning = freeze::left_over(election, heads.log(), &actions);
    let (log, _) = heads.beyond().await.context("the heads log")?;
    let first = args.sequence.unwrap_or(log.next_sequence());
    let mut notices = Vec::new();
    for (sequence, action) in (first..).zip(actions) {
        notices.push(authority.sign(election, sequence, action).await?);
    }
    // A number that was given is for a heads log which this machine has not seen.
    if args.sequence.is_none() {
        check(election, &log, &notices)?;
    }
    if let Some(file) = &args.offline {
        write(file, &notices)?;
        let shown = notices
            .iter()
            .map(|notice| describe(notice, None))
            .collect();
        return answer(args.json, shown, Some(file), warning.as_deref());
    }
    let shown = submit_all(
        &place,
        &mut heads,
        args.anchor.as_deref(),
        args.wait,
        notices,
    )
    .await?;
    answer(args.json, shown, None, warning.as_deref())
}

/// Freezes every log that is open, now: what `election close` does, for a caller that has the place and the key at hand.
///
/// # Errors
/// As [`act`].
pub async fn close_now(place: &Place, authority: &Authority, wait_s: u64) -> Result<()> {
    let mut heads = place.heads().await?;
    if heads.log().final_head().is_some() {
        return Ok(());
    }
    let first = heads.log().next_sequence();
    let mut notices = Vec::new();
    for (sequence, action) in (first..).zip(freezes(&place.election, heads.log())) {
        notices.push(authority.sign(&place.election, sequence, action).await?);
    }
    submit_all(place, &mut heads, None, wait_s, notices).await?;
    Ok(())
}

/// Submits notices from a file that `--offline` wrote.
///
/// # Errors
/// As [`act`]; and when the file holds anything else.
pub async fn submit(args: &SubmitArgs) -> Result<ExitCode> {
    let place = Place::open(&args.site, &args.election).await?;
    let notices = read(&args.file, &place.election)?;
    let mut heads = place.heads().await?;
    let shown = submit_all(
        &place,
        &mut heads,
        args.anchor.as_deref(),
        args.wait,
        notices,
    )
    .await?;
    answer(args.json, shown, None, None)
}

/// Judges the notices as the heads log will, so that a mistake is found before anything is sent.
fn check(election: &Election, heads: &HeadsLog, notices: &[Notice]) -> Result<()> {
    let mut trial = heads.clone();
    if trial.size() == 0 {
        trial.batch(0, &[&Genesis::of(election, LogId::Heads).encode()])?;
    }
    for notice in notices {
        if let NoticeAction::Extend { closing } = notice.body.action {
            extends(trial.schedule().closing(), closing)?;
        }
        let refused = || format!("this notice is not allowed now: {}", words(notice));
        let summary = trial
            .batch(trial.next_batch(), &[&notice.encode()])
            .with_context(refused)?;
        if let Some(remark) = summary.remarks.first() {
            return Err(anyhow!("{remark}")).with_context(refused);
        }
    }
    Ok(())
}

/// What the grammar says in milliseconds, said in dates.
fn extends(in_force: u64, closing: u64) -> Result<()> {
    if closing <= in_force {
        bail!(
            "this notice is not allowed now: the new closing time {} is not later than {}, which is in force",
            time(closing),
            time(in_force)
        );
    }
    Ok(())
}

async fn submit_all(
    place: &Place,
    heads: &mut HeadsFollower,
    anchor: Option<&str>,
    wait_s: u64,
    notices: Vec<Notice>,
) -> Result<Vec<Value>> {
    let id = place.election.id();
    let site = match (anchor, &place.site) {
        (Some(address), _) => Site::for_many(address, &id)?,
        (None, Some(site)) => site.clone(),
        (None, None) => bail!(
            "the notices are read from a folder, which takes none: give the anchoring service's address with --anchor, or write them to a file with --offline"
        ),
    };
    let deadline = Instant::now() + Duration::from_secs(wait_s);
    let mut shown = Vec::new();
    for notice in notices {
        let index = send(&site, &notice).await?;
        wait_until_published(place, heads, &notice, index, deadline).await?;
        shown.push(describe(&notice, Some(index)));
    }
    Ok(shown)
}

/// Sends it until somebody answers. The same notice again is always safe.
async fn send(site: &Site, notice: &Notice) -> Result<u64> {
    let mut pause = Backoff::new();
    loop {
        match site.notice(&notice.encode()).await {
            Answer::Done(taken) => return Ok(taken.index),
            Answer::Refused(refusal) => bail!(
                "refused ({}): {}",
                refusal.error.code,
                refusal.error.message
            ),
            Answer::Unknown(why) if !pause.wait().await => bail!(
                "whether the notice was taken is not known ({why}): run this again, it is taken once"
            ),
            Answer::Unknown(_) => {}
        }
    }
}

/// It counts only once it is published: read back, under a checkpoint, byte for byte.
async fn wait_until_published(
    place: &Place,
    heads: &mut HeadsFollower,
    notice: &Notice,
    index: u64,
    deadline: Instant,
) -> Result<()> {
    while heads.log().size() <= index {
        if Instant::now() >= deadline {
            bail!(
                "the service says that the notice stands at index {index}, but it is not published there in time: look at the anchoring service's log"
            );
        }
        match heads.advance().await {
            Err(error) if !error.is_passing() => return Err(error).context("the heads log"),
            _ => tokio::time::sleep(LOOK).await,
        }
    }
    let (checkpoint, _) = heads
        .checkpoint()
        .context("the heads log has no checkpoint")?;
    let client = place.log(heads, LogId::Heads)?;
    let proven = client.inclusion(index, checkpoint).await?;
    if proven.entry != notice.encode() {
        bail!(
            "another entry than this notice is published at index {index} of the heads log: keep it, it is evidence"
        );
    }
    Ok(())
}

/// A line of a file of notices: the very body of `POST …/notices`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    notice: String,
}

/// Writes a new file, a line for each notice.
fn write(file: &Path, notices: &[Notice]) -> Result<()> {
    let lines: String = notices
        .iter()
        .map(|notice| format!("{}\n", json!({ "notice": BASE64.encode(notice.encode()) })))
        .collect();
    std::fs::File::create_new(file)
        .and_then(|mut out| {
            out.write_all(lines.as_bytes())?;
            out.sync_all()
        })
        .with_context(|| format!("cannot write the new file {}", file.display()))
}

fn read(file: &Path, election: &Election) -> Result<Vec<Notice>> {
    let context = || format!("the notices in {}", file.display());
    let len = std::fs::metadata(file).with_context(context)?.len();
    if len > FILE_BYTES_MAX {
        bail!("{} has {len} bytes: it holds no notices", file.display());
    }
    let text = std::fs::read_to_string(file).with_context(context)?;
    let mut notices = Vec::new();
    for line in text.lines() {
        let line: Line = serde_json::from_str(line).with_context(context)?;
        let bytes = BASE64.decode(line.notice).with_context(context)?;
        let Entry::Notice(notice) = Entry::decode(&bytes, election).with_context(context)? else {
            bail!("{} holds an entry that is no notice", file.display());
        };
        notice.verify(election).with_context(context)?;
        notices.push(notice);
    }
    Ok(notices)
}

/// What a notice does, for people.
fn words(notice: &Notice) -> String {
    match notice.body.action {
        NoticeAction::Extend { closing } => format!("closing moves to {}", time(closing)),
        NoticeAction::Cancel => "the election is cancelled".to_owned(),
        NoticeAction::Freeze { log } => format!("{log} takes nothing new, drains and closes"),
        NoticeAction::Switch { log, size, .. } => {
            format!("above size {size}, {log} is signed with its spare key")
        }
    }
}

fn describe(notice: &Notice, index: Option<u64>) -> Value {
    let (action, member) = match notice.body.action {
        NoticeAction::Extend { closing } => ("extend", json!({ "closing": closing })),
        NoticeAction::Cancel => ("cancel", json!({})),
        NoticeAction::Freeze { log } => ("freeze", json!({ "log": log.prefix() })),
        NoticeAction::Switch { log, size, root } => (
            "switch",
            json!({ "log": log.prefix(), "size": size, "root": hex::encode(root.as_bytes()) }),
        ),
    };
    json!({
        "action": action,
        "sequence": notice.body.sequence,
        "index": index,
        "words": words(notice),
        "fields": member,
    })
}

/// A time in ms, as people write it.
#[must_use]
pub(crate) fn time(ms: u64) -> String {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| format!("{ms} ms"), |time| time.to_string())
}

fn answer(
    as_json: bool,
    notices: Vec<Value>,
    file: Option<&Path>,
    warning: Option<&str>,
) -> Result<ExitCode> {
    if as_json {
        let file = file.map(|file| file.display().to_string());
        return crate::say(Some(
            json!({ "notices": notices, "file": file, "warning": warning }).to_string(),
        ));
    }
    let mut lines: Vec<String> = notices
        .iter()
        .map(|notice| {
            let place = match at(notice, "/index").as_u64() {
                Some(index) => format!("published at index {index}"),
                None => "signed".to_owned(),
            };
            format!(
                "Notice {} {place}: {}",
                at(notice, "/sequence"),
                at(notice, "/words").as_str().unwrap_or_default()
            )
        })
        .collect();
    if lines.is_empty() {
        lines.push("Nothing to do: every log is closed or frozen already".to_owned());
    }
    lines.extend(warning.map(|warning| format!("ATTENTION: {warning}")));
    if let Some(file) = file {
        lines.push(format!(
            "Carry {} to a machine with network, and give it to `tallyroot election submit`",
            file.display()
        ));
    }
    crate::say(Some(lines.join("\n")))
}
