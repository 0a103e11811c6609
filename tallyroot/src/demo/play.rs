//! The voters' part of a demo: sign in, cast, and look again.

use std::sync::Arc;

use anyhow::{Context, Result};
use protocol::manifest::Election;

use super::ballots::BallotBox;
use super::plan::Plan;
use super::sealing;
use super::voters::Voters;
use crate::client::site::Site;
use crate::folder::Folder;
use crate::progress::Progress;

/// What is played on one election.
#[derive(Debug)]
pub struct Play {
    plan: Plan,
    ballots: Arc<Vec<Vec<Vec<u16>>>>,
    codes: Vec<Vec<String>>,
    voters: Arc<Voters>,
    election: Election,
    site: Site,
}

impl Play {
    /// The voters of a folder, with what they remember.
    ///
    /// # Errors
    /// Files that are missing or damaged.
    pub fn open(
        plan: Plan,
        ballots: BallotBox,
        folder: &Folder,
        election: &Election,
        site: &Site,
    ) -> Result<Self> {
        let codes = (0..plan.registrars)
            .map(|registrar| read_codes(folder, registrar))
            .collect::<Result<Vec<_>>>()?;
        let voters = Voters::open(&folder.voters(), codes.clone(), election, site.clone())?;
        Ok(Self {
            plan,
            ballots: Arc::new(ballots.ballots),
            codes,
            voters: Arc::new(voters),
            election: election.clone(),
            site: site.clone(),
        })
    }

    /// Everybody gets a credential who has none yet.
    ///
    /// # Errors
    /// The first voter who is refused or cheated.
    pub async fn sign_in(&self) -> Result<()> {
        let progress = Progress::begin("signing in", self.plan.voters);
        self.voters
            .sign_in(&progress)
            .await
            .context("while voters signed in")?;
        progress.end();
        Ok(())
    }

    /// Everybody casts whose vote is not recorded yet.
    ///
    /// # Errors
    /// The first voter who is refused or cheated.
    pub async fn cast(&self, shuffled: bool) -> Result<()> {
        let progress = Progress::begin("casting", self.plan.voters);
        let order = self.plan.casting_order(shuffled);
        self.voters
            .cast(&self.ballots, order, &progress)
            .await
            .context("while voters cast")?;
        progress.end();
        Ok(())
    }

    /// Once the election has ended, everybody finds her vote under the final head; and a few keep their receipts.
    ///
    /// # Errors
    /// A vote that is not where its voter was told.
    pub async fn look_again(&self, ended: bool, folder: &Folder) -> Result<()> {
        if ended {
            sealing::check(&self.site, &self.election, &self.voters.recorded())
                .await
                .context("while voters checked their sealed votes")?;
        }
        sealing::keep_receipts(
            &self.site,
            &self.election,
            &self.voters,
            &self.ballots,
            folder,
        )
        .await
    }

    /// For each place on the roll that nobody is played on, the codes of all registrars.
    #[must_use]
    pub fn guests(&self) -> Vec<Vec<String>> {
        (self.plan.voters..self.plan.voters + self.plan.guests)
            .filter_map(|guest| {
                let guest = usize::try_from(guest).ok()?;
                self.codes
                    .iter()
                    .map(|sheet| sheet.get(guest).cloned())
                    .collect()
            })
            .collect()
    }
}

/// A registrar's sheet, in the order of identities, which is the order of the voters; the guests come last.
fn read_codes(folder: &Folder, registrar: u16) -> Result<Vec<String>> {
    let path = folder.registrar(registrar).code_sheet;
    let mut reader = csv::Reader::from_path(&path)
        .with_context(|| format!("cannot read the codes in {}", path.display()))?;
    reader
        .records()
        .map(|record| {
            let record = record?;
            record
                .get(1)
                .map(str::to_owned)
                .context("a line without a code")
        })
        .collect::<Result<Vec<_>>>()
        .with_context(|| format!("cannot read the codes in {}", path.display()))
}
