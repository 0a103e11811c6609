//! Services that stand alone: each its own process, with its own configuration and nothing else.

mod alone;
