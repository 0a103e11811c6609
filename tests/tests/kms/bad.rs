//! What is wrong with a key in KMS is said at start, with what to do.

use std::fs;

use tests::serve::{Role, World};
use tests::{arg, folder, run_with};
use throwaway_ministack::{Identity, Proxy, Server, environment};

use crate::{client, plan};

/// What a check of the cell's configuration finds wrong with its key.
fn wrong(world: &World) -> String {
    let said = world.check(Role::Cell(0));
    assert_eq!(said.code, 1, "{said:#?}");
    let checks = said.json()["checks"].clone();
    let mut key = checks.as_array().unwrap().iter();
    let key = key.rfind(|check| check["check"] == "key");
    let key = key.unwrap_or_else(|| panic!("{said:#?}"));
    assert_eq!(key["ok"], false, "{said:#?}");
    key["message"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_sign_is_refused_at_start() {
    let folder = folder();
    let mut world = World::new(folder.path(), &plan(&Server::shared().url()).await);
    let role = Role::Cell(0);
    let right = world.configuration(role);
    let (mine, other) = (
        world.kms_name("cells/0/main").unwrap(),
        world.kms_name("cells/1/main").unwrap(),
    );
    let client = client().await;

    world.configure(role, &right.replace(&mine, &other));
    let said = wrong(&world);
    assert!(said.contains("the main key of cells/1"), "{said}");
    let refused = world.refused(role);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("the main key of cells/1"),
        "{refused:#?}"
    );

    let absent = "1234abcd-12ab-34cd-56ef-1234567890ab";
    world.configure(role, &right.replace(&mine, absent));
    let said = wrong(&world);
    assert!(said.contains("no such key"), "{said}");

    world.configure(role, &right);
    client.disable_key().key_id(&mine).send().await.unwrap();
    let said = wrong(&world);
    assert!(said.contains("aws kms enable-key"), "{said}");
    assert_eq!(world.refused(role).code, 1);
    client.enable_key().key_id(&mine).send().await.unwrap();

    let reader = Server::shared().user(
        &format!("{}-reader", &world.published.id()[..16]),
        &[r#"{"Effect":"Allow","Action":"kms:GetPublicKey","Resource":"*"}"#.to_owned()],
    );
    let of = |identity: &Identity| {
        environment("", identity)
            .into_iter()
            .filter(|(name, _)| *name != "AWS_ENDPOINT_URL" && *name != "AWS_REGION")
            .collect()
    };
    world.environments.insert(role.folder(), of(&reader));
    let said = wrong(&world);
    assert!(said.contains("allow kms:Sign"), "{said}");
    assert!(!said.contains(&reader.secret));

    // Nobody's credentials: the chain finds none.
    let nobody = vec![
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
    ];
    world.environments.insert(role.folder(), nobody);
    let said = wrong(&world);
    assert!(said.contains("give this process credentials"), "{said}");

    world.environments.clear();
    let url = Server::shared().url();
    world.configure(role, &right.replace(&url, "http://127.0.0.1:9"));
    let said = wrong(&world);
    assert!(said.contains("KMS did not GetPublicKey"), "{said}");

    world.configure(role, &right.replace(&url, "http://kms.example"));
    let refused = world.check(role);
    let said = refused.json()["checks"][0]["message"].to_string();
    assert!(said.contains("begins with https"), "{refused:#?}");

    world.configure(role, &right);
    assert_eq!(world.check(role).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registrar_s_key_is_unwrapped_for_nobody_else() {
    let folder = folder();
    let world = World::new(folder.path(), &plan(&Server::shared().url()).await);
    let role = Role::Registrar(0);
    assert_eq!(world.check(role).code, 0);
    let file = world.data.join("registrars/0/rsa.wrapped");
    let kept = fs::read(&file).unwrap();
    let mut damaged = kept.clone();
    *damaged.last_mut().unwrap() ^= 1;
    // Another election's, under the same key.
    let other = tempfile::tempdir().unwrap();
    let other = World::new(other.path(), &world.plan);
    let foreign = fs::read(other.data.join("registrars/0/rsa.wrapped")).unwrap();
    for wrapped in [damaged, foreign] {
        fs::write(&file, wrapped).unwrap();
        let said = world.check(role);
        assert_eq!(said.code, 1);
        assert!(said.stdout.contains("damaged"), "{said:#?}");
    }
    fs::write(&file, kept).unwrap();
    assert_eq!(world.check(role).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_that_cannot_be_makes_no_key() {
    let proxy = Proxy::start(&Server::shared().url()).await;
    let folder = folder();
    let plan = plan(proxy.url()).await;
    let _right = World::new(folder.path(), &plan);
    let made = proxy.seen("CreateKey").len();
    assert!(made > 0, "keys are made where all is right");
    let right = fs::read_to_string(folder.path().join("description.toml")).unwrap();
    let line = |name: &str| right.lines().find(|line| line.starts_with(name)).unwrap();
    for (from, to, why) in [
        (
            line("closing"),
            "closing = 2020-01-01T00:00:00Z",
            "`times.opening`",
        ),
        (line("cells = 2"), "cells = 5000", "at most 1024 logs"),
        ("\"Blue\"", "\"Red\"", "Red"),
    ] {
        let wrong = folder.path().join("wrong.toml");
        fs::write(&wrong, right.replace(from, to)).unwrap();
        let out = folder.path().join("wrong");
        let arguments = ["election", "new", arg(&wrong), "--out", arg(&out)];
        let said = run_with(
            "tallyroot",
            &arguments,
            &plan.kms.as_ref().unwrap().environment,
        );
        assert!(
            said.code != 0 && said.stderr.contains(why),
            "{why}: {said:#?}"
        );
        assert!(!out.exists());
    }
    assert_eq!(proxy.seen("CreateKey").len(), made);
}
