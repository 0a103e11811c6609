//! What a stranger reads: the words of the commands, and the members of their JSON that say the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::batch::BatchFile;

use verifier_cli::watch::Watcher;

use crate::common::keys::CLOSING;
use crate::common::world::{Plan, World, Writer};
use crate::copies::Scene;

const PLAN: Plan = Plan {
    votes: 30,
    issued: 40,
    batch: 15,
    finished: true,
};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tallyroot-verify"))
        .args(args)
        .output()
        .unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn talk(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A published election, and how commands are given it.
struct Site {
    scene: Scene,
    id: String,
    at: String,
}

impl Site {
    fn new() -> Self {
        Self::of(Scene::of(World::new("words", PLAN)))
    }

    fn of(scene: Scene) -> Self {
        Self {
            id: scene.id.to_string(),
            at: scene.path("site").to_str().unwrap().to_owned(),
            scene,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scene.path(name)
    }

    fn run(&self, command: &str, more: &[&str]) -> Output {
        let mut args = vec![command, self.at.as_str(), "--election", self.id.as_str()];
        args.extend(more);
        run(&args)
    }

    /// Changes a file of the site for as long as `then` runs.
    fn with<T>(&self, file: &str, bytes: &[u8], then: impl FnOnce() -> T) -> T {
        let path = self.path("site").join(file);
        let before = fs::read(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        let result = then();
        fs::write(&path, before).unwrap();
        result
    }

    fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path("site").join(file)).unwrap()
    }
}

fn place(text: &str, of: &str) -> usize {
    text.find(of)
        .unwrap_or_else(|| panic!("{of:?} is not in:\n{text}"))
}

#[test]
fn an_audit_that_stops_early_shows_no_result() {
    let site = Site::new();
    for (file, state) in [
        ("cells/0/batches/2", serde_json::json!("final")),
        // Then nothing tells whether there is a final head.
        ("heads/batches/3", serde_json::Value::Null),
    ] {
        let bytes = site.read(file);
        site.with(file, &bytes[..bytes.len() - 1], || {
            let text = words(&site.run("audit", &[]));
            let found = place(&text, "Findings: ");
            assert!(found < place(&text, "NO RESULT"), "{text}");
            assert!(
                place(&text, "NO RESULT") < place(&text, "Counted"),
                "{text}"
            );
            for never in ["winner", "\nResult", "can exclude", "Running count"] {
                assert!(!text.contains(never), "{never:?} is in:\n{text}");
            }
            let json = json(&site.run("audit", &["--json"]));
            assert_eq!(json["complete"], false);
            assert_eq!(json["results"], serde_json::Value::Null);
            assert_eq!(
                json["bounds"]["unused_credentials"],
                serde_json::Value::Null
            );
            assert_eq!(json["state"], state);
        });
    }
    let whole = site.run("audit", &["--json"]);
    assert_eq!(json(&whole)["complete"], true);
}

#[test]
fn a_damaged_file_is_told_from_what_was_signed() {
    let site = Site::new();
    let file = "cells/0/batches/2";
    let bytes = site.read(file);
    let evidence = |code: &str| {
        let json = json(&site.run("audit", &["--json"]));
        let findings = json["findings"].as_array().unwrap().clone();
        let found = findings.iter().find(|finding| finding["code"] == code);
        let found = found.unwrap_or_else(|| panic!("{findings:#?}"));
        found["evidence"].as_str().unwrap().to_owned()
    };
    // A vote's byte; the root that the header names, which nobody signs; and bytes that are no batch.
    let election = &site.scene.world.keys.election;
    let batch = BatchFile::decode(&bytes, election).unwrap();
    let entry = batch.entries[0];
    let at = bytes
        .windows(entry.len())
        .position(|window| window == entry)
        .unwrap();
    let mut vote = bytes.clone();
    vote[at + entry.len() - 1] ^= 1;
    site.with(file, &vote, || {
        let said = evidence("batch-chain");
        assert!(said.contains("does not cover these entries"), "{said}");
        assert!(said.contains("another copy"), "{said}");
    });
    let mut header = bytes.clone();
    header[18 + 1 + 32 + 9 + 8 + 8 + 32 + 8] ^= 1;
    site.with(file, &header, || {
        let said = evidence("batch-chain");
        assert!(said.contains("are those that were signed"), "{said}");
    });
    site.with(file, &bytes[..40], || {
        let said = evidence("batch-malformed");
        assert!(said.contains("another copy"), "{said}");
    });
    // Without tiles nothing can be said of it.
    let tiles = site.path("site/cells/0/tile");
    fs::rename(&tiles, site.path("tiles")).unwrap();
    site.with(file, &vote, || {
        let said = evidence("batch-chain");
        assert!(said.contains("cannot be told"), "{said}");
    });
    fs::rename(site.path("tiles"), &tiles).unwrap();
    // Entries under a header that fits them: nobody's key was needed.
    let mut forged = World::new("words", PLAN);
    forged.change_votes(0, 1, |votes| {
        votes.remove(0);
    });
    let other = Scene::of(forged);
    let replaced = fs::read(other.path("site").join(file)).unwrap();
    site.with(file, &replaced, || {
        let json = json(&site.run("audit", &["--json"]));
        assert!(
            json.to_string().contains("does not cover these entries"),
            "{json:#}"
        );
    });
}

#[test]
fn what_was_signed_against_the_rules_is_called_signed() {
    let mut world = World::new("words", PLAN);
    world.batch_of_votes(0, 0).swap(0, 1);
    let scene = Scene::of(world);
    let (site, id) = (scene.path("site"), scene.id.to_string());
    let args = ["audit", site.to_str().unwrap(), "--election", &id, "--json"];
    let json = json(&run(&args));
    assert_eq!(json["findings"][0]["code"], "batch-order", "{json:#}");
    let said = json["findings"][0]["evidence"].as_str().unwrap();
    assert!(
        said.ends_with("the log's key signed these bytes as they are"),
        "{said}"
    );
}

#[test]
fn a_copy_of_an_election_given_as_evidence_is_no_heap_of_unusable_files() {
    let site = Site::new();
    let own = site.at.clone();
    let output = site.run("audit", &["--evidence", &own, "--json"]);
    let verdict = json(&output);
    assert_eq!(verdict["verdict"], "verified", "{verdict:#}");
    assert_eq!(verdict["covered"]["evidence"]["unusable"], 0);
    assert!(
        verdict["covered"]["evidence"]["checkpoints"]
            .as_u64()
            .unwrap()
            > 10
    );
    assert!(
        verdict["not_covered"]
            .to_string()
            .contains("is a copy of an election")
    );

    // And what is a heap is told in a few lines.
    let heap = site.path("heap");
    fs::create_dir(&heap).unwrap();
    for n in 0..40 {
        fs::write(heap.join(n.to_string()), b"holiday photograph").unwrap();
    }
    let output = site.run("audit", &["--evidence", heap.to_str().unwrap()]);
    let text = words(&output);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text.starts_with("NOT CHECKED AS A WHOLE: not all of the evidence"),
        "{text}"
    );
    assert!(text.contains("and 35 more of"), "{text}");
    assert_eq!(text.matches("heap/").count(), 5, "{text}");
}

#[test]
fn the_folders_of_our_own_programs_are_evidence_as_they_are() {
    let site = Site::new();
    let (copy, state) = (site.path("copy"), site.path("state"));
    let output = site.run("mirror", &[text(&copy)]);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    site.run("watch", &["--state", text(&state), "--once", "--quiet"]);
    for folder in [&copy, &state, &state.join("evidence")] {
        let output = site.run("audit", &["--evidence", text(folder), "--json"]);
        let verdict = json(&output);
        assert_eq!(
            verdict["verdict"],
            "verified",
            "{}: {verdict:#}",
            folder.display()
        );
        assert!(verdict["covered"]["evidence"]["files"].as_u64() > Some(1));
    }
    // What the mirror put aside convicts; a batch that it put aside beside it is no evidence.
    let aside = copy.join("conflicts/heads");
    fs::create_dir_all(aside.join("batches")).unwrap();
    fs::write(aside.join("batches/7.0123"), b"a batch").unwrap();
    let mut forged = World::new("words", PLAN);
    forged.change_votes(0, 0, |votes| {
        votes.remove(0);
    });
    let other = site.path("other");
    forged.publish(&other);
    fs::copy(
        other.join("heads/checkpoint"),
        aside.join("checkpoint.0123"),
    )
    .unwrap();
    let output = site.run("audit", &["--evidence", text(&copy), "--json"]);
    let verdict = json(&output);
    assert_eq!(output.status.code(), Some(1), "{verdict:#}");
    assert_eq!(verdict["findings"][0]["code"], "equivocation");
    assert_eq!(verdict["covered"]["evidence"]["unusable"], 0);
}

#[test]
fn a_witness_is_named_by_an_address() {
    let site = Site::new();
    let state = site.path("state");
    for (command, more) in [
        ("audit", &[][..]),
        ("watch", &["--once", "--state", text(&state)]),
    ] {
        for wrong in ["nothing", "ftp://w.example/", "w1=nothing"] {
            let output = site.run(command, &[more, &["--witness", wrong]].concat());
            assert_eq!(output.status.code(), Some(2), "{command} {wrong}");
            assert!(
                talk(&output).contains("URL or NAME=URL"),
                "{}",
                talk(&output)
            );
        }
    }
    assert!(!state.exists());
    // Who does not answer is asked in the only round, and said not to have been heard.
    let output = site.run(
        "watch",
        &[
            "--once",
            "--state",
            text(&state),
            "--witness",
            "http://127.0.0.1:1",
        ],
    );
    assert!(
        words(&output).contains("witness http://127.0.0.1:1 could not be read"),
        "{}",
        words(&output)
    );
    assert!(
        talk(&output).contains("0 of 1 witness heard"),
        "{}",
        talk(&output)
    );
}

#[test]
fn another_election_is_told_from_none() {
    let site = Site::new();
    let root = site.path("site root");
    let folder = root.join("elections").join(&site.id);
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    let copied = Command::new("cp")
        .args(["-r", &site.at])
        .arg(&folder)
        .status();
    assert!(copied.unwrap().success());
    let other = format!(
        "{}{}",
        if site.id.starts_with('0') { '1' } else { '0' },
        &site.id[1..]
    );
    for (given, said) in [
        (&folder, format!("this is the election {}", site.id)),
        (&root, format!("what is here: {}", site.id)),
    ] {
        for command in ["audit", "result"] {
            let output = run(&[command, text(given), "--election", &other]);
            assert_eq!(output.status.code(), Some(2), "{}", words(&output));
            assert!(words(&output).contains(&said), "{}", words(&output));
        }
        assert_eq!(
            run(&["audit", text(given), "--election", &site.id])
                .status
                .code(),
            Some(0)
        );
    }
}

#[test]
fn a_first_copy_that_fails_says_that_it_is_none() {
    let site = Site::new();
    let dir = site.path("copy");
    let dir = dir.to_str().unwrap();
    let file = "cells/0/batches/2";
    let bytes = site.read(file);
    let output = site.with(file, &bytes[..40], || site.run("mirror", &[dir]));
    let text = words(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for said in [
        "no usable copy",
        "nothing there is to be served",
        "What to do",
    ] {
        assert!(text.contains(said), "{said:?} is not in:\n{text}");
    }
    for never in ["Holds", "serve its folder"] {
        assert!(!text.contains(never), "{never:?} is in:\n{text}");
    }
    // However it is named.
    let own = format!("{dir}/public/elections/{}", site.id);
    for given in [dir, &format!("{dir}/public"), &own] {
        for command in ["audit", "result"] {
            let output = run(&[command, given, "--election", &site.id]);
            let text = words(&output);
            assert_eq!(output.status.code(), Some(2), "{command} {given}: {text}");
            assert!(text.contains("an unfinished copy"), "{text}");
            assert!(!text.contains("missing-file"), "{text}");
        }
    }
    // Elsewhere the same files are what they are, whatever is put beside or among them.
    let elsewhere = site.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(&own, elsewhere.join("tree")).unwrap();
    fs::copy(format!("{dir}/incomplete"), elsewhere.join("incomplete")).unwrap();
    fs::copy(
        format!("{dir}/incomplete"),
        elsewhere.join("tree/incomplete"),
    )
    .unwrap();
    let tree = elsewhere.join("tree");
    let output = run(&["audit", tree.to_str().unwrap(), "--election", &site.id]);
    assert_eq!(output.status.code(), Some(1));
    fs::remove_file(tree.join("incomplete")).unwrap();
    fs::rename(tree, &own).unwrap();

    let output = site.run("mirror", &[dir]);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    let output = run(&["audit", dir, "--election", &site.id]);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    // A whole copy stays one, whatever the source shows later.
    let output = site.with(file, &bytes[..40], || site.run("mirror", &[dir, "--json"]));
    let _ = output;
    let output = run(&["audit", dir, "--election", &site.id]);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
}

#[test]
fn a_source_that_lags_is_no_rollback() {
    let site = Site::of(Scene::new());
    let dir = site.path("copy");
    let dir = dir.to_str().unwrap().to_owned();
    let mirror = |source: &str| {
        let output = run(&["mirror", source, &dir, "--election", &site.id, "--json"]);
        (output.status.code(), json(&output))
    };
    assert_eq!(mirror(&site.at).0, Some(0));
    // Another source, which lags: nothing is wrong, and nothing is filed.
    let world = &site.scene.world;
    let older = crate::receipts::early(world, world.nth_head(2) + 1);
    let lagging = site.path("lagging");
    older.publish(&lagging);
    for _ in 0..2 {
        let (code, verdict) = mirror(lagging.to_str().unwrap());
        assert_eq!(code, Some(2), "{verdict:#}");
        let said = verdict["not_covered"].to_string();
        assert!(said.contains("lags behind"), "{said}");
        assert_eq!(verdict["findings"], serde_json::json!([]));
        assert_eq!(verdict["usable"], true);
    }
    assert!(!site.path("copy/conflicts").exists());

    // The same source: not at once, but when it stays so.
    site.scene.show(&older);
    let (code, verdict) = mirror(&site.at);
    let said = verdict["not_covered"].to_string();
    assert_eq!(code, Some(2), "{verdict:#}");
    assert!(said.contains("if it still shows less"), "{said}");
    let memory = site.path("copy/shown.json");
    let mut shown: serde_json::Value = serde_json::from_slice(&fs::read(&memory).unwrap()).unwrap();
    let since = &mut shown[&site.at]["heads"]["behind_since"];
    *since = (since.as_u64().unwrap() - 3_600_000).into();
    fs::write(&memory, shown.to_string()).unwrap();
    let (code, verdict) = mirror(&site.at);
    assert_eq!(code, Some(1), "{verdict:#}");
    assert_eq!(verdict["findings"][0]["code"], "checkpoint-rollback");
    let said = verdict["findings"][0]["evidence"].as_str().unwrap();
    let aside = said.rsplit("is kept as ").next().unwrap();
    assert!(fs::metadata(aside).unwrap().is_file(), "{said}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A receipt in a file, of a vote of cell 0.
fn receipt_file(site: &Site) -> PathBuf {
    let mut writer = Writer::new(&site.scene.world);
    writer.run();
    let receipt = crate::receipts::receipt(&site.scene.world, &writer, 1, true);
    let path = site.path("receipt.json");
    fs::write(&path, receipt.encode().unwrap()).unwrap();
    path
}

#[test]
fn evidence_commands_say_what_they_were_given() {
    let site = Site::new();
    let receipt = receipt_file(&site);
    let of = ["--election", site.id.as_str()];
    let dispute =
        |file: &Path, more: &[&str]| run(&[&["dispute", text(file)], &of[..], more].concat());
    let output = dispute(&receipt, &[]);
    assert_eq!(output.status.code(), Some(2));
    let said = words(&output);
    assert!(said.contains("this is a receipt: give --source"), "{said}");

    // A name that is taken is told before anything is asked for.
    let taken = site.path("taken");
    fs::write(&taken, b"mine").unwrap();
    let nowhere = ["--source", "http://127.0.0.1:1", "--out", text(&taken)];
    let output = dispute(&receipt, &nowhere);
    assert_eq!(
        (output.status.code(), words(&output)),
        (Some(2), String::new())
    );
    assert!(
        talk(&output).contains("is there already"),
        "{}",
        talk(&output)
    );
    let checkpoint = site.path("site/heads/checkpoint");
    let both = ["consistency", text(&checkpoint), text(&checkpoint)];
    let proof = ["--source", site.at.as_str(), "--proof"];
    let output = run(&[&both[..], &of, &proof, &[text(&taken)]].concat());
    assert_eq!(
        (output.status.code(), words(&output)),
        (Some(2), String::new())
    );
    // One that is not needed is not written, and that is said.
    let fresh = site.path("fresh");
    let output = run(&[&both[..], &of, &proof, &[text(&fresh)]].concat());
    assert_eq!(output.status.code(), Some(0));
    assert!(talk(&output).contains("not written"), "{}", talk(&output));
    assert!(!fresh.exists());

    let out = site.path("dispute.json");
    let output = dispute(&receipt, &["--source", &site.at, "--out", text(&out)]);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    assert_eq!(dispute(&out, &[]).status.code(), Some(0));
    let said = words(&dispute(&out, &["--source", &site.at]));
    assert!(said.contains("a dispute's file already"), "{said}");

    let usage = talk(&run(&["consistency", "one", "--election", &site.id]));
    assert!(
        usage.contains("FILE FILE") && usage.contains("--check FILE"),
        "{usage}"
    );
}

#[test]
fn a_damaged_receipt_is_called_damaged() {
    let site = Site::new();
    let file = receipt_file(&site);
    let right = fs::read_to_string(&file).unwrap();
    let judged = |receipt: String, code: &str, says: &str| {
        fs::write(&file, receipt).unwrap();
        let output = run(&["receipt", text(&file), "--election", &site.id, "--json"]);
        let verdict = json(&output);
        assert_eq!(verdict["findings"][0]["code"], code, "{verdict:#}");
        let said = verdict["findings"][0]["evidence"].as_str().unwrap();
        assert!(said.contains(says), "{said}");
    };
    judged(
        right.replacen("A small", "A smell", 1),
        "receipt-invalid",
        "damaged",
    );
    let id = &site.id;
    let other = format!(
        "{}{}",
        if id.starts_with('0') { '1' } else { '0' },
        &id[1..]
    );
    judged(right.replacen(id, &other, 1), "receipt-invalid", "damaged");
    // It may be right, of another election.
    let elsewhere = Scene::of(World::new("elsewhere", PLAN));
    let output = run(&[
        "receipt",
        text(&file),
        "--election",
        &elsewhere.id.to_string(),
        "--json",
    ]);
    assert_eq!(json(&output)["findings"][0]["code"], "receipt-foreign");
}

#[test]
fn a_stale_answer_is_asked_for_again() {
    let site = Site::new();
    let receipt = receipt_file(&site);
    // A cache gives out the cell's first checkpoint, until it was asked three times.
    let stale = fs::read(site.path("site/cells/0/checkpoints/1")).unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    let address = crate::web::serve(&site.path("site"), move |path, _| {
        (path.ends_with("cells/0/checkpoint") && counted.fetch_add(1, Ordering::SeqCst) < 3)
            .then(|| crate::web::Answer::Bytes(stale.clone()))
    });
    let args = [
        "dispute",
        text(&receipt),
        "--election",
        &site.id,
        "--source",
        &address,
    ];
    let output = run(&[&args[..], &["--json"]].concat());
    let verdict = json(&output);
    assert_eq!(verdict["ruling"], "counted", "{verdict:#}");
    assert!(asked.load(Ordering::SeqCst) > 3);
    let said = verdict["not_covered"][0].as_str().unwrap();
    assert!(
        said.contains("of size 1 at 20") && said.contains("UTC"),
        "{said}"
    );
}

#[test]
fn whoever_looks_up_her_place_is_told_as_of_when_and_what_to_do() {
    let site = Site::new();
    let said = words(&site.run("issued", &["--roll-index", "0"]));
    for part in [
        "ISSUED",
        "Source    ",
        "As of     the final head, of 20",
        "What to do",
    ] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    let said = words(&site.run("issued", &["--roll-index", "999"]));
    assert!(
        said.starts_with("NOT ISSUED") && !said.contains("What to do"),
        "{said}"
    );
    let said = words(&site.run("result", &[]));
    assert!(said.contains("which is all of the heads log"), "{said}");
}

#[test]
fn mistyped_ids_and_words_are_explained() {
    let site = Site::new();
    let id = &site.id;
    for (typed, hint) in [
        (id[1..].to_owned(), "this one has 63"),
        (format!("{id}0"), "this one has 65"),
        (format!("{}…", &id[..4]), "cut short"),
        (format!("A{}", &id[1..]), "small letters"),
        (format!("g{}", &id[1..]), "'g' is no hexadecimal digit"),
    ] {
        let output = run(&["audit", &site.at, "--election", &typed]);
        assert_eq!(output.status.code(), Some(2));
        assert!(talk(&output).contains(hint), "{hint}: {}", talk(&output));
    }
    for word in [
        "SPLIT VIEW",
        "rolled-back",
        "NOT CHECKED",
        "no-result",
        "held",
        "late-head",
    ] {
        let output = run(&["explain", word]);
        assert!(words(&output).contains("What to do"), "{word}");
    }
}

#[test]
fn a_watch_says_that_it_looks_and_which_run_found_something() {
    let site = Site::new();
    let state = site.path("state");
    let watch = |source: &str, more: &[&str]| {
        let of = ["watch", source, "--election", site.id.as_str()];
        run(&[&of[..], &["--state", text(&state), "--once"], more].concat())
    };
    // The election is held in years to come, which is what is found of it.
    let output = watch(&site.at, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    let said = words(&output);
    assert!(
        said.contains("head-ahead") && said.contains("see above"),
        "{said}"
    );
    let said = talk(&output);
    assert!(
        said.contains("1 of 1 source read") && said.contains("1 finding still stands"),
        "{said}"
    );
    for silent in ["--quiet", "--json"] {
        assert_eq!(talk(&watch(&site.at, &[silent])), "", "{silent}");
    }
    // A run that finds nothing new says whose findings they are.
    let nowhere = site.path("nowhere");
    let output = watch(text(&nowhere), &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = words(&output);
    assert!(
        said.contains("by an earlier run") && !said.contains("see above"),
        "{said}"
    );
    let output = watch(text(&nowhere), &["--json"]);
    let end = words(&output);
    let end: serde_json::Value = serde_json::from_str(end.lines().last().unwrap()).unwrap();
    assert_eq!(end["raised"], 3, "{end:#}");
    assert_eq!(end["raised_before"], 3);

    // A folder that nobody brings up to date is late by nature.
    let open = World::new(
        "open",
        Plan {
            finished: false,
            ..PLAN
        },
    );
    let folder = site.path("folder");
    open.publish(&folder);
    let id = open.keys.election.id();
    let state = site.path("other");
    let mut watcher = Watcher::open(&id, &[text(&folder).to_owned()], &[], &state).unwrap();
    let said = format!("{:?}", watcher.round(Some(CLOSING)).unwrap());
    assert!(
        said.contains("late-head") && said.contains("folders on this machine"),
        "{said}"
    );
}

#[test]
fn without_the_manifest_nothing_is_bounded() {
    let site = Site::new();
    let other = Scene::of(World::new("elsewhere", PLAN));
    let manifest = fs::read(other.path("site/manifest.json")).unwrap();
    site.with("manifest.json", &manifest, || {
        let verdict = json(&site.run("audit", &["--json"]));
        assert_eq!(verdict["findings"][0]["code"], "manifest-mismatch");
        assert_eq!(verdict["findings"][0]["votes_at_most"], 1u64 << 40);
        let said = words(&site.run("audit", &[]));
        assert!(said.contains("affects any number of votes"), "{said}");
    });
}
