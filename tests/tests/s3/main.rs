//! An election whose keys are made in and held by a KMS, and whose files lie in a bucket, of a server that speaks AWS's protocols; with an anchor in a bucket with Object Lock there,
//! and one in Ceph's. Each service has an identity of its own, which may do what it needs and nothing else.

mod anchors;
mod bad;

use aws_sdk_kms::Client;
use serde_json::{Value, json};
use tests::device::Device;
use tests::files;
use tests::serve::{AnchorPlan, BucketsPlan, KmsPlan, Plan, Role, Service, World};
use tests::{Environment, arg, folder, run, run_with};
use throwaway_ministack::{Identity, ObjectStore, Server, environment, shown};
use throwaway_rados as rados;

/// Whose credentials a process has; where the servers are, its configuration says.
fn credentials(identity: &Identity) -> Environment {
    environment("", identity)
        .into_iter()
        .filter(|(name, _)| *name != "AWS_ENDPOINT_URL" && *name != "AWS_REGION")
        .collect()
}

/// An election in a bucket of its own, anchored in another one and at Ceph's, with all keys in KMS.
async fn plan(server: &Server, ceph: &rados::Server) -> Plan {
    let published = server.bucket("public", false);
    server.show_to_all(&published);
    let anchor = |name: &str, store: &dyn ObjectStore| {
        let bucket = store.bucket("anchor", true);
        store.show_to_all(&bucket);
        AnchorPlan {
            name: name.to_owned(),
            bucket,
            endpoint: store.url(),
        }
    };
    let root = server.aws(&Identity::root());
    let wrapping = Client::new(root.config().await.unwrap())
        .create_key()
        .send()
        .await
        .unwrap();
    let wrapping = wrapping.key_metadata().unwrap().arn().unwrap().to_owned();
    Plan {
        kms: Some(KmsPlan {
            endpoint: server.url(),
            keys: format!(
                "[keys]\ncells = {{ kms = true }}\nissuance = {{ kms = true }}\nheads = {{ kms = true }}\nauthority = {{ kms = true }}\nspares = {{ kms = true }}\n\
                 rsa = {{ kms = [\"{wrapping}\"] }}\n"
            ),
            environment: credentials(&Identity::root()),
        }),
        buckets: Some(BucketsPlan {
            endpoint: server.url(),
            published,
            anchors: vec![anchor("local", server), anchor("ceph", ceph)],
            environment: credentials(&Identity::root()),
        }),
        ..Plan::default()
    }
}

/// Gives each service an identity of its own: its own keys, its own part of the published bucket, and for the anchoring service the anchors.
fn identify(server: &Server, ceph: &rados::Server, world: &mut World) {
    let id = world.published.id();
    let buckets = world.plan.buckets.as_ref().unwrap();
    let published = buckets.published.clone();
    let [local, at_ceph] = [0, 1].map(|n: usize| buckets.anchors[n].bucket.clone());
    let allow = |actions: &str, resource: &str| {
        format!(r#"{{"Effect":"Allow","Action":[{actions}],"Resource":"{resource}"}}"#)
    };
    let anchors = |bucket: &str| {
        [
            (
                r#""s3:PutObject","s3:PutObjectRetention","s3:GetObject","s3:GetObjectVersion","s3:GetObjectRetention""#,
                format!("arn:aws:s3:::{bucket}/*"),
            ),
            (
                r#""s3:ListBucket","s3:ListBucketVersions","s3:GetBucketObjectLockConfiguration","s3:GetBucketVersioning""#,
                format!("arn:aws:s3:::{bucket}"),
            ),
        ]
    };
    for role in world.roles() {
        let folder = role.folder();
        let (logs, writes) = match role {
            Role::Registrar(_) => (vec![format!("{folder}/0")], vec![format!("{folder}/*")]),
            Role::Tally => (Vec::new(), vec!["results.json".to_owned()]),
            Role::Cell(_) => (vec![folder.clone()], vec![format!("{folder}/*")]),
            Role::Anchor => (
                vec![folder.clone()],
                vec![format!("{folder}/*"), "anchors/*".to_owned()],
            ),
        };
        let mut statements = vec![
            allow(
                r#""s3:GetObject""#,
                &format!("arn:aws:s3:::{published}/elections/{id}/*"),
            ),
            allow(r#""s3:ListBucket""#, &format!("arn:aws:s3:::{published}")),
        ];
        for path in writes {
            let resource = format!("arn:aws:s3:::{published}/elections/{id}/{path}");
            statements.push(allow(r#""s3:PutObject""#, &resource));
        }
        if role != Role::Tally {
            // What the start tries the bucket's conditions with.
            statements.push(allow(
                r#""s3:PutObject","s3:GetObject","s3:DeleteObject""#,
                &format!("arn:aws:s3:::{published}/probe/*"),
            ));
        }
        for log in logs {
            for which in ["main", "spare"] {
                let key = world.kms_name(&format!("{log}/{which}"));
                let key = key.expect("a key in KMS");
                statements.push(allow(r#""kms:GetPublicKey","kms:Sign""#, &key));
            }
        }
        if let Some(key) = world.kms_name(&format!("{folder}/rsa")) {
            statements.push(allow(r#""kms:Decrypt""#, &key));
        }
        if role == Role::Anchor {
            let ours = anchors(&local);
            statements.extend(ours.iter().map(|(what, where_)| allow(what, where_)));
        }
        let name = format!("s3-{}-{}", &id[..16], folder.replace('/', "-"));
        let user = server.user(&name, &statements);
        if role == Role::Anchor {
            // The same key there: a process has one.
            ceph.user(&name, &user);
            let principal = format!(r#"{{"AWS":["arn:aws:iam:::user/{name}"]}}"#);
            let theirs = anchors(&at_ceph).map(|(actions, resource)| {
                format!(
                    r#"{{"Effect":"Allow","Principal":{principal},"Action":[{actions}],"Resource":"{resource}"}}"#
                )
            });
            let [of_objects, of_bucket] = theirs;
            ceph.permit(&at_ceph, &[shown(&at_ceph), of_objects, of_bucket]);
        }
        world.environments.insert(folder, credentials(&user));
    }
}

fn publish_manifest(server: &Server, world: &World) {
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
}

/// Makes the election, and publishes its manifest.
async fn world(server: &Server, ceph: &rados::Server, folder: &std::path::Path) -> World {
    let mut world = World::new(folder, &plan(server, ceph).await);
    publish_manifest(server, &world);
    identify(server, ceph, &mut world);
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

/// Every request to KMS and S3 is counted, by what became of it.
async fn counted(services: &[Service]) {
    for (role, requests) in [
        (
            Role::Cell(0),
            &[
                "kms Sign",
                "kms GetPublicKey",
                "s3 PutObject",
                "s3 GetObject",
            ][..],
        ),
        (Role::Registrar(0), &["kms Decrypt", "kms Sign"]),
        (Role::Tally, &["s3 PutObject", "s3 GetObject"]),
        (Role::Anchor, &["s3 PutObject", "s3 ListObjectVersions"]),
    ] {
        let page = of(services, role).metrics().await;
        for request in requests {
            let (service, operation) = request.split_once(' ').unwrap();
            let done = format!(
                "tallyroot_aws_requests_total{{service=\"{service}\",operation=\"{operation}\",outcome=\"done\"}}"
            );
            assert!(page.contains(&done), "{role:?}: {request}: {page}");
            let seconds = format!(
                "tallyroot_aws_request_seconds_count{{service=\"{service}\",operation=\"{operation}\"}}"
            );
            assert!(page.contains(&seconds), "{role:?}: {request}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_election_in_buckets() {
    let (server, ceph) = (Server::shared(), rados::Server::shared());
    let folder = folder();
    let world = world(server, ceph, folder.path()).await;
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
    let authority = world.kms_name("authority/main").unwrap();
    let arguments = [
        "election",
        "close",
        &tally,
        "--election",
        &id,
        "--kms",
        &authority,
        "--anchor",
        &anchor,
        "--json",
    ];
    let mut environment = world.plan.kms.as_ref().unwrap().environment.clone();
    environment.push(("AWS_ENDPOINT_URL", server.url()));
    let said = run_with("tallyroot", &arguments, &environment);
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
    counted(&services).await;
    for service in services {
        let role = service.role;
        let (code, said) = service.stop();
        assert_eq!(code, 0, "{role:?}: {said}");
    }
    // No key is in any file. (Whether one is in another's bytes, the tests of KMS alone look at.)
    let is_key = |name: &String| name.ends_with(".key") || name.ends_with(".pem");
    let keys: Vec<String> = files::list(&world.data)
        .into_iter()
        .filter(is_key)
        .collect();
    assert!(
        keys.iter()
            .all(|name| name.starts_with("registrars/0/code")),
        "{keys:?}"
    );
    // The anchors themselves.
    let buckets = world.plan.buckets.as_ref().unwrap();
    let published = format!("s3://{}/?endpoint={}", buckets.published, server.url());
    let election = &world.published.election;
    let stores: [&dyn ObjectStore; 2] = [server, ceph];
    for (store, [this, other]) in stores.into_iter().zip([[0, 1], [1, 0]]) {
        let [this, other] = [this, other].map(|n: usize| &buckets.anchors[n]);
        let anchor = anchors::open(store, &this.bucket).await;
        let copies = anchors::Copies {
            store,
            election,
            name: &this.name,
            published: &published,
            other: format!(
                "{}=s3://{}/?endpoint={}",
                other.name, other.bucket, other.endpoint
            ),
            objects: anchors::objects(&anchor, election, &this.name).await,
        };
        assert_eq!(copies.found(&anchor, &[]), (0, json!({})));
        copies.undo().await;
        copies.wrong().await;
    }
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
