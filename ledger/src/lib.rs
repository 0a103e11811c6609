//! The log: sequencing, stores and publishing.
