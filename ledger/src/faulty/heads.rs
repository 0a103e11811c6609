//! A heads log written by the test itself, truthful or not.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use protocol::checkpoint::Checkpoint;
use protocol::ed25519::SigningKey;
use protocol::entry::{
    AuthorityKey, Entry, Genesis, Head, HeadLog, LogState, Notice, NoticeAction, NoticeBody,
};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::{CompactRange, Hash};

use crate::batch::Batch;
use crate::publisher::Publisher;

/// Writes a heads log: what it is told, whether that keeps the grammar or not. It does not publish tiles.
pub struct HeadsWriter {
    election: Election,
    publisher: Arc<dyn Publisher>,
    /// Signs checkpoints.
    pub key: SigningKey,
    /// Signs notices.
    pub authority: SigningKey,
    /// The sequence of the next notice.
    pub sequence: u32,
    range: CompactRange,
    n: u64,
    checkpoint: Option<Bytes>,
}

impl HeadsWriter {
    /// Nothing is written yet.
    #[must_use]
    pub fn new(
        election: &Election,
        publisher: Arc<dyn Publisher>,
        key: SigningKey,
        authority: SigningKey,
    ) -> Self {
        Self {
            election: election.clone(),
            publisher,
            key,
            authority,
            sequence: 0,
            range: CompactRange::new(),
            n: 0,
            checkpoint: None,
        }
    }

    /// Entries so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.range.size()
    }

    /// The root over them.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.range.root()
    }

    /// Writes the genesis.
    ///
    /// # Errors
    ///
    /// The publisher's.
    pub async fn genesis(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let genesis = Genesis::of(&self.election, LogId::Heads);
        self.append(&[Entry::Genesis(genesis)]).await
    }

    /// Writes a notice of the authority.
    ///
    /// # Errors
    ///
    /// The publisher's.
    pub async fn notice(
        &mut self,
        action: NoticeAction,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let body = NoticeBody {
            sequence: self.sequence,
            action,
        };
        self.sequence += 1;
        let key = AuthorityKey::Main;
        let signature = self.authority.sign(&body.message(&self.election.id(), key));
        self.append(&[Entry::Notice(Notice {
            key,
            signature,
            body,
        })])
        .await
    }

    /// Writes a head in which each log stands at size 1, with its genesis, in the state that is asked for.
    ///
    /// # Errors
    ///
    /// The publisher's.
    pub async fn head(
        &mut self,
        time: u64,
        state: impl Fn(LogId) -> LogState,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let logs = self.election.logs().iter().map(|log| {
            let genesis = Genesis::of(&self.election, *log).encode();
            let mut range = CompactRange::new();
            range.push(protocol::merkle::leaf_hash(&genesis));
            let closed = state(*log) == LogState::Closed;
            if closed {
                // Some other entry: who reads heads alone cannot tell.
                range.push(protocol::merkle::leaf_hash(b"close"));
            }
            HeadLog {
                state: state(*log),
                size: range.size(),
                root: range.root(),
            }
        });
        let head = Head {
            time,
            logs: logs.collect(),
        };
        self.append(&[Entry::Head(head)]).await
    }

    /// Writes a batch of these entries and its checkpoint.
    ///
    /// # Errors
    ///
    /// The publisher's.
    pub async fn append(&mut self, entries: &[Entry]) -> Result<(), Box<dyn Error + Send + Sync>> {
        let name = crate::heads::name_of(&self.election, LogId::Heads);
        let entries: Vec<Vec<u8>> = entries.iter().map(Entry::encode).collect();
        let batch = Batch::build(self.n, &mut self.range, &entries)?;
        let path = name.path(&format!("batches/{}", self.n));
        self.publisher.create(&path, batch.file(&name)).await?;
        self.n += 1;
        self.sign().await
    }

    /// Signs the checkpoint anew, with the key that `self.key` is now, and moves `checkpoint` there.
    ///
    /// # Errors
    ///
    /// The publisher's.
    pub async fn sign(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let name = crate::heads::name_of(&self.election, LogId::Heads);
        let checkpoint = Checkpoint::new(name.origin(), self.size(), self.root())?;
        let signature = self.key.sign(checkpoint.body().as_bytes());
        let note: Bytes = checkpoint.signed(&self.key.public(), &signature).into();
        self.publisher
            .move_checkpoint(
                &name.path("checkpoint"),
                self.checkpoint.take(),
                note.clone(),
            )
            .await?;
        self.checkpoint = Some(note);
        Ok(())
    }
}
