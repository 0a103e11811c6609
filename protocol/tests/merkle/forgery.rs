//! Forged tiles. Other libraries authenticate only the hashes that a proof needs, or let a forged full tile pass; here, every hash of every tile must be the tree's.

use protocol::merkle::Hash;
use protocol::merkle::tile::{
    Edge, TileError, TileId, Tiles, consistency_tiles, edge_tiles, inclusion_tiles, tiles,
};

use crate::oracle::Oracle;

type Files = Vec<(TileId, Vec<u8>)>;

/// Alters every single hash of every tile in turn: each must be refused, and with the right name where there is one.
fn refuses_every_altered_hash(size: u64, root: &Hash, files: &Files) {
    let edge = edge_tiles(size);
    let mut files = files.clone();
    for at in 0..files.len() {
        let id = files[at].0;
        for hash in 0..usize::from(id.width()) {
            // Another byte and bit each time.
            let (byte, bit) = (hash * 32 + (hash * 7 + at) % 32, 1 << (hash % 8));
            files[at].1[byte] ^= bit;
            let refused =
                Tiles::authenticate(size, root, files.clone()).expect_err("a forged hash passed");
            files[at].1[byte] ^= bit;
            if edge.contains(&id) {
                assert_eq!(
                    refused,
                    TileError::Root { size },
                    "{id} hash {hash} of {size}"
                );
            } else {
                // A tile above the forged one is intact, so the forged one is named, unless the forged hash belongs to the tile above.
                assert!(
                    matches!(refused, TileError::Forged { tile } if tile == id),
                    "{id} hash {hash} of {size}: {refused}"
                );
            }
        }
    }
}

#[test]
fn every_altered_hash_is_refused_at_every_size_up_to_600() {
    let oracle = Oracle::new(600);
    for size in 1..=600 {
        let root = oracle.root(size);
        let all: Files = tiles(size as u64).map(|id| (id, oracle.tile(id))).collect();
        Tiles::authenticate(size as u64, &root, all.clone()).unwrap();
        // Each full tile with the edge is a plan of its own; altering hashes in one at a time covers them all.
        let edge: Files = all
            .iter()
            .filter(|(id, _)| !id.is_full())
            .cloned()
            .collect();
        refuses_every_altered_hash(size as u64, &root, &edge);
        for full in all.iter().filter(|(id, _)| id.is_full()) {
            // The edge was altered just now; here only the full tile is.
            let mut files = edge.clone();
            files.push(full.clone());
            let at = files.len() - 1;
            for hash in 0..256 {
                files[at].1[hash * 32 + hash % 32] ^= 0x80;
                assert_eq!(
                    Tiles::authenticate(size as u64, &root, files.clone()).unwrap_err(),
                    TileError::Forged { tile: full.0 }
                );
                files[at].1[hash * 32 + hash % 32] ^= 0x80;
            }
        }
    }
}

#[test]
fn every_altered_hash_is_refused_around_65536() {
    let oracle = Oracle::new(66_049);
    for size in [
        65_535, 65_536, 65_537, 65_791, 65_792, 65_793, 66_048, 66_049,
    ] {
        let root = oracle.root(size);
        for index in [0, 40_000, size - 1] {
            let files: Files = inclusion_tiles(index as u64, size as u64)
                .into_iter()
                .map(|id| (id, oracle.tile(id)))
                .collect();
            let tiles = Tiles::authenticate(size as u64, &root, files.clone()).unwrap();
            assert_eq!(
                tiles.inclusion_proof(index as u64).unwrap(),
                oracle.path(index, size)
            );
            refuses_every_altered_hash(size as u64, &root, &files);
        }
        for old in [1, 256, 300, 65_280, size - 1, size] {
            let files: Files = consistency_tiles(old as u64, size as u64)
                .into_iter()
                .map(|id| (id, oracle.tile(id)))
                .collect();
            let tiles = Tiles::authenticate(size as u64, &root, files).unwrap();
            assert_eq!(
                tiles.consistency_proof(old as u64).unwrap(),
                oracle.consistency(old, size)
            );
        }
    }
}

/// A forger makes a whole other log of the same size, and offers each of its tiles in place of the true one.
#[test]
fn tiles_of_another_log_are_refused_at_every_size_up_to_600() {
    let oracle = Oracle::new(600);
    let mut forger = Edge::new();
    let mut forged_full: Files = vec![];
    for size in 1..=600_u64 {
        let mut leaf = oracle.leaves()[size as usize - 1];
        leaf.0[0] ^= 1;
        forger.push(leaf);
        forged_full.extend(forger.take_completed());
        let root = oracle.root(size as usize);
        let forged = |id: &TileId| {
            forged_full
                .iter()
                .find(|(full, _)| full == id)
                .map(|(_, bytes)| bytes.clone())
                .or_else(|| forger.tile(id))
                .unwrap()
        };

        let honest: Files = tiles(size).map(|id| (id, oracle.tile(id))).collect();
        for at in 0..honest.len() {
            let mut files = honest.clone();
            files[at].1 = forged(&files[at].0);
            Tiles::authenticate(size, &root, files).expect_err("a forged tile passed");
        }
        let all: Files = honest.iter().map(|(id, _)| (*id, forged(id))).collect();
        assert_eq!(
            Tiles::authenticate(size, &root, all.clone()).unwrap_err(),
            TileError::Root { size }
        );
        // The forged log is a log, only not this one.
        Tiles::authenticate(size, &forger.root(), all).unwrap();
    }
}

#[test]
fn swapped_missing_repeated_and_misnamed_tiles_are_refused() {
    let oracle = Oracle::new(1000);
    for size in [1, 2, 3, 255, 256, 257, 511, 512, 513, 600, 768, 1000_u64] {
        let root = oracle.root(size as usize);
        let honest: Files = tiles(size).map(|id| (id, oracle.tile(id))).collect();
        let check = |files: Files| Tiles::authenticate(size, &root, files);
        check(honest.clone()).unwrap();
        // The order does not matter.
        check(honest.iter().rev().cloned().collect()).unwrap();
        for a in 0..honest.len() {
            let id = honest[a].0;
            for b in 0..a {
                let mut files = honest.clone();
                let other = files[b].1.clone();
                files[b].1 = std::mem::replace(&mut files[a].1, other);
                check(files).expect_err("swapped tiles passed");
            }
            // A full tile may be left out if nothing needs it; a tile of the edge may not.
            let mut files = honest.clone();
            files.remove(a);
            if id.is_full() {
                check(files).unwrap();
            } else {
                assert_eq!(check(files).unwrap_err(), TileError::Missing { tile: id });
            }
            let mut files = honest.clone();
            files.push(honest[a].clone());
            assert_eq!(check(files).unwrap_err(), TileError::Twice { tile: id });
            for len in [
                0,
                1,
                id.byte_len() - 1,
                id.byte_len() + 1,
                id.byte_len() + 32,
            ] {
                let mut files = honest.clone();
                files[a].1.resize(len, 0);
                assert_eq!(
                    check(files).unwrap_err(),
                    TileError::Length { tile: id, got: len }
                );
            }
            // Every other width, with bytes to match.
            for width in (1..=256).filter(|width| *width != id.width()) {
                let mut files = honest.clone();
                let wrong = TileId::new(id.level(), id.index(), width).unwrap();
                files[a].0 = wrong;
                files[a].1.resize(wrong.byte_len(), 0);
                assert_eq!(
                    check(files).unwrap_err(),
                    TileError::NotOfThisTree { tile: wrong, size }
                );
            }
        }
        for stranger in [
            TileId::new(0, 4, 256),
            TileId::new(1, 1, 1),
            TileId::new(2, 0, 1),
            TileId::new(7, 0, 1),
            TileId::new(7, 0, 256),
        ] {
            let stranger = stranger.unwrap();
            let mut files = honest.clone();
            files.push((stranger, vec![0; stranger.byte_len()]));
            assert_eq!(
                check(files).unwrap_err(),
                TileError::NotOfThisTree {
                    tile: stranger,
                    size
                }
            );
        }
        // The very tiles under another size or root.
        Tiles::authenticate(size + 1, &root, honest.clone()).unwrap_err();
        Tiles::authenticate(size - 1, &root, honest.clone()).unwrap_err();
        assert_eq!(
            Tiles::authenticate(size, &Hash([0; 32]), honest).unwrap_err(),
            TileError::Root { size }
        );
    }
}

#[test]
fn a_full_tile_without_the_one_above_is_refused() {
    let oracle = Oracle::new(66_000);
    let root = oracle.root(66_000);
    let plan = inclusion_tiles(0, 66_000);
    let above = TileId::new(1, 0, 256).unwrap();
    assert!(plan.contains(&above));
    let files: Files = plan
        .into_iter()
        .filter(|id| *id != above)
        .map(|id| (id, oracle.tile(id)))
        .collect();
    assert_eq!(
        Tiles::authenticate(66_000, &root, files).unwrap_err(),
        TileError::Missing { tile: above }
    );
}

#[test]
fn proofs_need_their_tiles_and_their_leaf() {
    let oracle = Oracle::new(1000);
    let root = oracle.root(1000);
    let edge: Files = edge_tiles(1000)
        .into_iter()
        .map(|id| (id, oracle.tile(id)))
        .collect();
    let tiles = Tiles::authenticate(1000, &root, edge).unwrap();
    let first = TileId::new(0, 0, 256).unwrap();
    assert_eq!(
        tiles.inclusion_proof(0),
        Err(TileError::Missing { tile: first })
    );
    assert_eq!(tiles.leaf(0), Err(TileError::Missing { tile: first }));
    assert_eq!(
        tiles.consistency_proof(3),
        Err(TileError::Missing { tile: first })
    );
    assert_eq!(tiles.hashes(first), Err(TileError::Missing { tile: first }));
    assert_eq!(
        tiles.hashes(TileId::new(0, 3, 2).unwrap()).unwrap(),
        &oracle.leaves()[768..770]
    );
    assert_eq!(tiles.inclusion_proof(999).unwrap(), oracle.path(999, 1000));
    assert_eq!(tiles.leaf(999).unwrap(), oracle.leaves()[999]);
    assert_eq!(
        tiles.leaf(1000),
        Err(TileError::NoSuchLeaf {
            index: 1000,
            size: 1000
        })
    );
    assert_eq!(
        tiles.inclusion_proof(u64::MAX),
        Err(TileError::NoSuchLeaf {
            index: u64::MAX,
            size: 1000
        })
    );
    assert_eq!(
        tiles.consistency_proof(1001),
        Err(TileError::Shrunk {
            old_size: 1001,
            size: 1000
        })
    );
    assert_eq!(
        tiles.root_at(1001),
        Err(TileError::Shrunk {
            old_size: 1001,
            size: 1000
        })
    );
    assert_eq!(tiles.root_at(1000), Ok(root));
    assert_eq!(tiles.size(), 1000);

    let nothing = Tiles::authenticate(0, &protocol::merkle::empty_root(), []).unwrap();
    assert_eq!(nothing.consistency_proof(0), Ok(vec![]));
    assert_eq!(
        nothing.inclusion_proof(0),
        Err(TileError::NoSuchLeaf { index: 0, size: 0 })
    );
    assert_eq!(
        Tiles::authenticate(0, &root, []).unwrap_err(),
        TileError::Root { size: 0 }
    );
}
