//! The front of `deploy/local`: what nginx passes on of an active process and of its standby.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test without its front must fail"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tests::demo::PATIENCE;
use tests::folder;

/// Answers every request alike; gives its address.
fn upstream(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            read_request(&mut stream);
            // Nothing, for one that dies with the request in its hands.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

/// A head, and the one byte of body that these requests have.
fn read_request(stream: &mut TcpStream) {
    let mut read = Vec::new();
    let mut byte = [0];
    while matches!(stream.read(&mut byte), Ok(1)) {
        read.push(byte[0]);
        if read.ends_with(b"\r\n\r\nx") {
            return;
        }
    }
}

struct Front {
    nginx: Child,
    address: String,
}

impl Front {
    fn of(folder: &Path, upstreams: &[String]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/local/nginx.conf");
        // As deploy/local/local.py fills it in.
        let servers: String = upstreams
            .iter()
            .map(|server| format!(" server {server} max_fails=0;"))
            .collect();
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap();
        let user = match user.trim() {
            "root" => "user root;",
            _ => "",
        };
        let text = fs::read_to_string(template)
            .unwrap()
            .replace("@USER@", user)
            .replace("@LISTEN@", &address)
            .replace("@FILES@", &format!("root {};", folder.to_str().unwrap()))
            .replace("@UPSTREAMS@", &format!("upstream cell {{{servers} }}"))
            .replace(
                "@LOCATIONS@",
                "location = /ballots { proxy_pass http://cell; }",
            );
        let config = folder.join("nginx.conf");
        fs::write(&config, text).unwrap();
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let nginx = Command::new("nginx")
            .env("PATH", path)
            .arg("-p")
            .arg(folder)
            .arg("-e")
            .arg(folder.join("error.log"))
            .arg("-c")
            .arg(&config)
            .args(["-g", "daemon off;"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let front = Self { nginx, address };
        let begun = Instant::now();
        while TcpStream::connect(&front.address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "nginx does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        front
    }

    fn post(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(b"POST /ballots HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // SIGTERM, so that it ends its worker too.
        let _ = Command::new("kill")
            .arg(self.nginx.id().to_string())
            .status();
        let _ = self.nginx.wait();
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy";
/// As `tallyroot serve` refuses while it stands by: tests/serve/takeover.rs looks at the real one.
const STANDBY: &str = "HTTP/1.1 502 Bad Gateway\r\nRetry-After: 1\r\nContent-Length: 7\r\nConnection: close\r\n\r\nstandby";

/// Whichever is asked first.
fn in_each_order(active: &'static str, judge: impl Fn(&str)) {
    let (active, standby) = (upstream(active), upstream(STANDBY));
    for upstreams in [[active.clone(), standby.clone()], [standby, active]] {
        let folder = folder();
        let front = Front::of(folder.path(), &upstreams);
        // Round robin: both get to be the first.
        for _ in 0..2 {
            judge(&front.post());
        }
    }
}

#[test]
fn a_standby_is_passed_over() {
    in_each_order(OK, |answer| {
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("done"),
            "{answer}"
        );
    });
}

/// How long to wait is for the active one to say, under overload above all.
#[test]
fn what_the_active_one_says_is_passed_on_though_it_refuses() {
    in_each_order(BUSY, |answer| {
        assert!(
            answer.starts_with("HTTP/1.1 503 ")
                && answer.contains("Retry-After: 7")
                && answer.ends_with("busy"),
            "{answer}"
        );
    });
}

/// Whether the dead one has carried it out nobody knows: the standby says so, or nginx, whichever was asked first. Neither is an answer.
#[test]
fn of_a_dead_one_nothing_is_said() {
    in_each_order("", |answer| {
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    });
}
