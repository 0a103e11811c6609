//! Heads: they follow the logs, never say what the rules forbid, and end in the final head.

use crate::common::service::{head_where, next_head, sizes, states};
use crate::common::{CLOSING, GRACE, OPENING, Site, shard};
use protocol::entry::LogState::{Closed, Open, Stale};
use protocol::ids::LogId;

const BALLOT: &[&[u16]] = &[&[0], &[1, 0]];

#[tokio::test]
async fn heads_follow_the_logs_to_the_final_head() {
    let site = Site::new();
    let logs = site.logs().await;
    let anchoring = site.anchoring().await;
    let first = head_where(&anchoring, "all logs open", |head| {
        states(head) == [Open; 4]
    })
    .await;
    assert_eq!(sizes(&first), [1; 4]);
    assert_eq!(first.head.time, OPENING + 1);

    logs.shards[0].issue(3).await;
    logs.shards[0].issue(4).await;
    logs.shards[1].issue(30).await;
    let zero = logs.cells[0].vote(1, BALLOT).await;
    logs.cells[1].vote(2, BALLOT).await;
    let head = head_where(&anchoring, "the new sizes", |head| {
        sizes(head) == [3, 3, 3, 2]
    })
    .await;
    assert_eq!(head.head.logs[0].root, zero.end.root);

    logs.close_all().await;
    let last = tokio::time::timeout(crate::common::service::PATIENCE, anchoring.finished())
        .await
        .unwrap()
        .unwrap();
    assert!(last.is_final);
    assert_eq!(states(&last), [Closed; 4]);
    assert_eq!(sizes(&last), [4, 4, 4, 3]);
    // Every anchor holds it, and nothing follows.
    assert_eq!(*anchoring.anchored().borrow(), last.end.size);
    assert_eq!(last.index + 1, last.end.size);
}

#[tokio::test]
async fn one_bad_log_stalls_nobody() {
    let site = Site::new();
    let logs = site.logs().await;
    logs.shards[0].issue(1).await;
    logs.shards[0].issue(2).await;
    logs.cells[0].vote(1, BALLOT).await;
    let anchoring = site.anchoring().await;
    head_where(&anchoring, "the first vote", |head| {
        sizes(head) == [3, 1, 3, 1]
    })
    .await;

    // Cell 0's checkpoint is damaged; what it gets meanwhile does not show, and the others go on.
    let checkpoint = site.published("cells/0/checkpoint");
    let good = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, b"nonsense\n").unwrap();
    logs.cells[1].vote(2, BALLOT).await;
    let head = head_where(&anchoring, "the other cell's vote", |head| {
        sizes(head)[1] == 3
    })
    .await;
    assert_eq!(states(&head), [Stale, Open, Open, Open]);
    assert_eq!(sizes(&head), [3, 3, 3, 1]);

    // Gone is stale as well; and once it is back, all is well.
    std::fs::remove_file(&checkpoint).unwrap();
    assert_eq!(states(&next_head(&anchoring).await)[0], Stale);
    std::fs::write(&checkpoint, good).unwrap();
    let head = head_where(&anchoring, "cell 0 fresh", |head| states(head)[0] == Open).await;
    assert_eq!(sizes(&head), [3, 3, 3, 1]);
}

#[tokio::test]
async fn a_log_that_was_never_there_is_stale_at_its_genesis() {
    let site = Site::new();
    let _cell = site.log(LogId::Cell(0)).await;
    let anchoring = site.anchoring().await;
    let head = head_where(&anchoring, "cell 0 open", |head| states(head)[0] == Open).await;
    assert_eq!(states(&head), [Open, Stale, Stale, Stale]);
    assert_eq!(sizes(&head), [1; 4]);
    // The very root that the log will have.
    let late = site.log(LogId::Cell(1)).await;
    assert_eq!(head.head.logs[1].root, late.handle.published().end.root);
    head_where(&anchoring, "cell 1 open", |head| states(head)[1] == Open).await;
}

/// The same log written twice, signed by the same key: the second writer's files take the first one's place.
#[tokio::test]
async fn a_forked_cell_is_held_at_what_was_seen_first() {
    let site = Site::new();
    let logs = site.logs().await;
    for voter in 0..3 {
        logs.shards[0].issue(voter).await;
    }
    logs.cells[0].vote(1, BALLOT).await;
    let anchoring = site.anchoring().await;
    let before = head_where(&anchoring, "the vote", |head| sizes(head) == [3, 1, 4, 1]).await;

    let other = Site::of(site.election.clone());
    let fork = other.log(LogId::Cell(0)).await;
    fork.vote(7, BALLOT).await;
    fork.vote(8, BALLOT).await;
    let (from, to) = (other.published("cells/0"), site.published("cells/0"));
    std::fs::remove_dir_all(&to).unwrap();
    assert!(
        std::process::Command::new("cp")
            .arg("-r")
            .args([&from, &to])
            .status()
            .unwrap()
            .success()
    );

    let head = head_where(&anchoring, "cell 0 stale", |head| states(head)[0] == Stale).await;
    assert_eq!(head.head.logs[0].root, before.head.logs[0].root);
    assert_eq!(sizes(&head)[0], 3);
}

#[tokio::test]
async fn votes_that_no_issuance_explains_wait_and_so_does_the_final_head() {
    let site = Site::new();
    let logs = site.logs().await;
    logs.shards[0].issue(1).await;
    logs.cells[0].vote(1, BALLOT).await;
    // Two votes, one credential issued: which of the two was invented?
    logs.cells[1].vote(2, BALLOT).await;
    let anchoring = site.anchoring().await;
    let head = head_where(&anchoring, "the first cell", |head| sizes(head)[0] == 3).await;
    assert_eq!(sizes(&head), [3, 1, 2, 1]);
    assert_eq!(states(&head), [Open, Stale, Open, Open]);

    // Not even the deadline makes such a final head, with the vote or without.
    site.clock.set(CLOSING + GRACE + 1);
    let head = next_head(&anchoring).await;
    assert!(!head.is_final);
    assert_eq!(sizes(&head), [3, 1, 2, 1]);

    logs.shards[1].issue(30).await;
    let last = anchoring.finished().await.unwrap();
    assert_eq!(sizes(&last), [3, 3, 2, 2]);
    assert_eq!(states(&last), [Open; 4]);
}

/// Its close says that it issued nothing, and its entries say otherwise: honest votes are not held back for that.
#[tokio::test]
async fn a_registrar_that_belies_itself_holds_nobody_back() {
    let site = Site::new();
    let cells = [
        site.log(LogId::Cell(0)).await,
        site.log(LogId::Cell(1)).await,
    ];
    let (lying, right) = (site.lying_log(shard(0)).await, site.log(shard(1)).await);
    for voter in 1..=3 {
        lying.issue(voter).await;
    }
    right.close().await;
    lying.close().await;
    cells[0].vote(1, BALLOT).await;
    cells[1].vote(2, BALLOT).await;
    let anchoring = site.anchoring().await;
    let head = head_where(&anchoring, "both votes", |head| sizes(head)[..2] == [3, 3]).await;
    assert_eq!(states(&head), [Open, Open, Stale, Closed]);
    // And the election can end without it.
    site.clock.set(CLOSING + 2 * GRACE + 1);
    let last = anchoring.finished().await.unwrap();
    assert_eq!(sizes(&last)[..2], [3, 3]);
}

#[tokio::test]
async fn after_the_grace_the_final_head_takes_what_there_is() {
    let site = Site::new();
    let logs = site.logs().await;
    logs.shards[0].issue(1).await;
    logs.cells[0].vote(1, BALLOT).await;
    logs.shards[0].close().await;
    let anchoring = site.anchoring().await;
    head_where(&anchoring, "shard 0 closed", |head| {
        states(head)[2] == Closed
    })
    .await;
    // At closing plus grace it is still too early.
    site.clock.set(CLOSING + GRACE);
    assert!(!next_head(&anchoring).await.is_final);
    site.clock.set(CLOSING + GRACE + 1);
    let last = anchoring.finished().await.unwrap();
    assert_eq!(states(&last), [Open, Open, Closed, Open]);
    assert_eq!(sizes(&last), [3, 1, 3, 1]);
}

#[tokio::test]
async fn a_cell_that_closes_before_issuance_is_held_until_issuance_ends() {
    let site = Site::new();
    let logs = site.logs().await;
    logs.cells[0].close().await;
    let anchoring = site.anchoring().await;
    let head = next_head(&anchoring).await;
    assert_eq!(states(&head), [Stale, Open, Open, Open]);
    assert_eq!(sizes(&head), [1; 4]);
    // Half of the grace later it is the open issuance logs that are late.
    site.clock.set(CLOSING + GRACE / 2);
    let head = head_where(&anchoring, "cell 0 closed", |head| {
        states(head)[0] == Closed
    })
    .await;
    assert_eq!(states(&head), [Closed, Open, Stale, Stale]);
    // They may still end, and then are read again.
    logs.shards[0].close().await;
    logs.shards[1].close().await;
    logs.cells[1].close().await;
    assert_eq!(states(&anchoring.finished().await.unwrap()), [Closed; 4]);
}

#[tokio::test]
async fn time_never_falls() {
    let site = Site::new();
    let _logs = site.logs().await;
    let anchoring = site.anchoring().await;
    head_where(&anchoring, "a time", |head| head.head.time == OPENING + 1).await;
    site.clock.set(OPENING - 5_000);
    assert_eq!(next_head(&anchoring).await.head.time, OPENING + 1);
    site.clock.set(OPENING + 9);
    head_where(&anchoring, "the new time", |head| {
        head.head.time == OPENING + 9
    })
    .await;
}

#[tokio::test]
async fn a_restart_goes_on_where_the_last_head_was() {
    let site = Site::new();
    let logs = site.logs().await;
    logs.shards[0].issue(1).await;
    logs.cells[0].vote(1, BALLOT).await;
    let anchoring = site.anchoring().await;
    let before = head_where(&anchoring, "the vote", |head| sizes(head) == [3, 1, 2, 1]).await;
    drop(anchoring);

    // Unreachable at the very start: its last size comes from the last head.
    let checkpoint = site.published("cells/0/checkpoint");
    let good = std::fs::read(&checkpoint).unwrap();
    std::fs::remove_file(&checkpoint).unwrap();
    let anchoring = site.anchoring().await;
    let head = head_where(&anchoring, "an index above", |head| {
        head.index > before.index
    })
    .await;
    assert_eq!(sizes(&head), [3, 1, 2, 1]);
    assert_eq!(states(&head)[0], Stale);
    std::fs::write(&checkpoint, good).unwrap();
    logs.close_all().await;
    let last = anchoring.finished().await.unwrap();
    drop(anchoring);
    // After the end there is nothing left to do, and a start says so at once.
    let again = site.anchoring().await.finished().await.unwrap();
    assert_eq!(again, last);
}

#[tokio::test]
async fn too_many_issuances_hold_their_shard() {
    let mut manifest = crate::common::manifest();
    manifest.roll.size = 3;
    let site = Site::of(protocol::manifest::Election::new(&manifest).unwrap());
    // Roll indices 0 and 1 belong to shard 0, index 2 to shard 1: all fine.
    let zero = site.log(shard(0)).await;
    let one = site.log(shard(1)).await;
    zero.issue(0).await;
    zero.issue(1).await;
    one.issue(2).await;
    let anchoring = site.anchoring().await;
    let head = head_where(&anchoring, "all issued", |head| sizes(head)[2..] == [3, 2]).await;
    assert_eq!(states(&head)[2..], [Open, Open]);
}

#[tokio::test]
async fn a_log_that_is_out_of_reach_at_the_deadline_gets_another_grace() {
    let site = Site::new();
    let logs = site.logs().await;
    logs.shards[0].issue(1).await;
    let anchoring = site.anchoring().await;
    next_head(&anchoring).await;
    let (place, away) = (site.published("cells/0"), site.published("away"));
    std::fs::rename(&place, &away).unwrap();
    head_where(&anchoring, "cell 0 stale", |head| states(head)[0] == Stale).await;
    site.clock.set(CLOSING + GRACE + 1);
    // The next head would be the final one, and leave out whatever cell 0 has acknowledged since.
    assert!(!next_head(&anchoring).await.is_final);
    std::fs::rename(&away, &place).unwrap();
    let last = head_where(&anchoring, "finality", |head| head.is_final).await;
    assert_eq!(states(&last)[0], Open);
}
