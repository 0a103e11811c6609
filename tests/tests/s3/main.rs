//! Elections whose files and anchors lie in buckets of a server that speaks S3's protocol.

mod anchors;

use serde_json::{Value, json};
use tests::device::Device;
use tests::serve::{BucketsPlan, Plan, Role, Service, World};
use tests::{arg, folder, run, run_with};
use throwaway_ministack::{Identity, Server, environment};

/// An election in a bucket of its own, anchored in another one.
fn plan(server: &Server) -> Plan {
    let published = server.bucket("public", false);
    server.show_to_all(&published);
    let anchor = server.bucket("anchor", true);
    server.show_to_all(&anchor);
    Plan {
        buckets: Some(BucketsPlan {
            endpoint: server.url(),
            published,
            anchors: vec![("local".to_owned(), anchor)],
            environment: environment("", &Identity::root())
                .into_iter()
                .filter(|(name, _)| *name != "AWS_ENDPOINT_URL" && *name != "AWS_REGION")
                .collect(),
        }),
        ..Plan::default()
    }
}

/// Makes the election, and publishes its manifest.
fn world(server: &Server, folder: &std::path::Path) -> World {
    let world = World::new(folder, &plan(server));
    let election = &world.published.election;
    let buckets = world.plan.buckets.as_ref().unwrap();
    server.s3(
        &format!(
            "PUT /{}/elections/{}/manifest.json",
            buckets.published,
            election.id()
        ),
        "",
        std::str::from_utf8(election.manifest_bytes()).unwrap(),
    );
    world
}

/// Signs in, votes, and gets a receipt.
async fn vote(world: &World, services: &[Service], voter: u32) {
    let site = world.site(services);
    let mut device = Device::new(&world.published.election);
    device.sign_in(&site, &world.codes(voter)).await;
    let vote = device.vote(&world.published.election, &[vec![0]]);
    let (status, answer) = site.cast(&vote).await;
    assert_eq!(status, 200, "{answer}");
}

fn of(services: &[Service], role: Role) -> &Service {
    let found = services.iter().find(|service| service.role == role);
    found.unwrap()
}

/// The audit of what is published at a place.
fn audit(world: &World, place: &str, more: &[&str]) -> (i32, Value) {
    let id = world.published.id();
    let mut arguments = vec!["audit", place, "--election", &id, "--json"];
    arguments.extend(more);
    let said = run("tallyroot-verify", &arguments);
    let verdict = serde_json::from_str(&said.stdout);
    (said.code, verdict.unwrap_or_else(|_| panic!("{said:#?}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_election_in_buckets() {
    let server = Server::shared();
    let folder = folder();
    let world = world(server, folder.path());
    let id = world.published.id();
    for role in world.roles() {
        let said = world.check(role);
        assert_eq!(said.code, 0, "{said:#?}");
    }
    let services = world.start_all();
    for voter in 0..5 {
        vote(&world, &services, voter).await;
    }
    let tally = of(&services, Role::Tally).url.clone();
    let anchor = of(&services, Role::Anchor).url.clone();
    let authority = world.data.join("authority/main.key");
    let arguments = [
        "election",
        "close",
        &tally,
        "--election",
        &id,
        "--key",
        arg(&authority),
        "--anchor",
        &anchor,
        "--json",
    ];
    let said = run_with("tallyroot", &arguments, &Vec::new());
    assert_eq!(said.code, 0, "{said:#?}");
    let said = run(
        "tallyroot",
        &["election", "finalize", &tally, "--election", &id, "--json"],
    );
    assert_eq!(said.code, 0, "{said:#?}");
    assert_eq!(said.json()["votes"], json!(5));
    let (code, verdict) = audit(&world, &tally, &[]);
    let found = (code, &verdict["state"]);
    assert_eq!(found, (0, &json!("final")), "{verdict:#}");
    for service in services {
        let role = service.role;
        let (code, said) = service.stop();
        assert_eq!(code, 0, "{role:?}: {said}");
    }
    // The anchors themselves.
    let anchor = &world.plan.buckets.as_ref().unwrap().anchors[0].1;
    let anchor = anchors::open(server, anchor).await;
    let election = &world.published.election;
    let copies = anchors::Copies {
        server,
        election,
        published: format!(
            "s3://{}/?endpoint={}",
            world.plan.buckets.as_ref().unwrap().published,
            server.url()
        ),
        objects: anchors::objects(&anchor, election).await,
    };
    assert_eq!(copies.found(&anchor, &[]), (0, json!({})));
    copies.undo().await;
    copies.wrong().await;
    // As an auditor has it: the bucket's name, no credentials, and no service of the election's.
    let bucket = &world.plan.buckets.as_ref().unwrap().published;
    let bucket = format!("s3://{bucket}/?endpoint={}", server.url());
    let (code, verdict) = audit(&world, &bucket, &[]);
    let found = (code, &verdict["state"]);
    assert_eq!(found, (0, &json!("final")), "{verdict:#}");
    let foreign = format!(
        "PUT /{}/elections/{id}/cells/0/other",
        world.plan.buckets.as_ref().unwrap().published
    );
    server.s3(&foreign, "", "what does not belong there");
    let (code, verdict) = audit(&world, &bucket, &[]);
    let codes = &verdict["findings_by_code"];
    assert_eq!(
        (code, codes),
        (1, &json!({"foreign-file": 1})),
        "{verdict:#}"
    );
    // Databases against the bucket.
    for role in [Role::Cell(0), Role::Anchor, Role::Registrar(0)] {
        let config = world.config(role);
        let said = run_with(
            "tallyroot",
            &["fsck", role.name(), "--config", arg(&config), "--json"],
            &world.plan.buckets.as_ref().unwrap().environment,
        );
        assert_eq!(said.code, 0, "{said:#?}");
        assert_eq!(said.json()["whole"], json!(true));
    }
}
