//! What the tests of KMS share.
#![allow(dead_code, reason = "each test program uses its part")]

use std::sync::atomic::{AtomicU32, Ordering};

use aws::Aws;
use aws_sdk_kms::Client;
use signer::{KeyRef, Kms};
use throwaway_ministack::{Identity, Server};

/// A KMS.
pub(crate) struct World {
    pub(crate) aws: Aws,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            aws: Server::shared().aws(&Identity::root()),
        }
    }

    /// A name that nobody else has.
    pub(crate) fn unique() -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("name-{}", NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The SDK's own client, for what ours does not do.
    pub(crate) async fn client(&self) -> Client {
        Client::new(self.aws.config().await.unwrap())
    }

    /// A new signing key.
    pub(crate) async fn key(&self) -> Kms {
        let key = signer::kms::create(&self.aws, "test", &[]).await.unwrap();
        signer::kms::open_new(&self.aws, &key).await.unwrap()
    }

    /// A new key to wrap with.
    pub(crate) async fn symmetric(&self) -> KeyRef {
        let made = self.client().await.create_key().send().await.unwrap();
        let arn = made.key_metadata().unwrap().arn().unwrap().to_owned();
        arn.parse().unwrap()
    }
}

/// A policy's statement.
pub(crate) fn allow(action: &str, resource: &str) -> String {
    format!(r#"{{"Effect":"Allow","Action":"{action}","Resource":"{resource}"}}"#)
}
