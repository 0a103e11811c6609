//! The same with keys that were made in KMS, and files in buckets, of a stand-in for AWS that each process reaches by TLS with credentials of its own.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tests::local::{Local, StandIn};
use tests::published::{Published, codes};
use tests::{Environment, Said, arg, files, folder, run_with};

use crate::{client, each_holds_its_own, nothing_is_said_in_plain_text};

/// An election whose keys are all made in this KMS, with a witness.
fn election(folder: &Path, aws: &StandIn) -> PathBuf {
    let (key, state) = (folder.join("key"), folder.join("state"));
    let mut arguments = vec!["witness", "new-key", "--name", "witness.example/w1"];
    arguments.extend(["--key", arg(&key), "--state", arg(&state)]);
    let made = run_with("tallyroot-verify", &arguments, &[]);
    assert_eq!(made.code, 0, "{made:#?}");
    let mut words = made.stdout.split_whitespace();
    let vkey = words.find(|word| word.starts_with("witness.example/w1+"));
    std::fs::write(folder.join("roll.csv"), "identity\nvoter 0\nvoter 1\n").unwrap();
    let moment = |seconds| Timestamp::now() + SignedDuration::from_secs(seconds);
    let description = format!(
        "title = \"In buckets\"\nbase = \"vote.tallyroot.example\"\nroll = \"roll.csv\"\nregistration = {:.0}\nopening = {:.0}\nclosing = {:.0}\n\
         demo = true\ncells = 2\nbatch_min = 1\nbatch_wait_ms = 200\ncast_delay_s = 0\nhead_interval_ms = 500\nanchors = [\"court\", \"university\"]\n\
         {}\n[[witness]]\nvkey = \"{}\"\n[[contests]]\nname = \"Colour\"\nmethod = \"plurality\"\noptions = [\"Red\", \"Blue\"]\n",
        moment(-60),
        moment(-30),
        moment(3_600),
        aws.keys,
        vkey.unwrap(),
    );
    let path = folder.join("description.toml");
    std::fs::write(&path, description).unwrap();
    let data = folder.join("election");
    let arguments = ["election", "new", arg(&path), "--out", arg(&data)];
    let made = run_with("tallyroot", &arguments, &aws.operator);
    assert_eq!(made.code, 0, "{made:#?}");
    let own = data.join("witnesses/1");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::rename(key, own.join("key")).unwrap();
    std::fs::rename(state, own.join("state")).unwrap();
    data
}

/// What a check of a service's configuration says of a part of it, to somebody with these credentials.
fn check(local: &Local, data: &Path, service: &str, of: &str, what: &str) -> Value {
    let config = data.join(format!("local/{service}.toml"));
    let role = service.split('-').next().unwrap();
    let mut environment: Environment = local.environment();
    let credentials = data.join(format!("local/{of}.aws"));
    environment.push(("AWS_SHARED_CREDENTIALS_FILE", arg(&credentials).to_owned()));
    environment.push(("AWS_CONFIG_FILE", "/dev/null".to_owned()));
    let mut arguments = vec!["serve", role, "--config", arg(&config)];
    arguments.extend(["--check-config", "--json"]);
    let said: Said = run_with("tallyroot", &arguments, &environment);
    let checks = said.json()["checks"].clone();
    let mut checks = checks.as_array().unwrap().iter();
    let found = checks.find(|check| check["check"] == what);
    found.unwrap_or_else(|| panic!("{said:#?}")).clone()
}

/// One service's credentials are of no use for another's keys and files.
fn credentials_are_for_one_service(local: &Local, data: &Path) {
    let (key, published) = ("key", "published");
    for (service, of, what, says) in [
        ("cell-1", "cell-1", key, None),
        ("cell-1", "cell-0", key, Some("allow kms:GetPublicKey")),
        ("anchor", "registrar-0", key, Some("allow kms:GetPublicKey")),
        ("cell-0", "tally", key, Some("allow kms:GetPublicKey")),
        ("cell-0", "cell-0", published, None),
        ("cell-0", "tally", published, Some("s3:PutObject")),
    ] {
        let found = check(local, data, service, of, what);
        let message = found["message"].as_str().unwrap_or_default();
        let as_it_should = match says {
            None => found["ok"] == true,
            Some(says) => found["ok"] == false && message.contains(says),
        };
        assert!(as_it_should, "{service} as {of}: {found}");
    }
}

/// The front is a way to read the published bucket, and no other way into it.
fn the_front_only_reads(local: &Local, id: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let http = client(local).build().unwrap();
    let root = "AWS4-HMAC-SHA256 Credential=test/20260101/eu-central-1/s3/aws4_request, SignedHeaders=host, Signature=00";
    let ask = |method: &str, path: &str| {
        let url = format!("{}/elections/{path}", local.url);
        let request = http.request(method.parse().unwrap(), url);
        let request = request.header("authorization", root).body("x");
        let answer = runtime.block_on(request.send()).unwrap();
        let headers = answer.headers();
        let to_all = headers.get_all("access-control-allow-origin").iter();
        (answer.status().as_u16(), to_all.count())
    };
    assert_eq!(ask("GET", &format!("{id}/manifest.json")), (200, 1));
    assert_eq!(ask("GET", &format!("{id}/nothing")), (404, 1));
    for method in ["PUT", "DELETE", "POST"] {
        assert_eq!(ask(method, &format!("{id}/nothing")).0, 403, "{method}");
    }
    assert_eq!(ask("GET", &format!("{id}/nothing")).0, 404);
    // Who could ask it this would see who may do what.
    assert_eq!(ask("GET", &format!("{id}/nothing?policy")).0, 404);
}

#[test]
fn an_election_in_kms_and_buckets() {
    let folder = folder();
    let aws = StandIn::start(&folder.path().join("aws"));
    let data = election(folder.path(), &aws);
    let up = ["--tls", "--aws", arg(&aws.folder)];
    // The operator's own credentials are in the environment of whoever starts the services, and in no service's.
    let local = Local::of(&data, &aws.operator, &up);
    let (site, id) = (local.url.as_str(), Published::of(&data).id());

    let mut arguments = vec!["vote", site, "--election", &id, "--wait", "60", "--json"];
    let (secret, receipt) = (folder.path().join("secret"), folder.path().join("receipt"));
    arguments.extend(["--secret", arg(&secret), "--receipt", arg(&receipt)]);
    let codes = codes(&data, 1, "voter 0");
    arguments.extend(["--code", &codes[0], "--choose", "Colour=Blue"]);
    let voted = run_with("tallyroot", &arguments, &local.environment());
    assert_eq!(voted.code, 0, "{voted:#?}");
    assert_eq!(voted.json()["status"], "sealed", "{voted:#?}");
    let look = ["status", site, "--json"];
    let look = run_with("tallyroot", &look, &local.environment());
    assert_eq!(look.json()["site"]["votes"], 1, "{look:#?}");

    let status = local.status();
    let rows = status["processes"].as_array().unwrap();
    each_holds_its_own(&data, &[&data, &aws.folder], rows, |name| match name {
        // A password, a certificate's key, credentials; a registrar's code key.
        "cell" | "anchor" => 3,
        "registrar" => 4,
        // Of the tally credentials too; the stand-in's certificate.
        "witness" | "front" | "tally" => 2,
        "aws" => 1,
        _ => 0,
    });
    nothing_is_said_in_plain_text(&local, &data, rows);
    let of_a_log = |path: &String| {
        let (_, name) = path.rsplit_once('/').unwrap_or_default();
        ["main.key", "spare.key", "rsa.pem"].contains(&name)
    };
    let keys: Vec<String> = files::list(folder.path());
    let keys: Vec<&String> = keys.iter().filter(|path| of_a_log(path)).collect();
    assert!(keys.is_empty(), "{keys:?}");
    // What is published is in the bucket, and not beside it.
    assert_eq!(
        files::list(&data.join("public")),
        [format!("elections/{id}/manifest.json")]
    );
    credentials_are_for_one_service(&local, &data);
    the_front_only_reads(&local, &id);

    let authority = std::fs::read_to_string(data.join("authority/main.kms")).unwrap();
    let close = ["election", "close", site, "--election", &id, "--json"];
    let close = [&close[..], &["--kms", authority.trim_end()]].concat();
    let closed = run_with("tallyroot", &close, &aws.operator);
    assert_eq!(closed.code, 0, "{closed:#?}");
    let finalize = ["election", "finalize", site, "--election", &id, "--json"];
    let done = run_with("tallyroot", &finalize, &local.environment());
    assert_eq!(done.code, 0, "{done:#?}");
    assert_eq!(done.json()["votes"], 1, "{done:#?}");

    // As auditors do: from the buckets, with no credentials, and no service of the election's between.
    let bucket = status["published"].as_str().unwrap();
    let audit = ["audit", bucket, "--election", &id, "--json"];
    let audit = run_with("tallyroot-verify", &audit, &local.environment());
    assert_eq!(audit.code, 0, "{audit:#?}");
    let verdict: Value = serde_json::from_str(&audit.stdout).unwrap();
    let found = (&verdict["state"], &verdict["votes"]);
    assert_eq!(found, (&json!("final"), &json!(1)), "{verdict:#}");
    let mut anchors = vec!["anchors", bucket, "--election", &id, "--json"];
    let given = status["anchors"].as_array().unwrap();
    assert_eq!(given.len(), 2, "{status}");
    for anchor in given {
        anchors.extend(["--anchor", anchor.as_str().unwrap()]);
    }
    let anchors = run_with("tallyroot-verify", &anchors, &local.environment());
    assert_eq!(anchors.code, 0, "{anchors:#?}");
}
