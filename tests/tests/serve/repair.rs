//! Databases that are lost are filled again from what is published: same roots, same indices, no second vote and no second credential.

use protocol::ids::LogId;
use serde_json::Value;
use tests::device::{Device, code};
use tests::serve::{Plan, Role, World};
use tests::{arg, folder, run};

fn repair(world: &World, command: &str, role: Role) -> (i32, Value) {
    let config = world.config(role);
    let said = run(
        "tallyroot",
        &[command, role.name(), "--config", arg(&config), "--json"],
    );
    let answer = serde_json::from_str(&said.stdout).unwrap_or(Value::String(said.stderr));
    (said.code, answer)
}

#[tokio::test]
async fn dropped_databases_are_rebuilt() {
    use base64::Engine as _;
    let folder = folder();
    let server = throwaway_postgres::Server::start();
    let plan = Plan {
        shards: 2,
        postgres: Some(server.database("election")),
        ..Plan::default()
    };
    let world = World::new(folder.path(), &plan);
    let election = world.published.election.clone();
    // Before anything was published there is nothing to rebuild from.
    let (exit, said) = repair(&world, "rebuild", Role::Cell(0));
    assert!(
        exit == 1 && said.to_string().contains("nothing is published"),
        "{said}"
    );

    let services = world.start_all();
    let site = world.site(&services);
    let mut devices = Vec::new();
    let mut places = Vec::new();
    for v in 0..6 {
        let mut device = Device::new(&election);
        device.sign_in(&site, &world.codes(v)).await;
        let (status, answer) = site.cast(&device.vote(&election, &[vec![0]])).await;
        assert_eq!(status, 200, "{answer}");
        places.push(answer["index"].clone());
        devices.push(device);
    }
    let writers = [Role::Cell(0), Role::Registrar(0), Role::Anchor];
    // Beside running services nobody else takes a log.
    let (exit, said) = repair(&world, "rebuild", Role::Cell(0));
    assert!(
        exit == 1 && said.to_string().contains("another process is active"),
        "{said}"
    );
    for service in services {
        assert_eq!(service.stop().0, 0);
    }
    for role in writers {
        let (exit, answer) = repair(&world, "fsck", role);
        assert_eq!(
            (exit, &answer["whole"]),
            (0, &Value::Bool(true)),
            "{answer:#}"
        );
    }
    let logs = [
        LogId::Cell(0),
        LogId::Issuance {
            registrar: 0,
            shard: 0,
        },
        LogId::Issuance {
            registrar: 0,
            shard: 1,
        },
        LogId::Heads,
    ];
    let before: Vec<_> = logs
        .iter()
        .map(|log| world.published.leaves(*log))
        .collect();

    for schema in [
        "cell_0",
        "registrar_0_0",
        "registrar_0_1",
        "registrar_0_roll",
        "heads",
    ] {
        server.psql(
            "election",
            &format!("SET client_min_messages = error; DROP SCHEMA {schema} CASCADE"),
        );
    }
    for role in writers {
        let (exit, answer) = repair(&world, "rebuild", role);
        assert_eq!(
            (exit, &answer["whole"]),
            (0, &Value::Bool(true)),
            "{role:?} {answer:#}"
        );
    }
    for (log, before) in logs.iter().zip(&before) {
        let after = world.published.leaves(*log);
        assert_eq!(after.get(..before.len()), Some(&**before), "{log}");
    }

    let services = world.start_all();
    let site = world.site(&services);
    for (device, place) in devices.iter().zip(&places) {
        let (status, answer) = site.cast(&device.vote(&election, &[vec![0]])).await;
        assert_eq!((status, &answer["index"]), (200, place));
        let other = site.cast(&device.vote(&election, &[vec![1]])).await;
        assert_eq!(code(&other), (409, "other-ballot"));
    }
    let blinded = Device::new(&election).blinded(&election, 0);
    let body = serde_json::json!({
        "blinded": base64::engine::general_purpose::STANDARD.encode(blinded),
        "code": world.codes(0)[0],
    });
    let second = site.post("registrars/0/credentials", &body).await;
    assert_eq!(code(&second), (409, "other-message"));
    drop(services);
    let (exit, verdict) = world.audit();
    assert_eq!((exit, &verdict["votes"]), (0, &6.into()), "{verdict:#}");
}

#[tokio::test]
async fn a_difference_is_named_with_its_place() {
    let folder = folder();
    let world = World::new(folder.path(), &Plan::default());
    let services = world.start_all();
    drop(services);
    std::fs::remove_file(world.published.folder.join("cells/0/checkpoints/1")).unwrap();
    let (exit, answer) = repair(&world, "fsck", Role::Cell(0));
    assert_eq!(exit, 1, "{answer:#}");
    let difference = &answer["logs"][0]["differences"][0];
    assert_eq!(difference["kind"], "file-missing", "{answer:#}");
    assert_eq!(difference["place"], "cells/0/checkpoints/1");
}

/// A roll is loaded by a role of its own, so that the one that serves may only read it.
#[tokio::test]
async fn the_role_that_serves_a_roll_can_only_read_it() {
    let folder = folder();
    let server = throwaway_postgres::Server::start();
    let plan = Plan {
        postgres: Some(server.database("election")),
        ..Plan::default()
    };
    let world = World::new(folder.path(), &plan);
    // The only schema so far.
    server.psql("election", "DROP SCHEMA registrar_0_roll CASCADE");
    server.psql(
        "election",
        "CREATE ROLE loader LOGIN PASSWORD 'secret'; CREATE ROLE registrar LOGIN;
         GRANT CREATE ON DATABASE election TO loader, registrar",
    );
    let role = Role::Registrar(0);
    let (loader, serving) = (
        server.url_as("loader", "", "election"),
        server.url_as("registrar", "", "election"),
    );
    let configured = world.configuration(role);
    world.configure(role, &configured.replace(&server.url("election"), &serving));
    let config = world.config(role);
    let load = |url: &str| {
        let args = ["roll", "load", "--config", arg(&config), "--json"];
        run("tallyroot", &[&args[..], &["--url", url]].concat())
    };
    let refused = load(&server.url_as("loader", "secret", "election"));
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("holds a password") && !refused.stderr.contains("secret"),
        "{refused:?}"
    );
    assert_eq!(load(&loader).json()["loaded"], "filled");
    // As `roll load --help` says.
    server.psql(
        "election",
        "GRANT USAGE ON SCHEMA registrar_0_roll TO registrar;
         GRANT SELECT ON ALL TABLES IN SCHEMA registrar_0_roll TO registrar",
    );
    assert_eq!(load(&loader).json()["loaded"], "already-there");
    let services = world.start_all();
    let site = world.site(&services);
    Device::new(&world.published.election)
        .sign_in(&site, &world.codes(0))
        .await;
    for service in services {
        assert_eq!(service.stop().0, 0);
    }
    let written = server
        .command("psql")
        .args(["-X", "-U", "registrar", "-d", "election", "-c"])
        .arg("UPDATE registrar_0_roll.voter SET code_hmac = code_seal")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&written.stderr).contains("permission denied"));
    // A rebuild of its logs does not need to load what is there.
    let (exit, answer) = repair(&world, "rebuild", role);
    assert_eq!(exit, 0, "{answer:#}");
}
