//! The state that follows from a log's batches.

use std::collections::HashMap;

use super::Final;
use super::intake::insert_final;
use crate::batch::Batch;
use crate::content::{Content, Position};

/// What a sequencer knows of the batches that it has seen, besides their tree.
pub(super) struct Replay {
    pub(super) content: Box<dyn Content>,
    pub(super) finals: HashMap<[u8; 32], Final>,
    pub(super) closed: bool,
}

impl Replay {
    /// Of the empty log.
    pub(super) fn new(content: Box<dyn Content>) -> Self {
        Self {
            content,
            finals: HashMap::new(),
            closed: false,
        }
    }

    /// Checks the next batch against the log's grammar, and takes it in. After an error nothing of this may be used any more.
    pub(super) fn take(&mut self, batch: &Batch) -> Result<(), String> {
        let n = batch.n();
        let wrong = |reason: String| format!("batch {n} must not stand in this log: {reason}");
        if self.closed {
            return Err(wrong("the log was closed by the batch before".to_owned()));
        }
        let entries = batch.entries();
        let entries: Vec<&[u8]> = entries.iter().map(AsRef::as_ref).collect();
        let first_index = batch.old().size;
        let replayed = self
            .content
            .replay(Position { n, first_index }, &entries)
            .map_err(|error| wrong(error.to_string()))?;
        insert_final(&mut self.finals, first_index, &replayed.keyed)
            .map_err(|index| wrong(format!("entry {index} repeats a key")))?;
        self.closed = replayed.closed;
        Ok(())
    }
}
