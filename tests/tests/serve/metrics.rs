//! What a scrape of each process shows while an election runs, and what it must never show.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tests::device::Device;
use tests::folder;
use tests::serve::{Plan, Role, World};

/// Whose labels are for machines, and name nothing that a voter brought.
const LABELS: [&str; 15] = [
    "anchor",
    "cell",
    "code",
    "le",
    "log",
    "operation",
    "outcome",
    "role",
    "route",
    "service",
    "state",
    "status",
    "step",
    "version",
    "why",
];

/// The samples of a page, by name, each with its labels and value.
type Samples = BTreeMap<String, Vec<(BTreeMap<String, String>, f64)>>;

/// The page, line by line; anything that is not of the text form is a failure.
fn samples(page: &str) -> Samples {
    let mut kinds = BTreeSet::new();
    let mut samples = Samples::new();
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(said) = line.strip_prefix("# ") {
            let fields: Vec<&str> = said.splitn(3, ' ').collect();
            match fields[..] {
                ["TYPE", name, _] => assert!(kinds.insert(name.to_owned()), "{name} twice"),
                ["HELP", _, help] => assert!(!help.is_empty()),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (named, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = named.split_once('{').unwrap_or((named, "}"));
        let labels = labels.strip_suffix('}').unwrap();
        let labels = labels.split("\",").filter(|label| !label.is_empty());
        let labels = labels.map(|label| {
            let (name, value) = label.split_once("=\"").unwrap();
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        });
        let labels: BTreeMap<String, String> = labels.collect();
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|part| name.strip_suffix(part).filter(|name| kinds.contains(*name)))
            .unwrap_or(name);
        assert!(kinds.contains(family), "{name} has no type");
        let value = value.parse().unwrap();
        samples
            .entry(family.to_owned())
            .or_default()
            .push((labels, value));
    }
    samples
}

/// The metrics that the page for operators names, each in the first column of a table.
fn named() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/metrics.md");
    let page = std::fs::read_to_string(path).unwrap();
    page.lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| Some(line.split_once('`')?.0.to_owned()))
        .collect()
}

fn value(samples: &Samples, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let found = samples.get(name)?.iter().find(|(own, _)| {
        labels
            .iter()
            .all(|(name, value)| own.get(*name).is_some_and(|own| own == value))
    });
    found.map(|(_, value)| *value)
}

#[tokio::test]
async fn a_scrape_shows_every_metric_and_nothing_of_a_voter() {
    let folder = folder();
    let world = World::new(folder.path(), &Plan::default());
    let services = world.start_all();
    let site = world.site(&services);
    let mut secrets = Vec::new();
    for voter in 0..6 {
        let codes = world.codes(voter);
        let mut device = Device::new(&world.published.election);
        device.sign_in(&site, &codes).await;
        let vote = device.vote(&world.published.election, &[vec![0]]);
        let (status, answer) = site.cast(&vote).await;
        assert_eq!(status, 200, "{answer}");
        // Once more, and then another one under the same credential.
        let (status, _) = site.cast(&vote).await;
        assert_eq!(status, 200);
        let other = device.vote(&world.published.election, &[vec![1]]);
        let (status, _) = site.cast(&other).await;
        assert_eq!(status, 409);
        secrets.extend(codes);
        secrets.push(format!("voter {voter}"));
        let bytes = [&vote.credential[..], &vote.signature[..]].into_iter();
        secrets.extend(bytes.flat_map(|bytes| [hex::encode(bytes), STANDARD.encode(bytes)]));
    }
    let typed = "registrars/0/what-somebody-typed";
    let (status, _) = site.post(typed, &serde_json::json!({})).await;
    assert_eq!(status, 404);

    let mut shown = BTreeSet::new();
    for service in &services {
        // The tally and the anchor are a round behind: the votes are in their sums once they are.
        let page = loop {
            let page = service.metrics().await;
            let samples = samples(&page);
            let waits = match service.role {
                Role::Tally => value(&samples, "tallyroot_results_votes", &[]) != Some(6.0),
                Role::Anchor => {
                    value(&samples, "tallyroot_anchored_size", &[]).is_none_or(|it| it < 2.0)
                }
                Role::Cell(_) | Role::Registrar(_) => false,
            };
            if !waits {
                break page;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        };
        let samples = samples(&page);
        for (name, all) in &samples {
            for (labels, value) in all {
                assert!(
                    value.is_finite() && *value >= 0.0,
                    "{name} {labels:?} {value}"
                );
                for label in labels.keys() {
                    assert!(
                        LABELS.contains(&label.as_str()) || label == "what" || label == "witness",
                        "{name}: {label}"
                    );
                }
            }
        }
        for secret in secrets.iter().chain([&typed.to_owned()]) {
            assert!(
                !page.contains(secret.as_str()),
                "{:?}: {secret}",
                service.role
            );
        }
        assert_eq!(value(&samples, "tallyroot_ready", &[]), Some(1.0));
        match service.role {
            Role::Cell(_) => {
                let answers = |outcome| {
                    let labels = [("log", "cells/0"), ("outcome", outcome)];
                    value(&samples, "tallyroot_log_submissions_total", &labels)
                };
                assert_eq!(answers("final"), Some(6.0));
                let refused = value(
                    &samples,
                    "tallyroot_refusals_total",
                    &[("code", "other-ballot")],
                );
                assert_eq!(refused, Some(6.0));
                let running = [("log", "cells/0"), ("state", "running")];
                assert_eq!(value(&samples, "tallyroot_log_state", &running), Some(1.0));
            }
            Role::Registrar(_) => {
                let signed = value(
                    &samples,
                    "tallyroot_blind_signatures_total",
                    &[("outcome", "signed")],
                );
                assert_eq!(signed, Some(6.0));
                let none = [("route", "none"), ("status", "404")];
                assert_eq!(
                    value(&samples, "tallyroot_http_requests_total", &none),
                    Some(1.0)
                );
            }
            Role::Anchor => assert_eq!(value(&samples, "tallyroot_anchor_late", &[]), Some(0.0)),
            Role::Tally => {}
        }
        shown.extend(samples.into_keys());
    }

    // Of witnesses, certificates and AWS there is nothing here (`s3` looks at the last), and nothing went wrong.
    let named = named();
    let elsewhere = [
        "tallyroot_cosigned_size",
        "tallyroot_witness_size",
        "tallyroot_witness_wrong",
        "tallyroot_log_retries_total",
        "tallyroot_aws_requests_total",
        "tallyroot_aws_request_seconds",
        "tallyroot_tls_certificate_not_after_timestamp_seconds",
        "tallyroot_tls_certificate_unread",
        "tallyroot_tls_handshakes_total",
    ];
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !shown.contains(*name) && !elsewhere.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "named, and not there: {missing:?}");
    let unnamed: Vec<_> = shown.difference(&named).collect();
    assert!(unnamed.is_empty(), "there, and not named: {unnamed:?}");
}
