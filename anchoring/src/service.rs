//! The anchoring service: heads log, anchors and notices, run as one.

use std::sync::Arc;
use std::time::Duration;

use ledger::clock::Clock;
use ledger::publisher::{Publisher, Reader};
use ledger::sequencer::Handle;
use ledger::store::Store;
use protocol::entry::Notice;
use protocol::manifest::Election;
use signer::Checked;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::anchor::Anchor;
use crate::cosigning::{Cosigned, Cosigning, CosigningTimes, WitnessState};
use crate::heads::{Heads, NewestHead};
use crate::keeper::Keeper;
use crate::notices::{self, NoticeAppended, NoticeRefused, Notices};
use crate::object::Objects;
use crate::start::{StartError, check_anchors, check_witnesses, sequencer};
use crate::witness::Witness;

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
    /// The manifest's witnesses, in its order.
    pub witnesses: Vec<Witness>,
    /// How their cosignatures are gathered.
    pub cosigning: CosigningTimes,
}

impl AnchoringConfig {
    /// The usual bounds, and no witnesses.
    #[must_use]
    pub fn new(election: &Election) -> Self {
        Self {
            election: election.clone(),
            read_timeout: Duration::from_secs(10),
            parallel: 32,
            anchor_retry: Duration::from_secs(1),
            anchor_late: Duration::from_secs(60),
            witnesses: Vec::new(),
            cosigning: CosigningTimes::default(),
        }
    }
}

/// The running service. Dropping it stops everything where it stands, as a crash would.
pub struct Anchoring {
    notices: Arc<Notices>,
    handle: Handle,
    newest: watch::Receiver<Option<NewestHead>>,
    anchored: watch::Receiver<u64>,
    cosigned: watch::Receiver<Cosigned>,
    ended: watch::Receiver<Option<Result<(), String>>>,
    /// Holds the sequencer and all loops.
    _tasks: JoinSet<()>,
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
        check_witnesses(&config.election, &config.witnesses)?;
        let for_cosigning = (Arc::clone(&publisher), Arc::clone(&clock));
        let own: Arc<dyn Reader> = Arc::clone(&publisher) as Arc<dyn Reader>;
        let outside = Arc::clone(&reader);
        let (sequencer, handle, binding) = sequencer(
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
        let (cosigned_sender, cosigned) = watch::channel(Cosigned {
            size: 0,
            witnesses: config.witnesses.iter().map(unheard).collect(),
        });
        if !config.witnesses.is_empty() {
            let (publisher, clock) = for_cosigning;
            let cosigning = Cosigning {
                election: config.election.clone(),
                witnesses: config.witnesses.clone(),
                publisher,
                handle: handle.clone(),
                binding,
                clock,
                times: config.cosigning,
                state: Arc::new(cosigned_sender),
            };
            let ready = handle.clone();
            keepers.spawn(async move {
                match ready.ready().await {
                    Ok(()) => cosigning.run().await,
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
            notices: Arc::new(Notices {
                election: config.election,
                reader: outside,
                handle: handle.clone(),
                patience: config.read_timeout,
            }),
            handle,
            newest,
            anchored,
            cosigned,
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
        self.notices.submit(notice).await
    }

    /// Serves `POST /elections/<id>/notices`, and nothing else. Give the router that it is merged into the fallback [`listener::not_found`].
    pub fn router(&self) -> axum::Router {
        notices::router(&self.notices)
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

    /// How far the witnesses are. Without any, size 0 for ever.
    #[must_use]
    pub fn cosigned(&self) -> watch::Receiver<Cosigned> {
        self.cosigned.clone()
    }

    /// Waits until the final head is published, in every anchor, and cosigned by the quorum.
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

fn unheard(witness: &Witness) -> WitnessState {
    WitnessState {
        name: witness.key().name().to_owned(),
        size: 0,
        wrong: Some("it was not asked yet".to_owned()),
    }
}

/// Heads, anchors and witnesses side by side. A fork that one of them shows stops everything; a heads log that ended is still to be anchored and cosigned.
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
                Some(Err(error)) => return Err(format!("a keeper of an anchor, or the witnesses' client, failed: {error}")),
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
