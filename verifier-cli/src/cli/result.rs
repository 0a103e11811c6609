//! The command `result`.

use clap::Args;
use protocol::ids::ElectionId;

use super::{colour, say};
use crate::progress::Progress;
use crate::verdict::Outcome;
use crate::{result, words};

pub(super) const HELP: &str = "\
Verifies what a results page shows, in seconds, whatever the number of votes: the manifest hashes to the id; each cell's tally entry stands in the tree that the cell's key signed, and is the newest below the size that is counted; the sums are those of the tally entries; that tree is the one that is published today; and status and sizes are those that the newest head, or the final head, calls for.

It takes the tally entries' word for the votes. `sample` tests that at random places, `audit` recounts everything.

Examples:
  tallyroot-verify result https://votes.example.org --election 6b3f…
  tallyroot-verify result ./mirror --election 6b3f… --json";

#[derive(Args)]
pub(super) struct ResultArgs {
    /// Where the election is published: its URL or directory
    #[arg(value_name = "URL OR DIRECTORY")]
    source: String,
    /// The election id: 64 lowercase hexadecimal digits, from a place that you trust
    #[arg(long, value_name = "ID")]
    election: ElectionId,
    /// Print the verdict as one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ResultArgs) -> Outcome {
    let progress = Progress::on_stderr();
    let verdict = result::run(&args.source, &args.election, &progress);
    progress.finish();
    let outcome = verdict.verdict;
    say(
        args.json,
        &verdict,
        || words::result(&verdict, colour()),
        outcome,
    )
}
