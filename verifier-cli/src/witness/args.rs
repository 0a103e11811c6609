//! The command: a key, its state, the logs, two addresses.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use listener::{Tls, TlsFiles};
use protocol::ids::ElectionId;
use protocol::manifest::{Election, MANIFEST_LEN_MAX};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::cosigner::Witness;
use super::key::CosigningKey;
use super::logs::Logs;
use super::state::StateFolder;
use super::{files, http};
use crate::source::{Fetched, locate};

/// `tallyroot-verify witness`
#[derive(Args)]
pub struct WitnessArgs {
    #[command(subcommand)]
    command: WitnessCommand,
}

#[derive(Subcommand)]
enum WitnessCommand {
    /// Make a key and its state folder, and print the vkey that a manifest names
    NewKey(NewKeyArgs),
    /// Print the vkey of a key
    Vkey {
        /// The key's file
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Serve: cosign checkpoints of the logs that are named
    #[command(after_long_help = SERVE_HELP)]
    Serve(ServeArgs),
}

const SERVE_HELP: &str = "\
Serves C2SP tlog-witness:
  POST /add-checkpoint              a log's new checkpoint, and the proof that it continues the last one
  GET  /<origin hash>/checkpoint    the newest cosigned checkpoint of a log; the hash is SHA-256 of the origin, in hex
and, at --health: GET /livez, GET /metrics.

It speaks plain HTTP where it has no certificate: then put something that ends TLS in front of it. Renewed files are read again within 20 seconds.

A log that signs two histories gets no second cosignature, and what it signed is kept below <state>/logs/*/evidence.

Never serve from a copy of the state that is older than what was answered: a witness that forgets cosigns a fork. If the state is lost, retire the key.";

#[derive(Args)]
struct NewKeyArgs {
    /// The witness's name: an address without https://, such as witness.example/w1. It appears in every cosignature
    #[arg(long)]
    name: String,
    /// The key's file, to be made
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The folder of what the witness remembers, to be made
    #[arg(long, value_name = "FOLDER")]
    state: PathBuf,
}

#[derive(Args)]
struct ServeArgs {
    /// The key's file
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The folder of what the witness remembers, made together with the key
    #[arg(long, value_name = "FOLDER")]
    state: PathBuf,
    /// A list of logs: the `log <vkey>` lines of a C2SP tlog-policy file. Can be given more than once
    #[arg(long, value_name = "FILE")]
    logs: Vec<PathBuf>,
    /// Serve the heads log of this election (its id, from a place that you trust), under its main key and its spare. Can be given more than once
    #[arg(long, value_name = "ID")]
    election: Vec<ElectionId>,
    /// Where the manifests of the elections are published, asked once: a URL or a directory. Can be given more than once
    #[arg(long, value_name = "URL OR DIRECTORY")]
    source: Vec<String>,
    /// Where logs and monitors reach it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7380")]
    listen: SocketAddr,
    /// Where its operator sees how it is: /livez and /metrics
    #[arg(long, value_name = "ADDRESS")]
    health: Option<SocketAddr>,
    /// Speak TLS at --listen, with this certificate and those that it rests on, as PEM
    #[arg(long, value_name = "FILE", requires = "certificate_key")]
    certificate: Option<PathBuf>,
    /// The certificate's private key, as PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    certificate_key: Option<PathBuf>,
}

/// Runs the command; what it prints is returned.
///
/// # Errors
/// Whatever is not right, and what to do.
pub fn run(args: &WitnessArgs) -> Result<String> {
    match &args.command {
        WitnessCommand::NewKey(args) => new_key(args),
        WitnessCommand::Vkey { key } => Ok(format!("{}\n", CosigningKey::load(key)?.vkey()?)),
        WitnessCommand::Serve(args) => serve(args).map(|()| String::new()),
    }
}

fn new_key(args: &NewKeyArgs) -> Result<String> {
    let (key, line) = CosigningKey::generate(&args.name)?;
    CosigningKey::write(&args.key, &line)?;
    StateFolder::create(&args.state, &key)?;
    Ok(format!("{}\n", key.vkey()?))
}

fn serve(args: &ServeArgs) -> Result<()> {
    talk_to_stderr();
    let key = CosigningKey::load(&args.key)?;
    let state = StateFolder::open(&args.state, &key)?;
    let mut logs = Logs::default();
    for list in &args.logs {
        logs.add_list(list)?;
    }
    for id in &args.election {
        let election = manifest(id, &args.source, &state)?;
        if !election.witnesses().contains(key.public()) {
            tracing::warn!(
                election = %id,
                "the manifest does not name this witness: nobody counts its cosignatures there"
            );
        }
        logs.add_election(&election)?;
    }
    if logs.is_empty() {
        bail!("no log is named: give --logs FILE, or --election ID with --source");
    }
    let witness = Arc::new(Witness::open(key, state, &logs, Box::new(now_s))?);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(listen(args, &witness))
}

async fn listen(args: &ServeArgs, witness: &Arc<Witness>) -> Result<()> {
    // Before anything says that it serves.
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let bind = async |address: SocketAddr| {
        TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}: is the port taken?"))
    };
    let files = args.certificate.clone().zip(args.certificate_key.clone());
    let tls = files.map(|(certificate, key)| {
        Tls::open(TlsFiles {
            certificate,
            key,
            clients: None,
        })
    });
    let tls = tls.transpose()?;
    let listener = bind(args.listen).await?;
    let limits = http::limits();
    if let Some(address) = args.health {
        let health = bind(address).await?;
        let router = http::health_router(witness);
        tokio::spawn(listener::serve(
            health,
            router,
            limits,
            std::future::pending(),
        ));
    }
    tracing::info!(
        "{} serves at {}://{}",
        witness.key().public().name(),
        if tls.is_some() { "https" } else { "http" },
        listener
            .local_addr()
            .context("the listener has no address")?
    );
    let stop = async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    };
    let router = http::router(witness);
    match tls {
        None => listener::serve(listener, router, limits, stop).await,
        Some(tls) => listener::serve_tls(listener, tls, router, limits, stop).await,
    }
    Ok(())
}

/// The election's manifest: what was kept of it, else the first source that has it. The id decides whether it is the one.
fn manifest(id: &ElectionId, sources: &[String], state: &StateFolder) -> Result<Election> {
    let folder = state.root().join("elections");
    let kept = folder.join(format!("{id}.json"));
    if let Some(bytes) = files::read(&kept, MANIFEST_LEN_MAX)
        .with_context(|| format!("cannot read {}", kept.display()))?
        && let Ok(election) = Election::check_id(&bytes, id)
    {
        return Ok(election);
    }
    if sources.is_empty() {
        bail!("give --source, a URL or directory where election {id} is published");
    }
    let mut wrong = Vec::new();
    for source in sources {
        match fetch(source, id) {
            Ok(election) => {
                keep(&folder, &kept, &election)
                    .with_context(|| format!("cannot write {}", kept.display()))?;
                return Ok(election);
            }
            Err(error) => wrong.push(format!("{error:#}")),
        }
    }
    bail!("no source has election {id}: {}", wrong.join("; "))
}

fn keep(folder: &Path, path: &Path, election: &Election) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let bytes = election.manifest_bytes();
    files::replace(path, &folder.join("new"), bytes, |_| Ok(()))
}

fn fetch(source: &str, id: &ElectionId) -> Result<Election> {
    let located = locate(source, id)?;
    match located.source.read("manifest.json", MANIFEST_LEN_MAX)? {
        Fetched::File(bytes) => Ok(Election::check_id(&bytes, id)?),
        _ => bail!("{} holds no manifest", located.place),
    }
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// RUST_LOG chooses how much.
fn talk_to_stderr() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,verifier_cli=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
}
