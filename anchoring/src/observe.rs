//! Looking at one log: its newest checkpoint, whether that continues what was seen before, and what stands at its end.

use std::sync::Arc;

use ledger::LogClient;
use ledger::batch::End;
use ledger::heads::{keys_of, name_of};
use ledger::publisher::{ReadError, Reader};
use ledger::read::LogError;
use protocol::checkpoint::Checkpoint;
use protocol::entry::{Entry, Genesis};
use protocol::grammar::Schedule;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::{CompactRange, leaf_hash};

use crate::entries;

/// The last good state of a log, as it was seen or as the last head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) end: End,
    pub(crate) closed: bool,
    /// Votes (cell) or issuances below the end; `None` until it was found out.
    pub(crate) count: Option<u64>,
}

impl Known {
    /// "or are those of genesis": every log's first entry is known beforehand.
    pub(crate) fn genesis(election: &Election, log: LogId) -> Self {
        let mut range = CompactRange::new();
        range.push(leaf_hash(&Genesis::of(election, log).encode()));
        Self {
            end: End::from(&range),
            closed: false,
            count: Some(0),
        }
    }
}

/// Why a log is stale.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ObserveError {
    /// It cannot be read now.
    #[error("{0}")]
    Unavailable(String),
    /// A file is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// What was read is not what it must be, or contradicts what was seen before.
    #[error("{0}")]
    Damaged(String),
}

impl ObserveError {
    pub(crate) fn damaged(reason: impl ToString) -> Self {
        Self::Damaged(reason.to_string())
    }

    /// Whether something that was read speaks against the log, which no later success takes back.
    pub(crate) const fn is_evidence(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }
}

impl From<ReadError> for ObserveError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable { .. } => Self::Unavailable(error.to_string()),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<LogError> for ObserveError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Read(error) => error.into(),
            LogError::Missing(path) => Self::Missing(path),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// Looks at a log's newest checkpoint and gives its state, if it continues `known`.
pub(crate) async fn observe(
    reader: &Arc<dyn Reader>,
    election: &Election,
    schedule: &Schedule,
    log: LogId,
    known: Known,
) -> Result<Known, ObserveError> {
    let name = name_of(election, log);
    let Some(keys) = keys_of(election, schedule, log) else {
        return Err(ObserveError::damaged("the election has no such log"));
    };
    let client = LogClient::new(Arc::clone(reader), name.clone(), keys);
    let Some((newest, _)) = client.newest().await? else {
        return Err(ObserveError::Missing(name.path("checkpoint")));
    };
    let end = End {
        size: newest.size(),
        root: newest.root(),
    };
    if end == known.end && known.count.is_some() {
        return Ok(known);
    }
    if known.closed && end != known.end {
        return Err(ObserveError::damaged(format!(
            "it was closed at size {} and now shows another end, at size {}",
            known.end.size, end.size
        )));
    }
    let old = Checkpoint::new(name.origin(), known.end.size, known.end.root)
        .map_err(ObserveError::damaged)?;
    client.consistency(&old, &newest).await?;
    if let Some(switch) = schedule.switch(log) {
        // What the authority saw when it took the main key away must be in the tree as well.
        if switch.size <= newest.size() {
            let at = Checkpoint::new(name.origin(), switch.size, switch.root)
                .map_err(ObserveError::damaged)?;
            client.consistency(&at, &newest).await?;
        }
    }
    let last = newest.size().saturating_sub(1);
    let proven = client.inclusion(last, &newest).await?;
    let entry = Entry::decode(&proven.entry, election).map_err(ObserveError::damaged)?;
    let (count, closed) = match (log, &entry) {
        (_, Entry::Genesis(genesis)) if last == 0 && genesis.log == log => (0, false),
        (_, Entry::Close(close)) => (close.count, true),
        (LogId::Cell(_), Entry::Tally(tally)) => (tally.totals.votes, false),
        (LogId::Issuance { .. }, Entry::Count(count)) => (count.issued, false),
        (LogId::Issuance { .. }, Entry::Issuance(_)) => {
            let count = issued(reader.as_ref(), election, &name, &newest, known).await?;
            (count, false)
        }
        // SPEC: "every (size, root) is a batch end of its log"
        (_, other) => {
            return Err(ObserveError::damaged(format!(
                "its newest checkpoint, at size {}, does not stand at a batch end: the last entry is a {}",
                newest.size(),
                other.name()
            )));
        }
    };
    Ok(Known {
        end,
        closed,
        count: Some(count),
    })
}

/// Issuances below the checkpoint: backwards to where the number is known, by an earlier look or a count entry.
///
/// A count entry is taken at its word here; auditors recount.
async fn issued(
    reader: &dyn Reader,
    election: &Election,
    name: &ledger::log::LogName,
    checkpoint: &Checkpoint,
    known: Known,
) -> Result<u64, ObserveError> {
    let mut found = 0u64;
    let mut end = checkpoint.size();
    while let Some(last) = end.checked_sub(1) {
        let (first, bundle) = entries::bundle(reader, name, checkpoint, last).await?;
        let stretch: Vec<_> = (first..end).zip(&bundle).collect();
        for (index, entry) in stretch.into_iter().rev() {
            if let (Some(count), true) = (known.count, index < known.end.size) {
                return Ok(count.saturating_add(found));
            }
            match Entry::decode(entry, election).map_err(ObserveError::damaged)? {
                Entry::Issuance(_) => found = found.saturating_add(1),
                Entry::Count(count) => return Ok(count.issued.saturating_add(found)),
                _ => {}
            }
        }
        end = first;
    }
    Ok(found)
}
