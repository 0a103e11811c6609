//! Asking one witness, for as long as the service runs.

use std::sync::Arc;
use std::time::Duration;

use ledger::clock::Clock;
use ledger::log::LogName;
use ledger::read::{LogClient, LogError};
use protocol::merkle::Hash;
use protocol::note::NoteSignature;
use tokio::sync::{mpsc, watch};

use crate::cosigning::{Belongs, Cosigned, CosigningTimes, Target, belongs};
use crate::witness::{Answer, Binding, Witness, WitnessError};

/// How often a witness may correct us about its size before it counts as confused. (Its first answer to a new process is a correction.)
const CORRECTIONS_MAX: usize = 4;

/// A cosignature that one witness gave.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// The witness's index in the manifest.
    pub(crate) index: usize,
    /// The size that it cosigned.
    pub(crate) size: u64,
    /// The line.
    pub(crate) signature: NoteSignature,
}

/// Where one witness stands.
#[derive(Debug, Default)]
struct Known {
    /// The size that it says, or shows by its cosignature, that it has cosigned last; `None` where that is to be found out.
    size: Option<u64>,
    /// The size of its last cosignature that this process saw. A smaller size that it says later is something it has forgotten; what it only said is not.
    cosigned: u64,
}

/// Asks one witness for each target.
pub(crate) struct Asker {
    pub(crate) index: usize,
    pub(crate) witness: Witness,
    pub(crate) log: LogName,
    pub(crate) binding: Binding,
    /// Reads our own log.
    pub(crate) client: LogClient,
    pub(crate) target: watch::Receiver<Option<Arc<Target>>>,
    pub(crate) lines: mpsc::Sender<Line>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) times: CosigningTimes,
    pub(crate) state: Arc<watch::Sender<Cosigned>>,
}

/// Why a witness has not cosigned.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// It is asked again.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// It is asked again, and somebody should look.
    #[error("{0}")]
    Odd(String),
    /// Our own files could not be read.
    #[error("our own heads log could not be read: {0}")]
    Own(#[from] LogError),
    /// It has shown that our log forked.
    #[error("{0}")]
    Fork(String),
}

impl Asker {
    /// Runs until there are no more targets (`Ok`), or the witness shows that our log forked.
    pub(crate) async fn run(mut self) -> Result<(), String> {
        let mut wait = self.times.retry;
        let mut known = Known::default();
        let mut asked = 0;
        loop {
            let next = self
                .target
                .wait_for(|target| {
                    target
                        .as_ref()
                        .is_some_and(|target| target.checkpoint.size() > asked)
                })
                .await
                .map(|target| target.clone());
            let Ok(Some(target)) = next else {
                return Ok(());
            };
            match self.ask(&mut known, &target).await {
                Ok(signature) => {
                    asked = target.checkpoint.size();
                    wait = self.times.retry;
                    self.say(|state| {
                        state.size = asked;
                        state.wrong = None;
                    });
                    let line = Line {
                        index: self.index,
                        size: asked,
                        signature,
                    };
                    if self.lines.send(line).await.is_err() {
                        return Ok(());
                    }
                }
                Err(Failed::Fork(reason)) => {
                    return Err(format!("witness {}: {reason}", self.name()));
                }
                Err(failed) => {
                    // Where it stands is found out anew: what it said may be what it will not hear again. An old size above the checkpoint's is malformed to an
                    // honest witness, which then never says that it stands elsewhere.
                    known.size = None;
                    self.failed(&failed);
                    tokio::time::sleep(wait).await;
                    wait = wait
                        .saturating_mul(2)
                        .min(self.times.retry.saturating_mul(32));
                }
            }
        }
    }

    fn name(&self) -> &str {
        self.witness.key().name()
    }

    fn say(&self, change: impl FnOnce(&mut crate::cosigning::WitnessState)) {
        self.state.send_modify(|state| {
            if let Some(state) = state.witnesses.get_mut(self.index) {
                change(state);
            }
        });
    }

    /// Said once for each reason.
    fn failed(&self, failed: &Failed) {
        let reason = failed.to_string();
        self.say(|state| {
            if state.wrong.as_ref() != Some(&reason) {
                match failed {
                    Failed::Odd(_) => {
                        tracing::error!(witness = %state.name, reason, "a witness does not cosign, and it is not because it cannot be reached: ask its operator");
                    }
                    _ => tracing::warn!(witness = %state.name, reason, "a witness does not cosign; it is asked again"),
                }
                state.wrong = Some(reason);
            }
        });
    }

    /// One cosignature on the target, verified.
    async fn ask(&self, known: &mut Known, target: &Target) -> Result<NoteSignature, Failed> {
        let note = target.note.encode();
        for _ in 0..=CORRECTIONS_MAX {
            // "If a client doesn't have information on the latest cosigned checkpoint, it MAY initially make a request with a old size of zero to obtain it."
            let old_size = known.size.unwrap_or(0);
            let proof = self.proof(old_size, target).await?;
            let asked = self
                .witness
                .add_checkpoint(old_size, &proof, &note, target.note.text());
            match asked.await? {
                Answer::Cosigned(signature, time_s) => {
                    known.size = Some(target.checkpoint.size());
                    known.cosigned = target.checkpoint.size();
                    self.check_time(time_s)?;
                    return Ok(signature);
                }
                Answer::OtherSize(size) => {
                    if size < known.cosigned {
                        // It will cosign again from there; what it no longer remembers it could cosign twice.
                        tracing::error!(
                            witness = self.name(),
                            before = known.cosigned,
                            now = size,
                            "a witness has forgotten what it cosigned: its state was set back, and its operator must know"
                        );
                        known.cosigned = size;
                    }
                    if known.size.replace(size) == Some(size) {
                        return Err(Failed::Odd(format!(
                            "it answers that it cosigned size {size}, which is what it was told"
                        )));
                    }
                    if size > target.checkpoint.size() {
                        return self.ahead(size).await;
                    }
                }
                Answer::NotConsistent(said) => {
                    let said =
                        format!("it sees no consistency from its size {old_size} on ({said})");
                    return Err(self.examine(&said).await);
                }
            }
        }
        Err(Failed::Odd(
            "it names another size each time it is asked".to_owned(),
        ))
    }

    /// It says that it has cosigned more than we have published.
    async fn ahead(&self, size: u64) -> Result<NoteSignature, Failed> {
        let said = format!("it has cosigned size {size}, which is more than ours");
        Err(self.examine(&said).await)
    }

    async fn proof(&self, old_size: u64, target: &Target) -> Result<Vec<Hash>, Failed> {
        if old_size == 0 || old_size >= target.checkpoint.size() {
            return Ok(Vec::new());
        }
        // Every checkpoint that we ever published is there.
        let Some((old, _)) = self.client.at(old_size).await? else {
            let said = format!(
                "it has cosigned size {old_size}, of which our log published no checkpoint"
            );
            return Err(self.examine(&said).await);
        };
        Ok(self.client.consistency(&old, &target.checkpoint).await?)
    }

    /// Whether it can show what it says. Only what our own key has signed is evidence.
    async fn examine(&self, said: &str) -> Failed {
        let theirs = match self.witness.newest(&self.log, &self.binding).await {
            Ok(Some(theirs)) => theirs,
            Ok(None) => return Failed::Odd(format!("{said}, and shows no checkpoint of our log")),
            Err(error) => return Failed::Odd(format!("{said}, and does not show it: {error}")),
        };
        match belongs(&self.client, &theirs).await {
            Ok(Belongs::Yes) => Failed::Odd(format!(
                "{said}; but what it shows, size {}, is of our log",
                theirs.size()
            )),
            Ok(Belongs::No(reason)) => Failed::Fork(format!(
                "it shows a checkpoint of size {} and root {} that our heads log's key signed, and {reason}",
                theirs.size(),
                theirs.root().to_base64()
            )),
            Err(error) => error.into(),
        }
    }

    fn check_time(&self, time_s: u64) -> Result<(), Failed> {
        let now = Duration::from_millis(self.clock.now_ms());
        let off = Duration::from_secs(time_s).abs_diff(now);
        if off > self.times.clock_off {
            return Err(Failed::Odd(format!(
                "its clock and ours are {} s apart: its cosignature, of {time_s}, is not taken",
                off.as_secs()
            )));
        }
        Ok(())
    }
}
