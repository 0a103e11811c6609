//! What a standby reads while it waits, so that a takeover has only what is new left to read.

use std::convert::Infallible;
use std::time::Duration;

use api::CellContent;
use ledger::heads::{keys_of, name_of};
use ledger::{Content, Warm};
use protocol::ids::LogId;
use protocol::manifest::Election;
use registrar::ShardWarm;

use super::config::{Config, Role};
use super::service::Surroundings;

/// Between two looks at what is published.
const LOOK: Duration = Duration::from_secs(1);

/// What is known of the logs that this process will write. The heads log is short, and is read at takeover.
pub(super) enum Known {
    /// A cell's votes.
    Cell(u32, Warm),
    /// A registrar's issuances, shard by shard.
    Registrar(Vec<(LogId, ShardWarm)>),
    /// Nothing.
    Nothing,
}

impl Known {
    /// Nothing yet, of what this service writes.
    pub(super) fn of(config: &Config) -> Self {
        match &config.role {
            Role::Cell { cell, .. } => Self::Cell(*cell, Warm::new()),
            Role::Registrar { shards, .. } => {
                let shards = shards.iter();
                Self::Registrar(
                    shards
                        .map(|place| (place.log, ShardWarm::default()))
                        .collect(),
                )
            }
            Role::Anchor { .. } | Role::Tally { .. } => Self::Nothing,
        }
    }

    /// Reads on for as long as it is let.
    pub(super) async fn keep_up(&self, election: &Election, around: &Surroundings) -> Infallible {
        loop {
            self.catch_up(election, around).await;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Reads what was published since the last time. What cannot be read now, the takeover reads.
    pub(super) async fn catch_up(&self, election: &Election, around: &Surroundings) {
        let schedule = around.schedule.borrow().clone();
        if !schedule.is_known() {
            return;
        }
        let outcome = match self {
            Self::Nothing => Ok(0),
            Self::Cell(cell, warm) => {
                let log = LogId::Cell(*cell);
                let content =
                    || -> Box<dyn Content> { Box::new(CellContent::new(election, *cell)) };
                match keys_of(election, schedule.in_force(), log) {
                    Some(keys) => {
                        warm.follow(
                            &name_of(election, log),
                            &keys,
                            &content,
                            around.reader.as_ref(),
                        )
                        .await
                    }
                    None => Ok(0),
                }
            }
            Self::Registrar(shards) => {
                let mut outcome = Ok(0);
                for (log, warm) in shards {
                    outcome = outcome.and(
                        warm.follow(election, *log, &schedule, around.reader.as_ref())
                            .await,
                    );
                }
                outcome
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "the standby cannot read on now");
        }
    }

    /// For the cell.
    pub(super) fn cell(&self) -> Option<Warm> {
        match self {
            Self::Cell(_, warm) => Some(warm.clone()),
            Self::Registrar(_) | Self::Nothing => None,
        }
    }

    /// For a registrar's shard.
    pub(super) fn shard(&self, log: LogId) -> ShardWarm {
        match self {
            Self::Registrar(shards) => shards
                .iter()
                .find(|(of, _)| *of == log)
                .map(|(_, warm)| warm.clone())
                .unwrap_or_default(),
            Self::Cell(..) | Self::Nothing => ShardWarm::default(),
        }
    }
}
