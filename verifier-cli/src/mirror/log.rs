//! One log, copied: batches from the source (or the copy, where they are there already), each proven to be what the log's key signed; tiles and bundles made from their entries.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use protocol::batch::{BATCH_LEN_MAX, BatchError, BatchFile};
use protocol::entry::Entry;
use protocol::evidence::HeldCheckpoint;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::tile::{BundleId, Edge, FULL_WIDTH, edge_tiles, encode_bundle};
use protocol::merkle::{Hash, leaf_hash};

use super::Stop;
use super::copy::{Copy, CopyError, Created};
use super::own::{ends_at, open_bundle, own_damage};
use crate::audit::checkpoint::Signed;
use crate::audit::context::Context;
use crate::finding::{Code, Place, Votes};
use crate::prove;

/// A log as far as it was copied.
pub(super) struct Copied {
    pub(super) log: LogId,
    edge: Edge,
    /// The entries of the bundle that is being filled.
    open: Vec<Vec<u8>>,
    /// Batches so far.
    batches: u64,
    /// Where this run took it up: what is below was copied, and proven, by earlier ones.
    from: u64,
    /// The root at each batch end from there on that is asked for later: of the heads log every one, of the others (which have millions) the named and the newest.
    ends: BTreeMap<u64, Hash>,
}

impl Copied {
    pub(super) fn new(log: LogId) -> Self {
        Self {
            log,
            edge: Edge::new(),
            open: Vec::new(),
            batches: 0,
            from: 0,
            ends: BTreeMap::new(),
        }
    }

    /// Takes up what an earlier run has copied up to its `checkpoint`, by the copy's own tiles. `None`: they do not make it, so all batches are read again.
    pub(super) fn resume(
        copy: &Copy,
        kept: &HeldCheckpoint,
        election: &Election,
    ) -> Result<Option<Self>, CopyError> {
        let (log, size, root) = (kept.log, kept.checkpoint.size(), kept.checkpoint.root());
        let mut tiles = Vec::new();
        for id in edge_tiles(size) {
            match copy.read(&format!("{log}/{}", id.path()))? {
                Some(bytes) => tiles.push((id, bytes)),
                None => return Ok(None),
            }
        }
        let Ok(edge) = Edge::from_tiles(size, &root, tiles) else {
            return Ok(None);
        };
        let Some(open) = open_bundle(copy, log, &edge)? else {
            return Ok(None);
        };
        let Some((batches, end)) = ends_at(copy, election, log, size, size)? else {
            return Ok(None);
        };
        Ok((end == root).then(|| Self {
            log,
            edge,
            open,
            batches: batches + 1,
            from: size,
            ends: BTreeMap::from([(size, root)]),
        }))
    }

    pub(super) fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The root at a batch end of this run: any of the heads log, a named or the newest one of others.
    pub(super) fn root_at(&self, size: u64) -> Option<Hash> {
        self.ends.get(&size).copied()
    }

    /// Every batch end of the heads log above this size that was copied in this run.
    pub(super) fn ends_above(&self, size: u64) -> impl Iterator<Item = u64> {
        let above = (Bound::Excluded(size), Bound::Unbounded);
        self.ends.range(above).map(|(end, _)| *end)
    }

    /// The root at any batch end. `None`: none ends there, or the source does not show the root, which was written down.
    pub(super) fn root_of_any(
        &self,
        context: &Context<'_>,
        copy: &Copy,
        newest: &Signed,
        size: u64,
    ) -> Result<Option<Hash>, CopyError> {
        if size >= self.from {
            return Ok(self.root_at(size));
        }
        let end = ends_at(copy, context.election, self.log, size, self.from)?;
        Ok(end.and_then(|_| {
            prove::prefix(context, self.log, &newest.checkpoint, size).map(|(root, _)| root)
        }))
    }

    /// Copies up to this checkpoint. Each entry is shown to `see`, with its index. What is wrong with the source is a finding; batches must end at the sizes that are named.
    pub(super) fn follow(
        &mut self,
        context: &Context<'_>,
        copy: &mut Copy,
        newest: &Signed,
        named: &BTreeSet<u64>,
        mut see: impl FnMut(u64, &[u8]),
    ) -> Result<(), Stop> {
        while self.size() < newest.size() {
            let path = format!("{}/batches/{}", self.log, self.batches);
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
            let batch = match self.judge(context, copy, newest, &bytes, is_kept)? {
                Ok(batch) => batch,
                Err((code, evidence)) => {
                    if is_kept {
                        own_damage(context, &path, &evidence);
                    } else {
                        context.add(code, Place::file(&path), Votes::WholeRoll, evidence);
                    }
                    return Err(Stop::Said);
                }
            };
            if !is_kept {
                let within = batch.old_size.saturating_add(1)..batch.new_size;
                if let Some(size) = named.range(within).next() {
                    let evidence = format!(
                        "heads or results name size {size} of this log, and the batch goes on beyond it"
                    );
                    context.add(
                        Code::HeadSize,
                        Place::file(&path),
                        Votes::WholeRoll,
                        evidence,
                    );
                    return Err(Stop::Said);
                }
                create(context, copy, &path, &bytes)?;
            }
            for entry in &batch.entries {
                see(self.size(), entry);
                self.push(context, copy, entry)?;
            }
            self.batches += 1;
            let size = self.size();
            if self.log == LogId::Heads || size == newest.size() || named.contains(&size) {
                self.ends.insert(size, batch.new_root);
            }
            context.progress.done(batch.entries.len() as u64);
        }
        self.write_edge(context, copy)
    }

    /// The batch, if it is the next one of the tree that was signed: nothing else is kept, since nothing that is kept is replaced.
    fn judge<'b>(
        &self,
        context: &Context<'_>,
        copy: &Copy,
        newest: &Signed,
        bytes: &'b [u8],
        is_kept: bool,
    ) -> Result<Result<BatchFile<'b>, (Code, String)>, Stop> {
        let batch = match BatchFile::decode(bytes, context.election) {
            Ok(batch) => batch,
            Err(error @ (BatchError::Label | BatchError::Log)) => {
                return Ok(Err((Code::BatchForeign, error.to_string())));
            }
            Err(error) => return Ok(Err((Code::BatchMalformed, error.to_string()))),
        };
        if batch.log != self.log || batch.n != self.batches {
            let evidence = format!("it is batch {} of {}", batch.n, batch.log);
            return Ok(Err((Code::BatchForeign, evidence)));
        }
        let before = self.edge.root();
        if (batch.old_size, batch.old_root) != (self.size(), before) {
            if !is_kept {
                self.judge_cut(context, copy, newest)?;
            }
            return Ok(Err((
                Code::BatchChain,
                format!(
                    "it continues size {} with root {}, and the batch before it ends at size {} with root {before}",
                    batch.old_size,
                    batch.old_root,
                    self.size()
                ),
            )));
        }
        let mut grown = self.edge.range().clone();
        for entry in &batch.entries {
            grown.push(leaf_hash(entry));
        }
        if grown.root() != batch.new_root {
            return Ok(Err((
                Code::BatchChain,
                "its entries do not make the root that it names".to_owned(),
            )));
        }
        let signed = if grown.size() > newest.size() {
            None
        } else if is_kept && grown.size() < newest.size() {
            // It was proven before it was kept, and the next one that is not will show it again.
            Some(grown.root())
        } else {
            let shown = prove::prefix(context, self.log, &newest.checkpoint, grown.size());
            Some(shown.ok_or(Stop::Said)?.0)
        };
        if signed != Some(grown.root()) {
            let code = if grown.size() < newest.size() {
                Code::BatchChain
            } else {
                Code::CheckpointRoot
            };
            let signed = signed.unwrap_or_else(|| newest.checkpoint.root());
            return Ok(Err((
                code,
                format!(
                    "its entries make root {} at size {}; the log's key signed root {signed} at size {}",
                    grown.root(),
                    grown.size(),
                    grown.size().min(newest.size())
                ),
            )));
        }
        if !is_kept && let Some(evidence) = cut_wrong(&batch, context.election) {
            return Ok(Err((Code::GrammarBroken, evidence)));
        }
        Ok(Ok(batch))
    }

    /// Where the source's batch does not continue the copy's, that may be the copy's fault, or nobody's whom we know.
    fn judge_cut(&self, context: &Context<'_>, copy: &Copy, newest: &Signed) -> Result<(), Stop> {
        let Some(last) = self.batches.checked_sub(1) else {
            return Ok(());
        };
        let path = format!("{}/batches/{last}", self.log);
        let shown = prove::prefix(context, self.log, &newest.checkpoint, self.size());
        let (root, _) = shown.ok_or(Stop::Said)?;
        if root != self.edge.root() {
            own_damage(
                context,
                &path,
                "the copy's batches make another root than the log's key signed",
            );
            return Err(Stop::Said);
        }
        // A source that contradicts itself is a finding.
        let own = copy.read(&path)?;
        let shown = context.read_required(
            &path,
            BATCH_LEN_MAX,
            Votes::WholeRoll,
            "the log's checkpoint covers it",
        );
        if shown.is_some() && shown == own {
            return Ok(());
        }
        if shown.is_some() {
            context.unread.note(format!(
                "{path}: the copy's and the source's are of the same signed tree and cut elsewhere, so neither goes on with the other: somebody who serves one of them, or served it before, has cut it anew. Copy into another folder, and compare with another source"
            ));
        }
        Err(Stop::Said)
    }

    fn push(&mut self, context: &Context<'_>, copy: &mut Copy, entry: &[u8]) -> Result<(), Stop> {
        self.edge.push(leaf_hash(entry));
        self.open.push(entry.to_vec());
        if self.open.len() == usize::from(FULL_WIDTH) {
            self.write_bundle(context, copy)?;
            self.open.clear();
        }
        for (id, bytes) in self.edge.take_completed() {
            let path = format!("{}/{}", self.log, id.path());
            create(context, copy, &path, &bytes)?;
        }
        Ok(())
    }

    /// The partial tiles and the partial bundle of the newest size.
    fn write_edge(&self, context: &Context<'_>, copy: &mut Copy) -> Result<(), Stop> {
        for id in edge_tiles(self.size()) {
            if let Some(bytes) = self.edge.tile(&id) {
                let path = format!("{}/{}", self.log, id.path());
                create(context, copy, &path, &bytes)?;
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
        let path = format!("{}/{}", self.log, id.path());
        create(context, copy, &path, &bytes)
    }
}

/// A cell's batches are one tally each, or a close; so nobody can cut them elsewhere. (Where those of other logs end, heads say in part.)
fn cut_wrong(batch: &BatchFile<'_>, election: &Election) -> Option<String> {
    if !matches!(batch.log, LogId::Cell(_)) || batch.n == 0 {
        return None;
    }
    let last = batch.entries.last()?;
    match Entry::decode(last, election) {
        Ok(Entry::Tally(tally)) if tally.batch == batch.n => None,
        Ok(Entry::Close(_)) if batch.entries.len() == 1 => None,
        _ => Some(format!(
            "a cell's batch {0} ends in the tally of batch {0}, or is a close alone; this is neither",
            batch.n
        )),
    }
}

/// Creates a file that never changes and is known to be right. Another one in its place stays.
pub(super) fn create(
    context: &Context<'_>,
    copy: &mut Copy,
    path: &str,
    bytes: &[u8],
) -> Result<(), Stop> {
    if copy.create(path, bytes)? == Created::Differs {
        own_damage(context, path, "what was signed makes other bytes");
    }
    Ok(())
}
