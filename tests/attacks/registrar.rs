//! Registrars, one or all of them, and thieves of their keys.

use protocol::entry::{Entry, Issuance, LogState};
use protocol::ids::LogId;
use serde_json::Value;
use tests::forge::{History, Said};
use tests::{arg, files, folder, run};

use crate::stage::{REGISTRARS, Stage, VOTERS, stage};

/// Adds a vote to the last batch of votes of its cell.
fn stuff(stage: &Stage, history: &mut History, vote: &protocol::entry::Vote) {
    let cell = stage.election().cell_of(&vote.credential);
    let n = *history.vote_batches(cell).last().unwrap();
    history.change_votes(stage.election(), (cell, n), |votes| {
        votes.push(vote.encode())
    });
}

/// Adds an issuance before the last count of a registrar's log.
fn issue(stage: &Stage, history: &mut History, registrar: u16, roll_index: u64) {
    let log = LogId::Issuance {
        registrar,
        shard: 0,
    };
    let entry = Issuance {
        roll_index,
        blinded_digest: rand::random(),
    };
    let batches = history.logs.get_mut(&log).unwrap();
    // A batch that every head since voting began covers.
    let n = batches
        .iter()
        .position(|batch| {
            batch.iter().any(|bytes| {
                matches!(
                    Entry::decode(bytes, stage.election()),
                    Ok(Entry::Issuance(_))
                )
            })
        })
        .unwrap();
    batches[n].insert(0, entry.encode());
    history.add_up(stage.election());
}

/// Roll indices that a registrar issued for.
fn issued(stage: &Stage, history: &History, registrar: u16) -> Vec<u64> {
    history.logs[&LogId::Issuance {
        registrar,
        shard: 0,
    }]
        .iter()
        .flatten()
        .filter_map(|bytes| match Entry::decode(bytes, stage.election()) {
            Ok(Entry::Issuance(issuance)) => Some(issuance.roll_index),
            _ => None,
        })
        .collect()
}

/// An index of the roll whose voter stayed away.
fn abstainer(stage: &Stage, history: &History) -> u64 {
    let issued = issued(stage, history, 0);
    (0..stage.election().manifest().roll.size)
        .find(|index| !issued.contains(index))
        .unwrap()
}

/// Who: all registrars together, with the operator. Hold: every key there is. Do: vote for somebody who stays away, and log the issuance as they must.
/// Catches: nothing in the files; that voter, who looks at the issuance log and finds her index. The verdict prints how many could be concerned.
#[test]
fn row_01_a_vote_for_an_abstainer_is_bounded_and_shows_in_her_name() {
    let stage = stage();
    let her = abstainer(stage, &stage.history);
    let mut history = stage.history.clone();
    for registrar in 0..REGISTRARS {
        issue(stage, &mut history, registrar, her);
    }
    stuff(
        stage,
        &mut history,
        &stage.invented(&stage.credential_in(0)),
    );
    let forged = stage.operator.publish(&history);
    // Whoever kept anything sees that this is not the election that was held.
    stage.only_evidence_shows(&forged);
    // Had it happened so from the beginning, nobody would have. The bound says so, before and after.
    let bound = |verdict: &Value| verdict["bounds"]["voters_without_vote"].as_u64().unwrap();
    let honest = stage.audit(&stage.files, &[]);
    assert_eq!(bound(&honest.verdict), 3);
    assert_eq!(bound(&stage.audit(&forged, &[]).verdict), 2);
    // What she sees: a credential in her name, from every registrar.
    for (files, said) in [
        (&stage.files, "NOT ISSUED"),
        (&forged, "ISSUED: every registrar"),
    ] {
        let folder = folder();
        files::write(folder.path(), files);
        let (id, her) = (stage.published.id(), her.to_string());
        let seen = run(
            "tallyroot-verify",
            &[
                "issued",
                arg(folder.path()),
                "--election",
                &id,
                "--roll-index",
                &her,
            ],
        );
        assert_eq!(seen.code, 0, "{seen:#?}");
        assert!(seen.stdout.starts_with(said), "{}", seen.stdout);
    }
}

/// Who: the same. Do: vote without logging an issuance. Catches: `votes <= issued` at every head.
#[test]
fn row_01_a_vote_without_an_issuance_exceeds_what_was_issued() {
    let stage = stage();
    let forged =
        stage.forged(|history| stuff(stage, history, &stage.invented(&stage.credential_in(0))));
    let found = stage.audit(&forged, &[]);
    let code = "votes-exceed-issued";
    assert_eq!(found.exit, 1);
    assert!(
        found.codes().contains(&code.to_owned()),
        "{:?}",
        found.codes()
    );
    // One vote too many, and it says so.
    let finding = found.verdict["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["code"] == code);
    assert_eq!(finding.unwrap()["votes_at_most"], 1);
}

/// Who: the same. Do: log an issuance for somebody who already has one, or for nobody on the roll. Catches: once for each index, and only indices of the roll.
#[test]
fn row_01_an_issuance_that_nobody_is_entitled_to() {
    let stage = stage();
    let roll = stage.election().manifest().roll.size;
    let twice = issued(stage, &stage.history, 0)[0];
    for (index, code) in [
        (twice, "issuance-duplicate"),
        (roll, "issuance-out-of-roll"),
    ] {
        let forged = stage.forged(|history| issue(stage, history, 0, index));
        let found = stage.audit(&forged, &[]);
        assert_eq!(found.exit, 1);
        assert!(
            found.codes().contains(&code.to_owned()),
            "{:?}",
            found.codes()
        );
    }
}

/// Who: one registrar of two, with the operator. Holds: its own key, every log's. Does: everything alone. Catches: the other's signature, which every vote must carry.
#[test]
fn row_05_one_registrar_alone_makes_no_vote() {
    let stage = stage();
    let key = stage.credential_in(1);
    let own = stage.registrar_signs(0, &key.public());
    for other in [own.clone(), vec![0; own.len()]] {
        let vote = stage.signed(&key, vec![own.clone(), other]);
        let forged = stage.forged(|history| {
            issue(stage, history, 0, abstainer(stage, &stage.history));
            stuff(stage, history, &vote);
        });
        let found = stage.audit(&forged, &[]);
        let n = *stage.history.vote_batches(1).last().unwrap();
        assert_eq!(
            found.names("vote-registrar-signature", &format!("cells/1/batches/{n}")),
            1
        );
    }
}

/// Who: the operator, before opening. Does: puts invented people on the roll. Catches: the roll's size and root are in the manifest, and the id fixes the manifest.
/// (Before the id is published, only people outside who know the electorate can: sampled, not covered by any file.)
#[test]
fn row_02_a_longer_roll_is_another_election() {
    let stage = stage();
    let mut manifest: Value = serde_json::from_slice(&stage.files["manifest.json"]).unwrap();
    manifest["roll"]["size"] = (stage.election().manifest().roll.size + 10).into();
    let mut forged = stage.files.clone();
    forged.insert(
        "manifest.json".to_owned(),
        manifest.to_string().into_bytes(),
    );
    stage
        .audit(&forged, &[])
        .names("manifest-mismatch", "manifest.json");
}

/// Who: all registrars, with the operator. Do: issue after they have seen how many voted, so that the sums fit. Catches: the issuance logs close no later than the cells.
#[test]
fn row_05_an_issuance_log_that_outlasts_the_cells() {
    let stage = stage();
    let log = LogId::Issuance {
        registrar: 0,
        shard: 0,
    };
    let at = stage.election().head_position(log).unwrap();
    let forged = stage.forged(|history| {
        // The authority froze every log to end this election; a frozen cell need not wait.
        history.drop_notices(stage.election());
        let batches = history.logs[&log].len();
        // No head but the last shows the log closed; one before it shows the cells closed.
        for said in history.every_head() {
            if let Said::Head {
                logs,
                is_final: false,
                ..
            } = said
            {
                logs[at] = (LogState::Open, logs[at].1.min(batches - 1));
            }
        }
        let mut cells_first = history.last_head().clone();
        if let Said::Head { logs, is_final, .. } = &mut cells_first {
            (*is_final, logs[at]) = (false, (LogState::Open, batches - 1));
        }
        history.heads.last_mut().unwrap().insert(0, cells_first);
    });
    let found = stage.audit(&forged, &[]);
    assert_eq!(found.exit, 1);
    assert!(
        found.codes().contains(&"issuance-closed-late".to_owned()),
        "{:?}",
        found.codes()
    );
}

/// Who: a thief of all registrars' RSA keys, without any log's key. Does: forges credentials and casts them like anybody. Catches: the counts diverge, by as many as he cast.
#[test]
fn row_07_a_thief_of_the_registrars_keys() {
    let stage = stage();
    const FORGED: usize = 5;
    let forged = stage.forged(|history| {
        for n in 0..FORGED {
            let key = stage.credential_in(u32::try_from(n).unwrap() % 2);
            stuff(stage, history, &stage.invented(&key));
        }
    });
    let found = stage.audit(&forged, &[]);
    let most = found.verdict["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["code"] == "votes-exceed-issued")
        .filter_map(|finding| finding["votes_at_most"].as_u64())
        .max();
    assert_eq!(most, Some(FORGED as u64), "{:?}", found.codes());
    assert_eq!(found.verdict["votes"], u64::from(VOTERS) + FORGED as u64);
}
