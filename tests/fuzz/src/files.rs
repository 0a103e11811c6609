//! Files that the verifier's commands read from their own machine: packages, kept evidence, and what they remember themselves.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use arbitrary::{Result, Unstructured};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::ed25519::SigningKey;
use protocol::merkle::Hash;
use protocol::note::{COSIGNATURE, ED25519, KeyType, SignedNote, VerifierKey, key_id};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use verifier_cli::source::{Fetched, ListedKind, Package, Source};
use verifier_cli::verdict::Outcome;
use verifier_cli::watch::Watcher;
use verifier_cli::witness::cosigner::{Answer, Witness};
use verifier_cli::witness::key::CosigningKey;
use verifier_cli::witness::logs::Logs;
use verifier_cli::witness::state::{StateFolder, origin_hash};
use verifier_cli::{consistency, kept};

use crate::chosen;
use crate::fixture::{base, cases, string};
use crate::notes::{SIGNED_OF_BASE, notes_of_base, proofs_of_base};
use crate::oracle::Oracle;
use crate::seeds::{disputes, split_views};
use crate::trees::FULLEST;

pub(crate) const PACKAGE: u8 = 0;
pub(crate) const PACKED: u8 = 1;
pub(crate) const STATE: u8 = 2;
pub(crate) const KEPT: u8 = 3;
pub(crate) const WATCH: u8 = 4;
pub(crate) const KEY: u8 = 5;
pub(crate) const LOGS: u8 = 6;
pub(crate) const MEMORY: u8 = 7;
pub(crate) const WITNESS: u8 = 8;
const ALL: u8 = 9;

/// Reads a file, or lets a program that keeps files run over it.
pub fn files(data: &[u8]) {
    let Some((what, rest)) = chosen(data, ALL) else {
        return;
    };
    let folder = folder();
    match what {
        PACKAGE => package(rest, folder.path()),
        PACKED => _ = packed(&mut Unstructured::new(rest), folder.path()),
        STATE => state(rest, folder.path()),
        KEPT => kept_file(rest, folder.path()),
        WATCH => watch(rest, folder.path()),
        KEY => key(rest, folder.path()),
        LOGS => logs(rest, folder.path()),
        MEMORY => memory(rest, folder.path()),
        _ => _ = witness(&mut Unstructured::new(rest), folder.path()),
    }
}

/// In memory, where the system has such a place: much is written, and waited for.
fn folder() -> TempDir {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() {
        TempDir::new_in(shared).unwrap()
    } else {
        TempDir::new().unwrap()
    }
}

// Packages.

const SUMS: &str = "BLAKE3SUMS";

/// All files of a package, through what it answers.
fn unpacked(package: &Package) -> BTreeMap<String, Vec<u8>> {
    let mut folders = vec![String::new()];
    let mut files = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for listed in package.list(&folder).unwrap().unwrap() {
            let path = if folder.is_empty() {
                listed.name
            } else {
                format!("{folder}/{}", listed.name)
            };
            if listed.kind == ListedKind::Folder {
                folders.push(path);
            } else {
                let Fetched::File(bytes) = package.read(&path, usize::MAX).unwrap() else {
                    panic!("{path} is listed and not there");
                };
                files.insert(path, bytes);
            }
        }
    }
    files
}

/// The one package of these files, written a second time from what the format says. `None`: no package holds such a path.
fn pack(files: &BTreeMap<String, Vec<u8>>) -> Option<Vec<u8>> {
    // The sums come first, and all files in ascending order; nothing is below a file.
    let is_below_a_file = |path: &String| {
        let mut folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        folders.any(|folder| files.contains_key(folder))
    };
    if files
        .keys()
        .any(|path| path.as_str() <= SUMS || is_below_a_file(path))
    {
        return None;
    }
    let sums: String = files
        .iter()
        .map(|(path, bytes)| format!("{}  {path}\n", blake3::hash(bytes).to_hex()))
        .collect();
    let mut tar = member(SUMS, sums.as_bytes())?;
    for (path, bytes) in files {
        tar.extend(member(path, bytes)?);
    }
    tar.extend([0; 1_024]);
    Some(tar)
}

fn member(path: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let plain = |part: &str| {
        !["", ".", ".."].contains(&part)
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c))
    };
    if !path.split('/').all(plain) {
        return None;
    }
    let (prefix, name) = if path.len() <= 100 {
        ("", path)
    } else {
        // The shortest prefix that leaves a name that fits.
        let mut slashes = path.match_indices('/').map(|(at, _)| at);
        let at = slashes.find(|at| path.len() - at - 1 <= 100)?;
        (&path[..at], &path[at + 1..])
    };
    if prefix.len() > 155 {
        return None;
    }
    let mut header = format!("{name:\0<100}0000644\x000000000\x000000000\x00");
    header += &format!("{:011o}\x0000000000000\x00        0", bytes.len());
    header += &format!("{:\0<100}ustar\x0000{:\0<80}{prefix:\0<167}", "", "");
    let sum: u32 = header.bytes().map(u32::from).sum();
    header.replace_range(148..156, &format!("{sum:06o}\x00 "));
    let mut member = header.into_bytes();
    assert_eq!(member.len(), 512);
    member.extend(bytes);
    member.resize(member.len().next_multiple_of(512), 0);
    Some(member)
}

fn package(bytes: &[u8], folder: &Path) {
    let path = folder.join("package.tar");
    fs::write(&path, bytes).unwrap();
    if let Ok(package) = Package::open(&path) {
        assert!(
            pack(&unpacked(&package)).as_deref() == Some(bytes),
            "not the one package of its files"
        );
    }
}

/// A package of the files that the input holds; then one with a few bytes changed.
fn packed(u: &mut Unstructured<'_>, folder: &Path) -> Result<()> {
    let mut files = BTreeMap::new();
    for _ in 0..u.int_in_range(0..=4)? {
        let parts: Vec<&str> = (0..u.int_in_range(0..=5)?)
            .map(|_| {
                u.choose(&[
                    "a",
                    "cells",
                    "0",
                    "x001",
                    ".",
                    "..",
                    "a b",
                    "manifest.json",
                    "3f7c1d0c5b1e4d7aa9c1f6f0d2b84e9a3f7c1d0c5b1e4d7aa9c1f6f0d2b84e9a",
                ])
                .copied()
            })
            .collect::<Result<_>>()?;
        let len = u.int_in_range(0..=600)?;
        let bytes = u.bytes(u.len().min(len))?;
        files.insert(parts.join("/"), bytes.to_vec());
    }
    let path = folder.join("package.tar");
    let Some(tar) = pack(&files) else {
        return Ok(());
    };
    fs::write(&path, &tar).unwrap();
    let package = Package::open(&path).expect("a package of right files");
    for (name, bytes) in &files {
        assert_eq!(
            package.read(name, usize::MAX),
            Ok(Fetched::File(bytes.clone()))
        );
        if let Some(less) = bytes.len().checked_sub(1) {
            assert_eq!(package.read(name, less), Ok(Fetched::TooLarge));
        }
    }
    let mut changed = tar.clone();
    match u.int_in_range(0..=2)? {
        0 => {
            let at = u.int_in_range(0..=tar.len() - 1)?;
            changed[at] ^= 1 << u.int_in_range(0..=7)?;
        }
        1 => changed.truncate(u.int_in_range(0..=tar.len() - 1)?),
        _ => changed.push(u.arbitrary()?),
    }
    fs::write(&path, &changed).unwrap();
    assert!(Package::open(&path).is_err(), "a changed package is opened");
    Ok(())
}

// What an audit remembers.

const STATE_LABEL: &[u8] = b"tallyroot-verify/checked/v2\0";

fn state(bytes: &[u8], folder: &Path) {
    let path = folder.join("state");
    fs::write(&path, bytes).unwrap();
    let verdict = FULLEST.audit(Some(path.clone()));
    let header = [STATE_LABEL, FULLEST.election.as_bytes()].concat();
    let after = fs::read(&path).unwrap();
    if bytes.starts_with(&header) || header.starts_with(bytes) {
        assert_eq!(verdict.verdict, Outcome::Verified);
        assert!(after.starts_with(&header));
        assert_eq!((after.len() - header.len()) % 48, 0);
        // And whoever goes on with it finds it in order.
        assert_eq!(
            FULLEST.audit(Some(path)).verdict,
            Outcome::Verified,
            "a second time"
        );
    } else {
        assert_eq!(verdict.verdict, Outcome::Unchecked);
        assert_eq!(after, bytes, "somebody else's file was changed");
    }
}

// What people keep.

fn kept_file(bytes: &[u8], folder: &Path) {
    let path = folder.join("kept");
    fs::write(&path, bytes).unwrap();
    if let Ok(kept) = kept::read(&path, base()) {
        assert!(!kept.checkpoints.is_empty());
        for held in &kept.checkpoints {
            assert!(
                SIGNED_OF_BASE.contains(&held.checkpoint.body()),
                "a checkpoint that nobody signed"
            );
        }
    }
    if let Some(election) = kept::manifest(&path, &base().id()) {
        assert_eq!(&election, base());
    }
    let verdict = consistency::check(&path, &base().id());
    assert_ne!(verdict.verdict, Outcome::Verified);
}

// What a watcher remembers.

/// Into `state.json`, or (the first byte says so) a file of evidence.
fn watch(data: &[u8], folder: &Path) {
    let Some((which, bytes)) = data.split_first() else {
        return;
    };
    let (source, memory) = (folder.join("source"), folder.join("memory"));
    for (path, bytes) in &FULLEST.files {
        let path = source.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let path = match which % 4 {
        0 | 1 => memory.join("state.json"),
        2 => memory.join("evidence/heads/1"),
        _ => memory.join("evidence/cells-0/1"),
    };
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    let source = source.to_str().unwrap().to_owned();
    // One that it cannot read, it does not begin anew over.
    let Ok(mut watcher) = Watcher::open(&FULLEST.election, &[source], &[], &memory) else {
        assert!(which % 4 < 2, "only what it wrote itself stops it");
        return;
    };
    for _ in 0..2 {
        let events = watcher.round(None).unwrap();
        assert_ne!(
            watcher.outcome(),
            Outcome::Findings,
            "a damaged memory convicts: {events:?}"
        );
    }
}

// Witnesses.

const WITNESS_NAME: &str = "witness.example/w";
const WITNESS_SEED: [u8; 32] = [9; 32];
const ORIGIN: &str = "log.example/fuzzed";
const LOG_SEED: [u8; 32] = [3; 32];

fn key_line(name: &str, seed: &[u8; 32]) -> String {
    let public = SigningKey::from_seed(seed).public();
    let id = key_id(name, COSIGNATURE, &public);
    let material = STANDARD.encode([&[COSIGNATURE], seed.as_slice()].concat());
    format!("PRIVATE+KEY+{name}+{id}+{material}\n")
}

fn write_key(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn key(bytes: &[u8], folder: &Path) {
    let path = folder.join("key");
    write_key(&path, bytes);
    let Ok(key) = CosigningKey::load(&path) else {
        return;
    };
    let text = std::str::from_utf8(bytes).unwrap().trim_end_matches('\n');
    let material = text.rsplit_once('+').unwrap().1;
    assert!(!key.public().name().contains('+'));
    // "One line": what it says of itself is right.
    let public = VerifierKey::parse(&key.vkey().unwrap()).unwrap();
    let expected = format!(
        "PRIVATE+KEY+{}+{}+{material}",
        public.name(),
        public.key_id()
    );
    assert_eq!(text, expected);
}

fn logs(bytes: &[u8], folder: &Path) {
    let path = folder.join("logs");
    fs::write(&path, bytes).unwrap();
    let mut logs = Logs::default();
    if logs.add_list(&path).is_ok() {
        let text = std::str::from_utf8(bytes).unwrap();
        for (origin, keys) in logs.iter() {
            assert!(text.contains(origin) && !keys.is_empty());
            for key in keys {
                let key = VerifierKey::new(origin, KeyType::Ed25519, *key).unwrap();
                assert!(text.contains(&key.encode()));
            }
        }
    }
}

/// Files of a witness of one log.
struct Kit<'a> {
    folder: &'a Path,
    logs: Logs,
}

impl<'a> Kit<'a> {
    fn new(folder: &'a Path) -> Self {
        write_key(
            &folder.join("key"),
            key_line(WITNESS_NAME, &WITNESS_SEED).as_bytes(),
        );
        let public = SigningKey::from_seed(&LOG_SEED).public();
        let vkey = VerifierKey::new(ORIGIN, KeyType::Ed25519, public).unwrap();
        fs::write(folder.join("logs"), format!("log {}\n", vkey.encode())).unwrap();
        let mut logs = Logs::default();
        logs.add_list(&folder.join("logs")).unwrap();
        let kit = Self { folder, logs };
        StateFolder::create(&folder.join("state"), &kit.key()).unwrap();
        kit
    }

    fn key(&self) -> CosigningKey {
        CosigningKey::load(&self.folder.join("key")).unwrap()
    }

    fn checkpoint(&self) -> std::path::PathBuf {
        let log = self.folder.join("state/logs").join(origin_hash(ORIGIN));
        log.join("checkpoint")
    }

    fn open(&self) -> std::result::Result<Witness, String> {
        let state = StateFolder::open(&self.folder.join("state"), &self.key()).unwrap();
        let clock = Box::new(|| 1_800_000_000);
        Witness::open(self.key(), state, &self.logs, clock).map_err(|error| format!("{error:#}"))
    }
}

/// The witness's memory of a log, damaged.
fn memory(bytes: &[u8], folder: &Path) {
    let kit = Kit::new(folder);
    let path = kit.checkpoint();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    if let Ok(witness) = kit.open() {
        assert_eq!(
            witness.checkpoint(&origin_hash(ORIGIN)).as_deref(),
            Some(bytes)
        );
        // Whatever it holds, this witness signed its text.
        let text = SignedNote::parse(bytes).unwrap().text().to_owned();
        let size: usize = text.lines().nth(1).unwrap().parse().unwrap();
        assert_eq!(text, TREE.with(|tree| log_text(size, &tree.root(size))));
    }
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

/// Leaves of the log that asks for cosignatures.
const LEAVES: usize = 40;

thread_local! {
    static TREE: Oracle = Oracle::new(LEAVES);
}

fn log_text(size: usize, root: &Hash) -> String {
    format!("{ORIGIN}\n{size}\n{}\n", root.to_base64())
}

/// What a log sends that may have forked.
fn request(old: usize, proof: &[Hash], size: usize, root: &Hash) -> Vec<u8> {
    let key = SigningKey::from_seed(&LOG_SEED);
    let text = log_text(size, root);
    let id = key_id(ORIGIN, ED25519, &key.public());
    let line = protocol::note::NoteSignature::new(ORIGIN, id, &key.sign(text.as_bytes())).unwrap();
    let proof: String = proof.iter().map(|hash| hash.to_base64() + "\n").collect();
    format!("old {old}\n{proof}\n{text}\n{}", line.encode()).into_bytes()
}

/// A dishonest log asks again and again. Of what is cosigned, the larger continues the smaller.
fn witness(u: &mut Unstructured<'_>, folder: &Path) -> Result<()> {
    let kit = Kit::new(folder);
    let mut witness = kit.open().unwrap();
    let hash = origin_hash(ORIGIN);
    let mut newest: Option<(usize, Hash)> = None;
    for _ in 0..12 {
        if u.is_empty() {
            break;
        }
        let size = u.int_in_range(0..=LEAVES)?;
        let right = TREE.with(|tree| tree.root(size));
        let root = match u.int_in_range(0..=3)? {
            0 => Hash([u.arbitrary()?; 32]),
            1 => {
                let other = u.int_in_range(0..=LEAVES)?;
                TREE.with(|tree| tree.root(other))
            }
            _ => right,
        };
        let known = newest.map_or(0, |(size, _)| size);
        let old = if u.ratio(1, 4)? {
            u.int_in_range(0..=LEAVES)?
        } else {
            known
        };
        let from = if u.ratio(1, 8)? {
            u.int_in_range(0..=size)?
        } else {
            old.min(size)
        };
        let mut proof = TREE.with(|tree| tree.consistency(from, size));
        if u.ratio(1, 8)? {
            proof.push(root);
        }
        let mut body = request(old, &proof, size, &root);
        if u.ratio(1, 8)? {
            let at = u.int_in_range(0..=body.len() - 1)?;
            body[at] = u.arbitrary()?;
        }
        if let Answer::Cosigned(_) = witness.add_checkpoint(&body) {
            let follows = match newest {
                None => true,
                Some((before, _)) if size > before && before == 0 => true,
                Some((before, root_before)) if size == before => root == root_before,
                Some((before, root_before)) => {
                    size > before
                        && root == right
                        && TREE.with(|tree| root_before == tree.root(before))
                }
            };
            assert!(follows, "cosigned {size} {root} after {newest:?}");
            newest = Some((size, root));
        }
        let shown = witness.checkpoint(&hash).map(|note| {
            let note = SignedNote::parse(&note).unwrap();
            note.text().to_owned()
        });
        assert_eq!(shown, newest.map(|(size, root)| log_text(size, &root)));
        if u.ratio(1, 8)? {
            // It ends and starts again, and knows what it said.
            drop(witness);
            witness = kit.open().unwrap();
        }
    }
    Ok(())
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let seed = |what: u8, rest: &[u8]| [&[what], rest].concat();
    let mut seeds = Vec::new();
    let few = BTreeMap::from([
        ("a/manifest.json".to_owned(), b"{}".to_vec()),
        (format!("a/{}", ["0123456789"; 11].join("/")), vec![7; 513]),
    ]);
    seeds.push(seed(PACKAGE, &pack(&few).unwrap()));
    seeds.push(seed(PACKAGE, &pack(&BTreeMap::new()).unwrap()));
    for n in 0u8..12 {
        let bytes: Vec<u8> = (0..80u8)
            .map(|k| k.wrapping_mul(n.wrapping_mul(37) | 1))
            .collect();
        seeds.push(seed(PACKED, &bytes));
        seeds.push(seed(WITNESS, &bytes));
    }
    let header = [STATE_LABEL, FULLEST.election.as_bytes()].concat();
    seeds.push(seed(STATE, &header));
    seeds.push(seed(STATE, &header[..30]));
    let mut record = [[0; 12].as_slice(), &[5; 32]].concat();
    record.extend_from_slice(&Sha256::digest(&record)[..4]);
    seeds.push(seed(STATE, &[header, record.clone(), record].concat()));
    for note in notes_of_base() {
        seeds.push(seed(KEPT, &note));
    }
    for proof in proofs_of_base().into_iter().take(6) {
        seeds.push(seed(KEPT, &proof.encode()));
    }
    let right = |case: &serde_json::Value| case["valid"] == true;
    for case in cases("receipt", "cases")
        .iter()
        .filter(|case| right(case))
        .take(3)
    {
        let receipt = string(case, "receipt");
        seeds.push(seed(KEPT, receipt.as_bytes()));
        seeds.extend(disputes(&receipt).map(|dispute| seed(KEPT, &dispute)));
    }
    for case in cases("results", "cases").iter().filter(|case| right(case)) {
        seeds.push(seed(KEPT, string(case, "results").as_bytes()));
    }
    for case in cases("anchor", "cases").iter().filter(|case| right(case)) {
        seeds.push(seed(KEPT, &hex::decode(string(case, "anchor")).unwrap()));
    }
    seeds.extend(split_views().take(2).map(|split| seed(KEPT, &split)));
    seeds.push(seed(KEPT, base().manifest_bytes()));
    seeds.extend(memories().into_iter().map(|bytes| seed(WATCH, &bytes)));
    let line = key_line(WITNESS_NAME, &WITNESS_SEED);
    seeds.push(seed(KEY, line.as_bytes()));
    let public = SigningKey::from_seed(&LOG_SEED).public();
    let vkey = VerifierKey::new(ORIGIN, KeyType::Ed25519, public)
        .unwrap()
        .encode();
    let list = format!("# logs\n\nlog {vkey} https://log.example/\nwitness w x\nquorum none\n");
    seeds.push(seed(LOGS, list.as_bytes()));
    // A witness's memory as it is.
    let folder = folder();
    let kit = Kit::new(folder.path());
    let witness = kit.open().unwrap();
    for size in [0, 7, LEAVES] {
        let root = TREE.with(|tree| tree.root(size));
        let before = if size == LEAVES { 7 } else { 0 };
        let proof = TREE.with(|tree| tree.consistency(before, size));
        let answer = witness.add_checkpoint(&request(before, &proof, size, &root));
        assert!(matches!(answer, Answer::Cosigned(_)), "{answer:?}");
        seeds.push(seed(MEMORY, &fs::read(kit.checkpoint()).unwrap()));
    }
    seeds
}

/// What a watcher remembers of the tree that it watches here.
fn memories() -> Vec<Vec<u8>> {
    let folder = folder();
    watch(&[0], folder.path());
    let state = fs::read(folder.path().join("memory/state.json")).unwrap_or_default();
    let mut memories = vec![[&[0], state.as_slice()].concat()];
    for (which, log) in [(2, "heads"), (3, "cells/0")] {
        for (path, bytes) in &FULLEST.files {
            let is_checkpoint = path.starts_with(log) && path.contains("checkpoint");
            if is_checkpoint && SignedNote::parse(bytes).is_ok() {
                memories.push([&[which], bytes.as_slice()].concat());
            }
        }
    }
    memories.truncate(6);
    memories
}
