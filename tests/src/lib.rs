//! What the whole-system tests share: running the two programs as a user does, from outside.

pub mod clock;
pub mod demo;
pub mod device;
pub mod files;
pub mod forge;
pub mod hours;
pub mod local;
pub mod published;
pub mod seed;
pub mod serve;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The path of one of the workspace's programs, built in the same profile as this test.
///
/// # Panics
/// It has not been built: `cargo test -p tests` alone does not build other packages' programs.
#[must_use]
#[expect(clippy::panic, reason = "a test without its program must fail")]
pub fn program(name: &str) -> PathBuf {
    let path = std::env::current_exe()
        .ok()
        .and_then(|test| Some(test.parent()?.parent()?.join(name)))
        .unwrap_or_default();
    if !path.is_file() {
        panic!(
            "{} is not there: run `cargo build --workspace` first",
            path.display()
        );
    }
    path
}

/// The cast vote records of Minneapolis, 2013.
#[must_use]
pub fn minneapolis() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/minneapolis-2013-mayor.csv.gz")
}

/// What a finished program said.
#[derive(Debug)]
pub struct Said {
    /// The exit code; -1 for a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Said {
    /// The one line of JSON on standard output.
    ///
    /// # Panics
    /// There is none, or more than one line.
    #[must_use]
    #[expect(clippy::panic, reason = "a test's assertion")]
    pub fn json(&self) -> Value {
        let mut lines = self.stdout.lines();
        match (lines.next().map(serde_json::from_str), lines.next()) {
            (Some(Ok(value)), None) => value,
            _ => panic!("not one line of JSON: {self:#?}"),
        }
    }
}

/// Runs a program to its end.
///
/// # Panics
/// It cannot be started.
#[must_use]
pub fn run(name: &str, arguments: &[&str]) -> Said {
    run_with(name, arguments, &[])
}

/// Variables of a process's environment.
pub type Environment = Vec<(&'static str, String)>;

/// Runs a program to its end, with these variables besides our own.
///
/// # Panics
/// It cannot be started.
#[must_use]
#[expect(clippy::expect_used, reason = "a test without its program must fail")]
pub fn run_with(name: &str, arguments: &[&str], environment: &[(&'static str, String)]) -> Said {
    Command::new(program(name))
        .args(arguments)
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .env("NO_COLOR", "1")
        .output()
        .expect("the program starts")
        .into()
}

/// Starts a program; its output goes where `stderr` says, and nowhere else.
///
/// # Panics
/// It cannot be started.
#[must_use]
pub fn start(name: &str, arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Child {
    start_with(name, arguments, &[], stdout, stderr)
}

/// As [`start`], with these variables besides our own.
///
/// # Panics
/// It cannot be started.
#[must_use]
#[expect(clippy::expect_used, reason = "a test without its program must fail")]
pub fn start_with(
    name: &str,
    arguments: &[&str],
    environment: &[(&'static str, String)],
    stdout: Stdio,
    stderr: Stdio,
) -> Child {
    Command::new(program(name))
        .args(arguments)
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .env("NO_COLOR", "1")
        .spawn()
        .expect("the program starts")
}

/// A temporary folder that goes away with the value.
///
/// # Panics
/// It cannot be made.
#[must_use]
#[expect(clippy::expect_used, reason = "a test without a folder must fail")]
pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A path as an argument.
///
/// # Panics
/// It is not UTF-8.
#[must_use]
#[expect(clippy::expect_used, reason = "temporary folders have UTF-8 names")]
pub fn arg(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

/// So many seconds from now, as TOML writes a moment.
///
/// # Panics
/// That lies beyond the calendar.
#[must_use]
#[expect(clippy::expect_used, reason = "tests stay within the calendar")]
pub fn moment(seconds: i64) -> String {
    let now = jiff::Timestamp::now().as_second();
    jiff::Timestamp::from_second(now + seconds)
        .expect("a moment within the calendar")
        .to_string()
}
