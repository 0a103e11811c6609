//! What every publisher must do. One suite for all of them: a publisher joins by implementing [`Place`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests fail by panicking, and Clippy knows only functions marked as tests"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use common::{log, read_folder};
use ledger::faulty::{Faults, MemoryPublisher};
use ledger::{
    Creation, Directory, DirectoryReader, Move, PublishError, Publisher, ReadError, Reader,
};
use protocol::checkpoint::Checkpoint;
use protocol::ed25519::SigningKey;
use protocol::merkle::leaf_hash;

/// Somewhere to publish.
trait Place {
    /// Another process that publishes there.
    fn publisher(&self) -> Arc<dyn Publisher>;
    /// Somebody who only reads.
    fn reader(&self) -> Arc<dyn Reader>;
    /// Everything in the published tree.
    fn files(&self) -> BTreeMap<String, Bytes>;
}

struct Memory(MemoryPublisher);

impl Place for Memory {
    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(self.0.clone())
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(self.0.clone())
    }

    fn files(&self) -> BTreeMap<String, Bytes> {
        self.0.files()
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn open(&self) -> Directory {
        Directory::open(self.0.path(), log().election(), "cells-0").unwrap()
    }
}

impl Place for Folder {
    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(self.open())
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(DirectoryReader::new(self.0.path(), log().election()))
    }

    fn files(&self) -> BTreeMap<String, Bytes> {
        read_folder(
            &self
                .0
                .path()
                .join("elections")
                .join(log().election().to_string()),
        )
    }
}

const LEN_MAX: usize = 1_000;

fn checkpoint(size: u64, flavour: u8) -> Bytes {
    let key = SigningKey::from_seed(&[flavour; 32]);
    let checkpoint = Checkpoint::new(log().origin(), size, leaf_hash(&[flavour])).unwrap();
    checkpoint
        .signed(&key.public(), &key.sign(checkpoint.body().as_bytes()))
        .into()
}

async fn conforms<P: Place>(place: impl Fn() -> P) {
    place().publisher().probe().await.unwrap();
    files_are_created_once(&place()).await;
    of_many_at_once_one_creates(&place()).await;
    reading_is_bounded(&place()).await;
    the_checkpoint_moves_only_from_where_it_is_expected(&place()).await;
    the_checkpoint_never_moves_backwards(&place()).await;
    of_many_at_once_one_moves(&place()).await;
    only_paths_of_the_tree_exist(&place()).await;
}

async fn files_are_created_once(place: &impl Place) {
    let (one, two) = (place.publisher(), place.publisher());
    for path in [
        "cells/0/batches/0",
        "cells/0/tile/0/x001/000.p/7",
        "cells/0/tile/entries/000",
        "anchors/a/0",
        "manifest.json",
    ] {
        assert_eq!(place.reader().read(path, LEN_MAX).await, Ok(None));
        assert_eq!(
            one.create(path, Bytes::from("right")).await,
            Ok(Creation::Created)
        );
        assert_eq!(
            one.create(path, Bytes::from("right")).await,
            Ok(Creation::AlreadyEqual)
        );
        assert_eq!(
            two.create(path, Bytes::from("right")).await,
            Ok(Creation::AlreadyEqual)
        );
        for wrong in ["wrong", "righ", "right ", ""] {
            assert_eq!(
                two.create(path, Bytes::from(wrong)).await,
                Ok(Creation::Different)
            );
        }
        assert_eq!(
            place.reader().read(path, LEN_MAX).await,
            Ok(Some(Bytes::from("right")))
        );
    }
    one.create("cells/0/batches/1", Bytes::new()).await.unwrap();
    assert_eq!(
        place.reader().read("cells/0/batches/1", 0).await,
        Ok(Some(Bytes::new()))
    );
    assert_eq!(place.files().len(), 6);
}

/// Runs `act` with that many publishers, all at the same moment.
async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    place: &impl Place,
    count: usize,
    act: impl Fn(usize, Arc<dyn Publisher>) -> F,
) -> Vec<T> {
    let barrier = Arc::new(tokio::sync::Barrier::new(count));
    let tasks: Vec<_> = (0..count)
        .map(|number| {
            let (barrier, act) = (barrier.clone(), act(number, place.publisher()));
            tokio::spawn(async move {
                barrier.wait().await;
                act.await
            })
        })
        .collect();
    let outcomes = futures::future::join_all(tasks).await;
    outcomes.into_iter().map(Result::unwrap).collect()
}

async fn of_many_at_once_one_creates(place: &impl Place) {
    let outcomes = at_once(place, 32, |number, publisher| async move {
        let text = format!("{}", number % 8);
        let created = publisher
            .create("cells/0/batches/0", Bytes::from(text.clone()))
            .await;
        (created, text)
    })
    .await;
    let won: Vec<_> = outcomes
        .iter()
        .filter(|(outcome, _)| *outcome == Ok(Creation::Created))
        .collect();
    let [(_, winner)] = won[..] else {
        panic!("{} created it", won.len())
    };
    for (outcome, text) in &outcomes {
        match outcome {
            Ok(Creation::Created | Creation::AlreadyEqual) => assert_eq!(text, winner),
            Ok(Creation::Different) => assert_ne!(text, winner),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(place.files()["cells/0/batches/0"], winner.as_bytes());
}

async fn reading_is_bounded(place: &impl Place) {
    let path = "cells/0/batches/0";
    place
        .publisher()
        .create(path, Bytes::from(vec![7; 100]))
        .await
        .unwrap();
    for len_max in [100, 101, usize::MAX] {
        assert_eq!(
            place
                .reader()
                .read(path, len_max)
                .await
                .unwrap()
                .unwrap()
                .len(),
            100
        );
    }
    for len_max in [99, 1, 0] {
        assert_eq!(
            place.reader().read(path, len_max).await,
            Err(ReadError::TooLong {
                path: path.to_owned(),
                len_max
            })
        );
    }
}

async fn the_checkpoint_moves_only_from_where_it_is_expected(place: &impl Place) {
    let path = "cells/0/checkpoint";
    let publisher = place.publisher();
    let [one, two, three, other] =
        [(1, 0), (2, 0), (3, 0), (2, 9)].map(|(size, flavour)| checkpoint(size, flavour));
    let to = |expected: Option<&Bytes>, new: &Bytes| {
        let (publisher, expected, new) = (publisher.clone(), expected.cloned(), new.clone());
        async move {
            publisher
                .move_checkpoint(path, expected, new)
                .await
                .unwrap()
        }
    };
    assert_eq!(to(Some(&one), &two).await, Move::Conflict(None));
    assert_eq!(to(None, &one).await, Move::Moved);
    assert_eq!(to(None, &two).await, Move::Conflict(Some(one.clone())));
    assert_eq!(
        to(Some(&other), &three).await,
        Move::Conflict(Some(one.clone()))
    );
    assert_eq!(to(Some(&one), &two).await, Move::Moved);
    // Repeating what was done tells that it is done, whatever was expected.
    assert_eq!(to(Some(&one), &two).await, Move::Moved);
    assert_eq!(to(None, &two).await, Move::Moved);
    assert_eq!(
        to(Some(&one), &other).await,
        Move::Conflict(Some(two.clone()))
    );
    assert_eq!(place.reader().read(path, LEN_MAX).await, Ok(Some(two)));
}

async fn the_checkpoint_never_moves_backwards(place: &impl Place) {
    let path = "heads/checkpoint";
    let publisher = place.publisher();
    let (low, high) = (checkpoint(9, 0), checkpoint(10, 0));
    publisher
        .move_checkpoint(path, None, high.clone())
        .await
        .unwrap();
    let back = publisher
        .move_checkpoint(path, Some(high.clone()), low)
        .await;
    assert_eq!(back, Ok(Move::Conflict(Some(high.clone()))));
    assert_eq!(place.files()[path], high);
    // What is no checkpoint never stands there.
    for wrong in ["", "x", "a\n1\n"] {
        assert!(
            publisher
                .move_checkpoint(path, Some(high.clone()), Bytes::from(wrong))
                .await
                .is_err()
        );
    }
}

async fn of_many_at_once_one_moves(place: &impl Place) {
    let path = "registrars/0/1/checkpoint";
    let from = checkpoint(1, 0);
    place
        .publisher()
        .move_checkpoint(path, None, from.clone())
        .await
        .unwrap();
    let outcomes = at_once(place, 32, |number, publisher| {
        let from = from.clone();
        async move {
            publisher
                .move_checkpoint(path, Some(from), checkpoint(number as u64 + 2, 0))
                .await
        }
    })
    .await;
    let moved = outcomes
        .into_iter()
        .filter(|outcome| *outcome == Ok(Move::Moved))
        .count();
    assert_eq!(moved, 1);
}

async fn only_paths_of_the_tree_exist(place: &impl Place) {
    let publisher = place.publisher();
    let bytes = Bytes::from("x");
    for path in [
        "../x",
        "/etc/x",
        "cells/0",
        "cells/0/../../../x",
        "cells/0/batches/01",
        "tmp/x",
        "",
    ] {
        assert_eq!(
            publisher.create(path, bytes.clone()).await,
            Err(PublishError::Path(path.to_owned()))
        );
        assert_eq!(
            publisher
                .move_checkpoint(path, None, checkpoint(1, 0))
                .await,
            Err(PublishError::Path(path.to_owned()))
        );
        assert_eq!(
            place.reader().read(path, LEN_MAX).await,
            Err(ReadError::Path(path.to_owned()))
        );
    }
    // What moves is not created, and what is created does not move.
    assert!(
        publisher
            .create("cells/0/checkpoint", checkpoint(1, 0))
            .await
            .is_err()
    );
    assert!(publisher.create("results.json", bytes).await.is_err());
    assert!(
        publisher
            .move_checkpoint("cells/0/checkpoints/1", None, checkpoint(1, 0))
            .await
            .is_err()
    );
    assert!(place.files().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_model_conforms() {
    conforms(|| Memory(MemoryPublisher::new(Faults::none()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_directory_conforms() {
    // Each "process" has its own owner: opening one again removes what it left behind.
    struct Owners(Folder, std::sync::atomic::AtomicUsize);
    impl Place for Owners {
        fn publisher(&self) -> Arc<dyn Publisher> {
            let owner = self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Arc::new(
                Directory::open(self.0.0.path(), log().election(), &format!("p-{owner}")).unwrap(),
            )
        }

        fn reader(&self) -> Arc<dyn Reader> {
            self.0.reader()
        }

        fn files(&self) -> BTreeMap<String, Bytes> {
            self.0.files()
        }
    }
    conforms(|| Owners(Folder(tempfile::tempdir().unwrap()), 0.into())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bucket_conforms() {
    use std::time::Duration;

    use common::bucket::{files, place_in};
    use ledger::S3;
    use ledger::bucket::Bucket;
    use throwaway_ministack::{Identity, ObjectStore as _, Server};

    fn wait<T>(work: impl Future<Output = T>) -> T {
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work))
    }

    struct InBucket(ledger::bucket::Place);
    impl InBucket {
        fn open(&self) -> S3 {
            let opened = wait(S3::open(&self.0, log().election())).unwrap();
            // Of what is sent twice, the first can win and the second tell.
            opened.hedged_after(Duration::from_secs(600))
        }
    }
    impl Place for InBucket {
        fn publisher(&self) -> Arc<dyn Publisher> {
            Arc::new(self.open())
        }

        fn reader(&self) -> Arc<dyn Reader> {
            Arc::new(self.open())
        }

        fn files(&self) -> BTreeMap<String, Bytes> {
            wait(async { files(&Bucket::open(&self.0).await.unwrap(), log().election()).await })
        }
    }
    let aws = Server::shared().aws(&Identity::root());
    let bucket = Server::shared().bucket("conforms", false);
    let count = std::sync::atomic::AtomicU32::new(0);
    conforms(|| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        InBucket(place_in(&bucket, &format!("part/{number}"), &aws))
    })
    .await;
}

#[tokio::test]
async fn a_crashed_directory_leaves_nothing_in_the_published_tree() {
    let folder = Folder(tempfile::tempdir().unwrap());
    folder
        .open()
        .create("cells/0/batches/0", Bytes::from("x"))
        .await
        .unwrap();
    let tmp = folder
        .0
        .path()
        .join("tmp")
        .join(log().election().to_string())
        .join("cells-0");
    assert!(read_folder(&tmp).is_empty());
    std::fs::write(tmp.join("99-0"), "half").unwrap();
    std::fs::write(tmp.join("probe"), "half").unwrap();
    let again = folder.open();
    assert!(read_folder(&tmp).is_empty());
    again.probe().await.unwrap();
    assert_eq!(folder.files().len(), 1);
}

#[tokio::test]
async fn a_folder_or_a_file_in_the_way_is_an_unknown_outcome() {
    let folder = Folder(tempfile::tempdir().unwrap());
    let directory = folder.open();
    directory
        .create("cells/0/batches/0", Bytes::from("x"))
        .await
        .unwrap();
    let published = folder
        .0
        .path()
        .join("elections")
        .join(log().election().to_string());
    std::fs::create_dir(published.join("cells/0/batches/1")).unwrap();
    assert!(matches!(
        directory
            .create("cells/0/batches/1", Bytes::from("x"))
            .await,
        Err(PublishError::Unknown { .. })
    ));
    assert!(matches!(
        directory.read("cells/0/batches/1", 10).await,
        Err(ReadError::Unavailable { .. })
    ));
    std::fs::write(published.join("heads"), "x").unwrap();
    assert!(matches!(
        directory.create("heads/batches/0", Bytes::from("x")).await,
        Err(PublishError::Unknown { .. })
    ));
}

#[tokio::test]
async fn results_are_replaced_in_one_step_and_nothing_else_is() {
    let folder = Folder(tempfile::tempdir().unwrap());
    let directory = folder.open();
    for text in ["one", "two"] {
        directory
            .replace("results.json", Bytes::from(text))
            .await
            .unwrap();
        assert_eq!(
            directory.read("results.json", 10).await,
            Ok(Some(Bytes::from(text)))
        );
    }
    for path in [
        "manifest.json",
        "cells/0/checkpoint",
        "cells/0/batches/0",
        "../results.json",
    ] {
        assert!(matches!(
            directory.replace(path, Bytes::from("x")).await,
            Err(PublishError::Path(_))
        ));
    }
}

#[tokio::test]
async fn an_owner_is_a_plain_name() {
    let folder = tempfile::tempdir().unwrap();
    for owner in ["", "..", "a/b", "A", "a b"] {
        assert!(
            Directory::open(folder.path(), log().election(), owner).is_err(),
            "{owner:?}"
        );
    }
}
