//! The commands that settle who is right: `dispute` and `consistency`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use protocol::ids::ElectionId;

use super::{colour, complain, say};
use crate::verdict::Outcome;
use crate::{consistency, dispute, words};

pub(super) const DISPUTE_HELP: &str = "\
A receipt is a promise that the ledger signed. This command puts it beside what the ledger shows now, and rules:

  counted          the final head counts the vote
  covered          a head covers the vote; more heads come
  held             the published log holds the vote; no head covers it yet
  not-shown        the source showed too little to say
  rolled-back      the published log is shorter than what its key signed: an old copy, or a log that was cut
  dropped          the final head does not count the vote
  split-view       the ledger's keys signed two histories
  invalid-receipt  the receipt proves nothing

With --source it gathers the exhibits from a site, a mirror or a directory; --out keeps them. Whoever gets that file gives it to this command without --source: it judges it offline, and believes nothing in it but signatures and proofs.

The file shows the vote, as the receipt does.";

pub(super) const CONSISTENCY_HELP: &str = "\
Give any two files that hold checkpoints of one log: a `checkpoint` that you kept, a receipt, a `.tlog-proof`, a results.json, an anchor, a cosigned checkpoint; or a folder, a copy of the election, of which every log's newest checkpoint is taken. All checkpoints of every log that both files speak of are compared.

Two of one size tell by themselves. Of two sizes, --source must show the tiles between them; any copy will do, since tiles are proven against the newer checkpoint. Give --source several times: the site, a mirror, another mirror.

Where the two contradict each other, --proof writes the evidence: one file that this program, and anybody's, verifies with nothing but the election id. `tallyroot-verify consistency --check FILE` does.";

#[derive(Args)]
pub(super) struct DisputeArgs {
    /// A receipt (with --source), or a dispute's file to judge
    file: PathBuf,
    /// The election id: 64 lowercase hexadecimal digits, from a place that you trust
    #[arg(long, value_name = "ID", value_parser = super::election_id)]
    election: ElectionId,
    /// The ledger that the receipt is held against: its URL or directory
    #[arg(long, value_name = "URL OR DIRECTORY")]
    source: Option<String>,
    /// Write the receipt and the exhibits to this file; it must not exist
    #[arg(long, value_name = "FILE", requires = "source")]
    out: Option<PathBuf>,
    /// Print the verdict as one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) const CONSISTENCY_USAGE: &str = "\
tallyroot-verify consistency FILE FILE --election ID [--source URL OR DIRECTORY]... [--proof FILE] [--json]
       tallyroot-verify consistency --check FILE --election ID [--json]";

#[derive(Args)]
pub(super) struct ConsistencyArgs {
    /// Two files that hold checkpoints of one log, or copies of the election
    #[arg(num_args = 2, value_names = ["FILE", "OTHER FILE"], required_unless_present = "check")]
    files: Vec<PathBuf>,
    /// The election id: 64 lowercase hexadecimal digits, from a place that you trust
    #[arg(long, value_name = "ID", value_parser = super::election_id)]
    election: ElectionId,
    /// Where tiles of the log are published: a URL or directory; may be given several times
    #[arg(long, value_name = "URL OR DIRECTORY")]
    source: Vec<String>,
    /// Where the two contradict each other, write the proof to this file, which must not exist; where they do not, nothing is written
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// Verify such evidence instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "proof", "source"])]
    check: Option<PathBuf>,
    /// Print the verdict as one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run_dispute(args: &DisputeArgs) -> Outcome {
    if is_taken(args.out.as_deref()) {
        return Outcome::Unchecked;
    }
    let verdict = match &args.source {
        Some(source) => dispute::make(&args.file, source, &args.election),
        None => dispute::judge(&args.file, &args.election),
    };
    let mut outcome = verdict.verdict;
    if let Some(out) = &args.out {
        match &verdict.file {
            Some(file) => outcome = keep(out, file, outcome),
            None => complain(&format!(
                "{}: not written, since there is nothing to keep",
                out.display()
            )),
        }
    }
    say(
        args.json,
        &verdict,
        || words::dispute(&verdict, colour()),
        outcome,
    )
}

pub(super) fn run_consistency(args: &ConsistencyArgs) -> Outcome {
    if is_taken(args.proof.as_deref()) {
        return Outcome::Unchecked;
    }
    let verdict = match (&args.check, args.files.as_slice()) {
        (Some(file), _) => consistency::check(file, &args.election),
        (None, [a, b]) => consistency::run(a, b, &args.election, &args.source),
        (None, _) => {
            complain(
                "give two files that hold checkpoints, or one proof of a split view with --check FILE",
            );
            return Outcome::Unchecked;
        }
    };
    let mut outcome = verdict.verdict;
    if let Some(out) = &args.proof {
        match &verdict.split {
            Some(split) => outcome = keep(out, split, outcome),
            None => complain(&format!(
                "{}: not written, since no contradiction was found that could be proven",
                out.display()
            )),
        }
    }
    say(
        args.json,
        &verdict,
        || words::consistency(&verdict, colour()),
        outcome,
    )
}

/// A name that cannot be written to is told before the work, which may take long.
fn is_taken(path: Option<&Path>) -> bool {
    let taken = path.filter(|path| path.symlink_metadata().is_ok());
    if let Some(path) = taken {
        complain(&format!(
            "{} is there already, and evidence is never overwritten: name a new file. Nothing was checked",
            path.display()
        ));
    }
    taken.is_some()
}

/// Evidence is never overwritten; where it cannot be kept, the exit code says that something is left to do.
fn keep(path: &Path, bytes: &[u8], outcome: Outcome) -> Outcome {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
    match written {
        Ok(()) => {
            complain(&format!("the evidence is in {}", path.display()));
            outcome
        }
        Err(error) => {
            complain(&format!(
                "{}: the evidence could not be written: {error}; name a new file in a folder that you can write to, and run this again",
                path.display()
            ));
            Outcome::Unchecked
        }
    }
}
