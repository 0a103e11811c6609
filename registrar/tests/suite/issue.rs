//! Voters who ask for their credential, once, again, with another device, too early and too late.

use std::process::Command;
use std::sync::Arc;

use crate::common::{CLOSING, GRACE, Options, Place, REGISTRATION, Served, code, nobodys_code};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use protocol::credential::{CredentialKey, DeviceSecret, credential_message, finalize};
use protocol::entry::{Entry, Refused};
use protocol::ids::LogId;
use registrar::{RegistrarLimits, ShardWarm};

const VOTERS: [&str; 6] = ["ada@example.org", "Grace Hopper", "Zoë", "d", "e", "f"];

#[tokio::test(flavor = "multi_thread")]
async fn a_code_gets_a_credential_that_openssl_accepts() {
    let place = Place::new(&VOTERS, 2).await;
    let codes = [place.codes(0), place.codes(1)];
    assert_eq!(codes[0].len(), VOTERS.len());
    let secret = DeviceSecret::from_bytes([9; 32]);
    for r in 0..2u16 {
        let served = Served::start(&place, r, Options::default()).await;
        let blinded = place.blinded(r, 9);
        let (status, answer) = served
            .ask(&codes[usize::from(r)]["Zoë"], blinded.message())
            .await;
        assert_eq!(status, 200, "{answer}");
        place.check_answer(r, "Zoë", &blinded, &answer);
        let blind_signature = STANDARD
            .decode(answer["blind_signature"].as_str().unwrap())
            .unwrap();
        let signature = finalize(&blinded, &blind_signature).unwrap();

        // By somebody else's program: the openssl command line, with the key of the manifest.
        let public = CredentialKey::derive(&secret, &place.election.id()).public();
        let file = |name: &str, content: &[u8]| {
            let path = place.folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let key = file(
            "key.der",
            place.election.registrar_keys()[usize::from(r)].spki(),
        );
        let message = file(
            "message",
            &credential_message(&place.election.id(), &public),
        );
        let mut broken = signature.clone();
        broken[9] ^= 1;
        for (bytes, good) in [(&signature, true), (&broken, false)] {
            let signature = file("signature", bytes);
            let verified = Command::new("openssl")
                .args(["dgst", "-sha384", "-keyform", "DER"])
                .args([
                    "-sigopt",
                    "rsa_padding_mode:pss",
                    "-sigopt",
                    "rsa_pss_saltlen:48",
                ])
                .args(["-sigopt", "rsa_mgf1_md:sha384", "-verify"])
                .arg(&key)
                .arg("-signature")
                .arg(&signature)
                .arg(&message)
                .output()
                .unwrap();
            assert_eq!(verified.status.success(), good, "{verified:?}");
        }
        served.stop().await;
    }
    // Registrars' codes are independent of each other.
    assert!(
        VOTERS
            .iter()
            .all(|voter| codes[0][*voter] != codes[1][*voter])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_gets_the_same_answer_and_another_none() {
    let place = Place::new(&VOTERS, 1).await;
    let codes = place.codes(0);
    let served = Served::start(&place, 0, Options::default()).await;
    let blinded = place.blinded(0, 1);
    let (status, first) = served.ask(&codes["d"], blinded.message()).await;
    assert_eq!(status, 200);
    // As people type it.
    let typed = codes["d"]
        .to_lowercase()
        .replace('-', " ")
        .replace('0', "o");
    let (status, again) = served.ask(&typed, blinded.message()).await;
    assert_eq!(status, 200);
    assert_eq!(again["blind_signature"], first["blind_signature"]);
    assert_eq!(again["issuance"]["index"], first["issuance"]["index"]);
    assert_eq!(again["roll"], first["roll"]);
    place.check_answer(0, "d", &blinded, &again);

    let other = place.blinded(0, 2);
    assert_eq!(
        code(&served.ask(&codes["d"], other.message()).await),
        (409, "other-message")
    );
    // Somebody else may use the same device's message only for herself: it is her own issuance.
    assert_eq!(served.ask(&codes["e"], other.message()).await.0, 200);
    assert_eq!(place.issued(0).len(), 2);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_at_once_get_one_credential() {
    let place = Place::new(&VOTERS, 1).await;
    let codes = place.codes(0);
    let served = Arc::new(Served::start(&place, 0, Options::default()).await);
    let messages = [place.blinded(0, 1), place.blinded(0, 2)];
    let asks = (0..1000).map(|i| {
        let (served, code) = (Arc::clone(&served), codes["f"].clone());
        let message = messages[i % 2].message().to_vec();
        tokio::spawn(async move { served.ask(&code, &message).await })
    });
    let answers: Vec<_> = join_all(asks)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let issued = place.issued(0);
    assert_eq!(issued.len(), 1);
    let winner = usize::from(issued[0].blinded_digest != messages[0].digest());
    for (i, answer) in answers.iter().enumerate() {
        if i % 2 == winner {
            assert_eq!(answer.0, 200);
            assert_eq!(
                answer.1["blind_signature"],
                answers[winner].1["blind_signature"]
            );
        } else {
            assert_eq!(code(answer), (409, "other-message"));
            assert!(answer.1.get("blind_signature").is_none());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_signature_leaves_before_its_entry_is_final() {
    let place = Place::new(&VOTERS, 1).await;
    let codes = place.codes(0);
    let options = Options {
        gated: true,
        limits: RegistrarLimits {
            final_timeout: std::time::Duration::from_millis(300),
            ..RegistrarLimits::default()
        },
        ..Options::default()
    };
    let served = Served::start(&place, 0, options).await;
    let blinded = place.blinded(0, 1);
    // The store takes nothing: there is no answer but "unknown", for as long as that lasts.
    for _ in 0..2 {
        let answer = served.ask(&codes["d"], blinded.message()).await;
        assert_eq!(code(&answer), (503, "busy"));
        assert!(answer.1.get("blind_signature").is_none());
        assert!(
            answer.1["error"]["message"]
                .as_str()
                .unwrap()
                .contains("unknown")
        );
    }
    assert_eq!(place.issued(0).len(), 0);
    served.gate.add_permits(1000);
    let answer = loop {
        match served.ask(&codes["d"], blinded.message()).await {
            (200, answer) => break answer,
            busy => assert_eq!(code(&busy), (503, "busy")),
        }
    };
    place.check_answer(0, "d", &blinded, &answer);
    assert_eq!(place.issued(0).len(), 1);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_log_database_or_an_old_roll_database_issues_nothing_twice() {
    let place = Place::new(&VOTERS, 1).await;
    let codes = place.codes(0);
    // A copy from before any issuance: what a restored backup is.
    let backup = place.folder.path().join("backup.sqlite");
    std::fs::copy(place.files(0).database, &backup).unwrap();
    let served = Served::start(&place, 0, Options::default()).await;
    let blinded = place.blinded(0, 1);
    let (_, first) = served.ask(&codes["d"], blinded.message()).await;
    served.stop().await;
    // All databases are gone; what is published is left.
    for j in 0..u32::from(crate::common::SHARDS) {
        for suffix in ["", "-wal", "-shm"] {
            let mut path = place.log_db(0, j).into_os_string();
            path.push(suffix);
            let _ = std::fs::remove_file(path);
        }
    }
    let options = Options {
        database: Some(backup),
        ..Options::default()
    };
    let served = Served::start(&place, 0, options).await;
    let other = place.blinded(0, 2);
    assert_eq!(
        code(&served.ask(&codes["d"], other.message()).await),
        (409, "other-message")
    );
    let (status, again) = served.ask(&codes["d"], blinded.message()).await;
    assert_eq!(status, 200);
    assert_eq!(again["blind_signature"], first["blind_signature"]);
    assert_eq!(again["issuance"]["index"], first["issuance"]["index"]);
    assert_eq!(place.issued(0).len(), 1);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_has_read_the_log_knows_who_was_issued_a_credential() {
    let place = Place::new(&VOTERS, 1).await;
    let codes = place.codes(0);
    let served = Served::start(&place, 0, Options::default()).await;
    let blinded = place.blinded(0, 1);
    let mut first = Vec::new();
    for voter in ["d", "e"] {
        first.push(served.ask(&codes[voter], blinded.message()).await.1);
    }
    let public = place.folder.path().join("public");
    let files = ledger::DirectoryReader::new(&public, &place.election.id());
    let warm: Vec<ShardWarm> = (0..crate::common::SHARDS)
        .map(|_| ShardWarm::default())
        .collect();
    let mut known = 0;
    for (shard, warm) in (0..).zip(&warm) {
        let log = LogId::Issuance {
            registrar: 0,
            shard,
        };
        let schedule = served.schedule.borrow().clone();
        let follow = warm.follow(&place.election, log, &schedule, &files).await;
        known += follow.unwrap();
        let other = warm
            .follow(&place.election, LogId::Heads, &schedule, &files)
            .await;
        assert!(other.is_err());
    }
    // Each shard's genesis, and the two.
    assert!(known >= u64::from(crate::common::SHARDS) + 2, "{known}");
    served.stop().await;
    let options = Options {
        warm,
        ..Options::default()
    };
    let served = Served::start(&place, 0, options).await;
    let other = place.blinded(0, 2);
    for (voter, first) in ["d", "e"].iter().zip(first) {
        assert_eq!(
            code(&served.ask(&codes[*voter], other.message()).await),
            (409, "other-message")
        );
        let (status, again) = served.ask(&codes[*voter], blinded.message()).await;
        assert_eq!(
            (status, &again["issuance"]["index"]),
            (200, &first["issuance"]["index"])
        );
    }
    assert_eq!(served.ask(&codes["f"], other.message()).await.0, 200);
    assert_eq!(place.issued(0).len(), 3);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_period_holds_for_new_voters_and_the_log_ends_with_a_last_count() {
    let place = Place::new(&VOTERS, 1).await;
    let codes = place.codes(0);
    let options = Options {
        now: REGISTRATION - 1,
        ..Options::default()
    };
    let served = Served::start(&place, 0, options).await;
    let messages: Vec<_> = (0..3).map(|device| place.blinded(0, device)).collect();
    let early = served.ask(&codes["d"], messages[0].message()).await;
    assert_eq!(code(&early), (403, "not-open"));
    served.clock.set(REGISTRATION);
    let (status, first) = served.ask(&codes["d"], messages[0].message()).await;
    assert_eq!(status, 200);

    // One refusal of each kind that has no voter, and of each that has.
    assert_eq!(
        code(&served.ask(&nobodys_code(), messages[1].message()).await),
        (401, "unknown-code")
    );
    assert_eq!(
        code(&served.ask("no code", messages[1].message()).await),
        (401, "unknown-code")
    );
    assert_eq!(
        code(&served.ask(&codes["d"], messages[1].message()).await),
        (409, "other-message")
    );
    assert_eq!(code(&served.post("{}").await), (400, "malformed"));

    served.clock.set(CLOSING);
    let late = served.ask(&codes["e"], messages[2].message()).await;
    assert_eq!(code(&late), (403, "closed"));
    crate::common::time_for_haste().await;
    assert!(
        !served.registrar.is_closed(),
        "there may be an extension that no head has shown yet"
    );
    // Without heads it ends after a quarter of the grace: before the cells.
    served.clock.set(CLOSING + GRACE / 4);
    served.registrar.closed().await.unwrap();

    // The same answer, after the log has closed, and after a restart too.
    for restart in [false, true] {
        let restarted;
        let served = if restart {
            let options = Options {
                now: CLOSING + GRACE,
                ..Options::default()
            };
            restarted = Served::start(&place, 0, options).await;
            &restarted
        } else {
            &served
        };
        let (status, again) = served.ask(&codes["d"], messages[0].message()).await;
        assert_eq!(status, 200);
        assert_eq!(again["blind_signature"], first["blind_signature"]);
        place.check_answer(0, "d", &messages[0], &again);
        assert_eq!(
            code(&served.ask(&codes["e"], messages[2].message()).await),
            (403, "closed")
        );
    }

    let mut sum = [0; 4];
    for shard in 0..u32::from(crate::common::SHARDS) {
        let entries = place.audit(0, shard);
        let [.., Entry::Count(count), Entry::Close(close)] = entries.as_slice() else {
            panic!("a count, then the close: {entries:?}");
        };
        assert_eq!(count.issued, close.count);
        assert_eq!(close.time, (CLOSING + GRACE / 4).next_multiple_of(1000));
        for (sum, number) in sum.iter_mut().zip(count.refused.to_array()) {
            *sum += number;
        }
    }
    let expected = Refused {
        unknown_code: 2,
        other_message: 1,
        outside_period: 2,
        malformed: 1,
    };
    assert_eq!(sum, expected.to_array());
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_published_in_between_and_go_on_after_a_restart() {
    let place = Place::new(&VOTERS, 1).await;
    let options = || Options {
        limits: RegistrarLimits {
            count_interval: std::time::Duration::from_millis(20),
            ..RegistrarLimits::default()
        },
        ..Options::default()
    };
    let refused = |place: &Place| {
        let counts = place
            .audit(0, 0)
            .into_iter()
            .filter_map(|entry| match entry {
                Entry::Count(count) => Some(count.refused.unknown_code),
                _ => None,
            });
        counts.collect::<Vec<_>>()
    };
    let served = Served::start(&place, 0, options()).await;
    let message = place.blinded(0, 1);
    served.ask(&nobodys_code(), message.message()).await;
    crate::common::until(|| refused(&place).last() == Some(&1)).await;
    served.stop().await;
    let served = Served::start(&place, 0, options()).await;
    served.ask(&nobodys_code(), message.message()).await;
    crate::common::until(|| refused(&place).last() == Some(&2)).await;
    served.stop().await;
}
