//! The books of an election: roll, credentials issued, requests refused, votes; by registrar, shard and cell, from entries that stand in signed trees.
//!
//! They must agree: no registrar issues more than the roll has voters, and no more votes are counted than each registrar issued. What lies between is the room that is left for
//! further votes. It says nothing about how many of those that are there were invented: each of them took some of that room.

mod books;
mod identities;

use std::collections::BTreeMap;

use protocol::ids::ElectionId;
use schemars::JsonSchema;
use serde::Serialize;

use crate::finding::Finding;
use crate::opened::{Ended, Opened};
use crate::progress::Progress;
use crate::verdict::Outcome;

/// The books.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ReconcileVerdict {
    /// Verified: they agree. Findings: they do not. Unchecked: something could not be read.
    pub verdict: Outcome,
    /// The election id.
    pub election: String,
    /// Where the files came from.
    pub source: String,
    /// At which sizes: those of the final head, or those of the logs' newest checkpoints.
    pub at: Option<Moment>,
    /// Voters on the roll.
    pub roll: u64,
    /// Each registrar's issuance logs.
    pub registrars: Vec<RegistrarBooks>,
    /// Each cell.
    pub cells: Vec<CellBooks>,
    /// Votes over all cells.
    pub votes: u64,
    /// Votes that are blank in every contest.
    pub abstentions: u64,
    /// The smallest of `issued - votes` over the registrars: so many further votes could be cast by whoever holds all keys. It does not bound how many of the votes were invented.
    /// Null where it cannot be told.
    pub unused_credentials: Option<u64>,
    /// Voters on the roll without a vote.
    pub voters_without_vote: Option<u64>,
    /// What must hold, with its figures.
    pub identities: Vec<Identity>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How many findings there were of each code.
    pub findings_by_code: BTreeMap<&'static str, u64>,
    /// What was not checked.
    pub not_covered: Vec<String>,
}

/// Which sizes the books are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// What counts.
    FinalHead,
    /// The newest checkpoint of each log, the cells' taken before the issuance logs'.
    NewestCheckpoints,
}

/// A registrar.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RegistrarBooks {
    /// Its index.
    pub registrar: u16,
    /// Its name.
    pub name: String,
    /// Credentials issued, over its shards.
    pub issued: u64,
    /// Voters on the roll to whom it issued none.
    pub not_issued: u64,
    /// Credentials that have not voted.
    pub unused: u64,
    /// Requests refused.
    pub refused: Refusals,
    /// Its shards.
    pub shards: Vec<ShardBooks>,
}

/// One issuance log.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ShardBooks {
    /// Its index.
    pub shard: u32,
    /// Entries.
    pub size: u64,
    /// Whether it is closed.
    pub closed: bool,
    /// Voters of the roll that belong to it.
    pub roll: u64,
    /// Credentials issued.
    pub issued: u64,
    /// Requests refused, as of its newest count.
    pub refused: Refusals,
}

/// Refused requests by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Refusals {
    /// No such code.
    pub unknown_code: u64,
    /// A second credential was asked for.
    pub other_message: u64,
    /// Too early or too late.
    pub outside_period: u64,
    /// No request at all.
    pub malformed: u64,
}

impl Refusals {
    fn add(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.unknown_code, other.unknown_code),
            (&mut self.other_message, other.other_message),
            (&mut self.outside_period, other.outside_period),
            (&mut self.malformed, other.malformed),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.unknown_code
            .saturating_add(self.other_message)
            .saturating_add(self.outside_period)
            .saturating_add(self.malformed)
    }
}

/// A cell.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CellBooks {
    /// Its index.
    pub cell: u32,
    /// Entries.
    pub size: u64,
    /// Batches of votes.
    pub batches: u64,
    /// Votes.
    pub votes: u64,
    /// Votes that are blank in every contest.
    pub abstentions: u64,
}

/// Something that must hold.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Identity {
    /// In words.
    pub what: String,
    /// One side,
    pub left: u64,
    /// how it must stand to the other (`=` or `<=`),
    pub relation: &'static str,
    /// the other.
    pub right: u64,
    /// Whether it does.
    pub holds: bool,
}

/// Makes the books of the election at `given`, a URL or a directory.
#[must_use]
pub fn run(given: &str, id: &ElectionId, progress: &Progress) -> ReconcileVerdict {
    let mut verdict = ReconcileVerdict {
        verdict: Outcome::Unchecked,
        election: id.to_string(),
        source: given.to_owned(),
        at: None,
        roll: 0,
        registrars: Vec::new(),
        cells: Vec::new(),
        votes: 0,
        abstentions: 0,
        unused_credentials: None,
        voters_without_vote: None,
        identities: Vec::new(),
        findings: Vec::new(),
        findings_by_code: BTreeMap::new(),
        not_covered: Vec::new(),
    };
    let opened = match Opened::at(given, id, progress) {
        Ok(opened) => opened,
        Err(ended) => {
            verdict.end(ended);
            return verdict;
        }
    };
    verdict.source.clone_from(&opened.located.place);
    verdict.roll = opened.election.manifest().roll.size;
    let context = opened.context();
    if books::make(&context, &mut verdict).is_none() && opened.findings.is_empty() {
        context.unread.note("the books are not complete".to_owned());
    }
    verdict.end(opened.end());
    verdict
}

impl ReconcileVerdict {
    fn end(&mut self, ended: Ended) {
        self.verdict = ended.verdict;
        self.findings = ended.findings;
        self.findings_by_code = ended.findings_by_code;
        self.not_covered = ended
            .unread
            .into_iter()
            .chain(
                [
                    "that each tally is the sum of its votes, and each count that of its issuances: `audit` recounts",
                    "that no voter was issued two credentials, and no credential voted twice: `audit`",
                    "whether the voters in whose names credentials were issued asked for them: only they know",
                ]
                .map(str::to_owned),
            )
            .collect();
    }
}
