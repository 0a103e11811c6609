//! All services of one election on one machine, over SQLite, a directory and key files.
//!
//! Each service gets its own key, its own database and its own hands on the published tree, exactly as if it were alone; the only
//! thing that they share here is the process and the listener.

use std::sync::Arc;
use std::time::Duration;

use anchoring::{Anchoring, NoticeRefused};
use anyhow::{Context, Result, anyhow};
use api::{Cell, CellConfig};
use aws::Aws;
use axum::Router;
use ledger::clock::{Clock, SystemClock};
use ledger::heads::HeadsFollower;
use ledger::publisher::Reader;
use ledger::schedule;
use listener::Limits;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::results::Results;
use registrar::Registrar;
use tally::{Tally, TallyConfig};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::election::notices::{self, Authority};
use crate::folder::Folder;
use crate::serve::SCHEDULE_POLL;
use crate::serve::files::published_files;
use crate::serve::parts::{self, LogParts, RegistrarParts};
use crate::stores::Stores;
use crate::witnesses::LocalWitnesses;

/// Open connections of the one listener: plenty for one machine, within the usual limit on open files.
const CONNECTIONS_MAX: usize = 4_096;
/// How long a log may take to be taken over at start.
const READY: Duration = Duration::from_secs(300);
/// How long closing, anchoring and the final result may take together.
const FINISH: Duration = Duration::from_secs(300);

/// A running election.
pub struct Node {
    election: Election,
    folder: Folder,
    url: String,
    cells: Vec<Cell>,
    registrars: Vec<Registrar>,
    anchoring: Anchoring,
    witnesses: LocalWitnesses,
    tally: Tally,
    reader: Arc<dyn Reader>,
    follower: JoinHandle<()>,
    server: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Node {
    /// Starts every service and waits until all logs are taken over and everything answers.
    ///
    /// # Errors
    /// A key, a database or a folder that is not right, or a log that halts: each says which.
    pub async fn start(
        folder: &Folder,
        election: &Election,
        stores: &Stores,
        listener: TcpListener,
    ) -> Result<Self> {
        let url = format!(
            "http://{}",
            listener
                .local_addr()
                .context("the listener has no address")?
        );
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let published = folder.publishing();
        let reader = parts::reader(&published, election).await?;
        let (follower, mut schedule) = schedule::follow(
            election.clone(),
            Arc::clone(&reader),
            Arc::clone(&clock),
            SCHEDULE_POLL,
        );

        // Notices that are published already decide which keys sign, and whether a closing time is still the manifest's; and the
        // newest head says how long each log was: one that comes back shorter was rolled back, and must halt.
        tokio::time::timeout(READY, schedule::known(&mut schedule))
            .await
            .with_context(|| {
                format!(
                    "the heads log cannot be read: {:?}",
                    schedule.borrow().health()
                )
            })?;
        let in_force = schedule.borrow().clone();
        let aws = Aws::default();
        let floor = |log| in_force.end_in_newest_head(election, log);
        let open = async |log| {
            let place = folder.log_place(log, stores.log(folder, election, log)?, &aws)?;
            LogParts::open(election, &place, &published, in_force.in_force()).await
        };

        let mut cells = Vec::new();
        for k in 0..election.cells() {
            let parts = open(LogId::Cell(k)).await?;
            let cell = Cell::start(
                CellConfig {
                    floor: floor(LogId::Cell(k)),
                    ..CellConfig::new(election, k)
                },
                parts.store,
                parts.publisher,
                Arc::new(parts.signer),
                schedule.clone(),
                Arc::clone(&clock),
            )
            .with_context(|| format!("cell {k} does not start"))?;
            cells.push(cell);
        }
        let mut registrars = Vec::new();
        for (r, named) in (0u16..).zip(&election.manifest().registrars) {
            let mut shards = Vec::new();
            for (shard, _) in (0u32..).zip(&named.shards) {
                let log = LogId::Issuance {
                    registrar: r,
                    shard,
                };
                shards.push(parts::as_shard(open(log).await?, floor(log)));
            }
            let files = folder.registrar(r);
            let roll = stores.roll(folder, election, r).await?;
            let registrar = RegistrarParts::open(
                election,
                r,
                &folder.rsa_key(r, &aws)?,
                &files.code_key,
                &roll,
                None,
            )
            .await?;
            registrars.push(registrar.start(election, r, shards, &schedule, &clock)?);
        }

        // A log that is not there yet would begin the heads log as a stale one.
        tokio::time::timeout(READY, ready(&cells, &registrars))
            .await
            .context("the logs could not be taken over in time: see the warnings above")??;
        let witnesses = LocalWitnesses::start(folder, election).await?;
        let anchoring = parts::start_anchoring(
            election,
            open(LogId::Heads).await?,
            parts::open_anchors(&folder.anchors(election), &published, election).await?,
            witnesses.as_clients()?,
            &reader,
            &clock,
        )
        .await?;
        let results = parts::results_file(&published, election).await?;
        let tally = Tally::start(TallyConfig::new(election), Arc::clone(&reader), results);

        let mut app = Router::new();
        for cell in &cells {
            app = app.merge(cell.router());
        }
        for registrar in &registrars {
            app = app.merge(registrar.router());
        }
        let app = published_files(
            app.merge(tally.router()).merge(anchoring.router()),
            &published,
            &reader,
            election,
        );
        let (stop, mut stopping) = watch::channel(false);
        let server = tokio::spawn(listener::serve(
            listener,
            app,
            Limits {
                connections_max: CONNECTIONS_MAX,
                ..Limits::default()
            },
            async move {
                // An error is the node itself, dropped: that too is the time to stop.
                let _ = stopping.wait_for(|stop| *stop).await;
            },
        ));
        Ok(Self {
            election: election.clone(),
            folder: folder.clone(),
            url,
            cells,
            registrars,
            anchoring,
            witnesses,
            tally,
            reader,
            follower,
            server,
            stop,
        })
    }

    /// Where it is served.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends the election by the authority's notices: freezes every log that is not yet, registrars' first, and waits for the
    /// final head to be anchored and for the final result.
    ///
    /// # Errors
    /// A notice is refused, a service halts, or it takes too long.
    pub async fn finish(&self) -> Result<()> {
        let key = self
            .folder
            .key_source(&self.folder.authority_key(false), &Aws::default())?;
        let authority = Authority::open(&key, &self.election).await?;
        // Once the heads log is taken over, and not before, everything that was ever appended to it is published: after a kill the
        // next number could else be that of a notice which nobody sees yet.
        tokio::time::timeout(READY, self.anchoring.watch().wait_for(Option::is_some))
            .await
            .context("the heads log could not be taken over in time: see the warnings above")?
            .context("anchoring has stopped: see the errors above")?;
        let mut follower = HeadsFollower::new(Arc::clone(&self.reader), &self.election);
        follower.advance().await.context("the heads log")?;
        let mut sequence = follower.log().next_sequence();
        let actions = match follower.log().final_head() {
            Some(_) => Vec::new(),
            None => notices::freezes(&self.election, follower.log()),
        };
        for action in actions {
            let notice = authority.sign(&self.election, sequence, action).await?;
            match self.anchoring.submit_notice(&notice).await {
                Ok(_) => sequence += 1,
                // It came to its end by itself.
                Err(NoticeRefused::Ended) => break,
                Err(error) => {
                    return Err(error).with_context(|| format!("the notice {action:?}"));
                }
            }
        }
        tokio::time::timeout(FINISH, async {
            let last = self
                .anchoring
                .finished()
                .await
                .map_err(|reason| anyhow!("anchoring stopped: {reason}"))?;
            self.anchored(last.end.size).await?;
            self.tally
                .finished()
                .await
                .context("the tally has stopped: see the errors above")?;
            Ok(())
        })
        .await
        .context("the election did not come to its end in time: see the warnings above")?
    }

    /// The witnesses that run here, as [`LocalWitnesses::named`].
    #[must_use]
    pub fn witnesses(&self) -> Vec<String> {
        self.witnesses.named()
    }

    /// Waits until a head covers everything that is in the logs now, every anchor holds it and the witnesses have cosigned it, and the results show it.
    ///
    /// # Errors
    /// A service has stopped, or it takes too long.
    pub async fn settle(&self) -> Result<()> {
        let sizes: Vec<u64> = self
            .cells
            .iter()
            .map(|cell| cell.handle().published().end.size)
            .collect();
        let mut newest = self.anchoring.watch();
        tokio::time::timeout(FINISH, async {
            let size = {
                let head = newest
                    .wait_for(|newest| {
                        newest.as_ref().is_some_and(|newest| {
                            newest
                                .head
                                .logs
                                .iter()
                                .zip(&sizes)
                                .all(|(log, size)| log.size >= *size)
                        })
                    })
                    .await
                    .context("anchoring has stopped: see the errors above")?;
                head.as_ref().map_or(0, |newest| newest.end.size)
            };
            self.anchored(size).await?;
            let shown = |bytes: &Option<bytes::Bytes>| {
                bytes
                    .as_ref()
                    .and_then(|bytes| Results::parse(bytes, &self.election).ok())
                    .is_some_and(|results| {
                        results
                            .cells
                            .iter()
                            .zip(&sizes)
                            .all(|(cell, size)| cell.size >= *size)
                    })
            };
            self.tally
                .watch()
                .wait_for(shown)
                .await
                .context("the tally has stopped: see the errors above")?;
            Ok(())
        })
        .await
        .context("no head covers the votes in time: see the warnings above")?
    }

    async fn anchored(&self, size: u64) -> Result<()> {
        self.anchoring
            .anchored()
            .wait_for(|anchored| *anchored >= size)
            .await
            .context("anchoring has stopped: see the errors above")?;
        if !self.election.witnesses().is_empty() {
            self.anchoring
                .cosigned()
                .wait_for(|cosigned| cosigned.size >= size)
                .await
                .context("anchoring has stopped: see the errors above")?;
        }
        Ok(())
    }

    /// Stops everything; what was acknowledged stays, and starting again goes on from there.
    pub async fn stop(self) {
        self.tally.let_watchers_go();
        let _ = self.stop.send(true);
        for cell in self.cells {
            cell.shutdown().await;
        }
        for registrar in self.registrars {
            registrar.shutdown().await;
        }
        self.follower.abort();
        // An error is a listener that broke down, which is stopped all the same.
        let _ = self.server.await;
    }
}

async fn ready(cells: &[Cell], registrars: &[Registrar]) -> Result<()> {
    for (k, cell) in cells.iter().enumerate() {
        cell.ready()
            .await
            .map_err(|state| anyhow!("cell {k} does not run: {state:?}"))?;
    }
    for (r, registrar) in registrars.iter().enumerate() {
        registrar
            .ready()
            .await
            .map_err(|state| anyhow!("registrar {r} does not run: {state:?}"))?;
    }
    Ok(())
}
