//! What a shard of an issuance log holds: `genesis (issuance | count)* close`.

use std::sync::{Arc, Mutex, PoisonError};

use ledger::{Arranged, Content, ContentError, Keyed, Place, Position, Replayed, Submission};
use protocol::entry::{Entry, Genesis, Issuance, Refused};
use protocol::grammar::IssuanceLog;
use protocol::ids::LogId;
use protocol::manifest::Election;

/// Refusals since the log began, shared between the service that counts and the log that publishes.
#[derive(Clone, Default)]
pub struct Refusals(Arc<Mutex<Refused>>);

impl Refusals {
    /// Counts one refusal.
    pub fn add(&self, which: impl FnOnce(&mut Refused) -> &mut u64) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = which(&mut refused);
        *number = number.saturating_add(1);
    }

    /// The numbers now.
    #[must_use]
    pub fn now(&self) -> Refused {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// "Counts never fall": after a restart they go on from those in the log.
    fn raise_to(&self, published: Refused) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.unknown_code = refused.unknown_code.max(published.unknown_code);
        refused.other_message = refused.other_message.max(published.other_message);
        refused.outside_period = refused.outside_period.max(published.outside_period);
        refused.malformed = refused.malformed.max(published.malformed);
    }
}

/// A shard's log for the sequencer. Its unique set (roll index to blinded digest, from what is published) decides who was issued a credential.
pub struct IssuanceContent {
    election: Election,
    registrar: u16,
    shard: u32,
    log: IssuanceLog,
    refusals: Refusals,
}

impl IssuanceContent {
    /// The content of the empty log.
    #[must_use]
    pub fn new(election: &Election, registrar: u16, shard: u32, refusals: Refusals) -> Self {
        Self {
            election: election.clone(),
            registrar,
            shard,
            log: IssuanceLog::new(election, registrar, shard),
            refusals,
        }
    }
}

/// What is unique in an issuance log: the voter, as 24 zero bytes and her roll index.
#[must_use]
pub(crate) fn key_of(roll_index: u64) -> [u8; 32] {
    let mut key = [0; 32];
    let (_, last) = key.split_at_mut(24);
    last.copy_from_slice(&roll_index.to_be_bytes());
    key
}

/// One credential for one voter.
#[must_use]
pub(crate) fn issuance(roll_index: u64, blinded_digest: [u8; 32]) -> Submission {
    Submission {
        key: Some(key_of(roll_index)),
        same: blinded_digest,
        entry: Entry::Issuance(Issuance {
            roll_index,
            blinded_digest,
        })
        .encode(),
    }
}

/// Asks for a count entry with the numbers at that moment.
#[must_use]
pub(crate) const fn count() -> Submission {
    Submission {
        key: None,
        same: [0; 32],
        entry: Vec::new(),
    }
}

impl Content for IssuanceContent {
    fn genesis(&self) -> Vec<u8> {
        let log = LogId::Issuance {
            registrar: self.registrar,
            shard: self.shard,
        };
        Entry::Genesis(Genesis::of(&self.election, log)).encode()
    }

    fn arrange(
        &mut self,
        _at: Position,
        now_ms: u64,
        items: &[Submission],
    ) -> Result<Arranged, ContentError> {
        let mut entries = Vec::with_capacity(items.len());
        let mut places = Vec::with_capacity(items.len());
        for item in items.iter().filter(|item| item.key.is_some()) {
            entries.push(item.entry.clone());
        }
        // However many asked, one count ends the batch: it holds everything that they wanted to see counted.
        let issued = entries.len();
        if issued < items.len() {
            let count = self
                .log
                .next_count(issued as u64, self.refusals.now(), now_ms);
            entries.push(Entry::Count(count).encode());
        }
        let place = |offset: usize| {
            u32::try_from(offset).map_or_else(
                |_| Place::Refused("the batch is full".to_owned()),
                Place::At,
            )
        };
        let mut next = 0;
        for item in items {
            if item.key.is_some() {
                places.push(place(next));
                next += 1;
            } else {
                places.push(place(issued));
            }
        }
        Ok(Arranged { entries, places })
    }

    fn close(
        &mut self,
        _at: Position,
        now_ms: u64,
        given: Option<&[u8]>,
    ) -> Result<Vec<u8>, ContentError> {
        match given {
            Some(_) => Err(ContentError::new(
                "an issuance log makes its close entry itself",
            )),
            None => Ok(Entry::Close(self.log.next_close(now_ms)).encode()),
        }
    }

    fn replay(&mut self, at: Position, entries: &[&[u8]]) -> Result<Replayed, ContentError> {
        let summary = self.log.batch(at.n, entries).map_err(|error| {
            ContentError::new(format!(
                "batch {} of registrar {}'s shard {} breaks the log's grammar: {error}",
                at.n, self.registrar, self.shard
            ))
        })?;
        self.refusals.raise_to(self.log.refused());
        let keyed = (0u32..)
            .zip(&summary.entries)
            .filter_map(|(offset, entry)| match entry {
                Entry::Issuance(issued) => Some(Keyed {
                    offset,
                    key: key_of(issued.roll_index),
                    same: issued.blinded_digest,
                }),
                _ => None,
            })
            .collect();
        Ok(Replayed {
            keyed,
            closed: summary.close().is_some(),
        })
    }
}

#[cfg(test)]
mod tests;
