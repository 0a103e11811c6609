//! `deploy/local`: a whole deployment, every service a process of its own.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test cannot go on without"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::demo::PATIENCE;
use crate::{Environment, Said, arg, program, run, run_with};

/// A deployment. It is stopped when this goes away.
#[derive(Debug)]
pub struct Local {
    data: PathBuf,
    options: Vec<String>,
    /// What the script finds in its environment.
    operator: Environment,
    /// The front, without a slash at the end.
    pub url: String,
    /// The certificate that clients trust, with `--tls`.
    pub root_certificate: Option<PathBuf>,
}

impl Local {
    /// Makes an election as `tallyroot demo` does, with these options of its, and starts its services.
    ///
    /// # Panics
    /// With what was said, when that does not succeed.
    #[must_use]
    pub fn of_demo(data: &Path, demo: &[&str], up: &[&str]) -> Self {
        let mut arguments = vec!["demo", "--data", arg(data), "--prepare"];
        arguments.extend(demo);
        let said = run("tallyroot", &arguments);
        assert_eq!(said.code, 0, "{said:#?}");
        let mut local = Self {
            data: data.to_owned(),
            options: demo.iter().map(ToString::to_string).collect(),
            operator: Vec::new(),
            url: String::new(),
            root_certificate: None,
        };
        local.up(up);
        local
    }

    /// Starts the services of an election that is there, as an operator with these variables does.
    ///
    /// # Panics
    /// With what was said, when that does not succeed.
    #[must_use]
    pub fn of(data: &Path, operator: &Environment, up: &[&str]) -> Self {
        let mut local = Self {
            data: data.to_owned(),
            options: Vec::new(),
            operator: operator.clone(),
            url: String::new(),
            root_certificate: None,
        };
        local.up(up);
        local
    }

    /// Starts what does not run, and waits until all of it is ready.
    ///
    /// # Panics
    /// With what was said, when that does not succeed.
    pub fn up(&mut self, options: &[&str]) -> Value {
        let shown = self.command("up", options);
        self.url = shown["url"].as_str().expect("a URL").to_owned();
        self.root_certificate = shown["root_certificate"].as_str().map(PathBuf::from);
        shown
    }

    /// What runs.
    #[must_use]
    pub fn status(&self) -> Value {
        self.command("status", &[])
    }

    /// Stops everything.
    pub fn down(&self) {
        self.command("down", &[]);
    }

    /// One process of [`Local::status`].
    ///
    /// # Panics
    /// There is none of this name.
    #[must_use]
    pub fn process(&self, name: &str) -> Value {
        let status = self.status();
        let processes = status["processes"].as_array().expect("processes");
        processes
            .iter()
            .find(|process| process["name"] == name)
            .unwrap_or_else(|| panic!("no process {name}: {status}"))
            .clone()
    }

    /// Ends a process as `kill -9` does.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&self, name: &str) {
        let pid = self.process(name)["pid"].to_string();
        let killed = Command::new("kill")
            .args(["-9", &pid])
            .status()
            .expect("kill");
        assert!(killed.success(), "{name} does not run");
    }

    /// Asks a process to stop, as a rolling upgrade does, and waits until it has.
    ///
    /// # Panics
    /// It does not run, or does not stop.
    pub fn stop(&self, name: &str) {
        let pid = self.process(name)["pid"].to_string();
        let asked = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill");
        assert!(asked.success(), "{name} does not run");
        let begun = Instant::now();
        while self.process(name)["state"] != "stopped" {
            assert!(begun.elapsed() < PATIENCE, "{name} does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs SQL in the database of a cell, a registrar or the anchor, as that Postgres's superuser.
    ///
    /// # Panics
    /// An error of the server.
    #[must_use]
    pub fn sql(&self, name: &str, sql: &str) -> String {
        let server = format!("postgres-{name}");
        let listen = self.process(&server)["listen"].clone();
        let port = listen.as_str().and_then(|at| at.rsplit_once(':'));
        let (_, port) = port.expect("an address");
        let password = self.data.join(format!("local/{server}.superuser"));
        let said: Said = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(["-h", "127.0.0.1", "-p", port, "-U", "postgres"])
            .args(["-d", &name.replace('-', "_"), "-c", sql])
            .env(
                "PGPASSWORD",
                std::fs::read_to_string(password).expect("a password"),
            )
            .output()
            .expect("psql")
            .into();
        assert_eq!(said.code, 0, "{sql}: {said:#?}");
        said.stdout.trim_end().to_owned()
    }

    /// The arguments of `tallyroot` that play the voters against the services.
    #[must_use]
    pub fn playing(&self, more: &[&str]) -> Vec<String> {
        [
            "demo",
            "--data",
            arg(&self.data),
            "--site",
            &self.url,
            "--json",
        ]
        .into_iter()
        .chain(self.options.iter().map(String::as_str))
        .chain(more.iter().copied())
        .map(str::to_owned)
        .collect()
    }

    /// Plays the voters to their end; `--exit` ends the election too.
    #[must_use]
    pub fn play(&self, more: &[&str]) -> Said {
        let arguments = self.playing(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run_with("tallyroot", &arguments, &self.environment())
    }

    /// What its clients are told: whom to trust.
    #[must_use]
    pub fn environment(&self) -> Environment {
        let root = self.root_certificate.iter();
        root.map(|root| ("SSL_CERT_FILE", arg(root).to_owned()))
            .collect()
    }

    fn command(&self, command: &str, options: &[&str]) -> Value {
        let programs = program("tallyroot");
        let mut arguments = vec![command, arg(&self.data), "--json"];
        arguments.extend(options);
        if command == "up" {
            arguments.extend(["--programs", arg(programs.parent().expect("a folder"))]);
        }
        let said = script(&arguments, &self.operator);
        // 3: something does not run, which may be what the test wants to see.
        let shown = said.code == 0 || (command == "status" && said.code == 3);
        assert!(shown, "local.py {command}: {said:#?}");
        said.json()
    }
}

fn script(arguments: &[&str], environment: &Environment) -> Said {
    Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/local/local.py"))
        .args(arguments)
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .output()
        .expect("python3")
        .into()
}

/// `local.py aws`: a stand-in for AWS, with TLS. It is stopped when this goes away.
#[derive(Debug)]
pub struct StandIn {
    /// What `--aws` is given.
    pub folder: PathBuf,
    /// `[keys]` of a description: all of them made in its KMS.
    pub keys: String,
    /// The environment of whoever makes the election.
    pub operator: Environment,
}

impl StandIn {
    /// Starts one.
    ///
    /// # Panics
    /// With what was said, when that does not succeed.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        let said = script(&["aws", arg(folder), "--json"], &Vec::new());
        assert_eq!(said.code, 0, "{said:#?}");
        let shown = said.json();
        let read = |name: &str| {
            let path = shown[name].as_str().expect("a path");
            std::fs::read_to_string(path).expect("what it wrote")
        };
        let environment = read("environment");
        let names = [
            "AWS_ENDPOINT_URL",
            "AWS_REGION",
            "AWS_EC2_METADATA_DISABLED",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "SSL_CERT_FILE",
        ];
        let value = |name: &str| {
            let mut lines = environment.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.expect("a variable").to_owned()
        };
        Self {
            folder: folder.to_owned(),
            keys: read("keys"),
            operator: names.map(|name| (name, value(name))).into(),
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let said = script(&["aws", arg(&self.folder), "--stop"], &Vec::new());
        // The first panic is the one to report.
        assert!(said.code == 0 || std::thread::panicking(), "{said:#?}");
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The first panic is the one to report.
            let _ = std::panic::catch_unwind(|| self.down());
        } else {
            self.down();
        }
    }
}

/// Whether something listens at this address.
#[must_use]
pub fn is_up(address: &str) -> bool {
    std::net::TcpStream::connect(address).is_ok()
}
