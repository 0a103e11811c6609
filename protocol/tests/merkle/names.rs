//! Names of tiles and bundles, which of them there are, and bundles' bytes.

use proptest::prelude::*;
use protocol::merkle::tile::{
    BundleError, BundleId, IdError, TileId, bundles, consistency_tiles, decode_bundle, edge_tiles,
    encode_bundle, inclusion_tiles, new_bundles, new_tiles, tiles,
};

#[test]
fn paths_are_spelled_as_the_specification_does() {
    // "index 1234067 will be encoded as `x001/x234/067`"
    let spelled = [
        (0, 1_234_067, 256, "tile/0/x001/x234/067"),
        (0, 1067, 256, "tile/0/x001/067"),
        (0, 0, 256, "tile/0/000"),
        (0, 999, 1, "tile/0/999.p/1"),
        (1, 1000, 255, "tile/1/x001/000.p/255"),
        (3, 1_000_000, 17, "tile/3/x001/x000/000.p/17"),
        (7, 0, 42, "tile/7/000.p/42"),
        (0, (1 << 56) - 1, 256, "tile/0/x072/x057/x594/x037/x927/935"),
    ];
    for (level, index, width, path) in spelled {
        let id = TileId::new(level, index, width).unwrap();
        assert_eq!(
            (id.path().as_str(), TileId::parse_path(path)),
            (path, Ok(id))
        );
    }
    let bundle = BundleId::new(1_234_067, 8).unwrap();
    assert_eq!(bundle.path(), "tile/entries/x001/x234/067.p/8");
    assert_eq!(
        BundleId::parse_path("tile/entries/x001/x234/067.p/8"),
        Ok(bundle)
    );
    assert_eq!(
        (bundle.first_leaf(), bundle.tile()),
        (1_234_067 * 256, TileId::new(0, 1_234_067, 8).unwrap())
    );
    assert_eq!(bundle.full().path(), "tile/entries/x001/x234/067");
    assert!(bundle.full().is_full() && !bundle.is_full());
}

#[test]
fn other_spellings_are_refused() {
    let wrong = [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile//000",
        "tile/00/000",
        "tile/+0/000",
        "tile/-1/000",
        "tile/8/000",
        "tile/64/000",
        "tile/256/000",
        "tile/x/000",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/1067",
        "tile/0/x000",
        "tile/0/x001",
        "tile/0/x000/067",
        "tile/0/001/067",
        "tile/0/x001/x067",
        "tile/0/x001/067/",
        "tile/0/x001//067",
        "tile/0/xx01/067",
        "tile/0/X001/067",
        "tile/0/+01",
        "tile/0/x+01/067",
        "tile/0/ 01",
        "tile/0/0a1",
        "tile/0/x01/067",
        "tile/0/067.p",
        "tile/0/067.p/",
        "tile/0/067.p/0",
        "tile/0/067.p/00",
        "tile/0/067.p/01",
        "tile/0/067.p/+1",
        "tile/0/067.p/256",
        "tile/0/067.p/257",
        "tile/0/067.p/65536",
        "tile/0/067.p/1/",
        "tile/0/067.p/1.p/1",
        "tile/0/067.P/1",
        "tile/0/067.p1",
        "tile/0/067 ",
        "tile/0/067\n",
        "tile/data/000",
        "tile/entries/000",
        "tile/0/x072/x057/x594/x037/x927/936",
        "tile/1/x281/x474/x976/x710/656",
        "tile/7/001",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/0/٠٠٠",
        "tile/0/é0",
    ];
    for path in wrong {
        assert!(TileId::parse_path(path).is_err(), "{path:?}");
        let entries = path.replacen("tile/0/", "tile/entries/", 1);
        if entries != "tile/entries/000" {
            assert!(BundleId::parse_path(&entries).is_err(), "{entries:?}");
        }
    }
}

#[test]
fn names_beyond_the_largest_tree_are_refused() {
    for level in 0..8 {
        let count = 1_u64.checked_shl(8 * (7 - u32::from(level))).unwrap();
        TileId::new(level, count - 1, 256).unwrap();
        assert_eq!(
            TileId::new(level, count, 1),
            Err(IdError::OutOfRange {
                level,
                index: count
            })
        );
        assert_eq!(
            TileId::new(level, u64::MAX, 1),
            Err(IdError::OutOfRange {
                level,
                index: u64::MAX
            })
        );
    }
    assert_eq!(
        TileId::new(8, 0, 1),
        Err(IdError::OutOfRange { level: 8, index: 0 })
    );
    assert_eq!(
        TileId::new(255, 0, 1),
        Err(IdError::OutOfRange {
            level: 255,
            index: 0
        })
    );
    for width in [0, 257, u16::MAX] {
        assert_eq!(TileId::new(0, 0, width), Err(IdError::Width { width }));
        assert_eq!(BundleId::new(0, width), Err(IdError::Width { width }));
    }
    assert_eq!(
        BundleId::new(1 << 56, 1),
        Err(IdError::OutOfRange {
            level: 0,
            index: 1 << 56
        })
    );
    assert_eq!(
        BundleId::new((1 << 56) - 1, 256).unwrap().first_leaf(),
        u64::MAX - 255
    );
}

#[test]
fn a_tree_has_the_tiles_that_the_specification_counts() {
    let shape = |size| {
        let mut counts = std::collections::BTreeMap::new();
        tiles(size).for_each(|id| *counts.entry((id.level(), id.width())).or_insert(0) += 1);
        counts.into_iter().collect::<Vec<_>>()
    };
    // "a tree of size 70,000 will be represented by 273 full level 0 tiles, one partial level 0 tile of width 112, one full level 1 tile,
    // one partial level 1 tile of width 17, and one partial level 2 tile of width 1."
    assert_eq!(
        shape(70_000),
        [
            ((0, 112), 1),
            ((0, 256), 273),
            ((1, 17), 1),
            ((1, 256), 1),
            ((2, 1), 1)
        ]
    );
    // "a tree of size 256 will be represented by a full level 0 tile and a partial level 1 tile of width 1."
    assert_eq!(shape(256), [((0, 256), 1), ((1, 1), 1)]);
    assert_eq!(shape(0), []);
    assert_eq!(shape(1), [((0, 1), 1)]);
    assert_eq!(bundles(70_000).count(), 274);
    assert_eq!(bundles(0).count(), 0);
    assert_eq!(
        bundles(257).map(|id| id.path()).collect::<Vec<_>>(),
        ["tile/entries/000", "tile/entries/001.p/1"]
    );
}

#[test]
fn new_tiles_are_those_that_the_old_tree_lacks() {
    let sizes: Vec<u64> = (0..40)
        .chain(250..262)
        .chain(508..516)
        .chain([
            65_534, 65_535, 65_536, 65_537, 65_790, 65_792, 65_793, 70_000,
        ])
        .collect();
    for &old in &sizes {
        for &new in &sizes {
            let had: Vec<_> = tiles(old).collect();
            let want: Vec<_> = if new <= old {
                vec![]
            } else {
                tiles(new).filter(|id| !had.contains(id)).collect()
            };
            assert_eq!(new_tiles(old, new), want, "{old} to {new}");
            let had: Vec<_> = bundles(old).collect();
            let want: Vec<_> = if new <= old {
                vec![]
            } else {
                bundles(new).filter(|id| !had.contains(id)).collect()
            };
            assert_eq!(new_bundles(old, new), want, "{old} to {new}");
        }
    }
}

#[test]
fn the_largest_sizes_neither_overflow_nor_run_away() {
    const MAX: u64 = u64::MAX;
    assert_eq!(edge_tiles(MAX).len(), 8);
    assert!(edge_tiles(MAX).iter().all(|id| id.width() == 255));
    assert_eq!(tiles(MAX).next(), Some(TileId::new(0, 0, 256).unwrap()));
    assert_eq!(bundles(MAX).next(), Some(BundleId::new(0, 256).unwrap()));
    assert_eq!(
        new_tiles(MAX - 1, MAX),
        [TileId::new(0, (1 << 56) - 1, 255).unwrap()]
    );
    assert_eq!(
        new_bundles(MAX - 1, MAX),
        [BundleId::new((1 << 56) - 1, 255).unwrap()]
    );
    assert_eq!(new_tiles(MAX, MAX), []);
    assert_eq!(new_tiles(MAX, 0), []);
    assert_eq!(inclusion_tiles(0, MAX).len(), 15);
    assert_eq!(inclusion_tiles(MAX - 1, MAX).len(), 8);
    assert_eq!(inclusion_tiles(MAX, MAX), []);
    assert_eq!(inclusion_tiles(0, 0), []);
    assert_eq!(consistency_tiles(1, MAX).len(), 15);
    assert_eq!(consistency_tiles(1 << 63, MAX).len(), 8);
    assert_eq!(consistency_tiles(MAX, MAX).len(), 8);
    assert_eq!(consistency_tiles(MAX, 5), []);
    assert_eq!(consistency_tiles(0, 70_000), edge_tiles(70_000));
}

#[test]
fn the_full_tile_stands_in_for_a_partial_one() {
    let partial = TileId::new(0, 5, 3).unwrap();
    let full: Vec<u8> = (0..8192_usize).map(|i| (i / 32) as u8).collect();
    assert_eq!(partial.full(), TileId::new(0, 5, 256).unwrap());
    assert_eq!(partial.truncate(&full), Some(&full[..96]));
    assert_eq!(partial.full().truncate(&full), Some(&full[..]));
    assert_eq!(partial.truncate(&full[..8160]), None);
    assert_eq!(partial.truncate(&[]), None);
}

#[test]
fn bundles_hold_exactly_what_they_say() {
    let longest = vec![7; 65_535];
    let entries: [&[u8]; 4] = [b"one", b"", &longest, b"\x00\x05"];
    let bytes = encode_bundle(entries.into_iter()).unwrap();
    assert_eq!(&bytes[..7], b"\x00\x03one\x00\x00");
    assert_eq!(decode_bundle(&bytes, 4).unwrap(), entries);
    assert_eq!(
        decode_bundle(&bytes, 3),
        Err(BundleError::TrailingBytes { count: 4 })
    );
    assert_eq!(
        decode_bundle(&bytes, 5),
        Err(BundleError::Short { position: 4 })
    );
    for end in 0..bytes.len() {
        assert!(
            matches!(
                decode_bundle(&bytes[..end], 4),
                Err(BundleError::Short { .. })
            ),
            "cut to {end}"
        );
    }
    assert_eq!(decode_bundle(&[], 0), Err(BundleError::Width { width: 0 }));
    assert_eq!(
        decode_bundle(&[0; 514], 257),
        Err(BundleError::Width { width: 257 })
    );
    assert_eq!(decode_bundle(&[0; 512], 256).unwrap(), [b""; 256]);

    assert_eq!(
        encode_bundle(std::iter::empty()),
        Err(BundleError::Width { width: 0 })
    );
    assert_eq!(
        encode_bundle([b"".as_slice(); 257].into_iter()),
        Err(BundleError::TooManyEntries)
    );
    let too_long = vec![0; 65_536];
    assert_eq!(
        encode_bundle([b"".as_slice(), &too_long].into_iter()),
        Err(BundleError::EntryTooLong {
            position: 1,
            len: 65_536
        })
    );
}

proptest! {
    /// Paths are names: one for each tile, and read back as it.
    #[test]
    fn paths_and_tiles_are_one_to_one(level in 0_u8..8, index in any::<u64>(), shift in 0_u32..64, width in 1_u16..=256) {
        if let Ok(id) = TileId::new(level, index >> shift, width) {
            prop_assert_eq!(TileId::parse_path(&id.path()), Ok(id));
        }
    }

    /// A path that was spoiled either is refused, or is the one name of another tile.
    #[test]
    fn spoiled_paths_stay_names(index in 0_u64..2_000_000, width in 1_u16..=256, at in any::<prop::sample::Index>(), with in "[0-9x/.p+ ]{0,2}") {
        let mut path = TileId::new(1, index, width).unwrap().path();
        let at = at.index(path.len());
        path.replace_range(at..=at, &with);
        if let Ok(id) = TileId::parse_path(&path) {
            prop_assert_eq!(id.path(), path);
        }
    }

    #[test]
    fn bundles_and_entries_are_one_to_one(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..=256)) {
        let bytes = encode_bundle(entries.iter().map(Vec::as_slice)).unwrap();
        prop_assert_eq!(decode_bundle(&bytes, entries.len() as u16).unwrap(), entries);
    }

    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(bytes in prop::collection::vec(0_u8..3, 0..64), width in 0_u16..20) {
        if let Ok(entries) = decode_bundle(&bytes, width) {
            prop_assert_eq!(encode_bundle(entries.into_iter()).unwrap(), bytes);
        }
    }
}
