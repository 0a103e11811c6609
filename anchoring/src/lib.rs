//! The heads log, its anchors, notices and the final head.

mod anchor;
mod directory;

pub use anchor::{Anchor, AnchorError, Created, OBJECT_LEN_MAX};
pub use directory::DirectoryAnchor;
