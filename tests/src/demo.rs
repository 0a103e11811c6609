//! `tallyroot demo`, to its end or staying up.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "what a test cannot go on without"
)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::{Said, arg, run, start};

/// Nothing that these tests wait for takes this long, on a busy machine either.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A demo's command line: the same again goes on with the same folder.
#[derive(Clone, Debug)]
pub struct Demo {
    /// `--data`
    pub data: PathBuf,
    /// Everything else, but for `--exit`, `--json` and `--listen`.
    pub options: Vec<String>,
}

impl Demo {
    /// So many voters, cells and registrars.
    #[must_use]
    pub fn new(data: &Path, voters: u32, cells: u32, registrars: u16) -> Self {
        Self {
            data: data.to_owned(),
            options: vec![
                "--voters".to_owned(),
                voters.to_string(),
                "--cells".to_owned(),
                cells.to_string(),
                "--registrars".to_owned(),
                registrars.to_string(),
            ],
        }
    }

    /// The folder alone, as for an election that was made by `tallyroot election new`.
    #[must_use]
    pub fn of_folder(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            options: Vec::new(),
        }
    }

    fn arguments(&self) -> Vec<&str> {
        let mut arguments = vec!["demo", "--data", arg(&self.data)];
        arguments.extend(self.options.iter().map(String::as_str));
        arguments
    }

    /// Runs it until it is closed, anchored and audited.
    #[must_use]
    pub fn run_to_the_end(&self) -> Said {
        let mut arguments = self.arguments();
        arguments.extend(["--exit", "--json"]);
        run("tallyroot", &arguments)
    }

    /// The same, without waiting for it; what it says goes to a file.
    #[must_use]
    pub fn start_to_the_end(&self, stderr: &Path) -> Child {
        let mut arguments = self.arguments();
        arguments.extend(["--exit", "--json"]);
        let stderr = std::fs::File::options()
            .create(true)
            .append(true)
            .open(stderr)
            .expect("a file for what it says");
        start("tallyroot", &arguments, Stdio::null(), stderr.into())
    }

    /// Starts it, and waits until it serves and everybody has voted.
    #[must_use]
    pub fn stay_up(&self) -> Up {
        self.stay_up_saying(Stdio::null())
    }

    /// The same; what it suggests to its user goes to `stdout`.
    #[must_use]
    pub fn stay_up_saying(&self, stdout: Stdio) -> Up {
        let mut arguments = self.arguments();
        arguments.extend(["--listen", "127.0.0.1:0"]);
        let mut process = start("tallyroot", &arguments, stdout, Stdio::piped());
        let stderr = process.stderr.take().expect("its standard error");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // Nobody listens any more once the test has heard what it waited for.
                let _ = sender.send(line);
            }
        });
        let mut up = Up {
            process,
            url: String::new(),
            lines,
        };
        up.url = up.wait_for("serving at ");
        up.wait_for("staying up until");
        up
    }
}

/// A demo that serves. It is killed when this goes away.
#[derive(Debug)]
pub struct Up {
    process: Child,
    /// Where, without a slash at the end.
    pub url: String,
    lines: Receiver<String>,
}

impl Up {
    /// Waits for a line with these words on standard error; returns what follows them.
    fn wait_for(&mut self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut said = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some((_, rest)) = line.split_once(words) {
                        return rest.trim().to_owned();
                    }
                    said.push_str(&line);
                    said.push('\n');
                }
                Err(RecvTimeoutError::Timeout) => panic!("it did not say `{words}`:\n{said}"),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("it ended without saying `{words}`:\n{said}")
                }
            }
        }
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself; a test that depends on that looks before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until a condition holds; the condition's name is for the failure.
///
/// # Panics
/// It does not come true.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
