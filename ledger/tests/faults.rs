//! A fault at every single step, one at a time, and a check of the whole log after each.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking, and Clippy knows only functions marked as tests"
)]

mod common;

use std::time::Duration;

use common::{Models, check_receipt, config, index, vote};
use ledger::faulty::{Fault, Faults};
use ledger::{Outcome, SubmitError};

const VOTES: u64 = 6;

/// Casts until it is final, as a client does: an unknown outcome is cast again.
async fn cast(handle: &ledger::Handle, key: u64) -> u64 {
    for nonce in 0.. {
        match handle.submit(vote(key, 0, nonce)).await {
            Ok(Outcome::Final { index, .. }) => return index,
            Ok(other) => panic!("{other:?}"),
            Err(SubmitError::Unknown | SubmitError::NotOpen) => {
                tokio::time::sleep(Duration::from_millis(100)).await
            }
            Err(error) => panic!("vote {key}: {error}"),
        }
    }
    unreachable!()
}

/// Starts a log, casts a few votes, takes it over again, casts more and closes it, all under one plan of faults. Returns the number of steps.
async fn life_of_a_log(faults: Faults) -> usize {
    let models = Models::new();
    let mut acknowledged = Vec::new();
    for part in 0..2 {
        let sequencer = models.spawn(config(), &faults);
        let handle = sequencer.handle();
        handle.ready().await.unwrap();
        for key in part * VOTES..(part + 1) * VOTES {
            acknowledged.push((key, cast(&handle, key).await));
        }
    }
    let sequencer = models.spawn(config(), &faults);
    let handle = sequencer.handle();
    handle.ready().await.unwrap();
    while !handle.published().closed {
        if handle.close(None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    // What is to be done late, is done now.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let steps = faults.steps().len();

    let checked = models.check().await;
    assert!(checked.closed);
    assert_eq!(checked.votes.len() as u64, 2 * VOTES);
    for (key, acknowledged) in acknowledged {
        assert_eq!(checked.votes[&vote(key, 0, 0).key.unwrap()].0, acknowledged);
        let handle = handle.clone();
        let again = handle.submit(vote(key, 0, 77)).await;
        assert_eq!(index(&again), acknowledged);
        faults.stop();
        let receipt = handle.receipt(acknowledged).await.unwrap();
        check_receipt(
            &receipt,
            acknowledged,
            &checked.entries[usize::try_from(acknowledged).unwrap()],
        );
    }
    steps
}

#[tokio::test(start_paused = true)]
async fn every_step_may_fail_in_every_way() {
    let steps = life_of_a_log(Faults::none()).await;
    assert!(steps > 100, "{steps}");
    for fault in Fault::ALL {
        for step in 0..steps {
            let faults = Faults::at(step, fault);
            let life =
                tokio::time::timeout(Duration::from_secs(3_600), life_of_a_log(faults.clone()));
            assert!(
                life.await.is_ok(),
                "{fault:?} at step {step}, {:?}",
                faults.steps().get(step)
            );
        }
    }
}

/// Everything is dropped in the middle of each step, as by kill -9, and then started again.
#[tokio::test(start_paused = true)]
async fn a_crash_at_every_step_loses_nothing_that_was_acknowledged() {
    let steps = life_of_a_log(Faults::none()).await;
    for after in [false, true] {
        for step in 0..steps {
            let models = Models::new();
            // The step hangs for ever, before or after it is done.
            let faults = Faults::hang_at(step, after);
            let mut acknowledged = Vec::new();
            {
                let sequencer = models.spawn(config(), &faults);
                let handle = sequencer.handle();
                let _ = tokio::time::timeout(Duration::from_secs(60), handle.ready()).await;
                for key in 0..VOTES {
                    match tokio::time::timeout(
                        Duration::from_secs(60),
                        handle.submit(vote(key, 0, 0)),
                    )
                    .await
                    {
                        Ok(Ok(Outcome::Final { index, .. })) => acknowledged.push((key, index)),
                        _ => break,
                    }
                }
            }
            let sequencer = models.running(config()).await;
            for key in 0..VOTES {
                let now = cast(&sequencer.handle(), key).await;
                if let Some((_, before)) = acknowledged.iter().find(|(known, _)| *known == key) {
                    assert_eq!(now, *before, "step {step}, {:?}", faults.steps().get(step));
                }
            }
            assert_eq!(models.check().await.votes.len() as u64, VOTES);
        }
    }
}
