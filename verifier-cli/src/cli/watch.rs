//! The command `watch`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use protocol::ids::ElectionId;

use super::{complain, print};
use crate::verdict::Outcome;
use crate::watch::{self, Event, Seen, Watcher};
use crate::words;

pub(super) const HELP: &str = "\
Follows an election while it runs. Give every place where it is published: the site, mirrors; each round looks at all of them and raises

  a split view      two sources, or one source today and before, show histories that one log cannot have. The proof for everybody is written to DIR/split-views
  a rollback        a log is shorter than it was, and still is in a later round, 30 s (or three head intervals) on: a cache may show an older state for a moment
  a false tally     results.json is not the sum of signed tally entries; or a batch's tally is not the sum of its votes (every new batch is recounted, with the signatures of some of its votes)
  a wrong key       a checkpoint is not signed by the key that the manifest, and the notices, name
  a late head       the newest head is older than three intervals (30 s at least) by this machine's clock, and there is no final head; or none is published, and the election has opened. Code: late-head
  a log left out    heads go on, and for as long have not covered what a log published. Code: uncovered
  a head ahead      the newest head claims a time more than five minutes ahead of this machine's clock. Code: head-ahead
  what a witness knows   with --witness: its own newest copy of the heads log contradicts what the sources show, or they end below it
  and whatever else is wrong with what it reads, by the codes of `tallyroot-verify explain`.

A finding is said when it begins, not in every round. While nothing is, a line on stderr says what was seen, at each change and every minute (not with --json or --quiet). A source that does not answer is no finding: it is said to be unread. All sources are looked at side by side, each for a minute at most; whoever needs longer holds up nobody.

DIR is the memory. Every checkpoint that was seen is kept in DIR/evidence, which `audit --evidence DIR/evidence` takes; of very many, older ones of the same history are thinned out, since newer ones commit to them. All that was said is in DIR/events.jsonl. A watch that was killed goes on where it was, and what was raised once is not forgotten: to begin anew, name another DIR.

Of every batch, it verifies the signatures of 16 votes. Begun late, or where votes come faster than that, it recounts at most 256 MiB and 1,024 batches of each source a round, shared among the cells, and says how many entries it is behind. It keeps no list of credentials: that nobody voted twice, and much else, only `audit` finds.

It runs until Ctrl-C, or as long as --rounds says. Exit codes: 1 if anything was raised, now or earlier with this DIR; 2 if the last round could not read or recount everything; else 0.

Examples:
  tallyroot-verify watch https://votes.example.org https://mirror.example.net --election 6b3f… --state ./watch
  tallyroot-verify watch https://votes.example.org --election 6b3f… --state ./watch --json --metrics 127.0.0.1:9464
  tallyroot-verify watch ./mirror --election 6b3f… --state ./watch --once";

/// What a round saw is said again after so long, where nothing changes.
const SAY_AGAIN: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(super) struct WatchArgs {
    /// Where the election is published: URLs or directories
    #[arg(value_name = "URL OR DIRECTORY", required = true)]
    sources: Vec<String>,
    /// The election id: 64 lowercase hexadecimal digits, from a place that you trust
    #[arg(long, value_name = "ID", value_parser = super::election_id)]
    election: ElectionId,
    /// Where a witness serves what it cosigned last: each round asks for its own copy of the heads log; may be given several times. The manifest names witnesses by key, not by address: whoever runs one says where it is. Where NAME is given, only the witness of that name counts there
    #[arg(long, value_name = "URL", value_parser = crate::ask::check)]
    witness: Vec<String>,
    /// The folder for what is kept; made if it is not there
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Seconds from the end of a round to the next
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    interval: u64,
    /// Serve Prometheus metrics at this address, under /metrics
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// Look once
    #[arg(long, conflicts_with = "rounds")]
    once: bool,
    /// End after so many rounds
    #[arg(long, value_name = "N")]
    rounds: Option<u64>,
    /// Say nothing on stderr while all is well
    #[arg(long)]
    quiet: bool,
    /// Print each event as a line of JSON; the last one holds the verdict
    #[arg(long)]
    json: bool,
}

/// Asks the rounds to end.
#[derive(Default)]
struct Stop {
    asked: AtomicBool,
    sleeping: Mutex<()>,
    wake: Condvar,
}

impl Stop {
    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    fn ask(&self) {
        let _sleeping = self.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
        self.asked.store(true, Ordering::SeqCst);
        self.wake.notify_all();
    }

    fn sleep(&self, time: Duration) {
        let sleeping = self.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self
            .wake
            .wait_timeout_while(sleeping, time, |()| !self.is_asked());
    }
}

pub(super) fn run(args: &WatchArgs) -> Outcome {
    let mut watcher = match Watcher::open(&args.election, &args.sources, &args.witness, &args.state)
    {
        Ok(watcher) => watcher,
        Err(error) => {
            complain(&error.to_string());
            return give_up(args.json);
        }
    };
    if let Some(address) = args.metrics {
        match watch::serve(address, watcher.metrics()) {
            Ok(address) => complain(&format!("metrics at http://{address}/metrics")),
            Err(error) => {
                complain(&format!(
                    "--metrics {address}: {error}; name an address of this machine and a free port"
                ));
                return give_up(args.json);
            }
        }
    }
    let stop = Arc::new(Stop::default());
    if let Err(error) = stop_on_signals(Arc::clone(&stop)) {
        complain(&format!("signals cannot be handled: {error}"));
        return give_up(args.json);
    }
    let rounds = if args.once {
        1
    } else {
        args.rounds.unwrap_or(u64::MAX)
    };
    let mut said: Option<(Seen, Instant)> = None;
    for round in 1..=rounds {
        // Whoever read along may have gone away.
        let mut is_heard = true;
        let kept = watcher.round_saying(watch::now(), &mut |event| {
            is_heard = is_heard && say(args.json, event, Outcome::Verified) == Outcome::Verified;
        });
        if let Err(error) = kept {
            complain(&error.to_string());
            // Without a memory there is no verdict but what was raised.
            say(args.json, &watcher.end(), Outcome::Verified);
            return raised_or_unchecked(&watcher);
        }
        if !is_heard {
            return raised_or_unchecked(&watcher);
        }
        let seen = watcher.seen();
        let is_news = said.is_none_or(|(before, at)| before != seen || at.elapsed() >= SAY_AGAIN);
        if is_news && !args.json && !args.quiet {
            complain(&words::seen(&seen, watch::now()));
            said = Some((seen, Instant::now()));
        }
        if stop.is_asked() {
            break;
        }
        if round < rounds {
            stop.sleep(Duration::from_secs(args.interval));
        }
        if stop.is_asked() {
            break;
        }
    }
    match say(args.json, &watcher.end(), watcher.outcome()) {
        // That it could not be said takes nothing back.
        Outcome::Unchecked => raised_or_unchecked(&watcher),
        outcome => outcome,
    }
}

fn raised_or_unchecked(watcher: &Watcher) -> Outcome {
    match watcher.outcome() {
        Outcome::Findings => Outcome::Findings,
        Outcome::Verified | Outcome::Unchecked => Outcome::Unchecked,
    }
}

/// It ended before its first round.
fn give_up(json: bool) -> Outcome {
    if json {
        let end = Event::End {
            verdict: Outcome::Unchecked,
            rounds: 0,
            raised: 0,
            raised_before: 0,
            raised_by_code: BTreeMap::new(),
            checkpoints: 0,
        };
        say(json, &end, Outcome::Unchecked);
    }
    Outcome::Unchecked
}

fn say(json: bool, event: &Event, outcome: Outcome) -> Outcome {
    if !json {
        return print(&words::watch(event, super::colour()), outcome);
    }
    match serde_json::to_string(event) {
        Ok(line) => print(&format!("{line}\n"), outcome),
        Err(error) => {
            complain(&format!("an event cannot be written as JSON: {error}"));
            Outcome::Unchecked
        }
    }
}

/// The first signal ends the watch after its round, the second at once.
fn stop_on_signals(stop: Arc<Stop>) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _within = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if stop.is_asked() {
                    std::process::exit(130);
                }
                stop.ask();
            }
        });
    });
    Ok(())
}
