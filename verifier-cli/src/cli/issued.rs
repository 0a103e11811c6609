//! The command `issued`.

use clap::Args;

use super::{ElectionArgs, read_and_say};
use crate::verdict::Outcome;
use crate::{issued, words};

pub(super) const HELP: &str = "\
Registrars could issue credentials in the names of people who stay away, and vote with them. No sum shows that. You do: your place on the roll is shown when you sign in (`tallyroot vote` keeps it), and everybody can see in the issuance logs whether a credential was issued for it.

If you did not ask for one and there is one, somebody may vote in your name: tell the election's authority, and keep this command's --json output and a copy (`mirror`): the log's key signed it. The answer is as of the newest head, whose date it says: look again after the final head.

It reads the whole log of each registrar that your place belongs to, so that nobody learns which place you look for. Exit code 0 says that all of it could be read and was signed; the answer is in the words.";

#[derive(Args)]
pub(super) struct IssuedArgs {
    #[command(flatten)]
    of: ElectionArgs,
    /// Your place on the roll
    #[arg(long, value_name = "N")]
    roll_index: u64,
}

pub(super) fn run(args: &IssuedArgs) -> Outcome {
    read_and_say(
        &args.of,
        |source, election, progress| issued::run(source, election, args.roll_index, progress),
        |verdict| verdict.verdict,
        words::issued,
    )
}
