//! The voters that a demo plays: each has a device secret of her own, signs in, gets a credential, casts over HTTP, and checks
//! what comes back. What a device must remember survives a kill at any moment.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use protocol::credential::DeviceSecret;
use protocol::manifest::Election;
use protocol::merkle::Hash;
use tokio::task::JoinSet;

use super::records::Records;
use crate::client::site::{Shown, Site};
use crate::client::voter::{Device, InLog};
use crate::progress::Progress;

/// Voters who sign in at the same time.
const SIGN_IN_WORKERS: usize = 128;
/// Voters who cast at the same time: each waits for her batch, so many are under way.
const CAST_WORKERS: usize = 1_024;
/// voter u32 ‖ cell u32 ‖ index u64 ‖ leaf hash
const RECORDED_LEN: usize = 4 + 4 + 8 + 32;

/// All played voters of one demo.
#[derive(Debug)]
pub struct Voters {
    election: Election,
    site: Site,
    secrets: Vec<[u8; 32]>,
    /// One sheet a registrar; one code a voter.
    codes: Vec<Vec<String>>,
    credentials: Mutex<Kept<Vec<u8>>>,
    recorded: Mutex<Kept<RecordedVote>>,
}

/// What is remembered of each voter, in memory and in a file.
#[derive(Debug)]
struct Kept<T> {
    file: Records,
    of: Vec<Option<T>>,
}

/// Where a voter's vote stands, as her device was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedVote {
    /// The cell.
    pub cell: u32,
    /// The leaf's index.
    pub index: u64,
    /// Its hash.
    pub leaf: Hash,
}

impl Voters {
    /// Makes the devices' secrets, once, while the folder is being made.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create(folder: &Path, voters: u64) -> Result<()> {
        let mut secrets = Vec::new();
        for _ in 0..voters {
            secrets.extend_from_slice(&rand::random::<[u8; 32]>());
        }
        let path = folder.join("secrets");
        std::fs::write(&path, secrets).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The voters of a folder, with what they remember.
    ///
    /// # Errors
    /// Files that are missing or damaged.
    pub fn open(
        folder: &Path,
        codes: Vec<Vec<String>>,
        election: &Election,
        site: Site,
    ) -> Result<Self> {
        let path = folder.join("secrets");
        let bytes =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let secrets: Vec<[u8; 32]> = bytes
            .chunks_exact(32)
            .filter_map(|secret| secret.try_into().ok())
            .collect();
        if secrets.len() * 32 != bytes.len()
            || codes.iter().any(|sheet| sheet.len() < secrets.len())
        {
            bail!(
                "{} does not fit the sheets of codes: begin with another --data folder",
                path.display()
            );
        }
        let signatures_len: usize = election
            .registrar_keys()
            .iter()
            .map(protocol::rsa::RegistrarKey::signature_len)
            .sum();
        let credentials = Kept::open(
            &folder.join("credentials"),
            secrets.len(),
            signatures_len,
            |bytes| Some(bytes.to_vec()),
        )?;
        let recorded = Kept::open(
            &folder.join("recorded"),
            secrets.len(),
            RECORDED_LEN - 4,
            RecordedVote::decode,
        )?;
        Ok(Self {
            election: election.clone(),
            site,
            secrets,
            codes,
            credentials: Mutex::new(credentials),
            recorded: Mutex::new(recorded),
        })
    }

    /// Lets everybody sign in who has no credential yet, in the order of the file.
    ///
    /// # Errors
    /// The first voter who is refused or cheated.
    pub async fn sign_in(self: &Arc<Self>, progress: &Progress) -> Result<u64> {
        let waiting: Vec<u32> = lock(&self.credentials).missing();
        let count = waiting.len() as u64;
        self.each(
            waiting,
            SIGN_IN_WORKERS,
            progress,
            |voters, voter| async move {
                let device = voters.device(voter)?;
                let mut signatures = Vec::new();
                for (registrar, sheet) in (0u16..).zip(&voters.codes) {
                    let code = sheet
                        .get(voter as usize)
                        .context("no code for this voter")?;
                    let (signature, _) = device
                        .sign_in(&voters.site, registrar, Shown::Code(code))
                        .await?;
                    signatures.extend_from_slice(&signature);
                }
                let record = [&voter.to_be_bytes()[..], &signatures].concat();
                lock(&voters.credentials).keep(voter, &record, signatures)
            },
        )
        .await?;
        Ok(count)
    }

    /// Lets everybody cast whose vote is not recorded yet, in the given order.
    ///
    /// # Errors
    /// The first voter who is refused or cheated.
    pub async fn cast(
        self: &Arc<Self>,
        ballots: &Arc<Vec<Vec<Vec<u16>>>>,
        order: Vec<u32>,
        progress: &Progress,
    ) -> Result<u64> {
        let waiting: Vec<u32> = {
            let recorded = lock(&self.recorded);
            order
                .into_iter()
                .filter(|voter| recorded.get(*voter).is_none())
                .collect()
        };
        let count = waiting.len() as u64;
        let ballots = Arc::clone(ballots);
        self.each(waiting, CAST_WORKERS, progress, move |voters, voter| {
            let ballots = Arc::clone(&ballots);
            async move {
                let choices = ballots
                    .get(voter as usize)
                    .context("no ballot for this voter")?;
                let signatures = voters.signatures(voter)?;
                let device = voters.device(voter)?;
                let vote = device.vote(&signatures, choices)?;
                let in_log = device.cast(&voters.site, &vote).await?;
                let recorded = RecordedVote::from(&in_log);
                let record = [&voter.to_be_bytes()[..], &recorded.encode()].concat();
                lock(&voters.recorded).keep(voter, &record, recorded)
            }
        })
        .await?;
        Ok(count)
    }

    /// Where each voter's vote stands, as she was shown.
    #[must_use]
    pub fn recorded(&self) -> Vec<RecordedVote> {
        lock(&self.recorded).of.iter().flatten().copied().collect()
    }

    /// A voter's device.
    ///
    /// # Errors
    /// There is no such voter.
    pub fn device(&self, voter: u32) -> Result<Device> {
        let secret = self
            .secrets
            .get(voter as usize)
            .with_context(|| format!("there is no voter {voter}"))?;
        Ok(Device::new(
            &self.election,
            DeviceSecret::from_bytes(*secret),
        ))
    }

    /// A voter's credential signatures, one a registrar.
    ///
    /// # Errors
    /// She has none yet.
    pub fn signatures(&self, voter: u32) -> Result<Vec<Vec<u8>>> {
        let all = lock(&self.credentials)
            .get(voter)
            .with_context(|| format!("voter {voter} has no credential"))?;
        let mut rest = all.as_slice();
        let mut signatures = Vec::new();
        for key in self.election.registrar_keys() {
            let (signature, after) = rest
                .split_at_checked(key.signature_len())
                .context("a credential is too short")?;
            signatures.push(signature.to_vec());
            rest = after;
        }
        Ok(signatures)
    }

    /// Runs `act` for each voter, `workers` at a time, begun in the given order. Ends at the first error.
    async fn each<F>(
        self: &Arc<Self>,
        voters: Vec<u32>,
        workers: usize,
        progress: &Progress,
        act: impl Fn(Arc<Self>, u32) -> F + Clone + Send + Sync + 'static,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send,
    {
        let next = Arc::new(AtomicUsize::new(0));
        let voters = Arc::new(voters);
        let mut tasks = JoinSet::new();
        for _ in 0..workers.min(voters.len()) {
            let (this, next, voters, progress, act) = (
                Arc::clone(self),
                Arc::clone(&next),
                Arc::clone(&voters),
                progress.clone(),
                act.clone(),
            );
            tasks.spawn(async move {
                while let Some(voter) = voters.get(next.fetch_add(1, Ordering::Relaxed)) {
                    act(Arc::clone(&this), *voter)
                        .await
                        .with_context(|| format!("voter {voter}"))?;
                    progress.tick();
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|error| anyhow!("a voter's task broke down: {error}"))??;
        }
        Ok(())
    }
}

impl<T: Clone> Kept<T> {
    fn open(
        path: &Path,
        voters: usize,
        len: usize,
        decode: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Self> {
        let (file, records) = Records::open(path, 4 + len)?;
        let mut of: Vec<Option<T>> = vec![None; voters];
        for record in records {
            let place = record
                .split_first_chunk::<4>()
                .and_then(|(voter, rest)| Some((u32::from_be_bytes(*voter), decode(rest)?)))
                .and_then(|(voter, value)| Some((of.get_mut(voter as usize)?, value)));
            let Some((place, value)) = place else {
                bail!(
                    "{} does not fit this election: begin with another --data folder",
                    path.display()
                );
            };
            *place = Some(value);
        }
        Ok(Self { file, of })
    }

    fn get(&self, voter: u32) -> Option<T> {
        self.of.get(voter as usize).cloned().flatten()
    }

    fn missing(&self) -> Vec<u32> {
        (0u32..)
            .zip(&self.of)
            .filter(|(_, value)| value.is_none())
            .map(|(voter, _)| voter)
            .collect()
    }

    fn keep(&mut self, voter: u32, record: &[u8], value: T) -> Result<()> {
        self.file.append(record)?;
        *self
            .of
            .get_mut(voter as usize)
            .with_context(|| format!("there is no voter {voter}"))? = Some(value);
        Ok(())
    }
}

impl RecordedVote {
    fn encode(&self) -> Vec<u8> {
        [
            &self.cell.to_be_bytes()[..],
            &self.index.to_be_bytes(),
            &self.leaf.0,
        ]
        .concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (cell, rest) = bytes.split_first_chunk::<4>()?;
        let (index, leaf) = rest.split_first_chunk::<8>()?;
        Some(Self {
            cell: u32::from_be_bytes(*cell),
            index: u64::from_be_bytes(*index),
            leaf: Hash(leaf.try_into().ok()?),
        })
    }
}

impl From<&InLog> for RecordedVote {
    fn from(in_log: &InLog) -> Self {
        Self {
            cell: in_log.cell,
            index: in_log.index,
            leaf: in_log.leaf,
        }
    }
}

/// What another task left behind when it died is still whole: records are written before memory changes.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
