//! `tallyroot demo`: a whole election on one machine.
//!
//! Prepare the folder (or go on with it), start every service, let the voters sign in and cast, then either close, anchor and
//! audit the election, or audit it as it stands and stay up.

pub mod ballots;
pub mod generate;
pub mod plan;
pub mod play;
pub mod records;
mod report;
pub mod sealing;
mod services;
pub mod voters;

use std::io::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use protocol::manifest::{Election, Method, TieRule};
use tokio::net::TcpListener;
use verifier_cli::audit::Options;
use verifier_cli::verdict::AuditVerdict;

use crate::cli::DemoArgs;
use crate::client::site::Site;
use crate::election::create;
use crate::election::description::{
    AwsDescription, ContestDescription, Description, Keys, Moment, WitnessDescription,
};
use crate::folder::Folder;
use crate::node::Node;
use crate::stores::Stores;
use crate::witnesses::NewWitness;
use ballots::BallotBox;
use plan::Plan;
use play::Play;
use report::Report;
use services::Services;
use voters::Voters;

const LISTEN: &str = "127.0.0.1:8088";
const ANY_PORT: &str = "127.0.0.1:0";
/// How long the audit waits for what is published a moment after something else.
const AUDIT_SETTLE: Duration = Duration::from_secs(10);
const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// Runs the demo.
///
/// # Errors
/// Whatever keeps the election from being run whole; what did not verify is a report and exit code 1 instead.
pub async fn run(args: &DemoArgs) -> Result<ExitCode> {
    let begun = Instant::now();
    let folder = Folder::at(&data_folder(args)?);
    let stores = Stores::parse(args.store.as_deref())?;
    // First: a port that is taken should leave no folder behind.
    let listener = if args.prepare || args.site.is_some() {
        None
    } else {
        Some(listen(args).await?)
    };
    let (election, plan) = match folder.election()? {
        // Made by `tallyroot election new`: its voters are real ones.
        Some(election) if !Plan::is_kept(&folder.voters()) => (election, None),
        kept => {
            let plan = Plan::resolve(args, &folder.voters())?;
            let election = match kept {
                Some(election) => {
                    tracing::info!("going on with the election in {}", folder.root().display());
                    election
                }
                None if args.site.is_some() => anyhow::bail!(
                    "{} holds no election: make it with --prepare, and start its services, before its voters are played",
                    folder.root().display()
                ),
                None => prepare(&plan.0, &plan.1, &folder).await?,
            };
            (election, Some(plan))
        }
    };
    if args.prepare {
        return say_prepared(args, &folder, &election);
    }

    // Two of them on one folder would fence each other off: safe, but no use to anybody.
    let _lock = match listener {
        Some(_) => Some(folder.lock()?),
        None => None,
    };
    let services = match listener {
        Some(listener) => {
            let node = Node::start(&folder, &election, &stores, listener).await?;
            tracing::info!("serving at {}", node.url());
            Services::Here(Box::new(node))
        }
        None => {
            let url = args.site.as_deref().unwrap_or_default();
            Services::elsewhere(&folder, &election, url)?
        }
    };
    let mut clock = StageClock::begin();
    let site = Site::for_many(services.url(), &election.id())?;
    let play = match plan {
        Some((plan, ballots)) => Some(Play::open(plan, ballots, &folder, &election, &site)?),
        None => None,
    };
    if let Some(play) = &play {
        play.sign_in().await?;
        clock.lap("sign in");
        play.cast(!args.no_shuffle).await?;
        clock.lap("cast");
    }
    if args.exit {
        services
            .finish()
            .await
            .context("while closing the election")?;
        clock.lap("close");
    } else {
        services.settle().await?;
    }
    if let Some(play) = &play {
        play.look_again(args.exit, &folder).await?;
        clock.lap("check");
    }

    let audit = audit(&folder, &election, services.witnesses()).await?;
    clock.lap("audit");
    let report = Report::new(&election, &site, &folder, &services, audit, begun.elapsed()).await?;
    let verified = report.verified();
    if args.json {
        report.print_json()?;
    } else {
        let guests = play.as_ref().map(Play::guests).unwrap_or_default();
        report.print_words(args.exit, play.is_some(), &guests)?;
    }
    if !args.exit && args.site.is_none() {
        tracing::info!(
            "staying up until Ctrl-C; a head every second fills about 2.5 MB of disk a minute until the election is closed"
        );
        tokio::signal::ctrl_c()
            .await
            .context("cannot wait for Ctrl-C")?;
        tracing::info!(
            "stopping (Ctrl-C again: at once). The same command with --data {} goes on with it",
            folder.root().display()
        );
    }
    tokio::select! {
        () = services.stop() => {}
        // What was acknowledged stays, however this ends.
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(ExitCode::from(u8::from(!verified)))
}

fn say_prepared(args: &DemoArgs, folder: &Folder, election: &Election) -> Result<ExitCode> {
    let (id, data) = (election.id(), folder.root().display());
    let line = if args.json {
        serde_json::json!({ "election_id": id.to_string(), "data": data.to_string() }).to_string()
    } else {
        format!(
            "Election id  {id}\n\nStart its services, then play its voters with the same options and --site URL in place of --prepare:\n  deploy/local/local.py up {data}"
        )
    };
    writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// Says where the time goes, for whoever asks with RUST_LOG=tallyroot=debug.
struct StageClock {
    last: Instant,
}

impl StageClock {
    fn begin() -> Self {
        Self {
            last: Instant::now(),
        }
    }

    fn lap(&mut self, stage: &'static str) {
        tracing::debug!("{stage}: {:.1} s", self.last.elapsed().as_secs_f64());
        self.last = Instant::now();
    }
}

fn data_folder(args: &DemoArgs) -> Result<PathBuf> {
    if let Some(folder) = &args.data {
        return Ok(folder.clone());
    }
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock stands before 1970")?;
    Ok(std::env::temp_dir().join(format!(
        "tallyroot-demo-{}-{}",
        since.as_secs(),
        std::process::id()
    )))
}

/// Makes the election that the plan asks for.
async fn prepare(plan: &Plan, ballots: &BallotBox, folder: &Folder) -> Result<Election> {
    let now_ms = {
        use ledger::clock::Clock as _;
        ledger::clock::SystemClock.now_ms()
    };
    let witnesses = (1..=plan.witnesses)
        .map(NewWitness::generate)
        .collect::<Result<Vec<_>>>()?;
    let description = Description {
        title: "A demonstration election".to_owned(),
        base: "demo.tallyroot.example".to_owned(),
        roll: PathBuf::new(),
        registration: Moment(now_ms),
        opening: Moment(now_ms),
        closing: Moment(now_ms.saturating_add(30 * DAY_MS)),
        grace_s: 60,
        retention: None,
        demo: true,
        cells: plan.cells,
        registrars: (1..=plan.registrars)
            .map(|number| format!("Registrar {number}"))
            .collect(),
        shards: 1,
        batch_min: 16,
        batch_wait_ms: 1_000,
        cast_delay_s: 0,
        head_interval_ms: 1_000,
        anchors: vec!["local".to_owned()],
        witnesses: witnesses
            .iter()
            .map(|witness| {
                Ok(WitnessDescription {
                    vkey: witness.vkey()?,
                })
            })
            .collect::<Result<_>>()?,
        quorum: None,
        keys: Keys::default(),
        aws: AwsDescription::default(),
        contests: ballots
            .contests
            .iter()
            .map(|contest| ContestDescription {
                name: contest.name.clone(),
                method: contest.method,
                options: contest.options.clone(),
                tie_rule: match contest.method {
                    Method::Ranked => TieRule::PriorRounds,
                    Method::Plurality | Method::Approval => TieRule::ListedOrder,
                },
            })
            .collect(),
    };
    let identities = (0..plan.voters)
        .map(|voter| format!("voter {voter:07}"))
        .chain((0..plan.guests).map(|guest| format!("~guest {guest}")))
        .collect();
    create::create(&description, identities, folder, |folder| {
        folder.make_private("voters")?;
        Voters::create(&folder.voters(), plan.voters)?;
        for witness in &witnesses {
            witness.write(folder)?;
        }
        plan.write(&folder.voters())
    })
    .await
}

async fn listen(args: &DemoArgs) -> Result<TcpListener> {
    if let Some(address) = args.listen {
        return TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address}: is the port taken? Give another with --listen")
        });
    }
    let preferred = if args.exit { ANY_PORT } else { LISTEN };
    for address in [preferred, ANY_PORT] {
        if let Ok(listener) = TcpListener::bind(address.parse::<SocketAddr>()?).await {
            return Ok(listener);
        }
    }
    anyhow::bail!("cannot listen on any port of 127.0.0.1: give an address with --listen")
}

/// The audit that anybody could run, over what is published and what these witnesses show.
async fn audit(
    folder: &Folder,
    election: &Election,
    witnesses: Vec<String>,
) -> Result<AuditVerdict> {
    let (public, id) = (folder.public(), election.id());
    let options = Options {
        threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        settle: AUDIT_SETTLE,
        evidence: Vec::new(),
        witnesses,
        state: None,
    };
    tokio::task::spawn_blocking(move || {
        verifier_cli::audit::run(
            &public.to_string_lossy(),
            &id,
            &options,
            &verifier_cli::progress::Progress::hidden(),
        )
    })
    .await
    .context("the audit broke down")
}
