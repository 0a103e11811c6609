//! The paths of the published tree (specs/protocol.md, section 15), below the election's folder.
