//! A look has so much time: behind its end, a source is not asked for anything more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::source::{Fetched, Listed, Located, Source, SourceError};

/// What a watcher may spend on one look at one source.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a round waits for a look. Half of it is for catching up, three quarters for reading at all.
    pub look: Duration,
    /// Bytes of entries of the heads log.
    pub heads: usize,
    /// Bytes of cells' batches.
    pub batches_len: usize,
    /// Cells' batches: of each, the signatures of 16 votes are verified.
    pub batches: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(60),
            heads: 256 << 20,
            batches_len: 256 << 20,
            batches: 1_024,
        }
    }
}

/// The end of a look.
#[derive(Clone)]
pub(super) struct Until {
    catching_up: Instant,
    reading: Instant,
    /// Something was not read because of it.
    cut: Arc<AtomicBool>,
}

impl Until {
    pub(super) fn of(look: Duration) -> Self {
        let now = Instant::now();
        Self {
            catching_up: now + look / 2,
            reading: now + look * 3 / 4,
            cut: Arc::default(),
        }
    }

    /// Whether there is still time for what can wait for the next round.
    pub(super) fn may_catch_up(&self) -> bool {
        Instant::now() < self.catching_up
    }

    pub(super) fn was_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }
}

/// A source, for so long.
pub(super) struct Timed {
    source: Arc<dyn Source>,
    until: Until,
}

impl Timed {
    pub(super) fn located(located: &Located, until: &Until) -> Located {
        Located {
            source: Arc::new(Self {
                source: Arc::clone(&located.source),
                until: until.clone(),
            }),
            place: located.place.clone(),
        }
    }

    fn check(&self, path: &str) -> Result<(), SourceError> {
        if Instant::now() < self.until.reading {
            return Ok(());
        }
        self.until.cut.store(true, Ordering::Relaxed);
        Err(SourceError::new(
            path,
            "not asked for, since the source took all the time that a look has",
        ))
    }
}

impl Source for Timed {
    fn read(&self, path: &str, max_len: usize) -> Result<Fetched, SourceError> {
        self.check(path)?;
        self.source.read(path, max_len)
    }

    fn list(&self, folder: &str) -> Result<Option<Vec<Listed>>, SourceError> {
        self.check(folder)?;
        self.source.list(folder)
    }

    fn parallel_reads(&self) -> usize {
        self.source.parallel_reads()
    }
}
