//! Counting and ending a shard's log.

use std::time::Duration;

use ledger::schedule::Schedule;
use ledger::sequencer::{CloseError, SubmitError};
use ledger::{Clock, Sequencer, State};
use protocol::ids::LogId;
use protocol::manifest::Election;
use tokio::sync::{Mutex, watch};
use tokio::time::MissedTickBehavior;

use crate::content;
use crate::service::Shard;

/// The longest sleep between two looks at the clock.
const LOOK_MAX: Duration = Duration::from_millis(200);
/// How long the last count may take at shutdown.
const LAST_COUNT_MAX: Duration = Duration::from_secs(5);

/// Whether the shard's log must end now.
///
/// Past its closing time it ends when a head past that time is known: until then there may be an extension that this process has not seen
/// yet. Without heads it ends after a quarter of the grace, before the cells do after half of it.
pub(crate) fn must_end(election: &Election, log: LogId, schedule: &Schedule, now: u64) -> bool {
    if !schedule.is_known() {
        // There may be an extension that nobody has read yet, and a close cannot be undone.
        return false;
    }
    let closing = schedule.in_force().closing_of(log);
    // This machine's clock may be wrong, and a close cannot be undone.
    let agreed = schedule.agreed_time(now);
    let last_call = closing.saturating_add(election.manifest().times.grace / 4);
    schedule.is_stopped(log)
        || (now >= closing && (schedule.head_time() > closing || agreed >= last_call))
}

/// Runs until the log is closed, or this process cannot close it any more.
pub(crate) async fn close_in_time(
    election: &Election,
    shard: &Shard,
    mut schedule: watch::Receiver<Schedule>,
    clock: &dyn Clock,
) {
    if shard.handle.ready().await.is_err() {
        return;
    }
    let mut follower_alive = true;
    while !shard.handle.published().closed {
        let end = must_end(
            election,
            shard.log,
            &schedule.borrow_and_update(),
            clock.now_ms(),
        );
        if end && close(shard).await.is_break() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_MAX) => {}
            changed = schedule.changed(), if follower_alive => follower_alive = changed.is_ok(),
        }
    }
}

/// "Close is preceded by a last count": after the last issuance is final, and before the log ends.
async fn close(shard: &Shard) -> std::ops::ControlFlow<()> {
    use std::ops::ControlFlow::{Break, Continue};
    // Waits for every issuance on its way.
    *shard.ended.write().await = true;
    match shard.handle.submit(content::count()).await {
        // Closed: by the process before this one.
        Ok(_) | Err(SubmitError::Closed) => {}
        Err(SubmitError::Halted) => return Break(()),
        Err(_) => return Continue(()),
    }
    match shard.handle.close(None).await {
        Ok(published) => {
            tracing::info!(log = %shard.log, size = published.end.size, "the issuance log is closed");
            Break(())
        }
        Err(CloseError::Halted) => Break(()),
        Err(CloseError::Unknown) => Continue(()),
        Err(CloseError::Refused(why)) => {
            tracing::error!(log = %shard.log, %why, "ALARM: the issuance log cannot be closed");
            Continue(())
        }
    }
}

/// Publishes the counts, where they changed.
pub(crate) async fn count_often(shard: &Shard, interval: Duration) {
    let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut counted = None;
    if shard.handle.ready().await.is_err() {
        return;
    }
    loop {
        ticks.tick().await;
        let ended = shard.ended.read().await;
        if *ended || shard.handle.published().closed {
            return;
        }
        let refused = shard.refusals.now();
        let size = shard.handle.published().end.size;
        // A log that holds the genesis alone, or nothing new since the last count, has nothing to say.
        if counted == Some((size, refused)) || (size <= 1 && refused.to_array() == [0; 4]) {
            continue;
        }
        match shard.handle.submit(content::count()).await {
            Ok(_) => counted = Some((shard.handle.published().end.size, refused)),
            Err(SubmitError::Closed | SubmitError::Halted) => return,
            Err(_) => {}
        }
    }
}

/// The counts since the last entry, so that a restart loses none.
pub(crate) async fn count_at_last(shard: &Shard) {
    if shard.handle.state() == State::Running && !shard.handle.published().closed {
        let _ = tokio::time::timeout(LAST_COUNT_MAX, shard.handle.submit(content::count())).await;
    }
}

/// "checkpoints of that log are signed by its spare key": a process that holds the main key must not sign any more.
pub(crate) async fn stop_on_switch(
    log: LogId,
    sequencer: &Mutex<Option<Sequencer>>,
    mut schedule: watch::Receiver<Schedule>,
) {
    let switched = |s: &Schedule| s.in_force().switch(log).is_some();
    if switched(&schedule.borrow()) {
        return;
    }
    if schedule.wait_for(switched).await.is_ok() {
        tracing::error!(%log, "ALARM: a notice switched this log to its spare key: stopped; start again with the spare key");
        sequencer.lock().await.take();
    }
}
