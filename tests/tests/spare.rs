//! Keys are switched in the middle of an election: voters' devices go by the authority's notices, and their receipts carry them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::demo::PATIENCE;
use tests::local::Local;
use tests::published::{Published, codes};
use tests::{arg, folder, run, start};

struct Voter<'a> {
    local: &'a Local,
    data: &'a Path,
    folder: PathBuf,
    guest: u32,
}

impl Voter<'_> {
    /// Votes until the receipt is sealed, and has the separate program check it, offline and against the ledger.
    fn votes(&self) -> Value {
        fs::create_dir_all(&self.folder).unwrap();
        let published = Published::of(self.data);
        let id = published.id();
        let code = &codes(self.data, 1, &format!("~guest {}", self.guest))[0];
        let receipt = self.folder.join("receipt.json");
        let said = run(
            "tallyroot",
            &[
                "vote",
                &self.local.url,
                "--election",
                &id,
                "--code",
                code,
                "--choose",
                "Mayor=Ada Lovelace",
                "--secret",
                arg(&self.folder.join("secret.json")),
                "--receipt",
                arg(&receipt),
                "--json",
            ],
        );
        assert_eq!(said.code, 0, "{said:#?}");
        assert_eq!(said.json()["status"], "sealed", "{said:#?}");
        for source in [None, Some(self.local.url.as_str())] {
            let mut arguments = vec!["receipt", arg(&receipt), "--election", &id, "--json"];
            if let Some(source) = source {
                arguments.extend(["--source", source]);
            }
            let checked = run("tallyroot-verify", &arguments);
            assert_eq!(checked.code, 0, "{checked:#?}");
        }
        serde_json::from_slice(&fs::read(receipt).unwrap()).unwrap()
    }
}

fn switch(local: &Local, data: &Path, which: &[&str]) {
    let id = Published::of(data).id();
    let key = data.join("authority/main.key");
    let mut arguments = vec!["election", "switch", &local.url, "--election", &id];
    arguments.extend(["--key", arg(&key)]);
    arguments.extend(which);
    let said = run("tallyroot", &arguments);
    assert_eq!(said.code, 0, "{said:#?}");
}

fn wait_for(local: &Local, name: &str, state: &str) {
    let begun = Instant::now();
    while local.process(name)["state"] != state {
        assert!(begun.elapsed() < PATIENCE, "{name} is never {state}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn devices_follow_switches_of_a_cell_and_of_the_heads_log() {
    let folder = folder();
    let data = folder.path().join("election");
    let mut local = Local::of_demo(&data, &["--voters", "40"], &[]);
    let voter = |local: &Local, guest| {
        let folder = folder.path().join(format!("voter-{guest}"));
        Voter {
            local,
            data: &data,
            folder,
            guest,
        }
        .votes()
    };
    let switches = |receipt: &Value| receipt["switches"].as_array().unwrap().len();
    assert_eq!(switches(&voter(&local, 0)), 0);

    // The cell's process holds the main key, and ends; started again, it takes the spare.
    switch(&local, &data, &["--cell", "0"]);
    wait_for(&local, "cell-0", "stopped");
    local.up(&[]);
    assert_eq!(
        switches(&voter(&local, 1)),
        1,
        "a new vote, under the spare"
    );
    assert_eq!(switches(&voter(&local, 0)), 1, "an old one, proved anew");

    // For the heads log, the spare signs the very checkpoint that includes the notice.
    local.kill("anchor");
    let anchor = local.process("anchor");
    let config = PathBuf::from(anchor["config"].as_str().unwrap());
    let text = fs::read_to_string(&config).unwrap();
    let without: String = text
        .lines()
        .filter(|line| !line.starts_with("main = "))
        .map(|line| format!("{line}\n"))
        .collect();
    let spare = config.with_file_name("anchor-spare.toml");
    fs::write(&spare, without).unwrap();
    let log = fs::File::create(folder.path().join("anchor.log")).unwrap();
    let _anchor = Killed(start(
        "tallyroot",
        &["serve", "anchor", "--config", arg(&spare)],
        Stdio::null(),
        log.into(),
    ));
    let begun = Instant::now();
    while !tests::local::is_up(anchor["listen"].as_str().unwrap()) {
        assert!(begun.elapsed() < PATIENCE, "the anchor does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    switch(&local, &data, &["--heads"]);
    assert_eq!(switches(&voter(&local, 2)), 2);

    let id = Published::of(&data).id();
    let public = data.join("public");
    let audit = run(
        "tallyroot-verify",
        &["audit", arg(&public), "--election", &id, "--json"],
    );
    assert_eq!(audit.code, 0, "{} {}", audit.stdout, audit.stderr);
}
