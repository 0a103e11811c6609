//! kill -9 of the active process: the standby serves, nothing that was acknowledged is missing or has moved, and the log did not fork.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use protocol::ids::LogId;
use tests::demo::PATIENCE;
use tests::device::{Answer, Device, Site};
use tests::folder;
use tests::serve::{Plan, Role, Service, World};

use crate::{but, voter};

/// Two sites, of which one is active.
struct Pair(Site, Site);

impl Pair {
    /// Asks both in turn until one answers, and counts nothing else as an answer.
    async fn post(&self, path: &str, body: &serde_json::Value) -> Answer {
        let begun = Instant::now();
        loop {
            for site in [&self.0, &self.1] {
                match site.try_post(path, body).await {
                    Some((502 | 503, _)) | None => {}
                    Some(answer) => return answer,
                }
            }
            assert!(begun.elapsed() < PATIENCE, "nobody answers at {path}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Active services, and a standby for one of them.
async fn with_standby(world: &World, role: Role) -> (Vec<Service>, Service, Pair) {
    let services = world.start_all();
    let mut standby = world.start(role);
    standby.wait_for("standby");
    assert_eq!(standby.ready().await, (503, "standby".to_owned()));
    let active = world.site(&services);
    let mut with = BTreeMap::new();
    for service in services.iter().chain([&standby]) {
        with.insert(format!("{}/", service.role.folder()), service.url.clone());
    }
    let other = Site::of_services(with.into_iter().collect(), &world.published.election);
    // Whoever asks it is told to come again.
    let path = match role {
        Role::Anchor => "notices".to_owned(),
        role => format!("{}/x", role.folder()),
    };
    let answer = if role == Role::Anchor {
        Site::new(&standby.url, &world.published.election)
            .post(&path, &serde_json::json!({}))
            .await
    } else {
        other.post(&path, &serde_json::json!({})).await
    };
    assert_eq!(tests::device::code(&answer), (502, "standby"));
    // It may be a second attempt, of which the first reached the active process.
    let message = answer.1["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("whether it was done before is not known"),
        "{message}"
    );
    (services, standby, Pair(active, other))
}

fn world(folder: &std::path::Path, server: &throwaway_postgres::Server) -> World {
    World::new(
        folder,
        &Plan {
            voters: 40,
            shards: 2,
            postgres: Some(server.database("election")),
            ..Plan::default()
        },
    )
}

fn body(vote: &protocol::entry::Vote) -> serde_json::Value {
    use base64::Engine as _;
    let entry = base64::engine::general_purpose::STANDARD.encode(vote.encode());
    serde_json::json!({ "vote": entry })
}

#[tokio::test]
async fn of_a_cell() {
    let folder = folder();
    let server = throwaway_postgres::Server::start();
    let world = world(folder.path(), &server);
    let (services, mut standby, pair) = with_standby(&world, Role::Cell(0)).await;
    let mut votes = Vec::new();
    for v in 0..20 {
        votes.push(voter(&world, &pair.0, v).await);
    }
    let mut places = Vec::new();
    for vote in &votes[..10] {
        let (status, answer) = pair.post("cells/0/ballots", &body(vote)).await;
        assert_eq!(status, 200, "{answer}");
        places.push(answer["index"].as_u64().unwrap());
    }
    let before = world.published.leaves(LogId::Cell(0));
    let (services, active) = but(services, |service| service.role == Role::Cell(0));
    // One that is on its way when it dies: whatever becomes of it, the same again counts once.
    let tenth = body(&votes[10]);
    let on_its_way = pair.0.try_post("cells/0/ballots", &tenth);
    let killed = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        active.kill();
        Instant::now()
    };
    let (_, killed) = tokio::join!(on_its_way, killed);
    let (status, answer) = pair.post("cells/0/ballots", &body(&votes[10])).await;
    let took = killed.elapsed();
    assert_eq!(status, 200, "{answer}");
    eprintln!(
        "cell: {:.2} s from kill -9 to the next acknowledgement",
        took.as_secs_f64()
    );
    places.push(answer["index"].as_u64().unwrap());
    for vote in &votes[11..] {
        let (status, answer) = pair.post("cells/0/ballots", &body(vote)).await;
        assert_eq!(status, 200, "{answer}");
        places.push(answer["index"].as_u64().unwrap());
    }
    standby.wait_for("active");
    assert_eq!(standby.status().await["logs"][0]["epoch"], 2);
    // Every vote is where it was said to be; the standby answers repeats of what the dead one took.
    for (vote, place) in votes.iter().zip(&places) {
        let (status, answer) = pair.post("cells/0/ballots", &body(vote)).await;
        assert_eq!((status, answer["index"].as_u64()), (200, Some(*place)));
    }
    let mut distinct = places.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), votes.len());
    let after = world.published.leaves(LogId::Cell(0));
    assert_eq!(after.get(..before.len()), Some(&*before), "the log forked");
    drop(services);
    let (exit, verdict) = world.audit();
    assert_eq!((exit, &verdict["votes"]), (0, &20.into()), "{verdict:#}");
}

#[tokio::test]
async fn of_a_registrar() {
    use base64::Engine as _;
    let folder = folder();
    let server = throwaway_postgres::Server::start();
    let world = world(folder.path(), &server);
    let (services, mut standby, pair) = with_standby(&world, Role::Registrar(0)).await;
    let election = &world.published.election;
    let devices: Vec<Device> = (0..12).map(|_| Device::new(election)).collect();
    let request = |v: usize| {
        let blinded =
            base64::engine::general_purpose::STANDARD.encode(devices[v].blinded(election, 0));
        let code = world.codes(u32::try_from(v).unwrap()).remove(0);
        serde_json::json!({ "blinded": blinded, "code": code })
    };
    let path = "registrars/0/credentials";
    let mut signatures = Vec::new();
    for v in 0..6 {
        let (status, answer) = pair.post(path, &request(v)).await;
        assert_eq!(status, 200, "{answer}");
        signatures.push(answer["blind_signature"].clone());
    }
    let (services, active) = but(services, |service| service.role == Role::Registrar(0));
    active.kill();
    let killed = Instant::now();
    for v in 6..12 {
        let (status, answer) = pair.post(path, &request(v)).await;
        assert_eq!(status, 200, "{answer}");
        if v == 6 {
            eprintln!(
                "registrar of two shards: {:.2} s from kill -9 to the next acknowledgement",
                killed.elapsed().as_secs_f64()
            );
        }
        signatures.push(answer["blind_signature"].clone());
    }
    standby.wait_for("active");
    let status = standby.status().await;
    for shard in status["logs"].as_array().unwrap() {
        assert_eq!(shard["epoch"], 2, "{status}");
    }
    // The same gets the same answer, and nobody a second credential.
    for (v, signature) in signatures.iter().enumerate() {
        let (status, answer) = pair.post(path, &request(v)).await;
        assert_eq!((status, &answer["blind_signature"]), (200, signature));
    }
    let mut second = request(0);
    second["blinded"] = request(11)["blinded"].clone();
    let answer = pair.post(path, &second).await;
    assert_eq!(tests::device::code(&answer), (409, "other-message"));
    drop(services);
    let (exit, verdict) = world.audit();
    assert_eq!(
        (exit, &verdict["issued"][0]["issued"]),
        (0, &12.into()),
        "{verdict:#}"
    );
}

#[tokio::test]
async fn of_the_anchor() {
    let folder = folder();
    let server = throwaway_postgres::Server::start();
    let world = world(folder.path(), &server);
    let (services, mut standby, _) = with_standby(&world, Role::Anchor).await;
    let size = |world: &World| {
        world
            .published
            .checkpoint(LogId::Heads)
            .map_or(0, |c| c.size())
    };
    tests::demo::until("three heads", || size(&world) > 3);
    let before = world.published.leaves(LogId::Heads);
    let (services, active) = but(services, |service| service.role == Role::Anchor);
    active.kill();
    let killed = Instant::now();
    let then = size(&world);
    tests::demo::until("the next head", || size(&world) > then);
    eprintln!(
        "anchor: {:.2} s from kill -9 to the next head (one is due every 0.2 s)",
        killed.elapsed().as_secs_f64()
    );
    standby.wait_for("active");
    let after = world.published.leaves(LogId::Heads);
    assert_eq!(after.get(..before.len()), Some(&*before), "the log forked");
    // It takes notices, and ends the election.
    let said = world.notice(&standby, &["close"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let said = world.election(&["finalize"]);
    assert_eq!(said.code, 0, "{} {}", said.stdout, said.stderr);
    drop(services);
    let (exit, verdict) = world.audit();
    assert_eq!(exit, 0, "{verdict:#}");
}

/// A standby gets its turn at once when the active one is asked to stop; nobody waits for a lost session to be noticed.
#[tokio::test]
async fn in_good_order() {
    let folder = folder();
    let server = throwaway_postgres::Server::start();
    one_stops_the_other_serves(&world(folder.path(), &server)).await;
}

/// On an SQLite file the turn is a lock of the machine.
#[tokio::test]
async fn in_good_order_on_sqlite() {
    let folder = folder();
    one_stops_the_other_serves(&World::new(folder.path(), &Plan::default())).await;
}

async fn one_stops_the_other_serves(world: &World) {
    let (services, mut standby, pair) = with_standby(world, Role::Cell(0)).await;
    let votes = [
        voter(world, &pair.0, 0).await,
        voter(world, &pair.0, 1).await,
    ];
    let (status, first) = pair.post("cells/0/ballots", &body(&votes[0])).await;
    assert_eq!(status, 200, "{first}");
    let (_services, active) = but(services, |service| service.role == Role::Cell(0));
    let (code, said) = active.stop();
    assert_eq!(code, 0, "{said}");
    let (status, answer) = pair.post("cells/0/ballots", &body(&votes[1])).await;
    assert_eq!(status, 200, "{answer}");
    let (_, again) = pair.post("cells/0/ballots", &body(&votes[0])).await;
    assert_eq!(again["index"], first["index"]);
    standby.wait_for("active");
    // A standby that is asked to stop while it waits does so too.
    let mut waiting = world.start(Role::Cell(0));
    waiting.wait_for("standby");
    let (code, said) = waiting.stop();
    assert_eq!(code, 0, "{said}");
}

/// A process that lost its turn, and does not know it yet, is fenced: it ends with its own code, and did no harm.
#[tokio::test]
async fn whoever_is_fenced_ends_with_a_code_of_its_own() {
    let folder = folder();
    let server = throwaway_postgres::Server::start();
    let world = world(folder.path(), &server);
    let (services, mut standby, pair) = with_standby(&world, Role::Cell(0)).await;
    let vote = voter(&world, &pair.0, 0).await;
    let (_services, active) = but(services, |service| service.role == Role::Cell(0));
    // The active one sleeps; the server is told to end its session, and the standby gets the turn.
    let signal = |name: &str| {
        let told = std::process::Command::new("kill")
            .args([name, &active.pid().to_string()])
            .status();
        assert!(told.unwrap().success());
    };
    signal("-STOP");
    server.psql(
        "election",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tallyroot turn cells/0%' AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted)",
    );
    standby.wait_for("active");
    let (status, answer) = Site::new(&standby.url, &world.published.election)
        .post("cells/0/ballots", &body(&vote))
        .await;
    assert_eq!(status, 200, "{answer}");
    signal("-CONT");
    // Nobody casts there; that the log is another's it learns from the database.
    let (code, said) = active.ended();
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("another process has taken"), "{said}");
    let other = voter(&world, &pair.0, 1).await;
    let (status, answer) = Site::new(&standby.url, &world.published.election)
        .post("cells/0/ballots", &body(&other))
        .await;
    assert_eq!(status, 200, "{answer}");
    let (exit, verdict) = world.audit();
    assert_eq!((exit, &verdict["votes"]), (0, &2.into()), "{verdict:#}");
}

/// An address that leads to one server or another, as one does that follows the primary.
struct Floating {
    port: u16,
    leads_to: Arc<AtomicU16>,
}

impl Floating {
    fn new(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let leads_to = Arc::new(AtomicU16::new(to));
        let there = Arc::clone(&leads_to);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Nobody there: the client's connection ends at once.
                let Ok(server) = TcpStream::connect(("127.0.0.1", there.load(Ordering::SeqCst)))
                else {
                    continue;
                };
                for (mut from, mut to) in [
                    (client.try_clone().unwrap(), server.try_clone().unwrap()),
                    (server, client),
                ] {
                    std::thread::spawn(move || {
                        // However it ends, both sides are told.
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Both);
                        let _ = from.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Self { port, leads_to }
    }

    fn lead_to(&self, server: &throwaway_postgres::Server) {
        self.leads_to.store(server.port(), Ordering::SeqCst);
    }
}

/// The primary and the active process die together, and a replica is promoted. Until another replica streams from it nothing may be confirmed, so the standby
/// process waits for that, and so does one that is started then; nobody ends.
#[tokio::test]
async fn of_a_cell_whose_database_fails_over() {
    let folder = folder();
    let others = throwaway_postgres::Server::start();
    let world = world(folder.path(), &others);
    let mut primary = throwaway_postgres::Server::start();
    let url = primary.database("election");
    primary.psql(
        "election",
        "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (a, b)'",
    );
    primary.psql("election", "SELECT pg_reload_conf()");
    let replica = primary.standby("a");
    let floating = Floating::new(primary.port());
    let configuration = world
        .configuration(Role::Cell(0))
        .replace(
            &others.url("election"),
            &url.replace(
                &format!(":{}/", primary.port()),
                &format!(":{}/", floating.port),
            ),
        )
        .replace(
            "\"single-node\"",
            "{ standbys = [\"a\", \"b\"], count = 1, failover = 2 }",
        );
    world.configure(Role::Cell(0), &configuration);
    let (services, mut standby, pair) = with_standby(&world, Role::Cell(0)).await;
    let votes = [
        voter(&world, &pair.0, 0).await,
        voter(&world, &pair.0, 1).await,
    ];
    let (status, first) = pair.post("cells/0/ballots", &body(&votes[0])).await;
    assert_eq!(status, 200, "{first}");

    let (_services, active) = but(services, |service| service.role == Role::Cell(0));
    active.kill();
    primary.crash();
    floating.lead_to(&replica);
    // One is started while there is no primary at all.
    let mut started = world.start(Role::Cell(0));
    started.wait_for("waiting for its database");
    replica.promote();
    standby.wait_for("pg_stat_replication");
    let (code, state) = standby.ready().await;
    assert_eq!(code, 503);
    assert!(
        state.starts_with("taking-over: ") && state.contains("pg_stat_replication"),
        "{state}"
    );
    started.wait_for("pg_stat_replication");
    let (code, state) = started.ready().await;
    assert_eq!(code, 503);
    assert!(
        state.starts_with("starting: ") && state.contains("pg_stat_replication"),
        "{state}"
    );

    let _second = replica.standby("b");
    standby.wait_for("active");
    started.wait_for("standby");
    let (status, answer) = pair.post("cells/0/ballots", &body(&votes[1])).await;
    assert_eq!(status, 200, "{answer}");
    let (_, again) = pair.post("cells/0/ballots", &body(&votes[0])).await;
    assert_eq!(again["index"], first["index"]);
    let (exit, verdict) = world.audit();
    assert_eq!((exit, &verdict["votes"]), (0, &2.into()), "{verdict:#}");
}

/// The sessions that hold a turn of this log's now.
fn turns(server: &throwaway_postgres::Server) -> Vec<String> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'tallyroot turn cells/0' AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted)";
    server
        .psql("election", sql)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// A turn that is lost with its session, while nobody else wants it, is taken again; the same process serves on. So it is when the database itself crashes.
#[tokio::test]
async fn nobody_takes_over_when_only_the_database_hiccups() {
    let folder = folder();
    let mut server = throwaway_postgres::Server::start();
    let world = world(folder.path(), &server);
    let services = world.start_all();
    let site = world.site(&services);
    let mut votes = Vec::new();
    for v in 0..3 {
        votes.push(voter(&world, &site, v).await);
    }
    assert_eq!(site.cast(&votes[0]).await.0, 200);

    let held = turns(&server);
    assert_eq!(held.len(), 1);
    server.psql(
        "election",
        &format!("SELECT pg_terminate_backend({})", held[0]),
    );
    tests::demo::until("the turn is taken again", || {
        let now = turns(&server);
        now.len() == 1 && now != held
    });
    assert_eq!(site.cast(&votes[1]).await.0, 200);
    let mut standby = world.start(Role::Cell(0));
    standby.wait_for("standby");
    drop(standby);

    server.crash();
    server.restart();
    let pair = Pair(site.clone(), site);
    let (status, answer) = pair.post("cells/0/ballots", &body(&votes[2])).await;
    assert_eq!(status, 200, "{answer}");
    tests::demo::until("the turn is taken again", || turns(&server).len() == 1);
    for service in services {
        assert_eq!(service.stop().0, 0);
    }
    let (exit, verdict) = world.audit();
    assert_eq!((exit, &verdict["votes"]), (0, &3.into()), "{verdict:#}");
}
