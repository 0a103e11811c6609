//! A real server with a certificate, and clients that look at it.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;

use axum::Router;
use axum::routing::get;
use reqwest::{Certificate, Client, Identity};
use rustls::{ClientConfig, HandshakeKind};
use tempfile::TempDir;
use throwaway_certificates::{Authority, Issued, put};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

use super::*;
use crate::{Limits, serve_tls};

const HOST: &str = "cell.test";
const HOUR: i64 = 3_600;

struct Server {
    address: SocketAddr,
    tls: Tls,
    /// Dropped, it stops the server.
    _stop: oneshot::Sender<()>,
}

async fn start(source: impl Into<TlsSource>, limits: Limits) -> Server {
    let tls = Tls::open(source).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(|| async { "served" }));
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(serve_tls(listener, tls.clone(), router, limits, async {
        let _ = stopped.await;
    }));
    Server {
        address,
        tls,
        _stop: stop,
    }
}

fn files(folder: &TempDir, issued: &Issued) -> TlsFiles {
    let (certificate, key) = issued.write(folder.path());
    TlsFiles {
        certificate,
        key,
        clients: None,
    }
}

/// What a client that trusts this authority alone is answered.
async fn ask(server: &Server, trusts: &Authority, shows: Option<&Issued>) -> Option<String> {
    let root = Certificate::from_pem(&trusts.pem()).unwrap();
    let mut client = Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .resolve(HOST, server.address);
    if let Some(shows) = shows {
        let both = [&shows.key[..], &shows.certificate[..]].concat();
        client = client.identity(Identity::from_pem(&both).unwrap());
    }
    let url = format!("https://{HOST}:{}/", server.address.port());
    let answer = client.build().unwrap().get(url).send().await.ok()?;
    assert_eq!(answer.version(), reqwest::Version::HTTP_11);
    answer.text().await.ok()
}

/// Sends raw bytes, and reads until the server closes.
async fn raw(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A reset is an end too.
    let _ = tokio::time::timeout(Duration::from_secs(10), read)
        .await
        .expect("the server neither answered nor closed");
    answer
}

#[tokio::test]
async fn who_trusts_it_is_served_and_plain_http_is_not() {
    let (folder, ca) = (tempfile::tempdir().unwrap(), Authority::new("a CA"));
    let server = start(files(&folder, &ca.issue(HOST)), Limits::default()).await;
    assert_eq!(ask(&server, &ca, None).await.as_deref(), Some("served"));
    assert_eq!(ask(&server, &Authority::new("other"), None).await, None);
    let answer = raw(&server, b"GET / HTTP/1.1\r\nhost: cell.test\r\n\r\n").await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(ask(&server, &ca, None).await.as_deref(), Some("served"));
}

#[tokio::test]
async fn who_does_not_shake_hands_is_let_go() {
    let (folder, ca) = (tempfile::tempdir().unwrap(), Authority::new("a CA"));
    let limits = Limits {
        handshakes_max: 1,
        handshake_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = start(files(&folder, &ca.issue(HOST)), limits).await;
    assert_eq!(raw(&server, b"").await, b"");
    // The beginning of a handshake that never goes on.
    assert_eq!(raw(&server, &[22, 3, 1, 2, 0, 1]).await, b"");
    assert_eq!(ask(&server, &ca, None).await.as_deref(), Some("served"));
}

/// How a client shakes hands that has been here before, with all that it remembers.
async fn second_handshake(
    server: &Server,
    ca: &Authority,
    version: &'static rustls::SupportedProtocolVersion,
) -> HandshakeKind {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&ca.pem()).unwrap())
        .unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    let mut kind = None;
    for _ in 0..2 {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let host = HOST.try_into().unwrap();
        let mut stream = connector.connect(host, stream).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: cell.test\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        // To its very end: a ticket would come before.
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("served"), "{answer}");
        kind = stream.get_ref().1.handshake_kind();
    }
    kind.unwrap()
}

#[tokio::test]
async fn no_session_is_resumed() {
    let (folder, ca) = (tempfile::tempdir().unwrap(), Authority::new("a CA"));
    let server = start(files(&folder, &ca.issue(HOST)), Limits::default()).await;
    for version in [&version::TLS13, &version::TLS12] {
        let kind = second_handshake(&server, &ca, version).await;
        assert_ne!(kind, HandshakeKind::Resumed, "{version:?}");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new("old CA"), Authority::new("new CA"));
    let limits = Limits {
        certificate_look: Duration::from_millis(5),
        ..Limits::default()
    };
    let server = start(files(&folder, &old.issue(HOST)), limits).await;
    assert!(ask(&server, &old, None).await.is_some());
    let before = server.tls.not_after();
    let renewed = new.issue_for(HOST, -HOUR, 200 * HOUR);
    renewed.write(folder.path());
    // The key and the certificate are replaced one after the other: what does not go together is never shown.
    let shown = async {
        while ask(&server, &new, None).await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, shown).await.unwrap();
    assert!(server.tls.not_after() > before);
    put(&folder.path().join("tls.crt"), &old.issue(HOST).certificate);
    let noticed = async {
        while server.tls.0.said().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(patience, noticed).await.unwrap();
    let said = server.tls.0.said().clone().unwrap();
    assert!(said.contains("do not go together"), "{said}");
    assert!(ask(&server, &new, None).await.is_some());
}

#[tokio::test]
async fn where_clients_are_named_nobody_else_is_served() {
    let (folder, ca) = (tempfile::tempdir().unwrap(), Authority::new("a CA"));
    let fronts = Authority::new("fronts");
    let roots = folder.path().join("fronts.pem");
    put(&roots, &fronts.pem());
    let files = TlsFiles {
        clients: Some(roots),
        ..files(&folder, &ca.issue(HOST))
    };
    let server = start(files, Limits::default()).await;
    let (front, stranger) = (fronts.issue("front"), ca.issue("front"));
    let served = ask(&server, &ca, Some(&front)).await;
    assert_eq!(served.as_deref(), Some("served"));
    assert_eq!(ask(&server, &ca, Some(&stranger)).await, None);
    assert_eq!(ask(&server, &ca, None).await, None);
}

#[test]
fn files_that_are_no_good_are_refused_with_what_to_do() {
    let (folder, ca) = (tempfile::tempdir().unwrap(), Authority::new("a CA"));
    let good = ca.issue(HOST);
    let refused = |files: TlsFiles, words: &[&str]| {
        let error = Tls::open(files).err().expect("it was taken").to_string();
        for word in words {
            assert!(error.contains(word), "`{word}` in: {error}");
        }
    };
    let with = |issued: &Issued| files(&folder, issued);
    refused(
        with(&ca.issue_for(HOST, -2 * HOUR, -HOUR)),
        &["tls.crt expired at 20", "have it renewed"],
    );
    refused(
        with(&ca.issue_for(HOST, HOUR, 2 * HOUR)),
        &["tls.crt is not valid before 20", "clock"],
    );
    let others = Issued {
        key: ca.issue(HOST).key,
        ..good.clone()
    };
    refused(with(&others), &["do not go together", "made for it"]);
    let files = with(&good);
    // A certificate that it rests on has its end too.
    let chain = [
        good.certificate.clone(),
        ca.issue_for("between", -2 * HOUR, -HOUR).certificate,
    ];
    put(&files.certificate, &chain.concat());
    refused(files.clone(), &["tls.crt expired at 20"]);
    put(&files.certificate, &good.key);
    refused(files.clone(), &["tls.crt holds no certificate", "BEGIN"]);
    put(
        &files.certificate,
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    refused(files.clone(), &["tls.crt holds no certificate"]);
    put(
        &files.certificate,
        &vec![b'\n'; usize::try_from(FILE_LEN_MAX).unwrap() + 1],
    );
    refused(files.clone(), &["tls.crt cannot be read", "more than"]);
    put(&files.certificate, &good.certificate);
    let mode = |mode| std::fs::set_permissions(&files.key, Permissions::from_mode(mode)).unwrap();
    for exposed in [0o604, 0o644, 0o620] {
        mode(exposed);
        let words = format!("tls.key has mode {exposed:04o}");
        refused(files.clone(), &[&words, "chmod 600"]);
    }
    mode(0o440);
    assert!(Tls::open(files.clone()).is_ok());
    put(&files.key, &good.certificate);
    refused(files.clone(), &["tls.key holds no private key"]);
    let absent = folder.path().join("absent.pem");
    refused(
        TlsFiles {
            key: absent.clone(),
            ..files.clone()
        },
        &["absent.pem cannot be read (No such file", "check the path"],
    );
    put(&files.key, &good.key);
    put(&absent, b"");
    refused(
        TlsFiles {
            clients: Some(absent),
            ..files
        },
        &["absent.pem holds no certificate"],
    );
}

#[tokio::test]
async fn one_of_its_own_is_for_a_front_that_verifies_none() {
    let server = start(TlsSource::SelfSigned, Limits::default()).await;
    let nobody = Authority::new("nobody");
    assert_eq!(ask(&server, &nobody, None).await, None);
    let client = Client::builder()
        .no_proxy()
        .tls_danger_accept_invalid_certs(true);
    let url = format!("https://{}/", server.address);
    let answer = client.build().unwrap().get(url).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "served");
    // Another start makes another.
    let shown = server.tls.0.shown.borrow().clone();
    assert!(shown.not_after > now() + own::RENEWED);
    let again = own::make().unwrap().0;
    assert_ne!(again, own::make().unwrap().0);
}

#[test]
fn one_of_its_own_is_renewed_in_time() {
    let tls = Tls::open(TlsSource::SelfSigned).unwrap();
    let first = tls.not_after();
    tls.0.look();
    assert_eq!(tls.not_after(), first);
    tls.0
        .shown
        .send_modify(|shown| shown.not_after = now() + own::RENEWED);
    tls.0.look();
    assert!(tls.not_after() >= first, "it is a new one");
}
