//! What a demo does, fixed when its folder is made, so that the same command on the same folder goes on where it stopped.

use std::path::Path;

use anyhow::{Context, Result, bail};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ballots::{self, BallotBox};
use super::generate;
use crate::cli::DemoArgs;

const FILE: &str = "plan.json";
/// Places on the roll of a demo that stays up, for whoever wants to vote by hand.
const GUESTS: u64 = 3;

/// The parameters that a folder was made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// SHA-256 of the ballots as read, or of the generated ones, in hex.
    pub ballots: String,
    /// Voters that are played.
    pub voters: u64,
    /// Further places on the roll.
    pub guests: u64,
    /// Cells.
    pub cells: u32,
    /// Registrars.
    pub registrars: u16,
    /// Witnesses.
    #[serde(default)]
    pub witnesses: u16,
    /// Seed of the casting order and of generated ballots.
    pub seed: u64,
}

impl Plan {
    /// The ballots that the command line asks for, and the plan of this folder, or a new one.
    ///
    /// # Errors
    /// Unreadable ballots, or a folder that was made for something else.
    pub fn resolve(args: &DemoArgs, voters_folder: &Path) -> Result<(Self, BallotBox)> {
        let kept = Self::read(voters_folder)?;
        let seed = kept
            .as_ref()
            .map_or_else(|| rand::rng().random(), |plan| plan.seed);
        let ballots = match &args.ballots {
            Some(file) => ballots::read(file, &args.choices, &args.skip)?,
            None => generate::generate(args.voters, seed),
        };
        let asked = Self {
            ballots: digest(&ballots)?,
            voters: ballots.ballots.len() as u64,
            guests: kept
                .as_ref()
                .map_or(if args.exit { 0 } else { GUESTS }, |plan| plan.guests),
            cells: args.cells,
            registrars: args.registrars,
            witnesses: args.witnesses,
            seed,
        };
        match kept {
            Some(kept) if kept != asked => bail!(
                "this folder was made for other ballots, voters, cells, registrars or witnesses ({} voters, {} cells, {} \
                 registrars, {} witnesses): give the same options again, or another --data folder",
                kept.voters,
                kept.cells,
                kept.registrars,
                kept.witnesses
            ),
            _ => Ok((asked, ballots)),
        }
    }

    /// Whether the folder was made by a demo.
    #[must_use]
    pub fn is_kept(voters_folder: &Path) -> bool {
        voters_folder.join(FILE).is_file()
    }

    fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| {
                format!(
                    "{} is damaged: begin with another --data folder",
                    path.display()
                )
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes the plan down, once, while the folder is being made.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        std::fs::write(&path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// In which order the voters cast. Independent of the order of sign-in, which is theirs in the file: whoever sees both
    /// orders must not be able to match them.
    #[must_use]
    pub fn casting_order(&self, shuffled: bool) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.voters)
            .filter_map(|voter| u32::try_from(voter).ok())
            .collect();
        if shuffled {
            order.shuffle(&mut StdRng::seed_from_u64(self.seed));
        }
        order
    }
}

fn digest(ballots: &BallotBox) -> Result<String> {
    let contests: Vec<_> = ballots
        .contests
        .iter()
        .map(|contest| (&contest.name, contest.method, &contest.options))
        .collect();
    let bytes =
        serde_json::to_vec(&(contests, &ballots.ballots)).context("cannot digest the ballots")?;
    Ok(hex::encode(Sha256::digest(bytes)))
}
