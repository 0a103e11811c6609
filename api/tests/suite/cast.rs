//! What voters do: cast, cast again, cast something else, come early or late.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{CLOSING, GRACE, OPENING, Options, Served, code, election, until};
use futures::future::join_all;
use ledger::schedule::Schedule;
use protocol::ballot::ballot_message;
use protocol::entry::{Entry, Vote};
use sha2::{Digest as _, Sha512};

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_gets_a_receipt_and_a_repeat_the_same() {
    let served = Served::start(election(|_| ()), Options::default()).await;
    let voters = served.keys.voters_of(0, 2);
    let vote = served.keys.vote(&voters[0], &[&[1], &[0, 1]]);
    let (status, first) = served.cast(&vote).await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(served.keys.check_receipt(0, &first), vote);

    let (status, again) = served.cast(&vote).await;
    assert_eq!(status, 200);
    assert_eq!(again["index"], first["index"]);
    assert_eq!(served.keys.check_receipt(0, &again), vote);

    // Another ballot under the same credential: refused, with the proof of the first.
    let other = served.keys.vote(&voters[0], &[&[2], &[]]);
    let conflict = served.cast(&other).await;
    assert_eq!(code(&conflict), (409, "other-ballot"));
    assert_eq!(conflict.1["index"], first["index"]);
    assert_eq!(served.keys.check_receipt(0, &conflict.1), vote);

    // A blank in every contest is a vote.
    let abstention = served.keys.vote(&voters[1], &[&[], &[]]);
    let (status, answer) = served.cast(&abstention).await;
    assert_eq!(status, 200);
    assert_eq!(served.keys.check_receipt(0, &answer), abstention);

    let entries = served.audit();
    let votes = entries
        .iter()
        .filter(|e| matches!(e, Entry::Vote(_)))
        .count();
    assert_eq!(votes, 2);
    let Some(Entry::Tally(tally)) = entries.last() else {
        panic!("a batch of votes ends in a tally");
    };
    assert_eq!((tally.totals.votes, tally.totals.abstentions), (2, 1));
    assert_eq!(tally.totals.contests[0].counts, [0, 1, 0]);
    assert_eq!(tally.totals.contests[1].counts, [1, 1]);
    served.stop().await;
}

/// A second valid signature over the same ballot: RFC 8032 with another nonce, which only the key's holder can make.
fn signed_again(vote: &Vote, seed: &[u8; 32], election: &protocol::manifest::Election) -> Vote {
    use curve25519_dalek::edwards::EdwardsPoint;
    use curve25519_dalek::scalar::{Scalar, clamp_integer};
    let hash: [u8; 64] = Sha512::digest(seed).into();
    let mut low = [0; 32];
    low.copy_from_slice(&hash[..32]);
    let a = Scalar::from_bytes_mod_order(clamp_integer(low));
    assert_eq!(
        EdwardsPoint::mul_base(&a).compress().to_bytes(),
        vote.credential
    );
    let message = ballot_message(&election.id(), &vote.ballot.encode());
    let nonce = Scalar::from(0x0123_4567_89ab_cdef_u64);
    let r = EdwardsPoint::mul_base(&nonce).compress().to_bytes();
    let challenge: [u8; 64] = Sha512::new()
        .chain_update(r)
        .chain_update(vote.credential)
        .chain_update(&message)
        .finalize()
        .into();
    let s = nonce + Scalar::from_bytes_mod_order_wide(&challenge) * a;
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(s.as_bytes());
    let again = Vote {
        signature,
        ..vote.clone()
    };
    again.verify(election).unwrap();
    assert_ne!(again.signature, vote.signature);
    again
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signature_of_the_same_ballot_is_the_same_vote() {
    let served = Served::start(election(|_| ()), Options::default()).await;
    // A credential whose seed the test knows.
    let (seed, key) = (0u8..)
        .map(|i| {
            let seed = [i; 32];
            (seed, protocol::ed25519::SigningKey::from_seed(&seed))
        })
        .find(|(_, key)| served.keys.election.cell_of(&key.public()) == 0)
        .unwrap();
    let ballot =
        protocol::ballot::Ballot::new(&[vec![0u16], vec![1]], served.keys.election.contests())
            .unwrap();
    let vote = Vote {
        credential: key.public(),
        signatures: served.keys.sign_credential(&key.public()),
        signature: key.sign(&ballot_message(
            &served.keys.election.id(),
            &ballot.encode(),
        )),
        ballot,
    };
    let again = signed_again(&vote, &seed, &served.keys.election);
    // A registrar's second signature under another salt changes nothing either.
    let resigned = Vote {
        signatures: served.keys.sign_credential(&key.public()),
        ..again.clone()
    };
    assert_ne!(resigned.signatures, vote.signatures);

    let (status, first) = served.cast(&vote).await;
    assert_eq!(status, 200, "{first}");
    for repeat in [&again, &resigned] {
        let (status, answer) = served.cast(repeat).await;
        assert_eq!(status, 200);
        assert_eq!(answer["index"], first["index"]);
        // What was stored first.
        assert_eq!(served.keys.check_receipt(0, &answer), vote);
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_copies_at_once_are_one_vote() {
    let served = Arc::new(Served::start(election(|_| ()), Options::default()).await);
    let voter = &served.keys.voters_of(0, 1)[0];
    let vote = Arc::new(served.keys.vote(voter, &[&[1], &[]]));
    let other = Arc::new(served.keys.vote(voter, &[&[2], &[]]));
    // One first, so that it is known which of the two ballots wins.
    let (_, first) = served.cast(&vote).await;
    let copies = (0..1000).map(|i| {
        let (served, vote) = (
            Arc::clone(&served),
            Arc::clone(if i % 10 == 0 { &other } else { &vote }),
        );
        tokio::spawn(async move { served.cast(&vote).await })
    });
    for (i, answer) in join_all(copies).await.into_iter().enumerate() {
        let (status, answer) = answer.unwrap();
        assert_eq!(status, if i % 10 == 0 { 409 } else { 200 });
        assert_eq!(answer["index"], first["index"]);
    }
    assert_eq!(served.audit().len(), 3, "genesis, one vote, one tally");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_race_to_be_first_are_one_vote_with_one_index() {
    let served = Arc::new(
        Served::start(
            election(|_| ()),
            Options {
                gated: true,
                ..Options::default()
            },
        )
        .await,
    );
    let voter = &served.keys.voters_of(0, 1)[0];
    let ballots = [
        Arc::new(served.keys.vote(voter, &[&[1], &[]])),
        Arc::new(served.keys.vote(voter, &[&[2], &[]])),
    ];
    let copies: Vec<_> = (0..1000)
        .map(|i| {
            let (served, vote) = (Arc::clone(&served), Arc::clone(&ballots[i % 2]));
            tokio::spawn(async move { served.cast(&vote).await })
        })
        .collect();
    // The first batch is on its way while the others arrive.
    served.arrived.acquire().await.unwrap().forget();
    served.gate.add_permits(1000);
    let answers: Vec<_> = join_all(copies)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let votes: Vec<_> = served
        .audit()
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::Vote(vote) => Some(vote),
            _ => None,
        })
        .collect();
    assert_eq!(votes.len(), 1);
    let winner = usize::from(votes[0] != *ballots[0]);
    for (i, answer) in answers.iter().enumerate() {
        assert_eq!(answer.0, if i % 2 == winner { 200 } else { 409 });
        assert_eq!(answer.1["index"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_period_holds_for_new_credentials_and_not_for_repeats() {
    let served = Served::start(
        election(|_| ()),
        Options {
            now: OPENING - 1,
            ..Options::default()
        },
    )
    .await;
    let voters = served.keys.voters_of(0, 2);
    let vote = served.keys.vote(&voters[0], &[&[1], &[]]);
    let late = served.keys.vote(&voters[1], &[&[1], &[]]);
    assert_eq!(code(&served.cast(&vote).await), (403, "not-open"));
    served.clock.set(OPENING);
    let (status, first) = served.cast(&vote).await;
    assert_eq!(status, 200);

    // Closing itself is too late.
    served.clock.set(CLOSING);
    assert_eq!(code(&served.cast(&late).await), (403, "closed"));
    assert_eq!(served.cast(&vote).await.0, 200);
    let other = served.keys.vote(&voters[0], &[&[2], &[]]);
    assert_eq!(code(&served.cast(&other).await), (409, "other-ballot"));
    // No head shows the issuance logs closed, so the log stays open until half of the grace is over.
    crate::common::time_for_haste().await;
    assert!(!served.cell.is_closed());
    served.clock.set(CLOSING + GRACE / 2);
    served.cell.closed().await.unwrap();
    let entries = served.audit();
    let Some(Entry::Close(close)) = entries.last() else {
        panic!("the log ends in a close");
    };
    assert_eq!((close.count, close.time), (1, CLOSING + GRACE / 2));

    // Closed, restarted, and still: a repeat gets its receipt, another ballot 409, a new credential 403.
    let (keys, folder) = served.stop().await;
    let served = Served::start(
        keys,
        Options {
            folder: Some(folder),
            now: CLOSING + GRACE,
            ..Options::default()
        },
    )
    .await;
    let (status, again) = served.cast(&vote).await;
    assert_eq!((status, &again["index"]), (200, &first["index"]));
    assert_eq!(served.keys.check_receipt(0, &again), vote);
    assert_eq!(code(&served.cast(&other).await), (409, "other-ballot"));
    assert_eq!(code(&served.cast(&late).await), (403, "closed"));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ballot_that_is_on_its_way_at_closing_counts_and_its_repeats_wait_for_it() {
    let served = Arc::new(
        Served::start(
            election(|_| ()),
            Options {
                gated: true,
                ..Options::default()
            },
        )
        .await,
    );
    let voter = &served.keys.voters_of(0, 1)[0];
    let vote = Arc::new(served.keys.vote(voter, &[&[1], &[]]));
    let cast = || {
        let (served, vote) = (Arc::clone(&served), Arc::clone(&vote));
        tokio::spawn(async move { served.cast(&vote).await })
    };
    let in_time = cast();
    served.arrived.acquire().await.unwrap().forget();
    served.clock.set(CLOSING + GRACE / 2);
    let repeat = cast();
    // The repeat is not told "closed": it waits with the first.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!repeat.is_finished());
    served.gate.add_permits(1000);
    let (status, first) = in_time.await.unwrap();
    assert_eq!(status, 200);
    let (status, again) = repeat.await.unwrap();
    assert_eq!((status, &again["index"]), (200, &first["index"]));
    served.cell.closed().await.unwrap();
    assert!(matches!(served.audit().last(), Some(Entry::Close(close)) if close.count == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_wait_for_their_minimum_or_their_time_and_are_sorted() {
    let served = Arc::new(
        Served::start(
            election(|manifest| {
                manifest.batch_min = 5;
                manifest.batch_wait_ms = 30_000;
            }),
            Options {
                now: OPENING + 1,
                ..Options::default()
            },
        )
        .await,
    );
    let casts: Vec<_> = served
        .keys
        .voters_of(0, 5)
        .iter()
        .map(|voter| served.keys.vote(voter, &[&[1], &[]]))
        .map(|vote| {
            let served = Arc::clone(&served);
            tokio::spawn(async move { served.cast(&vote).await })
        })
        .collect();
    let mut indices: Vec<_> = join_all(casts)
        .await
        .into_iter()
        .map(|answer| {
            let (status, answer) = answer.unwrap();
            assert_eq!(status, 200);
            answer["index"].as_u64().unwrap()
        })
        .collect();
    indices.sort_unstable();
    assert_eq!(indices, [1, 2, 3, 4, 5]);
    // One batch, checked for its order by the grammar; its time is rounded up to the grain.
    let entries = served.audit();
    let Some(Entry::Tally(tally)) = entries.last() else {
        panic!("no tally");
    };
    assert_eq!(
        (tally.batch, tally.time),
        (1, (OPENING + 1).next_multiple_of(30_000))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unhealthy_or_lost_schedule_changes_nothing_and_a_closed_channel_still_closes_the_log() {
    let served = Served::start(election(|_| ()), Options::default()).await;
    let voters = served.keys.voters_of(0, 1);
    let Served { schedule, .. } = &served;
    assert!(Schedule::of_manifest(&served.keys.election).is_healthy());
    schedule.send_modify(|_| ());
    let vote = served.keys.vote(&voters[0], &[&[1], &[]]);
    assert_eq!(served.cast(&vote).await.0, 200);
    served.clock.set(CLOSING + GRACE / 2);
    until(|| served.cell.is_closed()).await;
    served.stop().await;
}
