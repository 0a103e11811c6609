//! A seeded simulation: clients, crashes, rivals, lost tails and faults at random, hundreds of times, each replayable by its number:
//! `SEED=17 cargo test -p ledger --test simulation -- --nocapture`; `SEEDS=5000` for more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking, and Clippy knows only functions marked as tests"
)]

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Models, Votes, check_receipt, config, keys, log, vote};
use ledger::faulty::Faults;
use ledger::{Content, Handle, Outcome, Sequencer, State, SubmitError, Warm};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinHandle;

/// What clients were told, by vote: `(key, choice)` and the index.
#[derive(Default)]
struct Told {
    stored: HashMap<(u64, u64), u64>,
    different: Vec<(u64, u64, u64)>,
}

/// One client casts one ballot until it knows what became of it, at whichever sequencer it finds.
async fn client(
    key: u64,
    choice: u64,
    mut rng: StdRng,
    sequencers: Arc<Mutex<Vec<Handle>>>,
    told: Arc<Mutex<Told>>,
) {
    tokio::time::sleep(Duration::from_millis(rng.random_range(0..4_000))).await;
    loop {
        let handle = {
            let sequencers = sequencers.lock().unwrap();
            (!sequencers.is_empty())
                .then(|| sequencers[rng.random_range(0..sequencers.len())].clone())
        };
        let patience = Duration::from_millis(rng.random_range(50..3_000));
        let outcome = match handle {
            // A time-out means unknown, never rejected.
            Some(handle) => {
                tokio::time::timeout(patience, handle.submit(vote(key, choice, rng.random()))).await
            }
            None => Ok(Err(SubmitError::NotOpen)),
        };
        match outcome {
            Ok(Ok(Outcome::Final { index, .. })) => {
                let before = told.lock().unwrap().stored.insert((key, choice), index);
                assert!(
                    before.is_none_or(|before| before == index),
                    "vote {key} moved"
                );
                // Some ask twice.
                if rng.random_bool(0.7) {
                    return;
                }
            }
            Ok(Ok(Outcome::Different { index })) => {
                told.lock().unwrap().different.push((key, choice, index));
                return;
            }
            Ok(Err(SubmitError::Closed | SubmitError::Refused(_) | SubmitError::TooLong)) => {
                panic!("vote {key}: {outcome:?}")
            }
            Ok(Err(_)) | Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(1..500))).await;
    }
}

/// Lives through one seed; returns what happened, for the log.
async fn simulate(seed: u64) -> (String, usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    let models = Models::new();
    let per_mille = [0, 5, 30, 100][rng.random_range(0..4)];
    let delay_ms_max = [0, 3, 40][rng.random_range(0..3)];
    let mut plans = Vec::new();
    // A standby reads along, at random, and some sequencers start from what it knows by then.
    let warm = Warm::new();
    let read_along = async || {
        let reader = models.publisher.with_faults(Faults::none());
        let content = || Box::new(Votes::default()) as Box<dyn Content>;
        // What it cannot follow just now (a tail was lost), a takeover sets right.
        let _ = warm.follow(&log(), &keys(), &content, &reader).await;
    };
    let mut start = |rng: &mut StdRng, old_primary: bool| {
        let faults = Faults::random(rng.random(), per_mille, delay_ms_max);
        plans.push(faults.clone());
        let mut config = config();
        config.batch.count_min = [1, 3][rng.random_range(0..2)];
        config.batch.wait_max = Duration::from_millis(rng.random_range(0..200));
        config.batch.count_max = [2, 7, 1_000][rng.random_range(0..3)];
        config.unpublished_max = rng.random_range(1..5);
        config.queue_max = [4, 1_000][rng.random_range(0..2)];
        config.warm = rng.random_bool(0.5).then(|| warm.clone());
        let mut parts = models.parts(&faults);
        if old_primary {
            parts.store = Arc::new(models.store.fork(faults));
        }
        Sequencer::spawn(config, parts)
    };

    let sequencers: Arc<Mutex<Vec<Handle>>> = Arc::default();
    let told: Arc<Mutex<Told>> = Arc::default();
    let (mut voters, mut clients) = (0, Vec::new());
    let mut come = |rng: &mut StdRng, count: u64| {
        for key in voters..voters + count {
            // Some cast two different ballots at once, some the same from two devices.
            let second = [None, None, Some(1), Some(0)][rng.random_range(0..4)];
            for choice in [Some(0), second].into_iter().flatten() {
                let rng = StdRng::seed_from_u64(rng.random());
                clients.push(tokio::spawn(client(
                    key,
                    choice,
                    rng,
                    sequencers.clone(),
                    told.clone(),
                )));
            }
        }
        voters += count;
    };

    let mut running: Vec<Sequencer> = Vec::new();
    let show = |running: &[Sequencer]| {
        *sequencers.lock().unwrap() = running.iter().map(Sequencer::handle).collect()
    };
    let mut happened = format!("{per_mille} per mille, {delay_ms_max} ms:");
    for _ in 0..rng.random_range(1..10) {
        let count = rng.random_range(1..10);
        come(&mut rng, count);
        if rng.random_bool(0.5) {
            read_along().await;
        }
        match rng.random_range(0..10) {
            // Everything crashes.
            0 => running.clear(),
            1 if !running.is_empty() => {
                drop(running.swap_remove(rng.random_range(0..running.len())))
            }
            // One copy loses its tail, when the other is known to have all of it.
            what @ (2..=4) => {
                running.clear();
                show(&running);
                // What is on its way late has arrived.
                tokio::time::sleep(Duration::from_secs(60)).await;
                let repaired = models.spawn(config(), &Faults::none());
                assert_eq!(repaired.handle().ready().await, Ok(()), "seed {seed}");
                drop(repaired);
                match what {
                    2 => {
                        let kept = rng.random_range(0..=models.store.head().batches);
                        models.store.lose_tail(kept, rng.random_range(0..3));
                        happened += " store loses its tail,";
                    }
                    3 => {
                        models
                            .publisher
                            .lose_tail(rng.random_range(0..=models.publisher.changes()));
                        happened += " publisher loses its tail,";
                    }
                    // Split brain: an old primary goes on under one sequencer, while others work on the new one.
                    _ => {
                        for _ in 0..rng.random_range(1..4) {
                            come(&mut rng, 8);
                            running.push(start(&mut rng, true));
                            running.push(start(&mut rng, false));
                            show(&running);
                            tokio::time::sleep(Duration::from_millis(rng.random_range(0..3_000)))
                                .await;
                            // Or the new one fails over in turn, while it is written and read.
                            let lost = rng.random_range(0..4);
                            let kept = models.store.head().batches.saturating_sub(lost);
                            models.store.lose_tail(kept, lost);
                        }
                        happened += " split brain,";
                    }
                }
                if what != 4 {
                    let repaired = models.spawn(config(), &Faults::none());
                    assert_eq!(repaired.handle().ready().await, Ok(()), "seed {seed}");
                }
            }
            _ => {
                running.push(start(&mut rng, false));
                happened += " start,";
            }
        }
        running.retain(|sequencer| !matches!(sequencer.handle().state(), State::SteppedDown(_)));
        show(&running);
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..3_000))).await;
        for sequencer in &running {
            // Nothing that happens here may halt a log.
            assert!(
                !matches!(sequencer.handle().state(), State::Halted(_)),
                "seed {seed}: {:?}",
                sequencer.handle().state()
            );
        }
    }
    running.clear();
    plans.iter().for_each(Faults::stop);

    // At last, somebody who works well, with the old ones' late writes still arriving: one of them may win, and then it takes another start.
    let restart = async |last: &mut Sequencer| {
        if matches!(last.handle().ready().await, Err(State::SteppedDown(_))) {
            *last = models.spawn(config(), &Faults::none());
            sequencers.lock().unwrap().clone_from(&vec![last.handle()]);
        }
        let state = last.handle().state();
        assert!(!matches!(state, State::Halted(_)), "seed {seed}: {state:?}");
    };
    let mut last = models.spawn(config(), &Faults::none());
    sequencers.lock().unwrap().clone_from(&vec![last.handle()]);
    while !clients.iter().all(JoinHandle::is_finished) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        restart(&mut last).await;
    }
    for client in clients {
        client
            .await
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    // Whom a late writer fenced, finds out now.
    while !last
        .handle()
        .close(None)
        .await
        .is_ok_and(|published| published.closed)
    {
        restart(&mut last).await;
    }
    let handle = last.handle();

    let checked = models.check().await;
    let told = std::mem::take(&mut *told.lock().unwrap());
    for ((key, choice), index) in &told.stored {
        let submission = vote(*key, *choice, 0);
        assert_eq!(
            checked.votes[&submission.key.unwrap()],
            (*index, submission.same),
            "seed {seed}"
        );
        let entry = &checked.entries[usize::try_from(*index).unwrap()];
        check_receipt(&handle.receipt(*index).await.unwrap(), *index, entry);
    }
    for (key, choice, index) in &told.different {
        let submission = vote(*key, *choice, 0);
        let (found, same) = checked.votes[&submission.key.unwrap()];
        assert!(found == *index && same != submission.same, "seed {seed}");
    }
    assert_eq!(checked.votes.len() as u64, voters, "seed {seed}");
    let aside = models.store.aside().len();
    happened += &format!(
        " {voters} votes in {} batches, {aside} rows aside",
        checked.ends.len()
    );
    (happened, aside)
}

fn run(seed: u64) -> (String, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let life = tokio::time::timeout(Duration::from_secs(10_000), simulate(seed)).await;
        life.unwrap_or_else(|_| panic!("seed {seed} never ends"))
    })
}

#[test]
fn whatever_happens_nothing_acknowledged_is_lost_and_nothing_forks() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    if let Some(seed) = number("SEED") {
        println!("seed {seed}: {}", run(seed).0);
        return;
    }
    let seeds = number("SEEDS").unwrap_or(400);
    let threads = 2;
    let aside = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let aside = &aside;
            scope.spawn(move || {
                for seed in (thread..seeds).step_by(usize::try_from(threads).unwrap()) {
                    let (happened, rows) = run(seed);
                    aside.fetch_add(rows, Ordering::Relaxed);
                    if seed % 100 == 0 {
                        println!("seed {seed}: {happened}");
                    }
                }
            });
        }
    });
    // Two writers do meet, or this shows little.
    let aside = aside.into_inner();
    println!("{aside} rows were put aside");
    assert!(seeds < 400 || aside > 0);
}
