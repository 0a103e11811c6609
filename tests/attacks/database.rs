//! Whoever reaches the stored or published bytes, with or without the keys that sign them.

use protocol::ballot::{Ballot, ballot_message};
use protocol::entry::{Entry, Vote};
use protocol::ids::LogId;
use tests::forge::{Bytes, Files, History};

use crate::stage::{Stage, elsewhere, stage};

/// A batch of several votes of a cell: without one of them it is still a batch. How many there are in each, the moment of casting decides.
fn batch(history: &History, cell: u32) -> (u32, usize) {
    (cell, several(history, cell)[0])
}

fn several(history: &History, cell: u32) -> Vec<usize> {
    let mut batches = history.vote_batches(cell);
    batches.retain(|n| history.votes(cell, *n).len() > 1);
    batches
}

fn path((cell, n): (u32, usize)) -> String {
    format!("cells/{cell}/batches/{n}")
}

fn decoded(stage: &Stage, bytes: &[u8]) -> Vote {
    match Entry::decode(bytes, stage.election()) {
        Ok(Entry::Vote(vote)) => vote,
        other => panic!("{other:?}"),
    }
}

/// Changes a batch of cell 0 and signs everything anew.
fn rewritten(stage: &Stage, change: impl FnOnce(&mut Vec<Bytes>)) -> (Files, String) {
    let at = batch(&stage.history, 0);
    let forged = stage.forged(|history| history.change_votes(stage.election(), at, change));
    (forged, path(at))
}

/// Who: the database's administrator, with the operator's signing keys. Do: remove a vote, and make every sum, tile, checkpoint, head, anchor and result right again.
/// Catches: nothing in the files; every receipt, checkpoint, anchor and result that anybody kept.
#[test]
fn row_08_a_vote_that_is_gone_from_a_ledger_signed_anew() {
    let stage = stage();
    let (forged, _) = rewritten(stage, |votes| {
        votes.remove(0);
    });
    stage.only_evidence_shows(&forged);
}

/// Who: the same, without the keys. Do: change one byte of a stored vote and publish it. Catches: the root.
#[test]
fn row_08_a_changed_byte_without_keys() {
    let stage = stage();
    let at = path(batch(&stage.history, 0));
    let mut forged = stage.files.clone();
    let file = forged.get_mut(&at).unwrap();
    let last = file.len() - 1;
    file[last] ^= 1;
    stage.audit(&forged, &[]).names("batch-chain", &at);
}

/// Who: the database's administrator, with the signing keys. Do: insert a vote without a credential; the same vote again; the same credential with another signature.
/// Catches: the signatures, and that a key votes once.
#[test]
fn row_09_a_vote_that_nobody_may_cast() {
    let stage = stage();
    let key = stage.credential_in(0);
    let unsigned = stage.signed(&key, vec![vec![1; 256], vec![2; 256]]);
    let (forged, at) = rewritten(stage, |votes| votes.push(unsigned.encode()));
    assert_eq!(
        stage
            .audit(&forged, &[])
            .names("vote-registrar-signature", &at),
        1
    );

    let (forged, at) = rewritten(stage, |votes| votes.push(votes[0].clone()));
    assert_eq!(stage.audit(&forged, &[]).names("vote-duplicate", &at), 1);
}

/// Who: a voter with her own key, and the operator. Do: her vote a second time, with fresh registrars' signatures (other salts). Catches: one vote a key, whatever the signatures.
#[test]
fn row_35_a_second_signature_is_no_second_vote() {
    let stage = stage();
    let (forged, at) = rewritten(stage, |votes| {
        let mut again = decoded(stage, &votes[0]);
        again.signatures = (0..2)
            .map(|registrar| stage.registrar_signs(registrar, &again.credential))
            .collect();
        assert_ne!(again.encode(), votes[0]);
        votes.push(again.encode());
    });
    assert_eq!(stage.audit(&forged, &[]).names("vote-duplicate", &at), 1);
}

/// Who: the operator. Do: rewrite the tail, after checkpoints of it were given out. Catches: any one of those.
#[test]
fn row_10_a_tail_that_was_rewritten() {
    let stage = stage();
    let n = *several(&stage.history, 0).last().unwrap();
    let forged = stage.forged(|history| {
        history.change_votes(stage.election(), (0, n), |votes| {
            votes.pop();
        });
    });
    stage.only_evidence_shows(&forged);
}

/// Who: the operator. Do: a vote in the cell where its credential does not belong, so that it could be cast twice. Catches: the cell follows from the credential.
#[test]
fn row_23_a_vote_in_the_wrong_cell() {
    let stage = stage();
    let (from, to) = (batch(&stage.history, 0), batch(&stage.history, 1));
    for is_copy in [false, true] {
        let forged = stage.forged(|history| {
            let vote = history.change_votes(stage.election(), from, |votes| {
                if is_copy {
                    votes[0].clone()
                } else {
                    votes.remove(0)
                }
            });
            history.change_votes(stage.election(), to, |votes| votes.push(vote));
        });
        assert_eq!(
            stage
                .audit(&forged, &[])
                .names("vote-wrong-cell", &path(to)),
            1
        );
    }
}

/// Who: anybody on the way, or the cell's server. Do: change the choice, and sign it with another key, or not at all. Catches: the voter's signature over her ballot.
#[test]
fn row_26_a_changed_choice() {
    let stage = stage();
    for signs in [false, true] {
        let (forged, at) = rewritten(stage, |votes| {
            let mut vote = decoded(stage, &votes[0]);
            let contests = stage.election().contests();
            let chosen = vote.ballot.choice(0).first().copied().unwrap_or(0);
            let mut choices: Vec<Vec<u16>> = vote.ballot.choices().map(<[u16]>::to_vec).collect();
            choices[0] = vec![1 - chosen.min(1)];
            vote.ballot = Ballot::new(&choices, contests).unwrap();
            if signs {
                let message = ballot_message(&stage.election().id(), &vote.ballot.encode());
                vote.signature = stage.credential_in(0).sign(&message);
            }
            votes[0] = vote.encode();
        });
        assert_eq!(
            stage
                .audit(&forged, &[])
                .names("vote-ballot-signature", &at),
            1
        );
    }
}

/// Who: whoever serves files. Do: forge one tile while the checkpoint stays right. Catches: tiles are recomputed from the batches, byte for byte, and clients prove them against the root.
#[test]
fn row_25_a_forged_tile() {
    let stage = stage();
    let tile = stage
        .files
        .keys()
        .find(|path| path.starts_with("cells/0/tile/0/"))
        .unwrap()
        .clone();
    let mut forged = stage.files.clone();
    forged.get_mut(&tile).unwrap()[7] ^= 1;
    stage.audit(&forged, &[]).names("tile-mismatch", &tile);
}

/// Who: the operator. Do: give auditors a dump that ends early: with the checkpoint that it was signed under, or with an older one that was right once.
/// Catches: the expected size of the checkpoint; heads, anchors and everything that was kept.
#[test]
fn row_20_a_dump_that_ends_early() {
    let stage = stage();
    let n = *stage.history.vote_batches(0).last().unwrap();
    let mut cut = stage.files.clone();
    cut.remove(&path((0, n)));
    stage.audit(&cut, &[]).names("missing-file", &path((0, n)));

    // The whole election as it stood before the close, signed when it was: valid, and open.
    let rolled = stage.forged(|history| {
        for batches in history.logs.values_mut() {
            batches.pop();
        }
        let before = history.heads.iter().position(|batch| {
            batch.iter().any(|said| matches!(said, tests::forge::Said::Head { logs, .. } if logs.iter().any(|(state, _)| *state == protocol::entry::LogState::Closed)))
        });
        let before = before.unwrap();
        history.heads.truncate(before);
        for reached in history.anchors.values_mut() {
            reached.retain(|batches| *batches <= before);
        }
    });
    let alone = stage.audit(&rolled, &[]);
    alone.is_clean();
    assert_eq!(alone.verdict["state"], "open");
    for (what, kept) in stage.kept() {
        let found = stage.audit(&rolled, &[&kept]);
        assert_eq!(found.exit, 1, "{what}");
        assert!(
            found
                .codes()
                .iter()
                .all(|code| code == "checkpoint-rollback"),
            "{what}: {:?}",
            found.codes()
        );
    }
}

/// Who: the operator. Do: a log of another election, or the keys of two cells swapped. Catches: leaf 0 and the origin name the election; the manifest fixes each log's key.
#[test]
fn row_22_a_foreign_log_and_swapped_keys() {
    let (stage, other) = (stage(), elsewhere());
    let mut foreign = stage.files.clone();
    foreign.retain(|path, _| !path.starts_with("cells/0/"));
    let others = other
        .files
        .iter()
        .filter(|(path, _)| path.starts_with("cells/0/"));
    foreign.extend(others.map(|(path, bytes)| (path.clone(), bytes.clone())));
    let found = stage.audit(&foreign, &[]);
    found.names("batch-foreign", "cells/0/batches/0");

    let mut swapped = stage.files.clone();
    let note = |files: &Files, cell: u32| files[&format!("cells/{cell}/checkpoint")].clone();
    let root = |bytes: &[u8]| {
        let note = protocol::note::SignedNote::parse(bytes).unwrap();
        protocol::checkpoint::Checkpoint::parse_body(note.text()).unwrap()
    };
    let own = root(&note(&stage.files, 0));
    // Cell 1's key signs cell 0's tree under cell 0's name.
    let by_other = own.signed(
        &{
            let keys = stage.election().log_keys(LogId::Cell(1)).unwrap();
            *keys.main.as_bytes()
        },
        &{
            let signed = stage.operator.sign(LogId::Cell(1), own.size(), own.root());
            let note = protocol::note::SignedNote::parse(&signed).unwrap();
            note.signatures()[0].signature().try_into().unwrap()
        },
    );
    swapped.insert("cells/0/checkpoint".to_owned(), by_other);
    stage
        .audit(&swapped, &[])
        .names("checkpoint-signature", "cells/0/checkpoint");
}

/// Who: anybody. Do: take a vote of another election and put it in this one. Catches: every signature covers the election id.
#[test]
fn row_31_a_vote_of_another_election() {
    let (stage, other) = (stage(), elsewhere());
    // One that falls into the same cell here.
    let replayed = (0..2u32)
        .flat_map(|cell| {
            other
                .history
                .votes(cell, other.history.vote_batches(cell)[0])
                .to_vec()
        })
        .find(|bytes| stage.election().cell_of(&decoded(other, bytes).credential) == 0)
        .unwrap();
    let (forged, at) = rewritten(stage, |votes| votes.push(replayed));
    stage
        .audit(&forged, &[])
        .names("vote-registrar-signature", &at);
}
