//! Following one log from its first batch: the chain of sizes and roots, recomputed entry by entry.
//!
//! A walk can be continued: an election that is still open grows while it is audited.

use protocol::batch::{BATCH_LEN_MAX, BatchError, BatchFile};
use protocol::checkpoint::Checkpoint;
use protocol::ids::LogId;
use protocol::merkle::tile::Edge;
use protocol::merkle::{Hash, leaf_hash};

use super::ahead::Ahead;
use super::context::Context;
use super::head_rules::at_most_roll;
use super::judge::Judge;
use super::signed::SignedTree;
use super::tiles::{Expected, OpenBundle, compare_later, right_edge};
use crate::finding::{Code, Place, Votes};
use crate::source::Fetched;
use crate::work::Pool;

/// Where a batch ends, and what the log holds up to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) size: u64,
    pub(super) root: Hash,
    /// Votes of a cell, issuances of an issuance log; 0 in the heads log.
    pub(super) total: u64,
    /// The last entry is a close or a final head.
    pub(super) closed: bool,
    /// A cell's newest tally entry: index and leaf hash.
    pub(super) tally: Option<(u64, Hash)>,
}

/// A batch whose root is the one that its entries make.
pub(super) struct Batch<'b> {
    pub(super) n: u64,
    /// The index of its first entry.
    pub(super) first: u64,
    pub(super) path: &'b str,
    pub(super) entries: &'b [&'b [u8]],
    pub(super) leaves: &'b [Hash],
    /// The root after it.
    pub(super) root: Hash,
}

/// What a kind of log makes of its entries.
pub(super) trait Content<'a> {
    /// Takes a batch in, judges it, and says what the log holds after it.
    fn apply(&mut self, judge: &Judge<'_, 'a>, pool: &Pool<'a>) -> Applied;
}

/// What a log holds after a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Applied {
    pub(super) total: u64,
    pub(super) closed: bool,
    pub(super) tally: Option<(u64, Hash)>,
}

/// How far a walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// To this size, which the log's checkpoint names: every batch up to it must be there.
    Size(u64),
    /// As far as there are batches.
    Missing,
}

/// How far one log was followed.
#[derive(Debug)]
pub(super) struct Walk {
    log: LogId,
    edge: Edge,
    ends: Vec<End>,
    bundle: OpenBundle,
    /// The size of the newest checkpoint: tiles below it must exist. Above it they may still be on their way.
    signed: u64,
    /// The newest checkpoint that the log's key signed, where there is a right one.
    newest: Option<Checkpoint>,
    /// The chain is broken here, or could not be read: nothing above was looked at.
    stopped: bool,
}

impl Walk {
    pub(super) fn new(log: LogId) -> Self {
        Self {
            log,
            edge: Edge::new(),
            ends: Vec::new(),
            bundle: OpenBundle::default(),
            signed: 0,
            newest: None,
            stopped: false,
        }
    }

    pub(super) const fn log(&self) -> LogId {
        self.log
    }

    pub(super) const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The newest checkpoint that the log's key signed.
    pub(super) const fn newest(&self) -> Option<&Checkpoint> {
        self.newest.as_ref()
    }

    /// What was followed is held against this from now on.
    pub(super) fn hold_against(&mut self, newest: &Checkpoint) {
        self.newest = Some(newest.clone());
    }

    pub(super) const fn stopped(&self) -> bool {
        self.stopped
    }

    /// Every batch end so far; the place in the slice is the batch's number.
    pub(super) fn ends(&self) -> &[End] {
        &self.ends
    }

    pub(super) fn batches(&self) -> u64 {
        self.ends.len() as u64
    }

    /// The batch that ends at this size.
    pub(super) fn end_at(&self, size: u64) -> Option<&End> {
        let n = self.ends.binary_search_by_key(&size, |end| end.size).ok()?;
        self.ends.get(n)
    }

    /// Follows the log further. Returns whether it got as far as asked.
    pub(super) fn advance<'a>(
        &mut self,
        until: Until,
        content: &mut dyn Content<'a>,
        context: Context<'a>,
        pool: &Pool<'a>,
    ) -> bool {
        if let Until::Size(size) = until {
            self.signed = self.signed.max(size);
        }
        if self.stopped || self.reached(until) {
            return self.reached(until);
        }
        let folder = format!("{}/batches", self.log);
        std::thread::scope(|scope| {
            let mut ahead = Ahead::start(
                scope,
                context.source,
                &folder,
                self.batches(),
                BATCH_LEN_MAX,
            );
            while !self.stopped && !self.reached(until) {
                let n = self.batches();
                let path = format!("{folder}/{n}");
                let file = match ahead.next() {
                    Ok(Fetched::File(file)) => file,
                    Ok(Fetched::Missing) if until == Until::Missing => return,
                    other => {
                        self.stop(until, &path, other, context);
                        return;
                    }
                };
                self.take(path, file, content, context, pool);
            }
        });
        if let Until::Size(size) = until
            && self.size() > size
            && self.end_at(size).is_none()
        {
            context.add(
                Code::CheckpointPlace,
                Place::file(format!("{}/checkpoint", self.log)),
                Votes::WholeRoll,
                format!("it is of size {size}, and no batch of the log ends there"),
            );
        }
        self.reached(until)
    }

    fn reached(&self, until: Until) -> bool {
        matches!(until, Until::Size(size) if self.size() >= size)
    }

    /// Says why the log cannot be followed further.
    fn stop(
        &mut self,
        until: Until,
        path: &str,
        why: Result<Fetched, crate::source::SourceError>,
        context: Context<'_>,
    ) {
        self.stopped = true;
        let above = match until {
            Until::Size(size) => at_most_roll(&context, size.saturating_sub(self.size())),
            Until::Missing => Votes::WholeRoll,
        };
        let (code, evidence) = match why {
            Ok(Fetched::TooLarge) => (
                Code::FileTooLarge,
                format!("it has more than {BATCH_LEN_MAX} bytes"),
            ),
            Ok(Fetched::NotAFile) => (
                Code::NotAFile,
                "a symbolic link, a folder or a device has this name; it was not followed"
                    .to_owned(),
            ),
            Ok(Fetched::Missing | Fetched::File(_)) => (
                Code::MissingFile,
                "there is no such file, and the log's checkpoint covers it".to_owned(),
            ),
            Err(error) => {
                context.unread.add(&error);
                return;
            }
        };
        context.add(
            code,
            Place::file(path),
            above,
            format!(
                "{evidence}; the log was followed to size {} and no further",
                self.size()
            ),
        );
    }

    /// Takes in the next batch.
    fn take<'a>(
        &mut self,
        path: String,
        file: Vec<u8>,
        content: &mut dyn Content<'a>,
        context: Context<'a>,
        pool: &Pool<'a>,
    ) {
        let opened = match self.open(&file, context) {
            Ok(opened) => opened,
            Err((code, evidence)) => {
                let entries = self.led_to(&file, context);
                self.broken(code, &path, &evidence, entries, context);
                return;
            }
        };
        let leaves: Vec<Hash> = opened
            .entries
            .iter()
            .map(|entry| leaf_hash(entry))
            .collect();
        let mut grown = self.edge.clone();
        for leaf in &leaves {
            grown.push(*leaf);
        }
        if grown.root() != opened.new_root {
            let evidence = format!(
                "it names root {} at size {}, and its entries make {}",
                opened.new_root,
                grown.size(),
                grown.root()
            );
            let entries = Some((grown.size(), grown.root()));
            self.broken(Code::BatchChain, &path, &evidence, entries, context);
            return;
        }
        let batch = Batch {
            n: self.batches(),
            first: self.size(),
            path: &path,
            entries: &opened.entries,
            leaves: &leaves,
            root: opened.new_root,
        };
        self.edge = grown;
        self.compare_completed(&batch, context, pool);

        let applied = content.apply(&Judge::new(&batch, context), pool);
        self.ends.push(End {
            size: self.size(),
            root: opened.new_root,
            total: applied.total,
            closed: applied.closed,
            tally: applied.tally,
        });
        context.progress.done(leaves.len() as u64);
    }

    /// Decodes the next batch file and checks that it is this log's, and follows on the batch before.
    fn open<'f>(
        &self,
        file: &'f [u8],
        context: Context<'_>,
    ) -> Result<BatchFile<'f>, (Code, String)> {
        let batch = BatchFile::decode(file, context.election).map_err(|error| {
            let code = match error {
                BatchError::Label | BatchError::Log => Code::BatchForeign,
                _ => Code::BatchMalformed,
            };
            (code, error.to_string())
        })?;
        let n = self.batches();
        if batch.log != self.log || batch.n != n {
            return Err((
                Code::BatchForeign,
                format!("it is batch {} of {}", batch.n, batch.log),
            ));
        }
        // "Old size and root are those of batch n - 1".
        if (batch.old_size, batch.old_root) != (self.size(), self.edge.root()) {
            return Err((
                Code::BatchChain,
                format!(
                    "it continues size {} with root {}, and the batch before it ends at size {} with root {}",
                    batch.old_size,
                    batch.old_root,
                    self.size(),
                    self.edge.root()
                ),
            ));
        }
        Ok(batch)
    }

    /// The chain ends here.
    fn broken(
        &mut self,
        code: Code,
        path: &str,
        evidence: &str,
        entries: Option<(u64, Hash)>,
        context: Context<'_>,
    ) {
        self.stopped = true;
        let signed = SignedTree {
            context,
            log: self.log,
            newest: self.newest.as_ref(),
        }
        .of_batch((self.size(), self.edge.root()), entries);
        context.add(
            code,
            Place::file(path),
            Votes::WholeRoll,
            format!(
                "{evidence}; the log was followed to size {} and no further; {signed}",
                self.size()
            ),
        );
    }

    /// Where the entries of a batch that does not fit would lead.
    fn led_to(&self, file: &[u8], context: Context<'_>) -> Option<(u64, Hash)> {
        let batch = BatchFile::decode(file, context.election).ok()?;
        let mut grown = self.edge.clone();
        for entry in &batch.entries {
            grown.push(leaf_hash(entry));
        }
        Some((grown.size(), grown.root()))
    }

    /// Compares the tiles and bundles that the batch completed.
    fn compare_completed<'a>(&mut self, batch: &Batch<'_>, context: Context<'a>, pool: &Pool<'a>) {
        let prefix = self.log.prefix();
        for entry in batch.entries {
            if let Some(mut full) = self.bundle.push(entry) {
                full.must_exist = self.size() <= self.signed;
                compare_later(pool, context, &prefix, full);
            }
        }
        for (id, bytes) in self.edge.take_completed() {
            let mut full = Expected::tile(id, bytes);
            full.must_exist = self.size() <= self.signed;
            compare_later(pool, context, &prefix, full);
        }
    }

    /// Compares the partial tiles and the partial bundle at the right edge. They must exist at the size of the newest checkpoint only.
    pub(super) fn compare_edge<'a>(&self, context: Context<'a>, pool: &Pool<'a>) {
        for mut expected in right_edge(&self.edge)
            .into_iter()
            .chain(self.bundle.expected())
        {
            expected.must_exist = self.size() == self.signed;
            compare_later(pool, context, &self.log.prefix(), expected);
        }
    }
}
