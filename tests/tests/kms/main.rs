//! Elections whose keys are made in and held by a KMS that speaks AWS's protocol: no key of a log is in any file or process of ours.

mod bad;
mod faults;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use aws_sdk_kms::Client;
use aws_sdk_kms::types::KeySpec;
use protocol::ed25519::SigningKey;
use protocol::ids::LogId;
use protocol::manifest::Election;
use serde_json::json;
use tests::device::Device;
use tests::serve::{KmsPlan, Plan, Role, Service, World};
use tests::{arg, files, folder, run};
use throwaway_ministack::{Identity, Server, environment};

/// Every role's keys in KMS, made there.
const MADE: &str = "[keys]\ncells = { kms = true }\nissuance = { kms = true }\nheads = { kms = true }\nauthority = { kms = true }\nspares = { kms = true }\n";

/// The account's root, as a client.
async fn client() -> Client {
    let aws = Server::shared().aws(&Identity::root());
    Client::new(aws.config().await.unwrap())
}

/// A new key for wrapping.
async fn symmetric() -> String {
    let made = client().await.create_key().send().await.unwrap();
    made.key_metadata().unwrap().arn().unwrap().to_owned()
}

/// A plan whose keys are all in the KMS at this address.
async fn plan(endpoint: &str) -> Plan {
    Plan {
        kms: Some(KmsPlan {
            endpoint: endpoint.to_owned(),
            keys: format!("{MADE}rsa = {{ kms = [\"{}\"] }}\n", symmetric().await),
            environment: environment(endpoint, &Identity::root())
                .into_iter()
                .filter(|(name, _)| *name != "AWS_ENDPOINT_URL" && *name != "AWS_REGION")
                .collect(),
        }),
        cells: 2,
        ..Plan::default()
    }
}

/// Gives each service an identity of its own, which may use its own keys and nothing else.
fn identify(world: &mut World) {
    let id = world.published.id();
    for role in world.roles() {
        let folder = role.folder();
        let logs = match role {
            Role::Registrar(_) => vec![format!("{folder}/0")],
            Role::Tally => Vec::new(),
            Role::Cell(_) | Role::Anchor => vec![folder.clone()],
        };
        let mut statements: Vec<String> = logs
            .iter()
            .flat_map(|log| [format!("{log}/main"), format!("{log}/spare")])
            .map(|key| {
                let key = world.kms_name(&key).expect("a key in KMS");
                format!(
                    r#"{{"Effect":"Allow","Action":["kms:GetPublicKey","kms:Sign"],"Resource":"{key}"}}"#
                )
            })
            .collect();
        if let Some(key) = world.kms_name(&format!("{folder}/rsa")) {
            statements.push(format!(
                r#"{{"Effect":"Allow","Action":"kms:Decrypt","Resource":"{key}"}}"#
            ));
        }
        if statements.is_empty() {
            // It has nothing to do with AWS, and no credentials.
            world.environments.insert(folder, Vec::new());
            continue;
        }
        let name = format!("{}-{}", &id[..16], folder.replace('/', "-"));
        let user = Server::shared().user(&name, &statements);
        let own = environment("", &user)
            .into_iter()
            .filter(|(name, _)| *name != "AWS_ENDPOINT_URL" && *name != "AWS_REGION");
        world.environments.insert(folder, own.collect());
    }
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

/// The keys that the manifest fixes for logs and the authority.
fn public_keys(election: &Election) -> BTreeSet<[u8; 32]> {
    let logs = election.logs().iter().chain(&[LogId::Heads]);
    logs.filter_map(|log| election.log_keys(*log))
        .chain([election.authority_keys()])
        .flat_map(|keys| [*keys.main.as_bytes(), *keys.spare.as_bytes()])
        .collect()
}

/// Whether these bytes hold a key's seed, as they are or in hexadecimal digits.
fn holds_a_seed(bytes: &[u8], public: &BTreeSet<[u8; 32]>) -> bool {
    let is_seed = |seed: &[u8; 32]| public.contains(&SigningKey::from_seed(seed).public());
    let raw = bytes.windows(32).filter_map(|raw| raw.try_into().ok());
    let spelt = bytes
        .windows(64)
        .filter(|text| text.iter().all(u8::is_ascii_hexdigit))
        .filter_map(|text| hex::decode(text).ok()?.try_into().ok());
    let mut seeds: BTreeSet<[u8; 32]> = raw.collect();
    seeds.extend(spelt.collect::<Vec<[u8; 32]>>());
    seeds.iter().any(is_seed)
}

/// Every file of the deployment that is not published.
fn private_files(data: &Path) -> Vec<(String, Vec<u8>)> {
    files::list(data)
        .into_iter()
        .filter(|name| !name.starts_with("public/"))
        .map(|name| {
            let bytes = fs::read(data.join(&name)).unwrap();
            (name, bytes)
        })
        .collect()
}

#[test]
fn a_seed_is_found_wherever_it_is() {
    let seed = [0x5e; 32];
    let public = BTreeSet::from([SigningKey::from_seed(&seed).public()]);
    let around = |middle: &[u8]| [b"before", middle, b"after"].concat();
    assert!(holds_a_seed(&around(&seed), &public));
    assert!(holds_a_seed(&around(hex::encode(seed).as_bytes()), &public));
    assert!(!holds_a_seed(&around(&[0x5f; 32]), &public));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_election_whose_keys_never_leave_kms() {
    let folder = folder();
    let mut world = World::new(folder.path(), &plan(&Server::shared().url()).await);
    let election = world.published.election.clone();

    // The manifest's keys are those in KMS, which say whose they are.
    let client = client().await;
    let mut told = BTreeSet::new();
    for (name, bytes) in private_files(&world.data) {
        let Some(place) = name.strip_suffix(".kms") else {
            continue;
        };
        let key = String::from_utf8(bytes).unwrap();
        let described = client.describe_key().key_id(key.trim_end()).send().await;
        let spec = described
            .unwrap()
            .key_metadata()
            .unwrap()
            .key_spec()
            .cloned();
        if place.ends_with("/rsa") {
            assert_eq!(spec, Some(KeySpec::SymmetricDefault));
            continue;
        }
        let answer = client.get_public_key().key_id(key.trim_end()).send().await;
        let spki = answer.unwrap().public_key.unwrap().into_inner();
        told.insert(<[u8; 32]>::try_from(&spki[12..]).unwrap());
        let tags = client.list_resource_tags().key_id(key.trim_end());
        let tags = tags.send().await.unwrap();
        let tag = |name: &str| {
            let tag = tags.tags().iter().find(|tag| tag.tag_key() == name);
            tag.map(|tag| tag.tag_value().to_owned()).unwrap()
        };
        assert_eq!(tag("tallyroot-election"), election.id().to_string());
        let (log, which) = place.rsplit_once('/').unwrap();
        assert_eq!(tag("tallyroot-log"), log);
        assert_eq!(tag("tallyroot-role") == "spares", which == "spare");
    }
    assert_eq!(told, public_keys(&election));

    identify(&mut world);
    for role in world.roles() {
        let said = world.check(role);
        assert_eq!(said.code, 0, "{said:#?}");
    }
    let services = world.start_all();
    for voter in 0..10 {
        vote(&world, &services, voter).await;
    }
    let anchor = services
        .iter()
        .find(|one| one.role == Role::Anchor)
        .unwrap();
    let said = world.notice(anchor, &["close"]);
    assert_eq!(said.code, 0, "{said:#?}");
    let said = world.election(&["finalize"]);
    assert_eq!(said.code, 0, "{said:#?}");
    assert_eq!(said.json()["votes"], json!(10));
    for service in services {
        let role = service.role;
        let (code, said) = service.stop();
        assert_eq!(code, 0, "{role:?}: {said}");
    }
    let (code, verdict) = world.audit();
    assert_eq!(
        (code, &verdict["state"]),
        (0, &json!("final")),
        "{verdict:#}"
    );

    let public = public_keys(&election);
    for (name, bytes) in private_files(&world.data) {
        assert!(
            !name.ends_with("main.key") && !name.ends_with("spare.key"),
            "{name}"
        );
        assert!(!name.ends_with("rsa.pem"), "{name}");
        assert!(!holds_a_seed(&bytes, &public), "{name} holds a key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_in_kms_already_are_named() {
    let client = client().await;
    let make = async || {
        let made = client.create_key().key_spec(KeySpec::EccNistEdwards25519);
        let made = made.key_usage(aws_sdk_kms::types::KeyUsageType::SignVerify);
        let made = made.send().await.unwrap();
        made.key_metadata().unwrap().arn().unwrap().to_owned()
    };
    let (first, second, authority) = (make().await, make().await, make().await);
    let mut plan = plan(&Server::shared().url()).await;
    let kms = plan.kms.as_mut().unwrap();
    kms.keys = format!(
        "[keys]\ncells = {{ kms = [\"{first}\", \"{second}\"] }}\nauthority = {{ kms = \"{authority}\" }}\n"
    );
    let folder = folder();
    let world = World::new(folder.path(), &plan);
    assert_eq!(world.kms_name("cells/0/main"), Some(first.clone()));
    assert_eq!(world.kms_name("cells/1/main"), Some(second.clone()));
    assert_eq!(world.kms_name("authority/main"), Some(authority));
    // All others are files.
    for file in [
        "cells/0/spare.key",
        "heads/main.key",
        "registrars/0/rsa.pem",
    ] {
        assert!(world.data.join(file).is_file(), "{file}");
    }

    // One key for two logs, too few, too many, and one that is none.
    for (cells, why) in [
        (vec![&first, &first], "key"),
        (vec![&first], "names 1 keys, and this election needs 2"),
        (
            vec![&first, &second, &first],
            "names 3 keys, and this election needs 2",
        ),
        (vec![&first, &"main.key".to_owned()], "names no KMS key"),
    ] {
        let path = folder.path().join("description.toml");
        let text = fs::read_to_string(&path).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("cells = {"))
            .unwrap();
        let text = text.replace(line, &format!("cells = {{ kms = {cells:?} }}"));
        let other = folder.path().join("other.toml");
        fs::write(&other, text).unwrap();
        let out = folder.path().join("other");
        let made = tests::run_with(
            "tallyroot",
            &["election", "new", arg(&other), "--out", arg(&out)],
            &plan.kms.as_ref().unwrap().environment,
        );
        assert!(
            made.code != 0 && made.stderr.contains(why),
            "{why}: {made:#?}"
        );
        assert!(!out.exists());
    }
    assert_eq!(run("tallyroot", &["election", "new", "--help"]).code, 0);
}
