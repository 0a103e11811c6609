//! Which key signs which log, by the authority's notices in the published heads log.
//!
//! As a rule no log was ever switched, and reading the whole heads log for each voter would be waste. So a device starts from the
//! manifest's main keys, and reads the notices where a signature is not theirs.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use ledger::heads::{HeadsFollower, keys_of, name_of};
use ledger::log::Keys;
use ledger::publisher::CHECKPOINT_BYTES_MAX;
use ledger::read::LogClient;
use protocol::checkpoint::Checkpoint;
use protocol::grammar::{Schedule, Switch};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::tlog_proof::TlogProof;

use super::site::Site;

/// The keys in force.
#[derive(Clone)]
pub struct InForce {
    election: Election,
    schedule: Schedule,
    /// The heads checkpoint below which the notices were read.
    heads: Option<(Checkpoint, Bytes)>,
}

impl InForce {
    /// As the manifest has it: every log under its main key.
    #[must_use]
    pub fn of_manifest(election: &Election) -> Self {
        Self {
            election: election.clone(),
            schedule: Schedule::new(election),
            heads: None,
        }
    }

    /// As the published heads log has it, all of which is read and checked.
    ///
    /// # Errors
    /// It cannot be read, or does not check out.
    pub async fn read(site: &Site, election: &Election) -> Result<Self> {
        let mut follower = HeadsFollower::new(Arc::new(site.clone()), election);
        follower.advance().await.context("the heads log")?;
        Ok(Self {
            election: election.clone(),
            schedule: follower.log().schedule().clone(),
            heads: follower.checkpoint().cloned(),
        })
    }

    /// As [`InForce::read`] if the newest checkpoint of any of these logs is not under its main key; else, without reading more, as the manifest has it.
    ///
    /// # Errors
    /// As [`InForce::read`].
    pub async fn find(site: &Site, election: &Election, logs: &[LogId]) -> Result<Self> {
        let of_manifest = Self::of_manifest(election);
        for log in logs {
            let name = name_of(election, *log);
            let path = format!("{}/checkpoint", log.prefix());
            let note = site.read(&path, CHECKPOINT_BYTES_MAX).await?;
            let keys = of_manifest.keys(*log)?;
            if note.is_some_and(|note| keys.verify(&name, &note).is_err()) {
                return Self::read(site, election).await;
            }
        }
        Ok(of_manifest)
    }

    /// The switch of a log, if it was switched.
    #[must_use]
    pub fn switch(&self, log: LogId) -> Option<Switch> {
        self.schedule.switch(log)
    }

    /// A log's keys, each at its sizes.
    ///
    /// # Errors
    /// There is no such log.
    pub fn keys(&self, log: LogId) -> Result<Keys> {
        keys_of(&self.election, &self.schedule, log)
            .with_context(|| format!("the election has no log {}", log.prefix()))
    }

    /// A log, read over HTTP.
    ///
    /// # Errors
    /// There is no such log.
    pub fn client(&self, site: &Site, log: LogId) -> Result<LogClient> {
        let name = name_of(&self.election, log);
        Ok(LogClient::new(
            Arc::new(site.clone()),
            name,
            self.keys(log)?,
        ))
    }

    /// The proofs of the switch notices that a receipt needs whose checkpoints of the cell and of the heads log have these sizes.
    ///
    /// SPEC: "the cell's before the heads log's, none that is not needed. A switch of the heads log counts as needed for the checkpoints
    /// of other notices' proofs too".
    ///
    /// # Errors
    /// The heads log cannot be read, or does not prove them.
    pub async fn proofs(
        &self,
        site: &Site,
        cell: LogId,
        cell_sizes: &[u64],
        heads_sizes: &[u64],
    ) -> Result<Vec<String>> {
        let Some((checkpoint, note)) = &self.heads else {
            return Ok(Vec::new());
        };
        let of_cell = self
            .switch(cell)
            .filter(|switch| cell_sizes.iter().any(|size| *size > switch.size));
        let of_heads = self.switch(LogId::Heads).filter(|switch| {
            let under_notice = of_cell.map(|_| checkpoint.size());
            let mut sizes = heads_sizes.iter().copied().chain(under_notice);
            sizes.any(|size| size > switch.size)
        });
        let heads = self.client(site, LogId::Heads)?;
        let mut proofs = Vec::new();
        for switch in of_cell.into_iter().chain(of_heads) {
            let proven = heads.inclusion(switch.notice, checkpoint).await?;
            let proof = TlogProof::new(
                Some(proven.entry.to_vec()),
                switch.notice,
                proven.proof,
                note.to_vec(),
            )?;
            proofs.push(String::from_utf8(proof.encode()).context("a proof is not text")?);
        }
        Ok(proofs)
    }
}
