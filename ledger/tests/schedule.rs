//! What services believe about the schedule: only what the heads log proves, and never less than they knew before.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ledger::clock::SystemClock;
use ledger::faulty::{Faults, HeadsWriter, MemoryPublisher};
use ledger::schedule::{Health, Schedule, follow, known};
use openssl::rsa::Rsa;
use protocol::ed25519::SigningKey;
use protocol::entry::{LogState, NoticeAction};
use protocol::ids::LogId;
use protocol::manifest::{
    Anchor, AnchorKind, Contest, Election, FORMAT, KeyPair, Manifest, Method, Registrar, Roll,
    TieRule, Times, Witnesses,
};
use tokio::sync::watch;

const CLOSING: u64 = 2_000_000;
const CELL: LogId = LogId::Cell(0);
const ISSUANCE: [LogId; 2] = [
    LogId::Issuance {
        registrar: 0,
        shard: 0,
    },
    LogId::Issuance {
        registrar: 0,
        shard: 1,
    },
];

fn key(of: u8) -> SigningKey {
    SigningKey::from_seed(&[of; 32])
}

fn pair(of: u8) -> KeyPair {
    KeyPair {
        main: key(of).public(),
        spare: key(of + 100).public(),
    }
}

const HEADS: u8 = 4;
const AUTHORITY: u8 = 5;

fn election() -> Election {
    let manifest = Manifest {
        format: FORMAT.into(),
        title: "Test".into(),
        base: "votes.example".into(),
        demo: true,
        contests: vec![Contest {
            method: Method::Plurality,
            name: "Mayor".into(),
            options: vec!["Ada".into()],
            tie_rule: TieRule::ListedOrder,
        }],
        times: Times {
            registration: 1,
            opening: 1,
            closing: CLOSING,
            grace: 10_000,
        },
        // Room for what the tests extend.
        retention: CLOSING + 1_000_000,
        cells: vec![pair(1)],
        registrars: vec![Registrar {
            name: "Registrar".into(),
            rsa: Rsa::generate(2048).unwrap().public_key_to_der().unwrap(),
            shards: vec![pair(2), pair(3)],
        }],
        heads: pair(HEADS),
        authority: pair(AUTHORITY),
        roll: Roll {
            size: 10,
            root: [7; 32],
        },
        batch_min: 1,
        batch_wait_ms: 100,
        cast_delay_s: 0,
        head_interval_ms: 100,
        anchors: vec![Anchor {
            kind: AnchorKind::Directory,
            name: "demo".into(),
        }],
        witnesses: Witnesses {
            keys: vec![],
            quorum: 0,
        },
    };
    Election::new(&manifest).unwrap()
}

struct World {
    files: MemoryPublisher,
    heads: HeadsWriter,
    schedule: watch::Receiver<Schedule>,
    task: tokio::task::JoinHandle<()>,
}

impl World {
    fn new() -> Self {
        Self::of(&election())
    }

    fn of(election: &Election) -> Self {
        let files = MemoryPublisher::new(Faults::none());
        let heads = HeadsWriter::new(
            election,
            Arc::new(files.clone()),
            key(HEADS),
            key(AUTHORITY),
        );
        let (task, schedule) = follow(
            election.clone(),
            Arc::new(files.clone()),
            Arc::new(SystemClock),
            Duration::from_millis(2),
        );
        Self {
            files,
            heads,
            schedule,
            task,
        }
    }

    /// Waits until the schedule is as asked for, and returns it.
    async fn until(&mut self, what: impl Fn(&Schedule) -> bool) -> Schedule {
        let found =
            tokio::time::timeout(Duration::from_secs(20), self.schedule.wait_for(|s| what(s)));
        let schedule = found.await.map(|found| found.unwrap().clone());
        schedule.unwrap_or_else(|_| panic!("never came: {:?}", *self.schedule.borrow()))
    }

    async fn caught_up(&mut self) -> Schedule {
        let size = self.heads.size();
        self.until(|s| s.heads_size() == size && *s.health() == Health::Current)
            .await
    }

    async fn inconsistent(&mut self) -> Schedule {
        self.until(|s| matches!(s.health(), Health::Inconsistent(_)))
            .await
    }
}

#[tokio::test]
async fn notices_take_effect_and_heads_tell_when_issuance_ended() {
    let mut world = World::new();
    known(&mut world.schedule).await;
    let first = world.schedule.borrow().clone();
    assert_eq!(*first.health(), Health::NotPublished);
    assert!(first.is_healthy());
    assert_eq!(first.in_force().closing(), CLOSING);
    assert_eq!((first.head_time(), first.issuance_closed()), (0, false));

    world.heads.genesis().await.unwrap();
    world.heads.head(500, |_| LogState::Open).await.unwrap();
    let opened = world.caught_up().await;
    assert_eq!((opened.head_time(), opened.issuance_closed()), (500, false));

    world
        .heads
        .notice(NoticeAction::Extend {
            closing: CLOSING + 7,
        })
        .await
        .unwrap();
    let extended = world.caught_up().await;
    assert_eq!(extended.in_force().closing_of(CELL), CLOSING + 7);

    world
        .heads
        .notice(NoticeAction::Freeze { log: CELL })
        .await
        .unwrap();
    let frozen = world.caught_up().await;
    assert!(frozen.is_stopped(CELL) && !frozen.is_stopped(ISSUANCE[0]));
    assert_eq!(frozen.in_force().closing_of(CELL), CLOSING + 7);
    world.heads.head(600, |_| LogState::Open).await.unwrap();
    assert_eq!(world.caught_up().await.in_force().closing_of(CELL), 600);

    // One issuance log closes, then the other, and then the first cannot be read: it stays closed.
    let only = |closed: LogId| {
        move |log| {
            if log == closed {
                LogState::Closed
            } else {
                LogState::Open
            }
        }
    };
    world.heads.head(700, only(ISSUANCE[0])).await.unwrap();
    assert!(!world.caught_up().await.issuance_closed());
    let both = |log| {
        if log == CELL {
            LogState::Open
        } else {
            LogState::Closed
        }
    };
    world.heads.head(800, both).await.unwrap();
    assert!(world.caught_up().await.issuance_closed());

    world.heads.notice(NoticeAction::Cancel).await.unwrap();
    let cancelled = world.caught_up().await;
    assert!(cancelled.is_stopped(ISSUANCE[0]) && cancelled.in_force().cancelled().is_some());
    assert!(cancelled.issuance_closed());

    // Nobody listens any more: the task ends by itself.
    drop(world.schedule);
    world.task.await.unwrap();
}

#[tokio::test]
async fn what_does_not_check_out_changes_nothing_and_raises_the_alarm() {
    // A notice that somebody else signed; one out of order; one that comes too late; a batch of another log; an entry that is none.
    for forge in 0..4 {
        let mut world = World::new();
        world.heads.genesis().await.unwrap();
        world.heads.head(500, |_| LogState::Open).await.unwrap();
        world.caught_up().await;
        let extend = NoticeAction::Extend {
            closing: CLOSING + 7,
        };
        match forge {
            0 => world.heads.authority = key(77),
            1 => world.heads.sequence = 3,
            2 => world
                .heads
                .head(CLOSING + 1, |_| LogState::Open)
                .await
                .unwrap(),
            _ => world.heads.key = key(77),
        }
        world.heads.notice(extend).await.unwrap();
        let schedule = world.inconsistent().await;
        assert!(!schedule.is_healthy());
        assert_eq!(schedule.in_force().closing(), CLOSING, "forgery {forge}");
        assert!(schedule.heads_size() >= 2, "what was good stays");
    }
}

#[tokio::test]
async fn an_old_a_changed_or_a_missing_log_is_noticed_and_a_restored_one_too() {
    let election = election();
    let mut world = World::of(&election);
    world.heads.genesis().await.unwrap();
    let old = world.files.files()["heads/checkpoint"].clone();
    world.caught_up().await;
    world
        .heads
        .notice(NoticeAction::Extend {
            closing: CLOSING + 7,
        })
        .await
        .unwrap();
    let good = world.files.files();
    world.caught_up().await;

    // Rolled back.
    world.files.tamper("heads/checkpoint", Some(old));
    assert_eq!(world.inconsistent().await.in_force().closing(), CLOSING + 7);
    world
        .files
        .tamper("heads/checkpoint", Some(good["heads/checkpoint"].clone()));
    world.caught_up().await;
    // Gone.
    world.files.tamper("heads/checkpoint", None);
    assert_eq!(world.inconsistent().await.in_force().closing(), CLOSING + 7);
    world
        .files
        .tamper("heads/checkpoint", Some(good["heads/checkpoint"].clone()));
    world.caught_up().await;
    // Garbage.
    world
        .files
        .tamper("heads/checkpoint", Some(Bytes::from_static(b"x")));
    assert_eq!(world.inconsistent().await.in_force().closing(), CLOSING + 7);
    world
        .files
        .tamper("heads/checkpoint", Some(good["heads/checkpoint"].clone()));
    world.caught_up().await;

    // The next batch is late: not wrong, only not there yet.
    world.heads.head(500, |_| LogState::Open).await.unwrap();
    let after = world.files.files();
    world.caught_up().await;
    world.heads.head(600, |_| LogState::Open).await.unwrap();
    let batch = world.files.files()["heads/batches/3"].clone();
    let mut late = World::of(&election);
    for (path, bytes) in &after {
        late.files.tamper(path, Some(bytes.clone()));
    }
    late.until(|s| s.heads_size() == 3).await;
    late.files.tamper(
        "heads/checkpoint",
        Some(world.files.files()["heads/checkpoint"].clone()),
    );
    let waiting = late
        .until(|s| matches!(s.health(), Health::Unreachable(_)))
        .await;
    assert_eq!(waiting.heads_size(), 3);
    late.files.tamper("heads/batches/3", Some(batch));
    let there = late.until(|s| s.heads_size() == 4).await;
    assert_eq!(there.head_time(), 600);
}

#[tokio::test]
async fn the_heads_log_itself_may_switch_to_its_spare_key_and_not_back() {
    let mut world = World::new();
    world.heads.genesis().await.unwrap();
    world.caught_up().await;
    let (size, root) = (world.heads.size(), world.heads.root());
    // "the spare signs the checkpoint that first includes the notice and all after it"
    world.heads.key = key(HEADS + 100);
    let switch = NoticeAction::Switch {
        log: LogId::Heads,
        size,
        root,
    };
    world.heads.notice(switch).await.unwrap();
    world.caught_up().await;
    world.heads.key = key(HEADS);
    world.heads.notice(NoticeAction::Cancel).await.unwrap();
    let schedule = world.inconsistent().await;
    assert!(schedule.in_force().cancelled().is_none());
    world.heads.key = key(HEADS + 100);
    world.heads.sign().await.unwrap();
    assert!(world.caught_up().await.in_force().cancelled().is_some());
}
