//! `tallyroot vote`: one voter, from her code or her sign-in to a receipt.
//!
//! The order matters. The device secret is on disk before the first request, so that nothing that breaks off afterwards can cost
//! the voter her credential. The receipt is on disk as soon as the vote is recorded, and replaced once it is sealed.

mod form;
mod secret;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use protocol::ids::ElectionId;
use protocol::manifest::Election;
use rand::RngExt as _;
use serde_json::json;

use crate::cli::VoteArgs;
use crate::client::site::{Shown, Site};
use crate::client::voter::{Device, VoterError};
use crate::client::{oidc, receipts};
use secret::{SecretFile, write};

/// SPEC: "clients wait a random time up to this from issuance to cast, and end the wait at least 120 s before closing"
const BEFORE_CLOSING_S: u64 = 120;
const LOOK_AT_CLOCK: Duration = Duration::from_secs(5);

/// How far the vote came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// In the cell's log, under the cell's signature.
    Recorded,
    /// Covered by a head that every anchor holds.
    Sealed,
}

/// A vote that was cast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cast {
    /// How far it came.
    pub reached: Reached,
    /// The credential's public key, in hex: it tells this voter's receipt from others.
    pub credential: String,
    /// The cell.
    pub cell: u32,
    /// The leaf's index in that cell's log.
    pub index: u64,
}

/// Votes.
///
/// # Errors
/// See [`VoterError`]; mistakes in the arguments come before the first request.
pub async fn run(args: &VoteArgs) -> Result<Cast, VoterError> {
    let id: ElectionId = args.election.parse().context("--election")?;
    let site = Site::new(&args.site, &id)?;
    let election = site.election(&id).await?;
    let (codes, chosen) = form::filled_in(args)?;
    let choices = form::choices(&chosen, args.blank, election.contests())?;
    let registrars = election.registrar_keys().len();
    if codes.len() > registrars {
        return Err(VoterError::Own(anyhow::anyhow!(
            "{} codes are given, and this election has {registrars} registrars: give one of each, in the manifest's order",
            codes.len()
        )));
    }

    let mut kept = SecretFile::open(&args.secret, &id)?;
    kept.check_codes(&codes, &args.secret)?;
    let device = Device::new(&election, kept.device_secret()?);
    let credential = device.credential();
    let sealed_before = secret::check_receipt_place(&args.receipt, &args.secret, &id, &credential)?;
    tracing::info!(
        "your ballot:\n{}",
        form::in_words(&choices, election.contests())
    );
    for registrar in kept.signatures.len()..registrars {
        let number = u16::try_from(registrar).context("too many registrars")?;
        let (signed_in, at, nonce);
        let shown = match codes.get(registrar).filter(|code| !code.is_empty()) {
            Some(code) => {
                kept.begin(code, &args.secret)?;
                Shown::Code(code)
            }
            None => {
                let Some(begun) = device.begin_sign_in(&site, number).await? else {
                    return Err(VoterError::Own(anyhow::anyhow!(
                        "this election has {registrars} registrars, and {} must still sign: registrar {number} knows voters by their codes: give one --code (or a code of the form) for each, in the manifest's order, empty for one that you sign in for",
                        registrars - registrar,
                    )));
                };
                (at, nonce) = begun;
                signed_in = oidc::sign_in(&at, &nonce, |page| {
                    tracing::info!(
                        "sign in for registrar {number} at {}: open this page in a browser on this machine\n{page}",
                        at.issuer
                    );
                })
                .await
                .with_context(|| format!("signing in at {}", at.issuer))?;
                kept.begin_as(&signed_in.account, &args.secret)?;
                Shown::IdToken {
                    token: &signed_in.id_token,
                    ticket: &at.ticket,
                }
            }
        };
        let (signature, on_roll) = match device.sign_in(&site, number, shown).await {
            Err(refused @ VoterError::Refused(_)) => {
                kept.forget(&args.secret)?;
                return Err(refused);
            }
            signed => signed?,
        };
        tracing::info!(
            "registrar {number} signed: a credential was issued in the name of {} (roll index {})",
            on_roll.identity,
            on_roll.index
        );
        kept.keep(&signature, &args.secret)?;
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
    if !sealed_before {
        receipts::provisional(&site, &election, &in_log)
            .await
            .and_then(|receipt| receipt.encode().context("cannot write the receipt down"))
            .and_then(|bytes| write(&args.receipt, &bytes))
            // No refusal: the vote stands.
            .map_err(|error| VoterError::Unknown(format!("the vote is recorded, but {error:#}")))?;
    }
    tracing::info!(
        "recorded: your vote is leaf {} of cell {}. Receipt: {}. It shows how you voted; whoever reads it knows your vote. Your credential, to check that it is yours: {}",
        in_log.index,
        in_log.cell,
        args.receipt.display(),
        hex::encode(credential)
    );

    let cast = |reached| Cast {
        reached,
        credential: hex::encode(credential),
        cell: in_log.cell,
        index: in_log.index,
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(args.wait);
    loop {
        // The vote is recorded whatever happens here: trouble with sealing must not read as a refusal.
        let not_yet = match receipts::sealed(&site, &election, &in_log).await {
            Ok(Some(receipt)) => {
                let kept = receipt
                    .encode()
                    .context("cannot write the receipt down")
                    .and_then(|bytes| write(&args.receipt, &bytes));
                match kept {
                    Ok(()) => {
                        tracing::info!(
                            "sealed: an anchored head covers your vote, and the receipt now proves it"
                        );
                        return Ok(cast(Reached::Sealed));
                    }
                    Err(error) => format!("{error:#}"),
                }
            }
            Ok(None) => "no anchored head covers it yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if tokio::time::Instant::now() >= deadline {
            tracing::warn!(
                "recorded, but not sealed: {not_yet}. Run the same command again later to upgrade the receipt"
            );
            return Ok(cast(Reached::Recorded));
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
            // Within the time that there is: moments that are cut off at opening or before closing would all be the same one.
            let begin_ms = now_ms.max(manifest.times.opening);
            let latest_ms = manifest
                .times
                .closing
                .saturating_sub(BEFORE_CLOSING_S * 1_000);
            let span_ms = latest_ms
                .saturating_sub(begin_ms)
                .min(manifest.cast_delay_s * 1_000);
            let from_ms = begin_ms + rand::rng().random_range(0..=span_ms);
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
        // Timers stand still while a machine sleeps, so the clock is looked at again.
        while let Some(left_ms) = from_ms.checked_sub(self::now_ms()).filter(|left| *left > 0) {
            tokio::time::sleep(Duration::from_millis(left_ms).min(LOOK_AT_CLOCK)).await;
        }
    }
    Ok(())
}

fn now_ms() -> u64 {
    use ledger::clock::Clock as _;
    ledger::clock::SystemClock.now_ms()
}

/// One line for `--json`.
#[must_use]
pub fn to_json(args: &VoteArgs, cast: &Cast) -> String {
    json!({
        "election": args.election,
        "receipt": args.receipt.display().to_string(),
        "credential": cast.credential,
        "cell": cast.cell,
        "index": cast.index,
        "status": match cast.reached {
            Reached::Recorded => "recorded",
            Reached::Sealed => "sealed",
        },
    })
    .to_string()
}
