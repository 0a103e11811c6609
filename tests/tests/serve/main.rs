//! Services that stand alone: each its own process, with its own configuration and nothing else.

mod alone;
mod bad;
mod course;
mod metrics;
mod repair;
mod sign_in;
mod takeover;

use protocol::entry::Vote;
use tests::device::{Device, Site};
use tests::serve::{Service, World};

/// A voter who has signed in, and a vote for one of the two options.
async fn voter(world: &World, site: &Site, voter: u32) -> Vote {
    sign_in(world, site, voter, Device::new(&world.published.election)).await
}

/// The same, whose credential belongs to this cell.
async fn voter_of_cell(world: &World, site: &Site, voter: u32, cell: u32) -> Vote {
    let election = &world.published.election;
    let device = std::iter::repeat_with(|| Device::new(election))
        .find(|device| election.cell_of(&device.credential()) == cell)
        .unwrap();
    sign_in(world, site, voter, device).await
}

async fn sign_in(world: &World, site: &Site, voter: u32, mut device: Device) -> Vote {
    device.sign_in(site, &world.codes(voter)).await;
    device.vote(
        &world.published.election,
        &[vec![u16::from(voter % 2 == 1)]],
    )
}

/// The services, but for one.
fn but(services: Vec<Service>, gone: impl Fn(&Service) -> bool) -> (Vec<Service>, Service) {
    let (mut out, rest): (Vec<_>, Vec<_>) = services.into_iter().partition(gone);
    (rest, out.remove(0))
}
