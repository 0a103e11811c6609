//! Trees too large to build: only the tiles of one plan are made, from random hashes below and honest hashes above. Sizes up to 2^64 - 1.

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::merkle::tile::{
    TileError, TileId, Tiles, consistency_tiles, edge_tiles, inclusion_tiles,
};
use protocol::merkle::{Hash, verify_consistency, verify_inclusion};
use sha2::{Digest, Sha256};

use crate::oracle::node;

/// The tiles of a plan in some tree of this size, and its root.
fn synthesize(size: u64, plan: &[TileId]) -> (Hash, BTreeMap<TileId, Vec<Hash>>) {
    let random = |id: &TileId, i: u16| Hash(Sha256::digest(format!("{id} {i}")).into());
    let mut tiles: BTreeMap<_, _> = plan
        .iter()
        .map(|id| {
            (
                *id,
                (0..id.width()).map(|i| random(id, i)).collect::<Vec<_>>(),
            )
        })
        .collect();
    // Plans are sorted by level: each full tile's root goes into the tile above before that one is hashed in turn.
    for id in plan.iter().filter(|id| id.is_full()) {
        let root = perfect(&tiles[id]);
        let above = plan
            .iter()
            .find(|above| above.level() == id.level() + 1 && above.index() == id.index() / 256)
            .unwrap();
        tiles.get_mut(above).unwrap()[(id.index() % 256) as usize] = root;
    }
    // The nodes of the right edge, from the smallest subtree to the largest, joined as RFC 6962 does.
    let mut root = None;
    for id in edge_tiles(size) {
        let mut hashes = tiles[&id].as_slice();
        while !hashes.is_empty() {
            let len = 1 << hashes.len().trailing_zeros();
            let (rest, last) = hashes.split_at(hashes.len() - len);
            let subtree = perfect(last);
            root = Some(root.map_or(subtree, |right| node(&subtree, &right)));
            hashes = rest;
        }
    }
    (root.unwrap(), tiles)
}

fn perfect(hashes: &[Hash]) -> Hash {
    match hashes {
        [one] => *one,
        _ => node(
            &perfect(&hashes[..hashes.len() / 2]),
            &perfect(&hashes[hashes.len() / 2..]),
        ),
    }
}

fn files(tiles: &BTreeMap<TileId, Vec<Hash>>) -> Vec<(TileId, Vec<u8>)> {
    tiles
        .iter()
        .map(|(id, hashes)| (*id, hashes.iter().flat_map(|hash| hash.0).collect()))
        .collect()
}

fn proves_inclusion(index: u64, size: u64) {
    let (root, tiles) = synthesize(size, &inclusion_tiles(index, size));
    let proven = Tiles::authenticate(size, &root, files(&tiles)).unwrap();
    let proof = proven.inclusion_proof(index).unwrap();
    let leaf = proven.leaf(index).unwrap();
    verify_inclusion(&leaf, index, size, &proof, &root).unwrap();
    if let Some(other) = index.checked_sub(1) {
        verify_inclusion(&leaf, other, size, &proof, &root).unwrap_err();
    }
    // A hash in the middle of each tile, altered.
    for at in 0..tiles.len() {
        let mut files = files(&tiles);
        let middle = files[at].1.len() / 2;
        files[at].1[middle] ^= 1;
        let refused = Tiles::authenticate(size, &root, files).unwrap_err();
        assert!(matches!(
            refused,
            TileError::Forged { .. } | TileError::Root { .. }
        ));
    }
}

fn proves_consistency(old: u64, new: u64) {
    let (root, tiles) = synthesize(new, &consistency_tiles(old, new));
    let proven = Tiles::authenticate(new, &root, files(&tiles)).unwrap();
    let proof = proven.consistency_proof(old).unwrap();
    let old_root = proven.root_at(old).unwrap();
    verify_consistency(old, &old_root, new, &root, &proof).unwrap();
    if old > 0 && old < new {
        verify_consistency(old, &root, new, &root, &proof).unwrap_err();
        verify_consistency(old, &old_root, new, &old_root, &proof).unwrap_err();
    }
}

#[test]
fn proofs_at_the_ends_and_at_powers_of_256() {
    let mut sizes = vec![
        1,
        2,
        3,
        u64::MAX - 1,
        u64::MAX,
        1 << 63,
        (1 << 63) - 1,
        (1 << 63) + 1,
    ];
    for level in 1..8 {
        let power = 256_u64.pow(level);
        sizes.extend([
            power - 1,
            power,
            power + 1,
            power * 3,
            power * 3 + 1,
            power * 255 + 17,
        ]);
    }
    for &size in &sizes {
        for index in [
            0,
            1,
            255,
            256,
            65_535,
            65_536,
            size / 2,
            size.saturating_sub(2),
            size - 1,
        ] {
            if index < size {
                proves_inclusion(index, size);
            }
        }
        for old in [
            0,
            1,
            2,
            255,
            256,
            257,
            65_536,
            size / 2,
            size / 2 + 1,
            size - 1,
            size,
        ] {
            if old <= size {
                proves_consistency(old, size);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn proofs_at_any_size(size in any::<u64>(), shift in 0_u32..64, at in any::<u64>(), zeros in 0_u32..64) {
        let size = (size >> shift).max(1);
        proves_inclusion(at % size, size);
        // Old sizes with many trailing zeros have short proofs that skip the lower levels.
        proves_consistency((at % size) >> zeros << zeros, size);
    }
}
