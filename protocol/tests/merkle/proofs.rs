//! Proofs: what is right is accepted, and anything else is refused.

use proptest::prelude::*;
use protocol::merkle::tile::{Tiles, consistency_tiles, inclusion_tiles};
use protocol::merkle::{
    CompactRange, Hash, ProofError, RangeError, empty_root, verify_consistency, verify_inclusion,
};

use crate::oracle::{Oracle, node};

const SIZES: usize = 300;

fn altered(hash: &Hash) -> Hash {
    let mut hash = *hash;
    hash.0[31] ^= 1;
    hash
}

/// Every way of spoiling a list of hashes by one hash.
fn spoiled(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = vec![];
    for at in 0..proof.len() {
        let mut changed = proof.to_vec();
        changed[at] = altered(&changed[at]);
        all.push(changed);
        let mut shorter = proof.to_vec();
        shorter.remove(at);
        all.push(shorter);
        let mut swapped = proof.to_vec();
        swapped.swap(at, 0);
        if swapped != proof {
            all.push(swapped);
        }
    }
    let mut longer = proof.to_vec();
    longer.push(Hash([0; 32]));
    all.push(longer);
    all
}

#[test]
fn every_inclusion_proof_up_to_300_holds_and_no_spoiled_one_does() {
    let oracle = Oracle::new(SIZES);
    for n in 1..=SIZES {
        let root = oracle.root(n);
        for index in 0..n {
            let leaf = oracle.leaves()[index];
            let check = |leaf: &Hash, index: usize, n: usize, proof: &[Hash], root: &Hash| {
                verify_inclusion(leaf, index as u64, n as u64, proof, root)
            };
            let proof = oracle.path(index, n);
            check(&leaf, index, n, &proof, &root).unwrap();
            for spoiled in spoiled(&proof) {
                check(&leaf, index, n, &spoiled, &root).unwrap_err();
            }
            check(&altered(&leaf), index, n, &proof, &root).unwrap_err();
            check(&leaf, index, n, &proof, &altered(&root)).unwrap_err();
            // The same proof for a neighbouring index, or for the end of the tree.
            check(&leaf, index + 1, n, &proof, &root).unwrap_err();
            check(&leaf, index ^ 1, n, &proof, &root).unwrap_err();
            check(&leaf, n, n, &proof, &root).unwrap_err();
        }
    }
}

#[test]
fn every_consistency_proof_up_to_300_holds_and_no_spoiled_one_does() {
    let oracle = Oracle::new(SIZES);
    let check = |old: usize, old_root: &Hash, new: usize, new_root: &Hash, proof: &[Hash]| {
        verify_consistency(old as u64, old_root, new as u64, new_root, proof)
    };
    for new in 0..=SIZES {
        let new_root = oracle.root(new);
        for old in 0..=new {
            let old_root = oracle.root(old);
            let proof = oracle.consistency(old, new);
            check(old, &old_root, new, &new_root, &proof).unwrap();
            for spoiled in spoiled(&proof) {
                check(old, &old_root, new, &new_root, &spoiled).unwrap_err();
            }
            check(old, &altered(&old_root), new, &new_root, &proof).unwrap_err();
            if old > 0 {
                // Every tree starts with the empty tree, so there the new root is not judged.
                check(old, &old_root, new, &altered(&new_root), &proof).unwrap_err();
            }
            if old < new {
                check(new, &new_root, old, &old_root, &proof).unwrap_err();
            }
        }
    }
}

#[test]
fn the_proof_says_nothing_about_a_tree_that_is_not_there() {
    let hash = Hash([7; 32]);
    assert_eq!(
        verify_inclusion(&hash, 0, 0, &[], &hash),
        Err(ProofError::IndexBeyondSize { index: 0, size: 0 })
    );
    assert_eq!(
        verify_consistency(0, &hash, 5, &hash, &[]),
        Err(ProofError::OldRoot)
    );
    assert_eq!(
        verify_consistency(0, &hash, 0, &hash, &[]),
        Err(ProofError::OldRoot)
    );
    assert_eq!(
        verify_consistency(0, &empty_root(), 0, &hash, &[]),
        Err(ProofError::Root)
    );
    verify_consistency(0, &empty_root(), 0, &empty_root(), &[]).unwrap();
}

/// Hashing alone does not bind the size: a proof with one step more leads to the roots of taller trees, which a forger can make. Its length gives it away.
#[test]
fn a_longer_climb_to_a_root_made_for_it_is_refused() {
    let oracle = Oracle::new(64);
    let top = Hash([5; 32]);
    let longer = |proof: Vec<Hash>| [proof, vec![top]].concat();
    for n in 1..=64 {
        let root = node(&top, &oracle.root(n));
        for index in 0..n {
            let proof = longer(oracle.path(index, n));
            let (want, got) = (proof.len() - 1, proof.len());
            let refused = verify_inclusion(
                &oracle.leaves()[index],
                index as u64,
                n as u64,
                &proof,
                &root,
            );
            assert_eq!(refused, Err(ProofError::Length { want, got }));
        }
        // Where the old tree is perfect, the climb starts at its own root, which a step on the left changes.
        for old in (1..n).filter(|old| !old.is_power_of_two()) {
            let proof = longer(oracle.consistency(old, n));
            let old_root = node(&top, &oracle.root(old));
            let refused = verify_consistency(old as u64, &old_root, n as u64, &root, &proof);
            let (want, got) = (proof.len() - 1, proof.len());
            assert_eq!(
                refused,
                Err(ProofError::Length { want, got }),
                "{old} to {n}"
            );
        }
    }
}

#[test]
fn compact_ranges_keep_the_root_and_come_back_from_their_nodes() {
    let oracle = Oracle::new(SIZES);
    let mut range = CompactRange::new();
    for n in 0..=SIZES {
        assert_eq!((range.size(), range.root()), (n as u64, oracle.root(n)));
        let nodes = range.nodes().to_vec();
        assert_eq!(
            CompactRange::from_nodes(n as u64, nodes.clone()).unwrap(),
            range
        );
        let missing = CompactRange::from_nodes(n as u64 * 2 + 1, nodes);
        assert!(matches!(missing, Err(RangeError::NodeCount { .. })));
        if n < SIZES {
            range.push(oracle.leaves()[n]);
        }
    }
    assert_eq!(
        CompactRange::from_nodes(1 << 63, vec![Hash([0; 32])]),
        Err(RangeError::Size { size: 1 << 63 })
    );
    // The largest range that can be restored still grows.
    let mut largest = CompactRange::from_nodes((1 << 63) - 1, vec![Hash([0; 32]); 63]).unwrap();
    largest.push(Hash([1; 32]));
    largest.push(Hash([2; 32]));
    assert_eq!((largest.size(), largest.nodes().len()), ((1 << 63) + 1, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Beyond the exhaustive sizes: the proofs made from tiles are RFC 6962's, and verify.
    #[test]
    fn proofs_from_tiles_are_the_rfcs(new in 1_usize..5000, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let oracle = Oracle::new(new);
        let root = oracle.root(new);
        let index = a.index(new);
        let read = |plan: Vec<_>| plan.into_iter().map(|id| (id, oracle.tile(id))).collect::<Vec<_>>();

        let tiles = Tiles::authenticate(new as u64, &root, read(inclusion_tiles(index as u64, new as u64))).unwrap();
        let proof = tiles.inclusion_proof(index as u64).unwrap();
        prop_assert_eq!(tiles.leaf(index as u64).unwrap(), oracle.leaves()[index]);
        prop_assert_eq!(&proof, &oracle.path(index, new));
        prop_assert!(verify_inclusion(&oracle.leaves()[index], index as u64, new as u64, &proof, &root).is_ok());

        let old = b.index(new + 1);
        let tiles = Tiles::authenticate(new as u64, &root, read(consistency_tiles(old as u64, new as u64))).unwrap();
        let proof = tiles.consistency_proof(old as u64).unwrap();
        prop_assert_eq!(&proof, &oracle.consistency(old, new));
        prop_assert_eq!(tiles.root_at(old as u64).unwrap(), oracle.root(old));
        prop_assert!(verify_consistency(old as u64, &oracle.root(old), new as u64, &root, &proof).is_ok());
    }

    /// Any numbers and hashes at all: no panic, no overflow, and nothing is proven.
    #[test]
    fn arbitrary_proofs_are_refused(a in any::<u64>(), b in any::<u64>(), len in 0_usize..80) {
        let hash = Hash([9; 32]);
        let proof = vec![Hash([3; 32]); len];
        prop_assert!(verify_inclusion(&hash, a, b, &proof, &hash).is_err() || (a, b, len) == (0, 1, 0));
        prop_assert!(verify_consistency(a, &hash, b, &hash, &proof).is_err() || (a == b && len == 0));
    }
}
