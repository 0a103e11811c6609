//! The audit of mutated trees.

use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};
use protocol::anchor::AnchorObject;
use protocol::batch::BatchFile;
use protocol::checkpoint::Checkpoint;
use protocol::entry::Entry;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::note::SignedNote;
use protocol::results::Results;
use verifier_cli::verdict::Outcome;

use crate::trees::{Files, TREES, Tree};

/// Changes to one tree.
const EDITS_MAX: usize = 8;

/// Takes a published tree, changes its files, and audits it: what differs in anything that an audit needs is never verified.
///
/// An input is the tree's number, then edits: what to do, to which file, and where.
pub fn audit(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok((original, tree, is_foreign)) = mutated(&mut u) else {
        return;
    };
    let verdict = tree.audit(None);
    if !original.is_right {
        // What is wrong with it may have been taken away.
        return;
    }
    if tree.files == original.files {
        assert_eq!(
            verdict.verdict,
            Outcome::Verified,
            "a false alarm: {:?}",
            verdict.findings
        );
    }
    // A tree that is just being written, without some of what is new, is the one before; with files that the operator signed in another history, it
    // may be a right one of that.
    let is_right = || TREES.iter().any(|right| is_same(&tree, right));
    assert!(
        is_foreign || verdict.verdict != Outcome::Verified || is_right(),
        "a changed tree was verified: {:?}",
        changes(&tree, original)
    );
}

/// A tree of the vectors, what became of it, and whether it got files of other trees.
fn mutated(u: &mut Unstructured<'_>) -> Result<(&'static Tree, Tree, bool)> {
    let original = &TREES[usize::from(u.arbitrary::<u8>()?) % TREES.len()];
    let mut files = original.files.clone();
    let mut is_foreign = false;
    for _ in 0..EDITS_MAX {
        // Fewer bytes: fewer edits.
        if u.is_empty() || files.is_empty() {
            break;
        }
        is_foreign |= edit(u, &mut files)?;
    }
    let tree = Tree {
        election: original.election,
        files,
        is_right: false,
        is_final: original.is_final,
    };
    Ok((original, tree, is_foreign))
}

/// Makes one change. Returns whether it took a file from another tree.
fn edit(u: &mut Unstructured<'_>, files: &mut Files) -> Result<bool> {
    let what = u.int_in_range(0..=9)?;
    let path = path(u, files)?;
    let bytes = files.get_mut(&path).expect("of these files");
    let at = usize::from(u.arbitrary::<u16>()?) % bytes.len().max(1);
    match what {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << u.int_in_range(0..=7)?;
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = u.arbitrary()?;
            }
        }
        2 => bytes.truncate(at),
        3 => drop(files.remove(&path)),
        // Two files change places.
        4 => {
            let own = bytes.clone();
            let with = self::path(u, files)?;
            let other = files.insert(with, own).expect("of these files");
            files.insert(path, other);
        }
        // A file of another tree, at its own place or at this one.
        5 => {
            let tree = &TREES[usize::from(u.arbitrary::<u8>()?) % TREES.len()];
            let from = self::path(u, &tree.files)?;
            let to = if u.arbitrary()? { path } else { from.clone() };
            files.insert(to, tree.files[&from].clone());
        }
        // At another tree's file's place, or at one that no file has.
        6 | 7 => {
            let own = bytes.clone();
            let to = if u.arbitrary()? {
                format!("{path}{}", u.int_in_range(0..=9)?)
            } else {
                let tree = &TREES[usize::from(u.arbitrary::<u8>()?) % TREES.len()];
                self::path(u, &tree.files)?
            };
            if what == 6 {
                files.remove(&path);
            }
            files.insert(to, own);
        }
        // Bytes over others, or between them.
        _ => {
            let len = u.int_in_range(1..=16)?;
            let more = u.bytes(len)?;
            let end = if what == 8 { at } else { at + len };
            bytes.splice(at..end.min(bytes.len()), more.iter().copied());
        }
    }
    Ok(what == 5)
}

fn path(u: &mut Unstructured<'_>, files: &Files) -> Result<String> {
    let at = usize::from(u.arbitrary::<u8>()?) % files.len().max(1);
    let path = files
        .keys()
        .nth(at)
        .ok_or(arbitrary::Error::NotEnoughData)?;
    Ok(path.clone())
}

/// Whether the tree has every file of a right one that an audit needs, no other content in the rest, and no file besides.
fn is_same(tree: &Tree, right: &Tree) -> bool {
    if !right.is_right || right.election != tree.election {
        return false;
    }
    let is_given = |(path, bytes): (&String, &Vec<u8>)| {
        is_optional(path) || right.files.get(path).is_some_and(|own| own == bytes)
    };
    if !tree.files.iter().all(is_given) {
        return false;
    }
    // What is anchored a moment later may be missing as long as there is no final head.
    let is_later = |path: &str| !right.is_final && path.starts_with("anchors/");
    let missing: Vec<&String> = right
        .files
        .keys()
        .filter(|path| !tree.files.contains_key(*path) && !is_optional(path) && !is_later(path))
        .collect();
    // Nothing else is looked into before it is known to be right.
    missing.iter().all(|path| path.contains("/checkpoints/"))
        && (missing.is_empty() || {
            let named = named_checkpoints(tree);
            missing.iter().all(|path| !named.contains(*path))
        })
}

/// Cosigned checkpoints "may be there for any sizes, and for none", with some of the cosignatures or all. (The one of a final head must be; that it is
/// missed, the vectors show.)
fn is_optional(path: &str) -> bool {
    path.starts_with("heads/cosigned/")
}

/// "`checkpoints/<size>` must exist for every size that a head, an anchor, `results.json` or `checkpoint` names": the paths of these, of a tree whose files are
/// all right ones.
fn named_checkpoints(tree: &Tree) -> BTreeSet<String> {
    let election = Election::check_id(&tree.files["manifest.json"], &tree.election)
        .expect("a right tree's manifest");
    let mut named = BTreeSet::new();
    let mut name = |log: LogId, size: u64| {
        // What has published nothing has no checkpoint.
        if size > 0 {
            named.insert(format!("{log}/checkpoints/{size}"));
        }
    };
    for log in election.logs().iter().chain([&LogId::Heads]) {
        if let Some(current) = tree.files.get(&format!("{log}/checkpoint")) {
            let note = SignedNote::parse(current).expect("a right checkpoint");
            let checkpoint = Checkpoint::parse_body(note.text()).expect("a right checkpoint");
            name(*log, checkpoint.size());
        }
    }
    if let Some(bytes) = tree.files.get("results.json") {
        let results = Results::parse(bytes, &election).expect("right results");
        for cell in &results.cells {
            name(LogId::Cell(cell.cell), cell.size);
        }
    }
    for (path, bytes) in &tree.files {
        if path.starts_with("anchors/") {
            let object = AnchorObject::decode(bytes, &tree.election).expect("a right anchor");
            name(LogId::Heads, object.new_size);
        } else if path.starts_with("heads/batches/") {
            let batch = BatchFile::decode(bytes, &election).expect("a right batch");
            for entry in batch.entries {
                let entry = Entry::decode(entry, &election).expect("a right entry");
                if let Entry::Head(head) | Entry::FinalHead(head) = entry {
                    let sizes = election.logs().iter().zip(head.logs);
                    sizes.for_each(|(log, said)| name(*log, said.size));
                }
            }
        }
    }
    named
}

/// The files of the original that are another's now, or gone.
fn changes<'a>(tree: &Tree, original: &'a Tree) -> Vec<&'a str> {
    let paths = original.files.keys();
    let changed = paths.filter(|path| original.files.get(*path) != tree.files.get(*path));
    changed.map(String::as_str).collect()
}
