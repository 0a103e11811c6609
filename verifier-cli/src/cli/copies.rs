//! The commands that make copies: `mirror` and `bundle`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{ElectionArgs, read_and_say};
use crate::audit::Options;
use crate::verdict::Outcome;
use crate::{bundle, mirror, words};

pub(super) const MIRROR_HELP: &str = "\
Makes a copy of an election, or brings one up to date, and audits it. Any static web server can serve DIR/public; the copy is then a source for every command, and what the operator changes later does not change it.

Each batch must continue the one before and be shown, by the source's tiles, to stand in the tree that the log's key signed, before it is kept: who serves the files gets nothing else into the copy. Anchors must hold the copied heads log, and results.json what the signed trees hold. Tiles and entry bundles are not copied but made from the entries. `checkpoint` and results.json move last and by rename: who reads the copy meanwhile sees a consistent election. Killed at any moment, it goes on. Until a first run has come to its end there is no usable copy: DIR/incomplete says so, and every command that is given DIR. One run at a time works in a folder. A run reads again the copy's heads log, and of the other logs only what is new; the copy's older files are checked by its audit.

Nothing is ever replaced by something else, but that cosigned checkpoints gain lines. A source that contradicts the copy is a finding; what was signed and contradicts it is put into DIR/conflicts, under the name that the finding says, with a split view where the keys signed both, and the copy stays as it was. A source that shows an older state of the same history lags behind, as a mirror or a cache may: that is no finding (exit code 2), unless it takes back what it showed itself in an earlier run, and still does 30 s (or three head intervals) on. DIR/shown.json remembers what each source showed. Damage to the copy's own files is no finding against the source: exit code 2, and what to do.

Examples:
  tallyroot-verify mirror https://votes.example.org ./mirror --election 6b3f…
  tallyroot-verify mirror https://votes.example.org ./mirror --election 6b3f… --no-audit   # every few minutes, say: nothing is recounted";

pub(super) const BUNDLE_HELP: &str = "\
Writes everything that an audit needs into one tar file, for keeping and for auditing without a network. It is of what was signed, as with `mirror --no-audit`; nothing is recounted, so audit it. `tallyroot-verify audit FILE.tar` takes it as it is, and so do the other commands; every tar program unpacks it, and `b3sum --check BLAKE3SUMS` checks what was unpacked.

The digest that is printed is the same for everybody who bundles the same state of the election: compare it. (A finished election has one state; of an open one, moments differ.)

While it runs, a copy stands beside the file, so it needs twice the room.

Examples:
  tallyroot-verify bundle https://votes.example.org election.tar --election 6b3f…
  tallyroot-verify audit election.tar --election 6b3f…";

#[derive(Args)]
pub(super) struct MirrorArgs {
    #[command(flatten)]
    of: ElectionArgs,
    /// The copy's folder; made if it is not there
    #[arg(value_name = "DIR")]
    copy: PathBuf,
    /// Leave out the audit of the copy
    #[arg(long)]
    no_audit: bool,
}

#[derive(Args)]
pub(super) struct BundleArgs {
    #[command(flatten)]
    of: ElectionArgs,
    /// The package; it must not exist
    #[arg(value_name = "FILE.tar")]
    file: PathBuf,
}

pub(super) fn run_mirror(args: &MirrorArgs) -> Outcome {
    let options = Options {
        threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        settle: Duration::ZERO,
        evidence: Vec::new(),
        witnesses: Vec::new(),
        state: None,
    };
    let audit = (!args.no_audit).then_some(&options);
    read_and_say(
        &args.of,
        |source, election, progress| mirror::run(source, &args.copy, election, audit, progress),
        |verdict| verdict.verdict,
        words::mirror,
    )
}

pub(super) fn run_bundle(args: &BundleArgs) -> Outcome {
    read_and_say(
        &args.of,
        |source, election, progress| bundle::run(source, &args.file, election, progress),
        |verdict| verdict.verdict,
        words::bundle,
    )
}
