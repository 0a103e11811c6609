//! Who runs the services of the election whose voters are played: this process, or others that run already.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use aws::Aws;
use ledger::heads::{HeadsFollower, keys_of, name_of};
use ledger::publisher::Reader;
use ledger::publisher::directory::DirectoryReader;
use ledger::read::LogClient;
use protocol::checkpoint::Checkpoint;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::results::{RESULTS_LEN_MAX, Results, Status};
use signer::KeySource;

use crate::client::in_force::InForce;
use crate::client::receipts;
use crate::client::site::Site;
use crate::election::notices::{self, Authority};
use crate::election::place::Place;
use crate::folder::Folder;
use crate::node::Node;

/// Between two looks at what others publish.
const LOOK: Duration = Duration::from_millis(200);
/// How long they may take to publish what is recorded.
const PATIENCE: Duration = Duration::from_secs(300);

/// The services of a demo's election.
pub(super) enum Services {
    /// All of them, in this process.
    Here(Box<Node>),
    /// Processes of their own; what they publish is in the same folder.
    Elsewhere(Elsewhere),
}

/// Services that somebody else runs.
pub(super) struct Elsewhere {
    election: Election,
    url: String,
    reader: Arc<dyn Reader>,
    site: Site,
    authority_key: KeySource,
}

impl Services {
    /// Services at a site, publishing into the folder.
    ///
    /// # Errors
    /// The site's address is none.
    pub(super) fn elsewhere(folder: &Folder, election: &Election, url: &str) -> Result<Self> {
        Ok(Self::Elsewhere(Elsewhere {
            election: election.clone(),
            url: url.trim_end_matches('/').to_owned(),
            reader: Arc::new(DirectoryReader::new(&folder.public(), &election.id())),
            site: Site::for_many(url, &election.id())?,
            authority_key: folder.key_source(&folder.authority_key(false), &Aws::default())?,
        }))
    }

    /// Where they are reached.
    pub(super) fn url(&self) -> &str {
        match self {
            Self::Here(node) => node.url(),
            Self::Elsewhere(elsewhere) => &elsewhere.url,
        }
    }

    /// The witnesses that run with them, as `NAME=URL`.
    pub(super) fn witnesses(&self) -> Vec<String> {
        match self {
            Self::Here(node) => node.witnesses(),
            Self::Elsewhere(_) => Vec::new(),
        }
    }

    /// Ends the election, and waits for the final head to be anchored and for the final result.
    pub(super) async fn finish(&self) -> Result<()> {
        match self {
            Self::Here(node) => node.finish().await,
            Self::Elsewhere(elsewhere) => tokio::time::timeout(PATIENCE, elsewhere.finish())
                .await
                .context(
                    "the election did not come to its end in time: look at the services' logs",
                )?,
        }
    }

    /// Waits until a head covers everything that is in the logs now, and the results show it.
    pub(super) async fn settle(&self) -> Result<()> {
        match self {
            Self::Here(node) => node.settle().await,
            Self::Elsewhere(elsewhere) => tokio::time::timeout(PATIENCE, elsewhere.settle())
                .await
                .context("no head covers the votes in time: look at the services' logs")?,
        }
    }

    /// Ends what runs here; others go on.
    pub(super) async fn stop(self) {
        if let Self::Here(node) = self {
            node.stop().await;
        }
    }
}

impl Elsewhere {
    /// Gives the authority's notices, and waits for the final head in every anchor and for the final result.
    async fn finish(&self) -> Result<()> {
        let place = Place::open(&self.url, &self.election.id().to_string()).await?;
        let authority = Authority::open(&self.authority_key, &self.election).await?;
        notices::close_now(&place, &authority, PATIENCE.as_secs()).await?;
        let mut follower = HeadsFollower::new(Arc::clone(&self.reader), &self.election);
        advance(&mut follower).await?;
        while follower.log().final_head().is_none() {
            tokio::time::sleep(LOOK).await;
            advance(&mut follower).await?;
        }
        while !(self.is_anchored(follower.log().size()).await? && self.is_final().await?) {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn is_anchored(&self, size: u64) -> Result<bool> {
        let in_force = InForce::find(&self.site, &self.election, &[LogId::Heads]).await?;
        let reaches = |newest: Option<(Checkpoint, Vec<u8>)>| {
            newest.is_some_and(|(checkpoint, _)| checkpoint.size() >= size)
        };
        let anchored = receipts::newest_anchored(&self.site, &self.election, &in_force).await?;
        let sealing = receipts::newest_sealing(&self.site, &self.election, &in_force).await?;
        Ok(reaches(anchored) && reaches(sealing))
    }

    async fn is_final(&self) -> Result<bool> {
        let results = self.results().await?;
        Ok(results.is_some_and(|results| results.status != Status::Open))
    }

    async fn results(&self) -> Result<Option<Results>> {
        self.site
            .read("results.json", RESULTS_LEN_MAX)
            .await?
            .map(|bytes| Results::parse(&bytes, &self.election))
            .transpose()
            .context("results.json is not what it must be")
    }

    async fn settle(&self) -> Result<()> {
        let mut follower = HeadsFollower::new(Arc::clone(&self.reader), &self.election);
        follower.advance().await.context("the heads log")?;
        let mut sizes = Vec::new();
        for k in 0..self.election.cells() {
            let log = LogId::Cell(k);
            let keys = keys_of(&self.election, follower.log().schedule(), log)
                .with_context(|| format!("the election has no cell {k}"))?;
            let client =
                LogClient::new(Arc::clone(&self.reader), name_of(&self.election, log), keys);
            let newest = client.newest().await.with_context(|| format!("cell {k}"))?;
            sizes.push(newest.map_or(0, |(checkpoint, _)| checkpoint.size()));
        }
        while !(self.is_in_head(&follower, &sizes) && self.is_shown(&sizes).await?) {
            tokio::time::sleep(LOOK).await;
            advance(&mut follower).await?;
        }
        Ok(())
    }

    fn is_in_head(&self, follower: &HeadsFollower, sizes: &[u64]) -> bool {
        follower.log().last_head().is_some_and(|(_, head)| {
            head.logs
                .iter()
                .zip(sizes)
                .all(|(log, size)| log.size >= *size)
        })
    }

    async fn is_shown(&self, sizes: &[u64]) -> Result<bool> {
        Ok(self.results().await?.is_some_and(|results| {
            let mut cells = results.cells.iter().zip(sizes);
            cells.all(|(cell, size)| cell.size >= *size)
        }))
    }
}

/// Reads on; what may pass by itself is no error.
async fn advance(follower: &mut HeadsFollower) -> Result<()> {
    match follower.advance().await {
        Err(error) if !error.is_passing() => Err(error).context("the heads log"),
        _ => Ok(()),
    }
}
