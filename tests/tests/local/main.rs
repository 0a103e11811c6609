//! A deployment of `deploy/local`: every service its own process, every log its own Postgres, nginx in front, TLS between all of them; once on disk, once in the KMS and the buckets of a stand-in for AWS.

mod apart;
mod buckets;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use reqwest::{Certificate, Client, Identity};
use serde_json::{Value, json};
use tests::local::Local;
use tests::published::{Published, codes};
use tests::{arg, folder, run, run_with};

/// A client that trusts this deployment's authority alone.
fn client(local: &Local) -> reqwest::ClientBuilder {
    let root = std::fs::read(local.root_certificate.as_ref().unwrap()).unwrap();
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_certs_only([Certificate::from_pem(&root).unwrap()])
}

/// The status and where it leads.
fn leads_to(local: &Local, url: &str) -> (u16, String) {
    let http = client(local).build().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answer = runtime.block_on(http.get(url).send()).unwrap();
    let location = answer.headers()["location"].to_str().unwrap();
    (answer.status().as_u16(), location.to_owned())
}

/// What a server says to plain HTTP.
fn plain(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: tallyroot\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Each process is told of its own secrets alone, and has no other's open. Each has at least so many, by the first part of its name: so that they would be seen.
fn each_holds_its_own(data: &Path, roots: &[&Path], rows: &[Value], least: fn(&str) -> usize) {
    let secrets = apart::secrets(roots);
    for row in rows {
        let process = apart::Process::of(data, row);
        let held = process.holds(&secrets);
        let name = process.name.replace("-standby", "");
        for secret in &held {
            let owner = apart::owner(roots, secret).replace("-standby", "");
            assert_eq!(owner, name, "{} holds {}", process.name, secret.display());
        }
        let least = least(name.split('-').next().unwrap());
        assert!(held.len() >= least, "{name}: {held:?}");
    }
}

/// What listens and is not for health speaks TLS alone, and services only to the front.
fn nothing_is_said_in_plain_text(local: &Local, data: &Path, rows: &[Value]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let tls = data.join("local/tls");
    let read = |name: &str| std::fs::read(tls.join(name)).unwrap();
    let front = [read("front-as-client.key"), read("front-as-client.pem")].concat();
    let port = |address: &Value| -> u16 {
        let (_, port) = address.as_str().unwrap().rsplit_once(':').unwrap();
        port.parse().unwrap()
    };
    for row in rows {
        let name = row["name"].as_str().unwrap();
        let listen = row["listen"].as_str().unwrap();
        let known = [&row["listen"], &row["health"]].into_iter();
        let known = known.filter(|address| address.is_string()).map(port);
        let ports = apart::Process::of(data, row).ports();
        assert_eq!(ports, known.collect(), "{name}");
        let answer = plain(listen);
        if name == "front" {
            assert!(answer.starts_with("HTTP/1.1 400 "), "{name}: {answer}");
        } else {
            assert!(!answer.starts_with("HTTP/"), "{name}: {answer}");
        }
        if name.starts_with("postgres-") {
            let said = Command::new("psql")
                .args([
                    "-X",
                    "-h",
                    "127.0.0.1",
                    "-p",
                    &port(&row["listen"]).to_string(),
                ])
                .args(["-U", "postgres", "-c", "SELECT 1"])
                .env("PGSSLMODE", "disable")
                .output()
                .unwrap();
            let said = String::from_utf8(said.stderr).unwrap();
            assert!(said.contains("no encryption"), "{name}: {said}");
        } else if !name.starts_with("witness-") && !["front", "aws"].contains(&name) {
            // The certificate is for this name, and the one who asks shows one too.
            let host = name.trim_end_matches("-standby");
            let ask = |shows: Option<&[u8]>| {
                let http = client(local).resolve(host, listen.parse().unwrap());
                let http = match shows {
                    Some(shows) => http.identity(Identity::from_pem(shows).unwrap()),
                    None => http,
                };
                let url = format!("https://{host}:{}/", port(&row["listen"]));
                runtime.block_on(http.build().unwrap().get(url).send())
            };
            assert!(ask(Some(&front)).is_ok(), "{name}");
            assert!(ask(None).is_err(), "{name}");
        }
    }
}

#[test]
fn a_whole_election_over_separate_processes() {
    let folder = folder();
    let data = folder.path().join("election");
    let mut local = Local::of_demo(
        &data,
        &[
            "--voters",
            "150",
            "--cells",
            "2",
            "--registrars",
            "2",
            "--witnesses",
            "1",
        ],
        &["--tls", "--standbys"],
    );
    let site = local.url.clone();
    assert!(site.starts_with("https://"), "{site}");
    // The page's address, as `up` prints it, does as well as the site's.
    local.url = format!("{}/elections/{}/", local.url, Published::of(&data).id());
    let id = Published::of(&data).id();
    let page = format!("/elections/{id}/");
    assert_eq!(
        leads_to(&local, &format!("{site}/elections/{id}")),
        (308, page.clone())
    );
    assert_eq!(leads_to(&local, &site), (307, page));
    let look = run_with(
        "tallyroot",
        &["status", &site, "--json"],
        &local.environment(),
    );
    assert_eq!(look.json()["site"]["election_id"], id, "{look:#?}");
    // Who does not know the authority is not talked into trusting it.
    let look = run("tallyroot", &["status", &site, "--json"]);
    assert_ne!(look.code, 0, "{look:#?}");

    let mut arguments = vec!["vote", &site, "--election", &id, "--wait", "60", "--json"];
    let (secret, receipt) = (folder.path().join("secret"), folder.path().join("receipt"));
    arguments.extend(["--secret", arg(&secret), "--receipt", arg(&receipt)]);
    let codes = codes(&data, 2, "~guest 0");
    arguments.extend(codes.iter().flat_map(|code| ["--code", code]));
    for choice in ["Mayor=Grace Hopper", "What should the new park have?=Pond"] {
        arguments.extend(["--choose", choice]);
    }
    let voted = run_with("tallyroot", &arguments, &local.environment());
    assert_eq!(voted.code, 0, "{voted:#?}");
    assert_eq!(voted.json()["status"], "sealed", "{voted:#?}");
    let status = local.status();
    let rows = status["processes"].as_array().unwrap();
    each_holds_its_own(&data, &[&data], rows, |name| match name {
        // Keys, a password, a certificate's key.
        "cell" | "anchor" => 4,
        "registrar" => 6,
        "witness" | "front" => 2,
        "tally" => 1,
        // Its certificate's key is a copy, in its own folder.
        _ => 0,
    });
    nothing_is_said_in_plain_text(&local, &data, rows);

    let said = local.play(&["--exit"]);
    assert_eq!(said.code, 0, "{said:#?}");
    let end = said.json();
    assert_eq!(end["audit"]["verified"], true, "{end}");
    assert_eq!(end["audit"]["findings"], json!([]));
    // The demo's voters, and the guest.
    for member in ["issued", "votes"] {
        assert_eq!(end[member], 151, "{member}");
    }
    let id = end["election_id"].as_str().unwrap();
    let audit = run(
        "tallyroot-verify",
        &[
            "audit",
            arg(&data.join("public")),
            "--election",
            id,
            "--json",
        ],
    );
    assert_eq!(audit.code, 0, "{} {}", audit.stdout, audit.stderr);
}
