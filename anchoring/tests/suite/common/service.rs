//! Starting the anchoring service over a [`Site`], and awaiting what it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anchoring::{
    Anchor, AnchorError, Anchoring, AnchoringConfig, CosigningTimes, Created, DirectoryAnchor,
    NewestHead, StartError, Witness,
};
use async_trait::async_trait;
use protocol::entry::LogState;
use protocol::ids::LogId;

use super::Site;

/// Nothing here takes this long; it ends a test that would else hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

impl Site {
    pub(crate) fn anchors(&self) -> Vec<Arc<dyn Anchor>> {
        ["one", "two"].map(|name| self.anchor(name)).to_vec()
    }

    pub(crate) fn anchor(&self, name: &str) -> Arc<dyn Anchor> {
        let folder = self.published(&format!("anchors/{name}"));
        let unfinished = self.root().join("tmp").join("anchors");
        Arc::new(DirectoryAnchor::open(name, &folder, &unfinished).unwrap())
    }

    pub(crate) async fn anchoring(&self) -> Anchoring {
        self.try_anchoring(self.anchors(), false).await.unwrap()
    }

    pub(crate) async fn try_anchoring(
        &self,
        anchors: Vec<Arc<dyn Anchor>>,
        spare: bool,
    ) -> Result<Anchoring, StartError> {
        self.start_anchoring(anchors, spare, Vec::new()).await
    }

    /// With the manifest's anchors, and these witnesses.
    pub(crate) async fn anchoring_with(
        &self,
        witnesses: Vec<Witness>,
    ) -> Result<Anchoring, StartError> {
        self.start_anchoring(self.anchors(), false, witnesses).await
    }

    /// As [`Site::anchoring_with`], signing with the heads log's spare key.
    pub(crate) async fn spare_anchoring_with(
        &self,
        witnesses: Vec<Witness>,
    ) -> Result<Anchoring, StartError> {
        self.start_anchoring(self.anchors(), true, witnesses).await
    }

    async fn start_anchoring(
        &self,
        anchors: Vec<Arc<dyn Anchor>>,
        spare: bool,
        witnesses: Vec<Witness>,
    ) -> Result<Anchoring, StartError> {
        let mut config = AnchoringConfig::new(&self.election);
        config.witnesses = witnesses;
        config.cosigning = CosigningTimes {
            stragglers: Duration::from_millis(200),
            round: Duration::from_millis(500),
            retry: Duration::from_millis(20),
            ..CosigningTimes::default()
        };
        config.read_timeout = Duration::from_secs(2);
        config.anchor_retry = Duration::from_millis(20);
        Anchoring::start(
            config,
            self.reader(),
            self.store(LogId::Heads).await,
            self.directory("heads"),
            self.signer(LogId::Heads, spare),
            anchors,
            self.clock.clone(),
        )
        .await
    }
}

/// Waits for a head that is as asked.
pub(crate) async fn head_where(
    anchoring: &Anchoring,
    what: &str,
    is: impl Fn(&NewestHead) -> bool,
) -> NewestHead {
    let mut heads = anchoring.watch();
    let found = tokio::time::timeout(
        PATIENCE,
        heads.wait_for(|head| head.as_ref().is_some_and(&is)),
    )
    .await;
    match found {
        Ok(Ok(head)) => head.clone().unwrap(),
        Ok(Err(_)) => panic!("the service stopped before a head with {what}"),
        Err(_) => panic!(
            "no head with {what}; the newest: {:?}",
            anchoring.watch().borrow()
        ),
    }
}

/// A head made after this moment.
pub(crate) async fn next_head(anchoring: &Anchoring) -> NewestHead {
    let before = anchoring.watch().borrow().as_ref().map(|head| head.index);
    // The one on its way may have looked already; the one after it has not.
    let after = before.map_or(2, |index| index + 2);
    head_where(anchoring, "a later index", |head| head.index >= after).await
}

pub(crate) fn states(head: &NewestHead) -> Vec<LogState> {
    head.head.logs.iter().map(|log| log.state).collect()
}

pub(crate) fn sizes(head: &NewestHead) -> Vec<u64> {
    head.head.logs.iter().map(|log| log.size).collect()
}

/// An anchor that can be taken away.
pub(crate) struct Flaky {
    pub(crate) inner: Arc<dyn Anchor>,
    pub(crate) down: AtomicBool,
}

impl Flaky {
    pub(crate) fn down(inner: Arc<dyn Anchor>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            down: AtomicBool::new(true),
        })
    }

    fn check(&self, n: u64) -> Result<(), AnchorError> {
        if !self.down.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(AnchorError::Unavailable {
            anchor: self.name().to_owned(),
            n,
            source: std::io::Error::other("unplugged"),
        })
    }
}

#[async_trait]
impl Anchor for Flaky {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn create(&self, n: u64, bytes: &[u8]) -> Result<Created, AnchorError> {
        self.check(n)?;
        self.inner.create(n, bytes).await
    }

    async fn read(&self, n: u64) -> Result<Option<Vec<u8>>, AnchorError> {
        self.check(n)?;
        self.inner.read(n).await
    }
}
