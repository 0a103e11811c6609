//! `state.json`: what a watcher goes on from. Checkpoints are not in it; they are files of their own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::alarm::AlarmState;
use super::cells::CellState;
use super::judge::Uncovered;

/// The file. What an older version did not write is empty.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// How far each cell was recounted.
    pub(super) cells: Vec<CellState>,
    /// What was raised and what is suspected.
    pub(super) alarms: AlarmState,
    /// The largest size of each log that each source showed.
    pub(super) seen: BTreeMap<String, BTreeMap<String, u64>>,
    /// Logs that the heads are behind.
    pub(super) uncovered: BTreeMap<String, Uncovered>,
}
