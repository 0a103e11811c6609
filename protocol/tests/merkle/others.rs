//! Roots and proofs as `ct-merkle`, `rs_merkle` and `tlog_tiles` make them: all sizes up to 300.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use protocol::merkle::tile::{Tiles, consistency_tiles, inclusion_tiles, new_tiles, tiles};
use protocol::merkle::{
    CompactRange, Hash, empty_root, leaf_hash, verify_consistency, verify_inclusion,
};
use sha2::{Digest, Sha256};

use crate::oracle::{Oracle, entry};

const SIZES: usize = 300;

/// RFC 6962 hashing for `rs_merkle`, whose leaves are given hashed; it lifts a last odd node, which makes the same tree.
#[derive(Clone)]
struct Rfc6962;

impl rs_merkle::Hasher for Rfc6962 {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> [u8; 32] {
        Sha256::digest([&[1], data].concat()).into()
    }
}

#[test]
fn the_naive_oracle_agrees_with_a_known_answer() {
    // The tree over the eight entries of the test data that accompanies RFC 6962 implementations.
    let entries = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    let mut range = CompactRange::new();
    for entry in entries {
        range.push(leaf_hash(&hex::decode(entry).unwrap()));
    }
    assert_eq!(
        range.root().to_string(),
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    );
    assert_eq!(
        empty_root().to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

#[test]
fn ct_merkle_makes_the_same_roots_and_proofs() {
    let oracle = Oracle::new(SIZES);
    let mut theirs = MemoryBackedTree::<Sha256, String>::new();
    let mut ours = CompactRange::new();
    for n in 1..=SIZES {
        theirs.push(entry(n - 1));
        ours.push(leaf_hash(entry(n - 1).as_bytes()));
        let root = ours.root();
        assert_eq!(
            root.as_ref(),
            theirs.root().as_bytes().as_slice(),
            "root of {n}"
        );
        for index in 0..n {
            let proof = hashes(theirs.prove_inclusion(index).as_bytes());
            assert_eq!(proof, oracle.path(index, n), "{index} in {n}");
            verify_inclusion(
                &oracle.leaves()[index],
                index as u64,
                n as u64,
                &proof,
                &root,
            )
            .unwrap();
        }
        for old in 1..n {
            let proof = hashes(theirs.prove_consistency(n - old).as_bytes());
            assert_eq!(proof, oracle.consistency(old, n), "{old} to {n}");
            verify_consistency(old as u64, &oracle.root(old), n as u64, &root, &proof).unwrap();
        }
    }
}

#[test]
fn ct_merkle_accepts_the_proofs_that_we_make_from_tiles() {
    let oracle = Oracle::new(SIZES);
    let mut theirs = MemoryBackedTree::<Sha256, String>::new();
    let mut roots = vec![];
    for n in 1..=SIZES {
        theirs.push(entry(n - 1));
        let root = theirs.root();
        let read = |plan: Vec<_>| plan.into_iter().map(|id| (id, oracle.tile(id)));
        for index in 0..n {
            let tiles = Tiles::authenticate(
                n as u64,
                &oracle.root(n),
                read(inclusion_tiles(index as u64, n as u64)),
            )
            .unwrap();
            let proof = tiles.inclusion_proof(index as u64).unwrap();
            let proof = ct_merkle::InclusionProof::try_from_bytes(bytes(&proof)).unwrap();
            root.verify_inclusion(&entry(index), index as u64, &proof)
                .unwrap();
        }
        for old in 1..n {
            let tiles = Tiles::authenticate(
                n as u64,
                &oracle.root(n),
                read(consistency_tiles(old as u64, n as u64)),
            )
            .unwrap();
            let proof = tiles.consistency_proof(old as u64).unwrap();
            let proof = ct_merkle::ConsistencyProof::try_from_bytes(bytes(&proof)).unwrap();
            let old_root: &ct_merkle::RootHash<Sha256> = &roots[old - 1];
            root.verify_consistency(old_root, &proof).unwrap();
        }
        roots.push(root);
    }
}

#[test]
fn rs_merkle_makes_the_same_roots_and_inclusion_proofs() {
    let oracle = Oracle::new(SIZES);
    let leaves: Vec<[u8; 32]> = oracle.leaves().iter().map(|leaf| leaf.0).collect();
    for n in 1..=SIZES {
        let theirs = rs_merkle::MerkleTree::<Rfc6962>::from_leaves(&leaves[..n]);
        let root = Hash(theirs.root().unwrap());
        assert_eq!(root, oracle.root(n), "root of {n}");
        for index in 0..n {
            let proof: Vec<Hash> = theirs
                .proof(&[index])
                .proof_hashes()
                .iter()
                .copied()
                .map(Hash)
                .collect();
            verify_inclusion(
                &oracle.leaves()[index],
                index as u64,
                n as u64,
                &proof,
                &root,
            )
            .unwrap();
        }
    }
}

/// All stored hashes of a growing tree, as `tlog_tiles` numbers them.
#[derive(Default)]
struct Stored(Vec<tlog_tiles::Hash>);

impl tlog_tiles::HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes
            .iter()
            .map(|index| self.0[*index as usize])
            .collect())
    }
}

#[test]
fn tlog_tiles_makes_the_same_roots_proofs_and_tiles() {
    const TILE_SIZES: u64 = 600;
    let oracle = Oracle::new(TILE_SIZES as usize);
    let mut stored = Stored::default();
    for n in 1..=TILE_SIZES {
        let more =
            tlog_tiles::stored_hashes(n - 1, entry(n as usize - 1).as_bytes(), &stored).unwrap();
        stored.0.extend(more);
        assert_eq!(
            tlog_tiles::tree_hash(n, &stored).unwrap().0,
            oracle.root(n as usize).0
        );
        if n <= SIZES as u64 {
            for index in 0..n {
                let proof = tlog_tiles::prove_record(n, index, &stored).unwrap();
                assert_eq!(theirs(&proof), oracle.path(index as usize, n as usize));
            }
            for old in 1..n {
                let proof = tlog_tiles::prove_tree(n, old, &stored).unwrap();
                assert_eq!(theirs(&proof), oracle.consistency(old as usize, n as usize));
            }
        }
        for id in tiles(n) {
            let tile =
                tlog_tiles::Tile::new(8, id.level(), id.index(), u32::from(id.width()), false);
            assert_eq!(
                tile.read_data(&stored).unwrap(),
                oracle.tile(id),
                "{id} of {n}"
            );
        }
    }
}

#[test]
fn tlog_tiles_names_the_same_new_tiles() {
    let sizes = [
        0, 1, 2, 255, 256, 257, 511, 512, 600, 65_535, 65_536, 65_537, 65_792, 70_000, 131_072,
        131_073,
    ];
    for (i, &old) in sizes.iter().enumerate() {
        for &new in &sizes[i..] {
            let mut theirs: Vec<_> = tlog_tiles::Tile::new_tiles(8, old, new)
                .iter()
                .map(|t| (t.level(), t.level_index(), t.width()))
                .collect();
            theirs.sort_unstable();
            let ours: Vec<_> = new_tiles(old, new)
                .iter()
                .map(|t| (t.level(), t.index(), u32::from(t.width())))
                .collect();
            assert_eq!(ours, theirs, "{old} to {new}");
        }
    }
}

fn theirs(proof: &[tlog_tiles::Hash]) -> Vec<Hash> {
    proof.iter().map(|hash| Hash(hash.0)).collect()
}

fn hashes(bytes: &[u8]) -> Vec<Hash> {
    bytes
        .chunks(32)
        .map(|hash| Hash(hash.try_into().unwrap()))
        .collect()
}

fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}
