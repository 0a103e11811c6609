//! The writer's edge: it makes every tile that publishing needs, and comes back from what was published.

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::merkle::tile::{Edge, TileError, TileId, edge_tiles, new_tiles, tiles};
use protocol::merkle::{Hash, empty_root};

use crate::oracle::Oracle;

#[test]
fn publishing_in_batches_makes_every_tile_and_no_other() {
    let oracle = Oracle::new(1300);
    for step in [1, 7, 255, 256, 257, 600] {
        let mut edge = Edge::new();
        let mut published: BTreeMap<TileId, Vec<u8>> = BTreeMap::new();
        let mut old = 0;
        for batch in oracle.leaves().chunks(step) {
            batch.iter().for_each(|leaf| edge.push(*leaf));
            assert_eq!(edge.root(), oracle.root(edge.size() as usize));
            let plan = new_tiles(old, edge.size());
            for id in &plan {
                assert_eq!(
                    edge.tile(id).unwrap(),
                    oracle.tile(*id),
                    "{id} at {}",
                    edge.size()
                );
            }
            let new = edge.take_new();
            assert_eq!(new.iter().map(|(id, _)| *id).collect::<Vec<_>>(), plan);
            for (id, bytes) in new {
                assert_eq!(published.insert(id, bytes), None, "{id} was created before");
            }
            old = edge.size();
            for id in tiles(old) {
                assert_eq!(
                    published.get(&id),
                    Some(&oracle.tile(id)),
                    "{id} of {old}, batches of {step}"
                );
            }
            assert_eq!(edge.take_new(), []);
        }
    }
}

#[test]
fn completed_tiles_are_taken_once() {
    let oracle = Oracle::new(1000);
    let mut edge = Edge::new();
    oracle.leaves()[..600]
        .iter()
        .for_each(|leaf| edge.push(*leaf));
    let full = |index| TileId::new(0, index, 256).unwrap();
    assert_eq!(edge.tile(&full(1)), Some(oracle.tile(full(1))));
    assert_eq!(edge.tile(&full(2)), None, "not complete");
    assert_eq!(edge.tile(&full(3)), None, "not begun");
    let narrow = TileId::new(0, 1, 3).unwrap();
    assert_eq!(edge.tile(&narrow), Some(oracle.tile(narrow)));
    assert_eq!(
        edge.take_completed(),
        [
            (full(0), oracle.tile(full(0))),
            (full(1), oracle.tile(full(1)))
        ]
    );
    assert_eq!(edge.tile(&full(1)), None, "taken");
    assert_eq!(edge.take_completed(), []);
    oracle.leaves()[600..]
        .iter()
        .for_each(|leaf| edge.push(*leaf));
    assert_eq!(edge.take_completed(), [(full(2), oracle.tile(full(2)))]);
}

#[test]
fn the_edge_comes_back_from_its_tiles_at_every_size() {
    let oracle = Oracle::new(900);
    let mut grown = Edge::new();
    assert_eq!(Edge::from_tiles(0, &empty_root(), []).unwrap().size(), 0);
    for size in 1..=600 {
        grown.push(oracle.leaves()[size - 1]);
        let published: Vec<_> = edge_tiles(size as u64)
            .into_iter()
            .map(|id| (id, grown.tile(&id).unwrap()))
            .collect();
        let root = oracle.root(size);
        let mut edge = Edge::from_tiles(size as u64, &root, published.clone()).unwrap();
        assert_eq!(
            (edge.size(), edge.root(), edge.range()),
            (size as u64, root, grown.range())
        );
        assert_eq!(edge.range().root(), root);

        // It goes on as if it had never stopped.
        oracle.leaves()[size..size + 300]
            .iter()
            .for_each(|leaf| edge.push(*leaf));
        assert_eq!(edge.root(), oracle.root(size + 300));
        let new = edge.take_new();
        assert_eq!(
            new.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            new_tiles(size as u64, size as u64 + 300)
        );
        new.into_iter()
            .for_each(|(id, bytes)| assert_eq!(bytes, oracle.tile(id), "{id}"));

        // It does not come back from anything else.
        for spoil in 0..published.len() {
            let mut tiles = published.clone();
            tiles[spoil].1[size % 32] ^= 1;
            assert_eq!(
                Edge::from_tiles(size as u64, &root, tiles).unwrap_err(),
                TileError::Root { size: size as u64 }
            );
            let mut tiles = published.clone();
            let (tile, _) = tiles.remove(spoil);
            assert_eq!(
                Edge::from_tiles(size as u64, &root, tiles).unwrap_err(),
                TileError::Missing { tile }
            );
            let mut tiles = published.clone();
            tiles.push(published[spoil].clone());
            assert_eq!(
                Edge::from_tiles(size as u64, &root, tiles).unwrap_err(),
                TileError::Twice { tile }
            );
            let mut tiles = published.clone();
            tiles[spoil].1.truncate(31);
            assert!(matches!(
                Edge::from_tiles(size as u64, &root, tiles).unwrap_err(),
                TileError::Length { .. }
            ));
            let mut tiles = published.clone();
            tiles[spoil].0 = published[spoil].0.full();
            assert!(matches!(
                Edge::from_tiles(size as u64, &root, tiles).unwrap_err(),
                TileError::NotOfThisTree { .. }
            ));
        }
        assert_eq!(
            Edge::from_tiles(size as u64, &Hash([0; 32]), published).unwrap_err(),
            TileError::Root { size: size as u64 }
        );
    }
}

#[test]
fn a_stream_of_leaves_makes_the_same_edge() {
    let oracle = Oracle::new(70_000);
    let mut edge = Edge::from_leaves(oracle.leaves().iter().copied());
    assert_eq!((edge.size(), edge.root()), (70_000, oracle.root(70_000)));
    edge_tiles(70_000)
        .into_iter()
        .for_each(|id| assert_eq!(edge.tile(&id), Some(oracle.tile(id))));
    assert_eq!(edge.take_new(), []);
}

#[test]
fn an_edge_of_an_impossible_size_is_refused() {
    let tiles = edge_tiles(u64::MAX)
        .into_iter()
        .map(|id| (id, vec![0; id.byte_len()]));
    assert_eq!(
        Edge::from_tiles(u64::MAX, &empty_root(), tiles).unwrap_err(),
        TileError::Size { size: u64::MAX }
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Batches of any sizes, with restarts from the published tiles between them.
    #[test]
    fn batches_and_restarts_in_any_order(batches in prop::collection::vec((1_usize..700, any::<bool>()), 1..12)) {
        let oracle = Oracle::new(batches.iter().map(|(len, _)| len).sum());
        let mut published = BTreeMap::new();
        let mut edge = Edge::new();
        for (len, restart) in batches {
            let start = edge.size() as usize;
            oracle.leaves()[start..start + len].iter().for_each(|leaf| edge.push(*leaf));
            published.extend(edge.take_new());
            if restart {
                let tiles = edge_tiles(edge.size()).into_iter().map(|id| (id, published[&id].clone()));
                edge = Edge::from_tiles(edge.size(), &edge.root(), tiles).unwrap();
            }
        }
        prop_assert_eq!(edge.root(), oracle.root(edge.size() as usize));
        for id in tiles(edge.size()) {
            prop_assert_eq!(&published[&id], &oracle.tile(id));
        }
    }
}
