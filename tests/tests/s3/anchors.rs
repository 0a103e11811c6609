//! What `tallyroot-verify anchors` finds in buckets of a finished election, by name.

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode};
use ledger::bucket::{Bucket, Got, Place};
use protocol::manifest::Election;
use serde_json::{Value, json};
use tests::run;
use throwaway_ministack::{Identity, ObjectStore};

/// Copies of an anchor of a finished election, as somebody with all permissions can put them into buckets of the same store.
pub(crate) struct Copies<'a> {
    pub(crate) store: &'a dyn ObjectStore,
    pub(crate) election: &'a Election,
    /// The anchor's name.
    pub(crate) name: &'a str,
    /// Where the published files are.
    pub(crate) published: &'a str,
    /// The other anchor, as `--anchor` takes it.
    pub(crate) other: String,
    pub(crate) objects: Vec<Vec<u8>>,
}

/// A bucket with Object Lock that everybody may read.
pub(crate) async fn locking(store: &dyn ObjectStore, what: &str) -> Bucket {
    let name = store.bucket(what, true);
    store.show_to_all(&name);
    open(store, &name).await
}

pub(crate) async fn open(store: &dyn ObjectStore, name: &str) -> Bucket {
    let place = Place::new(name, "", store.aws(&Identity::root())).unwrap();
    Bucket::open(&place).await.unwrap()
}

/// The objects of an anchor, in their order.
pub(crate) async fn objects(bucket: &Bucket, election: &Election, name: &str) -> Vec<Vec<u8>> {
    let mut objects = Vec::new();
    loop {
        let key = key(election, name, objects.len());
        match bucket.get(&key, 16 << 20).await.unwrap() {
            Got::Object(object) => objects.push(object.bytes.to_vec()),
            Got::Missing | Got::TooLong => return objects,
        }
    }
}

fn key(election: &Election, name: &str, n: usize) -> String {
    format!("elections/{}/anchors/{name}/{n}", election.id())
}

impl Copies<'_> {
    async fn put(
        &self,
        bucket: &Bucket,
        n: usize,
        bytes: &[u8],
        lock: Option<(ObjectLockMode, u64)>,
    ) {
        let put = bucket.client().put_object();
        let put = put
            .bucket(bucket.place().bucket())
            .key(key(self.election, self.name, n));
        let put = put.body(bytes.to_vec().into());
        let put = match lock {
            None => put,
            Some((mode, until)) => put
                .object_lock_mode(mode)
                .object_lock_retain_until_date(DateTime::from_secs(i64::try_from(until).unwrap())),
        };
        put.send().await.unwrap();
    }

    fn until(&self) -> u64 {
        self.election.manifest().retention.div_ceil(1_000)
    }

    /// All objects but those that are left out, locked as they must be.
    async fn fill(&self, bucket: &Bucket, but: &[usize]) {
        for (n, object) in self.objects.iter().enumerate() {
            if !but.contains(&n) {
                let lock = Some((ObjectLockMode::Compliance, self.until()));
                self.put(bucket, n, object, lock).await;
            }
        }
    }

    /// The exit code, and how many findings there are of each code.
    pub(crate) fn found(&self, bucket: &Bucket, more: &[&str]) -> (i32, Value) {
        let id = self.election.id().to_string();
        let anchor = format!(
            "{}=s3://{}/?endpoint={}",
            self.name,
            bucket.place().bucket(),
            self.store.url()
        );
        let mut arguments = vec![
            "anchors",
            self.published,
            "--election",
            &id,
            "--anchor",
            &anchor,
            "--anchor",
            &self.other,
            "--settle",
            "0",
            "--json",
        ];
        arguments.extend(more);
        let said = run("tallyroot-verify", &arguments);
        let verdict: Value =
            serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:#?}"));
        assert!(said.code != 2, "{verdict:#}");
        (said.code, verdict["findings_by_code"].clone())
    }

    /// Whoever holds the account tries to undo what is locked: refused, or found.
    pub(crate) async fn undo(&self) {
        let bucket = locking(self.store, "undone").await;
        self.fill(&bucket, &[]).await;
        assert_eq!(self.found(&bucket, &[]), (0, json!({})));

        let (client, name) = (bucket.client(), bucket.place().bucket());
        let key = key(self.election, self.name, 0);
        let list = client.list_object_versions().bucket(name).prefix(&key);
        let versions = list.send().await.unwrap();
        let of_key = versions.versions().iter();
        let version = of_key.clone().find(|one| one.key() == Some(&key)).unwrap();
        let version = version.version_id().unwrap();

        let delete = client.delete_object().bucket(name).key(&key);
        delete.clone().version_id(version).send().await.unwrap_err();
        let shorter = ObjectLockRetention::builder()
            .mode(ObjectLockRetentionMode::Compliance)
            .retain_until_date(DateTime::from_secs(
                i64::try_from(self.until()).unwrap() - 3_600,
            ))
            .build();
        let weaker = ObjectLockRetention::builder()
            .mode(ObjectLockRetentionMode::Governance)
            .retain_until_date(DateTime::from_secs(i64::try_from(self.until()).unwrap()))
            .build();
        for retention in [shorter, weaker] {
            let change = client.put_object_retention().bucket(name).key(&key);
            let change = change.version_id(version).retention(retention);
            let change = change.bypass_governance_retention(true);
            change.send().await.unwrap_err();
        }
        assert_eq!(self.found(&bucket, &[]), (0, json!({})));

        // What is not refused hides, and is found. The earliest version still counts.
        delete.send().await.unwrap();
        assert_eq!(self.found(&bucket, &[]), (1, json!({"anchor-hidden": 1})));
        self.put(&bucket, 0, b"other", None).await;
        let both = json!({"anchor-hidden": 1, "anchor-rewritten": 1});
        assert_eq!(self.found(&bucket, &[]), (1, both));
    }

    /// Buckets that never were what they should be.
    pub(crate) async fn wrong(&self) {
        let last = self.objects.len() - 1;
        assert!(last >= 2, "{last}");

        let missing = locking(self.store, "missing").await;
        self.fill(&missing, &[1]).await;
        let found = json!({"anchor-missing": 1, "anchor-not-final": 1});
        assert_eq!(self.found(&missing, &[]), (1, found));

        let short = locking(self.store, "short").await;
        self.fill(&short, &[last]).await;
        assert_eq!(self.found(&short, &[]), (1, json!({"anchor-not-final": 1})));

        // Whatever was copied now is later than its heads.
        let late = locking(self.store, "late").await;
        self.fill(&late, &[]).await;
        let (code, found) = self.found(&late, &["--late", "0"]);
        let late = found["anchor-late"].as_u64().unwrap_or(0);
        // An object that holds a notice alone has no head to be later than.
        assert!(late > 0 && found == json!({"anchor-late": late}), "{found}");
        assert_eq!(code, 1);

        let unlocked = locking(self.store, "unlocked").await;
        self.fill(&unlocked, &[0, 1, 2]).await;
        self.put(&unlocked, 0, &self.objects[0], None).await;
        let governed = Some((ObjectLockMode::Governance, self.until()));
        self.put(&unlocked, 1, &self.objects[1], governed).await;
        let early = Some((ObjectLockMode::Compliance, self.until() - 60));
        self.put(&unlocked, 2, &self.objects[2], early).await;
        assert_eq!(
            self.found(&unlocked, &[]),
            (1, json!({"anchor-unlocked": 3}))
        );

        // Of another heads log: an entry is another, though the note is right.
        let forked = locking(self.store, "forked").await;
        self.fill(&forked, &[0]).await;
        let mut other = self.objects[0].clone();
        let middle = other.len() / 3;
        other[middle] ^= 1;
        let lock = Some((ObjectLockMode::Compliance, self.until()));
        self.put(&forked, 0, &other, lock).await;
        let (code, found) = self.found(&forked, &[]);
        assert_eq!(code, 1);
        let is_found = ["anchor-conflict", "anchor-malformed"]
            .iter()
            .any(|code| found[code] == 1);
        assert!(is_found && found["anchor-not-final"] == 1, "{found}");
    }
}
