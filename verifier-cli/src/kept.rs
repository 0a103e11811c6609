//! What people keep: checkpoints, in whatever file they came.
//!
//! A voter has a receipt, an auditor a checkpoint, a watcher yesterday's results, a mirror an anchor. All of them hold checkpoints that the operator signed, and
//! each binds the operator. Nothing in such a file is believed but those signatures.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use protocol::anchor::{ANCHOR_LABEL, AnchorObject};
use protocol::dispute::{DISPUTE_FORMAT, Dispute};
use protocol::evidence::{HeldCheckpoint, SPLIT_VIEW_FORMAT, SplitView};
use protocol::manifest::Election;
use protocol::receipt::{RECEIPT_FORMAT, Receipt};
use protocol::results::{RESULTS_FORMAT, Results};
use protocol::tlog_proof::TlogProof;
use serde::Deserialize;

/// Most bytes that are read of one kept file.
const KEPT_LEN_MAX: u64 = 32 << 20;
/// Most files that are read of a folder: more is no evidence but a mistake.
const KEPT_FILES_MAX: usize = 100_000;

/// What `watch` and `mirror` keep beside their evidence: see there.
const OWN_FILES: [&str; 6] = [
    "lock",
    "unfinished",
    "election",
    "events.jsonl",
    "state.json",
    "shown.json",
];

/// How a `.tlog-proof` begins (C2SP tlog-proof).
const TLOG_PROOF: &[u8] = b"c2sp.org/tlog-proof@v1\n";

/// One kept file.
#[derive(Debug)]
pub struct Kept {
    /// Where it is, for people.
    pub file: String,
    /// The checkpoints in it that their log's key signed.
    pub checkpoints: Vec<HeldCheckpoint>,
    /// The file, where it is a receipt.
    pub receipt: Option<Receipt>,
}

/// Why a file could not be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct KeptError {
    /// The file.
    pub file: String,
    /// What is wrong with it, and what it could have been.
    pub problem: String,
}

impl KeptError {
    fn new(file: &Path, problem: impl std::fmt::Display) -> Self {
        Self {
            file: file.display().to_string(),
            problem: problem.to_string(),
        }
    }
}

/// What a path names that may hold checkpoints.
#[derive(Debug, Default)]
pub struct Found {
    /// The files, in order.
    pub files: BTreeSet<PathBuf>,
    /// Folders that are copies of an election. Of those, what holds no checkpoint (manifest, batches, tiles) is not among the files: an audit of the copy reads it.
    pub copies: Vec<PathBuf>,
}

/// The files that this path names: itself, or everything below the folder.
///
/// # Errors
/// The path cannot be read, or holds too many files.
pub fn files(path: &Path) -> Result<Found, KeptError> {
    let problem = |path: &Path, error| KeptError::new(path, error);
    if !path.is_dir() {
        return Ok(Found {
            files: BTreeSet::from([path.to_owned()]),
            copies: Vec::new(),
        });
    }
    let (mut folders, mut found) = (vec![(path.to_owned(), false)], Found::default());
    while let Some((folder, within)) = folders.pop() {
        let is_copy = folder.join("manifest.json").is_file() && folder.join("heads").is_dir();
        if is_copy {
            found.copies.push(folder.clone());
        }
        // A folder that `watch` or `mirror` works in: what they remember there is no evidence. What `mirror` put aside, below `conflicts`, is: a checkpoint that contradicts the copy above all.
        let is_ours = folder.join("lock").is_file() && folder.join("unfinished").is_dir();
        let within = within || is_copy || is_ours;
        let entries = fs::read_dir(&folder).map_err(|error| problem(&folder, error.to_string()))?;
        for entry in entries {
            let entry = entry.map_err(|error| problem(&folder, error.to_string()))?;
            // Links are not followed: a folder of evidence is plain files.
            let kind = entry
                .file_type()
                .map_err(|error| problem(&entry.path(), error.to_string()))?;
            let name = entry.file_name();
            if is_ours && (OWN_FILES.iter().any(|own| name == *own)) {
                continue;
            }
            if within && (name == "tile" || name == "batches" || name == "manifest.json") {
                continue;
            }
            if kind.is_dir() {
                folders.push((entry.path(), within));
            } else if kind.is_file() {
                found.files.insert(entry.path());
            }
            if found.files.len() + folders.len() > KEPT_FILES_MAX {
                return Err(problem(
                    path,
                    format!(
                        "it holds more than {KEPT_FILES_MAX} files and folders: name the ones that you kept"
                    ),
                ));
            }
        }
    }
    found.copies.sort();
    Ok(found)
}

/// Reads a kept file's bytes.
///
/// # Errors
/// It cannot be read, or is too long.
pub fn bytes(path: &Path) -> Result<Vec<u8>, KeptError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(KEPT_LEN_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| KeptError::new(path, error))?;
    if bytes.len() as u64 > KEPT_LEN_MAX {
        return Err(KeptError::new(
            path,
            "it has more than 32 MiB: no file that holds a checkpoint is so large",
        ));
    }
    Ok(bytes)
}

/// Reads a kept file: a checkpoint, a `.tlog-proof`, a receipt, a `results.json`, an anchor, a split view or a dispute.
///
/// # Errors
/// It cannot be read, is none of these, or holds no checkpoint that a key of the election signed.
pub fn read(path: &Path, election: &Election) -> Result<Kept, KeptError> {
    if path.is_dir() {
        return read_newest(path, election);
    }
    let bytes = bytes(path)?;
    let (notes, receipt) = notes(&bytes, election).map_err(|error| KeptError::new(path, error))?;
    let mut checkpoints = Vec::new();
    for note in notes {
        let held =
            HeldCheckpoint::read(&note, election).map_err(|error| KeptError::new(path, error))?;
        if !checkpoints.contains(&held) {
            checkpoints.push(held);
        }
    }
    if checkpoints.is_empty() {
        return Err(KeptError::new(path, "it holds no checkpoint"));
    }
    Ok(Kept {
        file: path.display().to_string(),
        checkpoints,
        receipt,
    })
}

/// Every log's newest checkpoint in a folder that is, or holds, a copy of an election.
fn read_newest(folder: &Path, election: &Election) -> Result<Kept, KeptError> {
    let found = files(folder)?;
    let newest = found.files.iter().filter(|file| {
        found.copies.iter().any(|copy| file.starts_with(copy))
            && file.file_name().is_some_and(|name| name == "checkpoint")
    });
    let mut kept = Kept {
        file: folder.display().to_string(),
        checkpoints: Vec::new(),
        receipt: None,
    };
    for file in newest {
        kept.checkpoints.extend(read(file, election)?.checkpoints);
    }
    if kept.checkpoints.is_empty() {
        return Err(KeptError::new(
            folder,
            "it is no copy of an election: name a mirror's folder, the folder with manifest.json, or a file that holds a checkpoint",
        ));
    }
    Ok(kept)
}

/// The notes in a file, and the receipt that it is.
fn notes(bytes: &[u8], election: &Election) -> Result<(Vec<Vec<u8>>, Option<Receipt>), String> {
    if bytes.starts_with(ANCHOR_LABEL.as_bytes()) {
        let anchor =
            AnchorObject::decode(bytes, &election.id()).map_err(|error| error.to_string())?;
        return Ok((vec![anchor.note.to_vec()], None));
    }
    if bytes.starts_with(TLOG_PROOF) {
        return Ok((vec![of_proof(bytes)?], None));
    }
    if bytes.first() == Some(&b'{') {
        return of_json(bytes, election);
    }
    // What is left is a note, or nothing; reading it says which.
    Ok((vec![bytes.to_vec()], None))
}

fn of_proof(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let proof = TlogProof::parse(bytes).map_err(|error| error.to_string())?;
    Ok(proof.checkpoint().to_vec())
}

/// The `format` of any of our JSON files.
#[derive(Deserialize)]
struct Format {
    format: String,
}

/// The `format` that a JSON file of ours names.
pub(crate) fn format(bytes: &[u8]) -> Option<String> {
    let format: Format = serde_json::from_slice(bytes).ok()?;
    Some(format.format)
}

fn of_json(bytes: &[u8], election: &Election) -> Result<(Vec<Vec<u8>>, Option<Receipt>), String> {
    let format: Format = serde_json::from_slice(bytes)
        .map_err(|error| format!("it is no JSON of Tallyroot's: {error}"))?;
    match format.format.as_str() {
        RECEIPT_FORMAT => {
            let receipt = Receipt::parse(bytes).map_err(|error| error.to_string())?;
            Ok((of_receipt(&receipt)?, Some(receipt)))
        }
        RESULTS_FORMAT => {
            let results = Results::parse(bytes, election).map_err(|error| error.to_string())?;
            let proofs = results.cells.iter().filter_map(|cell| cell.proof.as_ref());
            let notes = proofs
                .map(|proof| of_proof(proof.as_bytes()))
                .collect::<Result<_, _>>()?;
            Ok((notes, None))
        }
        SPLIT_VIEW_FORMAT => {
            let split = SplitView::parse(bytes).map_err(|error| error.to_string())?;
            Ok((
                vec![split.older.into_bytes(), split.newer.into_bytes()],
                None,
            ))
        }
        DISPUTE_FORMAT => {
            let dispute = Dispute::parse(bytes).map_err(|error| error.to_string())?;
            let receipt =
                Receipt::parse(dispute.receipt.as_bytes()).map_err(|error| error.to_string())?;
            let mut notes = of_receipt(&receipt)?;
            let shown = [dispute.ledger, dispute.heads].into_iter().flatten();
            notes.extend(shown.map(|exhibit| exhibit.checkpoint.into_bytes()));
            if let Some(head) = dispute.head {
                notes.push(of_proof(head.head.as_bytes())?);
            }
            Ok((notes, Some(receipt)))
        }
        other => Err(format!("{other:?} is no format that holds checkpoints")),
    }
}

fn of_receipt(receipt: &Receipt) -> Result<Vec<Vec<u8>>, String> {
    let seal = receipt.sealed.as_ref();
    [
        Some(&receipt.vote),
        seal.map(|seal| &seal.vote),
        seal.map(|seal| &seal.head),
    ]
    .into_iter()
    .flatten()
    .chain(&receipt.switches)
    .map(|proof| of_proof(proof.as_bytes()))
    .collect()
}

/// The election of this id, from the manifest that a kept file carries.
#[must_use]
pub fn manifest(path: &Path, id: &protocol::ids::ElectionId) -> Option<Election> {
    /// The member that our files carry it in.
    #[derive(Deserialize)]
    struct Carrier {
        manifest: Option<String>,
        receipt: Option<String>,
    }
    fn look(bytes: &[u8], id: &protocol::ids::ElectionId) -> Option<Election> {
        let carrier: Carrier = serde_json::from_slice(bytes).ok()?;
        match (carrier.manifest, carrier.receipt) {
            (Some(manifest), _) => Election::check_id(manifest.as_bytes(), id).ok(),
            // A receipt within a dispute; no deeper.
            (None, Some(receipt)) => {
                let within: Carrier = serde_json::from_str(&receipt).ok()?;
                Election::check_id(within.manifest?.as_bytes(), id).ok()
            }
            (None, None) => None,
        }
    }
    let bytes = bytes(path).ok()?;
    // Or it is the manifest itself.
    Election::check_id(&bytes, id)
        .ok()
        .or_else(|| look(&bytes, id))
}
