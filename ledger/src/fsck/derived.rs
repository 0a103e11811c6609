//! The files that follow from the batches: tiles and entry bundles.

use bytes::Bytes;
use protocol::merkle::tile::{BundleId, Edge, FULL_WIDTH, edge_tiles, encode_bundle};

use crate::batch::Batch;

/// A file, and whether it must be there.
pub(super) struct DerivedFile {
    pub(super) file: String,
    pub(super) bytes: Vec<u8>,
    /// SPEC: "every full tile and every right-edge partial tile of the newest checkpoint must exist. Superseded partial tiles may exist and must then be right."
    pub(super) must: bool,
}

/// The tree's right edge, and the entries of the bundle that is being filled.
pub(super) struct Derived {
    edge: Edge,
    tail: Vec<Bytes>,
}

impl Derived {
    pub(super) fn new() -> Self {
        Self {
            edge: Edge::new(),
            tail: Vec::new(),
        }
    }

    /// Adds a batch, and returns every file that could have been published for it; `covered` is the newest checkpoint's size.
    pub(super) fn push(&mut self, batch: &Batch, covered: u64) -> Vec<DerivedFile> {
        let end = batch.new_end().size;
        let mut files = Vec::new();
        for (entry, leaf) in batch.entries().into_iter().zip(batch.leaves()) {
            self.edge.push(*leaf);
            self.tail.push(entry);
            if self.tail.len() == usize::from(FULL_WIDTH) {
                files.extend(self.bundle(end <= covered));
                self.tail.clear();
            }
        }
        // The tail outlives the batch: it must not keep the whole of it in memory.
        for entry in &mut self.tail {
            *entry = Bytes::copy_from_slice(entry);
        }
        files.extend(self.bundle(end == covered));
        // An edge tile that did not change with this batch must be there as well.
        let mut tiles = self.edge.take_new();
        for id in edge_tiles(end) {
            if end == covered && tiles.iter().all(|(new, _)| *new != id) {
                tiles.extend(self.edge.tile(&id).map(|bytes| (id, bytes)));
            }
        }
        files.extend(tiles.into_iter().map(|(id, bytes)| DerivedFile {
            file: id.path(),
            bytes,
            must: end == covered || (id.width() == FULL_WIDTH && end <= covered),
        }));
        files
    }

    fn bundle(&self, must: bool) -> Option<DerivedFile> {
        let width = u16::try_from(self.tail.len()).ok().filter(|w| *w > 0)?;
        // The edge is at the last entry of the tail.
        let index = self.edge.size().checked_sub(1)? / u64::from(FULL_WIDTH);
        let id = BundleId::new(index, width).ok()?;
        Some(DerivedFile {
            file: id.path(),
            bytes: encode_bundle(self.tail.iter().map(AsRef::as_ref)).ok()?,
            must,
        })
    }
}
