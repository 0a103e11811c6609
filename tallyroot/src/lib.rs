//! The operator's command: elections, the voting client, the one-machine demo.
//!
//! The binary is [`main`]; everything else is here so that tests can call it.

pub mod cli;
pub mod client;
pub mod demo;
pub mod election;
pub(crate) mod ending;
pub mod folder;
pub mod health;
pub mod node;
pub mod progress;
pub mod serve;
pub mod status;
pub mod stores;
pub mod vote;
pub mod witnesses;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser as _;
use serde_json::json;
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command, ElectionCommand, RollCommand};
use client::voter::VoterError;
use election::description::Description;
use folder::Folder;

/// Something went wrong, or did not verify.
const FAILED: u8 = 1;
/// The outcome is not known: the same again is safe. (2 is a mistake in the arguments.)
const UNKNOWN: u8 = 3;

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    talk_to_stderr();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start: {error}");
            return ExitCode::from(FAILED);
        }
    };
    let code = runtime.block_on(run(cli));
    // What is still running belongs to an election that was stopped or is finished; a blocked read must not hold the exit up.
    runtime.shutdown_background();
    code
}

async fn run(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Election(ElectionCommand::New(args)) => election_new(&args).await,
        Command::Election(command) => election::run(&command).await,
        Command::Status(args) => status::run(&args).await,
        Command::Serve(command) => serve::run(&command).await,
        Command::Fsck(args) => serve::repair::compare(&args).await,
        Command::Rebuild(args) => serve::repair::rebuild(&args).await,
        Command::Roll(RollCommand::Load(args)) => serve::roll::load(&args).await,
        Command::Demo(args) => demo::run(&args).await,
        Command::Vote(args) => match vote::run(&args).await {
            Ok(cast) => say(args.json.then(|| vote::to_json(&args, &cast))),
            Err(error) => {
                tracing::error!("{error}");
                return ExitCode::from(if matches!(error, VoterError::Unknown(_)) {
                    UNKNOWN
                } else {
                    FAILED
                });
            }
        },
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{}", in_words(&error));
            ExitCode::from(FAILED)
        }
    }
}

async fn election_new(args: &cli::ElectionNewArgs) -> Result<ExitCode> {
    let description = Description::read(&args.description)?;
    let folder = Folder::at(&args.out);
    let election = election::create::from_description(&description, &folder).await?;
    let manifest = folder.published(&election.id()).join("manifest.json");
    if args.json {
        return say(Some(
            json!({
                "election_id": election.id().to_string(),
                "manifest": manifest.display().to_string(),
                "data": args.out.display().to_string(),
                "roll": election.manifest().roll.size,
            })
            .to_string(),
        ));
    }
    say(Some(format!(
        "Election id  {}\nManifest     {}\n\n\
         Publish the id where you cannot change it later, in at least two places: it fixes every key.\n\
         {} voters are on the roll. Hand out the codes in {}/registrars/*/codes.csv, then destroy the sheets.\n\
         Move {}/authority and the spare.key files to where no service can read them.{}",
        election.id(),
        manifest.display(),
        election.manifest().roll.size,
        args.out.display(),
        args.out.display(),
        if election.manifest().demo {
            format!(
                "\nRun it on this machine:  tallyroot demo --data {}",
                args.out.display()
            )
        } else {
            String::new()
        },
    )))
}

/// `1 vote`, `2 votes`.
pub(crate) fn counted(n: u64, of: &str) -> String {
    format!("{n} {of}{}", if n == 1 { "" } else { "s" })
}

/// An error with its causes, outermost first. Some errors name their cause in their own text: nothing is said twice. Of an HTTP request that failed, what was asked stands in the words
/// around it already, and the layers below it say where in the client it failed: the last one says why.
pub(crate) fn in_words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    let last = error.chain().count().saturating_sub(1);
    let request = error
        .chain()
        .position(|cause| cause.is::<reqwest::Error>())
        .filter(|at| *at > 0)
        .unwrap_or(usize::MAX);
    let causes = error
        .chain()
        .enumerate()
        .filter(|(at, _)| *at < request || *at == last);
    for cause in causes.map(|(_, cause)| cause.to_string()) {
        if words.is_empty() {
            words = cause;
        } else if !words.contains(&cause) {
            words.push_str(": ");
            words.push_str(&cause);
        }
    }
    words
}

/// Results go to standard output, and a reader that went away is no reason to panic.
pub(crate) fn say(line: Option<String>) -> Result<ExitCode> {
    if let Some(line) = line {
        writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Talk goes to standard error, plain enough to read; RUST_LOG chooses how much.
fn talk_to_stderr() {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,tallyroot=info"));
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .without_time()
        .init();
}

#[cfg(test)]
mod tests {
    use super::in_words;

    #[test]
    fn no_cause_is_said_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read the roll: {0}")]
        struct Outer(#[from] std::io::Error);

        let inner = std::io::Error::other("disk on fire");
        let error = anyhow::Error::new(Outer::from(inner)).context("election new");
        assert_eq!(
            in_words(&error),
            "election new: cannot read the roll: disk on fire"
        );
        let error = anyhow::anyhow!("no such column").context("in votes.csv");
        assert_eq!(in_words(&error), "in votes.csv: no such column");
    }
}
