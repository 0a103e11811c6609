//! Witnesses that a demo runs beside everything else: each with a key and a state of its own, asked over HTTP as a stranger's would be.
//!
//! They show how an election with witnesses goes. They witness nothing: whoever runs the election runs them too.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anchoring::Witness as Client;
use anyhow::{Context, Result, bail};
use protocol::manifest::Election;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use verifier_cli::witness::cosigner::Witness;
use verifier_cli::witness::http;
use verifier_cli::witness::key::CosigningKey;
use verifier_cli::witness::logs::Logs;
use verifier_cli::witness::state::StateFolder;
use zeroize::Zeroizing;

use crate::folder::Folder;

/// A key of a witness that is not yet in its folder: the manifest names it first.
pub struct NewWitness {
    number: u16,
    key: CosigningKey,
    line: Zeroizing<String>,
}

impl NewWitness {
    /// The witness with this number, from 1 on.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn generate(number: u16) -> Result<Self> {
        let (key, line) = CosigningKey::generate(&format!("witness{number}.tallyroot.example"))?;
        Ok(Self { number, key, line })
    }

    /// As the manifest names it.
    ///
    /// # Errors
    /// None, for a key that was made.
    pub fn vkey(&self) -> Result<String> {
        self.key.vkey()
    }

    /// Puts key and state into the election's folder.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(&self, folder: &Folder) -> Result<()> {
        folder.make_private(&format!("witnesses/{}", self.number))?;
        let place = folder.witness(usize::from(self.number));
        CosigningKey::write(&place.join("key"), &self.line)?;
        StateFolder::create(&place.join("state"), &self.key)
    }
}

/// Witnesses that run in this process. Dropping them stops them.
pub struct LocalWitnesses {
    election: Election,
    urls: Vec<String>,
    _servers: JoinSet<()>,
}

impl LocalWitnesses {
    /// Starts those that the manifest names, each on a port of its own.
    ///
    /// # Errors
    /// The folder does not hold one of them: it is somebody else's, and a demo cannot run it.
    pub async fn start(folder: &Folder, election: &Election) -> Result<Self> {
        let mut urls = Vec::new();
        let mut servers = JoinSet::new();
        for (number, named) in (1..).zip(election.witnesses()) {
            let place = folder.witness(number);
            let key = CosigningKey::load(&place.join("key")).with_context(|| {
                format!(
                    "the manifest names the witness {}, and this folder does not hold it: run the election with `tallyroot serve`, whose configuration says where witnesses are",
                    named.name()
                )
            })?;
            if key.public() != named {
                bail!(
                    "{} is not the key of the witness {}",
                    place.display(),
                    named.name()
                );
            }
            let state = StateFolder::open(&place.join("state"), &key)?;
            let mut logs = Logs::default();
            logs.add_election(election)?;
            let witness = Arc::new(Witness::open(key, state, &logs, Box::new(now_s))?);
            let listener = TcpListener::bind("127.0.0.1:0")
                .await
                .context("cannot listen on any port of 127.0.0.1")?;
            urls.push(format!("http://{}", listener.local_addr()?));
            servers.spawn(listener::serve(
                listener,
                http::router(&witness),
                http::limits(),
                std::future::pending(),
            ));
        }
        Ok(Self {
            election: election.clone(),
            urls,
            _servers: servers,
        })
    }

    /// As the anchoring service asks them.
    ///
    /// # Errors
    /// None, for addresses of this machine.
    pub fn as_clients(&self) -> Result<Vec<Client>> {
        self.election
            .witnesses()
            .iter()
            .zip(&self.urls)
            .map(|(key, url)| Ok(Client::new(key.clone(), url, None)?))
            .collect()
    }

    /// Who they are and where anybody asks them: `NAME=URL`, as an audit takes it.
    #[must_use]
    pub fn named(&self) -> Vec<String> {
        let witnesses = self.election.witnesses().iter().zip(&self.urls);
        witnesses
            .map(|(key, url)| format!("{}={url}", key.name()))
            .collect()
    }
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
