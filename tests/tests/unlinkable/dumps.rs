//! Everything that either side has written down, value by value.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use protocol::credential::{DeviceSecret, blind};
use protocol::entry::{Entry, Genesis};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::empty_root;
use sqlx::{Connection as _, Row as _, SqliteConnection};
use tests::demo::Demo;
use tests::published::Published;
use tests::{files, folder, program};

use crate::detector::{Value, Window, common, spelled, windows};

/// Every value of every table, numbers as 8 bytes; and what created the tables.
async fn tables(path: &Path) -> (Vec<Value>, Vec<u8>) {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .read_only(true);
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    let mut values = Vec::new();
    let mut schema = Vec::new();
    let objects = sqlx::query("SELECT type, name, sql FROM sqlite_master")
        .fetch_all(&mut database)
        .await
        .unwrap();
    for object in objects {
        let (kind, name): (String, String) = (object.get(0), object.get(1));
        schema.extend(
            object
                .get::<Option<String>, _>(2)
                .unwrap_or_default()
                .bytes(),
        );
        schema.extend(format!("\n{name}\n").bytes());
        if kind != "table" {
            continue;
        }
        let columns = sqlx::query("SELECT name FROM pragma_table_info(?)")
            .bind(&name)
            .fetch_all(&mut database)
            .await
            .unwrap();
        for column in columns {
            let column: String = column.get(0);
            let select =
                format!("SELECT typeof(\"{column}\"), CAST(\"{column}\" AS BLOB) FROM \"{name}\"");
            for row in sqlx::query(sqlx::AssertSqlSafe(select))
                .fetch_all(&mut database)
                .await
                .unwrap()
            {
                let (kind, bytes): (String, Vec<u8>) = (row.get(0), row.get(1));
                let place = format!("{}: {name}.{column}", path.display());
                if kind == "integer" {
                    let number: i64 = String::from_utf8(bytes).unwrap().parse().unwrap();
                    values.push((place, number.to_be_bytes().to_vec()));
                } else {
                    values.extend(spelled(&place, &bytes));
                }
            }
        }
    }
    database.close().await.unwrap();
    (values, schema)
}

/// One side: its databases' values, its published files, and the bytes of all its files as they lie on the disk.
struct Side {
    values: Vec<Value>,
    raw: Vec<Value>,
    schema: Vec<u8>,
}

impl Side {
    async fn of(data: &Path, published: &Published, part: &str) -> Self {
        let mut side = Self {
            values: Vec::new(),
            raw: Vec::new(),
            schema: Vec::new(),
        };
        // Copied first: looking at a database in WAL mode writes to it.
        let copy = folder();
        files::write(copy.path(), &files::contents(&data.join(part)));
        for (path, bytes) in files::contents(copy.path()) {
            if path.ends_with(".sqlite") {
                let (values, schema) = tables(&copy.path().join(&path)).await;
                assert!(!values.is_empty(), "{path}");
                side.values.extend(values);
                side.schema.extend(schema);
            }
            side.raw.push((format!("{part}/{path}, raw"), bytes));
        }
        for (path, bytes) in files::contents(&published.folder.join(part)) {
            side.values
                .extend(spelled(&format!("published {part}/{path}"), &bytes));
        }
        side
    }
}

/// What everybody knows, and both sides may hence hold.
fn public(election: &Election, schemas: &[&[u8]]) -> HashSet<Window> {
    let id = election.id();
    let mut known = Vec::new();
    // The manifest, with its keys as bytes.
    known.extend(spelled("", election.manifest_bytes()));
    known.push((String::new(), id.as_bytes().to_vec()));
    for log in election.logs() {
        let origin = election.origin(*log);
        // A checkpoint's first line, and how its signature line begins.
        let text = format!("{origin}\n\u{2014} {origin} ");
        known.extend(spelled("", text.as_bytes()));
        // Batch files and batches begin alike.
        let head = [b"tallyroot/v1/batch\0", &id.as_bytes()[..], &log.encode()].concat();
        known.extend(spelled("", &head));
        let genesis = Genesis::of(election, *log).encode();
        let len = u16::try_from(genesis.len()).unwrap().to_be_bytes();
        known.push((String::new(), [&len[..], &genesis].concat()));
        let empty = [&[0; 8][..], empty_root().as_bytes(), &1u64.to_be_bytes()].concat();
        known.push((String::new(), empty));
    }
    known.extend(
        schemas
            .iter()
            .map(|schema| (String::new(), schema.to_vec())),
    );
    known.iter().flat_map(|(_, bytes)| windows(bytes)).collect()
}

/// Times that are rounded up to the grain say no more than which second it was: they are made zeroes. Exact ones stay.
fn without_grains(values: &mut [Value], election: &Election) {
    let manifest = election.manifest();
    let (from, grain) = (manifest.times.registration, manifest.batch_wait_ms);
    for (_, bytes) in values {
        for at in 0..bytes.len().saturating_sub(7) {
            let number = u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
            if number % grain == 0 && (from..from + 3_600_000).contains(&number) {
                bytes[at..at + 8].fill(0);
            }
        }
    }
}

/// What would join a voter and a vote if it were written to a log.
async fn secrets(data: &Path, published: &Published) -> Vec<Value> {
    let election = &published.election;
    let mut secrets: Vec<Value> = Vec::new();
    let mut add = |what: &str, bytes: &[u8]| secrets.push((what.to_owned(), bytes.to_vec()));
    for secret in fs::read(data.join("voters/secrets")).unwrap().chunks(32) {
        add("a device's secret", secret);
        let secret: [u8; 32] = secret.try_into().unwrap();
        let secret = DeviceSecret::from_bytes(secret);
        for (registrar, key) in (0u16..).zip(election.registrar_keys()) {
            let blinded = blind(&secret, &election.id(), registrar, key).unwrap();
            add("a blinded message", blinded.message());
            add("a blinded message's digest", &blinded.digest());
        }
    }
    for cell in 0..election.cells() {
        for entry in published.batches(LogId::Cell(cell)).concat() {
            let Entry::Vote(vote) = entry else { continue };
            add("a credential", &vote.credential);
            add("a ballot's signature", &vote.signature);
            add("a vote's leaf hash", &vote.leaf_hash().0);
            for signature in &vote.signatures {
                add("a registrar's signature", signature);
            }
        }
    }
    for registrar in 0..election.registrar_keys().len() {
        let folder = data.join(format!("registrars/{registrar}"));
        let sheet = fs::read_to_string(folder.join("codes.csv")).unwrap();
        for line in sheet.lines().skip(1) {
            let (identity, code) = line.split_once(',').unwrap();
            add("an identity", identity.as_bytes());
            add("a code", code.as_bytes());
            add("a code", code.replace('-', "").as_bytes());
            add("a code", code.to_lowercase().as_bytes());
        }
        let (values, _) = tables(&folder.join("registrar.sqlite")).await;
        for (place, bytes) in values {
            if place.ends_with("voter.salt") || place.ends_with("voter.code_hmac") {
                add(&place, &bytes);
            }
        }
    }
    secrets
}

#[tokio::test(flavor = "multi_thread")]
async fn registrars_and_cells_hold_nothing_in_common_and_nothing_is_logged() {
    let voters = 240;
    let folder = folder();
    let demo = Demo::new(&folder.path().join("election"), voters, 2, 2);
    let stderr = folder.path().join("stderr");
    let mut command = std::process::Command::new(program("tallyroot"));
    let status = command
        .args(["demo", "--data", tests::arg(&demo.data), "--exit", "--json"])
        .args(&demo.options)
        .env("RUST_LOG", "trace")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&stderr).unwrap())
        .status()
        .unwrap();
    assert!(status.success());
    let published = Published::of(&demo.data);
    let election = &published.election;

    let mut registrars = Side::of(&demo.data, &published, "registrars").await;
    let mut cells = Side::of(&demo.data, &published, "cells").await;
    let public = public(election, &[&registrars.schema, &cells.schema]);
    // The exact times at which nothing happened but the end of a grain.
    for values in [&mut registrars, &mut cells] {
        without_grains(&mut values.values, election);
        without_grains(&mut values.raw, election);
    }
    let found = [
        common(&registrars.values, &cells.values, &public),
        // Pages that a database has given up, and its write-ahead log, are on the disk too.
        common(&registrars.values, &cells.raw, &public),
        common(&cells.values, &registrars.raw, &public),
    ]
    .concat();
    assert_eq!(found, [], "{} values on both sides", found.len());

    // It would be found: a credential that a registrar keeps, as bytes or as text; an exact time on both sides.
    let vote = published
        .batches(LogId::Cell(0))
        .concat()
        .into_iter()
        .find_map(|entry| match entry {
            Entry::Vote(vote) => Some(vote),
            _ => None,
        })
        .unwrap();
    let credential = hex::encode(vote.credential);
    for kept in [
        &vote.credential[..],
        &vote.credential[20..28],
        credential.as_bytes(),
    ] {
        let kept = spelled("kept by a registrar", kept);
        assert!(!common(&kept, &cells.values, &public).is_empty());
        assert!(!common(&kept, &cells.raw, &public).is_empty());
    }
    let time = election.manifest().times.registration + 1_234;
    let grain = election.manifest().batch_wait_ms;
    for (time, joins) in [(time, true), (time.next_multiple_of(grain), false)] {
        let mut time = [("a time".to_owned(), time.to_be_bytes().to_vec())];
        without_grains(&mut time, election);
        assert_eq!(!common(&time, &time, &public).is_empty(), joins);
    }

    // All that the process said, at the most talkative.
    let said = fs::read(&stderr).unwrap();
    assert!(said.len() > 100_000, "{} bytes traced", said.len());
    let secrets = secrets(&demo.data, &published).await;
    assert!(secrets.len() > voters as usize * 12);
    let traced: Vec<Value> = said
        .split(|byte| *byte == b'\n')
        .flat_map(|line| spelled(&String::from_utf8_lossy(line), line))
        .collect();
    assert_eq!(common(&secrets, &traced, &public), []);
    for secret in secrets.iter().step_by(97) {
        let line = format!("TRACE {:?}", secret.1);
        let traced = spelled(&line, line.as_bytes());
        let found = common(std::slice::from_ref(secret), &traced, &public);
        assert!(!found.is_empty(), "{line}");
    }
}
