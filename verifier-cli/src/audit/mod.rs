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
mod cell;
mod census;
pub(crate) mod checkpoint;
pub(crate) mod context;
mod head_rules;
mod heads;
pub(crate) mod heads_reader;
mod issuance;
mod judge;
mod log;
mod report;
mod results;
mod tiles;
mod walk;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::entry::LogState;
use protocol::ids::{ElectionId, LogId};
use protocol::manifest::{Election, MANIFEST_LEN_MAX, ManifestError};

use self::anchors::Chain;
use self::cell::Cell;
use self::checkpoint::{Signed, compare_all, compare_cosigned, judge_unpublished, read_newest};
use self::context::{Context, Unread};
use self::heads::Heads;
use self::issuance::Shard;
use self::log::Log;
use self::results::{Counted, Expected, Published};
use self::walk::{End, Walk};
use crate::finding::{Code, Findings, Place, Votes};
use crate::progress::Progress;
use crate::source::{Source, locate};
use crate::verdict::AuditVerdict;
use crate::work::Pool;

/// How an audit goes about it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads that verify signatures.
    pub threads: NonZeroUsize,
    /// How long to wait for what is published a moment after something else: the anchor of the final head, the final results.
    pub settle: Duration,
}

/// Time between looks while waiting.
const POLL: Duration = Duration::from_millis(25);

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
    let election = match open_manifest(source, id) {
        Ok(election) => election,
        Err(fault) => return report::without_manifest(place, id, fault),
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
    let workers = options
        .threads
        .max(NonZeroUsize::new(source.parallel_reads()).unwrap_or(NonZeroUsize::MIN));
    let audited = std::thread::scope(|scope| {
        let pool = Pool::start(scope, workers);
        let audited = audit_logs(context, &pool, options);
        pool.wait();
        audited
    });
    report::verdict(&election, place, audited, &findings, &unread, started)
}

/// Why there is no manifest to audit by.
pub(crate) enum NoManifest {
    Finding(Code, String),
    Unread(String),
}

/// "`H(manifest.json)` must equal the id before it is parsed."
pub(crate) fn open_manifest(source: &dyn Source, id: &ElectionId) -> Result<Election, NoManifest> {
    use crate::source::Fetched;
    let finding = |code, evidence: &str| Err(NoManifest::Finding(code, evidence.to_owned()));
    match source.read("manifest.json", MANIFEST_LEN_MAX) {
        Ok(Fetched::File(bytes)) => Election::check_id(&bytes, id).map_err(|error| {
            let code = match error {
                ManifestError::OtherElection { .. } => Code::ManifestMismatch,
                _ => Code::ManifestInvalid,
            };
            NoManifest::Finding(code, error.to_string())
        }),
        Ok(Fetched::Missing) => finding(
            Code::MissingFile,
            "there is no such file; without it nothing can be verified",
        ),
        Ok(Fetched::TooLarge) => finding(
            Code::FileTooLarge,
            "it has more bytes than a manifest may have",
        ),
        Ok(Fetched::NotAFile) => finding(
            Code::NotAFile,
            "a symbolic link, a folder or a device has this name; it was not followed",
        ),
        Err(error) => Err(NoManifest::Unread(error.to_string())),
    }
}

/// What the audit came to, before it is put into a verdict.
struct Audited<'a> {
    heads: Log<Heads<'a>>,
    chains: Vec<Chain>,
    cells: Vec<Log<Cell<'a>>>,
    shards: Vec<Log<Shard<'a>>>,
    /// Each log's end as of the verdict's moment, in head order: logs may have been followed further since.
    ends: Vec<Option<End>>,
    heads_size: u64,
    head_count: u64,
    recount: Option<protocol::results::Results>,
    timing: head_rules::Timing,
    lists: bool,
}

fn audit_logs<'a>(context: Context<'a>, pool: &Pool<'a>, options: &Options) -> Audited<'a> {
    let election = context.election;
    context.progress.stage("heads and anchors");
    let mut published = Published::read(&context);
    if published.is_missing() {
        // The first results may be about to be published. They must be read before the heads log, or they might speak of what that does not hold yet.
        wait(options.settle, || {
            published = Published::read(&context);
            !published.is_missing()
        });
    }

    let mut heads = Log::new(LogId::Heads, Heads::new(election));
    let mut newest = read_newest(&context, LogId::Heads);
    if newest.is_none() {
        // The first head may be about to be published.
        wait(options.settle, || {
            newest = read_newest(&context, LogId::Heads);
            newest.is_some()
        });
    }
    heads.follow(newest, context, pool);
    let mut chains: Vec<Chain> = election
        .manifest()
        .anchors
        .iter()
        .map(|anchor| Chain::new(anchor.name.clone()))
        .collect();
    read_anchors(&mut chains, &mut heads, context, pool, options);

    let snapshots = take_snapshots(&mut heads, context, pool, options);
    heads.walk.compare_edge(context, pool);
    let final_sizes = final_sizes(&heads.content);

    let (mut cells, mut shards) =
        follow_logs(context, pool, snapshots, &published, final_sizes.as_deref());

    context.progress.stage("heads, results and checkpoints");
    let walks: Vec<&Walk> = walks(&cells, &shards);
    let timing = head_rules::judge(&context, &heads.content, &walks);
    judge_totals(&context, &walks);
    judge_unpublished(&context, &heads.walk, true);
    for (position, (walk, changes)) in walks.iter().zip(heads.content.changes()).enumerate() {
        let by_heads = changes
            .iter()
            .any(|(_, said)| said.state != LogState::Stale);
        let by_results = published
            .sizes()
            .get(position)
            .is_some_and(|size| *size > 0);
        judge_unpublished(&context, walk, by_heads || by_results);
    }
    let ends = walks
        .iter()
        .map(|walk| walk.ends().last().copied())
        .collect();
    let (heads_size, head_count) = (heads.walk.size(), heads.content.heads().len() as u64);

    let cancelled = heads.content.notices().cancelled;
    let expected = match &final_sizes {
        _ if cancelled => Expected::Cancelled,
        Some(sizes) => Expected::Final(sizes),
        None => Expected::Open,
    };
    if !published.is_up_to(&expected) && published.may_change() {
        // Whoever publishes it may be about to.
        wait(options.settle, || {
            published = Published::read(&context);
            published.is_up_to(&expected)
        });
    }
    let sizes: Vec<u64> = cells.iter().map(|log| log.walk.size()).collect();
    for (log, named) in cells.iter_mut().zip(published.sizes()) {
        // Results that were published since may count what was published since.
        if named > log.walk.size() {
            log.follow(read_newest(&context, log.walk.log()), context, pool);
        }
    }
    let counted: Vec<Counted<'_>> = cells
        .iter()
        .map(|log| Counted {
            walk: &log.walk,
            cell: &log.content,
        })
        .collect();
    results::judge(&context, &counted, &published, &expected);
    let recount = results::recount(
        election,
        &counted,
        final_sizes.as_ref().unwrap_or(&sizes),
        final_sizes.is_some(),
    );
    drop(counted);

    let lists = take_census(
        &mut heads,
        &mut chains,
        &mut cells,
        &mut shards,
        context,
        pool,
    );
    compare_checkpoints(&heads, &chains, &cells, &shards, &published, context, pool);
    Audited {
        heads,
        chains,
        cells,
        shards,
        ends,
        heads_size,
        head_count,
        recount,
        timing,
        lists,
    }
}

/// Looks again and again until it is so, or the time is up.
fn wait(settle: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + settle;
    while !is_so() && Instant::now() < deadline {
        std::thread::sleep(POLL);
    }
}

/// Reads the anchors, and compares them with the heads log, which may have to be followed further for that.
fn read_anchors<'a>(
    chains: &mut [Chain],
    heads: &mut Log<Heads<'a>>,
    context: Context<'a>,
    pool: &Pool<'a>,
    options: &Options,
) {
    for chain in &mut *chains {
        chain.advance(context);
    }
    let is_behind = |heads: &Log<Heads<'_>>, chains: &[Chain]| {
        chains.iter().any(|chain| chain.is_ahead_of(&heads.walk))
    };
    wait(options.settle, || {
        if is_behind(heads, chains) && !heads.walk.stopped() {
            heads.follow(read_newest(&context, LogId::Heads), context, pool);
        }
        // "The final head must be covered by every anchor."
        for chain in chains.iter_mut() {
            if heads.content.final_head().is_some() && chain.size() < heads.walk.size() {
                chain.advance(context);
            }
        }
        let uncovered = heads.content.final_head().is_some()
            && chains
                .iter()
                .any(|chain| !chain.stopped() && chain.size() < heads.walk.size());
        heads.walk.stopped() || (!is_behind(heads, chains) && !uncovered)
    });
    for chain in chains {
        chain.judge(&heads.walk, context, pool);
        chain.judge_ahead(&heads.walk, context);
        if heads.content.final_head().is_some() && chain.size() < heads.walk.size() {
            context.add(
                Code::AnchorNotFinal,
                Place::file(format!("anchors/{}/{}", chain.name(), chain.objects())),
                Votes::AtMost(0),
                format!(
                    "the anchor holds the heads log up to size {}; the final head ends it at {}",
                    chain.size(),
                    heads.walk.size()
                ),
            );
        }
    }
}

/// Takes every log's newest checkpoint: the cells' before the issuance logs', as heads do.
fn take_snapshots<'a>(
    heads: &mut Log<Heads<'a>>,
    context: Context<'a>,
    pool: &Pool<'a>,
    options: &Options,
) -> Vec<(LogId, Option<Signed>)> {
    let snapshots: Vec<(LogId, Option<Signed>)> = context
        .election
        .logs()
        .iter()
        .map(|log| (*log, read_newest(&context, *log)))
        .collect();
    // A log may have gone over to its spare key since the heads log was read: then the notice is there by now.
    let unexplained = |heads: &Log<Heads<'_>>| {
        let switches = &heads.content.notices().switches;
        let all = snapshots.iter().chain([&(LogId::Heads, None)]);
        all.filter_map(|(log, signed)| Some((*log, signed.as_ref()?)))
            .any(|(log, signed)| signed.key == 1 && switches.key_at(log, signed.size()) == 0)
    };
    if unexplained(heads) {
        wait(options.settle, || {
            heads.follow(read_newest(&context, LogId::Heads), context, pool);
            !unexplained(heads)
        });
    }
    let switches = &heads.content.notices().switches;
    let signed = snapshots
        .iter()
        .filter_map(|(log, signed)| Some((*log, signed.as_ref()?)))
        .chain(heads.newest.iter().map(|signed| (LogId::Heads, signed)));
    for (log, signed) in signed {
        context.progress.expect(signed.size());
        if let Some((code, evidence)) = switches.judge(log, signed) {
            context.add(
                code,
                Place::file(format!("{log}/checkpoint")),
                Votes::WholeRoll,
                evidence,
            );
        }
    }
    context.progress.done(heads.walk.size());
    snapshots
}

/// The cells' sizes in the final head, which say what counts.
fn final_sizes(heads: &Heads<'_>) -> Option<Vec<u64>> {
    Some(heads.final_sizes()?.iter().map(|log| log.size).collect())
}

type Cells<'a> = Vec<Log<Cell<'a>>>;
type Shards<'a> = Vec<Log<Shard<'a>>>;

/// Follows every cell and every issuance log.
fn follow_logs<'a>(
    context: Context<'a>,
    pool: &Pool<'a>,
    snapshots: Vec<(LogId, Option<Signed>)>,
    published: &Published,
    final_sizes: Option<&[u64]>,
) -> (Cells<'a>, Shards<'a>) {
    let (mut cells, mut shards) = (Vec::new(), Vec::new());
    for (position, (log, newest)) in snapshots.into_iter().enumerate() {
        context.progress.stage(log.to_string());
        match log {
            LogId::Cell(k) => {
                let mut wanted = results::wanted(
                    &[&published.sizes(), final_sizes.unwrap_or_default()],
                    position,
                );
                wanted.extend(newest.as_ref().map(Signed::size));
                let counted_below = final_sizes.and_then(|sizes| sizes.get(position).copied());
                let cell = Cell::new(context.election, k, wanted, counted_below);
                let mut log = Log::new(log, cell);
                log.follow(newest, context, pool);
                log.content.keep_end(log.walk.size());
                log.walk.compare_edge(context, pool);
                cells.push(log);
            }
            LogId::Issuance { registrar, shard } => {
                let mut log = Log::new(log, Shard::new(context.election, registrar, shard));
                log.follow(newest, context, pool);
                log.walk.compare_edge(context, pool);
                shards.push(log);
            }
            LogId::Heads => {}
        }
    }
    (cells, shards)
}

/// In head order.
fn walks<'w>(cells: &'w Cells<'_>, shards: &'w Shards<'_>) -> Vec<&'w Walk> {
    let cells = cells.iter().map(|log| &log.walk);
    cells.chain(shards.iter().map(|log| &log.walk)).collect()
}

/// `votes <= issued <= roll` as of the checkpoints that were taken, also where no head covers them yet: the cells' were taken first.
fn judge_totals(context: &Context<'_>, walks: &[&Walk]) {
    if walks.iter().any(|walk| walk.stopped()) {
        return;
    }
    let total = |walk: &Walk| walk.ends().last().map_or(0, |end| end.total);
    let cells = walks
        .iter()
        .filter(|walk| matches!(walk.log(), LogId::Cell(_)));
    let votes: u64 = cells.map(|walk| total(walk)).sum();
    let roll = context.election.manifest().roll.size;
    for registrar in (0u16..).take(context.election.manifest().registrars.len()) {
        let issued: u64 = walks
            .iter()
            .filter(
                |walk| matches!(walk.log(), LogId::Issuance { registrar: r, .. } if r == registrar),
            )
            .map(|walk| total(walk))
            .sum();
        let place = || Place::file(format!("registrars/{registrar}/0/checkpoint"));
        if votes > issued {
            context.add(
                Code::VotesExceedIssued,
                place(),
                Votes::AtMost(votes - issued),
                format!("the cells hold {votes} votes, and registrar {registrar} issued {issued} credentials"),
            );
        }
        if issued > roll {
            context.add(
                Code::IssuedExceedsRoll,
                place(),
                Votes::AtMost(issued - roll),
                format!("registrar {registrar} issued {issued} credentials, and the roll has {roll} voters"),
            );
        }
    }
}

/// Names every file that belongs to nothing. What is newer than the audit is followed first. Returns whether the source can list its files.
fn take_census<'a>(
    heads: &mut Log<Heads<'a>>,
    chains: &mut [Chain],
    cells: &mut Cells<'a>,
    shards: &mut Shards<'a>,
    context: Context<'a>,
    pool: &Pool<'a>,
) -> bool {
    fn extent<'e>(
        heads: &'e Log<Heads<'_>>,
        chains: &'e [Chain],
        cells: &'e Cells<'_>,
        shards: &'e Shards<'_>,
    ) -> census::Extent<'e> {
        let walks = walks(cells, shards).into_iter().chain([&heads.walk]);
        census::Extent::new(walks, chains)
    }

    context.progress.stage("files that belong to nothing");
    let Some(later) = census::list(&context, &extent(heads, chains, cells, shards)) else {
        return false;
    };
    if later.is_empty() {
        return true;
    }
    context.progress.stage("what was published since");
    heads.follow_on(context, pool);
    for chain in &mut *chains {
        chain.advance(context);
        chain.judge(&heads.walk, context, pool);
    }
    for log in &mut *cells {
        log.follow_on(context, pool);
    }
    for log in &mut *shards {
        log.follow_on(context, pool);
    }
    census::judge_later(&context, &extent(heads, chains, cells, shards), later);
    true
}

/// Every `checkpoints/<size>`, and `checkpoint` itself.
fn compare_checkpoints<'a>(
    heads: &Log<Heads<'a>>,
    chains: &[Chain],
    cells: &Cells<'a>,
    shards: &Shards<'a>,
    published: &Published,
    context: Context<'a>,
    pool: &Pool<'a>,
) {
    let switches = Arc::new(heads.content.notices().switches.clone());
    let newest = |signed: &Option<Signed>| signed.as_ref().map(Signed::size);
    let mut required: BTreeSet<u64> = chains.iter().flat_map(Chain::sizes).collect();
    required.extend(newest(&heads.newest));
    compare_all(pool, context, &heads.walk, &required, &switches);
    compare_cosigned(pool, context, &heads.walk, newest(&heads.newest));
    heads.compare_newest(context, pool);

    let named_by_results = published.sizes();
    let own_newest = cells
        .iter()
        .map(|log| newest(&log.newest))
        .chain(shards.iter().map(|log| newest(&log.newest)));
    for (position, ((walk, own), changes)) in walks(cells, shards)
        .into_iter()
        .zip(own_newest)
        .zip(heads.content.changes())
        .enumerate()
    {
        // A stale log's size may be its genesis, which nobody had to sign.
        let mut required: BTreeSet<u64> = changes
            .iter()
            .filter(|(_, said)| said.state != LogState::Stale)
            .map(|(_, said)| said.size)
            .collect();
        required.extend(own);
        required.extend(named_by_results.get(position));
        compare_all(pool, context, walk, &required, &switches);
    }
    for log in cells {
        log.compare_newest(context, pool);
    }
    for log in shards {
        log.compare_newest(context, pool);
    }
}
