//! The verdict: what `--json` prints, and what the words are made from.

use std::collections::BTreeMap;

use protocol::results::ContestResult;
use schemars::JsonSchema;
use serde::Serialize;

use crate::finding::Finding;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything that was checked is right.
    Verified,
    /// Something is wrong.
    Findings,
    /// It could not be checked.
    Unchecked,
}

impl From<Outcome> for u8 {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Verified => 0,
            Outcome::Findings => 1,
            Outcome::Unchecked => 2,
        }
    }
}

/// How far an election is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// There is no final head: more votes may come.
    Open,
    /// The final head says what counts.
    Final,
    /// The authority made the election void.
    Cancelled,
}

/// What an audit says.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AuditVerdict {
    /// How it ended.
    pub verdict: Outcome,
    /// How far the election is; null where that could not be found out: without a manifest, or where the heads log could not be followed to its end.
    pub state: Option<State>,
    /// The election id.
    pub election: String,
    /// The election's title; null without a manifest.
    pub title: Option<String>,
    /// The manifest says that this is a rehearsal; null without a manifest.
    pub demo: Option<bool>,
    /// Where the files came from.
    pub source: String,
    /// False where a log could not be followed to its end: then votes, what was issued, and what is late or early are of what was followed, and no result.
    pub complete: bool,
    /// What was looked at.
    pub covered: Covered,
    /// Votes counted, abstentions included.
    pub votes: u64,
    /// Votes that are blank in every contest.
    pub abstentions: u64,
    /// What each registrar issued.
    pub issued: Vec<Issued>,
    /// Voters on the roll.
    pub roll: u64,
    /// The recount; null where it could not be made, is not complete, or nothing is counted.
    pub results: Option<Vec<ContestResult>>,
    /// What cannot be excluded.
    pub bounds: Bounds,
    /// Batches with fewer votes than the manifest's minimum.
    pub small_batches: SmallBatchReport,
    /// What is wrong, the weightiest first; at most 1,000.
    pub findings: Vec<Finding>,
    /// How many findings there were of each code, listed or not.
    pub findings_by_code: BTreeMap<&'static str, u64>,
    /// What the verdict does not rest on.
    pub not_covered: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// What was looked at.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct Covered {
    /// Each cell.
    pub cells: Vec<CellCovered>,
    /// Each shard of each registrar's issuance log.
    pub issuance: Vec<IssuanceCovered>,
    /// The heads log.
    pub heads: HeadsCovered,
    /// Each anchor.
    pub anchors: Vec<AnchorCovered>,
    /// Each witness that was asked for its own copy, and answered.
    pub witnesses: Vec<WitnessCovered>,
    /// What was kept from before, and compared with the logs.
    pub evidence: EvidenceCovered,
    /// Batches whose signatures an earlier run of this audit had checked.
    pub checked_before: u64,
}

/// A cell's log as followed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CellCovered {
    /// Its index.
    pub cell: u32,
    /// Entries.
    pub size: u64,
    /// Votes.
    pub votes: u64,
    /// Whether it is closed.
    pub closed: bool,
}

/// An issuance log as followed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct IssuanceCovered {
    /// The registrar's index.
    pub registrar: u16,
    /// The shard's index.
    pub shard: u32,
    /// Entries.
    pub size: u64,
    /// Credentials issued.
    pub issued: u64,
    /// Whether it is closed.
    pub closed: bool,
}

/// The heads log as followed.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct HeadsCovered {
    /// Entries.
    pub size: u64,
    /// Heads among them.
    pub heads: u64,
    /// The newest head's time (ms since 1970).
    pub last_time: Option<u64>,
    /// What witnesses vouch for; null where the manifest names none.
    pub cosigned: Option<CosignedCovered>,
}

/// The heads log's checkpoints that a quorum of witnesses has cosigned, as far as they were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CosignedCovered {
    /// Witnesses that the manifest names.
    pub witnesses: u64,
    /// How many of them must have cosigned.
    pub quorum: u64,
    /// Checkpoints with a quorum.
    pub checkpoints: u64,
    /// The largest of their sizes; 0 where there is none.
    pub size: u64,
    /// When its quorum was complete (ms since 1970).
    pub time: Option<u64>,
}

/// An anchor as followed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AnchorCovered {
    /// Its name.
    pub name: String,
    /// Objects.
    pub objects: u64,
    /// The size of the heads log that they hold.
    pub size: u64,
}

/// What a witness itself holds of the heads log.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WitnessCovered {
    /// Its name in the manifest.
    pub name: String,
    /// Where it was asked.
    pub url: String,
    /// The size of the checkpoint that it cosigned last.
    pub size: u64,
    /// When, by its own clock (ms since 1970).
    pub time: u64,
}

/// Files that somebody kept from before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EvidenceCovered {
    /// Files that could be used.
    pub files: u64,
    /// Signed checkpoints in them.
    pub checkpoints: u64,
    /// Files, and paths that were given, that could not be used.
    pub unusable: u64,
}

/// What a registrar issued.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Issued {
    /// Its index.
    pub registrar: u16,
    /// Its name.
    pub name: String,
    /// Credentials issued (at the final head's sizes, where there is one).
    pub issued: u64,
    /// Requests refused: unknown code, other message, outside the period, malformed.
    pub refused: [u64; 4],
}

/// What the files cannot exclude.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct Bounds {
    /// The smallest of `issued - votes` over the registrars: credentials that exist and have not voted. Null where it cannot be told.
    pub unused_credentials: Option<u64>,
    /// Voters on the roll without a vote: credentials issued in their names without their knowledge are noticed only by themselves.
    pub voters_without_vote: u64,
    /// Counted votes that no head covered by closing plus grace.
    pub late: u64,
    /// Counted votes that a head covered before opening.
    pub early: u64,
    /// By whose clock `late` and `early` were judged, and up to which size of the heads log witnesses had a part in it.
    pub judged_by: String,
}

/// Batches below the minimum.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct SmallBatchReport {
    /// The manifest's minimum.
    pub batch_min: u32,
    /// Batches below it.
    pub count: u64,
    /// Votes in them.
    pub votes: u64,
    /// The fewest votes of one batch.
    pub smallest: Option<u64>,
}
