//! Puts what an audit came to into a verdict.

use std::collections::BTreeMap;
use std::time::Instant;

use protocol::ids::{ElectionId, LogId};
use protocol::manifest::Election;

use super::Audited;
use super::cell::SmallBatches;
use super::context::Unread;
use super::cosigned::HEADS_TIMES;
use super::manifest::NoManifest;
use super::walk::Walk;
use crate::finding::{Findings, Place, ROLL_MAX, Votes};
use crate::source::SourceError;
use crate::verdict::{
    AnchorCovered, AuditVerdict, Bounds, CellCovered, Covered, HeadsCovered, IssuanceCovered,
    Issued, Outcome, SmallBatchReport, State,
};

/// Nothing could be read.
pub(super) fn unreachable(given: &str, election: &ElectionId, error: &SourceError) -> AuditVerdict {
    unstarted(given, election, error.to_string())
}

/// The audit did not begin.
pub(super) fn unstarted(given: &str, election: &ElectionId, problem: String) -> AuditVerdict {
    AuditVerdict {
        not_covered: vec![problem],
        ..empty(given, election, Outcome::Unchecked)
    }
}

/// There is no manifest to audit by.
pub(super) fn without_manifest(
    place: &str,
    election: &ElectionId,
    fault: NoManifest,
) -> AuditVerdict {
    match fault {
        NoManifest::Unread(problem) => AuditVerdict {
            not_covered: vec![problem],
            ..empty(place, election, Outcome::Unchecked)
        },
        NoManifest::Finding(code, evidence) => {
            let findings = Findings::new(ROLL_MAX);
            findings.add(
                code,
                Place::file("manifest.json"),
                Votes::WholeRoll,
                evidence,
            );
            let (findings, findings_by_code) = findings.finish();
            AuditVerdict {
                findings,
                findings_by_code,
                not_covered: vec![
                    "everything else: without the manifest there are no keys to verify by"
                        .to_owned(),
                ],
                ..empty(place, election, Outcome::Findings)
            }
        }
    }
}

fn empty(place: &str, election: &ElectionId, verdict: Outcome) -> AuditVerdict {
    AuditVerdict {
        verdict,
        state: None,
        election: election.to_string(),
        title: None,
        demo: None,
        source: place.to_owned(),
        complete: false,
        covered: Covered::default(),
        votes: 0,
        abstentions: 0,
        issued: Vec::new(),
        roll: 0,
        results: None,
        bounds: Bounds {
            judged_by: HEADS_TIMES.to_owned(),
            ..Bounds::default()
        },
        small_batches: SmallBatchReport::default(),
        findings: Vec::new(),
        findings_by_code: BTreeMap::new(),
        not_covered: Vec::new(),
        seconds: 0.0,
    }
}

/// The verdict of an audit that got as far as the logs.
pub(super) fn verdict(
    election: &Election,
    place: &str,
    audited: &Audited<'_>,
    findings: &Findings,
    unread: &Unread,
    started: Instant,
) -> AuditVerdict {
    let manifest = election.manifest();
    let (findings, findings_by_code) = findings.finish();
    let mut unread = unread.finish();
    let unusable = audited.unusable.iter();
    unread.extend(unusable.map(|problem| format!("(evidence) {problem}")));
    let asked_and_not_heard = !audited.unheard.is_empty();
    let verdict = if !findings.is_empty() {
        Outcome::Findings
    } else if !unread.is_empty() || asked_and_not_heard {
        Outcome::Unchecked
    } else {
        Outcome::Verified
    };
    let covered = covered(audited);
    let ledger_votes = covered.cells.iter().map(|cell| cell.votes).sum();
    let votes = audited
        .recount
        .as_ref()
        .map_or(ledger_votes, |results| results.votes);
    let issued = issued(election, audited);
    let small = audited
        .logs
        .cells
        .iter()
        .fold(SmallBatches::default(), |mut sum, log| {
            sum.merge(log.content.small());
            sum
        });
    let is_whole = |walk: &Walk| !walk.stopped();
    let heads_followed = is_whole(&audited.logs.heads.walk);
    let complete = heads_followed && audited.recount.is_some() && walks(audited).all(is_whole);
    AuditVerdict {
        verdict,
        complete,
        // A final head, or a cancel, may stand where it was not followed to.
        state: Some(audited.state).filter(|state| heads_followed || *state != State::Open),
        election: election.id().to_string(),
        title: Some(manifest.title.clone()),
        demo: Some(manifest.demo),
        source: place.to_owned(),
        votes,
        abstentions: audited
            .recount
            .as_ref()
            .map_or(0, |results| results.abstentions),
        roll: manifest.roll.size,
        bounds: Bounds {
            unused_credentials: issued
                .iter()
                .map(|issued| issued.issued.saturating_sub(votes))
                .min()
                .filter(|_| complete),
            voters_without_vote: manifest.roll.size.saturating_sub(votes),
            late: audited.timing.late,
            early: audited.timing.early,
            judged_by: audited.timing.judged_by.clone(),
        },
        small_batches: SmallBatchReport {
            batch_min: manifest.batch_min,
            count: small.count,
            votes: small.votes,
            smallest: small.smallest,
        },
        not_covered: not_covered(audited, unread),
        results: audited
            .recount
            .as_ref()
            .filter(|_| complete && audited.state != State::Cancelled)
            .map(|results| results.contests.clone()),
        covered,
        issued,
        findings,
        findings_by_code,
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// How far each log was followed, as of the verdict's moment.
fn covered(audited: &Audited<'_>) -> Covered {
    let mut covered = Covered {
        heads: HeadsCovered {
            size: audited.heads_size,
            heads: audited.head_count,
            last_time: usize::try_from(audited.head_count)
                .ok()
                .and_then(|count| {
                    audited
                        .logs
                        .heads
                        .content
                        .heads()
                        .get(count.checked_sub(1)?)
                })
                .map(|head| head.time),
            cosigned: audited.cosigned,
        },
        anchors: audited
            .logs
            .chains
            .iter()
            .map(|chain| AnchorCovered {
                name: chain.name().to_owned(),
                objects: chain.objects(),
                size: chain.size(),
            })
            .collect(),
        evidence: audited.evidence,
        witnesses: audited.witnesses.clone(),
        ..Covered::default()
    };
    for (walk, end) in walks(audited).zip(&audited.ends) {
        let (size, total, closed) =
            end.map_or((0, 0, false), |end| (end.size, end.total, end.closed));
        match walk.log() {
            LogId::Cell(cell) => covered.cells.push(CellCovered {
                cell,
                size,
                votes: total,
                closed,
            }),
            LogId::Issuance { registrar, shard } => covered.issuance.push(IssuanceCovered {
                registrar,
                shard,
                size,
                issued: total,
                closed,
            }),
            LogId::Heads => {}
        }
    }
    covered
}

fn walks<'w>(audited: &'w Audited<'_>) -> impl Iterator<Item = &'w Walk> {
    audited.logs.walks().into_iter()
}

/// What each registrar issued: at the final head's sizes, where there is one.
fn issued(election: &Election, audited: &Audited<'_>) -> Vec<Issued> {
    let total_of = |position: usize, walk: &Walk| {
        let end = match &audited.final_sizes {
            Some(sizes) => sizes
                .get(position)
                .and_then(|size| walk.end_at(*size))
                .copied(),
            None => audited.ends.get(position).copied().flatten(),
        };
        end.map_or(0, |end| end.total)
    };
    (0u16..)
        .zip(&election.manifest().registrars)
        .map(|(registrar, named)| {
            let of_registrar =
                |log: LogId| matches!(log, LogId::Issuance { registrar: r, .. } if r == registrar);
            let issued = walks(audited)
                .enumerate()
                .filter(|(_, walk)| of_registrar(walk.log()))
                .map(|(position, walk)| total_of(position, walk))
                .sum();
            let mut refused = [0u64; 4];
            for log in audited
                .logs
                .shards
                .iter()
                .filter(|log| of_registrar(log.walk.log()))
            {
                for (sum, more) in refused.iter_mut().zip(log.content.refused()) {
                    *sum = sum.saturating_add(more);
                }
            }
            Issued {
                registrar,
                name: named.name.clone(),
                issued,
                refused,
            }
        })
        .collect()
}

/// What the verdict does not rest on, in words.
fn not_covered(audited: &Audited<'_>, unread: Vec<String>) -> Vec<String> {
    let mut words: Vec<String> = unread
        .into_iter()
        .map(|problem| format!("could not be read: {problem}"))
        .collect();
    let all = walks(audited).chain([&audited.logs.heads.walk]);
    for walk in all.filter(|walk| walk.stopped()) {
        words.push(format!("{} above size {}", walk.log(), walk.size()));
    }
    if audited.recount.is_none() {
        words.push("the result: not every cell could be followed to where it counts".to_owned());
    }
    if !audited.lists {
        words.push(
            "files that nothing names (a web server does not list them): superseded partial tiles, further checkpoints, foreign files"
                .to_owned(),
        );
    }
    let unheard = audited.unheard.iter();
    words.extend(unheard.map(|problem| format!("asked, and not heard: {problem}")));
    if audited.evidence.checkpoints == 0 && audited.witnesses.is_empty() {
        words.push(
            "whether the ledger was signed anew from end to end, or others are shown another: nothing that was kept from before was compared (--evidence), and no witness was heard (--witness)".to_owned(),
        );
    }
    words.extend(audited.evidence_open.iter().cloned());
    words.extend(audited.witnesses_open.iter().cloned());
    words.push(
        "the anchors' own stores: the objects were read where the election is published".to_owned(),
    );
    words.push("whether this election id is the only one: compare it at places that the operator does not control".to_owned());
    words
}
