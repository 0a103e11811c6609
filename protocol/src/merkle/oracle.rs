//! RFC 6962, section 2.1, written down as naively as it stands there: what everything else is compared with.

use super::{Hash, leaf_hash, node_hash};
use sha2::{Digest, Sha256};

fn k(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// MTH over leaf hashes.
pub(crate) fn mth(d: &[Hash]) -> Hash {
    match d {
        [] => Hash(Sha256::digest(b"").into()),
        [one] => *one,
        _ => node_hash(&mth(&d[..k(d.len())]), &mth(&d[k(d.len())..])),
    }
}

/// PATH(m, D[n]).
pub(crate) fn path(m: usize, d: &[Hash]) -> Vec<Hash> {
    if d.len() == 1 {
        return vec![];
    }
    let k = k(d.len());
    if m < k {
        [path(m, &d[..k]), vec![mth(&d[k..])]].concat()
    } else {
        [path(m - k, &d[k..]), vec![mth(&d[..k])]].concat()
    }
}

/// PROOF(m, D[n]), and the empty proof for m = 0.
pub(crate) fn consistency(m: usize, d: &[Hash]) -> Vec<Hash> {
    if m == 0 { vec![] } else { subproof(m, d, true) }
}

fn subproof(m: usize, d: &[Hash], b: bool) -> Vec<Hash> {
    if m == d.len() {
        return if b { vec![] } else { vec![mth(d)] };
    }
    let k = k(d.len());
    if m <= k {
        [subproof(m, &d[..k], b), vec![mth(&d[k..])]].concat()
    } else {
        [subproof(m - k, &d[k..], false), vec![mth(&d[..k])]].concat()
    }
}

/// Leaves 0, 1, …, n - 1: the hashes of their indices as text.
pub(crate) fn leaves(n: usize) -> Vec<Hash> {
    (0..n)
        .map(|i| leaf_hash(format!("leaf {i}").as_bytes()))
        .collect()
}
