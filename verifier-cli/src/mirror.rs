//! A verified copy of an election, fit to be served by any static web server.
//!
//! Batches are copied, each proven by the source's tiles to be of the signed tree before it is kept; tiles and entry bundles follow from the entries and are made anew. Files that never change
//! come first and are never replaced. Then move the issuance logs' `checkpoint`s, the cells', the heads log's, the anchors, and last results.json: the reverse of the order in which
//! an audit reads, so that a reader of the copy sees a consistent election at every moment.

mod anchors;
mod checkpoints;
mod continues;
mod copy;
mod heads;
mod log;
mod own;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use protocol::ids::{ElectionId, LogId};
use protocol::results::{RESULTS_LEN_MAX, Results, Status};
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) use self::copy::is_incomplete;
use self::copy::{Copy, CopyError, Later};
use self::heads::Heads;
use self::log::{Copied, create};
use self::shown::Shown;
use crate::audit::checkpoint::{Signed, read_newest};
use crate::audit::context::Context;
use crate::audit::tiles::strict_decimal;
use crate::audit::{self, Options};
use crate::finding::{Finding, Place, Votes};
use crate::opened::{Ended, Opened};
use crate::progress::Progress;
use crate::result;
use crate::source::ListedKind;
use crate::verdict::{AuditVerdict, Outcome};

/// How long to wait for what is published a moment after the final head.
const SETTLE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(500);
/// So many entries of the heads log are made until witnesses that are slow have cosigned, at most.
const COSIGNATURES_FOLLOW: u64 = 512;

/// What copying alone does not tell.
const NOT_RECOUNTED: &str = "the votes themselves, and what else `audit` checks: the copy is of what was signed, and nothing was recounted";

/// What copying came to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MirrorVerdict {
    /// Verified: the copy is complete, of what was signed, and, unless left out, its audit finds nothing. Findings: something is wrong with the source or the copy. Unchecked: something could not be read or written.
    pub verdict: Outcome,
    /// The election id.
    pub election: String,
    /// Where the files came from.
    pub source: String,
    /// The copy's folder; its `public` is to be served.
    pub copy: String,
    /// Whether the copy was brought up to the source.
    pub complete: bool,
    /// Whether there is a whole copy, of this run or an earlier one, to serve and to audit.
    pub usable: bool,
    /// Files written in this run.
    pub written: u64,
    /// The size of each log in the copy.
    pub logs: BTreeMap<String, u64>,
    /// What is wrong with the source.
    pub findings: Vec<Finding>,
    /// How many findings there were of each code.
    pub findings_by_code: BTreeMap<&'static str, u64>,
    /// What could not be read or written.
    pub not_covered: Vec<String>,
    /// The audit of the copy; null where it was left out.
    pub audit: Option<AuditVerdict>,
}

/// Why copying ends before it is complete.
enum Stop {
    /// It was said why.
    Said,
    Copy(CopyError),
}

impl From<CopyError> for Stop {
    fn from(error: CopyError) -> Self {
        Self::Copy(error)
    }
}

/// Brings the copy in `root` up to the election at `given`, a URL or a directory; then audits it, if there are options for that.
#[must_use]
pub fn run(
    given: &str,
    root: &Path,
    id: &ElectionId,
    audited: Option<&Options>,
    progress: &Progress,
) -> MirrorVerdict {
    let mut verdict = MirrorVerdict {
        verdict: Outcome::Unchecked,
        election: id.to_string(),
        source: given.to_owned(),
        copy: root.display().to_string(),
        complete: false,
        usable: false,
        written: 0,
        logs: BTreeMap::new(),
        findings: Vec::new(),
        findings_by_code: BTreeMap::new(),
        not_covered: Vec::new(),
        audit: None,
    };
    let opened = match Opened::at(given, id, progress) {
        Ok(opened) => opened,
        Err(ended) => {
            verdict.end(ended);
            verdict.usable = is_usable(root, id);
            return verdict;
        }
    };
    verdict.source.clone_from(&opened.located.place);
    let copied = Copy::open(root, id).map_err(Stop::from).and_then(|copy| {
        let mut mirror = Mirror {
            context: opened.context(),
            opened: &opened,
            shown: Shown::load(&copy),
            copy,
            logs: BTreeMap::new(),
            newest: BTreeMap::new(),
            heads: Heads::default(),
            served_heads: 0,
        };
        let mut done = mirror.run();
        // What was shown counts whatever became of the copy.
        if let Err(error) = mirror.shown.save(&mut mirror.copy) {
            done = done.and(Err(Stop::Copy(error)));
        }
        verdict.written = mirror.copy.written();
        let logs = mirror.logs.values();
        verdict.logs = logs.map(|log| (log.log.prefix(), log.size())).collect();
        done
    });
    match copied {
        Ok(()) => verdict.complete = opened.findings.is_empty(),
        Err(Stop::Said) => {}
        Err(Stop::Copy(error)) => opened.unread.note(error.to_string()),
    }
    verdict.end(opened.end());
    verdict.usable = is_usable(root, id);
    if audited.is_none() {
        verdict.not_covered.push(NOT_RECOUNTED.to_owned());
    }
    if let Some(options) = audited
        && verdict.complete
    {
        let given = root.display().to_string();
        let audit = audit::run(&given, id, options, progress);
        verdict.verdict = match (verdict.verdict, audit.verdict) {
            (Outcome::Findings, _) | (_, Outcome::Findings) => Outcome::Findings,
            (Outcome::Unchecked, _) | (_, Outcome::Unchecked) => Outcome::Unchecked,
            (Outcome::Verified, Outcome::Verified) => Outcome::Verified,
        };
        verdict.audit = Some(audit);
    }
    verdict
}

/// Whether a whole copy is there.
fn is_usable(root: &Path, id: &ElectionId) -> bool {
    let served = root.join("public").join("elections").join(id.to_string());
    served.join("manifest.json").is_file() && !is_incomplete(&served)
}

/// One run.
struct Mirror<'m> {
    context: Context<'m>,
    opened: &'m Opened,
    copy: Copy,
    shown: Shown,
    logs: BTreeMap<LogId, Copied>,
    newest: BTreeMap<LogId, Signed>,
    heads: Heads,
    /// The size of the heads log in the copy when this run began.
    served_heads: u64,
}

impl Mirror<'_> {
    fn run(&mut self) -> Result<(), Stop> {
        let context = self.context;
        let manifest = context.election.manifest_bytes().to_vec();
        create(&context, &mut self.copy, "manifest.json", &manifest)?;
        // First what speaks of other files, then what it speaks of.
        let mut results = result::read(&context);
        context.progress.stage("heads");
        self.follow(LogId::Heads)?;
        results = self.settle_results(results);
        if let Some(results) = &results {
            for cell in results.cells.iter().filter(|cell| cell.proof.is_some()) {
                self.heads.name(LogId::Cell(cell.cell), cell.size);
            }
        }
        let anchors = self.read_anchors()?;
        for log in context.election.logs().to_vec() {
            context.progress.stage(log.prefix());
            self.follow(log)?;
        }
        context.progress.stage("checkpoints");
        self.copy_checkpoints()?;
        let is_due = results
            .as_ref()
            .is_some_and(|results| results.status == self.heads.due());
        if let Some(results) = &results {
            self.check_results(results, is_due);
        }
        if !context.findings.is_empty() || !context.unread.is_empty() {
            // The copy stays at the consistent state that it had.
            return Err(Stop::Said);
        }
        // Only running results lag behind an end; nothing honest is ahead of one.
        let fits = |results: &&Results| is_due || results.status == Status::Open;
        self.publish(&anchors, results.as_ref().filter(fits))?;
        self.copy.is_complete()?;
        if !is_due {
            context.unread.note(format!(
                "results.json does not say {:?} yet, as the heads log calls for: its numbers are signed ones, of a moment before; run this again",
                self.heads.due()
            ));
        }
        Ok(())
    }

    /// Copies one log's batches, tiles and bundles.
    fn follow(&mut self, log: LogId) -> Result<(), Stop> {
        let context = self.context;
        let Some(newest) = read_newest(&context, log) else {
            return Ok(());
        };
        if log != LogId::Heads
            && let Some((code, evidence)) = self.heads.switches.judge(log, &newest)
        {
            let place = Place::file(format!("{log}/checkpoint"));
            context.add(code, place, Votes::WholeRoll, evidence);
            return Err(Stop::Said);
        }
        let located = &self.opened.located;
        let kept = continues::compare(
            &context,
            located,
            &mut self.copy,
            &mut self.shown,
            log,
            &newest,
        )?;
        let served = kept.as_ref().map_or(0, |kept| kept.checkpoint.size());
        if log == LogId::Heads {
            self.served_heads = served;
        }
        // Of the heads log all is read: notices may stand anywhere.
        let resumed = match kept.filter(|_| log != LogId::Heads) {
            Some(kept) => Copied::resume(&self.copy, &kept, context.election)?,
            None => None,
        };
        let mut copied = resumed.unwrap_or_else(|| Copied::new(log));
        context.progress.expect(newest.size() - copied.size());
        let named = self.heads.named(log);
        let heads = &mut self.heads;
        copied.follow(&context, &mut self.copy, &newest, &named, |index, entry| {
            if log == LogId::Heads {
                heads.take(context.election, index, entry, index >= served);
            }
        })?;
        self.heads.name(log, newest.size());
        self.logs.insert(log, copied);
        self.newest.insert(log, newest);
        Ok(())
    }

    /// Results that lag behind the heads log are waited for.
    fn settle_results(&self, first: Option<Results>) -> Option<Results> {
        let due = self.heads.due();
        let deadline = Instant::now() + SETTLE;
        let mut results = first;
        while results
            .as_ref()
            .is_some_and(|results| results.status != due)
            && Instant::now() < deadline
        {
            std::thread::sleep(POLL);
            results = result::read(&self.context);
        }
        results
    }

    fn read_anchors(&mut self) -> Result<Vec<Later>, Stop> {
        let Some(heads) = self.logs.get(&LogId::Heads) else {
            return Ok(Vec::new());
        };
        let read = anchors::read(&self.context, &mut self.copy, heads, self.heads.is_final)?;
        for size in read.sizes {
            self.heads.name(LogId::Heads, size);
        }
        Ok(read.objects)
    }

    /// Every checkpoint that something names, verified against the copied log.
    fn copy_checkpoints(&mut self) -> Result<(), Stop> {
        let context = self.context;
        let final_size = self.newest.get(&LogId::Heads).map(Signed::size);
        let final_size = final_size.filter(|_| self.heads.is_final);
        for (log, sizes) in self.heads.take_named() {
            let reached = self.newest.get(&log).zip(self.logs.get(&log));
            let Some((newest, copied)) = reached else {
                // A log that has published nothing is named with its genesis.
                if let Some(size) = sizes.last().filter(|size| **size > 1) {
                    context.unread.note(format!(
                        "{log}/checkpoint: it is not there, and heads or results name size {size} of this log; run this again, or audit the source"
                    ));
                }
                continue;
            };
            if let Some(size) = sizes.last().filter(|size| **size > newest.size()) {
                context.unread.note(format!(
                    "{log}/checkpoint: it is of size {}, and heads or results name {size}; run this again, or audit the source",
                    newest.size()
                ));
                continue;
            }
            for size in sizes.iter().copied() {
                let path = format!("{log}/checkpoints/{size}");
                if self.copy.read(&path)?.is_some() {
                    continue;
                }
                // Where no batch ends there, the audit of the source names it.
                let root = copied.root_of_any(&context, &self.copy, newest, size)?;
                if let Some(root) = root {
                    checkpoints::copy_named(&context, &mut self.copy, log, size, root)?;
                }
            }
            if log == LogId::Heads {
                let sizes = self.cosigned_sizes(copied, sizes)?;
                checkpoints::copy_cosigned(&context, &mut self.copy, copied, &sizes, final_size)?;
            }
        }
        Ok(())
    }

    /// The sizes of the heads log whose cosigned checkpoints this run asks for, if the copy lacks lines of them.
    fn cosigned_sizes(
        &self,
        heads: &Copied,
        named: BTreeSet<u64>,
    ) -> Result<BTreeSet<u64>, CopyError> {
        let from = match self.served_heads {
            served if self.heads.is_final && served < heads.size() => 0,
            served => served.saturating_sub(COSIGNATURES_FOLLOW),
        };
        let Some(listed) = self.context.list("heads/cosigned") else {
            return Ok(checkpoints::asked_for(from, named, heads.ends_above(from)));
        };
        let mut missing = BTreeSet::new();
        let files = listed.iter().filter(|one| one.kind == ListedKind::File);
        for size in files.filter_map(|one| strict_decimal(&one.name)) {
            let is_there = size <= heads.size();
            if is_there && (size > from || !self.copy.has(&format!("heads/cosigned/{size}"))?) {
                missing.insert(size);
            }
        }
        Ok(checkpoints::asked_for(from, named, missing.into_iter()))
    }

    /// What is wrong with the results is a finding. Those that lag are sums of signed tallies, too.
    fn check_results(&self, results: &Results, is_due: bool) {
        let context = self.context;
        let Some(newest) = self.newest.get(&LogId::Heads) else {
            let why =
                "heads/checkpoint is not there (yet), so nothing tells how far the election is";
            context.unread.note(why.to_owned());
            return;
        };
        context.progress.stage("results");
        let cells: Vec<Option<Signed>> = (0..context.election.cells())
            .map(|cell| self.newest.get(&LogId::Cell(cell)).cloned())
            .collect();
        let mut heads = self.heads.today(newest);
        if !is_due {
            heads = result::as_they_say(&heads, results);
        }
        let sound = result::check(&context, &heads, &cells, results);
        if sound.is_none() && context.findings.is_empty() {
            let why = "results.json was not verified".to_owned();
            context.unread.note(why);
        }
    }

    /// Moves what names other files, last what is read first.
    fn publish(&mut self, anchors: &[Later], results: Option<&Results>) -> Result<(), Stop> {
        let logs = self.context.election.logs().iter().rev().copied();
        for log in logs.chain([LogId::Heads]) {
            if let Some(newest) = self.newest.get(&log) {
                let path = format!("{log}/checkpoint");
                self.copy.replace(&path, &newest.bytes)?;
            }
        }
        for object in anchors {
            self.copy.publish(object)?;
        }
        if let Some(bytes) = results.and_then(|results| results.to_bytes().ok()) {
            debug_assert!(bytes.len() <= RESULTS_LEN_MAX);
            self.copy.replace(result::FILE, &bytes)?;
        }
        Ok(())
    }
}

impl MirrorVerdict {
    fn end(&mut self, ended: Ended) {
        self.verdict = ended.verdict;
        self.findings = ended.findings;
        self.findings_by_code = ended.findings_by_code;
        self.not_covered = ended.unread;
    }
}
