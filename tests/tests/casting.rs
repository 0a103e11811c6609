//! One vote each, over HTTP against a running election: the same ballot again is one vote, another is refused with the first one's proof,
//! and only those who may vote now can.

use std::sync::Arc;

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use protocol::ballot::ballot_message;
use protocol::entry::{Entry, Vote};
use protocol::ids::LogId;
use protocol::manifest::Election;
use sha2::{Digest as _, Sha512};
use tests::demo::Demo;
use tests::device::{Device, Site, code};
use tests::published::{Published, codes};
use tests::{arg, folder, run};

const REGISTRARS: u16 = 2;

/// A second valid signature over the same ballot: RFC 8032 with another nonce, as devices make it that sign at random.
fn signed_again(vote: &Vote, seed: &[u8; 32], election: &Election) -> Vote {
    let hash: [u8; 64] = Sha512::digest(seed).into();
    let mut low = [0; 32];
    low.copy_from_slice(&hash[..32]);
    let a = Scalar::from_bytes_mod_order(clamp_integer(low));
    let nonce = Scalar::from_bytes_mod_order(rand::random());
    let r = EdwardsPoint::mul_base(&nonce).compress().to_bytes();
    let challenge: [u8; 64] = Sha512::new()
        .chain_update(r)
        .chain_update(vote.credential)
        .chain_update(ballot_message(&election.id(), &vote.ballot.encode()))
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

/// All votes under this credential, in all cells: where, and what.
fn in_ledger(published: &Published, credential: &[u8; 32]) -> Vec<(u32, u64, Vote)> {
    let mut found = Vec::new();
    for cell in 0..published.election.cells() {
        let entries = published.batches(LogId::Cell(cell)).concat();
        for (index, entry) in (0u64..).zip(entries) {
            if let Entry::Vote(vote) = entry
                && vote.credential == *credential
            {
                found.push((cell, index, vote));
            }
        }
    }
    found
}

/// Many copies of these votes at once; what each is answered.
async fn at_once(
    site: &Site,
    votes: &[Vote],
    copies: usize,
) -> Vec<(usize, (u16, serde_json::Value))> {
    let site = Arc::new(site.clone());
    let mut tasks = tokio::task::JoinSet::new();
    for copy in 0..copies {
        let (site, which) = (Arc::clone(&site), copy % votes.len());
        let vote = votes[which].clone();
        tasks.spawn(async move { (which, site.cast(&vote).await) });
    }
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_vote_each_while_open_and_after_closing() {
    let folder = folder();
    let demo = Demo::new(&folder.path().join("election"), 40, 2, REGISTRARS);
    let up = demo.stay_up();
    let published = Published::of(&demo.data);
    let election = &published.election;
    let site = Site::new(&up.url, election);
    let own_codes = |guest: u32| codes(&demo.data, REGISTRARS, &format!("~guest {guest}"));

    // Signing in again changes nothing; for another credential it is refused.
    let mut first = Device::new(election);
    first.sign_in(&site, &own_codes(0)).await;
    let once = first.signatures.clone();
    first.signatures.clear();
    first.sign_in(&site, &own_codes(0)).await;
    assert_eq!(first.signatures, once);
    let greedy = Device::new(election).blinded(election, 0);
    let answer = site.issue(0, &own_codes(0)[0], &greedy).await;
    assert_eq!(code(&answer), (409, "other-message"));
    // Blinded for this registrar: what is blinded under another's key may be too large for this one's, and malformed.
    let greedy = Device::new(election).blinded(election, 1);
    let answer = site.issue(1, &own_codes(0)[0], &greedy).await;
    assert_eq!(
        code(&answer),
        (401, "unknown-code"),
        "codes are for one registrar"
    );

    // The same again, and again with another signature: one vote, one index, and the entry that was stored first.
    let vote = first.vote(election, &[vec![0, 2], vec![1], vec![0]]);
    let cell = election.cell_of(&vote.credential);
    let (status, answer) = site.cast(&vote).await;
    assert_eq!(status, 200, "{answer}");
    let (index, stored) = site.proven(cell, &answer);
    assert_eq!(stored, vote);
    let again = signed_again(&vote, &first.seed, election);
    for repeat in [&vote, &again, &vote] {
        let (status, answer) = site.cast(repeat).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(site.proven(cell, &answer), (index, vote.clone()));
    }
    // Another ballot, among a thousand copies at once: refused with the proof of the first.
    let other = first.vote(election, &[vec![1], vec![1], vec![0]]);
    let sent = [vote.clone(), again.clone(), other.clone()];
    for (which, (status, answer)) in at_once(&site, &sent, 1_000).await {
        assert_eq!(status, if which == 2 { 409 } else { 200 }, "{answer}");
        assert_eq!(site.proven(cell, &answer), (index, vote.clone()));
    }
    let answer = site.cast(&other).await;
    assert_eq!(code(&answer), (409, "other-ballot"));

    let wrong = site.cast_in(1 - cell, &vote).await;
    assert_eq!(code(&wrong), (421, "wrong-cell"));
    assert_eq!(wrong.1["cell"], cell);

    // A thousand race to be the first: one of them is, whichever.
    let mut second = Device::new(election);
    second.sign_in(&site, &own_codes(1)).await;
    let mut racing = vec![second.vote(election, &[vec![2], vec![0], vec![]])];
    racing.push(signed_again(&racing[0], &second.seed, election));
    racing.push(second.vote(election, &[vec![3], vec![0], vec![]]));
    let second_cell = election.cell_of(&racing[0].credential);
    let answers = at_once(&site, &racing, 1_000).await;
    let (second_index, winner) = site.proven(second_cell, &answers[0].1.1);
    for (which, (status, answer)) in &answers {
        let same = racing[*which].ballot == winner.ballot;
        assert_eq!(*status, if same { 200 } else { 409 }, "{answer}");
        assert_eq!(
            site.proven(second_cell, answer),
            (second_index, winner.clone())
        );
    }
    for (vote, cell, index) in [(&vote, cell, index), (&winner, second_cell, second_index)] {
        assert_eq!(
            in_ledger(&published, &vote.credential),
            [(cell, index, vote.clone())]
        );
    }

    // The third has her credential when the election closes, and has not voted.
    let mut third = Device::new(election);
    third.sign_in(&site, &own_codes(2)).await;
    let late = third.vote(election, &[vec![1], vec![1], vec![1]]);
    up.kill();
    let said = demo.run_to_the_end();
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(said.json()["votes"], 42);
    assert_eq!(said.json()["issued"], 43);

    let up = demo.stay_up();
    let site = Site::new(&up.url, election);
    for repeat in [&vote, &again] {
        let (status, answer) = site.cast(repeat).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(site.proven(cell, &answer), (index, vote.clone()));
    }
    let answer = site.cast(&other).await;
    assert_eq!(code(&answer), (409, "other-ballot"));
    assert_eq!(site.proven(cell, &answer.1), (index, vote.clone()));
    let answer = site.cast(&late).await;
    assert_eq!(code(&answer), (403, "closed"));
    assert!(answer.1.get("proof").is_none());
    assert!(in_ledger(&published, &late.credential).is_empty());
    // What was issued is answered still.
    let mut third_again = Device::new(election);
    std::mem::swap(&mut third_again, &mut third);
    let before = std::mem::take(&mut third_again.signatures);
    third_again.sign_in(&site, &own_codes(2)).await;
    assert_eq!(third_again.signatures, before);
    up.kill();

    let audit = run(
        "tallyroot-verify",
        &[
            "audit",
            arg(&demo.data.join("public")),
            "--election",
            &published.id(),
        ],
    );
    assert_eq!(audit.code, 0, "{}", audit.stdout);
}

/// An election made by hand, with these times in seconds from now.
fn made_by_hand(
    folder: &std::path::Path,
    registration_s: i64,
    opening_s: i64,
) -> std::path::PathBuf {
    let roll = folder.join("roll.csv");
    std::fs::write(&roll, "identity\nada\ngrace\n").unwrap();
    let description = folder.join("election.toml");
    std::fs::write(
        &description,
        format!(
            "title = \"Board\"\nbase = \"vote.example.org\"\nroll = \"roll.csv\"\ndemo = true\nhead_interval_ms = 500\n\
             registration = {}\nopening = {}\nclosing = {}\nregistrars = [\"One\", \"Two\"]\n\
             [[contests]]\nname = \"Chair\"\nmethod = \"plurality\"\noptions = [\"Ada\", \"Grace\"]\n",
            tests::moment(registration_s),
            tests::moment(opening_s),
            tests::moment(opening_s + 86_400),
        ),
    )
    .unwrap();
    let data = folder.join("election");
    let said = run(
        "tallyroot",
        &["election", "new", arg(&description), "--out", arg(&data)],
    );
    assert_eq!(said.code, 0, "{}", said.stderr);
    data
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_votes_before_opening_nor_signs_in_before_registration() {
    let folder = folder();
    let data = made_by_hand(folder.path(), -3_600, 86_400);
    let up = Demo::of_folder(&data).stay_up();
    let published = Published::of(&data);
    let site = Site::new(&up.url, &published.election);
    let mut device = Device::new(&published.election);
    device
        .sign_in(&site, &codes(&data, REGISTRARS, "ada"))
        .await;
    let vote = device.vote(&published.election, &[vec![0]]);
    let answer = site.cast(&vote).await;
    assert_eq!(code(&answer), (403, "not-open"));
    assert!(in_ledger(&published, &vote.credential).is_empty());
    up.kill();

    let folder = tests::folder();
    let data = made_by_hand(folder.path(), 3_600, 86_400);
    let up = Demo::of_folder(&data).stay_up();
    let published = Published::of(&data);
    let site = Site::new(&up.url, &published.election);
    let blinded = Device::new(&published.election).blinded(&published.election, 0);
    let own = &codes(&data, REGISTRARS, "ada")[0];
    let answer = site.issue(0, own, &blinded).await;
    assert_eq!(code(&answer), (403, "not-open"));
}
