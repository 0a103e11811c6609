//! Looking a receipt's vote up in the ledger as it is published today.
//!
//! The heads log is read before the cell's checkpoint, so that every size that a head names has been reached.

use protocol::checkpoint::Checkpoint;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::tile::consistency_tiles;
use protocol::receipt::Receipt;
use protocol::tlog_proof::TlogProof;

use super::{Counted, LedgerShown};
use crate::audit::checkpoint::{Signed, read_newest};
use crate::audit::context::{Context, Read, Unread};
use crate::audit::heads_reader::{self, HeadsToday};
use crate::finding::{Code, Findings, Place, Votes};
use crate::progress::Progress;
use crate::prove::{holds_vote, tiles};
use crate::source::Located;

/// Checks the vote against the ledger; returns what it saw, and what it could not read.
pub(super) fn check(
    election: &Election,
    located: &Located,
    file: &str,
    receipt: &Receipt,
    proven: &protocol::receipt::ReceiptVerdict,
    findings: &Findings,
) -> (LedgerShown, Vec<String>) {
    let unread = Unread::default();
    let progress = Progress::hidden();
    let context = Context {
        election,
        source: located.source.as_ref(),
        findings,
        unread: &unread,
        progress: &progress,
    };
    let mut shown = LedgerShown {
        source: located.place.clone(),
        cell_size: None,
        in_ledger: false,
        counted: Counted::Unknown,
    };
    let heads = heads_reader::read(&context);
    let cell = LogId::Cell(proven.cell);
    if let Some(newest) = newest(&context, cell, heads.as_ref()) {
        shown.cell_size = Some(newest.size());
        let notes = [
            Some(&receipt.vote),
            receipt.sealed.as_ref().map(|seal| &seal.vote),
        ];
        let held = notes
            .into_iter()
            .flatten()
            .filter_map(|proof| TlogProof::parse(proof.as_bytes()).ok());
        let mut sound = true;
        for proof in held {
            sound &= is_consistent(&context, cell, &newest, proof.checkpoint(), file);
            sound &= holds_vote(&context, cell, &newest.checkpoint, &proof, file);
        }
        shown.in_ledger = sound;
        if let Some(heads) = &heads {
            shown.counted = counted(&context, cell, &newest, heads, proven.index, file);
        }
    }
    if let (Some(heads), Some(seal)) = (&heads, &receipt.sealed)
        && let Ok(proof) = TlogProof::parse(seal.head.as_bytes())
    {
        is_consistent(
            &context,
            LogId::Heads,
            &heads.newest,
            proof.checkpoint(),
            file,
        );
    }
    (shown, unread.finish())
}

/// The log's newest checkpoint, by the right key.
fn newest(context: &Context<'_>, log: LogId, heads: Option<&HeadsToday>) -> Option<Signed> {
    let path = format!("{log}/checkpoint");
    let Some(signed) = read_newest(context, log) else {
        if matches!(context.read(&path, 1 << 16), Read::Missing) {
            context.add(
                Code::MissingFile,
                Place::file(path),
                Votes::AtMost(1),
                "there is no such file, and the receipt proves that the log has published",
            );
        }
        return None;
    };
    if let Some((code, evidence)) = heads.and_then(|heads| heads.switches.judge(log, &signed)) {
        context.add(code, Place::file(path), Votes::AtMost(1), evidence);
        return None;
    }
    Some(signed)
}

/// Whether the newest tree starts with the one whose checkpoint the voter holds.
fn is_consistent(
    context: &Context<'_>,
    log: LogId,
    newest: &Signed,
    held: &[u8],
    file: &str,
) -> bool {
    let Some(old) = body(held) else {
        return false;
    };
    if old.size() > newest.size() {
        context.add(
            Code::CheckpointRollback,
            Place::file(format!("{log}/checkpoint")),
            Votes::AtMost(1),
            format!(
                "the log ends at size {}, and the receipt proves that it had reached {}. The receipt's note:\n{}\nThe published note:\n{}",
                newest.size(),
                old.size(),
                String::from_utf8_lossy(held),
                String::from_utf8_lossy(&newest.bytes)
            ),
        );
        return false;
    }
    let Some(tiles) = tiles(
        context,
        log,
        &newest.checkpoint,
        consistency_tiles(old.size(), newest.size()),
    ) else {
        return false;
    };
    match tiles.root_at(old.size()) {
        Ok(root) if root == old.root() => true,
        Ok(root) => {
            context.add(
                Code::Equivocation,
                Place::file(file),
                Votes::WholeRoll,
                format!(
                    "at size {} the receipt's checkpoint of {log} has root {}, and the published log {root}. The receipt's note:\n{}\nThe published note:\n{}",
                    old.size(),
                    old.root(),
                    String::from_utf8_lossy(held),
                    String::from_utf8_lossy(&newest.bytes)
                ),
            );
            false
        }
        Err(error) => {
            context.unread.note(format!("{log}: {error}"));
            false
        }
    }
}

/// The receipt's checkpoints were verified with the receipt; here only what they say is needed.
fn body(note: &[u8]) -> Option<Checkpoint> {
    let note = protocol::note::SignedNote::parse(note).ok()?;
    Checkpoint::parse_body(note.text()).ok()
}

/// Whether the newest head covers the vote, and whether the final head counts it.
fn counted(
    context: &Context<'_>,
    cell: LogId,
    newest: &Signed,
    heads: &HeadsToday,
    index: u64,
    file: &str,
) -> Counted {
    if heads.cancelled {
        return Counted::Cancelled;
    }
    let Some(said) = heads
        .head
        .as_ref()
        .and_then(|head| head.log(context.election, cell))
    else {
        return Counted::NotYet;
    };
    // What the head says of the cell must be the cell that holds the vote.
    if said.size <= newest.size() {
        match tiles(
            context,
            cell,
            &newest.checkpoint,
            consistency_tiles(said.size, newest.size()),
        )
        .map(|tiles| tiles.root_at(said.size))
        {
            Some(Ok(root)) if root == said.root => {}
            Some(Ok(root)) => {
                context.add(
                    Code::HeadRoot,
                    Place::file("heads/checkpoint"),
                    Votes::WholeRoll,
                    format!("the newest head names root {} of {cell} at size {}; the published log has {root}", said.root, said.size),
                );
                return Counted::Unknown;
            }
            Some(Err(_)) | None => return Counted::Unknown,
        }
    }
    match (index < said.size, heads.is_final) {
        (true, true) => Counted::Final,
        (true, false) => Counted::Covered,
        (false, false) => Counted::NotYet,
        (false, true) => {
            context.add(
                Code::Dropped,
                Place::at(file, index),
                Votes::AtMost(1),
                format!("the vote stands at index {index} of {cell}, and the final head counts {} entries", said.size),
            );
            Counted::Dropped
        }
    }
}
