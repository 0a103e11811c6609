//! What the page's own verification makes of our results, honest and falsified: runs `web/verify.test.js` under Node.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

#[path = "../../anchoring/tests/common/mod.rs"]
mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use common::service::PATIENCE;
use common::{Log, Site};
use protocol::ids::LogId;
use protocol::results::Results;
use tally::{Tally, TallyConfig};

fn start(site: &Site) -> Tally {
    let mut config = TallyConfig::new(&site.election);
    config.poll = Duration::from_millis(10);
    Tally::start(config, site.reader(), site.directory("tally"))
}

/// The first results with so many votes, and every cell at the size that it has published.
async fn with_votes(tally: &Tally, site: &Site, votes: u64) -> Bytes {
    let mut watch = tally.watch();
    let is = |bytes: &Option<Bytes>| {
        bytes
            .as_ref()
            .is_some_and(|bytes| Results::parse(bytes, &site.election).unwrap().votes == votes)
    };
    let found = tokio::time::timeout(PATIENCE, watch.wait_for(is)).await;
    found.unwrap().unwrap().clone().unwrap()
}

async fn cell_one(cell: &Log) {
    for voter in 10..13 {
        cell.vote(voter, &[&[2], &[2, 1, 0]]).await;
    }
    cell.vote(13, &[&[], &[]]).await;
}

async fn write_fixtures(folder: &Path) {
    let site = Site::new();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    write("id", site.election.id().to_string().as_bytes());
    write("manifest.json", site.election.manifest_bytes());
    let tally = start(&site);
    let logs = site.logs().await;
    write("empty.json", &with_votes(&tally, &site, 0).await);
    for voter in 0..30 {
        logs.shards[0].issue(voter.min(19)).await;
    }
    for voter in 0..4 {
        logs.cells[0].vote(voter, &[&[0], &[1, 2]]).await;
    }
    write("open1.json", &with_votes(&tally, &site, 4).await);
    // A second history of cell 0, under the same key: as many entries, other votes. Cell 1 is as in `open2.json`.
    let fork = Site::of(site.election.clone());
    let forked = [
        fork.log(LogId::Cell(0)).await,
        fork.log(LogId::Cell(1)).await,
    ];
    for voter in 0..9 {
        forked[0].vote(voter, &[&[1], &[0]]).await;
    }
    cell_one(&forked[1]).await;
    let fork_tally = start(&fork);
    write("fork.json", &with_votes(&fork_tally, &fork, 13).await);
    // The same under the spare key from the genesis on, as a notice might have it.
    let spare = Site::of(site.election.clone());
    drop(spare.log(LogId::Cell(0)).await);
    let anchoring = spare.anchoring().await;
    let head = common::service::next_head(&anchoring).await;
    let switch = protocol::entry::NoticeAction::Switch {
        log: LogId::Cell(0),
        size: 1,
        root: head.head.logs[0].root,
    };
    anchoring
        .submit_notice(&spare.notice(0, switch))
        .await
        .unwrap();
    let switched = spare.log_signing(LogId::Cell(0), Some(1)).await;
    switched.vote(1, &[&[2], &[2]]).await;
    write("spare.json", &with_votes(&start(&spare), &spare, 1).await);

    for voter in 4..9 {
        logs.cells[0].vote(voter, &[&[2], &[0]]).await;
    }
    cell_one(&logs.cells[1]).await;
    write("open2.json", &with_votes(&tally, &site, 13).await);
    let anchoring = site.anchoring().await;
    logs.close_all().await;
    anchoring.finished().await.unwrap();
    write("final.json", &tally.finished().await.unwrap());
}

#[tokio::test]
async fn the_page_verifies_what_we_publish_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    write_fixtures(folder.path()).await;
    // Without a package file of its own, a copy with one tells Node that these are modules.
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let copy = folder.path().join("web");
    fs::create_dir(&copy).unwrap();
    fs::write(copy.join("package.json"), r#"{"type":"module"}"#).unwrap();
    for file in fs::read_dir(web).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/vectors");
    let output = tokio::task::spawn_blocking(move || {
        Command::new("node")
            .arg("--test")
            .arg(copy.join("verify.test.js"))
            .env("TALLYROOT_FIXTURES", folder.path())
            .env("TALLYROOT_VECTORS", vectors)
            .output()
    })
    .await
    .unwrap()
    .expect("this test needs Node 18 or later as `node`: scripts/setup.sh test installs it");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Node reports success for a file without tests, too.
    assert!(
        text.contains("# fail 0") || text.contains("fail 0"),
        "{text}"
    );
    assert!(!text.contains("tests 0"), "{text}");
    assert!(text.contains("skipped 0"), "{text}");
}
