//! RFC 6962, section 2.1, written down as naively as it stands there. Subtrees are remembered, for speed only.

use std::cell::RefCell;
use std::collections::HashMap;

use protocol::merkle::Hash;
use protocol::merkle::tile::TileId;
use sha2::{Digest, Sha256};

pub(crate) struct Oracle {
    leaves: Vec<Hash>,
    known: RefCell<HashMap<(usize, usize), Hash>>,
}

impl Oracle {
    /// A log of n entries, `entry(0)`, `entry(1)`, …
    pub(crate) fn new(n: usize) -> Self {
        let leaf = |i| Hash(Sha256::digest([b"\0", entry(i).as_bytes()].concat()).into());
        Self {
            leaves: (0..n).map(leaf).collect(),
            known: RefCell::default(),
        }
    }

    pub(crate) fn leaves(&self) -> &[Hash] {
        &self.leaves
    }

    /// `MTH(D[start:end])`.
    pub(crate) fn mth(&self, start: usize, end: usize) -> Hash {
        if start == end {
            return Hash(Sha256::digest(b"").into());
        }
        if end - start == 1 {
            return self.leaves[start];
        }
        if let Some(known) = self.known.borrow().get(&(start, end)) {
            return *known;
        }
        let k = start + k(end - start);
        let hash = node(&self.mth(start, k), &self.mth(k, end));
        self.known.borrow_mut().insert((start, end), hash);
        hash
    }

    /// `MTH(D[n])`.
    pub(crate) fn root(&self, n: usize) -> Hash {
        self.mth(0, n)
    }

    /// `PATH(m, D[n])`.
    pub(crate) fn path(&self, m: usize, n: usize) -> Vec<Hash> {
        self.path_in(m, 0, n)
    }

    fn path_in(&self, m: usize, start: usize, end: usize) -> Vec<Hash> {
        if end - start == 1 {
            return vec![];
        }
        let middle = start + k(end - start);
        let (mut path, sibling) = if m < middle {
            (self.path_in(m, start, middle), self.mth(middle, end))
        } else {
            (self.path_in(m, middle, end), self.mth(start, middle))
        };
        path.push(sibling);
        path
    }

    /// `PROOF(m, D[n])`; empty for m = 0.
    pub(crate) fn consistency(&self, m: usize, n: usize) -> Vec<Hash> {
        if m == 0 {
            return vec![];
        }
        self.subproof(m, 0, n, true)
    }

    fn subproof(&self, m: usize, start: usize, end: usize, b: bool) -> Vec<Hash> {
        if m == end {
            return if b {
                vec![]
            } else {
                vec![self.mth(start, end)]
            };
        }
        let middle = start + k(end - start);
        let (mut proof, sibling) = if m <= middle {
            (self.subproof(m, start, middle, b), self.mth(middle, end))
        } else {
            (
                self.subproof(m, middle, end, false),
                self.mth(start, middle),
            )
        };
        proof.push(sibling);
        proof
    }

    /// The bytes of a tile, by tlog-tiles' definition: hash i is `MTH(D[(n * 256 + i) * 256**l : (n * 256 + i + 1) * 256**l])`.
    pub(crate) fn tile(&self, id: TileId) -> Vec<u8> {
        let span = 256_usize.pow(u32::from(id.level()));
        (0..usize::from(id.width()))
            .flat_map(|i| {
                let at = id.index() as usize * 256 + i;
                self.mth(at * span, (at + 1) * span).0
            })
            .collect()
    }
}

pub(crate) fn entry(i: usize) -> String {
    format!("entry {i}")
}

pub(crate) fn node(left: &Hash, right: &Hash) -> Hash {
    Hash(Sha256::digest([&[1], left.as_ref(), right.as_ref()].concat()).into())
}

/// The largest power of two smaller than n.
fn k(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}
