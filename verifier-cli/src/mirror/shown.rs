//! What each source showed before: one that lags is honest, one that takes back what it showed itself, and stays so, is not.

use std::collections::BTreeMap;

use protocol::ids::LogId;
use serde::{Deserialize, Serialize};

use super::copy::{Copy, CopyError};

/// Beside the tree that is served.
const FILE: &str = "shown.json";
/// Sources that are remembered.
const SOURCES_MAX: usize = 64;

/// By source, then by log.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Shown(BTreeMap<String, BTreeMap<String, LogShown>>);

#[derive(Default, Serialize, Deserialize)]
struct LogShown {
    /// The largest size that it showed.
    size: u64,
    /// Since when it shows less (ms since 1970, by this machine's clock).
    behind_since: Option<u64>,
}

/// What a size that a source shows is to those that it showed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It never showed more.
    Most,
    /// It showed this size before, and has not shown less for long: a cache on the way may do so.
    Less(u64),
    /// It showed this size before, and has shown less for too long.
    TakenBack(u64),
}

impl Shown {
    pub(super) fn load(copy: &Copy) -> Self {
        let bytes = copy.read_beside(FILE).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    pub(super) fn save(&self, copy: &mut Copy) -> Result<(), CopyError> {
        copy.write_beside(FILE, &serde_json::to_vec(self).unwrap_or_default())
    }

    /// `patience` (ms) is how long an honest cache may show an older state.
    pub(super) fn take(
        &mut self,
        source: &str,
        log: LogId,
        size: u64,
        now: u64,
        patience: u64,
    ) -> Seen {
        if !self.0.contains_key(source) && self.0.len() >= SOURCES_MAX {
            return Seen::Most;
        }
        let logs = self.0.entry(source.to_owned()).or_default();
        let shown = logs.entry(log.prefix()).or_default();
        if size >= shown.size {
            *shown = LogShown {
                size,
                behind_since: None,
            };
            return Seen::Most;
        }
        let since = *shown.behind_since.get_or_insert(now);
        if now.saturating_sub(since) >= patience {
            Seen::TakenBack(shown.size)
        } else {
            Seen::Less(shown.size)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_held_to_what_it_showed_itself() {
        let mut shown = Shown::default();
        let mut take = |source, size, now| shown.take(source, LogId::Heads, size, now, 30);
        assert_eq!(take("site", 9, 0), Seen::Most);
        // Another one lags, for as long as it likes.
        assert_eq!(take("mirror", 4, 1), Seen::Most);
        assert_eq!(take("mirror", 4, 1_000), Seen::Most);
        // A stale answer, and a fresh one.
        assert_eq!(take("site", 7, 10), Seen::Less(9));
        assert_eq!(take("site", 9, 20), Seen::Most);
        assert_eq!(take("site", 7, 30), Seen::Less(9));
        assert_eq!(take("site", 8, 59), Seen::Less(9));
        assert_eq!(take("site", 8, 60), Seen::TakenBack(9));
    }
}
