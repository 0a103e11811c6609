//! Witnesses as processes of their own: an election under a quorum, whatever becomes of single ones; an operator who forks; kill -9 at any moment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use protocol::checkpoint::Checkpoint;
use protocol::cosignature::{self, WitnessKey};
use protocol::ed25519::SigningKey;
use protocol::ids::LogId;
use protocol::merkle::{Hash, empty_root, leaf_hash, node_hash};
use protocol::note::{KeyType, NoteSignature, SignedNote, VerifierKey};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tests::demo::PATIENCE;
use tests::local::Local;
use tests::published::{Published, codes};
use tests::{arg, folder, program, run};

/// What a witness answers.
struct Answer {
    status: u16,
    kind: String,
    body: String,
}

struct Client {
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    fn new() -> Self {
        Self {
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(20))
                .build()
                .unwrap(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
        }
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Option<Answer> {
        self.runtime.block_on(async {
            let answer = request.send().await.ok()?;
            let status = answer.status().as_u16();
            let kind = answer.headers().get("content-type");
            let kind = kind.map_or("", |kind| kind.to_str().unwrap()).to_owned();
            let body = answer.text().await.ok()?;
            Some(Answer { status, kind, body })
        })
    }

    fn add(&self, url: &str, old: u64, proof: &[Hash], note: &[u8]) -> Option<Answer> {
        let mut body = format!("old {old}\n").into_bytes();
        for hash in proof {
            body.extend(format!("{}\n", hash.to_base64()).into_bytes());
        }
        body.push(b'\n');
        body.extend(note);
        self.send(self.http.post(format!("{url}/add-checkpoint")).body(body))
    }

    /// The newest checkpoint that a witness shows of a log.
    fn shown(&self, url: &str, origin: &str) -> Option<(Checkpoint, String)> {
        let hash = hex::encode(Sha256::digest(origin));
        let answer = self.send(self.http.get(format!("{url}/{hash}/checkpoint")))?;
        if answer.status != 200 {
            return None;
        }
        let note = SignedNote::parse(answer.body.as_bytes()).unwrap();
        Some((Checkpoint::parse_body(note.text()).unwrap(), answer.body))
    }
}

fn wait(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// A guest votes until her receipt is sealed; the separate program names the witnesses whose cosignatures are in it.
fn vote(local: &Local, data: &Path, at: &Path, guest: u32) -> Vec<String> {
    fs::create_dir_all(at).unwrap();
    let id = Published::of(data).id();
    let code = &codes(data, 1, &format!("~guest {guest}"))[0];
    let receipt = at.join("receipt.json");
    let secret = at.join("secret.json");
    let said = run(
        "tallyroot",
        &[
            "vote",
            &local.url,
            "--election",
            &id,
            "--code",
            code,
            "--choose",
            "Mayor=Ada Lovelace",
            "--secret",
            arg(&secret),
            "--receipt",
            arg(&receipt),
            "--json",
        ],
    );
    assert_eq!(said.code, 0, "{said:#?}");
    assert_eq!(said.json()["status"], "sealed", "{said:#?}");
    let checked = run(
        "tallyroot-verify",
        &["receipt", arg(&receipt), "--election", &id, "--json"],
    );
    assert_eq!(checked.code, 0, "{checked:#?}");
    let verdict: Value = serde_json::from_str(&checked.stdout).unwrap();
    let names = find(&verdict, "witnesses").unwrap_or_else(|| panic!("{verdict}"));
    let names = names.as_array().unwrap().iter();
    names
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

/// The first member of this name, however deep.
fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members
            .get(name)
            .or_else(|| members.values().find_map(|value| find(value, name))),
        Value::Array(items) => items.iter().find_map(|value| find(value, name)),
        _ => None,
    }
}

fn url(local: &Local, name: &str) -> String {
    format!("http://{}", local.process(name)["listen"].as_str().unwrap())
}

fn evidence(data: &Path, witness: u32, origin: &str) -> Vec<(String, Value)> {
    let hash = hex::encode(Sha256::digest(origin));
    let folder = data.join(format!("witnesses/{witness}/state/logs/{hash}/evidence"));
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (
                name,
                serde_json::from_slice(&fs::read(path).unwrap()).unwrap(),
            )
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn an_election_under_a_quorum_of_witnesses_that_come_and_go() {
    let folder = folder();
    let data = folder.path().join("election");
    let mut local = Local::of_demo(&data, &["--voters", "60", "--witnesses", "3"], &[]);
    let client = Client::new();
    let election = Published::of(&data).election;
    let origin = election.origin(LogId::Heads);
    let heads_size = || {
        Published::of(&data)
            .checkpoint(LogId::Heads)
            .unwrap()
            .size()
    };
    let name = |n: u32| format!("witness{n}.tallyroot.example");
    let reaches = |local: &Local, n: u32, size: u64| {
        let url = url(local, &format!("witness-{n}"));
        wait(&format!("witness {n} at {size}"), || {
            let shown = client.shown(&url, &origin);
            shown.is_some_and(|(checkpoint, _)| checkpoint.size() >= size)
        });
    };

    // One is down: the others are the quorum.
    local.kill("witness-3");
    assert_eq!(
        vote(&local, &data, &folder.path().join("a"), 0),
        [name(1), name(2)]
    );
    // Another's state is copied, while nobody writes to it. Then both come back, the first far behind.
    local.kill("witness-2");
    let old_state = folder.path().join("old");
    copy(&data.join("witnesses/2/state"), &old_state);
    local.up(&[]);
    reaches(&local, 3, heads_size());
    // It is asked for one head after another: when it has cosigned a second one, the first answer has arrived.
    reaches(&local, 2, heads_size() + 1);
    reaches(&local, 2, heads_size() + 1);
    // It is killed, and comes back with that old state: it has forgotten, and says so.
    local.kill("witness-2");
    fs::remove_dir_all(data.join("witnesses/2/state")).unwrap();
    copy(&old_state, &data.join("witnesses/2/state"));
    local.up(&[]);
    reaches(&local, 2, heads_size());
    let log = fs::read_to_string(data.join("local/anchor.log")).unwrap();
    assert!(
        log.contains("a witness has forgotten what it cosigned"),
        "{log}"
    );
    // And another quorum.
    local.kill("witness-1");
    assert_eq!(
        vote(&local, &data, &folder.path().join("b"), 1),
        [name(2), name(3)]
    );
    local.up(&[]);

    // The operator signs another history with the log's own key.
    let seed = fs::read_to_string(data.join("heads/main.key")).unwrap();
    let seed: [u8; 32] = hex::decode(seed.trim()).unwrap().try_into().unwrap();
    let key = SigningKey::from_seed(&seed);
    let forged = |size: u64| {
        let checkpoint = Checkpoint::new(&origin, size, leaf_hash(b"forged")).unwrap();
        let signature = key.sign(checkpoint.body().as_bytes());
        checkpoint.signed(&key.public(), &signature)
    };
    let witness = url(&local, "witness-3");
    // Heads go on meanwhile, so that the size is another now and then.
    let asked = |above: u64, proof: &[Hash]| {
        let begun = Instant::now();
        loop {
            let (ours, _) = client.shown(&witness, &origin).unwrap();
            let note = forged(ours.size() + above);
            let answer = client.add(&witness, ours.size(), proof, &note).unwrap();
            if answer.status != 409 {
                return answer;
            }
            assert_eq!(answer.kind, "text/x.tlog.size");
            assert!(answer.body.trim_end().parse::<u64>().unwrap() > ours.size());
            assert!(begun.elapsed() < PATIENCE);
        }
    };
    let answer = asked(0, &[]);
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert!(answer.body.contains("forked"), "{}", answer.body);
    assert_eq!(asked(5, &[leaf_hash(b"no proof")]).status, 422);
    let kept = evidence(&data, 3, &origin);
    let keys = election.log_keys(LogId::Heads).unwrap().to_bytes();
    let same_size = kept.iter().find(|(name, _)| name.starts_with("same-size-"));
    let (_, same_size) = same_size.expect("the fork is kept");
    let note = |member: &str| same_size[member].as_str().unwrap().as_bytes().to_vec();
    let (theirs, _) = Checkpoint::verify(&note("submitted"), &origin, &keys).unwrap();
    let (ours, _, _) =
        Checkpoint::verify_cosigned(&note("cosigned"), &origin, &keys, election.witnesses())
            .unwrap();
    assert!(ours.size() == theirs.size() && ours.root() != theirs.root());
    assert!(
        kept.iter()
            .any(|(name, _)| name.starts_with("not-consistent-"))
    );
    let health = local.process("witness-3")["health"]
        .as_str()
        .unwrap()
        .to_owned();
    let metrics = client
        .send(client.http.get(format!("http://{health}/metrics")))
        .unwrap();
    assert!(
        metrics
            .body
            .contains("contradictions_total{kind=\"not_consistent\"} 1"),
        "{}",
        metrics.body
    );
    // And it is as if nothing had been.
    reaches(&local, 3, heads_size() + 1);

    let said = local.play(&["--exit"]);
    assert_eq!(said.code, 0, "{said:#?}");
    assert_eq!(said.json()["audit"]["verified"], true, "{said:#?}");
    let (id, public) = (election.id().to_string(), data.join("public"));
    let audit = run(
        "tallyroot-verify",
        &["audit", arg(&public), "--election", &id, "--json"],
    );
    assert_eq!(audit.code, 0, "{audit:#?}");
    let verdict: Value = serde_json::from_str(&audit.stdout).unwrap();
    let cosigned = &verdict["covered"]["heads"]["cosigned"];
    assert_eq!(
        (&cosigned["witnesses"], &cosigned["quorum"]),
        (&3.into(), &2.into())
    );
    assert_eq!(cosigned["size"], verdict["covered"]["heads"]["size"]);
    assert!(cosigned["checkpoints"].as_u64().unwrap() > 3, "{cosigned}");
    let words = run(
        "tallyroot-verify",
        &["audit", arg(&public), "--election", &id],
    );
    assert!(
        words
            .stdout
            .contains("cosigned by a quorum (2 of 3 witnesses), the newest of size"),
        "{}",
        words.stdout
    );
    // Without the final head's cosignatures it is another matter.
    let last = heads_size();
    fs::remove_file(
        Published::of(&data)
            .folder
            .join(format!("heads/cosigned/{last}")),
    )
    .unwrap();
    let audit = run(
        "tallyroot-verify",
        &[
            "audit",
            arg(&public),
            "--election",
            &id,
            "--json",
            "--settle",
            "0",
        ],
    );
    assert_eq!(audit.code, 1, "{audit:#?}");
    assert!(audit.stdout.contains("\"quorum\""), "{audit:#?}");
}

/// `tallyroot-verify witness serve` over one log, on a port of its own.
struct Witness {
    folder: PathBuf,
    url: String,
    process: Option<Child>,
}

impl Witness {
    fn new(folder: &Path, log: &VerifierKey) -> (Self, WitnessKey) {
        let (key, state) = (folder.join("key"), folder.join("state"));
        let made = run(
            "tallyroot-verify",
            &[
                "witness",
                "new-key",
                "--name",
                "w.example",
                "--key",
                arg(&key),
                "--state",
                arg(&state),
            ],
        );
        assert_eq!(made.code, 0, "{made:#?}");
        let vkey = WitnessKey::parse_vkey(made.stdout.trim()).unwrap();
        let again = run("tallyroot-verify", &["witness", "vkey", "--key", arg(&key)]);
        assert_eq!(again.stdout, made.stdout);
        fs::write(folder.join("logs"), format!("log {log}\nquorum none\n")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap();
        let witness = Self {
            folder: folder.to_owned(),
            url: format!("http://{address}"),
            process: None,
        };
        (witness, vkey)
    }

    fn start(&mut self) {
        let at = |name: &str| self.folder.join(name);
        let process = Command::new(program("tallyroot-verify"))
            .args([
                "witness",
                "serve",
                "--key",
                arg(&at("key")),
                "--state",
                arg(&at("state")),
            ])
            .args(["--logs", arg(&at("logs"))])
            .args(["--listen", self.url.trim_start_matches("http://")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(process.unwrap());
    }

    /// Its port is free while it is dead, and another test may hold it for a moment.
    fn start_again_if_ended(&mut self) {
        let process = self.process.as_mut().unwrap();
        if process.try_wait().unwrap().is_some() {
            std::thread::sleep(Duration::from_millis(50));
            self.start();
        }
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.kill();
    }
}

/// RFC 6962, section 2.1, as it is written there.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

/// RFC 6962, section 2.1.2.
fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole {
            Vec::new()
        } else {
            vec![root(leaves)]
        };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut proof, other) = if m <= k {
        (subproof(m, left, whole), right)
    } else {
        (subproof(m - k, right, false), left)
    };
    proof.push(root(other));
    proof
}

/// Two histories of one log, told by a liar who asks for either at random, while the witness is killed again and again. Whatever was ever cosigned is of one history.
#[test]
fn a_witness_that_is_killed_at_any_moment_cosigns_one_history() {
    const ORIGIN: &str = "log.example/forked";
    const KILLS: u32 = 25;
    let key = SigningKey::from_seed(&[5; 32]);
    let log = VerifierKey::new(ORIGIN, KeyType::Ed25519, key.public()).unwrap();
    let folder = folder();
    let (mut witness, vkey) = Witness::new(folder.path(), &log);
    let client = Client::new();
    let history = |which: u64| -> Vec<Hash> {
        // The first two entries are in both.
        let leaf = |n: u64| leaf_hash(format!("{} {n}", if n < 2 { 9 } else { which }).as_bytes());
        (0..600).map(leaf).collect()
    };
    let histories = [history(0), history(1)];
    let mut cosigned: BTreeMap<u64, Hash> = BTreeMap::new();
    let (mut kills, mut tries) = (0, 0u64);
    // A linear congruential generator: the same course each time, but for the kills.
    let mut state = 7u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut known = 0u64;
    while kills < KILLS {
        if witness.process.is_none() {
            witness.start();
            let began = Instant::now();
            while client.send(client.http.get(&witness.url)).is_none() {
                assert!(began.elapsed() < PATIENCE, "it does not start");
                witness.start_again_if_ended();
            }
            // What it shows is what it has cosigned at last, or the one whose answer was lost.
            let shown = client.shown(&witness.url, ORIGIN);
            let size = shown
                .as_ref()
                .map_or(0, |(checkpoint, _)| checkpoint.size());
            let largest = cosigned.last_key_value().map_or(0, |(size, _)| *size);
            assert!(
                size >= largest,
                "it has forgotten {largest}, and shows {size}"
            );
        }
        // In the middle of a request, sooner or later.
        let killer = (random(6) == 0).then(|| {
            let process = witness.process.take().unwrap();
            let wait = Duration::from_micros(random(3_000));
            kills += 1;
            std::thread::spawn(move || {
                let mut process = process;
                std::thread::sleep(wait);
                process.kill().unwrap();
                process.wait().unwrap();
            })
        });
        let leaves = &histories[usize::try_from(random(2)).unwrap()];
        for _ in 0..if killer.is_some() { 20 } else { 1 } {
            tries += 1;
            let new = (known + random(3)).clamp(1, 600);
            let tree = &leaves[..usize::try_from(new).unwrap()];
            let proof = match usize::try_from(known).unwrap() {
                0 => Vec::new(),
                old => subproof(old, tree, true),
            };
            let checkpoint = Checkpoint::new(ORIGIN, new, root(tree)).unwrap();
            let note = checkpoint.signed(&key.public(), &key.sign(checkpoint.body().as_bytes()));
            let Some(answer) = client.add(&witness.url, known, &proof, &note) else {
                break;
            };
            match answer.status {
                200 => {
                    let line = NoteSignature::parse(&answer.body).unwrap();
                    cosignature::verify(&vkey, &line, &checkpoint.body()).unwrap();
                    let before = cosigned.insert(new, checkpoint.root());
                    assert!(before.is_none_or(|before| before == checkpoint.root()));
                    known = new;
                }
                409 => known = answer.body.trim_end().parse().unwrap(),
                422 => {}
                other => panic!("{other}: {}", answer.body),
            }
        }
        if let Some(killer) = killer {
            killer.join().unwrap();
        }
    }
    let histories = histories.map(|leaves| {
        let of =
            |(size, at): (&u64, &Hash)| root(&leaves[..usize::try_from(*size).unwrap()]) == *at;
        cosigned.iter().all(of)
    });
    eprintln!(
        "{tries} requests, {} sizes cosigned, {kills} kills",
        cosigned.len()
    );
    assert!(histories[0] || histories[1], "both histories were cosigned");
    assert!(cosigned.len() > 20 && cosigned.keys().any(|size| *size > 2));
}
