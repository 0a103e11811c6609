//! The command line: what a user can ask for, with the help that teaches it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Tallyroot: a vote ledger that anyone can check.
#[derive(Debug, Parser)]
#[command(
    name = "tallyroot",
    version,
    about = "A vote ledger that anyone can check",
    after_help = "Start with `tallyroot demo`: it runs a whole election on this machine.\n\
                  Anyone can check an election with the separate program `tallyroot-verify`.",
    arg_required_else_help = true,
    subcommand_required = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make elections, change their course, and see what came out
    #[command(subcommand)]
    Election(ElectionCommand),
    /// Run one service, alone in its process
    #[command(subcommand)]
    Serve(ServeCommand),
    /// Look once at an election, or at its services
    Status(StatusArgs),
    /// Compare a service's databases with what it has published: every difference, with its place. Changes nothing
    Fsck(RepairArgs),
    /// Fill a service's lost database from what it has published, and a registrar's roll from its backup
    Rebuild(RepairArgs),
    /// Care for a registrar's roll
    #[command(subcommand)]
    Roll(RollCommand),
    /// Run a whole election on this machine: sign-in, casting, live results, anchoring, audit
    Demo(DemoArgs),
    /// Vote: code in, credential, cast, receipt file
    Vote(VoteArgs),
}

/// What can be done with an election.
#[derive(Debug, Subcommand)]
pub enum ElectionCommand {
    /// Turn a small TOML file into a sealed manifest, key files, roll and code sheets
    New(ElectionNewArgs),
    /// Look whether everything is ready to begin, and say go or no-go; changes nothing, since the times are the manifest's
    Open(OpenArgs),
    /// Give notice: voting ends later
    #[command(after_help = NOTICE_HELP)]
    Extend(ExtendArgs),
    /// Give notice: the election is void, and nothing is counted
    #[command(after_help = NOTICE_HELP)]
    Cancel(NoticeArgs),
    /// Give notice: a log takes nothing new, drains and closes
    #[command(after_help = NOTICE_HELP)]
    Freeze(FreezeArgs),
    /// Give notice: every log is frozen now, the registrars' first
    #[command(after_help = NOTICE_HELP)]
    Close(NoticeArgs),
    /// Give notice: a log is signed with its spare key from where it ends now. Stop its writer first
    #[command(after_help = NOTICE_HELP)]
    Switch(SwitchArgs),
    /// Submit notices that were signed with --offline
    Submit(SubmitArgs),
    /// Wait for the final head in its anchors and for the final result; audit, and show both
    Finalize(FinalizeArgs),
    /// Copy everything that a finished election has published, and verify the copy
    Archive(ArchiveArgs),
}

/// The election that a command is about.
#[derive(Debug, Args)]
pub struct NoticeArgs {
    /// Where the election is published: a site, such as https://vote.example.org, or a folder
    pub site: String,
    /// The election id
    #[arg(long, value_name = "ID")]
    pub election: String,
    /// The authority's key file, main or spare. It signs here, and is sent nowhere
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Write the signed notices to a new file instead of submitting them: for a machine without network
    #[arg(long, value_name = "FILE")]
    pub offline: Option<PathBuf>,
    /// The number of the (first) notice, where this machine has not seen the newest heads log: 0 for the election's first
    #[arg(long, value_name = "N", requires = "offline")]
    pub sequence: Option<u32>,
    /// The anchoring service's address, where the site does not lead to it
    #[arg(long, value_name = "URL")]
    pub anchor: Option<String>,
    /// Seconds to wait until a notice is published
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
    /// End with one line of JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// `tallyroot election extend`
#[derive(Debug, Args)]
pub struct ExtendArgs {
    /// The new closing time, such as 2027-03-09T22:00:00Z
    #[arg(long, value_name = "TIME")]
    pub until: String,
    /// What every notice needs.
    #[command(flatten)]
    pub notice: NoticeArgs,
}

/// Which logs.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// A cell's log (repeat for more)
    #[arg(long, value_name = "K")]
    pub cell: Vec<u32>,
    /// A registrar's logs, or one of them (repeat for more)
    #[arg(long, value_name = "R[/J]")]
    pub registrar: Vec<String>,
}

/// `tallyroot election freeze`
#[derive(Debug, Args)]
pub struct FreezeArgs {
    /// Which logs.
    #[command(flatten)]
    pub logs: LogArgs,
    /// What every notice needs.
    #[command(flatten)]
    pub notice: NoticeArgs,
}

/// `tallyroot election switch`
#[derive(Debug, Args)]
pub struct SwitchArgs {
    /// Which logs.
    #[command(flatten)]
    pub logs: LogArgs,
    /// The heads log. Start the anchoring service with the spare key alone before
    #[arg(long)]
    pub heads: bool,
    /// What every notice needs.
    #[command(flatten)]
    pub notice: NoticeArgs,
}

/// `tallyroot election submit`
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// Where the election is published: a site, or a folder
    pub site: String,
    /// The file that --offline wrote
    pub file: PathBuf,
    /// The election id
    #[arg(long, value_name = "ID")]
    pub election: String,
    /// The anchoring service's address, where the site does not lead to it
    #[arg(long, value_name = "URL")]
    pub anchor: Option<String>,
    /// Seconds to wait until a notice is published
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
    /// End with one line of JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// `tallyroot election open`
#[derive(Debug, Args)]
pub struct OpenArgs {
    /// Where the election is published: a site, or a folder
    pub site: String,
    /// The election id
    #[arg(long, value_name = "ID")]
    pub election: String,
    /// The health address of a service that must be ready or stand by (repeat for more)
    #[arg(long, value_name = "ADDR")]
    pub health: Vec<String>,
    /// End with one line of JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// `tallyroot election finalize`
#[derive(Debug, Args)]
pub struct FinalizeArgs {
    /// Where the election is published: a site, or a folder
    pub site: String,
    /// The election id
    #[arg(long, value_name = "ID")]
    pub election: String,
    /// Seconds to wait for all of it
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub wait: u64,
    /// End with one line of JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// `tallyroot election archive`
#[derive(Debug, Args)]
pub struct ArchiveArgs {
    /// Where the election is published: a site, or a folder
    pub site: String,
    /// The new folder for the copy
    pub dir: PathBuf,
    /// The election id
    #[arg(long, value_name = "ID")]
    pub election: String,
    /// End with one line of JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// `tallyroot status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Where the election is published: a site, or a folder
    #[arg(requires = "election")]
    pub site: Option<String>,
    /// The election id
    #[arg(long, value_name = "ID", requires = "site")]
    pub election: Option<String>,
    /// The health address of a service (repeat for more)
    #[arg(long, value_name = "ADDR")]
    pub health: Vec<String>,
    /// End with one line of JSON on standard output
    #[arg(long)]
    pub json: bool,
}

const NOTICE_HELP: &str = "The next notice follows from the published heads log, which is read and checked first. It is in
force once it is published.

On two machines: copy the published folder (manifest.json and heads/ suffice) to the one with the
key, sign there with --offline FILE, carry FILE back, and give it to `tallyroot election submit`.";

/// `tallyroot election new`
#[derive(Debug, Args)]
#[command(after_help = ELECTION_NEW_HELP)]
pub struct ElectionNewArgs {
    /// The election's description
    pub description: PathBuf,
    /// The folder to make; it must not exist or be empty
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// End with one line of JSON on standard output
    #[arg(long)]
    pub json: bool,
}

const ELECTION_NEW_HELP: &str = r#"The description is TOML:

  title = "Board election 2027"
  base = "vote.example.org"              # names the logs, for ever
  roll = "members.csv"                   # a column `identity`, one line a voter
  registration = 2027-03-01T08:00:00Z    # when credentials can be had
  opening = 2027-03-02T08:00:00Z         # when votes are taken
  closing = 2027-03-09T20:00:00Z
  grace_s = 600                          # for what was on its way at closing
  demo = true                            # a rehearsal: it may run on one machine, over SQLite

  [[contests]]
  name = "Chair"
  method = "ranked"                      # plurality, approval or ranked
  options = ["Ada", "Grace", "Edsger"]
  tie_rule = "prior-rounds"              # or listed-order (the default)

Optional, with their defaults: cells = 1, registrars = ["registrar"], shards = 1, batch_min = 16,
batch_wait_ms = 10000, cast_delay_s = 3600, head_interval_ms = 10000, anchors = ["local"],
retention = one year after closing.

The election id is the SHA-256 of the manifest. It fixes every key, so publish it where the operator
cannot change it, in at least two places. Each service's keys land in a folder of its own below DIR
(cells/K, registrars/R, heads), the authority's in DIR/authority, sheets of one-time codes in
DIR/registrars/R/codes.csv: move the authority's and the spare keys to where no service can read them."#;

/// The services that have a database.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum WriterRole {
    /// `tallyroot serve cell`
    Cell,
    /// `tallyroot serve registrar`
    Registrar,
    /// `tallyroot serve anchor`
    Anchor,
}

/// `tallyroot fsck`, `tallyroot rebuild`
#[derive(Debug, Args)]
pub struct RepairArgs {
    /// Which service the configuration is of
    pub role: WriterRole,
    /// The service's configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// End with one line of JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// What can be done with a registrar's roll.
#[derive(Debug, Subcommand)]
pub enum RollCommand {
    /// Load the sealed roll into the registrar's Postgres, once; again, it only checks that all of it is there
    Load(RollLoadArgs),
}

/// `tallyroot roll load`
#[derive(Debug, Args)]
#[command(after_help = ROLL_LOAD_HELP)]
pub struct RollLoadArgs {
    /// The configuration of `tallyroot serve registrar`: its `roll_backup` goes into its [database]
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Load as the role of this address, postgres://role@host/name, instead of the one that serves
    #[arg(long)]
    pub url: Option<String>,
    /// The file with the password of the role of --url
    #[arg(long, value_name = "FILE", requires = "url")]
    pub password_file: Option<PathBuf>,
    /// End with one line of JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// The services.
#[derive(Debug, Subcommand)]
pub enum ServeCommand {
    /// Take the votes of one cell
    #[command(after_help = SERVE_CELL_HELP)]
    Cell(ServeArgs),
    /// Issue the credentials of one registrar
    #[command(after_help = SERVE_REGISTRAR_HELP)]
    Registrar(ServeArgs),
    /// Write the heads log and the anchors, and take the authority's notices
    #[command(after_help = SERVE_ANCHOR_HELP)]
    Anchor(ServeArgs),
    /// Add up the cells, and serve the live results
    #[command(after_help = SERVE_TALLY_HELP)]
    Tally(ServeArgs),
}

/// `tallyroot serve …`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The service's configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Check everything that start would check, and end: code 0 only if all is right
    #[arg(long)]
    pub check_config: bool,
    /// Answer --check-config with one line of JSON
    #[arg(long, requires = "check_config")]
    pub json: bool,
}

const ROLL_LOAD_HELP: &str = r#"The role that loads owns the tables. The one that serves needs to read them only, and should not be able
to do more. Where the schema is `roll`, `loader` loads and `registrar` serves:

  GRANT CREATE ON DATABASE name TO loader;            -- before
  tallyroot roll load --config FILE --url postgres://loader@host/name --password-file FILE
  GRANT USAGE ON SCHEMA roll TO registrar;            -- afterwards, as loader
  GRANT SELECT ON ALL TABLES IN SCHEMA roll TO registrar;"#;

const SERVE_CELL_HELP: &str = r#"The configuration is TOML. Relative paths are taken from its folder; unknown keys are refused.

  manifest = "manifest.json"           # the election's
  election = "64 hexadecimal digits"   # its id, from elsewhere than the manifest
  listen = "127.0.0.1:7100"
  health_listen = 7101                 # /livez, /readyz, /status; on 127.0.0.1
  cell = 0                             # which one, from 0

  [published]
  directory = "/srv/tallyroot/public"  # holds elections/<id>/manifest.json

  [key]
  main = "main.key"
  spare = "spare.key"                  # optional; signs once a switch notice is in force

  [database]
  url = "postgres://role@host/name"    # or, for demos: sqlite = "log.sqlite"
  schema = "name"                      # optional; made if it is not there
  password_file = "password"           # optional
  durability = { standbys = ["a", "b"], count = 2 }   # or, for demos, "single-node"; or, for Amazon
                                       # Aurora, "storage-replicated" (not yet tried on a real one)

Variables go before the file: TALLYROOT_<SECTION>_<KEY>, such as TALLYROOT_LISTEN,
TALLYROOT_DATABASE_URL or TALLYROOT_SHARDS_0_MAIN. Files of keys and passwords must be readable
by their owner alone.

A second process for the same log stands by (/readyz answers 503 `standby`), and serves once the
first one ends.

Exit codes: 0 stopped as asked (SIGTERM, SIGINT); 1 not started, or broken down; 3 another process
has the log, or its key was switched: start it again; 4 halted, since going on might fork a log:
somebody must look."#;

const SERVE_REGISTRAR_HELP: &str = r#"The configuration is TOML. Relative paths are taken from its folder; unknown keys are refused.

  manifest = "manifest.json"           # the election's
  election = "64 hexadecimal digits"   # its id, from elsewhere than the manifest
  listen = "127.0.0.1:7100"
  health_listen = 7101                 # /livez, /readyz, /status; on 127.0.0.1
  registrar = 0                        # which one, from 0
  rsa_key = "rsa.pem"
  code_key = "code.key"
  roll_backup = "registrar.sqlite"     # the sealed roll, for `roll load`

  [published]
  directory = "/srv/tallyroot/public"  # holds elections/<id>/manifest.json

  [database]                           # for all that it keeps; without it, SQLite files, for demos
  url = "postgres://role@host/name"
  password_file = "password"           # optional
  durability = { standbys = ["a", "b"], count = 2 }   # or as for a cell
  schema = "roll"                      # optional: where the roll is

  [[shards]]                           # one for each issuance log of the manifest
  main = "main.key"
  spare = "spare.key"                  # optional; signs once a switch notice is in force
  schema = "shard_0"                   # optional; or, without [database], sqlite = "log.sqlite"

Variables go before the file: TALLYROOT_<SECTION>_<KEY>, such as TALLYROOT_LISTEN,
TALLYROOT_DATABASE_URL or TALLYROOT_SHARDS_0_MAIN. Files of keys and passwords must be readable
by their owner alone.

A second process for the same log stands by (/readyz answers 503 `standby`), and serves once the
first one ends.

Exit codes: 0 stopped as asked (SIGTERM, SIGINT); 1 not started, or broken down; 3 another process
has the log, or its key was switched: start it again; 4 halted, since going on might fork a log:
somebody must look."#;

const SERVE_ANCHOR_HELP: &str = r#"The configuration is TOML. Relative paths are taken from its folder; unknown keys are refused.

  manifest = "manifest.json"           # the election's
  election = "64 hexadecimal digits"   # its id, from elsewhere than the manifest
  listen = "127.0.0.1:7100"
  health_listen = 7101                 # /livez, /readyz, /status; on 127.0.0.1

  [published]
  directory = "/srv/tallyroot/public"  # holds elections/<id>/manifest.json

  [key]
  main = "main.key"
  spare = "spare.key"                  # optional; signs once a switch notice is in force

  [database]
  url = "postgres://role@host/name"    # or, for demos: sqlite = "log.sqlite"
  schema = "name"                      # optional; made if it is not there
  password_file = "password"           # optional
  durability = { standbys = ["a", "b"], count = 2 }   # or, for demos, "single-node"; or, for Amazon
                                       # Aurora, "storage-replicated" (not yet tried on a real one)

  [[anchors]]                          # one for each anchor of the manifest, in its order
  name = "local"
  directory = "/srv/anchor"            # optional, as is `unfinished`, a folder on the same file system

Variables go before the file: TALLYROOT_<SECTION>_<KEY>, such as TALLYROOT_LISTEN,
TALLYROOT_DATABASE_URL or TALLYROOT_SHARDS_0_MAIN. Files of keys and passwords must be readable
by their owner alone.

A second process for the same log stands by (/readyz answers 503 `standby`), and serves once the
first one ends.

Exit codes: 0 stopped as asked (SIGTERM, SIGINT); 1 not started, or broken down; 3 another process
has the log, or its key was switched: start it again; 4 halted, since going on might fork a log:
somebody must look."#;

const SERVE_TALLY_HELP: &str = r#"The configuration is TOML. Relative paths are taken from its folder; unknown keys are refused.

  manifest = "manifest.json"           # the election's
  election = "64 hexadecimal digits"   # its id, from elsewhere than the manifest
  listen = "127.0.0.1:7100"
  health_listen = 7101                 # /livez, /readyz, /status; on 127.0.0.1

  [published]
  directory = "/srv/tallyroot/public"  # holds elections/<id>/manifest.json
  serve = true                         # optional: serve the published files too, where nothing else does

It needs no key and no database.

Variables go before the file: TALLYROOT_<SECTION>_<KEY>, such as TALLYROOT_LISTEN,
TALLYROOT_DATABASE_URL or TALLYROOT_SHARDS_0_MAIN. Files of keys and passwords must be readable
by their owner alone.

Exit codes: 0 stopped as asked (SIGTERM, SIGINT); 1 not started, or broken down; 3 another process
has the log, or its key was switched: start it again; 4 halted, since going on might fork a log:
somebody must look."#;

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
    /// The one-time code of each registrar, in the manifest's order (repeat the option)
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

Run it again after any failure: the same secret and choices can never be counted twice.
A receipt shows how you voted; whoever reads it knows your vote.

Exit codes: 0 the vote is recorded (and, if the wait was long enough, sealed); 1 refused, or a
mistake in what was given; 2 a mistake in the arguments; 3 outcome unknown: run it again.";
