//! What a witness remembers: for each log the newest checkpoint that it cosigned, and evidence against the log.
//!
//! ```text
//! <state>/witness                      the vkey that this state belongs to
//! <state>/lock                         held by the one process that serves
//! <state>/logs/<hash>/origin           the log's origin, for people; <hash> is SHA-256 of it
//! <state>/logs/<hash>/checkpoint       the newest cosigned checkpoint, as it is served to monitors
//! <state>/logs/<hash>/evidence/<name>  a checkpoint that the log signed and that contradicts ours
//! ```
//!
//! The state is as precious as the key: a witness that has lost it cosigns whatever comes first. So it is made together with the key, and
//! serving never makes one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use protocol::cosignature;
use protocol::merkle::Hash;
use protocol::note::{NOTE_BYTES_MAX, NoteSignature, SignedNote};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::files::{self, Step};
use super::key::CosigningKey;
use super::request::{AddCheckpoint, Submitted};

/// Pieces of evidence that are kept of one log and kind. Two roots of one size are made by whoever holds the log's key alone, and a few are all that it takes: the
/// first ones stay. For lack of consistency anybody can send the log's true checkpoints with wrong proofs: there the oldest makes room.
pub(super) const EVIDENCE_MAX: usize = 512;

/// A piece of evidence holds two notes and a proof, as JSON.
const PIECE_BYTES_MAX: usize = 4 * NOTE_BYTES_MAX + (64 << 10);

/// The folder of one witness, locked for this process.
#[derive(Debug)]
pub struct StateFolder {
    root: PathBuf,
    _lock: File,
}

impl StateFolder {
    /// Makes the folder for a new key.
    ///
    /// # Errors
    /// There is one already, or it cannot be made.
    pub fn create(root: &Path, key: &CosigningKey) -> Result<()> {
        let context = || format!("cannot make the state folder {}", root.display());
        let marker = root.join("witness");
        if marker.exists() {
            bail!(
                "{} is the state of a witness already: a new key needs a new folder",
                root.display()
            );
        }
        fs::create_dir_all(root.join("logs")).with_context(context)?;
        let vkey = format!("{}\n", key.vkey()?);
        files::replace(&marker, &root.join("witness.new"), vkey.as_bytes(), |_| {
            Ok(())
        })
        .with_context(context)?;
        files::sync_folder_of(root).with_context(context)
    }

    /// Opens the folder of this key, for this process alone.
    ///
    /// # Errors
    /// It is not there, is another witness's, or another process serves from it.
    pub fn open(root: &Path, key: &CosigningKey) -> Result<Self> {
        let shown = root.display();
        let vkey = files::read(&root.join("witness"), 4_096)
            .with_context(|| format!("cannot read the state folder {shown}"))?
            .ok_or_else(|| {
                anyhow!("{shown} holds no witness's state: name the folder that was made together with the key. If the state is lost, retire this key: without it a witness would cosign a fork")
            })?;
        if vkey != format!("{}\n", key.vkey()?).as_bytes() {
            bail!("{shown} is the state of another witness than this key's: name its own");
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join("lock"))
            .with_context(|| format!("cannot lock {shown}"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                root: root.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => {
                bail!("another process serves from {shown}: one witness is one process")
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {shown}"))
            }
        }
    }

    /// Where this process keeps what it was told once.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of one log, made where it is not there, and what it holds.
    ///
    /// # Errors
    /// It cannot be read, or what it holds was not cosigned by this key.
    pub fn log(&self, origin: &str, key: &CosigningKey) -> Result<(LogFolder, Option<Cosigned>)> {
        let folder = LogFolder {
            folder: self.root.join("logs").join(origin_hash(origin)),
        };
        folder
            .prepare(origin)
            .with_context(|| format!("cannot make {}", folder.folder.display()))?;
        let path = folder.checkpoint();
        let context = || {
            format!(
                "{}: this state is damaged; restore the newest copy, or retire the key",
                path.display()
            )
        };
        let Some(bytes) = files::read(&path, NOTE_BYTES_MAX).with_context(context)? else {
            return Ok((folder, None));
        };
        let cosigned = Cosigned::read(bytes, origin, key).with_context(context)?;
        Ok((folder, Some(cosigned)))
    }
}

/// SHA-256 of the origin, in hex: the log's name in the monitoring interface.
#[must_use]
pub fn origin_hash(origin: &str) -> String {
    hex::encode(Sha256::digest(origin))
}

/// The newest checkpoint of a log that this witness has cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    /// Its size.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// When, in seconds since the Epoch.
    pub time_s: u64,
    /// The cosignature's line.
    pub line: NoteSignature,
    /// The whole note: the text, the log's lines that were verified, the cosignature.
    pub note: Vec<u8>,
}

impl Cosigned {
    fn read(note: Vec<u8>, origin: &str, key: &CosigningKey) -> Result<Self> {
        let read = Submitted::parse(&note)?;
        if read.origin != origin {
            bail!("it is of another log");
        }
        let line = read
            .note
            .signatures()
            .iter()
            .find(|line| key.public().claims(line))
            .context("it is not cosigned by this key")?;
        let time_s = cosignature::verify(key.public(), line, read.note.text())?;
        Ok(Self {
            size: read.size,
            root: read.root,
            time_s,
            line: line.clone(),
            note,
        })
    }
}

/// One log's part of the state.
#[derive(Debug, Clone)]
pub struct LogFolder {
    folder: PathBuf,
}

impl LogFolder {
    fn checkpoint(&self) -> PathBuf {
        self.folder.join("checkpoint")
    }

    fn evidence(&self) -> PathBuf {
        self.folder.join("evidence")
    }

    fn prepare(&self, origin: &str) -> io::Result<()> {
        fs::create_dir_all(self.evidence())?;
        let path = self.folder.join("origin");
        if !path.exists() {
            files::replace(
                &path,
                &self.folder.join("origin.new"),
                format!("{origin}\n").as_bytes(),
                |_| Ok(()),
            )?;
        }
        files::sync_folder_of(&self.folder)
    }

    /// Makes this the newest cosigned checkpoint, durably once it returns `Ok`. On an error it may be, or not; nobody has seen the cosignature either way.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn save(
        &self,
        cosigned: &Cosigned,
        between: impl Fn(Step) -> io::Result<()>,
    ) -> io::Result<()> {
        files::replace(
            &self.checkpoint(),
            &self.folder.join("checkpoint.new"),
            &cosigned.note,
            between,
        )
    }

    /// Where a piece of evidence is kept.
    fn piece(&self, contradiction: Contradiction, size: u64, text: &str) -> PathBuf {
        let digest = hex::encode(Sha256::digest(text));
        self.evidence().join(format!(
            "{}-{size}-{}.json",
            contradiction.name(),
            digest.get(..16).unwrap_or(&digest)
        ))
    }

    /// Removes what this cosignature shows to be no evidence: the same checkpoint, sent before with a proof that did not hold.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn settle(&self, cosigned: &Cosigned) -> io::Result<()> {
        let (Ok(note), kind) = (
            SignedNote::parse(&cosigned.note),
            Contradiction::NotConsistent,
        ) else {
            return Ok(());
        };
        let path = self.piece(kind, cosigned.size, note.text());
        let Some(bytes) = files::read(&path, PIECE_BYTES_MAX)? else {
            return Ok(());
        };
        // Two texts may share the part of the digest that is in the name, if whoever holds the log's key takes the trouble.
        let is_same = serde_json::from_slice::<serde_json::Value>(&bytes)
            .ok()
            .and_then(|piece| Some(piece.get("submitted")?.as_str()?.to_owned()))
            .and_then(|submitted| SignedNote::parse(submitted.as_bytes()).ok())
            .is_some_and(|submitted| submitted.text() == note.text());
        if is_same {
            fs::remove_file(&path)?;
        }
        Ok(())
    }

    /// Sees to it that one more piece of this kind can be kept.
    fn make_room(&self, contradiction: Contradiction) -> io::Result<()> {
        let mut held = Vec::new();
        for file in fs::read_dir(self.evidence())? {
            let file = file?;
            if file
                .file_name()
                .to_string_lossy()
                .starts_with(contradiction.name())
            {
                held.push((file.metadata()?.modified()?, file.path()));
            }
        }
        if held.len() < EVIDENCE_MAX {
            return Ok(());
        }
        match (contradiction, held.into_iter().min()) {
            (Contradiction::NotConsistent, Some((_, oldest))) => {
                tracing::warn!(piece = %oldest.display(), "{EVIDENCE_MAX} pieces of this kind are kept: the oldest makes room");
                fs::remove_file(oldest)
            }
            _ => Err(io::Error::other(format!(
                "{EVIDENCE_MAX} pieces of this kind are kept already"
            ))),
        }
    }

    /// Keeps a request that contradicts what was cosigned. The same one again is kept once.
    ///
    /// # Errors
    /// The file system's, or there is a great deal of it already.
    pub(super) fn keep(
        &self,
        contradiction: Contradiction,
        ours: &Cosigned,
        request: &AddCheckpoint,
        signed: &[NoteSignature],
        time_s: u64,
    ) -> io::Result<Kept> {
        let text = request.checkpoint.note.text();
        let kind = contradiction.name();
        let path = self.piece(contradiction, request.checkpoint.size, text);
        if path.exists() {
            return Ok(Kept::Before);
        }
        self.make_room(contradiction)?;
        let lines: String = signed.iter().map(NoteSignature::encode).collect();
        let evidence = json!({
            "format": "tallyroot/v1/witness-evidence",
            "kind": kind,
            "meaning": contradiction.meaning(),
            "seen_s": time_s,
            "cosigned": String::from_utf8_lossy(&ours.note),
            "submitted": format!("{text}\n{lines}"),
            "old_size": request.old_size,
            "proof": request.proof.iter().map(Hash::to_base64).collect::<Vec<_>>(),
        });
        files::replace(
            &path,
            &self.evidence().join("new"),
            format!("{evidence:#}\n").as_bytes(),
            |_| Ok(()),
        )?;
        Ok(Kept::Now)
    }
}

/// Whether a piece of evidence is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is.
    Now,
    /// It was kept before.
    Before,
}

/// How a checkpoint that the log signed contradicts the one that was cosigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contradiction {
    /// Two roots of one size.
    SameSize,
    /// No proof that one tree continues the other.
    NotConsistent,
}

impl Contradiction {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::SameSize => "same-size",
            Self::NotConsistent => "not-consistent",
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::SameSize => {
                "The log signed two roots for one size: it forked. Both signatures together prove it to anybody who has the log's keys."
            }
            Self::NotConsistent => {
                "The log signed a tree, and the proof that came with it does not show that it continues the one that was cosigned. Ask the log for a proof from the one to the other: if it has none, it forked. (Somebody else may have sent a true checkpoint with a wrong proof.)"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, LogFolder) {
        let root = tempfile::tempdir().unwrap();
        let folder = LogFolder {
            folder: root.path().join("log"),
        };
        folder.prepare("log.example/heads").unwrap();
        (root, folder)
    }

    #[test]
    fn a_logs_folder_says_whose_it_is() {
        // As `printf log.example/heads | sha256sum` has it.
        assert_eq!(
            origin_hash("log.example/heads"),
            "3efa1566a61cdc46774eb96364bd98f9e006f2faa9759ea97e462e6b0223d4f3"
        );
        let (_root, folder) = folder();
        assert_eq!(
            fs::read(folder.folder.join("origin")).unwrap(),
            b"log.example/heads\n"
        );
    }

    #[test]
    fn for_lack_of_consistency_the_oldest_makes_room_and_forks_stay() {
        for kind in [Contradiction::SameSize, Contradiction::NotConsistent] {
            let (_root, folder) = folder();
            let piece = |n: usize| {
                folder
                    .evidence()
                    .join(format!("{}-{n}-0.json", kind.name()))
            };
            // Of the other kind there may be as many as there are.
            let other = if kind == Contradiction::SameSize {
                Contradiction::NotConsistent
            } else {
                Contradiction::SameSize
            };
            fs::write(
                folder.evidence().join(format!("{}-0-0.json", other.name())),
                b"",
            )
            .unwrap();
            for n in 0..EVIDENCE_MAX {
                folder.make_room(kind).unwrap();
                let file = File::create(piece(n)).unwrap();
                file.set_modified(
                    std::time::UNIX_EPOCH
                        + std::time::Duration::from_secs(
                            1_000 + (n as u64 + 1) % EVIDENCE_MAX as u64,
                        ),
                )
                .unwrap();
            }
            // The last one was made the oldest.
            let made = folder.make_room(kind);
            let there: Vec<usize> = (0..EVIDENCE_MAX).filter(|n| !piece(*n).exists()).collect();
            match kind {
                Contradiction::SameSize => assert!(made.is_err() && there.is_empty(), "{there:?}"),
                Contradiction::NotConsistent => {
                    made.unwrap();
                    assert_eq!(there, [EVIDENCE_MAX - 1]);
                }
            }
        }
    }

    #[test]
    fn a_piece_of_evidence_says_what_it_proves() {
        assert!(Contradiction::SameSize.meaning().contains("it forked"));
        assert!(
            Contradiction::NotConsistent
                .meaning()
                .contains("Ask the log for a proof")
        );
    }
}
