//! Ceph's object store for tests: a second server that speaks S3's protocol and enforces Object Lock, by other people than [`throwaway_ministack`]'s; started in seconds, gone with the
//! test.
//!
//! One monitor, one store in memory and one gateway (`ceph-mon`, `ceph-osd`, `radosgw`), each on free ports of 127.0.0.1, with a folder of their own; nothing of it is kept.
//!
//! It differs from S3: in a bucket that keeps versions `If-None-Match: *` does not keep it from overwriting, in none does `If-Match` hold with the ETag as it writes it, and a lock that is
//! given where an upload in parts begins is lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test without its server must fail"
)]

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use tempfile::TempDir;
use throwaway_ministack::{Identity, ObjectStore, free_port, kept, unique};
use tokio::runtime;

/// A slow machine gets this long to start a server.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks whether it answers.
const LOOK: Duration = Duration::from_millis(20);
/// With places for its folder and ports.
const CONFIG: &str = include_str!("ceph.conf");
/// The store's own.
const STORE: &str = "22222222-2222-3333-4444-555555555555";

/// A running server. Dropping it ends it, and removes what it kept.
#[derive(Debug)]
pub struct Server {
    folder: TempDir,
    port: u16,
    keepers: Vec<Child>,
}

/// Why it did not start.
enum Failed {
    /// Somebody else took a port in between.
    Port,
    /// With what it wrote.
    Said(String),
}

impl Server {
    /// Starts one, and waits until it answers.
    ///
    /// # Panics
    /// It is not installed, or does not start: with what it wrote.
    #[must_use]
    pub fn start() -> Self {
        let begun = Instant::now();
        loop {
            match Self::try_start(begun) {
                Ok(server) => return server,
                Err(Failed::Port) if begun.elapsed() < PATIENCE => {}
                Err(Failed::Port) => panic!("no port is free"),
                Err(Failed::Said(said)) => panic!("Ceph does not start: {said}"),
            }
        }
    }

    /// One for all tests of a program: buckets and users are each test's own.
    ///
    /// # Panics
    /// As [`Server::start`].
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Server> = LazyLock::new(Server::start);
        &SHARED
    }

    fn try_start(begun: Instant) -> Result<Self, Failed> {
        let mut server = Self {
            folder: TempDir::with_prefix("tallyroot-rados-").unwrap(),
            port: free_port(),
            keepers: Vec::new(),
        };
        let folder = server.folder.path().to_owned();
        let monitor = free_port();
        let config = CONFIG
            .replace("@FOLDER@", folder.to_str().unwrap())
            .replace("@MONITOR@", &monitor.to_string())
            .replace("@GATEWAY@", &server.port.to_string());
        fs::write(folder.join("ceph.conf"), config).unwrap();
        fs::write(folder.join("keyring"), "").unwrap();
        for part in ["mon", "osd", "rgw"] {
            fs::create_dir(folder.join(part)).unwrap();
        }
        let address = format!("[v2:127.0.0.1:{monitor}]");
        let map = folder.join("monmap");
        let map = map.to_str().unwrap();
        let id = config_value("fsid");
        server.run(
            "monmaptool",
            &["--create", "--fsid", id, "--addv", "a", &address, map],
        )?;
        server.run("ceph-mon", &["-i", "a", "--mkfs", "--monmap", map])?;
        server.keep("ceph-mon", &["-i", "a", "-f"]);
        server.run("ceph", &["osd", "new", STORE])?;
        server.run("ceph-osd", &["-i", "0", "--mkfs", "--osd-uuid", STORE])?;
        server.keep("ceph-osd", &["-i", "0", "-f"]);
        server.keep("radosgw", &["-n", "client.rgw", "-f"]);
        server.wait(begun)?;
        server.user("root", &Identity::root());
        Ok(server)
    }

    /// Waits until the gateway listens, which it does when all else is there.
    fn wait(&mut self, begun: Instant) -> Result<(), Failed> {
        loop {
            for keeper in &mut self.keepers {
                if keeper.try_wait().unwrap().is_some() {
                    return Err(self.failed());
                }
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(self.failed());
            }
            sleep(LOOK);
        }
    }

    /// With what all of them wrote.
    fn failed(&self) -> Failed {
        let files = ["ceph-mon.out", "ceph-osd.out", "radosgw.out"].map(|name| {
            let said = fs::read_to_string(self.folder.path().join(name));
            format!("{name}: {}\n", said.unwrap_or_default())
        });
        let said = files.concat();
        match said.contains("already in use") {
            true => Failed::Port,
            false => Failed::Said(said),
        }
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), Failed> {
        let mut command = Command::new(program);
        let command = command.args(arguments);
        // The one that makes a map of monitors takes no configuration.
        let command = match program {
            "monmaptool" => command,
            _ => self.configured(command),
        };
        let ran = alone(command, self.folder.path())
            .stdin(Stdio::null())
            .output();
        let ran = ran.unwrap_or_else(|error| missing(program, &error));
        match ran.status.success() {
            true => Ok(()),
            false => Err(Failed::Said(format!(
                "{program} {arguments:?}: {}{}",
                String::from_utf8_lossy(&ran.stderr),
                match self.failed() {
                    Failed::Port => return Err(Failed::Port),
                    Failed::Said(said) => said,
                }
            ))),
        }
    }

    /// Starts one of its programs, which dies with the test.
    fn keep(&mut self, program: &str, arguments: &[&str]) {
        let sink = File::create(self.folder.path().join(format!("{program}.out"))).unwrap();
        let mut command = kept(self.folder.path());
        let command = self.configured(command.arg(program).args(arguments));
        let command = alone(command, self.folder.path())
            .stdout(sink.try_clone().unwrap())
            .stderr(sink);
        self.keepers.push(command.spawn().unwrap());
    }

    /// What stands in the file is all: the monitor is not asked for more.
    fn configured<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .arg("--no-mon-config")
            .arg("-c")
            .arg(self.folder.path().join("ceph.conf"))
    }

    /// Makes a user with this key, who may do what buckets' policies allow, and everything in buckets of their own.
    ///
    /// # Panics
    /// There is such a user, or key, already.
    pub fn user(&self, name: &str, identity: &Identity) {
        let arguments = [
            "-n",
            "client.rgw",
            "user",
            "create",
            "--uid",
            name,
            "--display-name",
            name,
            "--access-key",
            &identity.id,
            "--secret-key",
            &identity.secret,
        ];
        match self.run("radosgw-admin", &arguments) {
            Ok(()) => {}
            Err(Failed::Said(said)) => panic!("{said}"),
            Err(Failed::Port) => panic!("the user {name} could not be made"),
        }
    }

    /// Sets a bucket's policy: statements, each a JSON object.
    ///
    /// # Panics
    /// The server says no.
    pub fn permit(&self, bucket: &str, statements: &[String]) {
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[{}]}}"#,
            statements.join(",")
        );
        self.ask(async |client| {
            let put = client.put_bucket_policy().bucket(bucket).policy(&policy);
            put.send().await.unwrap();
        });
    }

    /// As the root. The caller may be within a runtime of its own.
    fn ask<T: Send>(&self, work: impl AsyncFnOnce(&Client) -> T + Send) -> T {
        let aws = self.aws(&Identity::root());
        let asks = || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let config = aws.config().await.unwrap();
                let config = Builder::from(config).force_path_style(true).build();
                work(&Client::from_conf(config)).await
            })
        };
        thread::scope(|scope| scope.spawn(asks).join().unwrap())
    }
}

impl ObjectStore for Server {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn bucket(&self, what: &str, locks: bool) -> String {
        let name = unique(what);
        self.ask(async |client| {
            let create = client.create_bucket().bucket(&name);
            let create = create.object_lock_enabled_for_bucket(locks);
            create.send().await.unwrap();
        });
        name
    }

    fn grant_to_all(&self, bucket: &str, statement: &str) {
        self.permit(bucket, &[statement.to_owned()]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for keeper in &mut self.keepers {
            drop(keeper.stdin.take());
        }
        for keeper in &mut self.keepers {
            keeper.wait().unwrap();
        }
    }
}

/// Nothing of the caller's environment but where programs are.
fn alone<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    command
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("TMPDIR", folder)
}

fn missing<T>(program: &str, error: &std::io::Error) -> T {
    match error.kind() {
        ErrorKind::NotFound => {
            panic!("{program} is not there: run `scripts/setup.sh test` first")
        }
        _ => panic!("{program}: {error}"),
    }
}

fn config_value(name: &str) -> &'static str {
    let lines = CONFIG.lines().filter_map(|line| line.split_once(" = "));
    let mut values = lines.filter(|(key, _)| *key == name);
    values.next().unwrap().1
}
