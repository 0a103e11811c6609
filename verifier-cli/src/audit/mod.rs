//! The audit of a whole election, from what is published and the election id alone.
//!
//! Every log is followed batch by batch from its first entry, and all that is published besides is compared with what the batches make: see
//! `specs/protocol.md`, section 16. Nothing is trusted but the id, which fixes the manifest, which fixes every key.
//!
//! **An election that is still open grows while it is read.** So the audit first takes what speaks of other files, then what it speaks of: results.json,
//! then the heads log and the anchors, then the cells' checkpoints, and the issuance logs' last. In this order everything that was taken must be covered by
//! what was taken later: results and heads name sizes that the cells have reached, and every vote was preceded by its issuance. The verdict holds for that
//! moment. Files that are newer are followed as growth of the same logs, and are findings only if they are not.

mod ahead;
mod anchors;
mod asked;
mod cell;
mod census;
mod checked;
pub(crate) mod checkpoint;
pub(crate) mod context;
mod cosigned;
mod evidence;
mod head_rules;
mod heads;
pub(crate) mod heads_reader;
mod issuance;
pub(crate) mod judge;
mod log;
mod logs;
pub(crate) mod manifest;
mod moment;
mod report;
mod results;
mod signed;
pub(crate) mod tiles;
mod walk;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use protocol::ids::ElectionId;
use protocol::results::Results;

use self::checked::Checked;
use self::checkpoint::read_newest;
use self::context::{Context, Unread};
use self::logs::Logs;
use self::results::{Counted, Expected, Published};
use self::signed::SignedTree;
use self::walk::End;
use crate::finding::Findings;
use crate::progress::Progress;
use crate::source::{Source, locate};
use crate::verdict::{AuditVerdict, CosignedCovered, EvidenceCovered, State, WitnessCovered};
use crate::work::Pool;

/// How an audit goes about it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads that verify signatures.
    pub threads: NonZeroUsize,
    /// How long to wait for what is published a moment after something else: the anchor of the final head, the final results.
    pub settle: Duration,
    /// What somebody kept from before: files, or folders of them, that hold checkpoints. See [`crate::kept`].
    pub evidence: Vec<PathBuf>,
    /// Where witnesses serve what they hold: their URLs. Each is asked for its own copy of the heads log's checkpoint.
    pub witnesses: Vec<String>,
    /// Where to remember which batches' signatures were checked, so that an audit that was interrupted goes on there.
    pub state: Option<PathBuf>,
}

/// Audits the election that is published at `given`, a URL or a directory.
#[must_use]
pub fn run(
    given: &str,
    election: &ElectionId,
    options: &Options,
    progress: &Progress,
) -> AuditVerdict {
    match locate(given, election) {
        Ok(located) => audit(
            located.source.as_ref(),
            &located.place,
            election,
            options,
            progress,
        ),
        Err(error) => report::unreachable(given, election, &error),
    }
}

/// Audits the election whose folder this is.
#[must_use]
pub fn audit(
    source: &dyn Source,
    place: &str,
    id: &ElectionId,
    options: &Options,
    progress: &Progress,
) -> AuditVerdict {
    let started = Instant::now();
    let election = match manifest::open(source, id) {
        Ok(election) => election,
        Err(fault) => return report::without_manifest(place, id, fault),
    };
    let checked = match &options.state {
        None => Checked::default(),
        Some(path) => match Checked::open(path, id) {
            Ok(checked) => checked,
            Err(problem) => return report::unstarted(place, id, problem),
        },
    };
    let findings = Findings::new(election.manifest().roll.size);
    let unread = Unread::default();
    let context = Context {
        election: &election,
        source,
        findings: &findings,
        unread: &unread,
        progress,
    };
    // Over a network, workers mostly wait for answers.
    let workers = options
        .threads
        .max(NonZeroUsize::new(source.parallel_reads()).unwrap_or(NonZeroUsize::MIN));
    let audited = std::thread::scope(|scope| {
        let pool = Pool::start(scope, workers);
        let audited = audit_logs(context, &pool, options, &checked);
        pool.wait();
        audited
    });
    let heads = &audited.logs.heads.walk;
    for walk in audited.logs.walks().into_iter().chain([heads]) {
        SignedTree {
            context,
            log: walk.log(),
            newest: walk.newest(),
        }
        .amend(walk);
    }
    let mut verdict = report::verdict(&election, place, &audited, &findings, &unread, started);
    verdict.covered.checked_before = checked.hits();
    verdict.not_covered.extend(checked.fault().map(|fault| {
        format!(
            "the state of this audit could not be kept ({fault}): it cannot be resumed from here"
        )
    }));
    verdict
}

/// What the audit came to, before it is put into a verdict.
struct Audited<'a> {
    /// What witnesses vouch for.
    cosigned: Option<CosignedCovered>,
    /// As far as they were followed: further than the verdict's moment, where files were published since.
    logs: Logs<'a>,
    state: State,
    /// Each log's end as of the verdict's moment, in head order.
    ends: Vec<Option<End>>,
    /// Each log's size in the final head, in head order.
    final_sizes: Option<Vec<u64>>,
    heads_size: u64,
    head_count: u64,
    recount: Option<Results>,
    timing: head_rules::Timing,
    /// Whether the source could list its files.
    lists: bool,
    /// What was kept from before, and compared.
    evidence: EvidenceCovered,
    /// What of it was left out on purpose, in words.
    evidence_open: Vec<String>,
    /// What witnesses said when they were asked.
    witnesses: Vec<WitnessCovered>,
    /// What that leaves open, in words.
    witnesses_open: Vec<String>,
    /// Those that were asked for, and of whom nothing is known.
    unheard: Vec<String>,
    /// Which kept files could not be used, and why.
    unusable: Vec<String>,
}

fn audit_logs<'a>(
    context: Context<'a>,
    pool: &Pool<'a>,
    options: &Options,
    checked: &'a Checked,
) -> Audited<'a> {
    let settle = options.settle;
    let asked = asked::all(&context, &options.witnesses);
    let moment::Moment {
        mut published,
        heads,
        chains,
        newest,
    } = moment::take(context, pool, settle);
    let final_sizes: Option<Vec<u64>> = heads
        .content
        .final_sizes()
        .map(|logs| logs.iter().map(|log| log.size).collect());
    let (expected, state) = match &final_sizes {
        sizes if heads.content.notices().cancelled => {
            (Expected::Cancelled(sizes.as_deref()), State::Cancelled)
        }
        Some(sizes) => (Expected::Final(sizes), State::Final),
        None => (Expected::Open, State::Open),
    };
    let (cells, shards) = logs::follow(
        context,
        pool,
        newest,
        &published,
        final_sizes.as_deref(),
        checked,
    );
    let mut logs = Logs {
        heads,
        chains,
        cells,
        shards,
    };

    context.progress.stage("heads, results and checkpoints");
    let walks = logs.walks();
    let cosigned = cosigned::take(context, &logs.heads, pool, settle);
    let timing = head_rules::judge(&context, &logs.heads.content, &walks, &cosigned);
    head_rules::judge_totals(&context, &logs.heads.content, &walks);
    logs.judge_unpublished(&context, &published);
    let ends: Vec<Option<End>> = walks
        .iter()
        .map(|walk| walk.ends().last().copied())
        .collect();
    let heads_size = logs.heads.walk.size();
    let head_count = logs.heads.content.heads().len() as u64;

    if !published.is_up_to(&expected) && published.may_change() {
        // Whoever publishes the results may be about to.
        moment::wait(settle, || {
            published = Published::read(&context);
            published.is_up_to(&expected)
        });
    }
    let recount = judge_results(&mut logs, &published, &expected, &ends, context, pool);
    let lists = logs.take_census(context, pool);
    logs.compare_checkpoints(&published, context, pool);
    let judged = evidence::judge(
        &context,
        &options.evidence,
        &evidence::Ledger {
            logs: logs.walks(),
            heads: &logs.heads.walk,
            cells: logs.cells.iter().map(|log| log.newest.as_ref()).collect(),
            final_sizes: final_sizes.as_deref(),
        },
        settle,
    );
    asked.judge(&context, &logs.heads);
    Audited {
        cosigned: cosigned.covered(context.election),
        evidence: judged.covered,
        evidence_open: judged.open,
        witnesses: asked.covered(&context),
        witnesses_open: asked.not_covered(&context),
        unheard: asked.unheard(&context),
        unusable: judged.unusable,
        logs,
        state,
        ends,
        final_sizes,
        heads_size,
        head_count,
        recount,
        timing,
        lists,
    }
}

/// Compares results.json with the recount, and returns that of the verdict's moment.
fn judge_results<'a>(
    logs: &mut Logs<'a>,
    published: &Published,
    expected: &Expected<'_>,
    ends: &[Option<End>],
    context: Context<'a>,
    pool: &Pool<'a>,
) -> Option<Results> {
    for (log, named) in logs.cells.iter_mut().zip(published.sizes()) {
        // Results that were published since may count what was published since.
        if named > log.walk.size() {
            log.follow(read_newest(&context, log.walk.log()), context, pool);
        }
    }
    let counted: Vec<Counted<'_>> = logs
        .cells
        .iter()
        .map(|log| Counted {
            walk: &log.walk,
            cell: &log.content,
        })
        .collect();
    results::judge(&context, &counted, published, expected);
    let sizes: Vec<u64> = match expected {
        Expected::Final(sizes) | Expected::Cancelled(Some(sizes)) => sizes.to_vec(),
        Expected::Open | Expected::Cancelled(None) => ends
            .iter()
            .map(|end| end.map_or(0, |end| end.size))
            .collect(),
    };
    results::recount(context.election, &counted, &sizes, expected)
}
