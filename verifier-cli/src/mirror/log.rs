//! One log, copied: batches from the source (or the copy, where they are there already), chained; tiles and bundles made from their entries.

use std::collections::BTreeMap;

use protocol::batch::{BATCH_LEN_MAX, BatchFile};
use protocol::ids::LogId;
use protocol::merkle::tile::{BundleId, Edge, FULL_WIDTH, edge_tiles, encode_bundle};
use protocol::merkle::{Hash, leaf_hash};

use super::Stop;
use super::copy::{Copy, Created};
use crate::audit::checkpoint::Signed;
use crate::audit::context::Context;
use crate::finding::{Code, Place, Votes};

/// A log as far as it was copied.
pub(super) struct Copied {
    pub(super) log: LogId,
    edge: Edge,
    /// The entries of the bundle that is being filled.
    open: Vec<Vec<u8>>,
    /// The root at each batch end.
    ends: BTreeMap<u64, Hash>,
}

impl Copied {
    pub(super) fn new(log: LogId) -> Self {
        Self {
            log,
            edge: Edge::new(),
            open: Vec::new(),
            ends: BTreeMap::new(),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.edge.size()
    }

    pub(super) fn root_at(&self, size: u64) -> Option<Hash> {
        self.ends.get(&size).copied()
    }

    /// Copies up to this checkpoint. Each entry is shown to `see`. What is wrong with the source is a finding.
    pub(super) fn follow(
        &mut self,
        context: &Context<'_>,
        copy: &mut Copy,
        newest: &Signed,
        mut see: impl FnMut(&[u8]),
    ) -> Result<(), Stop> {
        while self.size() < newest.size() {
            let n = self.ends.len();
            let path = format!("{}/batches/{n}", self.log);
            let kept = copy.read(&path)?;
            let is_kept = kept.is_some();
            let bytes = match kept {
                Some(bytes) => bytes,
                None => context
                    .read_required(
                        &path,
                        BATCH_LEN_MAX,
                        Votes::WholeRoll,
                        "the log's checkpoint covers it",
                    )
                    .ok_or(Stop::Said)?,
            };
            let broken = |code, evidence: String| {
                let whose = if is_kept { "the copy's own file: " } else { "" };
                let place = Place::file(&path);
                context.add(code, place, Votes::WholeRoll, format!("{whose}{evidence}"));
                Stop::Said
            };
            let batch = BatchFile::decode(&bytes, context.election)
                .map_err(|error| broken(Code::BatchMalformed, error.to_string()))?;
            if batch.log != self.log || batch.n != n as u64 {
                let evidence = format!("it is batch {} of {}", batch.n, batch.log);
                return Err(broken(Code::BatchForeign, evidence));
            }
            let before = self.edge.root();
            if (batch.old_size, batch.old_root) != (self.size(), before) {
                return Err(broken(
                    Code::BatchChain,
                    format!(
                        "it continues size {} with root {}, and the batch before it ends at size {} with root {before}",
                        batch.old_size,
                        batch.old_root,
                        self.size()
                    ),
                ));
            }
            let mut grown = self.edge.range().clone();
            for entry in &batch.entries {
                grown.push(leaf_hash(entry));
            }
            if grown.root() != batch.new_root {
                return Err(broken(
                    Code::BatchChain,
                    "its entries do not make the root that it names".to_owned(),
                ));
            }
            // The end of the log must be what was signed before anything of it is kept.
            if grown.size() >= newest.size()
                && (grown.size(), grown.root()) != (newest.size(), newest.checkpoint.root())
            {
                if !is_kept {
                    copy.put_aside(&path, &bytes)?;
                }
                context.add(
                    Code::CheckpointRoot,
                    Place::file(format!("{}/checkpoint", self.log)),
                    Votes::WholeRoll,
                    format!(
                        "it names root {} at size {}; the batches make {} at size {}",
                        newest.checkpoint.root(),
                        newest.size(),
                        grown.root(),
                        grown.size()
                    ),
                );
                return Err(Stop::Said);
            }
            create(context, copy, &path, &bytes)?;
            for entry in &batch.entries {
                see(entry);
                self.push(context, copy, entry)?;
            }
            self.ends.insert(self.size(), batch.new_root);
            context.progress.done(batch.entries.len() as u64);
        }
        self.write_edge(context, copy)
    }

    fn push(&mut self, context: &Context<'_>, copy: &mut Copy, entry: &[u8]) -> Result<(), Stop> {
        self.edge.push(leaf_hash(entry));
        self.open.push(entry.to_vec());
        if self.open.len() == usize::from(FULL_WIDTH) {
            self.write_bundle(context, copy)?;
            self.open.clear();
        }
        for (id, bytes) in self.edge.take_completed() {
            create(
                context,
                copy,
                &format!("{}/{}", self.log, id.path()),
                &bytes,
            )?;
        }
        Ok(())
    }

    /// The partial tiles and the partial bundle of the newest size.
    fn write_edge(&self, context: &Context<'_>, copy: &mut Copy) -> Result<(), Stop> {
        for id in edge_tiles(self.size()) {
            if let Some(bytes) = self.edge.tile(&id) {
                create(
                    context,
                    copy,
                    &format!("{}/{}", self.log, id.path()),
                    &bytes,
                )?;
            }
        }
        if self.open.is_empty() {
            return Ok(());
        }
        self.write_bundle(context, copy)
    }

    fn write_bundle(&self, context: &Context<'_>, copy: &mut Copy) -> Result<(), Stop> {
        let first = self.size() - self.open.len() as u64;
        let width = u16::try_from(self.open.len()).unwrap_or(FULL_WIDTH);
        let bundle = BundleId::new(first / u64::from(FULL_WIDTH), width)
            .ok()
            .zip(encode_bundle(self.open.iter().map(Vec::as_slice)).ok());
        let Some((id, bytes)) = bundle else {
            return Ok(());
        };
        create(
            context,
            copy,
            &format!("{}/{}", self.log, id.path()),
            &bytes,
        )
    }
}

/// Creates a file that never changes; another one in its place is a finding, and stays.
pub(super) fn create(
    context: &Context<'_>,
    copy: &mut Copy,
    path: &str,
    bytes: &[u8],
) -> Result<(), Stop> {
    if copy.create(path, bytes)? == Created::Differs {
        let code = if path.contains("/tile/entries/") {
            Code::BundleMismatch
        } else if path.contains("/tile/") {
            Code::TileMismatch
        } else {
            Code::CheckpointDiffers
        };
        context.add(
            code,
            Place::file(path),
            Votes::AtMost(0),
            "the copy holds another file of that name, which stays; the new one is in the folder `conflicts`",
        );
    }
    Ok(())
}
