//! Notices: the authority's, in order, with an effect; and nobody else's.

use crate::common::service::{head_where, next_head, states};
use crate::common::{CLOSING, GRACE, Site};
use anchoring::{HeadsContent, HeadsKey, NoticeRefused, StartError};
use ledger::content::{Content as _, Place, Position, Submission};
use ledger::heads::HeadsFollower;
use protocol::entry::LogState::{Closed, Open, Stale};
use protocol::entry::{AuthorityKey, NoticeAction};
use protocol::ids::LogId;
use protocol::merkle::Hash;

fn refusal(result: Result<anchoring::NoticeAppended, NoticeRefused>) -> String {
    match result {
        Err(NoticeRefused::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_extension_moves_the_deadline() {
    let site = Site::new();
    let _logs = site.logs().await;
    let anchoring = site.anchoring().await;
    let later = CLOSING + 500_000;
    let notice = site.notice(0, NoticeAction::Extend { closing: later });
    let first = anchoring.submit_notice(&notice).await.unwrap();
    // The same again is the same notice, not a second one.
    assert_eq!(anchoring.submit_notice(&notice).await.unwrap(), first);

    site.clock.set(CLOSING + GRACE + 1);
    assert!(!next_head(&anchoring).await.is_final);
    site.clock.set(later + GRACE + 1);
    let last = anchoring.finished().await.unwrap();
    assert!(last.is_final);
    // Nothing follows the final head.
    let again = site.notice(1, NoticeAction::Cancel);
    assert_eq!(
        anchoring.submit_notice(&again).await,
        Err(NoticeRefused::Ended)
    );
}

#[tokio::test]
async fn only_the_authority_gives_notice_and_only_in_order() {
    let site = Site::new();
    let _logs = site.logs().await;
    let anchoring = site.anchoring().await;
    let cancel = site.notice(0, NoticeAction::Cancel);

    let mut forged = cancel.clone();
    forged.signature[5] ^= 1;
    assert!(refusal(anchoring.submit_notice(&forged).await).contains("signature"));
    let mut other_key = cancel.clone();
    other_key.key = AuthorityKey::Spare;
    refusal(anchoring.submit_notice(&other_key).await);
    let mut other_election = crate::common::manifest();
    other_election.title = "Another election".to_owned();
    let elsewhere = Site::of(protocol::manifest::Election::new(&other_election).unwrap());
    refusal(
        anchoring
            .submit_notice(&elsewhere.notice(0, NoticeAction::Cancel))
            .await,
    );

    let early = site.notice(1, NoticeAction::Cancel);
    assert!(refusal(anchoring.submit_notice(&early).await).contains("notice 1"));
    anchoring.submit_notice(&cancel).await.unwrap();
    let twice = site.notice(1, NoticeAction::Cancel);
    assert!(refusal(anchoring.submit_notice(&twice).await).contains("cancelled before"));
    let sooner = site.notice(1, NoticeAction::Extend { closing: CLOSING });
    assert!(refusal(anchoring.submit_notice(&sooner).await).contains("not later"));
    let freeze = site.notice(
        1,
        NoticeAction::Freeze {
            log: LogId::Cell(0),
        },
    );
    anchoring.submit_notice(&freeze).await.unwrap();
}

#[tokio::test]
async fn nothing_is_extended_after_closing() {
    let site = Site::new();
    let _logs = site.logs().await;
    let anchoring = site.anchoring().await;
    site.clock.set(CLOSING + 1);
    head_where(&anchoring, "a time after closing", |head| {
        head.head.time == CLOSING + 1
    })
    .await;
    let late = site.notice(
        0,
        NoticeAction::Extend {
            closing: CLOSING + 9,
        },
    );
    assert!(refusal(anchoring.submit_notice(&late).await).contains("after the closing time"));
}

/// Heads may pause over the closing time, while the logs close by their own clocks: then the last head says that there is time still.
#[test]
fn nothing_is_extended_after_closing_by_the_clock() {
    let site = Site::new();
    let extend = |sequence: u32, closing: u64| {
        let notice = site.notice(sequence, NoticeAction::Extend { closing });
        Submission {
            key: None,
            same: [0; 32],
            entry: notice.encode(),
        }
    };
    let mut content = HeadsContent::new(&site.election, HeadsKey::Main);
    let genesis = content.genesis();
    let at = |n: u64| Position { n, first_index: n };
    content.replay(at(0), &[&genesis]).unwrap();
    let mut place = |now_ms: u64, item: Submission| {
        let arranged = content.arrange(at(1), now_ms, &[item]).unwrap();
        arranged.places.into_iter().next().unwrap()
    };
    assert_eq!(place(CLOSING, extend(0, CLOSING + 9)), Place::At(0));
    let late = place(CLOSING + 1, extend(0, CLOSING + 9));
    assert!(
        matches!(&late, Place::Refused(reason) if reason.contains("after the closing time")),
        "{late:?}"
    );
    // What else the authority has to say, it can say at any time.
    let cancel = Submission {
        entry: site.notice(0, NoticeAction::Cancel).encode(),
        ..extend(0, CLOSING + 9)
    };
    assert_eq!(place(CLOSING + 1, cancel), Place::At(0));
}

/// An answer that was lost can be asked for again, whatever time it is.
#[tokio::test]
async fn an_extension_that_stands_is_answered_after_closing() {
    let site = Site::new();
    let _logs = site.logs().await;
    let anchoring = site.anchoring().await;
    let later = CLOSING + 500;
    let notice = site.notice(0, NoticeAction::Extend { closing: later });
    let first = anchoring.submit_notice(&notice).await.unwrap();
    site.clock.set(later + 1);
    assert_eq!(anchoring.submit_notice(&notice).await.unwrap(), first);
}

#[tokio::test]
async fn a_frozen_cell_may_close_before_issuance_ends() {
    let site = Site::new();
    let logs = site.logs().await;
    let anchoring = site.anchoring().await;
    let freeze = site.notice(
        0,
        NoticeAction::Freeze {
            log: LogId::Cell(1),
        },
    );
    anchoring.submit_notice(&freeze).await.unwrap();
    logs.cells[1].close().await;
    head_where(&anchoring, "cell 1 closed", |head| {
        states(head) == [Open, Closed, Open, Open]
    })
    .await;
}

#[tokio::test]
async fn a_switched_log_is_read_under_its_spare_key() {
    let site = Site::new();
    let mut logs = site.logs().await;
    logs.shards[0].issue(1).await;
    let anchoring = site.anchoring().await;
    let end = logs.cells[0].handle.published().end;
    drop(logs.cells.remove(0));

    // The spare before the notice: stale.
    let spare = site.log_signing(LogId::Cell(0), Some(end.size)).await;
    spare.vote(1, &[&[0], &[]]).await;
    head_where(&anchoring, "cell 0 stale", |head| states(head)[0] == Stale).await;
    // A notice that names another tree than the head did is refused.
    let wrong = NoticeAction::Switch {
        log: LogId::Cell(0),
        size: end.size,
        root: Hash([9; 32]),
    };
    refusal(anchoring.submit_notice(&site.notice(0, wrong)).await);
    let right = NoticeAction::Switch {
        log: LogId::Cell(0),
        size: end.size,
        root: end.root,
    };
    anchoring
        .submit_notice(&site.notice(0, right))
        .await
        .unwrap();
    let head = head_where(&anchoring, "cell 0 open", |head| {
        states(head)[0] == Open && head.head.logs[0].size == 3
    })
    .await;
    assert_eq!(states(&head), [Open; 4]);
}

#[tokio::test]
async fn the_heads_log_itself_is_switched_by_the_first_entry_under_its_spare() {
    let site = Site::new();
    let logs = site.logs().await;
    // It cannot begin under the spare.
    let started = site.try_anchoring(site.anchors(), true).await;
    assert!(matches!(started, Err(StartError::Key(_))));
    let anchoring = site.anchoring().await;
    next_head(&anchoring).await;
    drop(anchoring);

    let anchoring = site.try_anchoring(site.anchors(), true).await.unwrap();
    let mut heads = HeadsFollower::new(site.reader(), &site.election);
    heads.advance().await.unwrap();
    let before = heads.end();
    // Nothing but the notice comes first.
    let other = site.notice(0, NoticeAction::Cancel);
    let outcome = anchoring.submit_notice(&other).await;
    assert!(refusal(outcome).contains("spare"));
    let switch = NoticeAction::Switch {
        log: LogId::Heads,
        size: before.size,
        root: before.root,
    };
    let notice = site.notice(0, switch);
    assert_eq!(
        anchoring.submit_notice(&notice).await.unwrap().index,
        before.size
    );
    logs.close_all().await;
    let last = anchoring.finished().await.unwrap();
    drop(anchoring);
    // An outsider follows it over the switch; the main key cannot take it back.
    heads.advance().await.unwrap();
    assert_eq!(heads.end(), last.end);
    let started = site.try_anchoring(site.anchors(), false).await;
    assert!(matches!(started, Err(StartError::Key(_))));
}

#[tokio::test]
async fn the_main_key_does_not_take_its_own_switch() {
    let site = Site::new();
    let _logs = site.logs().await;
    let anchoring = site.anchoring().await;
    let head = next_head(&anchoring).await;
    let switch = NoticeAction::Switch {
        log: LogId::Heads,
        size: head.end.size,
        root: head.end.root,
    };
    assert!(refusal(anchoring.submit_notice(&site.notice(0, switch)).await).contains("spare"));
}

#[tokio::test]
async fn a_switch_below_what_the_main_key_has_signed_is_refused() {
    let site = Site::new();
    let logs = site.logs().await;
    logs.shards[0].issue(1).await;
    let anchoring = site.anchoring().await;
    let end = logs.cells[0].handle.published().end;
    let switch = |end: ledger::End| NoticeAction::Switch {
        log: LogId::Cell(0),
        size: end.size,
        root: end.root,
    };
    // Acknowledged under the main key, and not covered by the notice: its receipt would become worthless.
    logs.cells[0].vote(1, &[&[0], &[]]).await;
    let notice = site.notice(0, switch(end));
    assert!(refusal(anchoring.submit_notice(&notice).await).contains("newest checkpoint"));
    let end = logs.cells[0].handle.published().end;
    let notice = site.notice(0, switch(end));
    anchoring.submit_notice(&notice).await.unwrap();
}

/// The same, as the authority's machine sends it.
#[tokio::test]
async fn notices_are_taken_over_http() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    let site = Site::new();
    let _logs = site.logs().await;
    let anchoring = site.anchoring().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let id = site.election.id();
    let url = format!(
        "http://{}/elections/{id}/notices",
        listener.local_addr().unwrap()
    );
    let router = anchoring.router().fallback(listener::not_found);
    tokio::spawn(listener::serve(
        listener,
        router,
        listener::Limits::default(),
        std::future::pending(),
    ));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |body: String| {
        let answer = client.post(&url).body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let retry = answer.headers().contains_key("retry-after");
        let body: Value = answer.json().await.unwrap();
        let code = body["error"]["code"].as_str().unwrap_or("").to_owned();
        (status, code, body["index"].as_u64(), retry)
    };
    let body = |entry: &[u8]| json!({ "notice": STANDARD.encode(entry) }).to_string();
    let refused = |status: u16, code: &str| (status, code.to_owned(), None, false);

    let later = site.notice(
        0,
        NoticeAction::Extend {
            closing: CLOSING + 1,
        },
    );
    let first = post(body(&later.encode())).await;
    assert!(matches!(first, (200, _, Some(_), _)), "{first:?}");
    // The same again is the same notice.
    assert_eq!(post(body(&later.encode())).await, first);

    // Its number, or its effect.
    let other = site.notice(0, NoticeAction::Cancel);
    assert_eq!(post(body(&other.encode())).await, refused(409, "refused"));
    let earlier = site.notice(1, NoticeAction::Extend { closing: CLOSING });
    assert_eq!(post(body(&earlier.encode())).await, refused(409, "refused"));
    // Whoever is not the authority.
    let mut forged = site.notice(1, NoticeAction::Cancel);
    forged.signature[9] ^= 1;
    assert_eq!(
        post(body(&forged.encode())).await,
        refused(400, "bad-signature")
    );
    // What is no notice.
    let genesis = protocol::entry::Genesis::of(&site.election, LogId::Heads).encode();
    for bad in [
        body(&genesis),
        body(b""),
        body(&[8; 300]),
        "{}".to_owned(),
        json!({ "notice": "!" }).to_string(),
        json!({ "notice": "", "index": 1 }).to_string(),
    ] {
        assert_eq!(post(bad.clone()).await, refused(400, "malformed"), "{bad}");
    }
    assert_eq!(post(" ".repeat(1_025)).await, refused(413, "too-large"));
    let answer = client.get(&url).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 405);

    // After the end.
    site.clock.set(CLOSING + 1 + GRACE + 1);
    anchoring.finished().await.unwrap();
    let late = site.notice(1, NoticeAction::Cancel);
    assert_eq!(post(body(&late.encode())).await, refused(409, "ended"));
}
