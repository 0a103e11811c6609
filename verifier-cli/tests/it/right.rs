//! Elections in which nothing is wrong.

use verifier_cli::verdict::{Outcome, State};

use crate::common::world::{Plan, World};
use crate::common::{audit, found};

#[test]
fn a_finished_election_verifies() {
    let world = World::new("right", Plan::SMALL);
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let verdict = audit(folder.path(), &world.keys.election.id());
    assert_eq!(found(&verdict), [], "{:#?}", verdict.findings);
    assert_eq!(verdict.verdict, Outcome::Verified);
    assert_eq!(verdict.state, Some(State::Final));
    assert_eq!((verdict.votes, verdict.abstentions), (600, 30));
}
