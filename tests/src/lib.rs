//! Whole-system tests: elections, attacks, faults.
