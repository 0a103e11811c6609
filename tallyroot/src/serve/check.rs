//! What must be right before a service starts: `--check-config` says it, and start refuses without it. Nothing here takes a log over or serves.

use std::time::Duration;

use anchoring::Witness;
use anyhow::{Context, Result, anyhow, bail};
use ledger::heads::name_of;
use ledger::publisher::Publisher as _;
use ledger::schedule::{self, CLOCKS_DIFFER_MAX, Schedule};
use ledger::store::postgres::Postgres;
use listener::Tls;
use protocol::manifest::{Election, MANIFEST_LEN_MAX};
use registrar::oidc::{Oidc, ProviderError};
use serde_json::{Value, json};
use signer::{KeySource, OpenError};
use tokio::sync::watch;

use super::config::{Config, Database, LogPlace, Objects, Published, Role};
use super::service::{Prepared, Surroundings};
use super::{parts, patience};
use crate::election::notices::time;

/// A certificate that expires within this time should have been renewed.
const RENEWED_BY: Duration = Duration::from_secs(7 * 86_400);

/// How long the published heads log may take to be read.
const SCHEDULE_KNOWN: Duration = Duration::from_secs(60);

/// How long a witness may take to answer.
const WITNESS_REACHED: Duration = Duration::from_secs(2);

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    /// A stable name: `key`, `database`, `published`, `schedule`, `clock`, `registrar`, `anchors`, `witnesses`, `tls`, `listen`.
    pub(crate) name: &'static str,
    /// What was found, or what is wrong and what to do.
    pub(crate) outcome: Result<String, String>,
    /// What is wrong may pass by itself.
    pub(crate) passes: bool,
}

impl Check {
    /// From a result.
    pub(crate) fn of(name: &'static str, outcome: Result<String>) -> Self {
        let passes = outcome.as_ref().is_err_and(patience::passes);
        Self {
            name,
            outcome: outcome.map_err(|error| crate::in_words(&error)),
            passes,
        }
    }

    /// A line for people.
    #[must_use]
    pub(crate) fn line(&self) -> String {
        match &self.outcome {
            Ok(found) => format!("ok     {:<13} {found}", self.name),
            Err(wrong) => format!("WRONG  {:<13} {wrong}", self.name),
        }
    }

    /// As `--json` has it.
    #[must_use]
    pub(crate) fn to_json(&self) -> Value {
        let (ok, message) = match &self.outcome {
            Ok(found) => (true, found),
            Err(wrong) => (false, wrong),
        };
        json!({ "check": self.name, "ok": ok, "message": message })
    }
}

/// Looks at everything, and goes on after what is wrong; hands on what was opened for the start.
pub(super) async fn all(config: &Config, around: &Surroundings) -> (Vec<Check>, Option<Prepared>) {
    let mut checks = vec![
        Check::of("published", published(config).await),
        Check::of("schedule", known(&around.schedule).await),
    ];
    for place in config.logs() {
        checks.push(Check::of("key", key(config, place, &around.schedule).await));
        checks.push(Check::of("database", database(config, place).await));
    }
    if let Role::Anchor {
        anchors, witnesses, ..
    } = &config.role
    {
        let opened = parts::open_anchors(anchors, &config.published, &config.election).await;
        checks.push(Check::of(
            "anchors",
            opened.map(|opened| {
                let places = anchors.iter().map(|anchor| match &anchor.objects {
                    Objects::Directory { folder, .. } => format!(
                        "{} in {} (who runs this machine can delete it)",
                        anchor.name,
                        folder.display()
                    ),
                    Objects::Bucket(place) => format!("{} in {place}", anchor.name),
                });
                format!(
                    "{} of the manifest's: {}",
                    opened.len(),
                    places.collect::<Vec<_>>().join("; ")
                )
            }),
        ));
        if !witnesses.is_empty() {
            let found = reach(&config.election, witnesses).await;
            checks.push(Check::of("witnesses", Ok(found)));
        }
    }
    if let Role::Registrar {
        oidc: Some(oidc), ..
    } = &config.role
    {
        checks.push(Check::of("oidc", provider(oidc).await));
    }
    // Behind what asks KMS and S3, whose answers tell the time.
    checks.push(Check::of("clock", clock(config, around).await));
    let prepared = match Prepared::open(config).await {
        Ok(prepared) => {
            if let Prepared::Registrar(_) = &prepared {
                checks.push(Check::of(
                    "registrar",
                    Ok("RSA key, code key and roll are the manifest's".to_owned()),
                ));
            }
            Some(prepared)
        }
        Err(error) => {
            checks.push(Check::of("registrar", Err(error)));
            None
        }
    };
    (checks, prepared)
}

/// A provider that is away is no reason not to start: codes are taken without it. One that is another than the configured one is.
async fn provider(oidc: &Oidc) -> Result<String> {
    let issuer = &oidc.settings().issuer;
    match oidc.reach().await {
        Ok(0) => bail!(
            "{issuer} publishes no key for signatures with one of the `algorithms`: add the one that it signs ID tokens with"
        ),
        Ok(keys) => Ok(format!("{issuer}: {keys} keys for signatures")),
        Err(ProviderError::OtherIssuer(other)) => bail!(
            "`issuer` is {issuer}, and the provider there calls itself {other}: give it letter by letter"
        ),
        Err(error) => Ok(format!("NOT REACHED: {error}")),
    }
}

/// A witness that is away is no reason not to start: the others may be a quorum, and heads are made all the same.
async fn reach(election: &Election, witnesses: &[Witness]) -> String {
    let looks = witnesses.iter().map(async |witness| {
        let looked = tokio::time::timeout(WITNESS_REACHED, witness.reach(election)).await;
        let found = match looked {
            Ok(Ok(Some(size))) => format!("has cosigned up to size {size}"),
            Ok(Ok(None)) => "has not cosigned this election's heads log yet".to_owned(),
            Ok(Err(error)) => format!("NOT REACHED: {error}"),
            Err(_) => "NOT REACHED: no answer".to_owned(),
        };
        format!("{} {found}", witness.key().name())
    });
    futures::future::join_all(looks).await.join("; ")
}

/// The place is there, holds this election's manifest, and honours create-never-replace.
async fn published(config: &Config) -> Result<String> {
    let election = &config.election;
    let (place, what) = match &config.published {
        Published::Directory(public) => (format!("{}/", public.display()), "`directory`"),
        Published::Bucket(place) => (place.to_string(), "`bucket`"),
    };
    if let Published::Directory(public) = &config.published
        && !public.is_dir()
    {
        bail!(
            "the published directory {} is not there: make it, or correct {what} in [published]",
            public.display()
        );
    }
    let reader = parts::reader(&config.published, election).await?;
    let manifest = reader
        .read("manifest.json", MANIFEST_LEN_MAX)
        .await
        .with_context(|| format!("in {place}"))?;
    match manifest {
        Some(bytes) if bytes == election.manifest_bytes() => {}
        Some(_) => bail!(
            "{place}elections/{}/manifest.json is not the manifest of that election: put the manifest there",
            election.id()
        ),
        None => bail!(
            "{place}elections/{}/manifest.json is not there: publish the manifest first",
            election.id()
        ),
    }
    let probed = match &config.published {
        Published::Directory(public) => {
            // A name of its own: the active process's unfinished files are not ours to remove.
            let directory = parts::directory(public, election, &probe_owner())?;
            let probed = directory.probe().await;
            directory.forget();
            probed
        }
        // It writes results.json and nothing else, and need not be allowed to.
        Published::Bucket(_) if matches!(config.role, Role::Tally { .. }) => Ok(()),
        Published::Bucket(bucket) => parts::s3(bucket, election).await?.probe().await,
    };
    probed.with_context(|| format!("{place} cannot hold a log's files"))?;
    Ok(format!(
        "{place} holds the manifest, and keeps what it is given"
    ))
}

/// Random: in containers every process has the same id, and two that start at once on one folder must not remove each other's probe.
fn probe_owner() -> String {
    format!("check-{}", hex::encode(rand::random::<[u8; 8]>()))
}

async fn known(schedule: &watch::Receiver<Schedule>) -> Result<String> {
    let mut schedule = schedule.clone();
    let known = tokio::time::timeout(SCHEDULE_KNOWN, schedule::known(&mut schedule)).await;
    let schedule = schedule.borrow();
    if known.is_err() || !schedule.is_known() {
        bail!(
            "the published heads log cannot be read, so nobody knows which notices are in force: {:?}",
            schedule.health()
        );
    }
    Ok(match schedule.heads_size() {
        0 => "no head is published yet".to_owned(),
        size => format!("the heads log is read and checked up to size {size}"),
    })
}

/// Until when the certificate does; what does not go on to the end of the election should be renewed in time.
pub(super) fn certificate(tls: &Tls, around: &Surroundings) -> String {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let until = ms(tls.not_after());
    let found = format!("the certificate is valid until {}", time(until));
    let soon = until < around.clock.now_ms().saturating_add(ms(RENEWED_BY));
    if soon && until < around.schedule.borrow().in_force().closing() {
        let wrong = format!("{found}, which is before the election closes: have it renewed");
        tracing::warn!("tls: {wrong}");
        return wrong;
    }
    found
}

/// A clock that is behind would date entries into the past and keep the election open too long; one that is ahead would end it too early. The newest head shows which it is, if it is new:
/// where it looks old, the next one is waited for, and where none comes the clock cannot be judged (and then closes nothing that heads do not, see [`Schedule::agreed_time`]).
pub(super) async fn clock(config: &Config, around: &Surroundings) -> Result<String> {
    agrees_with_aws()?;
    let mut schedule = around.schedule.clone();
    let newest = schedule.borrow_and_update().clone();
    let size = newest.heads_size();
    if let Some(fine) = judge(&newest, around.clock.now_ms())? {
        return Ok(fine.to_owned());
    }
    // After the final head there is none, and nobody but the anchoring service makes any.
    if !newest.has_final_head() && !matches!(config.role, Role::Anchor { .. }) {
        let next = schedule.wait_for(|schedule| schedule.heads_size() > size);
        let next = match tokio::time::timeout(newest.clock_ahead_max(), next).await {
            Ok(Ok(next)) => next.clone(),
            // Nobody follows the heads log any more, or it stands still.
            Ok(Err(_)) | Err(_) => newest,
        };
        if let Some(fine) = judge(&next, around.clock.now_ms())? {
            return Ok(fine.to_owned());
        }
    }
    tracing::warn!(
        "the heads log stands still, so nobody knows whether this machine's clock is ahead of the others': see that it is set (NTP)"
    );
    Ok(
        "not behind the newest published head, which is too old to tell whether it is ahead"
            .to_owned(),
    )
}

/// Before the first head there is nothing else to compare the clock with, and the anchoring service makes heads by its own.
fn agrees_with_aws() -> Result<()> {
    match aws::clock_seen() {
        Some(seen) if seen.ahead_s.unsigned_abs() > CLOCKS_DIFFER_MAX.as_secs() => bail!(
            "this machine's clock is {} s {} that of {}: set it (NTP)",
            seen.ahead_s.unsigned_abs(),
            if seen.ahead_s > 0 {
                "ahead of"
            } else {
                "behind"
            },
            seen.host,
        ),
        _ => Ok(()),
    }
}

/// `None`: the newest head is too old, or the clock is ahead; a new one would tell.
fn judge(schedule: &Schedule, now: u64) -> Result<Option<&'static str>> {
    let head = schedule.head_time();
    let behind = head.saturating_sub(now);
    if Duration::from_millis(behind) > CLOCKS_DIFFER_MAX {
        bail!(
            "this machine's clock is at least {} s behind the newest published head: set it (NTP), and see that no other machine's is ahead",
            behind.div_ceil(1_000)
        );
    }
    if head == 0 {
        return Ok(Some("no head is published yet to compare it with"));
    }
    let ahead_max = schedule.clock_ahead_max();
    if Duration::from_millis(now.saturating_sub(head)) <= ahead_max {
        return Ok(Some(
            "agrees with the newest published head, but for a head interval and 5 s",
        ));
    }
    match schedule.clock_ahead_ms(now) {
        None => Ok(None),
        Some(ahead) if Duration::from_millis(ahead) <= ahead_max => Ok(Some(
            "agrees with the newest head that was seen, but for a head interval and 5 s",
        )),
        Some(ahead) => bail!(
            "this machine's clock is about {} s ahead of the newest published head, which is new: set it (NTP), and see that the anchoring service's is right",
            ahead / 1_000
        ),
    }
}

/// The key in force is there, and would sign. The other one, where it is named, is the manifest's if it can be used at all: a key that was switched away from
/// should be destroyed, and one that waits for a switch may be kept disabled until then.
async fn key(
    config: &Config,
    place: &LogPlace,
    schedule: &watch::Receiver<Schedule>,
) -> Result<String> {
    let election = &config.election;
    let log = place.log;
    let keys = election
        .log_keys(log)
        .ok_or_else(|| anyhow!("the manifest has no log {log}"))?;
    let schedule = schedule.borrow().clone();
    let switched = schedule.in_force().switch(log).is_some();
    let mut besides = String::new();
    for (name, source, expected, in_force) in [
        ("main", &place.key.main, keys.main, !switched),
        ("spare", &place.key.spare, keys.spare, switched),
    ] {
        let Some(source) = source else { continue };
        let expected = *expected.as_bytes();
        let opened = parts::check_key(election, source, expected).await;
        match opened.with_context(|| format!("`{name}` in [key] of {log}")) {
            // Whoever breaks into the process would have both, and a switch nothing to switch to.
            Ok(_) if name == "spare" && !in_force && matches!(source, KeySource::File(_)) => {
                besides = "; its spare key is here as well: keep it elsewhere until a notice calls for it".to_owned();
            }
            Ok(_) => {}
            // Another key than the manifest's is a mistake in the configuration, whenever it would be found.
            Err(error) if in_force || error.downcast_ref::<OpenError>().is_none() => {
                return Err(error);
            }
            // What went wrong is not said: its advice would be to bring the key back.
            Err(_) if switched => {
                besides = "; its main key, which a notice has retired, cannot be used, and need not: take `main` out of [key]".to_owned();
            }
            Err(error) => {
                besides = format!(
                    "; its spare key cannot be used now: see that it can before a switch ({error:#})"
                );
            }
        }
    }
    parts::key_in_force(election, place, schedule.in_force()).await?;
    let which = match schedule.in_force().switch(log) {
        None => "main",
        Some(_) => "spare",
    };
    Ok(format!(
        "{log}: its {which} key, which is in force, is there{besides}"
    ))
}

/// It can be reached, is this log's or new, and promises what the election needs.
pub(super) async fn database(config: &Config, place: &LogPlace) -> Result<String> {
    let log = place.log;
    if let Database::Sqlite(path) = &place.database
        && !path.exists()
        && config.election.manifest().demo
    {
        // Made at start; what can be seen now is whether its folder is there.
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) {
            bail!(
                "the folder of {}, the database of {log}, is not there: make it, or correct `sqlite` in [database]",
                path.display()
            );
        }
        return Ok(format!("{log}: {} will be made", path.display()));
    }
    let there = match &place.database {
        Database::Sqlite(_) => {
            parts::open_store(&config.election, place).await?;
            true
        }
        Database::Postgres(postgres, durability) => {
            let location = parts::located(postgres)?;
            let name = name_of(&config.election, log);
            let demo = config.election.manifest().demo;
            Postgres::check(&location, &name, durability, demo)
                .await
                .with_context(|| format!("the database of {log}"))?
        }
    };
    Ok(match there {
        true => format!("{log}: this log's, and durable as wanted"),
        false => format!("{log}: durable as wanted, and without a log yet"),
    })
}

#[cfg(test)]
mod tests {
    use super::probe_owner;

    #[test]
    fn two_that_probe_at_once_do_not_share_a_name() {
        assert_ne!(probe_owner(), probe_owner());
    }
}
