//! Processes stand alone: what each one is told, holds open and talks to is its own, and nothing of the others'.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::demo::PATIENCE;
use tests::local::Local;
use tests::{arg, folder, start};

/// One process of the deployment, as an outsider finds it.
struct Process {
    name: String,
    pid: u64,
    listens: BTreeSet<u16>,
    config: PathBuf,
}

fn port(address: &Value) -> u16 {
    let address = address.as_str().unwrap();
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

fn processes(status: &Value) -> Vec<Process> {
    let all = status["processes"].as_array().unwrap().iter();
    all.filter(|process| process["config"].is_string())
        .map(|process| Process {
            name: process["name"].as_str().unwrap().to_owned(),
            pid: process["pid"].as_u64().unwrap(),
            listens: [port(&process["listen"]), port(&process["health"])].into(),
            config: process["config"].as_str().unwrap().into(),
        })
        .collect()
}

impl Process {
    /// Every file that the configuration names, without what is published to everybody.
    fn secrets(&self, public: &Path) -> BTreeSet<PathBuf> {
        let text = fs::read_to_string(&self.config).unwrap();
        let quoted = text.split('"').skip(1).step_by(2).map(PathBuf::from);
        quoted
            .filter(|path| path.is_absolute() && !path.starts_with(public))
            .inspect(|path| assert!(path.is_file(), "{}: {}", self.name, path.display()))
            .collect()
    }

    /// The local ports to which this process has opened connections.
    fn connections(&self) -> BTreeSet<u16> {
        let sockets: BTreeSet<String> = self
            .open()
            .iter()
            .filter_map(|target| {
                let inode = target.to_str()?.strip_prefix("socket:[")?;
                Some(inode.strip_suffix(']')?.to_owned())
            })
            .collect();
        let table = fs::read_to_string(format!("/proc/{}/net/tcp", self.pid)).unwrap();
        let hex_port =
            |address: &str| u16::from_str_radix(address.rsplit_once(':').unwrap().1, 16).unwrap();
        table
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|fields| sockets.contains(fields[9]))
            .map(|fields| (hex_port(fields[1]), hex_port(fields[2])))
            // Listening, and what others have opened to it.
            .filter(|(own, _)| !self.listens.contains(own))
            .map(|(_, peer)| peer)
            .collect()
    }

    /// What its descriptors point at.
    fn open(&self) -> Vec<PathBuf> {
        fs::read_dir(format!("/proc/{}/fd", self.pid))
            .unwrap()
            // One may be closed in the meantime.
            .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
            .collect()
    }
}

#[test]
fn each_process_has_its_own_secrets_and_connections() {
    let folder = folder();
    let data = folder.path().join("election");
    let local = Local::of_demo(
        &data,
        &["--voters", "60", "--cells", "2", "--registrars", "2"],
        &[],
    );
    let said = local.play(&[]);
    assert_eq!(said.code, 0, "{said:#?}");
    let status = local.status();
    let databases: BTreeMap<u16, String> = status["processes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|process| process["name"].as_str().unwrap().starts_with("postgres-"))
        .map(|process| {
            let name = process["name"].as_str().unwrap();
            (port(&process["listen"]), name.to_owned())
        })
        .collect();
    assert_eq!(databases.len(), 5);

    let public = data.join("public");
    let everything = processes(&status);
    let passwords: Vec<String> = databases
        .values()
        .map(|name| {
            let file = format!("{}.password", name.strip_prefix("postgres-").unwrap());
            fs::read_to_string(data.join("local").join(file)).unwrap()
        })
        .collect();
    let mut owner = BTreeMap::new();
    for process in &everything {
        let name = &process.name;
        let secrets = process.secrets(&public);
        let connections: BTreeSet<String> = process
            .connections()
            .into_iter()
            .map(|port| {
                let known = databases.get(&port).cloned();
                known.unwrap_or_else(|| format!("port {port}"))
            })
            .collect();
        eprintln!("{name}: secrets {secrets:?}, connections {connections:?}");
        if name == "tally" {
            assert!(secrets.is_empty() && connections.is_empty());
        } else {
            assert_eq!(connections, [format!("postgres-{name}")].into(), "{name}");
            assert!(secrets.len() >= 2, "{name}: a key and a password");
        }
        for secret in secrets {
            let before = owner.insert(secret.clone(), name);
            assert_eq!(before, None, "{name} has {} too", secret.display());
        }
        // Key files are read and closed; what stays open is published, or its own log.
        for open in process.open() {
            let own_log = data.join("local").join(format!("{name}.log"));
            if open.starts_with(&data) {
                assert!(
                    open.starts_with(&public) || open == own_log,
                    "{name} holds {} open",
                    open.display()
                );
            }
        }
        for place in ["environ", "cmdline"] {
            let bytes = fs::read(format!("/proc/{}/{place}", process.pid)).unwrap();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert!(
                passwords.iter().all(|password| !text.contains(password)),
                "{name}: a password in its {place}"
            );
        }
    }

    // Nor would a stolen password of one open another's database.
    let psql = |role: &str, password: &str, port: u16, database: &str| {
        Command::new("psql")
            .args(["-X", "-w", "-h", "127.0.0.1", "-p", &port.to_string()])
            .args(["-U", role, "-d", database, "-c", "SELECT 1"])
            .env("PGPASSWORD", password)
            .stdin(Stdio::null())
            .output()
            .unwrap()
            .status
            .success()
    };
    for ((port, server), own) in databases.iter().zip(&passwords) {
        let database = server.strip_prefix("postgres-").unwrap().replace('-', "_");
        assert!(psql(&database, own, *port, &database), "{server}");
        for (other, password) in databases.values().zip(&passwords) {
            let role = other.strip_prefix("postgres-").unwrap().replace('-', "_");
            if other != server {
                assert!(
                    !psql(&role, password, *port, &database)
                        && !psql(&database, password, *port, &database),
                    "{other} gets into {server}"
                );
            }
        }
    }
}

/// Puts folders out of reach until it is dropped.
struct Hidden(Vec<(PathBuf, PathBuf)>);

impl Hidden {
    fn new(paths: Vec<PathBuf>) -> Self {
        let moved = paths.into_iter().map(|path| {
            let away = path.with_extension("hidden");
            fs::rename(&path, &away).unwrap();
            (path, away)
        });
        Self(moved.collect())
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        for (path, away) in &self.0 {
            fs::rename(away, path).unwrap();
        }
    }
}

#[test]
fn each_process_starts_where_nothing_of_the_others_is() {
    let folder = folder();
    let data = folder.path().join("election");
    let mut local = Local::of_demo(&data, &["--voters", "20", "--cells", "2"], &[]);
    let public = data.join("public");
    let everything = processes(&local.status());
    let secrets_of = |process: &Process| process.secrets(&public);
    for process in &everything {
        local.kill(&process.name);
        let own = secrets_of(process);
        let others = everything
            .iter()
            .filter(|other| other.name != process.name)
            .flat_map(secrets_of)
            .filter(|secret| !own.contains(secret));
        let hidden = Hidden::new(
            others
                .chain([data.join("authority"), data.join("voters")])
                .collect(),
        );
        let role = process.name.split('-').next().unwrap();
        let log = fs::File::create(folder.path().join("alone.log")).unwrap();
        let mut alone = start(
            "tallyroot",
            &["serve", role, "--config", arg(&process.config)],
            Stdio::null(),
            log.into(),
        );
        let health = local.process(&process.name)["health"].clone();
        let begun = Instant::now();
        while !ready(health.as_str().unwrap()) {
            let ended = alone.try_wait().unwrap();
            let said = fs::read_to_string(folder.path().join("alone.log")).unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "{} does not start alone: {said}",
                process.name
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        alone.kill().unwrap();
        alone.wait().unwrap();
        drop(hidden);
        local.up(&[]);
    }
}

fn ready(health: &str) -> bool {
    use std::io::{Read as _, Write as _};
    let Ok(mut stream) = std::net::TcpStream::connect(health) else {
        return false;
    };
    let mut answer = String::new();
    let asked = stream.write_all(
        format!("GET /readyz HTTP/1.1\r\nHost: {health}\r\nConnection: close\r\n\r\n").as_bytes(),
    );
    asked.is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}
