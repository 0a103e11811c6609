//! A KMS that is slow, busy, broken or lying, and answers that are lost on the way: nothing wrong leaves the signer, nothing is signed twice differently, and all is well again by itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws::{Aws, Settings, Timeouts};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::World;
use protocol::ed25519::{self, SigningKey};
use serde_json::{Value, json};
use signer::{Checked, KeyRef, Kms, KmsError, SignError, Signer as _};
use throwaway_ministack::{Answer, Exchange, Identity, Proxy, REGION, Server};

/// A key behind a proxy.
struct Behind {
    proxy: Proxy,
    aws: Aws,
    key: KeyRef,
    signer: Checked,
}

impl Behind {
    async fn new() -> Self {
        Self::with(Timeouts::default()).await
    }

    async fn with(timeouts: Timeouts) -> Self {
        let made = World::new().key().await;
        let proxy = Proxy::start(&Server::shared().url()).await;
        let settings = Settings {
            region: Some(REGION.to_owned()),
            endpoint: Some(proxy.url().parse().unwrap()),
            timeouts,
        };
        let aws = Aws::with_credentials(settings, Identity::root().credentials());
        let opened = Kms::open(&aws, made.key()).await.unwrap();
        let signer = signer::checked(Arc::new(opened), made.public_key()).unwrap();
        Self {
            proxy,
            aws,
            key: made.key().clone(),
            signer,
        }
    }

    /// What KMS truly signed, whatever arrived: one signature for one message.
    fn assert_signed_once_each(&self) -> HashMap<Vec<u8>, Vec<u8>> {
        let mut signed = HashMap::new();
        for Exchange {
            request, answer, ..
        } in self.proxy.seen(".Sign")
        {
            let Some(answer) = answer else { continue };
            let signature = field(&answer, "Signature");
            let before = signed.insert(field(&request, "Message"), signature.clone());
            assert!(before.is_none_or(|before| before == signature));
        }
        signed
    }

    fn assert_valid(&self, message: &[u8], signature: &[u8; 64]) {
        ed25519::verify(&self.signer.public_key(), message, signature).unwrap();
    }
}

/// Bytes in a JSON object.
fn field(body: &[u8], name: &str) -> Vec<u8> {
    let body: Value = serde_json::from_slice(body).unwrap();
    BASE64.decode(body[name].as_str().unwrap()).unwrap()
}

/// An answer to `Sign` with another signature.
fn with_signature(of: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Answer {
    Answer::Changed(Arc::new(move |request, answer| {
        let mut answer: Value = serde_json::from_slice(answer).unwrap();
        answer["Signature"] = json!(BASE64.encode(of(&field(request, "Message"))));
        answer.to_string().into_bytes()
    }))
}

#[tokio::test]
async fn a_throttled_request_is_made_again() {
    let at = Behind::new().await;
    at.proxy
        .answer(".Sign", [Answer::throttled(), Answer::throttled()]);
    let signature = at.signer.sign(b"message").await.unwrap();
    at.assert_valid(b"message", &signature);
    assert_eq!(
        at.assert_signed_once_each().len(),
        2,
        "the probe, the message"
    );
}

#[tokio::test]
async fn attempts_are_bounded_and_the_caller_is_told_to_come_again() {
    let at = Behind::new().await;
    for answer in [Answer::throttled(), Answer::failed()] {
        let before = at.proxy.seen(".Sign").len();
        at.proxy.always(".Sign", answer);
        let refused = at.signer.sign(b"message").await.unwrap_err();
        assert!(matches!(refused, SignError::Unavailable(_)), "{refused}");
        let tries = at.proxy.seen(".Sign").len() - before;
        assert!((1..=3).contains(&tries), "{tries}");
        at.proxy.heal();
        let signature = at.signer.sign(b"message").await.unwrap();
        at.assert_valid(b"message", &signature);
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_after_the_work_was_done_changes_nothing() {
    let at = Behind::new().await;
    at.proxy.answer(".Sign", [Answer::Lost]);
    let signature = at.signer.sign(b"message").await.unwrap();
    at.assert_valid(b"message", &signature);
    let done = at.proxy.seen(".Sign");
    let done = done
        .iter()
        .filter(|one| field(&one.request, "Message") == b"message");
    assert_eq!(done.filter(|one| one.answer.is_some()).count(), 2);
    assert_eq!(at.assert_signed_once_each()[&b"message"[..]], signature);
}

#[tokio::test]
async fn whoever_does_not_answer_is_given_up_in_time_and_asked_again() {
    let soon = Timeouts {
        connect: Duration::from_secs(5),
        attempt: Duration::from_millis(300),
        operation: Duration::from_secs(30),
    };
    let at = Behind::with(soon).await;
    at.proxy.answer(".Sign", [Answer::Never]);
    let signature = at.signer.sign(b"message").await.unwrap();
    at.assert_valid(b"message", &signature);
    at.proxy.always(".Sign", Answer::Never);
    let refused = at.signer.sign(b"message").await.unwrap_err();
    assert!(
        matches!(&refused, SignError::Unavailable(why) if why.contains("no answer in time")),
        "{refused}"
    );
}

#[tokio::test]
async fn another_key_s_signature_never_leaves() {
    let at = Behind::new().await;
    let other = SigningKey::from_seed(&[9; 32]);
    at.proxy.answer(
        ".Sign",
        [with_signature(move |message| other.sign(message).to_vec())],
    );
    assert_eq!(at.signer.sign(b"message").await, Err(SignError::Invalid));
    // A right signature, of another message.
    let key = at.signer.clone();
    let stale = key.sign(b"other").await.unwrap();
    at.proxy
        .answer(".Sign", [with_signature(move |_| stale.to_vec())]);
    assert_eq!(at.signer.sign(b"message").await, Err(SignError::Invalid));
    at.signer.sign(b"message").await.unwrap();
}

#[tokio::test]
async fn garbage_is_no_signature() {
    let at = Behind::new().await;
    for len in [0, 1, 63, 65, 128] {
        at.proxy
            .answer(".Sign", [with_signature(move |_| vec![1; len])]);
        assert_eq!(
            at.signer.sign(b"message").await,
            Err(SignError::Invalid),
            "{len}"
        );
    }
    for body in ["{}", r#"{"Signature":""}"#, "[]"] {
        at.proxy
            .answer(".Sign", [Answer::Instead(200, body.to_owned())]);
        let refused = at.signer.sign(b"message").await;
        assert!(
            matches!(refused, Err(SignError::Invalid | SignError::Unavailable(_))),
            "{body}: {refused:?}"
        );
    }
    for body in [
        "",
        "{",
        "<html>",
        r#"{"Signature":"%"}"#,
        r#"{"Signature":7}"#,
    ] {
        at.proxy
            .always(".Sign", Answer::Instead(200, body.to_owned()));
        let refused = at.signer.sign(b"message").await.unwrap_err();
        assert!(
            matches!(refused, SignError::Invalid | SignError::Unavailable(_)),
            "{body}: {refused}"
        );
    }
    at.proxy.always(
        ".Sign",
        Answer::Instead(403, "<html>a proxy says no".into()),
    );
    let refused = at.signer.sign(b"message").await.unwrap_err();
    assert!(matches!(refused, SignError::Unavailable(_)), "{refused}");
    at.proxy.heal();
    at.signer.sign(b"message").await.unwrap();
}

#[tokio::test]
async fn at_start_the_same_faults_are_told_from_refusals() {
    let at = Behind::new().await;
    for answer in [Answer::throttled(), Answer::failed(), Answer::Lost] {
        at.proxy.always(".GetPublicKey", answer);
        let away = Kms::open(&at.aws, &at.key).await.unwrap_err();
        assert!(away.passes(), "{away}");
    }
    // Not the SPKI of an Ed25519 key.
    let short = Answer::Changed(Arc::new(|_, answer| {
        let mut answer: Value = serde_json::from_slice(answer).unwrap();
        let spki = BASE64
            .decode(answer["PublicKey"].as_str().unwrap())
            .unwrap();
        answer["PublicKey"] = json!(BASE64.encode(&spki[1..]));
        answer.to_string().into_bytes()
    }));
    at.proxy.answer(".GetPublicKey", [short]);
    let refused = Kms::open(&at.aws, &at.key).await.unwrap_err();
    assert!(matches!(refused, KmsError::Answer { .. }), "{refused}");
    // AWS answers a dry run with an error that says that it would have signed.
    at.proxy.answer(
        ".Sign",
        [Answer::error(400, "DryRunOperationException", "would have")],
    );
    Kms::open(&at.aws, &at.key).await.unwrap();
    at.proxy.heal();
    Kms::open(&at.aws, &at.key).await.unwrap();
}

#[tokio::test]
async fn many_that_meet_faults_at_random_all_end_well() {
    let at = Behind::new().await;
    let faults = (0..60).map(|n| match n % 5 {
        0 => Answer::throttled(),
        1 => Answer::Lost,
        2 => Answer::failed(),
        3 => with_signature(|_| vec![7; 64]),
        _ => Answer::True,
    });
    at.proxy.answer(".Sign", faults);
    let tasks: Vec<_> = (0..20u8)
        .map(|n| {
            let signer = at.signer.clone();
            tokio::spawn(async move {
                // As the sequencer does it: until there is one.
                loop {
                    if let Ok(signature) = signer.sign(&[n; 40]).await {
                        return (n, signature);
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        let (n, signature) = task.await.unwrap();
        at.assert_valid(&[n; 40], &signature);
    }
    at.assert_signed_once_each();
}
