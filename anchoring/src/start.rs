//! Taking the heads log over: with the manifest's anchors, the key in force, and nothing below what an anchor holds.

use std::sync::Arc;
use std::time::Duration;

use ledger::batch::End;
use ledger::clock::Clock;
use ledger::heads::{FollowError, HeadsFollower, keys_of, name_of};
use ledger::publisher::{Publisher, Reader};
use ledger::sequencer::{Config, Handle, Parts, Sequencer};
use ledger::store::Store;
use protocol::cosignature::WitnessKey;
use protocol::ids::LogId;
use protocol::manifest::Election;
use signer::{Checked, Signer as _};
use tokio::time::timeout;

use crate::AnchoringConfig;
use crate::anchor::Anchor;
use crate::content::{HeadsContent, HeadsKey};
use crate::keeper::held;
use crate::witness::{Binding, Witness};

/// How long a witness may take to show what it has, at start: an outage of witnesses must not keep heads from being made.
const WITNESS_AT_START: Duration = Duration::from_secs(5);

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Other anchors than the manifest's.
    #[error(
        "the manifest names the anchors {named:?}, and {given:?} were given: give exactly those, in this order"
    )]
    Anchors {
        /// The manifest's.
        named: Vec<String>,
        /// What was given.
        given: Vec<String>,
    },
    /// Other witnesses than the manifest's.
    #[error(
        "the manifest names the witnesses {named:?}, and {given:?} were given: give an address for exactly those, in this order"
    )]
    Witnesses {
        /// The manifest's.
        named: Vec<String>,
        /// What was given.
        given: Vec<String>,
    },
    /// The signer's key is not the one in force.
    #[error("{0}")]
    Key(String),
    /// The published heads log could not be read, or does not check out.
    #[error("the published heads log: {0}")]
    Heads(#[from] FollowError),
    /// An anchor holds what is not of this heads log.
    #[error(
        "anchor {anchor} does not hold this heads log: {reason}; nothing was started, since going on could fork it"
    )]
    Fork {
        /// The anchor.
        anchor: String,
        /// What is wrong.
        reason: String,
    },
}

pub(crate) fn check_anchors(
    election: &Election,
    anchors: &[Arc<dyn Anchor>],
) -> Result<(), StartError> {
    let named: Vec<String> = election
        .manifest()
        .anchors
        .iter()
        .map(|anchor| anchor.name.clone())
        .collect();
    let given: Vec<String> = anchors
        .iter()
        .map(|anchor| anchor.name().to_owned())
        .collect();
    if named == given {
        Ok(())
    } else {
        Err(StartError::Anchors { named, given })
    }
}

pub(crate) fn check_witnesses(
    election: &Election,
    witnesses: &[Witness],
) -> Result<(), StartError> {
    let names = |keys: &mut dyn Iterator<Item = &WitnessKey>| {
        keys.map(|key| key.name().to_owned()).collect()
    };
    if witnesses.iter().map(Witness::key).eq(election.witnesses()) {
        return Ok(());
    }
    Err(StartError::Witnesses {
        named: names(&mut election.witnesses().iter()),
        given: names(&mut witnesses.iter().map(Witness::key)),
    })
}

/// Takes the heads log over: not below what an anchor or a witness holds, and with the key that the notices put in force.
pub(crate) async fn sequencer(
    config: &AnchoringConfig,
    own: &Arc<dyn Reader>,
    store: Arc<dyn Store>,
    publisher: Arc<dyn Publisher>,
    signer: Checked,
    anchors: &[Arc<dyn Anchor>],
    clock: Arc<dyn Clock>,
) -> Result<(Sequencer, Handle, Binding), StartError> {
    let election = &config.election;
    let mut follower = HeadsFollower::new(Arc::clone(own), election);
    follower.advance().await?;
    let missing = || StartError::Key("the manifest names no keys of the heads log".to_owned());
    let pair = election.log_keys(LogId::Heads).ok_or_else(missing)?;
    let in_force =
        keys_of(election, follower.log().schedule(), LogId::Heads).ok_or_else(missing)?;
    let notice = follower.log().schedule().switch(LogId::Heads);
    let binding = Binding::new(election, notice.map(|switch| switch.size));
    let switched = notice.is_some();
    let (key, keys) = if signer.public_key() == *pair.spare.as_bytes() {
        let size = follower.end().size;
        match (switched, size) {
            (true, _) => (HeadsKey::Spare, in_force),
            (false, 0) => {
                return Err(StartError::Key(
                    "the heads log begins under its main key: start with that".to_owned(),
                ));
            }
            // The notice comes next, at this index, or behind what has no checkpoint yet.
            (false, size) => (
                HeadsKey::Spare,
                in_force.switched(*pair.spare.as_bytes(), size),
            ),
        }
    } else if signer.public_key() != *pair.main.as_bytes() {
        return Err(StartError::Key(
            "the signer's key is neither of the heads log's keys in the manifest".to_owned(),
        ));
    } else if switched {
        return Err(StartError::Key(
            "a notice has switched the heads log to its spare key: start with that one".to_owned(),
        ));
    } else {
        (HeadsKey::Main, in_force)
    };
    let mut sequencing = Config::new(name_of(election, LogId::Heads), keys);
    sequencing.batch.count_max = 64;
    sequencing.queue_max = 256;
    // A head that the writer before left without a checkpoint is not the spare's to sign alone: the first checkpoint that it may sign includes the notice.
    sequencing.covers_rest = key == HeadsKey::Main || switched;
    sequencing.floor = floor(config, own, anchors, &binding).await?;
    let for_content = election.clone();
    let parts = Parts {
        store,
        publisher,
        signer,
        clock,
        content: Arc::new(move || Box::new(HeadsContent::new(&for_content, key))),
    };
    let sequencer = Sequencer::spawn(sequencing, parts);
    let handle = sequencer.handle();
    Ok((sequencer, handle, binding))
}

/// The farthest end that an anchor holds. An anchor that cannot be asked now is asked later, by its keeper.
async fn floor(
    config: &AnchoringConfig,
    own: &Arc<dyn Reader>,
    anchors: &[Arc<dyn Anchor>],
    binding: &Binding,
) -> Result<Option<End>, StartError> {
    let mut floor: Option<End> = None;
    for anchor in anchors {
        let asked = held(anchor.as_ref(), &config.election, Arc::clone(own));
        match timeout(config.read_timeout, asked).await {
            Ok(Ok(Some(end))) => floor = floor.filter(|floor| floor.size >= end.size).or(Some(end)),
            Ok(Ok(None)) => {}
            Ok(Err(error)) if error.is_fork() => {
                return Err(StartError::Fork {
                    anchor: anchor.name().to_owned(),
                    reason: error.to_string(),
                });
            }
            Ok(Err(error)) => {
                tracing::warn!(anchor = anchor.name(), %error, "an anchor could not be asked at start")
            }
            Err(_) => tracing::warn!(anchor = anchor.name(), "an anchor did not answer at start"),
        }
    }
    let witnessed = witnessed(config, binding).await;
    Ok(floor
        .into_iter()
        .chain(witnessed)
        .max_by_key(|end| end.size))
}

/// What each witness shows of our log, under our own key: a log that was set back must not sign anything before it learns so. One that cannot be asked now is asked later.
async fn witnessed(config: &AnchoringConfig, binding: &Binding) -> Vec<End> {
    let name = name_of(&config.election, LogId::Heads);
    let patience = config.read_timeout.min(WITNESS_AT_START);
    let ask = async |witness: &Witness| {
        let shown = match timeout(patience, witness.newest(&name, binding)).await {
            Ok(shown) => shown.map_err(|error| error.to_string()),
            Err(_) => Err("it did not answer in time".to_owned()),
        };
        shown.unwrap_or_else(|reason| {
            tracing::warn!(
                witness = witness.key().name(),
                reason,
                "a witness could not be asked at start"
            );
            None
        })
    };
    let shown = futures::future::join_all(config.witnesses.iter().map(ask)).await;
    let ends = shown.into_iter().flatten().map(|checkpoint| End {
        size: checkpoint.size(),
        root: checkpoint.root(),
    });
    ends.collect()
}
