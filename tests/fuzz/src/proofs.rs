//! Proofs and tiles, against RFC 6962 and tlog-tiles written down naively.

use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};
use protocol::merkle::tile::{
    BundleId, Edge, TileId, Tiles, bundles, consistency_tiles, edge_tiles, inclusion_tiles,
    new_bundles, new_tiles, tiles,
};
use protocol::merkle::{CompactRange, Hash, verify_consistency, verify_inclusion};

use crate::oracle::Oracle;

/// Leaves of the tree that right proofs are made in: several tiles on the lowest level, and one above.
const LEAVES: usize = 1_100;

thread_local! {
    static TREE: Oracle = Oracle::new(LEAVES);
}

/// Proves and authenticates, rightly and wrongly.
pub fn proofs(data: &[u8]) {
    let mut u = Unstructured::new(data);
    // Bytes that end too early are no input of interest.
    let _ = TREE.with(|tree| check(&mut u, tree));
}

fn check(u: &mut Unstructured<'_>, tree: &Oracle) -> Result<()> {
    match u.int_in_range(0..=6)? {
        0 => inclusion(u, tree),
        1 => consistency(u, tree),
        2 => authenticate(u, tree),
        3 => edge(u, tree),
        4 => paths(u),
        5 => sizes(u),
        _ => strange(u),
    }
}

fn size(u: &mut Unstructured<'_>, from: usize, to: usize) -> Result<usize> {
    u.int_in_range(from..=to)
}

/// A hash that may be mistaken for another one: of any range of the tree, or any bytes.
fn hash(u: &mut Unstructured<'_>, tree: &Oracle) -> Result<Hash> {
    if u.arbitrary()? {
        return Ok(Hash(u.arbitrary()?));
    }
    let start = size(u, 0, LEAVES - 1)?;
    let end = size(u, start, LEAVES)?;
    Ok(tree.mth(start, end))
}

/// Changes a list of hashes; perhaps not at all.
fn edit(u: &mut Unstructured<'_>, tree: &Oracle, proof: &mut Vec<Hash>) -> Result<()> {
    for _ in 0..u.int_in_range(0..=3)? {
        let at = size(u, 0, proof.len())?;
        match u.int_in_range(0..=4)? {
            0 => proof.insert(at, hash(u, tree)?),
            _ if at == proof.len() => {}
            1 => proof[at] = hash(u, tree)?,
            2 => drop(proof.remove(at)),
            3 => proof[at].0[size(u, 0, 31)?] ^= 1 << size(u, 0, 7)?,
            _ => {
                let with = size(u, 0, proof.len() - 1)?;
                proof.swap(at, with);
            }
        }
    }
    Ok(())
}

fn inclusion(u: &mut Unstructured<'_>, tree: &Oracle) -> Result<()> {
    let n = size(u, 1, LEAVES)?;
    let of = size(u, 0, n - 1)?;
    let mut proof = tree.path(of, n);
    edit(u, tree, &mut proof)?;
    // Perhaps for another leaf, at another place.
    let index = if u.arbitrary()? { size(u, 0, n)? } else { of };
    let leaf = if u.arbitrary()? {
        hash(u, tree)?
    } else {
        tree.leaves()[of]
    };
    let right = index < n && leaf == tree.leaves()[index] && proof == tree.path(index, n);
    assert_eq!(
        verify_inclusion(&leaf, index as u64, n as u64, &proof, &tree.root(n)).is_ok(),
        right
    );
    Ok(())
}

fn consistency(u: &mut Unstructured<'_>, tree: &Oracle) -> Result<()> {
    let n = size(u, 0, LEAVES)?;
    let m = size(u, 0, n)?;
    let mut proof = tree.consistency(m, n);
    edit(u, tree, &mut proof)?;
    let old = if u.arbitrary()? {
        hash(u, tree)?
    } else {
        tree.root(m)
    };
    let right = old == tree.root(m) && proof == tree.consistency(m, n);
    assert_eq!(
        verify_consistency(m as u64, &old, n as u64, &tree.root(n), &proof).is_ok(),
        right
    );
    Ok(())
}

fn authenticate(u: &mut Unstructured<'_>, tree: &Oracle) -> Result<()> {
    let n = size(u, 1, LEAVES)?;
    let (index, m) = (size(u, 0, n - 1)?, size(u, 0, n)?);
    let needed: BTreeSet<TileId> = inclusion_tiles(index as u64, n as u64)
        .into_iter()
        .chain(consistency_tiles(m as u64, n as u64))
        .collect();
    let right: Vec<(TileId, Vec<u8>)> = needed.iter().map(|id| (*id, tree.tile(*id))).collect();
    let mut given = right.clone();
    for _ in 0..u.int_in_range(0..=3)? {
        let (at, of) = (size(u, 0, given.len())?, given.len());
        match u.int_in_range(0..=5)? {
            _ if at == of => {}
            0 => drop(given.remove(at)),
            1 => given.push(given[at].clone()),
            2 => given[at].1.truncate(u.arbitrary_len::<u8>()?),
            3 => given[at].1 = right[size(u, 0, right.len() - 1)?].1.clone(),
            4 => given[at].0 = right[size(u, 0, right.len() - 1)?].0,
            _ => {
                let bytes = &mut given[at].1;
                if !bytes.is_empty() {
                    let byte = size(u, 0, bytes.len() - 1)?;
                    bytes[byte] ^= 1 << size(u, 0, 7)?;
                }
            }
        }
    }
    let root = tree.root(n);
    let proven = Tiles::authenticate(n as u64, &root, given.clone());
    let Ok(proven) = proven else {
        assert_ne!(given, right, "{proven:?}");
        return Ok(());
    };
    for (id, bytes) in &given {
        assert_eq!(*bytes, tree.tile(*id), "a forged tile was taken");
    }
    let same = |ours: Option<Vec<Hash>>, theirs: Vec<Hash>| {
        // Where a tile was left out there is no proof; there is never a wrong one.
        assert!(ours.is_none() && given != right || ours == Some(theirs));
    };
    same(
        proven.inclusion_proof(index as u64).ok(),
        tree.path(index, n),
    );
    same(
        proven.consistency_proof(m as u64).ok(),
        tree.consistency(m, n),
    );
    same(
        proven.root_at(m as u64).ok().map(|root| vec![root]),
        vec![tree.root(m)],
    );
    same(
        proven.leaf(index as u64).ok().map(|leaf| vec![leaf]),
        vec![tree.leaves()[index]],
    );
    Ok(())
}

fn edge(u: &mut Unstructured<'_>, tree: &Oracle) -> Result<()> {
    let n = size(u, 0, LEAVES)?;
    let claimed = if u.arbitrary()? {
        size(u, 0, LEAVES)?
    } else {
        n
    };
    let ids = edge_tiles(n as u64);
    let restored = Edge::from_tiles(
        claimed as u64,
        &tree.root(claimed),
        ids.iter().map(|id| (*id, tree.tile(*id))),
    );
    assert_eq!(restored.is_ok(), claimed == n);
    let Ok(mut restored) = restored else {
        return Ok(());
    };
    let more = size(u, 0, (LEAVES - n).min(300))?;
    for leaf in &tree.leaves()[n..n + more] {
        restored.push(*leaf);
    }
    let grown = n + more;
    assert_eq!(restored.root(), tree.root(grown));
    let new: Vec<TileId> = restored.take_new().into_iter().map(|(id, _)| id).collect();
    assert_eq!(
        BTreeSet::from_iter(new),
        BTreeSet::from_iter(new_tiles(n as u64, grown as u64))
    );
    Ok(())
}

fn paths(u: &mut Unstructured<'_>) -> Result<()> {
    let (level, index, width) = (u.arbitrary()?, u.arbitrary()?, u.arbitrary()?);
    if let Ok(id) = TileId::new(level, index, width) {
        assert_eq!(TileId::parse_path(&id.path()), Ok(id));
    }
    if let Ok(id) = BundleId::new(index, width) {
        assert_eq!(BundleId::parse_path(&id.path()), Ok(id));
    }
    let text: &str = u.arbitrary()?;
    for text in [
        text.to_owned(),
        format!("tile/{text}"),
        format!("tile/entries/{text}"),
    ] {
        if let Ok(id) = TileId::parse_path(&text) {
            assert_eq!(id.path(), text);
        }
        if let Ok(id) = BundleId::parse_path(&text) {
            assert_eq!(id.path(), text);
        }
    }
    Ok(())
}

/// Sizes that strangers claim.
fn sizes(u: &mut Unstructured<'_>) -> Result<()> {
    let (a, b): (u64, u64) = (u.arbitrary()?, u.arbitrary()?);
    assert!(inclusion_tiles(a, b).len() <= 15);
    assert!(consistency_tiles(a, b).len() <= 15);
    assert!(edge_tiles(a).len() <= 8);
    for id in inclusion_tiles(a, b).into_iter().chain(edge_tiles(a)) {
        assert_eq!(TileId::parse_path(&id.path()), Ok(id));
    }
    if let Some(near) = a.checked_add(b % 1_000) {
        for id in new_tiles(a, near) {
            assert_eq!(TileId::new(id.level(), id.index(), id.width()), Ok(id));
        }
        for id in new_bundles(a, near) {
            assert_eq!(BundleId::new(id.index(), id.width()), Ok(id));
        }
    }
    _ = (tiles(a).next(), bundles(a).next());
    Ok(())
}

/// Whatever strangers send.
fn strange(u: &mut Unstructured<'_>) -> Result<()> {
    let (a, b): (u64, u64) = (u.arbitrary()?, u.arbitrary()?);
    let (x, y) = (Hash(u.arbitrary()?), Hash(u.arbitrary()?));
    let proof: Vec<Hash> = u
        .arbitrary_iter::<[u8; 32]>()?
        .map(|hash| Ok(Hash(hash?)))
        .collect::<Result<_>>()?;
    let within = verify_inclusion(&x, a, b, &proof, &y).is_ok();
    assert!(!within || a < b && proof.len() <= 64);
    let grown = verify_consistency(a, &x, b, &y, &proof).is_ok();
    assert!(!grown || a <= b && proof.len() <= 65);
    if let Ok(range) = CompactRange::from_nodes(a, proof.clone()) {
        assert_eq!((range.size(), range.nodes()), (a, proof.as_slice()));
        let mut more = range.clone();
        more.push(x);
        assert_eq!(more.size(), a + 1);
    }
    let bytes: Vec<u8> = proof.iter().flat_map(|hash| hash.0).collect();
    let _ = Edge::from_tiles(
        a,
        &x,
        edge_tiles(a).into_iter().map(|id| (id, bytes.clone())),
    );
    let _ = Tiles::authenticate(
        b,
        &y,
        edge_tiles(b).into_iter().map(|id| (id, bytes.clone())),
    );
    Ok(())
}
