//! What `--json` prints is what the published schemas say, judged by an independent validator.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use verifier_cli::schema;

use crate::common::world::{Plan, World, Writer};
use crate::receipts::receipt;

fn published(command: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../specs/schemas/{command}.json"))
}

/// `TALLYROOT_WRITE_VECTORS=1` writes them.
#[test]
fn the_published_schemas_are_those_of_the_program() {
    for command in schema::COMMANDS {
        let schema = schema::of(command).unwrap();
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        if std::env::var_os("TALLYROOT_WRITE_VECTORS").is_some() {
            fs::write(published(command), text).unwrap();
            continue;
        }
        assert_eq!(
            fs::read_to_string(published(command)).unwrap(),
            text,
            "{command}"
        );
        let printed = run(&["schema", command]);
        assert_eq!(printed.1, text);
    }
    assert_eq!(run(&["schema", "explain"]).0, 2);
}

fn run(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tallyroot-verify"))
        .args(args)
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

const VALIDATE: &str = "
import json, sys
from jsonschema import Draft202012Validator
for schema, document in zip(sys.argv[1::2], sys.argv[2::2]):
    schema = json.load(open(schema))
    Draft202012Validator.check_schema(schema)
    lines = open(document).read()
    for line in ([lines] if not document.endswith('.jsonl') else lines.splitlines()):
        Draft202012Validator(schema).validate(json.loads(line))
";

fn validate(pairs: &[(PathBuf, PathBuf)]) -> std::process::Output {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin/python");
    let mut command = Command::new(python);
    command.args(["-c", VALIDATE]);
    for (schema, document) in pairs {
        command.arg(schema).arg(document);
    }
    command.output().unwrap()
}

#[test]
fn every_command_prints_what_its_schema_says() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let plan = Plan {
        votes: 60,
        issued: 80,
        batch: 20,
        finished: true,
    };
    let world = World::witnessed("schema", plan);
    let id = world.keys.election.id().to_string();
    let (right, wrong) = (at("right"), at("wrong"));
    world.publish(Path::new(&right));
    let mut forged = World::witnessed("schema", plan);
    forged.change_votes(0, 0, |votes| {
        votes.remove(0);
    });
    forged.publish(Path::new(&wrong));
    fs::remove_file(folder.path().join("wrong/results.json")).unwrap();
    let mut writer = Writer::new(&world);
    writer.run();
    let sealed = at("receipt.json");
    fs::write(&sealed, receipt(&world, &writer, 1, true).encode().unwrap()).unwrap();
    let (ours, theirs) = (
        format!("{right}/cells/0/checkpoint"),
        format!("{wrong}/cells/0/checkpoint"),
    );
    let (copy, package, states) = (at("copy"), at("package.tar"), [at("w1"), at("w2")]);

    let runs: Vec<(&str, Vec<&str>)> = vec![
        ("audit", vec!["audit", &right, "--evidence", &sealed]),
        ("audit", vec!["audit", &wrong, "--evidence", &sealed]),
        ("audit", vec!["audit", "/nowhere"]),
        ("bundle", vec!["bundle", &right, &package]),
        ("bundle", vec!["bundle", "/nowhere", "/nowhere/package.tar"]),
        (
            "consistency",
            vec![
                "consistency",
                &ours,
                &theirs,
                "--source",
                &right,
                "--source",
                &wrong,
            ],
        ),
        ("dispute", vec!["dispute", &sealed, "--source", &wrong]),
        ("issued", vec!["issued", &right, "--roll-index", "1"]),
        ("mirror", vec!["mirror", &right, &copy]),
        (
            "anchors",
            vec![
                "anchors",
                &right,
                "--settle",
                "0",
                "--anchor",
                "local=s3://votes?endpoint=http://127.0.0.1:9",
            ],
        ),
        ("receipt", vec!["receipt", &sealed, "--source", &right]),
        ("receipt", vec!["receipt", &ours]),
        ("reconcile", vec!["reconcile", &right]),
        ("reconcile", vec!["reconcile", &wrong]),
        ("result", vec!["result", &right]),
        ("result", vec!["result", &wrong]),
        ("sample", vec!["sample", &right]),
        (
            "watch",
            vec!["watch", &right, "/nowhere", "--once", "--state", &states[0]],
        ),
        (
            "watch",
            vec![
                "watch",
                &wrong,
                "--rounds",
                "2",
                "--interval",
                "1",
                "--state",
                &states[1],
            ],
        ),
    ];
    let mut pairs = Vec::new();
    for (n, (command, mut args)) in runs.into_iter().enumerate() {
        args.extend(["--election", &id, "--json"]);
        let (_, stdout) = run(&args);
        assert!(!stdout.is_empty(), "{args:?}");
        let ending = if command == "watch" { "jsonl" } else { "json" };
        let document = PathBuf::from(at(&format!("{n}.{ending}")));
        fs::write(&document, stdout).unwrap();
        pairs.push((published(command), document));
    }
    let covered: std::collections::BTreeSet<_> = pairs.iter().map(|(schema, _)| schema).collect();
    assert_eq!(covered.len(), schema::COMMANDS.len());
    let judged = validate(&pairs);
    assert!(judged.status.success(), "{judged:?}");
    // The validator can say no.
    let crossed = [(published("audit"), pairs.last().unwrap().1.clone())];
    assert!(!validate(&crossed).status.success());
}
