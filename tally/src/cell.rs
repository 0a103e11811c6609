//! One cell's part of the results: its newest tally, proven.

use std::sync::Arc;

use bytes::Bytes;
use ledger::LogClient;
use ledger::heads::{keys_of, name_of};
use ledger::publisher::Reader;
use ledger::read::LogError;
use protocol::checkpoint::Checkpoint;
use protocol::entry::{Entry, Tally};
use protocol::grammar::Schedule;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::{Hash, leaf_hash};
use protocol::results::{CellPart, CellResult};
use protocol::tlog_proof::TlogProof;

/// A cell's last good part, and the checkpoint that it stands under.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// `None` while nothing is published.
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) cell: CellPart,
}

impl Part {
    /// SPEC: "`size` is 0 and `proof` null while a cell has published nothing."
    pub(crate) const fn nothing() -> Self {
        Self {
            checkpoint: None,
            cell: CellPart {
                size: 0,
                tally: None,
            },
        }
    }
}

/// Why a cell keeps its last good part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CellError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{0}")]
    Invalid(String),
}

impl CellError {
    pub(crate) fn invalid(reason: impl ToString) -> Self {
        Self::Invalid(reason.to_string())
    }
}

/// Reads one cell as an outsider.
pub(crate) struct CellReader {
    election: Election,
    log: LogId,
    client: LogClient,
    origin: String,
    keys: ledger::Keys,
}

impl CellReader {
    /// With the keys that the notices so far put in force. `None` if the election has no such cell.
    pub(crate) fn new(
        reader: &Arc<dyn Reader>,
        election: &Election,
        schedule: &Schedule,
        cell: u32,
    ) -> Option<Self> {
        let log = LogId::Cell(cell);
        let keys = keys_of(election, schedule, log)?;
        let name = name_of(election, log);
        let origin = name.origin().to_owned();
        Some(Self {
            election: election.clone(),
            log,
            client: LogClient::new(Arc::clone(reader), name, keys.clone()),
            origin,
            keys,
        })
    }

    pub(crate) const fn client(&self) -> &LogClient {
        &self.client
    }

    /// The part at the cell's newest checkpoint, if that continues the one before. `None`: nothing new.
    pub(crate) async fn newest(&self, before: &Part) -> Result<Option<Part>, CellError> {
        let Some((newest, note)) = self.client.newest().await? else {
            return match before.checkpoint {
                None => Ok(None),
                Some(_) => Err(CellError::invalid("its checkpoint is gone")),
            };
        };
        if let Some(old) = &before.checkpoint {
            if *old == newest {
                return Ok(None);
            }
            // A log only grows: whatever does not contain what was shown before is not shown.
            self.client.consistency(old, &newest).await?;
        }
        Ok(Some(self.part(newest, &note).await?))
    }

    /// The part at the size that the final head names, which must have the root that it names.
    pub(crate) async fn at(&self, size: u64, root: Hash) -> Result<Part, CellError> {
        let Some((checkpoint, note)) = self.client.at(size).await? else {
            return Err(CellError::invalid(format!(
                "checkpoints/{size} is not there, and the final head names it"
            )));
        };
        if checkpoint.root() != root {
            return Err(CellError::invalid(format!(
                "at size {size} it has another root than the final head names"
            )));
        }
        self.part(checkpoint, &note).await
    }

    /// SPEC: "the newest tally entry below `size` (with the entry as `extra`), under `checkpoints/<size>`; null where there is no tally yet"
    async fn part(&self, checkpoint: Checkpoint, note: &Bytes) -> Result<Part, CellError> {
        let mut tally = None;
        // The newest batch ends in a tally; only a close can stand behind it, and only the genesis before all.
        for back in 1..=2 {
            let Some(index) = checkpoint.size().checked_sub(back) else {
                break;
            };
            let proven = self.client.inclusion(index, &checkpoint).await?;
            match Entry::decode(&proven.entry, &self.election).map_err(CellError::invalid)? {
                Entry::Tally(found) => {
                    let proof = TlogProof::new(
                        Some(proven.entry.to_vec()),
                        index,
                        proven.proof,
                        note.to_vec(),
                    )
                    .map_err(CellError::invalid)?;
                    let text = String::from_utf8(proof.encode()).map_err(CellError::invalid)?;
                    tally = Some((found.totals, text));
                    break;
                }
                Entry::Close(_) if back == 1 => {}
                Entry::Genesis(genesis) if index == 0 && genesis.log == self.log => break,
                other => {
                    return Err(CellError::invalid(format!(
                        "its checkpoint of size {} does not stand at a batch end: entry {index} is a {}",
                        checkpoint.size(),
                        other.name()
                    )));
                }
            }
        }
        let size = checkpoint.size();
        Ok(Part {
            checkpoint: Some(checkpoint),
            cell: CellPart { size, tally },
        })
    }

    /// The part that an earlier `results.json` holds, verified anew: so that a cell that cannot be read after a restart does not fall back to nothing.
    pub(crate) fn recall(&self, said: &CellResult) -> Result<Part, CellError> {
        let Some(text) = &said.proof else {
            return Ok(Part::nothing());
        };
        let proof = TlogProof::parse(text.as_bytes()).map_err(CellError::invalid)?;
        let entry = proof.extra().unwrap_or_default();
        let key = self.keys.at(said.size);
        let (checkpoint, _) = proof
            .verify(&leaf_hash(entry), &self.origin, &[key])
            .map_err(CellError::invalid)?;
        match Entry::decode(entry, &self.election).map_err(CellError::invalid)? {
            Entry::Tally(Tally { totals, .. }) if checkpoint.size() == said.size => Ok(Part {
                checkpoint: Some(checkpoint),
                cell: CellPart {
                    size: said.size,
                    tally: Some((totals, text.clone())),
                },
            }),
            _ => Err(CellError::invalid("it does not prove a tally at its size")),
        }
    }
}
