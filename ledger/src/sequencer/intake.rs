//! The queue, and exactly once.
//!
//! A key is in one of three states: unknown, *pending* (queued, or in a batch on its way) or *final*. A repeat of something pending joins those who wait for it;
//! nobody is answered before it is final. What makes this exact is the store's fence: nobody else can append.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::mem;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{BatchPolicy, CloseError, Final, Outcome, Published, SubmitError};
use crate::batch::{ENTRY_BYTES_MAX, FILE_BYTES_MAX};
use crate::content::{Keyed, Place, Submission};

/// The most bytes of the submissions of one batch. The rest of a batch file is for its header, length prefixes and what the content adds.
const BATCH_BYTES_MAX: usize = FILE_BYTES_MAX / 4 * 3;

/// The most bytes that may wait, whatever their number.
const QUEUE_BYTES_MAX: usize = 8 * FILE_BYTES_MAX;

/// The most who may wait for one pending key: a guard against somebody who repeats one submission to fill the memory.
const WAITERS_MAX: usize = 16_384;

pub(super) type Answer = Result<Outcome, SubmitError>;
type CloseWaiter = oneshot::Sender<Result<Published, CloseError>>;

/// Everything about submissions; behind one lock, which is never held across a wait.
#[derive(Default)]
pub(super) struct Intake {
    phase: Phase,
    /// No new keys, for good.
    frozen: bool,
    close: Option<Closing>,
    /// Rust's standard hasher is keyed: nobody can choose keys that collide.
    finals: HashMap<[u8; 32], Final>,
    pending: HashMap<[u8; 32], Vec<Waiter>>,
    queue: VecDeque<Queued>,
    queued_bytes: usize,
}

/// Whether submissions are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    TakingOver,
    Open,
    /// The log's last batch is published.
    Closed,
    Stopped,
}

struct Closing {
    entry: Option<Vec<u8>>,
    waiters: Vec<CloseWaiter>,
}

/// Somebody who waits for a pending key. The first is who submitted it; a later one may have submitted something else under it.
struct Waiter {
    same: [u8; 32],
    answer: oneshot::Sender<Answer>,
}

/// A submission that waits for its batch.
pub(super) struct Queued {
    submission: Submission,
    since: Instant,
    /// For a submission without a key; those with one wait in `pending`.
    answer: Option<oneshot::Sender<Answer>>,
}

/// What is left of a submission once its entry is in a batch.
pub(super) struct Ticket {
    pub(super) key: Option<[u8; 32]>,
    pub(super) same: [u8; 32],
    answer: Option<oneshot::Sender<Answer>>,
}

impl Queued {
    pub(super) fn into_parts(self) -> (Submission, Ticket) {
        let Self {
            submission, answer, ..
        } = self;
        let ticket = Ticket {
            key: submission.key,
            same: submission.same,
            answer,
        };
        (submission, ticket)
    }
}

/// How a submission was received.
pub(super) enum Admission {
    Answered(Outcome),
    /// The answer will come; `queued` says whether there is something new to gather.
    Waiting {
        answer: oneshot::Receiver<Answer>,
        queued: bool,
    },
}

/// What to do next.
pub(super) enum Gathered {
    Batch(Vec<Queued>),
    /// The queue is drained: end the log.
    Close(Option<Vec<u8>>),
    /// Nothing yet; look again when something arrives, or at this time.
    Wait(Option<Instant>),
}

impl Intake {
    pub(super) fn admit(
        &mut self,
        submission: Submission,
        queue_max: usize,
    ) -> Result<Admission, SubmitError> {
        if self.phase == Phase::Stopped {
            return Err(SubmitError::Halted);
        }
        if let Some(known) = submission.key.and_then(|key| self.finals.get(&key)) {
            return Ok(Admission::Answered(known.outcome(&submission.same, true)));
        }
        let (sender, answer) = oneshot::channel();
        if let Some(waiters) = submission.key.and_then(|key| self.pending.get_mut(&key)) {
            if waiters.len() >= WAITERS_MAX {
                return Err(SubmitError::Full);
            }
            waiters.push(Waiter {
                same: submission.same,
                answer: sender,
            });
            return Ok(Admission::Waiting {
                answer,
                queued: false,
            });
        }
        // From here on it is something new.
        match self.phase {
            Phase::TakingOver => return Err(SubmitError::NotOpen),
            Phase::Closed => return Err(SubmitError::Closed),
            Phase::Open if self.frozen || self.close.is_some() => return Err(SubmitError::Closed),
            Phase::Open | Phase::Stopped => {}
        }
        let len = submission.entry.len();
        // An empty one is fine here: contents may make the whole entry themselves. The batch refuses empty *entries*.
        if len > ENTRY_BYTES_MAX {
            return Err(SubmitError::TooLong);
        }
        if self.queue.len() >= queue_max || self.queued_bytes + len > QUEUE_BYTES_MAX {
            return Err(SubmitError::Full);
        }
        let answer_to = match submission.key {
            Some(key) => {
                self.pending.insert(
                    key,
                    vec![Waiter {
                        same: submission.same,
                        answer: sender,
                    }],
                );
                None
            }
            None => Some(sender),
        };
        self.queued_bytes += len;
        self.queue.push_back(Queued {
            submission,
            since: Instant::now(),
            answer: answer_to,
        });
        Ok(Admission::Waiting {
            answer,
            queued: true,
        })
    }

    /// Takes the next batch off the queue, if the policy says that it is time.
    pub(super) fn gather(&mut self, policy: &BatchPolicy) -> Gathered {
        // Who will take nothing new has nothing to wait for.
        let draining = self.frozen || self.close.is_some();
        let Some(oldest) = self.queue.front().map(|queued| queued.since) else {
            return match &mut self.close {
                Some(closing) => Gathered::Close(closing.entry.take()),
                None => Gathered::Wait(None),
            };
        };
        let count_max = policy.count_max.max(1);
        let enough = self.queue.len() >= policy.count_min.min(count_max);
        let due = oldest + policy.wait_max;
        if !enough && !draining && Instant::now() < due {
            return Gathered::Wait(Some(due));
        }
        let mut bytes = 0;
        let mut batch = Vec::with_capacity(self.queue.len().min(count_max));
        while let Some(next) = self.queue.front() {
            bytes += 2 + next.submission.entry.len();
            if batch.len() == count_max || bytes > BATCH_BYTES_MAX {
                break;
            }
            let Some(next) = self.queue.pop_front() else {
                break;
            };
            self.queued_bytes -= next.submission.entry.len();
            batch.push(next);
        }
        Gathered::Batch(batch)
    }

    /// The content refused this one.
    pub(super) fn refuse(&mut self, ticket: Ticket, reason: &str) {
        let refused = ticket.same;
        self.answer(ticket, |same| {
            // Somebody else's submission under the same key was not looked at.
            if *same == refused {
                Err(SubmitError::Refused(reason.to_owned()))
            } else {
                Err(SubmitError::Unknown)
            }
        });
    }

    /// A batch is published: its keys are final, and whoever waits is told.
    pub(super) fn settle(
        &mut self,
        first_index: u64,
        keyed: &[Keyed],
        items: Vec<(Ticket, Place)>,
    ) {
        for entry in keyed {
            let index = first_index + u64::from(entry.offset);
            self.finals.insert(
                entry.key,
                Final {
                    index,
                    same: entry.same,
                },
            );
        }
        for (ticket, place) in items {
            match place {
                Place::At(offset) => {
                    let known = Final {
                        index: first_index + u64::from(offset),
                        same: ticket.same,
                    };
                    let mut repeat = false;
                    self.answer(ticket, |same| {
                        Ok(known.outcome(same, mem::replace(&mut repeat, true)))
                    });
                }
                Place::Refused(reason) => self.refuse(ticket, &reason),
            }
        }
    }

    /// Answers everybody who waits for this submission, the first one first.
    fn answer(&mut self, ticket: Ticket, mut answer: impl FnMut(&[u8; 32]) -> Answer) {
        // Who has gone away (a client's time-out) cannot be told, and learns by repeating.
        if let Some(waiting) = ticket.answer {
            let _ = waiting.send(answer(&ticket.same));
        }
        let waiters = ticket.key.and_then(|key| self.pending.remove(&key));
        for waiter in waiters.into_iter().flatten() {
            let _ = waiter.answer.send(answer(&waiter.same));
        }
    }

    /// Opens for a new term, with everything that is final in the log.
    pub(super) fn open(&mut self, finals: HashMap<[u8; 32], Final>, closed: bool) {
        self.finals = finals;
        self.phase = if closed { Phase::Closed } else { Phase::Open };
    }

    /// Ends a term: what is pending is dropped, which tells whoever waits that the outcome is unknown.
    pub(super) fn drop_pending(&mut self) {
        self.phase = Phase::TakingOver;
        self.queue.clear();
        self.queued_bytes = 0;
        self.pending.clear();
        for waiter in self
            .close
            .take()
            .into_iter()
            .flat_map(|closing| closing.waiters)
        {
            let _ = waiter.send(Err(CloseError::Unknown));
        }
    }

    pub(super) fn stop(&mut self) {
        self.drop_pending();
        self.phase = Phase::Stopped;
    }

    pub(super) fn freeze(&mut self) {
        self.frozen = true;
    }

    /// Asks for the log to be closed.
    pub(super) fn request_close(
        &mut self,
        entry: Option<Vec<u8>>,
    ) -> Result<Option<oneshot::Receiver<Result<Published, CloseError>>>, CloseError> {
        match self.phase {
            Phase::Closed => return Ok(None),
            Phase::Stopped => return Err(CloseError::Halted),
            Phase::TakingOver => return Err(CloseError::Unknown),
            Phase::Open => {}
        }
        let (sender, receiver) = oneshot::channel();
        match &mut self.close {
            Some(closing) => closing.waiters.push(sender),
            None => {
                self.close = Some(Closing {
                    entry,
                    waiters: vec![sender],
                })
            }
        }
        Ok(Some(receiver))
    }

    /// The content refused to close; the log goes on.
    pub(super) fn refuse_close(&mut self, reason: &str) {
        for waiter in self
            .close
            .take()
            .into_iter()
            .flat_map(|closing| closing.waiters)
        {
            let _ = waiter.send(Err(CloseError::Refused(reason.to_owned())));
        }
    }

    /// The log's last batch is published.
    pub(super) fn closed(&mut self, published: &Published) {
        self.phase = Phase::Closed;
        for waiter in self
            .close
            .take()
            .into_iter()
            .flat_map(|closing| closing.waiters)
        {
            let _ = waiter.send(Ok(published.clone()));
        }
    }

    pub(super) fn lookup(&self, key: &[u8; 32]) -> Option<Final> {
        self.finals.get(key).copied()
    }

    /// Whether the key stands in the log or is on its way there, other than by what `pending` holds: for the sequencer's own check of a batch.
    pub(super) fn is_final(&self, key: &[u8; 32]) -> bool {
        self.finals.contains_key(key)
    }

    pub(super) fn is_pending(&self, key: &[u8; 32]) -> bool {
        self.pending.contains_key(key)
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }
}

/// Collects the unique keys of a log, refusing the second of its kind.
pub(super) fn insert_final(
    finals: &mut HashMap<[u8; 32], Final>,
    first_index: u64,
    keyed: &[Keyed],
) -> Result<(), u64> {
    for entry in keyed {
        let index = first_index + u64::from(entry.offset);
        match finals.entry(entry.key) {
            Entry::Vacant(free) => {
                free.insert(Final {
                    index,
                    same: entry.same,
                });
            }
            Entry::Occupied(_) => return Err(index),
        }
    }
    Ok(())
}
