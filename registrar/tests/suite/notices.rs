//! What closing times and the authority's notices do to a running registrar.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{CLOSING, Options, Place, REGISTRATION, Served, code, seed};
use ledger::faulty::HeadsWriter;
use ledger::{Directory, DirectoryReader};
use protocol::ed25519::SigningKey;
use protocol::entry::{LogState, NoticeAction};
use protocol::ids::LogId;

async fn heads_beside(place: &Place, served: &Served) -> HeadsWriter {
    let root = place.folder.path().join("public");
    let publisher = Directory::open(&root, &place.election.id(), "heads").unwrap();
    let mut writer = HeadsWriter::new(
        &place.election,
        Arc::new(publisher),
        SigningKey::from_seed(&seed(3, 0)),
        SigningKey::from_seed(&seed(4, 0)),
    );
    writer.genesis().await.unwrap();
    let (_, mut followed) = ledger::schedule::follow(
        place.election.clone(),
        Arc::new(DirectoryReader::new(&root, &place.election.id())),
        served.clock.clone(),
        Duration::from_millis(5),
    );
    let schedule = served.schedule.clone();
    tokio::spawn(async move {
        while followed.changed().await.is_ok() {
            schedule.send_replace(followed.borrow_and_update().clone());
        }
    });
    writer
}

async fn seen(heads: &HeadsWriter, served: &Served) {
    let mut schedule = served.schedule.subscribe();
    let size = heads.size();
    schedule.wait_for(|s| s.heads_size() == size).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_logs_end_once_no_extension_can_come_any_more() {
    let place = Place::new(&["a", "b", "c", "d"], 1).await;
    let codes = place.codes(0);
    let served = Served::start(&place, 0, Options::default()).await;
    let mut heads = heads_beside(&place, &served).await;
    served.clock.set(CLOSING);
    let blinded = place.blinded(0, 1);
    assert_eq!(
        code(&served.ask(&codes["a"], blinded.message()).await),
        (403, "closed")
    );
    crate::common::time_for_haste().await;
    // In time, and seen late.
    let closing = CLOSING + 500;
    heads
        .notice(NoticeAction::Extend { closing })
        .await
        .unwrap();
    seen(&heads, &served).await;
    assert_eq!(served.ask(&codes["a"], blinded.message()).await.0, 200);

    served.clock.set(closing + 1);
    heads.head(closing, |_| LogState::Open).await.unwrap();
    seen(&heads, &served).await;
    crate::common::time_for_haste().await;
    assert!(!served.registrar.is_closed());
    heads.head(closing + 1, |_| LogState::Open).await.unwrap();
    served.registrar.closed().await.unwrap();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_shard_closes_alone() {
    let voters: Vec<String> = (0..8).map(|i| format!("v{i}")).collect();
    let names: Vec<&str> = voters.iter().map(String::as_str).collect();
    let place = Place::new(&names, 1).await;
    let codes = place.codes(0);
    let served = Served::start(&place, 0, Options::default()).await;
    let mut heads = heads_beside(&place, &served).await;
    let log = LogId::Issuance {
        registrar: 0,
        shard: 1,
    };
    heads.notice(NoticeAction::Freeze { log }).await.unwrap();
    seen(&heads, &served).await;
    let shards = served.registrar.handles();
    crate::common::until(|| shards[1].published().closed).await;
    assert!(!shards[0].published().closed);
    for (device, voter) in (0..).zip(&voters) {
        let shard = place.election.shard_of(0, place.roll_index(voter)).unwrap();
        let answer = served
            .ask(&codes[voter], place.blinded(0, device).message())
            .await;
        match shard {
            0 => assert_eq!(answer.0, 200),
            _ => assert_eq!(code(&answer), (403, "closed")),
        }
    }
    assert_eq!(place.issued(0).len(), 4);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_election_issues_nothing_and_its_logs_close() {
    let place = Place::new(&["a", "b"], 1).await;
    let codes = place.codes(0);
    let options = Options {
        now: REGISTRATION + 10,
        ..Options::default()
    };
    let served = Served::start(&place, 0, options).await;
    let mut heads = heads_beside(&place, &served).await;
    let first = place.blinded(0, 1);
    assert_eq!(served.ask(&codes["a"], first.message()).await.0, 200);
    heads.notice(NoticeAction::Cancel).await.unwrap();
    served.registrar.closed().await.unwrap();
    let answer = served.ask(&codes["b"], place.blinded(0, 2).message()).await;
    assert_eq!(code(&answer), (403, "closed"));
    assert_eq!(served.ask(&codes["a"], first.message()).await.0, 200);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ahead_does_not_end_registration() {
    let place = Place::new(&["a", "b", "c", "d"], 1).await;
    let codes = place.codes(0);
    let served = Served::start(&place, 0, Options::default()).await;
    let mut heads = heads_beside(&place, &served).await;
    heads
        .head(REGISTRATION + 10, |_| LogState::Open)
        .await
        .unwrap();
    seen(&heads, &served).await;
    // As if somebody set this machine's clock, while heads are made and show another time.
    served.clock.set(CLOSING * 2);
    crate::common::time_for_haste().await;
    assert!(!served.registrar.is_closed());
    served.clock.set(REGISTRATION + 20);
    let blinded = place.blinded(0, 1);
    assert_eq!(served.ask(&codes["a"], blinded.message()).await.0, 200);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_lost_its_turn_does_not_say_that_nothing_was_issued() {
    let place = Place::new(&["a", "b", "c", "d"], 1).await;
    let codes = place.codes(0);
    let served = Served::start(&place, 0, Options::default()).await;
    let _heads = heads_beside(&place, &served).await;
    let first = place.blinded(0, 1);
    assert_eq!(served.ask(&codes["a"], first.message()).await.0, 200);
    for handle in served.registrar.handles() {
        handle.doubt(true);
    }
    served.clock.set(CLOSING);
    let second = place.blinded(0, 2);
    let answer = served.ask(&codes["b"], second.message()).await;
    assert_eq!(code(&answer), (503, "busy"));
    assert_eq!(served.ask(&codes["a"], first.message()).await.0, 200);
    for handle in served.registrar.handles() {
        handle.doubt(false);
    }
    let answer = served.ask(&codes["b"], second.message()).await;
    assert_eq!(code(&answer), (403, "closed"));
    served.stop().await;
}
