//! `tallyroot election` and `status`: an election's course, and a look at it.

use std::path::PathBuf;

use aws::Aws;
use clap::{Args, Subcommand};
use signer::{KeyRef, KeySource};

/// What can be done with an election.
#[derive(Debug, Subcommand)]
pub enum ElectionCommand {
    /// Turn a small TOML file into a sealed manifest, keys (in files or in AWS KMS), roll and code sheets
    New(ElectionNewArgs),
    /// Look whether everything is ready to begin, and say go or no-go; changes nothing, since the times are the manifest's
    Open(OpenArgs),
    /// Give notice: voting ends later
    #[command(after_help = NOTICE_HELP)]
    Extend(ExtendArgs),
    /// Give notice: the election is void, and nothing is counted
    #[command(after_help = NOTICE_HELP)]
    Cancel(NoticeArgs),
    /// Give notice: a log takes nothing new, drains and closes. Credentials of a frozen cell can vote nowhere
    #[command(after_help = FREEZE_HELP)]
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

/// Where the authority's key is: one of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct AuthorityKeyArgs {
    /// The authority's key file, main or spare. It signs here, and is sent nowhere
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The authority's key in AWS KMS, main or spare: its ARN, id or alias. Region and credentials are those of the
    /// environment, as for any AWS command
    #[arg(long, value_name = "KEY")]
    kms: Option<KeyRef>,
}

impl AuthorityKeyArgs {
    /// As one.
    #[must_use]
    pub fn source(&self) -> KeySource {
        match &self.kms {
            Some(key) => KeySource::Kms {
                aws: Aws::default(),
                key: key.clone(),
            },
            // Without either, the command line is refused.
            None => KeySource::File(self.key.clone().unwrap_or_default()),
        }
    }
}

/// The election that a command is about.
#[derive(Debug, Args)]
pub struct NoticeArgs {
    /// Where the election is published: a site, such as https://vote.example.org, or a folder
    pub site: String,
    /// The election id
    #[arg(long, value_name = "ID")]
    pub election: String,
    /// The authority's key.
    #[command(flatten)]
    pub key: AuthorityKeyArgs,
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
#[command(after_help = STATUS_HELP)]
pub struct StatusArgs {
    /// Where the election is published: a site, or a folder
    pub site: Option<String>,
    /// The election id; may be left out where the site names one election
    #[arg(long, value_name = "ID", requires = "site")]
    pub election: Option<String>,
    /// The health address of a service (repeat for more)
    #[arg(long, value_name = "ADDR")]
    pub health: Vec<String>,
    /// End with one line of JSON on standard output
    #[arg(long)]
    pub json: bool,
}

const STATUS_HELP: &str = "A service tells how it is at an address of its own, which its configuration names as `health_listen`
(its log says it at start, too; `deploy/local/local.py status` shows all of them). Give as many as there
are: --health 127.0.0.1:7101 --health 127.0.0.1:7103

A log that is frozen, or whose time is over, says what its close waits for.
A site whose certificate is of an authority of its own: name its root, as PEM, in SSL_CERT_FILE.

Exit codes: 0 all is well; 1 nothing could be looked at; 3 something is stale, halted or does not answer.";

const FREEZE_HELP: &str = "A credential belongs to one cell, by its key alone. So whoever has one of a frozen cell's, and has not
voted, cannot vote any more, and registrars go on issuing such credentials: of N cells, each has a share
of one in N. With every cell frozen, whatever is issued can vote nowhere: freeze the registrars too, or
use `election close`. What is affected is printed, and is to be announced.

The next notice follows from the published heads log, which is read and checked first. It is in
force once it is published.

On two machines: copy the published folder (manifest.json and heads/ suffice) to the one with the
key, sign there with --offline FILE, carry FILE back, and give it to `tallyroot election submit`.";

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
retention = one year after closing. No witnesses; with some, a receipt is sealed once a quorum of them
(more than half, unless `quorum = N` says another number) has cosigned a head that covers the vote:

  [[witness]]
  vkey = "witness.example/w1+…"          # from its operator; tallyroot-verify witness makes them

Keys are made in files. In AWS KMS, role by role, they are made (tagged, with the account's default
policy), or taken, one for each log in order; `spares` are those of the cells, the issuance logs, the
heads log and the authority. A registrar's RSA key can be wrapped by a symmetric key that is there:

  [keys]
  cells = { kms = true }
  issuance = { kms = ["arn:…"] }
  heads = { kms = true }
  authority = { kms = "alias/authority" }
  spares = { kms = true }
  rsa = { kms = ["arn:…"] }

  [aws]                                  # what is missing comes from the environment, as credentials do
  region = "eu-central-1"

The election id is the SHA-256 of the manifest. It fixes every key, so publish it where the operator
cannot change it, in at least two places. Each service's keys land in a folder of its own below DIR
(cells/K, registrars/R, heads), the authority's in DIR/authority, sheets of one-time codes in
DIR/registrars/R/codes.csv: move the authority's and the spare keys to where no service can read them."#;
