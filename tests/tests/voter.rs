//! `tallyroot vote`: a code in, a receipt out, whatever breaks off in between.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use protocol::entry::Entry;
use protocol::ids::LogId;
use rand::RngExt as _;
use serde_json::Value;
use tests::demo::{Demo, Up};
use tests::published::{Published, codes};
use tests::{Said, arg, folder, run, seed, start};

const REGISTRARS: u16 = 2;

/// A voter at her own machine.
#[derive(Clone)]
struct Voter {
    folder: PathBuf,
    site: String,
    election: String,
    codes: Vec<String>,
}

impl Voter {
    fn new(folder: &Path, up: &Up, published: &Published, codes: Vec<String>) -> Self {
        fs::create_dir(folder).unwrap();
        Self {
            folder: folder.to_owned(),
            site: up.url.clone(),
            election: published.id(),
            codes,
        }
    }

    fn receipt(&self) -> PathBuf {
        self.folder.join("receipt.json")
    }

    fn arguments(&self, choices: &[&str], wait: &str) -> Vec<String> {
        let mut arguments: Vec<String> = [
            "vote",
            &self.site,
            "--election",
            &self.election,
            "--secret",
            arg(&self.folder.join("secret.json")),
            "--receipt",
            arg(&self.receipt()),
            "--wait",
            wait,
            "--json",
        ]
        .map(str::to_owned)
        .to_vec();
        for code in &self.codes {
            arguments.extend(["--code".to_owned(), code.clone()]);
        }
        for choice in choices {
            arguments.extend(["--choose".to_owned(), (*choice).to_owned()]);
        }
        arguments
    }

    fn vote(&self, choices: &[&str], wait: &str) -> Said {
        let arguments = self.arguments(choices, wait);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = run("tallyroot", &arguments);
        assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
        for code in &self.codes {
            assert!(!said.stderr.contains(code.as_str()), "{}", said.stderr);
        }
        said
    }

    fn vote_by_form(&self, form: &str) -> Said {
        let path = self.folder.join("form.toml");
        fs::write(&path, form).unwrap();
        let empty = Self {
            codes: Vec::new(),
            ..self.clone()
        };
        let mut arguments = empty.arguments(&[], "0");
        arguments.extend(["--form".to_owned(), arg(&path).to_owned()]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = run("tallyroot", &arguments);
        for code in &self.codes {
            assert!(!said.stderr.contains(code.as_str()), "{}", said.stderr);
        }
        said
    }

    /// What the separate program says of the receipt.
    fn checked(&self, source: Option<&str>) -> Value {
        let receipt = self.receipt();
        let mut arguments = vec![
            "receipt",
            arg(&receipt),
            "--election",
            &self.election,
            "--json",
        ];
        if let Some(source) = source {
            arguments.extend(["--source", source]);
        }
        let said = run("tallyroot-verify", &arguments);
        assert_eq!(said.code, 0, "{said:#?}");
        serde_json::from_str(&said.stdout).unwrap()
    }
}

const CHOICES: [&str; 4] = [
    "Mayor=Grace Hopper",
    "Mayor=Ada Lovelace",
    "What should the new park have?=Pond",
    "What should the new park have?=Playground",
];

fn votes(published: &Published) -> usize {
    (0..published.election.cells())
        .flat_map(|cell| published.batches(LogId::Cell(cell)).concat())
        .filter(|entry| matches!(entry, Entry::Vote(_)))
        .count()
}

#[test]
fn from_a_code_to_a_sealed_receipt() {
    let folder = folder();
    let demo = Demo::new(&folder.path().join("election"), 40, 2, REGISTRARS);
    let up = demo.stay_up();
    let published = Published::of(&demo.data);
    let guest = |guest: u32| codes(&demo.data, REGISTRARS, &format!("~guest {guest}"));
    let before = votes(&published);

    // Recorded at once, sealed a little later; the receipt on the disk grows with it.
    let voter = Voter::new(&folder.path().join("one"), &up, &published, guest(0));
    let said = voter.vote(&CHOICES, "0");
    assert_eq!(said.code, 0, "{}", said.stderr);
    let recorded = voter.checked(None)["vote"].clone();
    if said.json()["status"] == "recorded" {
        assert_eq!(recorded["sealed"], Value::Null);
    }
    let chosen: Vec<(&str, Vec<&str>)> = recorded["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| {
            let options = choice["options"].as_array().unwrap();
            (
                choice["contest"].as_str().unwrap(),
                options
                    .iter()
                    .map(|option| option.as_str().unwrap())
                    .collect(),
            )
        })
        .collect();
    assert_eq!(
        chosen,
        [
            ("Mayor", vec!["Grace Hopper", "Ada Lovelace"]),
            ("Open the library on Sundays?", vec![]),
            ("What should the new park have?", vec!["Playground", "Pond"]),
        ]
    );

    let said = voter.vote(&CHOICES, "60");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(said.json()["status"], "sealed");
    let public = demo.data.join("public");
    for source in [None, Some(up.url.as_str()), Some(arg(&public))] {
        let checked = voter.checked(source);
        assert_eq!(
            checked["vote"]["index"], recorded["index"],
            "the same place"
        );
        assert_eq!(checked["vote"]["cell"], recorded["cell"]);
        assert_ne!(checked["vote"]["sealed"], Value::Null);
        if source.is_some() {
            assert_eq!(checked["ledger"]["in_ledger"], true);
            assert_eq!(checked["ledger"]["counted"], "covered");
        }
    }

    // Her mind cannot be changed, and the receipt of what counts stays.
    let receipt = fs::read(voter.receipt()).unwrap();
    let said = voter.vote(&["Mayor=Alan Turing"], "0");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("other-ballot"), "{}", said.stderr);
    assert_eq!(fs::read(voter.receipt()).unwrap(), receipt);
    // Another voter's code beside this secret is not hers, and is not passed over.
    let mut neighbour = voter.clone();
    neighbour.codes = guest(1);
    let said = neighbour.vote(&CHOICES, "0");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("--secret"), "{}", said.stderr);
    neighbour.codes.extend(guest(1));
    let said = neighbour.vote(&CHOICES, "0");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("2 registrars"), "{}", said.stderr);
    // In whatever way a code is typed, it is the same.
    let mut careless = voter.clone();
    for code in &mut careless.codes {
        *code = code.to_lowercase().replace('-', " ");
    }
    assert_eq!(careless.vote(&CHOICES, "0").code, 0);
    let sealed = &voter.checked(None)["vote"]["sealed"];
    assert_ne!(*sealed, Value::Null, "a sealed receipt is never less again");
    // Without a choice, a blank ballot must be meant.
    let said = voter.vote(&[], "0");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("--blank"), "{}", said.stderr);
    // Nor can she have a second credential.
    fs::remove_file(voter.folder.join("secret.json")).unwrap();
    let said = voter.vote(&CHOICES, "0");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("--receipt"), "{}", said.stderr);
    fs::remove_file(voter.receipt()).unwrap();
    let said = voter.vote(&CHOICES, "0");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("other-message"), "{}", said.stderr);
    assert_eq!(votes(&published), before + 1);

    // Codes that are not hers, or of nobody: nothing is cast.
    let swapped = guest(1).into_iter().rev().collect();
    let invented = vec!["00000-00000-00000-00000".to_owned(); 2];
    for (name, wrong) in [("swapped", swapped), ("invented", invented)] {
        let stranger = Voter::new(&folder.path().join(name), &up, &published, wrong);
        let said = stranger.vote(&CHOICES, "0");
        assert_eq!(said.code, 1, "{}", said.stderr);
        assert!(said.stderr.contains("unknown-code"), "{}", said.stderr);
        assert!(!stranger.receipt().exists());
    }
    // A code too few, an option that does not exist, a choice twice: said before anything is sent.
    let mut hasty = Voter::new(&folder.path().join("hasty"), &up, &published, guest(2));
    for wrong in ["Mayor=Nobody", "Nobody=Ada Lovelace", "Mayor", ""] {
        let said = hasty.vote(&[wrong], "0");
        assert_eq!(said.code, 1, "{}", said.stderr);
        assert!(
            said.stderr.contains("Mayor=Ada Lovelace"),
            "{}",
            said.stderr
        );
    }
    let said = hasty.vote(&["Mayor=Ada Lovelace", "Mayor=Ada Lovelace"], "0");
    assert_eq!(said.code, 1, "{}", said.stderr);
    hasty.codes.pop();
    let said = hasty.vote(&CHOICES, "0");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("--code"), "{}", said.stderr);
    // A secret file that is something else is neither used nor replaced.
    let other = "{\"about\":\"\",\"election\":\"0\",\"secret\":\"\",\"signatures\":[]}";
    let foreign = other.replace("\"0\"", &format!("\"{}\"", "0".repeat(64)));
    for (secret, words) in [
        ("dear diary", "not a secret file"),
        ("", "not a secret file"),
        (other, "not a secret file"),
        (foreign.as_str(), "--secret"),
    ] {
        let path = hasty.folder.join("secret.json");
        fs::write(&path, secret).unwrap();
        let said = hasty.vote(&CHOICES, "0");
        assert_eq!(said.code, 1, "{}", said.stderr);
        assert!(said.stderr.contains(words), "{}", said.stderr);
        assert_eq!(fs::read_to_string(path).unwrap(), secret);
    }
    assert_eq!(votes(&published), before + 1);

    // A form keeps codes and choices out of the arguments, which others on the machine can see; and what is wrong in it is not repeated.
    let discreet = Voter::new(&folder.path().join("form"), &up, &published, guest(1));
    for (form, words) in [
        ("codes = [", "line 1"),
        ("\nsecret = 1", "line 2"),
        ("[choices]\nMayor = [\"Nobody\"]", "no option"),
    ] {
        let said = discreet.vote_by_form(&format!("{form} # {}", discreet.codes[0]));
        assert_eq!(said.code, 1, "{}", said.stderr);
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
    let said = discreet.vote_by_form(&format!(
        "codes = {:?}\n[choices]\nMayor = [\"Grace Hopper\", \"Ada Lovelace\"]\n",
        discreet.codes
    ));
    assert_eq!(said.code, 0, "{}", said.stderr);
    let options = &discreet.checked(None)["vote"]["choices"][0]["options"];
    assert_eq!(
        *options,
        serde_json::json!(["Grace Hopper", "Ada Lovelace"])
    );
    assert_eq!(votes(&published), before + 2);
}

#[test]
fn killed_at_any_moment_and_run_again() {
    let folder = folder();
    let demo = Demo::new(&folder.path().join("election"), 40, 2, REGISTRARS);
    let up = demo.stay_up();
    let published = Published::of(&demo.data);
    let before = votes(&published);
    let mut rng = seed::generator("voter");
    for guest in 0..3u32 {
        let voter = Voter::new(
            &folder.path().join(format!("voter-{guest}")),
            &up,
            &published,
            codes(&demo.data, REGISTRARS, &format!("~guest {guest}")),
        );
        for _ in 0..6 {
            let arguments = voter.arguments(&CHOICES, "0");
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let mut child = start("tallyroot", &arguments, Stdio::null(), Stdio::null());
            // Signing in takes some ten milliseconds, casting up to the second that a small batch waits.
            std::thread::sleep(Duration::from_millis(rng.random_range(0..300)));
            // It may have ended by then.
            let _ = child.kill();
            child.wait().unwrap();
        }
        let said = voter.vote(&CHOICES, "60");
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert_eq!(said.json()["status"], "sealed");
        assert_eq!(voter.checked(Some(&up.url))["ledger"]["in_ledger"], true);
    }
    assert_eq!(votes(&published), before + 3);
}

/// What a demo suggests can be copied as it stands, line after line: nobody's secret or receipt is another's.
#[test]
fn the_suggested_commands_work_one_after_the_other() {
    let folder = folder();
    let demo = Demo::new(&folder.path().join("election"), 20, 1, REGISTRARS);
    let told = folder.path().join("told");
    let _up = demo.stay_up_saying(fs::File::create(&told).unwrap().into());
    let told = fs::read_to_string(told).unwrap();
    let joined = told.replace("\\\n", " ");
    let lines = joined.lines();
    let commands: Vec<&str> = lines
        .filter(|line| line.contains("tallyroot vote "))
        .collect();
    assert_eq!(commands.len(), 3, "{told}");
    for (n, command) in commands.iter().enumerate() {
        let said: Said = std::process::Command::new("sh")
            .args(["-c", command])
            .current_dir(folder.path())
            .output()
            .unwrap()
            .into();
        assert_eq!(said.code, 0, "{command}: {said:#?}");
        let receipts = fs::read_dir(folder.path()).unwrap().filter(|file| {
            let name = file.as_ref().unwrap().file_name();
            name.to_str().unwrap().ends_with("-receipt.json")
        });
        assert_eq!(receipts.count(), n + 1);
    }
}
