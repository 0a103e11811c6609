//! Voters who come one by one are published together: in minimum batches, in an order that is not theirs.

use std::path::Path;
use std::time::Duration;

use protocol::entry::{Entry, Vote};
use protocol::ids::LogId;
use tests::demo::Demo;
use tests::device::{Device, Site};
use tests::published::{Published, codes};
use tests::{arg, folder, moment, run};

const VOTERS: usize = 8;

/// An election of eight voters who come one by one; the votes of each batch in their order, after all have been answered.
async fn trickle(folder: &Path, batch_min: usize) -> Vec<Vec<Vote>> {
    let identities: Vec<String> = (0..VOTERS).map(|voter| format!("voter {voter}")).collect();
    let roll = format!("identity\n{}\n", identities.join("\n"));
    std::fs::write(folder.join("roll.csv"), roll).unwrap();
    let description = folder.join("election.toml");
    std::fs::write(
        &description,
        format!(
            "title = \"Board\"\nbase = \"vote.example.org\"\nroll = \"roll.csv\"\ndemo = true\n\
             registration = {}\nopening = {}\nclosing = {}\n\
             batch_min = {batch_min}\nbatch_wait_ms = 30000\nhead_interval_ms = 500\ncast_delay_s = 0\n\
             [[contests]]\nname = \"Chair\"\nmethod = \"plurality\"\noptions = [\"Ada\", \"Grace\"]\n",
            moment(-60),
            moment(-60),
            moment(86_400),
        ),
    )
    .unwrap();
    let data = folder.join("election");
    let said = run(
        "tallyroot",
        &["election", "new", arg(&description), "--out", arg(&data)],
    );
    assert_eq!(said.code, 0, "{}", said.stderr);
    let up = Demo::of_folder(&data).stay_up();
    let published = Published::of(&data);
    let site = Site::new(&up.url, &published.election);

    let mut cast = Vec::new();
    for identity in &identities {
        let mut device = Device::new(&published.election);
        device.sign_in(&site, &codes(&data, 1, identity)).await;
        let vote = device.vote(&published.election, &[vec![0]]);
        let site = site.clone();
        cast.push(tokio::spawn(async move { site.cast(&vote).await }));
        // Slow voters: this is the situation that is tried, not a wait for something.
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    for cast in cast {
        assert_eq!(cast.await.unwrap().0, 200);
    }
    published
        .batches(LogId::Cell(0))
        .into_iter()
        .map(|batch| {
            batch
                .into_iter()
                .filter_map(|entry| match entry {
                    Entry::Vote(vote) => Some(vote),
                    _ => None,
                })
                .collect::<Vec<_>>()
        })
        .filter(|votes| !votes.is_empty())
        .collect()
}

/// All votes, none in a batch of fewer than eight, and each batch in the order of its leaf hashes.
fn is_hidden(batches: &[Vec<Vote>]) -> bool {
    batches.iter().map(Vec::len).sum::<usize>() == VOTERS
        && batches
            .iter()
            .all(|batch| batch.len() >= 8 && batch.is_sorted_by_key(|vote| vote.leaf_hash().0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_trickle_is_published_in_minimum_batches() {
    let batches = trickle(folder().path(), 8).await;
    assert!(
        is_hidden(&batches),
        "{:?}",
        batches.iter().map(Vec::len).collect::<Vec<_>>()
    );
    // Without the minimum the same voters stand there one by one.
    let batches = trickle(folder().path(), 1).await;
    assert!(!is_hidden(&batches));
    assert!(batches.iter().all(|batch| batch.len() < 8));
}
