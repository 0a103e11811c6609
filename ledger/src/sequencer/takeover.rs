//! Start, takeover and rebuild: one path.
//!
//! Two copies of the log exist, the store and the published batches, and either may have lost its tail or hold one that was never acknowledged. Walking both from the first batch on:
//!
//! | store | published | what it means | what is done |
//! | --- | --- | --- | --- |
//! | b | b | *equal* | go on |
//! | b | – | *database ahead*: a writer stopped before it published, or the publisher lost its tail | publish b: its bytes depend on the row alone |
//! | – | b | *database behind*: the store lost its tail | append b |
//! | a | b | *different*: two writers, one of whom lost | the published one wins, since no receipt can exist for the other; the store's rows are put aside with an alarm |
//! | – | – | the end of both, or a new log | compare with what was signed; a new log begins with its genesis |
//!
//! The log **halts, rather than to fork**, where published batches do not chain or break the grammar, and where both copies end below, or elsewhere than, a checkpoint that was signed or anchored.

use bytes::Bytes;
use protocol::batch::BatchFile;
use protocol::merkle::CompactRange;
use tracing::{error, info, warn};

use super::finish::{Finisher, Frontier};
use super::known::Known;
use super::meter::Meter;
use super::replay::Replay;
use super::retry::{Persistent, Stop};
use super::term::Term;
use super::warm::Prefix;
use super::{Config, Parts, Published};
use crate::batch::{Batch, End, FILE_BYTES_MAX};
use crate::log::LogName;
use crate::publisher::Creation;
use crate::store::{Head, Owner, Row, StoreError, TakeOver};

/// The most batches that may wait for the next one's checkpoint, see [`Config::covers_rest`]: a writer that is killed leaves a few.
const REST_MAX: u64 = 64;

/// Takes the log over.
///
/// 1. Bump the epoch and pass the gate: from now on nobody else can append. (`how` becomes "only if still mine" here: whoever fences us after that, keeps the log.)
/// 2. Read the newest checkpoint. It must be the log's: halt otherwise.
/// 3. Walk both copies batch by batch, as above, until they are equal. Every batch passes the content's check, and the tree is computed anew.
///    A standby that has followed the log (see [`Warm`](super::Warm)) begins where its knowledge ends, if the database has a batch that ends just there.
/// 4. Both end below a signed checkpoint, or below the floor: halt.
/// 5. Publish what is not covered by a checkpoint yet: sign, derive tiles, move `checkpoint`. (Where the key may not sign that, the next batch's checkpoint will cover it.)
///
/// Cancelling it or failing anywhere is harmless: each step only does what the next takeover would do as well.
pub(super) async fn take_over(
    config: &Config,
    parts: &Parts,
    meter: &Meter,
    owner: Owner,
    how: &mut TakeOver,
) -> Result<Term, Stop> {
    let head = parts.store.take_over(owner, *how).await.map_err(stop)?;
    *how = TakeOver::IfStillMine;

    let files = Persistent::new(parts.publisher.as_ref(), config.retry);
    let mut walk = Walk {
        config,
        parts,
        meter,
        files: files.clone(),
        head,
        known: Known::read(config, &files).await?,
        range: CompactRange::new(),
        replay: Replay::new((parts.content)()),
        covered: Frontier::new(),
        batches_covered: 0,
    };
    let batches = match walk.run().await {
        Ok(batches) => batches,
        Err(Stop::Halt(reason)) => return Err(walk.confirm_halt(owner, reason).await),
        Err(stop) => return Err(stop),
    };
    walk.publish_rest(files, batches).await
}

/// Whether a batch file of this log says that the log ends there after it.
fn ends_at(log: &LogName, file: &[u8], end: End) -> bool {
    BatchFile::decode_of(file, log.election(), log.id())
        .is_ok_and(|file| (file.new_size, file.new_root) == (end.size, end.root))
}

/// Refused is somebody else's log now; everything else is looked at anew.
fn stop(error: StoreError) -> Stop {
    match error {
        StoreError::Refused(reason) => Stop::StepDown(reason),
        StoreError::Unknown(reason) => Stop::Again(reason),
    }
}

/// The state of the walk over both copies.
struct Walk<'a> {
    config: &'a Config,
    parts: &'a Parts,
    meter: &'a Meter,
    files: Persistent<'a>,
    /// Where the store stands. Until the walk has reached its end, that is ahead.
    head: Head,
    /// 2. What was signed.
    known: Known,
    /// The tree up to here.
    range: CompactRange,
    replay: Replay,
    /// The frontier at the newest checkpoint, once the walk has passed it: tiles up to there are published.
    covered: Frontier,
    batches_covered: u64,
}

impl Walk<'_> {
    /// Begins where a standby's knowledge ends, and returns the first batch to look at: 0 without any, and in any doubt, since the walk from there finds out and says what is wrong.
    async fn warm_start(&mut self) -> Result<u64, Stop> {
        let Some(warm) = &self.config.warm else {
            return Ok(0);
        };
        let Some(prefix) = warm.take().await else {
            return Ok(0);
        };
        if !self.begins_with(&prefix).await? {
            warn!(
                log = self.config.log.origin(),
                "what this standby has read is not how the log begins now; reading all of it"
            );
            return Ok(0);
        }
        info!(
            log = self.config.log.origin(),
            size = prefix.end().size,
            "read before its turn"
        );
        self.range = prefix.range();
        self.batches_covered = prefix.batches;
        self.covered = prefix.frontier;
        self.replay = prefix.replay;
        Ok(prefix.batches)
    }

    /// Whether both copies, and all that was signed, agree with a prefix, as far as its end shows: the root there is one over every entry before.
    async fn begins_with(&self, prefix: &Prefix) -> Result<bool, Stop> {
        let (end, Some(last)) = (prefix.end(), prefix.batches.checked_sub(1)) else {
            return Ok(false);
        };
        if !self.known.covers(end.size) || !self.known.agrees(&prefix.ends) {
            return Ok(false);
        }
        let stored = self.row(last).await?.is_some_and(|row| row.end == end);
        // Not lost since: it is the one that the next batch will be compared with.
        let published = self.published(last).await?;
        Ok(stored && published.is_some_and(|file| ends_at(&self.config.log, &file, end)))
    }

    /// Steps 3 and 4; returns the number of batches.
    async fn run(&mut self) -> Result<u64, Stop> {
        let mut n = self.warm_start().await?;
        while self.step(n).await? {
            n += 1;
        }
        self.check_end()?;
        Ok(n)
    }

    /// What looks like damage may be a database that failed over, or another sequencer at work, while we were reading. If the log is still ours and the head still
    /// the one that we read by, the damage is real.
    async fn confirm_halt(&self, owner: Owner, reason: String) -> Stop {
        match self
            .parts
            .store
            .take_over(owner, TakeOver::IfStillMine)
            .await
        {
            Ok(head) if (head.batches, head.end) == (self.head.batches, self.head.end) => {
                Stop::Halt(reason)
            }
            Ok(_) => Stop::Again(format!("the database changed while it was read ({reason})")),
            Err(error) => stop(error),
        }
    }

    fn end(&self) -> End {
        End::from(&self.range)
    }

    async fn published(&self, n: u64) -> Result<Option<Bytes>, Stop> {
        self.files
            .read(
                &self.config.log.path(&format!("batches/{n}")),
                FILE_BYTES_MAX,
            )
            .await
    }

    async fn row(&self, n: u64) -> Result<Option<Row>, Stop> {
        if n >= self.head.batches {
            return Ok(None);
        }
        let row = self.parts.store.read(n).await.map_err(stop)?;
        // The head counts rows that are there; a database without them is damaged, and must not pass for one that is merely behind.
        let row = row.ok_or_else(|| {
            Stop::Halt(format!(
                "the database's head counts {} batches, but batch {n} is missing from it",
                self.head.batches
            ))
        })?;
        if row.n != n {
            return Err(Stop::Halt(format!(
                "the database returned batch {} for batch {n}",
                row.n
            )));
        }
        Ok(Some(row))
    }

    /// Makes both copies of batch `n` equal. `false`: neither has it.
    async fn step(&mut self, n: u64) -> Result<bool, Stop> {
        let (published, row) = (self.published(n).await?, self.row(n).await?);
        if let Some(file) = published {
            return self.published_batch(n, &file, row).await.map(|()| true);
        }
        let mut ahead = self.range.clone();
        let batch = match row {
            Some(row) => Batch::from_body(n, &mut ahead, row.body, row.end).map_err(|error| {
                Stop::Halt(format!(
                    "the database's batch {n} does not follow on the log: {error}"
                ))
            })?,
            None if n == 0 => Batch::build(n, &mut ahead, &[(self.parts.content)().genesis()])
                .map_err(|error| Stop::Halt(format!("the genesis cannot be made: {error}")))?,
            None => return Ok(false),
        };
        // All checks before anything is published: nothing there can be taken back.
        self.known.check_batch(&batch)?;
        match self.published(n + 1).await? {
            Some(next) => {
                Batch::from_file(&self.config.log, n + 1, &mut ahead, &next).map_err(|error| {
                    Stop::Halt(format!(
                        "batch {n} is missing from what is published, and batch {} does not follow on the database's: {error}",
                        n + 1
                    ))
                })?;
            }
            None => self
                .known
                .check_reach(self.head.end.size.max(batch.new_end().size))?,
        }
        self.replay(&batch)?;
        if n >= self.head.batches {
            // The genesis goes the way of every batch: committed first, then published.
            self.append(&batch).await?;
        }
        let path = self.config.log.path(&format!("batches/{n}"));
        match self
            .files
            .create(&path, batch.file(&self.config.log))
            .await?
        {
            Creation::Created | Creation::AlreadyEqual => {}
            // A writer before us was still on its way. It wins; look at it all again.
            Creation::Different => {
                return Err(Stop::Again(format!(
                    "{path} was published by another writer meanwhile"
                )));
            }
        }
        self.advance(&batch);
        Ok(true)
    }

    /// A published batch stands, whatever the store says.
    async fn published_batch(
        &mut self,
        n: u64,
        file: &Bytes,
        row: Option<Row>,
    ) -> Result<(), Stop> {
        let batch = Batch::from_file(&self.config.log, n, &mut self.range.clone(), file).map_err(
            |error| {
                Stop::Halt(format!(
                    "the published batches do not chain: batches/{n}: {error}"
                ))
            },
        )?;
        self.known.check_batch(&batch)?;
        self.replay(&batch)?;
        match row {
            Some(row) if row.end == batch.new_end() && row.body == *batch.body() => {}
            Some(row) => {
                error!(
                    log = self.config.log.origin(),
                    n,
                    row.epoch,
                    rows = self.head.batches - n,
                    "the database holds other batches than those published: they are put aside, and somebody should look why there were two writers"
                );
                self.check_published_reach(&batch).await?;
                self.meter.put_aside();
                self.head = self
                    .parts
                    .store
                    .put_aside(&self.head, n, batch.old())
                    .await
                    .map_err(stop)?;
                self.append(&batch).await?;
            }
            None => {
                warn!(
                    log = self.config.log.origin(),
                    n, "the database is behind what is published; rolling forward"
                );
                self.append(&batch).await?;
            }
        }
        self.advance(&batch);
        Ok(())
    }

    fn replay(&mut self, batch: &Batch) -> Result<(), Stop> {
        self.replay.take(batch).map_err(Stop::Halt)
    }

    async fn append(&mut self, batch: &Batch) -> Result<(), Stop> {
        if self.head.batches != batch.n() || self.head.end != batch.old() {
            return Err(Stop::Halt(format!(
                "the database's head is {:?} where batch {} begins: it is damaged",
                self.head,
                batch.n()
            )));
        }
        self.head = self
            .parts
            .store
            .append(&self.head, batch)
            .await
            .map_err(stop)?;
        Ok(())
    }

    fn advance(&mut self, batch: &Batch) {
        for leaf in batch.leaves() {
            self.range.push(*leaf);
        }
        if self.known.covers(batch.new_end().size) {
            self.covered.skip(batch);
            self.batches_covered = batch.n() + 1;
        }
    }

    /// 4. "Both copies end below a checkpoint that was signed or anchored."
    fn check_end(&self) -> Result<(), Stop> {
        let end = self.end();
        if self.head.end != end {
            return Err(Stop::Halt(format!(
                "the database's head is {:?}, but its batches lead to {end:?}: it is damaged",
                self.head
            )));
        }
        self.known.check_reach(end.size)
    }

    /// Before the database's batches from this one on are put aside: the published ones must reach what was signed, or the database may hold the only copy of it.
    async fn check_published_reach(&self, batch: &Batch) -> Result<(), Stop> {
        let mut range = self.range.clone();
        for leaf in batch.leaves() {
            range.push(*leaf);
        }
        let mut n = batch.n() + 1;
        while let Some(file) = self.published(n).await? {
            Batch::from_file(&self.config.log, n, &mut range, &file).map_err(|error| {
                Stop::Halt(format!(
                    "the published batches do not chain: batches/{n}: {error}"
                ))
            })?;
            n += 1;
        }
        self.known.check_reach(range.size())
    }

    /// 5. Reads the batches above the newest checkpoint once more, a few at a time, and finishes them as ever.
    async fn publish_rest(self, files: Persistent<'_>, batches: u64) -> Result<Term, Stop> {
        let closed = self.replay.closed;
        let (end, checkpoint) = self
            .known
            .signed
            .unwrap_or_else(|| (End::empty(), Bytes::new()));
        let published = Published {
            end,
            batches: self.batches_covered,
            closed: closed && self.batches_covered == batches,
            checkpoint,
        };
        let mut finisher = Finisher::new(
            self.config,
            files.clone(),
            &self.parts.signer,
            self.covered,
            published,
        );
        let mut n = self.batches_covered;
        let mut range = finisher.frontier.range();
        let mut rest = Vec::new();
        let uncovered = batches.saturating_sub(n);
        if !self.config.covers_rest && uncovered > 0 && (closed || uncovered > REST_MAX) {
            return Err(Stop::Halt(format!(
                "the log has {uncovered} batches that no checkpoint covers, and the key at hand may not sign them: start it once with the key that signed before"
            )));
        }
        while n < batches {
            let mut group = Vec::new();
            while n < batches && group.len() < self.config.unpublished_max.max(1) {
                let path = self.config.log.path(&format!("batches/{n}"));
                let file = files.read(&path, FILE_BYTES_MAX).await?;
                let file = file.ok_or_else(|| Stop::Again(format!("{path} is gone again")))?;
                let batch =
                    Batch::from_file(&self.config.log, n, &mut range, &file).map_err(|error| {
                        Stop::Halt(format!(
                            "the published batches do not chain any more: {path}: {error}"
                        ))
                    })?;
                group.push(batch);
                n += 1;
            }
            if self.config.covers_rest {
                finisher
                    .finish(&group.iter().collect::<Vec<_>>(), closed && n == batches)
                    .await?;
            } else {
                rest.append(&mut group);
            }
        }
        let end = rest
            .last()
            .map_or(finisher.published.end, |batch: &Batch| batch.new_end());
        if end != self.head.end {
            return Err(Stop::Halt(format!(
                "published to {end:?}, but the log ends at {:?}",
                self.head.end
            )));
        }
        Ok(Term {
            head: self.head,
            range: self.range,
            content: self.replay.content,
            finals: self.replay.finals,
            frontier: finisher.frontier,
            published: finisher.published,
            rest,
        })
    }
}
