//! Whoever changes, cuts, swaps or takes away a published file is found, and the file is named. The election id is all that the audit
//! is told.
//!
//! One closed election is copied, and a sample of every kind of file in the copy is harmed in every way; a second election, held in the
//! same way at the same time, lends files that are valid elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use protocol::entry::Entry;
use protocol::ids::LogId;
use protocol::merkle::tile::{bundles, tiles};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use serde_json::Value;
use tempfile::TempDir;
use tests::demo::Demo;
use tests::published::Published;
use tests::{Said, arg, files, folder, run, seed};

type Files = BTreeMap<String, Vec<u8>>;

/// A closed election, in memory, so that nothing can harm the original.
struct Closed {
    id: String,
    /// Below the election's folder.
    files: Files,
    receipts: Files,
    /// For each file what it is.
    kinds: BTreeMap<String, Kind>,
}

/// What a file is for, as far as harming it goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    name: String,
    /// The audit needs it. Others may be missing, and may not be wrong.
    required: bool,
}

impl Closed {
    /// Big enough for full tiles in every log but that of the heads.
    fn hold() -> Self {
        let folder = folder();
        let data = folder.path().join("election");
        let said = Demo::new(&data, 620, 2, 2).run_to_the_end();
        assert_eq!(said.code, 0, "{}", said.stderr);
        let published = Published::of(&data);
        let files = files::contents(&published.folder);
        let kinds = kinds(&published, &files);
        Self {
            id: published.id(),
            files,
            receipts: files::contents(&data.join("receipts")),
            kinds,
        }
    }

    /// Files by kind.
    fn by_kind(&self) -> BTreeMap<&Kind, Vec<&str>> {
        let mut by_kind: BTreeMap<&Kind, Vec<&str>> = BTreeMap::new();
        for (path, kind) in &self.kinds {
            by_kind.entry(kind).or_default().push(path);
        }
        by_kind
    }
}

/// The election under attack, and the other one.
fn elections() -> &'static [Closed; 2] {
    static HELD: OnceLock<[Closed; 2]> = OnceLock::new();
    HELD.get_or_init(|| {
        std::thread::scope(|scope| {
            let other = scope.spawn(Closed::hold);
            [Closed::hold(), other.join().unwrap()]
        })
    })
}

/// Says of every published file what it is; fails on one that it does not know.
fn kinds(published: &Published, files: &Files) -> BTreeMap<String, Kind> {
    let mut kinds = BTreeMap::new();
    let mut add = |path: String, name: String, required: bool| {
        if files.contains_key(&path) {
            kinds.insert(path, Kind { name, required });
        } else {
            assert!(!required, "{path} must be published");
        }
    };
    add("manifest.json".into(), "manifest.json".into(), true);
    add("results.json".into(), "results.json".into(), true);
    let named = named_sizes(published);
    let election = &published.election;
    for &log in election.logs().iter().chain(&[LogId::Heads]) {
        let prefix = log.prefix();
        let class = prefix.split('/').next().unwrap();
        let size = published.checkpoint(log).unwrap().size();
        let mut add = |path: String, what: &str, required: bool| {
            add(
                format!("{prefix}/{path}"),
                format!("{class}: {what}"),
                required,
            );
        };
        add("checkpoint".into(), "checkpoint", true);
        for at in 1..=size {
            if named[&prefix].contains(&at) {
                add(
                    format!("checkpoints/{at}"),
                    "checkpoint that is named",
                    true,
                );
            } else {
                add(format!("checkpoints/{at}"), "further checkpoint", false);
            }
        }
        for n in 0..published.batches(log).len() {
            add(format!("batches/{n}"), "batch", true);
        }
        // Every narrower tile at a place first, so that the needed ones then overwrite theirs.
        for tile in tiles(size) {
            for width in 1..256 {
                let folder = tile.full().path();
                let what = format!("superseded tile of level {}", tile.level());
                add(format!("{folder}.p/{width}"), &what, false);
            }
        }
        for bundle in bundles(size) {
            for width in 1..256 {
                let folder = bundle.full().path();
                add(format!("{folder}.p/{width}"), "superseded bundle", false);
            }
        }
        for tile in tiles(size) {
            let what = if tile.is_full() { "full" } else { "partial" };
            let what = format!("{what} tile of level {}", tile.level());
            add(tile.path(), &what, true);
        }
        for bundle in bundles(size) {
            let what = if bundle.is_full() { "full" } else { "partial" };
            add(bundle.path(), &format!("{what} bundle"), true);
        }
    }
    for anchor in &election.manifest().anchors {
        for n in 0..1_000 {
            add(
                format!("anchors/{}/{n}", anchor.name),
                "anchor".into(),
                false,
            );
        }
    }
    for kind in kinds.values_mut().filter(|kind| kind.name == "anchor") {
        kind.required = true;
    }
    for path in files.keys() {
        assert!(kinds.contains_key(path), "{path} belongs to nothing");
    }
    kinds
}

/// SPEC: "`checkpoints/<size>` must exist for every size that a head, an anchor, `results.json` or `checkpoint` names".
fn named_sizes(published: &Published) -> BTreeMap<String, BTreeSet<u64>> {
    let mut named: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut name = |log: LogId, size| {
        named.entry(log.prefix()).or_default().insert(size);
    };
    let logs = published.election.logs();
    let mut heads_size = 0;
    for batch in published.batches(LogId::Heads) {
        heads_size += batch.len() as u64;
        // The demo's anchor keeps up with every batch, or takes several at once: its newest is always named.
        for entry in batch {
            if let Entry::Head(head) | Entry::FinalHead(head) = entry {
                for (log, said) in logs.iter().zip(&head.logs) {
                    name(*log, said.size);
                }
            }
        }
    }
    name(LogId::Heads, heads_size);
    for anchor in &published.election.manifest().anchors {
        let folder = published.folder.join("anchors").join(&anchor.name);
        for path in files::list(&folder) {
            let bytes = fs::read(folder.join(path)).unwrap();
            let object =
                protocol::anchor::AnchorObject::decode(&bytes, &published.election.id()).unwrap();
            name(LogId::Heads, object.new_size);
        }
    }
    for log in logs {
        name(*log, published.checkpoint(*log).unwrap().size());
    }
    named
}

/// A copy that can be harmed.
struct Copy {
    of: &'static Closed,
    folder: TempDir,
}

impl Copy {
    fn of(closed: &'static Closed) -> Self {
        let folder = folder();
        files::write(&folder.path().join(&closed.id), &closed.files);
        Self { of: closed, folder }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(&self.of.id).join(path)
    }

    fn audit(&self) -> Said {
        let election = self.folder.path().join(&self.of.id);
        audit(&election, &self.of.id)
    }

    fn put_back(&self, path: &str) {
        let place = self.path(path);
        match fs::symlink_metadata(&place) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&place).unwrap(),
            Ok(_) => fs::remove_file(&place).unwrap(),
            Err(_) => {}
        }
        // Folders that were made for it; removing one that holds something fails.
        let mut emptied = place.parent();
        while let Some(folder) = emptied.filter(|folder| fs::remove_dir(folder).is_ok()) {
            emptied = folder.parent();
        }
        if let Some(bytes) = self.of.files.get(path) {
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, bytes).unwrap();
        }
    }

    fn must_verify(&self, what: &str) {
        let said = self.audit();
        assert_eq!(said.code, 0, "{what}: {}\n{}", said.stdout, said.stderr);
    }
}

fn audit(election: &Path, id: &str) -> Said {
    let source = arg(election);
    let said = run(
        "tallyroot-verify",
        &[
            "audit",
            source,
            "--election",
            id,
            "--json",
            "--settle",
            "0",
            "--threads",
            "1",
        ],
    );
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
    said
}

/// The files that an audit's findings name; it must have found something.
fn named(said: &Said, what: &str) -> BTreeSet<String> {
    assert_eq!(said.code, 1, "{what}: {}\n{}", said.stdout, said.stderr);
    let verdict: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(verdict["verdict"], "findings", "{what}");
    let findings = verdict["findings"].as_array().unwrap();
    assert!(!findings.is_empty(), "{what}");
    findings
        .iter()
        .map(|finding| {
            assert_ne!(
                finding["evidence"].as_str().unwrap(),
                "",
                "{what}: {finding}"
            );
            finding["place"]["file"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// Ways to harm a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    /// One bit, in the first, a middle or the last byte.
    FlipFirst,
    FlipMiddle,
    FlipLast,
    CutOne,
    CutHalf,
    Empty,
    Extend,
    ExtendLine,
    Delete,
    /// With another file of its kind.
    Swap,
    /// By a file of its kind of another election.
    OtherElection,
    Folder,
    /// To the right content, elsewhere.
    Link,
    /// Reading it would wait for ever.
    Fifo,
}

const HARMS: [Harm; 14] = [
    Harm::FlipFirst,
    Harm::FlipMiddle,
    Harm::FlipLast,
    Harm::CutOne,
    Harm::CutHalf,
    Harm::Empty,
    Harm::Extend,
    Harm::ExtendLine,
    Harm::Delete,
    Harm::Swap,
    Harm::OtherElection,
    Harm::Folder,
    Harm::Link,
    Harm::Fifo,
];

/// One file, or two that are swapped, and what happens to it.
#[derive(Clone, Debug)]
struct Case {
    kind: Kind,
    harm: Harm,
    path: String,
    /// The sibling that it is swapped with, or the other election's file.
    with: Option<String>,
    bit: u8,
    /// Where in the middle, in thousandths.
    at: usize,
}

fn draw(victim: &Closed, other: &Closed, rng: &mut StdRng) -> Vec<Case> {
    let mut cases = Vec::new();
    let others = other.by_kind();
    for (kind, paths) in victim.by_kind() {
        for harm in HARMS {
            // Cells get everything; the others are files of the same make, and get a sample.
            let is_sampled = kind.name.starts_with("registrars") || kind.name.starts_with("heads");
            if is_sampled && rng.random_bool(0.5) {
                continue;
            }
            if !kind.required && matches!(harm, Harm::Delete | Harm::Folder) {
                continue;
            }
            let path = (*paths.choose(rng).unwrap()).to_owned();
            let bytes = &victim.files[&path];
            let with = match harm {
                Harm::Swap => {
                    let siblings: Vec<_> = paths
                        .iter()
                        .filter(|sibling| victim.files[**sibling] != *bytes)
                        .collect();
                    let Some(sibling) = siblings.choose(rng) else {
                        continue;
                    };
                    Some((**sibling).to_owned())
                }
                Harm::OtherElection => {
                    // At the same place if there is one.
                    let there = others.get(kind).into_iter().flatten();
                    let same = there.clone().find(|there| **there == path);
                    let Some(found) = same.or(there.clone().next()) else {
                        continue;
                    };
                    if other.files[*found] == *bytes {
                        continue;
                    }
                    Some((*found).to_owned())
                }
                _ => None,
            };
            cases.push(Case {
                kind: kind.clone(),
                harm,
                path,
                with,
                bit: 1 << rng.random_range(0..8),
                at: rng.random_range(0..1_000),
            });
        }
    }
    cases
}

impl Copy {
    /// Does the harm, and gives back the files that are no longer what they were.
    fn harm(&self, case: &Case, other: &Closed) -> Vec<String> {
        let place = self.path(&case.path);
        let original = &self.of.files[&case.path];
        let mut bytes = original.clone();
        let len = bytes.len();
        let mut flip = |at: usize| bytes[at] ^= case.bit;
        match case.harm {
            Harm::FlipFirst => flip(0),
            Harm::FlipMiddle => flip(len * case.at / 1_000),
            Harm::FlipLast => flip(len - 1),
            Harm::CutOne => bytes.truncate(len - 1),
            Harm::CutHalf => bytes.truncate(len / 2),
            Harm::Empty => bytes.clear(),
            Harm::Extend => bytes.push(0),
            Harm::ExtendLine => bytes.push(b'\n'),
            Harm::OtherElection => bytes.clone_from(&other.files[case.with.as_ref().unwrap()]),
            Harm::Swap => {
                let with = case.with.clone().unwrap();
                bytes.clone_from(&self.of.files[&with]);
                fs::write(self.path(&with), original).unwrap();
                fs::write(place, bytes).unwrap();
                return vec![case.path.clone(), with];
            }
            Harm::Delete | Harm::Folder | Harm::Link | Harm::Fifo => {
                fs::remove_file(&place).unwrap();
                match case.harm {
                    Harm::Folder => fs::create_dir(&place).unwrap(),
                    Harm::Link => {
                        let elsewhere = self.folder.path().join("elsewhere");
                        fs::write(&elsewhere, original).unwrap();
                        std::os::unix::fs::symlink(elsewhere, &place).unwrap();
                    }
                    Harm::Fifo => {
                        let made = Command::new("mkfifo").arg(&place).status().unwrap();
                        assert!(made.success());
                    }
                    _ => {}
                }
                return vec![case.path.clone()];
            }
        }
        fs::write(place, bytes).unwrap();
        vec![case.path.clone()]
    }
}

#[test]
fn every_harm_to_every_kind_of_file_is_found_and_named() {
    let [victim, other] = elections();
    let mut rng = seed::generator("tamper");
    let mut cases = draw(victim, other, &mut rng);
    let kinds: BTreeSet<&str> = cases.iter().map(|case| case.kind.name.as_str()).collect();
    for kind in [
        "manifest.json",
        "results.json",
        "anchor",
        "cells: checkpoint",
        "cells: checkpoint that is named",
        "cells: further checkpoint",
        "cells: batch",
        "cells: full tile of level 0",
        "cells: partial tile of level 0",
        "cells: superseded tile of level 0",
        "cells: partial tile of level 1",
        "cells: full bundle",
        "cells: partial bundle",
        "cells: superseded bundle",
        "registrars: batch",
        "registrars: full tile of level 0",
        "registrars: superseded tile of level 0",
        "heads: batch",
        "heads: partial tile of level 0",
        "heads: superseded bundle",
    ] {
        assert!(kinds.contains(kind), "{kind} is not among {kinds:?}");
    }
    cases.shuffle(&mut rng);

    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let copy = Copy::of(victim);
                copy.must_verify("before");
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let harmed = copy.harm(case, other);
                    let said = copy.audit();
                    for path in &harmed {
                        copy.put_back(path);
                    }
                    let found = if said.code == 1 {
                        named(&said, &format!("{case:?}"))
                    } else {
                        BTreeSet::new()
                    };
                    // A chain of files is followed up to the first that is wrong.
                    let is_chain = ["batch", "anchor"]
                        .iter()
                        .any(|c| case.kind.name.ends_with(c));
                    let named = match harmed.as_slice() {
                        [_, _] if is_chain => harmed.iter().any(|path| found.contains(path)),
                        _ => harmed.iter().all(|path| found.contains(path)),
                    };
                    if said.code != 1 || !named {
                        failures.lock().unwrap().push(format!(
                            "{case:?}: code {}, named {found:?} {}",
                            said.code, said.stderr
                        ));
                    }
                }
                // Nothing of what was found was left over from an earlier harm.
                copy.must_verify("afterwards");
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {} harms:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

#[test]
fn what_is_optional_may_be_missing() {
    let [victim, _] = elections();
    let copy = Copy::of(victim);
    let optional: Vec<_> = victim
        .kinds
        .iter()
        .filter(|(_, kind)| !kind.required)
        .collect();
    assert!(optional.len() > 100);
    for (path, _) in optional {
        fs::remove_file(copy.path(path)).unwrap();
    }
    copy.must_verify("without superseded tiles, bundles and checkpoints");
}

#[test]
fn what_belongs_to_nothing_is_named() {
    let [victim, other] = elections();
    let copy = Copy::of(victim);
    let one = |path: &str, what: &str| {
        let named = named(&copy.audit(), what);
        // A foreign folder is named once, for all that is in it.
        let is_it = |file: &String| path == file || path.starts_with(&format!("{file}/"));
        assert!(
            named.len() == 1 && named.iter().all(is_it),
            "{what}: {named:?}"
        );
    };
    for path in [
        "notes.txt",
        ".hidden",
        "manifest.json~",
        "MANIFEST.JSON",
        "anchors/local/1000000",
        "anchors/local/00",
        "anchors/elsewhere/0",
        "cells/2/checkpoint",
        "cells/0/notes.txt",
        "cells/0/batches/00",
        "cells/0/batches/+1",
        "cells/0/checkpoints/01",
        "cells/0/checkpoints/999999",
        "cells/0/tile/0/000.p/256",
        "cells/0/tile/0/000.p/0",
        "cells/0/tile/0/999",
        "cells/0/tile/0/1",
        "cells/0/tile/00/000",
        "cells/0/tile/2/000.p/1",
        "cells/0/tile/entries/000.gz",
        "cells/0/cosigned/1",
        "registrars/0/1/checkpoint",
        "registrars/2/0/checkpoint",
        "heads/cosigned/1",
        "heads/0/checkpoint",
    ] {
        let place = copy.path(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        // Something that would be right elsewhere.
        fs::write(&place, &victim.files["cells/0/checkpoint"]).unwrap();
        one(path, path);
        copy.put_back(path);
    }
    for (path, target) in [
        ("linked", "manifest.json"),
        ("linked", "."),
        ("linked", "/nowhere"),
        ("cells/0/linked", "../../cells/1"),
        ("cells/0/tile/0/linked", "000"),
    ] {
        let place = copy.path(path);
        std::os::unix::fs::symlink(target, &place).unwrap();
        one(path, &format!("{path} -> {target}"));
        fs::remove_file(place).unwrap();
    }
    // A whole log that is a link to the right files elsewhere is not followed.
    let log = copy.path("cells/1");
    let elsewhere = copy.folder.path().join("elsewhere");
    fs::rename(&log, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &log).unwrap();
    assert!(
        named(&copy.audit(), "a linked log")
            .iter()
            .any(|file| file.starts_with("cells/1")),
    );
    fs::remove_file(&log).unwrap();
    fs::rename(&elsewhere, &log).unwrap();
    copy.must_verify("afterwards");

    // Another election under this one's name: nothing of it is looked at, the id decides.
    let foreign = folder();
    files::write(foreign.path(), &other.files);
    let said = audit(foreign.path(), &victim.id);
    assert!(named(&said, "another election").contains("manifest.json"));
    assert_eq!(audit(foreign.path(), &other.id).code, 0);
}

#[test]
fn nothing_there_is_no_yes() {
    let [victim, _] = elections();
    let empty = folder();
    for source in [
        empty.path().to_owned(),
        empty.path().join("nowhere"),
        PathBuf::from("/dev/null"),
    ] {
        let said = audit(&source, &victim.id);
        assert_ne!(said.code, 0, "{said:?}");
    }
}
