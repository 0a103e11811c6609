//! Keys in a KMS that speaks AWS's protocol.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod common;

use std::sync::Arc;

use aws::FaultKind;
use aws_sdk_kms::types::{KeySpec, KeyUsageType};
use common::{World, allow};
use protocol::ed25519;
use signer::kms::{Operation, Tag, WrappingKey};
use signer::{KeyRef, KeySource, Kms, KmsError, SignError, Signer as _};
use throwaway_ministack::{Identity, Server};

#[tokio::test]
async fn a_key_that_never_leaves_signs_like_any() {
    let world = World::new();
    let made = world.key().await;
    let key = Kms::open(&world.aws, made.key()).await.unwrap();
    assert_eq!(key.public_key(), made.public_key());
    for message in [&b""[..], b"checkpoint", &[7; 4_096]] {
        let signature = key.sign(message).await;
        if message.is_empty() {
            // AWS takes at least one byte; whoever takes none says so, and whoever does must sign rightly.
            let Ok(signature) = signature else { continue };
            ed25519::verify(&key.public_key(), message, &signature).unwrap();
            continue;
        }
        let signature = signature.unwrap();
        ed25519::verify(&key.public_key(), message, &signature).unwrap();
        assert_eq!(key.sign(message).await.unwrap(), signature);
    }
    let shown = format!("{key:?}");
    assert!(shown.contains(&hex::encode(key.public_key())), "{shown}");
}

#[tokio::test]
async fn a_longer_message_than_aws_takes_is_not_sent() {
    let world = World::new();
    let key = world.key().await;
    let refused = key.sign(&[7; 4_097]).await;
    let expected = SignError::TooLong {
        len: 4_097,
        max: 4_096,
    };
    assert_eq!(refused, Err(expected));
}

#[tokio::test]
async fn an_alias_is_followed_once() {
    let world = World::new();
    let (first, second) = (world.key().await, world.key().await);
    let alias = format!("alias/{}", World::unique());
    let client = world.client().await;
    let point = client.create_alias().alias_name(&alias);
    point
        .target_key_id(first.key().as_str())
        .send()
        .await
        .unwrap();
    let opened = Kms::open(&world.aws, &alias.parse().unwrap())
        .await
        .unwrap();
    assert_eq!(opened.key(), first.key());
    let point = client.update_alias().alias_name(&alias);
    point
        .target_key_id(second.key().as_str())
        .send()
        .await
        .unwrap();
    let signature = opened.sign(b"message").await.unwrap();
    ed25519::verify(&first.public_key(), b"message", &signature).unwrap();
}

#[tokio::test]
async fn another_log_s_key_is_refused_at_start() {
    let world = World::new();
    let (mine, other) = (world.key().await, world.key().await);
    let source = KeySource::Kms {
        aws: world.aws.clone(),
        key: other.key().clone(),
    };
    let refused = signer::checked(source.open().await.unwrap(), mine.public_key());
    assert!(matches!(refused, Err(SignError::WrongKey { .. })));
}

#[tokio::test]
async fn a_disabled_key_is_refused_and_signs_again_once_it_is_enabled() {
    let world = World::new();
    let key = world.key().await;
    let id = key.key().as_str();
    let client = world.client().await;
    client.disable_key().key_id(id).send().await.unwrap();
    let refused = key.sign(b"message").await.unwrap_err();
    assert!(
        matches!(&refused, SignError::Refused(why) if why.contains("enable it")),
        "{refused}"
    );
    let at_start = Kms::open(&world.aws, key.key()).await.unwrap_err();
    assert!(!at_start.passes());
    assert!(at_start.to_string().contains("enable it"), "{at_start}");
    client.enable_key().key_id(id).send().await.unwrap();
    key.sign(b"message").await.unwrap();
    Kms::open(&world.aws, key.key()).await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_to_be_deleted_is_refused() {
    let world = World::new();
    let key = world.key().await;
    let client = world.client().await;
    let delete = client.schedule_key_deletion().key_id(key.key().as_str());
    delete.pending_window_in_days(7).send().await.unwrap();
    for refused in [
        key.sign(b"message").await.unwrap_err().to_string(),
        Kms::open(&world.aws, key.key())
            .await
            .unwrap_err()
            .to_string(),
    ] {
        assert!(refused.contains("cancel-key-deletion"), "{refused}");
    }
}

#[tokio::test]
async fn keys_for_something_else_are_refused() {
    let world = World::new();
    let client = world.client().await;
    let make = async |spec, usage| {
        let made = client.create_key().key_spec(spec).key_usage(usage);
        let made = made.send().await.unwrap();
        let arn = made.key_metadata().unwrap().arn().unwrap().to_owned();
        Kms::open(&world.aws, &arn.parse().unwrap())
            .await
            .unwrap_err()
    };
    for (spec, usage) in [
        (KeySpec::EccNistP256, KeyUsageType::SignVerify),
        (KeySpec::Rsa2048, KeyUsageType::SignVerify),
        (KeySpec::Rsa2048, KeyUsageType::EncryptDecrypt),
    ] {
        let refused = make(spec.clone(), usage).await;
        assert!(
            matches!(&refused, KmsError::OtherKind { found, .. } if found.contains(spec.as_str())),
            "{refused}"
        );
    }
    let symmetric = make(KeySpec::SymmetricDefault, KeyUsageType::EncryptDecrypt).await;
    assert!(
        symmetric.to_string().contains("another purpose"),
        "{symmetric}"
    );
    let absent: KeyRef = "1234abcd-12ab-34cd-56ef-1234567890ab".parse().unwrap();
    let refused = Kms::open(&world.aws, &absent).await.unwrap_err();
    assert!(refused.to_string().contains("no such key"), "{refused}");
    assert!(!refused.passes());
}

#[tokio::test]
async fn what_a_process_may_not_do_is_said_at_start() {
    let world = World::new();
    let key = world.key().await;
    let arn = key.key().as_str();
    let server = Server::shared();
    let as_user = async |statements: &[String]| {
        let user = server.user(&World::unique(), statements);
        Kms::open(&server.aws(&user), key.key()).await
    };
    let signer = as_user(&[allow("kms:GetPublicKey", arn), allow("kms:Sign", arn)]).await;
    let signature = signer.unwrap().sign(b"message").await.unwrap();
    ed25519::verify(&key.public_key(), b"message", &signature).unwrap();

    let reader = as_user(&[allow("kms:GetPublicKey", arn)])
        .await
        .unwrap_err();
    assert!(
        matches!(&reader, KmsError::Refused { operation: Operation::Sign, fault, .. } if fault.kind == FaultKind::NotAllowed),
        "{reader:?}"
    );
    assert!(reader.to_string().contains("allow kms:Sign"), "{reader}");
    let other = world.key().await;
    let elsewhere = as_user(&[allow("kms:*", other.key().as_str())])
        .await
        .unwrap_err();
    assert!(
        elsewhere.to_string().contains("allow kms:GetPublicKey"),
        "{elsewhere}"
    );

    let mut forged = server.user(&World::unique(), &[allow("kms:*", "*")]);
    forged.secret.push('x');
    for identity in [
        forged,
        Identity {
            id: "AKIANOBODYNOBODYNOBO".to_owned(),
            secret: "secret".to_owned(),
        },
    ] {
        let refused = Kms::open(&server.aws(&identity), key.key())
            .await
            .unwrap_err();
        assert!(
            matches!(&refused, KmsError::Refused { fault, .. } if fault.kind == FaultKind::NotAllowed),
            "{refused:?}"
        );
        assert!(!format!("{refused:?}{refused}").contains(&identity.secret));
    }
}

#[tokio::test]
async fn a_kms_that_is_not_there_is_waited_for_and_not_blamed_on_the_key() {
    let world = World::new();
    let key = world.key().await;
    let nowhere = throwaway_ministack::aws_at("http://127.0.0.1:9", &Identity::root());
    let away = Kms::open(&nowhere, key.key()).await.unwrap_err();
    assert!(away.passes(), "{away}");
    assert!(matches!(SignError::from(away), SignError::Unavailable(_)));
}

#[tokio::test]
async fn a_made_key_says_what_it_is_for() {
    let world = World::new();
    let tag = |key: &str, value: &str| Tag {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let tags = [tag("tallyroot-role", "cells"), tag("tallyroot-index", "3")];
    let key = signer::kms::create(&world.aws, "Cell 3", &tags)
        .await
        .unwrap();
    let later = [tag("tallyroot-election", "00ff")];
    signer::kms::tag(&world.aws, &key, &later).await.unwrap();
    let client = world.client().await;
    let told = client
        .list_resource_tags()
        .key_id(key.as_str())
        .send()
        .await
        .unwrap();
    let told: Vec<(&str, &str)> = told
        .tags()
        .iter()
        .map(|tag| (tag.tag_key(), tag.tag_value()))
        .collect();
    assert_eq!(
        told,
        [
            ("tallyroot-role", "cells"),
            ("tallyroot-index", "3"),
            ("tallyroot-election", "00ff")
        ]
    );
}

#[tokio::test]
async fn a_secret_is_unwrapped_with_its_own_key_and_context_alone() {
    let world = World::new();
    let (key, other) = (world.symmetric().await, world.symmetric().await);
    let wrapping = WrappingKey::new(&world.aws, &key).await.unwrap();
    let context = |registrar: &str| {
        [
            ("tallyroot-election", "00ff".to_owned()),
            ("tallyroot-registrar", registrar.to_owned()),
        ]
    };
    let secret = [0x5e; 4_096];
    let wrapped = wrapping.wrap(&secret, &context("0")).await.unwrap();
    assert!(!wrapped.windows(16).any(|window| window == [0x5e; 16]));
    let back = wrapping.unwrap(&wrapped, &context("0")).await.unwrap();
    assert_eq!(back.as_slice(), secret);

    let too_long = wrapping.wrap(&[0; 4_097], &context("0")).await;
    assert_eq!(too_long, Err(KmsError::TooLong(4_097)));
    let mut other_election = context("0");
    other_election[0].1 = "00fe".to_owned();
    for refused in [
        wrapping.unwrap(&wrapped, &context("1")).await,
        wrapping.unwrap(&wrapped, &other_election).await,
    ] {
        let refused = refused.unwrap_err();
        assert!(!refused.passes(), "{refused}");
        assert!(
            refused
                .to_string()
                .contains("damaged, or was wrapped by another"),
            "{refused}"
        );
    }
    // AWS refuses another key's too; this server gives bytes that are not the secret, which whoever reads it must find.
    let elsewhere = WrappingKey::new(&world.aws, &other).await.unwrap();
    let foreign = elsewhere.unwrap(&wrapped, &context("0")).await;
    assert!(foreign.is_ok_and(|bytes| bytes.as_slice() != secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_get_each_its_own_signature() {
    let world = World::new();
    let key = Arc::new(world.key().await);
    let many = (0..64u8).map(|n| {
        let key = Arc::clone(&key);
        tokio::spawn(async move { (n, key.sign(&[n; 100]).await) })
    });
    for one in many.collect::<Vec<_>>() {
        let (n, signature) = one.await.unwrap();
        ed25519::verify(&key.public_key(), &[n; 100], &signature.unwrap()).unwrap();
    }
}
