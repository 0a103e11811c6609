//! From a description to a sealed manifest and the files of every service.

use anyhow::{Context, Result, bail};
use protocol::ids::LogId;
use protocol::manifest::{
    self, Anchor, AnchorKind, Contest, Election, KeyPair, Manifest, Registrar, Roll, Times,
    Witnesses,
};
use registrar::create::RegistrarFiles;
use registrar::roll::{SealedRoll, identities_from_csv};
use registrar::rsa::BlindSigner;
use signer::{KeyFile, Signer as _};

use super::description::Description;
use crate::folder::Folder;

/// Bits of a registrar's RSA key. A credential has one signature of each registrar, so their length is a vote's length.
const RSA_BITS: u32 = 2048;
/// The manifest's bound on `grace`, in seconds.
const GRACE_S_MAX: u64 = 604_800;
/// A register with more bytes is not read into memory.
const ROLL_BYTES_MAX: u64 = 4 << 30;

/// Makes the election's folder.
///
/// # Errors
/// A description or roll that cannot be, a place that is taken; nothing is left behind.
pub async fn from_description(description: &Description, out: &Folder) -> Result<Election> {
    let identities = read_roll(description)?;
    create(description, identities, out, |_| Ok(())).await
}

/// As [`from_description`], for identities that are at hand; `also` adds files before the folder moves to its place.
///
/// # Errors
/// As [`from_description`].
pub async fn create(
    description: &Description,
    identities: Vec<String>,
    out: &Folder,
    also: impl FnOnce(&Folder) -> Result<()>,
) -> Result<Election> {
    if out.election()?.is_some() {
        bail!(
            "{} holds an election already: name a new folder",
            out.root().display()
        );
    }
    let roll = SealedRoll::seal(identities);
    out.create(|folder| async move {
        let election = Election::new(&manifest(description, &roll, &folder)?)
            .context("the description makes no valid manifest")?;
        for registrar in 0u16.. {
            if usize::from(registrar) == description.registrars.len() {
                break;
            }
            registrar::create::create(&folder.registrar(registrar), &election, registrar, &roll)
                .await
                .with_context(|| format!("cannot make the files of registrar {registrar}"))?;
        }
        also(&folder)?;
        Ok(election)
    })
    .await
}

fn read_roll(description: &Description) -> Result<Vec<String>> {
    let path = &description.roll;
    let len = std::fs::metadata(path)
        .with_context(|| {
            format!(
                "cannot read the roll {}: check `roll` in the description",
                path.display()
            )
        })?
        .len();
    if len > ROLL_BYTES_MAX {
        bail!(
            "the roll {} has {len} bytes, more than {ROLL_BYTES_MAX}",
            path.display()
        );
    }
    let bytes =
        std::fs::read(path).with_context(|| format!("cannot read the roll {}", path.display()))?;
    identities_from_csv(&bytes).with_context(|| format!("in the roll {}", path.display()))
}

/// The manifest, with a fresh key for everything; the keys are in the folder's files when it returns.
fn manifest(description: &Description, roll: &SealedRoll, folder: &Folder) -> Result<Manifest> {
    // Said here in the description's own words and units; the manifest says it in its own.
    if description.grace_s == 0 || description.grace_s > GRACE_S_MAX {
        bail!(
            "grace_s is {}: give 1 to {GRACE_S_MAX} seconds (a week)",
            description.grace_s
        );
    }
    let cells = (0..description.cells)
        .map(|k| log_keys(folder, LogId::Cell(k)))
        .collect::<Result<Vec<_>>>()?;
    let registrars = (0u16..)
        .zip(&description.registrars)
        .map(|(registrar, name)| {
            folder.make_private(&format!("registrars/{registrar}"))?;
            let shards = (0..description.shards)
                .map(|shard| log_keys(folder, LogId::Issuance { registrar, shard }))
                .collect::<Result<Vec<_>>>()?;
            Ok(Registrar {
                name: name.clone(),
                rsa: rsa_key(&folder.registrar(registrar))?,
                shards,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    folder.make_private("authority")?;
    Ok(Manifest {
        format: manifest::FORMAT.to_owned(),
        title: description.title.clone(),
        base: description.base.clone(),
        demo: description.demo,
        contests: description
            .contests
            .iter()
            .map(|contest| Contest {
                method: contest.method,
                name: contest.name.clone(),
                options: contest.options.clone(),
                tie_rule: contest.tie_rule,
            })
            .collect(),
        times: Times {
            registration: description.registration.0,
            opening: description.opening.0,
            closing: description.closing.0,
            grace: description.grace_s.saturating_mul(1_000),
        },
        retention: description.retention_ms(),
        cells,
        registrars,
        heads: log_keys(folder, LogId::Heads)?,
        authority: KeyPair {
            main: key(&folder.authority_key(false))?,
            spare: key(&folder.authority_key(true))?,
        },
        roll: Roll {
            size: roll.size(),
            root: roll.root().0,
        },
        batch_min: description.batch_min,
        batch_wait_ms: description.batch_wait_ms,
        cast_delay_s: description.cast_delay_s,
        head_interval_ms: description.head_interval_ms,
        anchors: description
            .anchors
            .iter()
            .map(|name| Anchor {
                kind: AnchorKind::Directory,
                name: name.clone(),
            })
            .collect(),
        witnesses: Witnesses {
            keys: description
                .witnesses
                .iter()
                .map(|witness| witness.vkey.clone())
                .collect(),
            quorum: description.quorum(),
        },
    })
}

fn log_keys(folder: &Folder, log: LogId) -> Result<KeyPair> {
    folder.make_private(&log.prefix())?;
    Ok(KeyPair {
        main: key(&folder.log_key(log, false))?,
        spare: key(&folder.log_key(log, true))?,
    })
}

fn key(path: &std::path::Path) -> Result<[u8; 32]> {
    Ok(KeyFile::generate(path)
        .context("cannot make a key file")?
        .public_key())
}

fn rsa_key(files: &RegistrarFiles) -> Result<Vec<u8>> {
    let signer = BlindSigner::generate(RSA_BITS).context("cannot make an RSA key")?;
    signer
        .create_file(&files.rsa_key)
        .context("cannot write an RSA key file")?;
    Ok(signer.public().spki().to_vec())
}
