//! Elections whose closing time really passes, on a machine of any speed.
#![expect(clippy::panic, reason = "what a test cannot go on without")]

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures::FutureExt as _;
use tempfile::TempDir;

use crate::folder;
use crate::serve::{Plan, World};

/// Whoever is not done within these hours, in seconds, is not slow but stuck.
const HOURS_MAX: i64 = 400;

impl World {
    /// Whether the manifest's closing time is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let closing = self.published.election.manifest().times.closing;
        u128::from(closing)
            <= jiff::Timestamp::now()
                .as_millisecond()
                .unsigned_abs()
                .into()
    }
}

/// The same with hours and grace twice as long, unless those were long enough for any machine.
#[must_use]
pub fn longer(plan: &Plan) -> Option<Plan> {
    let closing = plan.closing * 2;
    (closing <= HOURS_MAX).then(|| Plan {
        closing,
        grace: plan.grace * 2,
        ..plan.clone()
    })
}

/// Makes an election and prepares it before its closing time. Where this machine was too slow for that, it begins again, with hours and grace twice as long; so no test fails
/// for a machine's slowness, and none waits longer than it must.
///
/// What fails before closing is a failure on any machine. What fails after it may fail because of that.
///
/// # Panics
/// As the preparation does; and when hours of any length are too short.
pub async fn within_hours<T>(
    plan: &Plan,
    prepare: impl AsyncFn(&World) -> T,
) -> (TempDir, World, T) {
    let mut plan = plan.clone();
    loop {
        let folder = folder();
        let world = World::new(folder.path(), &plan);
        let prepared = AssertUnwindSafe(prepare(&world)).catch_unwind().await;
        match (prepared, world.is_over(), longer(&plan)) {
            (Ok(prepared), false, _) => return (folder, world, prepared),
            (_, true, Some(longer)) => {
                eprintln!("not prepared within {} s: again, with more", plan.closing);
                plan = longer;
            }
            (Err(panic), _, _) => resume_unwind(panic),
            (Ok(_), true, None) => panic!("preparing takes more than {} s", plan.closing),
        }
    }
}
