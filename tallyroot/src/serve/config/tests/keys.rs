//! Keys in files and in KMS.

use registrar::rsa::RsaKeySource;
use signer::KeySource;

use super::{Fixture, Role, RoleName};

const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// A cell's configuration with this main key.
fn with_main(at: &Fixture, main: &str) -> String {
    at.cell()
        .replace("main = \"main.key\"", &format!("main = {main}"))
}

#[tokio::test]
async fn a_key_is_named_in_kms() {
    let at = Fixture::new().await;
    let text = with_main(&at, &format!("{{ kms = \"{ARN}\" }}"))
        + "[aws]\nregion = \"eu-central-1\"\nendpoint = \"https://kms.example\"\n";
    let config = at.load(
        RoleName::Cell,
        &text,
        &[("TALLYROOT_KEY_SPARE", "{ kms = \"alias/spare\" }")],
    );
    let Role::Cell { log, .. } = config.unwrap().role else {
        panic!("a cell");
    };
    let (Some(KeySource::Kms { aws, key }), Some(KeySource::Kms { key: spare, .. })) =
        (&log.key.main, &log.key.spare)
    else {
        panic!("{:?}", log.key);
    };
    assert_eq!((key.as_str(), spare.as_str()), (ARN, "alias/spare"));
    let settings = aws.settings();
    assert_eq!(settings.region.as_deref(), Some("eu-central-1"));
    assert_eq!(
        settings.endpoint.as_ref().unwrap().as_str(),
        "https://kms.example"
    );
}

#[tokio::test]
async fn what_is_no_key_and_no_way_to_aws_is_refused() {
    let at = Fixture::new().await;
    for (main, place, why) in [
        ("{ kms = \"main.key\" }", "key.main", "names no KMS key"),
        ("{ kms = 7 }", "key.main", "or { kms = "),
        ("{ kms = \"\" }", "key.main", "or { kms = "),
        ("{ kns = \"a\" }", "key.main", "or { kms = "),
        (
            "{ kms = \"a\", wrapped = \"b\" }",
            "key.main",
            "or { kms = ",
        ),
        ("7", "key.main", "or { kms = "),
    ] {
        let refused = at.refused(RoleName::Cell, &with_main(&at, main), &[]);
        assert!(
            refused.contains(place) && refused.contains(why),
            "{main}: {refused}"
        );
    }
    for (aws, place, why) in [
        ("endpoint = \"http://kms.example\"", "aws.endpoint", "https"),
        ("endpoint = \"kms.example\"", "aws.endpoint", "no endpoint"),
        ("region = 7", "aws.region", "eu-central-1"),
        (
            "secret_access_key = \"x\"",
            "aws.secret_access_key",
            "no such key",
        ),
    ] {
        let text = format!("{}[aws]\n{aws}\n", at.cell());
        let refused = at.refused(RoleName::Cell, &text, &[]);
        assert!(
            refused.contains(place) && refused.contains(why),
            "{aws}: {refused}"
        );
    }
}

#[tokio::test]
async fn a_registrars_key_is_a_file_or_wrapped() {
    let at = Fixture::new().await;
    let shard = |j| format!("[[shards]]\nmain = \"{j}.key\"\nsqlite = \"{j}.sqlite\"\n");
    let with = |rsa: &str| {
        format!(
            "{}registrar = 0\nrsa_key = {rsa}\ncode_key = \"code.key\"\nroll_backup = \"roll.sqlite\"\n[published]\ndirectory = \"public\"\n{}{}",
            at.common(),
            shard(0),
            shard(1)
        )
    };
    let rsa = |text: &str| {
        let config = at.load(RoleName::Registrar, &with(text), &[]).unwrap();
        match config.role {
            Role::Registrar { rsa_key, .. } => rsa_key,
            other => panic!("{other:?}"),
        }
    };
    let file = at.folder.path().join("rsa.pem");
    assert_eq!(rsa("\"rsa.pem\""), RsaKeySource::File(file));
    let wrapped = rsa(&format!("{{ kms = \"{ARN}\", wrapped = \"rsa.wrapped\" }}"));
    let RsaKeySource::Wrapped { key, file, .. } = wrapped else {
        panic!("{wrapped:?}");
    };
    assert_eq!(key.as_str(), ARN);
    assert_eq!(file, at.folder.path().join("rsa.wrapped"));
    for other in [
        "{ kms = \"alias/a\" }",
        "{ wrapped = \"a\" }",
        "{ kms = \"alias/a\", wrapped = \"b\", main = \"c\" }",
        "7",
    ] {
        let refused = at.refused(RoleName::Registrar, &with(other), &[]);
        assert!(refused.contains("rsa_key: it is"), "{other}: {refused}");
    }
}
