//! After the close, the voters look again: every vote that was ever acknowledged must stand where its voter was told, under the
//! final head. A few voters keep their receipts as files.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::tile::tiles;
use protocol::merkle::{CompactRange, Hash};

use super::voters::{RecordedVote, Voters};
use crate::client::in_force::InForce;
use crate::client::receipts;
use crate::client::site::Site;
use crate::folder::Folder;

/// Receipts that are kept as files.
const RECEIPTS: u32 = 5;
const TILE_BYTES: usize = 256 * 32;

/// Every recorded vote stands at its index, below the size that the final head names for its cell.
///
/// # Errors
/// The first vote that does not, or files that cannot be read or verified.
pub async fn check(site: &Site, election: &Election, recorded: &[RecordedVote]) -> Result<()> {
    let in_force = InForce::find(site, election, &[LogId::Heads]).await?;
    let anchored = receipts::newest_sealing(site, election, &in_force)
        .await?
        .context("no head is anchored, or cosigned by a quorum of the witnesses")?;
    let heads = in_force.client(site, LogId::Heads)?;
    let (_, _, head) = receipts::newest_head(&heads, election, &anchored)
        .await?
        .context("no head is anchored")?;
    let mut by_cell: BTreeMap<u32, Vec<&RecordedVote>> = BTreeMap::new();
    for vote in recorded {
        by_cell.entry(vote.cell).or_default().push(vote);
    }
    for (cell, votes) in by_cell {
        let named = head
            .log(election, LogId::Cell(cell))
            .with_context(|| format!("the head lists no cell {cell}"))?;
        let leaves = leaves(site, LogId::Cell(cell), named.size, &named.root).await?;
        for vote in votes {
            let leaf = usize::try_from(vote.index)
                .ok()
                .and_then(|index| leaves.get(index));
            ensure!(
                leaf == Some(&vote.leaf),
                "the vote at index {} of cell {cell} was acknowledged, and is not there under the final head",
                vote.index
            );
        }
    }
    Ok(())
}

/// The leaf hashes of a log, from its tiles, checked against the root.
async fn leaves(site: &Site, log: LogId, size: u64, root: &Hash) -> Result<Vec<Hash>> {
    let mut range = CompactRange::new();
    let mut leaves = Vec::new();
    for tile in tiles(size).filter(|tile| tile.level() == 0) {
        let path = format!("{}/{}", log.prefix(), tile.path());
        let bytes = site
            .read(&path, TILE_BYTES)
            .await?
            .with_context(|| format!("{path} is missing"))?;
        for hash in bytes.chunks_exact(32) {
            let leaf = Hash(hash.try_into()?);
            range.push(leaf);
            leaves.push(leaf);
        }
    }
    ensure!(
        range.size() == size && range.root() == *root,
        "the tiles of {} do not lead to the root that the head names",
        log.prefix()
    );
    Ok(leaves)
}

/// The first voters cast once more, which changes nothing and gives them the same index again, and keep their receipts.
///
/// # Errors
/// A voter who is not answered with her own vote.
pub async fn keep_receipts(
    site: &Site,
    election: &Election,
    voters: &Arc<Voters>,
    ballots: &[Vec<Vec<u16>>],
    folder: &Folder,
) -> Result<()> {
    folder.make_private("receipts")?;
    for (voter, choices) in (0..RECEIPTS).zip(ballots) {
        let device = voters.device(voter)?;
        let vote = device.vote(&voters.signatures(voter)?, choices)?;
        let in_log = device.cast(site, &vote).await?;
        let receipt = match receipts::sealed(site, election, &in_log).await? {
            Some(sealed) => sealed,
            None => receipts::provisional(site, election, &in_log).await?,
        };
        let path = folder.receipt(voter);
        std::fs::write(
            &path,
            receipt.encode().context("cannot write the receipt down")?,
        )
        .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
