//! Cosignatures: every witness is asked for each heads checkpoint, and `cosigned/<size>` is published once the quorum has answered.
//!
//! This runs beside the heads, and never holds them up: while witnesses are slow or away, heads go on, and the checkpoint that is newest when the quorum is back gets cosigned; those in between
//! stay without. `cosigned/<size>` is created once, when the quorum is there and the others had a moment to join it, and never changed.
//!
//! What a witness *says* is no reason to stop: whoever runs one could then end an election. What it can *show* is: a checkpoint that our own key signed and that our log does not have. Then two
//! histories of the heads log exist, or ours was set back to an old state; everything stops rather than to go on from either.

use std::sync::Arc;
use std::time::Duration;

use ledger::heads::name_of;
use ledger::publisher::{Creation, Publisher};
use ledger::read::{LogClient, LogError};
use ledger::sequencer::{Handle, Published};
use protocol::checkpoint::Checkpoint;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::note::{NOTE_BYTES_MAX, SignedNote};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::asking::{Asker, Line};
use crate::witness::{Binding, Witness};

/// How cosignatures are gathered.
#[derive(Debug, Clone, Copy)]
pub struct CosigningTimes {
    /// How long the other witnesses may take once the quorum is there.
    pub stragglers: Duration,
    /// The same for the final head, after which nothing comes.
    pub stragglers_at_end: Duration,
    /// How long a checkpoint waits for its quorum before a newer one is asked for in its place; also the time after which an alarm is raised, and again each time.
    pub round: Duration,
    /// The first wait before a witness that failed is asked again; doubles up to 32 times that.
    pub retry: Duration,
    /// How far a cosignature's time may lie from ours. Below the 5 minutes that auditors allow, or a witness whose clock is that much ahead puts heads into
    /// doubt that others have seen in time.
    pub clock_off: Duration,
}

impl Default for CosigningTimes {
    fn default() -> Self {
        Self {
            stragglers: Duration::from_secs(1),
            stragglers_at_end: Duration::from_secs(10),
            round: Duration::from_secs(30),
            retry: Duration::from_millis(500),
            clock_off: Duration::from_secs(240),
        }
    }
}

/// How far the witnesses are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cosigned {
    /// The heads log's size that a quorum has cosigned. Where the quorum is 0: that every witness was asked for.
    pub size: u64,
    /// Each witness, in the manifest's order.
    pub witnesses: Vec<WitnessState>,
}

/// What was last heard of one witness.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WitnessState {
    /// Its name.
    pub name: String,
    /// The largest size that it cosigned for this process.
    pub size: u64,
    /// Why it does not cosign now.
    pub wrong: Option<String>,
}

/// The checkpoint that witnesses are asked for.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) note: SignedNote,
    pub(crate) is_last: bool,
}

/// Asks all witnesses, and publishes.
pub(crate) struct Cosigning {
    pub(crate) election: Election,
    pub(crate) witnesses: Vec<Witness>,
    pub(crate) publisher: Arc<dyn Publisher>,
    pub(crate) handle: Handle,
    pub(crate) binding: Binding,
    pub(crate) clock: Arc<dyn ledger::clock::Clock>,
    pub(crate) times: CosigningTimes,
    pub(crate) state: Arc<watch::Sender<Cosigned>>,
}

impl Cosigning {
    fn quorum(&self) -> usize {
        self.election.manifest().witnesses.quorum as usize
    }

    /// Runs until the log has ended and its end is cosigned (`Ok`), or a witness shows that the log forked.
    pub(crate) async fn run(self) -> Result<(), String> {
        let (target_sender, target) = watch::channel(None);
        let (line_sender, mut lines) = mpsc::channel(self.witnesses.len().max(1));
        let mut askers = JoinSet::new();
        for (index, witness) in self.witnesses.iter().enumerate() {
            let asker = Asker {
                index,
                witness: witness.clone(),
                log: name_of(&self.election, LogId::Heads),
                binding: self.binding.clone(),
                client: self.client(),
                target: target.clone(),
                lines: line_sender.clone(),
                clock: Arc::clone(&self.clock),
                times: self.times,
                state: Arc::clone(&self.state),
            };
            askers.spawn(asker.run());
        }
        let gathering = self.gather(&target_sender, &mut lines);
        tokio::pin!(gathering);
        loop {
            tokio::select! {
                outcome = &mut gathering => return outcome,
                Some(ended) = askers.join_next() => match ended {
                    Ok(Ok(())) => {}
                    Ok(Err(reason)) => {
                        tracing::error!(reason, "FORK: a witness shows a checkpoint that our heads log's key signed and that our log does not have; everything stops, keep both as evidence");
                        return Err(reason);
                    }
                    Err(error) => return Err(format!("asking a witness failed: {error}")),
                }
            }
        }
    }

    fn keys(&self) -> Result<[[u8; 32]; 2], String> {
        self.election
            .log_keys(LogId::Heads)
            .map(|keys| keys.to_bytes())
            .ok_or_else(|| "the manifest names no keys of the heads log".to_owned())
    }

    /// Reads our own log as it is published.
    fn client(&self) -> LogClient {
        let reader: Arc<dyn ledger::publisher::Reader> = Arc::clone(&self.publisher) as _;
        let name = name_of(&self.election, LogId::Heads);
        LogClient::new(reader, name, self.handle.config().keys.clone())
    }

    async fn gather(
        &self,
        target: &watch::Sender<Option<Arc<Target>>>,
        lines: &mut mpsc::Receiver<Line>,
    ) -> Result<(), String> {
        let mut published = self.handle.watch();
        let mut done = 0;
        loop {
            let newest = published.borrow_and_update().clone();
            if newest.end.size <= done {
                if newest.closed {
                    return Ok(());
                }
                if published.changed().await.is_err() {
                    return Ok(());
                }
                continue;
            }
            let next = Arc::new(self.target(&newest)?);
            let mut standing = self.standing(&next).await;
            if standing == Standing::Nothing {
                target.send_replace(Some(Arc::clone(&next)));
                let found = self.round(&next, &published, lines).await;
                if found.len() < self.quorum() {
                    // A newer checkpoint has come; that one is asked for.
                    continue;
                }
                standing = if found.is_empty() {
                    Standing::Right
                } else {
                    self.publish(&next, found).await
                };
            }
            done = next.checkpoint.size();
            match standing {
                Standing::Right => self.state.send_modify(|state| state.size = done),
                _ if next.is_last => {
                    return Err(format!(
                        "{} is not what it must be and cannot be replaced, so the final head is not cosigned: somebody must look",
                        self.path(&next)
                    ));
                }
                Standing::Nothing | Standing::Wrong => {}
            }
        }
    }

    fn target(&self, newest: &Published) -> Result<Target, String> {
        let keys = self.keys()?;
        let origin = self.election.origin(LogId::Heads);
        let (checkpoint, _) = Checkpoint::verify(&newest.checkpoint, &origin, &keys)
            .map_err(|error| format!("our own heads checkpoint does not verify: {error}"))?;
        let note = SignedNote::parse(&newest.checkpoint)
            .map_err(|error| format!("our own heads checkpoint is no note: {error}"))?;
        Ok(Target {
            checkpoint,
            note,
            is_last: newest.closed,
        })
    }

    /// Waits for cosignatures of the target: all of them, or the quorum and a moment more. With fewer, a newer checkpoint is there and the round was long enough.
    async fn round(
        &self,
        target: &Target,
        published: &watch::Receiver<Published>,
        lines: &mut mpsc::Receiver<Line>,
    ) -> Vec<Line> {
        let mut found: Vec<Line> = Vec::new();
        let mut ends = Instant::now() + self.times.round;
        let stragglers = if target.is_last {
            self.times.stragglers_at_end
        } else {
            self.times.stragglers
        };
        // A quorum of 0 asks for none, and takes those that come.
        let mut enough = None;
        loop {
            if found.len() == self.witnesses.len() {
                return found;
            }
            if found.len() >= self.quorum().max(1) {
                enough.get_or_insert_with(|| Instant::now() + stragglers);
            }
            let until = enough.unwrap_or(ends);
            match tokio::time::timeout_at(until, lines.recv()).await {
                Ok(Some(line)) if line.size == target.checkpoint.size() => found.push(line),
                // Of an earlier target.
                Ok(Some(_)) => {}
                Ok(None) => return found,
                Err(_) if enough.is_some() || self.quorum() == 0 => return found,
                Err(_) => {
                    self.late(target, &found);
                    if published.borrow().end.size > target.checkpoint.size() {
                        return found;
                    }
                    ends = Instant::now() + self.times.round;
                }
            }
        }
    }

    fn late(&self, target: &Target, found: &[Line]) {
        let state = self.state.borrow();
        let wrong: Vec<_> = state
            .witnesses
            .iter()
            .filter_map(|witness| Some(format!("{}: {}", witness.name, witness.wrong.as_ref()?)))
            .collect();
        tracing::error!(
            size = target.checkpoint.size(),
            cosigned = found.len(),
            quorum = self.quorum(),
            wrong = wrong.join("; "),
            "the heads log is not cosigned in time; receipts are not final until it is"
        );
    }

    /// What stands at `cosigned/<size>` already, from before a restart or by another process of ours.
    async fn standing(&self, target: &Target) -> Standing {
        match self
            .publisher
            .read(&self.path(target), NOTE_BYTES_MAX)
            .await
        {
            Ok(None) => Standing::Nothing,
            Ok(Some(bytes)) => match self.check(target, &bytes) {
                Ok(()) => Standing::Right,
                Err(reason) => {
                    tracing::error!(
                        size = target.checkpoint.size(),
                        reason,
                        "a published cosigned checkpoint is not what it must be, and cannot be replaced: auditors will find it"
                    );
                    Standing::Wrong
                }
            },
            Err(error) => {
                tracing::warn!(%error, "it could not be seen whether a checkpoint is cosigned already");
                Standing::Nothing
            }
        }
    }

    /// SPEC: "`cosigned/<size>` holds the same note with the cosignatures … of named witnesses after the log's line"
    fn check(&self, target: &Target, bytes: &[u8]) -> Result<(), String> {
        if !bytes.starts_with(&target.note.encode()) {
            return Err("it does not begin with the log's checkpoint".to_owned());
        }
        let origin = self.election.origin(LogId::Heads);
        let (_, _, cosigned) =
            Checkpoint::verify_cosigned(bytes, &origin, &self.keys()?, self.election.witnesses())
                .map_err(|error| error.to_string())?;
        if cosigned.len() < self.quorum().max(1) {
            return Err(format!("{} witnesses have cosigned it", cosigned.len()));
        }
        Ok(())
    }

    fn path(&self, target: &Target) -> String {
        let name = name_of(&self.election, LogId::Heads);
        name.path(&format!("cosigned/{}", target.checkpoint.size()))
    }

    /// Creates `cosigned/<size>`, however long that takes: the cosignatures do not grow old.
    async fn publish(&self, target: &Target, mut found: Vec<Line>) -> Standing {
        found.sort_by_key(|line| line.index);
        let lines = found.into_iter().map(|line| line.signature);
        let made = target
            .note
            .with_signatures(lines)
            .map_err(|error| error.to_string())
            .map(|note| note.encode())
            .and_then(|bytes| self.check(target, &bytes).map(|()| bytes));
        let bytes = match made {
            Ok(bytes) => bytes::Bytes::from(bytes),
            Err(reason) => {
                tracing::error!(
                    reason,
                    "the cosigned checkpoint that was made is wrong, and is not published"
                );
                return Standing::Wrong;
            }
        };
        let mut wait = self.times.retry;
        loop {
            match self
                .publisher
                .create(&self.path(target), bytes.clone())
                .await
            {
                Ok(Creation::Created | Creation::AlreadyEqual) => return Standing::Right,
                // Another process of ours was before us, with other times in it.
                Ok(Creation::Different) => match self.standing(target).await {
                    Standing::Nothing => {}
                    standing => return standing,
                },
                Err(error) => {
                    tracing::warn!(%error, "a cosigned checkpoint could not be published; trying again");
                }
            }
            tokio::time::sleep(wait).await;
            wait = wait
                .saturating_mul(2)
                .min(self.times.retry.saturating_mul(32));
        }
    }
}

/// What stands at a `cosigned/<size>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing, or it could not be seen.
    Nothing,
    /// The checkpoint, with a quorum.
    Right,
    /// Something else.
    Wrong,
}

/// Whether a witness's checkpoint of our log, signed by our key, belongs to the log as it is published.
pub(crate) async fn belongs(client: &LogClient, theirs: &Checkpoint) -> Result<Belongs, LogError> {
    // Read afresh: another process of ours may have taken the log over and gone on.
    if let Some((ours, _)) = client.at(theirs.size()).await? {
        return Ok(if ours.root() == theirs.root() {
            Belongs::Yes
        } else {
            Belongs::No(format!(
                "our log has another root at size {}",
                theirs.size()
            ))
        });
    }
    let Some((newest, _)) = client.newest().await? else {
        return Ok(Belongs::No("our log has published nothing".to_owned()));
    };
    if theirs.size() > newest.size() {
        return Ok(Belongs::No(format!(
            "our log has {} entries only",
            newest.size()
        )));
    }
    match client.consistency(theirs, &newest).await {
        Ok(_) => Ok(Belongs::Yes),
        Err(LogError::Inconsistent { reason, .. }) => Ok(Belongs::No(reason)),
        Err(error) => Err(error),
    }
}

/// See [`belongs`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Belongs {
    Yes,
    No(String),
}
