//! The books of an election: roll, credentials issued, requests refused, votes; by registrar, shard and cell, from entries that stand in signed trees.
//!
//! They must agree: no registrar issues more than the roll has voters, and no more votes are counted than each registrar issued. What lies between is the room in which votes
//! could have been invented, and it is printed.

use std::collections::BTreeMap;

use protocol::checkpoint::Checkpoint;
use protocol::entry::{Entry, TallyTotals};
use protocol::ids::{ElectionId, LogId};
use protocol::manifest::Method;
use schemars::JsonSchema;
use serde::Serialize;

use crate::audit::checkpoint::Signed;
use crate::audit::context::Context;
use crate::audit::heads_reader::{self, HeadsToday};
use crate::finding::{Code, Finding, Place, Votes};
use crate::opened::{Ended, Opened};
use crate::progress::Progress;
use crate::verdict::Outcome;
use crate::{prove, stretch};

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
    /// The smallest of `issued - votes` over the registrars: so many votes could have been invented by whoever holds all keys. Null where it cannot be told.
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
    if make(&context, &mut verdict).is_none() && opened.findings.is_empty() {
        context.unread.note("the books are not complete".to_owned());
    }
    verdict.end(opened.end());
    verdict
}

fn make(context: &Context<'_>, verdict: &mut ReconcileVerdict) -> Option<()> {
    let election = context.election;
    context.progress.stage("heads");
    let heads = heads_reader::read(context)?;
    verdict.at = Some(if heads.is_final {
        Moment::FinalHead
    } else {
        Moment::NewestCheckpoints
    });
    let mut totals = TallyTotals::zero(election.contests());
    // The cells before the issuance logs: every vote was preceded by its issuances.
    context.progress.stage("cells");
    for cell in 0..election.cells() {
        let log = LogId::Cell(cell);
        let Some(tree) = tree(context, &heads, log)? else {
            verdict.cells.push(CellBooks {
                cell,
                size: 0,
                batches: 0,
                votes: 0,
                abstentions: 0,
            });
            continue;
        };
        let end = stretch::cell_end(context, log, &tree)?;
        let of_cell = end.totals(election);
        verdict.cells.push(CellBooks {
            cell,
            size: tree.size(),
            batches: end.batches(),
            votes: of_cell.votes,
            abstentions: of_cell.abstentions,
        });
        if totals.merge(&of_cell).is_none() {
            context.add(
                Code::TallyWrong,
                Place::file(format!("{log}/checkpoint")),
                Votes::WholeRoll,
                "its totals are too large to add",
            );
            return None;
        }
    }
    verdict.votes = totals.votes;
    verdict.abstentions = totals.abstentions;
    context.progress.stage("issuance");
    for (registrar, named) in (0u16..).zip(&election.manifest().registrars) {
        let mut books = RegistrarBooks {
            registrar,
            name: named.name.clone(),
            issued: 0,
            not_issued: 0,
            unused: 0,
            refused: Refusals::default(),
            shards: Vec::new(),
        };
        for shard in (0u32..).take(named.shards.len()) {
            let log = LogId::Issuance { registrar, shard };
            let mut of_shard = match tree(context, &heads, log)? {
                Some(tree) => shard_books(context, shard, log, &tree)?,
                None => ShardBooks {
                    shard,
                    size: 0,
                    closed: false,
                    roll: 0,
                    issued: 0,
                    refused: Refusals::default(),
                },
            };
            of_shard.roll = roll_of(shard, named.shards.len() as u64, verdict.roll);
            books.issued = books.issued.saturating_add(of_shard.issued);
            books.refused.add(of_shard.refused);
            books.shards.push(of_shard);
        }
        books.not_issued = verdict.roll.saturating_sub(books.issued);
        books.unused = books.issued.saturating_sub(totals.votes);
        verdict.registrars.push(books);
    }
    verdict.unused_credentials = verdict.registrars.iter().map(|books| books.unused).min();
    verdict.voters_without_vote = Some(verdict.roll.saturating_sub(totals.votes));
    judge(context, verdict, &totals);
    Some(())
}

/// The signed tree in which a log is booked. `Some(None)`: it has published nothing. `None`: it could not be shown; why, was written down.
#[allow(clippy::option_option, reason = "two answers that must be kept apart")]
fn tree(context: &Context<'_>, heads: &HeadsToday, log: LogId) -> Option<Option<Checkpoint>> {
    let said = heads
        .head
        .as_ref()
        .and_then(|head| head.log(context.election, log));
    let newest: Option<Signed> = stretch::newest(context, Some(heads), log);
    let Some(newest) = newest else {
        let path = format!("{log}/checkpoint");
        let is_missing = matches!(
            context.read(&path, protocol::note::NOTE_BYTES_MAX),
            crate::audit::context::Read::Missing
        );
        // A log that has published nothing is listed with its genesis.
        if is_missing && said.is_none_or(|said| said.size <= 1) {
            return Some(None);
        }
        if is_missing {
            context.add(
                Code::MissingFile,
                Place::file(path),
                Votes::WholeRoll,
                "there is no such file, and the newest head names the log",
            );
        }
        return None;
    };
    let Some(said) = said.filter(|_| heads.is_final) else {
        return Some(Some(newest.checkpoint));
    };
    if said.size > newest.size() {
        context.add(
            Code::CheckpointRollback,
            Place::file(format!("{log}/checkpoint")),
            Votes::AtMost(said.size - newest.size()),
            format!(
                "it is of size {}, and the final head names {}",
                newest.size(),
                said.size
            ),
        );
        return None;
    }
    let (root, _) = prove::prefix(context, log, &newest.checkpoint, said.size)?;
    if root != said.root {
        context.add(
            Code::HeadRoot,
            Place::file("heads/checkpoint"),
            Votes::WholeRoll,
            format!(
                "the final head names root {} of {log} at size {}; the published log has {root}",
                said.root, said.size
            ),
        );
        return None;
    }
    if said.size == newest.size() {
        return Some(Some(newest.checkpoint));
    }
    // What stands above it does not count.
    let counted = Checkpoint::new(newest.checkpoint.origin(), said.size, said.root).ok()?;
    Some(Some(counted))
}

/// Reads an issuance log from its end back to its newest count.
fn shard_books(
    context: &Context<'_>,
    shard: u32,
    log: LogId,
    tree: &Checkpoint,
) -> Option<ShardBooks> {
    let mut books = ShardBooks {
        shard,
        size: tree.size(),
        closed: false,
        roll: 0,
        issued: 0,
        refused: Refusals::default(),
    };
    let mut after = 0u64;
    let mut end = tree.size();
    while end > 0 {
        let (first, entries) = stretch::entries_around(context, log, tree, end - 1)?;
        for (index, bytes) in (first..end).rev().zip(entries.iter().rev()) {
            match Entry::decode(bytes, context.election) {
                Ok(Entry::Issuance(_)) => after += 1,
                Ok(Entry::Close(_)) if index + 1 == tree.size() => books.closed = true,
                Ok(Entry::Count(count)) => {
                    let [unknown_code, other_message, outside_period, malformed] =
                        count.refused.to_array();
                    books.issued = count.issued.saturating_add(after);
                    books.refused = Refusals {
                        unknown_code,
                        other_message,
                        outside_period,
                        malformed,
                    };
                    return Some(books);
                }
                Ok(Entry::Genesis(_)) if index == 0 => {
                    books.issued = after;
                    return Some(books);
                }
                _ => {
                    context.add(
                        Code::GrammarBroken,
                        Place::at(format!("{log}/checkpoint"), index),
                        Votes::AtMost(1),
                        "the entry at this index is none that may stand there",
                    );
                    return None;
                }
            }
        }
        end = first;
    }
    None
}

/// How many roll indices belong to a shard: those i with i * shards / roll = shard, rounded down.
fn roll_of(shard: u32, shards: u64, roll: u64) -> u64 {
    let first = |shard: u128| (shard * u128::from(roll)).div_ceil(u128::from(shards.max(1)));
    let shard = u128::from(shard);
    u64::try_from(first(shard + 1).saturating_sub(first(shard))).unwrap_or(u64::MAX)
}

/// What must hold. What does not is a finding.
fn judge(context: &Context<'_>, verdict: &mut ReconcileVerdict, totals: &TallyTotals) {
    let mut identities = Vec::new();
    let mut must = |what: String, left: u64, relation: &'static str, right: u64, code| {
        let holds = if relation == "=" {
            left == right
        } else {
            left <= right
        };
        if !holds {
            context.add(
                code,
                Place::file("heads/checkpoint"),
                Votes::AtMost(left.abs_diff(right)),
                format!("{what}: {left} {relation} {right} does not hold"),
            );
        }
        identities.push(Identity {
            what,
            left,
            relation,
            right,
            holds,
        });
    };
    for books in &verdict.registrars {
        let who = format!("registrar {} ({})", books.registrar, books.name);
        must(
            format!("votes, and credentials that {who} issued"),
            totals.votes,
            "<=",
            books.issued,
            Code::VotesExceedIssued,
        );
        must(
            format!("credentials that {who} issued, and voters on the roll"),
            books.issued,
            "<=",
            verdict.roll,
            Code::IssuedExceedsRoll,
        );
        for shard in books.shards.iter().filter(|_| books.shards.len() > 1) {
            must(
                format!(
                    "issued by shard {} of {who}, and its part of the roll",
                    shard.shard
                ),
                shard.issued,
                "<=",
                shard.roll,
                Code::IssuedExceedsRoll,
            );
        }
    }
    must(
        "abstentions, and votes".to_owned(),
        totals.abstentions,
        "<=",
        totals.votes,
        Code::TallyWrong,
    );
    for (contest, of_contest) in context.election.contests().iter().zip(&totals.contests) {
        let counts = of_contest.counts.iter().copied();
        if contest.method == Method::Approval {
            let most = counts.max().unwrap_or(0).saturating_add(of_contest.blanks);
            must(
                format!(
                    "blanks and the most approved option of {:?}, and votes",
                    contest.name
                ),
                most,
                "<=",
                totals.votes,
                Code::TallyWrong,
            );
        } else {
            let sum = counts.fold(of_contest.blanks, u64::saturating_add);
            must(
                format!("blanks and all counts of {:?}, and votes", contest.name),
                sum,
                "=",
                totals.votes,
                Code::TallyWrong,
            );
        }
    }
    verdict.identities = identities;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_the_roll_as_the_protocol_says() {
        for roll in [1u64, 2, 7, 64, 1_000] {
            for shards in [1u32, 2, 3, 64] {
                for shard in 0..shards {
                    let by_rule = (0..roll)
                        .filter(|index| {
                            protocol::ids::shard_of(*index, shards, roll) == Some(shard)
                        })
                        .count() as u64;
                    assert_eq!(roll_of(shard, u64::from(shards), roll), by_rule);
                }
            }
        }
    }
}
