//! Witnesses: the heads log is cosigned by a quorum beside the heads, what a witness says changes nothing, and what it shows stops a fork.

use std::fs;
use std::time::Duration;

use crate::common::Site;
use crate::common::manifest::{key, manifest};
use crate::common::service::{PATIENCE, head_where, next_head};
use crate::common::witness::{FakeWitness, Mode, Newest, vkey};
use anchoring::{Anchoring, Cosigned, StartError};
use ledger::heads::HeadsFollower;
use protocol::checkpoint::Checkpoint;
use protocol::ed25519::SigningKey;
use protocol::entry::NoticeAction;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::{Hash, leaf_hash};

/// An election with three witnesses, of whom two must cosign.
async fn election() -> (Site, [FakeWitness; 3]) {
    let mut manifest = manifest();
    manifest.witnesses.keys = (0..3).map(vkey).collect();
    manifest.witnesses.quorum = 2;
    let site = Site::of(Election::new(&manifest).unwrap());
    let witnesses = [
        FakeWitness::start(0).await,
        FakeWitness::start(1).await,
        FakeWitness::start(2).await,
    ];
    (site, witnesses)
}

async fn start(site: &Site, witnesses: &[FakeWitness]) -> Result<Anchoring, StartError> {
    let clients = witnesses.iter().map(FakeWitness::client).collect();
    site.anchoring_with(clients).await
}

/// Waits until the witnesses are as asked.
async fn cosigned_where(
    anchoring: &Anchoring,
    what: &str,
    is: impl Fn(&Cosigned) -> bool,
) -> Cosigned {
    let mut cosigned = anchoring.cosigned();
    let found = tokio::time::timeout(PATIENCE, cosigned.wait_for(&is)).await;
    match found {
        Ok(Ok(state)) => state.clone(),
        other => panic!(
            "no {what}: {:?}; {:?}",
            other.is_err(),
            anchoring.cosigned().borrow()
        ),
    }
}

/// The witnesses in `cosigned/<size>`, which must be the log's own checkpoint with valid cosignatures; `None` where there is none.
fn cosigners(site: &Site, size: u64) -> Option<Vec<usize>> {
    let bytes = fs::read(site.published(&format!("heads/cosigned/{size}"))).ok()?;
    let own = fs::read(site.published(&format!("heads/checkpoints/{size}"))).unwrap();
    assert!(bytes.starts_with(&own));
    let keys = site.election.log_keys(LogId::Heads).unwrap().to_bytes();
    let origin = site.election.origin(LogId::Heads);
    let (_, _, cosigned) =
        Checkpoint::verify_cosigned(&bytes, &origin, &keys, site.election.witnesses()).unwrap();
    Some(cosigned.into_iter().map(|(witness, _)| witness).collect())
}

/// A checkpoint that our log's key has signed, of entries that nobody has seen.
fn forged(site: &Site, size: u64, root: Hash) -> Newest {
    forged_by(site, size, root, &key("heads", false))
}

fn forged_by(site: &Site, size: u64, root: Hash, key: &SigningKey) -> Newest {
    let checkpoint = Checkpoint::new(&site.election.origin(LogId::Heads), size, root).unwrap();
    let signature = key.sign(checkpoint.body().as_bytes());
    let note = checkpoint.signed(&key.public(), &signature);
    Newest { checkpoint, note }
}

async fn ended(anchoring: &Anchoring) -> Result<u64, String> {
    tokio::time::timeout(PATIENCE, anchoring.finished())
        .await
        .expect("the service ends")
        .map(|last| last.end.size)
}

#[tokio::test]
async fn a_quorum_cosigns_while_one_witness_is_down() {
    let (site, witnesses) = election().await;
    let logs = site.logs().await;
    witnesses[1].be(Mode::Down);
    let anchoring = start(&site, &witnesses).await.unwrap();
    let head = next_head(&anchoring).await;
    // Its answer may come after the others have joined the quorum.
    let state = cosigned_where(&anchoring, "quorum without the one that is down", |state| {
        let wrong = state.witnesses[1].wrong.as_ref();
        state.size >= head.end.size && wrong.is_some_and(|wrong| wrong.contains("503"))
    })
    .await;
    assert_eq!(cosigners(&site, state.size).unwrap(), [0, 2]);
    // It comes back, far behind.
    witnesses[1].be(Mode::Honest);
    let state = cosigned_where(&anchoring, "third", |state| {
        state.witnesses[1].wrong.is_none()
    })
    .await;
    assert!(state.witnesses[1].size > 1);
    logs.close_all().await;
    let size = ended(&anchoring).await.unwrap();
    assert_eq!(cosigners(&site, size).unwrap(), [0, 1, 2]);
}

#[tokio::test]
async fn heads_go_on_without_a_quorum_and_the_end_waits_for_it() {
    let (site, witnesses) = election().await;
    let logs = site.logs().await;
    witnesses[0].be(Mode::Silent);
    witnesses[1].be(Mode::Down);
    let anchoring = start(&site, &witnesses).await.unwrap();
    for _ in 0..3 {
        next_head(&anchoring).await;
    }
    logs.close_all().await;
    let last = head_where(&anchoring, "finality", |head| head.is_final).await;
    let mut anchored = anchoring.anchored();
    let all = anchored.wait_for(|size| *size == last.end.size);
    tokio::time::timeout(PATIENCE, all).await.unwrap().unwrap();
    // Everything is done but the quorum.
    assert_eq!(anchoring.cosigned().borrow().size, 0);
    assert!((1..=last.end.size).all(|size| cosigners(&site, size).is_none()));
    drop(anchoring);

    // A restart goes on with what is not cosigned, though nothing comes any more.
    let anchoring = start(&site, &witnesses).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(500), anchoring.finished()).await;
    assert!(waits.is_err(), "finished without a quorum");
    witnesses[1].be(Mode::Honest);
    assert_eq!(ended(&anchoring).await.unwrap(), last.end.size);
    assert_eq!(cosigners(&site, last.end.size).unwrap(), [1, 2]);
    drop(anchoring);

    // And once it is, another one finds it so, with nobody to ask.
    for witness in &witnesses {
        witness.be(Mode::Down);
    }
    let anchoring = start(&site, &witnesses).await.unwrap();
    assert_eq!(ended(&anchoring).await.unwrap(), last.end.size);
}

#[tokio::test]
async fn what_a_witness_only_says_is_no_reason_to_stop() {
    let (site, witnesses) = election().await;
    let logs = site.logs().await;
    let anchoring = start(&site, &witnesses).await.unwrap();
    next_head(&anchoring).await;
    for (mode, said) in [
        (Mode::Says(1_000_000), "more than ours"),
        (Mode::Refuses, "no consistency"),
        (Mode::At(1_000 + 241), "clock"),
        (Mode::At(1_000 - 241), "clock"),
    ] {
        witnesses[2].be(mode.clone());
        let state = cosigned_where(&anchoring, said, |state| {
            let wrong = state.witnesses[2].wrong.as_ref();
            wrong.is_some_and(|wrong| wrong.contains(said))
        })
        .await;
        // The others are enough.
        let after = cosigned_where(&anchoring, "quorum", |now| now.size > state.size).await;
        assert_eq!(cosigners(&site, after.size).unwrap(), [0, 1], "{mode:?}");
        witnesses[2].be(Mode::Honest);
        cosigned_where(&anchoring, "peace", |state| {
            state.witnesses[2].wrong.is_none()
        })
        .await;
    }
    logs.close_all().await;
    ended(&anchoring).await.unwrap();
}

#[tokio::test]
async fn what_no_key_of_ours_has_signed_is_no_evidence() {
    let (site, witnesses) = election().await;
    let logs = site.logs().await;
    let stranger = key("somebody else", false);
    let made_up = forged_by(&site, 1_000_000, leaf_hash(b"other"), &stranger);
    // Neither at the start, nor later.
    witnesses[2].remember(Some(made_up.clone()));
    let anchoring = start(&site, &witnesses).await.unwrap();
    let odd = |state: &Cosigned| {
        let wrong = state.witnesses[2].wrong.as_ref();
        wrong.is_some_and(|wrong| wrong.contains("no key of our log has signed it"))
    };
    cosigned_where(&anchoring, "oddity", odd).await;
    witnesses[2].remember(None);
    cosigned_where(&anchoring, "peace", |state| {
        state.witnesses[2].wrong.is_none()
    })
    .await;
    witnesses[2].remember(Some(made_up));
    cosigned_where(&anchoring, "oddity", odd).await;
    logs.close_all().await;
    let size = ended(&anchoring).await.unwrap();
    assert_eq!(cosigners(&site, size).unwrap(), [0, 1]);
}

#[tokio::test]
async fn a_witness_whose_state_was_set_back_cosigns_again() {
    let (site, witnesses) = election().await;
    let logs = site.logs().await;
    let anchoring = start(&site, &witnesses).await.unwrap();
    let first = cosigned_where(&anchoring, "first", |state| state.witnesses[2].size > 0).await;
    let old = witnesses[2].newest();
    cosigned_where(&anchoring, "more", |state| {
        state.witnesses[2].size > first.witnesses[2].size + 3
    })
    .await;
    witnesses[2].remember(old);
    let size = witnesses[0].size();
    cosigned_where(&anchoring, "and more", |state| {
        state.witnesses[2].size > size + 1
    })
    .await;
    witnesses[2].remember(None);
    let size = witnesses[0].size();
    cosigned_where(&anchoring, "and more", |state| {
        state.witnesses[2].size > size + 1
    })
    .await;
    logs.close_all().await;
    ended(&anchoring).await.unwrap();
}

#[tokio::test]
async fn a_checkpoint_that_our_key_signed_and_we_do_not_have_stops_everything() {
    for beyond in [true, false] {
        let (site, witnesses) = election().await;
        let _logs = site.logs().await;
        let anchoring = start(&site, &witnesses).await.unwrap();
        next_head(&anchoring).await;
        let size = if beyond { 1_000_000 } else { 2 };
        witnesses[2].remember(Some(forged(&site, size, leaf_hash(b"other"))));
        let reason = ended(&anchoring).await.unwrap_err();
        assert!(
            reason.contains("w2.example") && reason.contains(&format!("size {size}")),
            "{reason}"
        );
        // Nothing more is signed.
        let size = anchoring.handle().published().end.size;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(anchoring.handle().published().end.size, size);
    }
}

/// Whoever stole a main key that was taken out of use signs on with it, and a witness shows that: the notice makes it void.
#[tokio::test]
async fn what_a_retired_key_signed_above_its_switch_is_no_evidence() {
    let (site, witnesses) = election().await;
    let logs = site.logs().await;
    let anchoring = start(&site, &witnesses).await.unwrap();
    next_head(&anchoring).await;
    drop(anchoring);
    let clients = || witnesses.iter().map(FakeWitness::client).collect();
    let anchoring = site.spare_anchoring_with(clients()).await.unwrap();
    let mut heads = HeadsFollower::new(site.reader(), &site.election);
    heads.advance().await.unwrap();
    let at = heads.end();
    let switch = NoticeAction::Switch {
        log: LogId::Heads,
        size: at.size,
        root: at.root,
    };
    let notice = site.notice(0, switch);
    anchoring.submit_notice(&notice).await.unwrap();
    next_head(&anchoring).await;
    drop(anchoring);

    let stolen = forged(&site, 1_000_000, leaf_hash(b"other"));
    witnesses[2].remember(Some(stolen));
    let anchoring = site.spare_anchoring_with(clients()).await.unwrap();
    cosigned_where(&anchoring, "oddity", |state| {
        let wrong = state.witnesses[2].wrong.as_ref();
        wrong.is_some_and(|wrong| wrong.contains("no key of our log has signed it"))
    })
    .await;
    // What it signed below is as binding as ever.
    witnesses[2].remember(Some(forged(&site, 2, leaf_hash(b"other"))));
    let reason = ended(&anchoring).await.unwrap_err();
    assert!(reason.contains("w2.example"), "{reason}");
    drop(logs);
}

#[tokio::test]
async fn a_log_that_was_set_back_signs_nothing_before_witnesses_were_asked() {
    let (site, witnesses) = election().await;
    let logs = site.logs().await;
    let anchoring = start(&site, &witnesses).await.unwrap();
    next_head(&anchoring).await;
    drop(anchoring);
    logs.close_all().await;
    // Database, files and anchors are gone; what one witness keeps is not.
    let before = fs::read(site.published("heads/checkpoint")).unwrap();
    for folder in ["heads", "anchors"] {
        while site.published(folder).exists() {
            let _ = fs::remove_dir_all(site.published(folder));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for file in fs::read_dir(site.root())
        .unwrap()
        .map(|file| file.unwrap().path())
    {
        if file
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("heads.sqlite")
        {
            fs::remove_file(file).unwrap();
        }
    }
    assert!(!before.is_empty() && witnesses[1].size() > 0);
    witnesses[0].be(Mode::Down);
    let anchoring = start(&site, &witnesses).await.unwrap();
    let reason = ended(&anchoring).await.unwrap_err();
    assert!(reason.contains("halted"), "{reason}");
    assert!(!site.published("heads/checkpoint").exists());
}

#[tokio::test]
async fn exactly_the_manifests_witnesses_are_taken() {
    let (site, witnesses) = election().await;
    for given in [vec![], vec![0, 1], vec![0, 2, 1], vec![0, 1, 2, 0]] {
        let clients = given.iter().map(|which| {
            let witness: &FakeWitness = &witnesses[*which];
            witness.client()
        });
        let started = site.anchoring_with(clients.collect()).await;
        assert!(
            matches!(started, Err(StartError::Witnesses { .. })),
            "{given:?}"
        );
    }
    for address in [
        "w.example",
        "ftp://w.example",
        "https://",
        "https://w.example/?a",
        "https://w.example/#a",
        "",
    ] {
        assert!(
            anchoring::Witness::new(crate::common::witness::witness_key(0), address, None).is_err(),
            "{address}"
        );
    }
}
