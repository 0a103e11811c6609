//! Whose turn it is to write a log: one process is active, others stand by.
//!
//! The turn is about liveness alone. What keeps two writers from forking a log is the epoch in its database and the published batches, which nobody can replace:
//! a process that believes that it is its turn when it is not is fenced, and ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use ledger::heads::name_of;
use ledger::log::LogName;
use ledger::postgres::Location;
use ledger::sequencer::{Handle, State};
use ledger::store::StoredRows as _;
use ledger::store::postgres::PostgresRows;
use protocol::manifest::Election;

use super::config::{Database, LogPlace};
use super::parts;

/// Between two looks whether the other process has gone.
const LOOK: Duration = Duration::from_millis(200);

/// Between two attempts to get it back.
const AGAIN: Duration = Duration::from_millis(500);

/// A turn, held until it is dropped or the process ends, however it ends.
pub(super) enum Turn {
    /// The locked file beside an SQLite database.
    File { _locked: File },
    /// A session of the Postgres.
    Session(ledger::postgres::Turn),
}

impl Turn {
    /// Waits until it is lost, and says why. A file's lock never is.
    pub(super) async fn lost(&mut self) -> String {
        match self {
            Self::File { .. } => std::future::pending().await,
            Self::Session(turn) => turn.lost().await,
        }
    }

    /// Gives it up, so that a standby gets it at once.
    pub(super) async fn release(self) {
        match self {
            Self::File { .. } => {}
            Self::Session(turn) => turn.release().await,
        }
    }
}

/// Waits for the turn at a log; `waits` is called when it is somebody else's.
///
/// # Errors
/// It can never be found out whose turn it is. A database that cannot be reached now is asked again.
pub(super) async fn wait_for_turn(
    election: &Election,
    place: &LogPlace,
    waits: impl Fn(),
) -> Result<Turn> {
    match &place.database {
        Database::Sqlite(path) => {
            let lock = lock_path(path);
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&lock)
                .with_context(|| format!("cannot open {}", lock.display()))?;
            loop {
                match file.try_lock() {
                    Ok(()) => {
                        return Ok(Turn::File { _locked: file });
                    }
                    Err(TryLockError::WouldBlock) => waits(),
                    Err(TryLockError::Error(error)) => {
                        return Err(error)
                            .with_context(|| format!("cannot lock {}", lock.display()));
                    }
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        Database::Postgres(postgres, _) => {
            let location = parts::located(postgres)?;
            let name = name_of(election, place.log);
            if let Ok(Some(turn)) = location.try_turn(&name).await {
                return Ok(Turn::Session(turn));
            }
            waits();
            Ok(Turn::Session(location.wait_for_turn(&name).await))
        }
    }
}

/// Waits until a log's turn, which was lost with its session, is held again, and returns it; or until the database says that another process has taken the log, and returns `None`.
///
/// The epoch alone decides: who holds the lock now may not have taken the log over, and who took it over may be gone already.
pub(super) async fn turn_again(
    election: &Election,
    place: &LogPlace,
    handle: &Handle,
) -> Option<Turn> {
    let name = name_of(election, place.log);
    loop {
        if let Database::Postgres(postgres, _) = &place.database
            // A password file that cannot be read now may be there again later; until then nothing is known.
            && let Ok(location) = parts::located(postgres)
        {
            let turn = location.try_turn(&name).await;
            // After the turn: nobody takes the log over from whoever holds that.
            let before = handle.epoch();
            if let Some(epoch) = epoch_in(&location, &name).await {
                // Not one that this process itself has just taken.
                let settled = handle.state() == State::Running && handle.epoch() == before;
                if settled && epoch > before {
                    return None;
                }
                if settled && let Ok(Some(turn)) = turn {
                    return Some(Turn::Session(turn));
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn epoch_in(location: &Location, name: &LogName) -> Option<u64> {
    let mut rows = PostgresRows::open(location, name).await.ok()?;
    rows.head().await.ok()?.map(|head| head.epoch)
}

fn lock_path(database: &Path) -> PathBuf {
    let mut path = database.to_owned().into_os_string();
    path.push(".turn");
    PathBuf::from(path)
}
