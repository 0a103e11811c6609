//! The small TOML file that an election is made from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use protocol::manifest::{Method, TieRule};
use serde::Deserialize;

/// A description larger than this is not one.
const DESCRIPTION_BYTES_MAX: u64 = 1 << 20;
const YEAR_MS: u64 = 365 * 24 * 3_600 * 1_000;

/// An election as its authors describe it. Everything is checked again, and more strictly, by the manifest.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Shown to voters.
    pub title: String,
    /// Schema-less URL that names the logs.
    pub base: String,
    /// CSV with the voters' identities; a relative path is taken from the description's folder.
    pub roll: PathBuf,
    /// When credentials can be had.
    pub registration: Moment,
    /// When votes are taken.
    pub opening: Moment,
    /// When casting ends.
    pub closing: Moment,
    /// Seconds after closing in which what was on its way is finished.
    #[serde(default = "default_grace_s")]
    pub grace_s: u64,
    /// Until when anchors are locked; a year after closing by default.
    #[serde(default)]
    pub retention: Option<Moment>,
    /// A rehearsal: single-node durability is allowed.
    #[serde(default)]
    pub demo: bool,
    /// How many cells share the votes.
    #[serde(default = "default_one")]
    pub cells: u32,
    /// The registrars' names.
    #[serde(default = "default_registrars")]
    pub registrars: Vec<String>,
    /// Issuance logs of each registrar.
    #[serde(default = "default_one")]
    pub shards: u32,
    /// Votes that a batch waits for.
    #[serde(default = "default_batch_min")]
    pub batch_min: u32,
    /// The longest such wait.
    #[serde(default = "default_batch_wait_ms")]
    pub batch_wait_ms: u64,
    /// Upper bound of the random delay between credential and cast.
    #[serde(default = "default_cast_delay_s")]
    pub cast_delay_s: u64,
    /// Time between heads.
    #[serde(default = "default_head_interval_ms")]
    pub head_interval_ms: u64,
    /// Names of the anchors, each a folder.
    #[serde(default = "default_anchors")]
    pub anchors: Vec<String>,
    /// Who must cosign the heads log.
    #[serde(default, rename = "witness")]
    pub witnesses: Vec<WitnessDescription>,
    /// How many of them must have cosigned a head before a receipt is sealed under it; more than half of them by default.
    #[serde(default)]
    pub quorum: Option<u32>,
    /// What is voted on.
    pub contests: Vec<ContestDescription>,
}

/// A witness as described.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessDescription {
    /// Its verifier key, as its operator has published it.
    pub vkey: String,
}

/// A contest as described.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContestDescription {
    /// Its name.
    pub name: String,
    /// How it is counted.
    pub method: Method,
    /// Labels.
    pub options: Vec<String>,
    /// How ties end; the order of the list by default.
    #[serde(default = "default_tie_rule")]
    pub tie_rule: TieRule,
}

/// A TOML date and time with an offset, as milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub u64);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = toml::value::Datetime::deserialize(deserializer)?;
        let instant: jiff::Timestamp = written.to_string().parse().map_err(|_| {
            serde::de::Error::custom(format!(
                "`{written}` is not a date and time with an offset, such as 2027-03-01T08:00:00Z"
            ))
        })?;
        u64::try_from(instant.as_millisecond())
            .map(Self)
            .map_err(|_| serde::de::Error::custom(format!("`{written}` lies before 1970")))
    }
}

impl Description {
    /// Reads and checks the shape of a description.
    ///
    /// # Errors
    /// An unreadable or oversized file, or TOML that does not fit: with the line, and what is allowed.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::metadata(path)
            .with_context(|| {
                format!(
                    "cannot read the description {}: check the path",
                    path.display()
                )
            })?
            .len();
        if bytes > DESCRIPTION_BYTES_MAX {
            bail!(
                "{} has {bytes} bytes; a description has at most {DESCRIPTION_BYTES_MAX}",
                path.display()
            );
        }
        let text = std::fs::read_to_string(path).with_context(|| {
            format!(
                "cannot read the description {}: is it UTF-8 text?",
                path.display()
            )
        })?;
        let mut description: Self = toml::from_str(&text).with_context(|| {
            format!(
                "{} is not a description of an election: see `tallyroot election new --help`",
                path.display()
            )
        })?;
        if let Some(folder) = path.parent() {
            description.roll = folder.join(&description.roll);
        }
        Ok(description)
    }

    /// How many witnesses must cosign.
    #[must_use]
    pub fn quorum(&self) -> u32 {
        self.quorum.unwrap_or_else(|| match self.witnesses.len() {
            0 => 0,
            // Two quorums then share a witness: a fork needs one that lies.
            named => u32::try_from(named / 2 + 1).unwrap_or(u32::MAX),
        })
    }

    /// Until when anchors are locked.
    #[must_use]
    pub fn retention_ms(&self) -> u64 {
        self.retention
            .map_or_else(|| self.closing.0.saturating_add(YEAR_MS), |moment| moment.0)
    }
}

fn default_one() -> u32 {
    1
}
fn default_grace_s() -> u64 {
    600
}
fn default_registrars() -> Vec<String> {
    vec!["registrar".to_owned()]
}
fn default_batch_min() -> u32 {
    16
}
fn default_batch_wait_ms() -> u64 {
    10_000
}
fn default_cast_delay_s() -> u64 {
    3_600
}
fn default_head_interval_ms() -> u64 {
    10_000
}
fn default_anchors() -> Vec<String> {
    vec!["local".to_owned()]
}
fn default_tie_rule() -> TieRule {
    TieRule::ListedOrder
}
