//! The command `anchors`.

use std::time::Duration;

use clap::Args;

use super::{ElectionArgs, read_and_say};
use crate::anchors::{self, Patience};
use crate::verdict::Outcome;
use crate::words;

pub(super) const HELP: &str = "\
The published tree shows copies of what is anchored. This asks the anchors themselves: buckets of S3 with Object Lock, whose versions everybody may list. An object that is locked in COMPLIANCE mode stays until its date, whoever owns the account; what somebody writes over it, or the delete marker that hides it, takes nothing away and is found here.

For each anchor of the manifest, give its bucket: the manifest names anchors, not their addresses. It lists all versions and delete markers, reads each object's earliest version and its lock, and compares its entries and its note with the published heads log.

Found by name: anchor-hidden (a delete marker), anchor-rewritten (a second version), anchor-missing, anchor-unlocked (not in COMPLIANCE mode until the manifest's retention), anchor-late, anchor-malformed, anchor-conflict, anchor-not-final.

Examples:
  tallyroot-verify anchors https://votes.example.org --election 6b3f… --anchor court=s3://court-2026?region=eu-central-1
  tallyroot-verify anchors ./mirror --election 6b3f… --anchor a=s3://one/x?region=eu-west-1 --anchor b=s3://two/x?region=us-east-2";

#[derive(Args)]
pub(super) struct AnchorsArgs {
    #[command(flatten)]
    of: ElectionArgs,
    /// An anchor's name in the manifest and its bucket, with what its keys begin with before elections/<ID>; may be given several times
    #[arg(long, value_name = "NAME=s3://BUCKET/PREFIX?region=…", value_parser = anchor, required = true)]
    anchor: Vec<(String, String)>,
    /// Seconds from the newest head in an object to the time at which it was stored; what takes longer is anchor-late
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    late: u64,
    /// Seconds to wait for an anchor that has not taken the final head yet
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    settle: u64,
}

fn anchor(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, bucket)) if bucket.starts_with("s3://") => {
            Ok((name.to_owned(), bucket.to_owned()))
        }
        _ => Err("an anchor is given as NAME=s3://BUCKET/PREFIX".to_owned()),
    }
}

pub(super) fn run(args: &AnchorsArgs) -> Outcome {
    let patience = Patience {
        settle: Duration::from_secs(args.settle.min(600)),
        late: Duration::from_secs(args.late),
    };
    read_and_say(
        &args.of,
        |source, election, progress| {
            anchors::run(source, election, &args.anchor, patience, progress)
        },
        |verdict| verdict.verdict,
        words::anchors,
    )
}
