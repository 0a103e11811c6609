//! Two closed elections, what each of their files is for, and copies of them that can be harmed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use protocol::entry::Entry;
use protocol::ids::LogId;
use protocol::merkle::tile::{bundles, tiles};
use serde_json::Value;
use tempfile::TempDir;
use tests::demo::Demo;
use tests::published::Published;
use tests::{Said, arg, files, folder, run};

type Files = BTreeMap<String, Vec<u8>>;

/// A closed election, in memory, so that nothing can harm the original.
pub(crate) struct Closed {
    pub(crate) id: String,
    /// Below the election's folder.
    pub(crate) files: Files,
    pub(crate) receipts: Files,
    /// For each file what it is.
    pub(crate) kinds: BTreeMap<String, Kind>,
}

/// What a file is for, as far as harming it goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(crate) name: String,
    /// The audit needs it. Others may be missing, and may not be wrong.
    pub(crate) required: bool,
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
    pub(crate) fn by_kind(&self) -> BTreeMap<&Kind, Vec<&str>> {
        let mut by_kind: BTreeMap<&Kind, Vec<&str>> = BTreeMap::new();
        for (path, kind) in &self.kinds {
            by_kind.entry(kind).or_default().push(path);
        }
        by_kind
    }
}

/// The election under attack, and the other one.
pub(crate) fn elections() -> &'static [Closed; 2] {
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
pub(crate) struct Copy {
    pub(crate) of: &'static Closed,
    pub(crate) folder: TempDir,
}

impl Copy {
    pub(crate) fn of(closed: &'static Closed) -> Self {
        let folder = folder();
        files::write(&folder.path().join(&closed.id), &closed.files);
        Self { of: closed, folder }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(&self.of.id).join(path)
    }

    pub(crate) fn audit(&self) -> Said {
        let election = self.folder.path().join(&self.of.id);
        audit(&election, &self.of.id)
    }

    pub(crate) fn put_back(&self, path: &str) {
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

    pub(crate) fn must_verify(&self, what: &str) {
        let said = self.audit();
        assert_eq!(said.code, 0, "{what}: {}\n{}", said.stdout, said.stderr);
    }
}

pub(crate) fn audit(election: &Path, id: &str) -> Said {
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
pub(crate) fn named(said: &Said, what: &str) -> BTreeSet<String> {
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
