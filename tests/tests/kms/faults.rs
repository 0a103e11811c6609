//! A KMS that fails while people vote: nothing is lost, nothing is signed twice differently, and all goes on by itself.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tests::device::Device;
use tests::folder;
use tests::serve::World;
use throwaway_ministack::{Answer, Proxy, Server};

use crate::{plan, vote};

/// Bytes in a JSON object.
fn field(body: &[u8], name: &str) -> Vec<u8> {
    let body: Value = serde_json::from_slice(body).unwrap();
    BASE64.decode(body[name].as_str().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn votes_wait_out_a_kms_that_fails() {
    let proxy = Proxy::start(&Server::shared().url()).await;
    let folder = folder();
    let plan = plan(proxy.url()).await;
    let world = World::new(folder.path(), &plan);
    let services = world.start_all();
    vote(&world, &services, 0).await;
    let site = world.site(&services);
    let election = &world.published.election;
    for (voter, fault) in (1..).zip([
        Answer::throttled(),
        Answer::failed(),
        Answer::Lost,
        Answer::error(400, "DisabledException", "the key is disabled"),
        Answer::Changed(std::sync::Arc::new(|_, answer| {
            let mut answer: Value = serde_json::from_slice(answer).unwrap();
            answer["Signature"] = json!(BASE64.encode([7; 64]));
            answer.to_string().into_bytes()
        })),
    ]) {
        let mut device = Device::new(election);
        device.sign_in(&site, &world.codes(voter)).await;
        let vote = device.vote(election, &[vec![1]]);
        proxy.always(".Sign", fault);
        let cast = tokio::spawn({
            let (site, vote) = (site.clone(), vote.clone());
            async move { site.cast(&vote).await }
        });
        // The heads log's and the cell's checkpoints meet the fault more than once.
        proxy.more(".Sign", 8).await;
        proxy.heal();
        let (status, answer) = cast.await.unwrap();
        // Whoever was told to come again gets her receipt when she does.
        let (status, answer) = match status {
            503 => site.cast(&vote).await,
            _ => (status, answer),
        };
        assert_eq!(status, 200, "{answer}");
    }
    // Each try was counted as what it was.
    let mut pages = String::new();
    for service in &services {
        pages.push_str(&service.metrics().await);
    }
    for outcome in ["done", "throttled", "failed", "unanswered", "refused"] {
        let counted = format!(
            "tallyroot_aws_requests_total{{service=\"kms\",operation=\"Sign\",outcome=\"{outcome}\"}}"
        );
        assert!(pages.contains(&counted), "{outcome}: {pages}");
    }
    for service in services {
        let role = service.role;
        let (code, said) = service.stop();
        assert_eq!(code, 0, "{role:?}: {said}");
    }
    let (code, verdict) = world.audit();
    assert_eq!((code, &verdict["votes"]), (0, &json!(6)), "{verdict:#}");

    let mut signed: HashMap<(String, Vec<u8>), Vec<u8>> = HashMap::new();
    for exchange in proxy.seen(".Sign") {
        let Some(answer) = exchange.answer else {
            continue;
        };
        let request: Value = serde_json::from_slice(&exchange.request).unwrap();
        let key = request["KeyId"].as_str().unwrap().to_owned();
        let message = field(&exchange.request, "Message");
        let signature = field(&answer, "Signature");
        let before = signed.insert((key, message), signature.clone());
        assert!(before.is_none_or(|before| before == signature));
    }
    // Of each log, one checkpoint for each size: its first two lines name the log and the size.
    let mut sizes: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    for (_, message) in signed.keys() {
        let head: Vec<&[u8]> = message.splitn(3, |byte| *byte == b'\n').collect();
        let [origin, size, _] = head.as_slice() else {
            continue;
        };
        let other = sizes.insert([*origin, size].join(&b'\n'), message.clone());
        assert!(other.is_none_or(|other| other == *message));
    }
    assert!(sizes.len() > 6, "{}", sizes.len());
}
