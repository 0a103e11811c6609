//! `tallyroot serve`, `fsck`, `rebuild` and `roll`: one service, and what it keeps.

use std::path::PathBuf;

use clap::{Args, Subcommand};

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

// Of roles that sign.
macro_rules! kms {
    () => {
        r#"A key may be in AWS KMS instead of a file: main = { kms = "arn:…" }, or in a variable
TALLYROOT_KEY_MAIN='{ kms = "arn:…" }'. It must be of the spec ECC_NIST_EDWARDS25519, and this process
needs kms:GetPublicKey and kms:Sign on it. Credentials come from the environment alone, as for any AWS
command (a role, a service account, a profile); the region and an endpoint may stand in

  [aws]
  region = "eu-central-1"
  endpoint = "https://…"               # in place of AWS's own addresses

"#
    };
}
// Of all roles.
macro_rules! bucket {
    () => {
        r#"Files may be published in a bucket of S3, below elections/<id>/:

  [published]
  bucket = "name"
  prefix = "2026"                      # optional
  region = "eu-central-1"              # optional, as is `endpoint`: in place of those of [aws]

This process then needs s3:ListBucket on the bucket, and on its objects s3:GetObject and s3:PutObject; on
those below probe/, with which start tries whether the store replaces what should only be created,
s3:DeleteObject too (the tally writes results.json alone).

"#
    };
}
// Of all roles.
macro_rules! tls {
    () => {
        r#"What stands in front is spoken to by TLS 1.3 or 1.2, if there is a certificate, and else by plain HTTP:

  [tls]
  certificate = "tls.crt"              # PEM: its own first, then those that it rests on
  key = "tls.key"                      # PEM; nobody but its owner and its group may read it
  clients = "fronts.pem"               # optional: only who shows a certificate of these roots is served
  # or instead of all three, for a front that verifies no certificate, as AWS's load balancers:
  self_signed = true                   # made at each start, its key in memory alone: keeps out who listens, not who puts himself between

Renewed files are read again within 20 seconds. Who is spoken to is trusted by the machine's root
certificates, or by those in the file that the variable SSL_CERT_FILE names.

"#
    };
}
// What the configurations of all roles have in common.
macro_rules! head {
    () => {
        r#"The configuration is TOML. Relative paths are taken from its folder; unknown keys are refused.

  manifest = "manifest.json"           # the election's
  election = "64 hexadecimal digits"   # its id, from elsewhere than the manifest
  listen = "127.0.0.1:7100"
  health_listen = 7101                 # /livez, /readyz, /status; on 127.0.0.1, always plain HTTP
"#
    };
}
macro_rules! variables {
    () => {
        r#"Variables go before the file: TALLYROOT_<SECTION>_<KEY>, such as TALLYROOT_LISTEN,
TALLYROOT_DATABASE_URL or TALLYROOT_SHARDS_0_MAIN. Files of keys and passwords must be readable
by their owner alone.

"#
    };
}
macro_rules! second {
    () => {
        r#"A second process for the same log stands by (/readyz answers 503 `standby`), and serves once the
first one ends.

"#
    };
}
macro_rules! exit {
    () => {
        r#"Exit codes: 0 stopped as asked (SIGTERM, SIGINT); 1 not started, or broken down; 3 another process
has the log, or its key was switched: start it again; 4 halted, since going on might fork a log:
somebody must look."#
    };
}

const SERVE_CELL_HELP: &str = concat!(
    head!(),
    r#"  cell = 0                             # which one, from 0

  [published]
  directory = "/srv/tallyroot/public"  # holds elections/<id>/manifest.json; or bucket = "name", as below

  [key]
  main = "main.key"
  spare = "spare.key"                  # optional; signs once a switch notice is in force

  [database]
  url = "postgres://role@host/name"    # or, for demos: sqlite = "log.sqlite"
  schema = "name"                      # optional; made if it is not there
  password_file = "password"           # optional
  durability = { standbys = ["a", "b"], count = 2 }   # or, for demos, "single-node"; or, for Amazon
                                       # Aurora, "storage-replicated" (not yet tried on a real one)

"#,
    kms!(),
    bucket!(),
    tls!(),
    variables!(),
    second!(),
    exit!()
);

const SERVE_REGISTRAR_HELP: &str = concat!(
    head!(),
    r#"  registrar = 0                        # which one, from 0
  rsa_key = "rsa.pem"                  # or { kms = "arn:…", wrapped = "rsa.wrapped" }: kms:Decrypt
  code_key = "code.key"
  roll_backup = "registrar.sqlite"     # the sealed roll, for `roll load`

  [published]
  directory = "/srv/tallyroot/public"  # holds elections/<id>/manifest.json; or bucket = "name", as below

  [database]                           # for all that it keeps; without it, SQLite files, for demos
  url = "postgres://role@host/name"
  password_file = "password"           # optional
  durability = { standbys = ["a", "b"], count = 2 }   # or as for a cell
  schema = "roll"                      # optional: where the roll is

  [oidc]                               # optional: sign-in by OpenID Connect, beside codes
  issuer = "https://id.example.org"    # letter by letter; its keys are read from there
  client_id = "votes"                  # a public client with PKCE, redirected to http://127.0.0.1/callback
  audience = "votes"                   # optional: what `aud` is; the client id
  algorithms = ["RS256"]               # optional; asymmetric ones only
  claim = "sub"                        # optional: "sub" is ISSUER#SUB on the roll; else the claim's own value
  scope = "openid"                     # optional
  clock_leeway_s = 60                  # optional
  max_age_s = 600                      # optional: how old an ID token may be
  allow_http_loopback = false          # optional: an issuer at http://127.0.0.1, for tests

  [[shards]]                           # one for each issuance log of the manifest
  main = "main.key"
  spare = "spare.key"                  # optional; signs once a switch notice is in force
  schema = "shard_0"                   # optional; or, without [database], sqlite = "log.sqlite"

"#,
    kms!(),
    bucket!(),
    tls!(),
    variables!(),
    second!(),
    exit!()
);

const SERVE_ANCHOR_HELP: &str = concat!(
    head!(),
    r#"
  [published]
  directory = "/srv/tallyroot/public"  # holds elections/<id>/manifest.json; or bucket = "name", as below

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
  # for demos: nothing more, and it is a folder among the published files; or directory = "/srv/anchor",
  # from which it is shown there (and `unfinished`, a folder on the same file system)
  # else bucket = "name" (prefix, region, endpoint as below), with Object Lock: s3:PutObject,
  # s3:PutObjectRetention, s3:GetObjectVersion, s3:GetObjectRetention, s3:ListBucketVersions,
  # s3:GetBucketVersioning, s3:GetBucketObjectLockConfiguration

  [[witnesses]]                        # one for each witness of the manifest, in its order
  name = "witness.example/w1"
  url = "https://witness.example"      # where it takes checkpoints; `monitoring`, where it shows them, if elsewhere

"#,
    kms!(),
    bucket!(),
    tls!(),
    variables!(),
    second!(),
    exit!()
);

const SERVE_TALLY_HELP: &str = concat!(
    head!(),
    r#"
  sign_in_at = ["https://id.example.org"]  # optional: OpenID providers that the voting page may reach, so that voters can sign in with an account

  [published]
  directory = "/srv/tallyroot/public"  # holds elections/<id>/manifest.json; or bucket = "name", as below
  serve = true                         # optional: serve the published files too, where nothing else does

It needs no key and no database.

"#,
    bucket!(),
    tls!(),
    variables!(),
    exit!()
);
