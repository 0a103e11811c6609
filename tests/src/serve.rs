//! An election whose services are processes of their own, each with its own configuration.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "what a test cannot go on without"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::demo::PATIENCE;
use crate::device::Site;
use crate::published::{Published, codes};
use crate::{Environment, Said, arg, moment, run, run_with, start_with};

/// What an election is to be like; the rest is the same for all of these tests.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many cells.
    pub cells: u32,
    /// How many registrars.
    pub registrars: u16,
    /// Issuance logs of each.
    pub shards: u32,
    /// How many are on the roll.
    pub voters: u32,
    /// Seconds from now until votes are taken.
    pub opening: i64,
    /// Seconds from now until closing.
    pub closing: i64,
    /// Seconds.
    pub grace: u32,
    /// Whether the manifest says that it is a demo.
    pub demo: bool,
    /// Where the logs and rolls are: `None` for SQLite files, else the URL of a Postgres database.
    pub postgres: Option<String>,
    /// Where keys are in a KMS: `None` for files.
    pub kms: Option<KmsPlan>,
    /// Where files are published in buckets: `None` for a folder.
    pub buckets: Option<BucketsPlan>,
}

/// Buckets for what is published, and for the anchors. Whoever plans this puts the manifest there.
#[derive(Clone, Debug)]
pub struct BucketsPlan {
    /// Where S3 is.
    pub endpoint: String,
    /// The bucket of the published files.
    pub published: String,
    /// The anchors, in the manifest's order.
    pub anchors: Vec<AnchorPlan>,
    /// Credentials of the services.
    pub environment: Environment,
}

/// An anchor in a bucket with Object Lock.
#[derive(Clone, Debug)]
pub struct AnchorPlan {
    /// Its name in the manifest.
    pub name: String,
    /// Its bucket.
    pub bucket: String,
    /// Where S3 is for it.
    pub endpoint: String,
}

/// Keys in a KMS.
#[derive(Clone, Debug)]
pub struct KmsPlan {
    /// Where it is.
    pub endpoint: String,
    /// `[keys]` of the description.
    pub keys: String,
    /// Of whoever makes the election, and gives its notices.
    pub environment: Environment,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            cells: 1,
            registrars: 1,
            shards: 1,
            voters: 20,
            opening: -2,
            closing: 3_600,
            grace: 60,
            demo: true,
            postgres: None,
            kms: None,
            buckets: None,
        }
    }
}

/// The folder of an election, as `tallyroot election new` makes it, with a configuration for each service.
#[derive(Debug)]
pub struct World {
    /// `DIR`
    pub data: PathBuf,
    /// What is published.
    pub published: Published,
    /// What it is like.
    pub plan: Plan,
    /// Variables of the services' processes; those of whoever makes the election for a service that is not named.
    pub environments: BTreeMap<String, Environment>,
}

/// The services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Cell k.
    Cell(u32),
    /// Registrar r.
    Registrar(u16),
    /// The heads log.
    Anchor,
    /// The results.
    Tally,
}

impl Role {
    /// The subcommand.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cell(_) => "cell",
            Self::Registrar(_) => "registrar",
            Self::Anchor => "anchor",
            Self::Tally => "tally",
        }
    }

    /// Its folder below `DIR`.
    #[must_use]
    pub fn folder(self) -> String {
        match self {
            Self::Cell(k) => format!("cells/{k}"),
            Self::Registrar(r) => format!("registrars/{r}"),
            Self::Anchor => "heads".to_owned(),
            Self::Tally => "tally".to_owned(),
        }
    }
}

/// `[aws]`: credentials come from the environment alone.
fn aws(endpoint: &str) -> String {
    format!("[aws]\nregion = \"eu-central-1\"\nendpoint = \"{endpoint}\"\n")
}

impl World {
    /// Makes an election in `folder/election`.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn new(folder: &Path, plan: &Plan) -> Self {
        let roll: String = (0..plan.voters).map(|v| format!("voter {v}\n")).collect();
        fs::write(folder.join("roll.csv"), format!("identity\n{roll}")).expect("a roll");
        let registrars: Vec<String> = (0..plan.registrars).map(|r| format!("\"R{r}\"")).collect();
        let anchors: Vec<String> = match &plan.buckets {
            None => vec!["\"local\"".to_owned()],
            Some(buckets) => buckets
                .anchors
                .iter()
                .map(|anchor| format!("\"{}\"", anchor.name))
                .collect(),
        };
        let description = format!(
            "title = \"Processes\"\nbase = \"serve.tallyroot.example\"\nroll = \"roll.csv\"\n\
             registration = {}\nopening = {}\nclosing = {}\ngrace_s = {}\ndemo = {}\n\
             cells = {}\nregistrars = [{}]\nshards = {}\nbatch_min = 1\nbatch_wait_ms = 200\n\
             cast_delay_s = 0\nhead_interval_ms = 200\nanchors = [{}]\n\n{}\n\
             [[contests]]\nname = \"Colour\"\nmethod = \"plurality\"\noptions = [\"Red\", \"Blue\"]\n",
            moment(plan.opening.min(0) - 60),
            moment(plan.opening),
            moment(plan.closing),
            plan.grace,
            plan.demo,
            plan.cells,
            registrars.join(", "),
            plan.shards,
            anchors.join(", "),
            plan.kms
                .as_ref()
                .map(|kms| format!("{}\n{}", kms.keys, aws(&kms.endpoint)))
                .unwrap_or_default(),
        );
        let path = folder.join("description.toml");
        fs::write(&path, description).expect("a description");
        let data = folder.join("election");
        let ours = plan.kms.as_ref().map(|kms| kms.environment.clone());
        let made = run_with(
            "tallyroot",
            &["election", "new", arg(&path), "--out", arg(&data)],
            &ours.unwrap_or_default(),
        );
        assert_eq!(made.code, 0, "{}", made.stderr);
        let world = Self {
            published: Published::of(&data),
            data,
            plan: plan.clone(),
            environments: BTreeMap::new(),
        };
        for role in world.roles() {
            world.configure(role, &world.configuration(role));
            if let (Role::Registrar(_), Some(_)) = (role, &plan.postgres) {
                let config = world.config(role);
                let loaded = run(
                    "tallyroot",
                    &["roll", "load", "--config", arg(&config), "--json"],
                );
                assert_eq!(loaded.json()["loaded"], "filled", "{loaded:#?}");
            }
        }
        world
    }

    /// All services, as they are usually started.
    #[must_use]
    pub fn roles(&self) -> Vec<Role> {
        (0..self.plan.cells)
            .map(Role::Cell)
            .chain((0..self.plan.registrars).map(Role::Registrar))
            .chain([Role::Anchor, Role::Tally])
            .collect()
    }

    /// The configuration's path.
    #[must_use]
    pub fn config(&self, role: Role) -> PathBuf {
        self.data.join(role.folder()).join("serve.toml")
    }

    /// Writes a configuration.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn configure(&self, role: Role, text: &str) {
        let path = self.config(role);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a configuration");
    }

    /// What a service is told: paths relative to its own folder, on any free ports.
    #[must_use]
    pub fn configuration(&self, role: Role) -> String {
        let public = self.data.join("public");
        let (kms, buckets) = (self.plan.kms.as_ref(), self.plan.buckets.as_ref());
        let endpoint = kms.map(|kms| &kms.endpoint);
        let endpoint = endpoint.or(buckets.map(|buckets| &buckets.endpoint));
        let aws = endpoint.map(|endpoint| aws(endpoint)).unwrap_or_default();
        let place = match buckets {
            None => format!("directory = \"{}\"", arg(&public)),
            Some(buckets) => format!("bucket = \"{}\"", buckets.published),
        };
        let anchors = match buckets {
            None => "\n[[anchors]]\nname = \"local\"\n".to_owned(),
            Some(buckets) => buckets
                .anchors
                .iter()
                .map(|anchor| {
                    format!(
                        "\n[[anchors]]\nname = \"{}\"\nbucket = \"{}\"\nendpoint = \"{}\"\n",
                        anchor.name, anchor.bucket, anchor.endpoint
                    )
                })
                .collect(),
        };
        let common = format!(
            "manifest = \"{}\"\nelection = \"{}\"\nlisten = \"127.0.0.1:0\"\nhealth_listen = 0\n",
            arg(&self.published.folder.join("manifest.json")),
            self.published.id(),
        );
        let published = format!("\n{aws}\n[published]\n{place}\n");
        match role {
            Role::Cell(k) => format!(
                "{common}cell = {k}\n{published}{}",
                self.log(role, &format!("cell_{k}"))
            ),
            Role::Registrar(r) => {
                let shards: String = (0..self.plan.shards)
                    .map(|j| {
                        let database = match &self.plan.postgres {
                            None => format!("sqlite = \"{j}/log.sqlite\""),
                            Some(_) => format!("schema = \"registrar_{r}_{j}\""),
                        };
                        let keys = self.keys(&role.folder(), &format!("{j}/"));
                        format!("\n[[shards]]\n{keys}\n{database}\n")
                    })
                    .collect();
                let database = match &self.plan.postgres {
                    None => String::new(),
                    Some(url) => format!(
                        "\n[database]\nurl = \"{url}\"\nschema = \"registrar_{r}_roll\"\ndurability = \"single-node\"\n"
                    ),
                };
                let rsa = match self.kms_name(&format!("{}/rsa", role.folder())) {
                    None => "\"rsa.pem\"".to_owned(),
                    Some(key) => format!("{{ kms = \"{key}\", wrapped = \"rsa.wrapped\" }}"),
                };
                format!(
                    "{common}registrar = {r}\nrsa_key = {rsa}\ncode_key = \"code.key\"\nroll_backup = \"registrar.sqlite\"\n{published}{database}{shards}"
                )
            }
            Role::Anchor => format!("{common}{published}{}{anchors}", self.log(role, "heads")),
            Role::Tally => format!("{common}{published}serve = true\n"),
        }
    }

    /// `main` and `spare`, as files or in KMS, whichever there are.
    fn keys(&self, folder: &str, within: &str) -> String {
        let line = |which: &str| match self.kms_name(&format!("{folder}/{within}{which}")) {
            None => format!("{which} = \"{within}{which}.key\""),
            Some(key) => format!("{which} = {{ kms = \"{key}\" }}"),
        };
        format!("{}\n{}", line("main"), line("spare"))
    }

    /// The name of the key in KMS that stands for a file of the election's folder, which is named without its ending.
    #[must_use]
    pub fn kms_name(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.data.join(format!("{path}.kms"))).ok()?;
        Some(text.trim_end().to_owned())
    }

    /// The environment of a service's process.
    fn environment(&self, role: Role) -> Environment {
        let own = self.environments.get(&role.folder()).cloned();
        own.unwrap_or_else(|| self.our_environment())
    }

    fn our_environment(&self) -> Environment {
        let kms = self.plan.kms.as_ref().map(|kms| &kms.environment);
        let buckets = self.plan.buckets.as_ref();
        let ours = kms.or(buckets.map(|buckets| &buckets.environment));
        ours.cloned().unwrap_or_default()
    }

    fn log(&self, role: Role, schema: &str) -> String {
        let database = match &self.plan.postgres {
            None => "sqlite = \"log.sqlite\"".to_owned(),
            Some(url) => {
                format!("url = \"{url}\"\nschema = \"{schema}\"\ndurability = \"single-node\"")
            }
        };
        let keys = self.keys(&role.folder(), "");
        format!("\n[key]\n{keys}\n\n[database]\n{database}\n")
    }

    /// Runs `--check-config`.
    #[must_use]
    pub fn check(&self, role: Role) -> Said {
        run_with(
            "tallyroot",
            &[
                "serve",
                role.name(),
                "--config",
                arg(&self.config(role)),
                "--check-config",
                "--json",
            ],
            &self.environment(role),
        )
    }

    /// Starts a service that must not start: what it said.
    #[must_use]
    pub fn refused(&self, role: Role) -> Said {
        run_with(
            "tallyroot",
            &["serve", role.name(), "--config", arg(&self.config(role))],
            &self.environment(role),
        )
    }

    /// Starts a service, and waits until it says where it is.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(&self, role: Role) -> Service {
        Service::start(role, &self.config(role), &self.environment(role))
    }

    /// Starts all of them, and waits until they serve.
    ///
    /// # Panics
    /// One does not.
    #[must_use]
    pub fn start_all(&self) -> Vec<Service> {
        let mut services: Vec<Service> = self
            .roles()
            .into_iter()
            .map(|role| self.start(role))
            .collect();
        for service in &mut services {
            service.wait_for("active");
        }
        services
    }

    /// A client of these services: posts go to whichever serves the path now.
    #[must_use]
    pub fn site(&self, services: &[Service]) -> Site {
        Site::of_services(
            services
                .iter()
                .map(|service| (format!("{}/", service.role.folder()), service.url.clone()))
                .collect(),
            &self.published.election,
        )
    }

    /// A voter's codes.
    #[must_use]
    pub fn codes(&self, voter: u32) -> Vec<String> {
        codes(&self.data, self.plan.registrars, &format!("voter {voter}"))
    }

    /// Gives the authority's notice, `tallyroot election …`, to the running anchoring service.
    #[must_use]
    pub fn notice(&self, anchor: &Service, command: &[&str]) -> Said {
        let (public, id) = (self.data.join("public"), self.published.id());
        let file = self.data.join("authority/main.key");
        let key = match self.kms_name("authority/main") {
            None => ["--key".to_owned(), arg(&file).to_owned()],
            Some(key) => ["--kms".to_owned(), key],
        };
        let mut arguments = vec!["election", command.first().copied().unwrap_or_default()];
        arguments.extend([arg(&public), "--election", &id]);
        arguments.extend(key.iter().map(String::as_str));
        arguments.extend(["--anchor", &anchor.url, "--json"]);
        arguments.extend(command.iter().skip(1));
        let mut environment = self.our_environment();
        if let Some(kms) = &self.plan.kms {
            environment.push(("AWS_ENDPOINT_URL", kms.endpoint.clone()));
        }
        run_with("tallyroot", &arguments, &environment)
    }

    /// Another command about this election's published folder.
    #[must_use]
    pub fn election(&self, command: &[&str]) -> Said {
        let (public, id) = (self.data.join("public"), self.published.id());
        let mut arguments = vec!["election", command.first().copied().unwrap_or_default()];
        arguments.extend([arg(&public), "--election", &id, "--json"]);
        arguments.extend(command.iter().skip(1));
        run("tallyroot", &arguments)
    }

    /// The audit of what is published now: the exit code and the verdict.
    ///
    /// # Panics
    /// The verdict is no JSON.
    #[must_use]
    pub fn audit(&self) -> (i32, Value) {
        let said = run(
            "tallyroot-verify",
            &[
                "audit",
                arg(&self.data.join("public")),
                "--election",
                &self.published.id(),
                "--json",
            ],
        );
        let verdict =
            serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:#?}"));
        (said.code, verdict)
    }
}

/// A running service. It is killed when this goes away.
#[derive(Debug)]
pub struct Service {
    /// Which.
    pub role: Role,
    /// Where it serves, without a slash at the end.
    pub url: String,
    /// Where it tells how it is.
    pub health: String,
    process: Child,
    lines: Receiver<String>,
    said: String,
}

impl Service {
    fn start(role: Role, config: &Path, environment: &[(&'static str, String)]) -> Self {
        let mut process = start_with(
            "tallyroot",
            &["serve", role.name(), "--config", arg(config)],
            environment,
            Stdio::null(),
            Stdio::piped(),
        );
        let stderr = process.stderr.take().expect("its standard error");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // Nobody listens any more once the test has heard what it waited for.
                let _ = sender.send(line);
            }
        });
        let mut service = Self {
            role,
            url: String::new(),
            health: String::new(),
            process,
            lines,
            said: String::new(),
        };
        let places = service.wait_for(": at ");
        let (url, health) = places.split_once(", health at ").expect("two addresses");
        service.url = url.to_owned();
        service.health = health.to_owned();
        service
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits for a line with these words on standard error; returns what follows them.
    ///
    /// # Panics
    /// They do not come.
    pub fn wait_for(&mut self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.said.push_str(&line);
                    self.said.push('\n');
                    if let Some((_, rest)) = line.split_once(words) {
                        return rest.trim().to_owned();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{:?} did not say `{words}`:\n{}", self.role, self.said)
                }
                Err(RecvTimeoutError::Disconnected) => panic!(
                    "{:?} ended without saying `{words}`:\n{}",
                    self.role, self.said
                ),
            }
        }
    }

    /// `GET /readyz`: the status, and the state's name.
    ///
    /// # Panics
    /// There is no answer.
    pub async fn ready(&self) -> (u16, String) {
        let answer = reqwest::get(format!("{}/readyz", self.health))
            .await
            .expect("an answer");
        let status = answer.status().as_u16();
        let state = answer.text().await.expect("a state");
        (status, state.trim().to_owned())
    }

    /// `GET /status`.
    ///
    /// # Panics
    /// There is no answer, or it is no JSON.
    pub async fn status(&self) -> Value {
        let answer = reqwest::get(format!("{}/status", self.health))
            .await
            .expect("an answer");
        answer.json().await.expect("JSON")
    }

    /// `GET /metrics`: the page of Prometheus's text form.
    ///
    /// # Panics
    /// There is no answer, or it is no such page.
    pub async fn metrics(&self) -> String {
        let answer = reqwest::get(format!("{}/metrics", self.health))
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
        let kind = &answer.headers()["content-type"];
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        answer.text().await.expect("text")
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM, and the exit code.
    ///
    /// # Panics
    /// It does not end.
    #[must_use]
    pub fn stop(mut self) -> (i32, String) {
        let told = std::process::Command::new("kill")
            .args(["-TERM", &self.process.id().to_string()])
            .status()
            .expect("kill");
        assert!(told.success(), "kill -TERM");
        let status = self.wait();
        (status.code().unwrap_or(-1), self.all_said())
    }

    /// Waits until it ends by itself: the exit code, and all that it said.
    ///
    /// # Panics
    /// It does not.
    #[must_use]
    pub fn ended(mut self) -> (i32, String) {
        let status = self.wait();
        (status.code().unwrap_or(-1), self.all_said())
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().expect("its status") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{:?} does not end:\n{}",
                self.role,
                self.said
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn all_said(&mut self) -> String {
        while let Ok(line) = self.lines.recv() {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        self.said.clone()
    }

    fn end(&mut self) {
        // It may have ended by itself; a test that depends on that looks before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end();
    }
}
