//! A complete copy of what a finished election has published, verified after it was made.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anchoring::OBJECT_LEN_MAX;
use anyhow::{Context, Result, bail};
use ledger::batch::{Batch, FILE_BYTES_MAX};
use ledger::heads::name_of;
use protocol::ids::LogId;
use protocol::merkle::CompactRange;
use protocol::merkle::tile::{bundles, tiles};
use protocol::note::NOTE_BYTES_MAX;
use protocol::results::RESULTS_LEN_MAX;
use serde_json::json;
use verifier_cli::verdict::Outcome;

use super::outcome::audit;
use super::place::Place;
use crate::cli::ArchiveArgs;

/// A full tile is 256 hashes; a full bundle 256 entries of at most 65,535 bytes.
const TILE_BYTES_MAX: usize = 256 * 32;
const BUNDLE_BYTES_MAX: usize = 256 * (65_535 + 2);

/// Copies, audits the copy, and gives it its name only if it verifies.
///
/// # Errors
/// There is no final head yet, something is missing, the place is taken, or the copy does not verify.
pub async fn archive(args: &ArchiveArgs) -> Result<ExitCode> {
    let place = Place::open(&args.site, &args.election).await?;
    let heads = place.heads().await?;
    if heads.log().final_head().is_none() {
        bail!(
            "there is no final head yet: `tallyroot election finalize` waits for it, and then there is something to archive"
        );
    }
    if args.dir.exists() {
        bail!("{} exists: name a new folder", args.dir.display());
    }
    let mut partial = args.dir.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    if partial.exists() {
        // Only this command makes such a folder, and it died in the middle.
        fs::remove_dir_all(&partial)
            .with_context(|| format!("cannot remove the unfinished {}", partial.display()))?;
    }
    let mut copy = Copy {
        place: &place,
        folder: partial
            .join("elections")
            .join(place.election.id().to_string()),
        files: 0,
        bytes: 0,
    };
    copy.all().await?;
    let (files, bytes) = (copy.files, copy.bytes);
    let copied = Place::open(&partial.to_string_lossy(), &args.election).await?;
    let verdict = audit(&args.site, &copied).await?;
    if verdict.verdict != Outcome::Verified {
        bail!(
            "the copy does not verify ({} findings), and is left in {} for you to look at with tallyroot-verify: {}",
            verdict.findings.len(),
            partial.display(),
            verdict.findings.first().map_or_else(
                || verdict.not_covered.join("; "),
                |finding| finding.evidence.clone()
            )
        );
    }
    fs::rename(&partial, &args.dir)
        .with_context(|| format!("cannot give the copy its name {}", args.dir.display()))?;
    crate::say(Some(if args.json {
        json!({ "election_id": place.election.id().to_string(), "dir": args.dir.display().to_string(), "files": files, "bytes": bytes, "votes": verdict.votes, "verified": true }).to_string()
    } else {
        format!(
            "{}, {bytes} bytes, {}: copied to {} and VERIFIED there",
            crate::counted(files, "file"),
            crate::counted(verdict.votes, "vote"),
            args.dir.display()
        )
    }))
}

struct Copy<'a> {
    place: &'a Place,
    folder: PathBuf,
    files: u64,
    bytes: u64,
}

impl Copy<'_> {
    async fn all(&mut self) -> Result<()> {
        self.put("manifest.json", self.place.election.manifest_bytes())?;
        self.must("results.json", RESULTS_LEN_MAX).await?;
        let logs = self.place.election.logs().to_vec();
        for log in logs.into_iter().chain([LogId::Heads]) {
            self.log(log).await.with_context(|| format!("{log}"))?;
        }
        let anchors = &self.place.election.manifest().anchors;
        for anchor in anchors {
            let mut n = 0u64;
            while self
                .take(&format!("anchors/{}/{n}", anchor.name), OBJECT_LEN_MAX)
                .await?
                .is_some()
            {
                n += 1;
            }
        }
        Ok(())
    }

    /// Everything that belongs to a log. Of partial tiles, those at its end: others are optional once the full one is there.
    async fn log(&mut self, log: LogId) -> Result<()> {
        let name = name_of(&self.place.election, log);
        self.must(&name.path("checkpoint"), NOTE_BYTES_MAX).await?;
        let mut range = CompactRange::new();
        let mut n = 0u64;
        while let Some(bytes) = self
            .take(&name.path(&format!("batches/{n}")), FILE_BYTES_MAX)
            .await?
        {
            Batch::from_file(&name, n, &mut range, &bytes).with_context(|| format!("batch {n}"))?;
            // One checkpoint may cover several batches.
            let size = range.size();
            self.take(&name.path(&format!("checkpoints/{size}")), NOTE_BYTES_MAX)
                .await?;
            if log == LogId::Heads {
                self.take(&name.path(&format!("cosigned/{size}")), NOTE_BYTES_MAX)
                    .await?;
            }
            n += 1;
        }
        for tile in tiles(range.size()) {
            self.must(&name.path(&tile.path()), TILE_BYTES_MAX).await?;
        }
        for bundle in bundles(range.size()) {
            self.must(&name.path(&bundle.path()), BUNDLE_BYTES_MAX)
                .await?;
        }
        Ok(())
    }

    async fn must(&mut self, path: &str, len_max: usize) -> Result<()> {
        match self.take(path, len_max).await? {
            Some(_) => Ok(()),
            None => bail!("{path} is missing from what is published"),
        }
    }

    async fn take(&mut self, path: &str, len_max: usize) -> Result<Option<bytes::Bytes>> {
        let bytes = self.place.reader.read(path, len_max).await?;
        if let Some(bytes) = &bytes {
            self.put(path, bytes)?;
        }
        Ok(bytes)
    }

    fn put(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let file = self.folder.join(path);
        let written = || -> std::io::Result<()> {
            fs::create_dir_all(file.parent().unwrap_or(Path::new("")))?;
            let mut file = fs::File::create_new(&file)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        written().with_context(|| format!("cannot write {}", file.display()))?;
        self.files += 1;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}
