//! What the looks at all sources share. It is locked for moments only: never while something is read from a source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::ids::{ElectionId, LogId};
use protocol::manifest::Election;

use super::cells::{CellState, Cells};
use super::keep::Keep;
use super::timed::{Timed, Until};
use crate::source::Located;

/// Shared between the watcher and its looks.
pub(super) struct Memory {
    pub(super) id: ElectionId,
    inner: Mutex<Inner>,
}

/// What is behind the lock.
pub(super) struct Inner {
    /// Known once a source showed its manifest.
    pub(super) election: Option<Election>,
    pub(super) keep: Keep,
    pub(super) cells: Cells,
    /// Cells of an earlier run, until the election is known by which they are read.
    pub(super) saved: Vec<CellState>,
    /// Sources that were found, as the user wrote them: any of them may show the tiles that another lacks.
    pub(super) located: BTreeMap<String, Located>,
    /// Those whose last look was cut off. They are not asked on behalf of others.
    pub(super) slow: BTreeSet<String>,
}

impl Inner {
    /// Takes up what was kept, once it is known which election this is.
    pub(super) fn take_up(&mut self, election: &Election) {
        self.keep.load(election);
        self.cells.load(&std::mem::take(&mut self.saved), election);
        self.election = Some(election.clone());
    }

    /// The cells as they are to be saved.
    pub(super) fn cells_state(&self) -> Vec<CellState> {
        if self.election.is_some() {
            self.cells.state()
        } else {
            self.saved.clone()
        }
    }
}

impl Memory {
    pub(super) fn new(id: ElectionId, keep: Keep, saved: Vec<CellState>) -> Self {
        Self {
            id,
            inner: Mutex::new(Inner {
                election: None,
                keep,
                cells: Cells::default(),
                saved,
                located: BTreeMap::new(),
                slow: BTreeSet::new(),
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn election(&self) -> Option<Election> {
        self.lock().election.clone()
    }

    /// Any source that answers.
    pub(super) fn first_located(&self) -> Option<(String, Located)> {
        let inner = self.lock();
        let mut located = inner.located.iter();
        let first = located.find(|(given, _)| !inner.slow.contains(*given));
        first.map(|(given, located)| (given.clone(), located.clone()))
    }

    /// Every source that answers, this one first; each only for so long.
    pub(super) fn helpers(&self, first: &str, until: &Until) -> Vec<Located> {
        let inner = self.lock();
        let others = inner
            .located
            .iter()
            .filter(|(given, _)| *given != first && !inner.slow.contains(*given));
        let first = inner.located.get_key_value(first);
        first
            .into_iter()
            .chain(others)
            .map(|(_, located)| Timed::located(located, until))
            .collect()
    }

    /// Entries of cells that were published and not recounted yet, and in how many cells.
    pub(super) fn behind(&self) -> (u64, u64) {
        let inner = self.lock();
        let cells = inner.election.as_ref().map_or(0, Election::cells);
        let behind = (0..cells).filter_map(|cell| {
            let kept = inner.keep.newest(LogId::Cell(cell))?;
            let left = kept
                .checkpoint
                .size()
                .saturating_sub(inner.cells.size(cell));
            (left > 0).then_some(left)
        });
        behind.fold((0, 0), |(sum, count), left| (sum + left, count + 1))
    }
}
