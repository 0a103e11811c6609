//! Anchors: every checkpoint of the heads log goes to each of them, and whatever they hold that is not of our log stops everything.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::common::Site;
use crate::common::service::{Flaky, PATIENCE, head_where, next_head};
use anchoring::{Created, StartError};
use ledger::Reader as _;
use protocol::anchor::AnchorObject;
use protocol::grammar::HeadsLog;

/// Removes a folder of a service that was dropped a moment ago: a write of its own may still be on its way.
async fn remove(folder: &Path) {
    let gone = async {
        while folder.exists() {
            let _ = fs::remove_dir_all(folder);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}

/// Decodes all objects of an anchor and gives the entries that they hold together.
fn objects(site: &Site, anchor: &str) -> Vec<Vec<u8>> {
    let mut entries: Vec<Vec<u8>> = Vec::new();
    for n in 0.. {
        let Ok(bytes) = fs::read(site.published(&format!("anchors/{anchor}/{n}"))) else {
            break;
        };
        let object = AnchorObject::decode(&bytes, &site.election.id()).unwrap();
        assert_eq!(object.n, n);
        assert_eq!(object.old_size, entries.len() as u64);
        assert_eq!(
            object.new_size,
            object.old_size + object.entries.len() as u64
        );
        let note = fs::read(site.published(&format!("heads/checkpoints/{}", object.new_size)));
        assert_eq!(object.note, note.unwrap());
        entries.extend(object.entries.iter().map(|entry| entry.to_vec()));
    }
    entries
}

#[tokio::test]
async fn every_anchor_holds_the_whole_heads_log_in_order() {
    let site = Site::new();
    let logs = site.logs().await;
    let anchoring = site.anchoring().await;
    next_head(&anchoring).await;
    drop(anchoring);
    // Started again in the middle, with anchors that are asked where they end.
    let anchoring = site.anchoring().await;
    next_head(&anchoring).await;
    logs.close_all().await;
    let last = anchoring.finished().await.unwrap();
    for anchor in ["one", "two"] {
        let entries = objects(&site, anchor);
        assert_eq!(entries.len() as u64, last.end.size);
        // The heads log can be checked from the anchor alone.
        let mut log = HeadsLog::new(&site.election);
        for (n, entry) in (0..).zip(&entries) {
            log.batch(n, &[entry]).unwrap();
        }
        assert_eq!(log.root(), last.end.root);
        assert!(log.final_head().is_some());
    }
}

#[tokio::test]
async fn an_anchor_that_is_down_delays_only_itself() {
    let site = Site::new();
    let logs = site.logs().await;
    let flaky = Flaky::down(site.anchor("two"));
    let anchoring = site
        .try_anchoring(vec![site.anchor("one"), flaky.clone()], false)
        .await
        .unwrap();
    next_head(&anchoring).await;
    next_head(&anchoring).await;
    logs.close_all().await;
    head_where(&anchoring, "finality", |head| head.is_final).await;
    let size = anchoring.watch().borrow().as_ref().unwrap().end.size;
    tokio::time::timeout(PATIENCE, async {
        while objects(&site, "one").len() as u64 != size {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    // Not finished: "the final head must be covered by every anchor".
    assert_eq!(*anchoring.anchored().borrow(), 0);
    flaky.down.store(false, Ordering::SeqCst);
    let last = anchoring.finished().await.unwrap();
    assert_eq!(objects(&site, "two").len() as u64, last.end.size);
    let mut anchored = anchoring.anchored();
    tokio::time::timeout(PATIENCE, anchored.wait_for(|size| *size == last.end.size))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn objects_that_another_process_of_ours_cut_elsewhere_are_taken() {
    let site = Site::new();
    let logs = site.logs().await;
    let anchoring = site.anchoring().await;
    next_head(&anchoring).await;
    drop(anchoring);
    // Anchor two gets the whole log so far as one object.
    let entries = objects(&site, "one");
    let size = entries.len() as u64;
    let note = fs::read(site.published(&format!("heads/checkpoints/{size}"))).unwrap();
    let whole = AnchorObject {
        election: site.election.id(),
        n: 0,
        old_size: 0,
        new_size: size,
        entries: entries.iter().map(Vec::as_slice).collect(),
        note: &note,
    };
    remove(&site.published("anchors/two")).await;
    let created = site.anchor("two").create(0, &whole.encode().unwrap()).await;
    assert_eq!(created.unwrap(), Created::Created);
    let anchoring = site.anchoring().await;
    logs.close_all().await;
    let last = anchoring.finished().await.unwrap();
    assert_eq!(objects(&site, "two"), objects(&site, "one"));
    assert_eq!(objects(&site, "two").len() as u64, last.end.size);
}

/// The same heads key over another history, as after a restored backup or by a thief.
async fn other_history(site: &Site) -> Site {
    let other = Site::of(site.election.clone());
    let _logs = other.logs().await;
    other.clock.set(crate::common::OPENING + 77);
    let anchoring = other.anchoring().await;
    next_head(&anchoring).await;
    let mut anchored = anchoring.anchored();
    anchored.wait_for(|size| *size >= 2).await.unwrap();
    drop(anchoring);
    other
}

#[tokio::test]
async fn an_anchor_with_another_history_stops_the_start() {
    let site = Site::new();
    let _logs = site.logs().await;
    let anchoring = site.anchoring().await;
    next_head(&anchoring).await;
    drop(anchoring);
    let other = other_history(&site).await;
    remove(&site.published("anchors/one")).await;
    fs::create_dir(site.published("anchors/one")).unwrap();
    for n in 0..objects(&other, "one").len() {
        let object = format!("anchors/one/{n}");
        if let Ok(bytes) = fs::read(other.published(&object)) {
            fs::write(site.published(&object), bytes).unwrap();
        }
    }
    let anchoring = site.anchoring().await;
    // Signed by the right key, so only the comparison with our own log tells.
    let reason = tokio::time::timeout(PATIENCE, anchoring.finished())
        .await
        .unwrap()
        .unwrap_err();
    assert!(!reason.is_empty());
    let size = site
        .reader()
        .read("heads/checkpoint", 10_000)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        site.reader()
            .read("heads/checkpoint", 10_000)
            .await
            .unwrap(),
        size
    );
}

#[tokio::test]
async fn a_damaged_object_stops_the_start() {
    let site = Site::new();
    let _logs = site.logs().await;
    let anchoring = site.anchoring().await;
    let mut anchored = anchoring.anchored();
    anchored.wait_for(|size| *size >= 3).await.unwrap();
    drop(anchoring);
    let mut n = 0;
    while site.published(&format!("anchors/two/{}", n + 1)).exists() {
        n += 1;
    }
    let place = site.published(&format!("anchors/two/{n}"));
    let mut bytes = fs::read(&place).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&place, bytes).unwrap();
    let started = site.try_anchoring(site.anchors(), false).await;
    match started {
        Err(StartError::Fork { anchor, .. }) => assert_eq!(anchor, "two"),
        // The flipped bit lies in an entry: the note still verifies, and the comparison with our log finds it.
        Ok(anchoring) => {
            let reason = anchoring.finished().await.unwrap_err();
            assert!(reason.contains("two"), "{reason}");
        }
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_place_that_is_taken_by_other_bytes_stops_everything() {
    let site = Site::new();
    let _logs = site.logs().await;
    let anchoring = site.anchoring().await;
    next_head(&anchoring).await;
    // Far enough ahead that the service has not been there yet.
    let place = site.published("anchors/two/12");
    if !place.exists() {
        fs::write(place, b"somebody else's").unwrap();
    }
    let reason = tokio::time::timeout(PATIENCE, anchoring.finished())
        .await
        .unwrap()
        .unwrap_err();
    assert!(reason.contains("anchor two"), "{reason}");
    let notice = site.notice(0, protocol::entry::NoticeAction::Cancel);
    assert!(anchoring.submit_notice(&notice).await.is_err());
}

#[tokio::test]
async fn both_copies_behind_an_anchor_halt_rather_than_fork() {
    let site = Site::new();
    let _logs = site.logs().await;
    let anchoring = site.anchoring().await;
    let mut anchored = anchoring.anchored();
    anchored.wait_for(|size| *size >= 3).await.unwrap();
    drop(anchoring);
    // The database and the published heads log are both lost; only the anchors remember.
    remove(&site.published("heads")).await;
    for file in ["heads.sqlite", "heads.sqlite-wal", "heads.sqlite-shm"] {
        let _ = fs::remove_file(site.root().join(file));
    }
    let anchoring = site.anchoring().await;
    let reason = anchoring.finished().await.unwrap_err();
    assert!(reason.contains("halted"), "{reason}");
    assert!(anchoring.watch().borrow().is_none());
}

#[tokio::test]
async fn exactly_the_manifests_anchors_are_taken() {
    let site = Site::new();
    for anchors in [
        vec![],
        vec![site.anchor("one")],
        vec![site.anchor("two"), site.anchor("one")],
    ] {
        let started = site.try_anchoring(anchors, false).await;
        assert!(matches!(started, Err(StartError::Anchors { .. })));
    }
}
