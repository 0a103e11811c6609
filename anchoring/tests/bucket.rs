//! A bucket with Object Lock as an anchor, over networks and services that fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

#[path = "suite/common/manifest.rs"]
mod manifest;

use std::sync::Arc;
use std::time::Duration;

use anchoring::{Anchor as _, AnchorError, BucketAnchor, BucketAnchorError, Created, ShownAnchor};
use aws::{Aws, Fault, Settings, Timeouts};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use ledger::bucket::{Bucket, Condition, Place, Written};
use ledger::faulty::{Faults, MemoryPublisher};
use protocol::manifest::Election;
use throwaway_ministack::{Answer, Identity, ObjectStore, Proxy, REGION, Server};

/// Two servers with Object Lock, of people who know nothing of each other. The second overwrites, whatever `If-None-Match` says, where it keeps versions.
fn stores() -> [&'static dyn ObjectStore; 2] {
    [Server::shared(), throwaway_rados::Server::shared()]
}

/// Seconds since 1970: in the year 2100.
const UNTIL: u64 = 4_102_444_800;

fn election(retention: u64) -> Election {
    let mut manifest = manifest::manifest();
    manifest.retention = retention;
    Election::new(&manifest).unwrap()
}

/// A bucket with Object Lock, seen directly and through a proxy.
struct World {
    name: String,
    election: Election,
    direct: Bucket,
    proxy: Proxy,
    /// Through the proxy. A request gets a second.
    anchor: BucketAnchor,
}

async fn anchor(name: &str, aws: &Aws, election: &Election) -> BucketAnchor {
    let place = Place::new(name, "kept", aws.clone()).unwrap();
    BucketAnchor::open("a-0", &place, election).await.unwrap()
}

impl World {
    async fn new(server: &dyn ObjectStore) -> Self {
        let root = Identity::root();
        let name = server.bucket("anchor", true);
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
        let hasty = Aws::with_credentials(hasty, root.credentials());
        // Not whole seconds: what is locked must not end before.
        let election = election(UNTIL * 1_000 - 1);
        let place = Place::new(&name, "", server.aws(&root)).unwrap();
        Self {
            anchor: anchor(&name, &hasty, &election).await,
            direct: Bucket::open(&place).await.unwrap(),
            election,
            name,
            proxy,
        }
    }

    fn key(&self, n: u64) -> String {
        format!("kept/elections/{}/anchors/a-0/{n}", self.election.id())
    }

    fn put(&self, n: u64) -> String {
        format!("PUT /{}/{}", self.name, self.key(n))
    }

    /// How many versions of an object there are.
    async fn versions(&self, n: u64) -> usize {
        let list = self.direct.client().list_object_versions();
        let list = list.bucket(&self.name).prefix(self.key(n));
        list.send().await.unwrap().versions().len()
    }
}

fn refusal(status: u16, code: &str) -> Answer {
    let xml = format!("<Error><Code>{code}</Code><Message>words</Message></Error>");
    Answer::Instead(status, xml)
}

#[tokio::test]
async fn an_object_is_locked_until_the_manifest_s_date() {
    for store in stores() {
        let world = World::new(store).await;
        world.anchor.check().await.unwrap();
        assert_eq!(world.anchor.read(0).await.unwrap(), None);
        let create = async |bytes: &[u8]| world.anchor.create(0, bytes).await.unwrap();
        assert_eq!(create(b"first").await, Created::Created);
        assert_eq!(create(b"first").await, Created::AlreadyEqual);
        assert_eq!(create(b"other").await, Created::Different);
        let read = world.anchor.read(0).await.unwrap();
        assert_eq!(read.as_deref(), Some(&b"first"[..]));
        assert_eq!(world.versions(0).await, 1);
        // Another object's key begins with this one's.
        assert_eq!(
            world.anchor.create(1, b"x").await.unwrap(),
            Created::Created
        );
        assert_eq!(
            world.anchor.create(10, b"y").await.unwrap(),
            Created::Created
        );
        let read = world.anchor.read(1).await.unwrap();
        assert_eq!(read.as_deref(), Some(&b"x"[..]));

        let head = world.direct.client().head_object().bucket(&world.name);
        let head = head.key(world.key(0)).send().await.unwrap();
        assert_eq!(head.object_lock_mode().unwrap().as_str(), "COMPLIANCE");
        let until = head.object_lock_retain_until_date().unwrap().secs();
        assert_eq!(u64::try_from(until), Ok(UNTIL));
    }
}

#[tokio::test]
async fn whatever_stands_above_the_earliest_version_that_one_counts() {
    for store in stores() {
        let world = World::new(store).await;
        world.anchor.create(0, b"first").await.unwrap();
        let (client, key) = (world.direct.client(), world.key(0));
        let over = client.put_object().bucket(&world.name).key(&key);
        over.body(b"second".to_vec().into()).send().await.unwrap();
        let hide = client.delete_object().bucket(&world.name).key(&key);
        hide.send().await.unwrap();
        let read = world.anchor.read(0).await.unwrap();
        assert_eq!(read.as_deref(), Some(&b"first"[..]));
        for (bytes, expected) in [
            (&b"first"[..], Created::AlreadyEqual),
            (b"second", Created::Different),
        ] {
            assert_eq!(world.anchor.create(0, bytes).await.unwrap(), expected);
        }
    }
}

#[tokio::test]
async fn an_object_without_its_lock_is_not_anchored() {
    for store in stores() {
        let world = World::new(store).await;
        let put = world.direct.client().put_object().bucket(&world.name);
        let put = put.key(world.key(0)).body(b"first".to_vec().into());
        put.send().await.unwrap();
        let refused = world.anchor.create(0, b"first").await.unwrap_err();
        let AnchorError::Unavailable { source, .. } = refused else {
            panic!("{refused}");
        };
        assert!(source.to_string().contains("COMPLIANCE"), "{source}");
    }
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_is_there_twice() {
    for store in stores() {
        let world = World::new(store).await;
        // Its answer is lost, as often as it is tried.
        world.proxy.always(&world.put(0), Answer::Lost);
        let created = world.anchor.create(0, b"first").await.unwrap();
        assert_eq!(created, Created::Created);
        assert_eq!(world.versions(0).await, 1);
        for fault in [
            Answer::Never,
            refusal(500, "InternalError"),
            refusal(503, "SlowDown"),
            refusal(403, "AccessDenied"),
        ] {
            world.proxy.always(&world.put(1), fault);
            assert!(world.anchor.create(1, b"second").await.is_err());
            assert_eq!(world.versions(1).await, 0);
        }
        world.proxy.heal();
        let created = world.anchor.create(1, b"second").await.unwrap();
        assert_eq!(created, Created::Created);
    }
}

/// It may not hold a log, and does as an anchor.
#[tokio::test]
async fn a_store_that_ignores_the_condition_gets_no_second_version() {
    let world = World::new(throwaway_rados::Server::shared()).await;
    world.anchor.check().await.unwrap();
    // Such it is.
    for bytes in ["one", "two"] {
        let put = world.direct.put("k", bytes.into(), Condition::Absent);
        assert!(matches!(
            world.direct.write(put).await,
            Ok(Written::Done(_))
        ));
    }
    for expected in [Created::Created, Created::AlreadyEqual] {
        let created = world.anchor.create(0, b"first").await.unwrap();
        assert_eq!(created, expected);
    }
    assert_eq!(
        world.anchor.create(0, b"other").await.unwrap(),
        Created::Different
    );
    assert_eq!(world.versions(0).await, 1);
}

/// Another wrote between our look and our write, and the store let both: the earliest counts, and we hear of it.
#[tokio::test]
async fn whoever_was_first_counts_where_the_store_lets_both() {
    const NOTHING: &str =
        "<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>";
    for (store, versions) in stores().into_iter().zip([1, 2]) {
        let world = World::new(store).await;
        let other = anchor(&world.name, &store.aws(&Identity::root()), &world.election).await;
        other.create(0, b"theirs").await.unwrap();
        let before = Answer::Changed(Arc::new(|_, _| NOTHING.into()));
        let list = format!("GET /{}/", world.name);
        world.proxy.answer(&list, [before]);
        let created = world.anchor.create(0, b"ours").await.unwrap();
        assert_eq!(created, Created::Different);
        assert_eq!(world.proxy.seen(&world.put(0)).len(), 1);
        assert_eq!(world.versions(0).await, versions);
        let read = world.anchor.read(0).await.unwrap();
        assert_eq!(read.as_deref(), Some(&b"theirs"[..]));
    }
}

#[tokio::test]
async fn a_bucket_that_keeps_nothing_for_certain_is_refused() {
    let (server, root) = (Server::shared(), Identity::root());
    let aws = server.aws(&root);
    let refused = async |name: &str, election: &Election| {
        let opened = anchor(name, &aws, election).await;
        opened.check().await.unwrap_err()
    };
    let lasting = election(UNTIL * 1_000);
    let locking = server.bucket("locking", true);
    let past = election(manifest::CLOSING);
    assert_eq!(refused(&locking, &past).await, BucketAnchorError::Past);

    let unlocked = refused(&server.bucket("plain", false), &lasting).await;
    assert!(
        unlocked.to_string().contains("Object Lock is not enabled"),
        "{unlocked}"
    );
    assert!(!unlocked.passes());

    let ceph = throwaway_rados::Server::shared();
    let unlocked = anchor(&ceph.bucket("plain", false), &ceph.aws(&root), &lasting).await;
    let unlocked = unlocked.check().await.unwrap_err().to_string();
    assert!(
        unlocked.contains("Object Lock is not enabled"),
        "{unlocked}"
    );

    let nowhere = refused("no-such-bucket", &lasting).await;
    assert!(
        nowhere.to_string().contains("there is no bucket"),
        "{nowhere}"
    );

    // This server lets it be suspended; AWS does not.
    let suspended = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
    server.s3(&format!("PUT /{locking}?versioning"), "", suspended);
    let suspended = refused(&locking, &lasting).await;
    assert!(suspended.to_string().contains("versioning"), "{suspended}");

    let nobody = server.user(
        "anchors-nobody",
        &[r#"{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}"#.to_owned()],
    );
    let name = server.bucket("forbidden", true);
    let opened = anchor(&name, &server.aws(&nobody), &lasting).await;
    let forbidden = opened.check().await.unwrap_err().to_string();
    assert!(
        forbidden.contains("s3:GetBucketObjectLockConfiguration"),
        "{forbidden}"
    );
    // (Of s3:PutObjectRetention by itself this server knows nothing.)
    let looks = r#"{"Effect":"Allow","Action":["s3:GetBucketObjectLockConfiguration","s3:GetBucketVersioning","s3:GetObject"],"Resource":"*"}"#;
    let reader = server.user("anchors-reader", &[looks.to_owned()]);
    let opened = anchor(&name, &server.aws(&reader), &lasting).await;
    let forbidden = opened.check().await.unwrap_err().to_string();
    let wanted = "allow this process's role s3:PutObject and s3:PutObjectRetention";
    assert!(forbidden.contains(wanted), "{forbidden}");
}

/// Found at the start, and nothing is written for it.
#[tokio::test]
async fn who_may_not_write_or_lock_is_refused() {
    for (n, store) in stores().into_iter().enumerate() {
        let world = World::new(store).await;
        world.anchor.check().await.unwrap();
        let probe = format!(
            "PUT /{}/kept/elections/{}/anchors/a-0/probe",
            world.name,
            world.election.id()
        );
        assert_eq!(world.proxy.seen(&probe).len(), 1, "{n}");
        for (status, code) in [(403, "AccessDenied"), (400, "InvalidRequest")] {
            world.proxy.answer(&probe, [refusal(status, code)]);
            let refused = world.anchor.check().await.unwrap_err();
            assert!(
                !refused.passes() && refused.to_string().contains(code),
                "{refused}"
            );
        }
        // A store that compares no checksum would have taken it.
        let took = Answer::Instead(200, String::new());
        world.proxy.answer(&probe, [took]);
        let refused = world.anchor.check().await.unwrap_err().to_string();
        assert!(refused.contains("it took an object"), "{refused}");
        // Whoever puts something there keeps nobody from anchoring.
        world
            .proxy
            .answer(&probe, [refusal(412, "PreconditionFailed")]);
        world.anchor.check().await.unwrap();
        let denied = refusal(403, "AccessDenied");
        world.proxy.answer(&probe, [denied]);
        let refused = world.anchor.check().await.unwrap_err().to_string();
        assert!(
            refused.contains("allow this process's role s3:PutObject and s3:PutObjectRetention"),
            "{refused}"
        );
        let list = world.direct.client().list_object_versions();
        let there = list.bucket(&world.name).send().await.unwrap();
        assert!(there.versions().is_empty(), "{there:?}");
    }
}

/// What AWS refuses and ministack does not: [`BucketAnchor::check`] is not all that stands between.
#[tokio::test]
async fn ceph_s_store_locks_nothing_until_a_past_date_and_goes_on_keeping_versions() {
    let (store, root) = (throwaway_rados::Server::shared(), Identity::root());
    let name = store.bucket("locking", true);
    let past = anchor(&name, &store.aws(&root), &election(manifest::CLOSING)).await;
    assert_eq!(past.check().await, Err(BucketAnchorError::Past));
    let refused = past.create(0, b"first").await.unwrap_err();
    let AnchorError::Unavailable { source, .. } = refused else {
        panic!("{refused}");
    };
    assert!(source.to_string().contains("InvalidArgument"), "{source}");
    assert_eq!(past.read(0).await.unwrap(), None);

    let place = Place::new(&name, "", store.aws(&root)).unwrap();
    let direct = Bucket::open(&place).await.unwrap();
    let suspended = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended);
    let suspend = direct.client().put_bucket_versioning().bucket(&name);
    let suspend = suspend.versioning_configuration(suspended.build());
    let refused = Fault::of(&suspend.send().await.unwrap_err());
    assert!(refused.is("InvalidBucketState"), "{refused}");
    let lasting = anchor(&name, &store.aws(&root), &election(UNTIL * 1_000)).await;
    lasting.check().await.unwrap();
}

#[tokio::test]
async fn what_is_anchored_is_shown_even_if_its_writer_died_before() {
    let world = World::new(Server::shared()).await;
    let published = MemoryPublisher::new(Faults::none());
    world.anchor.create(0, b"first").await.unwrap();
    let shown = ShownAnchor::new(Arc::new(world.anchor.clone()), Arc::new(published.clone()));
    assert!(published.files().is_empty());
    shown.read(0).await.unwrap();
    assert_eq!(published.files()["anchors/a-0/0"], "first");
    assert_eq!(shown.create(1, b"second").await.unwrap(), Created::Created);
    assert_eq!(published.files()["anchors/a-0/1"], "second");
    // What conflicts with the anchor is not shown.
    assert_eq!(shown.create(1, b"other").await.unwrap(), Created::Different);
    assert_eq!(published.files()["anchors/a-0/1"], "second");
}
