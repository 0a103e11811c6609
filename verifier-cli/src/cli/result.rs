//! The command `result`.

use clap::Args;

use super::{ElectionArgs, read_and_say};
use crate::verdict::Outcome;
use crate::{result, words};

pub(super) const HELP: &str = "\
Verifies what a results page shows, whatever the number of votes, from the heads log and a few entries of each cell: the manifest hashes to the id; each cell's tally entry stands in the tree that the cell's key signed, and is the newest below the size that is counted; the sums are those of the tally entries; that tree is the one that is published today; and status and sizes are those that the newest head, or the final head, calls for.

Of a run-off it verifies the first round, and that the others and the winner fit it and each other; which ballots moved where, only `audit` counts, so a winner after several rounds is marked as not verified.

It takes the tally entries' word for the votes. `sample` tests that at random places, `audit` recounts everything.

Examples:
  tallyroot-verify result https://votes.example.org --election 6b3f…
  tallyroot-verify result ./mirror --election 6b3f… --json";

#[derive(Args)]
pub(super) struct ResultArgs {
    #[command(flatten)]
    of: ElectionArgs,
}

pub(super) fn run(args: &ResultArgs) -> Outcome {
    read_and_say(
        &args.of,
        result::run,
        |verdict| verdict.verdict,
        words::result,
    )
}
