//! `tallyroot demo` and `vote`: the voters' side.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// `tallyroot demo`
#[derive(Clone, Debug, Args)]
#[command(after_help = DEMO_HELP)]
pub struct DemoArgs {
    /// Cast the rows of this cast-vote-record file (CSV, gzipped if named .gz) instead of generated ballots
    #[arg(long, value_name = "FILE", requires = "choices")]
    pub ballots: Option<PathBuf>,
    /// The columns of the ballots file that hold the choices, best first
    #[arg(
        long,
        value_name = "COL,COL,…",
        value_delimiter = ',',
        requires = "ballots"
    )]
    pub choices: Vec<String>,
    /// Words in those columns that are no choice: the next one moves up
    #[arg(
        long,
        value_name = "WORD,…",
        value_delimiter = ',',
        default_value = "undervote,overvote",
        requires = "ballots"
    )]
    pub skip: Vec<String>,
    /// How many voters to play, without a ballots file
    #[arg(long, value_name = "N", default_value_t = 3_000, conflicts_with = "ballots",
        value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    pub voters: u32,
    /// How many cells share the votes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub cells: u32,
    /// How many registrars must each sign a credential
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub registrars: u16,
    /// How many witnesses cosign the heads log, started here too; more than half of them must. Without any, anchors alone seal receipts
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=16))]
    pub witnesses: u16,
    /// Where everything is kept. The same folder again goes on where it stopped [default: a new temporary folder]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Keep logs and rolls in this Postgres database, each in a schema of its own, instead of SQLite files; PGPASSWORD
    /// may hold the password
    #[arg(long, value_name = "postgres://…", conflicts_with_all = ["site", "prepare"])]
    pub store: Option<String>,
    /// Where to serve [default: 127.0.0.1:8088, or any free port if that is taken]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Close, anchor and audit the election, then end: code 0 only if everything verified
    #[arg(long)]
    pub exit: bool,
    /// Only make the election's folder, and end: `deploy/local` then runs its services
    #[arg(long, requires = "data", conflicts_with_all = ["exit", "listen", "site"])]
    pub prepare: bool,
    /// Play the voters of the folder against services that run already, here, and start none
    #[arg(long, value_name = "URL", requires = "data", conflicts_with = "listen")]
    pub site: Option<String>,
    /// End with one line of JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// For tests only: cast in the order of sign-in, which shows that the shuffle matters
    #[arg(long, hide = true)]
    pub no_shuffle: bool,
}

const DEMO_HELP: &str = "Examples:
  tallyroot demo
  tallyroot demo --voters 500 --cells 4 --registrars 2 --exit --json
  tallyroot demo --ballots votes.csv.gz --choices choice1,choice2,choice3 --exit

A demo runs on embedded defaults (SQLite, a directory, key files) and plays all parts on one
machine, so it shows how the election works and what can be checked, but keeps nobody apart.";

/// `tallyroot vote`
#[derive(Debug, Args)]
#[command(after_help = VOTE_HELP)]
pub struct VoteArgs {
    /// The site, for example http://127.0.0.1:8088
    pub site: String,
    /// The election id, from a source that the operator does not control
    #[arg(long, value_name = "ID")]
    pub election: String,
    /// The one-time code of each registrar, in the manifest's order (repeat the option); without one, you sign in at the registrar's OpenID provider, if it has one
    #[arg(long, value_name = "CODE")]
    pub code: Vec<String>,
    /// A choice as CONTEST=OPTION; repeat it for approval, and best first for ranked contests. A contest without one stays blank
    #[arg(long, value_name = "CONTEST=OPTION")]
    pub choose: Vec<String>,
    /// Leave everything blank; without a choice, nothing is cast unless this says so
    #[arg(long, conflicts_with = "choose")]
    pub blank: bool,
    /// Codes and choices from a file instead, or from standard input with `-`: other users of this machine can see arguments
    #[arg(long, value_name = "FILE", conflicts_with_all = ["code", "choose"])]
    pub form: Option<PathBuf>,
    /// Your device secret; made before the first request, needed to try again: keep it to yourself
    #[arg(long, value_name = "FILE", default_value = "tallyroot-secret.json")]
    pub secret: PathBuf,
    /// Where the receipt goes
    #[arg(long, value_name = "FILE", default_value = "tallyroot-receipt.json")]
    pub receipt: PathBuf,
    /// Do not wait out the random delay that keeps sign-in and casting apart in time
    #[arg(long)]
    pub no_delay: bool,
    /// Seconds to wait for the receipt to become final
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
    /// End with one line of JSON on standard output
    #[arg(long)]
    pub json: bool,
}

const VOTE_HELP: &str = "A form is TOML, with the registrars' codes in the manifest's order, and the choices best first:

  codes = [\"DWB2S-AGQ74-6FFWY-K4TG1\"]
  [choices]
  \"Chair\" = [\"Ada\", \"Grace\"]

Without a code (or with an empty one, \"\") it prints the page of the registrar's OpenID provider, where it
has one: open that in a browser on this machine, and sign in there.

A site whose certificate is of an authority of its own: name its root, as PEM, in SSL_CERT_FILE.

Run it again after any failure: the same secret and choices can never be counted twice.
A receipt shows how you voted; whoever reads it knows your vote.

Exit codes: 0 the vote is recorded (and, if the wait was long enough, sealed); 1 refused, or a
mistake in what was given; 2 a mistake in the arguments; 3 outcome unknown: run it again.";
