//! Notices in the heads log, as the short commands, mirrors and watchers take them: one that the authority did not sign has no effect.

use protocol::entry::NoticeAction;
use protocol::ids::LogId;
use verifier_cli::progress::Progress;
use verifier_cli::result;
use verifier_cli::verdict::{Outcome, State};

use crate::common::world::{Event, World};
use crate::copies;
use crate::receipts::{PLAN, early};
use crate::watch::{Scene, codes, raises, round};

/// An open election, a notice that cancels it, and the results that follow from that.
fn cancelled(world: &World, is_signed: bool) -> World {
    let mut notice = world.notice(0, NoticeAction::Cancel);
    if !is_signed {
        notice[5] ^= 1;
    }
    let mut world = early(world, world.nth_head(4) + 1);
    world.batch(LogId::Heads, vec![notice]);
    world.events.push(Event::Results);
    world
}

#[test]
fn results_are_cancelled_by_the_authority_alone() {
    for is_signed in [true, false] {
        let world = cancelled(&World::new("receipts", PLAN), is_signed);
        let folder = tempfile::tempdir().unwrap();
        world.publish(folder.path());
        let id = world.keys.election.id();
        let verdict = result::run(folder.path().to_str().unwrap(), &id, &Progress::hidden());
        let expected = if is_signed {
            (Outcome::Verified, Some(State::Cancelled))
        } else {
            (Outcome::Findings, Some(State::Open))
        };
        assert_eq!((verdict.verdict, verdict.state), expected, "{verdict:#?}");
    }
}

#[test]
fn a_copy_serves_results_that_the_authority_cancelled() {
    for is_signed in [true, false] {
        let scene = copies::Scene::of(cancelled(&World::new("receipts", PLAN), is_signed));
        scene.mirror();
        assert_eq!(scene.copy().join("results.json").exists(), is_signed);
    }
}

#[test]
fn a_watcher_takes_no_forged_cancellation() {
    let scene = Scene::new();
    let mut watcher = scene.watcher(&["site"]);
    assert_eq!(codes(&round(&mut watcher)), [""; 0]);
    scene.show("site", &cancelled(&scene.world, true));
    assert_eq!(codes(&round(&mut watcher)), [""; 0]);
    assert_eq!(codes(&round(&mut watcher)), [""; 0]);

    let scene = Scene::new();
    let mut watcher = scene.watcher(&["site"]);
    scene.show("site", &cancelled(&scene.world, false));
    raises(&mut watcher, "results-wrong");
}
