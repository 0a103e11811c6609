//! The logs that a witness serves: their origins and keys.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::note::{KeyType, VerifierKey};

/// A list of logs larger than this is not read.
const LIST_BYTES_MAX: usize = 4 << 20;
/// Logs of one witness.
const LOGS_MAX: usize = 10_000;

/// Origins and, for each, the keys that may sign its checkpoints. All keys of an origin are as good as each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logs(BTreeMap<String, Vec<[u8; 32]>>);

impl Logs {
    /// Adds the logs of a list: the `log` lines of a C2SP tlog-policy file. Other lines of such a file are passed over.
    ///
    /// # Errors
    /// The file cannot be read, or a line is none of a policy's.
    pub fn add_list(&mut self, path: &Path) -> Result<()> {
        let bytes = super::files::read(path, LIST_BYTES_MAX)
            .and_then(|bytes| bytes.ok_or_else(|| std::io::ErrorKind::NotFound.into()))
            .with_context(|| format!("cannot read the list of logs {}", path.display()))?;
        let text = std::str::from_utf8(&bytes)
            .with_context(|| format!("{} is not UTF-8 text", path.display()))?;
        for (number, line) in (1..).zip(text.lines()) {
            self.add_line(line)
                .with_context(|| format!("{}, line {number}", path.display()))?;
        }
        Ok(())
    }

    fn add_line(&mut self, line: &str) -> Result<()> {
        // "sequences of ASCII space and tab characters *only*"
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        match words.next() {
            None => Ok(()),
            Some(word) if word.starts_with('#') => Ok(()),
            Some("log") => {
                let vkey = words.next().context("a log line is `log <vkey> [<url>]`")?;
                // The URL, where there is one, is of no use here: logs come to the witness.
                if words.nth(1).is_some() {
                    bail!("a log line is `log <vkey> [<url>]`, and this has more");
                }
                let key = VerifierKey::parse(vkey)?;
                if key.key_type() != KeyType::Ed25519 {
                    bail!("a log's key is of type 0x01 (Ed25519), and this is a witness's");
                }
                self.add(key.name(), *key.public_key())
            }
            // A policy names these too; whom else a log asks is not this witness's matter.
            Some("witness" | "group" | "quorum") => Ok(()),
            Some(other) => Err(anyhow!(
                "a line of a policy begins with log, witness, group, quorum or #, and this with {other:?}"
            )),
        }
    }

    /// Adds the heads log of an election, under both of its keys: "witnesses are given both keys from the start" (the design, section 3), so that a
    /// switch to the spare asks nothing of them.
    ///
    /// # Errors
    /// A key is no valid one.
    pub fn add_election(&mut self, election: &Election) -> Result<()> {
        let origin = election.origin(LogId::Heads);
        let keys = election
            .log_keys(LogId::Heads)
            .context("the manifest names no heads log")?;
        for key in keys.to_bytes() {
            self.add(&origin, key)?;
        }
        Ok(())
    }

    fn add(&mut self, origin: &str, key: [u8; 32]) -> Result<()> {
        protocol::ed25519::check_key(&key)?;
        // "Duplicate logs, i.e., multiple log lines with the same public key, are not allowed."
        let other = self
            .0
            .iter()
            .find(|(name, keys)| *name != origin && keys.contains(&key));
        if let Some((other, _)) = other {
            bail!("the key of {origin} is that of {other} too: give each log a key of its own");
        }
        let keys = self.0.entry(origin.to_owned()).or_default();
        if !keys.contains(&key) {
            keys.push(key);
        }
        if self.0.len() > LOGS_MAX {
            bail!("a witness serves at most {LOGS_MAX} logs");
        }
        Ok(())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Origins with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[[u8; 32]])> {
        self.0
            .iter()
            .map(|(origin, keys)| (origin.as_str(), keys.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use protocol::ed25519::SigningKey;

    use super::*;

    fn vkey(name: &str, seed: u8, kind: KeyType) -> String {
        let key = SigningKey::from_seed(&[seed; 32]).public();
        VerifierKey::new(name, kind, key).unwrap().encode()
    }

    #[test]
    fn the_log_lines_of_a_policy_are_taken() {
        let (a, b, spare) = (
            vkey("log.example/a", 1, KeyType::Ed25519),
            vkey("log.example/b", 2, KeyType::Ed25519),
            vkey("log.example/a", 3, KeyType::Ed25519),
        );
        let witness = vkey("w.example", 4, KeyType::Cosignature);
        let mut logs = Logs::default();
        for line in [
            format!("log {a}"),
            "  # a comment".to_owned(),
            String::new(),
            format!("\tlog  {b}\thttps://b.example/ "),
            format!("log {spare}"),
            format!("witness W {witness}"),
            "group G any W".to_owned(),
            "quorum G".to_owned(),
        ] {
            logs.add_line(&line).unwrap();
        }
        let found: Vec<_> = logs.iter().map(|(name, keys)| (name, keys.len())).collect();
        assert_eq!(found, [("log.example/a", 2), ("log.example/b", 1)]);

        for line in [
            "log".to_owned(),
            format!("log {a} https://x more"),
            format!("log {witness}"),
            "logs x".to_owned(),
            format!("log {}", a.replacen("+", "+0", 1)),
            // The same key under another name.
            format!("log {}", vkey("log.example/c", 1, KeyType::Ed25519)),
        ] {
            assert!(logs.clone().add_line(&line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_witness_serves_so_many_logs_and_no_more() {
        let held = (0..LOGS_MAX - 1).map(|n| (format!("log.example/{n}"), vec![[0xff; 32]]));
        let mut logs = Logs(held.collect());
        let mut add = |seed: u8| {
            logs.add_line(&format!(
                "log {}",
                vkey(&format!("more.example/{seed}"), seed, KeyType::Ed25519)
            ))
        };
        add(1).unwrap();
        assert!(
            add(2)
                .unwrap_err()
                .to_string()
                .contains("at most 10000 logs")
        );
    }

    #[test]
    fn no_logs_are_none() {
        let mut logs = Logs::default();
        assert!(logs.is_empty());
        logs.add_line(&format!(
            "log {}",
            vkey("log.example/a", 1, KeyType::Ed25519)
        ))
        .unwrap();
        assert!(!logs.is_empty());
    }
}
