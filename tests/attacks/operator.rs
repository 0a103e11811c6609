//! The operator, with the keys of every log in hand.

use std::fs;

use protocol::entry::{Entry, LogState, Tally};
use protocol::ids::LogId;
use serde_json::Value;
use tests::forge::{History, Said};
use tests::{arg, files, folder, run};

use crate::stage::{Stage, stage};

const HOUR: u64 = 3_600_000;

fn set_times(history: &mut History, change: impl Fn(u64) -> u64) {
    for said in history.every_head() {
        if let Said::Head { time, .. } = said {
            *time = change(*time);
        }
    }
}

/// Who: the operator. Do: two trees for two audiences, both signed. Catches: any two checkpoints that anybody holds; the proof is a file that convicts the operator before everybody.
#[test]
fn row_11_a_split_view_is_proven_by_any_two_checkpoints() {
    let stage = stage();
    let n = stage.history.vote_batches(0)[0];
    let other = stage.forged(|history| {
        history.change_votes(stage.election(), (0, n), |votes| {
            votes.swap_remove(0);
        });
    });
    let folder = folder();
    files::write(&folder.path().join("other"), &other);
    let (id, source) = (
        stage.published.id(),
        arg(&stage.published.folder).to_owned(),
    );
    for (n, log) in ["cells/0", "heads"].iter().enumerate() {
        let one = stage.published.folder.join(log).join("checkpoint");
        let two = folder.path().join("other").join(log).join("checkpoint");
        let proof = folder.path().join(format!("proof-{n}"));
        let said = run(
            "tallyroot-verify",
            &[
                "consistency",
                arg(&one),
                arg(&two),
                "--election",
                &id,
                "--source",
                &source,
                "--source",
                arg(&folder.path().join("other")),
                "--proof",
                arg(&proof),
                "--json",
            ],
        );
        assert_eq!(said.code, 1, "{} {}", said.stdout, said.stderr);
        let verdict: Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!(verdict["findings"][0]["code"], "equivocation");
        // A third party, with the election id and that file.
        let said = run(
            "tallyroot-verify",
            &["consistency", "--check", arg(&proof), "--election", &id],
        );
        assert_eq!(said.code, 1, "{} {}", said.stdout, said.stderr);
    }
    stage.only_evidence_shows(&other);
}

fn dispute(stage: &Stage, receipt: &std::path::Path, source: &std::path::Path) -> (i32, Value) {
    let folder = folder();
    let out = folder.path().join("dispute.json");
    let id = stage.published.id();
    let made = run(
        "tallyroot-verify",
        &[
            "dispute",
            arg(receipt),
            "--election",
            &id,
            "--source",
            arg(source),
            "--out",
            arg(&out),
            "--json",
        ],
    );
    let judged = run(
        "tallyroot-verify",
        &["dispute", arg(&out), "--election", &id, "--json"],
    );
    assert_eq!(made.code, judged.code, "{made:#?} {judged:#?}");
    let verdict = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    assert_eq!(
        verdict(&made.stdout)["ruling"],
        verdict(&judged.stdout)["ruling"]
    );
    (judged.code, verdict(&judged.stdout)["ruling"].clone())
}

/// Who: the operator. Do: give a receipt, then drop the vote and sign everything anew. Catches: the receipt, before anybody, offline.
#[test]
fn row_12_a_vote_that_is_dropped_after_its_receipt() {
    let stage = stage();
    let receipt = stage.receipt();
    assert_eq!(
        dispute(stage, &receipt, &stage.published.folder),
        (0, "counted".into())
    );

    let held: Value = serde_json::from_slice(&fs::read(&receipt).unwrap()).unwrap();
    let proof =
        protocol::tlog_proof::TlogProof::parse(held["vote"].as_str().unwrap().as_bytes()).unwrap();
    let vote = proof.extra().unwrap().to_vec();
    let dropped = stage.forged(|history| {
        let n = history
            .vote_batches(0)
            .into_iter()
            .find(|n| history.votes(0, *n).contains(&vote))
            .unwrap();
        history.change_votes(stage.election(), (0, n), |votes| {
            votes.retain(|bytes| *bytes != vote)
        });
    });
    let folder = folder();
    files::write(folder.path(), &dropped);
    assert_eq!(
        dispute(stage, &receipt, folder.path()),
        (1, "split-view".into())
    );
    let found = stage.audit(&dropped, &[&receipt]);
    assert_eq!(found.names("fork", arg(&receipt)), 1);
}

/// Who: the operator. Do: leave a recorded vote out of the final head. Catches: the receipt lies beyond what is counted.
#[test]
fn row_12_a_vote_that_the_final_head_leaves_out() {
    let stage = stage();
    let receipt = stage.receipt();
    let position = stage.election().head_position(LogId::Cell(0)).unwrap();
    let first = stage.history.vote_batches(0)[0];
    let cut = stage.forged(|history| {
        for said in history.every_head() {
            if let Said::Head { logs, .. } = said {
                logs[position] = (LogState::Open, logs[position].1.min(first));
            }
        }
    });
    let found = stage.audit(&cut, &[&receipt]);
    assert_eq!(found.names("dropped", arg(&receipt)), 1);
    // Without the receipt the log that was never closed is a finding, with its bound.
    let alone = stage.audit(&cut, &[]);
    assert!(
        alone.codes().contains(&"final-head-early".to_owned()),
        "{:?}",
        alone.codes()
    );
    let folder = folder();
    files::write(folder.path(), &cut);
    assert_eq!(
        dispute(stage, &receipt, folder.path()),
        // A final receipt holds a checkpoint of the heads log, too, which was signed anew here. (A provisional one would be ruled `dropped`.)
        (1, "split-view".into())
    );
}

/// Who: the operator. Do: give one leaf's receipt to two voters. Catches: the receipt is for a key, and the second voter's device knows hers.
#[test]
fn row_14_one_receipt_for_two_voters() {
    let stage = stage();
    let id = stage.published.id();
    let other = hex::encode(stage.credential_in(0).public());
    let receipt = stage.receipt();
    let said = run(
        "tallyroot-verify",
        &[
            "receipt",
            arg(&receipt),
            "--election",
            &id,
            "--credential",
            &other,
            "--json",
        ],
    );
    assert_eq!(said.code, 1);
    assert!(said.stdout.contains("receipt-other-key"), "{}", said.stdout);
}

/// Who: the operator. Do: end the vote an hour early; end it before all is closed; never close a cell; count what came later. Catches: the heads' times and states.
#[test]
fn row_16_the_end_of_voting() {
    let stage = stage();
    let closing = stage.election().manifest().times.closing;
    // This election was ended by the authority, which freezes every log. Without its notices that is an operator's own doing.
    let early = stage.forged(|history| {
        history.drop_notices(stage.election());
        set_times(history, |time| time.min(closing - 1));
    });
    let found = stage.audit(&early, &[]);
    assert!(
        found.codes().contains(&"closed-early".to_owned()),
        "{:?}",
        found.codes()
    );

    let position = stage.election().head_position(LogId::Cell(0)).unwrap();
    let unclosed = |time: u64| {
        stage.forged(|history| {
            history.logs.get_mut(&LogId::Cell(0)).unwrap().pop();
            let batches = history.logs[&LogId::Cell(0)].len();
            for said in history.every_head() {
                if let Said::Head { logs, .. } = said {
                    logs[position] = (LogState::Open, logs[position].1.min(batches));
                }
            }
            if let Said::Head { time: last, .. } = history.last_head() {
                *last = (*last).max(time);
            }
        })
    };
    let found = stage.audit(&unclosed(0), &[]);
    assert!(
        found.codes().contains(&"final-head-early".to_owned()),
        "{:?}",
        found.codes()
    );
    let grace = stage.election().manifest().times.grace;
    let found = stage.audit(&unclosed(closing + grace + 1), &[]);
    assert_eq!(found.codes(), ["unclosed"]);

    // Votes after the close.
    let late = stage.forged(|history| {
        let n = history.vote_batches(0)[0];
        let batch = history.logs[&LogId::Cell(0)][n].clone();
        history.logs.get_mut(&LogId::Cell(0)).unwrap().push(batch);
    });
    let found = stage.audit(&late, &[]);
    assert!(
        found.codes().contains(&"grammar-broken".to_owned()),
        "{:?}",
        found.codes()
    );

    // Votes that a head covered only after the grace.
    let votes = stage
        .history
        .votes(0, stage.history.vote_batches(0)[0])
        .len() as u64;
    let late = stage.forged(|history| {
        let first = history.vote_batches(0)[0];
        history.drop_notices(stage.election());
        for said in history.every_head() {
            if let Said::Head { time, logs, .. } = said
                && logs[position].1 > first
            {
                *time += closing + grace;
            }
        }
    });
    let found = stage.audit(&late, &[]);
    let finding = found.verdict["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["code"] == "late")
        .unwrap_or_else(|| panic!("{:?}", found.codes()));
    assert!(finding["votes_at_most"].as_u64().unwrap() >= votes);
}

/// Who: the operator. Do: turn the clock back, in a cell or in the heads log. Catches: times never fall.
#[test]
fn row_17_a_clock_that_is_turned_back() {
    let stage = stage();
    let n = stage.history.vote_batches(0)[0];
    let forged = stage.forged(|history| {
        let election = stage.election();
        let batches = history.logs.get_mut(&LogId::Cell(0)).unwrap();
        let close = batches.last_mut().unwrap();
        let Ok(Entry::Close(mut said)) = Entry::decode(&close[0], election) else {
            panic!("no close");
        };
        let Ok(Entry::Tally(Tally { time, .. })) =
            Entry::decode(batches[n].last().unwrap(), election)
        else {
            panic!("no tally");
        };
        said.time = time - stage.election().manifest().batch_wait_ms;
        *batches.last_mut().unwrap() = vec![said.encode()];
    });
    let last = stage.history.logs[&LogId::Cell(0)].len() - 1;
    stage
        .audit(&forged, &[])
        .names("time-backwards", &format!("cells/0/batches/{last}"));

    let forged = stage.forged(|history| {
        if let Said::Head { time, .. } = history.last_head() {
            *time -= 10 * HOUR;
        }
    });
    let found = stage.audit(&forged, &[]);
    assert!(
        found.codes().contains(&"head-falls".to_owned()),
        "{:?}",
        found.codes()
    );
}

/// Who: the operator, or whoever serves the page. Do: swap two options' labels while votes are cast. Catches: the manifest's hash is the id, and inside every signature.
#[test]
fn row_18_swapped_labels() {
    let stage = stage();
    let mut manifest: Value = serde_json::from_slice(&stage.files["manifest.json"]).unwrap();
    let options = manifest["contests"][0]["options"].as_array_mut().unwrap();
    options.swap(0, 1);
    let mut forged = stage.files.clone();
    forged.insert(
        "manifest.json".to_owned(),
        manifest.to_string().into_bytes(),
    );
    stage
        .audit(&forged, &[])
        .names("manifest-mismatch", "manifest.json");
}

/// Who: the operator. Do: show a false tally: in the published results, or in the signed tally entry itself. Catches: results follow byte for byte from the tally entries, and these from the votes.
#[test]
fn row_19_a_false_tally() {
    let stage = stage();
    let mut results: Value = serde_json::from_slice(&stage.files["results.json"]).unwrap();
    let counts = results["contests"][0]["counts"].as_array_mut().unwrap();
    counts[0] = (counts[0].as_u64().unwrap() + 1).into();
    let mut forged = stage.files.clone();
    forged.insert("results.json".to_owned(), results.to_string().into_bytes());
    stage
        .audit(&forged, &[])
        .names("results-wrong", "results.json");

    let n = stage.history.vote_batches(0)[0];
    let forged = stage.forged(|history| {
        let batch = &mut history.logs.get_mut(&LogId::Cell(0)).unwrap()[n];
        let Ok(Entry::Tally(mut tally)) = Entry::decode(batch.last().unwrap(), stage.election())
        else {
            panic!("no tally");
        };
        tally.totals.votes += 1;
        tally.totals.contests[0].counts[0] += 1;
        *batch.last_mut().unwrap() = tally.encode();
    });
    stage
        .audit(&forged, &[])
        .names("tally-wrong", &format!("cells/0/batches/{n}"));
}

/// Who: the operator. Do: hide or change an anchor, where the store does not forbid it. Catches: anchors chain from 0 and hold the heads log's very bytes.
/// (Delete markers and second versions are a matter of buckets.)
#[test]
fn row_24_an_anchor_that_is_hidden_or_changed() {
    let stage = stage();
    let name = &stage.election().manifest().anchors[0].name;
    let last = stage.history.anchors[name].len() - 1;
    let at = format!("anchors/{name}/{last}");
    let mut hidden = stage.files.clone();
    hidden.remove(&at);
    stage.audit(&hidden, &[]).names("anchor-not-final", &at);

    // The honest anchors beside a history that was signed anew: whoever holds an anchor that cannot be rewritten needs to keep nothing else.
    let n = stage.history.vote_batches(0)[0];
    let mut forged = stage.forged(|history| {
        history.change_votes(stage.election(), (0, n), |votes| {
            votes.remove(0);
        });
    });
    for (path, bytes) in &stage.files {
        if path.starts_with("anchors/") {
            forged.insert(path.clone(), bytes.clone());
        }
    }
    let found = stage.audit(&forged, &[]);
    assert!(
        found.codes().contains(&"anchor-conflict".to_owned()),
        "{:?}",
        found.codes()
    );
}

/// Who: the operator. Do: publish batches so small that they show who voted when. Catches: each batch below the manifest's minimum is reported, with the smallest.
#[test]
fn row_47_tiny_batches_are_reported() {
    let stage = stage();
    let n = stage.history.vote_batches(0)[0];
    let forged = stage.forged(|history| {
        // The last vote of the first batch in a batch of its own.
        let batches = history.logs.get_mut(&LogId::Cell(0)).unwrap();
        let tally = batches[n].last().unwrap().clone();
        let at = batches[n].len() - 2;
        let alone = batches[n].remove(at);
        batches.insert(n + 1, vec![alone, tally]);
        let position = stage.election().head_position(LogId::Cell(0)).unwrap();
        for said in history.every_head() {
            if let Said::Head { logs, .. } = said
                && logs[position].1 > n
            {
                logs[position].1 += 1;
            }
        }
        history.add_up(stage.election());
    });
    let found = stage.audit(&forged, &[]);
    found.is_clean();
    let small = &found.verdict["small_batches"];
    assert_eq!(small["smallest"], 1, "{small}");
    let before = stage.audit(&stage.files, &[]).verdict["small_batches"]["count"]
        .as_u64()
        .unwrap();
    assert!(small["count"].as_u64().unwrap() > before);
}
