//! The compact range: the right edge of a growing tree.

use super::{Hash, empty_root, node_hash};

/// Sizes to which a range may be restored lie below this bound, so that no number of pushes anybody can make overflows the size.
const RESTORED_SIZE_MAX: u64 = 1 << 63;

/// The tree over the leaves `[0, size)`, reduced to the roots of its maximal perfect subtrees, from the largest (leftmost) to the smallest.
///
/// There is one node for each 1 bit of `size`, at most 64 in all; a bit of weight `2^h` stands for a perfect subtree of `2^h` leaves.
/// That is everything appending needs: a leaf costs one hash on average.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CompactRange {
    size: u64,
    nodes: Vec<Hash>,
}

impl CompactRange {
    /// The range without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            size: 0,
            nodes: Vec::new(),
        }
    }

    /// Restores a range of `size` leaves from what [`CompactRange::nodes`] returned.
    ///
    /// This does not authenticate: compare [`CompactRange::root`] with a root that is trusted.
    ///
    /// # Errors
    ///
    /// When the number of nodes is not the number of 1 bits of `size`, or `size` is not below 2^63.
    pub fn from_nodes(size: u64, nodes: Vec<Hash>) -> Result<Self, RangeError> {
        if size >= RESTORED_SIZE_MAX {
            return Err(RangeError::Size { size });
        }
        let want = size.count_ones();
        if nodes.len() != want as usize {
            return Err(RangeError::NodeCount {
                size,
                want,
                got: nodes.len(),
            });
        }
        Ok(Self { size, nodes })
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the maximal perfect subtrees, from the largest to the smallest.
    #[must_use]
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// Appends the leaf with this hash.
    pub fn push(&mut self, leaf: Hash) {
        self.push_visiting(leaf, |_, _| {});
    }

    /// Appends the leaf with this hash, and shows every perfect subtree that it completes: height (0 is the leaf itself) and root, rising.
    pub(crate) fn push_visiting(&mut self, leaf: Hash, mut visit: impl FnMut(u32, Hash)) {
        // Adding 1 to the size carries through its trailing 1 bits; each carry joins two subtrees of equal height.
        let carries = self.size.trailing_ones();
        let mut node = leaf;
        visit(0, node);
        for height in 1..=carries {
            let Some(left) = self.nodes.pop() else { break };
            node = node_hash(&left, &node);
            visit(height, node);
        }
        self.nodes.push(node);
        // Cannot overflow: sizes start below 2^63, and nobody calls this 2^63 times.
        self.size += 1;
    }

    /// The root of the tree (RFC 6962's MTH). The nodes are joined from the right: the smallest subtrees lie deepest.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold_right(&self.nodes).unwrap_or_else(empty_root)
    }
}

/// Joins subtrees, given from the largest to the smallest, into the root of the tree whose right edge they are. `None` for no subtrees.
pub(super) fn fold_right(nodes: &[Hash]) -> Option<Hash> {
    nodes
        .iter()
        .rev()
        .copied()
        .reduce(|right, left| node_hash(&left, &right))
}

/// Why a compact range cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The number of nodes does not fit the size.
    #[error(
        "a range of {size} leaves has {want} nodes, not {got}: the saved state is damaged or belongs to another size"
    )]
    NodeCount {
        /// The size that was asked for.
        size: u64,
        /// The number of nodes that this size has.
        want: u32,
        /// The number of nodes that were given.
        got: usize,
    },
    /// The size is beyond any log.
    #[error(
        "a range of {size} leaves is beyond any log (sizes lie below 2^63): the saved state is damaged"
    )]
    Size {
        /// The size that was asked for.
        size: u64,
    },
}
