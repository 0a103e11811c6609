//! Judging one batch: findings in it, and a second opinion from the grammar that the services themselves run.

use std::cell::Cell;

use protocol::entry::{Entry, EntryError, VoteError};
use protocol::grammar::{BatchSummary, GrammarCode, GrammarError};
use protocol::ids::LogId;
use protocol::manifest::Election;

use super::context::Context;
use super::walk::Batch;
use crate::finding::{Code, Place, Votes};

/// A batch, and where to put what is wrong with it.
pub(super) struct Judge<'b, 'a> {
    pub(super) batch: &'b Batch<'b>,
    pub(super) context: Context<'a>,
    found: Cell<u64>,
}

/// What the shared grammar says of a batch.
pub(super) enum Opinion {
    /// Its entries, decoded.
    Right(BatchSummary),
    /// The rule that it breaks.
    Broken(GrammarError),
    /// Nothing: the log broke a rule before, and the grammar does not go on after that.
    None,
}

impl<'b, 'a> Judge<'b, 'a> {
    pub(super) const fn new(batch: &'b Batch<'b>, context: Context<'a>) -> Self {
        Self {
            batch,
            context,
            found: Cell::new(0),
        }
    }

    pub(super) const fn election(&self) -> &'a Election {
        self.context.election
    }

    /// A finding at this leaf.
    pub(super) fn add(&self, code: Code, index: u64, votes: Votes, evidence: impl Into<String>) {
        self.found.set(self.found.get() + 1);
        self.context.add(code, self.place(index), votes, evidence);
    }

    pub(super) fn place(&self, index: u64) -> Place {
        Place::at(self.batch.path, index)
    }

    /// Every entry with its index. Those that cannot be decoded are findings, and left out.
    ///
    /// The grammar stops at the first broken rule, and an audit must go on: so from there on entries are decoded one by one.
    pub(super) fn entries(&self, opinion: &mut Opinion) -> Vec<(u64, Entry)> {
        if let Opinion::Right(summary) = opinion {
            let entries = std::mem::take(&mut summary.entries);
            return (self.batch.first..).zip(entries).collect();
        }
        (self.batch.first..)
            .zip(self.batch.entries)
            .filter_map(
                |(index, bytes)| match Entry::decode(bytes, self.election()) {
                    Ok(entry) => Some((index, entry)),
                    Err(error) => {
                        self.malformed(index, &error);
                        None
                    }
                },
            )
            .collect()
    }

    fn malformed(&self, index: u64, error: &EntryError) {
        self.add(
            Code::EntryMalformed,
            index,
            Votes::AtMost(1),
            error.to_string(),
        );
    }

    /// "entry 0 is the genesis of this election and log": decoding checked the election.
    pub(super) fn genesis(&self, index: u64, names: LogId, log: LogId) {
        if names != log {
            self.add(
                Code::GenesisWrong,
                index,
                Votes::WholeRoll,
                format!("it is the genesis of {names}, and this is {log}"),
            );
        }
    }

    /// "Times never fall", and are multiples of the grain.
    pub(super) fn time(&self, index: u64, last: &mut u64, time: u64) {
        let grain = self.election().manifest().batch_wait_ms;
        if time < *last {
            self.add(
                Code::TimeBackwards,
                index,
                Votes::AtMost(0),
                format!("the time falls from {last} to {time} (ms since 1970)"),
            );
        } else if !time.is_multiple_of(grain) {
            self.add(
                Code::TimeBackwards,
                index,
                Votes::AtMost(0),
                format!("the time {time} is not rounded to a multiple of {grain} ms"),
            );
        }
        *last = time.max(*last);
    }

    /// A rule that the grammar knows and nothing above reported.
    pub(super) fn second(&self, opinion: &Opinion) {
        if let Opinion::Broken(error) = opinion
            && self.found.get() == 0
        {
            self.add(
                code_of(error.code),
                error.index,
                Votes::WholeRoll,
                error.to_string(),
            );
        }
    }
}

/// What a vote's broken signature, or its place, is as a finding.
pub(crate) const fn code_of_vote(error: &VoteError) -> Code {
    match error {
        VoteError::BadKey(_) => Code::VoteBadKey,
        VoteError::BadRegistrarSignature { .. } | VoteError::SignatureCount => {
            Code::VoteRegistrarSignature
        }
        VoteError::BadBallotSignature(_) => Code::VoteBallotSignature,
        VoteError::WrongCell { .. } => Code::VoteWrongCell,
    }
}

/// The finding that a rule of the grammar is.
pub(crate) const fn code_of(rule: GrammarCode) -> Code {
    match rule {
        GrammarCode::Malformed => Code::EntryMalformed,
        GrammarCode::Genesis => Code::GenesisWrong,
        GrammarCode::Unsorted => Code::BatchOrder,
        GrammarCode::WrongCell => Code::VoteWrongCell,
        GrammarCode::DuplicateVote => Code::VoteDuplicate,
        GrammarCode::TallyBatch | GrammarCode::TallySum => Code::TallyWrong,
        GrammarCode::TimeFalls | GrammarCode::TimeGrain => Code::TimeBackwards,
        GrammarCode::WrongCount => Code::CloseWrong,
        GrammarCode::OffRoll | GrammarCode::WrongShard => Code::IssuanceOutOfRoll,
        GrammarCode::DuplicateIssuance => Code::IssuanceDuplicate,
        GrammarCode::CountFalls => Code::CountWrong,
        GrammarCode::SizeFalls => Code::HeadFalls,
        GrammarCode::Fork => Code::HeadRoot,
        GrammarCode::Stale => Code::HeadStale,
        GrammarCode::Reopened => Code::HeadReopened,
        GrammarCode::IssuanceOpen => Code::IssuanceClosedLate,
        GrammarCode::ClosedEarly => Code::ClosedEarly,
        GrammarCode::EarlyFinal => Code::FinalHeadEarly,
        GrammarCode::NoticeSequence | GrammarCode::Notice => Code::NoticeInvalid,
        _ => Code::GrammarBroken,
    }
}

impl Opinion {
    /// Asks the grammar, unless it gave up on this log.
    pub(super) fn ask<G>(
        grammar: &mut Option<G>,
        batch: &Batch<'_>,
        ask: impl FnOnce(&mut G, u64, &[&[u8]]) -> Result<BatchSummary, GrammarError>,
    ) -> Self {
        let Some(log) = grammar else {
            return Self::None;
        };
        match ask(log, batch.n, batch.entries) {
            Ok(summary) => Self::Right(summary),
            Err(error) => {
                *grammar = None;
                Self::Broken(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of section 16.
    #[test]
    fn every_rule_is_the_finding_that_the_specification_names() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/protocol.md");
        let page = std::fs::read_to_string(page).unwrap();
        let section = page.split("are these codes:").nth(1).unwrap();
        let table: Vec<&str> = section
            .lines()
            .skip_while(|line| !line.starts_with("| `"))
            .take_while(|line| line.starts_with("| `"))
            .collect();
        for (rule, code) in [
            (GrammarCode::Malformed, Code::EntryMalformed),
            (GrammarCode::Genesis, Code::GenesisWrong),
            (GrammarCode::Order, Code::GrammarBroken),
            (GrammarCode::AfterEnd, Code::GrammarBroken),
            (GrammarCode::Unsorted, Code::BatchOrder),
            (GrammarCode::WrongCell, Code::VoteWrongCell),
            (GrammarCode::DuplicateVote, Code::VoteDuplicate),
            (GrammarCode::TallyBatch, Code::TallyWrong),
            (GrammarCode::TallySum, Code::TallyWrong),
            (GrammarCode::TimeFalls, Code::TimeBackwards),
            (GrammarCode::TimeGrain, Code::TimeBackwards),
            (GrammarCode::WrongCount, Code::CloseWrong),
            (GrammarCode::OffRoll, Code::IssuanceOutOfRoll),
            (GrammarCode::WrongShard, Code::IssuanceOutOfRoll),
            (GrammarCode::DuplicateIssuance, Code::IssuanceDuplicate),
            (GrammarCode::CountFalls, Code::CountWrong),
            (GrammarCode::SizeFalls, Code::HeadFalls),
            (GrammarCode::Fork, Code::HeadRoot),
            (GrammarCode::Stale, Code::HeadStale),
            (GrammarCode::Reopened, Code::HeadReopened),
            (GrammarCode::IssuanceOpen, Code::IssuanceClosedLate),
            (GrammarCode::ClosedEarly, Code::ClosedEarly),
            (GrammarCode::EarlyFinal, Code::FinalHeadEarly),
            (GrammarCode::NoticeSequence, Code::NoticeInvalid),
            (GrammarCode::Notice, Code::NoticeInvalid),
        ] {
            assert_eq!(code_of(rule), code, "{rule}");
            let names = |line: &&str| {
                line.contains(&format!("`{rule}`")) && line.contains(&format!("`{}`", code.name()))
            };
            assert!(table.iter().any(names), "{rule}, {}", code.name());
        }
    }
}
