//! Bad configurations: refused at start and by --check-config alike, each with what to do, and nothing is served or taken over.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use ledger::clock::{Clock, SystemClock};
use serde_json::Value;
use tests::serve::{Plan, Role, World};
use tests::{arg, folder, run};
use throwaway_certificates::{Authority, put};
use throwaway_postgres::{Server, Setup};

const CELL: Role = Role::Cell(0);

/// The one check that fails, and what it says, is the same at both.
#[track_caller]
fn refused(world: &World, role: Role, check: &str, words: &[&str]) {
    let message = found_wrong(world, role, check, words);
    let started = world.refused(role);
    assert_eq!(started.code, 1, "{started:#?}");
    assert!(!started.stderr.contains(": at http://"), "{started:#?}");
    for word in words {
        assert!(
            started.stderr.contains(word),
            "`{word}` in: {}, as in: {message}",
            started.stderr
        );
    }
}

/// What may pass by itself is wrong too, and a process that is started waits for it.
fn waited_for(world: &World, role: Role, words: &[&str]) {
    let message = found_wrong(world, role, "database", words);
    let mut started = world.start(role);
    let told = started.wait_for("waiting for its database: ");
    assert_eq!(told, message);
}

/// By `--check-config`; the message.
fn found_wrong(world: &World, role: Role, check: &str, words: &[&str]) -> String {
    let said = world.check(role);
    let answer = said.json();
    assert_eq!(
        (said.code, &answer["ok"]),
        (1, &Value::Bool(false)),
        "{said:#?}"
    );
    let wrong: Vec<&Value> = answer["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["ok"] == false)
        .collect();
    assert_eq!(wrong.len(), 1, "{answer:#}");
    assert_eq!(wrong[0]["check"], check, "{answer:#}");
    let message = wrong[0]["message"].as_str().unwrap();
    for word in words {
        assert!(message.contains(word), "`{word}` in: {message}");
    }
    message.to_owned()
}

fn change(world: &World, role: Role, from: &str, to: &str) {
    let text = world.configuration(role);
    assert!(text.contains(from), "{from} in:\n{text}");
    world.configure(role, &text.replace(from, to));
}

#[test]
fn keys() {
    let folder = folder();
    let world = World::new(
        folder.path(),
        &Plan {
            cells: 2,
            ..Plan::default()
        },
    );
    // Both keys in one place are no mistake, and are said.
    let said = world.check(CELL);
    assert_eq!(said.code, 0, "{said:#?}");
    assert!(
        said.stdout.contains("its spare key is here as well"),
        "{said:#?}"
    );
    // Another log's, the spare in the main one's place, none, and one that others can read.
    change(&world, CELL, "\"main.key\"", "\"../1/main.key\"");
    refused(
        &world,
        CELL,
        "key",
        &[
            "`main` in [key] of cells/0",
            "1/main.key holds the main key of cells/1",
            "the manifest fixes",
        ],
    );
    change(&world, CELL, "\"main.key\"", "\"spare.key\"");
    let words = [
        "holds the spare key of cells/0",
        "configure the key of this very log",
    ];
    refused(&world, CELL, "key", &words);
    change(&world, CELL, "\"main.key\"", "\"absent.key\"");
    refused(&world, CELL, "key", &["absent.key", "No such file"]);
    // A spare that is kept elsewhere until it is needed stops nothing; another one than the manifest's would.
    change(&world, CELL, "\"spare.key\"", "\"absent.key\"");
    let said = world.check(CELL);
    assert_eq!(said.code, 0, "{said:#?}");
    assert!(
        said.stdout.contains("its spare key cannot be used now"),
        "{said:#?}"
    );
    change(&world, CELL, "\"spare.key\"", "\"../1/spare.key\"");
    refused(
        &world,
        CELL,
        "key",
        &["1/spare.key holds the spare key of cells/1"],
    );
    change(&world, CELL, "main = \"main.key\"\n", "");
    refused(
        &world,
        CELL,
        "key",
        &["no notice has switched cells/0", "give that key as `main`"],
    );
    world.configure(CELL, &world.configuration(CELL));
    let key = world.data.join("cells/0/main.key");
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    refused(&world, CELL, "key", &["main.key has mode 644", "chmod 600"]);

    let registrar = Role::Registrar(0);
    let rsa = world.data.join("registrars/0/rsa.pem");
    std::fs::set_permissions(&rsa, Permissions::from_mode(0o640)).unwrap();
    refused(
        &world,
        registrar,
        "registrar",
        &["rsa.pem may be read by others"],
    );
    std::fs::set_permissions(&rsa, Permissions::from_mode(0o600)).unwrap();
    change(&world, registrar, "\"code.key\"", "\"rsa.pem\"");
    refused(&world, registrar, "registrar", &["`code_key`"]);
}

#[test]
fn certificates() {
    let folder = folder();
    let world = World::new(folder.path(), &Plan::default());
    let ca = Authority::new("a CA");
    let own = world.data.join(CELL.folder());
    let text = world.configuration(CELL);
    world.configure(
        CELL,
        &format!("{text}\n[tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"\n"),
    );
    refused(&world, CELL, "tls", &["[tls]", "tls.crt cannot be read"]);
    let hour = 3_600;
    let day = 24 * hour;
    ca.issue_for("cell", -day, -hour).write(&own);
    refused(&world, CELL, "tls", &["expired at", "have it renewed"]);
    ca.issue_for("cell", hour, day).write(&own);
    refused(&world, CELL, "tls", &["is not valid before"]);
    let (certificate, key) = ca.issue("cell").write(&own);
    put(&key, &ca.issue("cell").key);
    refused(&world, CELL, "tls", &["do not go together"]);
    ca.issue("cell").write(&own);
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    refused(&world, CELL, "tls", &["tls.key has mode 0644", "chmod 600"]);
    put(&certificate, b"");
    refused(&world, CELL, "tls", &["holds no certificate"]);

    // It may expire before the election closes (in an hour), which is said.
    ca.issue_for("cell", -day, 2 * day).write(&own);
    let said = world.check(CELL);
    assert_eq!(said.code, 0, "{said:#?}");
    assert!(!said.stdout.contains("renewed"), "{said:#?}");
    ca.issue_for("cell", -day, hour / 2).write(&own);
    let said = world.check(CELL);
    assert_eq!(said.code, 0, "{said:#?}");
    let words = "before the election closes: have it renewed";
    assert!(said.stdout.contains(words), "{said:#?}");
}

#[test]
fn published_files_and_anchors() {
    let folder = folder();
    let world = World::new(folder.path(), &Plan::default());
    let public = world.data.join("public");
    change(
        &world,
        CELL,
        arg(&public),
        arg(&folder.path().join("nowhere")),
    );
    // The manifest is read from there too in these tests: so that is what is missed first.
    let said = world.refused(CELL);
    assert!(
        said.code == 1 && said.stderr.contains("manifest"),
        "{said:#?}"
    );
    world.configure(
        CELL,
        &world.configuration(CELL).replace(
            &format!("directory = \"{}\"", arg(&public)),
            &format!("directory = \"{}\"", arg(&folder.path().join("nowhere"))),
        ),
    );
    refused(
        &world,
        CELL,
        "published",
        &["nowhere is not there", "make it"],
    );
    std::fs::create_dir(folder.path().join("nowhere")).unwrap();
    refused(
        &world,
        CELL,
        "published",
        &["manifest.json is not there", "publish the manifest first"],
    );
}

#[test]
fn a_port_that_is_taken() {
    let folder = folder();
    let world = World::new(folder.path(), &Plan::default());
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    change(&world, CELL, "127.0.0.1:0", &format!("127.0.0.1:{port}"));
    refused(
        &world,
        CELL,
        "listen",
        &[
            "`listen`: cannot listen on 127.0.0.1:",
            "Give each process its own port",
        ],
    );
    change(
        &world,
        CELL,
        "health_listen = 0",
        &format!("health_listen = {port}"),
    );
    refused(&world, CELL, "listen", &["`health_listen`: cannot listen"]);
}

/// The usual reason why a port is taken.
#[test]
fn a_port_that_this_very_service_has_taken() {
    let folder = folder();
    let world = World::new(folder.path(), &Plan::default());
    let mut running = world.start(CELL);
    running.wait_for("active");
    let address = |url: &str| url.trim_start_matches("http://").to_owned();
    let text = world
        .configuration(CELL)
        .replace("127.0.0.1:0", &address(&running.url))
        .replace(
            "health_listen = 0",
            &format!("health_listen = \"{}\"", address(&running.health)),
        );
    world.configure(CELL, &text);
    let process = format!("process {}, active", running.pid());
    let words = ["cell 0 of this election runs", &process, "stop it first"];
    refused(&world, CELL, "listen", &words);
    // Another service's are merely taken.
    let other = world
        .configuration(Role::Tally)
        .replace("127.0.0.1:0", &address(&running.url));
    world.configure(Role::Tally, &other);
    refused(&world, Role::Tally, "listen", &["is another process there"]);
}

#[test]
fn databases() {
    let folder = folder();
    let server = Server::start();
    let url = server.database("election");
    let plan = Plan {
        cells: 2,
        postgres: Some(url.clone()),
        ..Plan::default()
    };
    let world = World::new(folder.path(), &plan);
    assert_eq!(world.check(CELL).code, 0);
    // A check makes nothing.
    let tables = server.psql(
        "election",
        "SELECT count(*) FROM pg_tables WHERE schemaname LIKE 'cell%'",
    );
    assert_eq!(tables.trim(), "0");

    // Another log's schema.
    let mut other = world.start(Role::Cell(1));
    other.wait_for("active");
    change(&world, CELL, "schema = \"cell_0\"", "schema = \"cell_1\"");
    refused(
        &world,
        CELL,
        "database",
        &[
            "schema cell_1 holds",
            "cells/1",
            "configure the schema of this log",
        ],
    );
    // A roll that is another election's would be found likewise; one that is not loaded is told so.
    change(
        &world,
        Role::Registrar(0),
        "schema = \"registrar_0_roll\"",
        "schema = \"empty\"",
    );
    refused(
        &world,
        Role::Registrar(0),
        "registrar",
        &["the roll of registrar 0"],
    );

    // Nobody there, and no such database.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    change(
        &world,
        CELL,
        &format!(":{}/", server.port()),
        &format!(":{free}/"),
    );
    waited_for(
        &world,
        CELL,
        &["see whether the server runs and listens there"],
    );
    change(&world, CELL, "/election\"\nschema", "/absent\"\nschema");
    refused(&world, CELL, "database", &["CREATE DATABASE"]);

    // The policy that is wanted is not met.
    change(
        &world,
        CELL,
        "durability = \"single-node\"",
        "durability = { standbys = [\"a\"], count = 1 }",
    );
    // Failover's own manager may set that.
    waited_for(&world, CELL, &["synchronous_standby_names"]);
    change(&world, CELL, "\"single-node\"", "\"storage-replicated\"");
    refused(&world, CELL, "database", &["Amazon Aurora"]);
    // A password that others can read.
    let password = folder.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    std::fs::set_permissions(&password, Permissions::from_mode(0o604)).unwrap();
    change(
        &world,
        CELL,
        "durability =",
        &format!("password_file = \"{}\"\ndurability =", arg(&password)),
    );
    refused(
        &world,
        CELL,
        "database",
        &["`password_file`", "may be read by others"],
    );
}

#[test]
fn a_server_that_does_not_keep_what_it_commits() {
    let folder = folder();
    let server = Setup::new().set("fsync", "off").start();
    let plan = Plan {
        postgres: Some(server.database("election")),
        registrars: 1,
        ..Plan::default()
    };
    let world = World::new(folder.path(), &plan);
    for role in [CELL, Role::Registrar(0), Role::Anchor] {
        refused(&world, role, "database", &["fsync", "set fsync = on"]);
    }
    assert_eq!(world.check(Role::Tally).code, 0);
}

#[test]
fn a_real_election_on_one_disk() {
    let folder = folder();
    let server = Server::start();
    let plan = Plan {
        demo: false,
        ..Plan::default()
    };
    let world = World::new(folder.path(), &plan);
    refused(&world, CELL, "database", &["demo"]);
    let postgres = format!(
        "url = \"{}\"\ndurability = \"single-node\"",
        server.database("election")
    );
    change(&world, CELL, "sqlite = \"log.sqlite\"", &postgres);
    refused(
        &world,
        CELL,
        "database",
        &["single-node", "use the policy of standbys"],
    );
}

/// A clock that somebody set, by so many ms.
struct Set(i64);

impl Clock for Set {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms().saturating_add_signed(self.0)
    }
}

/// The anchoring service, with such a clock.
async fn heads_by(world: &World, clock: Set) -> anchoring::Anchoring {
    let election = world.published.election.clone();
    let public = world.data.join("public");
    let name = ledger::heads::name_of(&election, protocol::ids::LogId::Heads);
    let store = ledger::Sqlite::open(&world.data.join("heads/log.sqlite"), &name, true)
        .await
        .unwrap();
    let key = signer::KeyFile::load(&world.data.join("heads/main.key")).unwrap();
    let expected = *election
        .log_keys(protocol::ids::LogId::Heads)
        .unwrap()
        .main
        .as_bytes();
    let anchor = anchoring::DirectoryAnchor::open(
        "local",
        &world.published.folder.join("anchors/local"),
        &public.join("tmp/anchors"),
    );
    anchoring::Anchoring::start(
        anchoring::AnchoringConfig::new(&election),
        Arc::new(ledger::DirectoryReader::new(&public, &election.id())),
        Arc::new(store),
        Arc::new(ledger::Directory::open(&public, &election.id(), "heads").unwrap()),
        signer::checked(Arc::new(key), expected).unwrap(),
        vec![Arc::new(anchor.unwrap())],
        Arc::new(clock),
    )
    .await
    .unwrap()
}

/// A head of the future is published: from here on this machine's clock is the one that is behind.
#[tokio::test]
async fn a_clock_that_is_behind() {
    let folder = folder();
    let world = World::new(folder.path(), &Plan::default());
    for role in world.roles() {
        assert_eq!(world.check(role).code, 0, "{role:?}");
    }
    // So far that a slow minute leaves it an hour.
    let anchoring = heads_by(&world, Set(3_660_000)).await;
    anchoring.watch().wait_for(Option::is_some).await.unwrap();
    drop(anchoring);
    for role in world.roles() {
        refused(
            &world,
            role,
            "clock",
            &["clock is at least 36", "set it (NTP)"],
        );
    }
    let (id, public) = (world.published.id(), world.data.join("public"));
    let open = run(
        "tallyroot",
        &[
            "election",
            "open",
            arg(&public),
            "--election",
            &id,
            "--json",
        ],
    );
    assert!(
        open.code == 1 && open.stdout.contains("ahead of this machine's clock"),
        "{open:#?}"
    );
}

/// New heads show an earlier time: from here on this machine's clock is the one that is ahead. Old ones would show nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ahead() {
    let folder = folder();
    let world = World::new(folder.path(), &Plan::default());
    let anchoring = heads_by(&world, Set(-20_000)).await;
    anchoring.watch().wait_for(Option::is_some).await.unwrap();
    for role in [CELL, Role::Registrar(0)] {
        refused(
            &world,
            role,
            "clock",
            &["s ahead of the newest published head", "set it (NTP)"],
        );
    }
    drop(anchoring);
    let said = world.check(CELL);
    assert_eq!(said.code, 0, "{said:#?}");
    assert!(said.stdout.contains("too old to tell"), "{said:#?}");
}
