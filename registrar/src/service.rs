//! A running registrar: its logs, its requests, and the tasks that count and close.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use ledger::schedule::Schedule;
use ledger::sequencer::Config;
use ledger::{
    Clock, Content, Handle, Parts, Publisher, Reader, Sequencer, State, Store, Warm, WarmError,
};
use listener::Workers;
use protocol::ids::LogId;
use protocol::manifest::Election;
use signer::{SignError, Signer};
use tokio::sync::{Mutex, RwLock, watch};
use tokio::task::JoinHandle;

use crate::closing;
use crate::code::CodeKey;
use crate::content::{IssuanceContent, Refusals};
use crate::database::Database;
use crate::issue::{Desk, issue};
use crate::oidc::Oidc;
use crate::rsa::{BlindSigner, BlindSignerError};
use crate::sign_in::begin;

/// What a registrar gives to strangers, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrarLimits {
    /// From the header to the end of the body.
    pub body_timeout: Duration,
    /// How long a client waits for its issuance to become final, before it is told to send the same again.
    pub final_timeout: Duration,
    /// Requests that wait for a core to sign.
    pub signing_waiting_max: usize,
    /// Issuances that wait for a batch.
    pub queue_max: usize,
    /// How often the counts of issued and refused are published, if they changed.
    pub count_interval: Duration,
}

impl Default for RegistrarLimits {
    fn default() -> Self {
        Self {
            body_timeout: Duration::from_secs(10),
            final_timeout: Duration::from_secs(30),
            // At about 0.4 ms each: a second or two of waiting.
            signing_waiting_max: 4_096,
            queue_max: 16_384,
            count_interval: Duration::from_secs(60),
        }
    }
}

/// Which registrar, and how.
#[derive(Debug, Clone)]
pub struct RegistrarConfig {
    /// The election.
    pub election: Election,
    /// The registrar's index in the manifest.
    pub registrar: u16,
    /// Bounds.
    pub limits: RegistrarLimits,
    /// Where voters may also sign in, beside their codes.
    pub oidc: Option<Oidc>,
}

impl RegistrarConfig {
    /// With default limits.
    #[must_use]
    pub fn new(election: &Election, registrar: u16) -> Self {
        Self {
            election: election.clone(),
            registrar,
            limits: RegistrarLimits::default(),
            oidc: None,
        }
    }
}

/// What one shard's log works with.
pub struct ShardParts {
    /// The database of the log (not the roll's).
    pub store: Arc<dyn Store>,
    /// Where it is published.
    pub publisher: Arc<dyn Publisher>,
    /// The key of the shard's log.
    pub signer: Arc<dyn Signer>,
    /// An end of the log that somebody outside holds (an anchored head), if one is known.
    pub floor: Option<ledger::End>,
    /// What this process has read of the log while it stood by.
    pub warm: ShardWarm,
}

/// What a process that stands by has read of a shard's log; see [`ledger::Warm`]. All clones are one; the default has read nothing.
#[derive(Clone, Default)]
pub struct ShardWarm {
    warm: Warm,
    /// The log's counts go on from those that were read.
    refusals: Refusals,
}

impl ShardWarm {
    /// Takes in what was published since the last call, up to the newest checkpoint, and returns the number of entries known then.
    ///
    /// # Errors
    /// As [`Warm::follow`]; or there is no such shard.
    pub async fn follow(
        &self,
        election: &Election,
        log: LogId,
        schedule: &Schedule,
        files: &dyn Reader,
    ) -> Result<u64, WarmError> {
        let keys = ledger::heads::keys_of(election, schedule.in_force(), log);
        let (Some(keys), LogId::Issuance { registrar, shard }) = (keys, log) else {
            return Err(WarmError::Unsound(format!("{log} is no issuance log")));
        };
        let content = || -> Box<dyn Content> {
            let refusals = self.refusals.clone();
            Box::new(IssuanceContent::new(election, registrar, shard, refusals))
        };
        let name = ledger::heads::name_of(election, log);
        self.warm.follow(&name, &keys, &content, files).await
    }

    /// Counts that no checkpoint covers must not be gone on from: then nothing of this is used.
    fn into_parts(self) -> (Option<Warm>, Refusals) {
        if self.warm.is_covered() {
            (Some(self.warm), self.refusals)
        } else {
            (None, Refusals::default())
        }
    }
}

/// Why a registrar does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The manifest has fewer registrars.
    #[error("the manifest has no registrar {0}: check the configured index")]
    NoSuchRegistrar(u16),
    /// Not one set of parts for each shard of the manifest.
    #[error("registrar {registrar} has {want} shards in the manifest, and {got} were configured")]
    Shards {
        /// The registrar.
        registrar: u16,
        /// Shards of the manifest.
        want: usize,
        /// Shards configured.
        got: usize,
    },
    /// The key of a log is not the one that may sign it now.
    #[error(transparent)]
    LogKey(#[from] SignError),
    /// The RSA key is not the manifest's.
    #[error(transparent)]
    RsaKey(#[from] BlindSignerError),
}

/// One shard's log.
pub(crate) struct Shard {
    pub(crate) log: LogId,
    pub(crate) handle: Handle,
    pub(crate) refusals: Refusals,
    /// True once the shard takes no new issuances, for good. Held for reading from the decision until the entry is final, so that the last count
    /// entry holds every issuance.
    pub(crate) ended: RwLock<bool>,
    sequencer: Arc<Mutex<Option<Sequencer>>>,
}

/// A running registrar.
pub struct Registrar {
    shards: Arc<Vec<Shard>>,
    router: Router,
    tasks: Vec<JoinHandle<()>>,
}

impl Registrar {
    /// Starts to take the logs over, and returns at once: until that is done, requests get 503. Call it within a runtime.
    ///
    /// `shards` are in the manifest's order. As for a cell, let the schedule be read once before.
    ///
    /// # Errors
    /// Something is not what the manifest names: see [`StartError`].
    pub fn start(
        config: RegistrarConfig,
        database: Database,
        shards: Vec<ShardParts>,
        rsa: BlindSigner,
        codes: CodeKey,
        schedule: watch::Receiver<Schedule>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let RegistrarConfig {
            election,
            registrar,
            limits,
            oidc,
        } = config;
        let named = election
            .manifest()
            .registrars
            .get(usize::from(registrar))
            .ok_or(StartError::NoSuchRegistrar(registrar))?;
        let key = election
            .registrar_keys()
            .get(usize::from(registrar))
            .ok_or(StartError::NoSuchRegistrar(registrar))?;
        rsa.check_is(key)?;
        if named.shards.len() != shards.len() {
            return Err(StartError::Shards {
                registrar,
                want: named.shards.len(),
                got: shards.len(),
            });
        }
        let shards: Vec<Shard> = (0u32..)
            .zip(shards)
            .map(|(shard, parts)| {
                let log = LogId::Issuance { registrar, shard };
                start_shard(&election, log, parts, &limits, &schedule, &clock)
            })
            .collect::<Result<_, _>>()?;
        let shards = Arc::new(shards);

        let desk = Arc::new(Desk {
            registrar,
            database,
            codes: Arc::new(codes),
            oidc,
            rsa: Arc::new(rsa),
            shards: Arc::clone(&shards),
            schedule: schedule.clone(),
            clock: Arc::clone(&clock),
            workers: Workers::for_this_machine(limits.signing_waiting_max),
            limits,
            election: election.clone(),
        });
        // The whole path is literal, so that the routers of several registrars can be merged into one.
        let place = format!("/elections/{}/registrars/{registrar}", election.id());
        let router = Router::new()
            .route(&format!("{place}/credentials"), post(issue))
            .route(&format!("{place}/sign-in"), post(begin))
            .method_not_allowed_fallback(listener::method_not_allowed)
            .with_state(desk);

        let mut tasks = Vec::new();
        for shard in 0..shards.len() {
            let (shards, election, clock) =
                (Arc::clone(&shards), election.clone(), Arc::clone(&clock));
            let schedule = schedule.clone();
            let interval = limits.count_interval;
            tasks.push(tokio::spawn(async move {
                if let Some(shard) = shards.get(shard) {
                    tokio::join!(
                        closing::close_in_time(&election, shard, schedule.clone(), &*clock),
                        closing::count_often(shard, interval),
                        closing::stop_on_switch(shard.log, &shard.sequencer, schedule.clone()),
                    );
                }
            }));
        }
        Ok(Self {
            shards,
            router,
            tasks,
        })
    }

    /// Serves `POST` of `credentials` and `sign-in` below `/elections/<id>/registrars/<r>/` for this registrar, and nothing else. Give the router that it is merged into
    /// the fallback [`listener::not_found`].
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The handles of the shards' logs, in the manifest's order.
    #[must_use]
    pub fn handles(&self) -> Vec<Handle> {
        self.shards
            .iter()
            .map(|shard| shard.handle.clone())
            .collect()
    }

    /// Whether the last batch of every shard's log is published.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shards
            .iter()
            .all(|shard| shard.handle.published().closed)
    }

    /// Waits until every shard's log has been taken over and requests are served.
    ///
    /// # Errors
    /// A sequencer has stepped down or halted.
    pub async fn ready(&self) -> Result<(), State> {
        for shard in self.shards.iter() {
            shard.handle.ready().await?;
        }
        Ok(())
    }

    /// Waits until the last batch of every shard's log is published.
    ///
    /// # Errors
    /// A sequencer has stepped down or halted, and this process cannot close the log any more.
    pub async fn closed(&self) -> Result<(), State> {
        for shard in self.shards.iter() {
            shard.handle.closed().await?;
        }
        Ok(())
    }

    /// Publishes the newest counts, then stops the tasks and the sequencers. Stop the server first.
    pub async fn shutdown(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // An error is the cancellation.
            let _ = task.await;
        }
        for shard in self.shards.iter() {
            closing::count_at_last(shard).await;
            shard.sequencer.lock().await.take();
        }
    }
}

impl Drop for Registrar {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn start_shard(
    election: &Election,
    log: LogId,
    parts: ShardParts,
    limits: &RegistrarLimits,
    schedule: &watch::Receiver<Schedule>,
    clock: &Arc<dyn Clock>,
) -> Result<Shard, StartError> {
    let LogId::Issuance { registrar, shard } = log else {
        return Err(StartError::NoSuchRegistrar(0));
    };
    let (keys, signing_key) = {
        let schedule = schedule.borrow();
        let in_force = schedule.in_force();
        let keys = ledger::heads::keys_of(election, in_force, log)
            .zip(in_force.checkpoint_key(log, u64::MAX));
        keys.ok_or(StartError::NoSuchRegistrar(registrar))?
    };
    let signer = signer::checked(parts.signer, *signing_key.as_bytes())?;
    let (warm, refusals) = parts.warm.into_parts();
    let sequencer = Sequencer::spawn(
        Config {
            queue_max: limits.queue_max,
            floor: parts.floor,
            warm,
            // Everything else as for any log that batches at once.
            ..Config::new(ledger::heads::name_of(election, log), keys)
        },
        Parts {
            store: parts.store,
            publisher: parts.publisher,
            signer,
            clock: Arc::clone(clock),
            content: {
                let (election, refusals) = (election.clone(), refusals.clone());
                Arc::new(move || {
                    Box::new(IssuanceContent::new(
                        &election,
                        registrar,
                        shard,
                        refusals.clone(),
                    ))
                })
            },
        },
    );
    Ok(Shard {
        log,
        handle: sequencer.handle(),
        refusals,
        ended: RwLock::new(false),
        sequencer: Arc::new(Mutex::new(Some(sequencer))),
    })
}
