//! What witnesses hold themselves: their own newest copy of the heads log's checkpoint, asked for where they serve it.
//!
//! The cosignatures that an election publishes are those that its operator chose to publish. A witness shows what it cosigned last to anybody
//! (C2SP tlog-witness: `GET <prefix>/<SHA-256 of the origin>/checkpoint`), and one conflict with it outweighs any quorum.

use protocol::checkpoint::Checkpoint;
use protocol::evidence::HeldCheckpoint;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::note::{NOTE_BYTES_MAX, SignedNote};
use sha2::{Digest as _, Sha256};

use crate::source::{Fetched, Http, Source as _};

/// Most addresses that are asked: a manifest names no more witnesses than this.
pub(crate) const WITNESSES_ASKED_MAX: usize = 64;

/// What one witness holds.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// Where it was asked.
    pub(crate) url: String,
    /// Its index among the manifest's witnesses.
    pub(crate) witness: usize,
    /// When it cosigned (ms since 1970, by its own clock).
    pub(crate) time: u64,
    /// What it cosigned, with the log's own line.
    pub(crate) held: HeldCheckpoint,
}

/// Asks each of these addresses, all at once. Each answers for one witness, or says why not.
#[must_use]
pub(crate) fn ask(urls: &[String], election: &Election) -> Vec<Result<Shown, String>> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = urls
            .iter()
            .take(WITNESSES_ASKED_MAX)
            .map(|url| scope.spawn(move || ask_one(url, election)))
            .collect();
        asked
            .into_iter()
            .zip(urls)
            .map(|(asked, url)| {
                asked
                    .join()
                    .unwrap_or_else(|_| Err("asking it failed".to_owned()))
                    .map_err(|problem| format!("witness {url}: {problem}"))
            })
            .collect()
    })
}

fn ask_one(url: &str, election: &Election) -> Result<Shown, String> {
    let server = Http::new(url).map_err(|error| error.problem)?;
    let path = format!("{}/checkpoint", origin_hash(election));
    let note = match server
        .read(&path, NOTE_BYTES_MAX)
        .map_err(|error| error.to_string())?
    {
        Fetched::File(note) => note,
        Fetched::Missing => {
            return Err(format!(
                "it has cosigned no checkpoint of this election's heads log, or is no witness ({path} is not there)"
            ));
        }
        Fetched::TooLarge | Fetched::NotAFile => {
            return Err("its answer is too long for a checkpoint".to_owned());
        }
    };
    read(url, &note, election)
}

fn origin_hash(election: &Election) -> String {
    hex::encode(Sha256::digest(election.origin(LogId::Heads)))
}

/// A witness may have added lines of its own that this election knows nothing of (another algorithm, another key): they are passed over.
fn read(url: &str, bytes: &[u8], election: &Election) -> Result<Shown, String> {
    let held = HeldCheckpoint::read(bytes, election).map_err(|error| error.to_string())?;
    if held.log != LogId::Heads {
        return Err(format!("it shows a checkpoint of {}", held.log));
    }
    let note = SignedNote::parse(bytes).map_err(|error| error.to_string())?;
    let (witness, named, line) = election
        .witnesses()
        .iter()
        .enumerate()
        .find_map(|(index, named)| {
            let mut lines = note.signatures().iter();
            lines
                .find(|line| named.claims(line))
                .map(|line| (index, named, line))
        })
        .ok_or("no witness that the manifest names has cosigned what it shows")?;
    let seconds = protocol::cosignature::verify(named, line, note.text())
        .map_err(|error| format!("the cosignature of {}: {error}", named.name()))?;
    Ok(Shown {
        url: url.to_owned(),
        witness,
        time: seconds.saturating_mul(1_000),
        held,
    })
}

impl Shown {
    /// What was cosigned.
    #[must_use]
    pub(crate) const fn checkpoint(&self) -> &Checkpoint {
        &self.held.checkpoint
    }
}
