//! Who runs the services of the election whose voters are played: this process, or others that run already.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ledger::heads::{HeadsFollower, keys_of, name_of};
use ledger::publisher::Reader;
use ledger::publisher::directory::DirectoryReader;
use ledger::read::LogClient;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::results::{RESULTS_LEN_MAX, Results};

use crate::client::site::Site;
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
        }))
    }

    /// Where they are reached.
    pub(super) fn url(&self) -> &str {
        match self {
            Self::Here(node) => node.url(),
            Self::Elsewhere(elsewhere) => &elsewhere.url,
        }
    }

    /// Ends the election, and waits for the final head to be anchored and for the final result.
    pub(super) async fn finish(&self) -> Result<()> {
        match self {
            Self::Here(node) => node.finish().await,
            Self::Elsewhere(_) => {
                anyhow::bail!("--exit is not for services that run elsewhere yet")
            }
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
            match follower.advance().await {
                Err(error) if !error.is_passing() => return Err(error).context("the heads log"),
                _ => {}
            }
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
        let Some(bytes) = self.site.read("results.json", RESULTS_LEN_MAX).await? else {
            return Ok(false);
        };
        let results = Results::parse(&bytes, &self.election)
            .context("results.json is not what it must be")?;
        Ok(results
            .cells
            .iter()
            .zip(sizes)
            .all(|(cell, size)| cell.size >= *size))
    }
}
