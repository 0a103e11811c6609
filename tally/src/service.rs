//! The tally service: follow the cells, add up, write `results.json`, tell watchers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use ledger::heads::HeadsFollower;
use ledger::publisher::{PublishError, Reader};
use protocol::manifest::Election;
use protocol::results::{RESULTS_LEN_MAX, Results, ResultsError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, timeout};

use crate::cell::{CellReader, Part};
use crate::web::{self, Providers, Watchers};
use crate::{meter, recount};

/// Where `results.json` stands.
#[async_trait]
pub trait ResultsFile: Send + Sync + 'static {
    /// Replaces `results.json` in one step: a reader sees the old bytes or the new ones.
    ///
    /// # Errors
    /// It is not known whether it was replaced; doing it again is safe.
    async fn replace(&self, bytes: Bytes) -> Result<(), PublishError>;
}

#[async_trait]
impl ResultsFile for ledger::Directory {
    async fn replace(&self, bytes: Bytes) -> Result<(), PublishError> {
        Self::replace(self, "results.json", bytes).await
    }
}

#[async_trait]
impl ResultsFile for ledger::S3 {
    async fn replace(&self, bytes: Bytes) -> Result<(), PublishError> {
        Self::replace(self, "results.json", bytes).await
    }
}

/// What the service is told.
#[derive(Debug, Clone)]
pub struct TallyConfig {
    /// The election.
    pub election: Election,
    /// The time between looks at the cells.
    pub poll: Duration,
    /// The longest look at one cell before it keeps its last good part for this round.
    pub read_timeout: Duration,
    /// Most cells read at once.
    pub parallel: usize,
    /// Bounds on watchers.
    pub watchers: Watchers,
    /// Where voters may sign in.
    pub providers: Providers,
}

impl TallyConfig {
    /// The usual bounds.
    #[must_use]
    pub fn new(election: &Election) -> Self {
        Self {
            election: election.clone(),
            poll: Duration::from_millis(200),
            read_timeout: Duration::from_secs(5),
            parallel: 32,
            watchers: Watchers::default(),
            providers: Providers::default(),
        }
    }
}

/// The running service. It holds no key and signs nothing. Dropping it stops it.
pub struct Tally {
    election: Election,
    results: watch::Receiver<Option<Bytes>>,
    updates: web::LiveUpdates,
    providers: Providers,
    done: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Tally {
    /// Starts to follow what `reader` reads. Call it within a runtime.
    #[must_use]
    pub fn start(config: TallyConfig, reader: Arc<dyn Reader>, file: Arc<dyn ResultsFile>) -> Self {
        let (results_sender, results) = watch::channel(None);
        let (event_sender, events) = watch::channel(None);
        let (done_sender, done) = watch::channel(false);
        let election = config.election.clone();
        let updates = web::LiveUpdates::new(events, config.watchers);
        let providers = config.providers.clone();
        let follower = Follower {
            heads: HeadsFollower::new(Arc::clone(&reader), &election),
            parts: (0..election.cells()).map(|_| Part::nothing()).collect(),
            alarms: vec![None; election.manifest().cells.len()],
            heads_alarm: None,
            reader,
            file,
            results: results_sender,
            events: event_sender,
            config,
        };
        let task = tokio::spawn(async move {
            // Watchers stay: their channels live until the service is dropped.
            let _channels = follower.run().await;
            done_sender.send_replace(true);
            done_sender.closed().await;
        });
        Self {
            election,
            results,
            updates,
            providers,
            done,
            task,
        }
    }

    /// The live page and the stream of results; see the crate's documentation for the paths.
    pub fn router(&self) -> axum::Router {
        web::router(self.election.id(), self.updates.clone(), &self.providers)
    }

    /// Ends every watcher's stream, now and from now on. Call it when the server that serves the router is asked to stop, or that waits for its watchers.
    pub fn let_watchers_go(&self) {
        self.updates.stop();
    }

    /// The newest bytes of `results.json` that were written, and all after them (some may be skipped). `None` before the first.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Bytes>> {
        self.results.clone()
    }

    /// Waits until the results at the final head are written. `None`: the service was stopped before.
    pub async fn finished(&self) -> Option<Bytes> {
        let mut done = self.done.clone();
        done.wait_for(|done| *done).await.ok()?;
        self.results.borrow().clone()
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Follower {
    config: TallyConfig,
    reader: Arc<dyn Reader>,
    file: Arc<dyn ResultsFile>,
    /// Key switches, cancellation and the final head.
    heads: HeadsFollower,
    /// For each cell its last good part.
    parts: Vec<Part>,
    /// For each cell the alarm that was raised and not yet lifted.
    alarms: Vec<Option<String>>,
    heads_alarm: Option<String>,
    results: watch::Sender<Option<Bytes>>,
    events: watch::Sender<Option<Bytes>>,
}

type Channel = watch::Sender<Option<Bytes>>;

impl Follower {
    /// Runs until the results at the final head are written, and hands its channels back.
    async fn run(mut self) -> (Channel, Channel) {
        self.follow_heads().await;
        self.recall().await;
        let mut ticks = tokio::time::interval(self.config.poll.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.follow_heads().await;
            if self.finish().await {
                return (self.results, self.events);
            }
            self.look().await;
            let running = self.running();
            self.write(running).await;
        }
    }

    async fn follow_heads(&mut self) {
        let outcome = timeout(self.config.read_timeout, self.heads.advance()).await;
        let alarm = match outcome {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it could not be read in time".to_owned()),
        };
        if let Some(reason) = alarm
            .as_ref()
            .filter(|reason| self.heads_alarm.as_ref() != Some(reason))
        {
            tracing::error!(
                reason,
                "the heads log cannot be followed: notices and the final head wait, running results go on"
            );
        }
        self.heads_alarm = alarm;
    }

    /// Starts from the `results.json` that stands there, each part verified, so that a cell that cannot be read now does not fall back to nothing.
    async fn recall(&mut self) {
        let read = timeout(
            self.config.read_timeout,
            self.reader.read("results.json", RESULTS_LEN_MAX),
        )
        .await;
        let Ok(Ok(Some(bytes))) = read else { return };
        let election = &self.config.election;
        let results = match Results::parse(&bytes, election) {
            Ok(results) => results,
            Err(error) => {
                tracing::warn!(%error, "the results.json that stands there is not used");
                return;
            }
        };
        for ((cell, part), said) in (0..).zip(&mut self.parts).zip(&results.cells) {
            let reader = CellReader::new(&self.reader, election, self.heads.log().schedule(), cell);
            match reader.map(|reader| reader.recall(said)) {
                Some(Ok(found)) => *part = found,
                Some(Err(error)) => {
                    tracing::warn!(cell, %error, "this cell's part of the results.json that stands there is not used")
                }
                None => {}
            }
        }
    }

    /// Looks at all cells. One that cannot be read or does not check out keeps its last good part, and stalls nobody.
    async fn look(&mut self) {
        let looks: Vec<_> = (0..)
            .zip(&self.parts)
            .map(|(cell, part)| self.look_at(cell, part).boxed())
            .collect();
        let looks: Vec<_> = futures::stream::iter(looks)
            .buffered(self.config.parallel.max(1))
            .collect()
            .await;
        for (cell, ((part, alarm), look)) in self
            .parts
            .iter_mut()
            .zip(&mut self.alarms)
            .zip(looks)
            .enumerate()
        {
            let stale = match look {
                Ok(Some(new)) => {
                    *part = new;
                    None
                }
                Ok(None) => None,
                Err(reason) => Some(reason),
            };
            meter::stale(cell, stale.is_some());
            match (&*alarm, &stale) {
                (before, Some(reason)) if before.as_ref() != Some(reason) => {
                    tracing::error!(
                        cell,
                        reason,
                        "a cell keeps its last good part in the results"
                    );
                }
                (Some(_), None) => tracing::info!(cell, "a cell is up to date again"),
                _ => {}
            }
            *alarm = stale;
        }
    }

    async fn look_at(&self, cell: u32, before: &Part) -> Result<Option<Part>, String> {
        let schedule = self.heads.log().schedule();
        let Some(reader) = CellReader::new(&self.reader, &self.config.election, schedule, cell)
        else {
            return Err("the election has no such cell".to_owned());
        };
        match timeout(self.config.read_timeout, reader.newest(before)).await {
            Ok(look) => look.map_err(|error| error.to_string()),
            Err(_) => Err("it could not be read in time".to_owned()),
        }
    }

    /// The results of the parts at hand.
    fn running(&self) -> Result<Results, ResultsError> {
        let election = &self.config.election;
        let parts: Vec<_> = self.parts.iter().map(|part| part.cell.clone()).collect();
        match self.heads.log().schedule().cancelled() {
            Some(_) => Results::cancelled(election, &parts),
            None => Results::open(election, &parts),
        }
    }

    /// Once there is a final head: recount all ballots and write the final results. `false`: there is none yet, or it has to be tried again.
    async fn finish(&mut self) -> bool {
        let Some((_, head)) = self.heads.log().final_head() else {
            return false;
        };
        let schedule = self.heads.log().schedule();
        let counted = recount::results(
            &self.reader,
            &self.config.election,
            schedule,
            head,
            self.config.parallel,
        )
        .await;
        match counted {
            Ok(results) => self.write(Ok(results)).await,
            Err(error) => {
                tracing::error!(%error, "the final results cannot be made; trying again");
                false
            }
        }
    }

    /// Writes `results.json` if it changed, and then tells watchers. `true`: it stands there.
    async fn write(&self, results: Result<Results, ResultsError>) -> bool {
        let votes = results.as_ref().map_or(0, |results| results.votes);
        let bytes = match results.and_then(|results| results.to_bytes()) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => {
                meter::wrote("wrong");
                tracing::error!(%error, "the cells' parts do not add up to results");
                return false;
            }
        };
        if self.results.borrow().as_ref() == Some(&bytes) {
            return true;
        }
        if let Err(error) = self.file.replace(bytes.clone()).await {
            meter::wrote("failed");
            tracing::error!(%error, "results.json was not written; trying again");
            return false;
        }
        meter::wrote("written");
        meter::votes(votes);
        self.events.send_replace(Some(web::event(&bytes)));
        self.results.send_replace(Some(bytes));
        true
    }
}
