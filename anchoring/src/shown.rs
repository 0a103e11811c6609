//! What an anchor keeps elsewhere, shown among the published files too: audits, mirrors and packages find it there. Whoever doubts the copy asks the anchor itself.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ledger::publisher::{Creation, Publisher};

use crate::anchor::{Anchor, AnchorError, Created};

/// An anchor, and a copy of what it keeps at `anchors/<name>/<n>`.
pub struct ShownAnchor {
    anchor: Arc<dyn Anchor>,
    publisher: Arc<dyn Publisher>,
}

impl ShownAnchor {
    /// Shows what the anchor keeps.
    #[must_use]
    pub fn new(anchor: Arc<dyn Anchor>, publisher: Arc<dyn Publisher>) -> Self {
        Self { anchor, publisher }
    }

    async fn show(&self, n: u64, bytes: &[u8]) -> Result<(), AnchorError> {
        let name = self.anchor.name();
        let path = format!("anchors/{name}/{n}");
        let copied = self
            .publisher
            .create(&path, Bytes::copy_from_slice(bytes))
            .await;
        let source = match copied {
            Ok(Creation::Created | Creation::AlreadyEqual) => return Ok(()),
            Ok(Creation::Different) => io::Error::other(format!(
                "the published {path} is another than the anchored one: audits will find that, so see who put it there"
            )),
            Err(error) => io::Error::other(error),
        };
        Err(AnchorError::Unavailable {
            anchor: name.to_owned(),
            n,
            source,
        })
    }
}

#[async_trait]
impl Anchor for ShownAnchor {
    fn name(&self) -> &str {
        self.anchor.name()
    }

    async fn create(&self, n: u64, bytes: &[u8]) -> Result<Created, AnchorError> {
        let created = self.anchor.create(n, bytes).await?;
        if created != Created::Different {
            self.show(n, bytes).await?;
        }
        Ok(created)
    }

    /// Shows what it read, too: whoever anchored it may have died before.
    async fn read(&self, n: u64) -> Result<Option<Vec<u8>>, AnchorError> {
        let bytes = self.anchor.read(n).await?;
        if let Some(bytes) = &bytes {
            self.show(n, bytes).await?;
        }
        Ok(bytes)
    }
}
