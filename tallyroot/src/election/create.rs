//! From a description to a sealed manifest and the files of every service.

use anyhow::{Context, Result, bail};
use protocol::ids::LogId;
use protocol::manifest::{
    self, Anchor, AnchorKind, Contest, Election, Manifest, Registrar, Roll, Times, Witnesses,
};
use registrar::roll::{SealedRoll, identities_from_csv};

use super::description::Description;
use super::keys::KeyMaker;
use crate::folder::Folder;

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
    let election = Election::new(&manifest(description, roll, folder, keys).await?)
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

/// The manifest, with a key for everything.
async fn manifest(
    description: &Description,
    roll: &SealedRoll,
    folder: &Folder,
    keys: &mut KeyMaker<'_>,
) -> Result<Manifest> {
    // Said here in the description's own words and units; the manifest says it in its own.
    if description.grace_s == 0 || description.grace_s > GRACE_S_MAX {
        bail!(
            "grace_s is {}: give 1 to {GRACE_S_MAX} seconds (a week)",
            description.grace_s
        );
    }
    let mut cells = Vec::new();
    for k in 0..description.cells {
        cells.push(keys.log(LogId::Cell(k)).await?);
    }
    let mut registrars = Vec::new();
    for (registrar, name) in (0u16..).zip(&description.registrars) {
        folder.make_private(&format!("registrars/{registrar}"))?;
        let mut shards = Vec::new();
        for shard in 0..description.shards {
            shards.push(keys.log(LogId::Issuance { registrar, shard }).await?);
        }
        registrars.push(Registrar {
            name: name.clone(),
            rsa: keys.rsa()?,
            shards,
        });
    }
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
        heads: keys.log(LogId::Heads).await?,
        authority: keys.authority().await?,
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
