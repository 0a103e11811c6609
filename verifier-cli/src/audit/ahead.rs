//! Reads numbered files ahead of whoever works through them: a round trip, or a disk, costs less when several are under way.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use crate::source::{Fetched, Source, SourceError};

/// Delivers `folder/n`, `folder/n+1`, … in order, up to the first that is not a file.
pub(super) struct Ahead {
    /// One channel a reader; the readers take turns.
    readers: Vec<Receiver<Result<Fetched, SourceError>>>,
    turn: usize,
}

impl Ahead {
    /// Starts readers, which end when this is dropped.
    pub(super) fn start<'scope, 'env: 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        source: &'env dyn Source,
        folder: &'env str,
        first: u64,
        max_len: usize,
    ) -> Self {
        let count = source.parallel_reads().max(1) as u64;
        let readers = (0..count)
            .map(|reader| {
                // Two files wait for each reader's turn at most: the memory stays bounded.
                let (deliver, delivered) = sync_channel(1);
                scope.spawn(move || {
                    let mut n = first + reader;
                    loop {
                        let fetched = source.read(&format!("{folder}/{n}"), max_len);
                        let more = matches!(fetched, Ok(Fetched::File(_)));
                        if deliver.send(fetched).is_err() || !more {
                            return;
                        }
                        n += count;
                    }
                });
                delivered
            })
            .collect();
        Self { readers, turn: 0 }
    }

    /// The next file. After the first answer that is no file, only more of the same.
    pub(super) fn next(&mut self) -> Result<Fetched, SourceError> {
        let reader = self.readers.get(self.turn % self.readers.len().max(1));
        let fetched = reader.and_then(|reader| reader.recv().ok());
        self.turn += 1;
        fetched.unwrap_or(Ok(Fetched::Missing))
    }
}
