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

/// `URL`, or `NAME=URL` where whoever asks knows which witness is to answer there.
fn ask_one(given: &str, election: &Election) -> Result<Shown, String> {
    let (name, url) = name_and_url(given);
    if let Some(name) = name
        && !election
            .witnesses()
            .iter()
            .any(|named| named.name() == name)
    {
        return Err(format!("the manifest names no witness {name:?}"));
    }
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
    read(url, name, &note, election)
}

/// Whether this is `URL` or `NAME=URL`, for the command line.
pub(crate) fn check(given: &str) -> Result<String, String> {
    let (_, url) = name_and_url(given);
    match Http::new(url) {
        Ok(_) => Ok(given.to_owned()),
        Err(error) => Err(format!(
            "a witness is given as URL or NAME=URL, with the address at which it serves what it cosigned: {}",
            error.problem
        )),
    }
}

fn name_and_url(given: &str) -> (Option<&str>, &str) {
    match given.split_once('=') {
        Some((name, url)) if !name.contains("://") => (Some(name), url),
        _ => (None, given),
    }
}

fn origin_hash(election: &Election) -> String {
    hex::encode(Sha256::digest(election.origin(LogId::Heads)))
}

/// A witness may have added lines of its own that this election knows nothing of (another algorithm, another key): they are passed over. So is a line in the name of one
/// that it did not sign, where another is right. With a name, only that witness's line counts: another's, shown in its place, says nothing of either.
fn read(url: &str, name: Option<&str>, bytes: &[u8], election: &Election) -> Result<Shown, String> {
    let held = HeldCheckpoint::read(bytes, election).map_err(|error| error.to_string())?;
    if held.log != LogId::Heads {
        return Err(format!("it shows a checkpoint of {}", held.log));
    }
    let note = SignedNote::parse(bytes).map_err(|error| error.to_string())?;
    let mut problem = name.map_or_else(
        || "no witness that the manifest names has cosigned what it shows".to_owned(),
        |name| format!("{name} has not cosigned what it shows"),
    );
    let mut cosigned = None;
    for (witness, named) in election.witnesses().iter().enumerate() {
        if name.is_some_and(|name| named.name() != name) {
            continue;
        }
        for line in note.signatures().iter().filter(|line| named.claims(line)) {
            match protocol::cosignature::verify(named, line, note.text()) {
                Ok(seconds) => cosigned = cosigned.or(Some((witness, seconds))),
                Err(error) => problem = format!("the cosignature of {}: {error}", named.name()),
            }
        }
    }
    let (witness, seconds) = cosigned.ok_or(problem)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_an_equals_sign_names_nobody() {
        for (given, expected) in [
            ("a=https://w.example/b", (Some("a"), "https://w.example/b")),
            ("https://w.example/?a=b", (None, "https://w.example/?a=b")),
            (
                "a=https://w.example/?a=b",
                (Some("a"), "https://w.example/?a=b"),
            ),
            ("https://w.example", (None, "https://w.example")),
        ] {
            assert_eq!(name_and_url(given), expected);
        }
    }
}
