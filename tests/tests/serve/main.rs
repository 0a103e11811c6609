//! Services that stand alone: each its own process, with its own configuration and nothing else.

mod alone;
mod bad;
mod course;
mod repair;
mod takeover;

use protocol::entry::Vote;
use tests::device::{Device, Site};
use tests::serve::{Service, World};

/// A voter who has signed in, and a vote for one of the two options.
async fn voter(world: &World, site: &Site, voter: u32) -> Vote {
    let election = &world.published.election;
    let mut device = Device::new(election);
    device.sign_in(site, &world.codes(voter)).await;
    device.vote(election, &[vec![u16::from(voter % 2 == 1)]])
}

/// The services, but for one.
fn but(services: Vec<Service>, gone: impl Fn(&Service) -> bool) -> (Vec<Service>, Service) {
    let (mut out, rest): (Vec<_>, Vec<_>) = services.into_iter().partition(gone);
    (rest, out.remove(0))
}
