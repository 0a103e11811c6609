//! A term of office: from the end of a takeover until something goes wrong.
//!
//! Three tasks hand batches on to each other: *commit* (steps 1 to 4), *fence* (5) and *finish* (6 and 7). They run beside each other, so that one batch commits
//! while the one before is published; and they end together, at the first error, with everything that is on its way dropped.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use protocol::merkle::CompactRange;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::{error, info};

use super::finish::{Finisher, Frontier};
use super::intake::{Gathered, Queued, Ticket, insert_final};
use super::retry::{Persistent, Stop};
use super::shared::Shared;
use super::{Final, Parts, Published};
use crate::batch::Batch;
use crate::content::{Arranged, Content, Keyed, Place, Position};
use crate::publisher::Creation;
use crate::store::{Head, StoreError};

/// What a takeover ends in: everything in both copies, and the state that follows.
pub(super) struct Term {
    pub(super) head: Head,
    pub(super) range: CompactRange,
    pub(super) content: Box<dyn Content>,
    pub(super) finals: HashMap<[u8; 32], Final>,
    pub(super) frontier: Frontier,
    pub(super) published: Published,
    /// Batches above `published`, in both copies: the next checkpoint covers them too.
    pub(super) rest: Vec<Batch>,
}

/// A batch between its commit and its checkpoint.
struct Committed {
    batch: Batch,
    items: Vec<(Ticket, Place)>,
    keyed: Vec<Keyed>,
    closed: bool,
    /// Gives room for another batch once this one is final.
    _room: OwnedSemaphorePermit,
}

/// Serves until something goes wrong; says what.
pub(super) async fn serve(shared: &Shared, parts: &Parts, term: Term) -> Stop {
    let Term {
        head,
        range,
        content,
        finals,
        frontier,
        published,
        rest,
    } = term;
    let closed = published.closed;
    shared.publish(published.clone(), &frontier);
    shared.intake().open(finals, closed);
    info!(
        log = shared.config.log.origin(),
        epoch = head.epoch,
        size = head.end.size,
        closed,
        "taken over"
    );
    shared.set_running(head.epoch);

    let files = Persistent::new(parts.publisher.as_ref(), shared.config.retry);
    let finisher = Finisher::new(
        &shared.config,
        files.clone(),
        &parts.signer,
        frontier,
        published,
    );
    // The semaphore bounds what is in both channels.
    let (to_fence, committed) = mpsc::unbounded_channel();
    let (to_finish, fenced) = mpsc::unbounded_channel();
    let committer = Committer {
        shared,
        parts,
        head,
        range,
        content,
    };
    let ended = futures::try_join!(
        committer.run(to_fence, closed),
        fence(shared, &files, committed, to_finish),
        finish(shared, finisher, rest, fenced),
    );
    match ended {
        Ok((never, ..)) => match never {},
        Err(stop) => stop,
    }
}

/// Steps 1 to 4.
struct Committer<'a> {
    shared: &'a Shared,
    parts: &'a Parts,
    head: Head,
    range: CompactRange,
    content: Box<dyn Content>,
}

impl Committer<'_> {
    async fn run(
        mut self,
        to_fence: mpsc::UnboundedSender<Committed>,
        mut closed: bool,
    ) -> Result<Infallible, Stop> {
        let room = Arc::new(Semaphore::new(self.shared.config.unpublished_max.max(1)));
        while !closed {
            // Room first: what arrives while there is none gathers for the same batch.
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                break;
            };
            let made = match self.gather().await {
                Made::Batch(items) => self.batch(items)?,
                Made::Close(entry) => self.close(entry.as_deref())?,
            };
            let Some((batch, items, keyed, closes)) = made else {
                continue;
            };
            self.commit(&batch).await?;
            closed = closes;
            // The receiver is gone only when the term is ending.
            let _ = to_fence.send(Committed {
                batch,
                items,
                keyed,
                closed,
                _room: permit,
            });
        }
        // The log has ended; repeats and receipts are served from what is final.
        std::future::pending().await
    }

    /// 1. A batch is what has gathered by now, once the policy says that it is time.
    async fn gather(&self) -> Made {
        loop {
            let mut arrival = std::pin::pin!(self.shared.arrival.notified());
            // From here on no arrival is missed, so looking and waiting leaves no gap.
            arrival.as_mut().enable();
            let due = match self.shared.intake().gather(&self.shared.config.batch) {
                Gathered::Batch(items) => return Made::Batch(items),
                Gathered::Close(entry) => return Made::Close(entry),
                Gathered::Wait(due) => due,
            };
            match due {
                Some(due) => {
                    let _ = tokio::time::timeout_at(due, arrival).await;
                }
                None => arrival.await,
            }
        }
    }

    const fn position(&self) -> Position {
        Position {
            n: self.head.batches,
            first_index: self.head.end.size,
        }
    }

    /// 2. Arranges a batch, and checks it as if somebody else had.
    fn batch(&mut self, items: Vec<Queued>) -> Result<Option<Prepared>, Stop> {
        let at = self.position();
        let (submissions, items): (Vec<_>, Vec<_>) =
            items.into_iter().map(Queued::into_parts).unzip();
        let Arranged { entries, places } = self
            .content
            .arrange(at, self.parts.clock.now_ms(), &submissions)
            .map_err(|error| Stop::Halt(format!("batch {} cannot be made: {error}", at.n)))?;
        if places.len() != items.len() {
            return Err(Stop::Halt(format!(
                "batch {}: {} places for {} submissions",
                at.n,
                places.len(),
                items.len()
            )));
        }
        if entries.is_empty() {
            let mut intake = self.shared.intake();
            for (item, place) in items.into_iter().zip(places) {
                match place {
                    Place::Refused(reason) => intake.refuse(item, &reason),
                    Place::At(_) => {
                        return Err(Stop::Halt(format!("batch {}: a place in no batch", at.n)));
                    }
                }
            }
            return Ok(None);
        }
        let (batch, keyed, closed) = self.check(at, &entries)?;
        // In pairs: what each submission was promised is what the check found in the batch.
        let found: HashMap<u32, &Keyed> = keyed.iter().map(|entry| (entry.offset, entry)).collect();
        for (item, place) in items.iter().zip(&places) {
            let Place::At(offset) = place else { continue };
            let kept = match item.key {
                Some(key) => found
                    .get(offset)
                    .is_some_and(|entry| entry.key == key && entry.same == item.same),
                None => usize::try_from(*offset).is_ok_and(|offset| offset < entries.len()),
            };
            if !kept {
                return Err(Stop::Halt(format!(
                    "batch {}: entry {offset} is not what was submitted",
                    at.n
                )));
            }
        }
        let items = items.into_iter().zip(places).collect();
        Ok(Some((batch, items, keyed, closed)))
    }

    /// 2, for the batch that ends the log.
    fn close(&mut self, given: Option<&[u8]>) -> Result<Option<Prepared>, Stop> {
        let at = self.position();
        match self.content.close(at, self.parts.clock.now_ms(), given) {
            Ok(entry) => {
                let (batch, keyed, closed) = self.check(at, &[entry])?;
                if !closed {
                    return Err(Stop::Halt(format!(
                        "batch {}: the entry that should end the log does not",
                        at.n
                    )));
                }
                Ok(Some((batch, Vec::new(), keyed, closed)))
            }
            // Who asked may ask again with another entry; the log goes on.
            Err(error) => {
                self.shared.intake().refuse_close(&error.to_string());
                Ok(None)
            }
        }
    }

    /// The same check that every batch passes at takeover. A failure is fatal: the content made what it refuses itself, and nobody can say which is right.
    fn check<E: AsRef<[u8]>>(
        &mut self,
        at: Position,
        entries: &[E],
    ) -> Result<(Batch, Vec<Keyed>, bool), Stop> {
        let slices: Vec<&[u8]> = entries.iter().map(AsRef::as_ref).collect();
        let refused = |error: String| Stop::Halt(format!("batch {} was made wrong: {error}", at.n));
        let replayed = self
            .content
            .replay(at, &slices)
            .map_err(|error| refused(error.to_string()))?;
        let mut within = HashMap::new();
        insert_final(&mut within, at.first_index, &replayed.keyed)
            .map_err(|index| refused(format!("entry {index} repeats a key")))?;
        if let Some(entry) = replayed
            .keyed
            .iter()
            .find(|entry| self.shared.intake().is_final(&entry.key))
        {
            return Err(refused(format!(
                "entry {} repeats a key of the log",
                entry.offset
            )));
        }
        // The tree moves only when the batch is committed.
        let batch = Batch::build(at.n, &mut self.range.clone(), &slices)
            .map_err(|error| refused(error.to_string()))?;
        Ok((batch, replayed.keyed, replayed.closed))
    }

    /// 3 and 4. Any doubt ends the term: what is pending is dropped, and the takeover reads what became of it.
    async fn commit(&mut self, batch: &Batch) -> Result<(), Stop> {
        let begun = Instant::now();
        let head = match self.parts.store.append(&self.head, batch).await {
            Ok(head) => head,
            // Fenced: certainly not appended, and never will be by us.
            Err(StoreError::Refused(reason)) => return Err(Stop::StepDown(reason)),
            Err(StoreError::Unknown(reason)) => return Err(Stop::Again(reason)),
        };
        let want = Head {
            epoch: self.head.epoch,
            batches: batch.n() + 1,
            end: batch.new_end(),
        };
        if head != want {
            return Err(Stop::Again(format!(
                "the store is at {head:?} instead of {want:?}"
            )));
        }
        for leaf in batch.leaves() {
            self.range.push(*leaf);
        }
        self.head = head;
        self.shared.meter.committed(begun);
        Ok(())
    }
}

/// What was gathered.
enum Made {
    Batch(Vec<Queued>),
    Close(Option<Vec<u8>>),
}

/// A batch that is ready to be committed: with what became of each submission, its unique keys, and whether it ends the log.
type Prepared = (Batch, Vec<(Ticket, Place)>, Vec<Keyed>, bool);

/// 5. Creates `batches/<n>` in order: n + 1 is sent after n is confirmed, so there never is a gap for somebody else to fill.
async fn fence(
    shared: &Shared,
    files: &Persistent<'_>,
    mut committed: mpsc::UnboundedReceiver<Committed>,
    to_finish: mpsc::UnboundedSender<Committed>,
) -> Result<Infallible, Stop> {
    while let Some(next) = committed.recv().await {
        let begun = Instant::now();
        let path = shared
            .config
            .log
            .path(&format!("batches/{}", next.batch.n()));
        match files
            .create(&path, next.batch.file(&shared.config.log))
            .await?
        {
            Creation::Created | Creation::AlreadyEqual => {}
            Creation::Different => {
                error!(
                    path,
                    "another writer published this batch; our own has lost"
                );
                return Err(Stop::StepDown(format!(
                    "{path} is published with other bytes: another sequencer is at work"
                )));
            }
        }
        shared.meter.fenced(begun);
        let _ = to_finish.send(next);
    }
    // The committer never ends by itself.
    std::future::pending().await
}

/// 6 and 7. One checkpoint for everything that was fenced meanwhile; then the answers.
async fn finish(
    shared: &Shared,
    mut finisher: Finisher<'_>,
    mut rest: Vec<Batch>,
    mut fenced: mpsc::UnboundedReceiver<Committed>,
) -> Result<Infallible, Stop> {
    while let Some(first) = fenced.recv().await {
        let mut group = vec![first];
        while let Ok(next) = fenced.try_recv() {
            group.push(next);
        }
        let begun = Instant::now();
        let fresh = group.iter().map(|committed| &committed.batch);
        let batches: Vec<&Batch> = rest.iter().chain(fresh).collect();
        let closed = group.last().is_some_and(|last| last.closed);
        let count = batches.len() as u64;
        let before = finisher.published.end.size;
        finisher.finish(&batches, closed).await?;
        let entries = finisher.published.end.size - before;
        shared.meter.finished(begun, count, entries);
        rest.clear();
        // The receipt that an answer promises is there before the answer.
        shared.publish(finisher.published.clone(), &finisher.frontier);
        let mut intake = shared.intake();
        for Committed {
            batch,
            items,
            keyed,
            ..
        } in group
        {
            intake.settle(batch.old().size, &keyed, items);
        }
        if closed {
            intake.closed(&finisher.published);
        }
    }
    std::future::pending().await
}
