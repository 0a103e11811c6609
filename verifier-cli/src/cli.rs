//! The command line: arguments, exit codes, and what goes to which stream.
//!
//! The verdict goes to stdout, talk and the progress bar to stderr. The exit code is 0 where everything that was checked is right, 1 where something is
//! wrong, 2 where it could not be checked: a script that only looks for 0 never takes a doubt for a yes.

mod anchors;
mod copies;
mod disputes;
mod issued;
mod reconcile;
mod result;
mod sample;
mod watch;

use std::io::{IsTerminal as _, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use protocol::ids::ElectionId;

use crate::audit::{self, Options};
use crate::finding::Code;
use crate::progress::Progress;
use crate::verdict::Outcome;
use crate::{receipt, schema, witness, words};

const ABOUT: &str = "Recounts and verifies a whole Tallyroot election, or one voter's receipt.";

const LONG_ABOUT: &str = "\
Recounts and verifies a whole Tallyroot election, or one voter's receipt.

All it trusts is the election id that you give it: 64 hexadecimal digits, published in at least two places outside the operator's control. The id fixes the manifest, and the manifest fixes every key. Everything else is recomputed from the published files, and compared with them.";

const AFTER_HELP: &str = "\
Exit codes:
  0  verified: everything that was checked is right
  1  findings: something is wrong; each finding has a code, a place and evidence
  2  could not check: bad arguments, unreachable source, network or disk failure, or something that was asked for and not there

A site whose certificate is of an authority of its own: name its root, as PEM, in the variable SSL_CERT_FILE.

Examples:
  tallyroot-verify audit https://votes.example.org --election 6b3f…
  tallyroot-verify audit ./mirror --election 6b3f… --json > verdict.json
  tallyroot-verify watch https://votes.example.org --election 6b3f… --state ./watch
  tallyroot-verify mirror https://votes.example.org ./mirror --election 6b3f…
  tallyroot-verify audit ./mirror --election 6b3f… --evidence ./kept
  tallyroot-verify receipt my-receipt.json --election 6b3f…
  tallyroot-verify dispute my-receipt.json --election 6b3f… --source https://votes.example.org --out dispute.json
  tallyroot-verify consistency yesterday.checkpoint today.checkpoint --election 6b3f… --source ./mirror
  tallyroot-verify explain vote-duplicate";

const AUDIT_HELP: &str = "\
What it does: checks that manifest.json hashes to the id; follows every log batch by batch; verifies every signature of every vote; checks that each credential voted once and in its own cell; adds up all ballots; and compares every batch root, tile, bundle, checkpoint, head, anchor and results.json, byte by byte, with what it computed.

It reads an election that is still open, too: the verdict then holds for what was published when it began, and says `open`.

An operator who signs everything anew makes a ledger that is well formed. What such a ledger cannot have is what others kept: give it with --evidence. Receipts, copies of `checkpoint`, results.json, `.tlog-proof`s and anchors all hold checkpoints that bind the operator. Of a folder that is a copy of the election, these are taken and the rest is left out.

The manifest names witnesses. What they cosigned is read where the operator publishes it; with --witness URL, each is asked for its own copy, and one conflict outweighs any quorum. The verdict says which were not heard.

With --state it can be stopped at any moment and resumed by the same command: everything is read, hashed and counted again, and only signatures that were found right are not checked twice. Whoever can write that file can make this program skip signatures: keep it as you keep the program.

Where a log cannot be followed to its end, the findings come first, then NO RESULT, and how far each log was followed; in --json, `complete` is false.

Nobody signs a batch file. At one that does not fit, the finding says whether the signed checkpoint covers its entries, as far as the published tiles show it: if not, only this copy is wrong.

What it cannot see is printed with the verdict: how many credentials were issued and not used, and what a web server does not list.

`tallyroot-verify explain` lists every code that a finding can have.";

const RECEIPT_HELP: &str = "\
Offline, it checks that the log's key signed a tree that holds your vote. With --source it also checks that the published ledger still holds the vote today, that it belongs to the same tree as the receipt, and whether the final head counts it.

A receipt shows your vote: whoever sees the file, or this command's output, knows it.";

/// Parses the arguments, does the work, says the verdict.
#[must_use]
pub fn main() -> ExitCode {
    // Bad arguments end the process here, with exit code 2: nothing was checked.
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Audit(args) => run_audit(&args),
        Command::Receipt(args) => run_receipt(&args),
        Command::Dispute(args) => disputes::run_dispute(&args),
        Command::Consistency(args) => disputes::run_consistency(&args),
        Command::Issued(args) => issued::run(&args),
        Command::Result(args) => result::run(&args),
        Command::Sample(args) => sample::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Mirror(args) => copies::run_mirror(&args),
        Command::Bundle(args) => copies::run_bundle(&args),
        Command::Reconcile(args) => reconcile::run(&args),
        Command::Anchors(args) => anchors::run(&args),
        Command::Explain { code } => run_explain(code.as_deref()),
        Command::Schema { command } => run_schema(command.as_deref()),
        Command::Witness(args) => run_witness(&args),
    };
    ExitCode::from(u8::from(outcome))
}

/// Whether output to people may be coloured (<https://no-color.org>).
#[must_use]
pub fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::io::stdout().is_terminal()
}

#[derive(Parser)]
#[command(name = "tallyroot-verify", version, about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Recount and verify a whole election from its published files
    #[command(after_long_help = AUDIT_HELP)]
    Audit(AuditArgs),
    /// Verify one voter's receipt
    #[command(after_long_help = RECEIPT_HELP)]
    Receipt(ReceiptArgs),
    /// Put a receipt and what the ledger says of it into one file that a third party judges offline; or judge such a file
    #[command(after_long_help = disputes::DISPUTE_HELP)]
    Dispute(disputes::DisputeArgs),
    /// Can one log have both of two checkpoints? If not, write the proof
    #[command(after_long_help = disputes::CONSISTENCY_HELP, override_usage = disputes::CONSISTENCY_USAGE)]
    Consistency(disputes::ConsistencyArgs),
    /// Was a credential issued for my place on the roll?
    #[command(after_long_help = issued::HELP)]
    Issued(issued::IssuedArgs),
    /// Verify what results.json shows, in seconds, without a recount
    #[command(after_long_help = result::HELP)]
    Result(result::ResultArgs),
    /// Recount random batches, and say how sure that makes
    #[command(after_long_help = sample::HELP)]
    Sample(sample::SampleArgs),
    /// Follow a live election: keep every checkpoint, and raise split views, rollbacks, false tallies and late heads
    #[command(after_long_help = watch::HELP)]
    Watch(watch::WatchArgs),
    /// Make a verified copy that any web server can serve, or bring it up to date
    #[command(after_long_help = copies::MIRROR_HELP)]
    Mirror(copies::MirrorArgs),
    /// Put a whole election into one file, for audits without a network
    #[command(after_long_help = copies::BUNDLE_HELP)]
    Bundle(copies::BundleArgs),
    /// Put roll, issuance, refusals and votes side by side, and say what must hold
    #[command(after_long_help = reconcile::HELP)]
    Reconcile(reconcile::ReconcileArgs),
    /// Ask the anchors themselves, buckets with Object Lock: every version, its lock, and whether it is of the published heads log
    #[command(after_long_help = anchors::HELP)]
    Anchors(anchors::AnchorsArgs),
    /// Say what the code of a finding, or a verdict's word, means and what to do; without one, list them all
    Explain {
        /// A finding's code, such as vote-duplicate, or a verdict's word, such as rolled-back
        code: Option<String>,
    },
    /// Print the JSON schema of what a command prints with --json; without a command, name those that have one
    Schema {
        /// A command, such as audit
        command: Option<String>,
    },
    /// Run a witness: cosign the checkpoints of logs that only grow (C2SP tlog-witness)
    Witness(witness::WitnessArgs),
}

/// What every command that reads a published election takes.
#[derive(Args)]
struct ElectionArgs {
    /// Where the election is published: the site's or the election's URL, a directory (the site's root, or the folder with manifest.json), a bucket (s3://BUCKET/PREFIX?region=…, read without credentials), or a package of `bundle`
    #[arg(value_name = "URL, DIRECTORY, BUCKET OR PACKAGE")]
    source: String,
    /// The election id: 64 lowercase hexadecimal digits, from a place that you trust
    #[arg(long, value_name = "ID", value_parser = election_id)]
    election: ElectionId,
    /// Print the verdict as one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct AuditArgs {
    #[command(flatten)]
    of: ElectionArgs,
    /// What was kept from before (receipts, checkpoints, results.json, anchors): a file, or a folder of them; may be given several times
    #[arg(long, value_name = "FILE OR FOLDER")]
    evidence: Vec<PathBuf>,
    /// Where a witness serves what it cosigned last: it is asked for its own copy of the heads log; may be given several times. The manifest names witnesses by key, not by address: whoever runs one says where it is. Where NAME is given, only the witness of that name counts there
    #[arg(long, value_name = "URL", value_parser = crate::ask::check)]
    witness: Vec<String>,
    /// Remember in this file what was checked, and go on from there: an audit that was interrupted is resumed by the same command
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Threads that verify signatures [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Seconds to wait for files that are published a moment after others (an anchor, the final results)
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    settle: u64,
}

#[derive(Args)]
struct ReceiptArgs {
    /// The receipt's file
    file: PathBuf,
    /// The election id: 64 lowercase hexadecimal digits, from a place that you trust
    #[arg(long, value_name = "ID", value_parser = election_id)]
    election: ElectionId,
    /// Also check the published ledger: its URL or directory
    #[arg(long, value_name = "URL OR DIRECTORY")]
    source: Option<String>,
    /// Your credential's public key (64 hexadecimal digits): check that the receipt is for it
    #[arg(long, value_name = "HEX", value_parser = credential)]
    credential: Option<[u8; 32]>,
    /// Print the verdict as one JSON document
    #[arg(long)]
    json: bool,
}

/// An election id as people mistype it.
fn election_id(text: &str) -> Result<ElectionId, String> {
    text.parse().map_err(|_| {
        let letters = text.chars().count();
        let foreign = text
            .chars()
            .find(|c| !c.is_ascii_digit() && !matches!(c, 'a'..='f'));
        match foreign {
            Some(c) if c.is_ascii_uppercase() && c.is_ascii_hexdigit() => {
                format!("an election id is written with small letters: this one has {c:?}")
            }
            Some('…' | '.') => {
                "this election id is cut short: give all of its 64 digits".to_owned()
            }
            Some(c) => format!("{c:?} is no hexadecimal digit (0 to 9, a to f), and an election id is made of those"),
            None => format!("an election id has 64 hexadecimal digits, and this one has {letters}"),
        }
    })
}

fn credential(text: &str) -> Result<[u8; 32], String> {
    let mut key = [0; 32];
    hex::decode_to_slice(text, &mut key)
        .map_err(|_| "a credential's public key is 64 hexadecimal digits".to_owned())?;
    Ok(key)
}

fn run_audit(args: &AuditArgs) -> Outcome {
    let options = Options {
        threads: args
            .threads
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN),
        settle: Duration::from_secs(args.settle.min(600)),
        evidence: args.evidence.clone(),
        witnesses: args.witness.clone(),
        state: args.state.clone(),
    };
    read_and_say(
        &args.of,
        |source, election, progress| audit::run(source, election, &options, progress),
        |verdict| verdict.verdict,
        words::audit,
    )
}

fn run_receipt(args: &ReceiptArgs) -> Outcome {
    let verdict = receipt::run(
        &args.file,
        &args.election,
        args.source.as_deref(),
        args.credential.as_ref(),
    );
    let outcome = verdict.verdict;
    say(
        args.json,
        &verdict,
        || words::receipt(&verdict, colour()),
        outcome,
    )
}

fn run_explain(code: Option<&str>) -> Outcome {
    let text = match code {
        None => words::all_codes(),
        Some(name) if let Some(text) = words::by_clock(name) => text,
        Some(name) if let Some(text) = words::of_verdict(name) => text,
        Some(name) => match Code::by_name(name) {
            Some(code) => words::code(code),
            None => {
                complain(&format!(
                    "there is no code {name:?}; `tallyroot-verify explain` lists them all"
                ));
                return Outcome::Unchecked;
            }
        },
    };
    print(&text, Outcome::Verified)
}

fn run_schema(command: Option<&str>) -> Outcome {
    let Some(command) = command else {
        return print(
            &format!("{}\n", schema::COMMANDS.join("\n")),
            Outcome::Verified,
        );
    };
    let Some(schema) = schema::of(command) else {
        complain(&format!(
            "{command:?} has no --json; those that have: {}",
            schema::COMMANDS.join(", ")
        ));
        return Outcome::Unchecked;
    };
    say(true, &schema, String::new, Outcome::Verified)
}

fn run_witness(args: &witness::WitnessArgs) -> Outcome {
    match witness::run(args) {
        Ok(text) => print(&text, Outcome::Verified),
        Err(error) => {
            complain(&format!("{error:#}"));
            Outcome::Unchecked
        }
    }
}

/// Reads an election, with a progress bar on stderr, and says the verdict.
fn read_and_say<V: serde::Serialize>(
    of: &ElectionArgs,
    read: impl FnOnce(&str, &ElectionId, &Progress) -> V,
    outcome: impl FnOnce(&V) -> Outcome,
    in_words: impl FnOnce(&V, bool) -> String,
) -> Outcome {
    let progress = Progress::on_stderr();
    let verdict = read(&of.source, &of.election, &progress);
    progress.finish();
    let outcome = outcome(&verdict);
    say(of.json, &verdict, || in_words(&verdict, colour()), outcome)
}

/// Prints the verdict in one of its two forms.
fn say(
    json: bool,
    verdict: &impl serde::Serialize,
    in_words: impl FnOnce() -> String,
    outcome: Outcome,
) -> Outcome {
    if !json {
        return print(&in_words(), outcome);
    }
    match serde_json::to_string_pretty(verdict) {
        Ok(text) => print(&format!("{text}\n"), outcome),
        Err(error) => {
            complain(&format!("the verdict cannot be written as JSON: {error}"));
            Outcome::Unchecked
        }
    }
}

/// A verdict that nobody could read is none.
fn print(text: &str, outcome: Outcome) -> Outcome {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => outcome,
        Err(error) => {
            complain(&format!("the verdict could not be written: {error}"));
            Outcome::Unchecked
        }
    }
}

fn complain(text: &str) {
    // Where stderr is gone too, the exit code is all that is left to say it.
    let _ = writeln!(std::io::stderr().lock(), "tallyroot-verify: {text}");
}
