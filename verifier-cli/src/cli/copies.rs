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

Each batch must continue the one before, and the last one end in the tree that the log's key signed, before anything of it counts. Tiles and entry bundles are not copied but made from the entries, so they are right whatever the source serves. `checkpoint` and results.json move last and by rename: who reads the copy meanwhile sees a consistent election. Killed at any moment, it goes on.

Nothing is ever replaced by something else. A source that contradicts the copy is a finding; what it showed is put into DIR/conflicts, with a split view where the keys signed both, and the copy stays as it was.

Examples:
  tallyroot-verify mirror https://votes.example.org ./mirror --election 6b3f…
  tallyroot-verify mirror https://votes.example.org ./mirror --election 6b3f… --no-audit   # every few minutes, say";

pub(super) const BUNDLE_HELP: &str = "\
Writes everything that an audit needs into one tar file, for keeping and for auditing without a network. `tallyroot-verify audit FILE.tar` takes it as it is, and so do the other commands; every tar program unpacks it, and `b3sum --check BLAKE3SUMS` checks what was unpacked.

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
