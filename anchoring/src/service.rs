//! The anchoring service: heads log, anchors and notices, run as one.

use std::sync::Arc;
use std::time::Duration;

use ledger::batch::End;
use ledger::clock::Clock;
use ledger::heads::name_of;
use ledger::log::Keys;
use ledger::publisher::{Publisher, Reader};
use ledger::read::{LogClient, LogError};
use ledger::sequencer::{Handle, Outcome, State, SubmitError};
use ledger::store::Store;
use protocol::entry::{Notice, NoticeAction};
use protocol::ids::LogId;
use protocol::manifest::Election;
use signer::Checked;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::anchor::Anchor;
use crate::content;
use crate::heads::{Heads, NewestHead};
use crate::keeper::Keeper;
use crate::object::Objects;
use crate::start::{StartError, check_anchors, sequencer};

/// What the service is told.
#[derive(Debug, Clone)]
pub struct AnchoringConfig {
    /// The election.
    pub election: Election,
    /// The longest look at one log before it counts as unreachable.
    pub read_timeout: Duration,
    /// Most logs looked at at once.
    pub parallel: usize,
    /// The first wait before an anchor is tried again; doubles up to 32 times that.
    pub anchor_retry: Duration,
    /// An alarm is raised when a checkpoint is not in an anchor after this long.
    pub anchor_late: Duration,
}

impl AnchoringConfig {
    /// The usual bounds.
    #[must_use]
    pub fn new(election: &Election) -> Self {
        Self {
            election: election.clone(),
            read_timeout: Duration::from_secs(10),
            parallel: 32,
            anchor_retry: Duration::from_secs(1),
            anchor_late: Duration::from_secs(60),
        }
    }
}

/// Between two tries of a notice.
const RETRY: Duration = Duration::from_millis(50);

/// The running service. Dropping it stops everything where it stands, as a crash would.
pub struct Anchoring {
    election: Election,
    reader: Arc<dyn Reader>,
    handle: Handle,
    /// How long a notice waits for a log that is just being taken over.
    patience: Duration,
    newest: watch::Receiver<Option<NewestHead>>,
    anchored: watch::Receiver<u64>,
    ended: watch::Receiver<Option<Result<(), String>>>,
    /// Holds the sequencer and all loops.
    _tasks: JoinSet<()>,
}

/// Why a notice was not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoticeRefused {
    /// It will never be: the signature, the number or the effect is wrong.
    #[error("the notice was refused and changes nothing: {0}")]
    Refused(String),
    /// The log does not take entries now, or the outcome is unknown. The same notice can be submitted again; it is appended once.
    #[error(
        "whether the notice was appended is not known ({0}): submit the same notice again, which is always safe"
    )]
    Again(String),
    /// The final head is made.
    #[error("the final head is made: no notice can follow it")]
    Ended,
    /// The service has stopped.
    #[error("the heads log has stopped: {0}")]
    Stopped(String),
}

/// A notice that stands in the heads log and is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoticeAppended {
    /// Its index in the heads log.
    pub index: u64,
}

impl Anchoring {
    /// Starts the service. `reader` is where the cells and registrars publish; `publisher` is where the heads log does. Call it within a runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    #[allow(
        clippy::too_many_arguments,
        reason = "each is one thing the service works with"
    )]
    pub async fn start(
        config: AnchoringConfig,
        reader: Arc<dyn Reader>,
        store: Arc<dyn Store>,
        publisher: Arc<dyn Publisher>,
        signer: Checked,
        anchors: Vec<Arc<dyn Anchor>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        check_anchors(&config.election, &anchors)?;
        let own: Arc<dyn Reader> = Arc::clone(&publisher) as Arc<dyn Reader>;
        let outside = Arc::clone(&reader);
        let (sequencer, handle) = sequencer(
            &config,
            &own,
            store,
            publisher,
            signer,
            &anchors,
            Arc::clone(&clock),
        )
        .await?;
        let (newest_sender, newest) = watch::channel(None);
        let (ended_sender, ended) = watch::channel(None);
        let (anchored_sender, anchored) = watch::channel(0);
        let heads = Heads::new(
            &config,
            reader,
            Arc::clone(&own),
            handle.clone(),
            clock,
            newest_sender,
        );
        let mut keepers = JoinSet::new();
        let mut held = Vec::new();
        for anchor in anchors {
            let (held_sender, held_receiver) = watch::channel(0);
            held.push(held_receiver);
            let keeper = Keeper {
                anchor,
                objects: Objects::new(&config.election, Arc::clone(&own)),
                published: handle.watch(),
                held: held_sender,
                retry: config.anchor_retry,
                late: config.anchor_late,
            };
            let ready = handle.clone();
            keepers.spawn(async move {
                // What is published is known once the log is taken over.
                match ready.ready().await {
                    Ok(()) => keeper.run().await,
                    // The heads loop says why.
                    Err(_) => Ok(()),
                }
            });
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(least(held, anchored_sender));
        tasks.spawn(async move {
            let outcome = run(heads, keepers).await;
            if let Err(reason) = &outcome {
                tracing::error!(reason, "the anchoring service has stopped");
            }
            // What went wrong must not be signed any further; a log that has ended still answers.
            let _ended = outcome.is_ok().then_some(sequencer);
            ended_sender.send_replace(Some(outcome));
            ended_sender.closed().await;
        });
        Ok(Self {
            election: config.election,
            reader: outside,
            patience: config.read_timeout,
            handle,
            newest,
            anchored,
            ended,
            _tasks: tasks,
        })
    }

    /// Appends a notice of the authority, after checking its signature, number and effect. Once this returns it is published and in force.
    /// The same notice again gets the same answer.
    ///
    /// # Errors
    /// See [`NoticeRefused`].
    pub async fn submit_notice(&self, notice: &Notice) -> Result<NoticeAppended, NoticeRefused> {
        // Before anything is queued: whoever cannot sign for the authority costs one signature check.
        notice
            .verify(&self.election)
            .map_err(|error| NoticeRefused::Refused(error.to_string()))?;
        if let NoticeAction::Switch { log, size, root } = notice.body.action {
            self.check_switch(log, End { size, root }).await?;
        }
        let deadline = Instant::now() + self.patience;
        loop {
            let error = match self.handle.submit(content::notice(notice.encode())).await {
                Ok(Outcome::Final { index, .. } | Outcome::Different { index }) => {
                    return Ok(NoticeAppended { index });
                }
                Err(error) => error,
            };
            match error {
                SubmitError::Full | SubmitError::NotOpen | SubmitError::Unknown => {
                    if Instant::now() >= deadline {
                        return Err(NoticeRefused::Again(error.to_string()));
                    }
                    tokio::time::sleep(RETRY).await;
                }
                SubmitError::Refused(reason) => return Err(NoticeRefused::Refused(reason)),
                SubmitError::TooLong => return Err(NoticeRefused::Refused(error.to_string())),
                SubmitError::Closed => return Err(NoticeRefused::Ended),
                SubmitError::Halted => {
                    return Err(NoticeRefused::Stopped(state_text(&self.handle.state())));
                }
            }
        }
    }

    /// What the main key has signed above the notice's size would be signed by the wrong key once the notice stands: votes that were acknowledged
    /// there could not be shown any more. So the writer stops first, and the notice names its very last checkpoint.
    async fn check_switch(&self, log: LogId, end: End) -> Result<(), NoticeRefused> {
        if log == LogId::Heads {
            // Its own sequencer checks that nothing stands above the notice.
            return Ok(());
        }
        let Some(keys) = self.election.log_keys(log) else {
            return Err(NoticeRefused::Refused(format!(
                "the election has no log {}",
                log.prefix()
            )));
        };
        let client = LogClient::new(
            Arc::clone(&self.reader),
            name_of(&self.election, log),
            Keys::main(*keys.main.as_bytes()).switched(*keys.spare.as_bytes(), end.size),
        );
        match client.newest().await {
            // Under the main key up to the notice's size, or under the spare above it.
            Ok(Some((newest, _))) if newest.size() > end.size => Ok(()),
            Ok(Some((newest, _))) if newest.size() == end.size && newest.root() == end.root => {
                Ok(())
            }
            Ok(_) => Err(NoticeRefused::Refused(
                "it does not name the log's newest checkpoint: name the size and root of that one"
                    .to_owned(),
            )),
            Err(LogError::Read(error)) => Err(NoticeRefused::Again(error.to_string())),
            Err(error) => Err(NoticeRefused::Refused(format!(
                "the log's newest checkpoint is not the one that the notice names, or not by the key that it puts in force there ({error}): stop the log's writer, then name its last checkpoint"
            ))),
        }
    }

    /// The heads log's handle: its state, and what is published.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The newest published head, and every one after it (some may be skipped). `None` before the first.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<NewestHead>> {
        self.newest.clone()
    }

    /// The size of the heads log that every anchor holds.
    #[must_use]
    pub fn anchored(&self) -> watch::Receiver<u64> {
        self.anchored.clone()
    }

    /// Waits until the final head is published and in every anchor.
    ///
    /// # Errors
    /// The service has stopped before that, for this reason; somebody must look.
    pub async fn finished(&self) -> Result<NewestHead, String> {
        let mut ended = self.ended.clone();
        let outcome = ended
            .wait_for(Option::is_some)
            .await
            .map_err(|_| "the anchoring service was stopped".to_owned())?
            .clone();
        match outcome {
            Some(Ok(())) | None => {}
            Some(Err(reason)) => return Err(reason),
        }
        self.newest
            .borrow()
            .clone()
            .ok_or_else(|| "there is no head".to_owned())
    }
}

/// Heads and anchors side by side. A fork that an anchor shows stops everything; a heads log that ended is still to be anchored.
async fn run(heads: Heads, mut keepers: JoinSet<Result<(), String>>) -> Result<(), String> {
    let heads = heads.run();
    tokio::pin!(heads);
    let mut heads_done = false;
    loop {
        tokio::select! {
            outcome = &mut heads, if !heads_done => {
                outcome?;
                heads_done = true;
            }
            kept = keepers.join_next(), if !keepers.is_empty() => match kept {
                Some(Ok(outcome)) => outcome?,
                Some(Err(error)) => return Err(format!("a keeper of an anchor failed: {error}")),
                None => {}
            },
            else => return Ok(()),
        }
    }
}

/// Keeps `all` at the least of what the anchors hold. A keeper that has ended changes nothing any more, and what its anchor holds still counts.
async fn least(mut held: Vec<watch::Receiver<u64>>, all: watch::Sender<u64>) {
    let mut running: Vec<usize> = (0..held.len()).collect();
    loop {
        let least = held
            .iter_mut()
            .map(|held| *held.borrow_and_update())
            .min()
            .unwrap_or(0);
        all.send_if_modified(|before| std::mem::replace(before, least) != least);
        if running.is_empty() {
            return;
        }
        let changes = held
            .iter_mut()
            .enumerate()
            .filter(|(keeper, _)| running.contains(keeper))
            .map(|(keeper, held)| Box::pin(async move { (keeper, held.changed().await.is_err()) }));
        let ((keeper, ended), _, _) = futures::future::select_all(changes).await;
        if ended {
            running.retain(|other| *other != keeper);
        }
    }
}

fn state_text(state: &State) -> String {
    match state {
        State::SteppedDown(reason) | State::Halted(reason) => reason.clone(),
        State::Running | State::TakingOver => "it is not running".to_owned(),
    }
}
