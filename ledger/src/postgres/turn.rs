//! Whose turn it is: how a standby process learns that the active one is gone.
//!
//! A turn is a session advisory lock on a connection of its own. The server gives it up when that session ends, however it ends, and a standby that asks again and again gets it then.
//!
//! It is a hint about liveness and nothing more. A process that lost its turn may not know it yet, and go on for a while beside the next one. That is harmless: the *epoch* is the fence
//! (see [`crate::store`]). Without the turn two processes would take the log from each other for ever; with it, they do so once.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::warn;

use super::{ConnectError, Location};
use crate::log::LogName;

/// How often a standby asks.
const ASK: Duration = Duration::from_millis(200);
/// How long a standby waits where the database cannot be reached.
const UNREACHABLE: Duration = Duration::from_secs(1);
/// How often the active process sees whether its session lives.
const LOOK: Duration = Duration::from_secs(1);
/// A session that does not answer for so long is lost.
const ANSWER: Duration = Duration::from_secs(5);

/// Takes the lock if it is free and this server is the primary: a standby server would give out locks of its own.
const TAKE: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_try_advisory_lock(hashtextextended($1, 0)) END AS taken";
/// The lock lives as long as the session; only the server's role can change under it.
const HOLD: &str = "SELECT pg_is_in_recovery() AS recovering";

impl Location {
    /// Waits until no other process has the turn for this log, and takes it. Endures a database that cannot be reached: it keeps trying, and says so in the log.
    ///
    /// Cancelling it is harmless.
    pub async fn wait_for_turn(&self, log: &LogName) -> Turn {
        let mut told = String::new();
        loop {
            let error = match self.compete(log).await {
                Ok(turn) => return turn,
                Err(error) => error.to_string(),
            };
            // Once for each reason, not once a second.
            if error != told {
                warn!(log = log.origin(), "waiting for this log's turn: {error}");
                told = error;
            }
            tokio::time::sleep(UNREACHABLE).await;
        }
    }

    /// Takes the turn if nobody has it: `None` means that another process is active.
    ///
    /// # Errors
    ///
    /// When the database cannot be asked.
    pub async fn try_turn(&self, log: &LogName) -> Result<Option<Turn>, TurnError> {
        let mut connection = self.connect(&purpose(log)).await?;
        Ok(take(&mut connection, self, log)
            .await?
            .then(|| Turn::hold(connection)))
    }

    /// Asks on one session until it gets the turn or the session fails.
    async fn compete(&self, log: &LogName) -> Result<Turn, TurnError> {
        let mut connection = self.connect(&purpose(log)).await?;
        while !take(&mut connection, self, log).await? {
            tokio::time::sleep(ASK).await;
        }
        Ok(Turn::hold(connection))
    }
}

fn purpose(log: &LogName) -> String {
    format!("turn {}", log.id())
}

async fn take(
    connection: &mut PgConnection,
    location: &Location,
    log: &LogName,
) -> Result<bool, TurnError> {
    // The schema too: a test may hold the same log twice in one database.
    let asking = sqlx::query(TAKE)
        .bind(format!(
            "tallyroot turn of {} in {}",
            log.origin(),
            location.schema
        ))
        .fetch_one(connection);
    let row = tokio::time::timeout(ANSWER, asking)
        .await
        .map_err(|_| TurnError::Silent)??;
    row.try_get::<Option<bool>, _>("taken")?
        .ok_or(TurnError::Recovering)
}

/// The right to be the active process of a log, as long as the session lives that holds it. Dropping it gives it up.
#[derive(Debug)]
pub struct Turn {
    lost: watch::Receiver<Option<String>>,
    release: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Turn {
    fn hold(connection: PgConnection) -> Self {
        let (tell, lost) = watch::channel(None);
        let (release, released) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut connection = connection;
            let reason = tokio::select! {
                reason = watch(&mut connection) => Some(reason),
                // An error is a dropped `Turn`, which aborts this task anyway.
                _ = released => None,
            };
            let reason = match reason {
                Some(reason) => reason,
                None => {
                    let _ = tokio::time::timeout(ANSWER, give_up(connection)).await;
                    "it was released".to_owned()
                }
            };
            tell.send_replace(Some(reason));
        });
        Self {
            lost,
            release: Some(release),
            task,
        }
    }

    /// Waits until the turn is lost, and says why. A process should then end in good order, and be started again as a standby; until it has, the epoch keeps it from doing harm.
    ///
    /// It may be called again, and cancelled.
    pub async fn lost(&mut self) -> String {
        match self.lost.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "its keeper has ended".to_owned(),
        }
    }

    /// Whether it is lost, as far as is known now.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.borrow().is_some()
    }

    /// Gives the turn up and waits until the server knows, so that a standby gets it at once.
    pub async fn release(mut self) {
        if let Some(release) = self.release.take() {
            let _ = release.send(());
        }
        let _ = self.lost().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Looks after the session until it is lost.
async fn watch(connection: &mut PgConnection) -> String {
    loop {
        tokio::time::sleep(LOOK).await;
        let looking = sqlx::query(HOLD).fetch_one(&mut *connection);
        match tokio::time::timeout(ANSWER, looking).await {
            Ok(Ok(row)) => match row.try_get("recovering") {
                Ok(false) => {}
                Ok(true) => return "the server has become a standby".to_owned(),
                Err(error) => return error.to_string(),
            },
            Ok(Err(error)) => return format!("its session ended: {error}"),
            Err(_) => return "the server does not answer".to_owned(),
        }
    }
}

/// Unlocked by an answered statement, not only by the end of the session, which the server notices in its own time.
async fn give_up(mut connection: PgConnection) {
    let _ = sqlx::query("SELECT pg_advisory_unlock_all()")
        .execute(&mut connection)
        .await;
    let _ = connection.close().await;
}

/// Why it is not known whose turn it is.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// No session.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No answer.
    #[error("the server does not answer")]
    Silent,
    /// The server is a standby.
    #[error(
        "the server is a standby, which keeps no locks: give the address of the primary, or one that always leads there"
    )]
    Recovering,
    /// Anything else.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
}
