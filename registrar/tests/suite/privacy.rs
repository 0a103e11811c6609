//! Nothing that could be joined is ever logged: all that a registrar traces during an election is searched.

use std::io;
use std::sync::{Arc, Mutex};

use crate::common::{CLOSING, GRACE, Options, Place, Served, nobodys_code};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Keeps everything that is traced.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// One test in this file: the subscriber is the process's.
#[tokio::test(flavor = "multi_thread")]
async fn no_code_identity_or_message_is_traced() {
    let captured = Captured::default();
    // Everything that our own crates and the database driver say at any level; the HTTP client of the test traces its own addresses below info.
    let filter =
        "info,registrar=trace,ledger=trace,listener=trace,signer=trace,protocol=trace,sqlx=trace";
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(captured.clone())
        .init();
    tracing::info!("the capture works");

    let identities = ["identity-alpha", "identity-beta", "identity-gamma"];
    let place = Place::new(&identities, 1).await;
    let codes = place.codes(0);
    let served = Served::start(&place, 0, Options::default()).await;
    let mut secrets: Vec<String> = identities.iter().map(|s| (*s).to_owned()).collect();
    for (device, identity) in (1..).zip(identities) {
        let blinded = place.blinded(0, device);
        let (status, answer) = served.ask(&codes[identity], blinded.message()).await;
        assert_eq!(status, 200);
        let other = place.blinded(0, device + 100);
        assert_eq!(served.ask(&codes[identity], other.message()).await.0, 409);
        let signature = STANDARD
            .decode(answer["blind_signature"].as_str().unwrap())
            .unwrap();
        secrets.push(codes[identity].clone());
        secrets.push(codes[identity].replace('-', ""));
        for bytes in [
            blinded.message().to_vec(),
            blinded.digest().to_vec(),
            signature,
        ] {
            for part in [&bytes[..12], &bytes[bytes.len() - 12..]] {
                secrets.push(hex::encode(part));
                secrets.push(STANDARD.encode(part));
                secrets.push(format!("{part:?}").trim_matches(['[', ']']).to_owned());
            }
        }
    }
    let nobodys = nobodys_code();
    assert_eq!(
        served.ask(&nobodys, place.blinded(0, 1).message()).await.0,
        401
    );
    secrets.push(nobodys);
    assert_eq!(served.post("{\"secret-body\":1}").await.0, 400);
    secrets.push("secret-body".into());
    served.clock.set(CLOSING + GRACE / 4);
    served.registrar.closed().await.unwrap();
    served.stop().await;

    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("the capture works"));
    assert!(log.contains("the issuance log is closed"), "{log}");
    let lower = log.to_lowercase();
    for secret in &secrets {
        assert!(
            !log.contains(secret.as_str()) && !lower.contains(&secret.to_lowercase()),
            "traced: {secret}\n{log}"
        );
    }
    assert!(!log.contains("127.0.0.1"), "{log}");
}
