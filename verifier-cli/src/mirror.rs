//! A verified copy of an election, fit to be served by any static web server.
//!
//! Batches are copied, each chained to the one before and the last one to the signed checkpoint; tiles and entry bundles follow from the entries and are made anew. Files that never change
//! come first and are never replaced. Then move the issuance logs' `checkpoint`s, the cells', the heads log's, the anchors, and last results.json: the reverse of the order in which
//! an audit reads, so that a reader of the copy sees a consistent election at every moment.

mod copy;
mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use protocol::anchor::{ANCHOR_LEN_MAX, AnchorObject};
use protocol::checkpoint::Checkpoint;
use protocol::entry::Entry;
use protocol::evidence::HeldCheckpoint;
use protocol::ids::{ElectionId, LogId};
use protocol::manifest::Election;
use protocol::note::NOTE_BYTES_MAX;
use protocol::results::{RESULTS_LEN_MAX, Results, Status};
use schemars::JsonSchema;
use serde::Serialize;

use self::copy::{Copy, CopyError};
use self::log::{Copied, create};
use crate::audit::checkpoint::{Signed, Switches, read_newest, verify};
use crate::audit::context::{Context, Read};
use crate::audit::{self, Options};
use crate::consistency::{Comparison, Relation};
use crate::finding::{Code, Finding, Place, Votes};
use crate::opened::{Ended, Opened};
use crate::progress::Progress;
use crate::result;
use crate::source::{Directory, Located};
use crate::verdict::{AuditVerdict, Outcome};

/// How long to wait for what is published a moment after the final head.
const SETTLE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(500);

/// What copying came to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MirrorVerdict {
    /// Verified: the copy is complete and, unless left out, its audit finds nothing. Findings: something is wrong with the source or the copy. Unchecked: something could not be read or written.
    pub verdict: Outcome,
    /// The election id.
    pub election: String,
    /// Where the files came from.
    pub source: String,
    /// The copy's folder; its `public` is to be served.
    pub copy: String,
    /// Whether the copy was brought up to the source.
    pub complete: bool,
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
            return verdict;
        }
    };
    verdict.source.clone_from(&opened.located.place);
    let copied = Copy::open(root, id).map_err(Stop::from).and_then(|copy| {
        let mut mirror = Mirror {
            context: opened.context(),
            opened: &opened,
            copy,
            logs: BTreeMap::new(),
            newest: BTreeMap::new(),
            named: BTreeMap::new(),
            final_head: false,
            cancelled: false,
            switches: Switches::default(),
        };
        let done = mirror.run();
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

/// One run.
struct Mirror<'m> {
    context: Context<'m>,
    opened: &'m Opened,
    copy: Copy,
    logs: BTreeMap<LogId, Copied>,
    newest: BTreeMap<LogId, Signed>,
    /// Sizes that heads, anchors, results or `checkpoint` name: their checkpoints must exist.
    named: BTreeMap<LogId, BTreeSet<u64>>,
    final_head: bool,
    cancelled: bool,
    switches: Switches,
}

impl Mirror<'_> {
    fn election(&self) -> &Election {
        self.context.election
    }

    fn run(&mut self) -> Result<(), Stop> {
        let context = self.context;
        let manifest = self.election().manifest_bytes().to_vec();
        create(&context, &mut self.copy, "manifest.json", &manifest)?;
        // First what speaks of other files, then what it speaks of.
        let mut results = result::read(&context);
        context.progress.stage("heads");
        self.follow(LogId::Heads)?;
        results = self.settle_results(results);
        if let Some(results) = &results {
            for cell in results.cells.iter().filter(|cell| cell.proof.is_some()) {
                self.name(LogId::Cell(cell.cell), cell.size);
            }
        }
        let anchors = self.read_anchors();
        for log in self.election().logs().to_vec() {
            context.progress.stage(log.prefix());
            self.follow(log)?;
        }
        context.progress.stage("checkpoints");
        self.copy_checkpoints()?;
        self.copy_cosigned()?;
        if !context.findings.is_empty() || !context.unread.is_empty() {
            // The copy stays at the consistent state that it had.
            return Err(Stop::Said);
        }
        self.publish(&anchors, results.as_ref())
    }

    fn name(&mut self, log: LogId, size: u64) {
        self.named.entry(log).or_default().insert(size);
    }

    /// Copies one log's batches, tiles and bundles.
    fn follow(&mut self, log: LogId) -> Result<(), Stop> {
        let context = self.context;
        let Some(newest) = read_newest(&context, log) else {
            return Ok(());
        };
        if log != LogId::Heads
            && let Some((code, evidence)) = self.switches.judge(log, &newest)
        {
            let place = Place::file(format!("{log}/checkpoint"));
            context.add(code, place, Votes::WholeRoll, evidence);
            return Err(Stop::Said);
        }
        self.compare_with_copy(log, &newest)?;
        context.progress.expect(newest.size());
        let mut copied = Copied::new(log);
        let mut entries = Vec::new();
        copied.follow(&context, &mut self.copy, &newest, |entry| {
            if log == LogId::Heads {
                entries.push(entry.to_vec());
            }
        })?;
        for entry in entries {
            self.see_head(&entry);
        }
        self.name(log, newest.size());
        self.logs.insert(log, copied);
        self.newest.insert(log, newest);
        Ok(())
    }

    /// The source must continue what the copy holds; if it does not, both are kept.
    fn compare_with_copy(&mut self, log: LogId, newest: &Signed) -> Result<(), Stop> {
        let context = self.context;
        let path = format!("{log}/checkpoint");
        let held = |bytes: &[u8]| HeldCheckpoint::read(bytes, context.election).ok();
        let Some(kept) = self.copy.read(&path)?.and_then(|note| held(&note)) else {
            return Ok(());
        };
        let Some(shown) = held(&newest.bytes) else {
            return Ok(());
        };
        let own = Located {
            place: self.copy.served().display().to_string(),
            source: std::sync::Arc::new(Directory::new(self.copy.served())),
        };
        let sources = [self.opened.located.clone(), own];
        let comparison = Comparison {
            election: context.election,
            sources: &sources,
        };
        let is_older = shown.checkpoint.size() < kept.checkpoint.size();
        let (older, newer) = if is_older {
            (&shown, &kept)
        } else {
            (&kept, &shown)
        };
        let (code, votes, evidence) = match comparison.relation(older, newer) {
            Relation::Consistent if !is_older => return Ok(()),
            Relation::Split(split) => {
                let path = match split.encode() {
                    Ok(bytes) => self
                        .copy
                        .put_aside(&format!("{log}/split-view.json"), &bytes)?,
                    Err(_) => PathBuf::new(),
                };
                (
                    Code::Equivocation,
                    Votes::WholeRoll,
                    format!(
                        "the source shows another history than the copy holds; the proof for everybody is {}",
                        path.display()
                    ),
                )
            }
            Relation::Unknown(why) if !is_older => (
                Code::TileMismatch,
                Votes::AtMost(0),
                format!(
                    "the source does not show that it continues size {}: {}",
                    older.checkpoint.size(),
                    why.join("; ")
                ),
            ),
            Relation::Consistent | Relation::Unknown(_) => (
                Code::CheckpointRollback,
                Votes::AtMost(kept.checkpoint.size() - shown.checkpoint.size()),
                format!(
                    "the source shows size {}, and the copy holds {}: the log was cut, or the source is an older copy",
                    shown.checkpoint.size(),
                    kept.checkpoint.size()
                ),
            ),
        };
        self.copy.put_aside(&path, &newest.bytes)?;
        context.add(code, Place::file(path), votes, evidence);
        Err(Stop::Said)
    }

    /// What an entry of the heads log names.
    fn see_head(&mut self, bytes: &[u8]) {
        match Entry::decode(bytes, self.context.election) {
            Ok(Entry::Head(head)) => self.take_head(&head),
            Ok(Entry::FinalHead(head)) => {
                self.final_head = true;
                self.take_head(&head);
            }
            Ok(Entry::Notice(notice)) if notice.verify(self.context.election).is_ok() => {
                match notice.body.action {
                    protocol::entry::NoticeAction::Cancel => self.cancelled = true,
                    protocol::entry::NoticeAction::Switch { log, size, .. } => {
                        self.switches.0.push((log, size));
                    }
                    _ => {}
                }
            }
            // What cannot be decoded, the audit names.
            _ => {}
        }
    }

    fn take_head(&mut self, head: &protocol::entry::Head) {
        for (log, said) in self.context.election.logs().iter().zip(&head.logs) {
            self.named.entry(*log).or_default().insert(said.size);
        }
    }

    /// Results that lag behind the heads log are waited for.
    fn settle_results(&self, first: Option<Results>) -> Option<Results> {
        let due = |results: &Results| match (self.cancelled, self.final_head) {
            (true, _) => results.status == Status::Cancelled,
            (false, true) => results.status == Status::Final,
            (false, false) => results.status == Status::Open,
        };
        let deadline = Instant::now() + SETTLE;
        let mut results = first;
        while results.as_ref().is_some_and(|results| !due(results)) && Instant::now() < deadline {
            std::thread::sleep(POLL);
            results = result::read(&self.context);
        }
        results
    }

    /// The anchors' objects, as far as the copied heads log reaches. A final head is waited for.
    fn read_anchors(&mut self) -> Vec<(String, Vec<u8>)> {
        let context = self.context;
        let Some(heads) = self.newest.get(&LogId::Heads).map(Signed::size) else {
            return Vec::new();
        };
        let deadline = Instant::now() + SETTLE;
        let mut objects = Vec::new();
        for anchor in &context.election.manifest().anchors {
            let (mut n, mut size) = (0u64, 0);
            loop {
                let path = format!("anchors/{}/{n}", anchor.name);
                let bytes = match context.read(&path, ANCHOR_LEN_MAX) {
                    Read::File(bytes) => bytes,
                    Read::Missing
                        if self.final_head && size < heads && Instant::now() < deadline =>
                    {
                        std::thread::sleep(POLL);
                        continue;
                    }
                    _ => break,
                };
                let object = match AnchorObject::decode(&bytes, &context.election.id()) {
                    Ok(object) => object,
                    Err(error) => {
                        context.add(
                            Code::AnchorMalformed,
                            Place::file(path),
                            Votes::AtMost(0),
                            error.to_string(),
                        );
                        break;
                    }
                };
                if object.new_size > heads {
                    break;
                }
                size = object.new_size;
                self.named.entry(LogId::Heads).or_default().insert(size);
                objects.push((path, bytes));
                n += 1;
            }
        }
        objects
    }

    /// Every checkpoint that something names, verified against the copied log.
    fn copy_checkpoints(&mut self) -> Result<(), Stop> {
        let context = self.context;
        for (log, sizes) in self.named.clone() {
            let Some(root_at) = self
                .logs
                .get(&log)
                .map(|copied| |size| copied.root_at(size))
            else {
                // A log that has published nothing is named with its genesis.
                continue;
            };
            let mut verified = Vec::new();
            for size in sizes {
                let path = format!("{log}/checkpoints/{size}");
                let Some(root) = root_at(size) else {
                    continue; // No batch ends there: the audit of the source names it.
                };
                if self.copy.read(&path)?.is_some() {
                    continue;
                }
                let Some(bytes) = context.read_required(
                    &path,
                    NOTE_BYTES_MAX,
                    Votes::AtMost(0),
                    "a head, an anchor, results.json or `checkpoint` names this size",
                ) else {
                    continue;
                };
                match verify(context.election, log, &bytes) {
                    (Some(signed), None)
                        if (signed.size(), signed.checkpoint.root()) == (size, root) =>
                    {
                        verified.push((path, bytes));
                    }
                    (_, fault) => {
                        let (code, evidence) = fault.unwrap_or_else(|| {
                            (
                                Code::CheckpointRoot,
                                format!("it is not of size {size} with root {root}"),
                            )
                        });
                        context.add(code, Place::file(path), Votes::WholeRoll, evidence);
                    }
                }
            }
            for (path, bytes) in verified {
                create(&context, &mut self.copy, &path, &bytes)?;
            }
        }
        Ok(())
    }

    /// Cosigned checkpoints of the heads log, where there are any.
    fn copy_cosigned(&mut self) -> Result<(), Stop> {
        let context = self.context;
        let election = context.election;
        if election.witnesses().is_empty() {
            return Ok(());
        }
        let Some(keys) = election.log_keys(LogId::Heads).map(|keys| keys.to_bytes()) else {
            return Ok(());
        };
        let origin = election.origin(LogId::Heads);
        for size in self.named.get(&LogId::Heads).cloned().unwrap_or_default() {
            let path = format!("heads/cosigned/{size}");
            let Read::File(bytes) = context.read(&path, NOTE_BYTES_MAX) else {
                continue;
            };
            match Checkpoint::verify_cosigned(&bytes, &origin, &keys, election.witnesses()) {
                Ok((checkpoint, _, _)) if checkpoint.size() == size => {
                    create(&context, &mut self.copy, &path, &bytes)?;
                }
                Ok(_) => context.add(
                    Code::CosignatureWrong,
                    Place::file(path),
                    Votes::AtMost(0),
                    "it is of another size",
                ),
                Err(error) => context.add(
                    Code::CosignatureWrong,
                    Place::file(path),
                    Votes::AtMost(0),
                    error.to_string(),
                ),
            }
        }
        Ok(())
    }

    /// Moves what names other files, last what is read first.
    fn publish(
        &mut self,
        anchors: &[(String, Vec<u8>)],
        results: Option<&Results>,
    ) -> Result<(), Stop> {
        let context = self.context;
        let logs = context.election.logs().iter().rev().copied();
        for log in logs.chain([LogId::Heads]) {
            if let Some(newest) = self.newest.get(&log) {
                self.copy
                    .replace(&format!("{log}/checkpoint"), &newest.bytes)?;
            }
        }
        for (path, bytes) in anchors {
            create(&context, &mut self.copy, path, bytes)?;
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
