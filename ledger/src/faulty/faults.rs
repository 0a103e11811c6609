//! Plans of what goes wrong.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// What goes wrong at one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It is not done, and reported as unknown.
    Before,
    /// It is done, and reported as unknown all the same.
    After,
    /// It is reported as unknown, and done later: a writer that wakes up stale.
    Late,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Before, Self::After, Self::Late];
}

/// A plan. Clones share it, so that the steps of store, publisher and signer are counted together.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug)]
struct Plan {
    /// What was done so far.
    steps: Vec<String>,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    None,
    /// At the step of this number, from 0.
    At(usize, Fault),
    /// The step of this number never ends; it is done before that, or not.
    HangAt(usize, bool),
    /// Each step fails with this probability, and takes up to this time.
    Random {
        rng: Box<StdRng>,
        per_mille: u32,
        delay_ms_max: u64,
    },
}

/// How long a step takes before and after it is done, and what goes wrong.
pub(super) struct Step {
    pub(super) before: Duration,
    pub(super) after: Duration,
    pub(super) late: Duration,
    pub(super) fault: Option<Fault>,
}

impl Faults {
    /// Everything works, and at once.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Mode::None)
    }

    /// The step of this number (from 0) fails.
    #[must_use]
    pub fn at(step: usize, fault: Fault) -> Self {
        Self::new(Mode::At(step, fault))
    }

    /// Each step takes up to `delay_ms_max`, and fails with the probability `per_mille / 1000`, in a way drawn from the seed.
    #[must_use]
    pub fn random(seed: u64, per_mille: u32, delay_ms_max: u64) -> Self {
        Self::new(Mode::Random {
            rng: Box::new(StdRng::seed_from_u64(seed)),
            per_mille,
            delay_ms_max,
        })
    }

    /// The step of this number (from 0) never ends: it is done and not reported (`after`), or not done. For crashes in the middle of it.
    #[must_use]
    pub fn hang_at(step: usize, after: bool) -> Self {
        Self::new(Mode::HangAt(step, after))
    }

    fn new(mode: Mode) -> Self {
        Self(Arc::new(Mutex::new(Plan {
            steps: Vec::new(),
            mode,
        })))
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, everything works.
    pub fn stop(&self) {
        self.plan().mode = Mode::None;
    }

    /// The steps that were done so far, by name.
    #[must_use]
    pub fn steps(&self) -> Vec<String> {
        self.plan().steps.clone()
    }

    pub(super) fn next(&self, name: impl FnOnce() -> String) -> Step {
        let mut plan = self.plan();
        let number = plan.steps.len();
        plan.steps.push(name());
        let mut step = Step {
            before: Duration::ZERO,
            after: Duration::ZERO,
            late: Duration::from_millis(700),
            fault: None,
        };
        match &mut plan.mode {
            Mode::None => {}
            Mode::At(at, fault) => step.fault = (*at == number).then_some(*fault),
            Mode::HangAt(at, after) if *at == number => {
                let for_ever = Duration::from_secs(1 << 30);
                *(if *after {
                    &mut step.after
                } else {
                    &mut step.before
                }) = for_ever;
            }
            Mode::HangAt(..) => {}
            Mode::Random {
                rng,
                per_mille,
                delay_ms_max,
            } => {
                let mut delay = || Duration::from_millis(rng.random_range(0..=*delay_ms_max));
                (step.before, step.after) = (delay(), delay());
                step.late = Duration::from_millis(rng.random_range(0..5_000));
                if rng.random_range(0..1_000) < *per_mille {
                    step.fault = Fault::ALL
                        .get(rng.random_range(0..Fault::ALL.len()))
                        .copied();
                }
            }
        }
        step
    }
}

/// Does one step as planned. `act` is its one atomic effect, and may be done later than anybody waits for it.
pub(super) async fn perform<T: Send + 'static>(
    step: Step,
    act: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    pause(step.before).await;
    let done = match step.fault {
        None => Some(act()),
        Some(Fault::Before) => None,
        Some(Fault::After) => {
            act();
            None
        }
        Some(Fault::Late) => {
            let late = step.late;
            // Outlives whoever asked for it.
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                act();
            });
            None
        }
    };
    pause(step.after).await;
    done
}

/// Lets others go first, for this long at least.
async fn pause(time: Duration) {
    if time.is_zero() {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(time).await;
    }
}
