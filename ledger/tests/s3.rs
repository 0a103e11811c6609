//! The publisher in a bucket, over networks and services that fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking, and Clippy knows only functions marked as tests"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use aws::{Settings, Timeouts};
use bytes::Bytes;
use common::bucket::{files, keys, place_in};
use common::log;
use ledger::bucket::{Bucket, Condition, Got, Place, Written};
use ledger::{Creation, Move, PublishError, Publisher as _, ReadError, Reader as _, S3};
use protocol::checkpoint::Checkpoint;
use protocol::ed25519::SigningKey;
use protocol::merkle::leaf_hash;
use throwaway_ministack::{Answer, Identity, ObjectStore as _, Proxy, REGION, Server, aws_at};

/// A bucket, seen directly and through a proxy.
struct World {
    name: String,
    direct: Bucket,
    proxy: Proxy,
    /// Through the proxy. A request gets a second.
    s3: S3,
}

const BATCH: &str = "cells/0/batches/0";
const CHECKPOINT: &str = "cells/0/checkpoint";

impl World {
    async fn new() -> Self {
        let server = Server::shared();
        let root = Identity::root();
        let direct = server.aws(&root);
        let name = server.bucket("faults", false);
        let proxy = Proxy::start(&server.url()).await;
        let hasty = Settings {
            region: Some(REGION.to_owned()),
            endpoint: Some(proxy.url().parse().unwrap()),
            timeouts: Timeouts {
                attempt: Duration::from_secs(1),
                operation: Duration::from_secs(3),
                ..Timeouts::default()
            },
        };
        let hasty = aws::Aws::with_credentials(hasty, root.credentials());
        let s3 = open(place_in(&name, "", &hasty)).await;
        Self {
            direct: Bucket::open(&place_in(&name, "", &direct)).await.unwrap(),
            s3: s3.hedged_after(Duration::from_secs(600)),
            name,
            proxy,
        }
    }

    fn request(&self, method: &str, path: &str) -> String {
        let (name, election) = (&self.name, log().election().to_string());
        format!("{method} /{name}/elections/{election}/{path}")
    }

    async fn stands(&self, path: &str) -> Option<Bytes> {
        let files = files(&self.direct, log().election()).await;
        files.get(path).cloned()
    }

    async fn put(&self, path: &str, bytes: &Bytes) {
        let key = format!("elections/{}/{path}", log().election());
        let put = self.direct.put(&key, bytes.clone(), Condition::Absent);
        self.direct.write(put).await.unwrap();
    }
}

async fn open(place: Place) -> S3 {
    S3::open(&place, log().election()).await.unwrap()
}

/// As S3 says what went wrong.
fn refusal(status: u16, code: &str) -> Answer {
    let xml = format!("<Error><Code>{code}</Code><Message>words</Message></Error>");
    Answer::Instead(status, xml)
}

fn checkpoint(size: u64) -> Bytes {
    let key = SigningKey::from_seed(&[7; 32]);
    let checkpoint = Checkpoint::new(log().origin(), size, leaf_hash(b"leaf")).unwrap();
    let signature = key.sign(checkpoint.body().as_bytes());
    checkpoint.signed(&key.public(), &signature).into()
}

#[tokio::test]
async fn a_creation_whose_answer_is_lost_is_found_done() {
    let world = World::new().await;
    let put = world.request("PUT", BATCH);
    // Also where all tries' answers are lost.
    for (path, lost) in [("cells/0/batches/0", 1), ("cells/0/batches/1", 9)] {
        let put = world.request("PUT", path);
        world.proxy.answer(&put, vec![Answer::Lost; lost]);
        let created = world.s3.create(path, Bytes::from("right")).await;
        assert_eq!(created, Ok(Creation::AlreadyEqual));
        world.proxy.heal();
        assert_eq!(world.stands(path).await, Some(Bytes::from("right")));
    }
    world.proxy.answer(&put, vec![Answer::Lost; 1]);
    let other = world.s3.create(BATCH, Bytes::from("wrong")).await;
    assert_eq!(other, Ok(Creation::Different));
    assert_eq!(world.stands(BATCH).await, Some(Bytes::from("right")));
}

#[tokio::test]
async fn a_creation_that_nobody_carries_out_is_unknown_until_somebody_does() {
    let world = World::new().await;
    let put = world.request("PUT", BATCH);
    for fault in [
        Answer::Never,
        refusal(500, "InternalError"),
        refusal(503, "SlowDown"),
        refusal(403, "AccessDenied"),
        Answer::Instead(502, "<html>".to_owned()),
    ] {
        world.proxy.always(&put, fault);
        let created = world.s3.create(BATCH, Bytes::from("right")).await;
        let Err(PublishError::Unknown { path, .. }) = created else {
            panic!("{created:?}");
        };
        assert_eq!(path, BATCH);
        assert_eq!(world.stands(BATCH).await, None);
    }
    world.proxy.heal();
    let created = world.s3.create(BATCH, Bytes::from("right")).await;
    assert_eq!(created, Ok(Creation::Created));
}

#[tokio::test]
async fn a_throttled_creation_goes_on_by_itself() {
    let world = World::new().await;
    let put = world.request("PUT", BATCH);
    world.proxy.answer(&put, vec![refusal(503, "SlowDown"); 2]);
    let created = world.s3.create(BATCH, Bytes::from("right")).await;
    assert_eq!(created, Ok(Creation::Created));
}

#[tokio::test]
async fn a_conflict_with_another_writer_is_looked_at() {
    let world = World::new().await;
    let put = world.request("PUT", BATCH);
    let conflict = || refusal(409, "ConditionalRequestConflict");
    world.proxy.answer(&put, vec![conflict(); 2]);
    let created = world.s3.create(BATCH, Bytes::from("right")).await;
    assert_eq!(created, Ok(Creation::Created));
    world.proxy.always(&put, conflict());
    for (bytes, found) in [
        ("right", Creation::AlreadyEqual),
        ("wrong", Creation::Different),
    ] {
        let created = world.s3.create(BATCH, Bytes::from(bytes)).await;
        assert_eq!(created, Ok(found));
    }
}

#[tokio::test]
async fn what_is_damaged_on_its_way_is_no_answer() {
    let world = World::new().await;
    let bytes = Bytes::from(vec![7; 1_000]);
    world.put(BATCH, &bytes).await;
    let get = world.request("GET", BATCH);
    type Change = fn(&[u8]) -> Vec<u8>;
    let changes: [Change; 2] = [
        |answer| answer[..answer.len() / 2].to_vec(),
        |answer| answer.iter().map(|byte| byte ^ 1).collect(),
    ];
    for change in changes {
        let changed = Answer::Changed(Arc::new(move |_, answer| change(answer)));
        world.proxy.always(&get, changed);
        let read = world.s3.read(BATCH, 1_000).await;
        assert!(
            matches!(read, Err(ReadError::Unavailable { .. })),
            "{read:?}"
        );
        // Above all, it is not called different: that would halt a log.
        let created = world.s3.create(BATCH, bytes.clone()).await;
        assert!(
            matches!(created, Err(PublishError::Unknown { .. })),
            "{created:?}"
        );
    }
    world.proxy.heal();
    assert_eq!(world.s3.read(BATCH, 1_000).await, Ok(Some(bytes)));
}

#[tokio::test]
async fn a_slow_creation_is_sent_once_more() {
    let world = World::new().await;
    let hedged = world.s3.clone().hedged_after(Duration::from_millis(1));
    let put = world.request("PUT", BATCH);
    // The first is never answered; the second does it, well before anybody gives the first up.
    world.proxy.answer(&put, [Answer::Never]);
    let created = hedged.create(BATCH, Bytes::from("right")).await;
    assert!(matches!(
        created,
        Ok(Creation::Created | Creation::AlreadyEqual)
    ));
    assert!(world.proxy.seen(&put).len() >= 2);
    assert_eq!(world.stands(BATCH).await, Some(Bytes::from("right")));
}

#[tokio::test]
async fn a_move_whose_answer_is_lost_is_found_done() {
    let world = World::new().await;
    let put = world.request("PUT", CHECKPOINT);
    let mut expected = None;
    for (size, lost) in [(1, 1), (2, 1), (3, 9)] {
        world.proxy.answer(&put, vec![Answer::Lost; lost]);
        let moved = world
            .s3
            .move_checkpoint(CHECKPOINT, expected, checkpoint(size));
        assert_eq!(moved.await, Ok(Move::Moved), "{size}");
        expected = Some(checkpoint(size));
        assert_eq!(world.stands(CHECKPOINT).await, expected);
    }
}

#[tokio::test]
async fn a_move_that_nobody_carries_out_is_unknown_until_somebody_does() {
    let world = World::new().await;
    let put = world.request("PUT", CHECKPOINT);
    let to = |size| world.s3.move_checkpoint(CHECKPOINT, None, checkpoint(size));
    for fault in [
        Answer::Never,
        refusal(500, "InternalError"),
        refusal(503, "SlowDown"),
        refusal(412, "PreconditionFailed"),
    ] {
        world.proxy.always(&put, fault);
        let moved = to(1).await;
        assert!(
            matches!(moved, Err(PublishError::Unknown { .. })),
            "{moved:?}"
        );
        assert_eq!(world.stands(CHECKPOINT).await, None);
    }
    world.proxy.heal();
    assert_eq!(to(1).await, Ok(Move::Moved));
}

/// Two look, and both find the same; then both move. The second's condition does not hold any more.
#[tokio::test]
async fn a_writer_that_wakes_up_late_moves_nothing_backwards() {
    let world = World::new().await;
    let moved = world.s3.move_checkpoint(CHECKPOINT, None, checkpoint(1));
    assert_eq!(moved.await, Ok(Move::Moved));
    let late = &world.direct;
    let key = format!("elections/{}/{CHECKPOINT}", log().election());
    let etag = late.etag(&key).await.unwrap().unwrap();
    let moved = world
        .s3
        .move_checkpoint(CHECKPOINT, Some(checkpoint(1)), checkpoint(3));
    assert_eq!(moved.await, Ok(Move::Moved));
    let put = late.put(&key, checkpoint(2), Condition::Is(etag));
    assert_eq!(late.write(put).await, Ok(Written::NotMet));
    assert_eq!(world.stands(CHECKPOINT).await, Some(checkpoint(3)));
}

#[tokio::test]
async fn results_are_replaced_and_never_by_older_ones() {
    let world = World::new().await;
    let path = "results.json";
    for text in ["one", "two"] {
        world.s3.replace(path, Bytes::from(text)).await.unwrap();
        assert_eq!(world.stands(path).await, Some(Bytes::from(text)));
    }
    let put = world.request("PUT", path);
    world.proxy.always(&put, refusal(412, "PreconditionFailed"));
    assert!(world.s3.replace(path, Bytes::from("three")).await.is_err());
    world.proxy.heal();
    for path in ["manifest.json", CHECKPOINT, BATCH, "../results.json"] {
        let refused = world.s3.replace(path, Bytes::from("x")).await;
        assert_eq!(refused, Err(PublishError::Path(path.to_owned())));
    }
}

#[tokio::test]
async fn files_say_what_they_are_and_how_long_they_may_be_kept() {
    let world = World::new().await;
    world.s3.create(BATCH, Bytes::from("x")).await.unwrap();
    world
        .s3
        .replace("results.json", Bytes::from("{}"))
        .await
        .unwrap();
    let moved = world.s3.move_checkpoint(CHECKPOINT, None, checkpoint(1));
    moved.await.unwrap();
    for (path, kind, caching) in [
        (
            BATCH,
            "application/octet-stream",
            "public, max-age=31536000, immutable",
        ),
        ("results.json", "application/json", "public, max-age=1"),
        (CHECKPOINT, "text/plain; charset=utf-8", "public, max-age=1"),
    ] {
        let key = format!("elections/{}/{path}", log().election());
        let head = world.direct.client().head_object().bucket(&world.name);
        let head = head.key(key).send().await.unwrap();
        assert_eq!(head.content_type(), Some(kind));
        assert_eq!(head.cache_control(), Some(caching));
    }
}

#[tokio::test]
async fn the_probe_leaves_nothing_and_finds_what_is_lacking() {
    let world = World::new().await;
    world.s3.probe().await.unwrap();
    assert!(keys(&world.direct, "").await.is_empty());
    // A server that ignores the conditions.
    for header in ["if-none-match", "if-match"] {
        world.proxy.without(header);
        let Err(PublishError::Unfit(why)) = world.s3.probe().await else {
            panic!("{header}");
        };
        let words = match header {
            "if-match" => "does not honour If-Match",
            _ => "does not honour If-None-Match",
        };
        assert!(why.contains(words), "{why}");
    }
}

/// Where it keeps versions it overwrites, whatever the condition; where it keeps none, it creates as it should, and compares ETags without their quotation marks.
#[tokio::test]
async fn ceph_s_store_may_hold_no_log_and_says_why() {
    let server = throwaway_rados::Server::shared();
    let aws = server.aws(&Identity::root());
    for (keeps_versions, words) in [
        (
            true,
            "does not honour If-None-Match, so it can hold anchors, but no log's files",
        ),
        (false, "no checkpoint could move there"),
    ] {
        let name = server.bucket("log", keeps_versions);
        let s3 = open(place_in(&name, "", &aws)).await;
        let Err(PublishError::Unfit(why)) = s3.probe().await else {
            panic!("it may hold no log");
        };
        assert!(why.contains(words), "{why}");
        let direct = Bucket::open(&place_in(&name, "", &aws)).await.unwrap();
        assert!(keys(&direct, "").await.is_empty());
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_or_not_ours_says_what_to_do() {
    let server = Server::shared();
    let root = server.aws(&Identity::root());
    let s3 = open(place_in("no-such-bucket", "", &root)).await;
    let Err(PublishError::Unfit(why)) = s3.probe().await else {
        panic!("there is no such bucket");
    };
    assert!(why.contains("there is no bucket"), "{why}");

    let name = server.bucket("permitted", false);
    let reads = format!(
        r#"{{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::{name}","arn:aws:s3:::{name}/*"]}}"#
    );
    let reader = server.user("reader", &[reads]);
    let reader = aws_at(&server.url(), &reader);
    let s3 = open(place_in(&name, "here", &reader)).await;
    assert_eq!(s3.read(BATCH, 10).await, Ok(None));
    let Err(PublishError::Unfit(why)) = s3.probe().await else {
        panic!("it may not write");
    };
    let wanted = format!("s3:PutObject on arn:aws:s3:::{name}/here/*");
    assert!(why.contains(&wanted), "{why}");
    assert_eq!(
        Bucket::open(&place_in(&name, "", &root))
            .await
            .unwrap()
            .get("x", 1)
            .await,
        Ok(Got::Missing)
    );
}
