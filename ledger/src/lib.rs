//! The log: how a batch of entries becomes final.
//!
//! One [`Sequencer`] per log gathers entries into batches, commits each to a [`Store`] (the database), creates its second copy `batches/<n>` with a [`Publisher`]
//! (the object store), signs a checkpoint over it, publishes tiles, and only then answers. It knows nothing about votes: what a log holds is its [`Content`].
//!
//! Two copies, and one order of steps, make an answer safe to give: an entry that was acknowledged stands in the store under its durability policy **and** in a batch file
//! that nobody can replace. Whoever takes over reads both, and either goes on exactly there or halts; see [`sequencer`].
//!
//! Outsiders (tally, anchoring) read what is published through a [`Reader`] with [`LogClient`], and trust nothing that they have not checked.

pub mod batch;
pub mod bucket;
pub mod cache;
pub mod clock;
pub mod content;
#[cfg(any(test, feature = "test-models"))]
pub mod faulty;
pub mod fsck;
pub mod heads;
pub mod log;
pub mod postgres;
pub mod publisher;
pub mod read;
pub mod schedule;
pub mod sequencer;
pub mod store;

pub use batch::{Batch, End};
pub use clock::{Clock, SystemClock};
pub use content::{Arranged, Content, ContentError, Keyed, Place, Position, Replayed, Submission};
pub use log::{Keys, LogName};
pub use publisher::directory::{Directory, DirectoryReader};
pub use publisher::s3::S3;
pub use publisher::{Creation, Move, PublishError, Publisher, ReadError, Reader};
pub use read::LogClient;
pub use sequencer::{
    BatchPolicy, Config, Handle, Outcome, Parts, Published, Sequencer, State, SubmitError, Warm,
    WarmError,
};
pub use store::postgres::{Durability, Failover, Postgres, PostgresRows, Standbys};
pub use store::sqlite::{Sqlite, SqliteRows};
pub use store::{Head, Store, StoreError, StoredRows};
