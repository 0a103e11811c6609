//! In-memory models of store, publisher and signer that fail in every way that real ones do. For tests; behind the feature `test-models`.
//!
//! All state is in memory that clones share, so dropping a sequencer at any point is a crash, and starting another over the same models is what comes after it.
//! What goes wrong, and when, a [`Faults`] plan decides: none, one at a given step, or at random from a seed.

mod faults;
mod heads;
mod publisher;
mod signer;
mod store;

pub use faults::{Fault, Faults};
pub use heads::HeadsWriter;
pub use publisher::MemoryPublisher;
pub use signer::{MemorySigner, Signed};
pub use store::MemoryStore;
