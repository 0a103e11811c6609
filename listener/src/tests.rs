//! A real server on a loopback port, and clients that misbehave.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::{ApiError, Limits, base64_of, json_body, serve};

const BODY_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Echo {
    a: String,
}

fn short() -> Limits {
    Limits {
        header_timeout: Duration::from_millis(300),
        body_timeout: Duration::from_millis(300),
        ..Limits::default()
    }
}

struct Server {
    address: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn start(router: Router, limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(serve(listener, router, limits, async {
        let _ = stopped.await;
    }));
    Server {
        address,
        stop,
        task,
    }
}

fn echo(limits: Limits) -> Router {
    let handler = move |request: Request<Body>| async move {
        let (head, body) = request.into_parts();
        let read: Echo = json_body(&head.headers, body, BODY_MAX, limits.body_timeout).await?;
        Ok::<_, ApiError>(read.a)
    };
    Router::new().route("/", post(handler))
}

/// Sends raw bytes, and reads until the server closes or answers in full.
async fn raw(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer))
        .await
        .expect("the server neither answered nor closed");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn json_is_strict() {
    let server = start(echo(Limits::default()), Limits::default()).await;
    let url = format!("http://{}/", server.address);
    let client = reqwest::Client::new();
    let post = |body: &str| client.post(&url).body(body.to_owned()).send();

    for good in [r#"{"a":"x"}"#, " {\n\"a\" : \"x\"} \n"] {
        let answer = post(good).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().await.unwrap(), "x");
    }
    for bad in [
        "",
        " ",
        "{",
        "{}",
        "null",
        r#"["x"]"#,
        r#""x""#,
        r#"{"a":"x"} x"#,
        r#"{"a":"x"}{}"#,
        r#"{"a":"x","a":"x"}"#,
        r#"{"a":"x","\u0061":"y"}"#,
        r#"{"a":"x","b":"x"}"#,
        r#"{"a":1}"#,
        r#"{"a":null}"#,
        r#"{"a":"x",}"#,
        r#"{a:"x"}"#,
        "{\"a\":\"\u{1}\"}",
    ] {
        let answer = post(bad).await.unwrap();
        assert_eq!(answer.status(), 400, "{bad}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "malformed", "{bad}");
    }
    let bad_utf8 = client
        .post(&url)
        .body(b"{\"a\":\"\xff\"}".to_vec())
        .send()
        .await
        .unwrap();
    assert_eq!(bad_utf8.status(), 400);
    let compressed = client
        .post(&url)
        .header("content-encoding", "gzip")
        .body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(compressed.status(), 400);
}

#[tokio::test]
async fn long_bodies_are_refused_with_and_without_their_length() {
    let server = start(echo(Limits::default()), Limits::default()).await;
    // Announced: refused before any of it arrived.
    let announced = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 65\r\nconnection: close\r\n\r\n";
    assert!(
        raw(&server.address, announced.as_bytes())
            .await
            .starts_with("HTTP/1.1 413")
    );
    // Unannounced: refused as soon as it is too long.
    let mut chunked =
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
            .to_vec();
    chunked.extend_from_slice(b"40\r\n");
    chunked.extend_from_slice(&[b' '; 64]);
    chunked.extend_from_slice(b"\r\n1\r\n \r\n");
    let answer = raw(&server.address, &chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("too-large"));
}

#[tokio::test]
async fn slow_headers_and_bodies_are_cut() {
    let server = start(echo(short()), short()).await;
    // Half a header, and silence: closed, with at most a 408.
    let answer = raw(&server.address, b"POST / HTTP/1.1\r\nhost: ").await;
    assert!(!answer.contains("200"), "{answer}");
    // Nothing at all.
    raw(&server.address, b"").await;
    // A body that stops.
    let answer = raw(
        &server.address,
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\nconnection: close\r\n\r\n{\"a\":",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    // An idle connection after an answer.
    let answer = raw(
        &server.address,
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{\"a\":\"x\"}",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn header_floods_are_refused() {
    let server = start(echo(Limits::default()), Limits::default()).await;
    let mut many = String::from("POST / HTTP/1.1\r\nhost: x\r\n");
    for i in 0..Limits::default().headers_max {
        many.push_str(&format!("x-{i}: 1\r\n"));
    }
    many.push_str("content-length: 9\r\n\r\n{\"a\":\"x\"}");
    assert!(
        raw(&server.address, many.as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
    let long = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "y".repeat(Limits::default().header_bytes_max)
    );
    assert!(
        raw(&server.address, long.as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
}

#[tokio::test]
async fn work_in_flight_is_bounded_in_number_and_time() {
    static STARTED: Semaphore = Semaphore::const_new(0);
    let slow = Router::new().route(
        "/",
        get(async || {
            STARTED.add_permits(1);
            std::future::pending::<&'static str>().await
        }),
    );
    let limits = Limits {
        requests_max: 1,
        request_timeout: Duration::from_millis(500),
        ..Limits::default()
    };
    let server = start(slow, limits).await;
    let url = format!("http://{}/", server.address);
    let first = tokio::spawn(reqwest::get(url.clone()));
    STARTED.acquire().await.unwrap().forget();
    // The one place is taken: refused at once, with Retry-After.
    let second = reqwest::get(&url).await.unwrap();
    assert_eq!(second.status(), 503);
    assert!(second.headers().contains_key("retry-after"));
    let body: Value = second.json().await.unwrap();
    assert_eq!(body["error"]["code"], "busy");
    // And the first is cut, by the same code.
    let first = first.await.unwrap().unwrap();
    assert_eq!(first.status(), 503);
    assert!(first.text().await.unwrap().contains("unknown"));
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_until_one_ends() {
    let limits = Limits {
        connections_max: 1,
        ..short()
    };
    let server = start(echo(limits), limits).await;
    // Holds the only place, silently, until the header time-out frees it.
    let idle = TcpStream::connect(&server.address).await.unwrap();
    let answer = raw(
        &server.address,
        b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 9\r\n\r\n{\"a\":\"x\"}",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(idle);
}

#[tokio::test]
async fn shutdown_lets_requests_in_flight_end_and_takes_no_more() {
    static STARTED: Semaphore = Semaphore::const_new(0);
    static GO: Semaphore = Semaphore::const_new(0);
    let router = Router::new().route(
        "/",
        get(async || {
            STARTED.add_permits(1);
            GO.acquire().await.unwrap().forget();
            "done"
        }),
    );
    let server = start(router, Limits::default()).await;
    let url = format!("http://{}/", server.address);
    let request = tokio::spawn(reqwest::get(url.clone()));
    STARTED.acquire().await.unwrap().forget();
    server.stop.send(()).unwrap();
    // The port closes first.
    while TcpStream::connect(&server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.task.is_finished());
    GO.add_permits(1);
    assert_eq!(
        request.await.unwrap().unwrap().text().await.unwrap(),
        "done"
    );
    server.task.await.unwrap();
}

#[test]
fn base64_has_one_form() {
    assert_eq!(base64_of("vote", "AQI=").unwrap(), [1, 2]);
    for bad in ["AQI", "AQJ=", "AQI==", "AQ I=", "AQI=\n", "-_8=", "%"] {
        assert_eq!(
            base64_of("vote", bad).unwrap_err().code(),
            "malformed",
            "{bad}"
        );
    }
}

#[test]
fn errors_have_one_shape() {
    use axum::response::IntoResponse as _;
    let error = ApiError::busy("Wait.", 7).with("cell", 3);
    assert_eq!((error.status().as_u16(), error.code()), (503, "busy"));
    let response = error.into_response();
    assert_eq!(response.headers()["retry-after"], "7");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body =
        futures::executor::block_on(axum::body::to_bytes(response.into_body(), 1000)).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap(),
        json!({"error": {"code": "busy", "message": "Wait."}, "cell": 3})
    );
}

#[tokio::test]
async fn a_full_queue_of_workers_turns_away_at_once() {
    use crate::Workers;
    let workers = Workers::new(1, 1);
    let (started, mut starting) = tokio::sync::mpsc::unbounded_channel();
    let (go, going) = std::sync::mpsc::channel::<()>();
    let going = std::sync::Arc::new(std::sync::Mutex::new(going));
    let job = || {
        let (started, going) = (started.clone(), going.clone());
        let workers = workers.clone();
        tokio::spawn(async move {
            workers
                .run(move || {
                    started.send(()).unwrap();
                    going.lock().unwrap().recv().unwrap();
                    7
                })
                .await
        })
    };
    let first = job();
    starting.recv().await.unwrap();
    let second = job();
    // Until the second waits, a third would be let in to wait in its place: so look until one is turned away.
    let refusal = loop {
        tokio::task::yield_now().await;
        let probe = tokio::time::timeout(Duration::from_millis(50), workers.run(|| 0)).await;
        if let Ok(Err(refusal)) = probe {
            break refusal;
        }
    };
    assert_eq!((refusal.status().as_u16(), refusal.code()), (503, "busy"));
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), 7);
    assert_eq!(second.await.unwrap().unwrap(), 7);
    assert_eq!(workers.run(|| 9).await.unwrap(), 9);
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_place() {
    let limits = Limits {
        connections_max: 1,
        write_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    // Far more than the buffers of a socket hold.
    let router = Router::new().route("/", get(|| async { vec![b'x'; 64 << 20] }));
    let server = start(router, limits).await;
    let mut idle = TcpStream::connect(&server.address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    // The only place is taken; it must come free although the first client never reads nor leaves.
    let mut next = TcpStream::connect(&server.address).await.unwrap();
    next.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 12];
    let read = tokio::time::timeout(Duration::from_secs(30), next.read_exact(&mut first)).await;
    read.expect("the place came free").unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    server.task.abort();
}
