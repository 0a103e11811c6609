//! Nothing that could be joined is ever logged: all that the process traces during an election is searched.

use std::io;
use std::sync::{Arc, Mutex};

use crate::common::{CLOSING, GRACE, Options, Served, election};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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
async fn no_credential_ballot_or_address_is_traced() {
    let captured = Captured::default();
    // Everything that our own crates and the database driver say at any level; the HTTP client of the test traces its own addresses below info.
    let filter =
        "info,api=trace,ledger=trace,listener=trace,signer=trace,protocol=trace,sqlx=trace";
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(captured.clone())
        .init();
    tracing::info!("the capture works");

    let served = Served::start(election(|_| ()), Options::default()).await;
    let voters = served.keys.voters_of(0, 3);
    let mut secrets = Vec::new();
    for voter in &voters {
        let vote = served.keys.vote(voter, &[&[1], &[0]]);
        assert_eq!(served.cast(&vote).await.0, 200);
        assert_eq!(served.cast(&vote).await.0, 200);
        assert_eq!(
            served.cast(&served.keys.vote(voter, &[&[2], &[]])).await.0,
            409
        );
        let mut forged = vote.clone();
        forged.signature[1] ^= 1;
        assert_eq!(served.cast(&forged).await.0, 400);
        for bytes in [
            vote.credential.to_vec(),
            vote.signature.to_vec(),
            vote.signatures[0].clone(),
            vote.leaf_hash().0.to_vec(),
        ] {
            // Any 12 bytes of it would do to join.
            for part in [&bytes[..12], &bytes[bytes.len() - 12..]] {
                secrets.push(hex(part));
                secrets.push(STANDARD.encode(part));
                secrets.push(format!("{part:?}").trim_matches(['[', ']']).to_owned());
            }
        }
    }
    assert_eq!(served.post("{}").await.0, 400);
    served.clock.set(CLOSING + GRACE / 2);
    served.cell.closed().await.unwrap();
    // It is said a moment after it is so.
    let log = || String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    while !log().contains("the cell's log is closed") {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    served.stop().await;

    let log = log();
    assert!(log.contains("the capture works"));
    let lower = log.to_lowercase();
    for secret in &secrets {
        assert!(
            !log.contains(secret.as_str()) && !lower.contains(secret.as_str()),
            "traced: {secret}\n{log}"
        );
    }
    // The clients' address. (The server's own port is no secret, and nobody traces it either.)
    assert!(!log.contains("127.0.0.1"), "{log}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
