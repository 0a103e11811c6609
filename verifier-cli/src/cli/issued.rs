//! The command `issued`.

use clap::Args;
use protocol::ids::ElectionId;

use super::{colour, say};
use crate::progress::Progress;
use crate::verdict::Outcome;
use crate::{issued, words};

pub(super) const HELP: &str = "\
Registrars could issue credentials in the names of people who stay away, and vote with them. No sum shows that. You do: your place on the roll is shown when you sign in (`tallyroot vote` keeps it), and everybody can see in the issuance logs whether a credential was issued for it.

If you did not ask for one and there is one, tell the election's authority, and keep this command's --json output: the log's key signed it.

It reads the whole log of each registrar that your place belongs to, so that nobody learns which place you look for. Exit code 0 says that all of it could be read and was signed; the answer is in the words.";

#[derive(Args)]
pub(super) struct IssuedArgs {
    /// Where the election is published: the site's or the election's URL, or a directory
    #[arg(value_name = "URL OR DIRECTORY")]
    source: String,
    /// The election id: 64 lowercase hexadecimal digits, from a place that you trust
    #[arg(long, value_name = "ID")]
    election: ElectionId,
    /// Your place on the roll
    #[arg(long, value_name = "N")]
    roll_index: u64,
    /// Print the answer as one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &IssuedArgs) -> Outcome {
    let progress = Progress::on_stderr();
    let verdict = issued::run(&args.source, &args.election, args.roll_index, &progress);
    progress.finish();
    let outcome = verdict.verdict;
    say(
        args.json,
        &verdict,
        || words::issued(&verdict, colour()),
        outcome,
    )
}
