//! The command `sample`.

use clap::Args;

use super::{ElectionArgs, read_and_say};
use crate::verdict::Outcome;
use crate::{sample, words};

pub(super) const HELP: &str = "\
Draws batches at random, each as likely as any other, and recounts each as if it were the whole ledger: proven by hash tiles to stand in the tree that the cell's key signed, every vote decoded, placed and verified, and the difference of the tally entries before and after it compared with its votes.

It takes seconds where an audit takes hours, and says how sure it makes: if a share f of all batches were wrong, N draws would have missed it with a chance of (1 - f)^N. What hits a single batch it will hardly find. It cannot find a credential that voted in two stretches, votes without an issuance, or what is not published: `audit` recounts all.

The seed is printed; with --seed anybody repeats the same draw. Whoever lets the operator choose the seed checks what the operator likes.

Examples:
  tallyroot-verify sample https://votes.example.org --election 6b3f…
  tallyroot-verify sample ./mirror --election 6b3f… --stretches 500 --json";

#[derive(Args)]
pub(super) struct SampleArgs {
    #[command(flatten)]
    of: ElectionArgs,
    /// How many batches to draw
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    stretches: u64,
    /// Draw the same batches as a run that printed this seed [default: fresh from the operating system]
    #[arg(long, value_name = "HEX", value_parser = seed)]
    seed: Option<[u8; 32]>,
}

fn seed(text: &str) -> Result<[u8; 32], String> {
    let mut seed = [0; 32];
    hex::decode_to_slice(text, &mut seed)
        .map_err(|_| "a seed is 64 hexadecimal digits".to_owned())?;
    Ok(seed)
}

pub(super) fn run(args: &SampleArgs) -> Outcome {
    read_and_say(
        &args.of,
        |source, election, progress| {
            sample::run(source, election, args.stretches, args.seed, progress)
        },
        |verdict| verdict.verdict,
        words::sample,
    )
}
