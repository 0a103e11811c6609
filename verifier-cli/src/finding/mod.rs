//! What an audit or a receipt check finds: a stable code, a place, evidence in words, and the most votes that it can affect.

mod codes;
mod collect;

use std::fmt;

use protocol::ids::LogId;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

pub use codes::Code;
pub use collect::{Findings, LISTED_MAX};

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing and within what the rules bound: counted, and reported with its number.
    Minor,
    /// A published file is wrong or missing. The votes themselves were still recounted.
    Major,
    /// The ledger, or the result, is not what it must be.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Critical => "critical",
        })
    }
}

/// Where a finding is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Place {
    /// The file, relative to the election's folder.
    pub file: String,
    /// The leaf index within the log, or the object's number, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
}

impl Place {
    /// A whole file.
    #[must_use]
    pub fn file(file: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            index: None,
        }
    }

    /// A leaf or object within a file.
    #[must_use]
    pub fn at(file: impl Into<String>, index: u64) -> Self {
        Self {
            file: file.into(),
            index: Some(index),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{}, index {index}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// The most voters that a roll may have (`specs/protocol.md`, section 2): what stands for the roll where no manifest can be believed, which bounds nothing.
pub const ROLL_MAX: u64 = 1 << 40;

/// The most votes that a finding can affect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Votes {
    /// So many.
    AtMost(u64),
    /// Not bounded by the files: as many as the roll has voters.
    WholeRoll,
}

impl Votes {
    /// Those in entries that are missing of a log. Of the heads log, any number: each head covers any number of votes.
    #[must_use]
    pub const fn in_missing(log: LogId, entries: u64) -> Self {
        match log {
            LogId::Heads => Self::WholeRoll,
            LogId::Cell(_) | LogId::Issuance { .. } => Self::AtMost(entries),
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// What kind.
    #[serde(serialize_with = "code_text")]
    #[schemars(with = "Code")]
    pub code: Code,
    /// How much it weighs.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What was seen, and what should have been.
    pub evidence: String,
    /// Votes affected at most.
    pub votes_at_most: u64,
}

fn code_text<S: Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.name())
}
