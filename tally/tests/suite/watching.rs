//! The page and the event stream, over real HTTP.

use std::time::Duration;

use crate::common::Site;
use crate::common::service::PATIENCE;
use base64::Engine as _;
use protocol::ids::LogId;
use sha2::Digest as _;
use tally::{Tally, TallyConfig, Watchers};
use tokio::net::TcpListener;
use tokio::time::timeout;

struct Served {
    site: Site,
    tally: Tally,
    url: String,
}

async fn serve(watchers: Watchers) -> Served {
    let site = Site::new();
    let mut config = TallyConfig::new(&site.election);
    config.poll = Duration::from_millis(10);
    config.watchers = watchers;
    let tally = Tally::start(config, site.reader(), site.directory("tally"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://{}/elections/{}",
        listener.local_addr().unwrap(),
        site.election.id()
    );
    let router = tally.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Served { site, tally, url }
}

/// Reads one event, without its keep-alive comments.
async fn event(stream: &mut reqwest::Response, buffer: &mut String) -> String {
    let read = async {
        loop {
            if let Some(end) = buffer.find("\n\n") {
                let rest = buffer.split_off(end + 2);
                let event = std::mem::replace(buffer, rest);
                if !event.starts_with(':') {
                    return event;
                }
                continue;
            }
            let chunk = stream.chunk().await.unwrap().expect("the stream ended");
            buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    timeout(PATIENCE, read).await.unwrap()
}

fn data(event: &str) -> &str {
    event
        .strip_prefix("event: results\ndata: ")
        .and_then(|rest| rest.strip_suffix("\n\n"))
        .unwrap()
}

#[tokio::test]
async fn a_watcher_gets_what_there_is_and_every_change_that_it_is_fast_enough_for() {
    let served = serve(Watchers::default()).await;
    served
        .tally
        .watch()
        .wait_for(Option::is_some)
        .await
        .unwrap();
    let mut stream = reqwest::get(format!("{}/events", served.url))
        .await
        .unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(stream.headers()["cache-control"], "no-store");
    let mut buffer = String::new();
    let first = event(&mut stream, &mut buffer).await;
    assert!(data(&first).contains("\"votes\":0"));

    let cell = served.site.log(LogId::Cell(0)).await;
    cell.vote(1, &[&[0], &[0]]).await;
    loop {
        let next = event(&mut stream, &mut buffer).await;
        if data(&next).contains("\"votes\":1}") {
            // The very bytes of the file.
            let file = std::fs::read_to_string(served.site.published("results.json")).unwrap();
            assert_eq!(data(&next), file);
            break;
        }
    }
}

#[tokio::test]
async fn watchers_are_bounded_and_their_seats_come_free() {
    let served = serve(Watchers {
        count_max: 2,
        ..Watchers::default()
    })
    .await;
    let url = format!("{}/events", served.url);
    let one = reqwest::get(&url).await.unwrap();
    let two = reqwest::get(&url).await.unwrap();
    let three = reqwest::get(&url).await.unwrap();
    assert_eq!(three.status(), 503);
    assert_eq!(three.headers()["retry-after"], "30");
    assert_eq!(
        (one.status(), two.status()),
        (200.try_into().unwrap(), 200.try_into().unwrap())
    );
    drop(one);
    let again = async {
        while reqwest::get(&url).await.unwrap().status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn a_watcher_that_takes_nothing_delays_nobody() {
    let served = serve(Watchers {
        count_max: 2,
        keep_alive: Duration::from_millis(1),
        stall_max: Duration::from_millis(50),
        ..Watchers::default()
    })
    .await;
    // Asks for events, and never reads: keep-alives fill all buffers in between.
    let address = served
        .url
        .strip_prefix("http://")
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    let stalled = socket(address);
    let request = format!(
        "GET /elections/{}/events HTTP/1.1\r\nHost: x\r\n\r\n",
        served.site.election.id()
    );
    std::io::Write::write_all(&mut &stalled, request.as_bytes()).unwrap();
    let mut good = reqwest::get(format!("{}/events", served.url))
        .await
        .unwrap();
    let cell = served.site.log(LogId::Cell(0)).await;
    cell.vote(1, &[&[0], &[0]]).await;
    let mut buffer = String::new();
    while !event(&mut good, &mut buffer).await.contains("\"votes\":1}") {}
}

fn socket(address: &str) -> std::net::TcpStream {
    std::net::TcpStream::connect(address).unwrap()
}

#[tokio::test]
async fn keep_alives_come_and_old_watchers_are_sent_away() {
    let served = serve(Watchers {
        keep_alive: Duration::from_millis(20),
        age_max: Duration::from_millis(300),
        ..Watchers::default()
    })
    .await;
    let stream = reqwest::get(format!("{}/events", served.url))
        .await
        .unwrap();
    // Reading to the end works, since there is one.
    let text = timeout(PATIENCE, stream.text()).await.unwrap().unwrap();
    assert!(text.contains(": still here\n\n"));
}

#[tokio::test]
async fn the_page_is_served_with_nothing_inline_and_a_strict_policy() {
    let served = serve(Watchers::default()).await;
    let page = reqwest::get(format!("{}/", served.url)).await.unwrap();
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "worker-src 'self'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.split("; ").any(|found| found == part), "{part}");
    }
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    let html = page.text().await.unwrap();
    for forbidden in [
        "<style",
        "style=",
        "javascript:",
        "onload=",
        "onclick=",
        "http://",
        "https://",
    ] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    for line in html.lines().filter(|line| line.contains("<script")) {
        assert!(line.contains(" src=\""), "{line}");
    }
    // The list names everything that runs, with its hash; the page names the list's, and what it loads by hash.
    let sums = reqwest::get(format!("{}/sums.txt", served.url))
        .await
        .unwrap();
    let sums = sums.text().await.unwrap();
    assert!(html.contains(&hex(&sha2::Sha256::digest(&sums))), "{html}");
    let mut names = Vec::new();
    for line in sums.lines() {
        let (hash, name) = line.split_once("  ").unwrap();
        let response = reqwest::get(format!("{}/{name}", served.url))
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{name}");
        let media_type = if name.ends_with(".css") {
            "text/css"
        } else {
            "text/javascript"
        };
        let headers = response.headers();
        let said = headers["content-type"].to_str().unwrap();
        assert!(said.starts_with(media_type), "{name}");
        // A worker lives by the policy that comes with its own script.
        assert_eq!(headers["content-security-policy"], policy.as_str());
        let bytes = response.bytes().await.unwrap();
        assert_eq!(hex(&sha2::Sha256::digest(&bytes)), hash, "{name}");
        if html.contains(&format!("\"{name}\"")) {
            let digest =
                base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(&bytes));
            assert!(
                html.contains(&format!("\"{name}\" integrity=\"sha256-{digest}\"")),
                "{html}"
            );
        }
        names.push(name);
    }
    for name in [
        "page.css",
        "start.js",
        "page.js",
        "worker.js",
        "es.js",
        "ar.js",
    ] {
        assert!(names.contains(&name), "{sums}");
    }
    // Another election is none of ours.
    let other = served
        .url
        .replace(&served.site.election.id().to_string(), &"0".repeat(64));
    assert_eq!(
        reqwest::get(format!("{other}/")).await.unwrap().status(),
        404
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Relative links of the page would lead nowhere without the slash.
#[tokio::test]
async fn the_page_is_found_without_its_slash() {
    let served = serve(Watchers::default()).await;
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let answer = http.get(&served.url).send().await.unwrap();
    assert_eq!(answer.status(), 308);
    let page = format!("/elections/{}/", served.site.election.id());
    assert_eq!(answer.headers()["location"], page.as_str());
    let page = reqwest::get(&served.url)
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(page.contains("src=\"page.js\""), "{page}");
}
