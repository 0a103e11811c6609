//! The command itself: exit codes, streams, JSON.

use std::process::{Command, Output};

use crate::common::world::{Plan, World};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tallyroot-verify"))
        .args(args)
        .env_remove("NO_COLOR")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn published() -> (tempfile::TempDir, String) {
    let world = World::new(
        "command",
        Plan {
            votes: 30,
            issued: 40,
            batch: 15,
            finished: true,
        },
    );
    let folder = tempfile::tempdir().unwrap();
    let id = world.keys.election.id().to_string();
    world.publish(&folder.path().join("elections").join(&id));
    (folder, id)
}

#[test]
fn a_right_election_exits_with_0() {
    let (folder, id) = published();
    let root = folder.path().to_str().unwrap();
    let output = run(&["audit", root, "--election", &id]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let words = text(&output.stdout);
    for said in [
        "VERIFIED",
        "A small election",
        "30 votes in 2 cells",
        "Mayor",
        "winner: Ada",
        "Town hall",
        "10 credentials issued and not used",
        "round 1:",
        "final",
    ] {
        assert!(words.contains(said), "{said:?} is not in:\n{words}");
    }
    // Not a terminal: no colours, no bar.
    assert!(!words.contains('\u{1b}'));
    assert_eq!(text(&output.stderr), "");

    // The election's own folder, and the data directory above `public`.
    let own = format!("{root}/elections/{id}");
    assert_eq!(
        run(&["audit", &own, "--election", &id]).status.code(),
        Some(0)
    );
    let data = tempfile::tempdir().unwrap();
    std::fs::rename(folder.path().join("elections"), {
        std::fs::create_dir(data.path().join("public")).unwrap();
        data.path().join("public/elections")
    })
    .unwrap();
    let data = data.path().to_str().unwrap();
    assert_eq!(
        run(&["audit", data, "--election", &id, "--threads", "1"])
            .status
            .code(),
        Some(0)
    );
}

#[test]
fn json_is_one_document() {
    let (folder, id) = published();
    let root = folder.path().to_str().unwrap();
    let output = run(&["audit", root, "--election", &id, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["verdict"], "verified");
    assert_eq!(json["state"], "final");
    assert_eq!(json["election"], id);
    assert_eq!(json["votes"], 30);
    assert_eq!(json["roll"], 1000);
    assert_eq!(json["covered"]["cells"].as_array().unwrap().len(), 2);
    assert_eq!(json["covered"]["issuance"].as_array().unwrap().len(), 3);
    assert_eq!(json["covered"]["anchors"][0]["name"], "near");
    assert_eq!(json["bounds"]["unused_credentials"], 10);
    assert_eq!(json["findings"], serde_json::json!([]));
    assert!(json["not_covered"].as_array().unwrap().len() > 1);
    assert!(json["seconds"].as_f64().unwrap() >= 0.0);
    assert_eq!(json["results"][0]["winner"], 0);

    std::fs::remove_file(
        folder
            .path()
            .join(format!("elections/{id}/cells/0/batches/2")),
    )
    .unwrap();
    let output = run(&["audit", root, "--election", &id, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["verdict"], "findings");
    let first = &json["findings"][0];
    let all = json["findings"].as_array().unwrap();
    let missing = all
        .iter()
        .find(|finding| finding["place"]["file"] == "cells/0/batches/2")
        .unwrap();
    assert_eq!(missing["code"], "missing-file");
    assert!(missing["evidence"].as_str().unwrap().len() > 10);
    assert!(first["severity"].is_string() && first["votes_at_most"].is_u64());

    let output = run(&["audit", root, "--election", &id]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("missing-file in cells/0/batches/2"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn what_could_not_be_checked_exits_with_2() {
    let (folder, id) = published();
    let root = folder.path().to_str().unwrap();
    let other = id.replace(|c: char| c.is_ascii_digit(), "a");
    for args in [
        vec!["audit", root, "--election", &other],
        vec!["audit", "/nowhere/at/all", "--election", &id],
        vec!["audit", "ftp://votes.example", "--election", &id],
        vec!["audit", root],
        vec!["audit", root, "--election", "6b3f"],
        vec!["audit", root, "--election", &id, "--threads", "0"],
        vec!["receipt", "/nowhere/at/all", "--election", &id],
        vec!["explain", "no-such-code"],
        vec!["recount"],
        vec![],
    ] {
        let output = run(&args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            text(&output.stdout)
        );
    }
    let output = run(&["audit", "/nowhere/at/all", "--election", &id, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["verdict"], "unchecked");
    assert_eq!(json["state"], serde_json::Value::Null);
}

#[test]
fn help_teaches() {
    let help = text(&run(&["--help"]).stdout);
    for said in [
        "Exit codes",
        "Examples",
        "election id",
        "tallyroot-verify explain",
    ] {
        assert!(help.contains(said), "{said:?} is not in:\n{help}");
    }
    let audit = text(&run(&["audit", "--help"]).stdout);
    assert!(
        audit.contains("recomputes") || audit.contains("What it does"),
        "{audit}"
    );
    let all = text(&run(&["explain"]).stdout);
    let one = text(&run(&["explain", "vote-duplicate"]).stdout);
    assert!(
        all.contains("vote-duplicate (critical)") && all.contains("late (minor)"),
        "{all}"
    );
    assert!(one.contains("What to do"), "{one}");
}
