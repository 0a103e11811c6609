//! The heads log, its anchors, notices and the final head.
