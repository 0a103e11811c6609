//! A server that speaks AWS's protocols, for tests: started in a moment, gone with the test. And a proxy before it that loses, delays and changes answers.
//!
//! The server is `ministack` (PyPI), on a free port of 127.0.0.1, with signatures and permissions of IAM users enforced; nothing of it is kept. It dies with the test, however the
//! test ends: its keeper waits on a pipe that only the test holds open.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test without its server must fail"
)]

mod proxy;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use aws::{Aws, Credentials, Settings, Timeouts};
use tempfile::TempDir;

pub use proxy::{Answer, Exchange, Proxy};

/// A slow machine gets this long to start a server.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks whether it answers.
const LOOK: Duration = Duration::from_millis(20);
/// Where everything is, unless a test says otherwise.
pub const REGION: &str = "eu-central-1";

/// Runs the server until somebody closes standard input (or dies, which closes it too); then ends it at once.
const KEEPER: &str = r#"
exec 3<&0 </dev/null
folder=$1; shift
"$@" & server=$!
( cat <&3 >/dev/null; kill -KILL "$server" 2>/dev/null ) &
wait "$server"; code=$?
kill %2 2>/dev/null
# Ended from above: a server that many tests shared is never dropped, so its folder goes here.
[ "$code" = 137 ] && rm -rf "$folder"
exit "$code"
"#;

/// What ends when the test does, however the test ends: the command to which a program and its arguments are added. Closing its standard input ends the program at once; if nobody
/// is left to remove the folder, it goes too.
#[must_use]
pub fn kept(folder: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", KEEPER, "sh"])
        .arg(folder)
        .stdin(Stdio::piped());
    command
}

/// A server that keeps objects and speaks S3's protocol, whoever made it.
pub trait ObjectStore: Sync {
    /// Where it is.
    fn url(&self) -> String;

    /// Makes a bucket of a name that no other has, and gives the name. With `locks`, it keeps versions and can lock them.
    fn bucket(&self, what: &str, locks: bool) -> String;

    /// Sets a bucket's policy to this statement, a JSON object, which grants something to everybody.
    fn grant_to_all(&self, bucket: &str, statement: &str);

    /// How a client of ours reaches it.
    fn aws(&self, identity: &Identity) -> Aws {
        aws_at(&self.url(), identity)
    }

    /// Lets everybody read a bucket: objects, all their versions, retentions, and the lists of them.
    fn show_to_all(&self, bucket: &str) {
        self.grant_to_all(bucket, &shown(bucket));
    }
}

/// The statement that lets everybody read a bucket: objects, all their versions, retentions, and the lists of them.
#[must_use]
pub fn shown(bucket: &str) -> String {
    let all = [
        "GetObject",
        "GetObjectVersion",
        "GetObjectRetention",
        "ListBucket",
        "ListBucketVersions",
    ];
    let all: Vec<String> = all.iter().map(|name| format!("\"s3:{name}\"")).collect();
    format!(
        r#"{{"Effect":"Allow","Principal":"*","Action":[{}],"Resource":["arn:aws:s3:::{bucket}","arn:aws:s3:::{bucket}/*"]}}"#,
        all.join(",")
    )
}

/// A bucket's name that no other test has.
#[must_use]
pub fn unique(what: &str) -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    format!("{what}-{}-{number}", std::process::id())
}

/// What a client identifies itself with.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The access key's id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl Identity {
    /// The account's root, which may do everything.
    #[must_use]
    pub fn root() -> Self {
        Self {
            id: "test".to_owned(),
            secret: "test".to_owned(),
        }
    }

    /// As the SDK takes it.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials::new(&self.id, &self.secret, None, None, "test")
    }
}

/// A running server. Dropping it ends it, and removes what it kept.
#[derive(Debug)]
pub struct Server {
    folder: TempDir,
    port: u16,
    keeper: Option<Child>,
}

impl Server {
    /// Starts one, and waits until it answers.
    ///
    /// # Panics
    /// It is not installed, or does not start: with what it wrote.
    #[must_use]
    pub fn start() -> Self {
        let mut server = Self {
            folder: TempDir::with_prefix("tallyroot-ministack-").unwrap(),
            port: 0,
            keeper: None,
        };
        server.run();
        server
    }

    /// One for all tests of a program: keys and users are each test's own.
    ///
    /// # Panics
    /// As [`Server::start`].
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Server> = LazyLock::new(Server::start);
        &SHARED
    }

    fn run(&mut self) {
        let begun = Instant::now();
        let log = self.folder.path().join("log");
        'start: loop {
            self.port = free_port();
            let sink = fs::File::create(&log).unwrap();
            let mut command = kept(self.folder.path());
            command
                .arg(program())
                .current_dir(self.folder.path())
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .env("HOME", self.folder.path())
                .env("TMPDIR", self.folder.path())
                .env("BIND_HOST", Ipv4Addr::LOCALHOST.to_string())
                .env("GATEWAY_PORT", self.port.to_string())
                .env("AUTH", "true")
                .env("SERVICES", "kms,s3,sts,iam")
                // It would listen at a fixed port of every address.
                .env("IOT_MTLS_ENABLED", "0")
                .env("MINISTACK_REGION", REGION)
                .stdout(sink.try_clone().unwrap())
                .stderr(sink);
            let mut keeper = command.spawn().unwrap();
            loop {
                let said = || fs::read_to_string(&log).unwrap_or_default();
                if let Some(status) = keeper.try_wait().unwrap() {
                    // Somebody else took the port in between.
                    if said().contains("in use") && begun.elapsed() < PATIENCE {
                        continue 'start;
                    }
                    panic!("ministack ended with {status}:\n{}", said());
                }
                // Only its own log says that it is this server which answers.
                if said().contains("Running on") && self.http("GET /_ministack/health", "").is_ok()
                {
                    self.keeper = Some(keeper);
                    return;
                }
                assert!(
                    begun.elapsed() < PATIENCE,
                    "ministack does not answer:\n{}",
                    said()
                );
                sleep(LOOK);
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How a client of ours reaches it.
    #[must_use]
    pub fn aws(&self, identity: &Identity) -> Aws {
        aws_at(&self.url(), identity)
    }

    /// The environment of a process that reaches it as its root.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        environment(&self.url(), &Identity::root())
    }

    /// Makes a user who may do what these statements allow, each a JSON object: `{"Effect":"Allow","Action":"kms:Sign","Resource":"…"}`.
    ///
    /// # Panics
    /// There is such a user already.
    #[must_use]
    pub fn user(&self, name: &str, statements: &[String]) -> Identity {
        self.iam(&format!("Action=CreateUser&UserName={name}"));
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[{}]}}"#,
            statements.join(",")
        );
        let policy: String = policy.bytes().map(|byte| format!("%{byte:02X}")).collect();
        self.iam(&format!(
            "Action=PutUserPolicy&UserName={name}&PolicyName=own&PolicyDocument={policy}"
        ));
        let made = self.iam(&format!("Action=CreateAccessKey&UserName={name}"));
        Identity {
            id: element(&made, "AccessKeyId"),
            secret: element(&made, "SecretAccessKey"),
        }
    }

    /// A request of S3's as the root: `PUT /bucket/key`, headers with their line ends, a body. Gives the answer, headers included.
    ///
    /// # Panics
    /// The server says no.
    pub fn s3(&self, what: &str, headers: &str, body: &str) -> String {
        self.request("s3", what, headers, body)
            .unwrap_or_else(|said| panic!("{what}: {said}"))
    }

    fn iam(&self, form: &str) -> String {
        self.http("POST /", &format!("{form}&Version=2010-05-08"))
            .unwrap_or_else(|said| panic!("{form}: {said}"))
    }

    fn http(&self, what: &str, form: &str) -> Result<String, String> {
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
        self.request("iam", what, headers, form)
    }

    /// A request as the root, whose signature the server does not check.
    fn request(
        &self,
        service: &str,
        what: &str,
        headers: &str,
        body: &str,
    ) -> Result<String, String> {
        let io = |error: std::io::Error| error.to_string();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(io)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(io)?;
        let request = format!(
            "{what} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=00\r\n\r\n{body}",
            self.port,
            body.len()
        );
        stream.write_all(request.as_bytes()).map_err(io)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(io)?;
        match answer.starts_with("HTTP/1.1 2") {
            true => Ok(answer),
            false => Err(answer),
        }
    }
}

impl ObjectStore for Server {
    fn url(&self) -> String {
        Self::url(self)
    }

    fn bucket(&self, what: &str, locks: bool) -> String {
        let name = unique(what);
        self.s3(
            &format!("PUT /{name}"),
            &format!("x-amz-bucket-object-lock-enabled: {locks}\r\n"),
            &format!("<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"),
        );
        name
    }

    fn grant_to_all(&self, bucket: &str, statement: &str) {
        let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
        self.s3(&format!("DELETE /{bucket}?publicAccessBlock"), "", "");
        self.s3(&format!("PUT /{bucket}?policy"), "", &policy);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait().unwrap();
        }
    }
}

/// A client of whatever speaks AWS's protocols at this address.
#[must_use]
pub fn aws_at(url: &str, identity: &Identity) -> Aws {
    let settings = Settings {
        region: Some(REGION.to_owned()),
        endpoint: Some(url.parse().unwrap()),
        // Many tests at once keep one server, and the machine, busy.
        timeouts: Timeouts::patient(),
    };
    Aws::with_credentials(settings, identity.credentials())
}

/// The environment of a process that reaches AWS at this address, as this identity, and no other way.
#[must_use]
pub fn environment(url: &str, identity: &Identity) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", url.to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", identity.id.clone()),
        ("AWS_SECRET_ACCESS_KEY", identity.secret.clone()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ]
}

fn program() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin/ministack");
    assert!(
        path.is_file(),
        "{} is not there: run `scripts/setup.sh test` first",
        path.display()
    );
    path
}

/// A port of 127.0.0.1 on which nobody listens now.
///
/// # Panics
/// There is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn element(xml: &str, name: &str) -> String {
    let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap();
    rest.split_once('<').unwrap().0.to_owned()
}
