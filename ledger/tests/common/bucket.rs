//! Buckets of a throw-away server, for tests.

use std::collections::BTreeMap;

use aws::Aws;
use bytes::Bytes;
use ledger::bucket::{Bucket, Got, Place};
use protocol::ids::ElectionId;

/// A part of a bucket.
pub(crate) fn place_in(bucket: &str, prefix: &str, aws: &Aws) -> Place {
    Place::new(bucket, prefix, aws.clone()).unwrap()
}

/// Everything below a prefix, by its whole key.
pub(crate) async fn keys(bucket: &Bucket, prefix: &str) -> Vec<String> {
    let list = bucket
        .client()
        .list_objects_v2()
        .bucket(bucket.place().bucket())
        .prefix(prefix);
    let listed = list.send().await.unwrap();
    assert_ne!(listed.is_truncated(), Some(true));
    let keys = listed.contents().iter();
    keys.map(|object| object.key().unwrap().to_owned())
        .collect()
}

/// The election's published files.
pub(crate) async fn files(bucket: &Bucket, election: &ElectionId) -> BTreeMap<String, Bytes> {
    let root = format!("{}elections/{election}/", bucket.place().prefix());
    let mut files = BTreeMap::new();
    for key in keys(bucket, &root).await {
        let Got::Object(object) = bucket.get(&key, 1 << 24).await.unwrap() else {
            panic!("{key} is gone");
        };
        let path = key.strip_prefix(&root).unwrap();
        files.insert(path.to_owned(), object.bytes);
    }
    files
}
