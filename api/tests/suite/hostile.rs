//! What strangers send: every malformed, forged, misdirected or oversized ballot gets its own answer, and none gets into the log.

use std::time::Duration;

use crate::common::{Options, Served, Voter, code, election};
use api::CellLimits;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use listener::Limits;
use protocol::entry::Vote;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn wrap(bytes: &[u8]) -> String {
    json!({"vote": STANDARD.encode(bytes)}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_votes() {
    let served = Served::start(election(|_| ()), Options::default()).await;
    let voter = &served.keys.voters_of(0, 1)[0];
    let good = served.keys.vote(voter, &[&[1], &[0, 1]]).encode();
    let encoded = STANDARD.encode(&good);
    let mut bodies = vec![
        ("empty", String::new()),
        ("not JSON", "hello".into()),
        ("truncated", wrap(&good)[..500].to_owned()),
        ("trailing", format!("{} x", wrap(&good))),
        ("two objects", format!("{}{{}}", wrap(&good))),
        ("array", json!([encoded]).to_string()),
        (
            "duplicate, good last",
            format!(r#"{{"vote":"","vote":"{encoded}"}}"#),
        ),
        (
            "duplicate, good first",
            format!(r#"{{"vote":"{encoded}","vote":""}}"#),
        ),
        ("unknown member", format!(r#"{{"vote":"{encoded}","x":1}}"#)),
        ("missing member", "{}".into()),
        ("number", r#"{"vote":1}"#.into()),
        (
            "base64url",
            json!({"vote": encoded.replace('+', "-").replace('/', "_") + "-"}).to_string(),
        ),
        (
            "base64 without padding",
            json!({"vote": format!("{encoded}A")}).to_string(),
        ),
        (
            "base64 with spaces",
            json!({"vote": format!(" {encoded}")}).to_string(),
        ),
        ("no vote", wrap(b"")),
        ("genesis", wrap(&[1; 42])),
        ("trailing byte", wrap(&[&good[..], &[0]].concat())),
        ("missing byte", wrap(&good[..good.len() - 1])),
    ];
    // The ballot lies between the registrars' signatures and the last 64 bytes: contest 0 (1 option), contest 1 (2 options).
    let at = good.len() - 64 - 10;
    assert_eq!(good[at..at + 10], [0, 1, 0, 1, 0, 2, 0, 0, 0, 1]);
    let with_ballot =
        |ballot: &[u8]| wrap(&[&good[..at], ballot, &good[good.len() - 64..]].concat());
    bodies.extend([
        ("over-vote", with_ballot(&[0, 2, 0, 0, 0, 1, 0, 0])),
        ("no such option", with_ballot(&[0, 1, 0, 3, 0, 0])),
        (
            "descending approvals",
            with_ballot(&[0, 0, 0, 2, 0, 1, 0, 0]),
        ),
        ("repeated approval", with_ballot(&[0, 0, 0, 2, 0, 0, 0, 0])),
        ("huge count", with_ballot(&[0xff, 0xff, 0, 0])),
        ("a contest missing", with_ballot(&[0, 0])),
        ("a contest too many", with_ballot(&[0, 0, 0, 0, 0, 0])),
        ("no ballot", with_ballot(&[])),
    ]);
    for (what, body) in bodies {
        assert_eq!(code(&served.post(body).await), (400, "malformed"), "{what}");
    }

    let longest = served.keys.election.max_vote_len();
    let too_large = served.post(wrap(&vec![2; longest + 400])).await;
    assert_eq!(code(&too_large), (413, "too-large"));
    // The longest vote of the election fits (and is none, being all 2s).
    assert_eq!(
        code(&served.post(wrap(&vec![2; longest])).await),
        (400, "malformed")
    );
    assert_eq!(served.audit().len(), 1, "nothing but the genesis");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_votes() {
    let served = Served::start(election(|_| ()), Options::default()).await;
    let keys = &served.keys;
    let voters = keys.voters_of(0, 2);
    let good = keys.vote(&voters[0], &[&[1], &[]]);

    let mut bad = good.clone();
    bad.signature[5] ^= 1;
    assert_eq!(
        code(&served.cast(&bad).await),
        (400, "bad-signature"),
        "ballot signature"
    );
    // S + L is the same number: malleable in careless libraries.
    let mut malleable = good.clone();
    let l: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, add) in malleable.signature[32..].iter_mut().zip(l) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = carry.to_le_bytes()[0];
        carry >>= 8;
    }
    assert_eq!(
        code(&served.cast(&malleable).await),
        (400, "bad-signature"),
        "S not below L"
    );

    for registrar in 0..2 {
        let mut bad = good.clone();
        bad.signatures[registrar][100] ^= 1;
        let answer = served.cast(&bad).await;
        assert_eq!(code(&answer), (400, "bad-signature"));
        assert!(
            answer.1["error"]["message"]
                .as_str()
                .unwrap()
                .contains(&format!("registrar {registrar}"))
        );
    }
    let mut swapped = good.clone();
    swapped.signatures.swap(0, 1);
    assert_eq!(
        code(&served.cast(&swapped).await),
        (400, "bad-signature"),
        "registrars swapped"
    );
    let stolen = Vote {
        signatures: voters[1].signatures.clone(),
        ..good.clone()
    };
    assert_eq!(
        code(&served.cast(&stolen).await),
        (400, "bad-signature"),
        "another credential's signatures"
    );

    // Keys under which one signature fits many messages, or that can be written twice, though every registrar signed them.
    let identity = {
        let mut y = [0; 32];
        y[0] = 1;
        y
    };
    let bad_keys = [
        identity,
        [0; 32],
        {
            let mut y = [0xff; 32];
            y[0] = 0xec;
            y[31] = 0x7f;
            y
        },
        {
            let mut y = [0xff; 32];
            y[0] = 0xee;
            y[31] = 0x7f;
            y
        }, // p + 1
        {
            let mut y = identity;
            y[31] = 0x80;
            y
        }, // negative zero
        [0xff; 32],
        {
            let mut y = [0; 32];
            y[0] = 2;
            y
        }, // not on the curve
    ];
    let mut refused = 0;
    for credential in bad_keys {
        if keys.election.cell_of(&credential) != 0 {
            continue;
        }
        refused += 1;
        let vote = Vote {
            credential,
            signatures: keys.sign_credential(&credential),
            // R = the identity, S = 0: valid for small-order keys in careless libraries.
            signature: {
                let mut s = [0; 64];
                s[0] = 1;
                s
            },
            ..good.clone()
        };
        assert_eq!(
            code(&served.cast(&vote).await),
            (400, "bad-key"),
            "{}",
            credential[0]
        );
    }
    assert!(refused >= 2, "some of the bad keys belong to this cell");
    assert_eq!(served.audit().len(), 1);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn votes_in_the_wrong_place() {
    let served = Served::start(election(|_| ()), Options::default()).await;
    let elsewhere = &served.keys.voters_of(1, 1)[0];
    let answer = served
        .cast(&served.keys.vote(elsewhere, &[&[1], &[]]))
        .await;
    assert_eq!(code(&answer), (421, "wrong-cell"));
    assert_eq!(answer.1["cell"], 1);

    // A vote for another election: same keys and voter, another manifest, and so another id in every signature.
    let other = crate::common::Keys {
        election: {
            let mut manifest = served.keys.election.manifest().clone();
            manifest.title = "Other".into();
            protocol::manifest::Election::new(&manifest).unwrap()
        },
        registrars: served.keys.registrars.clone(),
    };
    let voter = &other.voters_of(0, 1)[0];
    let vote = other.vote(voter, &[&[1], &[]]);
    vote.verify(&other.election).unwrap();
    assert_eq!(code(&served.cast(&vote).await), (400, "bad-signature"));

    let local: Vec<Voter> = served.keys.voters_of(0, 1);
    let body = wrap(&served.keys.vote(&local[0], &[&[1], &[]]).encode());
    let id = served.keys.election.id();
    for path in [
        format!("/elections/{}/cells/0/ballots", other.election.id()),
        format!("/elections/{id}/cells/1/ballots"),
        format!("/elections/{id}/cells/00/ballots"),
        format!("/elections/{id}/cells/0/ballots/"),
        format!(
            "/elections/{}/cells/0/ballots",
            id.to_string().to_uppercase()
        ),
        "/".to_owned(),
    ] {
        let answer = served
            .client
            .post(format!("http://{}{path}", served.address))
            .body(body.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        let answer: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(answer["error"]["code"], "not-found");
    }
    let get = served.client.get(&served.url).send().await.unwrap();
    assert_eq!(get.status(), 405);
    assert_eq!(served.audit().len(), 1);
    served.stop().await;
}

/// A stranger who knows a credential from the ledger, or guesses, learns nothing without its key.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_credentials_key_nothing_is_learnt() {
    let served = Served::start(election(|_| ()), Options::default()).await;
    let voter = &served.keys.voters_of(0, 1)[0];
    let vote = served.keys.vote(voter, &[&[1], &[]]);
    assert_eq!(served.cast(&vote).await.0, 200);
    let other = served.keys.vote(voter, &[&[2], &[]]);
    for mut forged in [vote.clone(), other] {
        forged.signature[40] ^= 1;
        let answer = served.cast(&forged).await;
        assert_eq!(code(&answer), (400, "bad-signature"));
        assert!(answer.1.get("index").is_none() && answer.1.get("proof").is_none());
    }
    // The same ballot with broken registrar signatures is the same vote: who holds the key may look.
    let mut broken = vote.clone();
    broken.signatures[0][7] ^= 1;
    let (status, answer) = served.cast(&broken).await;
    assert_eq!(status, 200);
    assert_eq!(served.keys.check_receipt(0, &answer), vote);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_and_a_slow_log_say_so_and_lose_nothing() {
    let keys = election(|_| ());
    let options = Options {
        gated: true,
        limits: CellLimits {
            queue_max: 3,
            final_timeout: Duration::from_millis(700),
            ..CellLimits::default()
        },
        ..Options::default()
    };
    let served = std::sync::Arc::new(Served::start(keys, options).await);
    let votes: Vec<Vote> = served
        .keys
        .voters_of(0, 12)
        .iter()
        .map(|voter| served.keys.vote(voter, &[&[1], &[]]))
        .collect();
    let casts: Vec<_> = votes
        .iter()
        .cloned()
        .map(|vote| {
            let served = std::sync::Arc::clone(&served);
            tokio::spawn(async move { served.cast(&vote).await })
        })
        .collect();
    let answers: Vec<_> = join_all(casts)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(answers.iter().all(|answer| code(answer) == (503, "busy")));
    let unknown = answers
        .iter()
        .filter(|answer| {
            answer.1["error"]["message"]
                .as_str()
                .unwrap()
                .contains("Outcome unknown")
        })
        .count();
    // Those in the queue (and in the batch on its way) timed out; the others were not taken.
    assert!((3..12).contains(&unknown), "{unknown}");

    // Casting the same again settles every one of them.
    served.gate.add_permits(1_000_000);
    for vote in &votes {
        // As a client does: again, for as long as the answer is "busy".
        let answer = loop {
            match served.cast(vote).await {
                (200, answer) => break answer,
                busy => assert_eq!(code(&busy), (503, "busy")),
            }
        };
        assert_eq!(served.keys.check_receipt(0, &answer), *vote);
    }
    let entries = served.audit();
    let voted = entries
        .iter()
        .filter(|e| matches!(e, protocol::entry::Entry::Vote(_)))
        .count();
    assert_eq!(voted, votes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_are_cut() {
    let options = Options {
        limits: CellLimits {
            body_timeout: Duration::from_millis(200),
            ..CellLimits::default()
        },
        listener: Limits {
            header_timeout: Duration::from_millis(200),
            ..Limits::default()
        },
        ..Options::default()
    };
    let served = Served::start(election(|_| ()), options).await;
    let path = served.url.split_once(&served.address).unwrap().1;
    let mut stream = TcpStream::connect(&served.address).await.unwrap();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{{\"vote\":\"");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer))
        .await
        .expect("the server neither answered nor closed")
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_lost_its_log_says_halted() {
    let served = Served::start(election(|_| ()), Options::default()).await;
    let voters = served.keys.voters_of(0, 2);
    let vote = served.keys.vote(&voters[0], &[&[1], &[]]);
    assert_eq!(served.cast(&vote).await.0, 200);
    // Another process takes the log over.
    let name = ledger::heads::name_of(&served.keys.election, protocol::ids::LogId::Cell(0));
    let store = ledger::Sqlite::open(&crate::common::log_db(served.folder.path(), 0), &name, true)
        .await
        .unwrap();
    ledger::Store::take_over(
        &store,
        ledger::store::Owner::random(),
        ledger::store::TakeOver::FromAnybody,
    )
    .await
    .unwrap();
    let next = served.keys.vote(&voters[1], &[&[1], &[]]);
    let first = served.cast(&next).await;
    assert_eq!(first.0, 503, "{first:?}");
    assert!(served.cell.closed().await.is_err());
    assert_eq!(code(&served.cast(&next).await), (503, "halted"));
}
