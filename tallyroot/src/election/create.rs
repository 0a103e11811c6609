//! From a description to a sealed manifest and the files of every service.

use anyhow::{Context, Result, bail};
use protocol::ed25519::SigningKey;
use protocol::ids::LogId;
use protocol::manifest::{
    self, Anchor, AnchorKind, Contest, Election, KeyPair, Manifest, Registrar, Roll, Times,
    Witnesses,
};
use registrar::roll::{SealedRoll, identities_from_csv};

use super::description::Description;
use super::keys::KeyMaker;
use crate::folder::Folder;

/// The manifest's bound on `grace`, in seconds.
const GRACE_S_MAX: u64 = 604_800;
/// The manifest's bound on all logs together.
const LOGS_MAX: u32 = 1_024;
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
        let mut keys = KeyMaker::new(description, &folder);
        match fill(description, &roll, &folder, &mut keys, also).await {
            Ok(election) => Ok(election),
            Err(error) => Err(keys.left_over(error)),
        }
    })
    .await
}

/// Makes all that the folder holds besides the manifest.
async fn fill(
    description: &Description,
    roll: &SealedRoll,
    folder: &Folder,
    keys: &mut KeyMaker<'_>,
    also: impl FnOnce(&Folder) -> Result<()>,
) -> Result<Election> {
    let rsa: Vec<Vec<u8>> = description
        .registrars
        .iter()
        .map(|_| keys.rsa())
        .collect::<Result<_>>()?;
    // A date in the wrong place is found before a key is made: those in KMS cannot be taken back, and cost money.
    let draft = ElectionKeys::draft(description, &rsa)?;
    Election::new(&manifest(description, roll, draft))
        .context("the description makes no valid manifest")?;
    keys.check_counts(description)?;
    let made = ElectionKeys::make(description, &rsa, folder, keys).await?;
    let election = Election::new(&manifest(description, roll, made))
        .context("the description makes no valid manifest")?;
    keys.seal(&election).await?;
    for (registrar, _) in (0u16..).zip(&description.registrars) {
        registrar::create::create(&folder.registrar(registrar), &election, registrar, roll)
            .await
            .with_context(|| format!("cannot make the files of registrar {registrar}"))?;
    }
    also(folder)?;
    Ok(election)
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

/// Every key of a manifest.
struct ElectionKeys {
    cells: Vec<KeyPair>,
    registrars: Vec<Registrar>,
    heads: KeyPair,
    authority: KeyPair,
}

impl ElectionKeys {
    /// Keys that stand in for those that are still to be made, so that everything else of a manifest can be checked before.
    fn draft(description: &Description, rsa: &[Vec<u8>]) -> Result<Self> {
        // Said here in the description's own words and units; the manifest says it in its own.
        if description.grace_s == 0 || description.grace_s > GRACE_S_MAX {
            bail!(
                "grace_s is {}: give 1 to {GRACE_S_MAX} seconds (a week)",
                description.grace_s
            );
        }
        if description.cells > LOGS_MAX || description.shards > LOGS_MAX {
            bail!(
                "cells is {} and shards is {}: an election has at most {LOGS_MAX} logs in all",
                description.cells,
                description.shards
            );
        }
        let mut made = 0u64;
        let mut key = || {
            made += 1;
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&made.to_be_bytes());
            SigningKey::from_seed(&seed).public()
        };
        let mut pair = || KeyPair {
            main: key(),
            spare: key(),
        };
        let mut pairs = |count: u32| (0..count).map(|_| pair()).collect::<Vec<_>>();
        let cells = pairs(description.cells);
        let registrars = description.registrars.iter().zip(rsa);
        let registrars = registrars
            .map(|(name, rsa)| Registrar {
                name: name.clone(),
                rsa: rsa.clone(),
                shards: pairs(description.shards),
            })
            .collect();
        Ok(Self {
            cells,
            registrars,
            heads: pair(),
            authority: pair(),
        })
    }

    /// The real ones, made or named where the description says.
    async fn make(
        description: &Description,
        rsa: &[Vec<u8>],
        folder: &Folder,
        keys: &mut KeyMaker<'_>,
    ) -> Result<Self> {
        let mut cells = Vec::new();
        for k in 0..description.cells {
            cells.push(keys.log(LogId::Cell(k)).await?);
        }
        let mut registrars = Vec::new();
        for ((registrar, name), rsa) in (0u16..).zip(&description.registrars).zip(rsa) {
            folder.make_private(&format!("registrars/{registrar}"))?;
            let mut shards = Vec::new();
            for shard in 0..description.shards {
                shards.push(keys.log(LogId::Issuance { registrar, shard }).await?);
            }
            registrars.push(Registrar {
                name: name.clone(),
                rsa: rsa.clone(),
                shards,
            });
        }
        Ok(Self {
            cells,
            registrars,
            heads: keys.log(LogId::Heads).await?,
            authority: keys.authority().await?,
        })
    }
}

fn manifest(description: &Description, roll: &SealedRoll, keys: ElectionKeys) -> Manifest {
    Manifest {
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
        cells: keys.cells,
        registrars: keys.registrars,
        heads: keys.heads,
        authority: keys.authority,
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
    }
}
