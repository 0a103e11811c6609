//! Does a log's database hold what is published? Every difference, with its place and kind.
//!
//! [`fsck`] walks both copies batch by batch, as a takeover does, but changes nothing: it takes no epoch, and reads beside a running sequencer. (Then the newest batches may be committed
//! and not yet published, which is the kind [`Kind::NotPublished`].) From the batches follow all other files, byte for byte: tiles, entry bundles, checkpoints; these are compared too. It holds one batch
//! and the tree's right edge in memory.
//!
//! [`rebuild`] fills a lost database from what is published: by a takeover, since "takeover, start and rebuild are one path".

mod apart;
mod derived;
mod rebuild;

use bytes::Bytes;
use protocol::merkle::CompactRange;
use serde::Serialize;

use crate::batch::{Batch, End, FILE_BYTES_MAX};
use crate::log::{Keys, LogName};
use crate::publisher::{CHECKPOINT_BYTES_MAX, ReadError, Reader};
use crate::store::{Head, Row, StoreError, StoredRows};

use derived::Derived;
pub use rebuild::{RebuildError, rebuild};

/// One way in which the database, what is published and what was signed do not agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The file below the election's folder, or `database` with what of it.
    pub place: String,
    /// What is wrong there.
    pub kind: Kind,
    /// The batch, where it is about one.
    pub batch: Option<u64>,
    /// In words.
    pub detail: String,
}

/// What is wrong. The names in JSON are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The database's head counts a batch that is not there.
    RowMissing,
    /// The database's batch does not follow on the log: damaged, or written by hand.
    RowDamaged,
    /// The database has a batch that its head does not count. No writer leaves one: each append would fail on it, and so each takeover.
    RowSurplus,
    /// The head's size and root are not those that its batches lead to.
    HeadElsewhere,
    /// A published batch is not in the database. A takeover appends it.
    NotStored,
    /// The database's batch is not published: not yet, or the publisher lost it. A takeover publishes it.
    NotPublished,
    /// Both copies have a batch of this number, each of which follows on the log, and they are not the same; or the database's follows on such a one. A takeover puts the database's aside.
    OtherBatch,
    /// The published batch does not follow on the log, or is another log's.
    BatchDamaged,
    /// A batch is missing from both copies, and the next one is published.
    Gap,
    /// A tile, an entry bundle or a checkpoint that must be published is not.
    FileMissing,
    /// It is published with other bytes than follow from the batches.
    FileDiffers,
    /// It is published without the signature of the key that signs this log at its size.
    NotSigned,
    /// A checkpoint was signed over something that is not an end of the log's batches: entries are lost, or the log has forked.
    SignedElsewhere,
}

impl Kind {
    /// Whether a takeover, that is a start of the log's service, sets it right by itself. Everything else needs somebody who looks.
    #[must_use]
    pub const fn heals(self) -> bool {
        matches!(
            self,
            Self::NotStored | Self::NotPublished | Self::OtherBatch
        )
    }
}

/// How far the comparison came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The log's origin.
    pub log: String,
    /// Batches that the database's head counts; `None`: there is no log in it.
    pub stored: Option<u64>,
    /// Batches that are published.
    pub published: u64,
    /// Batches that both copies hold, and that are the same.
    pub equal: u64,
    /// Entries of the log, as far as it could be followed.
    pub size: u64,
    /// Their root, in hex.
    pub root: String,
    /// The size of the newest published checkpoint, if it is the log's.
    pub checkpoint: Option<u64>,
    /// Published files compared; an edge tile that several batches left as it was may count twice.
    pub files: u64,
    /// Differences found.
    pub differences: u64,
    /// Whether both copies could be followed to their ends. If not, what comes behind was not compared.
    pub complete: bool,
}

/// Why it is not known whether there are differences.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FsckError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is published.
    #[error(transparent)]
    Files(#[from] ReadError),
}

/// Compares a log's database with its published files; `found` is told each difference as it is found.
///
/// # Errors
///
/// When either could not be read now: nothing is known then about the rest.
pub async fn fsck(
    rows: &mut dyn StoredRows,
    files: &dyn Reader,
    log: &LogName,
    keys: &Keys,
    found: &mut (dyn FnMut(Difference) + Send),
) -> Result<Summary, FsckError> {
    // The checkpoint first: it covers nothing that is not published by then. The head next: rows before it stay.
    let mut walk = Walk {
        report: Report {
            files,
            log,
            found,
            compared: 0,
            differences: 0,
        },
        keys,
        range: CompactRange::new(),
        branch: Branch::None,
        derived: Derived::new(),
        signed: None,
        met: false,
    };
    walk.read_checkpoint().await?;
    let mut head = rows.head().await?;
    if let Some(n) = rows.surplus().await? {
        walk.surplus(n);
    }
    let counts = |head: &Option<Head>, n| head.as_ref().is_some_and(|head| n < head.batches);
    let (mut n, mut published, mut equal) = (0, 0, 0);
    let complete = loop {
        let file = walk.report.batch(n).await?;
        published += u64::from(file.is_there());
        // What is published was committed before: a writer at work has moved the head since it was read.
        if file.is_there() && !counts(&head, n) {
            head = rows.head().await?;
        }
        let counted = counts(&head, n);
        let row = if counted { rows.row(n).await? } else { None };
        match walk.step(n, counted, row, file).await? {
            Step::End => break !matches!(walk.branch, Branch::Lost),
            Step::Lost => break false,
            Step::Went { same } => equal += u64::from(same),
        }
        n += 1;
        if let Some(head) = head.filter(|head| head.batches == n) {
            walk.check_head(&head);
        }
    };
    walk.check_signed(complete);
    let end = End::from(&walk.range);
    Ok(Summary {
        log: log.origin().to_owned(),
        stored: head.map(|head| head.batches),
        published,
        equal,
        size: end.size,
        root: end.root.to_string(),
        checkpoint: walk.signed.map(|(end, _)| end.size),
        files: walk.report.compared,
        differences: walk.report.differences,
        complete,
    })
}

/// What is published as a batch.
struct BatchFile {
    found: Found,
    /// It is not there, and the next one is.
    gap: bool,
}

impl BatchFile {
    fn is_there(&self) -> bool {
        self.found != Found::Nothing
    }
}

/// What a file was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Bytes(Bytes),
    /// Longer than anything that may stand there.
    TooLong,
}

/// Reads files and counts differences.
struct Report<'a> {
    files: &'a dyn Reader,
    log: &'a LogName,
    found: &'a mut (dyn FnMut(Difference) + Send),
    compared: u64,
    differences: u64,
}

impl Report<'_> {
    async fn read(&mut self, file: &str, len_max: usize) -> Result<Found, FsckError> {
        match self.files.read(&self.log.path(file), len_max).await {
            Ok(None) => Ok(Found::Nothing),
            Ok(Some(bytes)) => {
                self.compared += 1;
                Ok(Found::Bytes(bytes))
            }
            Err(ReadError::TooLong { .. }) => Ok(Found::TooLong),
            Err(error) => Err(error.into()),
        }
    }

    /// Batch `n`. A writer publishes them in order: where only the next one is there, this one came between two looks, or it is missing.
    async fn batch(&mut self, n: u64) -> Result<BatchFile, FsckError> {
        let name = format!("batches/{n}");
        let mut file = BatchFile {
            found: self.read(&name, FILE_BYTES_MAX).await?,
            gap: false,
        };
        let next = format!("batches/{}", n.saturating_add(1));
        if !file.is_there() && self.read(&next, FILE_BYTES_MAX).await? != Found::Nothing {
            file.found = self.read(&name, FILE_BYTES_MAX).await?;
            file.gap = !file.is_there();
        }
        Ok(file)
    }

    /// A file that follows from the batches.
    async fn compare(&mut self, file: &str, want: &[u8], must: bool) -> Result<(), FsckError> {
        match self.read(file, want.len()).await? {
            Found::Nothing if must => self.file(
                file,
                Kind::FileMissing,
                None,
                "the newest checkpoint covers it, and it is not there",
            ),
            Found::Nothing => {}
            Found::Bytes(bytes) if bytes == want => {}
            Found::Bytes(_) | Found::TooLong => self.file(
                file,
                Kind::FileDiffers,
                None,
                "its bytes are not those that follow from the batches",
            ),
        }
        Ok(())
    }

    fn file(&mut self, file: &str, kind: Kind, batch: Option<u64>, detail: impl Into<String>) {
        let place = self.log.path(file);
        self.add(place, kind, batch, detail.into());
    }

    fn database(&mut self, what: &str, kind: Kind, batch: Option<u64>, detail: impl Into<String>) {
        self.add(format!("database {what}"), kind, batch, detail.into());
    }

    fn add(&mut self, place: String, kind: Kind, batch: Option<u64>, detail: String) {
        self.differences += 1;
        (self.found)(Difference {
            place,
            kind,
            batch,
            detail,
        });
    }
}

/// Where a step of the walk led.
enum Step {
    /// Both copies end here.
    End,
    /// Neither copy can be followed any further.
    Lost,
    /// On to the next batch.
    Went { same: bool },
}

/// The database's own branch, behind an [`Kind::OtherBatch`].
enum Branch {
    /// The database is on the log.
    None,
    /// Where its own batches have led.
    At(CompactRange),
    /// They cannot be followed.
    Lost,
}

/// The state of the walk over both copies.
struct Walk<'a> {
    report: Report<'a>,
    keys: &'a Keys,
    /// The tree up to here.
    range: CompactRange,
    branch: Branch,
    derived: Derived,
    /// The newest checkpoint and its bytes, if the log's key signed it.
    signed: Option<(End, Bytes)>,
    /// Whether a batch ended exactly there.
    met: bool,
}

impl Walk<'_> {
    async fn read_checkpoint(&mut self) -> Result<(), FsckError> {
        match self.report.read("checkpoint", CHECKPOINT_BYTES_MAX).await? {
            Found::Nothing => {}
            Found::TooLong => self.report.file(
                "checkpoint",
                Kind::NotSigned,
                None,
                "it is too long to be a checkpoint",
            ),
            Found::Bytes(bytes) => match self.keys.verify(self.report.log, &bytes) {
                Ok(checkpoint) => {
                    let end = End {
                        size: checkpoint.size(),
                        root: checkpoint.root(),
                    };
                    self.signed = Some((end, bytes));
                }
                Err(error) => {
                    self.report
                        .file("checkpoint", Kind::NotSigned, None, error.to_string());
                }
            },
        }
        Ok(())
    }

    /// Compares batch `n`, and goes on along the published one if it follows, else along the database's.
    async fn step(
        &mut self,
        n: u64,
        counted: bool,
        row: Option<Row>,
        file: BatchFile,
    ) -> Result<Step, FsckError> {
        if !matches!(self.branch, Branch::None) {
            return self.step_apart(n, counted, row, file).await;
        }
        let name = format!("batches/{n}");
        let what = format!("batch {n}");
        if counted && row.is_none() {
            let detail = "the head counts it, and it is not there: restore the database, or rebuild it from what is published";
            self.report
                .database(&what, Kind::RowMissing, Some(n), detail);
        }
        if row.is_none() && !file.is_there() {
            return Ok(self.nothing(n, counted, file.gap));
        }
        let mut branch = self.range.clone();
        let stored = row.map(|row| {
            Batch::from_body(n, &mut branch, row.body, row.end).map_err(|error| error.to_string())
        });
        let published = self.published(n, &file.found);
        if let Some(Err(error)) = &stored {
            self.report
                .database(&what, Kind::RowDamaged, Some(n), error.clone());
        }
        if let Some(Err(error)) = &published {
            self.report
                .file(&name, Kind::BatchDamaged, Some(n), error.clone());
        }
        let (batch, same) = match (stored, published) {
            (Some(Ok(stored)), Some(Ok(published))) => {
                let same =
                    stored.new_end() == published.new_end() && stored.body() == published.body();
                if !same {
                    let detail = format!(
                        "the database's leads to {:?}, the published one to {:?}: there were two writers; the published one stands",
                        stored.new_end(),
                        published.new_end()
                    );
                    self.report
                        .database(&what, Kind::OtherBatch, Some(n), detail);
                    self.branch = Branch::At(branch);
                }
                (published, same)
            }
            (stored, Some(Ok(published))) => {
                if stored.is_none() && !counted {
                    let detail = "it is published, and behind the database's head: a start of the service appends it";
                    self.report
                        .database(&what, Kind::NotStored, Some(n), detail);
                }
                (published, false)
            }
            (Some(Ok(stored)), published) => {
                if published.is_none() {
                    let detail = "the database has it, and it is not published: not yet, or it was lost; a start of the service publishes it";
                    self.report.file(&name, Kind::NotPublished, Some(n), detail);
                }
                (stored, false)
            }
            _ => return Ok(Step::Lost),
        };
        self.advance(&batch).await?;
        Ok(Step::Went { same })
    }

    fn published(&self, n: u64, found: &Found) -> Option<Result<Batch, String>> {
        match found {
            Found::Nothing => None,
            Found::TooLong => Some(Err("it is longer than a batch may be".to_owned())),
            Found::Bytes(bytes) => Some(
                Batch::from_file(self.report.log, n, &mut self.range.clone(), bytes)
                    .map_err(|error| error.to_string()),
            ),
        }
    }

    /// Neither copy has batch `n`. A file after it would have no place.
    fn nothing(&mut self, n: u64, counted: bool, gap: bool) -> Step {
        if gap {
            let detail = format!(
                "batches/{} is published, and this one is nowhere",
                n.saturating_add(1)
            );
            self.report
                .file(&format!("batches/{n}"), Kind::Gap, Some(n), detail);
            return Step::Lost;
        }
        if counted { Step::Lost } else { Step::End }
    }

    fn surplus(&mut self, n: u64) {
        let detail = "the head does not count it, so it is no part of the log, and the next append would fail on it: see who wrote it, then delete what is at or behind the head's `batches`";
        self.report
            .database(&format!("batch {n}"), Kind::RowSurplus, Some(n), detail);
    }

    /// Moves past a batch, and compares what follows from it.
    async fn advance(&mut self, batch: &Batch) -> Result<(), FsckError> {
        for leaf in batch.leaves() {
            self.range.push(*leaf);
        }
        let end = batch.new_end();
        let covered = self.signed.as_ref().map_or(0, |(signed, _)| signed.size);
        for derived in self.derived.push(batch, covered) {
            self.report
                .compare(&derived.file, &derived.bytes, derived.must)
                .await?;
        }
        let file = format!("checkpoints/{}", end.size);
        if let Some((signed, bytes)) = self
            .signed
            .clone()
            .filter(|(signed, _)| signed.size == end.size)
        {
            self.met = signed.root == end.root;
            // SPEC: "`checkpoint` must be byte-equal to the `checkpoints/<size>` of its size."
            self.report.compare(&file, &bytes, true).await?;
            return Ok(());
        }
        match self.report.read(&file, CHECKPOINT_BYTES_MAX).await? {
            Found::Nothing => {}
            Found::TooLong => {
                let detail = "it is too long to be a checkpoint";
                self.report.file(&file, Kind::NotSigned, None, detail);
            }
            Found::Bytes(bytes) => match self.keys.verify(self.report.log, &bytes) {
                Err(error) => {
                    self.report
                        .file(&file, Kind::NotSigned, None, error.to_string());
                }
                Ok(signed) if (signed.size(), signed.root()) != (end.size, end.root) => {
                    let detail = format!(
                        "it was signed over size {} and root {}, but batch {} ends at {end:?}: the log has forked",
                        signed.size(),
                        signed.root(),
                        batch.n()
                    );
                    self.report
                        .file(&file, Kind::SignedElsewhere, Some(batch.n()), detail);
                }
                Ok(_) => {}
            },
        }
        Ok(())
    }

    fn check_head(&mut self, head: &Head) {
        let end = match &self.branch {
            Branch::None => End::from(&self.range),
            Branch::At(range) => End::from(range),
            Branch::Lost => return,
        };
        if head.end != end {
            let detail = format!(
                "it is at {:?} after {} batches, but they lead to {end:?}",
                head.end, head.batches
            );
            self.report
                .database("head", Kind::HeadElsewhere, None, detail);
        }
    }

    /// The newest checkpoint must be an end of the batches.
    fn check_signed(&mut self, complete: bool) {
        let end = End::from(&self.range);
        let Some((signed, _)) = &self.signed else {
            return;
        };
        // What could not be followed is reported already; the checkpoint may be behind that.
        if self.met || (!complete && signed.size > end.size) {
            return;
        }
        let detail = if signed.size > end.size {
            format!(
                "it was signed over {signed:?}, but both copies end at {end:?}: entries are lost; restore either copy before the service is started"
            )
        } else {
            format!(
                "it was signed over {signed:?}, which is no end of the batches: the log has forked"
            )
        };
        self.report
            .file("checkpoint", Kind::SignedElsewhere, None, detail);
    }
}
