//! What is in force after the notices so far: closing times, freezes, cancellation, key switches.

use std::collections::BTreeMap;

use crate::ed25519::PublicKey;
use crate::ids::LogId;
use crate::manifest::Election;
use crate::merkle::Hash;

/// The effective schedule of an election.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub(super) election: Election,
    pub(super) closing: u64,
    pub(super) cancelled: Option<u64>,
    pub(super) freezes: BTreeMap<LogId, Freeze>,
    pub(super) switches: BTreeMap<LogId, Switch>,
}

/// A log is to drain and close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freeze {
    /// The notice's index in the heads log.
    pub notice: u64,
    /// The time of the first head after the notice, which is the log's closing time if that is earlier. `None` until there is one.
    pub time: Option<u64>,
}

/// A log's spare key takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch {
    /// The notice's index in the heads log.
    pub notice: u64,
    /// The last size under the main key.
    pub size: u64,
    /// The root at that size.
    pub root: Hash,
}

impl Schedule {
    /// As the manifest has it, before any notice.
    #[must_use]
    pub fn new(election: &Election) -> Self {
        Self {
            election: election.clone(),
            closing: election.manifest().times.closing,
            cancelled: None,
            freezes: BTreeMap::new(),
            switches: BTreeMap::new(),
        }
    }

    /// "The log's closing time becomes that of the first head at or after the notice, if that is earlier."
    pub(super) fn settle_freezes(&mut self, head_time: u64) {
        for freeze in self.freezes.values_mut() {
            freeze.time.get_or_insert(head_time);
        }
    }

    /// From when cells take votes.
    #[must_use]
    pub fn opening(&self) -> u64 {
        self.election.manifest().times.opening
    }

    /// The closing time in force for the election as a whole.
    #[must_use]
    pub fn closing(&self) -> u64 {
        self.closing
    }

    /// A log's closing time: the election's, or that of its freeze if that is earlier.
    #[must_use]
    pub fn closing_of(&self, log: LogId) -> u64 {
        let frozen = self.freezes.get(&log).and_then(|freeze| freeze.time);
        frozen.map_or(self.closing, |time| time.min(self.closing))
    }

    /// Closing plus grace: the time after which the final head may list unclosed logs.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.closing
            .saturating_add(self.election.manifest().times.grace)
    }

    /// The index of the notice that made the election void.
    #[must_use]
    pub fn cancelled(&self) -> Option<u64> {
        self.cancelled
    }

    /// The freeze of a log, if there is one: it must drain and close, whatever the time.
    #[must_use]
    pub fn freeze(&self, log: LogId) -> Option<Freeze> {
        self.freezes.get(&log).copied()
    }

    /// The switch of a log to its spare key, if there is one.
    #[must_use]
    pub fn switch(&self, log: LogId) -> Option<Switch> {
        self.switches.get(&log).copied()
    }

    /// The one key that may sign the log's checkpoint of this size; `None` if the election has no such log.
    #[must_use]
    pub fn checkpoint_key(&self, log: LogId, size: u64) -> Option<PublicKey> {
        let keys = self.election.log_keys(log)?;
        match self.switches.get(&log) {
            Some(switch) if size > switch.size => Some(keys.spare),
            _ => Some(keys.main),
        }
    }
}
