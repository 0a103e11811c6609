//! Results: the sums of what is published, byte for byte what anybody else makes of it, and final once the final head is there.

use std::sync::Arc;
use std::time::Duration;

use crate::common::service::PATIENCE;
use crate::common::{Site, shard};
use bytes::Bytes;
use ledger::heads::name_of;
use ledger::{Keys, LogClient};
use protocol::count::Rankings;
use protocol::entry::{Entry, NoticeAction};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::CompactRange;
use protocol::results::{CellPart, Results, Status};
use protocol::tlog_proof::TlogProof;
use tally::{Tally, TallyConfig};

fn start(site: &Site) -> Tally {
    let mut config = TallyConfig::new(&site.election);
    config.poll = Duration::from_millis(20);
    config.read_timeout = Duration::from_secs(2);
    Tally::start(config, site.reader(), site.directory("tally"))
}

async fn results_where(
    tally: &Tally,
    site: &Site,
    what: &str,
    is: impl Fn(&Results) -> bool,
) -> Results {
    let parse = |bytes: &Bytes| Results::parse(bytes, &site.election).unwrap();
    let mut watch = tally.watch();
    let found = watch.wait_for(|bytes| bytes.as_ref().is_some_and(|bytes| is(&parse(bytes))));
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(Ok(bytes)) => parse(bytes.as_ref().unwrap()),
        Ok(Err(_)) => panic!("the service stopped before results with {what}"),
        Err(_) => panic!("no results with {what}: {:?}", tally.watch().borrow()),
    }
}

/// What an outsider makes of the batches alone, without any of the tally's code.
async fn recomputed(site: &Site, sizes: &[u64], status: Status) -> Vec<u8> {
    let election = &site.election;
    let mut parts = Vec::new();
    let mut rankings = vec![Rankings::new(); election.contests().len()];
    for (cell, size) in (0..).zip(sizes) {
        let log = LogId::Cell(cell);
        let keys = Keys::main(*election.log_keys(log).unwrap().main.as_bytes());
        let client = LogClient::new(site.reader(), name_of(election, log), keys);
        let (checkpoint, note) = client.at(*size).await.unwrap().unwrap();
        let mut range = CompactRange::new();
        let mut tally = None;
        let mut n = 0;
        while range.size() < *size {
            let batch = client.batch(n, &mut range).await.unwrap().unwrap();
            for (index, bytes) in (batch.old().size..).zip(batch.entries()) {
                match Entry::decode(&bytes, election).unwrap() {
                    Entry::Vote(vote) => {
                        for (rankings, choice) in rankings.iter_mut().zip(vote.ballot.choices()) {
                            *rankings.entry(choice.to_vec()).or_insert(0) += 1;
                        }
                    }
                    Entry::Tally(found) => tally = Some((found.totals, index, bytes)),
                    _ => {}
                }
            }
            n += 1;
        }
        let mut proven = None;
        if let Some((totals, index, bytes)) = tally {
            let path = client.inclusion(index, &checkpoint).await.unwrap().proof;
            let proof = TlogProof::new(Some(bytes.to_vec()), index, path, note.to_vec()).unwrap();
            proven = Some((totals, String::from_utf8(proof.encode()).unwrap()));
        }
        parts.push(CellPart {
            size: *size,
            tally: proven,
        });
    }
    let results = match status {
        Status::Open => Results::open(election, &parts),
        Status::Cancelled => Results::cancelled(election, &parts),
        Status::Final => Results::finalize(election, &parts, &rankings),
    };
    results.unwrap().to_bytes().unwrap()
}

fn standing(site: &Site) -> Vec<u8> {
    std::fs::read(site.published("results.json")).unwrap()
}

async fn issue(site: &Site, count: u64) -> crate::common::Log {
    let shard = site.log(shard(0)).await;
    for voter in 0..count {
        shard.issue(voter).await;
    }
    shard
}

#[tokio::test]
async fn results_follow_the_cells_and_end_with_the_final_head() {
    let site = Site::new();
    let tally = start(&site);
    // Before anything is published there is a result too: nothing.
    let none = results_where(&tally, &site, "a start", |_| true).await;
    assert_eq!(
        (none.votes, none.cells[0].size, none.cells[0].proof.as_ref()),
        (0, 0, None)
    );

    let logs = site.logs().await;
    for voter in 0..6 {
        logs.shards[0].issue(voter).await;
    }
    logs.cells[0].vote(1, &[&[0], &[1, 0]]).await;
    logs.cells[0].vote(2, &[&[0], &[0]]).await;
    logs.cells[1].vote(3, &[&[1], &[1, 2]]).await;
    logs.cells[1].vote(4, &[&[], &[]]).await;
    let open = results_where(&tally, &site, "four votes", |results| results.votes == 4).await;
    assert_eq!(open.status, Status::Open);
    assert_eq!(open.abstentions, 1);
    assert_eq!(open.contests[0].counts, [2, 1, 0]);
    assert_eq!(open.contests[1].counts, [1, 2, 0]);
    assert_eq!(open.contests[0].winner, None);
    let sizes: Vec<u64> = open.cells.iter().map(|cell| cell.size).collect();
    assert_eq!(
        standing(&site),
        recomputed(&site, &sizes, Status::Open).await
    );

    logs.cells[0].vote(5, &[&[2], &[2, 0, 1]]).await;
    let anchoring = site.anchoring().await;
    logs.close_all().await;
    let head = anchoring.finished().await.unwrap();
    let last = tokio::time::timeout(PATIENCE, tally.finished())
        .await
        .unwrap()
        .unwrap();
    let sizes: Vec<u64> = head.head.logs[..2].iter().map(|log| log.size).collect();
    assert_eq!(last, recomputed(&site, &sizes, Status::Final).await);
    assert_eq!(last, standing(&site));
    let results = Results::parse(&last, &site.election).unwrap();
    assert_eq!((results.status, results.votes), (Status::Final, 5));
    assert_eq!(results.contests[0].winner, Some(0));
    // Red 1, Green 2, Blue 1: Blue goes (listed last), its ballot goes to Red, and then the tie ends Green (listed after Red).
    assert_eq!(results.contests[1].winner, Some(0));
    assert_eq!(results.contests[1].rounds.as_ref().unwrap().len(), 3);
    // Started again, it is the same.
    drop(tally);
    assert_eq!(start(&site).finished().await.unwrap(), last);
}

#[tokio::test]
async fn votes_above_the_final_heads_sizes_do_not_count() {
    let site = Site::new();
    let logs = site.logs().await;
    logs.shards[0].issue(1).await;
    logs.shards[0].issue(2).await;
    logs.cells[0].vote(1, &[&[0], &[0]]).await;
    let anchoring = site.anchoring().await;
    site.clock
        .set(crate::common::CLOSING + crate::common::GRACE + 1);
    anchoring.finished().await.unwrap();
    logs.cells[0].vote(2, &[&[1], &[1]]).await;
    let last = start(&site).finished().await.unwrap();
    let results = Results::parse(&last, &site.election).unwrap();
    assert_eq!((results.votes, results.cells[0].size), (1, 3));
}

#[tokio::test]
async fn one_bad_cell_keeps_its_last_good_part_also_over_a_restart() {
    let site = Site::new();
    let logs = site.logs().await;
    logs.cells[0].vote(1, &[&[0], &[0]]).await;
    let tally = start(&site);
    results_where(&tally, &site, "one vote", |results| results.votes == 1).await;

    let checkpoint = site.published("cells/0/checkpoint");
    let good = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, b"nonsense\n").unwrap();
    logs.cells[1].vote(2, &[&[0], &[0]]).await;
    results_where(&tally, &site, "the other cell's", |results| {
        results.votes == 2
    })
    .await;
    drop(tally);
    let tally = start(&site);
    logs.cells[1].vote(3, &[&[0], &[0]]).await;
    let results = results_where(&tally, &site, "three votes", |results| results.votes == 3).await;
    assert_eq!(results.cells[0].size, 3);
    std::fs::write(&checkpoint, good).unwrap();
    logs.cells[1].vote(4, &[&[0], &[0]]).await;
    results_where(&tally, &site, "four votes", |results| results.votes == 4).await;
}

#[tokio::test]
async fn a_forged_results_file_is_not_believed_at_start() {
    let site = Site::new();
    let logs = site.logs().await;
    logs.cells[0].vote(1, &[&[0], &[0]]).await;
    let tally = start(&site);
    results_where(&tally, &site, "one vote", |results| results.votes == 1).await;
    drop(tally);
    // The proof of cell 0 is put under cell 1, which cannot be read.
    let mut forged = Results::parse(&standing(&site), &site.election).unwrap();
    forged.cells[1] = forged.cells[0].clone();
    forged.cells[1].cell = 1;
    std::fs::write(site.published("results.json"), forged.to_bytes().unwrap()).unwrap();
    std::fs::remove_file(site.published("cells/1/checkpoint")).unwrap();
    let results = results_where(&start(&site), &site, "a start", |_| true).await;
    assert_eq!((results.votes, results.cells[1].proof.as_ref()), (1, None));
}

#[tokio::test]
async fn a_forked_cell_is_not_followed() {
    let site = Site::new();
    let logs = site.logs().await;
    logs.cells[0].vote(1, &[&[0], &[0]]).await;
    let tally = start(&site);
    results_where(&tally, &site, "one vote", |results| results.votes == 1).await;
    let other = Site::of(site.election.clone());
    let fork = other.log(LogId::Cell(0)).await;
    fork.vote(7, &[&[1], &[1]]).await;
    fork.vote(8, &[&[1], &[1]]).await;
    let (from, to) = (other.published("cells/0"), site.published("cells/0"));
    std::fs::remove_dir_all(&to).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([&from, &to])
        .status();
    assert!(copied.unwrap().success());
    logs.cells[1].vote(2, &[&[2], &[2]]).await;
    let results = results_where(&tally, &site, "cell 1's vote", |results| {
        results.cells[1].size == 3
    })
    .await;
    assert_eq!(results.contests[0].counts, [1, 0, 1]);
}

#[tokio::test]
async fn a_ballot_that_no_tally_counted_stops_the_final_result() {
    let site = Site::new();
    let logs = site.logs().await;
    logs.shards[0].issue(1).await;
    logs.cells[0].vote(1, &[&[0], &[0]]).await;
    let anchoring = site.anchoring().await;
    logs.close_all().await;
    anchoring.finished().await.unwrap();
    let batch = site.published("cells/0/batches/1");
    let good = std::fs::read(&batch).unwrap();
    let mut bad = good.clone();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    std::fs::write(&batch, bad).unwrap();
    let tally = start(&site);
    let waited = tokio::time::timeout(Duration::from_secs(1), tally.finished()).await;
    assert!(waited.is_err(), "{waited:?}");
    std::fs::write(&batch, good).unwrap();
    assert!(tally.finished().await.is_some());
}

#[tokio::test]
async fn a_cancelled_election_has_no_outcome() {
    let site = Site::new();
    let _shard = issue(&site, 2).await;
    let cell = site.log(LogId::Cell(0)).await;
    cell.vote(1, &[&[0], &[0]]).await;
    let tally = start(&site);
    let anchoring = site.anchoring().await;
    anchoring
        .submit_notice(&site.notice(0, NoticeAction::Cancel))
        .await
        .unwrap();
    let is_cancelled = |results: &Results| results.status == Status::Cancelled;
    results_where(&tally, &site, "the cancellation", is_cancelled).await;
    // Two logs were never there, so it takes another grace.
    site.clock
        .set(crate::common::CLOSING + 2 * crate::common::GRACE + 1);
    anchoring.finished().await.unwrap();
    let last = tally.finished().await.unwrap();
    assert_eq!(last, recomputed_cancelled(&site).await);
}

async fn recomputed_cancelled(site: &Site) -> Vec<u8> {
    let other: Election = site.election.clone();
    let bytes = standing(site);
    let results = Results::parse(&bytes, &other).unwrap();
    assert!(
        results
            .contests
            .iter()
            .all(|contest| contest.winner.is_none())
    );
    assert_eq!(results.status, Status::Cancelled);
    bytes
}

#[tokio::test]
async fn a_failing_file_is_written_later() {
    struct Failing(tokio::sync::watch::Sender<u32>, Arc<ledger::Directory>);
    #[async_trait::async_trait]
    impl tally::ResultsFile for Failing {
        async fn replace(&self, bytes: Bytes) -> Result<(), ledger::PublishError> {
            let tries = *self.0.borrow() + 1;
            self.0.send_replace(tries);
            if tries < 4 {
                return Err(ledger::PublishError::Unfit("unplugged".to_owned()));
            }
            tally::ResultsFile::replace(&*self.1, bytes).await
        }
    }
    let site = Site::new();
    let (tries, mut tried) = tokio::sync::watch::channel(0);
    let file = Arc::new(Failing(tries, site.directory("tally")));
    let mut config = TallyConfig::new(&site.election);
    config.poll = Duration::from_millis(10);
    let tally = Tally::start(config, site.reader(), file);
    tried.wait_for(|tries| *tries == 3).await.unwrap();
    assert!(tally.watch().borrow().is_none());
    results_where(&tally, &site, "a start", |_| true).await;
    assert!(!standing(&site).is_empty());
}
