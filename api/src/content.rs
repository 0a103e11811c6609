//! What a cell's log holds: `genesis (vote+ tally)* close`.

use ledger::{Arranged, Content, ContentError, Keyed, Place, Position, Replayed, Submission};
use protocol::entry::{Entry, Genesis, Tally, Vote};
use protocol::grammar::CellLog;
use protocol::ids::LogId;
use protocol::manifest::Election;
use sha2::{Digest as _, Sha256};

/// A cell's log for the sequencer: sorts each batch's votes by leaf hash, and ends it with its tally entry.
///
/// Within a batch the order of arrival is forgotten, so that nobody can join it with the order in which somebody was seen to vote.
pub struct CellContent {
    election: Election,
    cell: u32,
    /// The sequencer keeps the credentials, with their indices; a second set here would double the memory.
    log: CellLog,
}

impl CellContent {
    /// The content of the empty log.
    #[must_use]
    pub fn new(election: &Election, cell: u32) -> Self {
        Self {
            election: election.clone(),
            cell,
            log: CellLog::without_credentials(election, cell),
        }
    }
}

/// What the sequencer is given of a vote whose signatures have all been verified.
///
/// "Two votes are *the same* when credential key and ballot are equal": signatures do not matter, since some clients sign at random.
#[must_use]
pub fn submission(vote: &Vote) -> Submission {
    Submission {
        key: Some(vote.credential),
        same: same(vote),
        entry: vote.encode(),
    }
}

/// The digest that two votes share exactly when they are the same.
#[must_use]
pub(crate) fn same(vote: &Vote) -> [u8; 32] {
    Sha256::new()
        .chain_update(vote.credential)
        .chain_update(vote.ballot.encode())
        .finalize()
        .into()
}

impl Content for CellContent {
    fn genesis(&self) -> Vec<u8> {
        Entry::Genesis(Genesis::of(&self.election, LogId::Cell(self.cell))).encode()
    }

    fn arrange(
        &mut self,
        at: Position,
        now_ms: u64,
        items: &[Submission],
    ) -> Result<Arranged, ContentError> {
        if at.n != self.log.next_batch() {
            return Err(ContentError::new(format!(
                "batch {} was asked for, and the log's next is {}: the sequencer and the content have come apart",
                at.n,
                self.log.next_batch()
            )));
        }
        let mut places = vec![Place::Refused("not a vote of this cell".to_owned()); items.len()];
        let mut votes = Vec::with_capacity(items.len());
        for (item, submission) in items.iter().enumerate() {
            // Decoded once before, so this fails for a bug only; it costs about a microsecond, and keeps a bad entry out of a log for ever.
            match Vote::decode(&submission.entry, &self.election) {
                Ok(vote) if Some(vote.credential) == submission.key => {
                    votes.push((vote.leaf_hash(), item, vote))
                }
                _ => {}
            }
        }
        // "one or more votes, strictly ascending by leaf hash (RFC 6962, compared as bytes), then one tally with batch number n"
        votes.sort_unstable_by_key(|(leaf, _, _)| *leaf);
        let mut entries = Vec::with_capacity(votes.len() + 1);
        for (offset, (_, item, vote)) in (0u32..).zip(&votes) {
            entries.push(vote.encode());
            if let Some(place) = places.get_mut(*item) {
                *place = Place::At(offset);
            }
        }
        if !votes.is_empty() {
            // Its time is rounded up to `batch_wait_ms` and never falls.
            let tally: Tally = self
                .log
                .next_tally(votes.iter().map(|(_, _, vote)| vote), now_ms);
            entries.push(Entry::Tally(tally).encode());
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
            Some(_) => Err(ContentError::new("a cell makes its close entry itself")),
            None => Ok(Entry::Close(self.log.next_close(now_ms)).encode()),
        }
    }

    fn replay(&mut self, at: Position, entries: &[&[u8]]) -> Result<Replayed, ContentError> {
        let summary = self.log.batch(at.n, entries).map_err(|error| {
            ContentError::new(format!(
                "batch {} of cell {} breaks the log's grammar: {error}",
                at.n, self.cell
            ))
        })?;
        let keyed = (0u32..)
            .zip(&summary.entries)
            .filter_map(|(offset, entry)| match entry {
                Entry::Vote(vote) => Some(Keyed {
                    offset,
                    key: vote.credential,
                    same: same(vote),
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
