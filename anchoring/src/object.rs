//! Anchor objects of our heads log: made, and compared.

use std::sync::Arc;

use bytes::Bytes;
use ledger::batch::End;
use ledger::heads::name_of;
use ledger::log::LogName;
use ledger::publisher::Reader;
use protocol::anchor::{ANCHOR_LEN_MAX, AnchorObject};
use protocol::checkpoint::Checkpoint;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::note::NOTE_BYTES_MAX;

use crate::entries;
use crate::observe::ObserveError;

/// Room for an object's header and note; what is left of 16 MiB is for entries.
const OVERHEAD_MAX: usize = 128 * 1024;

/// Reads our heads log, as it is published, and turns it into anchor objects.
#[derive(Clone)]
pub(crate) struct Objects {
    election: Election,
    reader: Arc<dyn Reader>,
    name: LogName,
}

/// The anchor's object does not belong to our heads log, or it could not be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ObjectError {
    /// The comparison could not be made now.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// Two histories exist.
    #[error("object {n} is not of this heads log: {reason}")]
    Fork { n: u64, reason: String },
}

impl Objects {
    pub(crate) fn new(election: &Election, reader: Arc<dyn Reader>) -> Self {
        Self {
            election: election.clone(),
            reader,
            name: name_of(election, LogId::Heads),
        }
    }

    /// The verified checkpoint of an object, whatever else the object holds: an end of the heads log that somebody outside keeps.
    pub(crate) fn end_of(&self, n: u64, bytes: &[u8]) -> Result<End, ObjectError> {
        let fork = |reason: String| ObjectError::Fork { n, reason };
        let object = AnchorObject::decode(bytes, &self.election.id())
            .map_err(|error| fork(error.to_string()))?;
        let checkpoint = self.verify_note(object.note).map_err(fork)?;
        if checkpoint.size() != object.new_size || object.n != n {
            return Err(fork(
                "its numbers are not those of its note and place".to_owned(),
            ));
        }
        Ok(End {
            size: checkpoint.size(),
            root: checkpoint.root(),
        })
    }

    /// Object `n`, from `old_size` up to the newest checkpoint, or to an earlier one where that would be too long. With its new size.
    pub(crate) async fn make(
        &self,
        n: u64,
        old_size: u64,
        newest: &Bytes,
    ) -> Result<(u64, Vec<u8>), ObserveError> {
        let checkpoint = self.verify_note(newest).map_err(ObserveError::damaged)?;
        let budget = ANCHOR_LEN_MAX.saturating_sub(OVERHEAD_MAX);
        let entries = self.entries(&checkpoint, old_size, budget).await?;
        let reached = old_size.saturating_add(entries.len() as u64);
        if reached == checkpoint.size() {
            let bytes = self.encode(n, old_size, &entries, newest)?;
            return Ok((reached, bytes));
        }
        // Too long for one object: an earlier checkpoint, of which there is one for each that was ever published.
        for size in (old_size.saturating_add(1)..=reached).rev() {
            if let Some((_, note)) = self.published(size).await? {
                let count = usize::try_from(size.saturating_sub(old_size)).unwrap_or(0);
                let entries = entries.get(..count).unwrap_or_default();
                return Ok((size, self.encode(n, old_size, entries, &note)?));
            }
        }
        Err(ObserveError::damaged(
            "no checkpoint of the heads log is near enough to the last anchored one for an object of 16 MiB",
        ))
    }

    /// Checks that object `n` is of our heads log: our entries from its old size on, and our checkpoint, byte for byte. Gives its new size.
    ///
    /// `old_size` is where the object before it ended, where that is known.
    pub(crate) async fn compare(
        &self,
        n: u64,
        old_size: Option<u64>,
        bytes: &[u8],
    ) -> Result<u64, ObjectError> {
        let fork = |reason: &str| ObjectError::Fork {
            n,
            reason: reason.to_owned(),
        };
        let end = self.end_of(n, bytes)?;
        let object = AnchorObject::decode(bytes, &self.election.id())
            .map_err(|error| fork(&error.to_string()))?;
        // SPEC: "Old size is object n - 1's new size (0 for n = 0)".
        if old_size.is_some_and(|size| size != object.old_size)
            || (n == 0) != (object.old_size == 0)
        {
            return Err(fork("it does not start where the object before it ended"));
        }
        let Some((checkpoint, note)) = self.published(end.size).await? else {
            return Err(fork("its checkpoint was never published by this heads log"));
        };
        // SPEC: "the note is the byte-exact `checkpoints/<new size>` of the heads log"
        if note != object.note {
            return Err(fork(
                "its note is another than this heads log's checkpoint of the same size",
            ));
        }
        let ours = self
            .entries(&checkpoint, object.old_size, ANCHOR_LEN_MAX)
            .await?;
        if ours.len() != object.entries.len()
            || ours.iter().zip(&object.entries).any(|(a, b)| a != b)
        {
            return Err(fork("its entries are not those of this heads log"));
        }
        Ok(end.size)
    }

    /// Either key, as the anchor cannot tell which notices are in force; byte-equality with what is published then decides.
    fn verify_note(&self, note: &[u8]) -> Result<Checkpoint, String> {
        let keys = self.keys().ok_or("the election has no heads log")?;
        Checkpoint::verify(note, self.name.origin(), &keys)
            .map(|(checkpoint, _)| checkpoint)
            .map_err(|error| error.to_string())
    }

    fn keys(&self) -> Option<[[u8; 32]; 2]> {
        let keys = self.election.log_keys(LogId::Heads)?;
        Some([*keys.main.as_bytes(), *keys.spare.as_bytes()])
    }

    /// Entries from `old_size`, as many as fit `budget` bytes.
    async fn entries(
        &self,
        checkpoint: &Checkpoint,
        old_size: u64,
        budget: usize,
    ) -> Result<Vec<Bytes>, ObserveError> {
        entries::within(
            self.reader.as_ref(),
            &self.name,
            checkpoint,
            old_size,
            budget,
        )
        .await
    }

    fn encode(
        &self,
        n: u64,
        old_size: u64,
        entries: &[Bytes],
        note: &[u8],
    ) -> Result<Vec<u8>, ObserveError> {
        let object = AnchorObject {
            election: self.election.id(),
            n,
            old_size,
            new_size: old_size.saturating_add(entries.len() as u64),
            entries: entries.iter().map(AsRef::as_ref).collect(),
            note,
        };
        object.encode().map_err(ObserveError::damaged)
    }

    /// `checkpoints/<size>` as it is published, verified; `None` where there is none.
    async fn published(&self, size: u64) -> Result<Option<(Checkpoint, Bytes)>, ObserveError> {
        let path = self.name.path(&format!("checkpoints/{size}"));
        let Some(note) = self.reader.read(&path, NOTE_BYTES_MAX).await? else {
            return Ok(None);
        };
        let checkpoint = self.verify_note(&note).map_err(ObserveError::damaged)?;
        if checkpoint.size() != size {
            return Err(ObserveError::damaged(format!("{path} is of another size")));
        }
        Ok(Some((checkpoint, note)))
    }
}
