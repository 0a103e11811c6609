//! Ending a cell's log in time, and on a notice.

use std::sync::Arc;
use std::time::Duration;

use ledger::schedule::Schedule;
use ledger::sequencer::CloseError;
use ledger::{Clock, Handle, Sequencer};
use protocol::ids::LogId;
use protocol::manifest::Election;
use tokio::sync::{Mutex, watch};

/// The longest sleep between two looks at the clock: it may be set, and the tests' own runs as it likes.
const LOOK_MAX: Duration = Duration::from_millis(200);
/// The pause after a failed attempt to close.
const RETRY: Duration = Duration::from_millis(200);

/// The time limit of a body, and some more for the queue.
const ARRIVING_MS_MAX: u64 = 12_000;

/// What the schedule asks of the log now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Nothing: go on.
    GoOn,
    /// Take no new credentials, for good; answer repeats, drain.
    Freeze,
    /// Drain, and append the close.
    Close,
}

/// "a cell appends its close once a head shows all issuance logs closed, or at closing plus half of the grace"
pub(crate) fn demand(election: &Election, cell: u32, schedule: &Schedule, now: u64) -> Demand {
    if !schedule.is_known() {
        // There may be an extension that nobody has read yet, and a close cannot be undone.
        return Demand::GoOn;
    }
    if schedule.has_final_head() {
        // What would still be appended, a close too, lies above what counts.
        return Demand::Freeze;
    }
    let log = LogId::Cell(cell);
    let in_force = schedule.in_force();
    // A ballot whose header arrived in time may still have its body on the way, or wait for a core.
    let all_arrived_before = now.saturating_sub(arriving_ms(election));
    let stopped = schedule.is_stopped(log);
    let closing = in_force.closing_of(log);
    // This machine's clock may be wrong, and a close cannot be undone.
    let agreed = schedule.agreed_time(now);
    let over = stopped || (all_arrived_before >= closing && agreed >= closing);
    // For a frozen log too, it is the election's closing that counts: before it, the issuance logs are rightly open.
    let last_call = in_force
        .closing()
        .saturating_add(election.manifest().times.grace / 2);
    if over && (schedule.issuance_closed() || agreed >= last_call) {
        Demand::Close
    } else if stopped || (over && schedule.head_time() > closing) {
        // Past its closing time a log is frozen only when a head past that time is known: until then there may be an extension that
        // this process has not seen yet, and freezing cannot be undone. New credentials are refused all the same.
        Demand::Freeze
    } else {
        Demand::GoOn
    }
}

/// How long after closing ballots that arrived before it are still taken: enough for a slow body, and never more than a quarter of the grace.
fn arriving_ms(election: &Election) -> u64 {
    ARRIVING_MS_MAX.min(election.manifest().times.grace / 4)
}

/// Runs until the log is closed, or this process cannot close it any more.
pub(crate) async fn close_in_time(
    election: Election,
    cell: u32,
    handle: Handle,
    mut schedule: watch::Receiver<Schedule>,
    clock: Arc<dyn Clock>,
) {
    if handle.ready().await.is_err() {
        return;
    }
    let mut follower_alive = true;
    while !handle.published().closed {
        let demand = demand(
            &election,
            cell,
            &schedule.borrow_and_update(),
            clock.now_ms(),
        );
        match demand {
            Demand::GoOn => {}
            Demand::Freeze => handle.freeze(),
            Demand::Close => match handle.close(None).await {
                Ok(published) => {
                    tracing::info!(cell, size = published.end.size, "the cell's log is closed");
                    return;
                }
                Err(CloseError::Halted) => return,
                Err(CloseError::Unknown) => {}
                Err(CloseError::Refused(why)) => {
                    tracing::error!(cell, %why, "ALARM: the cell's log cannot be closed");
                }
            },
        }
        let pause = if demand == Demand::Close {
            RETRY
        } else {
            LOOK_MAX
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = schedule.changed(), if follower_alive => follower_alive = changed.is_ok(),
        }
    }
}

/// "checkpoints of that log are signed by its spare key": a process that holds the main key must not sign any more. The restart takes the spare.
pub(crate) async fn stop_on_switch(
    log: LogId,
    switched_at_start: bool,
    mut schedule: watch::Receiver<Schedule>,
    sequencer: Arc<Mutex<Option<Sequencer>>>,
) {
    if switched_at_start {
        return;
    }
    // An error: nobody follows the heads log any more, so no notice will be seen.
    if schedule
        .wait_for(|s| s.in_force().switch(log).is_some())
        .await
        .is_ok()
    {
        tracing::error!(%log, "ALARM: a notice switched this log to its spare key: stopped; start again with the spare key");
        sequencer.lock().await.take();
    }
}
