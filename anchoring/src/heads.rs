//! The loop that makes heads.
//!
//! Every `head_interval_ms`: read the cells, then the issuance logs (so that a vote is never seen before the issuance that allows it), judge,
//! append. It reads the heads log back as an outsider does before it goes on, so that it acts on what is published and on nothing else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use ledger::batch::End;
use ledger::clock::Clock;
use ledger::heads::HeadsFollower;
use ledger::publisher::Reader;
use ledger::sequencer::{CloseError, Handle, State, SubmitError};
use protocol::entry::{Entry, Head};
use protocol::grammar::Schedule;
use protocol::ids::LogId;
use protocol::manifest::Election;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, timeout};

use crate::judge::{Judged, Look, judge};
use crate::observe::{Known, observe};
use crate::recount::Recount;
use crate::{content, meter};

/// The newest head, and where the heads log ended when it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewestHead {
    /// The head's index in the heads log.
    pub index: u64,
    /// What it says.
    pub head: Head,
    /// Whether it is the final head, after which nothing comes.
    pub is_final: bool,
    /// The heads log's end under its newest checkpoint, which covers the head.
    pub end: End,
    /// That checkpoint's bytes.
    pub checkpoint: Bytes,
}

pub(crate) struct Heads {
    election: Election,
    /// Reads the logs, like any outsider.
    reader: Arc<dyn Reader>,
    /// Reads our own log back.
    follower: HeadsFollower,
    handle: Handle,
    clock: Arc<dyn Clock>,
    read_timeout: Duration,
    parallel: usize,
    newest: watch::Sender<Option<NewestHead>>,
    /// For each log its last good state, as we saw it or as the last head says.
    known: Vec<Known>,
    /// For each log, how far its issuances were counted one by one, where that was asked for.
    recounts: Vec<Recount>,
    /// For each log the alarm that was raised and not yet lifted.
    alarms: Vec<Option<String>>,
}

/// What the loop needs to wait before it tries again, when the sequencer or our own files are not ready.
const PAUSE: Duration = Duration::from_millis(100);

impl Heads {
    pub(crate) fn new(
        config: &crate::AnchoringConfig,
        reader: Arc<dyn Reader>,
        own: Arc<dyn Reader>,
        handle: Handle,
        clock: Arc<dyn Clock>,
        newest: watch::Sender<Option<NewestHead>>,
    ) -> Self {
        let election = config.election.clone();
        let genesis = |log: &LogId| Known::genesis(&election, *log);
        Self {
            known: election.logs().iter().map(genesis).collect(),
            recounts: vec![Recount::default(); election.logs().len()],
            alarms: vec![None; election.logs().len()],
            follower: HeadsFollower::new(own, &election),
            reader,
            handle,
            clock,
            read_timeout: config.read_timeout,
            parallel: config.parallel.max(1),
            newest,
            election,
        }
    }

    /// Runs until the final head is published (`Ok`), or the log cannot go on.
    pub(crate) async fn run(mut self) -> Result<(), String> {
        self.handle.ready().await.map_err(|state| stopped(&state))?;
        self.catch_up().await?;
        self.recall();
        let interval = Duration::from_millis(self.election.manifest().head_interval_ms);
        let mut awaited = false;
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.follower.log().final_head().is_some() {
                return Ok(());
            }
            ticks.tick().await;
            self.catch_up().await?;
            if self.awaits_switch() {
                tracing::warn!(
                    "signing with the spare key: no head is made until the authority's switch notice of the heads log is here"
                );
                awaited = true;
                continue;
            }
            if std::mem::take(&mut awaited) {
                // The notice's checkpoint may cover heads that had none at the start.
                self.recall();
            }
            let judged = self.look().await;
            self.alarm(&judged);
            self.append(judged).await?;
            self.catch_up().await?;
        }
    }

    /// Reads our own log up to what the sequencer has published.
    async fn catch_up(&mut self) -> Result<(), String> {
        loop {
            let published = self.handle.published().end.size;
            match self.follower.advance().await {
                Ok(_) if self.follower.end().size >= published => break,
                Ok(_) => {}
                Err(error) if error.is_passing() => {
                    tracing::warn!(%error, "our own heads log cannot be read back now");
                }
                Err(error) => return Err(format!("our own heads log does not check out: {error}")),
            }
            self.check_running()?;
            tokio::time::sleep(PAUSE).await;
        }
        self.announce();
        Ok(())
    }

    fn announce(&self) {
        let (Some((index, head)), Some((_, checkpoint))) =
            (self.follower.log().last_head(), self.follower.checkpoint())
        else {
            return;
        };
        let newest = NewestHead {
            index,
            head: head.clone(),
            is_final: self.follower.log().final_head().is_some(),
            end: self.follower.end(),
            checkpoint: checkpoint.clone(),
        };
        self.newest.send_if_modified(|before| {
            let is_news = before.as_ref() != Some(&newest);
            if is_news {
                *before = Some(newest);
            }
            is_news
        });
    }

    /// After a start: the last head's word is the last good state of every log.
    fn recall(&mut self) {
        let Some((_, head)) = self.follower.log().last_head() else {
            return;
        };
        for (known, said) in self.known.iter_mut().zip(&head.logs) {
            // The genesis alone is known already, with its count.
            if known.end.size != said.size || known.end.root != said.root {
                *known = Known {
                    end: End {
                        size: said.size,
                        root: said.root,
                    },
                    closed: said.state == protocol::entry::LogState::Closed,
                    count: None,
                };
            }
        }
    }

    /// Whether the sequencer signs with the spare key before a notice says so: nothing else may then come before that notice.
    fn awaits_switch(&self) -> bool {
        let signs = self.handle.config().keys.at(u64::MAX);
        let main = self
            .election
            .log_keys(LogId::Heads)
            .map(|keys| *keys.main.as_bytes());
        Some(signs) != main && self.schedule().switch(LogId::Heads).is_none()
    }

    fn schedule(&self) -> &Schedule {
        self.follower.log().schedule()
    }

    /// Looks at all logs, cells first, and judges what the next head may say.
    async fn look(&mut self) -> Judged {
        let mut looks = self.look_at(|log| matches!(log, LogId::Cell(_))).await;
        looks.extend(self.look_at(|log| !matches!(log, LogId::Cell(_))).await);
        self.distrust(&mut looks);
        let judged = self.judge(looks.clone());
        if !judged.unexplained {
            return judged;
        }
        self.recount(&looks).await;
        self.distrust(&mut looks);
        self.judge(looks)
    }

    fn judge(&self, looks: Vec<Look>) -> Judged {
        let last = self.follower.log().last_head();
        judge(
            &self.election,
            self.schedule(),
            self.clock.now_ms(),
            last.map_or(0, |(_, head)| head.time),
            &self.known,
            looks,
        )
    }

    /// An issuance log that was found to misstate its own issuances is believed no more.
    fn distrust(&self, looks: &mut [Look]) {
        for (look, recount) in looks.iter_mut().zip(&self.recounts) {
            if let Some(fault) = recount.fault() {
                *look = Err(fault.to_owned());
            }
        }
    }

    /// Counts on in the issuance logs that are fresh. What cannot be read now is counted in a later round; until then the cell is held.
    async fn recount(&mut self, looks: &[Look]) {
        let schedule = self.follower.log().schedule();
        let logs = self.election.logs().iter().zip(looks);
        for ((log, look), recount) in logs.zip(&mut self.recounts) {
            if !matches!(log, LogId::Issuance { .. }) || look.is_err() {
                continue;
            }
            let counted = recount.advance(&self.reader, &self.election, schedule, *log);
            match timeout(self.read_timeout, counted).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%log, %error, "its issuances could not be counted now");
                }
            }
        }
    }

    async fn look_at(&self, which: fn(&LogId) -> bool) -> Vec<Look> {
        let looks: Vec<_> = self
            .election
            .logs()
            .iter()
            .zip(&self.known)
            .filter(|(log, _)| which(log))
            .map(|(log, known)| self.look_at_one(*log, *known).boxed())
            .collect();
        futures::stream::iter(looks)
            .buffered(self.parallel)
            .collect()
            .await
    }

    /// One log cannot hold up the others for longer than the time-out.
    async fn look_at_one(&self, log: LogId, known: Known) -> Look {
        let observed = observe(&self.reader, &self.election, self.schedule(), log, known);
        match timeout(self.read_timeout, observed).await {
            Ok(Ok(known)) => Ok(known),
            Ok(Err(error)) if error.is_evidence() => Err(format!("INCONSISTENT: {error}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!(
                "it could not be read within {:?}",
                self.read_timeout
            )),
        }
    }

    /// An alarm is raised once for each reason, and lifted once.
    fn alarm(&mut self, judged: &Judged) {
        for ((log, alarm), stale) in self
            .election
            .logs()
            .iter()
            .zip(&mut self.alarms)
            .zip(&judged.stale)
        {
            meter::stale(*log, stale.is_some());
            match (&*alarm, stale) {
                (before, Some(reason)) if before.as_ref() != Some(reason) => {
                    tracing::error!(%log, reason, "a log is stale: heads repeat its last good size");
                }
                (Some(_), None) => tracing::info!(%log, "a log is no longer stale"),
                _ => {}
            }
            alarm.clone_from(stale);
        }
    }

    /// Appends the head, or the final head. What is refused is left for the next round, which looks anew.
    async fn append(&mut self, judged: Judged) -> Result<(), String> {
        let done = if judged.is_final {
            self.close(Entry::FinalHead(judged.head).encode()).await?
        } else {
            self.submit(Entry::Head(judged.head).encode()).await?
        };
        if done {
            self.known = judged.known;
        }
        Ok(())
    }

    async fn submit(&self, entry: Vec<u8>) -> Result<bool, String> {
        loop {
            match self.handle.submit(content::head(entry.clone())).await {
                Ok(_) => return Ok(true),
                // A head that stands there twice says the same twice, so trying again is safe whatever became of it.
                Err(SubmitError::Unknown | SubmitError::NotOpen | SubmitError::Full) => {}
                Err(error @ (SubmitError::Refused(_) | SubmitError::TooLong)) => {
                    tracing::error!(%error, "a head was refused");
                    return Ok(false);
                }
                // Closed under us: reading our own log back will show the final head.
                Err(SubmitError::Closed) => return Ok(false),
                Err(SubmitError::Halted) => return Err(stopped(&self.handle.state())),
            }
            self.check_running()?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn close(&self, entry: Vec<u8>) -> Result<bool, String> {
        loop {
            match self.handle.close(Some(entry.clone())).await {
                Ok(_) => return Ok(true),
                Err(CloseError::Unknown) => {}
                Err(CloseError::Refused(reason)) => {
                    tracing::error!(reason, "the final head was refused");
                    return Ok(false);
                }
                Err(CloseError::Halted) => return Err(stopped(&self.handle.state())),
            }
            self.check_running()?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn check_running(&self) -> Result<(), String> {
        match self.handle.state() {
            State::Running | State::TakingOver => Ok(()),
            state => Err(stopped(&state)),
        }
    }
}

fn stopped(state: &State) -> String {
    match state {
        State::SteppedDown(reason) => {
            format!("another process has taken the heads log over: {reason}")
        }
        State::Halted(reason) => format!("the heads log has halted: {reason}"),
        State::Running | State::TakingOver => "the heads log has stopped".to_owned(),
    }
}
