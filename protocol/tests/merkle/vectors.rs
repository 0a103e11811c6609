//! The vectors of trees and tiles, and their check. What they expect comes from the naive oracle, or was written by hand.

use protocol::merkle::tile::{
    BundleId, TileId, Tiles, bundles, consistency_tiles, decode_bundle, edge_tiles, encode_bundle,
    inclusion_tiles, new_bundles, new_tiles, tiles,
};
use protocol::merkle::{
    CompactRange, Hash, empty_root, leaf_hash, verify_consistency, verify_inclusion,
};
use serde_json::{Value, json};

use crate::common::vector_cases;
use crate::oracle::{Oracle, entry};

fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

fn hash(value: &Value) -> Hash {
    Hash::from_hex(value.as_str().unwrap()).unwrap()
}

fn hashes(value: &Value) -> Vec<Hash> {
    value.as_array().unwrap().iter().map(hash).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn hexes(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(Hash::to_string).collect()
}

// ---- merkle.json

const MERKLE_ABOUT: &str = "RFC 6962 section 2.1 over SHA-256. Indices and sizes are decimal strings (they have 64 bits), hashes hex. \
kind `leaf`: the leaf hash of `entry` (hex). kind `root`: the root of the tree of `size` leaves, whose entry i is the ASCII text `entry <i>`. \
kind `inclusion`: whether `proof` (from the leaf's sibling up) shows that `leaf` is at `index` in the tree of `size` and `root`. \
kind `consistency`: whether `proof` shows that the tree of `new_size` and `new_root` starts with that of `old_size` and `old_root`; from the empty tree, and from a tree to itself, the proof is empty.";

fn inclusion(
    name: &str,
    why: &str,
    leaf: &Hash,
    (index, size): (u64, u64),
    proof: &[Hash],
    root: &Hash,
    valid: bool,
) -> Value {
    json!({
        "kind": "inclusion", "name": name, "why": why, "valid": valid, "leaf": leaf.to_string(), "index": index.to_string(), "size": size.to_string(),
        "proof": hexes(proof), "root": root.to_string(),
    })
}

fn consistency(
    name: &str,
    why: &str,
    old: (u64, Hash),
    new: (u64, Hash),
    proof: &[Hash],
    valid: bool,
) -> Value {
    json!({
        "kind": "consistency", "name": name, "why": why, "valid": valid, "old_size": old.0.to_string(), "old_root": old.1.to_string(),
        "new_size": new.0.to_string(), "new_root": new.1.to_string(), "proof": hexes(proof),
    })
}

fn merkle_cases(oracle: &Oracle) -> Vec<Value> {
    let mut cases = vec![];
    for (name, entry) in [
        ("empty entry", vec![]),
        ("one zero byte", vec![0]),
        ("32 bytes", vec![7; 32]),
        ("text", b"entry 0".to_vec()),
    ] {
        cases.push(json!({ "kind": "leaf", "name": name, "why": "SHA-256(0x00 || entry)", "valid": true, "entry": hex::encode(&entry), "expected": leaf_hash(&entry).to_string() }));
    }
    for size in (0..=20).chain([31, 32, 33, 64, 100, 255, 256, 257, 1000]) {
        cases.push(json!({ "kind": "root", "name": format!("{size} entries"), "why": "MTH", "valid": true, "size": size.to_string(), "expected": oracle.root(size).to_string() }));
    }
    let root = |size: u64| oracle.root(size as usize);
    let leaf = |index: u64| oracle.leaves()[index as usize];
    let path = |index: u64, size: u64| oracle.path(index as usize, size as usize);
    for (index, size) in [
        (0, 1),
        (0, 2),
        (1, 2),
        (0, 3),
        (2, 3),
        (3, 7),
        (4, 7),
        (6, 7),
        (5, 8),
        (7, 9),
        (8, 9),
        (255, 257),
        (256, 257),
        (123, 1000),
        (999, 1000),
    ] {
        cases.push(inclusion(
            &format!("{index} of {size}"),
            "PATH(m, D[n])",
            &leaf(index),
            (index, size),
            &path(index, size),
            &root(size),
            true,
        ));
    }
    let proof = path(3, 7);
    let swapped: Vec<_> = [proof[1], proof[0], proof[2]].to_vec();
    let longer = [proof.clone(), vec![Hash([0; 32])]].concat();
    let mut node_as_leaf = path(3, 7);
    let node = oracle.mth(2, 4);
    node_as_leaf.remove(0);
    for (name, why, leaf, index, size, proof, root) in [
        (
            "other leaf",
            "leads to another root",
            leaf(2),
            3,
            7,
            proof.clone(),
            root(7),
        ),
        (
            "other index",
            "the siblings change sides",
            leaf(3),
            2,
            7,
            proof.clone(),
            root(7),
        ),
        (
            "other size",
            "the length or the sides change",
            leaf(3),
            3,
            8,
            proof.clone(),
            root(8),
        ),
        (
            "other root",
            "leads to another root",
            leaf(3),
            3,
            7,
            proof.clone(),
            root(8),
        ),
        (
            "hash missing",
            "the length follows from index and size",
            leaf(3),
            3,
            7,
            proof[..2].to_vec(),
            root(7),
        ),
        (
            "hash too many",
            "the length follows from index and size",
            leaf(3),
            3,
            7,
            longer,
            root(7),
        ),
        (
            "hashes swapped",
            "leads to another root",
            leaf(3),
            3,
            7,
            swapped,
            root(7),
        ),
        (
            "interior node as a leaf",
            "it would be leaf 1 of a tree of 4",
            node,
            1,
            7,
            node_as_leaf,
            root(7),
        ),
        (
            "index is the size",
            "no such leaf",
            leaf(6),
            7,
            7,
            path(6, 7),
            root(7),
        ),
        (
            "empty tree",
            "no such leaf",
            empty_root(),
            0,
            0,
            vec![],
            empty_root(),
        ),
        (
            "one leaf, one hash",
            "the proof in a tree of one leaf is empty",
            leaf(0),
            0,
            1,
            vec![leaf(0)],
            root(1),
        ),
        (
            "largest index",
            "64 bits do not overflow",
            leaf(0),
            u64::MAX,
            u64::MAX,
            vec![],
            root(1),
        ),
        (
            "largest size",
            "64 bits do not overflow",
            leaf(0),
            u64::MAX - 1,
            u64::MAX,
            vec![leaf(0); 63],
            root(1),
        ),
    ] {
        cases.push(inclusion(
            name,
            why,
            &leaf,
            (index, size),
            &proof,
            &root,
            false,
        ));
    }

    let proof = |old: u64, new: u64| oracle.consistency(old as usize, new as usize);
    for (old, new) in [
        (0, 0),
        (0, 7),
        (1, 1),
        (1, 2),
        (1, 7),
        (2, 3),
        (3, 4),
        (3, 7),
        (4, 7),
        (4, 8),
        (6, 7),
        (6, 8),
        (7, 8),
        (7, 7),
        (255, 256),
        (256, 257),
        (100, 1000),
        (512, 1000),
        (999, 1000),
    ] {
        cases.push(consistency(
            &format!("{old} to {new}"),
            "PROOF(m, D[n])",
            (old, root(old)),
            (new, root(new)),
            &proof(old, new),
            true,
        ));
    }
    let longer = [proof(3, 7), vec![Hash([0; 32])]].concat();
    let with_old_root = [vec![root(4)], proof(4, 7)].concat();
    for (name, why, old, new, proof) in [
        (
            "other old root",
            "the proof leads to another old root",
            (3, root(4)),
            (7, root(7)),
            proof(3, 7),
        ),
        (
            "other new root",
            "the proof leads to another new root",
            (3, root(3)),
            (7, root(6)),
            proof(3, 7),
        ),
        (
            "hash missing",
            "the length follows from the sizes",
            (3, root(3)),
            (7, root(7)),
            proof(3, 7)[1..].to_vec(),
        ),
        (
            "hash too many",
            "the length follows from the sizes",
            (3, root(3)),
            (7, root(7)),
            longer,
        ),
        (
            "old root repeated",
            "where the old tree is perfect, its root is not in the proof",
            (4, root(4)),
            (7, root(7)),
            with_old_root,
        ),
        (
            "no proof",
            "3 is not perfect, so the proof is not empty",
            (3, root(3)),
            (7, root(7)),
            vec![],
        ),
        (
            "shrunk",
            "a log only grows",
            (7, root(7)),
            (3, root(3)),
            proof(3, 7),
        ),
        (
            "same size, other root",
            "two trees of one size are one tree",
            (7, root(7)),
            (7, root(6)),
            vec![],
        ),
        (
            "same size, a hash",
            "the proof from a tree to itself is empty",
            (7, root(7)),
            (7, root(7)),
            vec![root(7)],
        ),
        (
            "empty tree, other root",
            "the empty tree has one root",
            (0, root(1)),
            (7, root(7)),
            vec![],
        ),
        (
            "empty tree, a hash",
            "the proof from the empty tree is empty",
            (0, root(0)),
            (7, root(7)),
            vec![root(7)],
        ),
        (
            "largest sizes",
            "64 bits do not overflow",
            (u64::MAX - 1, root(3)),
            (u64::MAX, root(7)),
            vec![root(1); 64],
        ),
    ] {
        cases.push(consistency(name, why, old, new, &proof, false));
    }
    cases
}

#[test]
fn merkle_vectors() {
    for case in vector_cases(
        "merkle.json",
        MERKLE_ABOUT,
        &merkle_cases(&Oracle::new(1000)),
    ) {
        let valid = match case["kind"].as_str().unwrap() {
            "leaf" => leaf_hash(&bytes(&case["entry"])) == hash(&case["expected"]),
            "root" => {
                let mut range = CompactRange::new();
                (0..number(&case["size"]))
                    .for_each(|i| range.push(leaf_hash(entry(i as usize).as_bytes())));
                range.root() == hash(&case["expected"])
            }
            "inclusion" => verify_inclusion(
                &hash(&case["leaf"]),
                number(&case["index"]),
                number(&case["size"]),
                &hashes(&case["proof"]),
                &hash(&case["root"]),
            )
            .is_ok(),
            "consistency" => {
                let (old, new) = (number(&case["old_size"]), number(&case["new_size"]));
                verify_consistency(
                    old,
                    &hash(&case["old_root"]),
                    new,
                    &hash(&case["new_root"]),
                    &hashes(&case["proof"]),
                )
                .is_ok()
            }
            other => panic!("kind {other}"),
        };
        assert_eq!(
            valid,
            case["valid"].as_bool().unwrap(),
            "{} {}: {}",
            case["kind"],
            case["name"],
            case["why"]
        );
    }
}

// ---- tiles.json

const TILES_ABOUT: &str = "C2SP tlog-tiles. Indices and sizes are decimal strings, hashes and bytes hex. Levels are 0 to 7: trees have less than 2^64 leaves. \
kind `path`: `path` is the name of a tile (`level` 0 to 7) or of an entry bundle (`level` is `entries`). \
kind `tree`: every tile and bundle of a tree of `size` leaves. kind `edge`: its right-edge partial tiles. kind `growth`: the tiles and bundles of `new_size` that `old_size` lacks. \
kind `inclusion` / `consistency`: the tiles from which the proof is made and authenticated. \
kind `bundle`: the entries of a bundle of `width` entries. \
kind `authenticate`: whether every hash of every one of `tiles` (path to bytes) is proven to be of the tree of `size` and `root`; entry i is the ASCII text `entry <i>`.";

fn list(names: impl IntoIterator<Item = impl ToString>) -> Vec<String> {
    names.into_iter().map(|name| name.to_string()).collect()
}

fn tile_cases(oracle: &Oracle) -> Vec<Value> {
    let mut cases = vec![];
    for (level, index, width, path) in [
        ("0", 0, 256, "tile/0/000"),
        ("0", 1067, 256, "tile/0/x001/067"),
        ("0", 1_234_067, 256, "tile/0/x001/x234/067"),
        ("4", 999, 1, "tile/4/999.p/1"),
        ("1", 1000, 255, "tile/1/x001/000.p/255"),
        ("7", 0, 42, "tile/7/000.p/42"),
        (
            "0",
            (1_u64 << 56) - 1,
            256,
            "tile/0/x072/x057/x594/x037/x927/935",
        ),
        ("entries", 0, 256, "tile/entries/000"),
        ("entries", 1_234_067, 8, "tile/entries/x001/x234/067.p/8"),
    ] {
        cases.push(json!({ "kind": "path", "name": path, "why": "zero-padded elements of three digits", "valid": true, "path": path, "expected": { "level": level, "index": index.to_string(), "width": width } }));
    }
    for (path, why) in [
        ("tile/0/0", "three digits"),
        ("tile/0/1067", "three digits an element"),
        ("tile/0/x000/067", "no element more than needed"),
        ("tile/0/001/067", "all but the last begin with an x"),
        ("tile/0/x001/x067", "the last does not"),
        ("tile/0/x001", "the last does not"),
        ("tile/0/067.p/0", "partial widths are 1 to 255"),
        ("tile/0/067.p/256", "a full tile has no suffix"),
        ("tile/0/067.p/01", "no leading zeroes"),
        ("tile/00/067", "no leading zeroes"),
        ("tile/+1/067", "digits only"),
        ("tile/0/+67", "digits only"),
        ("tile/8/000", "no tree of less than 2^64 leaves has level 8"),
        ("tile/7/001", "beyond 2^64 leaves"),
        ("tile/0/x072/x057/x594/x037/x927/936", "beyond 2^64 leaves"),
        ("tile/0/067/", "nothing behind"),
        ("/tile/0/067", "nothing before"),
        ("tile/data/000", "entries, not data"),
        ("tile/entries/0", "three digits"),
        ("tile/entries/000.p/256", "a full bundle has no suffix"),
    ] {
        cases.push(json!({ "kind": "path", "name": path, "why": why, "valid": false, "path": path, "expected": null }));
    }
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 513, 600, 70_000_u64] {
        cases.push(json!({ "kind": "tree", "name": format!("{size} leaves"), "why": "floor(size / 256^level) hashes a level", "valid": true, "size": size.to_string(), "expected": { "tiles": list(tiles(size)), "bundles": list(bundles(size)) } }));
    }
    for size in [0, 1, 256, 70_000, 65_536, 1 << 40, u64::MAX] {
        cases.push(json!({ "kind": "edge", "name": format!("{size} leaves"), "why": "floor(size / 256^level) mod 256", "valid": true, "size": size.to_string(), "expected": list(edge_tiles(size)) }));
    }
    for (old, new) in [
        (0, 1),
        (0, 600),
        (1, 1),
        (1, 2),
        (255, 256),
        (256, 257),
        (200, 300),
        (65_535, 65_536),
        (65_536, 70_000),
        (u64::MAX - 1, u64::MAX),
    ] {
        cases.push(json!({ "kind": "growth", "name": format!("{old} to {new}"), "why": "partial tiles of sizes in between are not made", "valid": true, "old_size": old.to_string(), "new_size": new.to_string(), "expected": { "tiles": list(new_tiles(old, new)), "bundles": list(new_bundles(old, new)) } }));
    }
    for (index, size) in [
        (0, 1),
        (0, 257),
        (256, 257),
        (300, 600),
        (0, 70_000),
        (69_999, 70_000),
        (0, u64::MAX),
        (1 << 63, u64::MAX),
    ] {
        cases.push(json!({ "kind": "inclusion", "name": format!("{index} in {size}"), "why": "the right edge, and the full tiles on the way to it", "valid": true, "index": index.to_string(), "size": size.to_string(), "expected": list(inclusion_tiles(index, size)) }));
    }
    for (old, new) in [
        (0, 600),
        (1, 600),
        (256, 600),
        (600, 600),
        (300, 70_000),
        (65_536, 70_000),
        (1, u64::MAX),
        (1 << 63, u64::MAX),
    ] {
        cases.push(json!({ "kind": "consistency", "name": format!("{old} to {new}"), "why": "the right edge, and the full tiles on the way of the old tree's last subtree to it", "valid": true, "old_size": old.to_string(), "new_size": new.to_string(), "expected": list(consistency_tiles(old, new)) }));
    }
    let entries: [&[u8]; 3] = [b"one", b"", b"\x00\x05"];
    let bundle = encode_bundle(entries.into_iter()).unwrap();
    let longer = [bundle.clone(), vec![0]].concat();
    for (name, why, width, bytes, valid) in [
        (
            "three entries",
            "u16 length and bytes",
            3,
            &bundle[..],
            true,
        ),
        ("256 empty entries", "a full bundle", 256, &[0; 512], true),
        (
            "one entry less",
            "bytes behind the last entry",
            2,
            &bundle,
            false,
        ),
        ("one entry more", "ends within an entry", 4, &bundle, false),
        (
            "cut",
            "ends within an entry",
            3,
            &bundle[..bundle.len() - 1],
            false,
        ),
        (
            "one byte more",
            "bytes behind the last entry",
            3,
            &longer,
            false,
        ),
        ("half a length", "ends within an entry", 1, &[0], false),
        ("width 0", "a bundle has 1 to 256 entries", 0, &[], false),
        (
            "width 257",
            "a bundle has 1 to 256 entries",
            257,
            &[0; 514],
            false,
        ),
    ] {
        let expected = valid.then(|| {
            decode_bundle(bytes, width)
                .unwrap()
                .into_iter()
                .map(hex::encode)
                .collect::<Vec<_>>()
        });
        cases.push(json!({ "kind": "bundle", "name": name, "why": why, "valid": valid, "width": width, "bytes": hex::encode(bytes), "expected": expected }));
    }
    cases.extend(authenticate_cases(oracle));
    cases
}

fn authenticate_cases(oracle: &Oracle) -> Vec<Value> {
    let honest = |plan: Vec<TileId>| {
        plan.into_iter()
            .map(|id| (id.path(), oracle.tile(id)))
            .collect::<Vec<_>>()
    };
    let case = |name: &str,
                why: &str,
                size: u64,
                root: Hash,
                files: Vec<(String, Vec<u8>)>,
                valid: bool| {
        let files: serde_json::Map<String, Value> = files
            .into_iter()
            .map(|(path, bytes)| (path, hex::encode(bytes).into()))
            .collect();
        json!({ "kind": "authenticate", "name": name, "why": why, "valid": valid, "size": size.to_string(), "root": root.to_string(), "tiles": files })
    };
    let root = |size: u64| oracle.root(size as usize);
    let edge = |size: u64| honest(edge_tiles(size));
    let with_full = || honest(inclusion_tiles(0, 259));
    let altered = |mut files: Vec<(String, Vec<u8>)>, at: usize, byte: usize| {
        files[at].1[byte] ^= 1;
        files
    };
    let renamed = |mut files: Vec<(String, Vec<u8>)>, at: usize, path: &str| {
        files[at].0 = path.to_owned();
        files
    };
    let longer = |mut files: Vec<(String, Vec<u8>)>| {
        files[0].1.extend([0; 32]);
        files
    };
    vec![
        case("empty tree", "no tiles", 0, root(0), vec![], true),
        case(
            "5 leaves",
            "the right edge makes the root",
            5,
            root(5),
            edge(5),
            true,
        ),
        case(
            "256 leaves",
            "the only hash of level 1 is the root",
            256,
            root(256),
            edge(256),
            true,
        ),
        case(
            "259 leaves",
            "a full tile and the one above it",
            259,
            root(259),
            with_full(),
            true,
        ),
        case(
            "full tile left out",
            "only what is given is proven",
            259,
            root(259),
            edge(259),
            true,
        ),
        case(
            "empty tree, other root",
            "the empty tree has one root",
            0,
            root(1),
            vec![],
            false,
        ),
        case(
            "other root",
            "the right edge makes another root",
            5,
            root(6),
            edge(5),
            false,
        ),
        case(
            "last hash altered",
            "the right edge makes another root",
            5,
            root(5),
            altered(edge(5), 0, 159),
            false,
        ),
        case(
            "first hash of a full tile altered",
            "the tile does not make its hash in the tile above",
            259,
            root(259),
            altered(with_full(), 0, 0),
            false,
        ),
        case(
            "last hash of a full tile altered",
            "the tile does not make its hash in the tile above",
            259,
            root(259),
            altered(with_full(), 0, 8191),
            false,
        ),
        case(
            "tile above altered",
            "the right edge makes another root",
            259,
            root(259),
            altered(with_full(), 2, 3),
            false,
        ),
        case(
            "edge tile missing",
            "the right edge is needed whole",
            259,
            root(259),
            with_full()
                .into_iter()
                .filter(|(path, _)| path != "tile/1/000.p/1")
                .collect(),
            false,
        ),
        case(
            "other width in the name",
            "the size fixes the width",
            5,
            root(5),
            renamed(edge(5), 0, "tile/0/000.p/4"),
            false,
        ),
        case(
            "one hash too many",
            "the width fixes the length",
            5,
            root(5),
            longer(edge(5)),
            false,
        ),
        case(
            "tile beyond the tree",
            "a tree of 5 leaves has one tile",
            5,
            root(5),
            [edge(5), vec![("tile/1/000.p/1".to_owned(), vec![0; 32])]].concat(),
            false,
        ),
        case(
            "other size",
            "the size fixes the tiles",
            6,
            root(5),
            edge(5),
            false,
        ),
    ]
}

#[test]
fn tile_vectors() {
    for case in vector_cases("tiles.json", TILES_ABOUT, &tile_cases(&Oracle::new(600))) {
        let (name, valid) = (
            format!("{} {}: {}", case["kind"], case["name"], case["why"]),
            case["valid"].as_bool().unwrap(),
        );
        let size = |member: &str| number(&case[member]);
        let got = match case["kind"].as_str().unwrap() {
            "path" => read_path(case["path"].as_str().unwrap()),
            "tree" => Some(
                json!({ "tiles": list(tiles(size("size"))), "bundles": list(bundles(size("size"))) }),
            ),
            "edge" => Some(json!(list(edge_tiles(size("size"))))),
            "growth" => Some(
                json!({ "tiles": list(new_tiles(size("old_size"), size("new_size"))), "bundles": list(new_bundles(size("old_size"), size("new_size"))) }),
            ),
            "inclusion" => Some(json!(list(inclusion_tiles(size("index"), size("size"))))),
            "consistency" => Some(json!(list(consistency_tiles(
                size("old_size"),
                size("new_size")
            )))),
            "bundle" => {
                let bytes = bytes(&case["bytes"]);
                let entries = decode_bundle(&bytes, case["width"].as_u64().unwrap() as u16);
                entries
                    .ok()
                    .map(|entries| entries.into_iter().map(hex::encode).collect())
            }
            "authenticate" => {
                let files = case["tiles"]
                    .as_object()
                    .unwrap()
                    .iter()
                    .map(|(path, hex)| (TileId::parse_path(path).unwrap(), bytes(hex)));
                Tiles::authenticate(size("size"), &hash(&case["root"]), files)
                    .ok()
                    .map(|_| Value::Null)
            }
            other => panic!("kind {other}"),
        };
        assert_eq!(got.is_some(), valid, "{name}");
        assert_eq!(got.unwrap_or(Value::Null), case["expected"], "{name}");
    }
}

fn read_path(path: &str) -> Option<Value> {
    if let Ok(id) = TileId::parse_path(path) {
        assert_eq!(id.path(), path);
        return Some(
            json!({ "level": id.level().to_string(), "index": id.index().to_string(), "width": id.width() }),
        );
    }
    let id = BundleId::parse_path(path).ok()?;
    assert_eq!(id.path(), path);
    Some(json!({ "level": "entries", "index": id.index().to_string(), "width": id.width() }))
}
