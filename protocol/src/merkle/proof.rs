//! Checking inclusion and consistency proofs (RFC 6962, sections 2.1.1 and 2.1.2).
//!
//! Both proofs climb from a node on the path of one leaf to the root, one hash of the proof a step. Seen from leaf `index` in a tree whose last leaf is `last`,
//! the climb has two stretches. Up to the height where the paths of `index` and `last` meet (*inner*), the bits of `index` say on which side each sibling stands.
//! Above it (*border*) our node holds the tree's right edge, so there are siblings on the left only, one for each 1 bit of `index` that remains.
//! The length of a proof thus follows from the sizes alone, and is checked before anything is hashed.

use super::{Hash, empty_root, node_hash};

/// Checks that `leaf` is the leaf hash at `index` in the tree of `size` leaves with this `root`. `proof` runs from the leaf's sibling up to the root's child.
///
/// # Errors
///
/// When there is no such leaf, the proof has another length than this index and size ask for, or it leads to another root.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::IndexBeyondSize { index, size });
    }
    let climb = Climb::new(index, size, 0);
    check_length(proof, climb.len())?;
    if climb.whole_tree(*leaf, proof) != *root {
        return Err(ProofError::Root);
    }
    Ok(())
}

/// Checks that the tree of `new_size` leaves with `new_root` starts with the very leaves of the tree of `old_size` leaves with `old_root`.
///
/// Every tree is consistent with the empty tree, and with itself; both need an empty proof.
///
/// # Errors
///
/// When the size shrank, an empty tree has another root than the empty tree's, the proof has another length than these sizes ask for, or it leads to another root.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::Shrunk { old_size, new_size });
    }
    if old_size == 0 || old_size == new_size {
        check_length(proof, 0)?;
        if old_size == 0 && *old_root != empty_root() {
            return Err(ProofError::OldRoot);
        }
        if old_size == new_size && old_root != new_root {
            return Err(ProofError::Root);
        }
        return Ok(());
    }
    // The climb starts at the old tree's last maximal perfect subtree. Where that is the whole old tree, its root is known and is not repeated in the proof.
    let climb = Climb::new(old_size - 1, new_size, old_size.trailing_zeros());
    let perfect = old_size.is_power_of_two();
    check_length(proof, climb.len() + usize::from(!perfect))?;
    let (start, rest) = match proof.split_first() {
        Some((first, rest)) if !perfect => (*first, rest),
        _ => (*old_root, proof),
    };
    if climb.left_part(start, rest) != *old_root {
        return Err(ProofError::OldRoot);
    }
    if climb.whole_tree(start, rest) != *new_root {
        return Err(ProofError::Root);
    }
    Ok(())
}

/// The way from one node up to the root.
struct Climb {
    /// The index of the node among the nodes of its height.
    path: u64,
    /// The number of steps below the meeting of our path and the last leaf's.
    inner: usize,
    /// The number of steps above it.
    border: usize,
}

impl Climb {
    /// The climb from the ancestor, `height` levels up, of leaf `index`; `index < size`, and the subtree below that ancestor ends before the last leaf or is it.
    const fn new(index: u64, size: u64, height: u32) -> Self {
        let meet = 64 - (index ^ (size - 1)).leading_zeros();
        let above = match index.checked_shr(meet) {
            Some(bits) => bits,
            None => 0,
        };
        Self {
            path: index >> height,
            inner: meet.saturating_sub(height) as usize,
            border: above.count_ones() as usize,
        }
    }

    const fn len(&self) -> usize {
        self.inner + self.border
    }

    /// The root of the whole tree that `node` and all of its siblings in `proof` make.
    fn whole_tree(&self, node: Hash, proof: &[Hash]) -> Hash {
        proof
            .iter()
            .enumerate()
            .fold(node, |node, (step, sibling)| {
                if self.sibling_on_the_left(step) {
                    node_hash(sibling, &node)
                } else {
                    node_hash(&node, sibling)
                }
            })
    }

    /// The root of the tree that ends with `node`: only the siblings on its left belong to it.
    fn left_part(&self, node: Hash, proof: &[Hash]) -> Hash {
        proof
            .iter()
            .enumerate()
            .fold(node, |node, (step, sibling)| {
                if self.sibling_on_the_left(step) {
                    node_hash(sibling, &node)
                } else {
                    node
                }
            })
    }

    const fn sibling_on_the_left(&self, step: usize) -> bool {
        step >= self.inner || self.path >> step & 1 == 1
    }
}

const fn check_length(proof: &[Hash], want: usize) -> Result<(), ProofError> {
    if proof.len() == want {
        Ok(())
    } else {
        Err(ProofError::Length {
            want,
            got: proof.len(),
        })
    }
}

/// Why a proof does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf lies outside the tree.
    #[error("there is no leaf {index} in a tree of {size} leaves: the proof is for another tree")]
    IndexBeyondSize {
        /// The leaf's index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The newer tree is the smaller one.
    #[error(
        "the log shrank from {old_size} to {new_size} leaves: a log only grows, so these are two different logs, or the order is wrong"
    )]
    Shrunk {
        /// The older tree's size.
        old_size: u64,
        /// The newer tree's size.
        new_size: u64,
    },
    /// The proof is too short or too long.
    #[error(
        "the proof should hold {want} hashes and holds {got}: it is damaged or for another tree"
    )]
    Length {
        /// The number of hashes that the sizes ask for.
        want: usize,
        /// The number of hashes it has.
        got: usize,
    },
    /// The proof leads to another root.
    #[error("the proof leads to another root: what it should prove is not in this tree")]
    Root,
    /// The proof leads to another old root.
    #[error(
        "the proof leads to another root of the older tree: the two trees do not belong to one log"
    )]
    OldRoot,
}
