//! Where an election is published: a site, or a folder on this machine, such as the copy on a machine without network.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use async_trait::async_trait;
use bytes::Bytes;
use ledger::heads::{HeadsFollower, keys_of, name_of};
use ledger::publisher::directory::DirectoryReader;
use ledger::publisher::path::Kind;
use ledger::publisher::{ReadError, Reader};
use ledger::read::LogClient;
use protocol::ids::{ElectionId, LogId};
use protocol::manifest::{Election, MANIFEST_LEN_MAX};

use crate::client::site::Site;

/// Between two looks at what others publish.
pub(crate) const LOOK: Duration = Duration::from_millis(250);

/// An election, and where it is published. Whatever is read from there is checked against the id.
pub struct Place {
    /// Behind the manifest.
    pub election: Election,
    /// Reads what is published.
    pub reader: Arc<dyn Reader>,
    /// The site, if it is one.
    pub site: Option<Site>,
    /// The folder that holds `elections/<id>`, if it is one.
    pub folder: Option<std::path::PathBuf>,
}

impl Place {
    /// Opens `given`, an address or a folder (of the published files, or the one that `election new` made).
    ///
    /// # Errors
    /// It cannot be read, or it holds another election.
    pub async fn open(given: &str, election: &str) -> Result<Self> {
        let id: ElectionId = election.parse().with_context(|| {
            format!("`{election}` is not an election id: give its 64 hexadecimal digits")
        })?;
        if given.contains("://") {
            let site = Site::for_many(given, &id)?;
            let election = site.election(&id).await?;
            return Ok(Self {
                election,
                reader: Arc::new(WebReader(site.clone())),
                site: Some(site),
                folder: None,
            });
        }
        let folder = Path::new(given);
        for folder in [folder.to_owned(), folder.join("public")] {
            let reader = DirectoryReader::new(&folder, &id);
            let Some(bytes) = reader.read("manifest.json", MANIFEST_LEN_MAX).await? else {
                continue;
            };
            let election = Election::check_id(&bytes, &id)
                .with_context(|| format!("the manifest in {}", folder.display()))?;
            return Ok(Self {
                election,
                reader: Arc::new(reader),
                site: None,
                folder: Some(folder),
            });
        }
        bail!(
            "{given} holds no election {id}: give the site's address, such as https://vote.example.org, or the folder that holds elections/{id}"
        )
    }

    /// The heads log as it is published now, every entry checked.
    ///
    /// # Errors
    /// It cannot be read, or does not check out.
    pub async fn heads(&self) -> Result<HeadsFollower> {
        let mut follower = HeadsFollower::new(Arc::clone(&self.reader), &self.election);
        follower.advance().await.context("the heads log")?;
        Ok(follower)
    }

    /// Reads a log, with the keys that the notices so far have put in force.
    ///
    /// # Errors
    /// The election has no such log.
    pub fn log(&self, heads: &HeadsFollower, log: LogId) -> Result<LogClient> {
        let keys = keys_of(&self.election, heads.log().schedule(), log)
            .ok_or_else(|| anyhow!("the election has no log {log}"))?;
        Ok(LogClient::new(
            Arc::clone(&self.reader),
            name_of(&self.election, log),
            keys,
        ))
    }
}

/// The election that a place names, for whoever only looks and has no id at hand: in its address, as the one that the site leads to, or as the only one of a folder.
///
/// # Errors
/// There is not exactly one.
pub(crate) async fn only_election(given: &str) -> Result<String> {
    let told = |id: &str| id.parse::<ElectionId>().is_ok().then(|| id.to_owned());
    let in_path = |path: &str| {
        let (_, rest) = path.split_once("/elections/")?;
        told(rest.split('/').next()?)
    };
    if !given.contains("://") {
        let mut found = Vec::new();
        for folder in [Path::new(given).to_owned(), Path::new(given).join("public")] {
            // A folder that is not there holds none.
            let entries = std::fs::read_dir(folder.join("elections"));
            let names = entries.into_iter().flatten().flatten();
            found.extend(names.filter_map(|entry| told(entry.file_name().to_str()?)));
        }
        return match found.as_slice() {
            [id] => Ok(id.clone()),
            [] => bail!(
                "{given} holds no election: give the folder that holds elections/ID, or a site's address"
            ),
            many => bail!(
                "{given} holds {} elections: name one with --election ID",
                many.len()
            ),
        };
    }
    if let Some(id) = in_path(given) {
        return Ok(id);
    }
    crate::client::site::leads_to(given)
        .await?
        .as_deref()
        .and_then(in_path)
        .with_context(|| format!("{given} does not lead to one election: name it with --election ID, the id that was published outside of the site"))
}

/// A site's published tree; one try a read.
struct WebReader(Site);

#[async_trait]
impl Reader for WebReader {
    async fn read(&self, path: &str, len_max: usize) -> Result<Option<Bytes>, ReadError> {
        if Kind::of(path).is_none() {
            return Err(ReadError::Path(path.to_owned()));
        }
        let read = self.0.read_once(path, len_max).await;
        read.map(|bytes| bytes.map(Bytes::from))
            .map_err(|error| ReadError::Unavailable {
                path: path.to_owned(),
                reason: format!("{error:#}"),
            })
    }
}
