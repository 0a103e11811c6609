//! `tallyroot vote`: one voter, from her code to a receipt.
//!
//! The order matters. The device secret is on disk before the first request, so that nothing that breaks off afterwards can cost
//! the voter her credential. The receipt is on disk as soon as the vote is recorded, and replaced once it is sealed.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use protocol::credential::DeviceSecret;
use protocol::ids::ElectionId;
use protocol::manifest::{Contest, Election, Method};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cli::VoteArgs;
use crate::client::receipts;
use crate::client::site::Site;
use crate::client::voter::{Device, VoterError};

/// SPEC: "clients wait a random time up to this from issuance to cast, and end the wait at least 120 s before closing"
const BEFORE_CLOSING_S: u64 = 120;

/// A form with more bytes is none.
const FORM_BYTES_MAX: u64 = 1 << 20;

/// What a voter fills in.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    /// The registrars' codes, in the manifest's order.
    #[serde(default)]
    codes: Vec<String>,
    /// The choices of each contest, by its name.
    #[serde(default)]
    choices: BTreeMap<String, Vec<String>>,
}

/// What the secret file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretFile {
    about: String,
    election: ElectionId,
    secret: String,
    /// Hex signatures of the registrars that have signed so far, in the manifest's order.
    signatures: Vec<String>,
    /// When casting may begin, in ms since 1970: drawn once, so that trying again does not draw again.
    #[serde(default)]
    cast_from_ms: Option<u64>,
}

/// How far the vote came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// In the cell's log, under the cell's signature.
    Recorded,
    /// Covered by a head that every anchor holds.
    Sealed,
}

/// Votes.
///
/// # Errors
/// See [`VoterError`]; mistakes in the arguments come before the first request.
pub async fn run(args: &VoteArgs) -> Result<Reached, VoterError> {
    let id: ElectionId = args.election.parse().context("--election")?;
    let site = Site::new(&args.site, &id)?;
    let election = site.election(&id).await?;
    let (codes, chosen) = filled_in(args)?;
    let choices = choices(&chosen, election.contests())?;

    let mut kept = SecretFile::open(&args.secret, &id)?;
    let device = Device::new(&election, kept.device_secret()?);
    for registrar in kept.signatures.len()..election.registrar_keys().len() {
        let Some(code) = codes.get(registrar) else {
            return Err(VoterError::Own(anyhow::anyhow!(
                "this election has {} registrars, and {} must still sign: give one --code (or a code of the form) for each, in the manifest's order",
                election.registrar_keys().len(),
                election.registrar_keys().len() - registrar,
            )));
        };
        let number = u16::try_from(registrar).context("too many registrars")?;
        let (signature, on_roll) = device.sign_in(&site, number, code).await?;
        tracing::info!(
            "registrar {number} signed: a credential was issued in the name of {} (roll index {})",
            on_roll.identity,
            on_roll.index
        );
        kept.signatures.push(hex::encode(signature));
        kept.save(&args.secret)?;
    }
    let signatures = kept
        .signatures
        .iter()
        .map(|signature| {
            hex::decode(signature).context("the secret file holds a damaged signature")
        })
        .collect::<Result<Vec<_>>>()?;
    let vote = device.vote(&signatures, &choices)?;

    if !args.no_delay {
        wait_to_cast(&election, &mut kept, &args.secret).await?;
    }
    let in_log = device.cast(&site, &vote).await?;
    let receipt = receipts::provisional(&election, &in_log);
    write(
        &args.receipt,
        &receipt.encode().context("cannot write the receipt down")?,
    )?;
    tracing::info!(
        "recorded: your vote is in the ledger. Receipt: {}. It shows how you voted; whoever reads it knows your vote",
        args.receipt.display()
    );

    let deadline = tokio::time::Instant::now() + Duration::from_secs(args.wait);
    loop {
        // The vote is recorded whatever happens here: trouble with sealing must not read as a refusal.
        let not_yet = match receipts::sealed(&site, &election, &in_log).await {
            Ok(Some(receipt)) => {
                write(
                    &args.receipt,
                    &receipt.encode().context("cannot write the receipt down")?,
                )?;
                tracing::info!(
                    "sealed: an anchored head covers your vote, and the receipt now proves it"
                );
                return Ok(Reached::Sealed);
            }
            Ok(None) => "no anchored head covers it yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if tokio::time::Instant::now() >= deadline {
            tracing::warn!(
                "recorded, but not sealed: {not_yet}. Run the same command again later to upgrade the receipt"
            );
            return Ok(Reached::Recorded);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Waits out the random delay that keeps sign-in and casting apart in time.
async fn wait_to_cast(election: &Election, kept: &mut SecretFile, path: &Path) -> Result<()> {
    let manifest = election.manifest();
    let now_ms = now_ms();
    let from_ms = match kept.cast_from_ms {
        Some(from_ms) => from_ms,
        None => {
            let delay_ms = rand::rng().random_range(0..=manifest.cast_delay_s * 1_000);
            let latest_ms = manifest
                .times
                .closing
                .saturating_sub(BEFORE_CLOSING_S * 1_000);
            let from_ms = (now_ms + delay_ms).min(latest_ms);
            kept.cast_from_ms = Some(from_ms);
            kept.save(path)?;
            from_ms
        }
    };
    if let Some(wait_ms) = from_ms.checked_sub(now_ms).filter(|wait_ms| *wait_ms > 0) {
        tracing::info!(
            "waiting {} s before casting, so that nobody can match sign-ins and votes by their times. \
             Your vote is not cast until it is recorded; stopping pauses the wait, running again resumes it",
            wait_ms.div_ceil(1_000)
        );
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
    Ok(())
}

/// The codes, and the choices as `CONTEST=OPTION`.
fn filled_in(args: &VoteArgs) -> Result<(Vec<String>, Vec<String>)> {
    let Some(path) = &args.form else {
        return Ok((args.code.clone(), args.choose.clone()));
    };
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin()
            .take(FORM_BYTES_MAX + 1)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(FORM_BYTES_MAX + 1).read_to_string(&mut text))
    };
    read.with_context(|| format!("cannot read the form {}", path.display()))?;
    if text.len() as u64 > FORM_BYTES_MAX {
        bail!(
            "the form {} has more than {FORM_BYTES_MAX} bytes",
            path.display()
        );
    }
    // Without the parser's own words: those quote the line, and a line holds a code or a choice.
    let form: Form = toml::from_str(&text).map_err(|error| {
        let line = error
            .span()
            .and_then(|span| text.get(..span.start))
            .map_or(1, |before| before.matches('\n').count() + 1);
        anyhow::anyhow!(
            "the form {} cannot be read at line {line}: see `tallyroot vote --help` for what it holds",
            path.display()
        )
    })?;
    let chosen = form
        .choices
        .iter()
        .flat_map(|(contest, options)| {
            options
                .iter()
                .map(move |option| format!("{contest}={option}"))
        })
        .collect();
    Ok((form.codes, chosen))
}

/// For each contest, the option indices that `--choose CONTEST=OPTION` names, as a ballot wants them.
fn choices(chosen: &[String], contests: &[Contest]) -> Result<Vec<Vec<u16>>> {
    let mut choices: Vec<Vec<u16>> = vec![Vec::new(); contests.len()];
    for choice in chosen {
        // Contest names may hold `=`, and so may options: the pair that exists is meant.
        let found = choice.match_indices('=').find_map(|(at, _)| {
            let (name, option) = (choice.get(..at)?, choice.get(at + 1..)?);
            let place = contests.iter().position(|contest| contest.name == name)?;
            let index = contests
                .get(place)?
                .options
                .iter()
                .position(|label| label == option)?;
            Some((place, u16::try_from(index).ok()?))
        });
        let Some((place, index)) = found else {
            bail!(
                "`{choice}` names no option of this election. The options:\n{}",
                contests
                    .iter()
                    .flat_map(|contest| {
                        contest
                            .options
                            .iter()
                            .map(move |option| format!("  {}={option}", contest.name))
                    })
                    .collect::<Vec<_>>()
                    .join("\n")
            );
        };
        let (Some(of_contest), Some(contest)) = (choices.get_mut(place), contests.get(place))
        else {
            continue;
        };
        if of_contest.contains(&index) {
            bail!("`{choice}` stands there twice");
        }
        if contest.method == Method::Plurality && !of_contest.is_empty() {
            bail!("`{}` takes one choice only", contest.name);
        }
        of_contest.push(index);
    }
    for (contest, of_contest) in contests.iter().zip(&mut choices) {
        if contest.method == Method::Approval {
            of_contest.sort_unstable();
        }
    }
    Ok(choices)
}

impl SecretFile {
    /// The file, or a new one with a fresh secret, on disk before this returns.
    fn open(path: &Path, election: &ElectionId) -> Result<Self> {
        match std::fs::read(path) {
            Ok(bytes) => {
                let kept: Self = serde_json::from_slice(&bytes).with_context(|| {
                    format!(
                        "{} is not a secret file of `tallyroot vote`",
                        path.display()
                    )
                })?;
                if kept.election != *election {
                    bail!(
                        "{} belongs to election {}: name another file with --secret",
                        path.display(),
                        kept.election
                    );
                }
                Ok(kept)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let kept = Self {
                    about: "The secret of your vote. Keep it until the result is final, and show it to nobody."
                        .to_owned(),
                    election: *election,
                    secret: hex::encode(rand::random::<[u8; 32]>()),
                    signatures: Vec::new(),
                    cast_from_ms: None,
                };
                kept.save(path)?;
                Ok(kept)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn device_secret(&self) -> Result<DeviceSecret> {
        let bytes: [u8; 32] = hex::decode(&self.secret)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .context("the secret file is damaged")?;
        Ok(DeviceSecret::from_bytes(bytes))
    }

    fn save(&self, path: &Path) -> Result<()> {
        write(path, &serde_json::to_vec_pretty(self)?)
    }
}

/// Replaces a file in one step; readable for its owner only, since secrets and receipts both show what must stay private.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)?;
        // The name must be as durable as the bytes: the secret has to outlive whatever breaks off after the first request.
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        std::fs::File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
    };
    // Only this function makes such a file; one that is there was left by a run that broke off.
    let _ = std::fs::remove_file(&partial);
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn now_ms() -> u64 {
    use ledger::clock::Clock as _;
    ledger::clock::SystemClock.now_ms()
}

/// One line for `--json`.
#[must_use]
pub fn to_json(args: &VoteArgs, reached: Reached) -> String {
    json!({
        "election": args.election,
        "receipt": args.receipt.display().to_string(),
        "status": match reached {
            Reached::Recorded => "recorded",
            Reached::Sealed => "sealed",
        },
    })
    .to_string()
}
