//! Real Postgres servers for tests: started in a moment, gone with the test.
//!
//! A server is the machine's own `postgres` in a folder of its own, on a free port of 127.0.0.1, without a socket file, with `fsync` on as everywhere. Its data
//! come from one `initdb`, done once a machine and copied. It dies with the test, however the test ends: its keeper waits on a pipe that only the test holds open.
//!
//! The superuser is `postgres` and needs no password; a test that is about passwords, certificates or roles says so with [`Setup::hba`] and [`Server::psql`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test without its server must fail"
)]

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A slow machine gets this long to start or stop a server.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks whether it answers.
const LOOK: Duration = Duration::from_millis(10);

/// Runs the server until somebody closes standard input (or dies, which closes it too); then ends it at once, as a crash would.
const KEEPER: &str = r#"
"$@" & server=$!
( cat <&3 >/dev/null; kill -QUIT "$server" 2>/dev/null ) &
wait "$server"; code=$?
kill %2 2>/dev/null
exit "$code"
"#;

/// How a server is to be.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    settings: Vec<(String, String)>,
    hba: Option<String>,
    files: Vec<(String, Vec<u8>)>,
}

impl Setup {
    /// The defaults of `initdb`, with `listen_addresses = 127.0.0.1` and no socket.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a line of `postgresql.conf`; the value is quoted.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Replaces `pg_hba.conf`.
    #[must_use]
    pub fn hba(mut self, text: &str) -> Self {
        self.hba = Some(text.to_owned());
        self
    }

    /// Puts a file into the data folder, readable by the server alone: a certificate and its key.
    #[must_use]
    pub fn file(mut self, name: &str, bytes: &[u8]) -> Self {
        self.files.push((name.to_owned(), bytes.to_owned()));
        self
    }

    /// Starts such a server, and waits until it answers.
    ///
    /// # Panics
    /// No Postgres is installed, or it does not start: with what it wrote.
    #[must_use]
    pub fn start(self) -> Server {
        let bin = bin();
        let account = Account::of_servers();
        let folder = TempDir::with_prefix("tallyroot-postgres-").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let data = folder.path().join("data");
        copy_template(&bin, &account, &data);
        self.finish(bin, account, folder)
    }

    /// Configures and starts what lies in `folder/data`.
    fn finish(self, bin: PathBuf, account: Account, folder: TempDir) -> Server {
        let data = folder.path().join("data");
        let mut settings = String::from(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nlogging_collector = off\nshared_buffers = '32MB'\n",
        );
        for (name, value) in &self.settings {
            settings.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        account.write(&data.join("throwaway.conf"), settings.as_bytes());
        if let Some(hba) = &self.hba {
            account.write(&data.join("pg_hba.conf"), hba.as_bytes());
        }
        for (name, bytes) in &self.files {
            account.write(&data.join(name), bytes);
        }
        let mut server = Server {
            bin,
            account,
            folder,
            port: 0,
            keeper: None,
        };
        server.restart();
        server
    }
}

/// A running server, or one that was stopped and can be started again. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct Server {
    bin: PathBuf,
    account: Account,
    folder: TempDir,
    port: u16,
    keeper: Option<Child>,
}

impl Server {
    /// A server with the defaults.
    ///
    /// # Panics
    /// As [`Setup::start`].
    #[must_use]
    pub fn start() -> Self {
        Setup::new().start()
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its data, configuration included.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The superuser's URL of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", "", database)
    }

    /// A role's URL of a database.
    #[must_use]
    pub fn url_as(&self, role: &str, password: &str, database: &str) -> String {
        let password = if password.is_empty() {
            String::new()
        } else {
            format!(":{password}")
        };
        format!(
            "postgres://{role}{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// Makes a new database, and gives its superuser's URL.
    ///
    /// # Panics
    /// It is there already.
    #[must_use]
    pub fn database(&self, name: &str) -> String {
        self.psql("postgres", &format!("CREATE DATABASE \"{name}\""));
        self.url(name)
    }

    /// Runs SQL as the superuser; gives what it prints, without headers, columns parted by `|`.
    ///
    /// # Panics
    /// An error of the server.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let out = self
            .command("psql")
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "postgres",
                "-d",
                database,
                "-c",
                sql,
            ])
            .output()
            .unwrap();
        assert!(out.status.success(), "{sql}: {}", text(&out));
        String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
    }

    /// One of Postgres's own programs, told where this server is.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGCONNECT_TIMEOUT", "10")
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// Ends every process of the server at once, as `kill -9` or a power failure would, and leaves the data.
    ///
    /// # Panics
    /// It was not running.
    pub fn crash(&mut self) {
        let mut keeper = self.keeper.take().expect("the server is running");
        // SIGQUIT to the postmaster is Postgres's own "immediate shutdown": no checkpoint, no goodbye; the next start recovers.
        drop(keeper.stdin.take());
        keeper.wait().unwrap();
    }

    /// Starts it again, on the same port if it had one, and waits until it answers.
    ///
    /// # Panics
    /// It does not start, or it runs already.
    pub fn restart(&mut self) {
        assert!(self.keeper.is_none(), "the server runs already");
        let begun = Instant::now();
        let fixed = self.port != 0;
        loop {
            if !fixed {
                self.port = free_port();
            }
            let log = self.folder.path().join("log");
            let data = self.data();
            let sink = fs::File::options()
                .create(true)
                .append(true)
                .open(&log)
                .unwrap();
            let mut command = Command::new("sh");
            command
                .args(["-c", &format!("exec 3<&0 </dev/null; {KEEPER}"), "sh"])
                .arg(self.bin.join("postgres"))
                .arg("-D")
                .arg(&data)
                .args(["-p", &self.port.to_string()])
                .current_dir("/")
                .env("LC_ALL", "C")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(sink);
            self.account.become_in(&mut command);
            let mut keeper = command.spawn().unwrap();
            loop {
                if let Some(status) = keeper.try_wait().unwrap() {
                    let said = fs::read_to_string(&log).unwrap_or_default();
                    // Somebody else took the port in between.
                    if !fixed
                        && said.contains("could not create any TCP/IP sockets")
                        && begun.elapsed() < PATIENCE
                    {
                        fs::remove_file(&log).unwrap();
                        break;
                    }
                    panic!("postgres ended with {status}:\n{said}");
                }
                if self
                    .command("pg_isready")
                    .arg("-q")
                    .status()
                    .unwrap()
                    .success()
                {
                    self.keeper = Some(keeper);
                    return;
                }
                assert!(
                    begun.elapsed() < PATIENCE,
                    "postgres does not answer:\n{}",
                    fs::read_to_string(&log).unwrap_or_default()
                );
                sleep(LOOK);
            }
        }
    }

    /// A standby that streams from this server under `name`, caught up and read-only.
    ///
    /// # Panics
    /// It does not come up.
    #[must_use]
    pub fn standby(&self, name: &str) -> Self {
        let folder = TempDir::with_prefix("tallyroot-postgres-").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        self.account.own(folder.path());
        let mut backup = self.command("pg_basebackup");
        backup
            .args(["-U", "postgres", "-X", "stream", "-R", "-c", "fast", "-D"])
            .arg(folder.path().join("data"))
            .args(["-d", &format!("application_name={name}")]);
        self.account.become_in(&mut backup);
        let out = backup.output().unwrap();
        assert!(out.status.success(), "pg_basebackup: {}", text(&out));
        let data = folder.path().join("data");
        let conninfo = format!(
            "primary_conninfo = 'host=127.0.0.1 port={} user=postgres application_name={name}'\n",
            self.port
        );
        let auto = data.join("postgresql.auto.conf");
        let kept = fs::read_to_string(&auto).unwrap_or_default();
        self.account
            .write(&auto, format!("{kept}{conninfo}").as_bytes());
        let mut server = Self {
            bin: self.bin.clone(),
            account: self.account.clone(),
            folder,
            port: 0,
            keeper: None,
        };
        server.restart();
        server
    }

    /// Makes a standby the primary, and waits until it is.
    ///
    /// # Panics
    /// It is none, or is not promoted in time.
    pub fn promote(&self) {
        assert_eq!(self.psql("postgres", "SELECT pg_promote(true, 60)"), "t");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.keeper.is_some() {
            self.crash();
        }
    }
}

/// Postgres refuses to run as root: then it runs as `postgres`, as on any server.
#[derive(Clone, Debug)]
struct Account(Option<(u32, u32)>);

impl Account {
    fn of_servers() -> Self {
        if number(&["-u"]) != 0 {
            return Self(None);
        }
        Self(Some((
            number(&["-u", "postgres"]),
            number(&["-g", "postgres"]),
        )))
    }

    fn become_in(&self, command: &mut Command) {
        if let Self(Some((uid, gid))) = self {
            command.uid(*uid).gid(*gid);
        }
    }

    fn own(&self, path: &Path) {
        if let Self(Some((uid, gid))) = self {
            chown(path, Some(*uid), Some(*gid)).unwrap();
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        self.own(path);
    }
}

/// Copies the data of a new cluster, made once on this machine, to `data`.
fn copy_template(bin: &Path, account: &Account, data: &Path) {
    let version = Command::new(bin.join("postgres"))
        .arg("--version")
        .output()
        .unwrap();
    let version: String = String::from_utf8_lossy(&version.stdout)
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '.')
        .collect();
    let template =
        std::env::temp_dir().join(format!("tallyroot-template-{version}-{}", number(&["-u"])));
    if !template.join("done").is_file() {
        make_template(bin, account, &template);
    }
    let out = Command::new("cp")
        .arg("-a")
        .arg(template.join("data"))
        .arg(data)
        .output()
        .unwrap();
    assert!(out.status.success(), "cp: {}", text(&out));
}

/// Beside it, then renamed: of several tests at once, one wins.
fn make_template(bin: &Path, account: &Account, template: &Path) {
    let fresh = TempDir::with_prefix("tallyroot-template-").unwrap();
    fs::set_permissions(fresh.path(), fs::Permissions::from_mode(0o755)).unwrap();
    account.own(fresh.path());
    let data = fresh.path().join("data");
    let mut initdb = Command::new(bin.join("initdb"));
    initdb
        .args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "-D",
        ])
        .arg(&data)
        .current_dir("/")
        .stdin(Stdio::null());
    account.become_in(&mut initdb);
    let out = initdb.output().unwrap();
    assert!(out.status.success(), "initdb: {}", text(&out));
    let conf = data.join("postgresql.conf");
    let kept = fs::read_to_string(&conf).unwrap();
    account.write(
        &conf,
        format!("{kept}\ninclude_if_exists = 'throwaway.conf'\n").as_bytes(),
    );
    fs::write(fresh.path().join("done"), b"").unwrap();
    match fs::rename(fresh.path(), template) {
        Ok(()) => drop(fresh.keep()),
        Err(_) if template.join("done").is_file() => {}
        Err(error) => panic!(
            "cannot move the template to {}: {error}",
            template.display()
        ),
    }
}

/// The folder of the newest Postgres of this machine.
fn bin() -> PathBuf {
    let versions = match fs::read_dir("/usr/lib/postgresql") {
        Ok(entries) => entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
            .collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => panic!("/usr/lib/postgresql: {error}"),
    };
    if let Some(newest) = versions.iter().max() {
        return PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin"));
    }
    let out = Command::new("pg_config").arg("--bindir").output();
    match out {
        Ok(out) if out.status.success() => {
            PathBuf::from(String::from_utf8(out.stdout).unwrap().trim())
        }
        _ => panic!("no Postgres is installed: scripts/setup.sh test installs it"),
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn number(args: &[&str]) -> u32 {
    let out = Command::new("id").args(args).output().unwrap();
    assert!(out.status.success(), "id {args:?}: {}", text(&out));
    String::from_utf8(out.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Server, Setup};

    #[test]
    fn a_server_keeps_what_was_committed_before_it_crashed() {
        let mut server = Setup::new().set("max_connections", "17").start();
        assert_eq!(server.psql("postgres", "SHOW max_connections"), "17");
        assert_eq!(server.psql("postgres", "SHOW fsync"), "on");
        let _ = server.database("kept");
        server.psql("kept", "CREATE TABLE t (n int); INSERT INTO t VALUES (7)");
        let port = server.port();
        server.crash();
        assert!(
            !server
                .command("pg_isready")
                .arg("-q")
                .status()
                .unwrap()
                .success()
        );
        server.restart();
        assert_eq!(server.port(), port);
        assert_eq!(server.psql("kept", "SELECT n FROM t"), "7");
    }

    #[test]
    fn a_standby_follows_and_is_promoted() {
        let primary = Server::start();
        let standby = primary.standby("sb");
        assert_eq!(
            primary.psql(
                "postgres",
                "SELECT application_name, state FROM pg_stat_replication"
            ),
            "sb|streaming"
        );
        assert_eq!(standby.psql("postgres", "SELECT pg_is_in_recovery()"), "t");
        standby.promote();
        assert_eq!(standby.psql("postgres", "SELECT pg_is_in_recovery()"), "f");
    }
}
