//! What must hold of the books.

use protocol::entry::TallyTotals;
use protocol::manifest::Method;

use super::{Identity, Moment, ReconcileVerdict};
use crate::audit::context::Context;
use crate::finding::{Code, Place, Votes};

/// What must hold. What does not is a finding.
pub(super) fn judge(context: &Context<'_>, verdict: &mut ReconcileVerdict, totals: &TallyTotals) {
    let mut identities = Vec::new();
    let mut must = |what: String,
                    left: u64,
                    relation: &'static str,
                    right: u64,
                    code: Option<Code>| {
        let holds = if relation == "=" {
            left == right
        } else {
            left <= right
        };
        match code {
            _ if holds => {}
            Some(code) => context.add(
                code,
                Place::file("heads/checkpoint"),
                Votes::AtMost(left.abs_diff(right)),
                format!("{what}: {left} {relation} {right} does not hold"),
            ),
            None => context.unread.note(format!(
                "{what}: {left} {relation} {right} does not hold between these logs' newest checkpoints. They may be of different moments (a cache, or a folder \
                 that was copied while the election ran): reconcile again from the site itself, or `audit`, which judges this at every head"
            )),
        }
        identities.push(Identity {
            what,
            left,
            relation,
            right,
            holds,
        });
    };
    // "At a head, there are more votes than a registrar issued credentials": only a head names sizes that were read in the right order. Newest checkpoints may be
    // of different moments, and then more votes are nobody's fault.
    let is_final = verdict.at == Some(Moment::FinalHead);
    for books in &verdict.registrars {
        let who = format!("registrar {} ({})", books.registrar, books.name);
        must(
            format!("votes, and credentials that {who} issued"),
            totals.votes,
            "<=",
            books.issued,
            is_final.then_some(Code::VotesExceedIssued),
        );
        must(
            format!("credentials that {who} issued, and voters on the roll"),
            books.issued,
            "<=",
            verdict.roll,
            Some(Code::IssuedExceedsRoll),
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
                Some(Code::IssuedExceedsRoll),
            );
        }
    }
    must(
        "abstentions, and votes".to_owned(),
        totals.abstentions,
        "<=",
        totals.votes,
        Some(Code::TallyWrong),
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
                Some(Code::TallyWrong),
            );
        } else {
            let sum = counts.fold(of_contest.blanks, u64::saturating_add);
            must(
                format!("blanks and all counts of {:?}, and votes", contest.name),
                sum,
                "=",
                totals.votes,
                Some(Code::TallyWrong),
            );
        }
    }
    verdict.identities = identities;
}
