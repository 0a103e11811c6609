//! The command line: what a user can ask for, with the help that teaches it.

mod election;
mod serve;
mod voters;

use clap::{Parser, Subcommand};

pub use election::*;
pub use serve::*;
pub use voters::*;

/// Tallyroot: a vote ledger that anyone can check.
#[derive(Debug, Parser)]
#[command(
    name = "tallyroot",
    version,
    about = "A vote ledger that anyone can check",
    after_help = "Start with `tallyroot demo`: it runs a whole election on this machine.\n\
                  Anyone can check an election with the separate program `tallyroot-verify`.",
    arg_required_else_help = true,
    subcommand_required = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make elections, change their course, and see what came out
    #[command(subcommand)]
    Election(ElectionCommand),
    /// Run one service, alone in its process
    #[command(subcommand)]
    Serve(ServeCommand),
    /// Look once at an election, or at its services
    Status(StatusArgs),
    /// Compare a service's databases with what it has published: every difference, with its place. Changes nothing
    Fsck(RepairArgs),
    /// Fill a service's lost database from what it has published, and a registrar's roll from its backup
    Rebuild(RepairArgs),
    /// Care for a registrar's roll
    #[command(subcommand)]
    Roll(RollCommand),
    /// Run a whole election on this machine: sign-in, casting, live results, anchoring, audit
    Demo(DemoArgs),
    /// Vote: code in, credential, cast, receipt file
    Vote(VoteArgs),
}
