//! The command `reconcile`.

use clap::Args;
use protocol::ids::ElectionId;

use super::{colour, say};
use crate::progress::Progress;
use crate::verdict::Outcome;
use crate::{reconcile, words};

pub(super) const HELP: &str = "\
Puts the election's numbers side by side: voters on the roll; credentials issued and requests refused, by registrar and shard; votes, by cell. All of them come from entries that are proven to stand in the trees that the logs' keys signed, at the final head's sizes, or before it at the newest checkpoints'.

Then it says what must hold (votes <= issued by each registrar <= roll; counts and blanks of each contest make the votes), each with its figures, and what lies between: the smallest of issued minus votes is how many votes could have been invented by whoever holds every key.

It takes seconds and believes the logs' own sums; `audit` recounts them.

Examples:
  tallyroot-verify reconcile https://votes.example.org --election 6b3f…
  tallyroot-verify reconcile ./mirror --election 6b3f… --json";

#[derive(Args)]
pub(super) struct ReconcileArgs {
    /// Where the election is published: its URL, directory or package
    #[arg(value_name = "URL OR DIRECTORY")]
    source: String,
    /// The election id: 64 lowercase hexadecimal digits, from a place that you trust
    #[arg(long, value_name = "ID")]
    election: ElectionId,
    /// Print the verdict as one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ReconcileArgs) -> Outcome {
    let progress = Progress::on_stderr();
    let verdict = reconcile::run(&args.source, &args.election, &progress);
    progress.finish();
    let outcome = verdict.verdict;
    say(
        args.json,
        &verdict,
        || words::reconcile(&verdict, colour()),
        outcome,
    )
}
