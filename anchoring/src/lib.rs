//! The heads log, its anchors, notices and the final head.
//!
//! [`Anchoring`] reads what is published like any outsider and signs with one key, that of the heads log. At fixed intervals it appends a *head*: every log's
//! size and root, each checked to continue what the head before it said. A log that cannot be read or does not check out is left at its last
//! good size and marked stale, with an alarm, so that one bad log stalls nobody. The authority's *notices* go into the same log. The *final
//! head* says what counts, and ends it.
//!
//! Each checkpoint of the heads log, with its new entries, goes to every [`Anchor`]: places that keep what they were given. Whatever they hold
//! that is not of this heads log is evidence that it forked, and stops the service rather than to go on from either side.
//!
//! Where the manifest names witnesses, each [`Witness`] is asked to cosign every checkpoint, and `cosigned/<size>` is published with the quorum's cosignatures.

mod anchor;
mod asking;
mod bucket;
mod content;
mod cosigning;
mod directory;
mod entries;
mod heads;
mod judge;
mod keeper;
mod meter;
mod notices;
mod object;
mod observe;
mod recount;
mod service;
mod shown;
mod start;
mod witness;

pub use anchor::{Anchor, AnchorError, Created, OBJECT_LEN_MAX};
pub use bucket::{BucketAnchor, BucketAnchorError};
pub use content::{HeadsContent, HeadsKey};
pub use cosigning::{Cosigned, CosigningTimes, WitnessState};
pub use directory::DirectoryAnchor;
pub use heads::NewestHead;
pub use meter::describe_metrics;
pub use notices::{NoticeAppended, NoticeRefused};
pub use service::{Anchoring, AnchoringConfig};
pub use shown::ShownAnchor;
pub use start::StartError;
pub use witness::{Witness, WitnessError};
