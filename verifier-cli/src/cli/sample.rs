//! The command `sample`.

use clap::Args;

use super::{ElectionArgs, read_and_say};
use crate::verdict::Outcome;
use crate::{sample, words};

pub(super) const HELP: &str = "\
Draws entries of the cells' logs at random, each as likely as any other, and recounts the batch in which each stands as if it were the whole ledger: proven by hash tiles to be all that stands between two tally entries in the tree that the cell's key signed, every vote decoded, placed and verified, and the difference of the two tallies compared with its votes. An entry that belongs to no batch is a finding.

It reads little where an audit reads all, and says how sure that makes: if a share f of all entries stood in wrong batches, N draws would have missed that with a chance of (1 - f)^N. That bounds how much of the ledger is false, and not what it does: tallies are running sums, so a single false batch can change the whole result, and a sample will hardly meet a single one. It cannot find a credential that voted in two batches, votes without an issuance, or what is not published: `audit` recounts all.

Whoever serves the files sees which are asked for, and could refuse the false ones. So where something could not be read (exit 2), run it again with the same --seed until all can be: with another seed, or once an open election has grown, other entries are drawn, and the figure no longer holds.

The seed is printed; with --seed anybody repeats the same draw on the same sizes. Whoever lets the operator choose the seed checks what the operator likes.

Examples:
  tallyroot-verify sample https://votes.example.org --election 6b3f…
  tallyroot-verify sample ./mirror --election 6b3f… --stretches 500 --json";

#[derive(Args)]
pub(super) struct SampleArgs {
    #[command(flatten)]
    of: ElectionArgs,
    /// How many entries to draw
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    stretches: u64,
    /// Draw the same entries as a run that printed this seed [default: fresh from the operating system]
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
