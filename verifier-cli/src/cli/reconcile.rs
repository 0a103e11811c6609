//! The command `reconcile`.

use clap::Args;

use super::{ElectionArgs, read_and_say};
use crate::verdict::Outcome;
use crate::{reconcile, words};

pub(super) const HELP: &str = "\
Puts the election's numbers side by side: voters on the roll; credentials issued and requests refused, by registrar and shard; votes, by cell. All of them come from entries that are proven to stand in the trees that the logs' keys signed, at the final head's sizes, or before it at the newest checkpoints'.

Then it says what must hold (votes <= issued by each registrar, by its own counts, <= roll; counts and blanks of each contest make the votes), each with its figures, and what lies between: the smallest of issued minus votes is how many further votes whoever holds every key could cast. That is no bound on the votes that were invented: each of those made it smaller. Only people who look up their own place with `issued` can tell.

It reads the heads log as a whole, and a few entries of each other log, and believes the logs' own sums, as far as their sizes bear them out; `audit` recounts them.

Examples:
  tallyroot-verify reconcile https://votes.example.org --election 6b3f…
  tallyroot-verify reconcile ./mirror --election 6b3f… --json";

#[derive(Args)]
pub(super) struct ReconcileArgs {
    #[command(flatten)]
    of: ElectionArgs,
}

pub(super) fn run(args: &ReconcileArgs) -> Outcome {
    read_and_say(
        &args.of,
        reconcile::run,
        |verdict| verdict.verdict,
        words::reconcile,
    )
}
