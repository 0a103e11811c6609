//! A store in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::faults::{Faults, perform};
use crate::batch::{Batch, End};
use crate::store::{Head, Owner, Row, Store, StoreError, TakeOver};

/// A store in memory. A clone shares the database, but has a session of its own.
#[derive(Debug)]
pub struct MemoryStore {
    database: Arc<Mutex<Database>>,
    session: Mutex<Option<Owner>>,
    faults: Faults,
}

#[derive(Clone, Debug)]
struct Database {
    head: Head,
    owner: Option<Owner>,
    rows: Vec<Row>,
    aside: Vec<Row>,
}

impl MemoryStore {
    /// The store of a new log.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        let head = Head {
            epoch: 0,
            batches: 0,
            end: End::empty(),
        };
        let database = Database {
            head,
            owner: None,
            rows: Vec::new(),
            aside: Vec::new(),
        };
        Self {
            database: Arc::new(Mutex::new(database)),
            session: Mutex::default(),
            faults,
        }
    }

    /// Another session on the same database, failing by another plan.
    #[must_use]
    pub fn with_faults(&self, faults: Faults) -> Self {
        Self {
            database: Arc::clone(&self.database),
            session: Mutex::default(),
            faults,
        }
    }

    /// A database of its own, which begins where this one stands: an old primary that goes on after a failover, unaware.
    #[must_use]
    pub fn fork(&self, faults: Faults) -> Self {
        let database = lock(&self.database).clone();
        Self {
            database: Arc::new(Mutex::new(database)),
            session: Mutex::default(),
            faults,
        }
    }

    /// What is committed.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        lock(&self.database).rows.clone()
    }

    /// What was put aside.
    #[must_use]
    pub fn aside(&self) -> Vec<Row> {
        lock(&self.database).aside.clone()
    }

    /// The head, as the database holds it.
    #[must_use]
    pub fn head(&self) -> Head {
        lock(&self.database).head
    }

    /// Loses all but the first `batches` batches, and `epochs` of the epoch, as when a standby that was behind is promoted.
    pub fn lose_tail(&self, batches: u64, epochs: u64) {
        let mut database = lock(&self.database);
        let kept = usize::try_from(batches)
            .unwrap_or(usize::MAX)
            .min(database.rows.len());
        database.rows.truncate(kept);
        let head = &mut database.head;
        head.epoch = head.epoch.saturating_sub(epochs);
        database.owner = None;
        database.rewind();
    }

    /// Replaces what is committed from batch `n` on, as another writer would have who was fenced too late.
    pub fn overwrite(&self, rows: Vec<Row>) {
        let mut database = lock(&self.database);
        for row in rows {
            let n = usize::try_from(row.n).unwrap_or(usize::MAX);
            database.rows.truncate(n);
            database.rows.push(row);
        }
        database.rewind();
    }

    fn session(&self) -> Result<Owner, StoreError> {
        lock(&self.session).ok_or_else(|| {
            StoreError::Unknown("there is no session; take the log over first".to_owned())
        })
    }

    /// Runs a change; every outcome but a clear one loses the session.
    async fn change(
        &self,
        name: String,
        owner: Owner,
        change: impl FnOnce(&mut Database) -> Result<Head, StoreError> + Send + 'static,
    ) -> Result<Head, StoreError> {
        let database = Arc::clone(&self.database);
        let step = self.faults.next(|| name);
        // Taken out while the change is under way: whoever drops this future loses the session too.
        *lock(&self.session) = None;
        let done = perform(step, move || change(&mut lock(&database))).await;
        match done {
            None => Err(StoreError::Unknown("the session was lost".to_owned())),
            Some(outcome) => {
                *lock(&self.session) = Some(owner);
                outcome
            }
        }
    }
}

impl Database {
    /// Sets the head to the end of the rows.
    fn rewind(&mut self) {
        self.head.batches = u64::try_from(self.rows.len()).unwrap_or(u64::MAX);
        self.head.end = self.rows.last().map_or_else(End::empty, |row| row.end);
    }

    fn fence(&self, owner: Owner, expected: &Head) -> Result<(), StoreError> {
        if self.owner == Some(owner) && self.head == *expected {
            Ok(())
        } else {
            Err(StoreError::Refused(format!(
                "it is at {:?}, not at {expected:?}",
                self.head
            )))
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn take_over(&self, owner: Owner, how: TakeOver) -> Result<Head, StoreError> {
        let take_over = move |database: &mut Database| {
            if how == TakeOver::IfStillMine && database.owner != Some(owner) {
                return Err(StoreError::Refused("it is of another owner".to_owned()));
            }
            database.owner = Some(owner);
            database.head.epoch += 1;
            Ok(database.head)
        };
        self.change("store: take over".to_owned(), owner, take_over)
            .await
    }

    async fn append(&self, expected: &Head, batch: &Batch) -> Result<Head, StoreError> {
        let owner = self.session()?;
        let expected = *expected;
        let row = Row {
            n: batch.n(),
            epoch: expected.epoch,
            end: batch.new_end(),
            body: batch.body().clone(),
        };
        let follows = expected.check_follows(batch);
        let append = move |database: &mut Database| {
            database.fence(owner, &expected)?;
            follows?;
            database.rows.push(row);
            database.rewind();
            Ok(database.head)
        };
        self.change(format!("store: append {}", batch.n()), owner, append)
            .await
    }

    async fn read(&self, n: u64) -> Result<Option<Row>, StoreError> {
        let owner = self.session()?;
        let step = self.faults.next(|| format!("store: read {n}"));
        *lock(&self.session) = None;
        let database = Arc::clone(&self.database);
        let read = move || {
            usize::try_from(n)
                .ok()
                .and_then(|n| lock(&database).rows.get(n).cloned())
        };
        let row = perform(step, read)
            .await
            .ok_or_else(|| StoreError::Unknown("the session was lost".to_owned()))?;
        *lock(&self.session) = Some(owner);
        Ok(row)
    }

    async fn put_aside(&self, expected: &Head, first: u64, end: End) -> Result<Head, StoreError> {
        let owner = self.session()?;
        let expected = *expected;
        let put_aside = move |database: &mut Database| {
            database.fence(owner, &expected)?;
            let kept = usize::try_from(first)
                .unwrap_or(usize::MAX)
                .min(database.rows.len());
            let lost = database.rows.split_off(kept);
            database.aside.extend(lost);
            database.rewind();
            if database.head.end == end {
                Ok(database.head)
            } else {
                Err(StoreError::Unknown("the rows do not end there".to_owned()))
            }
        };
        self.change(format!("store: put aside from {first}"), owner, put_aside)
            .await
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
